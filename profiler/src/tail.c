/* tail.c - whether a high quantile has moved, and between what it lies.
 *
 * Take the old sample's quantile, its k-th largest value, and count how many
 * new values are above. When both come from the same distribution, whichever
 * it is, old and new ones are mixed at random above there: so many or more
 * are as likely as so many of the uppermost being new (B. Epstein, 1954; the
 * count has a negative hypergeometric distribution). A value in the same
 * bucket is not above: with ties the test errs on the safe side. */
#include <libperf/regression.h>

#include "chances.h"
#include "comparison.h"

typedef struct sample {
    const perf_histogram *h;
    double count;
    double rank;      /* of the quantile, from 1 */
    double inflation; /* so many tell as much as one */
} sample;

static sample
sample_of(const perf_histogram *h, double q, double inflation)
{
    sample s = {.h = h, .inflation = inflation};
    perf_histogram_bucket bucket;
    for (uint32_t cursor = 0; perf_histogram_next(h, &cursor, &bucket);)
        s.count += (double)bucket.count;
    s.rank = fmin(fmax(ceil(q * s.count - s.count * 1e-15), 1), s.count);
    return s;
}

/* The lower bound of the bucket that holds the value of this rank. */
static uint64_t
bound_at(const sample *s, double rank)
{
    perf_histogram_bucket bucket = {0};
    double seen = 0;
    for (uint32_t cursor = 0; perf_histogram_next(s->h, &cursor, &bucket);) {
        seen += (double)bucket.count;
        if (seen >= rank)
            break;
    }
    return bucket.low;
}

static double
count_above(const perf_histogram *h, uint64_t bound)
{
    perf_histogram_bucket bucket;
    double count = 0;
    for (uint32_t cursor = 0; perf_histogram_next(h, &cursor, &bucket);)
        count += bucket.low > bound ? (double)bucket.count : 0;
    return count;
}

static double
value_at(const sample *s, double rank)
{
    return (double)perf_histogram_quantile(s->h, rank / s->count);
}

/* The chance of `above` or more values of the other sample above the k-th
 * largest of this one, when each counts as many as it is worth. */
static double
chance(const sample *pivot, const sample *other, double above)
{
    double k = ceil((pivot->count - pivot->rank + 1) / pivot->inflation);
    double m = fmax(ceil(pivot->count / pivot->inflation), k);
    double n = ceil(other->count / other->inflation);
    double j = fmin(floor(above / other->inflation), n);
    if (j < 1)
        return 1;
    return perfi_hypergeometric_at_least(j, j + k - 1, n, m + n);
}

/* How many above would be just significant; more than there are: none. */
static double
significant(const sample *pivot, const sample *other, double p)
{
    double low = 0, high = other->count + 1;
    while (high - low > 1) {
        double middle = floor((low + high) / 2);
        if (middle <= low || middle >= high)
            break;
        *(chance(pivot, other, middle) <= p ? &high : &low) = middle;
    }
    return high;
}

/* The other's value that may be this much above the pivot, at least. */
static double
surely(const sample *pivot, const sample *other, double p)
{
    double above = significant(pivot, other, p);
    return above > other->count ? -1
                                : value_at(other, other->count - above + 1);
}

perf_err
perf_regression_tail(const perf_histogram *old_values,
                     const perf_histogram *new_values, double q,
                     const perf_regression_options *options,
                     perf_comparison *out)
{
    perf_regression_options how;
    if (!old_values || !new_values || !out)
        return PERF_ERR_INVALID;
    perf_err err = perfi_options(options, &how);
    if (err)
        return err;
    sample before = sample_of(old_values, q, how.old_inflation);
    sample after = sample_of(new_values, q, how.new_inflation);
    if (!(q > 0 && q < 1) || before.count < PERF_REGRESSION_CALLS ||
        after.count < PERF_REGRESSION_CALLS)
        return PERF_ERR_RANGE;
    double p = (1 - how.level) / 2;
    double old_value = value_at(&before, before.rank);
    double new_value = value_at(&after, after.rank);
    double least = surely(&before, &after, p);
    double greatest = surely(&after, &before, p);
    *out = (perf_comparison){
        .old_value = old_value,
        .new_value = new_value,
        .ratio = perfi_ratio(new_value, old_value),
        .effect = NAN,
        .p_more =
            chance(&before, &after,
                   count_above(new_values, bound_at(&before, before.rank))),
        .p_less = chance(&after, &before,
                         count_above(old_values, bound_at(&after, after.rank))),
    };
    out->ratio_low = least > 0 && old_value > 0 ? least / old_value : 0;
    out->ratio_high = greatest > 0 ? new_value / greatest : INFINITY;
    /* ranks are whole numbers: of a few values they may pass each other */
    out->ratio_low = fmin(out->ratio_low, out->ratio);
    out->ratio_high = fmax(out->ratio_high, out->ratio);
    return PERF_OK;
}

/* ---- between what a quantile lies ---- */

/* The least x whose chance of that many or more values below the quantile is
 * at most p. */
static double
least_rank(double n, double q, double p)
{
    double low = 0, high = n + 1; /* at_least(0) is 1, at_least(n + 1) is 0 */
    while (high - low > 1) {
        double middle = floor((low + high) / 2);
        if (middle <= low || middle >= high)
            break;
        *(perfi_binomial_at_least(middle, n, q) <= p ? &high : &low) = middle;
    }
    return high;
}

perf_err
perf_regression_interval(const perf_histogram *h, double q, double level,
                         uint64_t *low, uint64_t *high)
{
    if (!h || !low || !high)
        return PERF_ERR_INVALID;
    sample s = sample_of(h, 0.5, 1);
    if (!(q > 0 && q < 1) || !(level > 0 && level < 1) || s.count < 1)
        return PERF_ERR_RANGE;
    double p = (1 - level) / 2;
    /* the x-th smallest is above the quantile when fewer than x are below:
     * from the other end, at least n - x + 1 of them are above */
    double upper = least_rank(s.count, q, p);
    double lower = s.count - least_rank(s.count, 1 - q, p) + 1;
    *low = lower < 1 ? 0 : (uint64_t)value_at(&s, lower);
    *high = upper > s.count ? UINT64_MAX
                            : perf_histogram_quantile(h, upper / s.count);
    return PERF_OK;
}
