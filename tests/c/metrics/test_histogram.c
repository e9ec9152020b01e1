/* test_histogram.c - what the header promises, case by case. */
#include "pt.h"

#include "metrics/histogram.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static perf_histogram *
make(void)
{
    perf_histogram *h = NULL;
    ck_assert_int_eq(perf_histogram_create(NULL, &h), PERF_OK);
    return h;
}

START_TEST(test_empty_histogram_is_all_zero)
{
    perf_histogram *h = make();
    ck_assert_uint_eq(perf_histogram_count(h), 0);
    ck_assert_uint_eq(perf_histogram_sum(h), 0);
    ck_assert_uint_eq(perf_histogram_min(h), 0);
    ck_assert_uint_eq(perf_histogram_max(h), 0);
    ck_assert_uint_eq(perf_histogram_quantile(h, 0), 0);
    ck_assert_uint_eq(perf_histogram_quantile(h, 0.5), 0);
    ck_assert_uint_eq(perf_histogram_quantile(h, 1), 0);
    ck_assert(perfi_histogram_check(h));
    perf_histogram_destroy(h);
}
END_TEST

START_TEST(test_single_values_come_back_exactly)
{
    const uint64_t values[] = {
        0, 1, 127, 128, 129, 255, 1001, 1234567891, UINT64_MAX - 1, UINT64_MAX};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        perf_histogram *h = make();
        perf_histogram_record(h, values[i]);
        ck_assert_uint_eq(perf_histogram_count(h), 1);
        ck_assert_uint_eq(perf_histogram_sum(h), values[i]);
        ck_assert_uint_eq(perf_histogram_min(h), values[i]);
        ck_assert_uint_eq(perf_histogram_max(h), values[i]);
        for (double q = 0; q <= 1; q += 0.25)
            ck_assert_uint_eq(perf_histogram_quantile(h, q), values[i]);
        ck_assert(perfi_histogram_check(h));
        perf_histogram_destroy(h);
    }
}
END_TEST

START_TEST(test_small_values_have_exact_quantiles)
{
    perf_histogram *h = make();
    for (uint64_t v = 1; v <= 100; v++)
        perf_histogram_record(h, v);
    /* nearest rank: the ceil(q * 100)-th smallest is that number itself */
    for (unsigned percent = 1; percent <= 100; percent++)
        ck_assert_uint_eq(perf_histogram_quantile(h, percent / 100.0), percent);
    ck_assert_uint_eq(perf_histogram_quantile(h, 0.001), 1);
    ck_assert_uint_eq(perf_histogram_quantile(h, 0.991), 100);
    ck_assert_uint_eq(perf_histogram_quantile(h, 0.501), 51);
    perf_histogram_destroy(h);
}
END_TEST

START_TEST(test_quantiles_outside_0_to_1_are_the_extremes)
{
    perf_histogram *h = make();
    for (uint64_t v = 1000; v <= 3000; v += 100)
        perf_histogram_record(h, v);
    const double low[] = {0, -0.0, -1, -INFINITY, NAN, -1e300};
    const double high[] = {1, 1.0000001, 2, INFINITY, 1e300};
    for (size_t i = 0; i < sizeof low / sizeof *low; i++)
        ck_assert_uint_eq(perf_histogram_quantile(h, low[i]), 1000);
    for (size_t i = 0; i < sizeof high / sizeof *high; i++)
        ck_assert_uint_eq(perf_histogram_quantile(h, high[i]), 3000);
    perf_histogram_destroy(h);
}
END_TEST

START_TEST(test_sum_saturates)
{
    perf_histogram *h = make();
    perf_histogram_record(h, UINT64_MAX - 10);
    perf_histogram_record(h, 10);
    ck_assert_uint_eq(perf_histogram_sum(h), UINT64_MAX);
    perf_histogram_record(h, 10);
    ck_assert_uint_eq(perf_histogram_sum(h), UINT64_MAX);
    perf_histogram *other = make();
    perf_histogram_record(other, UINT64_MAX - 1);
    ck_assert_int_eq(perf_histogram_merge(other, h), PERF_OK);
    ck_assert_uint_eq(perf_histogram_sum(other), UINT64_MAX);
    ck_assert_uint_eq(perf_histogram_count(other), 4);
    perf_histogram_destroy(other);
    perf_histogram_destroy(h);
}
END_TEST

START_TEST(test_null_is_refused_or_ignored)
{
    perf_histogram *h = make();
    uint64_t out = 7;
    double q = 0.5;
    ck_assert_int_eq(perf_histogram_create(NULL, NULL), PERF_ERR_INVALID);
    perf_histogram_destroy(NULL);
    perf_histogram_record(NULL, 1);
    perf_histogram_record_many(NULL, &out, 1);
    perf_histogram_record_many(h, NULL, 0);
    perf_histogram_record_intended(NULL, 1, 2);
    perf_histogram_reset(NULL);
    ck_assert_int_eq(perf_histogram_merge(h, NULL), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_histogram_merge(NULL, h), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_histogram_subtract(h, NULL), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_histogram_subtract(NULL, h), PERF_ERR_INVALID);
    ck_assert_uint_eq(perf_histogram_count(NULL), 0);
    ck_assert_uint_eq(perf_histogram_sum(NULL), 0);
    ck_assert_uint_eq(perf_histogram_min(NULL), 0);
    ck_assert_uint_eq(perf_histogram_max(NULL), 0);
    ck_assert_uint_eq(perf_histogram_quantile(NULL, 0.5), 0);
    ck_assert_int_eq(perf_histogram_quantiles(NULL, &q, 1, &out),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_histogram_quantiles(h, NULL, 1, &out),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_histogram_quantiles(h, &q, 1, NULL),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_histogram_quantiles(h, NULL, 0, NULL), PERF_OK);
    ck_assert_uint_eq(perf_histogram_count(h), 0);
    perf_histogram_destroy(h);
}
END_TEST

START_TEST(test_several_quantiles_are_the_single_ones)
{
    perf_histogram *h = make();
    pt_random random = {3};
    for (int i = 0; i < 5000; i++)
        perf_histogram_record(h, pt_next(&random) >> pt_below(&random, 60));
    const double q[] = {-1, 0, 0.001, 0.25, 0.5, 0.5, 0.9, 0.99, 0.999, 1, 3};
    enum { N = sizeof q / sizeof *q };
    uint64_t out[N];
    ck_assert_int_eq(perf_histogram_quantiles(h, q, N, out), PERF_OK);
    for (int i = 0; i < N; i++)
        ck_assert_uint_eq(out[i], perf_histogram_quantile(h, q[i]));
    const double falling[] = {0.5, 0.4};
    ck_assert_int_eq(perf_histogram_quantiles(h, falling, 2, out),
                     PERF_ERR_RANGE);
    perf_histogram_destroy(h);
}
END_TEST

START_TEST(test_rank_is_exact_for_huge_counts)
{
    perf_histogram *h = make();
    perf_histogram_record(h, 1);
    perf_histogram_record(h, 2);
    for (int i = 0; i < 60; i++) /* 2^60 of each */
        ck_assert_int_eq(perf_histogram_merge(h, h), PERF_OK);
    ck_assert_uint_eq(perf_histogram_count(h), UINT64_C(1) << 61);
    ck_assert_uint_eq(perf_histogram_quantile(h, 0.5), 1);
    ck_assert_uint_eq(perf_histogram_quantile(h, 0.5000001), 2);
    ck_assert_uint_eq(perf_histogram_quantile(h, 1), 2);
    ck_assert_uint_eq(perf_histogram_sum(h), UINT64_C(3) << 60);
    perf_histogram_destroy(h);
}
END_TEST

START_TEST(test_window_is_the_difference_of_two_copies)
{
    perf_histogram *h = make(), *before = make(), *window = make();
    pt_random random = {11};
    for (int i = 0; i < 3000; i++)
        perf_histogram_record(h, 5000 + pt_below(&random, 100000));
    ck_assert_int_eq(perf_histogram_merge(before, h), PERF_OK);
    for (int i = 0; i < 2000; i++) {
        uint64_t v = 1000000 + pt_below(&random, 1000000);
        perf_histogram_record(h, v);
        perf_histogram_record(window, v);
    }
    ck_assert_int_eq(perf_histogram_subtract(h, before), PERF_OK);
    ck_assert(perfi_histogram_check(h));
    ck_assert_uint_eq(perf_histogram_count(h), 2000);
    ck_assert_uint_eq(perf_histogram_sum(h), perf_histogram_sum(window));
    ck_assert_uint_eq(perf_histogram_max(h), perf_histogram_max(window));
    /* the window's own minimum is known to a bucket's width */
    double least = (double)perf_histogram_min(window);
    ck_assert_double_le(fabs((double)perf_histogram_min(h) - least),
                        least / 128);
    for (double q = 0.05; q < 1; q += 0.05)
        ck_assert_uint_eq(perf_histogram_quantile(h, q),
                          perf_histogram_quantile(window, q));
    perf_histogram_destroy(window);
    perf_histogram_destroy(before);
    perf_histogram_destroy(h);
}
END_TEST

START_TEST(test_subtract_refuses_what_is_not_earlier)
{
    perf_histogram *h = make(), *other = make();
    perf_histogram_record(h, 100);
    perf_histogram_record(h, 200000);
    perf_histogram_record(other, 100);
    perf_histogram_record(other, 101);
    ck_assert_int_eq(perf_histogram_subtract(h, other), PERF_ERR_RANGE);
    ck_assert_uint_eq(perf_histogram_count(h), 2);
    ck_assert_uint_eq(perf_histogram_sum(h), 200100);
    ck_assert(perfi_histogram_check(h));
    /* a window in which nothing happened */
    ck_assert_int_eq(perf_histogram_subtract(h, h), PERF_OK);
    ck_assert_uint_eq(perf_histogram_count(h), 0);
    ck_assert_uint_eq(perf_histogram_min(h), 0);
    ck_assert_uint_eq(perf_histogram_max(h), 0);
    ck_assert(perfi_histogram_check(h));
    perf_histogram_destroy(other);
    perf_histogram_destroy(h);
}
END_TEST

START_TEST(test_buckets_one_by_one)
{
    perf_histogram *h = make();
    perf_histogram_bucket bucket = {0};
    uint32_t cursor = 0;
    ck_assert(!perf_histogram_next(h, &cursor, &bucket));
    const uint64_t values[] = {0, 7, 7, 1000, 1003, UINT64_MAX};
    perf_histogram_record_many(h, values, 6);
    const perf_histogram_bucket expected[] = {
        {0, 0, 1}, {7, 7, 2}, {1000, 1003, 2}, {255ull << 56, UINT64_MAX, 1}};
    cursor = 0;
    for (int i = 0; i < 4; i++) {
        ck_assert(perf_histogram_next(h, &cursor, &bucket));
        ck_assert_uint_eq(bucket.low, expected[i].low);
        ck_assert_uint_eq(bucket.high, expected[i].high);
        ck_assert_uint_eq(bucket.count, expected[i].count);
    }
    ck_assert(!perf_histogram_next(h, &cursor, &bucket));
    ck_assert(!perf_histogram_next(h, &cursor, &bucket));
    cursor = 0;
    ck_assert(!perf_histogram_next(NULL, &cursor, &bucket));
    cursor = UINT32_MAX;
    ck_assert(!perf_histogram_next(h, &cursor, &bucket));
    perf_histogram_destroy(h);
}
END_TEST

START_TEST(test_reset_forgets_everything)
{
    perf_histogram *h = make();
    for (uint64_t v = 0; v < 100000; v += 17)
        perf_histogram_record(h, v);
    perf_histogram_reset(h);
    ck_assert_uint_eq(perf_histogram_count(h), 0);
    ck_assert(perfi_histogram_check(h));
    perf_histogram_record(h, 42);
    ck_assert_uint_eq(perf_histogram_min(h), 42);
    ck_assert_uint_eq(perf_histogram_quantile(h, 0.5), 42);
    perf_histogram_destroy(h);
}
END_TEST

/* 500 calls a second for 20 s, 1 ms each, and one stall of a second: a caller
 * that waits for each answer records one slow call; callers who meant to
 * call every 2 ms waited in 500 of 10,000 calls, up to a second. */
START_TEST(test_intended_start_shows_what_a_stall_did_to_callers)
{
    enum { CALLS = 10000, EVERY_US = 2000, SERVICE_US = 1000 };
    perf_histogram *plain = make(), *intended = make();
    uint64_t free_at = 0; /* when the server is free again, µs */
    uint64_t truth[CALLS];
    for (int i = 0; i < CALLS; i++) {
        uint64_t meant = (uint64_t)i * EVERY_US;
        uint64_t start = meant > free_at ? meant : free_at;
        uint64_t service = i == CALLS / 2 ? 1000000 : SERVICE_US;
        free_at = start + service;
        perf_histogram_record(plain, (free_at - start) * 1000);
        perf_histogram_record_intended(intended, meant * 1000, free_at * 1000);
        truth[i] = free_at - meant;
    }
    double p99_plain = (double)perf_histogram_quantile(plain, 0.99) / 1e6;
    double p99 = (double)perf_histogram_quantile(intended, 0.99) / 1e6;
    ck_assert_double_eq_tol(p99_plain, 1, 0.004);
    ck_assert_double_ge(p99, 850);
    ck_assert_double_le(p99, 950);
    uint64_t worse = 0; /* the 99th percentile by counting */
    for (int i = 0; i < CALLS; i++)
        worse += (double)truth[i] / 1e3 > p99 * 1.004;
    ck_assert_uint_le(worse, CALLS / 100);
    perf_histogram_record_intended(plain, 10,
                                   9); /* ended before: counts as 0 */
    ck_assert_uint_eq(perf_histogram_min(plain), 0);
    perf_histogram_destroy(intended);
    perf_histogram_destroy(plain);
}
END_TEST

typedef struct shared {
    perf_histogram *h;
    _Atomic bool done;
} shared;

enum { READERS = 2, VALUES = 400000 };

static void
write_or_read(unsigned index, void *ctx)
{
    shared *s = ctx;
    if (!index) {
        pt_random random = {5};
        for (int i = 0; i < PT_TIMES(VALUES); i++)
            perf_histogram_record(s->h, 1000 + pt_below(&random, 1000000));
        atomic_store(&s->done, true);
        return;
    }
    perf_histogram *copy = make();
    uint64_t last = 0;
    do {
        uint64_t count = perf_histogram_count(s->h);
        PT_ASSERT(count >= last);
        last = count;
        uint64_t median = perf_histogram_quantile(s->h, 0.5);
        if (count > 1) {
            PT_ASSERT(median >= 1000);
            PT_ASSERT(median < 1001000);
        }
        perf_histogram_reset(copy);
        perf_histogram_merge(copy, s->h);
    } while (!atomic_load(&s->done));
    perf_histogram_destroy(copy);
}

START_TEST(test_readers_beside_a_writer)
{
    shared s = {make(), false};
    pt_parallel(1 + READERS, write_or_read, &s);
    ck_assert_uint_eq(perf_histogram_count(s.h), PT_TIMES(VALUES));
    ck_assert(perfi_histogram_check(s.h));
    perf_histogram_destroy(s.h);
}
END_TEST

START_TEST(test_create_fails_cleanly_without_memory)
{
    pt_alloc a;
    perf_histogram *h = (void *)&a;
    pt_alloc_init(&a, 0);
    ck_assert_int_eq(perf_histogram_create(&a.face, &h), PERF_ERR_NOMEM);
    ck_assert_ptr_null(h);
    pt_alloc_init(&a, 1); /* one block, as the header says */
    ck_assert_int_eq(perf_histogram_create(&a.face, &h), PERF_OK);
    ck_assert_uint_eq(a.live, 1);
    ck_assert_uint_le(a.live_bytes, 60000);
    for (uint64_t v = 1; v; v <<= 1)
        perf_histogram_record(h, v);
    ck_assert_uint_eq(a.calls, 1);
    perf_histogram_destroy(h);
    ck_assert_uint_eq(a.live, 0);
    ck_assert(!a.wrong_size);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("metrics.histogram");
    tcase_add_test(tests, test_empty_histogram_is_all_zero);
    tcase_add_test(tests, test_single_values_come_back_exactly);
    tcase_add_test(tests, test_small_values_have_exact_quantiles);
    tcase_add_test(tests, test_quantiles_outside_0_to_1_are_the_extremes);
    tcase_add_test(tests, test_sum_saturates);
    tcase_add_test(tests, test_null_is_refused_or_ignored);
    tcase_add_test(tests, test_several_quantiles_are_the_single_ones);
    tcase_add_test(tests, test_rank_is_exact_for_huge_counts);
    tcase_add_test(tests, test_window_is_the_difference_of_two_copies);
    tcase_add_test(tests, test_subtract_refuses_what_is_not_earlier);
    tcase_add_test(tests, test_buckets_one_by_one);
    tcase_add_test(tests, test_reset_forgets_everything);
    tcase_add_test(tests,
                   test_intended_start_shows_what_a_stall_did_to_callers);
    tcase_add_test(tests, test_readers_beside_a_writer);
    tcase_add_test(tests, test_create_fails_cleanly_without_memory);
    return pt_end();
}
