/* otlp_histogram.c - our buckets as OpenTelemetry's. Ours are at most 0.8 % of
 * a value wide, so each goes where its middle lies. */
#include "otlp.h"

#include <math.h>

enum { SCALE_MAX = 6, BUCKETS_MAX = 160 };

/* The bucket of a value in seconds: (2^(i/64), 2^((i+1)/64)] at scale 6. */
static int32_t
index_of(uint64_t value_ns)
{
    return (int32_t)ceil(log2((double)value_ns * 1e-9) * 64) - 1;
}

void
perfi_exponential_put(perfi_tree *t, const perf_bucket *b, size_t n)
{
    uint64_t counts[BUCKETS_MAX] = {0}, zeros = 0;
    const perf_bucket *end = b + n;
    for (; b < end && !b->value_ns; b++)
        zeros += b->count;
    int32_t first = 0, last = -1;
    uint32_t less = 0; /* two neighbours become one, so often */
    if (b < end) {
        first = index_of(b->value_ns);
        last = index_of(end[-1].value_ns);
    }
    while ((last >> less) - (first >> less) >= BUCKETS_MAX)
        less++;
    for (; b < end; b++)
        counts[(index_of(b->value_ns) >> less) - (first >> less)] += b->count;
    perfi_tree_sint(t, 6, "scale", SCALE_MAX - (int32_t)less);
    perfi_tree_fixed64(t, 7, "zeroCount", zeros);
    perfi_tree_open(t, 8, "positive");
    perfi_tree_sint(t, 1, "offset", first >> less);
    perfi_tree_uint64s(t, 2, "bucketCounts", counts,
                       (size_t)((last >> less) - (first >> less) + 1));
    perfi_tree_close(t);
}

static const double bounds[] = {1e-5, 1e-4, 1e-3,  5e-3,  0.01,  0.02,
                                0.04, 0.08, 0.16,  0.32,  0.64,  1.28,
                                2.56, 5.12, 10.24, 20.48, 40.96, 81.92};
enum { BOUNDS = sizeof bounds / sizeof *bounds };

void
perfi_explicit_put(perfi_tree *t, const perf_bucket *b, size_t n)
{
    uint64_t counts[BOUNDS + 1] = {0};
    uint32_t at = 0;
    for (const perf_bucket *end = b + n; b < end; b++) {
        while (at < BOUNDS && (double)b->value_ns * 1e-9 > bounds[at])
            at++;
        counts[at] += b->count;
    }
    perfi_tree_fixed64s(t, 6, "bucketCounts", counts, BOUNDS + 1);
    perfi_tree_doubles(t, 7, "explicitBounds", bounds, BOUNDS);
}
