/* waits.c - what the actors' programs mean for each other: who ends which wait,
 * what came from outside, who was cancelled where, and which callbacks count
 * rather than stand for themselves. */
#include "program.h"

#include <stdlib.h>

enum { FAMILY_MAX = 64 }; /* what one callback from outside may set going */

/* ---- who resolves what ---- */

static void
find_resolvers(perfi_model *m)
{
    const perfi_timeline *line = m->line;
    m->resolver =
        perfi_region_take(m->region, line->things.count, sizeof *m->resolver);
    for (uint32_t a = 0; a < line->actors.count; a++) {
        for (uint32_t i = m->programs[a].ops.first; i < m->programs[a].ops.end;
             i++) {
            const perfi_op *op = &m->ops.item[i];
            if (op->code == PERFI_OP_RESOLVE && op->what < line->things.count &&
                !m->resolver[op->what])
                m->resolver[op->what] = a + 1;
        }
    }
    for (uint32_t a = 0; a < line->actors.count; a++)
        if (line->actors.item[a].count)
            m->resolver[line->actors.item[a].thing] = a + 1;
}

/* ---- cancelled actors ---- */

/* Where it stood at a time: it goes on at the operation after that. */
static uint64_t
after_suspension_at(const perfi_model *m, uint32_t actor, uint64_t t)
{
    const perfi_program *p = &m->programs[actor];
    uint64_t found = 0;
    uint32_t low = p->suspensions.first, high = p->suspensions.end;
    while (low < high) { /* the first that began after t */
        uint32_t middle = low + (high - low) / 2;
        if (m->suspensions.item[middle].from <= t)
            low = middle + 1;
        else
            high = middle;
    }
    while (low > p->suspensions.first && !found) {
        const perfi_suspension *s = &m->suspensions.item[--low];
        if (s->to >= t)
            found = s->op + 2; /* 1 + the operation after it */
        else
            break;
    }
    return found;
}

static void
find_cancelled(perfi_model *m)
{
    for (size_t i = 0; i < m->ops.count; i++) {
        perfi_op *op = &m->ops.item[i];
        if (op->code == PERFI_OP_CANCEL)
            op->more = after_suspension_at(m, op->what, op->more);
    }
}

/* ---- I/O ---- */

/* The first operation that was suspended for each thing: 1 + its place. */
static uint32_t *
find_waiters(perfi_model *m)
{
    uint32_t *waiter =
        perfi_region_take(m->region, m->line->things.count, sizeof *waiter);
    for (size_t i = 1; i < m->ops.count; i++) { /* 0 has none before it */
        const perfi_op *op = &m->ops.item[i];
        if (op->code == PERFI_OP_WAIT && op->more &&
            op->what < m->line->things.count && !waiter[op->what])
            waiter[op->what] = (uint32_t)i + 1;
    }
    return waiter;
}

/* The wait that an actor, or what it sets going, ends first. The place before
 * a wait is free until its I/O is found. */
static perfi_op *
ended_by(perfi_model *m, uint32_t actor, const uint32_t *waiter)
{
    uint32_t family[FAMILY_MAX] = {actor};
    for (size_t seen = 0, n = 1; seen < n; seen++) {
        perfi_range ops = m->programs[family[seen]].ops;
        for (uint32_t i = ops.first; i < ops.end; i++) {
            const perfi_op *op = &m->ops.item[i];
            if (op->code == PERFI_OP_SPAWN && n < FAMILY_MAX)
                family[n++] = op->what;
            if (op->code != PERFI_OP_RESOLVE ||
                op->what >= m->line->things.count || !waiter[op->what])
                continue;
            perfi_op *wait = &m->ops.item[waiter[op->what] - 1];
            if (wait[-1].code == PERFI_OP_NONE)
                return wait;
        }
    }
    return NULL;
}

/* A callback that nobody scheduled came from the selector: the time until then
 * is the service of whoever waits for it. */
static void
attribute_io(perfi_model *m, const uint32_t *waiter)
{
    for (uint32_t a = 0; a < m->line->actors.count; a++) {
        const perfi_actor *actor = &m->line->actors.item[a];
        perfi_op *wait =
            actor->kind == PERF_ACTOR_IO ? ended_by(m, a, waiter) : NULL;
        if (!wait)
            continue;
        uint64_t from = m->suspensions.item[wait->more - 1].from;
        wait[-1] = (perfi_op){.code = PERFI_OP_TIMER,
                              .what = a,
                              .label = wait->label,
                              .span = wait->span};
        if (actor->waited_to > from)
            wait[-1].ns = actor->waited_to - from;
        m->labels.item[wait->label].delay_ns += wait[-1].ns;
    }
}

/* ---- waits that nobody ends ---- */

/* What the main actor sets going, and what that sets going. */
static bool *
find_reachable(perfi_model *m)
{
    size_t actors = m->line->actors.count, n = 0;
    bool *reachable = perfi_region_take(m->region, actors, sizeof *reachable);
    uint32_t *next = perfi_region_take(m->region, actors, sizeof *next);
    if (m->line->main != PERFI_NONE) {
        reachable[m->line->main] = true;
        next[n++] = m->line->main;
    }
    while (n) {
        perfi_range ops = m->programs[next[--n]].ops;
        for (uint32_t i = ops.first; i < ops.end; i++) {
            const perfi_op *op = &m->ops.item[i];
            if ((op->code == PERFI_OP_SPAWN || op->code == PERFI_OP_SUBMIT ||
                 op->code == PERFI_OP_TIMER || op->code == PERFI_OP_SLOT) &&
                !reachable[op->what]) {
                reachable[op->what] = true;
                next[n++] = op->what;
            }
        }
    }
    perfi_region_drop(m->region, next);
    return reachable;
}

static void
keep_length(perfi_model *m, perfi_op *op)
{
    perfi_label *l = &m->labels.item[op->label];
    const perfi_suspension *s =
        op->more ? &m->suspensions.item[op->more - 1] : NULL;
    if (!s) { /* was done when it was awaited */
        op->code = PERFI_OP_NONE;
    } else if (s->to == UINT64_MAX) {
        op->code = PERFI_OP_NEVER;
    } else {
        op->code = op->ns ? PERFI_OP_BLOCK : PERFI_OP_DELAY;
        op->ns = s->to - s->from;
        l->delay_ns += op->ns;
    }
}

static void
settle(perfi_model *m, const bool *reachable)
{
    for (size_t i = 0; i < m->ops.count; i++) {
        perfi_op *op = &m->ops.item[i];
        if (op->code == PERFI_OP_HOST && op->what >= m->line->things.count)
            op->code = PERFI_OP_NONE;
        if (op->code != PERFI_OP_WAIT)
            continue;
        uint32_t by =
            op->what < m->line->things.count ? m->resolver[op->what] : 0;
        if (!by || !reachable[by - 1])
            keep_length(m, op);
    }
    for (uint32_t t = 0; t < m->line->things.count; t++) /* nobody will */
        if (m->resolver[t] && !reachable[m->resolver[t] - 1])
            m->resolver[t] = 0;
}

/* ---- callbacks that count ---- */

typedef struct ran {
    uint32_t group, actor;
    uint64_t t;
} ran;

static int
by_group(const void *a, const void *b)
{
    const ran *x = a, *y = b;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    return (x->t > y->t) - (x->t < y->t);
}

/* gather() hangs one function on each of its futures, and the n-th call wakes
 * the waiter, whoever makes it: so the n-th to run has the n-th's effects. */
static void
find_groups(perfi_model *m)
{
    const perfi_timeline *line = m->line;
    ran *all = perfi_region_take(m->region, line->actors.count, sizeof *all);
    uint32_t n = 0;
    for (uint32_t a = 0; a < line->actors.count; a++) {
        const perfi_actor *actor = &line->actors.item[a];
        bool counts = actor->kind == PERF_ACTOR_CALLBACK && actor->count;
        if (!counts)
            m->line->actors.item[a].group = 0;
        else if (actor->group)
            all[n++] =
                (ran){actor->group, a, line->moments.item[actor->first].t};
    }
    qsort(all, n, sizeof *all, by_group);
    m->ordinal = perfi_region_take(m->region, n, sizeof *m->ordinal);
    for (uint32_t i = 0; i < n; i++) {
        m->ordinal[i] = all[i].actor;
        if (i == 0 || all[i].group != all[i - 1].group)
            *perfi_list_add(m->region, &m->groups) =
                (perfi_group){all[i].group, i, 0};
        m->groups.item[m->groups.count - 1].count++;
    }
    /* from here on an actor's group is 1 + its place in the list */
    for (uint32_t g = 0; g < m->groups.count; g++)
        for (uint32_t i = 0; i < m->groups.item[g].count; i++)
            m->line->actors.item[m->ordinal[m->groups.item[g].first + i]]
                .group = g + 1;
    perfi_region_drop(m->region, all);
}

void
perfi_waits_settle(perfi_model *m)
{
    find_resolvers(m);
    find_cancelled(m);
    uint32_t *waiter = find_waiters(m);
    attribute_io(m, waiter);
    bool *reachable = find_reachable(m);
    settle(m, reachable);
    find_groups(m);
    perfi_region_drop(m->region, waiter);
    perfi_region_drop(m->region, reachable);
}
