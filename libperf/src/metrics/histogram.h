/* histogram.h - what the reader needs besides the public functions. */
#ifndef PERFI_HISTOGRAM_H
#define PERFI_HISTOGRAM_H
#include <libperf/histogram.h>

/** Add `n` counters that start at bucket `first`. Returns how many values. */
uint64_t perfi_histogram_add_buckets(perf_histogram *h, uint32_t first,
                                     const uint64_t *counters, uint32_t n);

/** Tell the sum, least and greatest of values added in that way. */
void perfi_histogram_add_exact(perf_histogram *h, uint64_t sum, uint64_t least,
                               uint64_t greatest);

/** Everything the header promises about the fields holds. For tests. */
bool perfi_histogram_check(const perf_histogram *h);
#endif
