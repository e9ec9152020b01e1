/* test_slo.c - objectives: which calls are counted, and which of them as bad.
 */
#include "pt.h"

#include <libperf/slo.h>
#include <stdio.h>

enum { LIMIT = 1000, LATE = 2000, THREADS = 4, TIMES = 20000 };

typedef struct objective {
    uint32_t name, calls, bad;
} objective;

static objective
watch(const char *text, uint64_t limit_ns)
{
    char calls[64], bad[64];
    snprintf(calls, sizeof calls, "%s.calls", text);
    snprintf(bad, sizeof bad, "%s.bad", text);
    objective o = {pt_name(PERF_KIND_SPAN, "fetch"),
                   pt_name(PERF_KIND_COUNTER, calls),
                   pt_name(PERF_KIND_COUNTER, bad)};
    ck_assert_int_eq(perf_slo_set(o.name, limit_ns, o.calls, o.bad), PERF_OK);
    return o;
}

/* A span of so many nanoseconds: what its time is longer is paused. Returns how
 * long it was; the clock's rate may have been corrected meanwhile. */
static uint64_t
call(uint32_t name, uint64_t ns, perf_status status)
{
    perf_span none = {0};
    uint64_t from = perf_clock_ticks();
    uint64_t to =
        perf_clock_ns_to_ticks(perf_clock_ticks_to_ns(from) + ns + 1000000);
    uint64_t long_ns = perf_clock_duration_ns(to - from);
    perf_span span = perf_span_begin_at(name, none, 0, from);
    return perf_span_end_at(span, status, long_ns - ns, to);
}

static void
expect(objective o, uint64_t calls, uint64_t bad)
{
    ck_assert_uint_eq(perf_metric_total(o.calls), calls);
    ck_assert_uint_eq(perf_metric_total(o.bad), bad);
    ck_assert_uint_eq(pt_totals_of(o.calls).sum_ns, calls);
    ck_assert_uint_eq(pt_totals_of(o.bad).sum_ns, bad);
}

START_TEST(test_the_limit_is_exact)
{
    objective o = watch("o", LIMIT);
    uint64_t calls = 0, bad = 0, at_limit = 0, above = 0;
    for (int i = 0; i < 100; i++)
        for (uint64_t ns = LIMIT - 1; ns <= LIMIT + 1; ns++) {
            uint64_t was = call(o.name, ns, PERF_STATUS_OK);
            expect(o, ++calls, bad += was > LIMIT);
            at_limit += was == LIMIT;
            above += was == LIMIT + 1;
        }
    ck_assert_uint_gt(at_limit, 0);
    ck_assert_uint_gt(above, 0);
}
END_TEST

START_TEST(test_an_error_is_bad_and_a_cancelled_call_is_nothing)
{
    objective o = watch("o", LIMIT);
    call(o.name, 1, PERF_STATUS_ERROR);
    expect(o, 1, 1);
    call(o.name, 1, PERF_STATUS_CANCELLED);
    expect(o, 1, 1);
    call(o.name, LATE, PERF_STATUS_CANCELLED); /* a time limit struck */
    expect(o, 2, 2);
    call(o.name, LATE, PERF_STATUS_ERROR); /* bad once */
    expect(o, 3, 3);
}
END_TEST

START_TEST(test_without_a_limit_only_errors_are_bad)
{
    objective o = watch("o", UINT64_MAX);
    call(o.name, 10 * PT_NS_PER_S, PERF_STATUS_OK);
    call(o.name, 10 * PT_NS_PER_S, PERF_STATUS_CANCELLED);
    expect(o, 1, 0);
    call(o.name, 1, PERF_STATUS_ERROR);
    expect(o, 2, 1);
}
END_TEST

START_TEST(test_several_objectives_watch_a_name)
{
    objective strict = watch("strict", 10), kind = watch("kind", 100);
    uint32_t other = pt_name(PERF_KIND_TOOL, "fetch"); /* another name */
    call(strict.name, 50, PERF_STATUS_OK);
    call(strict.name, 500, PERF_STATUS_OK);
    call(other, 500, PERF_STATUS_OK);
    expect(strict, 2, 2);
    expect(kind, 2, 1);
}
END_TEST

START_TEST(test_a_limit_can_be_changed)
{
    objective o = watch("o", 10);
    call(o.name, 50, PERF_STATUS_OK);
    expect(o, 1, 1);
    watch("o", 100);
    call(o.name, 50, PERF_STATUS_OK);
    expect(o, 2, 1);
}
END_TEST

START_TEST(test_what_is_removed_counts_no_more_until_it_is_set_again)
{
    objective o = watch("o", 10), other = watch("other", 10);
    perf_slo_remove(o.calls);
    perf_slo_remove(o.bad); /* no objective's */
    call(o.name, 50, PERF_STATUS_OK);
    expect(o, 0, 0);
    expect(other, 1, 1);
    watch("o", 10);
    call(o.name, 50, PERF_STATUS_OK);
    expect(o, 1, 1);
    expect(other, 2, 2);
}
END_TEST

START_TEST(test_names_of_other_kinds_are_refused)
{
    uint32_t span = pt_name(PERF_KIND_SPAN, "s");
    uint32_t calls = pt_name(PERF_KIND_COUNTER, "c");
    uint32_t bad = pt_name(PERF_KIND_COUNTER, "b");
    uint32_t gauge = pt_name(PERF_KIND_GAUGE, "g");
    ck_assert_int_eq(perf_slo_set(calls, 1, calls, bad), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_slo_set(span, 1, span, bad), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_slo_set(span, 1, calls, gauge), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_slo_set(span, 1, calls, calls), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_slo_set(PERF_NAMES_MAX, 1, calls, bad),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_slo_set(UINT32_MAX, 1, calls, bad), PERF_ERR_INVALID);
    for (uint32_t kind = 0; kind < PERF_KIND_COUNTER; kind++)
        ck_assert_int_eq(
            perf_slo_set(pt_name((perf_kind)kind, "s"), 1, calls, bad),
            PERF_OK);
}
END_TEST

START_TEST(test_the_table_is_bounded)
{
    char text[16];
    for (int i = 0; i < PERF_SLOS_MAX; i++) {
        snprintf(text, sizeof text, "%d", i);
        watch(text, LIMIT);
    }
    uint32_t calls = pt_name(PERF_KIND_COUNTER, "more.calls");
    uint32_t bad = pt_name(PERF_KIND_COUNTER, "more.bad");
    uint32_t name = pt_name(PERF_KIND_SPAN, "fetch");
    ck_assert_int_eq(perf_slo_set(name, 1, calls, bad), PERF_ERR_FULL);
    objective first = watch("0", LIMIT); /* is there already */
    call(name, LATE, PERF_STATUS_OK);
    expect(first, 1, 1);
}
END_TEST

static void
call_often(unsigned index, void *ctx)
{
    objective *o = ctx;
    for (int i = 0; i < PT_TIMES(TIMES); i++) {
        call(o->name, index % 2 ? 1 : LATE, PERF_STATUS_OK);
        if (i % 64 == 0) {
            uint64_t bad = perf_metric_total(o->bad);
            PT_ASSERT(bad <= perf_metric_total(o->calls));
        }
    }
}

START_TEST(test_nothing_is_lost_between_threads)
{
    objective o = watch("o", LIMIT);
    pt_parallel(THREADS, call_often, &o);
    expect(o, THREADS * PT_TIMES(TIMES), THREADS / 2 * PT_TIMES(TIMES));
}
END_TEST

static void
set_and_call(unsigned index, void *ctx)
{
    objective *o = ctx;
    for (int i = 0; i < PT_TIMES(2000); i++) {
        if (index == 0)
            PT_ASSERT(!perf_slo_set(o->name, LIMIT, o->calls, o->bad));
        if (index == 1)
            perf_slo_remove(o->calls);
        call(o->name, LATE, PERF_STATUS_OK);
    }
}

START_TEST(test_setting_while_others_count)
{
    objective o = watch("o", LIMIT);
    pt_parallel(THREADS, set_and_call, &o);
    uint64_t calls = perf_metric_total(o.calls);
    ck_assert_uint_eq(perf_metric_total(o.bad), calls);
    ck_assert_uint_le(calls, THREADS * PT_TIMES(2000));
}
END_TEST

static void
call_in_child(void *ctx)
{
    objective *o = ctx;
    PT_CHECK_EQ(perf_metric_total(o->calls), 0);
    call(o->name, LATE, PERF_STATUS_OK);
    PT_CHECK_EQ(perf_metric_total(o->calls), 1);
    PT_CHECK_EQ(perf_metric_total(o->bad), 1);
}

START_TEST(test_a_forked_child_goes_on_from_zero)
{
    objective o = watch("o", LIMIT);
    call(o.name, LATE, PERF_STATUS_OK);
    pt_run_well(call_in_child, &o);
    expect(o, 1, 1);
}
END_TEST

START_TEST(test_a_total_is_a_counters)
{
    uint32_t counter = pt_name(PERF_KIND_COUNTER, "n");
    uint32_t timing = pt_name(PERF_KIND_TIMING, "n");
    ck_assert_uint_eq(perf_metric_total(counter), 0); /* nothing started */
    perf_metric_add(counter, 7);
    perf_metric_record(timing, 5);
    ck_assert_uint_eq(perf_metric_total(counter), 7);
    ck_assert_uint_eq(perf_metric_total(timing), 0);
    ck_assert_uint_eq(perf_metric_total(UINT32_MAX), 0);
    perf_metric_add(counter, UINT64_MAX);
    ck_assert_uint_eq(perf_metric_total(counter), UINT64_MAX);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("trace.slo");
    tcase_add_test(tests, test_the_limit_is_exact);
    tcase_add_test(tests, test_an_error_is_bad_and_a_cancelled_call_is_nothing);
    tcase_add_test(tests, test_without_a_limit_only_errors_are_bad);
    tcase_add_test(tests, test_several_objectives_watch_a_name);
    tcase_add_test(tests, test_a_limit_can_be_changed);
    tcase_add_test(tests,
                   test_what_is_removed_counts_no_more_until_it_is_set_again);
    tcase_add_test(tests, test_names_of_other_kinds_are_refused);
    tcase_add_test(tests, test_the_table_is_bounded);
    tcase_add_test(tests, test_nothing_is_lost_between_threads);
    tcase_add_test(tests, test_setting_while_others_count);
    tcase_add_test(tests, test_a_forked_child_goes_on_from_zero);
    tcase_add_test(tests, test_a_total_is_a_counters);
    return pt_end();
}
