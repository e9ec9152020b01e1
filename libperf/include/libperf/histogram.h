/* histogram.h - log-linear latency histogram of fixed size.
 *
 * Model:    a value below 128 has a bucket of its own; above, every power of
 *           two is cut into 128 equal buckets. So a bucket is at most 2^-7
 *           (0.78 %) of its value wide, its mid-point at most 2^-8 (0.39 %)
 *           away, for every uint64_t. Counters only grow; a window is the
 *           difference of two copies (perf_histogram_subtract).
 *           Count, sum, minimum and maximum are exact; the sum stays at
 *           UINT64_MAX once it would pass it.
 * Quantile: nearest rank: the ceil(q * n)-th smallest value, given as its
 *           bucket's mid-point clamped to [min, max]. It never interpolates
 *           to a value that could not have occurred, and is monotone in q.
 *           After HdrHistogram (Tene) and DDSketch (Masson et al., VLDB'19)
 *           for the idea of a relative error; the layout is our own.
 * Threads:  one writer at a time; any number of readers beside it.
 * Memory:   58 pages of 128 counters, 59.4 kB, all of it in create().
 *           record() never allocates, locks or enters the kernel.
 * Units:    nanoseconds by convention; any uint64_t works. */
#ifndef LIBPERF_HISTOGRAM_H
#define LIBPERF_HISTOGRAM_H
#include <libperf/allocator.h>

PERF_BEGIN_DECLS

typedef struct perf_histogram perf_histogram;

/** @param allocator  NULL for libc.  @param out  not NULL.
 *  Errors: PERF_ERR_INVALID, PERF_ERR_NOMEM.  Ownership: the caller's. */
PERF_API perf_err perf_histogram_create(const perf_allocator *allocator,
                                        perf_histogram **out);

/** NULL is allowed. */
PERF_API void perf_histogram_destroy(perf_histogram *h);

/** Record one value.  Cost: about 2 ns (bench/RESULTS.md).
 *  @param h  NULL is ignored.  Threads: one writer at a time; wait-free. */
PERF_API void perf_histogram_record(perf_histogram *h, uint64_t value_ns);

/** Record `n` values; the form to use from Python.
 *  @param values_ns  NULL only when n is 0. */
PERF_API void perf_histogram_record_many(perf_histogram *h,
                                         const uint64_t *values_ns, size_t n);

/** Record the latency a caller *meant* to see: from the time the operation
 *  should have started, not from when it could start. A stall then counts
 *  against every operation it delayed (coordinated omission, G. Tene).
 *  @param end_ns  earlier than intended_ns counts as 0. */
PERF_API void perf_histogram_record_intended(perf_histogram *h,
                                             uint64_t intended_ns,
                                             uint64_t end_ns);

/** Add everything in `from` to `into`; exact.
 *  Errors: PERF_ERR_INVALID for NULL.  Threads: `into` has no other writer. */
PERF_API perf_err perf_histogram_merge(perf_histogram *into,
                                       const perf_histogram *from);

/** Turn `h` into the window since `before`, an earlier copy of it. The
 *  window's minimum and maximum are known to a bucket's width only, clamped
 *  to those of `h`.
 *  Errors: PERF_ERR_INVALID for NULL, PERF_ERR_RANGE (and `h` untouched)
 *  when `before` holds a value that `h` does not. */
PERF_API perf_err perf_histogram_subtract(perf_histogram *h,
                                          const perf_histogram *before);

/** Forget everything.  Threads: no other writer. */
PERF_API void perf_histogram_reset(perf_histogram *h);

/** How many values were recorded; 0 for NULL. */
PERF_API uint64_t perf_histogram_count(const perf_histogram *h);

/** Their sum, exact up to UINT64_MAX. */
PERF_API uint64_t perf_histogram_sum(const perf_histogram *h);

/** The smallest and the largest, exact; 0 when empty. */
PERF_API uint64_t perf_histogram_min(const perf_histogram *h);
PERF_API uint64_t perf_histogram_max(const perf_histogram *h);

/** The q-quantile, see above; 0 when empty.
 *  @param q  0..1 (0.5 is the median); below 0 and NaN count as 0, above 1
 *  as 1. */
PERF_API uint64_t perf_histogram_quantile(const perf_histogram *h, double q);

/** Several quantiles in one pass.
 *  @param qs   n values, ascending.  @param out  n places.
 *  Errors: PERF_ERR_INVALID for NULL; PERF_ERR_RANGE when not ascending. */
PERF_API perf_err perf_histogram_quantiles(const perf_histogram *h,
                                           const double *qs, size_t n,
                                           uint64_t *out);

/** Values that share a bucket. */
typedef struct perf_histogram_bucket {
    uint64_t low;  /* the smallest that falls into it */
    uint64_t high; /* the largest */
    uint64_t count;
} perf_histogram_bucket;

/** The next bucket that holds a value, in ascending order.
 *  @param h       NULL is empty
 *  @param cursor  not NULL; 0 at first, moved on by each call
 *  @param out     not NULL
 *  Returns false past the last one.  Cost: all buckets together 4 us. */
PERF_API bool perf_histogram_next(const perf_histogram *h, uint32_t *cursor,
                                  perf_histogram_bucket *out);

PERF_END_DECLS
#endif
