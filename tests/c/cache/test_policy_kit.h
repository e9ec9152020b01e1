/* test_policy_kit.h - what tests of policies share. */
#ifndef TEST_POLICY_KIT_H
#define TEST_POLICY_KIT_H
#include "pt.h"

#include "cache/policy/kind.h"

enum { KINDS = 3 }; /* of perf_policy_kind, from 0 */

static inline perf_policy *
make_with(perf_policy_config config)
{
    perf_policy *policy = NULL;
    ck_assert_int_eq(perf_policy_create(&config, &policy), PERF_OK);
    return policy;
}

static inline perf_policy *
make(int kind, uint32_t max_entries, uint64_t max_weight)
{
    return make_with((perf_policy_config){.kind = (perf_policy_kind)kind,
                                          .max_entries = max_entries,
                                          .max_weight = max_weight});
}

/* A hash as good as perf_hash() of the number. */
static inline uint64_t
hash_of(uint64_t number)
{
    pt_random r = {number};
    return pt_next(&r);
}

static inline int32_t
insert_entry(perf_policy *policy, uint64_t number, uint32_t weight, float cost,
             uint64_t expires_ns, uint64_t now_ns)
{
    perf_policy_entry entry = {.hash = hash_of(number),
                               .weight = weight,
                               .cost = cost,
                               .expires_ns = expires_ns};
    return perf_policy_insert_at(policy, &entry, now_ns);
}

static inline int32_t
insert(perf_policy *policy, uint64_t number)
{
    int32_t slot = insert_entry(policy, number, 1, 0, 0, 0);
    PT_ASSERT(slot >= 0);
    return slot;
}

/* How many went. */
static inline uint64_t
evict(perf_policy *policy)
{
    uint64_t gone = 0;
    while (perf_policy_victim(policy) != PERF_SLOT_NONE)
        gone++;
    return gone;
}

static inline perf_policy_stats
stats_of(const perf_policy *policy)
{
    perf_policy_stats stats;
    perf_policy_stats_now(policy, &stats);
    return stats;
}
#endif
