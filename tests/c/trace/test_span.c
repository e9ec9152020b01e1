/* test_span.c - identity, time, status and totals of spans. */
#include "pt.h"

#include "segment/thread.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const perf_span none;

static perf_record
only_record(void)
{
    perf_reader *reader = pt_self();
    size_t n;
    perf_record *records = pt_records(reader, 16, &n);
    ck_assert_uint_eq(n, 1);
    perf_record record = records[0];
    free(records);
    perf_reader_close(reader);
    return record;
}

START_TEST(test_child_shares_the_trace_and_names_its_parent)
{
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    perf_span root = perf_span_begin(name, none);
    perf_span child = perf_span_begin(name, root);
    perf_span grandchild = perf_span_begin(name, child);
    perf_span other = perf_span_begin(name, none);
    ck_assert_uint_eq(root.parent, 0);
    ck_assert_uint_eq(child.parent, root.id);
    ck_assert_uint_eq(grandchild.parent, child.id);
    ck_assert_uint_eq(child.trace_hi, root.trace_hi);
    ck_assert_uint_eq(grandchild.trace_lo, root.trace_lo);
    ck_assert_uint_eq(other.trace_hi, root.trace_hi); /* one per process */
    ck_assert_uint_ne(other.trace_lo, root.trace_lo); /* one per root */
    ck_assert_uint_ne(root.trace_hi, 0);
    perf_span_end(root);
    perf_span late = perf_span_begin(name, root); /* a parent that has ended */
    ck_assert_uint_eq(late.parent, root.id);
    ck_assert_uint_eq(late.trace_lo, root.trace_lo);
}
END_TEST

START_TEST(test_record_says_what_the_span_was)
{
    uint32_t name = pt_name(PERF_KIND_TOOL, "tool");
    perf_span parent = {.trace_hi = 11, .trace_lo = 12, .id = 13, .task = 14};
    uint64_t before = perf_clock_now_ns();
    perf_span span = perf_span_begin(name, parent);
    uint64_t duration = perf_span_end_as(span, PERF_STATUS_CANCELLED, 0);
    uint64_t after = perf_clock_now_ns();
    perf_record r = only_record();
    ck_assert_uint_eq(r.type, PERF_RECORD_SPAN);
    ck_assert_uint_eq(r.status, PERF_STATUS_CANCELLED);
    ck_assert_uint_eq(r.name, name);
    ck_assert_uint_eq(r.attributes, 0);
    ck_assert_uint_eq(r.id, span.id);
    ck_assert_uint_eq(r.parent, 13);
    ck_assert_uint_eq(r.trace_hi, 11);
    ck_assert_uint_eq(r.trace_lo, 12);
    ck_assert_uint_eq(r.task, 14); /* the parent's */
    ck_assert_uint_eq(r.thread, (uint32_t)gettid());
    ck_assert_uint_ge(r.end_ns + 1 - r.start_ns, duration);
    /* to the accuracy of the rate since load: 0.1 % of far less than 1 s */
    ck_assert_uint_ge(r.start_ns + 1000000, before);
    ck_assert_uint_le(r.end_ns, after + 1000000);
}
END_TEST

START_TEST(test_ending_twice_counts_once)
{
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    perf_span span =
        perf_span_begin_at(name, none, 0, perf_clock_ticks() - 1000);
    ck_assert_uint_gt(perf_span_end(span), 0);
    ck_assert_uint_eq(perf_span_end(span), 0);
    perf_span next = perf_span_begin(name, none); /* takes the same slot */
    ck_assert_uint_eq(next.slot, span.slot);
    ck_assert_uint_eq(perf_span_end_as(span, PERF_STATUS_ERROR, 0), 0);
    ck_assert(!perf_span_set_int(span, PERF_KIND_KEY, 1));
    perf_span_end(next);
    perf_totals t = pt_totals_of(name);
    ck_assert_uint_eq(t.count, 2);
    ck_assert_uint_eq(t.errors, 0);
}
END_TEST

START_TEST(test_given_times_are_kept)
{
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    uint64_t start_ns = perf_clock_now_ns() + 5 * PT_NS_PER_S;
    uint64_t start = perf_clock_ns_to_ticks(start_ns);
    uint64_t end = perf_clock_ns_to_ticks(start_ns + 2 * PT_NS_PER_S);
    perf_span span = perf_span_begin_at(name, none, 7, start);
    ck_assert_uint_eq(span.start_ticks, start);
    ck_assert_uint_eq(span.task, 7);
    uint64_t duration = perf_span_end_at(span, PERF_STATUS_OK, 0, end);
    /* the rate may have been measured anew between the two conversions */
    uint64_t rate_error = 2 * PT_NS_PER_S / 1000;
    ck_assert_uint_le(duration, 2 * PT_NS_PER_S + rate_error);
    ck_assert_uint_ge(duration, 2 * PT_NS_PER_S - rate_error);
    perf_record r = only_record();
    ck_assert_uint_le(r.end_ns - r.start_ns, 2 * PT_NS_PER_S + rate_error);
    ck_assert_uint_ge(r.end_ns - r.start_ns, 2 * PT_NS_PER_S - rate_error);
    ck_assert_uint_eq(pt_totals_of(name).sum_ns, duration);
}
END_TEST

START_TEST(test_times_far_ahead_do_not_silence_signs_of_life)
{
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    for (uint64_t ahead = 1; ahead; ahead <<= 1) {
        perf_span span = perf_span_begin(name, none);
        perf_span_end_at(span, PERF_STATUS_OK, 0, span.start_ticks + ahead);
        perf_span_end_at(span, PERF_STATUS_OK, UINT64_MAX, UINT64_MAX);
        uint64_t in_2_s =
            perf_clock_ticks() + (uint64_t)(2 * perf_clock_ticks_per_s());
        PT_ASSERT(perfi_thread_get()->sign_of_life_at <= in_2_s);
    }
    perf_totals t = pt_totals_of(name);
    ck_assert_uint_eq(t.count, 64);
    ck_assert_uint_ge(t.max_ns, perf_clock_duration_ns(UINT64_C(1) << 62));
}
END_TEST

START_TEST(test_pauses_of_any_length_leave_no_latency_below_0)
{
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    perf_span span = perf_span_begin_at(name, none, UINT32_MAX, 0);
    ck_assert_uint_eq(
        perf_span_end_at(span, (perf_status)300, UINT64_MAX, 1000), 0);
    ck_assert_uint_eq(pt_totals_of(name).max_ns, 0);
    perf_record r = only_record();
    ck_assert_uint_eq(r.task, UINT32_MAX);
    ck_assert_int_eq(pt_attribute(&r, 0).int_value, -1);
}
END_TEST

START_TEST(test_end_before_start_is_the_start)
{
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    static const uint64_t ends[] = {0, 999, 1000};
    for (int i = 0; i < 3; i++) {
        perf_span span = perf_span_begin_at(name, none, 0, 1000);
        ck_assert_uint_eq(perf_span_end_at(span, PERF_STATUS_OK, 0, ends[i]),
                          0);
    }
    perf_reader *reader = pt_self();
    size_t n;
    perf_record *records = pt_records(reader, 8, &n);
    ck_assert_uint_eq(n, 3);
    for (size_t i = 0; i < n; i++)
        ck_assert_uint_eq(records[i].start_ns, records[i].end_ns);
    free(records);
    perf_reader_close(reader);
    perf_totals t = pt_totals_of(name);
    ck_assert_uint_eq(t.count, 3);
    ck_assert_uint_eq(t.max_ns, 0);
}
END_TEST

START_TEST(test_statuses_are_counted)
{
    uint32_t name = pt_name(PERF_KIND_NODE, "n");
    for (int i = 0; i < 60; i++)
        perf_span_end_as(perf_span_begin(name, none),
                         i % 6 == 0  ? PERF_STATUS_ERROR
                         : i % 6 < 3 ? PERF_STATUS_CANCELLED
                                     : PERF_STATUS_OK,
                         0);
    perf_totals t = pt_totals_of(name);
    ck_assert_uint_eq(t.count, 60);
    ck_assert_uint_eq(t.errors, 10);
    ck_assert_uint_eq(t.cancelled, 20);
}
END_TEST

START_TEST(test_paused_time_is_not_latency)
{
    uint32_t name = pt_name(PERF_KIND_SPAN, "generator");
    uint64_t start = perf_clock_ticks();
    uint64_t end = start + (uint64_t)perf_clock_ticks_per_s(); /* a second */
    static const uint64_t paused[] = {0, 400000000, 5000000000};
    static const double expected[] = {1e9, 0.6e9, 0};
    uint64_t sum = 0;
    for (int i = 0; i < 3; i++) {
        perf_span span = perf_span_begin_at(name, none, 0, start);
        uint64_t duration =
            perf_span_end_at(span, PERF_STATUS_OK, paused[i], end);
        /* a thousandth: the rate may be measured anew meanwhile */
        ck_assert_double_eq_tol((double)duration, expected[i], 1e6);
        ck_assert(expected[i] > 0 || !duration);
        sum += duration;
    }
    ck_assert_uint_eq(pt_totals_of(name).sum_ns, sum);
    perf_reader *reader = pt_self();
    size_t n;
    perf_record *records = pt_records(reader, 8, &n);
    ck_assert_uint_eq(n, 3);
    ck_assert_uint_eq(records[0].attributes, 0);
    for (int i = 1; i < 3; i++) {
        ck_assert_uint_eq(records[i].attributes, 1);
        perf_attribute a = pt_attribute(&records[i], 0);
        ck_assert_str_eq(perf_name_text(a.key), "paused_ns");
        ck_assert_int_eq(perf_name_kind(a.key), PERF_KIND_KEY);
        ck_assert_int_eq(a.int_value, (int64_t)paused[i]);
    }
    free(records);
    perf_reader_close(reader);
}
END_TEST

START_TEST(test_zero_span_is_ignored)
{
    char out[64] = "x";
    ck_assert_uint_eq(perf_span_end(none), 0);
    ck_assert_uint_eq(perf_span_end_as(none, PERF_STATUS_ERROR, 5), 0);
    ck_assert_uint_eq(perf_span_end_at(none, PERF_STATUS_OK, 0, 5), 0);
    ck_assert(!perf_span_set_int(none, PERF_KIND_KEY, 1));
    ck_assert(!perf_span_set_float(none, PERF_KIND_KEY, 1));
    ck_assert(!perf_span_set_text(none, PERF_KIND_KEY, "x", 1));
    ck_assert(!perf_span_set_name(none, PERF_KIND_KEY, 1));
    ck_assert_uint_eq(perf_span_to_traceparent(none, out, sizeof out), 0);
    ck_assert_str_eq(out, "");
    ck_assert_int_eq(perf_segment_path(out, sizeof out), PERF_ERR_CLOSED);
}
END_TEST

START_TEST(test_span_with_a_metrics_name_is_counted_as_other)
{
    static const perf_kind kinds[] = {PERF_KIND_COUNTER,  PERF_KIND_GAUGE,
                                      PERF_KIND_TIMING,   PERF_KIND_KEY,
                                      PERF_KIND_QUANTITY, PERF_KIND_TEXT};
    for (int i = 0; i < 6; i++) {
        uint32_t name = pt_name(kinds[i], "m");
        perf_span_end(perf_span_begin(name, none));
        ck_assert_uint_eq(pt_totals_of(name).count, 0);
        ck_assert_uint_eq(pt_totals_of(PERF_KIND_SPAN).count, (uint64_t)i + 1);
    }
    /* and it has not spoiled the metric */
    uint32_t counter = pt_name(PERF_KIND_COUNTER, "m");
    perf_metric_add(counter, 3);
    ck_assert_uint_eq(pt_totals_of(counter).sum_ns, 3);
}
END_TEST

START_TEST(test_numbers_out_of_range_are_other)
{
    static const uint32_t names[] = {PERF_NAMES_MAX, UINT32_MAX};
    for (int i = 0; i < 2; i++) {
        perf_span span = perf_span_begin(names[i], none);
        ck_assert_uint_eq(span.name, PERF_KIND_SPAN);
        perf_span_end(span);
    }
    ck_assert_uint_eq(pt_totals_of(PERF_KIND_SPAN).count, 2);
}
END_TEST

/* ---- ids ---- */

enum { THREADS = 4, EACH = 250000 };

static void
make_ids(unsigned index, void *ctx)
{
    uint64_t *ids = (uint64_t *)ctx + (size_t)index * EACH * 2;
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    for (size_t i = 0; i < EACH; i++) {
        perf_span span = perf_span_begin(name, none);
        ids[2 * i] = span.id;
        ids[2 * i + 1] = span.trace_lo;
        perf_span_end(span);
    }
}

static int
by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

START_TEST(test_a_million_ids_are_unique_and_not_zero)
{
    enum { N = THREADS * EACH };
    uint64_t *both = malloc(2 * (size_t)N * sizeof *both);
    uint64_t *one = malloc((size_t)N * sizeof *one);
    pt_parallel(THREADS, make_ids, both);
    for (int part = 0; part < 2; part++) { /* span ids; trace ids of roots */
        for (size_t i = 0; i < N; i++)
            one[i] = both[2 * i + (size_t)part];
        qsort(one, N, sizeof *one, by_value);
        PT_ASSERT(one[0] != 0);
        for (size_t i = 1; i < N; i++)
            PT_ASSERT(one[i] != one[i - 1]);
    }
    free(one);
    free(both);
}
END_TEST

/* ---- other threads ---- */

static void *
end_here(void *ctx)
{
    const perf_span *span = ctx;
    perf_span_set_int(*span, PERF_KIND_KEY, 5);
    perf_span_end_as(*span, PERF_STATUS_ERROR, 0);
    return (void *)(uintptr_t)gettid();
}

START_TEST(test_span_ends_in_another_thread)
{
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    perf_span span = perf_span_begin(name, none);
    pthread_t id;
    void *thread;
    pthread_create(&id, NULL, end_here, &span);
    pthread_join(id, &thread);
    ck_assert_uint_eq(perf_span_end(span), 0);
    perf_record r = only_record();
    ck_assert_uint_eq(r.id, span.id);
    ck_assert_uint_eq(r.status, PERF_STATUS_ERROR);
    ck_assert_uint_eq(r.thread, (uintptr_t)thread);
    ck_assert_int_eq(pt_attribute(&r, 0).int_value, 5);
    ck_assert_uint_eq(pt_totals_of(name).count, 1);
    ck_assert_uint_eq(pt_totals_of(name).errors, 1);
}
END_TEST

START_TEST(test_duration_is_that_of_the_clock)
{
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    for (int i = 0; i < 50; i++) {
        uint64_t a = perf_clock_now_ns();
        perf_span span = perf_span_begin(name, none);
        uint64_t b = perf_clock_now_ns();
        while (perf_clock_now_ns() < b + 100000)
            ;
        uint64_t c = perf_clock_now_ns();
        uint64_t duration = perf_span_end(span);
        uint64_t d = perf_clock_now_ns();
        ck_assert_uint_ge(duration + duration / 200, c - b);
        ck_assert_uint_le(duration, (d - a) + (d - a) / 200);
    }
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("trace.span");
    tcase_add_test(tests, test_child_shares_the_trace_and_names_its_parent);
    tcase_add_test(tests, test_record_says_what_the_span_was);
    tcase_add_test(tests, test_ending_twice_counts_once);
    tcase_add_test(tests, test_given_times_are_kept);
    tcase_add_test(tests, test_times_far_ahead_do_not_silence_signs_of_life);
    tcase_add_test(tests, test_pauses_of_any_length_leave_no_latency_below_0);
    tcase_add_test(tests, test_end_before_start_is_the_start);
    tcase_add_test(tests, test_statuses_are_counted);
    tcase_add_test(tests, test_paused_time_is_not_latency);
    tcase_add_test(tests, test_zero_span_is_ignored);
    tcase_add_test(tests, test_span_with_a_metrics_name_is_counted_as_other);
    tcase_add_test(tests, test_numbers_out_of_range_are_other);
    tcase_add_test(tests, test_a_million_ids_are_unique_and_not_zero);
    tcase_add_test(tests, test_span_ends_in_another_thread);
    tcase_add_test(tests, test_duration_is_that_of_the_clock);
    return pt_end();
}
