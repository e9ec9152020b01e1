/* s3fifo.c - three queues in the order of arrival (Yang et al., SOSP 2023): a
 * small one for what is new, a main one for what was asked for again, and a
 * ghost that remembers what left the small one. A hit only counts. */
#include "ghost.h"
#include "kind.h"

enum { SMALL = 1, MAIN = 2 };

enum {
    MOST_HITS = 3,
    HITS_TO_STAY = 2, /* in the small queue */
    SMALL_PART = 10,  /* of all: 1/10 */
};

static perf_err
create(perf_policy *p)
{
    p->own = perfi_policy_alloc(p, sizeof(perfi_ghost));
    return p->own ? PERF_OK : PERF_ERR_NOMEM;
}

static void
destroy(perf_policy *p)
{
    if (p->own)
        perfi_ghost_free(p->own, p->config.allocator);
    perfi_policy_free(p, p->own, sizeof(perfi_ghost));
}

/* The ghost is as long as the main queue. It begins anew when it grows: it has
 * to when the slots do, by half each time, and no more once the cache is full.
 */
static void
fit(perf_policy *p)
{
    uint32_t most = p->config.max_entries;
    if (p->slots.room < most)
        most = p->slots.room;
    perfi_ghost_fit(p->own, most - most / SMALL_PART, p->config.allocator);
}

static void
insert(perf_policy *p, uint32_t slot)
{
    perfi_cache_slot *x = &p->slots.at[slot];
    bool known = perfi_ghost_take(p->own, perfi_slot_hash(x));
    perfi_list_push(&p->slots, slot, known ? MAIN : SMALL);
}

static void
touch(perf_policy *p, uint32_t slot)
{
    perfi_cache_slot *x = &p->slots.at[slot];
    if (x->hits < MOST_HITS)
        x->hits++;
}

static void
fetch(const perf_policy *p, uint32_t slot)
{
    (void)p, (void)slot; /* the slot is all there is */
}

static void
touch_many(perf_policy *p, const int32_t *slots, size_t count)
{
    perfi_touch_many(p, slots, count, touch, fetch);
}

static uint32_t
main_victim(perf_policy *p)
{
    perfi_list *l = &p->slots.list[MAIN];
    perfi_cache_slot *x = &p->slots.at[l->last];
    for (; x->hits; x = &p->slots.at[l->last]) {
        x->hits--;
        perfi_list_move(&p->slots, l->last, MAIN);
    }
    return l->last;
}

/* PERFI_NONE: all of it has gone to the main queue. */
static uint32_t
small_victim(perf_policy *p)
{
    perfi_list *l = &p->slots.list[SMALL];
    for (uint32_t last; (last = l->last) != PERFI_NONE;) {
        perfi_cache_slot *x = &p->slots.at[last];
        if (x->hits < HITS_TO_STAY) {
            perfi_ghost_add(p->own, perfi_slot_hash(x));
            return last;
        }
        x->hits = 0;
        perfi_list_move(&p->slots, last, MAIN);
    }
    return PERFI_NONE;
}

static uint32_t
victim(perf_policy *p)
{
    const perfi_list *main = &p->slots.list[MAIN];
    uint64_t bound = perfi_policy_bound(p);
    if (main->count && perfi_policy_load(p, MAIN) > bound - bound / SMALL_PART)
        return main_victim(p);
    uint32_t slot = small_victim(p);
    return slot == PERFI_NONE ? main_victim(p) : slot;
}

static uint64_t
bytes(const perf_policy *p)
{
    return sizeof(perfi_ghost) + perfi_ghost_bytes(p->own);
}

const perfi_kind perfi_kind_s3fifo = {
    .create = create,
    .destroy = destroy,
    .insert = insert,
    .touch = touch,
    .touch_many = touch_many,
    .victim = victim,
    .fit = fit,
    .bytes = bytes,
};
