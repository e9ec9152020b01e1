/* test_memory_threads.c - threads that do everything to one cache at once find
 * whole values only; a child that is forked meanwhile goes on with its own. */
#include "pt.h"

#include <libperf/cache.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KEYS = 4000, LONGEST = 600, THREADS = 4 };

static perf_cache *
make(uint64_t max_bytes, perf_policy_kind policy)
{
    perf_cache *cache = NULL;
    perf_cache_config config = {.max_bytes = max_bytes, .policy = policy};
    ck_assert_int_eq(perf_cache_create(&config, &cache), PERF_OK);
    return cache;
}

/* A value is its key, again and again, and then its length says which one. */
static void
set_one(perf_cache *cache, uint32_t key, size_t size, uint64_t now_ns)
{
    uint32_t value[LONGEST / 4];
    for (size_t i = 0; i < LONGEST / 4; i++)
        value[i] = key ^ (uint32_t)size;
    perf_cache_about about = {.expires_ns = key % 2 ? now_ns + 1000 : 0,
                              .mark = key};
    PT_ASSERT(!perf_cache_set_at(cache, &key, sizeof key, value, size, &about,
                                 now_ns));
}

static void
get_one(perf_cache *cache, uint32_t key, uint64_t now_ns)
{
    uint32_t value[LONGEST / 4];
    perf_cache_hit hit;
    int64_t size = perf_cache_get_at(cache, &key, sizeof key, value,
                                     sizeof value, &hit, now_ns);
    if (size < 0)
        return;
    PT_ASSERT(hit.mark == key && hit.expires_ns > now_ns);
    for (int64_t i = 0; i < size / 4; i++)
        PT_ASSERT(value[i] == (key ^ (uint32_t)size));
}

static void
list_all(perf_cache *cache, uint64_t now_ns)
{
    uint64_t cursor = 0;
    uint32_t key;
    while (perf_cache_next_at(cache, &cursor, &key, sizeof key, NULL, now_ns) !=
           PERF_CACHE_NONE)
        PT_ASSERT(key < KEYS);
}

static void
do_anything(unsigned index, void *ctx)
{
    perf_cache *cache = ctx;
    pt_random random = {index};
    for (int n = 0; n < PT_TIMES(200000); n++) {
        uint64_t now_ns = (uint64_t)n * 10;
        uint32_t key = (uint32_t)pt_below(&random, KEYS);
        uint64_t what = pt_below(&random, 2000);
        if (what < 400)
            set_one(cache, key, pt_below(&random, LONGEST / 4) * 4, now_ns);
        else if (what < 450)
            perf_cache_delete(cache, &key, sizeof key);
        else if (what == 450)
            perf_cache_expire_at(cache, 100, now_ns);
        else if (what == 451)
            list_all(cache, now_ns);
        else if (what == 452 && n % 100 == 0)
            perf_cache_clear_blocking(cache);
        else
            get_one(cache, key, now_ns);
    }
}

START_TEST(test_threads_find_whole_values_only)
{
    static const uint64_t sizes[] = {500000, 64 << 20};
    perf_cache *cache = make(sizes[_i % 2], (perf_policy_kind)(_i / 2 % 3));
    pt_parallel(THREADS, do_anything, cache);
    perf_cache_stats stats;
    perf_cache_stats_now(cache, &stats);
    ck_assert_uint_gt(stats.hits, 0);
    ck_assert_uint_le(stats.bytes, sizes[_i % 2]);
    uint64_t listed = 0, cursor = 0;
    while (perf_cache_next_at(cache, &cursor, NULL, 0, NULL, 0) !=
           PERF_CACHE_NONE)
        listed++;
    ck_assert_uint_eq(listed, stats.entries);
    perf_cache_destroy(cache);
}
END_TEST

/* ---- fork ---- */

static atomic_bool stop;

static void *
keep_busy(void *ctx)
{
    for (uint32_t i = 0; !atomic_load(&stop); i++) {
        set_one(ctx, i % KEYS, i % 100 * 4, i);
        get_one(ctx, (i * 7) % KEYS, i);
    }
    return NULL;
}

static void
use_in_child(perf_cache *cache)
{
    alarm(20); /* a lock that nobody can give back any more */
    for (uint32_t i = 0; i < KEYS; i++) {
        get_one(cache, i, 0);
        set_one(cache, i, i % 100 * 4, 0);
    }
    perf_cache *another = make(1 << 20, PERF_POLICY_LRU);
    set_one(another, 1, 8, 0);
    perf_cache_destroy(another);
    perf_cache_destroy(cache);
}

static void
fork_beside_busy_threads(void *ctx)
{
    pthread_t busy[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&busy[i], NULL, keep_busy, ctx);
    for (int i = 0; i < 60; i++) {
        pid_t pid = fork();
        if (!pid) {
            use_in_child(ctx);
            _exit(0);
        }
        int status;
        PT_CHECK_EQ(waitpid(pid, &status, 0), pid);
        PT_CHECK_EQ(status, 0);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 2; i++)
        pthread_join(busy[i], NULL);
}

START_TEST(test_a_forked_child_goes_on_with_its_own)
{
    perf_cache *cache = make(64 << 20, PERF_POLICY_LRU);
    pt_run_well(fork_beside_busy_threads, cache);
    perf_cache_destroy(cache);
}
END_TEST

START_TEST(test_what_a_child_does_is_not_seen_by_its_parent)
{
    perf_cache *cache = make(1 << 20, PERF_POLICY_LRU);
    set_one(cache, 1, 8, 0);
    pid_t pid = fork();
    if (!pid) {
        uint32_t key = 1;
        bool was = perf_cache_delete(cache, &key, sizeof key);
        _exit(was ? 0 : 1);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    uint32_t key = 1;
    ck_assert(perf_cache_delete(cache, &key, sizeof key));
    perf_cache_destroy(cache);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("cache.memory_threads");
    tcase_add_loop_test(tests, test_threads_find_whole_values_only, 0, 6);
    tcase_add_test(tests, test_what_a_child_does_is_not_seen_by_its_parent);
    if (!PT_SANITIZED) /* whose own malloc a fork beside threads may block */
        tcase_add_test(tests, test_a_forked_child_goes_on_with_its_own);
    return pt_end();
}
