/* test_heap.c - sampled blocks: beside a plain list, by the laws of chance, and
 * without memory. */
#include "pt.h"

#include <libperf/heap.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static perf_heap *
make(uint64_t interval, uint64_t max_blocks)
{
    perf_heap_config config;
    perf_heap_config_init(&config);
    config.interval_bytes = interval;
    config.max_blocks = max_blocks;
    config.seed = 7;
    perf_heap *heap;
    ck_assert_int_eq(perf_heap_create(&config, &heap), PERF_OK);
    return heap;
}

static perf_heap_stats
stats_of(const perf_heap *heap)
{
    perf_heap_stats stats;
    perf_heap_stats_now(heap, &stats);
    return stats;
}

START_TEST(test_the_defaults_are_as_the_header_says)
{
    perf_heap_config config;
    perf_heap_config_init(&config);
    ck_assert_uint_eq(config.interval_bytes, 512 * 1024);
    ck_assert_uint_eq(config.max_blocks, 1 << 16);
    ck_assert_uint_eq(config.seed, 0);
    ck_assert_ptr_null(config.allocator);
    perf_heap *a, *b;
    ck_assert_int_eq(perf_heap_create(NULL, &a), PERF_OK);
    ck_assert_int_eq(perf_heap_create(NULL, &b), PERF_OK);
    int same = 0; /* without a seed two heaps draw different numbers */
    for (int i = 0; i < 100; i++)
        same += perf_heap_next_bytes(a) == perf_heap_next_bytes(b);
    ck_assert_int_lt(same, 50);
    perf_heap_destroy(a);
    perf_heap_destroy(b);
    perf_heap_destroy(NULL);
}
END_TEST

START_TEST(test_what_is_out_of_range_is_refused)
{
    perf_heap_config good, c;
    perf_heap *heap;
    perf_heap_config_init(&good);
    ck_assert_int_eq(perf_heap_create(&good, NULL), PERF_ERR_INVALID);
    c = good, c.interval_bytes = 0;
    ck_assert_int_eq(perf_heap_create(&c, &heap), PERF_ERR_RANGE);
    c = good, c.interval_bytes = (UINT64_C(1) << 40) + 1;
    ck_assert_int_eq(perf_heap_create(&c, &heap), PERF_ERR_RANGE);
    c = good, c.max_blocks = 0;
    ck_assert_int_eq(perf_heap_create(&c, &heap), PERF_ERR_RANGE);
    c = good, c.max_blocks = (1 << 24) + 1;
    ck_assert_int_eq(perf_heap_create(&c, &heap), PERF_ERR_RANGE);
    ck_assert_ptr_null(heap);
}
END_TEST

/* ---- chance ---- */

START_TEST(test_a_seed_gives_the_same_samples)
{
    perf_heap *a = make(1000, 10), *b = make(1000, 10);
    for (int i = 0; i < 1000; i++)
        PT_ASSERT(perf_heap_next_bytes(a) == perf_heap_next_bytes(b));
    perf_heap_destroy(a);
    perf_heap_destroy(b);
}
END_TEST

START_TEST(test_samples_lie_as_far_apart_as_was_asked_for)
{
    enum { N = 200000 };
    static const uint64_t intervals[] = {1, 100, 512 * 1024, UINT64_C(1) << 40};
    for (size_t k = 0; k < 4; k++) {
        perf_heap *heap = make(intervals[k], 10);
        double sum = 0, interval = (double)intervals[k];
        unsigned longer = 0;
        for (int i = 0; i < N; i++) {
            double next = (double)perf_heap_next_bytes(heap);
            sum += next;
            longer += next > interval;
        }
        if (intervals[k] >= 100) { /* rounded down to whole bytes */
            /* the mean's own deviation is 1 / sqrt(N) of it: 4.5 of these */
            ck_assert_double_eq_tol(sum / N / interval, 1, 0.016);
            ck_assert_double_eq_tol((double)longer / N, exp(-1), 0.006);
        }
        perf_heap_destroy(heap);
    }
}
END_TEST

START_TEST(test_weights_are_sizes_over_their_chance)
{
    perf_heap *heap = make(1 << 19, 10);
    ck_assert_uint_eq(perf_heap_weight(heap, 0), 0);
    /* a small one is taken with a chance of size / interval */
    ck_assert_uint_eq(perf_heap_weight(heap, 1), (1 << 19) + 1); /* and 1/2 */
    ck_assert_uint_eq(perf_heap_weight(heap, 1 << 19),
                      (uint64_t)((1 << 19) / (1 - exp(-1)) + 0.5));
    ck_assert_uint_eq(perf_heap_weight(heap, UINT64_C(1) << 30), UINT64_C(1)
                                                                     << 30);
    ck_assert_uint_ge(perf_heap_weight(heap, UINT64_MAX), UINT64_MAX);
    uint64_t before = 0;
    for (uint64_t size = 1; size < UINT64_C(1) << 40; size += size / 9 + 1) {
        uint64_t weight = perf_heap_weight(heap, size);
        PT_ASSERT(weight >= size && weight >= before);
        before = weight;
    }
    perf_heap_destroy(heap);
}
END_TEST

START_TEST(test_sums_of_weights_are_right_on_average)
{
    enum { INTERVAL = 10000, BYTES = 20000000, RUNS = 200 };
    static const uint64_t sizes[] = {16, 500, 9000, 70000};
    for (size_t k = 0; k < 4; k++) {
        double sum = 0;
        perf_heap *heap = make(INTERVAL, 10);
        for (int run = 0; run < PT_TIMES(RUNS); run++) {
            uint64_t due = perf_heap_next_bytes(heap), weight = 0, at = 0;
            for (; at < BYTES; at += sizes[k]) {
                if (due >= sizes[k]) {
                    due -= sizes[k];
                    continue;
                }
                weight += perf_heap_weight(heap, sizes[k]);
                due = perf_heap_next_bytes(heap);
            }
            sum += (double)weight / (double)at;
        }
        /* 2,000 samples a run: a deviation of 2.2 %, over sqrt(RUNS) */
        double bound = 5 * sqrt((double)INTERVAL / BYTES / PT_TIMES(RUNS));
        ck_assert_double_eq_tol(sum / PT_TIMES(RUNS), 1, bound);
        perf_heap_destroy(heap);
    }
}
END_TEST

/* ---- the table ---- */

enum { ADDRESSES = 3000 };

static int
by_address(const void *a, const void *b)
{
    uint64_t x = ((const perf_heap_block *)a)->address;
    uint64_t y = ((const perf_heap_block *)b)->address;
    return (x > y) - (x < y);
}

static void
check_beside_list(perf_heap *heap, const perf_heap_block *model, size_t n)
{
    perf_heap_block *found = calloc(ADDRESSES, sizeof *found);
    PT_ASSERT(perf_heap_blocks(heap, found, ADDRESSES) == n);
    qsort(found, n, sizeof *found, by_address);
    size_t at = 0;
    for (size_t i = 0; i < ADDRESSES; i++)
        if (model[i].address)
            PT_ASSERT(!memcmp(&found[at++], &model[i], sizeof *model));
    PT_ASSERT(at == n);
    free(found);
}

START_TEST(test_the_table_keeps_what_a_list_keeps)
{
    static perf_heap_block model[ADDRESSES];
    perf_heap *heap = make(1000, ADDRESSES);
    pt_random random = {3};
    size_t n = 0;
    for (int step = 0; step < PT_TIMES(200000); step++) {
        /* neighbours, as an allocator gives them, and all over */
        uint64_t k = pt_below(&random, step % 3 ? ADDRESSES : 40);
        uint64_t address = (k + 1) * (k % 2 ? 16 : UINT64_C(0x10000001000));
        if (model[k].address && pt_below(&random, 2)) {
            PT_ASSERT(perf_heap_remove(heap, address));
            model[k].address = 0;
            n--;
        } else if (pt_below(&random, 3)) {
            perf_heap_block block = {.address = address, .size = k};
            block.weight = pt_next(&random);
            block.frame = (uint32_t)step;
            PT_ASSERT(perf_heap_put(heap, &block));
            n += !model[k].address;
            model[k] = block;
        } else {
            PT_ASSERT(perf_heap_remove(heap, address) ==
                      (model[k].address != 0));
            n -= model[k].address != 0;
            model[k].address = 0;
        }
        PT_ASSERT(stats_of(heap).blocks == n);
    }
    /* in the order of addresses, as the check wants them */
    qsort(model, ADDRESSES, sizeof *model, by_address);
    check_beside_list(heap, model, n);
    perf_heap_clear(heap);
    ck_assert_uint_eq(perf_heap_blocks(heap, NULL, 0), 0);
    ck_assert_uint_eq(stats_of(heap).blocks, 0);
    perf_heap_destroy(heap);
}
END_TEST

START_TEST(test_no_more_than_its_bound_is_kept_and_the_rest_counted)
{
    perf_heap *heap = make(1000, 100);
    for (uint64_t i = 1; i <= 150; i++) {
        perf_heap_block block = {.address = i * 16, .size = i};
        PT_ASSERT(perf_heap_put(heap, &block) == (i <= 100));
    }
    perf_heap_block again = {.address = 16, .size = 99}, none = {.size = 1};
    ck_assert(perf_heap_put(heap, &again)); /* in its own place */
    ck_assert(!perf_heap_put(heap, &none));
    perf_heap_stats stats = stats_of(heap);
    ck_assert_uint_eq(stats.blocks, 100);
    ck_assert_uint_eq(stats.taken, 152);
    ck_assert_uint_eq(stats.dropped, 51);
    perf_heap_block out[3];
    ck_assert_uint_eq(perf_heap_blocks(heap, out, 3), 100);
    ck_assert(!perf_heap_remove(heap, 0));
    ck_assert(!perf_heap_remove(heap, 150 * 16));
    ck_assert(perf_heap_remove(heap, 16));
    ck_assert(!perf_heap_remove(heap, 16));
    perf_heap_destroy(heap);
}
END_TEST

START_TEST(test_without_memory_it_keeps_what_it_has)
{
    for (uint64_t allowed = 0;; allowed++) {
        pt_alloc alloc;
        pt_alloc_init(&alloc, allowed);
        perf_heap_config config;
        perf_heap_config_init(&config);
        config.allocator = &alloc.face;
        perf_heap *heap;
        perf_err err = perf_heap_create(&config, &heap);
        if (err) {
            ck_assert_int_eq(err, PERF_ERR_NOMEM);
            ck_assert_uint_eq(alloc.live, 0);
            continue;
        }
        uint64_t kept = 0;
        for (uint64_t i = 1; i <= 1000; i++) {
            perf_heap_block block = {.address = i * 16, .size = i};
            kept += perf_heap_put(heap, &block);
        }
        perf_heap_stats stats = stats_of(heap);
        ck_assert_uint_eq(stats.blocks, kept);
        ck_assert_uint_eq(stats.dropped, 1000 - kept);
        for (uint64_t i = 1; i <= 1000; i++) /* the first ones stay */
            PT_ASSERT(perf_heap_remove(heap, i * 16) == (i <= kept));
        perf_heap_destroy(heap);
        ck_assert_uint_eq(alloc.live, 0);
        ck_assert(!alloc.wrong_size);
        if (kept == 1000)
            return;
    }
}
END_TEST

int
main(void)
{
    TCase *c = pt_begin("heap");
    tcase_add_test(c, test_the_defaults_are_as_the_header_says);
    tcase_add_test(c, test_what_is_out_of_range_is_refused);
    tcase_add_test(c, test_a_seed_gives_the_same_samples);
    tcase_add_test(c, test_samples_lie_as_far_apart_as_was_asked_for);
    tcase_add_test(c, test_weights_are_sizes_over_their_chance);
    tcase_add_test(c, test_sums_of_weights_are_right_on_average);
    tcase_add_test(c, test_the_table_keeps_what_a_list_keeps);
    tcase_add_test(c, test_no_more_than_its_bound_is_kept_and_the_rest_counted);
    tcase_add_test(c, test_without_memory_it_keeps_what_it_has);
    return pt_end();
}
