/* test_cost.c - what is learned of T(n), against lines that are known. */
#include "pt.h"

#include "batch_cost.h"

#include <math.h>
#include <stdlib.h>

enum { ERRORS = 200 }; /* that a margin is of */

static perf_batch_cost *
make(void)
{
    perf_batch_cost *cost = NULL;
    ck_assert_int_eq(perf_batch_cost_create(NULL, &cost), PERF_OK);
    return cost;
}

static perf_batch_cost_stats
stats_of(const perf_batch_cost *cost)
{
    perf_batch_cost_stats stats;
    perf_batch_cost_stats_now(cost, &stats);
    return stats;
}

/* 20 ms and 1 ms for each. */
static double
truth(uint64_t n)
{
    return 20e6 + 1e6 * (double)n;
}

/* The same, with an error of 10 % or so. */
static uint64_t
noisy(pt_random *r, uint64_t n)
{
    double u = sqrt(-2 * log(pt_unit(r))) * cos(6.283185307 * pt_unit(r));
    return (uint64_t)(truth(n) * exp(0.1 * u - 0.005));
}

static void
learn_noisy(perf_batch_cost *cost, pt_random *r, int batches, double factor)
{
    for (int i = 0; i < batches; i++) {
        uint64_t n = 1 + pt_below(r, 32);
        double took = (double)noisy(r, n) * factor;
        perf_batch_cost_observe(cost, n, (uint64_t)took);
    }
}

static void
assert_about(double is, double should, double part)
{
    ck_assert_double_le(fabs(is - should), part * fabs(should));
}

START_TEST(test_a_line_is_found_exactly)
{
    perf_batch_cost *cost = make();
    for (uint64_t n = 1; n <= 10; n++)
        perf_batch_cost_observe(cost, n, (uint64_t)truth(n));
    for (uint64_t n = 0; n <= 1000; n += 50)
        assert_about((double)perf_batch_cost_predict(cost, n), truth(n), 1e-9);
    perf_batch_cost_stats stats = stats_of(cost);
    assert_about(stats.base_ns, 20e6, 1e-9);
    assert_about(stats.each_ns, 1e6, 1e-9);
    ck_assert_uint_le(stats.margin_ns, 1);
    ck_assert_uint_eq(stats.observed, 10);
    perf_batch_cost_destroy(cost);
}
END_TEST

START_TEST(test_nothing_is_known_before_eight_batches_and_little_said)
{
    perf_batch_cost *cost = make();
    for (uint64_t n = 1; n <= 7; n++) {
        perf_batch_cost_observe(cost, n, (uint64_t)truth(n));
        ck_assert(!stats_of(cost).known);
        uint64_t said = perf_batch_cost_bound(cost, n);
        ck_assert_uint_eq(said, perf_batch_cost_predict(cost, n));
        ck_assert_uint_eq(said != 0, n >= 3);
        ck_assert_uint_le(said, (uint64_t)truth(n) + 1);
        /* of smaller ones, no more than in proportion */
        ck_assert_uint_le(perf_batch_cost_bound(cost, 1),
                          (uint64_t)truth(n) / 2 + 1);
    }
    perf_batch_cost_observe(cost, 8, (uint64_t)truth(8));
    ck_assert(stats_of(cost).known);
    ck_assert_uint_gt(perf_batch_cost_predict(cost, 8), 0);
    perf_batch_cost_destroy(cost);
}
END_TEST

START_TEST(test_the_first_two_batches_do_not_count)
{
    perf_batch_cost *cost = make();
    perf_batch_cost_observe(cost, 1, 60 * PT_NS_PER_S); /* loads a model */
    perf_batch_cost_observe(cost, 32, 30 * PT_NS_PER_S);
    for (uint64_t n = 1; n <= 6; n++)
        perf_batch_cost_observe(cost, n, (uint64_t)truth(n));
    assert_about((double)perf_batch_cost_bound(cost, 32), truth(32), 1e-6);
    perf_batch_cost_destroy(cost);
}
END_TEST

START_TEST(test_batches_that_are_all_alike_have_a_mean_and_no_slope)
{
    perf_batch_cost *cost = make();
    for (int i = 0; i < 100; i++)
        perf_batch_cost_observe(cost, 16, 36000000);
    assert_about((double)perf_batch_cost_predict(cost, 16), 36e6, 1e-9);
    ck_assert(stats_of(cost).each_ns == 0);
    perf_batch_cost_destroy(cost);
}
END_TEST

/* What other sizes taught is as good as forgotten after 2,000 batches, and in
 * the sums it is: the slope stays, and the base moves with the speed. */
START_TEST(test_a_slope_stays_when_sizes_become_alike)
{
    perf_batch_cost *cost = make();
    for (uint64_t n = 1; n <= 32; n++)
        perf_batch_cost_observe(cost, n, (uint64_t)truth(n));
    for (int i = 0; i < 2000; i++)
        perf_batch_cost_observe(cost, 16, (uint64_t)truth(16));
    assert_about(stats_of(cost).each_ns, 1e6, 1e-3);
    for (int i = 0; i < 2000; i++)
        perf_batch_cost_observe(cost, 16, (uint64_t)truth(16) + 10000000);
    assert_about(stats_of(cost).each_ns, 1e6, 1e-3);
    assert_about(stats_of(cost).base_ns, 30e6, 1e-3);
    perf_batch_cost_destroy(cost);
}
END_TEST

START_TEST(test_a_line_neither_falls_nor_begins_below_zero)
{
    perf_batch_cost *cost = make();
    for (uint64_t n = 1; n <= 20; n++)
        perf_batch_cost_observe(cost, n, 100000000 - n * 1000000);
    ck_assert(stats_of(cost).each_ns == 0);
    assert_about((double)perf_batch_cost_predict(cost, 1000), 90e6, 0.1);
    perf_batch_cost_destroy(cost);
    cost = make();
    for (uint64_t n = 10; n <= 30; n++) /* as n squared: base below zero */
        perf_batch_cost_observe(cost, n, n * n * 1000);
    ck_assert(stats_of(cost).base_ns == 0);
    ck_assert_double_gt(stats_of(cost).each_ns, 20000);
    perf_batch_cost_destroy(cost);
}
END_TEST

START_TEST(test_noise_of_a_tenth_leaves_predictions_within_a_twentieth)
{
    pt_random r = {1};
    perf_batch_cost *cost = make();
    learn_noisy(cost, &r, 300, 1);
    double worst = 0;
    for (int round = 0; round < 100; round++) {
        learn_noisy(cost, &r, 10, 1);
        for (uint64_t n = 4; n <= 32; n += 4) {
            double is = (double)perf_batch_cost_predict(cost, n);
            worst = fmax(worst, fabs(is / truth(n) - 1) * (n >= 8 ? 1 : 0.5));
        }
    }
    ck_assert_double_gt(worst, 0); /* it is learned, not known */
    ck_assert_double_le(worst, 0.1);
    double each = 0;
    for (int round = 0; round < 100; round++) {
        learn_noisy(cost, &r, 50, 1);
        each += (double)perf_batch_cost_predict(cost, 16) / truth(16) / 100;
    }
    assert_about(each, 1, 0.02);
    perf_batch_cost_destroy(cost);
}
END_TEST

START_TEST(test_nineteen_of_twenty_take_less_than_the_bound)
{
    pt_random r = {2};
    perf_batch_cost *cost = make();
    learn_noisy(cost, &r, 250, 1);
    int within = 0, all = 5000;
    for (int i = 0; i < all; i++) {
        uint64_t n = 1 + pt_below(&r, 32), took = noisy(&r, n);
        within += took <= perf_batch_cost_bound(cost, n);
        perf_batch_cost_observe(cost, n, took);
    }
    ck_assert_int_ge(within, all * 93 / 100);
    ck_assert_int_le(within, all * 97 / 100);
    perf_batch_cost_destroy(cost);
}
END_TEST

START_TEST(test_what_was_three_times_wrong_is_right_after_150_batches)
{
    for (int slower = 0; slower <= 1; slower++) {
        pt_random r = {3};
        perf_batch_cost *cost = make();
        double factor = slower ? 3 : 1 / 3.0;
        learn_noisy(cost, &r, 400, 1);
        learn_noisy(cost, &r, 150, factor);
        double is = (double)perf_batch_cost_predict(cost, 16);
        /* three times as long: 5 % of the way are left, and noise */
        assert_about(is, truth(16) * factor, slower ? 0.08 : 0.2);
        perf_batch_cost_destroy(cost);
    }
}
END_TEST

static int
ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Against a sort of the last 200 errors, with a line that does not move. */
/* Times that change by this factor, and back. */
START_TEST(test_another_speed_is_known_after_two_dozen_batches)
{
    static const double factors[] = {0.25, 0.5, 2, 4};
    for (uint64_t seed = 1; seed <= 20; seed++) {
        pt_random r = {seed};
        perf_batch_cost *cost = make();
        learn_noisy(cost, &r, 300, 1);
        uint64_t margin = stats_of(cost).margin_ns;
        learn_noisy(cost, &r, 24, factors[_i]);
        assert_about((double)perf_batch_cost_predict(cost, 16),
                     truth(16) * factors[_i], 0.15);
        learn_noisy(cost, &r, 36, factors[_i]);
        learn_noisy(cost, &r, 24, 1);
        assert_about((double)perf_batch_cost_predict(cost, 16), truth(16),
                     0.15);
        ck_assert_uint_le(stats_of(cost).margin_ns, 3 * margin);
        perf_batch_cost_destroy(cost);
    }
}
END_TEST

/* One in fifty takes ten times as long: it is the same speed, and the line is
 * that of all, not of the latest few. */
START_TEST(test_slow_batches_now_and_then_are_no_other_speed)
{
    pt_random r = {5};
    perf_batch_cost *cost = make();
    learn_noisy(cost, &r, 300, 1);
    for (int i = 0; i < 3000; i++) {
        learn_noisy(cost, &r, 1, 1);
        uint64_t before = stats_of(cost).margin_ns;
        if (i % 50 == 0) {
            learn_noisy(cost, &r, 1, 10);
            ck_assert_uint_ge(stats_of(cost).margin_ns, before / 2);
        }
    }
    ck_assert_uint_le(stats_of(cost).margin_ns, (uint64_t)truth(16));
    perf_batch_cost_destroy(cost);
}
END_TEST

START_TEST(test_the_margin_is_the_95th_percentile_of_the_last_200_errors)
{
    pt_random r = {4};
    perf_batch_cost *cost = make();
    ck_assert_int_eq(perf_batch_cost_fix(cost, 1e6, 1e3), PERF_OK);
    double error[1000], sorted[ERRORS];
    for (int i = 0; i < 1000; i++) {
        uint64_t n = pt_below(&r, 10);
        /* ties, and stretches in which everything is early or late */
        uint64_t took = pt_below(&r, 40) * 100000 * (i / 250 % 2 ? 2u : 1u);
        perf_batch_cost_observe(cost, n, took);
        error[i] = (double)took - (1e6 + 1e3 * (double)n);
        int count = i < ERRORS ? i + 1 : ERRORS;
        for (int j = 0; j < count; j++)
            sorted[j] = error[i - j];
        qsort(sorted, (size_t)count, sizeof *sorted, ascending);
        double p95 = sorted[(count - 1) * 95 / 100];
        uint64_t margin = p95 > 0 ? (uint64_t)p95 : 0;
        PT_ASSERT(stats_of(cost).margin_ns == margin);
    }
    perf_batch_cost_destroy(cost);
}
END_TEST

START_TEST(test_what_is_fixed_is_known_and_not_learned)
{
    perf_batch_cost *cost = make();
    ck_assert_int_eq(perf_batch_cost_fix(cost, 5e6, 1e5), PERF_OK);
    ck_assert(stats_of(cost).known);
    ck_assert_uint_eq(perf_batch_cost_predict(cost, 10), 6000000);
    ck_assert_uint_eq(perf_batch_cost_bound(cost, 10), 6000000);
    for (int i = 0; i < 100; i++)
        perf_batch_cost_observe(cost, 10, 7000000);
    ck_assert_uint_eq(perf_batch_cost_predict(cost, 10), 6000000);
    ck_assert_uint_eq(perf_batch_cost_bound(cost, 10), 7000000);
    perfi_batch_cost_restart(cost);
    ck_assert_uint_eq(perf_batch_cost_predict(cost, 10), 6000000);
    perf_batch_cost_destroy(cost);
}
END_TEST

START_TEST(test_what_cannot_be_a_time_is_not_fixed)
{
    perf_batch_cost *cost = make();
    ck_assert_int_eq(perf_batch_cost_fix(cost, NAN, 1), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_batch_cost_fix(cost, 1, NAN), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_batch_cost_fix(NULL, 1, 1), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_batch_cost_fix(cost, -1, 1), PERF_ERR_RANGE);
    ck_assert_int_eq(perf_batch_cost_fix(cost, 1, -1e-9), PERF_ERR_RANGE);
    ck_assert_int_eq(perf_batch_cost_fix(cost, INFINITY, 1), PERF_ERR_RANGE);
    ck_assert_int_eq(perf_batch_cost_fix(cost, 1, INFINITY), PERF_ERR_RANGE);
    ck_assert(!stats_of(cost).known);
    ck_assert_int_eq(perf_batch_cost_fix(cost, 0, 0), PERF_OK);
    ck_assert_uint_eq(perf_batch_cost_predict(cost, 1), 1); /* 0: not known */
    perf_batch_cost_destroy(cost);
}
END_TEST

START_TEST(test_the_largest_numbers_stay_numbers)
{
    static const uint64_t odd[] = {0, 1, 32, UINT64_MAX / 2, UINT64_MAX};
    pt_random r = {5};
    perf_batch_cost *cost = make();
    for (int i = 0; i < 5000; i++) {
        perf_batch_cost_observe(cost, odd[pt_below(&r, 5)],
                                odd[pt_below(&r, 5)]);
        perf_batch_cost_stats stats = stats_of(cost);
        PT_ASSERT(isfinite(stats.base_ns) && stats.base_ns >= 0);
        PT_ASSERT(isfinite(stats.each_ns) && stats.each_ns >= 0);
        PT_ASSERT(!stats.known ||
                  perf_batch_cost_bound(cost, UINT64_MAX) <= UINT64_MAX / 2);
    }
    perf_batch_cost_destroy(cost);
}
END_TEST

START_TEST(test_a_restart_forgets_all)
{
    perf_batch_cost *cost = make();
    for (uint64_t n = 1; n <= 10; n++)
        perf_batch_cost_observe(cost, n, (uint64_t)truth(n));
    perfi_batch_cost_restart(cost);
    perf_batch_cost_stats stats = stats_of(cost);
    ck_assert(!stats.known && !stats.observed && stats.base_ns == 0);
    perf_batch_cost_destroy(cost);
}
END_TEST

START_TEST(test_no_memory_is_an_error_and_null_is_harmless)
{
    pt_alloc alloc;
    pt_alloc_init(&alloc, 0);
    perf_batch_cost *cost = (perf_batch_cost *)(uintptr_t)1;
    ck_assert_int_eq(perf_batch_cost_create(&alloc.face, &cost),
                     PERF_ERR_NOMEM);
    ck_assert_ptr_null(cost);
    ck_assert_int_eq(perf_batch_cost_create(NULL, NULL), PERF_ERR_INVALID);
    pt_alloc_init(&alloc, 1);
    ck_assert_int_eq(perf_batch_cost_create(&alloc.face, &cost), PERF_OK);
    ck_assert_uint_le(alloc.live_bytes, 4096);
    for (uint64_t n = 1; n < 500; n++)
        perf_batch_cost_observe(cost, n, n);
    perf_batch_cost_destroy(cost);
    ck_assert_uint_eq(alloc.live, 0);
    ck_assert(!alloc.wrong_size);
    perf_batch_cost_destroy(NULL);
    perf_batch_cost_observe(NULL, 1, 1);
    perf_batch_cost_stats_now(NULL, NULL);
    ck_assert_uint_eq(perf_batch_cost_predict(NULL, 1), 0);
    ck_assert_uint_eq(perf_batch_cost_bound(NULL, 1), 0);
    ck_assert(!stats_of(NULL).known);
}
END_TEST

int
main(void)
{
    TCase *t = pt_begin("batcher.cost");
    tcase_add_test(t, test_a_line_is_found_exactly);
    tcase_add_test(t,
                   test_nothing_is_known_before_eight_batches_and_little_said);
    tcase_add_test(t, test_the_first_two_batches_do_not_count);
    tcase_add_test(t, test_batches_that_are_all_alike_have_a_mean_and_no_slope);
    tcase_add_test(t, test_a_slope_stays_when_sizes_become_alike);
    tcase_add_test(t, test_a_line_neither_falls_nor_begins_below_zero);
    tcase_add_test(t,
                   test_noise_of_a_tenth_leaves_predictions_within_a_twentieth);
    tcase_add_test(t, test_nineteen_of_twenty_take_less_than_the_bound);
    tcase_add_test(t,
                   test_what_was_three_times_wrong_is_right_after_150_batches);
    tcase_add_test(
        t, test_the_margin_is_the_95th_percentile_of_the_last_200_errors);
    tcase_add_loop_test(t, test_another_speed_is_known_after_two_dozen_batches,
                        0, 4);
    tcase_add_test(t, test_slow_batches_now_and_then_are_no_other_speed);
    tcase_add_test(t, test_what_is_fixed_is_known_and_not_learned);
    tcase_add_test(t, test_what_cannot_be_a_time_is_not_fixed);
    tcase_add_test(t, test_the_largest_numbers_stay_numbers);
    tcase_add_test(t, test_a_restart_forgets_all);
    tcase_add_test(t, test_no_memory_is_an_error_and_null_is_harmless);
    return pt_end();
}
