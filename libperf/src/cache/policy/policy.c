/* policy.c - the front: slots, bounds, expiry, counts. Whom victim() names is
 * the kind's business (kind.h). */
#include "kind.h"

static const perfi_kind *
kind_of(perf_policy_kind kind)
{
    switch (kind) {
    case PERF_POLICY_ADAPTIVE: return &perfi_kind_wtinylfu;
    case PERF_POLICY_LRU: return &perfi_kind_lru;
    case PERF_POLICY_S3FIFO: return &perfi_kind_s3fifo;
    }
    return NULL;
}

static const uint32_t MOST_ENTRIES = UINT32_C(1) << 30;

perf_err
perf_policy_create(const perf_policy_config *config, perf_policy **out)
{
    if (!out)
        return PERF_ERR_INVALID;
    *out = NULL;
    if (!config || !kind_of(config->kind))
        return PERF_ERR_INVALID;
    if (!config->max_entries || config->max_entries > MOST_ENTRIES)
        return PERF_ERR_RANGE;
    const perf_allocator *a =
        config->allocator ? config->allocator : perf_allocator_libc();
    perf_policy *p = a->alloc(sizeof *p, a->ctx);
    if (!p)
        return PERF_ERR_NOMEM;
    p->config = *config;
    p->config.allocator = a;
    p->kind = kind_of(config->kind);
    perfi_slots_init(&p->slots);
    perfi_wheel_init(&p->wheel);
    perf_err err = p->kind->create ? p->kind->create(p) : PERF_OK;
    if (err) {
        perf_policy_destroy(p);
        return err;
    }
    *out = p;
    return PERF_OK;
}

void
perf_policy_destroy(perf_policy *p)
{
    if (!p)
        return;
    const perf_allocator *a = p->config.allocator;
    if (p->kind->destroy)
        p->kind->destroy(p);
    perfi_wheel_free(&p->wheel, a);
    perfi_slots_free(&p->slots, a);
    a->free(p, sizeof *p, a->ctx);
}

/* ---- slots come and go ---- */

/* What is not a number, or none that could be, is not known. */
static float
sane_cost(float cost)
{
    const float most = 1e30f; /* times a frequency is still a number */
    if (!(cost > 0))
        return 0;
    return cost < most ? cost : most;
}

static bool
is_acceptable(const perf_policy *p, const perf_policy_entry *entry)
{
    return entry->weight &&
           (!p->config.max_weight || entry->weight <= p->config.max_weight);
}

static void
fill(perf_policy *p, uint32_t slot, const perf_policy_entry *entry)
{
    perfi_cache_slot *x = &p->slots.at[slot];
    x->hash_low = (uint32_t)entry->hash;
    x->hash_high = (uint32_t)(entry->hash >> 32);
    perfi_slot_set_cost(x, sane_cost(entry->cost));
}

int32_t
perf_policy_insert_at(perf_policy *p, const perf_policy_entry *entry,
                      uint64_t now_ns)
{
    if (!p || !entry || !is_acceptable(p, entry))
        return PERF_SLOT_NONE;
    const perf_allocator *a = p->config.allocator;
    uint32_t room = p->slots.room;
    /* one more than fit: a new entry comes before the victim goes */
    uint32_t slot = perfi_slots_take(&p->slots, p->config.max_entries + 1, a);
    if (slot == PERFI_NONE)
        return PERF_SLOT_NONE;
    if (!perfi_wheel_set(&p->wheel, slot, entry->expires_ns, now_ns,
                         p->slots.room, a)) {
        perfi_slots_untake(&p->slots, slot);
        return PERF_SLOT_NONE;
    }
    if (room != p->slots.room && p->kind->fit)
        p->kind->fit(p);
    fill(p, slot, entry);
    p->slots.at[slot].weight = entry->weight;
    p->slots.weight += entry->weight;
    p->kind->insert(p, slot);
    p->insertions++;
    return (int32_t)slot;
}

static int32_t
let_go(perf_policy *p, uint32_t slot)
{
    if (p->kind->leave)
        p->kind->leave(p, slot);
    perfi_wheel_unset(&p->wheel, slot);
    perfi_slots_release(&p->slots, slot);
    return (int32_t)slot;
}

/* Which of the two bounds shares are shares of. */
static void
choose_bound(perf_policy *p)
{
    const perf_policy_config *c = &p->config;
    bool by_weight =
        c->max_weight && (double)p->slots.weight * c->max_entries >=
                             (double)p->slots.count * (double)c->max_weight;
    if (by_weight == p->by_weight)
        return;
    p->by_weight = by_weight;
    if (p->kind->fit)
        p->kind->fit(p);
}

int32_t
perf_policy_victim(perf_policy *p)
{
    if (!p || !perfi_policy_is_over(p))
        return PERF_SLOT_NONE;
    choose_bound(p);
    p->evictions++;
    return let_go(p, p->kind->victim(p));
}

int32_t
perf_policy_expired_at(perf_policy *p, uint64_t now_ns)
{
    uint32_t slot = p ? perfi_wheel_take(&p->wheel, now_ns) : PERFI_NONE;
    if (slot == PERFI_NONE)
        return PERF_SLOT_NONE;
    p->expirations++;
    return let_go(p, slot);
}

void
perf_policy_remove(perf_policy *p, int32_t slot)
{
    if (p && perfi_slots_taken(&p->slots, (uint32_t)slot))
        let_go(p, (uint32_t)slot);
}

/* ---- accesses ---- */

void
perf_policy_touch_many(perf_policy *p, const int32_t *slots, size_t count)
{
    if (!p || !slots)
        return;
    for (size_t i = 0; i < count; i += PERFI_TOUCHES) {
        size_t n = count - i < PERFI_TOUCHES ? count - i : PERFI_TOUCHES;
        p->kind->touch_many(p, slots + i, n);
    }
}

perf_err
perf_policy_replace_at(perf_policy *p, int32_t slot,
                       const perf_policy_entry *entry, uint64_t now_ns)
{
    if (!p || !entry)
        return PERF_ERR_INVALID;
    uint32_t at = (uint32_t)slot;
    if (!perfi_slots_taken(&p->slots, at))
        return PERF_ERR_NOT_FOUND;
    if (!is_acceptable(p, entry))
        return PERF_ERR_RANGE;
    if (!perfi_wheel_set(&p->wheel, at, entry->expires_ns, now_ns,
                         p->slots.room, p->config.allocator))
        return PERF_ERR_NOMEM;
    perfi_slots_reweigh(&p->slots, at, entry->weight);
    fill(p, at, entry);
    p->kind->touch(p, at);
    return PERF_OK;
}

/* ---- bounds, counts ---- */

perf_err
perf_policy_resize(perf_policy *p, uint32_t max_entries, uint64_t max_weight)
{
    if (!p)
        return PERF_ERR_INVALID;
    if (!max_entries || max_entries > MOST_ENTRIES)
        return PERF_ERR_RANGE;
    p->config.max_entries = max_entries;
    p->config.max_weight = max_weight;
    if (p->kind->fit)
        p->kind->fit(p);
    return PERF_OK;
}

void
perf_policy_stats_now(const perf_policy *p, perf_policy_stats *out)
{
    if (!out)
        return;
    *out = (perf_policy_stats){0};
    if (!p)
        return;
    uint64_t own = p->kind->bytes ? p->kind->bytes(p) : 0;
    uint64_t slots = (uint64_t)p->slots.room * sizeof *p->slots.at;
    *out = (perf_policy_stats){
        .entries = p->slots.count,
        .weight = p->slots.weight,
        .insertions = p->insertions,
        .evictions = p->evictions,
        .rejections = p->rejections,
        .expirations = p->expirations,
        .bytes = sizeof *p + slots + perfi_wheel_bytes(&p->wheel) + own,
        .window = p->kind->window ? p->kind->window(p) : 0,
    };
}

/* ---- for the cache in memory ---- */

uint32_t
perfi_policy_slots(const perf_policy *p)
{
    return p ? p->slots.used : 0;
}

uint64_t
perfi_policy_hash(const perf_policy *p, uint32_t slot)
{
    return perfi_slot_hash(&p->slots.at[slot]);
}

bool
perfi_policy_check(const perf_policy *p)
{
    uint64_t timed;
    if (!perfi_slots_check(&p->slots) || !perfi_wheel_check(&p->wheel, &timed))
        return false;
    for (uint32_t i = 0; i < p->wheel.room; i++)
        if (p->wheel.link[i].where && !perfi_slots_taken(&p->slots, i))
            return false;
    return !p->kind->check || p->kind->check(p);
}
