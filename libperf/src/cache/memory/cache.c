/* cache.c - the cache as its users see it: checks what it is given, fills in
 * defaults, and sends each key to its shard. */
#include "cache.h"

#include <libperf/clock.h>

/* A shard with less than this evicts noticeably more than one cache would. */
enum { SHARD_ENTRIES_MIN = 1024 };
static const uint64_t SHARD_BYTES_MIN = UINT64_C(4) << 20;

static const uint64_t MOST_BYTES = UINT64_C(1) << 46;
static const uint32_t MOST_ENTRIES = UINT32_C(1) << 30;
enum {
    ENTRY_BYTES_MIN = 48,
    LIKELY_ENTRIES = 64,
    ALIGN = 128 /* lines come in pairs */
};

/* ---- made and freed ---- */

static uint32_t
choose_shards(const perf_cache_config *config)
{
    uint32_t n = PERF_CACHE_SHARDS_MAX;
    while (n > 1 && (config->max_bytes / n < SHARD_BYTES_MIN ||
                     (config->max_entries &&
                      config->max_entries / n < SHARD_ENTRIES_MIN)))
        n /= 2;
    return n;
}

static perf_err
open_shards(perf_cache *cache, const perf_cache_config *config)
{
    const perf_allocator *a = cache->allocator;
    uint32_t n = choose_shards(config);
    cache->memory_bytes = n * sizeof *cache->shard + ALIGN;
    cache->memory = a->alloc(cache->memory_bytes, a->ctx);
    if (!cache->memory)
        return PERF_ERR_NOMEM;
    uintptr_t at = (uintptr_t)cache->memory;
    cache->shard = (perfi_shard *)((at + ALIGN - 1) / ALIGN * ALIGN);
    uint64_t own = perf_allocator_cost(a, cache->memory_bytes, NULL) +
                   perf_allocator_cost(a, sizeof *cache, NULL);
    uint64_t share = (config->max_bytes - own) / n;
    perf_err err = PERF_OK;
    for (uint32_t i = 0; !err && i < n; i++) {
        perfi_shard *shard = &cache->shard[i];
        uint64_t entries = share / ENTRY_BYTES_MIN, likely = LIKELY_ENTRIES;
        if (config->max_entries)
            entries = likely =
                config->max_entries / n + (i < config->max_entries % n);
        shard->allocator = a;
        shard->seed = cache->seed;
        shard->share_bytes = share;
        shard->max_entries =
            entries > MOST_ENTRIES ? MOST_ENTRIES : (uint32_t)entries;
        shard->likely_entries = (uint32_t)likely;
        cache->shard_count = i + 1;
        perf_policy_config policy = {.kind = config->policy,
                                     .seed = perfi_mix(config->seed, i)};
        err = perfi_shard_open(shard, &policy);
    }
    return err;
}

perf_err
perf_cache_create(const perf_cache_config *config, perf_cache **out)
{
    if (!out)
        return PERF_ERR_INVALID;
    *out = NULL;
    if (!config)
        return PERF_ERR_INVALID;
    if (config->max_bytes < PERF_CACHE_BYTES_MIN ||
        config->max_bytes > MOST_BYTES || config->max_entries > MOST_ENTRIES)
        return PERF_ERR_RANGE;
    const perf_allocator *arena = NULL;
    perf_err err =
        config->allocator ? PERF_OK : perf_allocator_arena_create(&arena);
    if (err)
        return err;
    const perf_allocator *a = arena ? arena : config->allocator;
    perf_cache *cache = a->alloc(sizeof *cache, a->ctx);
    if (!cache) {
        perf_allocator_arena_destroy(arena);
        return PERF_ERR_NOMEM;
    }
    cache->allocator = a;
    cache->arena = arena;
    cache->seed = config->seed;
    cache->ttl_ns = config->ttl_ns;
    err = open_shards(cache, config);
    perfi_forks_watch(cache);
    if (err) {
        perf_cache_destroy(cache);
        return err;
    }
    *out = cache;
    return PERF_OK;
}

void
perf_cache_destroy(perf_cache *cache)
{
    if (!cache)
        return;
    perfi_forks_unwatch(cache);
    const perf_allocator *a = cache->allocator, *arena = cache->arena;
    if (arena) { /* all of it lies there */
        perf_allocator_arena_destroy(arena);
        return;
    }
    for (uint32_t i = 0; i < cache->shard_count; i++)
        perfi_shard_close(&cache->shard[i]);
    a->free(cache->memory, cache->memory_bytes, a->ctx);
    a->free(cache, sizeof *cache, a->ctx);
}

/* ---- one key ---- */

/* Of a key and a time, without a value. */
static perfi_set
look(const perf_cache *cache, const void *key, size_t key_size, uint64_t now_ns)
{
    return (perfi_set){
        .key = key,
        .key_size = key_size,
        .hash = perfi_cache_hash(cache, key, key_size),
        .now_ns = now_ns,
    };
}

static uint64_t
end_of(const perf_cache *cache, uint64_t now_ns)
{
    uint64_t end = now_ns + cache->ttl_ns;
    return !cache->ttl_ns || end < now_ns ? UINT64_MAX : end;
}

perf_err
perf_cache_set_at(perf_cache *cache, const void *key, size_t key_size,
                  const void *value, size_t value_size,
                  const perf_cache_about *about, uint64_t now_ns)
{
    if (!cache || !perfi_is_key(key, key_size) || (!value && value_size))
        return PERF_ERR_INVALID;
    if (key_size >> PERFI_KEY_BITS)
        return PERF_ERR_RANGE; /* nor has it a value */
    static const perf_cache_about defaults;
    if (!about)
        about = &defaults;
    perfi_set set = look(cache, key, key_size, now_ns);
    set.value = value;
    set.value_size = value_size;
    set.fresh_ns = about->fresh_ns ? about->fresh_ns : UINT64_MAX;
    set.expires_ns =
        about->expires_ns ? about->expires_ns : end_of(cache, now_ns);
    set.mark = about->mark;
    set.cost = about->cost;
    perfi_shard *shard = perfi_cache_lock(cache, set.hash);
    perf_err err = perfi_shard_set(shard, &set);
    perfi_lock_give(&shard->lock);
    return err;
}

perf_err
perf_cache_set(perf_cache *cache, const void *key, size_t key_size,
               const void *value, size_t value_size,
               const perf_cache_about *about)
{
    return perf_cache_set_at(cache, key, key_size, value, value_size, about,
                             perf_clock_now_ns());
}

bool
perf_cache_delete(perf_cache *cache, const void *key, size_t key_size)
{
    if (!cache || !perfi_is_key(key, key_size))
        return false;
    perfi_set about = look(cache, key, key_size, 0);
    perfi_shard *shard = perfi_cache_lock(cache, about.hash);
    bool was = perfi_shard_delete(shard, &about);
    shard->deletes += was;
    perfi_lock_give(&shard->lock);
    return was;
}
