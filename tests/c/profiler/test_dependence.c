/* test_dependence.c - how calls of one run hang together; and regression.h
 * without memory. */
#include "pt.h"

#include <libperf/regression.h>

enum { CALLS = 2000 };
static uint64_t start[CALLS], value[CALLS];
static uint8_t wrong[CALLS];

static perf_dependence
dependence(void)
{
    perf_dependence d;
    ck_assert_int_eq(perf_regression_dependence_blocking(start, value, wrong,
                                                         CALLS, 0.99, NULL, &d),
                     PERF_OK);
    return d;
}

START_TEST(test_independent_calls_do_not_hang_together)
{
    pt_random r = {11};
    int more = 0;
    for (int round = 0; round < 100; round++) {
        for (unsigned i = 0; i < CALLS; i++) {
            start[i] = i;
            value[i] = pt_below(&r, 1000000);
            wrong[i] = pt_below(&r, 10) == 0;
        }
        more += dependence().shift > 1;
    }
    ck_assert_int_le(more, 20); /* ten are expected */
}
END_TEST

START_TEST(test_blocks_that_differ_are_seen)
{
    pt_random r = {12};
    for (unsigned i = 0; i < CALLS; i++) {
        bool slow = i / 250 % 2;
        start[i] = CALLS - i; /* in any order */
        value[i] = pt_below(&r, 1000) + 500 * slow;
        wrong[i] = slow && pt_below(&r, 4) == 0;
    }
    perf_dependence d = dependence();
    ck_assert_double_gt(d.shift, 10);
    ck_assert_double_gt(d.wrong, 4);
    ck_assert_double_eq(d.blocks, PERF_REGRESSION_BLOCKS);
    for (unsigned i = 0; i < CALLS; i++) /* the same calls, well mixed */
        start[i] = i * 1237 % CALLS;
    ck_assert_double_lt(dependence().shift, 2);
}
END_TEST

START_TEST(test_calls_that_are_all_alike)
{
    for (unsigned i = 0; i < CALLS; i++)
        start[i] = 7, value[i] = UINT64_MAX, wrong[i] = 0;
    perf_dependence d = dependence();
    ck_assert(d.shift == 1 && d.tail == 1 && d.wrong == 1);
}
END_TEST

START_TEST(test_without_memory)
{
    pt_alloc a;
    perf_dependence d = {.shift = 5};
    double p[] = {0.5, 0.1};
    for (unsigned i = 0; i < CALLS; i++)
        start[i] = value[i] = i;
    pt_alloc_init(&a, 0);
    ck_assert_int_eq(perf_regression_adjust(p, 2, &a.face), PERF_ERR_NOMEM);
    ck_assert(p[0] == 0.5 && p[1] == 0.1);
    ck_assert_int_eq(perf_regression_dependence_blocking(
                         start, value, wrong, CALLS, 0.99, &a.face, &d),
                     PERF_ERR_NOMEM);
    ck_assert_double_eq(d.shift, 5);
    pt_alloc_init(&a, 2);
    ck_assert_int_eq(perf_regression_adjust(p, 2, &a.face), PERF_OK);
    ck_assert_int_eq(perf_regression_dependence_blocking(
                         start, value, wrong, CALLS, 0.99, &a.face, &d),
                     PERF_OK);
    ck_assert_uint_eq(a.live, 0);
    ck_assert(!a.wrong_size);
    ck_assert_int_eq(perf_regression_dependence_blocking(start, value, wrong,
                                                         199, 0.99, NULL, &d),
                     PERF_ERR_RANGE);
    ck_assert_int_eq(perf_regression_dependence_blocking(start, value, NULL,
                                                         CALLS, 0.9, NULL, &d),
                     PERF_ERR_INVALID);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("profiler.dependence");
    tcase_add_test(tests, test_independent_calls_do_not_hang_together);
    tcase_add_test(tests, test_blocks_that_differ_are_seen);
    tcase_add_test(tests, test_calls_that_are_all_alike);
    tcase_add_test(tests, test_without_memory);
    return pt_end();
}
