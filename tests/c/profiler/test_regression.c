/* test_regression.c - comparisons of two samples: beside scipy 1.17.1 (in
 * comments: how), by counting all orders where there are few, and whatever the
 * numbers are. */
#include "pt.h"

#include <libperf/regression.h>

#include <math.h>

#define NEAR(got, expected, relative)                                          \
    ck_assert_msg(fabs((double)(got) - (double)(expected)) <=                  \
                      fabs((double)(expected)) * (relative),                   \
                  "%.17g, expected %.17g", (double)(got), (double)(expected))

static perf_histogram *
make(void)
{
    perf_histogram *h = NULL;
    ck_assert_int_eq(perf_histogram_create(NULL, &h), PERF_OK);
    return h;
}

/* n values i * step % modulus + least; below 256 each has its own bucket */
static perf_histogram *
pattern(unsigned n, unsigned step, unsigned modulus, unsigned least)
{
    perf_histogram *h = make();
    for (unsigned i = 0; i < n; i++)
        perf_histogram_record(h, i * step % modulus + least);
    return h;
}

static perf_histogram *
lognormal(pt_random *r, int n, double middle)
{
    perf_histogram *h = make();
    for (int i = 0; i < n; i++) {
        double normal =
            sqrt(-2 * log(pt_unit(r))) * cos(6.2831853 * pt_unit(r));
        perf_histogram_record(h, (uint64_t)(middle * exp(0.5 * normal)));
    }
    return h;
}

static perf_comparison
shift(const perf_histogram *a, const perf_histogram *b)
{
    perf_comparison c;
    ck_assert_int_eq(perf_regression_shift(a, b, NULL, &c), PERF_OK);
    return c;
}

static perf_comparison
tail(const perf_histogram *a, const perf_histogram *b, double q)
{
    perf_comparison c;
    ck_assert_int_eq(perf_regression_tail(a, b, q, NULL, &c), PERF_OK);
    return c;
}

/* ---- shift ---- */

START_TEST(test_shift_beside_scipy)
{
    /* x = [i * 37 % 101 + 1 for i in range(60)], y alike;
     * stats.mannwhitneyu(y, x, alternative=, method="asymptotic") */
    perf_histogram *x = pattern(60, 37, 101, 1), *y = pattern(80, 53, 113, 7);
    perf_comparison c = shift(x, y);
    NEAR(c.p_more, 0.01963948014821251, 1e-12);
    NEAR(c.p_less, 0.9805604125626733, 1e-12);
    NEAR(c.effect, 0.6020833333333333, 1e-12);
    NEAR(c.ratio, 1.2333333333333334, 1e-6); /* np.median(y / x, all pairs) */
    ck_assert(c.ratio_low < c.ratio && c.ratio < c.ratio_high);
    /* many ties: i * 37 % 11 + 1 and i * 53 % 13 + 2 */
    perf_histogram *tx = pattern(60, 37, 11, 1), *ty = pattern(80, 53, 13, 2);
    c = shift(tx, ty);
    NEAR(c.p_more, 0.0014132999510277275, 1e-11);
    NEAR(c.p_less, 0.99860609663694, 1e-12);
    perf_histogram_destroy(ty);
    perf_histogram_destroy(tx);
    perf_histogram_destroy(y);
    perf_histogram_destroy(x);
}
END_TEST

START_TEST(test_interval_of_a_shift_holds_what_is_true)
{
    pt_random r = {4};
    int missed = 0, rounds = PT_TIMES(800);
    for (int i = 0; i < rounds; i++) {
        perf_histogram *a = lognormal(&r, 200, 1e6);
        perf_histogram *b = lognormal(&r, 300, 1.3e6);
        perf_comparison c = shift(a, b);
        missed += c.ratio_low > 1.3 || c.ratio_high < 1.3;
        perf_histogram_destroy(b);
        perf_histogram_destroy(a);
    }
    /* 2 % are expected: 16 of 800, and beyond 32 once in some 10,000 times */
    ck_assert_int_le(missed, rounds * 4 / 100);
    ck_assert_int_ge(missed, PT_SANITIZED ? 0 : 4);
}
END_TEST

START_TEST(test_inflation_makes_less_sure)
{
    pt_random r = {5};
    perf_histogram *a = lognormal(&r, 1000, 1e6),
                   *b = lognormal(&r, 1000, 1.1e6);
    perf_comparison plain = shift(a, b), c;
    perf_regression_options o;
    perf_regression_options_init(&o);
    o.old_inflation = o.new_inflation = 4;
    ck_assert_int_eq(perf_regression_shift(a, b, &o, &c), PERF_OK);
    ck_assert(c.p_more > plain.p_more * 10);
    double wider = log(c.ratio_high / c.ratio_low) /
                   log(plain.ratio_high / plain.ratio_low);
    NEAR(wider, 2, 0.05); /* four tell as much as one: twice the interval */
    NEAR(c.ratio, plain.ratio, 1e-9);
    perf_histogram_destroy(b);
    perf_histogram_destroy(a);
}
END_TEST

/* ---- tail ---- */

START_TEST(test_tail_beside_scipy)
{
    perf_histogram *x = pattern(60, 37, 101, 1), *y = pattern(80, 53, 113, 7);
    perf_comparison c = tail(x, y, 0.9);
    ck_assert_double_eq(c.old_value, 90);
    /* 20 of y above the 7th largest x: stats.nhypergeom.sf(19, 140, 80, 7) */
    NEAR(c.p_more, 0.018898534963480706, 1e-10);
    ck_assert(c.ratio_low <= c.ratio && c.ratio <= c.ratio_high);
    perf_histogram_destroy(y);
    perf_histogram_destroy(x);
}
END_TEST

/* Of 20 + 20 values without ties every order is as likely: walk down from the
 * largest, and count orders by a table. */
START_TEST(test_tail_is_exact)
{
    enum { N = 20 };
    static double ways[2 * N + 1]
                      [N + 1]; /* drawn so many, so many of them old */
    perf_histogram *x = make(), *y = make();
    for (unsigned i = 0; i < N; i++) {
        perf_histogram_record(x, 2 * i + 1); /* 1, 3 ... 39 */
        perf_histogram_record(y, 2 * i + 8); /* 8 ... 46 */
    }
    perf_comparison c = tail(x, y, 0.9); /* the 3rd largest x, 35 */
    double more = 0, all = 0;
    ways[0][0] = 1;
    for (int drawn = 0; drawn < 2 * N; drawn++)
        for (int old = 0; old <= N && old <= drawn; old++) {
            if (old < N)
                ways[drawn + 1][old + 1] += ways[drawn][old];
            if (drawn - old < N)
                ways[drawn + 1][old] += ways[drawn][old];
        }
    all = ways[2 * N][N];
    /* above 35 there are 36 ... 46 of y: six. The 3rd x comes after `first` y,
     * six or more: two x among them, and the rest in any order */
    for (int first = 6; first <= N; first++) {
        double before = (first + 2) * (first + 1) / 2.0;
        more += before * ways[2 * N - first - 3][N - 3];
    }
    NEAR(c.p_more, more / all, 1e-12);
    perf_histogram_destroy(y);
    perf_histogram_destroy(x);
}
END_TEST

START_TEST(test_ties_are_no_tail)
{
    perf_histogram *x = make(), *y = make();
    for (int i = 0; i < 1000; i++) {
        perf_histogram_record(x, 1000);
        perf_histogram_record(y, i < 900 ? 1000 : 999);
    }
    ck_assert_double_eq(tail(x, y, 0.99).p_more, 1);
    ck_assert_double_eq(tail(x, x, 0.99).ratio, 1);
    perf_histogram_destroy(y);
    perf_histogram_destroy(x);
}
END_TEST

START_TEST(test_interval_of_a_quantile)
{
    perf_histogram *h = make();
    uint64_t low, high;
    for (uint64_t v = 1; v <= 100; v++)
        perf_histogram_record(h, v);
    /* n = 100, q = .5, level .95: ranks 40 and 61 (Conover, table A3) */
    ck_assert_int_eq(perf_regression_interval(h, 0.5, 0.95, &low, &high), 0);
    ck_assert_uint_eq(low, 40);
    ck_assert_uint_eq(high, 61);
    /* 99 % of the time P99 of 100 values has no upper bound among them */
    ck_assert_int_eq(perf_regression_interval(h, 0.99, 0.98, &low, &high), 0);
    ck_assert_uint_eq(high, UINT64_MAX);
    ck_assert_int_eq(perf_regression_interval(h, 0.01, 0.98, &low, &high), 0);
    ck_assert_uint_eq(low, 0);
    perf_histogram_destroy(h);
}
END_TEST

/* ---- rates, runs ---- */

START_TEST(test_rates_beside_scipy)
{
    /* stats.fisher_exact([[new, fine], [old, fine]], alternative=) */
    static const struct {
        uint64_t wrong, all, new_wrong, new_all;
        double more, less;
    } cases[] = {
        {3, 1000, 12, 900, 0.010217021659592405, 0.9980698481054627},
        {0, 50, 1, 50, 0.5, 1},
        {40, 60, 30, 80, 0.9998497586678669, 0.0005466088181298056},
        {5, 100000, 40, 200000, 0.0005895200915668525, 0.999864865826498},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        perf_comparison c;
        ck_assert_int_eq(perf_regression_rate(cases[i].wrong, cases[i].all,
                                              cases[i].new_wrong,
                                              cases[i].new_all, NULL, &c),
                         PERF_OK);
        NEAR(c.p_more, cases[i].more, 1e-10);
        NEAR(c.p_less, cases[i].less, 1e-10);
        ck_assert(c.ratio_low <= c.ratio && c.ratio <= c.ratio_high);
    }
}
END_TEST

START_TEST(test_runs_beside_scipy)
{
    const double a[] = {10.1, 10.4, 9.9, 10.2}, b[] = {12.0, 11.1, 12.9};
    perf_comparison c;
    ck_assert_int_eq(
        perf_regression_runs(a, 4, b, 3, PERF_REGRESSION_RATIO, 0, NULL, &c),
        PERF_OK);
    /* stats.ttest_ind(np.log(b), np.log(a), equal_var=False) */
    NEAR(c.p_more, 0.027686584737993167, 1e-11);
    NEAR(c.ratio, 1.1802312922306126, 1e-12);
    NEAR(c.ratio_low, 0.8998719848592357, 1e-10);
    NEAR(c.ratio_high, 1.5479378473797427, 1e-10);
    NEAR(c.p_more + c.p_less, 1, 1e-12);
}
END_TEST

START_TEST(test_runs_that_are_all_alike)
{
    const double same[] = {5, 5, 5}, more[] = {6, 6, 6}, none[] = {0, 0, 0};
    perf_comparison c;
    for (int scale = 0; scale < 2; scale++) {
        perf_regression_runs(same, 3, same, 3, scale, 0, NULL, &c);
        ck_assert_double_eq(c.p_more, 0.5);
        ck_assert_double_eq(c.ratio, 1);
        perf_regression_runs(same, 3, more, 3, scale, 0, NULL, &c);
        ck_assert_double_lt(c.p_more, 1e-12);
        /* noise that is known keeps it from being certain */
        perf_regression_runs(same, 3, more, 3, scale, 0.1, NULL, &c);
        ck_assert(c.p_more > 0 && c.p_more < 0.1);
        perf_regression_runs(none, 3, none, 3, scale, 0.1, NULL, &c);
        ck_assert(c.ratio == 1 && c.p_more == 1 && c.p_less == 1);
        perf_regression_runs(none, 3, more, 3, scale, 0.1, NULL, &c);
        ck_assert(c.ratio > 1 && c.p_more < 0.01);
    }
}
END_TEST

/* ---- many chances ---- */

START_TEST(test_adjusted_chances)
{
    double p[] = {0.04, 0.01, NAN, 0.03, 0.9, 0.005};
    ck_assert_int_eq(perf_regression_adjust(p, 6, NULL), PERF_OK);
    /* in order: .005 * 5, .01 * 4, .03 * 3, .04 * 2 raised to .09, .9 */
    NEAR(p[5], 0.025, 1e-12);
    NEAR(p[1], 0.04, 1e-12);
    NEAR(p[3], 0.09, 1e-12);
    NEAR(p[0], 0.09, 1e-12);
    NEAR(p[4], 0.9, 1e-12);
    ck_assert(isnan(p[2]));
    double one = 0.02;
    ck_assert_int_eq(perf_regression_adjust(&one, 1, NULL), PERF_OK);
    ck_assert_double_eq(one, 0.02);
    ck_assert_int_eq(perf_regression_adjust(NULL, 0, NULL), PERF_OK);
    ck_assert_int_eq(perf_regression_adjust(NULL, 1, NULL), PERF_ERR_INVALID);
}
END_TEST

/* ---- swapped sides, odd values ---- */

static void
check(const perf_comparison *c)
{
    PT_ASSERT(c->p_more >= 0 && c->p_more <= 1);
    PT_ASSERT(c->p_less >= 0 && c->p_less <= 1);
    PT_ASSERT(c->ratio_low >= 0 && c->ratio_low <= c->ratio);
    PT_ASSERT(c->ratio <= c->ratio_high);
    PT_ASSERT(isnan(c->effect) || (c->effect >= 0 && c->effect <= 1));
}

static void
check_mirror(const perf_comparison *c, const perf_comparison *d)
{
    check(c);
    check(d);
    PT_ASSERT(c->p_more == d->p_less && c->p_less == d->p_more);
    PT_ASSERT(c->old_value == d->new_value && c->new_value == d->old_value);
    if (c->ratio > 0 && !isinf(c->ratio))
        NEAR(c->ratio * d->ratio, 1, 1e-6);
}

START_TEST(test_swapped_sides_mirror)
{
    pt_random r = {9};
    for (int i = 0; i < PT_TIMES(300); i++) {
        perf_histogram *a = make(), *b = make();
        unsigned bits = 1 + (unsigned)pt_below(&r, 64);
        for (uint64_t n = 20 + pt_below(&r, 200); n--;)
            perf_histogram_record(a, pt_next(&r) >> (64 - bits));
        for (uint64_t n = 20 + pt_below(&r, 200); n--;)
            perf_histogram_record(b, pt_next(&r) >> (64 - bits));
        perf_comparison c = shift(a, b), d = shift(b, a);
        check_mirror(&c, &d);
        c = tail(a, b, 0.95);
        d = tail(b, a, 0.95);
        check_mirror(&c, &d);
        perf_histogram_destroy(b);
        perf_histogram_destroy(a);
    }
}
END_TEST

START_TEST(test_values_at_the_ends)
{
    const uint64_t values[] = {0, 1, UINT64_C(1) << 63, UINT64_MAX};
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 4; k++) {
            perf_histogram *a = make(), *b = make();
            for (int n = 0; n < 100; n++) {
                perf_histogram_record(a, values[i]);
                perf_histogram_record(b, values[k]);
            }
            perf_comparison c = shift(a, b);
            check(&c);
            ck_assert((c.p_more < 1e-6) == (k > i));
            ck_assert((c.p_less < 1e-6) == (k < i));
            ck_assert_double_eq(c.effect, k > i ? 1 : k < i ? 0 : 0.5);
            c = tail(a, b, 0.99);
            check(&c);
            ck_assert((c.p_more < 1e-6) == (k > i));
            perf_histogram_destroy(b);
            perf_histogram_destroy(a);
        }
}
END_TEST

START_TEST(test_counts_beyond_any)
{
    perf_histogram *a = make(), *b = make();
    for (uint64_t v = 1; v < 300; v++) {
        perf_histogram_record(a, v);
        perf_histogram_record(b, v + 3);
    }
    for (int i = 0; i < 54; i++) { /* 2^62 and more */
        perf_histogram_merge(a, a);
        perf_histogram_merge(b, b);
    }
    perf_comparison c = shift(a, b), d = tail(a, b, 0.99);
    check(&c);
    check(&d);
    ck_assert_double_lt(c.p_more, 1e-12);
    ck_assert_double_lt(d.p_more, 1e-12);
    perf_histogram_destroy(b);
    perf_histogram_destroy(a);
}
END_TEST

/* ---- what is refused ---- */

START_TEST(test_null_and_nonsense_are_refused)
{
    perf_histogram *a = pattern(60, 37, 101, 1), *few = pattern(19, 1, 50, 1);
    perf_comparison c;
    uint64_t low, high;
    ck_assert_int_eq(perf_regression_shift(NULL, a, NULL, &c),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_regression_shift(a, NULL, NULL, &c),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_regression_shift(a, a, NULL, NULL), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_regression_shift(few, a, NULL, &c), PERF_ERR_RANGE);
    ck_assert_int_eq(perf_regression_shift(a, few, NULL, &c), PERF_ERR_RANGE);
    ck_assert_int_eq(perf_regression_tail(NULL, a, 0.9, NULL, &c),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_regression_tail(a, few, 0.9, NULL, &c),
                     PERF_ERR_RANGE);
    const double qs[] = {0, 1, -1, NAN, INFINITY};
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(perf_regression_tail(a, a, qs[i], NULL, &c),
                         PERF_ERR_RANGE);
        ck_assert_int_eq(perf_regression_interval(a, qs[i], 0.9, &low, &high),
                         PERF_ERR_RANGE);
        ck_assert_int_eq(perf_regression_interval(a, 0.9, qs[i], &low, &high),
                         PERF_ERR_RANGE);
        perf_regression_options o = {qs[i], 1, 1};
        ck_assert_int_eq(perf_regression_shift(a, a, &o, &c), PERF_ERR_RANGE);
    }
    const double inflations[] = {0.5, 0, -1, NAN, INFINITY};
    for (int i = 0; i < 5; i++) {
        perf_regression_options o = {0.9, inflations[i], 1};
        ck_assert_int_eq(perf_regression_shift(a, a, &o, &c), PERF_ERR_RANGE);
        o = (perf_regression_options){0.9, 1, inflations[i]};
        ck_assert_int_eq(perf_regression_rate(1, 2, 1, 2, &o, &c),
                         PERF_ERR_RANGE);
    }
    ck_assert_int_eq(perf_regression_interval(NULL, 0.9, 0.9, &low, &high),
                     PERF_ERR_INVALID);
    perf_histogram *empty = make();
    ck_assert_int_eq(perf_regression_interval(empty, 0.9, 0.9, &low, &high),
                     PERF_ERR_RANGE);
    ck_assert_int_eq(perf_regression_rate(3, 2, 0, 1, NULL, &c),
                     PERF_ERR_RANGE);
    ck_assert_int_eq(perf_regression_rate(0, 0, 0, 1, NULL, &c),
                     PERF_ERR_RANGE);
    ck_assert_int_eq(perf_regression_rate(0, 1, 0, 1, NULL, NULL),
                     PERF_ERR_INVALID);
    perf_regression_options_init(NULL);
    perf_histogram_destroy(empty);
    perf_histogram_destroy(few);
    perf_histogram_destroy(a);
}
END_TEST

START_TEST(test_senseless_runs_are_refused)
{
    const double fine[] = {1, 2, 3};
    const double odd[][3] = {{1, 2, NAN}, {1, -1, 2}, {INFINITY, 1, 2}};
    perf_comparison c;
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(
            perf_regression_runs(fine, 3, odd[i], 3, 0, 0, NULL, &c),
            PERF_ERR_RANGE);
    ck_assert_int_eq(perf_regression_runs(fine, 2, fine, 3, 0, 0, NULL, &c),
                     PERF_ERR_RANGE);
    ck_assert_int_eq(perf_regression_runs(fine, 3, fine, 3, 2, 0, NULL, &c),
                     PERF_ERR_RANGE);
    ck_assert_int_eq(perf_regression_runs(fine, 3, fine, 3, 0, NAN, NULL, &c),
                     PERF_ERR_RANGE);
    ck_assert_int_eq(perf_regression_runs(NULL, 3, fine, 3, 0, 0, NULL, &c),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_regression_runs(fine, 3, fine, 3, 0, 0, NULL, NULL),
                     PERF_ERR_INVALID);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("profiler.regression");
    tcase_add_test(tests, test_shift_beside_scipy);
    tcase_add_test(tests, test_interval_of_a_shift_holds_what_is_true);
    tcase_add_test(tests, test_inflation_makes_less_sure);
    tcase_add_test(tests, test_tail_beside_scipy);
    tcase_add_test(tests, test_tail_is_exact);
    tcase_add_test(tests, test_ties_are_no_tail);
    tcase_add_test(tests, test_interval_of_a_quantile);
    tcase_add_test(tests, test_rates_beside_scipy);
    tcase_add_test(tests, test_runs_beside_scipy);
    tcase_add_test(tests, test_runs_that_are_all_alike);
    tcase_add_test(tests, test_adjusted_chances);
    tcase_add_test(tests, test_swapped_sides_mirror);
    tcase_add_test(tests, test_values_at_the_ends);
    tcase_add_test(tests, test_counts_beyond_any);
    tcase_add_test(tests, test_null_and_nonsense_are_refused);
    tcase_add_test(tests, test_senseless_runs_are_refused);
    return pt_end();
}
