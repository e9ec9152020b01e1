/* histogram.c - the log-linear histogram as an object of its own; series in a
 * segment use the same buckets (buckets.h), page by page. */
#include "histogram.h"

#include "buckets.h"
#include "counters.h"

struct perf_histogram {
    const perf_allocator *allocator;
    perfi_counter sum;
    perfi_counter min; /* UINT64_MAX while empty */
    perfi_counter max;
    perfi_counter buckets[PERFI_BUCKETS];
};

perf_err
perf_histogram_create(const perf_allocator *allocator, perf_histogram **out)
{
    if (!out)
        return PERF_ERR_INVALID;
    *out = NULL;
    if (!allocator)
        allocator = perf_allocator_libc();
    perf_histogram *h = allocator->alloc(sizeof *h, allocator->ctx);
    if (!h)
        return PERF_ERR_NOMEM;
    h->allocator = allocator;
    perfi_set(&h->min, UINT64_MAX);
    *out = h;
    return PERF_OK;
}

void
perf_histogram_destroy(perf_histogram *h)
{
    if (h)
        h->allocator->free(h, sizeof *h, h->allocator->ctx);
}

void
perf_histogram_record(perf_histogram *h, uint64_t value_ns)
{
    if (!h)
        return;
    perfi_add(&h->buckets[perfi_bucket_of(value_ns)], 1);
    perfi_add_saturating(&h->sum, value_ns);
    perfi_lower(&h->min, value_ns);
    perfi_raise(&h->max, value_ns);
}

void
perf_histogram_record_many(perf_histogram *h, const uint64_t *values_ns,
                           size_t n)
{
    if (!h || !values_ns || !n)
        return;
    uint64_t sum = perfi_get(&h->sum);
    uint64_t min = perfi_get(&h->min), max = perfi_get(&h->max);
    for (size_t i = 0; i < n; i++) {
        uint64_t value = values_ns[i];
        perfi_add(&h->buckets[perfi_bucket_of(value)], 1);
        if (__builtin_add_overflow(sum, value, &sum))
            sum = UINT64_MAX;
        min = value < min ? value : min;
        max = value > max ? value : max;
    }
    perfi_set(&h->sum, sum);
    perfi_set(&h->min, min);
    perfi_set(&h->max, max);
}

void
perf_histogram_record_intended(perf_histogram *h, uint64_t intended_ns,
                               uint64_t end_ns)
{
    perf_histogram_record(h, end_ns > intended_ns ? end_ns - intended_ns : 0);
}

uint64_t
perfi_histogram_add_buckets(perf_histogram *h, uint32_t first,
                            const uint64_t *counters, uint32_t n)
{
    uint64_t values = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (!counters[i])
            continue;
        perfi_add(&h->buckets[first + i], counters[i]);
        values += counters[i];
    }
    return values;
}

void
perfi_histogram_add_exact(perf_histogram *h, uint64_t sum, uint64_t least,
                          uint64_t greatest)
{
    perfi_add_saturating(&h->sum, sum);
    perfi_lower(&h->min, least);
    perfi_raise(&h->max, greatest);
}

perf_err
perf_histogram_merge(perf_histogram *into, const perf_histogram *from)
{
    if (!into || !from)
        return PERF_ERR_INVALID;
    for (uint32_t i = 0; i < PERFI_BUCKETS; i++) {
        uint64_t n = perfi_get(&from->buckets[i]);
        if (n)
            perfi_add(&into->buckets[i], n);
    }
    perfi_histogram_add_exact(into, perfi_get(&from->sum),
                              perfi_get(&from->min), perfi_get(&from->max));
    return PERF_OK;
}

/* The exact extremes of a window are not known: take those of its outermost
 * buckets, but never beyond what the whole histogram has seen. */
static void
bound_by_buckets(perf_histogram *h)
{
    uint32_t first = 0, last = PERFI_BUCKETS;
    while (first < PERFI_BUCKETS && !perfi_get(&h->buckets[first]))
        first++;
    while (last > first && !perfi_get(&h->buckets[last - 1]))
        last--;
    if (first == PERFI_BUCKETS) {
        perfi_set(&h->min, UINT64_MAX);
        perfi_set(&h->max, 0);
        return;
    }
    perfi_raise(&h->min, perfi_bucket_low(first));
    perfi_lower(&h->max, perfi_bucket_high(last - 1));
}

perf_err
perf_histogram_subtract(perf_histogram *h, const perf_histogram *before)
{
    if (!h || !before)
        return PERF_ERR_INVALID;
    for (uint32_t i = 0; i < PERFI_BUCKETS; i++)
        if (perfi_get(&before->buckets[i]) > perfi_get(&h->buckets[i]))
            return PERF_ERR_RANGE;
    if (perfi_get(&before->sum) > perfi_get(&h->sum))
        return PERF_ERR_RANGE;
    for (uint32_t i = 0; i < PERFI_BUCKETS; i++)
        perfi_add(&h->buckets[i], -perfi_get(&before->buckets[i]));
    perfi_add(&h->sum, -perfi_get(&before->sum));
    bound_by_buckets(h);
    return PERF_OK;
}

void
perf_histogram_reset(perf_histogram *h)
{
    if (!h)
        return;
    for (uint32_t i = 0; i < PERFI_BUCKETS; i++)
        perfi_set(&h->buckets[i], 0);
    perfi_set(&h->sum, 0);
    perfi_set(&h->min, UINT64_MAX);
    perfi_set(&h->max, 0);
}

uint64_t
perf_histogram_count(const perf_histogram *h)
{
    uint64_t n = 0;
    for (uint32_t i = 0; h && i < PERFI_BUCKETS; i++)
        n += perfi_get(&h->buckets[i]);
    return n;
}

uint64_t
perf_histogram_sum(const perf_histogram *h)
{
    return h ? perfi_get(&h->sum) : 0;
}

uint64_t
perf_histogram_min(const perf_histogram *h)
{
    uint64_t min = h ? perfi_get(&h->min) : UINT64_MAX;
    return h && min <= perfi_get(&h->max) ? min : 0;
}

uint64_t
perf_histogram_max(const perf_histogram *h)
{
    return h ? perfi_get(&h->max) : 0;
}

/* ceil(q * n) without the rounding of a double above 2^53: 0.5 of 2^60 must
 * not be a rank that does not exist. */
static uint64_t
rank_of(double q, uint64_t n)
{
    if (!(q > 0))
        return 1;
    if (q >= 1)
        return n;
    long double exact = (long double)q * (long double)n;
    uint64_t rank = (uint64_t)exact;
    /* q itself is a double: 0.95 * 20 must be 19, not 19.000000000000001 */
    rank += exact - (long double)rank > exact * 1e-15L;
    return rank < 1 ? 1 : rank > n ? n : rank;
}

static uint64_t
clamp(uint64_t value, uint64_t low, uint64_t high)
{
    return value < low ? low : value > high ? high : value;
}

perf_err
perf_histogram_quantiles(const perf_histogram *h, const double *qs, size_t n,
                         uint64_t *out)
{
    if (!h || (n && (!qs || !out)))
        return PERF_ERR_INVALID;
    for (size_t i = 1; i < n; i++)
        if (qs[i] < qs[i - 1])
            return PERF_ERR_RANGE;
    uint64_t count = perf_histogram_count(h);
    uint64_t min = perf_histogram_min(h), max = perf_histogram_max(h);
    uint64_t seen = 0;
    uint32_t bucket = 0;
    for (size_t i = 0; i < n; i++) {
        out[i] = 0;
        if (!count)
            continue;
        uint64_t rank = rank_of(qs[i], count);
        /* a writer may add meanwhile: `bucket` stays in bounds by itself */
        while (bucket < PERFI_BUCKETS &&
               seen + perfi_get(&h->buckets[bucket]) < rank)
            seen += perfi_get(&h->buckets[bucket++]);
        out[i] = bucket < PERFI_BUCKETS
                     ? clamp(perfi_bucket_middle(bucket), min, max)
                     : max;
        if (rank == 1)
            out[i] = min; /* known exactly */
        if (rank == count)
            out[i] = max;
    }
    return PERF_OK;
}

uint64_t
perf_histogram_quantile(const perf_histogram *h, double q)
{
    uint64_t value = 0;
    perf_histogram_quantiles(h, &q, 1, &value);
    return value;
}

bool
perf_histogram_next(const perf_histogram *h, uint32_t *cursor,
                    perf_histogram_bucket *out)
{
    while (h && *cursor < PERFI_BUCKETS) {
        uint32_t bucket = (*cursor)++;
        out->count = perfi_get(&h->buckets[bucket]);
        if (!out->count)
            continue;
        out->low = perfi_bucket_low(bucket);
        out->high = perfi_bucket_high(bucket);
        return true;
    }
    return false;
}

bool
perfi_histogram_check(const perf_histogram *h)
{
    uint64_t count = perf_histogram_count(h);
    uint64_t min = perfi_get(&h->min), max = perfi_get(&h->max);
    if (!count)
        return min == UINT64_MAX && max == 0 && perfi_get(&h->sum) == 0;
    uint32_t low = perfi_bucket_of(min), high = perfi_bucket_of(max);
    if (min > max || !perfi_get(&h->buckets[low]) ||
        !perfi_get(&h->buckets[high]))
        return false;
    for (uint32_t i = 0; i < PERFI_BUCKETS; i++)
        if ((i < low || i > high) && perfi_get(&h->buckets[i]))
            return false;
    return true;
}
