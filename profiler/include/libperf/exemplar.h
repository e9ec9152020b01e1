/* exemplar.h - which span was slow: one for each name and class of durations.
 *
 * Model:    bounds cut durations into classes: up to the first bound, up to
 *           the second, ..., above the last. Of all spans that a reader's
 *           records hold, the longest of each name and class is kept: what a
 *           histogram's buckets want as examples. A generator's duration is
 *           without its pauses, as in its histogram.
 * Threads:  one at a time.
 * Memory:   (bounds + 1) * 40 bytes for each name that has spans, and 35 kB.
 * Units:    nanoseconds; times are the reader's. */
#ifndef LIBPERF_EXEMPLAR_H
#define LIBPERF_EXEMPLAR_H
#include <libperf/reader.h>

PERF_BEGIN_DECLS

typedef struct perf_exemplars perf_exemplars;

/** One span. */
typedef struct perf_exemplar {
    uint64_t duration_ns;
    uint64_t end_ns;
    uint64_t id; /* 0: there was none */
    uint64_t trace_hi;
    uint64_t trace_lo;
} perf_exemplar;

/** @param allocator  NULL for libc.
 *  @param bounds_ns  n values, ascending; a duration that equals one is below
 *                    it.  Copied.
 *  Errors: PERF_ERR_INVALID for NULL, PERF_ERR_RANGE when not ascending,
 *  PERF_ERR_NOMEM.  Ownership: the caller's, perf_exemplars_destroy(). */
PERF_API perf_err perf_exemplars_create(const perf_allocator *allocator,
                                        const uint64_t *bounds_ns, size_t n,
                                        perf_exemplars **out);

/** NULL is allowed. */
PERF_API void perf_exemplars_destroy(perf_exemplars *exemplars);

/** Look at the records of a reader's copy that it has not given out yet.
 *  @param max_records  look at no more than about so many
 *  Errors: PERF_ERR_INVALID; PERF_ERR_NOMEM: some names have none.
 *  Cost: about 0.1 us a record (bench/RESULTS.md). */
PERF_API perf_err perf_exemplars_take_blocking(perf_exemplars *exemplars,
                                               perf_reader *reader,
                                               uint64_t max_records);

/** The exemplars of a name of that reader, n + 1 of them in the order of their
 *  classes; NULL when it has none.  Ownership: borrowed until the next take
 *  or clear. */
PERF_API const perf_exemplar *perf_exemplars_of(const perf_exemplars *exemplars,
                                                uint32_t name);

/** Forget them all: names of another reader have other numbers. */
PERF_API void perf_exemplars_clear(perf_exemplars *exemplars);

PERF_END_DECLS
#endif
