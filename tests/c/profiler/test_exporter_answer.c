/* test_exporter_answer.c - what answers mean: which are tried again, and when,
 * and what they say. */
#include "exporter_answer.h"
#include "pt.h"

#include <stdlib.h>
#include <string.h>

static const uint64_t wall = 784111777; /* Sun, 06 Nov 1994 08:49:37 GMT */

START_TEST(test_retry_after)
{
    static const struct {
        const char *text;
        uint64_t seconds;
    } cases[] = {
        {"0", 0},
        {"1", 1},
        {"120", 120},
        {"0.5", 0},
        {"-1", 0},
        {"3601", 3600},
        {"999999999999999999999999", 3600},
        {"99999999999999999999x", 0},
        {"", 0},
        {"soon", 0},
        {"12 ", 0},
        {"Sun, 06 Nov 1994 08:49:37 GMT", 0},
        {"Sun, 06 Nov 1994 08:49:38 GMT", 1},
        {"Sun, 06 Nov 1994 08:50:37 GMT", 60},
        {"Sat, 05 Nov 1994 08:50:37 GMT", 0},
        {"Fri, 31 Dec 1999 23:59:59 GMT", 3600},
        {"Thu, 01 Jan 1970 00:00:00 GMT", 0},
        {"Sun, 06 Nov 1994 08:50:37 EST", 0},
        {"Sun, 06 Nov 1994 24:50:37 GMT", 0},
        {"Sun, 32 Nov 1994 08:50:37 GMT", 0},
        {"Sun, 06 Nix 1994 08:50:37 GMT", 0},
        {"Sun, 06 Nov 199x 08:50:37 GMT", 0},
        {"Sunday, 06-Nov-94 08:50:37 GMT", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        ck_assert_msg(perfi_retry_after_ns(cases[i].text, wall) ==
                          cases[i].seconds * PT_NS_PER_S,
                      "%s", cases[i].text);
    ck_assert_uint_eq(perfi_retry_after_ns(NULL, wall), 0);
}
END_TEST

START_TEST(test_leap_years)
{
    /* a second later than 28 Feb 2024 23:59:59 is the 29th, in 2023 the 1st */
    ck_assert_uint_eq(
        perfi_retry_after_ns("Thu, 29 Feb 2024 00:00:00 GMT", 1709164799),
        PT_NS_PER_S);
    ck_assert_uint_eq(
        perfi_retry_after_ns("Wed, 01 Mar 2023 00:00:00 GMT", 1677628799),
        PT_NS_PER_S);
}
END_TEST

START_TEST(test_which_are_tried_again)
{
    for (long status = 0; status < 700; status++) {
        perfi_judgement j;
        perfi_answer a = {.status = status, .retry_after = "7"};
        bool again =
            status == 0 || status == 429 || (status >= 502 && status <= 504);
        bool taken = status >= 200 && status < 300;
        perfi_answer_judge(&a, wall, &j);
        ck_assert_int_eq(j.verdict, again   ? PERFI_AGAIN
                                    : taken ? PERFI_ACCEPTED
                                            : PERFI_REFUSED);
        ck_assert_uint_eq(j.wait_ns, again ? 7 * PT_NS_PER_S : 0);
        ck_assert_str_eq(j.message, "");
    }
}
END_TEST

static perfi_judgement
judge(long status, const char *type, const char *body, size_t size)
{
    perfi_judgement j;
    perfi_answer a = {.status = status,
                      .type = type,
                      .body = (const uint8_t *)body,
                      .size = size};
    perfi_answer_judge(&a, wall, &j);
    return j;
}

#define JUDGE(status, type, text) judge(status, type, text, sizeof text - 1)
#define PROTOBUF                  "application/x-protobuf"
#define JSON                      "application/json; charset=utf-8"

START_TEST(test_partial_success)
{
    perfi_judgement j = JUDGE(200, PROTOBUF, "\x0a\x06\x08\x05\x12\x02no");
    ck_assert_uint_eq(j.rejected, 5);
    ck_assert_str_eq(j.message, "no");
    j = JUDGE(200, PROTOBUF, "\x0a\x04\x12\x02ok"); /* only a warning */
    ck_assert_uint_eq(j.rejected, 0);
    ck_assert_str_eq(j.message, "ok");
    j = JUDGE(200, PROTOBUF, /* a negative number is none */
              "\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
    ck_assert_uint_eq(j.rejected, 0);
    j = JUDGE(200, JSON,
              "{\"partialSuccess\" : {\"rejectedLogRecords\": 12, "
              "\"errorMessage\":\"a \\\"b\\\"\"}}");
    ck_assert_uint_eq(j.rejected, 12);
    ck_assert_str_eq(j.message, "a \\\"b\\\"");
    j = JUDGE(200, JSON, "{\"rejectedSpans\":\"99999999999999999999999\"}");
    ck_assert_uint_eq(j.rejected, UINT64_MAX);
    j = JUDGE(200, JSON, "{\"rejectedSpans\":");
    ck_assert_uint_eq(j.rejected, 0);
    j = JUDGE(200, JSON, "{\"errorMessage\":\"cut off\\");
    ck_assert_uint_eq(j.rejected, 0);
}
END_TEST

START_TEST(test_what_a_failure_says)
{
    ck_assert_str_eq(JUDGE(400, PROTOBUF, "\x08\x03\x12\x05why\n!").message,
                     "why !");
    ck_assert_str_eq(JUDGE(400, JSON, "{\"message\":\"why\"}").message, "why");
    ck_assert_str_eq(JUDGE(400, "text/plain", "why\x1b[0m").message, "why [0m");
    ck_assert_str_eq(JUDGE(400, "text/html", "<html>").message, "");
    ck_assert_str_eq(JUDGE(400, NULL, "why").message, "");
    char body[4096] = "\x12\xf0\x1f";
    memset(body + 3, 'x', sizeof body - 3);
    ck_assert_uint_eq(strlen(judge(400, PROTOBUF, body, sizeof body).message),
                      159);
}
END_TEST

START_TEST(test_every_prefix_of_an_answer)
{
    static const char whole[] = "\x0a\x06\x08\x05\x12\x02no\x12\x05hello";
    for (size_t n = 0; n < sizeof whole; n++)
        for (long status = 200; status <= 400; status += 200) {
            char *copy = malloc(n ? n : 1); /* for AddressSanitizer */
            memcpy(copy, whole, n);
            perfi_judgement j = judge(status, PROTOBUF, copy, n);
            ck_assert_int_eq(j.verdict,
                             status == 200 ? PERFI_ACCEPTED : PERFI_REFUSED);
            judge(status, JSON, copy, n);
            free(copy);
        }
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("profiler.exporter_answer");
    tcase_add_test(tests, test_retry_after);
    tcase_add_test(tests, test_leap_years);
    tcase_add_test(tests, test_which_are_tried_again);
    tcase_add_test(tests, test_partial_success);
    tcase_add_test(tests, test_what_a_failure_says);
    tcase_add_test(tests, test_every_prefix_of_an_answer);
    return pt_end();
}
