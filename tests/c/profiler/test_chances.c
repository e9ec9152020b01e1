/* test_chances.c - the distributions behind the tests: exact where one can
 * count, beside values of scipy 1.17.1 (in comments: how they were computed).
 */
#include "pt.h"

#include "chances.h"

#include <math.h>

#define NEAR(got, expected, relative)                                          \
    ck_assert_msg(fabs((double)(got) - (double)(expected)) <=                  \
                      fabs((double)(expected)) * (relative),                   \
                  "%.17g, expected %.17g", (double)(got), (double)(expected))

/* ---- by counting ---- */

static double
choose(unsigned n, unsigned k)
{
    double ways = 1;
    for (unsigned i = 1; i <= k; i++)
        ways = ways * (n - k + i) / i;
    return ways;
}

START_TEST(test_binomial_tails_are_sums_of_all_terms)
{
    for (unsigned n = 1; n <= 24; n++)
        for (double p = 0.1; p < 1; p += 0.2) {
            double sum = 0;
            for (unsigned x = n + 1; x-- > 0;) {
                sum += choose(n, x) * pow(p, x) * pow(1 - p, n - x);
                NEAR(perfi_binomial_at_least(x, n, p), fmin(sum, 1), 1e-12);
            }
        }
}
END_TEST

START_TEST(test_hypergeometric_tails_are_sums_of_all_draws)
{
    for (unsigned total = 1; total <= 14; total++)
        for (unsigned good = 0; good <= total; good++)
            for (unsigned draws = 0; draws <= total; draws++) {
                double sum = 0;
                for (unsigned x = draws + 2; x-- > 0;) {
                    bool can =
                        x <= good && draws - x <= total - good && x <= draws;
                    if (can)
                        sum += choose(good, x) *
                               choose(total - good, draws - x) /
                               choose(total, draws);
                    double got =
                        perfi_hypergeometric_at_least(x, draws, good, total);
                    ck_assert_double_eq_tol(got, sum, 1e-12);
                }
            }
}
END_TEST

START_TEST(test_gamma_is_that_of_factorials_and_halves)
{
    for (unsigned n = 1; n < 160; n++) /* ln (n - 1)! */
        ck_assert_double_eq_tol(perfi_log_gamma(n), log(tgamma(n)),
                                1e-13 * n * n);
    NEAR(perfi_log_gamma(0.5), log(sqrt(acos(-1))), 1e-13);
    NEAR(perfi_log_gamma(2.5), log(0.75 * sqrt(acos(-1))), 1e-12);
}
END_TEST

/* ---- beside scipy ---- */

START_TEST(test_tails_beside_scipy)
{
    /* stats.binom.sf(x - 1, n, p) */
    NEAR(perfi_binomial_at_least(3, 10, 0.3), 0.6172172136, 1e-12);
    NEAR(perfi_binomial_at_least(995, 1000, 0.99), 0.06613951160725165, 1e-11);
    NEAR(perfi_binomial_at_least(1, 1000, 1e-6), 0.000999500666125591, 1e-11);
    NEAR(perfi_binomial_at_least(500100, 1e6, 0.5), 0.4211313785258083, 1e-9);
    NEAR(perfi_binomial_at_least(20, 20, 0.2), 1.0485760000000012e-14, 1e-11);
    /* stats.hypergeom.sf(x - 1, total, good, draws) */
    NEAR(perfi_hypergeometric_at_least(3, 10, 5, 30), 0.191234053303019, 1e-12);
    NEAR(perfi_hypergeometric_at_least(40, 1000, 60, 2000),
         0.006069770757779359, 1e-10);
    NEAR(perfi_hypergeometric_at_least(600, 100000, 1000, 200000),
         1.23207037058967e-10, 1e-8);
    NEAR(perfi_hypergeometric_at_least(1, 1, 1, 1e6), 1e-6, 1e-10);
    /* stats.t.sf(t, freedom) */
    NEAR(perfi_student_at_least(0.5, 1), 0.35241638234956674, 1e-12);
    NEAR(perfi_student_at_least(2, 2.5), 0.07869574787898295, 1e-12);
    NEAR(perfi_student_at_least(30, 3), 4.067640213581979e-05, 1e-11);
    NEAR(perfi_student_at_least(-4, 7.3), 0.9976188164178365, 1e-12);
    NEAR(perfi_student_at_least(1e8, 2), 5e-17, 1e-7);
    /* stats.t.isf(p, freedom), stats.norm.isf(p) */
    NEAR(perfi_student_point(0.01, 3.7), 3.920507819208549, 1e-10);
    NEAR(perfi_student_point(1e-9, 1), 318309886.1837907, 1e-7);
    NEAR(perfi_normal_point(0.01), 2.3263478740408408, 1e-12);
    NEAR(perfi_normal_point(0.975), -1.959963984540054, 1e-12);
}
END_TEST

/* ---- whatever the numbers ---- */

START_TEST(test_every_chance_is_one)
{
    pt_random r = {7};
    for (int i = 0; i < PT_TIMES(20000); i++) {
        double total = floor(exp2(pt_unit(&r) * 63));
        double good = floor(pt_unit(&r) * total);
        double draws = floor(pt_unit(&r) * total);
        double x = floor(pt_unit(&r) * draws);
        double p = perfi_hypergeometric_at_least(x, draws, good, total);
        PT_ASSERT(p >= 0 && p <= 1);
        p = perfi_binomial_at_least(x, total, pt_unit(&r));
        PT_ASSERT(p >= 0 && p <= 1);
        double t = (pt_unit(&r) - 0.5) * exp2(pt_unit(&r) * 60);
        p = perfi_student_at_least(t, 1 + (double)pt_below(&r, 1000));
        PT_ASSERT(p >= 0 && p <= 1);
    }
}
END_TEST

START_TEST(test_a_tail_falls_steadily)
{
    double before = 1;
    for (double x = 0; x <= 3001; x++) {
        double p = perfi_hypergeometric_at_least(x, 3000, 4000, 9000);
        PT_ASSERT(p <= before + 1e-12);
        before = p;
    }
    ck_assert_double_eq(before, 0);
}
END_TEST

START_TEST(test_inverses)
{
    for (double p = 1e-12; p < 1; p = p < 0.4 ? p * 3 : p + 0.1) {
        NEAR(perfi_normal_at_least(perfi_normal_point(p)), p, 1e-9);
        for (double freedom = 1; freedom < 500; freedom *= 3.3)
            NEAR(perfi_student_at_least(perfi_student_point(p, freedom),
                                        freedom),
                 p, 1e-7);
    }
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("profiler.chances");
    tcase_add_test(tests, test_binomial_tails_are_sums_of_all_terms);
    tcase_add_test(tests, test_hypergeometric_tails_are_sums_of_all_draws);
    tcase_add_test(tests, test_gamma_is_that_of_factorials_and_halves);
    tcase_add_test(tests, test_tails_beside_scipy);
    tcase_add_test(tests, test_every_chance_is_one);
    tcase_add_test(tests, test_a_tail_falls_steadily);
    tcase_add_test(tests, test_inverses);
    return pt_end();
}
