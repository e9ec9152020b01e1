/* set.c - puts an entry into a shard.
 *
 * The order is what keeps the bound: the policy takes the new entry in, what
 * must go for it goes, and only then is there memory for its block. So nothing
 * is held above the bound in between, and an entry that the policy sends away
 * at once was never copied. */
#include "shard.h"

/* What the policy has for entries, now. */
static void
bound(perfi_shard *shard)
{
    shard->fitted_bytes = shard->overhead_bytes;
    uint64_t left = shard->share_bytes > shard->overhead_bytes
                        ? shard->share_bytes - shard->overhead_bytes
                        : 1;
    perf_policy_resize(shard->policy, shard->likely_entries, left);
}

/* Where only bytes are bounded, nobody knows how many entries there will be. A
 * policy makes room for half as many slots more, but not for more than it may
 * have entries: so it is told of an eighth more at a time. Otherwise it would
 * take memory for some that are not there because it took it. */
static void
expect_one_more(perfi_shard *shard)
{
    uint32_t likely = shard->likely_entries;
    if (shard->index.entries < likely || likely == shard->max_entries)
        return;
    likely += likely / 8;
    shard->likely_entries =
        likely < shard->max_entries ? likely : shard->max_entries;
    bound(shard);
}

/* Until everything fits. Returns whether the slot is still in. */
static bool
evict(perfi_shard *shard, int32_t slot)
{
    bool in = true;
    if (shard->fitted_bytes != shard->overhead_bytes)
        bound(shard); /* what lies around entries has become more */
    for (int32_t out;
         (out = perf_policy_victim(shard->policy)) != PERF_SLOT_NONE;) {
        shard->evictions++;
        in &= out != slot;
        perfi_shard_drop(shard, (uint32_t)out);
    }
    return in;
}

static perf_err
refuse(perfi_shard *shard, perf_err err)
{
    shard->refusals++;
    return err;
}

/* The policy has the slot, which has no block yet. */
static perf_err
place(perfi_shard *shard, int32_t slot, const perfi_set *set, size_t usable,
      uint64_t cost)
{
    const perf_allocator *a = shard->allocator;
    if (!evict(shard, slot))
        return PERF_OK;
    perfi_block *block = a->alloc(usable, a->ctx);
    if (!block) {
        perf_policy_remove(shard->policy, slot);
        return refuse(shard, PERF_ERR_NOMEM);
    }
    perfi_block_fill(block, set);
    block->slot = (uint32_t)slot;
    perfi_shard_count(shard, 1);
    if (!perfi_index_add(&shard->index, set->hash, block, perfi_shard_hash_of,
                         shard)) {
        a->free(block, usable, a->ctx);
        perf_policy_remove(shard->policy, slot);
        return refuse(shard, PERF_OK);
    }
    shard->blocks_bytes += cost;
    shard->content_bytes += perfi_block_content(block);
    shard->sets++;
    return PERF_OK;
}

static perf_err
insert(perfi_shard *shard, const perf_policy_entry *entry, const perfi_set *set,
       size_t usable)
{
    int32_t slot = PERF_SLOT_NONE;
    expect_one_more(shard);
    if (perfi_index_reserve(&shard->index, &shard->counted))
        slot = perf_policy_insert_at(shard->policy, entry, set->now_ns);
    if (slot == PERF_SLOT_NONE) {
        evict(shard, slot);
        return refuse(shard, PERF_ERR_NOMEM);
    }
    return place(shard, slot, set, usable, entry->weight);
}

/* The key is there already: its slot stays, and what the policy knows of it. */
static perf_err
replace(perfi_shard *shard, perfi_block *block, const perf_policy_entry *entry,
        const perfi_set *set, size_t usable)
{
    int32_t slot = (int32_t)block->slot;
    size_t bytes = perfi_block_bytes(block), had = usable;
    if (bytes != perfi_set_bytes(set))
        perf_allocator_cost(shard->allocator, bytes, &had);
    bool same = had == usable;
    if (!same) /* before there is a new one: both may be too much */
        perfi_shard_drop(shard, (uint32_t)slot);
    if (perf_policy_replace_at(shard->policy, slot, entry, set->now_ns)) {
        perf_policy_remove(shard->policy, slot);
        perfi_shard_drop(shard, (uint32_t)slot);
        return refuse(shard, PERF_ERR_NOMEM);
    }
    if (!same)
        return place(shard, slot, set, usable, entry->weight);
    shard->content_bytes -= perfi_block_content(block);
    perfi_block_fill(block, set);
    shard->content_bytes += perfi_block_content(block);
    shard->sets++;
    evict(shard, slot);
    return PERF_OK;
}

perf_err
perfi_shard_set(perfi_shard *shard, const perfi_set *set)
{
    perfi_shard_tell_hits(shard);
    perfi_shard_expire(shard, PERFI_EXPIRE_STEP, set->now_ns);
    uint64_t bytes = perfi_set_bytes(set), cost = UINT64_MAX;
    size_t usable = 0;
    if (bytes <= shard->share_bytes)
        cost = perf_allocator_cost(shard->allocator, (size_t)bytes, &usable);
    bool fits = cost <= UINT32_MAX && set->value_size <= UINT32_MAX &&
                cost + shard->overhead_bytes <= shard->share_bytes;
    if (!fits || set->expires_ns <= set->now_ns) {
        perfi_shard_delete(shard, set);
        return fits ? PERF_OK : refuse(shard, PERF_ERR_RANGE);
    }
    perf_policy_entry entry = {
        .hash = perfi_mix(set->hash, shard->seed + 1), /* not the bits that
                                                          chose the shard */
        .expires_ns = set->expires_ns == UINT64_MAX ? 0 : set->expires_ns,
        .weight = (uint32_t)cost,
        .cost = set->cost,
    };
    perfi_block *block =
        perfi_shard_find(shard, set->hash, set->key, set->key_size).block;
    return block ? replace(shard, block, &entry, set, usable)
                 : insert(shard, &entry, set, usable);
}
