/* get.c - looks keys up and copies values out: the verb that everything else is
 * arranged for. */
#include "cache.h"

#include <libperf/clock.h>

static int64_t
miss(perf_cache_hit *hit)
{
    if (hit)
        *hit = (perf_cache_hit){.size = PERF_CACHE_NONE,
                                .offset = PERF_CACHE_NONE};
    return PERF_CACHE_NONE;
}

static void
describe(const perfi_block *block, bool fits, perf_cache_hit *hit)
{
    *hit = (perf_cache_hit){
        .size = block->value_size,
        .offset = fits ? 0 : PERF_CACHE_NONE,
        .fresh_ns = perfi_block_fresh_ns(block),
        .expires_ns = perfi_block_expires_ns(block),
        .mark = perfi_block_mark(block),
    };
}

/* The block of a key that has not expired; NULL: there is none. */
static const perfi_block *
look_up(perfi_shard *shard, uint64_t hash, const void *key, size_t key_size,
        uint64_t now_ns)
{
    perfi_found found = perfi_shard_find(shard, hash, key, key_size);
    if (!found.block || perfi_block_expires_ns(found.block) <= now_ns) {
        shard->misses++;
        return NULL;
    }
    shard->hits++;
    if (perfi_line_see(found.line, found.cell, shard->index.epoch)) {
        perfi_shard_count(shard);
        shard->read[shard->read_count++] = (int32_t)found.block->slot;
        if (shard->read_count == PERFI_READS)
            perfi_shard_tell_hits(shard);
    }
    return found.block;
}

int64_t
perf_cache_get_at(perf_cache *cache, const void *key, size_t key_size,
                  void *out, size_t capacity, perf_cache_hit *hit,
                  uint64_t now_ns)
{
    if (!cache || !perfi_is_key(key, key_size))
        return miss(hit);
    uint64_t hash = perfi_cache_hash(cache, key, key_size);
    perfi_shard *shard = perfi_cache_lock(cache, hash);
    const perfi_block *block = look_up(shard, hash, key, key_size, now_ns);
    if (!block) {
        perfi_lock_give(&shard->lock);
        return miss(hit);
    }
    int64_t size = block->value_size;
    bool fits = block->value_size <= capacity && out;
    if (fits)
        memcpy(out, perfi_block_value(block), block->value_size);
    if (hit)
        describe(block, fits || !size, hit);
    perfi_lock_give(&shard->lock);
    return size;
}

int64_t
perf_cache_get(perf_cache *cache, const void *key, size_t key_size, void *out,
               size_t capacity, perf_cache_hit *hit)
{
    return perf_cache_get_at(cache, key, key_size, out, capacity, hit,
                             perf_clock_now_ns());
}

size_t
perf_cache_get_many_at(perf_cache *cache, const perf_cache_key *keys,
                       size_t count, void *out, size_t capacity,
                       perf_cache_hit *hits, uint64_t now_ns)
{
    if (!cache || !keys || !hits)
        return 0;
    size_t used = 0, needed = 0;
    for (size_t i = 0; i < count; i++) {
        unsigned char *at = out ? (unsigned char *)out + used : NULL;
        int64_t size = perf_cache_get_at(cache, keys[i].bytes, keys[i].size, at,
                                         capacity - used, &hits[i], now_ns);
        if (size < 0)
            continue;
        needed += (size_t)size;
        if (hits[i].offset == 0) {
            hits[i].offset = (int64_t)used;
            used += (size_t)size;
        }
    }
    return needed;
}
