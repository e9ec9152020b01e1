/* shadow_cache.h - a small W-TinyLFU cache of hashes alone, to see how often it
 * would hit. Frequencies are those of the cache whose shadow it is. */
#ifndef PERFI_CACHE_SHADOW_CACHE_H
#define PERFI_CACHE_SHADOW_CACHE_H
#include "sketch.h"

enum {
    PERFI_SHADOW_WINDOW,
    PERFI_SHADOW_PROBATION,
    PERFI_SHADOW_PROTECTED,
    PERFI_SHADOW_LISTS
};

typedef struct perfi_shadow_node {
    uint64_t hash;
    uint16_t next, prev; /* in its list */
    uint16_t chain;      /* in its bucket */
    uint16_t list;
} perfi_shadow_node;

typedef struct perfi_shadow_list {
    uint16_t first, last, count;
} perfi_shadow_list;

typedef struct perfi_shadow_cache {
    perfi_shadow_node *node; /* the buckets lie behind them */
    uint16_t *bucket;
    uint16_t room, used;        /* nodes */
    uint16_t mask;              /* buckets less one */
    uint16_t window, protected; /* bounds */
    perfi_shadow_list list[PERFI_SHADOW_LISTS];
} perfi_shadow_cache;

/** @param room  2 to 4,096 hashes.  @param window  its share of them.
 *  @return  false: no memory. */
bool perfi_shadow_cache_make(perfi_shadow_cache *c, uint32_t room,
                             double window, const perf_allocator *allocator);

void perfi_shadow_cache_free(perfi_shadow_cache *c,
                             const perf_allocator *allocator);

/** Somebody asks for a key. @return  it was there. */
bool perfi_shadow_cache_see(perfi_shadow_cache *c, uint64_t hash,
                            const perfi_sketch *sketch);

uint64_t perfi_shadow_cache_bytes(const perfi_shadow_cache *c);

/** Whether lists and buckets hold the same nodes, each once. For tests. */
bool perfi_shadow_cache_check(const perfi_shadow_cache *c);
#endif
