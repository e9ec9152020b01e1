/* test_clock.c - ticks follow CLOCK_MONOTONIC. */
#include "pt.h"

#include "base/clock.h"

#include <math.h>
#include <string.h>
#include <time.h>

static uint64_t
monotonic(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * PT_NS_PER_S + (uint64_t)t.tv_nsec;
}

START_TEST(test_now_is_clock_monotonic)
{
    for (int i = 0; i < 1000; i++) {
        uint64_t before = monotonic();
        uint64_t now = perf_clock_now_ns();
        uint64_t after = monotonic();
        ck_assert_uint_le(before, now);
        ck_assert_uint_le(now, after);
    }
}
END_TEST

START_TEST(test_ticks_never_go_back)
{
    uint64_t last = perf_clock_ticks(), first = last;
    for (int i = 0; i < 1000000; i++) {
        uint64_t now = perf_clock_ticks();
        PT_ASSERT(last <= now);
        last = now;
    }
    PT_ASSERT(first < last);
}
END_TEST

/* By the best of several tries: an interrupt between two reads of a pair is
 * an error of the test, not of the clock. */
START_TEST(test_durations_are_those_of_clock_monotonic)
{
    double best = 1;
    for (int try = 0; try < 5 && best > 0.005; try++) {
        uint64_t from_ns = monotonic(), from = perf_clock_ticks();
        while (monotonic() < from_ns + 25000000)
            ;
        uint64_t ticks = perf_clock_ticks() - from;
        double truth = (double)(monotonic() - from_ns);
        double error = fabs((double)perf_clock_duration_ns(ticks) - truth);
        if (error / truth < best)
            best = error / truth;
    }
    ck_assert_double_le(best, 0.005);
}
END_TEST

START_TEST(test_ticks_and_ns_convert_there_and_back)
{
    uint64_t now_ns = perf_clock_now_ns();
    /* an hour either way, and this moment */
    for (int64_t apart = -3600; apart <= 3600; apart += 300) {
        uint64_t ns = now_ns + (uint64_t)(apart * (int64_t)PT_NS_PER_S);
        if (apart < 0 && now_ns < (uint64_t)-apart * PT_NS_PER_S)
            continue; /* the machine is younger than that */
        uint64_t back = perf_clock_ticks_to_ns(perf_clock_ns_to_ticks(ns));
        double error = fabs((double)back - (double)ns);
        /* a tick and the last bit of the rate over that time */
        ck_assert_double_le(error, 2000);
    }
}
END_TEST

START_TEST(test_a_tick_is_read_at_the_time_it_says)
{
    double best = 1e18;
    for (int i = 0; i < 200; i++) {
        uint64_t before = monotonic();
        uint64_t ns = perf_clock_ticks_to_ns(perf_clock_ticks());
        uint64_t after = monotonic();
        double middle = ((double)before + (double)after) / 2;
        best = fmin(best, fabs((double)ns - middle));
    }
    ck_assert_double_le(best, 200000); /* seconds after load: far below 0.1 % */
}
END_TEST

START_TEST(test_huge_durations_saturate)
{
    ck_assert_uint_eq(perfi_clock_scale(UINT64_MAX, UINT64_C(2) << 32),
                      UINT64_MAX);
    ck_assert_uint_eq(perfi_clock_scale(UINT64_MAX, UINT64_C(1) << 32),
                      UINT64_MAX);
    ck_assert_uint_eq(perfi_clock_scale(UINT64_MAX, UINT64_C(1) << 31),
                      UINT64_MAX / 2);
    ck_assert_uint_eq(perfi_clock_scale(UINT64_C(1) << 63, UINT64_C(2) << 32),
                      UINT64_MAX);
    double expected =
        fmin(18446744073709551615.0,
             18446744073709551615.0 * 1e9 / perf_clock_ticks_per_s());
    double got = (double)perf_clock_duration_ns(UINT64_MAX);
    ck_assert_double_le(fabs(got - expected), expected * 1e-6);
    ck_assert_uint_eq(perf_clock_duration_ns(0), 0);
}
END_TEST

START_TEST(test_source_and_rate_agree)
{
    const char *source = perf_clock_source();
    double rate = perf_clock_ticks_per_s();
    if (!strcmp(source, "monotonic"))
        ck_assert_double_eq(rate, 1e9);
    else {
        ck_assert_str_eq(source, "tsc");
        ck_assert_double_ge(rate, 1e8);
        ck_assert_double_le(rate, 1e10);
    }
    double second = (double)perf_clock_duration_ns((uint64_t)rate);
    ck_assert_double_le(fabs(second - 1e9), 10);
}
END_TEST

static void
reanchor(unsigned index, void *ctx)
{
    (void)index;
    (void)ctx;
    for (int i = 0; i < 2000; i++) {
        perfi_clock_reanchor();
        PT_ASSERT(perf_clock_ticks_per_s() >= 1e6);
    }
}

START_TEST(test_reanchoring_keeps_the_rate_within_a_thousandth)
{
    double before = perf_clock_ticks_per_s();
    pt_parallel(4, reanchor, NULL);
    double after = perf_clock_ticks_per_s();
    ck_assert_double_le(fabs(after - before), before * 0.001);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("base.clock");
    tcase_add_test(tests, test_now_is_clock_monotonic);
    tcase_add_test(tests, test_ticks_never_go_back);
    tcase_add_test(tests, test_durations_are_those_of_clock_monotonic);
    tcase_add_test(tests, test_ticks_and_ns_convert_there_and_back);
    tcase_add_test(tests, test_a_tick_is_read_at_the_time_it_says);
    tcase_add_test(tests, test_huge_durations_saturate);
    tcase_add_test(tests, test_source_and_rate_agree);
    tcase_add_test(tests, test_reanchoring_keeps_the_rate_within_a_thousandth);
    return pt_end();
}
