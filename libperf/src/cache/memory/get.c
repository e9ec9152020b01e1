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
    /* no branch: which way it goes would be known only when the line is there,
     * and what follows would have to wait for it */
    shard->read[shard->read_count] = (int32_t)found.block->slot;
    shard->read_count +=
        perfi_line_see(found.line, found.cell, shard->index.epoch);
    if (shard->read_count >= shard->read_most)
        perfi_shard_tell_hits(shard);
    return found.block;
}

/* In both verbs: how many keys are waited for at once depends on how few
 * instructions there are for each. */
static inline __attribute__((always_inline)) int64_t
get(perf_cache *cache, uint64_t hash, const void *key, size_t key_size,
    void *out, size_t capacity, perf_cache_hit *hit, uint64_t now_ns)
{
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
perf_cache_get_at(perf_cache *cache, const void *key, size_t key_size,
                  void *out, size_t capacity, perf_cache_hit *hit,
                  uint64_t now_ns)
{
    if (!cache || !perfi_is_key(key, key_size))
        return miss(hit);
    return get(cache, perfi_cache_hash(cache, key, key_size), key, key_size,
               out, capacity, hit, now_ns);
}

int64_t
perf_cache_get(perf_cache *cache, const void *key, size_t key_size, void *out,
               size_t capacity, perf_cache_hit *hit)
{
    return perf_cache_get_at(cache, key, key_size, out, capacity, hit,
                             perf_clock_now_ns());
}

/* ---- many ---- */

enum { GROUP = 16 };

/* A get() waits for its bucket, and then for its block; a lock keeps the next
 * one from beginning meanwhile. So for a group of keys all buckets are on their
 * way first, then all blocks. */
static void
fetch_group(perf_cache *cache, const perf_cache_key *keys, size_t count,
            uint64_t hash[GROUP])
{
    for (size_t i = 0; i < count; i++) {
        if (!perfi_is_key(keys[i].bytes, keys[i].size))
            continue;
        hash[i] = perfi_cache_hash(cache, keys[i].bytes, keys[i].size);
        perfi_shard *shard = perfi_cache_lock(cache, hash[i]);
        __builtin_prefetch(perfi_index_home(&shard->index, hash[i]));
        perfi_lock_give(&shard->lock);
    }
    for (size_t i = 0; i < count; i++) {
        if (!perfi_is_key(keys[i].bytes, keys[i].size))
            continue;
        perfi_shard *shard = perfi_cache_lock(cache, hash[i]);
        const perfi_line *line = perfi_index_home(&shard->index, hash[i]);
        for (uint64_t m = perfi_line_match(line, hash[i]); m; m &= m - 1) {
            const perfi_block *block =
                perfi_line_block(line, perfi_match_cell(m));
            __builtin_prefetch(block);
            perfi_block_fetch(block);
        }
        perfi_lock_give(&shard->lock);
    }
}

size_t
perf_cache_get_many_at(perf_cache *cache, const perf_cache_key *keys,
                       size_t count, void *out, size_t capacity,
                       perf_cache_hit *hits, uint64_t now_ns)
{
    if (!cache || !keys || !hits)
        return 0;
    size_t used = 0, needed = 0;
    uint64_t hash[GROUP] = {0};
    for (size_t i = 0; i < count; i++) {
        if (i % GROUP == 0)
            fetch_group(cache, keys + i, count - i < GROUP ? count - i : GROUP,
                        hash);
        const perf_cache_key *key = &keys[i];
        unsigned char *at = out ? (unsigned char *)out + used : NULL;
        int64_t size = perfi_is_key(key->bytes, key->size)
                           ? get(cache, hash[i % GROUP], key->bytes, key->size,
                                 at, capacity - used, &hits[i], now_ns)
                           : miss(&hits[i]);
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
