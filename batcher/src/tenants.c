/* tenants.c - whose turn it is: the tenant that was served least, by its share;
 * of its items the one with the smallest key.
 *
 * The virtual token counter of Sheng et al. (OSDI 2024): who comes back after a
 * pause starts where the least served one of those who wait stands, so that
 * being idle saves nothing up. */
#include "queue.h"

#include <math.h>
#include <string.h>

enum { FIRST_ROOM = 16 };

/* ---- memory ---- */

/* They never move. */
static size_t
chunk_bytes(uint32_t index)
{
    return sizeof(perfi_tenant) << index;
}

static perf_err
grow_active(perf_batch_queue *q)
{
    const perf_allocator *a = q->allocator;
    uint32_t room = q->active_room ? 2 * q->active_room : FIRST_ROOM;
    perfi_tenant **more = a->alloc(room * sizeof *more, a->ctx);
    if (!more)
        return PERF_ERR_NOMEM;
    if (q->active_count)
        memcpy(more, q->active, q->active_count * sizeof *more);
    a->free(q->active, q->active_room * sizeof *more, a->ctx);
    q->active = more;
    q->active_room = room;
    return PERF_OK;
}

/* Room for a tenant of that number: it may be active at the same time as all
 * before it. */
static perf_err
make_room(perf_batch_queue *q, uint32_t number)
{
    const perf_allocator *a = q->allocator;
    uint32_t index = perfi_tenant_chunk(number);
    perfi_tenant **chunk = &q->chunks[index];
    if (!*chunk)
        *chunk = a->alloc(chunk_bytes(index), a->ctx);
    if (!*chunk)
        return PERF_ERR_NOMEM;
    return number < q->active_room ? PERF_OK : grow_active(q);
}

static void
make_tenant(perf_batch_queue *q, uint32_t number, double share)
{
    perfi_tenant *t = perfi_tenant_of(q, number);
    t->number = number;
    t->position = PERFI_NOT_ACTIVE;
    t->a_share = 1 / share;
}

perf_err
perfi_tenants_init(perf_batch_queue *q)
{
    perf_err err = make_room(q, 0);
    if (!err)
        make_tenant(q, 0, 1);
    return err;
}

void
perfi_tenants_free(perf_batch_queue *q)
{
    const perf_allocator *a = q->allocator;
    for (uint32_t i = 0; i < PERFI_TENANT_CHUNKS; i++)
        a->free(q->chunks[i], chunk_bytes(i), a->ctx);
    a->free(q->active, q->active_room * sizeof *q->active, a->ctx);
}

perf_err
perf_batch_queue_tenant_add(perf_batch_queue *q, double share, uint32_t *out)
{
    if (!q || !out || isnan(share))
        return PERF_ERR_INVALID;
    if (!(share > 0) || isinf(share) || isinf(1 / share))
        return PERF_ERR_RANGE;
    if (q->tenants == PERFI_TENANTS - 1)
        return PERF_ERR_FULL;
    perf_err err = make_room(q, q->tenants + 1);
    if (err)
        return err;
    make_tenant(q, ++q->tenants, share);
    *out = q->tenants;
    return PERF_OK;
}

/* ---- the heap of those who wait ---- */

static bool
served_less(const perfi_tenant *a, const perfi_tenant *b)
{
    if (a->served < b->served || b->served < a->served)
        return a->served < b->served;
    return a->number < b->number;
}

static void
set_active(perf_batch_queue *q, uint32_t position, perfi_tenant *t)
{
    q->active[position] = t;
    t->position = position;
}

static void
sift_up(perf_batch_queue *q, perfi_tenant *t)
{
    uint32_t at = t->position;
    while (at && served_less(t, q->active[(at - 1) / 2])) {
        set_active(q, at, q->active[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    set_active(q, at, t);
}

static void
sift_down(perf_batch_queue *q, perfi_tenant *t)
{
    uint32_t at = t->position;
    for (uint32_t below; (below = 2 * at + 1) < q->active_count;) {
        if (below + 1 < q->active_count &&
            served_less(q->active[below + 1], q->active[below]))
            below++;
        if (!served_less(q->active[below], t))
            break;
        set_active(q, at, q->active[below]);
        at = below;
    }
    set_active(q, at, t);
}

static void
activate(perf_batch_queue *q, perfi_tenant *t)
{
    double least = q->active_count ? q->active[0]->served : q->floor;
    if (t->served < least)
        t->served = least;
    set_active(q, q->active_count++, t);
    sift_up(q, t);
}

static void
deactivate(perf_batch_queue *q, perfi_tenant *t)
{
    perfi_tenant *last = q->active[--q->active_count];
    uint32_t at = t->position;
    t->position = PERFI_NOT_ACTIVE;
    if (!q->active_count)
        q->floor = t->served;
    if (last == t)
        return;
    set_active(q, at, last);
    sift_up(q, last);
    sift_down(q, last);
}

/* ---- items ---- */

perf_batch_item *
perfi_tenants_first(const perf_batch_queue *q)
{
    if (!q->active_count)
        return NULL;
    const perfi_tenant *t = q->active[0];
    perf_batch_item *best = NULL;
    for (uint32_t left = t->used; left; left &= left - 1) {
        const perfi_sorted *lane = &t->lanes[__builtin_ctz(left)];
        perf_batch_item *item = perfi_sorted_first(lane, PERFI_BY_KEY);
        if (!best || perfi_item_before(item, best, PERFI_BY_KEY))
            best = item;
    }
    return best;
}

void
perfi_tenants_put(perf_batch_queue *q, perf_batch_item *item)
{
    perfi_tenant *t = perfi_tenant_of(q, item->tenant);
    perfi_sorted_put_by_key(&t->lanes[item->priority], item);
    t->used |= 1u << item->priority;
    if (t->position == PERFI_NOT_ACTIVE)
        activate(q, t);
}

void
perfi_tenants_remove(perf_batch_queue *q, perf_batch_item *item)
{
    perfi_tenant *t = perfi_tenant_of(q, item->tenant);
    perfi_sorted *lane = &t->lanes[item->priority];
    perfi_sorted_remove_by_key(lane, item);
    if (!perfi_sorted_empty(lane))
        return;
    t->used &= ~(1u << item->priority);
    if (!t->used)
        deactivate(q, t);
}

void
perfi_tenants_charge(perf_batch_queue *q, const perf_batch_item *item,
                     double sign)
{
    perfi_tenant *t = perfi_tenant_of(q, item->tenant);
    bool by_weight = q->config.max_weight && item->weight;
    double cost = by_weight ? (double)item->weight : 1;
    t->served += sign * cost * t->a_share;
    if (q->active_count < 2 || t->position == PERFI_NOT_ACTIVE)
        return;
    if (sign > 0)
        sift_down(q, t);
    else
        sift_up(q, t);
}

void
perfi_tenants_forget(perf_batch_queue *q)
{
    for (uint32_t i = 0; i <= q->tenants; i++) {
        perfi_tenant *t = perfi_tenant_of(q, i);
        memset(t->lanes, 0, sizeof t->lanes);
        t->used = 0;
        t->position = PERFI_NOT_ACTIVE;
    }
    if (q->active_count)
        q->floor = q->active[0]->served;
    q->active_count = 0;
}
