/* totals.c - adds a name's series up over the threads. */
#include "../metrics/histogram.h"
#include "reader.h"

#include <string.h>

typedef struct range {
    uint32_t first, end; /* in image.series_at */
} range;

static perf_err
series_of(const perf_reader *r, uint32_t name, range *out)
{
    if (!r)
        return PERF_ERR_INVALID;
    if (name >= r->image.names)
        return PERF_ERR_NOT_FOUND;
    *out = (range){r->image.series_of[name], r->image.series_of[name + 1]};
    return PERF_OK;
}

/* Counters of a page as plain numbers; NULL where there is no such page. */
static const uint64_t *
page_of(const perf_reader *r, const perfi_series *s, uint32_t page)
{
    uint32_t offset =
        atomic_load_explicit(&s->pages[page], memory_order_acquire);
    return perfi_image_at(&r->image, offset,
                          PERFI_PAGE_BUCKETS * sizeof(uint64_t));
}

static uint64_t
count_of(const perf_reader *r, const perfi_series *s)
{
    uint64_t n = perfi_get(&s->unplaced);
    for (uint32_t page = 0; page < PERFI_PAGES; page++) {
        const uint64_t *counters = page_of(r, s, page);
        for (uint32_t i = 0; counters && i < PERFI_PAGE_BUCKETS; i++)
            n += counters[i];
    }
    return n;
}

static uint64_t
add_up(uint64_t a, uint64_t b)
{
    return a + b < a ? UINT64_MAX : a + b;
}

static void
add_quantities(perf_totals *out, const perfi_series *s)
{
    for (int i = 0; i < PERF_QUANTITIES_MAX; i++) {
        uint32_t key =
            atomic_load_explicit(&s->quantity_key[i], memory_order_relaxed);
        uint32_t at = 0;
        while (at < out->quantities && out->quantity_key[at] != key)
            at++;
        if (!key || at == PERF_QUANTITIES_MAX)
            continue;
        if (at == out->quantities)
            out->quantity_key[out->quantities++] = key;
        out->quantity_sum[at] =
            add_up(out->quantity_sum[at], perfi_get(&s->quantity_sum[i]));
    }
}

static void
add_series(const perf_reader *r, perf_totals *out, const perfi_series *s)
{
    uint64_t count = count_of(r, s), min = perfi_get(&s->min);
    uint64_t gauge_ticks =
        atomic_load_explicit(&s->gauge_ticks, memory_order_acquire);
    if (count && (!out->count || min < out->min_ns))
        out->min_ns = min;
    out->count += count;
    out->errors += perfi_get(&s->errors);
    out->cancelled += perfi_get(&s->cancelled);
    out->sum_ns = add_up(out->sum_ns, perfi_get(&s->sum));
    if (perfi_get(&s->max) > out->max_ns)
        out->max_ns = perfi_get(&s->max);
    uint64_t gauge_ns = gauge_ticks ? perfi_reader_ns(r, gauge_ticks) : 0;
    if (gauge_ns > out->gauge_ns) {
        uint64_t bits = perfi_get(&s->gauge);
        memcpy(&out->gauge, &bits, sizeof bits);
        out->gauge_ns = gauge_ns;
    }
    add_quantities(out, s);
}

perf_err
perf_reader_totals(const perf_reader *r, uint32_t name, perf_totals *out)
{
    range in = {0, 0};
    if (!out)
        return PERF_ERR_INVALID;
    *out = (perf_totals){0};
    perf_err err = series_of(r, name, &in);
    for (uint32_t i = in.first; !err && i < in.end; i++) {
        const perfi_series *s =
            perfi_image_at(&r->image, r->image.series_at[i], sizeof *s);
        if (s)
            add_series(r, out, s);
    }
    return err;
}

perf_err
perf_reader_histogram(const perf_reader *r, uint32_t name, perf_histogram *into)
{
    range in = {0, 0};
    if (!into)
        return PERF_ERR_INVALID;
    perf_err err = series_of(r, name, &in);
    for (uint32_t i = in.first; !err && i < in.end; i++) {
        const perfi_series *s =
            perfi_image_at(&r->image, r->image.series_at[i], sizeof *s);
        uint64_t values = 0;
        for (uint32_t page = 0; s && page < PERFI_PAGES; page++) {
            const uint64_t *counters = page_of(r, s, page);
            if (counters)
                values +=
                    perfi_histogram_add_buckets(into, page * PERFI_PAGE_BUCKETS,
                                                counters, PERFI_PAGE_BUCKETS);
        }
        if (values)
            perfi_histogram_add_exact(into, perfi_get(&s->sum),
                                      perfi_get(&s->min), perfi_get(&s->max));
    }
    return err;
}

/* Add a page of all series up; false: none of them has it. */
static bool
add_page(const perf_reader *r, range in, uint32_t page,
         uint64_t sum[PERFI_PAGE_BUCKETS])
{
    bool found = false;
    for (uint32_t i = in.first; i < in.end; i++) {
        const perfi_series *s =
            perfi_image_at(&r->image, r->image.series_at[i], sizeof *s);
        const uint64_t *counters = s ? page_of(r, s, page) : NULL;
        for (uint32_t k = 0; counters && k < PERFI_PAGE_BUCKETS; k++)
            sum[k] = (found ? sum[k] : 0) + counters[k];
        found = found || counters;
    }
    return found;
}

size_t
perf_reader_buckets(const perf_reader *r, uint32_t name, perf_bucket *out,
                    size_t capacity)
{
    _Static_assert((int)PERF_BUCKETS_MAX == (int)PERFI_BUCKETS,
                   "as the header says");
    range in = {0, 0};
    uint64_t sum[PERFI_PAGE_BUCKETS];
    size_t n = 0;
    if (series_of(r, name, &in))
        return 0;
    for (uint32_t page = 0; page < PERFI_PAGES; page++) {
        if (!add_page(r, in, page, sum))
            continue;
        for (uint32_t k = 0; k < PERFI_PAGE_BUCKETS; k++) {
            if (!sum[k])
                continue;
            uint32_t bucket = page * PERFI_PAGE_BUCKETS + k;
            if (out && n < capacity)
                out[n] = (perf_bucket){perfi_bucket_middle(bucket), sum[k]};
            n++;
        }
    }
    return n;
}

/* The first bucket of which not all is at most as large as the bound. */
static uint32_t
end_of(uint64_t bound)
{
    uint32_t bucket = perfi_bucket_of(bound);
    return bucket + (perfi_bucket_high(bucket) == bound);
}

static void
count_up_to(const perf_reader *r, range in, const uint64_t *bounds, size_t n,
            uint64_t *out)
{
    uint64_t sum[PERFI_PAGE_BUCKETS], seen = 0;
    size_t i = 0;
    for (uint32_t page = 0; page < PERFI_PAGES && i < n; page++) {
        uint32_t first = page * PERFI_PAGE_BUCKETS, k = 0;
        bool some = add_page(r, in, page, sum);
        for (uint32_t end; i < n; out[i++] = seen) {
            end = end_of(bounds[i]);
            if (end > first + PERFI_PAGE_BUCKETS)
                break;
            for (; some && first + k < end; k++)
                seen += sum[k];
        }
        for (; some && k < PERFI_PAGE_BUCKETS; k++)
            seen += sum[k];
    }
}

perf_err
perf_reader_counts(const perf_reader *r, const uint64_t *bounds, size_t n,
                   uint32_t names, perf_totals *totals, uint64_t *up_to)
{
    if (!r || (n && !bounds) || (names && (!totals || (n && !up_to))))
        return PERF_ERR_INVALID;
    for (size_t i = 1; i < n; i++)
        if (bounds[i] < bounds[i - 1])
            return PERF_ERR_RANGE;
    for (uint32_t name = 0; name < names; name++) {
        range in = {0, 0};
        perf_reader_totals(r, name, &totals[name]); /* else it has none */
        series_of(r, name, &in);
        if (n)
            count_up_to(r, in, bounds, n, up_to + name * n);
    }
    return PERF_OK;
}
