/* student.c - normal and Student's distribution, and Welch's test of runs.
 *
 * Student's tail is an incomplete beta function, by its continued fraction
 * (DLMF 8.17.22), evaluated after Lentz (1976) and Thompson and Barnett. */
#include <libperf/regression.h>

#include "chances.h"
#include "comparison.h"

#include <math.h>

double
perfi_normal_at_least(double z)
{
    return erfc(z / sqrt(2)) / 2;
}

/* ---- Student's distribution ---- */

static double
not_zero(double x)
{
    return fabs(x) < 1e-300 ? 1e-300 : x;
}

/* The regularised incomplete beta function, where its fraction converges fast:
 * x below (a + 1) / (a + b + 2). */
static double
beta_part(double a, double b, double x)
{
    double front = exp(perfi_log_gamma(a + b) - perfi_log_gamma(a) -
                       perfi_log_gamma(b) + a * log(x) + b * log1p(-x)) /
                   a;
    double c = 1, d = 1 / not_zero(1 - (a + b) * x / (a + 1)), sum = d;
    for (int m = 1; m < 1000; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        d = 1 / not_zero(1 + even * d);
        c = not_zero(1 + even / c);
        sum *= c * d;
        double odd =
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1 / not_zero(1 + odd * d);
        c = not_zero(1 + odd / c);
        sum *= c * d;
        if (fabs(c * d - 1) < 1e-15)
            break;
    }
    return front * sum;
}

double
perfi_student_at_least(double t, double freedom)
{
    double a = freedom / 2, b = 0.5, t2 = t * t;
    double x = freedom / (freedom + t2), rest = t2 / (freedom + t2), both;
    if (t == 0)
        return 0.5;
    if (isinf(t2) || x <= 0)
        both = 0;
    else if (x < (a + 1) / (a + b + 2))
        both = beta_part(a, b, x);
    else
        both = 1 - beta_part(b, a, rest);
    return t > 0 ? both / 2 : 1 - both / 2;
}

/* ---- inverses: both fall steadily ---- */

static double
point_of(double p, double freedom)
{
    double low = -1, high = 1;
    bool student = freedom > 0;
    while (low > -1e300 && (student ? perfi_student_at_least(low, freedom)
                                    : perfi_normal_at_least(low)) < p)
        low *= 2;
    while (high < 1e300 && (student ? perfi_student_at_least(high, freedom)
                                    : perfi_normal_at_least(high)) > p)
        high *= 2;
    for (int i = 0; i < 200; i++) {
        double middle = low + (high - low) / 2;
        if (middle <= low || middle >= high)
            break;
        if ((student ? perfi_student_at_least(middle, freedom)
                     : perfi_normal_at_least(middle)) > p)
            low = middle;
        else
            high = middle;
    }
    return high;
}

double
perfi_normal_point(double p)
{
    return point_of(p, 0);
}

double
perfi_student_point(double p, double freedom)
{
    return point_of(p, freedom);
}

/* ---- Welch's test ---- */

typedef struct moments {
    double mean;
    double error2; /* squared standard error of the mean */
    double freedom;
} moments;

static double
scaled(double value, perf_regression_scale scale, double least)
{
    if (scale == PERF_REGRESSION_DIFFERENCE)
        return value;
    return log(value > 0 ? value : least);
}

static moments
moments_of(const double *runs, size_t n, perf_regression_scale scale,
           double least, double noise)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += scaled(runs[i], scale, least);
    moments m = {.mean = sum / (double)n, .freedom = (double)n - 1};
    for (size_t i = 0; i < n; i++) {
        double apart = scaled(runs[i], scale, least) - m.mean;
        squares += apart * apart;
    }
    double variance = squares / m.freedom;
    m.error2 = fmax(variance, noise * noise) / (double)n;
    return m;
}

/* Half of the least value above 0; 0 when there is none. */
static double
half_of_least(const double *old_runs, size_t old_count, const double *new_runs,
              size_t new_count)
{
    double least = INFINITY;
    for (size_t i = 0; i < old_count + new_count; i++) {
        double one = i < old_count ? old_runs[i] : new_runs[i - old_count];
        if (one > 0 && one < least)
            least = one;
    }
    return isinf(least) ? 0 : least / 2;
}

static bool
are_numbers(const double *runs, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(runs[i] >= 0) || isinf(runs[i]))
            return false;
    return true;
}

static void
compare(const moments *before, const moments *after, double level,
        perf_regression_scale scale, perf_comparison *out)
{
    double difference = after->mean - before->mean;
    double error2 = before->error2 + after->error2, margin = 0;
    if (error2 > 0) {
        double freedom = error2 * error2 /
                         (before->error2 * before->error2 / before->freedom +
                          after->error2 * after->error2 / after->freedom);
        double t = difference / sqrt(error2);
        out->p_more = perfi_student_at_least(t, freedom);
        out->p_less = perfi_student_at_least(-t, freedom);
        margin = sqrt(error2) * perfi_student_point((1 - level) / 2, freedom);
    } else {
        out->p_more = difference > 0 ? 0 : difference < 0 ? 1 : 0.5;
        out->p_less = difference < 0 ? 0 : difference > 0 ? 1 : 0.5;
    }
    if (scale == PERF_REGRESSION_RATIO) {
        out->old_value = exp(before->mean);
        out->new_value = exp(after->mean);
        out->ratio = exp(difference);
        out->ratio_low = exp(difference - margin);
        out->ratio_high = exp(difference + margin);
        return;
    }
    out->old_value = before->mean;
    out->new_value = after->mean;
    out->ratio = perfi_ratio(after->mean, before->mean);
    out->ratio_low = before->mean > 0
                         ? fmax(0, 1 + (difference - margin) / before->mean)
                         : 0;
    out->ratio_high = perfi_ratio(after->mean + margin, before->mean);
}

perf_err
perf_regression_runs(const double *old_runs, size_t old_count,
                     const double *new_runs, size_t new_count,
                     perf_regression_scale scale, double noise,
                     const perf_regression_options *options,
                     perf_comparison *out)
{
    perf_regression_options how;
    if (!old_runs || !new_runs || !out)
        return PERF_ERR_INVALID;
    perf_err err = perfi_options(options, &how);
    if (err)
        return err;
    if (old_count < PERF_REGRESSION_RUNS || new_count < PERF_REGRESSION_RUNS ||
        !are_numbers(old_runs, old_count) ||
        !are_numbers(new_runs, new_count) || !(noise >= 0) || isinf(noise) ||
        (scale != PERF_REGRESSION_RATIO && scale != PERF_REGRESSION_DIFFERENCE))
        return PERF_ERR_RANGE;
    *out = (perf_comparison){.ratio = 1,
                             .effect = NAN,
                             .p_more = 1,
                             .p_less = 1,
                             .ratio_high = INFINITY};
    double least = half_of_least(old_runs, old_count, new_runs, new_count);
    if (least <= 0)
        return PERF_OK; /* nothing but zeros: no change */
    moments before = moments_of(old_runs, old_count, scale, least, noise);
    moments after = moments_of(new_runs, new_count, scale, least, noise);
    compare(&before, &after, how.level, scale, out);
    return PERF_OK;
}
