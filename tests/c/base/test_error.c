/* test_error.c - every code has a text and a name of its own. */
#include "pt.h"

#include <stdio.h>
#include <string.h>

START_TEST(test_every_int_has_a_text_and_a_name)
{
    for (int code = -100; code <= 100; code++) {
        const char *text = perf_strerror(code);
        const char *name = perf_err_name(code);
        ck_assert_ptr_nonnull(text);
        ck_assert_ptr_nonnull(name);
        ck_assert_uint_gt(strlen(text), 0);
        ck_assert_ptr_null(strchr(text, '\n'));
        ck_assert_int_eq(strncmp(name, "PERF_", 5), 0);
    }
}
END_TEST

START_TEST(test_texts_and_names_of_codes_are_unique)
{
    for (int a = PERF_ERR_UNREACHABLE; a <= PERF_OK; a++)
        for (int b = PERF_ERR_UNREACHABLE; b < a; b++) {
            ck_assert_str_ne(perf_strerror(a), perf_strerror(b));
            ck_assert_str_ne(perf_err_name(a), perf_err_name(b));
        }
}
END_TEST

START_TEST(test_names_are_those_of_the_header)
{
    ck_assert_str_eq(perf_err_name(0), "PERF_OK");
    ck_assert_str_eq(perf_err_name(-1), "PERF_ERR_INVALID");
    ck_assert_str_eq(perf_err_name(-4), "PERF_ERR_FULL");
    ck_assert_str_eq(perf_err_name(-14), "PERF_ERR_UNREACHABLE");
}
END_TEST

START_TEST(test_unknown_codes_say_that_they_are_unknown)
{
    const int unknown[] = {1, 100, -15, -100, INT32_MIN, INT32_MAX};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        ck_assert_str_eq(perf_err_name(unknown[i]), "PERF_ERR_?");
        ck_assert_str_eq(perf_strerror(unknown[i]), "unknown error");
    }
}
END_TEST

START_TEST(test_version_of_the_library_is_the_headers)
{
    int major, minor, patch, end = 0;
    ck_assert_str_eq(perf_version(), PERF_VERSION);
    ck_assert_int_eq(
        sscanf(perf_version(), "%d.%d.%d%n", &major, &minor, &patch, &end), 3);
    ck_assert_uint_eq((size_t)end, strlen(perf_version()));
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("base.error");
    tcase_add_test(tests, test_every_int_has_a_text_and_a_name);
    tcase_add_test(tests, test_texts_and_names_of_codes_are_unique);
    tcase_add_test(tests, test_names_are_those_of_the_header);
    tcase_add_test(tests, test_unknown_codes_say_that_they_are_unknown);
    tcase_add_test(tests, test_version_of_the_library_is_the_headers);
    return pt_end();
}
