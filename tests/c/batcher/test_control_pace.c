/* test_control_pace.c - calls that a service refuses: how fast they follow each
 * other then, in virtual time. */
#include "test_control_kit.h"

#include "pace.h"

#include <math.h>

static uint64_t
s(double seconds)
{
    return (uint64_t)(seconds * PT_S);
}

/* Calls that are done, `per_s` of them, until `to`. */
static void
done_until(perfi_pace *pace, double from, double to, double per_s)
{
    for (double at = from; at < to; at += 1 / per_s) {
        perfi_pace_taken(pace, s(at));
        perfi_pace_done(pace, s(at));
    }
}

START_TEST(test_there_is_no_bound_before_the_first_refusal)
{
    perfi_pace pace = {0};
    done_until(&pace, 1, 3, 1000);
    ck_assert(pace.rate == 0);
    ck_assert_uint_eq(perfi_pace_not_before(&pace, s(3)), 0);
}
END_TEST

START_TEST(test_a_refusal_leaves_seven_tenths_of_what_was_achieved)
{
    perfi_pace pace = {0};
    done_until(&pace, 1, 3, 50);
    perfi_pace_refused(&pace, s(2.99), 0, s(3));
    ck_assert_double_eq_tol(pace.rate, 35, 1);
    /* a call, and the next one a 35th of a second after it */
    perfi_pace_taken(&pace, s(3.1));
    double next = (double)perfi_pace_not_before(&pace, s(3.1)) / PT_S;
    ck_assert_double_eq_tol(next, 3.1 + 1 / pace.rate, 1e-6);
    ck_assert_uint_eq(perfi_pace_not_before(&pace, s(3.2)), 0);
}
END_TEST

START_TEST(test_refusals_of_one_round_count_once)
{
    perfi_pace pace = {0};
    done_until(&pace, 1, 3, 50);
    perfi_pace_refused(&pace, s(2.90), 0, s(3));
    double once = pace.rate;
    for (int i = 1; i < 10; i++)
        perfi_pace_refused(&pace, s(2.90 + i / 100.0), 0, s(3 + i / 100.0));
    ck_assert(pace.rate == once);
    perfi_pace_refused(&pace, s(3.2), 0, s(3.3));
    ck_assert_double_eq_tol(pace.rate, once * 0.7, 1e-6);
}
END_TEST

START_TEST(test_it_grows_as_a_cube_around_where_it_was_refused)
{
    perfi_pace pace = {0};
    done_until(&pace, 1, 3, 50);
    perfi_pace_refused(&pace, s(2.99), 0, s(3));
    double most = pace.most, flat = cbrt(most * 0.3 / 0.4);
    ck_assert_double_eq_tol(pace.flat_s, flat, 0.01);
    double before = pace.rate;
    for (double at = 3; at < 3 + flat + 2; at += 0.02) {
        perfi_pace_taken(&pace, s(at));
        perfi_pace_done(&pace, s(at));
        double t = at - 3 - flat, cube = 0.4 * t * t * t + most;
        PT_ASSERT(pace.rate >= before);
        PT_ASSERT(at == 3 || fabs(pace.rate - cube) < 0.01 * cube);
        before = pace.rate;
    }
    ck_assert_double_gt(pace.rate, most + 2);
}
END_TEST

START_TEST(test_nothing_grows_during_a_pause)
{
    perfi_pace pace = {0};
    done_until(&pace, 1, 3, 50);
    perfi_pace_refused(&pace, s(2.99), 0, s(3));
    double rate = pace.rate;
    perfi_pace_pause(&pace, s(63));
    ck_assert_uint_eq(perfi_pace_not_before(&pace, s(4)), s(63));
    perfi_pace_pause(&pace, s(10)); /* an earlier end says nothing */
    ck_assert_uint_eq(perfi_pace_not_before(&pace, s(62.9)), s(63));
    ck_assert_uint_eq(perfi_pace_not_before(&pace, s(63)), 0);
    perfi_pace_done(&pace, s(63.01));
    ck_assert_double_eq_tol(pace.rate, rate, 1);
}
END_TEST

START_TEST(test_a_rate_that_nobody_asks_for_is_no_bound)
{
    perfi_pace pace = {0};
    done_until(&pace, 1, 3, 50);
    perfi_pace_refused(&pace, s(2.99), 0, s(3));
    done_until(&pace, 3, 5, 10);
    ck_assert(pace.rate > 0);
    done_until(&pace, 5, 20, 10);
    ck_assert(pace.rate == 0);
    ck_assert_uint_eq(perfi_pace_not_before(&pace, s(20)), 0);
}
END_TEST

START_TEST(test_calls_that_were_never_done_leave_some_rate)
{
    perfi_pace pace = {0};
    for (int i = 1; i < 100; i++) {
        perfi_pace_taken(&pace, s(i));
        perfi_pace_refused(&pace, s(i), 0, s(i + 0.1));
        PT_ASSERT(pace.rate > 0 && pace.rate <= 1);
        PT_ASSERT(perfi_pace_not_before(&pace, s(i + 0.1)) <= s(i + 100));
    }
}
END_TEST

START_TEST(test_who_says_when_to_come_again_is_asked_again_then)
{
    perfi_pace pace = {0};
    /* the very first call, when no rate is known */
    perfi_pace_taken(&pace, s(1));
    perfi_pace_refused(&pace, s(1), s(0.05), s(1.01));
    ck_assert_uint_le(perfi_pace_not_before(&pace, s(1.01)), s(1.051));
    /* in vain, and in vain: twice as long each time, at most 8 s */
    double at = 1.05, told = 0.05;
    for (int i = 0; i < 20; i++, told = fmin(2 * told, 8)) {
        perfi_pace_taken(&pace, s(at));
        perfi_pace_refused(&pace, s(at), s(0.05), s(at + 0.001));
        double next = (double)perfi_pace_not_before(&pace, s(at + 0.001));
        PT_ASSERT(next / PT_S - at <= 2 * told + 0.01);
        at = next / PT_S;
    }
    ck_assert_double_eq_tol(pace.rate, 0.125, 0.01);
    /* one that is done, and they are believed again */
    perfi_pace_taken(&pace, s(at));
    perfi_pace_done(&pace, s(at + 0.001));
    ck_assert_double_ge(pace.rate, 20);
}
END_TEST

/* ---- a service with a quota ---- */

typedef struct service {
    perfi_batch_control *control;
    double quota, credit, at; /* calls/s, up to a second's worth */
    uint32_t done, refused;
} service;

static bool
allows(service *v, double now)
{
    v->credit += (now - v->at) * v->quota;
    v->at = now;
    if (v->credit > v->quota)
        v->credit = v->quota;
    if (v->credit < 1)
        return false;
    v->credit--;
    return true;
}

/* Calls of 20 ms, one at a time, as many as may be, until `to` seconds. */
static void
call_until(service *v, double from, double to)
{
    perf_batch_item item = {0};
    for (double now = from; now < to;) {
        uint64_t wait = perfi_batch_control_not_before(v->control, s(now));
        if (wait) {
            now = (double)wait / PT_S + 1e-9;
            continue;
        }
        perf_batch batch = {.first = &item, .items = 1, .taken_ns = s(now)};
        item.submitted_ns = s(now);
        perfi_batch_control_taken(v->control, &batch, 1, s(now));
        bool ok = allows(v, now);
        now += 0.02;
        v->done += ok;
        v->refused += !ok;
        perfi_batch_control_done(v->control, &batch,
                                 ok ? PERF_BATCH_OK : PERF_BATCH_THROTTLED, 0,
                                 0, s(now));
    }
}

static perfi_batch_control *
make_control(void)
{
    perf_batch_config config = pt_world_new().config;
    perfi_batch_control *control;
    ck_assert_int_eq(perfi_batch_control_create(&config, &control), PERF_OK);
    return control;
}

START_TEST(test_a_quota_is_used_and_few_calls_are_refused)
{
    for (double quota = 2; quota < 40; quota *= 2) {
        service v = {.control = make_control(), .quota = quota};
        call_until(&v, 1, 61); /* finds it */
        v.done = v.refused = 0;
        call_until(&v, 61, 361);
        ck_assert_double_ge(v.done, 0.85 * 300 * quota);
        ck_assert_double_le(v.refused, 0.05 * v.done);
        perf_batch_stats stats = {0};
        perfi_batch_control_stats(v.control, &stats);
        ck_assert_double_ge(stats.calls_per_s, 0.5 * quota);
        ck_assert_double_le(stats.calls_per_s, 2.5 * quota);
        perfi_batch_control_destroy(v.control);
    }
}
END_TEST

START_TEST(test_a_larger_quota_is_found)
{
    service v = {.control = make_control(), .quota = 5};
    call_until(&v, 1, 61);
    v.quota = 25;
    call_until(&v, 61, 76);
    v.done = 0;
    call_until(&v, 76, 136);
    ck_assert_double_ge(v.done, 0.8 * 60 * 25);
    perfi_batch_control_destroy(v.control);
}
END_TEST

START_TEST(test_retry_after_pauses_everything_whatever_the_outcome)
{
    static const perf_batch_outcome outcomes[] = {
        PERF_BATCH_OK, PERF_BATCH_FAILED, PERF_BATCH_THROTTLED};
    for (int i = 0; i < 3; i++) {
        perfi_batch_control *control = make_control();
        perf_batch_item item = {.submitted_ns = s(1)};
        perf_batch batch = {.first = &item, .items = 1, .taken_ns = s(1)};
        perfi_batch_control_taken(control, &batch, 1, s(1));
        perfi_batch_control_done(control, &batch, outcomes[i], s(5), 0, s(2));
        ck_assert_uint_eq(perfi_batch_control_not_before(control, s(3)), s(7));
        perf_batch_stats stats = {0};
        perfi_batch_control_stats(control, &stats);
        ck_assert_uint_eq(stats.paused_until_ns, s(7));
        ck_assert((stats.calls_per_s > 0) == (i == 2));
        perfi_batch_control_taken(control, &batch, 1, s(7));
        perfi_batch_control_done(control, &batch, outcomes[i], UINT64_MAX, 0,
                                 s(8)); /* for ever is no overflow */
        ck_assert_uint_gt(perfi_batch_control_not_before(control, s(9)),
                          UINT64_MAX / 2);
        perfi_batch_control_destroy(control);
    }
}
END_TEST

int
main(void)
{
    TCase *t = pt_begin("batcher.control_pace");
    tcase_add_test(t, test_there_is_no_bound_before_the_first_refusal);
    tcase_add_test(t, test_a_refusal_leaves_seven_tenths_of_what_was_achieved);
    tcase_add_test(t, test_refusals_of_one_round_count_once);
    tcase_add_test(t, test_it_grows_as_a_cube_around_where_it_was_refused);
    tcase_add_test(t, test_nothing_grows_during_a_pause);
    tcase_add_test(t, test_a_rate_that_nobody_asks_for_is_no_bound);
    tcase_add_test(t, test_calls_that_were_never_done_leave_some_rate);
    tcase_add_test(t, test_who_says_when_to_come_again_is_asked_again_then);
    tcase_add_test(t, test_a_quota_is_used_and_few_calls_are_refused);
    tcase_add_test(t, test_a_larger_quota_is_found);
    tcase_add_test(t, test_retry_after_pauses_everything_whatever_the_outcome);
    return pt_end();
}
