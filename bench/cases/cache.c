/* cache.c - the cache in memory: a million entries of 16 + 112 bytes, asked for
 * as Zipf has it (exponent 0.99), by one thread and by two; beside it what one
 * would write first: a hash table and a list under one mutex. */
#include "cases.h"

#include <libperf/cache.h>
#include <libperf/hash.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    ENTRIES = 1000000,
    DRAWS = 1 << 18,
    KEY = 16,
    VALUE = 112,
    WRITES = 10, /* one operation in so many, where there are writes */
};

/* ---- which keys ---- */

static uint32_t *draws; /* entries, DRAWS of them */

static uint64_t
next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15); /* splitmix64 */
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

/* By the inverse of the distribution's sum. */
static bool
make_draws(void)
{
    double *sum = malloc(ENTRIES * sizeof *sum), total = 0;
    draws = malloc(DRAWS * sizeof *draws);
    uint64_t random = 42;
    for (int i = 0; sum && i < ENTRIES; i++)
        sum[i] = total += pow(i + 1, -0.99);
    for (int i = 0; sum && draws && i < DRAWS; i++) {
        double at = (double)(next_random(&random) >> 11) * 0x1p-53 * total;
        uint32_t low = 0, high = ENTRIES - 1;
        while (low < high) {
            uint32_t middle = (low + high) / 2;
            if (sum[middle] < at)
                low = middle + 1;
            else
                high = middle;
        }
        draws[i] = low;
    }
    free(sum);
    return sum && draws;
}

static void
key_of(uint32_t entry, uint64_t key[2])
{
    key[0] = entry * UINT64_C(0x9E3779B97F4A7C15);
    key[1] = entry;
}

/* ---- an array of pointers: what no lookup can do without ---- */

static void *
array_make(void)
{
    return calloc(ENTRIES, sizeof(unsigned char *));
}

static bool
array_get(void *cache, const uint64_t key[2], void *value)
{
    memcpy(value, ((unsigned char **)cache)[key[1]], VALUE);
    return true;
}

static bool
array_set(void *cache, const uint64_t key[2], const void *value)
{
    unsigned char **at = &((unsigned char **)cache)[key[1]];
    if (!*at && !(*at = malloc(VALUE)))
        return false;
    memcpy(*at, value, VALUE);
    return true;
}

static void
array_free(void *cache)
{
    for (int i = 0; i < ENTRIES; i++)
        free(((unsigned char **)cache)[i]);
    free(cache);
}

/* ---- one mutex, one table, one list ---- */

typedef struct node {
    struct node *next, *newer, *older;
    uint64_t hash;
    uint64_t key[2];
    unsigned char value[VALUE];
} node;

enum { BUCKETS = 1 << 20 };

typedef struct plain {
    pthread_mutex_t mutex;
    node *bucket[BUCKETS];
    node ring; /* newer: the oldest; older: the newest */
} plain;

static void
make_newest(plain *p, node *n)
{
    n->newer = &p->ring;
    n->older = p->ring.older;
    n->older->newer = n;
    p->ring.older = n;
}

static node *
find_node(plain *p, const uint64_t key[2])
{
    uint64_t hash = perf_hash(key, KEY);
    node *n = p->bucket[hash % BUCKETS];
    while (n && (n->hash != hash || memcmp(n->key, key, KEY)))
        n = n->next;
    if (n && p->ring.older != n) {
        n->newer->older = n->older;
        n->older->newer = n->newer;
        make_newest(p, n);
    }
    return n;
}

static bool
plain_get(void *cache, const uint64_t key[2], void *value)
{
    plain *p = cache;
    pthread_mutex_lock(&p->mutex);
    node *n = find_node(p, key);
    if (n)
        memcpy(value, n->value, VALUE);
    pthread_mutex_unlock(&p->mutex);
    return n;
}

static bool
plain_set(void *cache, const uint64_t key[2], const void *value)
{
    plain *p = cache;
    pthread_mutex_lock(&p->mutex);
    node *n = find_node(p, key);
    if (!n && (n = malloc(sizeof *n))) {
        memcpy(n->key, key, KEY);
        n->hash = perf_hash(key, KEY);
        n->next = p->bucket[n->hash % BUCKETS];
        p->bucket[n->hash % BUCKETS] = n;
        make_newest(p, n);
    }
    if (n)
        memcpy(n->value, value, VALUE);
    pthread_mutex_unlock(&p->mutex);
    return n;
}

static void *
plain_make(void)
{
    plain *p = calloc(1, sizeof *p);
    if (p) {
        pthread_mutex_init(&p->mutex, NULL);
        p->ring.newer = p->ring.older = &p->ring;
    }
    return p;
}

static void
plain_free(void *cache)
{
    plain *p = cache;
    for (node *n = p->ring.newer, *next; n != &p->ring; n = next) {
        next = n->newer;
        free(n);
    }
    free(p);
}

/* ---- libperf's ---- */

static void *
make_cache(perf_policy_kind policy)
{
    perf_cache_config config = {.max_bytes = UINT64_C(1) << 30,
                                .max_entries = 1 << 20,
                                .policy = policy};
    perf_cache *cache;
    return perf_cache_create(&config, &cache) ? NULL : cache;
}

static void *
adaptive_make(void)
{
    return make_cache(PERF_POLICY_ADAPTIVE);
}

static void *
lru_make(void)
{
    return make_cache(PERF_POLICY_LRU);
}

static bool
cache_get(void *cache, const uint64_t key[2], void *value)
{
    return perf_cache_get_at(cache, key, KEY, value, VALUE, NULL, 1) == VALUE;
}

static bool
cache_set(void *cache, const uint64_t key[2], const void *value)
{
    return perf_cache_set_at(cache, key, KEY, value, VALUE, NULL, 1) == PERF_OK;
}

enum { MANY = 16 };

static uint64_t
get_many(void *cache, uint64_t key[MANY][2], size_t count)
{
    static _Thread_local unsigned char values[MANY * VALUE];
    perf_cache_key keys[MANY];
    perf_cache_hit hits[MANY];
    for (size_t i = 0; i < count; i++)
        keys[i] = (perf_cache_key){key[i], KEY};
    size_t got = perf_cache_get_many_at(cache, keys, count, values,
                                        sizeof values, hits, 1);
    perf_bench_keep(values);
    return got / VALUE;
}

static void
cache_free(void *cache)
{
    perf_cache_destroy(cache);
}

/* ---- cases ---- */

typedef struct kind {
    void *(*make)(void);
    bool (*get)(void *cache, const uint64_t key[2], void *value);
    bool (*set)(void *cache, const uint64_t key[2], const void *value);
    void (*free)(void *cache);
    void *cache; /* of all its cases */
    int users;
} kind;

static kind array = {array_make, array_get, array_set, array_free, NULL, 0};
static kind mutex = {plain_make, plain_get, plain_set, plain_free, NULL, 0};
static kind adaptive = {adaptive_make, cache_get, cache_set,
                        cache_free,    NULL,      0};
static kind lru = {lru_make, cache_get, cache_set, cache_free, NULL, 0};

static bool
fill(kind *k)
{
    unsigned char value[VALUE] = {1};
    uint64_t key[2];
    k->cache = k->make();
    for (uint64_t i = 0; k->cache && i < ENTRIES; i++) {
        /* those that are wanted most do not lie side by side */
        key_of((uint32_t)(i * 611953 % ENTRIES), key);
        if (!k->set(k->cache, key, value))
            return false;
    }
    return k->cache;
}

static void
set_up(perf_bench_state *state)
{
    kind *k = state->data;
    if ((!draws && !make_draws()) || (!k->users++ && !fill(k)))
        perf_bench_fail(state, "out of memory");
}

static void
tear_down(perf_bench_state *state)
{
    kind *k = state->data;
    if (--k->users)
        return;
    if (k->cache)
        k->free(k->cache);
    k->cache = NULL;
}

static void
run(perf_bench_state *state, uint32_t writes)
{
    kind *k = state->data;
    unsigned char value[VALUE] = {2};
    uint64_t key[2], missing = 0;
    uint32_t at = state->thread * (DRAWS / 2); /* not the same keys at once */
    for (uint64_t i = 0; i < state->iterations; i++) {
        key_of(draws[at++ % DRAWS], key);
        if (writes && i % writes == 0)
            missing += !k->set(k->cache, key, value);
        else
            missing += !k->get(k->cache, key, value);
        perf_bench_keep(value);
    }
    if (missing > state->iterations / 20)
        perf_bench_fail(state, "entries are missing");
}

static void
run_reads(perf_bench_state *state)
{
    run(state, 0);
}

static void
run_with_writes(perf_bench_state *state)
{
    run(state, WRITES);
}

static void
run_many(perf_bench_state *state)
{
    kind *k = state->data;
    uint64_t key[MANY][2], missing = 0;
    uint32_t at = 0;
    for (uint64_t left = state->iterations; left;) {
        size_t n = left < MANY ? left : MANY;
        for (size_t i = 0; i < n; i++)
            key_of(draws[at++ % DRAWS], key[i]);
        missing += n - get_many(k->cache, key, n);
        left -= n;
    }
    if (missing > state->iterations / 20)
        perf_bench_fail(state, "entries are missing");
}

static void
add_case(kind *k, const char *name, perf_bench_fn fn, uint32_t threads,
         const char *reference)
{
    perf_bench_case *c = perf_bench_add(name, fn);
    c->setup = set_up;
    c->teardown = tear_down;
    c->threads = threads;
    c->reference = reference;
    c->ctx = k;
}

#define ADD_CASES(kind, beside)                                                \
    add_case(&kind, "cache/" #kind "/get", run_reads, 1, beside);              \
    add_case(&kind, "cache/" #kind "/get/t2", run_reads, 2,                    \
             "cache/" #kind "/get");                                           \
    add_case(&kind, "cache/" #kind "/9_gets_1_set", run_with_writes, 1,        \
             "cache/" #kind "/get");                                           \
    add_case(&kind, "cache/" #kind "/9_gets_1_set/t2", run_with_writes, 2,     \
             "cache/" #kind "/9_gets_1_set")

void
add_cache_cases(void)
{
    add_case(&array, "cache/array/get", run_reads, 1, NULL);
    ADD_CASES(mutex, "cache/array/get");
    ADD_CASES(adaptive, "cache/mutex/get");
    ADD_CASES(lru, "cache/mutex/get");
    add_case(&adaptive, "cache/adaptive/get_many", run_many, 1,
             "cache/adaptive/get");
    add_case(&lru, "cache/lru/get_many", run_many, 1, "cache/lru/get");
}
