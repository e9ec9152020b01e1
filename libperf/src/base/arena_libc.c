/* arena_libc.c - where there is no jemalloc: malloc with a list of live blocks,
 * so that destroying an arena still frees everything in it. */
#include "arena.h"

#include <stdlib.h>

struct perfi_block { /* before each piece of memory; keeps it 16-aligned */
    perfi_block *next;
    perfi_block **link; /* what points at this block */
};

perf_err
perfi_arena_open(perfi_arena *arena)
{
    return pthread_mutex_init(&arena->lock, NULL) ? PERF_ERR_SYSTEM : PERF_OK;
}

void
perfi_arena_close(perfi_arena *arena)
{
    for (perfi_block *block = arena->blocks; block;) {
        perfi_block *next = block->next;
        free(block);
        block = next;
    }
    pthread_mutex_destroy(&arena->lock);
}

void *
perfi_arena_alloc(size_t size_bytes, void *ctx)
{
    perfi_arena *arena = ctx;
    if (size_bytes > SIZE_MAX - sizeof(perfi_block))
        return NULL;
    perfi_block *block = calloc(1, sizeof *block + size_bytes);
    if (!block)
        return NULL;
    pthread_mutex_lock(&arena->lock);
    block->next = arena->blocks;
    block->link = &arena->blocks;
    if (block->next)
        block->next->link = &block->next;
    arena->blocks = block;
    pthread_mutex_unlock(&arena->lock);
    perfi_arena_count(arena, size_bytes);
    return block + 1;
}

void
perfi_arena_free(void *memory, size_t size_bytes, void *ctx)
{
    perfi_arena *arena = ctx;
    if (!memory)
        return;
    perfi_block *block = (perfi_block *)memory - 1;
    pthread_mutex_lock(&arena->lock);
    *block->link = block->next;
    if (block->next)
        block->next->link = block->link;
    pthread_mutex_unlock(&arena->lock);
    perfi_arena_count(arena, -(uint64_t)size_bytes);
    free(block);
}

const char *
perf_allocator_name(void)
{
    return "libc";
}
