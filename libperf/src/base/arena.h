/* arena.h - the two ways an arena can be made, chosen by CMake. */
#ifndef PERFI_ARENA_H
#define PERFI_ARENA_H
#include <libperf/allocator.h>
#include <stdatomic.h>

typedef struct perfi_block perfi_block; /* arena_libc.c */

typedef struct perfi_arena {
    perf_allocator face;    /* what the user holds */
    _Atomic uint64_t bytes; /* handed out; relaxed: a statistic */
    unsigned index;         /* jemalloc's number for it */
    perfi_block *blocks;    /* libc: the live ones */
} perfi_arena;

perf_err perfi_arena_open(perfi_arena *arena);
void perfi_arena_close(perfi_arena *arena); /* frees what is still in it */
void perfi_arena_purge(perfi_arena *arena);
size_t perfi_arena_cost(size_t size_bytes, size_t *usable);
void *perfi_arena_alloc(size_t size_bytes, void *arena);
void perfi_arena_free(void *memory, size_t size_bytes, void *arena);

/** What glibc's malloc makes of a size: 8 bytes in front, in steps of 16. */
static inline size_t
perfi_malloc_cost(size_t size_bytes)
{
    size_t chunk = (size_bytes + 8 + 15) & ~(size_t)15;
    return chunk < 32 ? 32 : chunk;
}

static inline void
perfi_arena_count(perfi_arena *arena, uint64_t delta)
{
    atomic_fetch_add_explicit(&arena->bytes, delta, memory_order_relaxed);
}
#endif
