/* path_step.c - what the time that the cursor passes went to. */
#include "path.h"

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

static bool
is_same(const perf_path_step *a, const perf_path_step *b)
{
    return a->actor == b->actor && a->span == b->span && a->label == b->label &&
           a->kind == b->kind && a->resource == b->resource;
}

static void
add(perfi_path *p, perf_path_step step)
{
    perf_path_step *last =
        p->steps.count ? &p->steps.item[p->steps.count - 1] : NULL;
    if (last && last->from_ns == step.to_ns && is_same(last, &step))
        last->from_ns = step.from_ns;
    else
        *perfi_list_add(p->region, &p->steps) = step;
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
        uint32_t label = perfi_label_at(p->model, span, actor, from);
        if (import)
            label = import->label;
        else if (kind == PERF_STEP_SLEEP && m->arg == 1)
            label = PERFI_LIMIT_LABEL;
        add(p, (perf_path_step){
                   .from_ns = from,
                   .to_ns = c->t,
                   .actor = p->thing_id[p->line->actors.item[actor].thing],
                   .span = span ? p->span_id[span - 1] : 0,
                   .label = label,
                   .kind = kind,
                   .resource = resource,
               });
        c->t = from;
    }
}

/* ---- when all are there ---- */

static void
share(perf_path_share *to, const perf_path_step *step)
{
    uint64_t ns = step->to_ns - step->from_ns;
    to->ns += ns;
    if (step->kind == PERF_STEP_LAG)
        to->lag_ns += ns;
    if (step->kind == PERF_STEP_UNEXPLAINED)
        to->unexplained_ns += ns;
    if (step->resource != PERFI_NONE)
        to->resource_ns += ns;
}

void
perfi_path_finish_steps(perfi_path *p)
{
    perf_path_step *step = p->steps.item;
    size_t n = p->steps.count;
    for (size_t i = 0; i < n - i; i++) { /* the walk went backwards */
        perf_path_step last = step[n - 1 - i];
        step[n - 1 - i] = step[i];
        step[i] = last;
    }
    for (size_t i = 0; i < n; i++) {
        step[i].from_ns += p->line->start_ns;
        step[i].to_ns += p->line->start_ns;
        share(&p->shares[step[i].label], &step[i]);
    }
}
