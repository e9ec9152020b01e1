/* slo.h - counts, exactly, which calls of an operation were not good.
 *
 * Model:    an objective watches the operations of one name from
 *           perf_slo_set() on. A call is bad when it ended with an error, or
 *           took longer than the limit. A call that was cancelled before the
 *           limit is not counted at all: nobody waited for its answer any
 *           more. Two counters (metric.h) hold how many calls there were, and
 *           how many of them were bad, so any process can read them. (A
 *           histogram knows how many calls were longer than a limit to its
 *           buckets' width only.)
 *           Whoever wants rates takes differences of two readings.
 * Threads:  any thread; setting and removing take a lock, counting does not.
 * Memory:   static: PERF_SLOS_MAX objectives in a process.
 * Fork:     the child has its parent's objectives, and counts from 0.
 * Cost:     a span without an objective: three instructions; with one: two
 *           counters more. */
#ifndef LIBPERF_SLO_H
#define LIBPERF_SLO_H
#include <libperf/name.h>

PERF_BEGIN_DECLS

enum { PERF_SLOS_MAX = 256 };

/** Watch the operations of a name, or change the limit of an objective that
 *  exists (one with the same counters).  Several objectives may watch a name.
 *  @param name      of a kind of operation
 *  @param limit_ns  a call may last so long; UINT64_MAX: only errors are bad
 *  @param calls, bad  names of kind PERF_KIND_COUNTER, not the same
 *  Errors: PERF_ERR_INVALID (a name of another kind), PERF_ERR_FULL. */
PERF_API perf_err perf_slo_set(uint32_t name, uint64_t limit_ns, uint32_t calls,
                               uint32_t bad);

/** Watch no more. The counters stay as they are; perf_slo_set() goes on.
 *  @param calls  that of the objective; nothing happens when there is none. */
PERF_API void perf_slo_remove(uint32_t calls);

PERF_END_DECLS
#endif
