/* arena_jemalloc.c - an arena is a jemalloc arena of its own. */
#include "arena.h"

#include <jemalloc/jemalloc.h>
#include <stdio.h>
#include <sys/types.h>

/* jemalloc puts in its fork handlers when it is first used. That is to be
 * before those of thread.c, so that their locks are taken first: who holds
 * those may ask an arena for memory. */
__attribute__((constructor(101))) static void
watch_forks(void)
{
    perf_allocator_name();
}

perf_err
perfi_arena_open(perfi_arena *arena)
{
    size_t size = sizeof arena->index;
    /* the only way this fails is the table of 4,095 arenas */
    if (je_mallctl("arenas.create", &arena->index, &size, NULL, 0))
        return PERF_ERR_FULL;
    /* by itself it keeps pages for ten seconds: after a change of sizes that
     * was a sixth of a busy cache */
    ssize_t decay_ms = 250;
    char name[64];
    snprintf(name, sizeof name, "arena.%u.dirty_decay_ms", arena->index);
    je_mallctl(name, NULL, NULL, &decay_ms, sizeof decay_ms);
    return PERF_OK;
}

void
perfi_arena_close(perfi_arena *arena)
{
    char name[64];
    snprintf(name, sizeof name, "arena.%u.destroy", arena->index);
    je_mallctl(name, NULL, NULL, NULL, 0);
}

void
perfi_arena_purge(perfi_arena *arena)
{
    char name[64];
    snprintf(name, sizeof name, "arena.%u.purge", arena->index);
    je_mallctl(name, NULL, NULL, NULL, 0);
}

size_t
perfi_arena_cost(size_t size_bytes, size_t *usable)
{
    /* 0: more than there can be, and alloc() says so */
    size_t cost = je_nallocx(size_bytes ? size_bytes : 1, MALLOCX_ALIGN(16));
    *usable = cost ? cost : size_bytes;
    return *usable;
}

void *
perfi_arena_alloc(size_t size_bytes, void *ctx)
{
    perfi_arena *arena = ctx;
    /* no thread cache: it would keep freed blocks from their arena */
    int flags = MALLOCX_ARENA(arena->index) | MALLOCX_TCACHE_NONE |
                MALLOCX_ZERO | MALLOCX_ALIGN(16);
    void *memory = je_mallocx(size_bytes ? size_bytes : 1, flags);
    if (memory)
        perfi_arena_count(arena, size_bytes);
    return memory;
}

void
perfi_arena_free(void *memory, size_t size_bytes, void *ctx)
{
    if (!memory)
        return;
    perfi_arena_count(ctx, -(uint64_t)size_bytes);
    je_dallocx(memory, MALLOCX_TCACHE_NONE);
}

static uint64_t
read_size(const char *name)
{
    size_t value = 0, size = sizeof value;
    je_mallctl(name, &value, &size, NULL, 0);
    return value;
}

perf_err
perf_allocator_stats_blocking(perf_allocator_stats *out)
{
    if (!out)
        return PERF_ERR_INVALID;
    *out = (perf_allocator_stats){0};
    /* statistics are as old as the last write to this */
    uint64_t epoch = 1;
    if (je_mallctl("epoch", NULL, NULL, &epoch, sizeof epoch))
        return PERF_ERR_UNSUPPORTED;
    out->allocated_bytes = read_size("stats.allocated");
    out->resident_bytes = read_size("stats.resident");
    out->mapped_bytes = read_size("stats.mapped");
    out->metadata_bytes = read_size("stats.metadata");
    return PERF_OK;
}

const char *
perf_allocator_name(void)
{
    static char name[48]; /* every caller writes the same bytes */
    const char *version = "";
    size_t size = sizeof version;
    je_mallctl("version", &version, &size, NULL, 0);
    int digits = 0; /* of "5.3.0-0-g54eaed…" the part a user knows */
    while (version[digits] && version[digits] != '-')
        digits++;
    snprintf(name, sizeof name, "jemalloc %.*s", digits, version);
    return name;
}
