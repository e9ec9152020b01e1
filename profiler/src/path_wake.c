/* path_wake.c - looks up in the index who ended a wait. */
#include "path.h"

#include <stdlib.h>

static const perfi_place nowhere;

static uint64_t
id_of(const perfi_path *p, perfi_place at)
{
    return p->thing_id[p->line->actors.item[at.actor - 1].thing];
}

int
perfi_path_compare(const perfi_path *p, perfi_place a, perfi_place b)
{
    uint64_t s = perfi_path_moment(p, a)->t, t = perfi_path_moment(p, b)->t;
    if (s == t) {
        s = id_of(p, a);
        t = id_of(p, b);
    }
    return (s > t) - (s < t);
}

uint32_t
perfi_path_actor(const perfi_path *p, uint64_t key)
{
    uint32_t thing = perfi_ids_find(&p->line->things, key);
    return thing == PERFI_NONE ? PERFI_NONE : p->line->actor_of[thing];
}

perfi_place
perfi_path_resolver(const perfi_path *p, uint64_t key)
{
    uint32_t thing = perfi_ids_find(&p->line->things, key);
    return thing == PERFI_NONE ? nowhere : p->resolved[thing];
}

perfi_place
perfi_path_canceller(const perfi_path *p, uint32_t target, uint64_t from,
                     uint64_t to)
{
    size_t low = 0, high = p->cancels.count;
    while (low < high) { /* the first one after that */
        size_t middle = low + (high - low) / 2;
        const perfi_cancel *one = &p->cancels.item[middle];
        if (one->target < target || (one->target == target && one->t <= to))
            low = middle + 1;
        else
            high = middle;
    }
    const perfi_cancel *last = low ? &p->cancels.item[low - 1] : NULL;
    return last && last->target == target && last->t >= from ? last->by
                                                             : nowhere;
}

/* ---- resources ---- */

static bool
is_before(const perfi_gift *g, perfi_gift_kind kind, uint64_t what, uint64_t t)
{
    if (g->what != what)
        return g->what < what;
    if (g->kind != kind)
        return g->kind < kind;
    return g->t < t;
}

perfi_place
perfi_path_giver(const perfi_path *p, perfi_gift_kind kind, uint64_t what,
                 uint32_t self, uint64_t from, uint64_t to)
{
    const perfi_gift *all = p->gifts.item;
    size_t low = 0, high = p->gifts.count;
    while (low < high) { /* the first one at `to` or later */
        size_t middle = low + (high - low) / 2;
        if (is_before(&all[middle], kind, what, to))
            low = middle + 1;
        else
            high = middle;
    }
    /* Work without a duration may have come before or after: it gave nothing.
     */
    if (low < p->gifts.count && all[low].what == what &&
        all[low].kind == kind && all[low].t == to && all[low].start < to)
        low++;
    for (; low && all[low - 1].what == what && all[low - 1].kind == kind &&
           all[low - 1].t > from;
         low--) {
        if (all[low - 1].by.actor != self)
            return all[low - 1].by;
    }
    return nowhere;
}

/* ---- several futures ---- */

static int
by_time(const void *a, const void *b)
{
    const perfi_done *x = a, *y = b;
    if (x->t != y->t)
        return x->t < y->t ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

perfi_place
perfi_path_finisher(perfi_path *p, const perfi_actor *a,
                    const perfi_bracketed *wait)
{
    const perfi_moment *first = &p->line->moments.item[a->first];
    const perfi_moment *open = &p->line->moments.item[wait->open];
    const perfi_moment *close = &p->line->moments.item[wait->close];
    uint64_t asked = 0;
    p->done.count = 0;
    for (const perfi_moment *m = open;
         m > first && m[-1].code == PERF_EVENT_WAIT_FOR; m--) {
        asked++;
        perfi_place by = perfi_path_resolver(p, m[-1].key);
        if (by.actor)
            *perfi_list_add(p->region, &p->done) =
                (perfi_done){perfi_path_moment(p, by)->t, id_of(p, by), by};
    }
    uint64_t undone = close->more < asked ? close->more : asked;
    uint64_t enough = open->arg ? open->arg : asked - undone;
    if (!enough || enough > p->done.count)
        return nowhere;
    qsort(p->done.item, p->done.count, sizeof *p->done.item, by_time);
    return p->done.item[enough - 1].by;
}

/* ---- what a moment is inside of ---- */

const perfi_bracketed *
perfi_path_bracket(const perfi_path *p, uint32_t moment)
{
    size_t low = 0, high = p->inside.count;
    while (low < high) { /* the first one at the moment or later */
        size_t middle = low + (high - low) / 2;
        if (p->inside.item[middle].moment < moment)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == p->inside.count || p->inside.item[low].moment != moment)
        return NULL;
    const perfi_bracketed *b = &p->brackets.item[p->inside.item[low].bracket];
    return b->close ? b : NULL;
}

const perfi_import *
perfi_path_import(const perfi_path *p, uint32_t moment)
{
    size_t low = 0, high = p->imports.count;
    while (low < high) { /* the first one that begins at it or later */
        size_t middle = low + (high - low) / 2;
        if (p->imports.item[middle].first < moment)
            low = middle + 1;
        else
            high = middle;
    }
    const perfi_import *i = low ? &p->imports.item[low - 1] : NULL;
    return i && moment <= i->last ? i : NULL;
}
