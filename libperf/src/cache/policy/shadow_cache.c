/* shadow_cache.c - W-TinyLFU over 16 bytes a hash, links and all. */
#include "shadow_cache.h"

#include <string.h>

enum {
    WINDOW = PERFI_SHADOW_WINDOW,
    PROBATION = PERFI_SHADOW_PROBATION,
    PROTECTED = PERFI_SHADOW_PROTECTED,
    NONE = UINT16_MAX
};

/* ---- memory ---- */

static uint32_t
buckets_for(uint32_t room)
{
    uint32_t buckets = 1;
    while (buckets < room)
        buckets *= 2;
    return buckets;
}

static size_t
bytes_for(uint32_t room)
{
    return room * sizeof(perfi_shadow_node) +
           buckets_for(room) * sizeof(uint16_t);
}

uint64_t
perfi_shadow_cache_bytes(const perfi_shadow_cache *c)
{
    return c->node ? bytes_for(c->room) : 0;
}

bool
perfi_shadow_cache_make(perfi_shadow_cache *c, uint32_t room, double window,
                        const perf_allocator *a)
{
    *c = (perfi_shadow_cache){.room = (uint16_t)room};
    c->node = a->alloc(bytes_for(room), a->ctx);
    if (!c->node)
        return false;
    c->bucket = (uint16_t *)(void *)(c->node + room);
    c->mask = (uint16_t)(buckets_for(room) - 1);
    memset(c->bucket, 0xff, (c->mask + 1u) * sizeof *c->bucket);
    for (int i = 0; i < PERFI_SHADOW_LISTS; i++)
        c->list[i] = (perfi_shadow_list){NONE, NONE, 0};
    uint32_t share = (uint32_t)(room * window);
    share = share < 1 ? 1 : share > room - 1 ? room - 1 : share;
    c->window = (uint16_t)share;
    c->protected = (uint16_t)((room - share) * 4 / 5);
    return true;
}

void
perfi_shadow_cache_free(perfi_shadow_cache *c, const perf_allocator *a)
{
    a->free(c->node, bytes_for(c->room), a->ctx);
    *c = (perfi_shadow_cache){0};
}

/* ---- lists ---- */

static void
unlink_node(perfi_shadow_cache *c, uint16_t n)
{
    const perfi_shadow_node *x = &c->node[n];
    perfi_shadow_list *l = &c->list[x->list];
    *(x->prev == NONE ? &l->first : &c->node[x->prev].next) = x->next;
    *(x->next == NONE ? &l->last : &c->node[x->next].prev) = x->prev;
    l->count--;
}

static void
push(perfi_shadow_cache *c, uint16_t n, uint16_t list)
{
    perfi_shadow_node *x = &c->node[n];
    perfi_shadow_list *l = &c->list[list];
    x->list = list;
    x->prev = NONE;
    x->next = l->first;
    *(l->first == NONE ? &l->last : &c->node[l->first].prev) = n;
    l->first = n;
    l->count++;
}

static void
move(perfi_shadow_cache *c, uint16_t n, uint16_t list)
{
    if (c->list[list].first == n)
        return;
    unlink_node(c, n);
    push(c, n, list);
}

/* ---- buckets ---- */

static uint16_t *
bucket_of(const perfi_shadow_cache *c, uint64_t hash)
{
    return &c->bucket[hash >> 20 & c->mask]; /* other bits than the sketch's */
}

static uint16_t
find(const perfi_shadow_cache *c, uint64_t hash)
{
    uint16_t n = *bucket_of(c, hash);
    while (n != NONE && c->node[n].hash != hash)
        n = c->node[n].chain;
    return n;
}

static void
forget(perfi_shadow_cache *c, uint16_t n)
{
    uint16_t *at = bucket_of(c, c->node[n].hash);
    while (*at != n)
        at = &c->node[*at].chain;
    *at = c->node[n].chain;
}

static void
remember(perfi_shadow_cache *c, uint16_t n, uint64_t hash)
{
    uint16_t *bucket = bucket_of(c, hash);
    c->node[n].hash = hash;
    c->node[n].chain = *bucket;
    *bucket = n;
}

/* ---- the policy ---- */

static void
hit(perfi_shadow_cache *c, uint16_t n)
{
    if (c->node[n].list == WINDOW) {
        move(c, n, WINDOW);
        return;
    }
    move(c, n, PROTECTED);
    while (c->list[PROTECTED].count > c->protected)
        move(c, c->list[PROTECTED].last, PROBATION);
}

/* The node that makes room for a new one, which is about to push another one
 * out of the window: that, or what is next to go, whichever was asked for less
 * often. */
static uint16_t
choose_victim(perfi_shadow_cache *c, const perfi_sketch *sketch)
{
    uint16_t victim = c->list[PROBATION].last;
    if (victim == NONE)
        victim = c->list[PROTECTED].last;
    if (c->list[WINDOW].count < c->window)
        return victim;
    uint16_t candidate = c->list[WINDOW].last;
    move(c, candidate, PROBATION);
    if (victim == NONE)
        return candidate;
    uint32_t count = perfi_sketch_count(sketch, c->node[candidate].hash);
    return count > perfi_sketch_count(sketch, c->node[victim].hash) ? victim
                                                                    : candidate;
}

static uint16_t
make_room(perfi_shadow_cache *c, const perfi_sketch *sketch)
{
    if (c->used < c->room)
        return c->used++;
    uint16_t n = choose_victim(c, sketch);
    forget(c, n);
    unlink_node(c, n);
    return n;
}

bool
perfi_shadow_cache_see(perfi_shadow_cache *c, uint64_t hash,
                       const perfi_sketch *sketch)
{
    uint16_t n = find(c, hash);
    if (n != NONE) {
        hit(c, n);
        return true;
    }
    n = make_room(c, sketch);
    remember(c, n, hash);
    push(c, n, WINDOW);
    if (c->list[WINDOW].count > c->window) /* while it fills */
        move(c, c->list[WINDOW].last, PROBATION);
    return false;
}

/* ---- for tests ---- */

bool
perfi_shadow_cache_check(const perfi_shadow_cache *c)
{
    uint32_t listed = 0, found = 0;
    for (uint16_t list = 0; list < PERFI_SHADOW_LISTS; list++) {
        uint16_t prev = NONE, count = 0;
        for (uint16_t n = c->list[list].first; n != NONE; n = c->node[n].next) {
            if (n >= c->used || c->node[n].list != list ||
                c->node[n].prev != prev || count++ == c->used)
                return false;
            found += find(c, c->node[n].hash) == n;
            prev = n;
        }
        listed += count;
        if (c->list[list].last != prev || c->list[list].count != count)
            return false;
    }
    return listed == c->used && found == c->used && c->used <= c->room &&
           c->list[WINDOW].count <= c->window;
}
