/* policy.c - what a cache's policy costs: hits alone, and misses that make room
 * for what is new. */
#include "cases.h"

#include <libperf/hash.h>
#include <libperf/policy.h>
#include <math.h>
#include <stdlib.h>

enum { BATCH = 32, KINDS = 3, SIZES = 2 };

typedef struct load {
    perf_policy_kind kind;
    uint32_t entries;
} load;

typedef struct cache {
    perf_policy *policy;
    int32_t *slot;   /* of a key */
    uint32_t *key;   /* of a slot */
    uint64_t *hash;  /* of a key */
    uint32_t *asked; /* keys, in order */
    uint32_t at, keys;
} cache;

enum { ASKED = 1 << 20 };

static void
tear_down(perf_bench_state *state)
{
    cache *c = state->data;
    if (!c)
        return;
    perf_policy_destroy(c->policy);
    free(c->slot);
    free(c->key);
    free(c->hash);
    free(c->asked);
    free(c);
    state->data = NULL;
}

static void
ask(cache *c, uint32_t key)
{
    if (c->slot[key] >= 0) {
        perf_policy_touch_many(c->policy, &c->slot[key], 1);
        return;
    }
    perf_policy_entry entry = {.hash = c->hash[key], .weight = 1};
    int32_t slot = perf_policy_insert_at(c->policy, &entry, 0);
    if (slot < 0)
        return;
    c->slot[key] = slot;
    c->key[slot] = key;
    while ((slot = perf_policy_victim(c->policy)) >= 0)
        c->slot[c->key[slot]] = PERF_SLOT_NONE;
}

/* Keys whose ranks are about zipf-distributed (exponent 1): the logarithm of
 * the rank is uniform. */
static void
choose_keys(cache *c)
{
    uint64_t random = 42;
    for (uint32_t i = 0; i < ASKED; i++) {
        random = random * UINT64_C(6364136223846793005) + 1;
        double u = (double)(random >> 11) * 0x1p-53;
        c->asked[i] = (uint32_t)exp(u * log((double)c->keys - 1));
    }
}

/* Full, and warm. */
static void
set_up(perf_bench_state *state)
{
    const load *l = state->data;
    perf_policy_config config = {.kind = l->kind, .max_entries = l->entries};
    cache *c = state->data = calloc(1, sizeof *c);
    if (c) {
        c->keys = 8 * l->entries;
        c->slot = malloc(c->keys * sizeof *c->slot);
        c->key = malloc((l->entries + 1) * sizeof *c->key);
        c->hash = malloc(c->keys * sizeof *c->hash);
        c->asked = malloc(ASKED * sizeof *c->asked);
    }
    if (!c || !c->slot || !c->key || !c->hash || !c->asked ||
        perf_policy_create(&config, &c->policy)) {
        perf_bench_fail(state, "out of memory");
        return;
    }
    for (uint32_t i = 0; i < c->keys; i++) {
        c->slot[i] = PERF_SLOT_NONE;
        c->hash[i] = perf_hash(&i, sizeof i);
    }
    for (uint32_t i = 0; i < l->entries; i++)
        ask(c, c->keys - 1 - i);
    choose_keys(c);
    for (uint32_t i = 0; i < ASKED; i++)
        ask(c, c->asked[i]);
}

/* In the order of the keys, which is none for the slots. */
static void
touch(perf_bench_state *state)
{
    cache *c = state->data;
    int32_t slots[BATCH];
    for (uint64_t left = state->iterations; left;) {
        size_t n = 0;
        for (; n < BATCH && n < left; c->at++) {
            int32_t slot = c->slot[c->asked[c->at % ASKED]];
            slots[n++] = slot < 0 ? (int32_t)(c->at % (c->keys / 8)) : slot;
        }
        perf_policy_touch_many(c->policy, slots, n);
        left -= n;
    }
}

/* New keys only: each insertion evicts. */
static void
insert_new(perf_bench_state *state)
{
    cache *c = state->data;
    for (uint64_t i = 0; i < state->iterations; i++) {
        uint64_t number = ++c->at;
        perf_policy_entry entry = {
            .hash = number * UINT64_C(0x9E3779B97F4A7C15), .weight = 1};
        perf_policy_insert_at(c->policy, &entry, 0);
        while (perf_policy_victim(c->policy) >= 0)
            ;
    }
}

/* Hits and misses as they come. */
static void
mix(perf_bench_state *state)
{
    cache *c = state->data;
    for (uint64_t i = 0; i < state->iterations; i++)
        ask(c, c->asked[c->at++ % ASKED]);
}

void
add_policy_cases(void)
{
    static const char *const names[KINDS][SIZES][3] = {
        {{"policy/touch/adaptive_10k", "policy/insert/adaptive_10k",
          "policy/mix/adaptive_10k"},
         {"policy/touch/adaptive_1m", "policy/insert/adaptive_1m",
          "policy/mix/adaptive_1m"}},
        {{"policy/touch/lru_10k", "policy/insert/lru_10k",
          "policy/mix/lru_10k"},
         {"policy/touch/lru_1m", "policy/insert/lru_1m", "policy/mix/lru_1m"}},
        {{"policy/touch/s3fifo_10k", "policy/insert/s3fifo_10k",
          "policy/mix/s3fifo_10k"},
         {"policy/touch/s3fifo_1m", "policy/insert/s3fifo_1m",
          "policy/mix/s3fifo_1m"}}};
    static const perf_bench_fn run[3] = {touch, insert_new, mix};
    static load loads[KINDS][SIZES];
    for (int k = 0; k < KINDS; k++) {
        for (int s = 0; s < SIZES; s++) {
            loads[k][s] =
                (load){(perf_policy_kind)k, s ? 1000 * 1000 : 10 * 1000};
            for (int v = 0; v < 3; v++) {
                perf_bench_case *c = add_beside(names[k][s][v], run[v],
                                                names[PERF_POLICY_LRU][s][v]);
                c->setup = set_up;
                c->teardown = tear_down;
                c->ctx = &loads[k][s];
                if (k == PERF_POLICY_LRU)
                    c->reference = NULL;
            }
        }
    }
}
