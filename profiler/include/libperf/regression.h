/* regression.h - has something become slower, and how sure is that?
 *
 * Model:    an old and a new sample are compared in one of four ways:
 *           shift  the whole distribution: Mann and Whitney's U over the
 *                  buckets of two histograms, what shares a bucket is a tie;
 *                  how much: the median of new / old over all pairs (Hodges
 *                  and Lehmann), with its confidence interval.
 *           tail   a high quantile: how many new values lie above the old
 *                  one. Exact, whatever the distribution (Epstein's
 *                  exceedance test, 1954).
 *           rate   how many of all went wrong: Fisher's exact test.
 *           runs   one number of each run (its median, its P99, its share of
 *                  errors): Welch's t-test.
 *           The first three take calls for independent. Calls of one run are
 *           not: perf_regression_dependence_blocking() says how much less they
 *           tell, but not what differs from run to run. Only several runs a
 *           side can tell that.
 * Chances:  `p_more` and `p_less` look one way each: the chance of so much of
 *           a change, or more, when there is none. Who looks at many names
 *           corrects for it (perf_regression_adjust).
 * Threads:  any; a histogram that is written meanwhile must be copied first.
 * Memory:   none, but where an allocator is asked for.
 * Limits:   counts above 2^53 are rounded. */
#ifndef LIBPERF_REGRESSION_H
#define LIBPERF_REGRESSION_H
#include <libperf/histogram.h>

PERF_BEGIN_DECLS

enum {
    PERF_REGRESSION_CALLS = 20, /* a side; below, chances are not exact. To see
                                   20 % of a change takes about 1,000 */
    PERF_REGRESSION_RUNS = 3,   /* a side; below, nobody knows their spread */
    PERF_REGRESSION_BLOCKS = 20,
    PERF_REGRESSION_RECORDS = 200, /* that tell how calls hang together */
};

/** How to compare. */
typedef struct perf_regression_options {
    double level;         /* of intervals, above 0, below 1 */
    double old_inflation; /* so many old calls tell as much as one that is */
    double new_inflation; /* independent: 1 or more */
} perf_regression_options;

/** level 0.98 (1 % on either side), inflations 1. What NULL means. */
PERF_API void perf_regression_options_init(perf_regression_options *options);

/** What was compared, and what came out. */
typedef struct perf_comparison {
    double old_value;  /* median, quantile, rate, or middle of the runs */
    double new_value;  /* the same of the new side */
    double ratio;      /* new / old; 1 when both are 0; may be infinite */
    double ratio_low;  /* its confidence interval; 0 to infinity: not known */
    double ratio_high; /* */
    double effect;     /* chance that a new value exceeds an old one, ties
                          half: 0.5 is no change; NaN for tail and runs */
    double p_more;     /* chance of this much more by chance alone */
    double p_less;     /* and of this much less */
} perf_comparison;

/** Compare whole distributions.
 *  @param options  NULL: defaults
 *  Errors: PERF_ERR_INVALID for NULL; PERF_ERR_RANGE for fewer than
 *  PERF_REGRESSION_CALLS on a side, or an option out of range.
 *  Cost: about 1 ms. */
PERF_API perf_err perf_regression_shift(const perf_histogram *old_values,
                                        const perf_histogram *new_values,
                                        const perf_regression_options *options,
                                        perf_comparison *out);

/** Compare a quantile.
 *  @param q  above 0, below 1; 0.99 for P99
 *  Errors: as above. */
PERF_API perf_err perf_regression_tail(const perf_histogram *old_values,
                                       const perf_histogram *new_values,
                                       double q,
                                       const perf_regression_options *options,
                                       perf_comparison *out);

/** Compare how much of all went wrong.
 *  Errors: PERF_ERR_INVALID for NULL; PERF_ERR_RANGE when more went wrong
 *  than there was, when there was nothing, or an option out of range. */
PERF_API perf_err perf_regression_rate(uint64_t old_wrong, uint64_t old_all,
                                       uint64_t new_wrong, uint64_t new_all,
                                       const perf_regression_options *options,
                                       perf_comparison *out);

/** What a difference of runs is measured in. */
typedef enum perf_regression_scale {
    PERF_REGRESSION_RATIO = 0,      /* durations: means of logarithms; 0 counts
                                       as half of the least that is above */
    PERF_REGRESSION_DIFFERENCE = 1, /* shares: plain means */
} perf_regression_scale;

/** Compare one number of each run.
 *  @param old_runs, new_runs  finite, 0 or more
 *  @param noise  standard deviation of a single number that is known without
 *                looking at the runs (on the ratio scale: as a share of it),
 *                0 or more: runs that are more alike than that are so by
 *                chance
 *  Errors: PERF_ERR_INVALID for NULL; PERF_ERR_RANGE for fewer than
 *  PERF_REGRESSION_RUNS on a side, or a number out of range. */
PERF_API perf_err perf_regression_runs(const double *old_runs, size_t old_count,
                                       const double *new_runs, size_t new_count,
                                       perf_regression_scale scale,
                                       double noise,
                                       const perf_regression_options *options,
                                       perf_comparison *out);

/** Between which values a quantile lies: order statistics whose ranks are
 *  those that a binomial distribution leaves (exact, whatever the values are).
 *  @param low, high  not NULL; 0 and UINT64_MAX where there is no bound
 *  Errors: PERF_ERR_INVALID for NULL; PERF_ERR_RANGE for q or level not
 *  between 0 and 1, or an empty histogram. */
PERF_API perf_err perf_regression_interval(const perf_histogram *h, double q,
                                           double level, uint64_t *low,
                                           uint64_t *high);

/** How calls of one run hang together: so many of them tell as much as one that
 *  is independent; 1 or more. */
typedef struct perf_dependence {
    double shift;  /* for perf_regression_shift() */
    double tail;   /* for perf_regression_tail() */
    double wrong;  /* for perf_regression_rate() */
    double blocks; /* that were compared */
} perf_dependence;

/** Cut a run into blocks of consecutive calls. When calls are independent,
 *  blocks differ as chance has it; how many times more they do is what comes
 *  out (batch means), 1 when that could still be chance. Sees what lasts
 * shorter than a block: a twentieth of the run for 4,000 calls and fewer, a
 * fiftieth from 10,000 on.
 *  @param start_ns, value_ns, wrong  n places each: when a call began, how
 *                   long it took, whether it failed (not 0); in any order
 *  @param q         the quantile that the tail begins with
 *  @param allocator NULL for libc: 32 bytes a call while it works
 *  Errors: PERF_ERR_INVALID, PERF_ERR_NOMEM; PERF_ERR_RANGE for fewer than
 *  PERF_REGRESSION_RECORDS calls. */
PERF_API perf_err perf_regression_dependence_blocking(
    const uint64_t *start_ns, const uint64_t *value_ns, const uint8_t *wrong,
    size_t n, double q, const perf_allocator *allocator, perf_dependence *out);

/** Correct chances for their number (Holm): when nothing has changed, one of
 *  all corrected ones is below x with a chance of at most x.
 *  @param p  n chances, replaced; what is NaN was not tested and stays
 *  Errors: PERF_ERR_INVALID, PERF_ERR_NOMEM (and p untouched). */
PERF_API perf_err perf_regression_adjust(double *p, size_t n,
                                         const perf_allocator *allocator);

PERF_END_DECLS
#endif
