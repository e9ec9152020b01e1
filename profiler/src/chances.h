/* chances.h - the distributions that tests are made of. Counts are whole
 * numbers in doubles: up to 2^53 exactly, beyond that as near as it gets. */
#ifndef PERFI_CHANCES_H
#define PERFI_CHANCES_H

/** ln gamma(x), x above 0. The C library's writes a global variable. */
double perfi_log_gamma(double x);

/** P(X >= x) of a binomial distribution, `n` tries that succeed by `p`. */
double perfi_binomial_at_least(double x, double n, double p);

/** P(X >= x) when `draws` of `total` are drawn, of which `good` count. */
double perfi_hypergeometric_at_least(double x, double draws, double good,
                                     double total);

/** P(X >= z) of the normal distribution, and its inverse for p within 0..1. */
double perfi_normal_at_least(double z);
double perfi_normal_point(double p);

/** P(T >= t) of Student's distribution, and its inverse. */
double perfi_student_at_least(double t, double freedom);
double perfi_student_point(double p, double freedom);
#endif
