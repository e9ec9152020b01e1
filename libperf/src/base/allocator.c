/* allocator.c - the C library's allocator, and arenas behind the same struct.
 * What an arena is made of lies in arena_jemalloc.c or arena_libc.c. */
#include "arena.h"

#include <stdlib.h>

static void *
libc_alloc(size_t size_bytes, void *ctx)
{
    (void)ctx;
    return calloc(1, size_bytes ? size_bytes : 1);
}

static void
libc_free(void *memory, size_t size_bytes, void *ctx)
{
    (void)size_bytes;
    (void)ctx;
    free(memory);
}

const perf_allocator *
perf_allocator_libc(void)
{
    static const perf_allocator libc = {libc_alloc, libc_free, NULL};
    return &libc;
}

perf_err
perf_allocator_arena_create(const perf_allocator **out)
{
    if (!out)
        return PERF_ERR_INVALID;
    *out = NULL;
    /* the arena's own record lies outside it: destroying the arena takes
     * every block with it and nothing else */
    perfi_arena *arena = calloc(1, sizeof *arena);
    if (!arena)
        return PERF_ERR_NOMEM;
    perf_err err = perfi_arena_open(arena);
    if (err) {
        free(arena);
        return err;
    }
    arena->face = (perf_allocator){perfi_arena_alloc, perfi_arena_free, arena};
    *out = &arena->face;
    return PERF_OK;
}

void
perf_allocator_arena_destroy(const perf_allocator *allocator)
{
    if (!allocator || allocator->alloc != perfi_arena_alloc)
        return;
    perfi_arena_close(allocator->ctx);
    free(allocator->ctx);
}

uint64_t
perf_allocator_arena_bytes(const perf_allocator *allocator)
{
    if (!allocator || allocator->alloc != perfi_arena_alloc)
        return 0;
    perfi_arena *arena = allocator->ctx;
    return atomic_load_explicit(&arena->bytes, memory_order_relaxed);
}

size_t
perf_allocator_cost(const perf_allocator *allocator, size_t size_bytes,
                    size_t *usable)
{
    size_t same = size_bytes, cost = size_bytes;
    if (size_bytes <= PTRDIFF_MAX && allocator) { /* who asks for more fails */
        if (allocator->alloc == perfi_arena_alloc) {
            cost = perfi_arena_cost(size_bytes, &same);
        } else if (allocator->alloc == libc_alloc) {
            cost = perfi_malloc_cost(size_bytes);
            same = cost - 8;
        }
    }
    if (usable)
        *usable = same;
    return cost;
}

void
perf_allocator_arena_purge_blocking(const perf_allocator *allocator)
{
    if (allocator && allocator->alloc == perfi_arena_alloc)
        perfi_arena_purge(allocator->ctx);
}
