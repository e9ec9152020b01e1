/* ghost.h - the hashes that left lately, the last so many of them: a table of
 * small buckets in which old ones make room for new ones. */
#ifndef PERFI_CACHE_GHOST_H
#define PERFI_CACHE_GHOST_H
#include <libperf/allocator.h>

enum { PERFI_GHOST_WAYS = 8 };

typedef struct perfi_ghost_way {
    uint32_t print; /* of the hash; 0: free */
    uint32_t when;  /* it came, in hashes before it */
} perfi_ghost_way;

typedef struct perfi_ghost {
    perfi_ghost_way (*bucket)[PERFI_GHOST_WAYS];
    uint32_t buckets; /* 0: it remembers nothing */
    uint32_t now;     /* hashes that came, modulo 2^32 */
    uint32_t length;  /* so many are remembered */
} perfi_ghost;

/** Remember so many, beginning with none. No memory: it stays as it was. */
void perfi_ghost_fit(perfi_ghost *g, uint32_t length,
                     const perf_allocator *allocator);

void perfi_ghost_free(perfi_ghost *g, const perf_allocator *allocator);

void perfi_ghost_add(perfi_ghost *g, uint64_t hash);

/** Whether it is there; no more from now on. */
bool perfi_ghost_take(perfi_ghost *g, uint64_t hash);

uint64_t perfi_ghost_bytes(const perfi_ghost *g);
#endif
