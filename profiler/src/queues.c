/* queues.c - what is done with an item travels with the item: another worker
 * may take it in a replay, and does the same with it. */
#include "program.h"

#include <stdlib.h>

enum { NEAR = 8, SHORT = 32, MOMENT_NS = 2000000 };

/* ---- Python 3.11's wait_for(queue.get(), t): the get sits in a task ---- */

/* The one get of a task that does nothing else, or NULL. */
static const perfi_op *
lone_get(const perfi_model *m, uint32_t actor)
{
    const perfi_op *get = NULL;
    perfi_range ops = m->programs[actor].ops;
    if (ops.end > ops.first + SHORT)
        return NULL;
    for (uint32_t i = ops.first; i < ops.end; i++) {
        const perfi_op *op = &m->ops.item[i];
        switch (op->code) {
        case PERFI_OP_GET:
            if (get || !op->more)
                return NULL;
            get = op;
            break;
        case PERFI_OP_RUN:
            if (op->ns > MOMENT_NS)
                return NULL;
            break;
        case PERFI_OP_NONE:
        case PERFI_OP_BEGIN:
        case PERFI_OP_END:
        case PERFI_OP_SPAWN:
        case PERFI_OP_WAIT:
        case PERFI_OP_RESOLVE: break;
        default: return NULL;
        }
    }
    return get;
}

/* The wait right after a spawn, or 0. */
static uint32_t
wait_after(const perfi_model *m, uint32_t spawn, uint32_t end)
{
    for (uint32_t i = spawn + 1, seen = 0; i < end && seen < NEAR; i++) {
        const perfi_op *op = &m->ops.item[i];
        if (op->code == PERFI_OP_NONE || op->code == PERFI_OP_BEGIN ||
            op->code == PERFI_OP_END)
            continue;
        seen++;
        if (op->code == PERFI_OP_WAIT && op->more)
            return i;
        if (op->code != PERFI_OP_RUN && op->code != PERFI_OP_WAIT &&
            op->code != PERFI_OP_TIMER)
            return 0;
    }
    return 0;
}

static void
unwrap_gets(perfi_model *m)
{
    for (uint32_t a = 0; a < m->line->actors.count; a++) {
        perfi_range ops = m->programs[a].ops;
        for (uint32_t i = ops.first; i < ops.end; i++) {
            perfi_op *op = &m->ops.item[i];
            if (op->code != PERFI_OP_SPAWN ||
                m->line->actors.item[op->what].kind != PERF_ACTOR_TASK)
                continue;
            const perfi_op *get = lone_get(m, op->what);
            uint32_t wait = get ? wait_after(m, i, ops.end) : 0;
            if (!wait)
                continue;
            perfi_range *inner = &m->programs[op->what].ops;
            inner->end = inner->first;
            *op = *get;
            op->nowait = false;
            while (++i <= wait)
                m->ops.item[i].code = PERFI_OP_NONE;
            i--;
        }
    }
}

/* ---- workers ---- */

/* The queue an actor takes from: 1 + queue; 0: none; NONE: several. */
static uint32_t
source_of(const perfi_model *m, uint32_t actor)
{
    uint32_t found = 0;
    bool in_vain = false; /* then it is cancelled, and comes no more */
    perfi_range ops = m->programs[actor].ops;
    for (uint32_t i = ops.first; i < ops.end; i++) {
        const perfi_op *op = &m->ops.item[i];
        if (op->code != PERFI_OP_GET || op->what == PERFI_NONE)
            continue;
        if (op->nowait || in_vain || (found && found != op->what + 1))
            return PERFI_NONE;
        found = op->what + 1;
        in_vain = !op->more;
    }
    return found;
}

static bool
can_work(const perfi_model *m, uint32_t actor, const bool *hosted)
{
    uint8_t kind = m->line->actors.item[actor].kind;
    return !hosted[actor] && actor != m->line->main &&
           (kind == PERF_ACTOR_TASK || kind == PERF_ACTOR_THREAD ||
            kind == PERF_ACTOR_WORK);
}

static bool *
find_hosted(const perfi_model *m)
{
    bool *hosted =
        perfi_region_take(m->region, m->line->actors.count, sizeof *hosted);
    for (size_t i = 0; i < m->ops.count; i++) {
        const perfi_op *op = &m->ops.item[i];
        if (op->code == PERFI_OP_HOST && op->what < m->line->things.count &&
            m->line->actor_of[op->what] != PERFI_NONE)
            hosted[m->line->actor_of[op->what]] = true;
    }
    return hosted;
}

/* Queues whose takers are all workers of that one queue. */
static bool *
find_worked(perfi_model *m, uint32_t *source)
{
    size_t queues = m->line->resources.count;
    bool *hosted = find_hosted(m);
    bool *worked = perfi_region_take(m->region, queues, sizeof *worked);
    bool *spoiled = perfi_region_take(m->region, queues, sizeof *spoiled);
    for (uint32_t a = 0; a < m->line->actors.count; a++) {
        source[a] = source_of(m, a);
        bool works = source[a] != PERFI_NONE && can_work(m, a, hosted);
        perfi_range ops = m->programs[a].ops;
        for (uint32_t i = ops.first; source[a] && i < ops.end; i++) {
            const perfi_op *op = &m->ops.item[i];
            if (op->code != PERFI_OP_GET || op->what == PERFI_NONE)
                continue;
            spoiled[op->what] |= !works;
            worked[op->what] |= op->more != 0;
        }
    }
    for (size_t q = 0; q < queues; q++)
        worked[q] &= !spoiled[q];
    perfi_region_drop(m->region, spoiled);
    perfi_region_drop(m->region, hosted);
    return worked;
}

/* The program becomes: what comes before the first get, then take, for ever. */
static void
cut(perfi_model *m, uint32_t actor, uint32_t queue)
{
    perfi_program *p = &m->programs[actor];
    perfi_body *body = NULL;
    uint32_t loop = 0, end = p->ops.end;
    for (uint32_t i = p->ops.first; i < end; i++) {
        perfi_op *op = &m->ops.item[i];
        if (op->code != PERFI_OP_GET || op->what != queue)
            continue;
        if (body)
            body->ops.end = i;
        body = NULL;
        if (!loop)
            loop = i + 1;
        if (!op->more) { /* cancelled while it waited */
            p->epilogue = (perfi_range){i + 1, end};
            continue;
        }
        body = perfi_list_add(m->region, &m->bodies);
        *body = (perfi_body){queue, false, op->more - 1, {i + 1, end}};
    }
    if (body) /* it ended after this one */
        body->is_final = true;
    p->worker_of = queue + 1;
    p->ops.end = loop;
    m->ops.item[loop - 1].code = PERFI_OP_TAKE;
}

static int
by_queue(const void *a, const void *b)
{
    const perfi_body *x = a, *y = b;
    if (x->queue != y->queue)
        return x->queue < y->queue ? -1 : 1;
    return (x->got_at > y->got_at) - (x->got_at < y->got_at);
}

void
perfi_queues_cut(perfi_model *m)
{
    unwrap_gets(m);
    uint32_t *source =
        perfi_region_take(m->region, m->line->actors.count, sizeof *source);
    bool *worked = find_worked(m, source);
    m->bodies_of = perfi_region_take(m->region, m->line->resources.count,
                                     sizeof *m->bodies_of);
    for (uint32_t a = 0; a < m->line->actors.count; a++)
        if (source[a] && source[a] != PERFI_NONE && worked[source[a] - 1])
            cut(m, a, source[a] - 1);
    if (m->bodies.count)
        qsort(m->bodies.item, m->bodies.count, sizeof *m->bodies.item,
              by_queue);
    for (uint32_t i = 0; i < m->bodies.count; i++) {
        perfi_range *range = &m->bodies_of[m->bodies.item[i].queue];
        if (range->end == 0)
            range->first = i;
        range->end = i + 1;
    }
    perfi_region_drop(m->region, worked);
    perfi_region_drop(m->region, source);
}
