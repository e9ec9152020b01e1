/* ghost.c - a table of fingerprints that are forgotten by age. */
#include "ghost.h"

/* Room for half as many again as are remembered: what falls on a full bucket
 * is lost. */
static uint32_t
buckets_for(uint32_t length)
{
    return (uint32_t)(((uint64_t)length * 3 / 2 + PERFI_GHOST_WAYS) /
                      PERFI_GHOST_WAYS);
}

void
perfi_ghost_fit(perfi_ghost *g, uint32_t length, const perf_allocator *a)
{
    uint32_t buckets = buckets_for(length);
    void *more = buckets == g->buckets
                     ? NULL
                     : a->alloc(buckets * sizeof *g->bucket, a->ctx);
    if (more) {
        perfi_ghost_free(g, a);
        g->bucket = more;
        g->buckets = buckets;
    }
    g->length = length;
}

void
perfi_ghost_free(perfi_ghost *g, const perf_allocator *a)
{
    a->free(g->bucket, g->buckets * sizeof *g->bucket, a->ctx);
    g->bucket = NULL;
    g->buckets = 0;
}

uint64_t
perfi_ghost_bytes(const perfi_ghost *g)
{
    return g->buckets * sizeof *g->bucket;
}

static perfi_ghost_way *
bucket_of(const perfi_ghost *g, uint64_t hash)
{
    return g->bucket[(hash >> 32) * g->buckets >> 32];
}

static uint32_t
print_of(uint64_t hash)
{
    return (uint32_t)hash | 1;
}

static bool
is_remembered(const perfi_ghost *g, const perfi_ghost_way *way)
{
    return way->print && g->now - way->when < g->length;
}

void
perfi_ghost_add(perfi_ghost *g, uint64_t hash)
{
    if (!g->buckets)
        return;
    perfi_ghost_way *way = bucket_of(g, hash), *to = way;
    for (int i = 0; i < PERFI_GHOST_WAYS; i++) {
        if (!is_remembered(g, &way[i])) {
            to = &way[i];
            break;
        }
        if (g->now - way[i].when > g->now - to->when)
            to = &way[i];
    }
    *to = (perfi_ghost_way){print_of(hash), g->now++};
}

bool
perfi_ghost_take(perfi_ghost *g, uint64_t hash)
{
    if (!g->buckets)
        return false;
    perfi_ghost_way *way = bucket_of(g, hash);
    for (int i = 0; i < PERFI_GHOST_WAYS; i++) {
        if (way[i].print != print_of(hash))
            continue;
        bool remembered = is_remembered(g, &way[i]);
        way[i] = (perfi_ghost_way){0};
        return remembered;
    }
    return false;
}
