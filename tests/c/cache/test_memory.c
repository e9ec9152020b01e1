/* test_memory.c - the cache in memory: what is set is found as it was, and in
 * all else there is nothing; the bound holds at every moment. */
#include "pt.h"

#include <libperf/cache.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MIB = 1 << 20 };

static perf_cache *
make(perf_cache_config config)
{
    perf_cache *cache = NULL;
    if (!config.policy)
        config.policy = PERF_POLICY_LRU;
    ck_assert_int_eq(perf_cache_create(&config, &cache), PERF_OK);
    ck_assert_ptr_nonnull(cache);
    return cache;
}

static perf_cache *
make_of(uint64_t max_bytes)
{
    return make((perf_cache_config){.max_bytes = max_bytes});
}

static perf_cache_stats
stats_of(perf_cache *cache)
{
    perf_cache_stats stats;
    perf_cache_stats_now(cache, &stats);
    return stats;
}

static perf_err
set(perf_cache *cache, const char *key, const char *value)
{
    return perf_cache_set_at(cache, key, strlen(key), value, strlen(value),
                             NULL, 1);
}

static void
set_about(perf_cache *cache, const char *key, perf_cache_about about,
          uint64_t now_ns)
{
    ck_assert_int_eq(
        perf_cache_set_at(cache, key, strlen(key), "v", 1, &about, now_ns),
        PERF_OK);
}

/* As text; NULL: none. */
static const char *
get_at(perf_cache *cache, const char *key, uint64_t now_ns)
{
    static char out[256];
    int64_t size = perf_cache_get_at(cache, key, strlen(key), out,
                                     sizeof out - 1, NULL, now_ns);
    if (size < 0)
        return NULL;
    out[size] = 0;
    return out;
}

static const char *
get(perf_cache *cache, const char *key)
{
    return get_at(cache, key, 1);
}

/* ---- one entry ---- */

START_TEST(test_what_is_set_is_found_and_nothing_else)
{
    perf_cache *cache = make_of(MIB);
    ck_assert_ptr_null(get(cache, "a"));
    ck_assert_int_eq(set(cache, "a", "one"), PERF_OK);
    ck_assert_int_eq(set(cache, "b", "two"), PERF_OK);
    ck_assert_str_eq(get(cache, "a"), "one");
    ck_assert_str_eq(get(cache, "b"), "two");
    ck_assert_ptr_null(get(cache, "ab"));
    ck_assert_ptr_null(get(cache, ""));
    perf_cache_stats stats = stats_of(cache);
    ck_assert_uint_eq(stats.entries, 2);
    ck_assert_uint_eq(stats.content_bytes, 8);
    ck_assert_uint_eq(stats.hits, 2);
    ck_assert_uint_eq(stats.misses, 3);
    ck_assert_uint_eq(stats.sets, 2);
    perf_cache_destroy(cache);
}
END_TEST

START_TEST(test_a_new_value_takes_the_place_of_the_old_one)
{
    perf_cache *cache = make_of(MIB);
    char value[200];
    for (size_t size = 0; size < sizeof value; size++) {
        memset(value, (int)size, size);
        ck_assert_int_eq(perf_cache_set_at(cache, "k", 1, value, size, NULL, 1),
                         PERF_OK);
        char out[sizeof value];
        ck_assert_int_eq(
            perf_cache_get_at(cache, "k", 1, out, sizeof out, NULL, 1),
            (int64_t)size);
        ck_assert(!size || !memcmp(out, value, size));
        ck_assert_uint_eq(stats_of(cache).entries, 1);
        ck_assert_uint_eq(stats_of(cache).content_bytes, 1 + size);
    }
    perf_cache_destroy(cache);
}
END_TEST

START_TEST(test_empty_keys_and_values_are_entries)
{
    perf_cache *cache = make_of(MIB);
    ck_assert_int_eq(perf_cache_set_at(cache, NULL, 0, NULL, 0, NULL, 1),
                     PERF_OK);
    ck_assert_int_eq(perf_cache_get_at(cache, NULL, 0, NULL, 0, NULL, 1), 0);
    ck_assert_int_eq(perf_cache_get_at(cache, "", 0, NULL, 0, NULL, 1), 0);
    ck_assert(perf_cache_delete(cache, NULL, 0));
    ck_assert_int_eq(perf_cache_get_at(cache, NULL, 0, NULL, 0, NULL, 1),
                     PERF_CACHE_NONE);
    perf_cache_destroy(cache);
}
END_TEST

START_TEST(test_a_buffer_that_is_too_small_is_left_alone)
{
    perf_cache *cache = make_of(MIB);
    char out[5] = "####";
    perf_cache_hit hit;
    set(cache, "k", "value");
    ck_assert_int_eq(perf_cache_get_at(cache, "k", 1, out, 4, &hit, 1), 5);
    ck_assert_str_eq(out, "####");
    ck_assert_int_eq(hit.size, 5);
    ck_assert_int_eq(hit.offset, PERF_CACHE_NONE);
    ck_assert_int_eq(perf_cache_get_at(cache, "k", 1, NULL, 99, &hit, 1), 5);
    ck_assert_int_eq(perf_cache_get_at(cache, "k", 1, out, 5, &hit, 1), 5);
    ck_assert_int_eq(hit.offset, 0);
    ck_assert(!memcmp(out, "value", 5));
    perf_cache_destroy(cache);
}
END_TEST

START_TEST(test_a_deleted_key_is_gone)
{
    perf_cache *cache = make_of(MIB);
    set(cache, "a", "1");
    set(cache, "b", "2");
    ck_assert(perf_cache_delete(cache, "a", 1));
    ck_assert(!perf_cache_delete(cache, "a", 1));
    ck_assert_ptr_null(get(cache, "a"));
    ck_assert_str_eq(get(cache, "b"), "2");
    ck_assert_uint_eq(stats_of(cache).deletes, 1);
    perf_cache_destroy(cache);
}
END_TEST

/* ---- times ---- */

START_TEST(test_an_entry_is_gone_exactly_when_it_expires)
{
    perf_cache *cache = make_of(MIB);
    set_about(cache, "k", (perf_cache_about){.expires_ns = 1000}, 10);
    ck_assert_ptr_nonnull(get_at(cache, "k", 999));
    ck_assert_ptr_null(get_at(cache, "k", 1000));
    perf_cache_destroy(cache);
}
END_TEST

START_TEST(test_the_default_time_to_live_is_for_those_that_name_no_end)
{
    perf_cache *cache =
        make((perf_cache_config){.max_bytes = MIB, .ttl_ns = 100});
    set_about(cache, "default", (perf_cache_about){0}, 10);
    set_about(cache, "own", (perf_cache_about){.expires_ns = 500}, 10);
    set_about(cache, "never", (perf_cache_about){.expires_ns = UINT64_MAX}, 10);
    ck_assert_ptr_nonnull(get_at(cache, "default", 109));
    ck_assert_ptr_null(get_at(cache, "default", 110));
    ck_assert_ptr_nonnull(get_at(cache, "own", 499));
    ck_assert_ptr_null(get_at(cache, "own", 500));
    ck_assert_ptr_nonnull(get_at(cache, "never", UINT64_MAX - 1));
    perf_cache_destroy(cache);
}
END_TEST

START_TEST(test_a_time_to_live_beyond_the_end_of_time_is_for_ever)
{
    perf_cache *cache =
        make((perf_cache_config){.max_bytes = MIB, .ttl_ns = UINT64_MAX});
    perf_cache_hit hit;
    set_about(cache, "k", (perf_cache_about){0}, 10);
    ck_assert_int_eq(perf_cache_get_at(cache, "k", 1, NULL, 0, &hit, 11), 1);
    ck_assert_uint_eq(hit.expires_ns, UINT64_MAX);
    perf_cache_destroy(cache);
}
END_TEST

START_TEST(test_what_has_expired_before_it_is_set_takes_the_old_value_along)
{
    perf_cache *cache = make_of(MIB);
    set(cache, "k", "old");
    set_about(cache, "k", (perf_cache_about){.expires_ns = 50}, 50);
    ck_assert_ptr_null(get_at(cache, "k", 50));
    ck_assert_ptr_null(get_at(cache, "k", 1));
    ck_assert_uint_eq(stats_of(cache).entries, 0);
    perf_cache_destroy(cache);
}
END_TEST

START_TEST(test_a_hit_tells_times_and_mark)
{
    perf_cache *cache = make_of(MIB);
    perf_cache_hit hit;
    for (int has = 0; has < 8; has++) {
        perf_cache_about about = {
            .fresh_ns = has & 1 ? 500 : 0,
            .expires_ns = has & 2 ? 900 : 0,
            .mark = has & 4 ? 77 : 0,
        };
        set_about(cache, "k", about, 10);
        ck_assert_int_eq(perf_cache_get_at(cache, "k", 1, NULL, 0, &hit, 600),
                         1);
        ck_assert_uint_eq(hit.fresh_ns, has & 1 ? 500 : UINT64_MAX);
        ck_assert_uint_eq(hit.expires_ns, has & 2 ? 900 : UINT64_MAX);
        ck_assert_uint_eq(hit.mark, has & 4 ? 77 : 0);
    }
    perf_cache_destroy(cache);
}
END_TEST

START_TEST(test_expired_entries_give_their_memory_to_writes)
{
    perf_cache *cache = make_of(MIB);
    char key[16];
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "%d", i);
        set_about(cache, key, (perf_cache_about){.expires_ns = 1000}, 10);
    }
    ck_assert_uint_eq(stats_of(cache).entries, 1000);
    for (int i = 0; i < 20; i++)
        set_about(cache, "k", (perf_cache_about){0}, 2000);
    ck_assert_uint_eq(stats_of(cache).entries, 1);
    ck_assert_uint_eq(stats_of(cache).expirations, 1000);
    perf_cache_destroy(cache);
}
END_TEST

START_TEST(test_expire_takes_out_no_more_than_it_is_told)
{
    perf_cache *cache = make_of(256 * (uint64_t)MIB);
    char key[16];
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "%d", i);
        set_about(cache, key, (perf_cache_about){.expires_ns = 1000}, 10);
    }
    ck_assert_uint_eq(perf_cache_expire_at(cache, 1000, 999), 0);
    ck_assert_uint_eq(perf_cache_expire_at(cache, 0, 2000), 0);
    ck_assert_uint_eq(perf_cache_expire_at(cache, 300, 2000), 300);
    ck_assert_uint_eq(stats_of(cache).entries, 700);
    ck_assert_uint_eq(perf_cache_expire_at(cache, SIZE_MAX, 2000), 700);
    ck_assert_uint_eq(stats_of(cache).content_bytes, 0);
    perf_cache_destroy(cache);
}
END_TEST

/* ---- many ---- */

START_TEST(test_many_are_got_at_once)
{
    perf_cache *cache = make_of(MIB);
    set(cache, "a", "1");
    set(cache, "b", "22222");
    set(cache, "c", "333");
    perf_cache_key keys[] = {{"a", 1}, {"x", 1}, {"b", 1}, {"c", 1}};
    perf_cache_hit hits[4];
    char out[16];
    ck_assert_uint_eq(perf_cache_get_many_at(cache, keys, 4, out, 4, hits, 1),
                      9);
    ck_assert_int_eq(hits[0].offset, 0);
    ck_assert_int_eq(hits[1].size, PERF_CACHE_NONE);
    ck_assert_int_eq(hits[2].size, 5); /* does not fit, but "c" does */
    ck_assert_int_eq(hits[2].offset, PERF_CACHE_NONE);
    ck_assert_int_eq(hits[3].offset, 1);
    ck_assert(!memcmp(out, "1333", 4));
    ck_assert_uint_eq(perf_cache_get_many_at(cache, keys, 4, out, 16, hits, 1),
                      9);
    ck_assert(!memcmp(out, "122222333", 9));
    ck_assert_uint_eq(perf_cache_get_many_at(cache, keys, 4, NULL, 0, hits, 1),
                      9);
    perf_cache_destroy(cache);
}
END_TEST

/* Any number of them, over all shards; some are not there, some twice, some
 * are no keys. */
START_TEST(test_each_of_many_is_what_a_get_finds)
{
    enum { KEYS = 5000, MOST = 70 };
    perf_cache *cache = make_of(256 * (uint64_t)MIB);
    ck_assert_uint_eq(stats_of(cache).shards, PERF_CACHE_SHARDS_MAX);
    static uint32_t key[2 * KEYS];
    pt_random random = {11};
    for (uint32_t i = 0; i < 2 * KEYS; i++) {
        key[i] = i;
        if (i < KEYS)
            perf_cache_set_at(cache, &key[i], 4, &key[i], 4, NULL, 1);
    }
    for (int n = 0; n < 2000; n++) {
        perf_cache_key keys[MOST];
        perf_cache_hit hits[MOST];
        uint32_t out[MOST];
        size_t count = pt_below(&random, MOST + 1), used = 0;
        for (size_t i = 0; i < count; i++)
            keys[i] =
                pt_below(&random, 10)
                    ? (perf_cache_key){&key[pt_below(&random, 2 * KEYS)], 4}
                    : (perf_cache_key){NULL, 4};
        size_t size = perf_cache_get_many_at(cache, keys, count, out,
                                             sizeof out, hits, 1);
        for (size_t i = 0; i < count; i++) {
            const uint32_t *k = keys[i].bytes;
            bool there = k && *k < KEYS;
            PT_ASSERT(hits[i].size == (there ? 4 : PERF_CACHE_NONE));
            PT_ASSERT(hits[i].offset ==
                      (there ? (int64_t)used : PERF_CACHE_NONE));
            PT_ASSERT(!there || out[used / 4] == *k);
            used += there ? 4 : 0;
        }
        PT_ASSERT(size == used);
    }
    perf_cache_destroy(cache);
}
END_TEST

START_TEST(test_each_key_is_listed_once)
{
    perf_cache *cache = make_of(256 * (uint64_t)MIB);
    enum { N = 3000 };
    static bool seen[N];
    char key[16];
    for (int i = 0; i < N; i++) {
        snprintf(key, sizeof key, "%d", i);
        set_about(cache, key,
                  (perf_cache_about){.expires_ns = i % 3 ? 0 : 1000}, 10);
    }
    uint64_t cursor = 0;
    int64_t size;
    int count = 0;
    perf_cache_hit hit;
    while ((size = perf_cache_next_at(cache, &cursor, key, sizeof key, &hit,
                                      1000)) != PERF_CACHE_NONE) {
        key[size] = 0;
        ck_assert_int_eq(hit.size, 1);
        int i = atoi(key);
        PT_ASSERT(i % 3 && !seen[i]); /* those have expired */
        seen[i] = true;
        count++;
    }
    ck_assert_int_eq(count, N / 3 * 2);
    ck_assert_int_eq(
        perf_cache_next_at(cache, &cursor, key, sizeof key, &hit, 1000),
        PERF_CACHE_NONE);
    perf_cache_destroy(cache);
}
END_TEST

START_TEST(test_clear_takes_everything_out)
{
    perf_cache *cache = make_of(256 * (uint64_t)MIB);
    char key[16];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 5000; i++) {
            snprintf(key, sizeof key, "%d", i);
            ck_assert_int_eq(set(cache, key, "value"), PERF_OK);
        }
        ck_assert_uint_eq(stats_of(cache).entries, 5000);
        perf_cache_clear_blocking(cache);
        ck_assert_uint_eq(stats_of(cache).entries, 0);
        ck_assert_uint_eq(stats_of(cache).content_bytes, 0);
        ck_assert_ptr_null(get(cache, "17"));
        perf_cache_trim_blocking(cache);
    }
    perf_cache_destroy(cache);
}
END_TEST

/* ---- bounds ---- */

START_TEST(test_nothing_is_held_above_the_bound)
{
    pt_alloc a;
    pt_alloc_init(&a, UINT64_MAX);
    static const uint64_t bounds[] = {PERF_CACHE_BYTES_MIN, 300000, 9000000};
    uint64_t bound = bounds[_i];
    perf_cache *cache =
        make((perf_cache_config){.max_bytes = bound, .allocator = &a.face});
    pt_random random = {7};
    char value[5000] = {0};
    for (int i = 0; i < 40000; i++) {
        uint64_t key = pt_below(&random, 20000);
        size_t size = pt_below(&random, i % 10000 < 5000 ? 100 : sizeof value);
        perf_cache_about about = {.expires_ns = key % 2 ? 0 : 5000000};
        PT_ASSERT(!perf_cache_set_at(cache, &key, sizeof key, value, size,
                                     &about, (uint64_t)i));
        PT_ASSERT(atomic_load(&a.live_bytes) <= bound);
        if (i % 100 == 0) /* and it is what the cache says */
            PT_ASSERT(stats_of(cache).bytes == atomic_load(&a.live_bytes));
    }
    perf_cache_stats stats = stats_of(cache);
    ck_assert_uint_gt(stats.evictions, 0);
    ck_assert_uint_gt(stats.bytes, bound / 4 * 3); /* and it is used */
    perf_cache_destroy(cache);
    ck_assert_uint_eq(atomic_load(&a.live), 0);
    ck_assert(!atomic_load(&a.wrong_size));
}
END_TEST

/* Not each of its hits is told to the policy, but enough are. */
START_TEST(test_what_is_asked_for_stays_while_a_thousand_times_as_many_pass)
{
    enum { MOST = 1000, WANTED = 100, PASS = 1000 * WANTED };
    perf_cache_config config = {
        .max_bytes = MIB, .max_entries = MOST, .policy = (perf_policy_kind)_i};
    perf_cache *cache;
    uint32_t key, out;
    ck_assert_int_eq(perf_cache_create(&config, &cache), PERF_OK);
    for (uint32_t i = 0; i < PASS; i++) {
        key = i % WANTED;
        int64_t size =
            perf_cache_get_at(cache, &key, sizeof key, &out, 4, NULL, 1);
        if (i < WANTED)
            ck_assert_int_eq(size, PERF_CACHE_NONE);
        else
            PT_ASSERT(size == sizeof out && out == key);
        if (i < WANTED)
            perf_cache_set_at(cache, &key, sizeof key, &key, 4, NULL, 1);
        key = WANTED + i;
        perf_cache_set_at(cache, &key, sizeof key, &key, 4, NULL, 1);
    }
    ck_assert_uint_eq(stats_of(cache).hits, PASS - WANTED);
    perf_cache_destroy(cache);
}
END_TEST

START_TEST(test_no_more_entries_than_allowed)
{
    static const uint32_t most[] = {1, 2, 100, 2047, 5000, 20001};
    perf_cache *cache = make((perf_cache_config){
        .max_bytes = 256 * (uint64_t)MIB, .max_entries = most[_i]});
    char key[16];
    for (int i = 0; i < 50000; i++) {
        snprintf(key, sizeof key, "%d", i);
        PT_ASSERT(set(cache, key, "value") == PERF_OK);
        if (i % 1000 == 0)
            PT_ASSERT(stats_of(cache).entries <= most[_i]);
    }
    ck_assert_uint_eq(stats_of(cache).entries, most[_i]);
    perf_cache_destroy(cache);
}
END_TEST

START_TEST(test_a_value_above_the_share_is_refused_and_the_old_one_gone)
{
    perf_cache *cache = make_of(MIB);
    static char value[2 * MIB];
    uint64_t most = stats_of(cache).max_value_bytes;
    ck_assert_uint_gt(most, MIB / 2);
    set(cache, "k", "old");
    ck_assert_int_eq(perf_cache_set_at(cache, "k", 1, value, most + 1, NULL, 1),
                     PERF_ERR_RANGE);
    ck_assert_ptr_null(get(cache, "k"));
    ck_assert_uint_eq(stats_of(cache).refusals, 1);
    ck_assert_int_eq(perf_cache_set_at(cache, "k", 1, value, most / 2, NULL, 1),
                     PERF_OK);
    ck_assert_int_eq(perf_cache_get_at(cache, "k", 1, NULL, 0, NULL, 1),
                     (int64_t)most / 2);
    perf_cache_destroy(cache);
}
END_TEST

START_TEST(test_shards_come_with_size)
{
    static const struct {
        uint64_t bytes;
        uint32_t entries, shards;
    } at[] = {
        {PERF_CACHE_BYTES_MIN, 0, 1},    {8 * (uint64_t)MIB - 1, 0, 1},
        {8 * (uint64_t)MIB, 0, 2},       {64 * (uint64_t)MIB, 0, 16},
        {1024 * (uint64_t)MIB, 0, 16},   {1024 * (uint64_t)MIB, 1000, 1},
        {1024 * (uint64_t)MIB, 4096, 4}, {1024 * (uint64_t)MIB, 1 << 20, 16},
    };
    perf_cache *cache = make((perf_cache_config){
        .max_bytes = at[_i].bytes, .max_entries = at[_i].entries});
    ck_assert_uint_eq(stats_of(cache).shards, at[_i].shards);
    perf_cache_destroy(cache);
}
END_TEST

/* ---- nonsense ---- */

START_TEST(test_nonsense_is_refused)
{
    perf_cache *cache;
    perf_cache_config good = {.max_bytes = MIB}, bad = good;
    ck_assert_int_eq(perf_cache_create(&good, NULL), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_cache_create(NULL, &cache), PERF_ERR_INVALID);
    bad.max_bytes = PERF_CACHE_BYTES_MIN - 1;
    ck_assert_int_eq(perf_cache_create(&bad, &cache), PERF_ERR_RANGE);
    ck_assert_ptr_null(cache);
    bad.max_bytes = (UINT64_C(1) << 46) + 1;
    ck_assert_int_eq(perf_cache_create(&bad, &cache), PERF_ERR_RANGE);
    bad = good;
    bad.max_entries = (1 << 30) + 1;
    ck_assert_int_eq(perf_cache_create(&bad, &cache), PERF_ERR_RANGE);
    bad = good;
    bad.policy = (perf_policy_kind)99;
    ck_assert_int_eq(perf_cache_create(&bad, &cache), PERF_ERR_INVALID);
    cache = make(good);
    ck_assert_int_eq(perf_cache_set_at(NULL, "k", 1, "v", 1, NULL, 1),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_cache_set_at(cache, NULL, 1, "v", 1, NULL, 1),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_cache_set_at(cache, "k", 1, NULL, 1, NULL, 1),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(
        perf_cache_set_at(cache, "k", (size_t)1 << 30, "v", 1, NULL, 1),
        PERF_ERR_RANGE);
    ck_assert_int_eq(perf_cache_set_at(cache, "k", 1, "v", SIZE_MAX, NULL, 1),
                     PERF_ERR_RANGE);
    perf_cache_hit hit;
    ck_assert_int_eq(perf_cache_get_at(NULL, "k", 1, NULL, 0, &hit, 1), -1);
    ck_assert_int_eq(hit.size, PERF_CACHE_NONE);
    ck_assert_int_eq(perf_cache_get_at(cache, NULL, 1, NULL, 0, NULL, 1), -1);
    ck_assert(!perf_cache_delete(NULL, "k", 1));
    ck_assert(!perf_cache_delete(cache, NULL, 1));
    ck_assert_uint_eq(perf_cache_get_many_at(cache, NULL, 1, NULL, 0, &hit, 1),
                      0);
    ck_assert_int_eq(perf_cache_next_at(cache, NULL, NULL, 0, NULL, 1), -1);
    ck_assert_uint_eq(perf_cache_expire_at(NULL, 1, 1), 0);
    perf_cache_clear_blocking(NULL);
    perf_cache_trim_blocking(NULL);
    perf_cache_stats_now(cache, NULL);
    perf_cache_stats stats;
    perf_cache_stats_now(NULL, &stats);
    ck_assert_uint_eq(stats.entries, 0);
    perf_cache_destroy(cache);
    perf_cache_destroy(NULL);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("cache.memory");
    tcase_add_test(tests, test_what_is_set_is_found_and_nothing_else);
    tcase_add_test(tests, test_a_new_value_takes_the_place_of_the_old_one);
    tcase_add_test(tests, test_empty_keys_and_values_are_entries);
    tcase_add_test(tests, test_a_buffer_that_is_too_small_is_left_alone);
    tcase_add_test(tests, test_a_deleted_key_is_gone);
    tcase_add_test(tests, test_an_entry_is_gone_exactly_when_it_expires);
    tcase_add_test(tests,
                   test_the_default_time_to_live_is_for_those_that_name_no_end);
    tcase_add_test(tests,
                   test_a_time_to_live_beyond_the_end_of_time_is_for_ever);
    tcase_add_test(
        tests,
        test_what_has_expired_before_it_is_set_takes_the_old_value_along);
    tcase_add_test(tests, test_a_hit_tells_times_and_mark);
    tcase_add_test(tests, test_expired_entries_give_their_memory_to_writes);
    tcase_add_test(tests, test_expire_takes_out_no_more_than_it_is_told);
    tcase_add_test(tests, test_many_are_got_at_once);
    tcase_add_test(tests, test_each_of_many_is_what_a_get_finds);
    tcase_add_test(tests, test_each_key_is_listed_once);
    tcase_add_test(tests, test_clear_takes_everything_out);
    tcase_add_loop_test(tests, test_nothing_is_held_above_the_bound, 0, 3);
    tcase_add_loop_test(
        tests, test_what_is_asked_for_stays_while_a_thousand_times_as_many_pass,
        0, 3);
    tcase_add_loop_test(tests, test_no_more_entries_than_allowed, 0, 6);
    tcase_add_test(
        tests, test_a_value_above_the_share_is_refused_and_the_old_one_gone);
    tcase_add_loop_test(tests, test_shards_come_with_size, 0, 8);
    tcase_add_test(tests, test_nonsense_is_refused);
    return pt_end();
}
