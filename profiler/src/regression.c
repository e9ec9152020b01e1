/* regression.c - options, rates, and chances that are many. */
#include <libperf/regression.h>

#include "chances.h"
#include "comparison.h"

#include <stdlib.h>

void
perf_regression_options_init(perf_regression_options *options)
{
    if (options)
        *options = (perf_regression_options){0.98, 1, 1};
}

/* ---- rates ---- */

/* The interval of a ratio of rates on the logarithmic scale (D. Katz et al.,
 * 1978), half a count added to each so that none is 0. */
static void
rate_interval(double old_wrong, double old_all, double new_wrong,
              double new_all, double level, perf_comparison *out)
{
    double before = (old_wrong + 0.5) / (old_all + 0.5);
    double after = (new_wrong + 0.5) / (new_all + 0.5);
    double variance = 1 / (old_wrong + 0.5) - 1 / (old_all + 0.5) +
                      1 / (new_wrong + 0.5) - 1 / (new_all + 0.5);
    double reach =
        exp(sqrt(fmax(variance, 0)) * perfi_normal_point((1 - level) / 2));
    out->ratio_low = fmin(after / before / reach, out->ratio);
    out->ratio_high = fmax(after / before * reach, out->ratio);
}

perf_err
perf_regression_rate(uint64_t old_wrong, uint64_t old_all, uint64_t new_wrong,
                     uint64_t new_all, const perf_regression_options *options,
                     perf_comparison *out)
{
    perf_regression_options how;
    if (!out)
        return PERF_ERR_INVALID;
    perf_err err = perfi_options(options, &how);
    if (err)
        return err;
    if (!old_all || !new_all || old_wrong > old_all || new_wrong > new_all)
        return PERF_ERR_RANGE;
    double before = (double)old_wrong / (double)old_all;
    double after = (double)new_wrong / (double)new_all;
    /* as many as they are worth */
    double m = ceil((double)old_all / how.old_inflation);
    double n = ceil((double)new_all / how.new_inflation);
    double a = fmin(round((double)old_wrong / how.old_inflation), m);
    double b = fmin(round((double)new_wrong / how.new_inflation), n);
    *out = (perf_comparison){
        .old_value = before,
        .new_value = after,
        .ratio = perfi_ratio(after, before),
        .effect = 0.5 + (after - before) / 2,
        .p_more = perfi_hypergeometric_at_least(b, n, a + b, m + n),
        .p_less = perfi_hypergeometric_at_least(a, m, a + b, m + n),
    };
    rate_interval(a, m, b, n, how.level, out);
    return PERF_OK;
}

/* ---- many chances: Holm (1979) ---- */

typedef struct chance {
    double p;
    size_t place;
} chance;

static int
by_chance(const void *a, const void *b)
{
    double x = ((const chance *)a)->p, y = ((const chance *)b)->p;
    return x < y ? -1 : x > y;
}

perf_err
perf_regression_adjust(double *p, size_t n, const perf_allocator *allocator)
{
    if (n && !p)
        return PERF_ERR_INVALID;
    if (!n)
        return PERF_OK;
    if (n > SIZE_MAX / sizeof(chance))
        return PERF_ERR_NOMEM;
    if (!allocator)
        allocator = perf_allocator_libc();
    chance *order = allocator->alloc(n * sizeof *order, allocator->ctx);
    if (!order)
        return PERF_ERR_NOMEM;
    size_t tested = 0;
    for (size_t i = 0; i < n; i++)
        if (!isnan(p[i]))
            order[tested++] = (chance){p[i], i};
    qsort(order, tested, sizeof *order, by_chance);
    double least = 0; /* none is surer than one that is surer uncorrected */
    for (size_t i = 0; i < tested; i++) {
        least = fmax(least, fmin(1, order[i].p * (double)(tested - i)));
        p[order[i].place] = least;
    }
    allocator->free(order, n * sizeof *order, allocator->ctx);
    return PERF_OK;
}
