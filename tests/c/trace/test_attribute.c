/* test_attribute.c - attributes, quantities, log lines. */
#include "pt.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const perf_span none;

static perf_span
begin(void)
{
    return perf_span_begin(pt_name(PERF_KIND_SPAN, "s"), none);
}

static perf_record
record_of(perf_span span)
{
    perf_span_end(span);
    perf_reader *reader = pt_self();
    size_t n;
    perf_record *records = pt_records(reader, 64, &n), found = {0};
    for (size_t i = 0; i < n; i++)
        if (records[i].id == span.id)
            found = records[i];
    ck_assert_uint_eq(found.id, span.id);
    free(records);
    perf_reader_close(reader);
    return found;
}

START_TEST(test_each_type_comes_back_as_it_went_in)
{
    uint32_t key[6];
    for (int i = 0; i < 6; i++)
        key[i] = perf_name(PERF_KIND_KEY, &"abcdef"[i], 1);
    uint32_t text = pt_name(PERF_KIND_TEXT, "gpt-17");
    perf_span span = begin();
    ck_assert(perf_span_set_int(span, key[0], INT64_MIN));
    ck_assert(perf_span_set_float(span, key[1], -DBL_MAX));
    ck_assert(perf_span_set_text(span, key[2], "gr\xC3\xBC\xC3\x9F", 6));
    ck_assert(perf_span_set_name(span, key[3], text));
    ck_assert(perf_span_set_int(span, key[4], INT64_MAX));
    ck_assert(perf_span_set_float(span, key[5], NAN));
    ck_assert(perf_span_set_text(span, key[0], "", 0)); /* the same key again */
    ck_assert(perf_span_set_text(span, key[1], NULL, 5));
    perf_record r = record_of(span);
    ck_assert_uint_eq(r.attributes, 8);
    perf_attribute a = pt_attribute(&r, 0);
    ck_assert_uint_eq(a.key, key[0]);
    ck_assert_uint_eq(a.type, PERF_ATTRIBUTE_INT);
    ck_assert_int_eq(a.int_value, INT64_MIN);
    a = pt_attribute(&r, 1);
    ck_assert_uint_eq(a.type, PERF_ATTRIBUTE_FLOAT);
    ck_assert_double_eq(a.float_value, -DBL_MAX);
    a = pt_attribute(&r, 2);
    ck_assert_uint_eq(a.type, PERF_ATTRIBUTE_TEXT);
    ck_assert_uint_eq(a.length, 6);
    ck_assert_mem_eq(a.text, "gr\xC3\xBC\xC3\x9F", 6);
    a = pt_attribute(&r, 3);
    ck_assert_uint_eq(a.type, PERF_ATTRIBUTE_NAME);
    ck_assert_uint_eq(a.name, text);
    ck_assert_int_eq(pt_attribute(&r, 4).int_value, INT64_MAX);
    ck_assert(isnan(pt_attribute(&r, 5).float_value));
    ck_assert_uint_eq(pt_attribute(&r, 6).key, key[0]);
    ck_assert_uint_eq(pt_attribute(&r, 6).length, 0);
    ck_assert_uint_eq(pt_attribute(&r, 7).length, 0);
    ck_assert(!perf_record_attribute(&r, 8, &a));
    ck_assert(!perf_record_attribute(&r, UINT32_MAX, &a));
}
END_TEST

START_TEST(test_a_ninth_attribute_is_dropped_and_counted)
{
    uint32_t key = pt_name(PERF_KIND_KEY, "k");
    perf_span span = begin();
    for (int i = 0; i < 12; i++)
        ck_assert(perf_span_set_int(span, key, i) == (i < 8));
    ck_assert_uint_eq(pt_stats().dropped_attributes, 4);
    perf_record r = record_of(span);
    ck_assert_uint_eq(r.attributes, PERF_SPAN_ATTRIBUTES_MAX);
    for (uint32_t i = 0; i < 8; i++)
        ck_assert_int_eq(pt_attribute(&r, i).int_value, i);
}
END_TEST

START_TEST(test_attributes_of_an_ended_span_are_dropped_and_counted)
{
    uint32_t key = pt_name(PERF_KIND_KEY, "k");
    perf_span span = begin();
    perf_span_end(span);
    ck_assert(!perf_span_set_int(span, key, 1));
    ck_assert(!perf_span_set_text(span, key, "x", 1));
    ck_assert_uint_eq(pt_stats().dropped_attributes, 2);
    span = begin();
    ck_assert(!perf_span_set_int(span, PERF_NAMES_MAX, 1)); /* no such key */
    ck_assert_uint_eq(pt_stats().dropped_attributes, 3);
}
END_TEST

START_TEST(test_texts_of_every_size_up_to_200_are_whole)
{
    uint32_t key = pt_name(PERF_KIND_KEY, "k");
    char text[300];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('!' + i % 90);
    for (size_t size = 0; size <= sizeof text; size++) {
        perf_span span = begin();
        bool whole = size <= PERF_TEXT_MAX_BYTES;
        uint64_t cut = pt_stats().cut_texts;
        PT_ASSERT(perf_span_set_text(span, key, text, size) == whole);
        PT_ASSERT(perf_span_set_int(span, key, 77));
        PT_ASSERT(pt_stats().cut_texts == cut + !whole);
        perf_record r = record_of(span);
        perf_attribute a = pt_attribute(&r, 0);
        PT_ASSERT(a.length == (whole ? size : PERF_TEXT_MAX_BYTES));
        PT_ASSERT(!a.length || !memcmp(a.text, text, a.length));
        ck_assert_int_eq(pt_attribute(&r, 1).int_value, 77);
    }
}
END_TEST

/* 200 + 200 bytes leave 24; a character of three bytes does not fit 8 times. */
START_TEST(test_texts_are_cut_to_what_is_left_between_characters)
{
    uint32_t key = pt_name(PERF_KIND_KEY, "k");
    char text[210];
    for (size_t i = 0; i < sizeof text; i += 3)
        memcpy(text + i, "\xE2\x82\xAC", 3);
    for (size_t lead = 0; lead < 3; lead++) {
        perf_span span = begin();
        char shifted[210];
        memset(shifted, '-', lead);
        memcpy(shifted + lead, text, sizeof text - lead);
        size_t whole = lead + (PERF_TEXT_MAX_BYTES - lead) / 3 * 3;
        for (int i = 0; i < 2; i++)
            ck_assert(!perf_span_set_text(span, key, shifted, sizeof shifted));
        ck_assert(!perf_span_set_text(span, key, shifted, 60));
        ck_assert(!perf_span_set_int(span, key, 1)); /* nothing is left */
        perf_record r = record_of(span);
        ck_assert_uint_eq(r.attributes, 3);
        for (uint32_t i = 0; i < 2; i++) {
            perf_attribute a = pt_attribute(&r, i);
            ck_assert_uint_eq(a.length, whole);
            ck_assert_mem_eq(a.text, shifted, whole);
        }
        ck_assert_uint_eq(pt_attribute(&r, 2).length,
                          lead + (24 - lead) / 3 * 3);
    }
    ck_assert_uint_eq(pt_stats().cut_texts, 9);
    ck_assert_uint_eq(pt_stats().dropped_attributes, 3);
}
END_TEST

/* ---- quantities ---- */

enum { THREADS = 4, EACH = 1000 };

static void
use_tokens(unsigned index, void *ctx)
{
    const uint32_t *name = ctx; /* span, then keys */
    for (int i = 0; i < EACH; i++) {
        perf_span span = perf_span_begin(name[0], none);
        perf_span_set_int(span, name[1], i);
        perf_span_set_int(span, name[2], (int64_t)index);
        perf_span_set_int(span, name[2], 1);  /* twice in one span */
        perf_span_set_int(span, name[3], -5); /* nothing to add */
        perf_span_end(span);
    }
}

START_TEST(test_quantities_are_summed_per_name_over_threads)
{
    uint32_t name[] = {pt_name(PERF_KIND_LLM, "ask"),
                       pt_name(PERF_KIND_QUANTITY, "in"),
                       pt_name(PERF_KIND_QUANTITY, "out"),
                       pt_name(PERF_KIND_QUANTITY, "minus")};
    uint32_t other = pt_name(PERF_KIND_LLM, "other");
    perf_span span = perf_span_begin(other, none);
    perf_span_set_int(span, name[1], 1000000);
    perf_span_end(span);
    pt_parallel(THREADS, use_tokens, name);
    perf_totals t = pt_totals_of(name[0]);
    ck_assert_uint_eq(t.quantities, 2);
    uint64_t sum[2];
    for (int i = 0; i < 2; i++)
        sum[t.quantity_key[i] == name[2]] = t.quantity_sum[i];
    ck_assert_uint_ne(t.quantity_key[0], t.quantity_key[1]);
    ck_assert_uint_eq(sum[0], THREADS * ((uint64_t)EACH * (EACH - 1) / 2));
    ck_assert_uint_eq(sum[1], EACH * (0 + 1 + 2 + 3) + THREADS * EACH);
    t = pt_totals_of(other);
    ck_assert_uint_eq(t.quantities, 1);
    ck_assert_uint_eq(t.quantity_sum[0], 1000000);
}
END_TEST

START_TEST(test_a_fifth_quantity_is_in_the_record_only)
{
    uint32_t name = pt_name(PERF_KIND_LLM, "ask");
    uint32_t key[6];
    for (int i = 0; i < 6; i++)
        key[i] = perf_name(PERF_KIND_QUANTITY, &"uvwxyz"[i], 1);
    perf_span span = perf_span_begin(name, none);
    for (int i = 0; i < 6; i++)
        ck_assert(perf_span_set_int(span, key[i], 10 + i));
    perf_record r = record_of(span);
    ck_assert_uint_eq(r.attributes, 6);
    perf_totals t = pt_totals_of(name);
    ck_assert_uint_eq(t.quantities, PERF_QUANTITIES_MAX);
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert_uint_eq(t.quantity_key[i], key[i]);
        ck_assert_uint_eq(t.quantity_sum[i], 10 + i);
    }
    ck_assert_int_eq(pt_attribute(&r, 5).int_value, 15);
}
END_TEST

START_TEST(test_only_ints_under_a_quantity_are_summed)
{
    uint32_t name = pt_name(PERF_KIND_LLM, "ask");
    uint32_t quantity = pt_name(PERF_KIND_QUANTITY, "q");
    uint32_t key = pt_name(PERF_KIND_KEY, "k");
    perf_span span = perf_span_begin(name, none);
    perf_span_set_int(span, key, 5);
    perf_span_set_float(span, quantity, 5.5);
    perf_span_set_text(span, quantity, "12345678", 8);
    perf_span_set_name(span, quantity, quantity);
    perf_span_end(span);
    ck_assert_uint_eq(pt_totals_of(name).quantities, 0);
}
END_TEST

/* ---- log lines ---- */

START_TEST(test_log_lines_belong_to_their_span)
{
    perf_span span = perf_span_begin_at(pt_name(PERF_KIND_SPAN, "s"), none, 9,
                                        perf_clock_ticks());
    uint64_t before = perf_clock_now_ns();
    ck_assert(perf_span_log(span, 3, "careful", 7));
    ck_assert(perf_span_log(span, 0, "", 0));
    ck_assert(perf_span_log(span, 100000, NULL, 50));
    perf_reader *reader = pt_self();
    size_t n;
    perf_record *r = pt_records(reader, 4, &n);
    ck_assert_uint_eq(n, 3);
    static const uint32_t levels[] = {3, 0, 255};
    for (size_t i = 0; i < n; i++) {
        ck_assert_uint_eq(r[i].type, PERF_RECORD_LOG);
        ck_assert_uint_eq(r[i].status, levels[i]);
        ck_assert_uint_eq(r[i].parent, span.id);
        ck_assert_uint_eq(r[i].trace_hi, span.trace_hi);
        ck_assert_uint_eq(r[i].trace_lo, span.trace_lo);
        ck_assert_uint_eq(r[i].task, 9);
        ck_assert_uint_eq(r[i].attributes, 1);
        ck_assert_uint_ge(r[i].start_ns + 1000000, before);
        perf_attribute a = pt_attribute(&r[i], 0);
        ck_assert_uint_eq(a.type, PERF_ATTRIBUTE_TEXT);
        ck_assert_uint_eq(a.length, i ? 0 : 7);
        ck_assert(i || !memcmp(a.text, "careful", 7));
    }
    free(r);
    perf_reader_close(reader);
    ck_assert_uint_eq(pt_totals_of(span.name).count, 0); /* not a span */
}
END_TEST

START_TEST(test_long_log_lines_are_cut_and_counted)
{
    perf_span span = begin();
    char text[300];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('a' + i % 26);
    for (size_t size = 0; size <= sizeof text; size++) {
        uint64_t cut = pt_stats().cut_texts;
        bool whole = size <= PERF_TEXT_MAX_BYTES;
        ck_assert(perf_span_log(span, 2, text, size) == whole);
        ck_assert_uint_eq(pt_stats().cut_texts, cut + !whole);
    }
    perf_reader *reader = pt_self();
    size_t n;
    perf_record *r = pt_records(reader, 64, &n);
    ck_assert_uint_eq(n, sizeof text + 1);
    for (size_t size = 0; size < n; size++) {
        perf_attribute a = pt_attribute(&r[size], 0);
        ck_assert_uint_eq(a.length, size < 200 ? size : 200);
        ck_assert(!a.length || !memcmp(a.text, text, a.length));
    }
    free(r);
    perf_reader_close(reader);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("trace.attribute");
    tcase_add_test(tests, test_each_type_comes_back_as_it_went_in);
    tcase_add_test(tests, test_a_ninth_attribute_is_dropped_and_counted);
    tcase_add_test(tests,
                   test_attributes_of_an_ended_span_are_dropped_and_counted);
    tcase_add_test(tests, test_texts_of_every_size_up_to_200_are_whole);
    tcase_add_test(tests,
                   test_texts_are_cut_to_what_is_left_between_characters);
    tcase_add_test(tests, test_quantities_are_summed_per_name_over_threads);
    tcase_add_test(tests, test_a_fifth_quantity_is_in_the_record_only);
    tcase_add_test(tests, test_only_ints_under_a_quantity_are_summed);
    tcase_add_test(tests, test_log_lines_belong_to_their_span);
    tcase_add_test(tests, test_long_log_lines_are_cut_and_counted);
    return pt_end();
}
