/* shadow.h - how much of a W-TinyLFU cache should be window: small caches, each
 * with another window, see a sample of the keys, and the one that hits most is
 * right.
 *
 * A cache with a hundredth of the entries that sees a hundredth of the keys
 * hits about as often (Waldspurger, Saemundsson, Ahmad, Park, 2017). All see
 * the same sample, so it is pairs that are compared: of the requests that one
 * of two hits and the other misses, by chance each would hit half. */
#ifndef PERFI_CACHE_SHADOW_H
#define PERFI_CACHE_SHADOW_H
#include "shadow_cache.h"

enum { PERFI_SHADOWS = 6 };

typedef struct perfi_shadows {
    perfi_shadow_cache cache[PERFI_SHADOWS];
    float hits[PERFI_SHADOWS];                 /* lately: earlier ones fade */
    float ahead[PERFI_SHADOWS][PERFI_SHADOWS]; /* hits of one, misses of the
                                                  other */
    uint32_t room;      /* of each cache; 0: there are none */
    uint32_t threshold; /* hashes below it are the sample */
    uint32_t seen;      /* of the sample, since the last choice */
    uint32_t best;      /* its number */
} perfi_shadows;

/** @param weighed  the cache has a bound of weight */
void perfi_shadows_init(perfi_shadows *s, bool weighed);

/** Fit for a cache that has room for so many entries now, and holds about
 *  `full` when it is full. No memory: it stays as it was. */
void perfi_shadows_fit(perfi_shadows *s, uint32_t entries, uint32_t full,
                       const perf_allocator *allocator);

void perfi_shadows_free(perfi_shadows *s, const perf_allocator *allocator);

/** Whether a key is in the sample. */
static inline bool
perfi_shadows_want(const perfi_shadows *s, uint64_t hash)
{
    return (uint32_t)(hash * UINT64_C(0x9E3779B97F4A7C15) >> 32) < s->threshold;
}

/** Somebody asked for a key of the sample.
 *  @return  a choice was made, which may be the same as before. */
bool perfi_shadows_see(perfi_shadows *s, uint64_t hash,
                       const perfi_sketch *sketch);

/** The share that is best as far as is known. */
double perfi_shadows_window(const perfi_shadows *s);

uint64_t perfi_shadows_bytes(const perfi_shadows *s);
#endif
