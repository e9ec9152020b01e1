/* batch_cost.h - how long a batch takes, learned from those that were done.
 *
 * Model:    T(n) = base + each * n, where n is items or weight. Recursive least
 *           squares with forgetting 0.98. When six of eight batches in a row
 *           are outside of what nineteen of twenty take, all on one side, the
 *           speed has changed: line and margin begin anew with these. Where
 *           all batches were alike in size `each` cannot be known: it keeps its
 *           value and the base moves.
 *           The margin is the 95th percentile of the last 200 errors at that
 *           speed: what must be added where being late costs something.
 *           Before 3 batches nothing is predicted; before 8, what those took,
 *           without a margin, and for smaller ones no more than in proportion.
 * Threads:  one at a time.
 * Memory:   all of it in create(), about 4 kB. */
#ifndef LIBPERF_BATCH_COST_H
#define LIBPERF_BATCH_COST_H
#include <libperf/allocator.h>

PERF_BEGIN_DECLS

typedef struct perf_batch_cost perf_batch_cost;

/** @param allocator  NULL: libc.  Errors: PERF_ERR_INVALID, PERF_ERR_NOMEM. */
PERF_API perf_err perf_batch_cost_create(const perf_allocator *allocator,
                                         perf_batch_cost **out);

/** NULL is allowed. */
PERF_API void perf_batch_cost_destroy(perf_batch_cost *cost);

/** A batch of `size` (items or weight) took `took_ns`. */
PERF_API void perf_batch_cost_observe(perf_batch_cost *cost, uint64_t size,
                                      uint64_t took_ns);

/** What a batch of `size` will take: the expected time; 0: not known yet. */
PERF_API uint64_t perf_batch_cost_predict(const perf_batch_cost *cost,
                                          uint64_t size);

/** The same with the margin: 19 of 20 take less; 0: not known yet. */
PERF_API uint64_t perf_batch_cost_bound(const perf_batch_cost *cost,
                                        uint64_t size);

/** Say what is known: from now on the line is not learned, the margin still is.
 *  For experiments, and for services whose times are known.
 *  @param base_ns, each_ns  at least 0.
 *  Errors: PERF_ERR_INVALID (NaN), PERF_ERR_RANGE. */
PERF_API perf_err perf_batch_cost_fix(perf_batch_cost *cost, double base_ns,
                                      double each_ns);

typedef struct perf_batch_cost_stats {
    double base_ns;     /* of a call, whatever its size */
    double each_ns;     /* of an item, or of one of weight, more */
    uint64_t margin_ns; /* p95 of the error */
    uint64_t observed;  /* batches so far */
    bool known;         /* at least 8 */
} perf_batch_cost_stats;

PERF_API void perf_batch_cost_stats_now(const perf_batch_cost *cost,
                                        perf_batch_cost_stats *out);

PERF_END_DECLS
#endif
