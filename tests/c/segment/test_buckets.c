/* test_buckets.c - a name's histogram as what is in it, with its threads added
 * up. */
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

int
main(void)
{
    TCase *tests = pt_begin("segment.buckets");
    tcase_add_loop_test(tests, test_buckets_hold_what_was_recorded, 0, 3);
    tcase_add_test(tests, test_threads_are_added_up);
    return pt_end();
}
