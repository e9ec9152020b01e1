/* mann_whitney.c - a shift of the whole distribution.
 *
 * U counts the pairs in which the new value is greater, ties half: H. B. Mann
 * and D. R. Whitney (1947), with the variance that ties leave. Moving all old
 * values by a factor until half of the pairs are greater gives how much it is
 * (J. L. Hodges and E. L. Lehmann, 1963); until U is just significant, the
 * interval. The buckets' middles stand for their values. */
#include <libperf/regression.h>

#include "chances.h"
#include "comparison.h"

typedef struct values {
    const perf_histogram *h;
    double count;
    uint64_t least, greatest;
} values;

/* A bucket: where it lies, and how many values are in it. */
typedef struct place {
    double at, count;
} place;

static values
values_of(const perf_histogram *h)
{
    values v = {h, 0, perf_histogram_min(h), perf_histogram_max(h)};
    perf_histogram_bucket bucket;
    for (uint32_t cursor = 0; perf_histogram_next(h, &cursor, &bucket);)
        v.count += (double)bucket.count;
    return v;
}

/* By their middles; or, to find out what is a tie, by their bounds. */
static bool
next_place(const values *v, uint32_t *cursor, bool by_bound, place *out)
{
    perf_histogram_bucket bucket;
    if (!perf_histogram_next(v->h, cursor, &bucket))
        return false;
    uint64_t middle = bucket.low + (bucket.high - bucket.low) / 2;
    middle = middle < v->least ? v->least : middle;
    middle = middle > v->greatest ? v->greatest : middle;
    out->at = (double)(by_bound ? bucket.low : middle);
    out->count = (double)bucket.count;
    return true;
}

/* Pairs in which new > factor * old, ties half. */
static double
pairs_above(const values *before, const values *after, double factor,
            bool by_bound)
{
    uint32_t old_cursor = 0, new_cursor = 0;
    double pairs = 0, below = 0;
    place old_place, new_place;
    bool more = next_place(before, &old_cursor, by_bound, &old_place);
    while (next_place(after, &new_cursor, by_bound, &new_place)) {
        while (more && factor * old_place.at < new_place.at) {
            below += old_place.count;
            more = next_place(before, &old_cursor, by_bound, &old_place);
        }
        bool tie = more && factor * old_place.at == new_place.at;
        pairs += new_place.count * (below + (tie ? old_place.count / 2 : 0));
    }
    return pairs;
}

/* What ties leave of U's variance: 1 without any, 0 when all are one. */
static double
untied(const values *before, const values *after)
{
    uint32_t old_cursor = 0, new_cursor = 0;
    double all = before->count + after->count, left = 0;
    place a, b;
    bool more_a = next_place(before, &old_cursor, true, &a);
    bool more_b = next_place(after, &new_cursor, true, &b);
    while (more_a || more_b) {
        bool take_a = more_a && (!more_b || a.at <= b.at);
        bool take_b = more_b && (!more_a || b.at <= a.at);
        double tied = (take_a ? a.count : 0) + (take_b ? b.count : 0);
        double share = tied / all, others = (all - tied) / all;
        left += share * others * (1 + share); /* share - share^3 */
        if (take_a)
            more_a = next_place(before, &old_cursor, true, &a);
        if (take_b)
            more_b = next_place(after, &new_cursor, true, &b);
    }
    return left;
}

/* The largest factor, to nine digits, by which more than `pairs` (or as many,
 * when that is enough) are still above; 0 and INFINITY when there is none. */
static double
largest_factor(const values *before, const values *after, double pairs,
               bool enough)
{
    double low = -66, high = 66; /* powers of two: values are below 2^64 */
    for (int i = -2; i < 40; i++) {
        double middle = i == -2 ? low : i == -1 ? high : (low + high) / 2;
        double above = pairs_above(before, after, exp2(middle), false);
        bool holds = enough ? above >= pairs : above > pairs;
        if (i == -2 && !holds)
            return 0;
        if (i == -1 && holds)
            return INFINITY;
        if (i >= 0)
            *(holds ? &low : &high) = middle;
    }
    return exp2((low + high) / 2);
}

/* Between the two, where pairs are exactly half; 1 when nothing is known. */
static double
middle_factor(double low, double high)
{
    if (low <= 0)
        return isinf(high) ? 1 : high;
    return isinf(high) ? low : sqrt(low) * sqrt(high);
}

static void
compare(const values *before, const values *after,
        const perf_regression_options *how, perf_comparison *out)
{
    double m = before->count, n = after->count, all = m + n, half = m * n / 2;
    double above = pairs_above(before, after, 1, true);
    double inflation =
        (how->old_inflation / m + how->new_inflation / n) / (1 / m + 1 / n);
    double sigma = sqrt(m * n / 12 * (all / (all - 1)) * all *
                        untied(before, after) * inflation);
    double reach = sigma * perfi_normal_point((1 - how->level) / 2);
    out->effect = above / m / n;
    out->ratio = middle_factor(largest_factor(before, after, half, false),
                               largest_factor(before, after, half, true));
    out->p_more = out->p_less = 1;
    if (sigma > 0) {
        out->p_more = perfi_normal_at_least((above - half - 0.5) / sigma);
        out->p_less = perfi_normal_at_least((half - above - 0.5) / sigma);
    }
    /* with all of one value there is no spread, and nothing to be unsure of */
    out->ratio_low = out->ratio_high = out->ratio;
    if (sigma > 0) {
        out->ratio_low = fmin(
            out->ratio, largest_factor(before, after, half + reach, false));
        out->ratio_high =
            fmax(out->ratio, largest_factor(before, after, half - reach, true));
    }
}

perf_err
perf_regression_shift(const perf_histogram *old_values,
                      const perf_histogram *new_values,
                      const perf_regression_options *options,
                      perf_comparison *out)
{
    perf_regression_options how;
    if (!old_values || !new_values || !out)
        return PERF_ERR_INVALID;
    perf_err err = perfi_options(options, &how);
    if (err)
        return err;
    values before = values_of(old_values), after = values_of(new_values);
    if (before.count < PERF_REGRESSION_CALLS ||
        after.count < PERF_REGRESSION_CALLS)
        return PERF_ERR_RANGE;
    *out = (perf_comparison){
        .old_value = (double)perf_histogram_quantile(old_values, 0.5),
        .new_value = (double)perf_histogram_quantile(new_values, 0.5),
    };
    compare(&before, &after, &how, out);
    return PERF_OK;
}
