/* test_metric.c - counters, gauges and timings, as a reader adds them up. */
#include "pt.h"

#include <math.h>
#include <stdatomic.h>

enum { THREADS = 4, TIMES = 20000 };

static void
count_up(unsigned index, void *ctx)
{
    uint32_t name = *(uint32_t *)ctx;
    for (uint64_t i = 0; i < TIMES; i++)
        perf_metric_add(name, i + index);
}

START_TEST(test_counter_is_the_sum_over_threads)
{
    uint32_t name = pt_name(PERF_KIND_COUNTER, "bytes");
    pt_parallel(THREADS, count_up, &name);
    perf_totals t = pt_totals_of(name);
    ck_assert_uint_eq(t.sum_ns, THREADS * ((uint64_t)TIMES * (TIMES - 1) / 2) +
                                    TIMES * (THREADS * (THREADS - 1) / 2));
    ck_assert_uint_eq(t.count, 0); /* of spans and timings */
    ck_assert_uint_eq(pt_stats().dropped_values, 0);
}
END_TEST

START_TEST(test_counter_saturates)
{
    uint32_t name = pt_name(PERF_KIND_COUNTER, "much");
    perf_metric_add(name, UINT64_MAX - 1);
    perf_metric_add(name, 100);
    ck_assert_uint_eq(pt_totals_of(name).sum_ns, UINT64_MAX);
}
END_TEST

static void
record_timings(unsigned index, void *ctx)
{
    uint32_t name = *(uint32_t *)ctx;
    for (uint64_t i = 1; i <= 1000; i++)
        perf_metric_record(name, i * 1000 + index);
}

START_TEST(test_timing_has_an_exact_count_and_a_histogram)
{
    uint32_t name = pt_name(PERF_KIND_TIMING, "fetch");
    pt_parallel(THREADS, record_timings, &name);
    perf_reader *reader = pt_self();
    perf_histogram *h;
    perf_totals t;
    ck_assert_int_eq(perf_histogram_create(NULL, &h), PERF_OK);
    ck_assert_int_eq(perf_reader_totals(reader, name, &t), PERF_OK);
    ck_assert_int_eq(perf_reader_histogram(reader, name, h), PERF_OK);
    ck_assert_uint_eq(t.count, 1000 * THREADS);
    ck_assert_uint_eq(t.min_ns, 1000);
    ck_assert_uint_eq(t.max_ns, 1000000 + THREADS - 1);
    ck_assert_uint_eq(t.sum_ns,
                      THREADS * UINT64_C(500500000) + 1000 * (0 + 1 + 2 + 3));
    ck_assert_uint_eq(perf_histogram_count(h), t.count);
    ck_assert_uint_eq(perf_histogram_sum(h), t.sum_ns);
    ck_assert_double_le(fabs((double)perf_histogram_quantile(h, 0.5) - 5e5),
                        5e5 * 0.004);
    perf_histogram_destroy(h);
    perf_reader_close(reader);
}
END_TEST

START_TEST(test_intended_timing_counts_the_wait)
{
    uint32_t name = pt_name(PERF_KIND_TIMING, "call");
    perf_metric_record_intended(name, 1000, 5000);
    perf_metric_record_intended(name, 5000, 1000); /* ended before: 0 */
    perf_totals t = pt_totals_of(name);
    ck_assert_uint_eq(t.count, 2);
    ck_assert_uint_eq(t.sum_ns, 4000);
    ck_assert_uint_eq(t.min_ns, 0);
    ck_assert_uint_eq(t.max_ns, 4000);
}
END_TEST

START_TEST(test_names_of_another_kind_are_dropped_and_counted)
{
    uint32_t name[PERF_KIND_COUNT];
    uint64_t dropped = 0;
    for (int kind = 0; kind < PERF_KIND_COUNT; kind++)
        name[kind] = pt_name((perf_kind)kind, "n");
    for (int kind = 0; kind < PERF_KIND_COUNT; kind++) {
        perf_metric_add(name[kind], 1);
        perf_metric_set(name[kind], 1);
        perf_metric_record(name[kind], 1);
        perf_metric_record_intended(name[kind], 1, 2);
        dropped += kind == PERF_KIND_COUNTER || kind == PERF_KIND_GAUGE ? 3
                   : kind == PERF_KIND_TIMING                           ? 2
                                                                        : 4;
        ck_assert_uint_eq(pt_stats().dropped_values, dropped);
    }
    ck_assert_uint_eq(pt_totals_of(name[PERF_KIND_COUNTER]).sum_ns, 1);
    ck_assert_uint_eq(pt_totals_of(name[PERF_KIND_TIMING]).count, 2);
    ck_assert_double_eq(pt_totals_of(name[PERF_KIND_GAUGE]).gauge, 1);
}
END_TEST

START_TEST(test_numbers_never_given_out_are_dropped_and_counted)
{
    const uint32_t never[] = {2000, PERF_NAMES_MAX - 1, PERF_NAMES_MAX,
                              UINT32_MAX};
    for (int i = 0; i < 4; i++) {
        perf_metric_add(never[i], 1);
        perf_metric_set(never[i], 1);
        perf_metric_record(never[i], 1);
    }
    ck_assert_uint_eq(pt_stats().dropped_values, 12);
}
END_TEST

START_TEST(test_gauge_keeps_its_last_value_and_drops_nan)
{
    uint32_t name = pt_name(PERF_KIND_GAUGE, "depth");
    ck_assert_uint_eq(pt_totals_of(name).gauge_ns, 0); /* never set */
    uint64_t before = perf_clock_now_ns();
    perf_metric_set(name, 2.5);
    perf_metric_set(name, -1e300);
    perf_metric_set(name, NAN);
    perf_totals t = pt_totals_of(name);
    ck_assert_double_eq(t.gauge, -1e300);
    ck_assert_uint_eq(pt_stats().dropped_values, 1);
    ck_assert_uint_ge(t.gauge_ns + 1000000, before);
    ck_assert_uint_le(t.gauge_ns, perf_clock_now_ns() + 1000000);
    perf_metric_set(name, INFINITY);
    ck_assert(isinf(pt_totals_of(name).gauge));
}
END_TEST

static _Atomic unsigned turn;

static void
set_in_turn(unsigned index, void *ctx)
{
    uint32_t name = *(uint32_t *)ctx;
    for (unsigned round = 0; round < 5; round++) {
        /* round 4 goes backwards: the last to set is thread 0 */
        unsigned mine = round < 4 ? index : THREADS - 1 - index;
        while (atomic_load(&turn) != round * THREADS + mine)
            ;
        perf_metric_set(name, round * 100 + index);
        ck_assert_double_eq(pt_totals_of(name).gauge, round * 100 + index);
        atomic_fetch_add(&turn, 1);
    }
}

START_TEST(test_gauge_is_the_last_set_by_any_thread)
{
    uint32_t name = pt_name(PERF_KIND_GAUGE, "level");
    pt_parallel(THREADS, set_in_turn, &name);
    ck_assert_double_eq(pt_totals_of(name).gauge, 400);
}
END_TEST

START_TEST(test_windows_are_differences_of_two_readings)
{
    uint32_t counter = pt_name(PERF_KIND_COUNTER, "c");
    uint32_t timing = pt_name(PERF_KIND_TIMING, "t");
    perf_metric_add(counter, 5);
    perf_metric_record(timing, 100);
    perf_totals c = pt_totals_of(counter), t = pt_totals_of(timing);
    perf_metric_add(counter, 7);
    perf_metric_record(timing, 300);
    perf_metric_record(timing, 50);
    ck_assert_uint_eq(pt_totals_of(counter).sum_ns - c.sum_ns, 7);
    ck_assert_uint_eq(pt_totals_of(timing).sum_ns - t.sum_ns, 350);
    ck_assert_uint_eq(pt_totals_of(timing).count - t.count, 2);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("metrics.metric");
    tcase_add_test(tests, test_counter_is_the_sum_over_threads);
    tcase_add_test(tests, test_counter_saturates);
    tcase_add_test(tests, test_timing_has_an_exact_count_and_a_histogram);
    tcase_add_test(tests, test_intended_timing_counts_the_wait);
    tcase_add_test(tests, test_names_of_another_kind_are_dropped_and_counted);
    tcase_add_test(tests, test_numbers_never_given_out_are_dropped_and_counted);
    tcase_add_test(tests, test_gauge_keeps_its_last_value_and_drops_nan);
    tcase_add_test(tests, test_gauge_is_the_last_set_by_any_thread);
    tcase_add_test(tests, test_windows_are_differences_of_two_readings);
    return pt_end();
}
