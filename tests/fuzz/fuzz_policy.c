/* fuzz_policy.c - proves that no sequence of operations on a policy, of any
 * kind, hands a slot out twice, loses one, names one too early, or leaves the
 * bounds. */
#include "cache/policy/kind.h"
#include "expect.h"

#include <string.h>

enum { SLOTS = 1 << 12 };

typedef struct input {
    const uint8_t *at, *end;
} input;

static uint64_t
next(input *in, int bytes)
{
    uint64_t value = 0;
    for (; bytes && in->at < in->end; bytes--)
        value = value << 8 | *in->at++;
    return value;
}

typedef struct state {
    perf_policy *policy;
    perf_policy_config config;
    bool taken[SLOTS];
    uint64_t ends[SLOTS];
    uint64_t entries, now;
} state;

static perf_policy_entry
next_entry(state *s, input *in)
{
    uint64_t life = next(in, 1);
    perf_policy_entry entry = {
        .hash = (next(in, 1) + 1) * UINT64_C(0x9E3779B97F4A7C15),
        .weight = (uint32_t)next(in, 1 + (int)(life & 1))};
    uint32_t bits = (uint32_t)next(in, 1) << 24;
    memcpy(&entry.cost, &bits, sizeof bits); /* also what is not a number */
    if (life & 2)
        entry.expires_ns = s->now + (life << life % 56);
    return entry;
}

static void
drop(state *s, int32_t slot)
{
    expect(slot >= 0 && slot < SLOTS && s->taken[slot]);
    s->taken[slot] = false;
    s->entries--;
}

static void
insert(state *s, input *in)
{
    perf_policy_entry entry = next_entry(s, in);
    int32_t slot = perf_policy_insert_at(s->policy, &entry, s->now);
    if (slot == PERF_SLOT_NONE) {
        expect(!entry.weight ||
               (s->config.max_weight && entry.weight > s->config.max_weight));
        return;
    }
    expect(slot < SLOTS && !s->taken[slot]);
    s->taken[slot] = true;
    s->ends[slot] = entry.expires_ns;
    s->entries++;
}

static void
replace(state *s, input *in)
{
    int32_t slot = (int32_t)next(in, 2) % SLOTS;
    perf_policy_entry entry = next_entry(s, in);
    perf_err err = perf_policy_replace_at(s->policy, slot, &entry, s->now);
    expect(s->taken[slot] ? err == PERF_OK || err == PERF_ERR_RANGE
                          : err == PERF_ERR_NOT_FOUND);
    if (!err)
        s->ends[slot] = entry.expires_ns;
}

static void
expire(state *s, input *in)
{
    s->now += next(in, 1) << next(in, 1) % 40;
    for (int32_t slot; (slot = perf_policy_expired_at(s->policy, s->now)) >= 0;
         drop(s, slot))
        expect(s->ends[slot] && s->ends[slot] <= s->now);
}

static void
evict(state *s)
{
    perf_policy_stats stats;
    for (int32_t slot; (slot = perf_policy_victim(s->policy)) >= 0;)
        drop(s, slot);
    perf_policy_stats_now(s->policy, &stats);
    expect(stats.entries == s->entries);
    expect(stats.entries <= s->config.max_entries);
    expect(!s->config.max_weight || stats.weight <= s->config.max_weight);
}

static void
operate(state *s, input *in)
{
    uint8_t verb = (uint8_t)next(in, 1);
    int32_t slots[3];
    switch (verb & 7) {
    case 0: expire(s, in); break;
    case 1: replace(s, in); break;
    case 2:
        slots[0] = (int32_t)next(in, 2) % SLOTS;
        perf_policy_remove(s->policy, slots[0]);
        if (s->taken[slots[0]])
            drop(s, slots[0]);
        break;
    case 3:
        for (int i = 0; i < 3; i++)
            slots[i] = (int32_t)next(in, 1 + (verb >> 6));
        perf_policy_touch_many(s->policy, slots, 3);
        break;
    case 4:
        s->config.max_entries = 1 + (uint32_t)next(in, 1);
        s->config.max_weight = verb & 8 ? 0 : next(in, 2);
        expect(!perf_policy_resize(s->policy, s->config.max_entries,
                                   s->config.max_weight));
        break;
    default: insert(s, in);
    }
    if (!(verb & 128) || s->entries > SLOTS / 2)
        evict(s);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static state s;
    input in = {data, data + size};
    memset(&s, 0, sizeof s);
    s.config.kind = (perf_policy_kind)(next(&in, 1) % 3);
    s.config.max_entries = 1 + (uint32_t)next(&in, 1);
    s.config.max_weight = next(&in, 2);
    expect(!perf_policy_create(&s.config, &s.policy));
    for (int n = 0; in.at < in.end; n++) {
        operate(&s, &in);
        if (n % 64 == 0)
            expect(perfi_policy_check(s.policy));
    }
    expect(perfi_policy_check(s.policy));
    perf_policy_destroy(s.policy);
    return 0;
}
