/* test_policy_model.c - a million random operations beside a model that keeps
 * everything in plain arrays: LRU names exactly its victims; whatever the kind,
 * no slot is handed out twice or lost, and what expires does so in time. */
#include "test_policy_kit.h"

#include <stdlib.h>

enum { SLOTS = 512, MOST = 300, WEIGHT = 3000 };

typedef struct model {
    bool taken[SLOTS];
    uint32_t weight[SLOTS];
    uint64_t used[SLOTS]; /* when last, in operations */
    uint64_t ends[SLOTS], born[SLOTS];
    uint64_t entries, total, now, clock;
    uint32_t most;
    uint64_t max_weight;
} model;

static void
model_take(model *m, int32_t slot, const perf_policy_entry *entry)
{
    PT_ASSERT(slot >= 0 && slot < SLOTS);
    m->entries += !m->taken[slot];
    if (m->taken[slot])
        m->total -= m->weight[slot];
    m->total += entry->weight;
    m->taken[slot] = true;
    m->weight[slot] = entry->weight;
    m->used[slot] = ++m->clock;
    m->ends[slot] = entry->expires_ns;
    m->born[slot] = m->now;
}

static void
model_drop(model *m, int32_t slot)
{
    PT_ASSERT(slot >= 0 && slot < SLOTS && m->taken[slot]);
    m->taken[slot] = false;
    m->entries--;
    m->total -= m->weight[slot];
}

static int32_t
model_oldest(const model *m)
{
    int32_t oldest = PERF_SLOT_NONE;
    for (int32_t i = 0; i < SLOTS; i++)
        if (m->taken[i] && (oldest < 0 || m->used[i] < m->used[oldest]))
            oldest = i;
    return oldest;
}

static int32_t
any_slot(const model *m, pt_random *random)
{
    int32_t at = (int32_t)pt_below(random, SLOTS);
    for (int32_t i = 0; i < SLOTS; i++)
        if (m->taken[(at + i) % SLOTS])
            return (at + i) % SLOTS;
    return at;
}

static perf_policy_entry
any_entry(const model *m, pt_random *random)
{
    perf_policy_entry entry = {.hash = hash_of(pt_below(random, 1000)),
                               .weight = (uint32_t)pt_below(random, 40) + 1,
                               .cost = (float)pt_below(random, 3)};
    if (pt_below(random, 3) == 0)
        entry.expires_ns =
            m->now + pt_below(random, UINT64_C(1) << pt_below(random, 40));
    return entry;
}

/* Nothing early; nothing that is due by 1/64 of its life is left. */
static void
expire(perf_policy *policy, model *m)
{
    for (int32_t slot;
         (slot = perf_policy_expired_at(policy, m->now)) != PERF_SLOT_NONE;) {
        model_drop(m, slot);
        PT_ASSERT(m->ends[slot] && m->ends[slot] <= m->now);
    }
    for (int32_t i = 0; i < SLOTS; i++) {
        if (!m->taken[i] || !m->ends[i] || m->ends[i] > m->now)
            continue;
        uint64_t life = m->ends[i] - m->born[i];
        PT_ASSERT(m->now - m->ends[i] <= life / 64);
    }
}

static void
fit(perf_policy *policy, model *m, bool lru)
{
    bool over =
        m->entries > m->most || (m->max_weight && m->total > m->max_weight);
    while (over) {
        int32_t oldest = lru ? model_oldest(m) : 0;
        int32_t slot = perf_policy_victim(policy);
        PT_ASSERT(!lru || slot == oldest);
        model_drop(m, slot);
        over =
            m->entries > m->most || (m->max_weight && m->total > m->max_weight);
    }
    PT_ASSERT(perf_policy_victim(policy) == PERF_SLOT_NONE);
}

static void
operate(perf_policy *policy, model *m, pt_random *random)
{
    perf_policy_entry entry = any_entry(m, random);
    uint64_t verb = pt_below(random, 100);
    int32_t slot = any_slot(m, random);
    if (verb < 45) {
        int32_t new = perf_policy_insert_at(policy, &entry, m->now);
        PT_ASSERT(new >= 0 && !m->taken[new]);
        model_take(m, new, &entry);
    } else if (verb < 85) {
        perf_policy_touch_many(policy, &slot, 1);
        m->used[slot] = ++m->clock;
    } else if (verb < 92) {
        perf_err err = perf_policy_replace_at(policy, slot, &entry, m->now);
        PT_ASSERT(err == (m->taken[slot] ? PERF_OK : PERF_ERR_NOT_FOUND));
        if (!err)
            model_take(m, slot, &entry);
    } else if (verb < 95) {
        perf_policy_remove(policy, slot);
        if (m->taken[slot])
            model_drop(m, slot);
    } else {
        m->now += pt_below(random, UINT64_C(1) << pt_below(random, 38));
        expire(policy, m);
    }
}

/* Bit 0 of the number: weights are bounded too. */
START_TEST(test_a_million_operations_agree_with_the_model)
{
    int kind = _i / 2;
    model *m = calloc(1, sizeof *m);
    *m = (model){.most = MOST, .max_weight = _i % 2 ? WEIGHT : 0};
    perf_policy *policy = make(kind, m->most, m->max_weight);
    pt_random random = {(uint64_t)_i};
    int times = PT_TIMES(1000 * 1000) / (kind == PERF_POLICY_LRU ? 4 : 1);
    for (int i = 0; i < times; i++) {
        operate(policy, m, &random);
        if (pt_below(&random, 8) || m->entries > MOST + 50)
            fit(policy, m, kind == PERF_POLICY_LRU);
        if (i % 4096 == 0) {
            PT_ASSERT(perfi_policy_check(policy));
            perf_policy_stats s = stats_of(policy);
            PT_ASSERT(s.entries == m->entries && s.weight == m->total);
            m->most = 1 + (uint32_t)pt_below(&random, MOST);
            perf_policy_resize(policy, m->most, m->max_weight);
        }
    }
    perf_policy_destroy(policy);
    free(m);
}
END_TEST

/* Every allocation fails once: nothing leaks, nothing breaks, and what was
 * refused is as if it had not been asked for. */
START_TEST(test_every_allocation_may_fail)
{
    for (uint64_t allowed = 0; allowed <= 100; allowed++) {
        pt_alloc alloc;
        pt_alloc_init(&alloc, allowed);
        perf_policy_config config = {.kind = (perf_policy_kind)_i,
                                     .max_entries = 500,
                                     .allocator = &alloc.face};
        perf_policy *policy = NULL;
        perf_err err = perf_policy_create(&config, &policy);
        ck_assert(err == PERF_OK || (err == PERF_ERR_NOMEM && !policy));
        uint64_t refused = 0;
        for (uint64_t i = 0; policy && i < 3000; i++) {
            uint64_t ends = i < 1000 ? 0 : i + (UINT64_C(1) << i % 50);
            perf_policy_stats before = stats_of(policy);
            int32_t slot = insert_entry(policy, i, 1, 0, ends, i);
            refused += slot < 0;
            PT_ASSERT(stats_of(policy).entries == before.entries + (slot >= 0));
            evict(policy);
            perf_policy_entry entry = {.weight = 1, .expires_ns = 2 * i};
            err = slot < 0 ? PERF_OK
                           : perf_policy_replace_at(policy, slot, &entry, i);
            PT_ASSERT(err == PERF_OK || err == PERF_ERR_NOMEM ||
                      err == PERF_ERR_NOT_FOUND); /* it was the victim */
        }
        if (policy) {
            ck_assert(perfi_policy_check(policy));
            ck_assert_uint_eq(stats_of(policy).bytes, alloc.live_bytes);
            ck_assert(allowed < 100 || refused == 0);
        }
        perf_policy_destroy(policy);
        ck_assert_uint_eq(alloc.live, 0);
        ck_assert(!alloc.wrong_size);
    }
}
END_TEST

/* The header's promise, in bytes an entry of a full cache. */
START_TEST(test_memory_stays_within_what_the_header_says)
{
    static const uint32_t sizes[] = {1, 10, 100, 1000, 10 * 1000, 100 * 1000};
    static const uint64_t more[KINDS] = {4, 0, 12};
    for (int i = 0; i < 6; i++) {
        uint32_t n = sizes[i];
        perf_policy *policy = make(_i, n, 0);
        uint64_t least = 2048, most = n + 1;
        for (uint32_t j = 0; j < 2 * n; j++) {
            insert(policy, j);
            evict(policy);
        }
        uint64_t fixed =
            least +
            (_i == PERF_POLICY_ADAPTIVE ? n < 4096 ? 20 << 10 : 64 << 10 : 0);
        ck_assert_uint_le(stats_of(policy).bytes,
                          fixed + most * (24 + more[_i]) + most / 2);
        uint64_t before = stats_of(policy).bytes;
        insert_entry(policy, 1, 1, 0, 1000, 0);
        evict(policy);
        ck_assert_uint_le(stats_of(policy).bytes, before + 12 * most + 2048);
        perf_policy_destroy(policy);
    }
}
END_TEST

int
main(void)
{
    TCase *t = pt_begin("cache.policy_model");
    tcase_add_loop_test(t, test_a_million_operations_agree_with_the_model, 0,
                        2 * KINDS);
    tcase_add_loop_test(t, test_every_allocation_may_fail, 0, KINDS);
    tcase_add_loop_test(t, test_memory_stays_within_what_the_header_says, 0,
                        KINDS);
    return pt_end();
}
