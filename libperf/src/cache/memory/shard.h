/* shard.h - one of the parts that a cache is made of, with its own lock, policy
 * and share of the memory. Who calls a function here holds the lock. */
#ifndef PERFI_CACHE_SHARD_H
#define PERFI_CACHE_SHARD_H
#include "../policy/kind.h"
#include "block.h"
#include "index.h"
#include "lock.h"

enum {
    PERFI_READS = 64,       /* hits that wait for the policy */
    PERFI_EPOCH_PART = 16,  /* an epoch: hits and new ones, 1/16 of all */
    PERFI_EXPIRE_STEP = 64, /* entries that a write takes out at most */
};

typedef struct perfi_shard {
    /* what a hit needs comes first */
    perfi_lock lock;
    uint32_t read_count;
    uint32_t read_most; /* of these, until the policy is told */
    perfi_index index;
    perf_policy *policy;
    uint64_t hits, misses;
    int32_t read[PERFI_READS];

    const perf_allocator *allocator; /* of the cache */
    perf_allocator counted; /* the same, counting into overhead_bytes: for all
                               but blocks */
    uint64_t seed;
    uint64_t share_bytes;    /* what this shard may hold */
    uint64_t overhead_bytes; /* as the allocator rounds; so are: */
    uint64_t blocks_bytes;
    uint64_t fitted_bytes; /* the overhead that the policy's bound allows for */
    uint64_t content_bytes;
    uint32_t told; /* hits and new ones in this epoch */
    uint32_t max_entries;
    uint32_t likely_entries; /* what the policy takes for max_entries */
    uint64_t sets, deletes, evictions, expirations, refusals;
} perfi_shard;

/** share_bytes, max_entries, likely_entries, seed and allocator are filled in.
 */
perf_err perfi_shard_open(perfi_shard *shard, const perf_policy_config *config);
void perfi_shard_close(perfi_shard *shard);

perf_err perfi_shard_set(perfi_shard *shard, const perfi_set *set);
bool perfi_shard_delete(perfi_shard *shard, const perfi_set *about);

/** Take out up to `most` entries that have expired; returns how many. */
size_t perfi_shard_expire(perfi_shard *shard, size_t most, uint64_t now_ns);

/* ---- for set.c ---- */

typedef struct perfi_found {
    perfi_block *block; /* NULL: there is none */
    perfi_line *line;
    unsigned cell;
} perfi_found;

/** What a key has. */
static inline perfi_found
perfi_shard_find(const perfi_shard *shard, uint64_t hash, const void *key,
                 size_t key_size)
{
    perfi_line *line = perfi_index_home(&shard->index, hash);
    for (; line; line = perfi_index_next(&shard->index, line))
        for (uint64_t m = perfi_line_match(line, hash); m; m &= m - 1) {
            unsigned cell = perfi_match_cell(m);
            perfi_block *block = perfi_line_block(line, cell);
            perfi_block_fetch(block);
            if (perfi_block_is(block, key, key_size))
                return (perfi_found){block, line, cell};
        }
    return (perfi_found){0};
}

/** The block of a slot, or of what was in it last and has not been dropped;
 *  NULL: there is none. */
perfi_block *perfi_shard_block(const perfi_shard *shard, uint32_t slot);

/** It will be asked for soon. */
void perfi_shard_fetch(const perfi_shard *shard, uint32_t slot);

/** The policy is told of something new, or of so many hits. What it was told
 *  of in the same epoch is among the newest of all that it keeps: to tell it
 *  once more would move it from there to there. Nor would it be right to count
 *  it: who asks again at once will not ask more often later. */
void perfi_shard_count(perfi_shard *shard, uint32_t more);

/** The policy learns of the hits so far. Before any slot is freed: it may be
 *  another entry's soon. */
void perfi_shard_tell_hits(perfi_shard *shard);

/** The policy has freed this slot, or is about to: its block goes, if it has
 *  one. */
void perfi_shard_drop(perfi_shard *shard, uint32_t slot);

/** For perfi_index_add(). */
uint64_t perfi_shard_hash_of(const void *block, const void *shard);

/** A key's hash as shards and indices use it. */
static inline uint64_t
perfi_mix(uint64_t hash, uint64_t seed)
{
    hash = (hash ^ seed) * UINT64_C(0x9E3779B97F4A7C15);
    return hash ^ hash >> 32;
}

/** What perfi_mix() was given. */
static inline uint64_t
perfi_unmix(uint64_t hash, uint64_t seed)
{
    hash ^= hash >> 32;
    return hash * UINT64_C(0xF1DE83E19937733D) ^ seed; /* the inverse of it */
}
#endif
