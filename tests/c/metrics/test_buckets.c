/* test_buckets.c - buckets tile all of uint64_t, as narrow as promised. */
#include "pt.h"

#include "metrics/buckets.h"

START_TEST(test_buckets_tile_the_whole_range)
{
    uint64_t next = 0;
    for (uint32_t i = 0; i < PERFI_BUCKETS; i++) {
        uint64_t low = perfi_bucket_low(i), high = perfi_bucket_high(i);
        PT_ASSERT(low == next);
        PT_ASSERT(low <= high);
        PT_ASSERT(high - low == perfi_bucket_width(i) - 1);
        next = high + 1;
    }
    PT_ASSERT(next == 0); /* the last one ends at UINT64_MAX */
    PT_ASSERT(PERFI_BUCKETS == 58 * 128);
}
END_TEST

START_TEST(test_edges_and_middle_belong_to_their_bucket)
{
    for (uint32_t i = 0; i < PERFI_BUCKETS; i++) {
        uint64_t low = perfi_bucket_low(i), high = perfi_bucket_high(i);
        uint64_t middle = perfi_bucket_middle(i);
        PT_ASSERT(perfi_bucket_of(low) == i);
        PT_ASSERT(perfi_bucket_of(high) == i);
        PT_ASSERT(perfi_bucket_of(middle) == i);
        PT_ASSERT(middle - low <= high - middle);
        PT_ASSERT(high - middle - (middle - low) <= 1);
    }
}
END_TEST

START_TEST(test_middle_is_at_most_a_256th_away)
{
    for (uint32_t i = 0; i < PERFI_BUCKETS; i++) {
        uint64_t low = perfi_bucket_low(i), high = perfi_bucket_high(i);
        uint64_t middle = perfi_bucket_middle(i);
        if (low < 128) {
            PT_ASSERT(low == high); /* small values are exact */
            continue;
        }
        PT_ASSERT(middle - low <= low / 256);
        PT_ASSERT(high - middle <= low / 256);
    }
}
END_TEST

START_TEST(test_powers_of_two_and_their_neighbours)
{
    for (int e = 0; e < 64; e++) {
        uint64_t power = UINT64_C(1) << e;
        const uint64_t values[] = {power - 1, power, power + 1};
        for (int i = 0; i < 3; i++) {
            uint32_t bucket = perfi_bucket_of(values[i]);
            PT_ASSERT(bucket < PERFI_BUCKETS);
            PT_ASSERT(perfi_bucket_low(bucket) <= values[i]);
            PT_ASSERT(perfi_bucket_high(bucket) >= values[i]);
        }
        if (e >= 7) /* a power of two begins a page */
            PT_ASSERT(perfi_bucket_of(power) ==
                      (uint32_t)(e - 6) * PERFI_PAGE_BUCKETS);
    }
    PT_ASSERT(perfi_bucket_of(0) == 0);
    PT_ASSERT(perfi_bucket_of(UINT64_MAX) == PERFI_BUCKETS - 1);
}
END_TEST

START_TEST(test_buckets_follow_the_order_of_values)
{
    pt_random random = {7};
    for (int i = 0; i < 300000; i++) {
        uint64_t a = pt_next(&random) >> pt_below(&random, 64);
        uint64_t b = pt_next(&random) >> pt_below(&random, 64);
        uint32_t of_a = perfi_bucket_of(a), of_b = perfi_bucket_of(b);
        PT_ASSERT(perfi_bucket_low(of_a) <= a);
        PT_ASSERT(perfi_bucket_high(of_a) >= a);
        if (a < b)
            PT_ASSERT(of_a <= of_b);
        else
            PT_ASSERT(of_a >= of_b);
    }
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("metrics.buckets");
    tcase_add_test(tests, test_buckets_tile_the_whole_range);
    tcase_add_test(tests, test_edges_and_middle_belong_to_their_bucket);
    tcase_add_test(tests, test_middle_is_at_most_a_256th_away);
    tcase_add_test(tests, test_powers_of_two_and_their_neighbours);
    tcase_add_test(tests, test_buckets_follow_the_order_of_values);
    return pt_end();
}
