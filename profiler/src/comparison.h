/* comparison.h - what the ways to compare have in common. */
#ifndef PERFI_COMPARISON_H
#define PERFI_COMPARISON_H
#include <libperf/regression.h>

#include <math.h>

/** The options that are meant; PERF_ERR_RANGE for senseless ones. */
static inline perf_err
perfi_options(const perf_regression_options *options,
              perf_regression_options *out)
{
    perf_regression_options_init(out);
    if (options)
        *out = *options;
    bool good = out->level > 0 && out->level < 1 && out->old_inflation >= 1 &&
                out->new_inflation >= 1 && !isinf(out->old_inflation) &&
                !isinf(out->new_inflation);
    return good ? PERF_OK : PERF_ERR_RANGE;
}

static inline double
perfi_ratio(double after, double before)
{
    return before > 0 ? after / before : after > 0 ? INFINITY : 1;
}
#endif
