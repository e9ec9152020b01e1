/* path_label.c - labels of steps: the same as the replay's operations have. */
#include "path.h"

#include <stdlib.h>

/* ---- locks that are held in order to sleep ---- */

static int
by_actor(const void *a, const void *b)
{
    const perfi_hold *x = a, *y = b;
    if (x->actor != y->actor)
        return x->actor < y->actor ? -1 : 1;
    return (x->from > y->from) - (x->from < y->from);
}

/* The label that limiters.c has put on the sleeps of a hold; 0: none. */
static uint32_t
label_of_hold(const perfi_model *m, const perfi_use *use)
{
    for (uint32_t i = use->ops.first; i < use->ops.end; i++) {
        uint32_t label = m->ops.item[i].label;
        if (m->labels.item[label].kind == PERFI_LABEL_HOLD &&
            m->labels.item[label].name == use->resource)
            return label;
    }
    return 0;
}

void
perfi_path_find_holds(perfi_path *p)
{
    const perfi_model *m = p->model;
    bool some = false;
    for (uint32_t i = 0; i < m->labels.count; i++)
        some |= m->labels.item[i].kind == PERFI_LABEL_HOLD;
    for (size_t i = 0; some && i < m->uses.count; i++) {
        const perfi_use *use = &m->uses.item[i];
        uint32_t label = label_of_hold(m, use);
        if (label)
            *perfi_list_add(p->region, &p->holds) = (perfi_hold){
                use->actor, use->span, label, use->granted, use->released};
    }
    if (p->holds.count)
        qsort(p->holds.item, p->holds.count, sizeof *p->holds.item, by_actor);
}

static const perfi_hold *
hold_at(const perfi_path *p, uint32_t actor, uint64_t t)
{
    size_t low = 0, high = p->holds.count;
    perfi_hold key = {.actor = actor, .from = t};
    while (low < high) { /* the first one that began after that */
        size_t middle = low + (high - low) / 2;
        if (by_actor(&p->holds.item[middle], &key) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    const perfi_hold *last = low ? &p->holds.item[low - 1] : NULL;
    return last && last->actor == actor && t < last->to ? last : NULL;
}

/* ---- all ---- */

uint32_t
perfi_path_label(const perfi_path *p, perf_step_kind kind, perfi_place of,
                 uint32_t span, uint64_t from)
{
    const perfi_moment *m = perfi_path_moment(p, of);
    const perfi_import *import = perfi_path_import(p, of.moment);
    uint32_t actor = of.actor - 1;
    if (import)
        return import->label;
    if (kind == PERF_STEP_SLEEP && m->arg == 1)
        return PERFI_LIMIT_LABEL;
    if (kind == PERF_STEP_SLEEP || kind == PERF_STEP_BLOCK) {
        const perfi_hold *hold = hold_at(p, actor, from);
        if (hold && hold->span == m->span)
            return hold->label;
    }
    return perfi_label_at(p->model, span, actor, from);
}
