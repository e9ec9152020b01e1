/* all.c - what is about all entries of a cache: taken out, listed, counted. A
 * lock is held for a few dozen of them at a time. */
#include "cache.h"

enum { STEP = 64, SHARD_BITS = 32 };

static void
clear_step(perfi_shard *shard, uint32_t from, uint32_t to)
{
    perfi_shard_tell_hits(shard);
    for (uint32_t slot = from; slot < to; slot++)
        perfi_shard_fetch(shard, slot);
    for (uint32_t slot = from; slot < to; slot++) {
        perf_policy_remove(shard->policy, (int32_t)slot);
        perfi_shard_drop(shard, slot);
    }
}

void
perf_cache_clear_blocking(perf_cache *cache)
{
    for (uint32_t i = 0; cache && i < cache->shard_count; i++) {
        perfi_shard *shard = &cache->shard[i];
        uint32_t slots = UINT32_MAX;
        for (uint32_t from = 0; from < slots; from += STEP) {
            perfi_lock_take(&shard->lock);
            if (slots == UINT32_MAX) /* what comes later may stay */
                slots = perfi_policy_slots(shard->policy);
            clear_step(shard, from, slots - from < STEP ? slots : from + STEP);
            perfi_lock_give(&shard->lock);
        }
    }
}

size_t
perf_cache_expire_at(perf_cache *cache, size_t most, uint64_t now_ns)
{
    size_t count = 0;
    for (uint32_t i = 0; cache && i < cache->shard_count; i++) {
        perfi_shard *shard = &cache->shard[i];
        for (size_t step = STEP, got = STEP; got == step && count < most;) {
            step = most - count < STEP ? most - count : STEP;
            perfi_lock_take(&shard->lock);
            perfi_shard_tell_hits(shard);
            got = perfi_shard_expire(shard, step, now_ns);
            perfi_lock_give(&shard->lock);
            count += got;
        }
    }
    return count;
}

void
perf_cache_trim_blocking(perf_cache *cache)
{
    if (cache)
        perf_allocator_arena_purge_blocking(cache->arena);
}

/* ---- listed ---- */

static int64_t
copy_key(const perfi_block *block, void *key, size_t capacity,
         perf_cache_hit *hit)
{
    size_t size = perfi_block_key_size(block);
    if (key && size && size <= capacity)
        memcpy(key, perfi_block_key(block), size);
    if (hit)
        *hit = (perf_cache_hit){
            .size = block->value_size,
            .offset = PERF_CACHE_NONE,
            .fresh_ns = perfi_block_fresh_ns(block),
            .expires_ns = perfi_block_expires_ns(block),
            .mark = perfi_block_mark(block),
        };
    return (int64_t)size;
}

/* From a slot on, which becomes that of the entry, but not further than `to`;
 * PERF_CACHE_NONE: there is none. */
static int64_t
next_key(const perfi_shard *shard, uint32_t *slot, uint32_t to, void *key,
         size_t capacity, perf_cache_hit *hit, uint64_t now_ns)
{
    if (to > perfi_policy_slots(shard->policy))
        to = perfi_policy_slots(shard->policy);
    for (; *slot < to; ++*slot) {
        const perfi_block *block = perfi_shard_block(shard, *slot);
        if (block && perfi_block_expires_ns(block) > now_ns)
            return copy_key(block, key, capacity, hit);
    }
    return PERF_CACHE_NONE;
}

int64_t
perf_cache_next_at(perf_cache *cache, uint64_t *cursor, void *key,
                   size_t capacity, perf_cache_hit *hit, uint64_t now_ns)
{
    if (!cache || !cursor)
        return PERF_CACHE_NONE;
    uint64_t i = *cursor >> SHARD_BITS;
    uint32_t slot = (uint32_t)*cursor;
    int64_t size = PERF_CACHE_NONE;
    for (; i < cache->shard_count; i++, slot = 0)
        for (bool more = true; more;) {
            perfi_shard *shard = &cache->shard[i];
            perfi_lock_take(&shard->lock);
            uint32_t to = slot + STEP;
            size = next_key(shard, &slot, to, key, capacity, hit, now_ns);
            more = slot < perfi_policy_slots(shard->policy);
            perfi_lock_give(&shard->lock);
            if (size != PERF_CACHE_NONE) {
                *cursor = (i << SHARD_BITS | slot) + 1;
                return size;
            }
        }
    *cursor = i << SHARD_BITS;
    return PERF_CACHE_NONE;
}

/* ---- counted ---- */

static void
add_shard(perf_cache_stats *out, const perfi_shard *shard)
{
    perf_policy_stats policy;
    perf_policy_stats_now(shard->policy, &policy);
    out->entries += policy.entries;
    out->rejections += policy.rejections;
    out->window += policy.window;
    out->bytes += shard->overhead_bytes + shard->blocks_bytes;
    out->content_bytes += shard->content_bytes;
    out->hits += shard->hits;
    out->misses += shard->misses;
    out->sets += shard->sets;
    out->deletes += shard->deletes;
    out->evictions += shard->evictions;
    out->expirations += shard->expirations;
    out->refusals += shard->refusals;
    uint64_t left = shard->share_bytes - shard->overhead_bytes;
    if (shard->overhead_bytes > shard->share_bytes)
        left = 0;
    if (left < out->max_value_bytes)
        out->max_value_bytes = left;
}

void
perf_cache_stats_now(perf_cache *cache, perf_cache_stats *out)
{
    if (!out)
        return;
    *out = (perf_cache_stats){0};
    if (!cache)
        return;
    const perf_allocator *a = cache->allocator;
    out->shards = cache->shard_count;
    out->max_value_bytes = UINT64_MAX;
    out->bytes = perf_allocator_cost(a, sizeof *cache, NULL) +
                 perf_allocator_cost(a, cache->memory_bytes, NULL);
    for (uint32_t i = 0; i < cache->shard_count; i++) {
        perfi_shard *shard = &cache->shard[i];
        perfi_lock_take(&shard->lock);
        add_shard(out, shard);
        perfi_lock_give(&shard->lock);
    }
    out->window /= cache->shard_count;
}
