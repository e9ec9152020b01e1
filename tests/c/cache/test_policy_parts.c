/* test_policy_parts.c - what policies remember of keys that they do not hold:
 * counts, ghosts, shadows; and that the window follows the load. */
#include "cache/policy/ghost.h"
#include "cache/policy/shadow.h"
#include "test_policy_kit.h"

#include <stdlib.h>

START_TEST(test_a_count_is_never_too_small)
{
    perfi_sketch s = {0};
    uint32_t count[300] = {0};
    pt_random random = {1};
    perfi_sketch_fit(&s, 1000, 1000, perf_allocator_libc());
    for (int i = 0; i < 5000; i++) { /* less than a period */
        uint64_t key = pt_below(&random, 300);
        count[key]++;
        perfi_sketch_add(&s, hash_of(key));
    }
    for (uint64_t i = 0; i < 300; i++) {
        uint32_t exact =
            count[i] < PERFI_SKETCH_MOST ? count[i] : PERFI_SKETCH_MOST;
        ck_assert_uint_ge(perfi_sketch_count(&s, hash_of(i)), exact);
    }
    perfi_sketch_free(&s, perf_allocator_libc());
}
END_TEST

START_TEST(test_counts_survive_growth_and_halve_with_time)
{
    perfi_sketch s = {0};
    const uint32_t most = 100 * 1000;
    for (uint32_t n = 16; n <= most; n = n * 3 / 2) {
        perfi_sketch_fit(&s, n, most, perf_allocator_libc());
        if (n == 16)
            for (uint64_t i = 0; i < 80; i++)
                perfi_sketch_add(&s, hash_of(i % 10));
        for (uint64_t i = 0; i < 10; i++)
            ck_assert_uint_ge(perfi_sketch_count(&s, hash_of(i)), 8);
        ck_assert_uint_le(perfi_sketch_bytes(&s),
                          n < 512 ? 8192 : UINT64_C(16) * n);
    }
    perfi_sketch_fit(&s, most, most, perf_allocator_libc());
    ck_assert_uint_le(perfi_sketch_bytes(&s), UINT64_C(8) * most * 51 / 50);
    s.additions = s.period - 1;
    perfi_sketch_add(&s, hash_of(1));
    ck_assert_uint_lt(perfi_sketch_count(&s, hash_of(0)), 8);
    perfi_sketch_free(&s, perf_allocator_libc());
}
END_TEST

START_TEST(test_a_ghost_remembers_the_last_and_forgets_the_rest)
{
    enum { LENGTH = 1000 };
    perfi_ghost g = {0};
    ck_assert(!perfi_ghost_take(&g, 1)); /* before it has memory */
    perfi_ghost_add(&g, 1);
    perfi_ghost_fit(&g, LENGTH, perf_allocator_libc());
    g.now = UINT32_MAX - 2500; /* it comes round */
    for (uint64_t i = 0; i < 5 * LENGTH; i++)
        perfi_ghost_add(&g, hash_of(i));
    for (uint64_t i = 0; i < 4 * LENGTH; i++)
        ck_assert(!perfi_ghost_take(&g, hash_of(i)));
    int found = 0;
    for (uint64_t i = 4 * LENGTH; i < 5 * LENGTH; i++)
        found += perfi_ghost_take(&g, hash_of(i));
    ck_assert_int_gt(found, LENGTH * 95 / 100);
    ck_assert(!perfi_ghost_take(&g, hash_of(5 * LENGTH - 1))); /* once */
    perfi_ghost_free(&g, perf_allocator_libc());
}
END_TEST

/* ---- loads ---- */

typedef struct cache {
    perf_policy *policy;
    int32_t *slot; /* of a key */
    uint64_t *key; /* of a slot */
    uint64_t hits;
} cache;

enum { KEYS = 1 << 17, ENTRIES = 1000 };

static cache
make_cache(int kind)
{
    cache c = {.policy = make(kind, ENTRIES, 0),
               .slot = malloc(KEYS * sizeof(int32_t)),
               .key = malloc((ENTRIES + 1) * sizeof(uint64_t))};
    for (int i = 0; i < KEYS; i++)
        c.slot[i] = PERF_SLOT_NONE;
    return c;
}

static void
free_cache(cache *c)
{
    ck_assert(perfi_policy_check(c->policy));
    perf_policy_destroy(c->policy);
    free(c->slot);
    free(c->key);
}

static void
ask(cache *c, uint64_t key)
{
    if (c->slot[key] >= 0) {
        c->hits++;
        perf_policy_touch_many(c->policy, &c->slot[key], 1);
        return;
    }
    int32_t slot = insert(c->policy, key);
    c->slot[key] = slot;
    c->key[slot] = key;
    while ((slot = perf_policy_victim(c->policy)) >= 0)
        c->slot[c->key[slot]] = PERF_SLOT_NONE;
}

/* Round and round through twice as many keys as there are places: all that LRU
 * keeps goes before it is needed. */
static void
ask_round(cache *c, int times)
{
    for (int i = 0; i < times; i++)
        ask(c, (uint64_t)i % (2 * ENTRIES));
}

/* Each key twice, and never again: only what is new is of use. */
static void
ask_twice(cache *c, int times)
{
    for (int i = 0; i < times; i++) {
        ask(c, 5000 + (uint64_t)i % 100000);
        if (i >= ENTRIES / 4)
            ask(c, 5000 + (uint64_t)(i - ENTRIES / 4) % 100000);
    }
}

START_TEST(test_a_loop_makes_the_window_small_and_news_make_it_large)
{
    cache c = make_cache(PERF_POLICY_ADAPTIVE);
    ask_round(&c, 100 * 1000);
    ck_assert_double_lt(stats_of(c.policy).window, .26);
    ck_assert_uint_gt(c.hits, 35 * 1000); /* 50 are possible */
    c.hits = 0;
    ask_twice(&c, 100 * 1000);
    ck_assert_double_gt(stats_of(c.policy).window, .49);
    ck_assert_uint_gt(c.hits, 90 * 1000); /* of 100 */
    c.hits = 0;
    ask_round(&c, 100 * 1000);
    ck_assert_double_lt(stats_of(c.policy).window, .26);
    ck_assert_uint_gt(c.hits, 30 * 1000);
    free_cache(&c);
}
END_TEST

START_TEST(test_lru_and_s3fifo_do_on_the_same_loads_what_they_are_known_for)
{
    cache lru = make_cache(PERF_POLICY_LRU);
    ask_round(&lru, 20 * 1000);
    ck_assert_uint_eq(lru.hits, 0);
    ask_twice(&lru, 20 * 1000);
    ck_assert_uint_eq(lru.hits, 20 * 1000 - ENTRIES / 4);
    free_cache(&lru);
    cache s3 = make_cache(PERF_POLICY_S3FIFO);
    ask_twice(&s3, 20 * 1000); /* the second comes too late for a tenth */
    ck_assert_uint_lt(s3.hits, 20 * 1000);
    free_cache(&s3);
}
END_TEST

/* The same seed, the same victims. */
START_TEST(test_what_is_done_can_be_repeated)
{
    uint64_t hits[2];
    for (int i = 0; i < 2; i++) {
        cache c = make_cache(_i);
        pt_random random = {5};
        for (int j = 0; j < 50 * 1000; j++)
            ask(&c, pt_below(&random, pt_below(&random, 20000) + 1));
        hits[i] = c.hits;
        free_cache(&c);
    }
    ck_assert_uint_gt(hits[0], 0);
    ck_assert_uint_eq(hits[0], hits[1]);
}
END_TEST

int
main(void)
{
    TCase *t = pt_begin("cache.policy_parts");
    tcase_add_test(t, test_a_count_is_never_too_small);
    tcase_add_test(t, test_counts_survive_growth_and_halve_with_time);
    tcase_add_test(t, test_a_ghost_remembers_the_last_and_forgets_the_rest);
    tcase_add_test(t,
                   test_a_loop_makes_the_window_small_and_news_make_it_large);
    tcase_add_test(
        t, test_lru_and_s3fifo_do_on_the_same_loads_what_they_are_known_for);
    tcase_add_loop_test(t, test_what_is_done_can_be_repeated, 0, KINDS);
    return pt_end();
}
