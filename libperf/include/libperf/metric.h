/* metric.h - counters, gauges and timings that any process can read.
 *
 * Model:    a metric is a name of kind COUNTER, GAUGE or TIMING. Each thread
 *           writes a place of its own in the segment; readers add counters
 *           and timings over the threads and take the gauge that was set
 *           last. Nothing is ever reset: a window is the difference of two
 *           readings.
 * Threads:  any thread, wait-free after a thread's first use.
 * Errors:   none. A name of another kind, or a full segment, drops the
 *           value and counts it (perf_segment_stats.dropped_values). */
#ifndef LIBPERF_METRIC_H
#define LIBPERF_METRIC_H
#include <libperf/name.h>

PERF_BEGIN_DECLS

/** Add to a counter.  @param name  of kind PERF_KIND_COUNTER. */
PERF_API void perf_metric_add(uint32_t name, uint64_t amount);

/** Set a gauge.  @param name  of kind PERF_KIND_GAUGE.  NaN is dropped. */
PERF_API void perf_metric_set(uint32_t name, double value);

/** Record a duration.  @param name  of kind PERF_KIND_TIMING. */
PERF_API void perf_metric_record(uint32_t name, uint64_t duration_ns);

/** Record from the time the operation should have started; see
 *  perf_histogram_record_intended(). */
PERF_API void perf_metric_record_intended(uint32_t name, uint64_t intended_ns,
                                          uint64_t end_ns);

/** What this process's threads have added to a counter so far; 0 when nothing
 *  was, or for a name of another kind.  Cost: about a microsecond for each
 *  thread; takes a lock that no record waits for. */
PERF_API uint64_t perf_metric_total(uint32_t name);

PERF_END_DECLS
#endif
