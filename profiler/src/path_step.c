/* path_step.c - what the time that the cursor passes went to. */
#include "path.h"

#include <string.h>

/* ---- resources ---- */

void
perfi_path_want(perfi_cursor *c, uint64_t id, uint64_t from)
{
    perfi_path *p = c->p;
    uint32_t resource = perfi_ids_find(&p->line->resource_ids, id);
    if (resource != PERFI_NONE)
        *perfi_list_add(p->region, &p->wanted) = (perfi_wanted){resource, from};
}

/* Who waited for one thing, which waited for another: the last one that was
 * wanted and still is. */
static uint32_t
wanted(perfi_cursor *c, uint64_t *from)
{
    perfi_path *p = c->p;
    while (p->wanted.count && p->wanted.item[p->wanted.count - 1].from >= c->t)
        p->wanted.count--;
    if (!p->wanted.count)
        return PERFI_NONE;
    const perfi_wanted *last = &p->wanted.item[p->wanted.count - 1];
    if (last->from > *from)
        *from = last->from;
    return last->resource;
}

/* ---- steps ---- */

/* The walk goes backwards, so the array is filled from its end. */
static perf_path_step *
prepend(perfi_path *p)
{
    if (p->step_count == p->step_room) {
        size_t room = p->step_room ? p->step_room * 2 : 64;
        perf_path_step *more = perfi_region_take(p->region, room, sizeof *more);
        if (p->step)
            memcpy(more + room - p->step_count, p->step,
                   p->step_count * sizeof *more);
        perfi_region_drop(p->region, p->step);
        p->step = more;
        p->step_room = room;
    }
    return &p->step[p->step_room - ++p->step_count];
}

static bool
is_same(const perf_path_step *a, const perf_path_step *b)
{
    return a->from_ns == b->to_ns && a->actor == b->actor &&
           a->span == b->span && a->label == b->label && a->kind == b->kind &&
           a->resource == b->resource;
}

static void
add(perfi_path *p, perf_path_step step)
{
    perf_path_share *share = &p->shares[step.label];
    uint64_t ns = step.to_ns - step.from_ns;
    share->ns += ns;
    if (step.kind == PERF_STEP_LAG)
        share->lag_ns += ns;
    if (step.kind == PERF_STEP_UNEXPLAINED)
        share->unexplained_ns += ns;
    if (step.resource != PERFI_NONE)
        share->resource_ns += ns;
    size_t first = p->step_room - p->step_count;
    if (p->step_count && is_same(&p->step[first], &step))
        p->step[first].from_ns = step.from_ns;
    else
        *prepend(p) = step;
}

void
perfi_path_spend(perfi_cursor *c, perf_step_kind kind, perfi_place of,
                 uint64_t to)
{
    perfi_path *p = c->p;
    const perfi_moment *m = perfi_path_moment(p, of);
    const perfi_import *import = perfi_path_import(p, of.moment);
    uint32_t actor = of.actor - 1;
    if (to < c->from)
        to = c->from;
    if (import && kind == PERF_STEP_RUN) {
        kind = PERF_STEP_IMPORT;
        if (import->is_startup && to < c->t)
            c->t = to;
    }
    while (c->t > to) {
        uint64_t from = to;
        uint32_t span = perfi_path_open_span(p, m->span, c->t, &from);
        uint32_t resource = wanted(c, &from);
        add(p, (perf_path_step){
                   .from_ns = p->line->start_ns + from,
                   .to_ns = p->line->start_ns + c->t,
                   .actor = p->thing_id[p->line->actors.item[actor].thing],
                   .span = span ? p->span_id[span - 1] : 0,
                   .label = perfi_path_label(p, kind, of, span, from),
                   .kind = kind,
                   .resource = resource,
               });
        c->t = from;
    }
}
