/* arena_libc.c - where there is no jemalloc: malloc with a list of live blocks,
 * so that destroying an arena still frees everything in it.
 *
 * One lock for all arenas: it can be held around a fork(), so that a child
 * never inherits it from a thread that it does not have. */
#include "arena.h"

#include <pthread.h>
#include <stdlib.h>

struct perfi_block { /* before each piece of memory; keeps it 16-aligned */
    perfi_block *next;
    perfi_block **link; /* what points at this block */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void
take_lock(void)
{
    pthread_mutex_lock(&lock);
}

static void
give_lock(void)
{
    pthread_mutex_unlock(&lock);
}

/* Before the handlers of thread.c, so that their locks are taken first: who
 * holds those may ask an arena for memory. */
__attribute__((constructor(101))) static void
watch_forks(void)
{
    pthread_atfork(take_lock, give_lock, give_lock);
}

perf_err
perfi_arena_open(perfi_arena *arena)
{
    (void)arena;
    return PERF_OK;
}

void
perfi_arena_close(perfi_arena *arena)
{
    for (perfi_block *block = arena->blocks; block;) {
        perfi_block *next = block->next;
        free(block);
        block = next;
    }
}

void
perfi_arena_purge(perfi_arena *arena)
{
    (void)arena; /* malloc keeps what it keeps for all of the program */
}

size_t
perfi_arena_cost(size_t size_bytes, size_t *usable)
{
    size_t cost = perfi_malloc_cost(sizeof(perfi_block) + size_bytes);
    *usable = cost - 8 - sizeof(perfi_block);
    return cost;
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
    take_lock();
    block->next = arena->blocks;
    block->link = &arena->blocks;
    if (block->next)
        block->next->link = &block->next;
    arena->blocks = block;
    give_lock();
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
    take_lock();
    *block->link = block->next;
    if (block->next)
        block->next->link = block->link;
    give_lock();
    perfi_arena_count(arena, -(uint64_t)size_bytes);
    free(block);
}

perf_err
perf_allocator_stats_blocking(perf_allocator_stats *out)
{
    if (!out)
        return PERF_ERR_INVALID;
    *out = (perf_allocator_stats){0};
    return PERF_ERR_UNSUPPORTED;
}

const char *
perf_allocator_name(void)
{
    return "libc";
}
