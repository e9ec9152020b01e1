/* test_buckets.c - a name's histogram as what is in it, with its threads added
 * up; and how many values there are up to bounds. */
#include "pt.h"

#include "metrics/buckets.h"

#include <string.h>

START_TEST(test_buckets_hold_what_was_recorded)
{
    enum { N = 3000 };
    static perf_bucket bucket[PERF_BUCKETS_MAX];
    static uint64_t expected[PERFI_BUCKETS];
    pt_random random = {(uint64_t)_i};
    uint32_t name = pt_name(PERF_KIND_TIMING, "t");
    memset(expected, 0, sizeof expected);
    for (int i = 0; i < N; i++) {
        uint64_t value = pt_next(&random) >> pt_below(&random, 64);
        expected[perfi_bucket_of(value)]++;
        perf_metric_record(name, value);
    }
    perf_reader *reader = pt_self();
    size_t n = perf_reader_buckets(reader, name, bucket, PERF_BUCKETS_MAX);
    size_t at = 0;
    for (uint32_t i = 0; i < PERFI_BUCKETS; i++) {
        if (!expected[i])
            continue;
        ck_assert_uint_lt(at, n);
        PT_ASSERT(bucket[at].value_ns == perfi_bucket_middle(i));
        PT_ASSERT(bucket[at].count == expected[i]);
        at++;
    }
    ck_assert_uint_eq(at, n);
    /* with too few places: the first ones, and how many there are */
    perf_bucket few[3] = {{0, 0}, {0, 0}, {77, 77}};
    ck_assert_uint_eq(perf_reader_buckets(reader, name, few, 2), n);
    ck_assert_mem_eq(few, bucket, 2 * sizeof *few);
    ck_assert_uint_eq(few[2].count, 77);
    perf_reader_close(reader);
}
END_TEST

static void
record_one(unsigned index, void *ctx)
{
    (void)ctx;
    perf_metric_record(pt_name(PERF_KIND_TIMING, "t"), index % 2 ? 5 : 1000);
}

START_TEST(test_threads_are_added_up)
{
    perf_bucket bucket[4];
    pt_parallel(6, record_one, NULL);
    perf_reader *reader = pt_self();
    uint32_t name = pt_name(PERF_KIND_TIMING, "t");
    ck_assert_uint_eq(perf_reader_buckets(reader, name, bucket, 4), 2);
    ck_assert_uint_eq(bucket[0].value_ns, 5);
    ck_assert_uint_eq(bucket[0].count, 3);
    ck_assert_uint_eq(bucket[1].value_ns,
                      perfi_bucket_middle(perfi_bucket_of(1000)));
    ck_assert_uint_eq(bucket[1].count, 3);
    perf_reader_close(reader);
}
END_TEST

/* ---- up to bounds ---- */

/* Of one name; nothing lies where its totals and counts do not. */
static void
count_up_to(uint32_t name, const uint64_t *bounds, size_t n, perf_totals *t,
            uint64_t *out)
{
    static perf_totals totals[100];
    static uint64_t up_to[100 * 64];
    perf_reader *reader = pt_self();
    ck_assert_uint_lt(name, 100);
    memset(totals, 0xFF, sizeof totals);
    memset(up_to, 0xFF, sizeof up_to);
    ck_assert_int_eq(perf_reader_counts(reader, bounds, n, 100, totals, up_to),
                     PERF_OK);
    for (uint32_t i = 0; i < 100; i++) {
        perf_totals alone; /* all zero when there is no such name */
        perf_reader_totals(reader, i, &alone);
        ck_assert_mem_eq(&totals[i], &alone, sizeof alone);
        for (size_t k = 0; k < n; k++)
            PT_ASSERT(up_to[i * n + k] <= alone.count);
    }
    *t = totals[name];
    memcpy(out, up_to + name * n, n * sizeof *out);
    perf_reader_close(reader);
}

START_TEST(test_counts_up_to_bounds)
{
    const uint64_t values[] = {5, 127, 1000, 100000, UINT64_MAX};
    const uint64_t bounds[] = {4, 5, 127, 1000, 1010, 1 << 20, UINT64_MAX};
    /* 1,000 shares its bucket with 1,003 */
    const uint64_t want[] = {0, 1, 2, 2, 3, 4, 5};
    enum { N = sizeof bounds / sizeof *bounds };
    uint64_t got[N];
    perf_totals t;
    uint32_t name = pt_name(PERF_KIND_TIMING, "t");
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        perf_metric_record(name, values[i]);
    count_up_to(name, bounds, N, &t, got);
    for (int i = 0; i < N; i++)
        ck_assert_uint_eq(got[i], want[i]);
    ck_assert_uint_eq(t.count, 5);
    const uint64_t equal[] = {127, 127};
    count_up_to(name, equal, 2, &t, got);
    ck_assert_uint_eq(got[0], 2);
    ck_assert_uint_eq(got[1], 2);
    count_up_to(name, NULL, 0, &t, got);
}
END_TEST

START_TEST(test_counts_up_to_bounds_are_within_a_bucket)
{
    enum { VALUES = 3000, N = 40 };
    pt_random random = {5};
    uint64_t values[VALUES], bounds[N], got[N], before[N] = {0};
    perf_totals t;
    uint32_t name = pt_name(PERF_KIND_TIMING, "t");
    for (int i = 0; i < N; i++)
        bounds[i] = UINT64_C(3) << i;
    for (int v = 0; v < VALUES; v++) {
        values[v] = pt_next(&random) >> pt_below(&random, 60);
        perf_metric_record(name, values[v]);
        if (v % 50)
            continue;
        count_up_to(name, bounds, N, &t, got);
        for (int i = 0; i < N; i++) {
            uint64_t at_most = 0, surely = 0;
            for (int w = 0; w <= v; w++) {
                at_most += values[w] <= bounds[i];
                surely += values[w] <= bounds[i] - bounds[i] / 128;
            }
            PT_ASSERT(got[i] >= before[i]); /* none ever falls */
            PT_ASSERT(surely <= got[i] && got[i] <= at_most);
            before[i] = got[i];
        }
    }
}
END_TEST

START_TEST(test_counts_up_to_bounds_of_threads)
{
    const uint64_t bounds[] = {4, 5, 999, 2000};
    uint64_t got[4];
    perf_totals t;
    pt_parallel(6, record_one, NULL);
    count_up_to(pt_name(PERF_KIND_TIMING, "t"), bounds, 4, &t, got);
    ck_assert_uint_eq(got[0], 0);
    ck_assert_uint_eq(got[1], 3);
    ck_assert_uint_eq(got[2], 3);
    ck_assert_uint_eq(got[3], 6);
}
END_TEST

START_TEST(test_counts_that_are_refused)
{
    const uint64_t falling[] = {127, 126};
    uint64_t got[2];
    perf_totals t;
    perf_reader *r = pt_self();
    ck_assert_int_eq(perf_reader_counts(NULL, falling, 1, 1, &t, got),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_reader_counts(r, NULL, 1, 1, &t, got),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_reader_counts(r, falling, 1, 1, NULL, got),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_reader_counts(r, falling, 1, 1, &t, NULL),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_reader_counts(r, falling, 2, 1, &t, got),
                     PERF_ERR_RANGE);
    ck_assert_int_eq(perf_reader_counts(r, NULL, 0, 0, NULL, NULL), PERF_OK);
    perf_reader_close(r);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("segment.buckets");
    tcase_add_loop_test(tests, test_buckets_hold_what_was_recorded, 0, 3);
    tcase_add_test(tests, test_threads_are_added_up);
    tcase_add_test(tests, test_counts_up_to_bounds);
    tcase_add_test(tests, test_counts_up_to_bounds_are_within_a_bucket);
    tcase_add_test(tests, test_counts_up_to_bounds_of_threads);
    tcase_add_test(tests, test_counts_that_are_refused);
    return pt_end();
}
