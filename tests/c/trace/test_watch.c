/* test_watch.c - sums that grow while a span is open, and who is told that it
 * ends. */
#include "pt.h"

#include <libperf/event.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static const perf_span none;
static _Atomic uint64_t told, last;

static perf_span
begin(const char *name)
{
    return perf_span_begin(pt_name(PERF_KIND_SPAN, name), none);
}

static perf_record
record_of(uint64_t id)
{
    perf_reader *reader = pt_self();
    size_t n;
    perf_record *records = pt_records(reader, 64, &n), found = {0};
    for (size_t i = 0; i < n; i++)
        if (records[i].id == id)
            found = records[i];
    free(records);
    perf_reader_close(reader);
    ck_assert_uint_eq(found.id, id);
    return found;
}

START_TEST(test_a_sum_grows_and_is_a_quantity)
{
    uint32_t bytes = pt_name(PERF_KIND_QUANTITY, "b");
    uint32_t text = pt_name(PERF_KIND_KEY, "t");
    for (int call = 0; call < 3; call++) {
        perf_span span = begin("sum");
        ck_assert(
            perf_span_set_text(span, text, "some text of 24 letters.", 24));
        for (int i = 1; i <= 10; i++)
            ck_assert(perf_span_add_int(span, bytes, i));
        perf_span_end(span);
        perf_record r = record_of(span.id);
        ck_assert_uint_eq(r.attributes, 2);
        ck_assert_int_eq(pt_attribute(&r, 1).int_value, 55);
    }
    perf_totals totals = pt_totals_of(pt_name(PERF_KIND_SPAN, "sum"));
    ck_assert_uint_eq(totals.quantities, 1);
    ck_assert_uint_eq(totals.quantity_key[0], bytes);
    ck_assert_uint_eq(totals.quantity_sum[0], 165);
}
END_TEST

START_TEST(test_it_adds_to_what_the_program_has_set)
{
    uint32_t key = pt_name(PERF_KIND_QUANTITY, "b");
    uint32_t other = pt_name(PERF_KIND_QUANTITY, "c");
    perf_span span = begin("s");
    ck_assert(perf_span_set_float(span, key, 1.5)); /* no int: left alone */
    ck_assert(perf_span_set_int(span, key, 5));
    ck_assert(perf_span_add_int(span, key, 2));
    ck_assert(perf_span_add_int(span, other, INT64_MAX - 1));
    ck_assert(perf_span_add_int(span, other, 5));
    perf_span_end(span);
    perf_record r = record_of(span.id);
    ck_assert_uint_eq(r.attributes, 3);
    ck_assert_double_eq(pt_attribute(&r, 0).float_value, 1.5);
    ck_assert_int_eq(pt_attribute(&r, 1).int_value, 7);
    ck_assert_int_eq(pt_attribute(&r, 2).int_value, INT64_MAX);
}
END_TEST

START_TEST(test_sums_leave_a_program_its_eight)
{
    uint32_t key = pt_name(PERF_KIND_KEY, "k"), sum[5];
    for (int i = 0; i < 5; i++)
        sum[i] = perf_name(PERF_KIND_QUANTITY, &"vwxyz"[i], 1);
    perf_span span = begin("full");
    ck_assert(perf_span_add_int(span, sum[0], 1));
    for (int i = 0; i < 10; i++)
        ck_assert(perf_span_set_int(span, key, i) == (i < 8));
    ck_assert_uint_eq(pt_stats().dropped_attributes, 2);
    for (int i = 1; i < 5; i++)
        ck_assert(perf_span_add_int(span, sum[i], 1) ==
                  (i < PERF_SPAN_SUMS_MAX));
    ck_assert(perf_span_add_int(span, sum[3], 1));
    perf_reader *reader = pt_self();
    perf_record open;
    ck_assert_uint_eq(perf_reader_open_spans(reader, &open, 1), 1);
    ck_assert_uint_eq(open.attributes, 12);
    ck_assert_int_eq(pt_attribute(&open, 11).int_value, 2);
    perf_reader_close(reader);
    perf_span_end(span);
    ck_assert_uint_eq(record_of(span.id).attributes, 12);
    ck_assert_uint_eq(pt_stats().dropped_attributes, 2);
}
END_TEST

START_TEST(test_where_nothing_can_be_added_nothing_is_counted)
{
    uint32_t key = pt_name(PERF_KIND_QUANTITY, "b");
    char text[PERF_TEXT_MAX_BYTES];
    memset(text, 'x', sizeof text);
    perf_span span = begin("s");
    for (int i = 0; i < 4; i++) /* every cell is used */
        perf_span_set_text(span, pt_name(PERF_KIND_KEY, "t"), text,
                           sizeof text);
    uint64_t dropped = pt_stats().dropped_attributes;
    ck_assert(!perf_span_add_int(span, key, 1));
    ck_assert(!perf_span_add_int(span, PERF_NAMES_MAX, 1));
    perf_span_end(span);
    ck_assert(!perf_span_add_int(span, key, 1));
    ck_assert(!perf_span_add_int(none, key, 1));
    ck_assert_uint_eq(pt_stats().dropped_attributes, dropped);
}
END_TEST

static void
note(perf_span span)
{
    ck_assert(perf_span_add_int(span, pt_name(PERF_KIND_QUANTITY, "q"), 3));
    atomic_store(&last, span.id);
    atomic_fetch_add(&told, 1);
}

START_TEST(test_each_end_is_told_once_while_somebody_watches)
{
    perf_span before = begin("w"), inherited = begin("w");
    perf_spans_watch(note);
    perf_span_end(before);
    ck_assert_uint_eq(told, 1);
    ck_assert_uint_eq(last, before.id);
    perf_span_end(before); /* ended: nothing happens */
    perf_span_end(none);
    ck_assert_uint_eq(told, 1);
    for (int i = 0; i < 100; i++)
        perf_span_end_as(begin("w"), PERF_STATUS_ERROR, 5);
    ck_assert_uint_eq(told, 101);
    perf_events_switch(true); /* both at once, in whatever order */
    perf_span_end(begin("w"));
    perf_spans_watch(NULL);
    perf_span_end(begin("w"));
    perf_events_switch(false);
    perf_span_end(begin("w"));
    ck_assert_uint_eq(told, 102);
    perf_spans_watch(note);
    perf_events_switch(true);
    perf_events_switch(false);
    perf_span_end(inherited);
    ck_assert_uint_eq(told, 103);
    perf_spans_watch(NULL);
    perf_totals totals = pt_totals_of(pt_name(PERF_KIND_SPAN, "w"));
    ck_assert_uint_eq(totals.count, 105);
    ck_assert_uint_eq(totals.quantity_sum[0], 3 * 103);
}
END_TEST

static void
end_many(unsigned index, void *ctx)
{
    (void)ctx;
    for (int i = 0; i < PT_TIMES(20000); i++) {
        if (!index && i % 500 == 0)
            perf_spans_watch(i % 1000 ? NULL : note);
        perf_span_end(begin("threads"));
    }
}

START_TEST(test_threads_are_watched_while_it_is_switched)
{
    pt_parallel(4, end_many, NULL);
    perf_spans_watch(NULL);
    perf_totals totals = pt_totals_of(pt_name(PERF_KIND_SPAN, "threads"));
    ck_assert_uint_eq(totals.count, 4 * PT_TIMES(20000));
    ck_assert_uint_eq(totals.quantity_sum[0], 3 * told);
    ck_assert_uint_gt(told, 0);
}
END_TEST

int
main(void)
{
    TCase *c = pt_begin("watch");
    tcase_add_test(c, test_a_sum_grows_and_is_a_quantity);
    tcase_add_test(c, test_it_adds_to_what_the_program_has_set);
    tcase_add_test(c, test_sums_leave_a_program_its_eight);
    tcase_add_test(c, test_where_nothing_can_be_added_nothing_is_counted);
    tcase_add_test(c, test_each_end_is_told_once_while_somebody_watches);
    tcase_add_test(c, test_threads_are_watched_while_it_is_switched);
    return pt_end();
}
