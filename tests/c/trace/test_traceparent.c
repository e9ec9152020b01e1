/* test_traceparent.c - W3C Trace Context, section 3.2. */
#include "pt.h"

#include <stdlib.h>
#include <string.h>

/* The example of the standard. */
static const char example[] =
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
enum { LENGTH = sizeof example - 1 };

/* A copy of exactly `length` bytes, without a NUL: reading past it shows. */
static perf_err
parse(const char *text, size_t length, perf_span *out)
{
    char *exact = malloc(length ? length : 1);
    memcpy(exact, text, length);
    memset(out, 0xAA, sizeof *out);
    perf_err err = perf_span_from_traceparent(exact, length, out);
    free(exact);
    return err;
}

static void
refuse(const char *text, size_t length)
{
    perf_span span, zero;
    memset(&zero, 0, sizeof zero);
    if (parse(text, length, &span) != PERF_ERR_INVALID)
        ck_abort_msg("accepted: %.*s", (int)length, text);
    PT_ASSERT(!memcmp(&span, &zero, sizeof span));
}

START_TEST(test_example_of_the_standard)
{
    perf_span span;
    ck_assert_int_eq(parse(example, LENGTH, &span), PERF_OK);
    ck_assert_uint_eq(span.trace_hi, UINT64_C(0x4bf92f3577b34da6));
    ck_assert_uint_eq(span.trace_lo, UINT64_C(0xa3ce929d0e0e4736));
    ck_assert_uint_eq(span.id, UINT64_C(0x00f067aa0ba902b7));
    char out[56];
    ck_assert_uint_eq(perf_span_to_traceparent(span, out, sizeof out), LENGTH);
    ck_assert_str_eq(out, example);
}
END_TEST

START_TEST(test_random_ids_come_back)
{
    pt_random random = {1};
    for (int i = 0; i < 10000; i++) {
        perf_span span = {.trace_hi = pt_next(&random) >> i % 64,
                          .trace_lo = pt_next(&random) >> i % 61,
                          .id = (pt_next(&random) >> i % 59) | 1};
        char out[56];
        perf_span back;
        ck_assert_uint_eq(perf_span_to_traceparent(span, out, sizeof out),
                          LENGTH);
        ck_assert_uint_eq(strlen(out), LENGTH);
        if (!(span.trace_hi | span.trace_lo)) {
            refuse(out, LENGTH);
            continue;
        }
        ck_assert_int_eq(parse(out, LENGTH, &back), PERF_OK);
        ck_assert_uint_eq(back.trace_hi, span.trace_hi);
        ck_assert_uint_eq(back.trace_lo, span.trace_lo);
        ck_assert_uint_eq(back.id, span.id);
    }
}
END_TEST

START_TEST(test_every_other_length_is_refused)
{
    char text[200];
    memset(text, '0', sizeof text);
    memcpy(text, example, LENGTH);
    for (size_t length = 0; length < sizeof text; length++)
        if (length != LENGTH)
            refuse(text, length);
    text[LENGTH] = '-'; /* version 00 has nothing behind the flags */
    for (size_t length = LENGTH + 1; length < sizeof text; length++)
        refuse(text, length);
}
END_TEST

START_TEST(test_every_wrong_character_at_every_place_is_refused)
{
    for (size_t at = 0; at < LENGTH; at++) {
        bool dash = example[at] == '-';
        for (int c = 0; c < 256; c++) {
            bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
            if (dash ? c == '-' : hex)
                continue;
            char text[LENGTH + 1];
            memcpy(text, example, sizeof text);
            text[at] = (char)c;
            refuse(text, LENGTH);
        }
    }
}
END_TEST

START_TEST(test_zero_ids_and_version_ff_are_refused)
{
    static const char *const bad[] = {
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refuse(bad[i], strlen(bad[i]));
    /* half a trace id may be zero */
    static const char *const good[] = {
        "00-00000000000000000000000000000001-0000000000000001-00",
        "00-10000000000000000000000000000000-1000000000000000-ff",
    };
    perf_span span;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        ck_assert_int_eq(parse(good[i], strlen(good[i]), &span), PERF_OK);
}
END_TEST

START_TEST(test_later_versions_are_read_by_their_first_four_fields)
{
    static const char *const versions[] = {"01", "02", "10", "cc", "fe"};
    for (size_t i = 0; i < 5; i++) {
        char text[100];
        perf_span span;
        memcpy(text, example, sizeof example);
        memcpy(text, versions[i], 2);
        ck_assert_int_eq(parse(text, LENGTH, &span), PERF_OK);
        strcpy(text + LENGTH, "-what-the-future-brings");
        ck_assert_int_eq(parse(text, strlen(text), &span), PERF_OK);
        ck_assert_uint_eq(span.id, UINT64_C(0x00f067aa0ba902b7));
        strcpy(text + LENGTH, "."); /* longer flags are not flags */
        refuse(text, LENGTH + 1);
        refuse(text, LENGTH - 1);
    }
}
END_TEST

START_TEST(test_null_and_small_room)
{
    perf_span span = {.id = 1, .trace_lo = 1};
    char out[57];
    ck_assert_int_eq(perf_span_from_traceparent(example, LENGTH, NULL),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_span_from_traceparent(NULL, LENGTH, &span),
                     PERF_ERR_INVALID);
    ck_assert_uint_eq(span.id, 0);
    span = (perf_span){.id = 1, .trace_lo = 1};
    ck_assert_uint_eq(perf_span_to_traceparent(span, NULL, 56), 0);
    for (size_t size = 0; size < 56; size++) {
        memset(out, 'x', sizeof out);
        ck_assert_uint_eq(perf_span_to_traceparent(span, out, size), 0);
        ck_assert_int_eq(out[0], size ? 0 : 'x');
        ck_assert_int_eq(out[1], 'x');
    }
    memset(out, 'x', sizeof out);
    ck_assert_uint_eq(perf_span_to_traceparent(span, out, 56), 55);
    ck_assert_int_eq(out[55], 0);
    ck_assert_int_eq(out[56], 'x');
}
END_TEST

START_TEST(test_a_foreign_parent_is_only_a_parent)
{
    perf_span parent;
    uint32_t name = pt_name(PERF_KIND_REQUEST, "GET /");
    ck_assert_int_eq(parse(example, LENGTH, &parent), PERF_OK);
    perf_span span = perf_span_begin(name, parent);
    ck_assert_uint_eq(span.trace_hi, parent.trace_hi);
    ck_assert_uint_eq(span.trace_lo, parent.trace_lo);
    ck_assert_uint_eq(span.parent, parent.id);
    ck_assert_uint_eq(perf_span_end(parent), 0); /* not ours to end */
    ck_assert(!perf_span_set_int(parent, PERF_KIND_KEY, 1));
    perf_span_end(span);
    ck_assert_uint_eq(pt_totals_of(name).count, 1);
    perf_reader *reader = pt_self();
    size_t n;
    free(pt_records(reader, 4, &n));
    ck_assert_uint_eq(n, 1);
    perf_reader_close(reader);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("trace.traceparent");
    tcase_add_test(tests, test_example_of_the_standard);
    tcase_add_test(tests, test_random_ids_come_back);
    tcase_add_test(tests, test_every_other_length_is_refused);
    tcase_add_test(tests, test_every_wrong_character_at_every_place_is_refused);
    tcase_add_test(tests, test_zero_ids_and_version_ff_are_refused);
    tcase_add_test(tests,
                   test_later_versions_are_read_by_their_first_four_fields);
    tcase_add_test(tests, test_null_and_small_room);
    tcase_add_test(tests, test_a_foreign_parent_is_only_a_parent);
    return pt_end();
}
