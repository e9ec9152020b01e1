/* test_redis_wire.c - commands as bytes, and which bytes are commands. */
#include "pt.h"

#include "cache/redis/wire.h"

#include <stdlib.h>
#include <string.h>

static size_t
count(const char *text)
{
    return perfi_wire_count(text, strlen(text));
}

START_TEST(test_a_command_is_written_and_counted)
{
    const void *argv[] = {"SET", "a\0b", NULL};
    size_t sizes[] = {3, 3, 0};
    static const char expected[] =
        "*3\r\n$3\r\nSET\r\n$3\r\na\0b\r\n$0\r\n\r\n";
    char out[64];
    size_t size = perf_redis_command_size(3, sizes);
    ck_assert_uint_eq(size, sizeof expected - 1);
    ck_assert_int_eq(perf_redis_command_write(3, argv, sizes, out, sizeof out),
                     PERF_OK);
    ck_assert_mem_eq(out, expected, size);
    ck_assert_uint_eq(perfi_wire_count(out, size), 1);
    ck_assert_int_eq(perf_redis_command_write(3, argv, sizes, out, size - 1),
                     PERF_ERR_RANGE);
}
END_TEST

START_TEST(test_bad_arguments)
{
    const void *argv[] = {"PING", NULL};
    size_t sizes[] = {4, 5}, huge[] = {SIZE_MAX, SIZE_MAX};
    char out[64];
    ck_assert_uint_eq(perf_redis_command_size(0, sizes), 0);
    ck_assert_uint_eq(perf_redis_command_size(1, NULL), 0);
    ck_assert_uint_eq(perf_redis_command_size(2, huge), 0);
    ck_assert_int_eq(perf_redis_command_write(0, argv, sizes, out, 64),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_redis_command_write(2, argv, sizes, out, 64),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_redis_command_write(1, NULL, sizes, out, 64),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_redis_command_write(1, argv, sizes, NULL, 64),
                     PERF_ERR_INVALID);
}
END_TEST

START_TEST(test_what_is_no_command)
{
    static const char *const wrong[] = {
        "",
        "PING\r\n",
        "*0\r\n",
        "*1\r\n",
        "*1\r\n$4\r\nPING",
        "*1\r\n$4\r\nPING\r",
        "*1\r\n$4\r\nPING\n\n",
        "*1\r\n$5\r\nPING\r\n",
        "*1\r\n$3\r\nPING\r\n",
        "*2\r\n$4\r\nPING\r\n",
        "*1\r\n$4\r\nPING\r\nx",
        "*-1\r\n$4\r\nPING\r\n",
        "*1\r\n$-1\r\n",
        "*1\r\n$\r\nPING\r\n",
        "*\r\n",
        "$4\r\nPING\r\n",
        "*1\r\n$0\r\n\r\n",
        "*1\r\n:4\r\nPING\r\n",
        "*99999999999999999999\r\n$4\r\nPING\r\n",
        "*1\r\n$99999999999999999999\r\nPING\r\n",
        "*1\r\n$18446744073709551615\r\nPING\r\n",
        "*1\r\n$999999999999999999\r\nPING\r\n",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        ck_assert_msg(count(wrong[i]) == 0, "taken: %s", wrong[i]);
    ck_assert_uint_eq(perfi_wire_count(NULL, 0), 0);
    ck_assert_uint_eq(
        count("*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"), 2);
}
END_TEST

START_TEST(test_commands_that_are_refused)
{
    static const char *const refused[] = {
        "SUBSCRIBE", "psubscribe", "Monitor", "BLPOP", "BRPOPLPUSH",
        "CLIENT",    "MULTI",      "EXEC",    "QUIT",  "SELECT",
        "AUTH",      "WAIT",       "HELLO",   "RESET", "SYNC"};
    static const char *const taken[] = {"GET",     "SET", "BLAH",
                                        "CLIENTS", "WAI", "SUBSCRI",
                                        "EVAL",    "@",   "SYNCH"};
    char wire[64];
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        const void *argv[] = {refused[i]};
        size_t n = strlen(refused[i]);
        ck_assert(!perf_redis_command_write(1, argv, &n, wire, sizeof wire));
        ck_assert_uint_eq(
            perfi_wire_count(wire, perf_redis_command_size(1, &n)), 0);
    }
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        const void *argv[] = {taken[i]};
        size_t n = strlen(taken[i]);
        ck_assert(!perf_redis_command_write(1, argv, &n, wire, sizeof wire));
        ck_assert_uint_eq(
            perfi_wire_count(wire, perf_redis_command_size(1, &n)), 1);
    }
}
END_TEST

START_TEST(test_random_commands_and_any_cut_of_them)
{
    pt_random random = {(uint64_t)_i};
    for (int round = 0; round < 200; round++) {
        size_t argc = 1 + pt_below(&random, 5), sizes[5];
        const void *argv[5];
        char text[5][120];
        for (size_t i = 0; i < argc; i++) {
            sizes[i] = (i ? 0 : 1) + pt_below(&random, 100);
            for (size_t j = 0; j < sizes[i]; j++)
                text[i][j] = "x\r\n$*1"[pt_below(&random, 6)];
            argv[i] = text[i];
        }
        size_t size = perf_redis_command_size(argc, sizes);
        char *wire = malloc(size); /* exactly: a sanitizer sees a step beyond */
        PT_ASSERT(!perf_redis_command_write(argc, argv, sizes, wire, size));
        PT_ASSERT(perfi_wire_count(wire, size) == 1);
        for (size_t cut = 0; cut < size; cut++) {
            char *part = malloc(cut + 1);
            memcpy(part, wire, cut);
            PT_ASSERT(perfi_wire_count(part, cut) == 0);
            free(part);
        }
        free(wire);
    }
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("redis_wire");
    tcase_add_test(tests, test_a_command_is_written_and_counted);
    tcase_add_test(tests, test_bad_arguments);
    tcase_add_test(tests, test_what_is_no_command);
    tcase_add_test(tests, test_commands_that_are_refused);
    tcase_add_loop_test(tests, test_random_commands_and_any_cut_of_them, 0, 4);
    return pt_end();
}
