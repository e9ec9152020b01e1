/* cache.h - what a cache is, for cache.c and forks.c. */
#ifndef PERFI_CACHE_CACHE_H
#define PERFI_CACHE_CACHE_H
#include "shard.h"

#include <libperf/hash.h>

struct perf_cache {
    perfi_shard *shard;
    uint32_t shard_count; /* a power of two */
    uint64_t seed;
    uint64_t ttl_ns; /* 0: none */
    const perf_allocator *allocator;
    const perf_allocator *arena; /* of its own; NULL: the caller's */
    unsigned char *memory;       /* where the shards lie, not yet aligned */
    size_t memory_bytes;
    perf_cache *next, **link; /* of all caches there are: forks.c */
};

static inline bool
perfi_is_key(const void *key, size_t size)
{
    return key || !size;
}

static inline uint64_t
perfi_cache_hash(const perf_cache *cache, const void *key, size_t key_size)
{
    return perfi_mix(perf_hash(key, key_size), cache->seed);
}

/** The shard of a hash, its lock taken. */
static inline perfi_shard *
perfi_cache_lock(const perf_cache *cache, uint64_t hash)
{
    uint32_t i = (uint32_t)(hash >> 60) & (cache->shard_count - 1);
    perfi_lock_take(&cache->shard[i].lock);
    return &cache->shard[i];
}

/** A fork is to find its locks free, in the child too. */
void perfi_forks_watch(perf_cache *cache);
void perfi_forks_unwatch(perf_cache *cache);
#endif
