/* binomial.c - binomial and hypergeometric tails.
 *
 * Single probabilities by Loader's saddle point form (C. Loader, Fast and
 * accurate computation of binomial probabilities, 2000): differences of large
 * logarithms of factorials would leave no digit. A tail is added up from its
 * largest term outwards, term by term from the ratio of neighbours. */
#include "chances.h"

#include <math.h>

#define TWO_PI 6.283185307179586476925

/* Beyond this variance a tail has too many terms, and none that counts: the
 * normal distribution is right to four digits there. */
static const double too_wide = 1e10;

/* What Stirling's formula lacks: ln n! - (n + 1/2) ln n + n - ln(2 pi) / 2. */
static double
stirling_error(double n)
{
    if (n < 16)
        return log(tgamma(n + 1)) - (n + 0.5) * log(n) + n - log(TWO_PI) / 2;
    double n2 = n * n;
    return (1.0 / 12 - (1.0 / 360 - (1.0 / 1260 - 1.0 / 1680 / n2) / n2) / n2) /
           n;
}

double
perfi_log_gamma(double x)
{
    double below = 0;
    for (; x < 16; x++)
        below += log(x);
    return (x - 0.5) * log(x) - x + log(TWO_PI) / 2 + stirling_error(x) - below;
}

/* x ln(x / mean) + mean - x, without cancellation where they are close. */
static double
deviance(double x, double mean)
{
    double apart = x - mean, v = apart / (x + mean);
    if (fabs(v) >= 0.1)
        return x * log(x / mean) - apart;
    double sum = apart * v, term = 2 * x * v;
    for (int odd = 3; odd < 1000; odd += 2) {
        term *= v * v;
        double next = sum + term / odd;
        if (next == sum)
            break;
        sum = next;
    }
    return sum;
}

static double
binomial(double x, double n, double p, double q)
{
    if (p <= 0 || q <= 0)
        return x == (p <= 0 ? 0 : n);
    if (x <= 0)
        return exp(n * log1p(-p));
    if (x >= n)
        return exp(n * log1p(-q));
    double exponent = stirling_error(n) - stirling_error(x) -
                      stirling_error(n - x) - deviance(x, n * p) -
                      deviance(n - x, n * q);
    return exp(exponent) * sqrt(n / (TWO_PI * x * (n - x)));
}

static double
clamp(double chance)
{
    return chance > 0 ? chance < 1 ? chance : 1 : 0; /* NaN: 0 */
}

/* The terms from x on, where they fall: `good` of `total`, or (total 0) any
 * number of tries that succeed by `p`. */
typedef struct terms {
    double n, p;        /* binomial */
    double good, total; /* hypergeometric, n drawn; total 0: binomial */
} terms;

static double
term(const terms *t, double x)
{
    if (!(t->total > 0))
        return binomial(x, t->n, t->p, 1 - t->p);
    double p = t->n / t->total, q = (t->total - t->n) / t->total;
    return binomial(x, t->good, p, q) *
           binomial(t->n - x, t->total - t->good, p, q) /
           binomial(t->n, t->total, p, q);
}

/* term(x + 1) / term(x) */
static double
step(const terms *t, double x)
{
    if (!(t->total > 0))
        return (t->n - x) / (x + 1) * (t->p / (1 - t->p));
    return (t->good - x) / (x + 1) *
           ((t->n - x) / (t->total - t->good - t->n + x + 1));
}

static double
tail(const terms *t, double x, double mean)
{
    double sum = 0;
    if (x > mean) {
        for (double one = term(t, x); one > sum * 1e-17; x++) {
            sum += one;
            one *= step(t, x);
        }
        return clamp(sum);
    }
    x--;
    for (double one = term(t, x); one > sum * 1e-17; x--) {
        sum += one;
        one /= step(t, x - 1);
    }
    return clamp(1 - sum);
}

double
perfi_binomial_at_least(double x, double n, double p)
{
    terms t = {.n = n, .p = p};
    double mean = n * p, variance = mean * (1 - p);
    if (x <= 0)
        return 1;
    if (x > n)
        return 0;
    if (variance > too_wide)
        return perfi_normal_at_least((x - 0.5 - mean) / sqrt(variance));
    return tail(&t, x, mean);
}

double
perfi_hypergeometric_at_least(double x, double draws, double good, double total)
{
    terms t = {.n = draws, .good = good, .total = total};
    double mean = draws / total * good;
    double variance =
        mean * ((total - good) / total) * ((total - draws) / (total - 1));
    if (x <= 0 || x <= draws + good - total)
        return 1;
    if (x > draws || x > good)
        return 0;
    if (variance > too_wide)
        return perfi_normal_at_least((x - 0.5 - mean) / sqrt(variance));
    return tail(&t, x, mean);
}
