/* play.c - a trace through a policy. */
#include "play.h"

#include <libperf/clock.h>
#include <stdlib.h>

typedef struct table {
    const trace *t;
    perf_policy *policy;
    int32_t *slot; /* of each key; PERF_SLOT_NONE */
    uint32_t *key; /* of each slot */
} table;

static void
miss(table *a, uint32_t key, bool weighs)
{
    perf_policy_entry entry = {.hash = a->t->hash[key],
                               .weight = weighs ? a->t->size[key] : 1};
    int32_t slot = perf_policy_insert_at(a->policy, &entry, 0);
    if (slot == PERF_SLOT_NONE)
        return; /* too large */
    a->slot[key] = slot;
    a->key[slot] = key;
    while ((slot = perf_policy_victim(a->policy)) != PERF_SLOT_NONE)
        a->slot[a->key[slot]] = PERF_SLOT_NONE;
}

static void
play_all(table *a, bool weighs, outcome *out)
{
    const trace *t = a->t;
    uint64_t hits = 0, bytes = 0, byte_hits = 0;
    uint64_t began = perf_clock_now_ns();
    for (size_t i = 0; i < t->requests; i++) {
        uint32_t key = t->key[i], size = t->size ? t->size[key] : 1;
        bytes += size;
        if (a->slot[key] == PERF_SLOT_NONE) {
            miss(a, key, weighs);
            continue;
        }
        hits++;
        byte_hits += size;
        perf_policy_touch_many(a->policy, &a->slot[key], 1);
    }
    double requests = (double)t->requests;
    out->ns = (double)(perf_clock_now_ns() - began) / requests;
    out->hits = (double)hits / requests;
    out->byte_hits = (double)byte_hits / (double)bytes;
}

bool
play(const trace *t, perf_policy_kind kind, uint32_t max_entries,
     uint64_t max_bytes, outcome *out)
{
    perf_policy_config config = {
        .kind = kind, .max_entries = max_entries, .max_weight = max_bytes};
    table a = {.t = t};
    a.slot = malloc(t->unique * sizeof *a.slot);
    a.key = malloc((t->unique + 1) * sizeof *a.key);
    bool ok = a.slot && a.key && !perf_policy_create(&config, &a.policy);
    for (uint32_t i = 0; ok && i < t->unique; i++)
        a.slot[i] = PERF_SLOT_NONE;
    if (ok)
        play_all(&a, max_bytes != 0, out);
    perf_policy_destroy(a.policy);
    free(a.slot);
    free(a.key);
    return ok;
}
