/* pt_program.c - a model without a recording. */
#include "pt_program.h"

#include <string.h>

enum { ACTORS_MAX = 16384 };

void
pt_make(pt_profile *p, uint32_t labels)
{
    memset(p, 0, sizeof *p);
    p->region.allocator = perf_allocator_libc();
    if (setjmp(p->region.no_memory))
        ck_abort_msg("no memory");
    p->model = (perfi_model){.region = &p->region, .line = &p->line};
    p->line.main = PERFI_NONE;
    p->line.loop_ids.count = 1;
    p->model.programs =
        perfi_region_take(&p->region, ACTORS_MAX, sizeof *p->model.programs);
    for (uint32_t i = 0; i < 2 + labels; i++)
        perfi_list_add(&p->region, &p->model.labels);
}

uint32_t
pt_make_future(pt_profile *p)
{
    return p->line.things.count++;
}

uint32_t
pt_make_actor(pt_profile *p, perf_actor kind)
{
    perfi_actor *a = perfi_list_add(&p->region, &p->line.actors);
    uint32_t number = (uint32_t)p->line.actors.count - 1;
    bool on_loop = kind >= PERF_ACTOR_TASK && kind <= PERF_ACTOR_IO;
    ck_assert_uint_lt(number, ACTORS_MAX);
    *a = (perfi_actor){.kind = (uint8_t)kind,
                       .thing = pt_make_future(p),
                       .loop = on_loop ? 1 : 0};
    if (kind == PERF_ACTOR_MAIN)
        p->line.main = number;
    return number;
}

uint32_t
pt_make_resource(pt_profile *p, perf_resource kind, uint32_t capacity)
{
    perfi_resource *r = perfi_list_add(&p->region, &p->line.resources);
    *r = (perfi_resource){.kind = kind, .capacity = capacity};
    return (uint32_t)p->line.resources.count - 1;
}

uint32_t
pt_thing(const pt_profile *p, uint32_t actor)
{
    return p->line.actors.item[actor].thing;
}

void
pt_make_program(pt_profile *p, uint32_t actor, const perfi_op *ops,
                size_t count)
{
    perfi_model *m = &p->model;
    perfi_range *range = &m->programs[actor].ops;
    range->first = (uint32_t)m->ops.count;
    for (size_t i = 0; i < count; i++) {
        perfi_op *op = perfi_list_add(&p->region, &m->ops);
        *op = ops[i];
        if (op->code == PERFI_OP_ACQUIRE)
            op->more = m->grants++;
    }
    range->end = m->programs[actor].whole_end = (uint32_t)m->ops.count;
}

void
pt_do_host(pt_profile *p, uint32_t main, const uint32_t *tasks, size_t n)
{
    uint32_t root = pt_make_actor(p, PERF_ACTOR_TASK);
    perfi_op *ops = perfi_region_take(&p->region, 2 * n, sizeof *ops);
    for (size_t i = 0; i < n; i++) {
        ops[i] = (perfi_op)pt_op(SPAWN, .what = tasks[i]);
        ops[n + i] = (perfi_op)pt_op(WAIT, .what = pt_thing(p, tasks[i]));
    }
    pt_make_program(p, root, ops, 2 * n);
    pt_do(p, main, pt_op(SPAWN, .what = root),
          pt_op(HOST, .what = pt_thing(p, root)));
}

static void
find_resolvers(pt_profile *p)
{
    perfi_model *m = &p->model;
    m->resolver = perfi_region_take(&p->region, p->line.things.count,
                                    sizeof *m->resolver);
    for (uint32_t a = 0; a < p->line.actors.count; a++) {
        perfi_range ops = m->programs[a].ops;
        m->resolver[pt_thing(p, a)] = a + 1;
        for (uint32_t i = ops.first; i < ops.end; i++)
            if (m->ops.item[i].code == PERFI_OP_RESOLVE)
                m->resolver[m->ops.item[i].what] = a + 1;
    }
}

perfi_outcome
pt_replay(pt_profile *p, const perfi_conditions *how)
{
    static const perfi_conditions as_it_was;
    if (!p->replay) {
        find_resolvers(p);
        if (!p->model.bodies_of)
            p->model.bodies_of =
                perfi_region_take(&p->region, p->line.resources.count,
                                  sizeof *p->model.bodies_of);
        p->replay = perfi_replay_make(&p->model, &p->region);
    }
    return perfi_replay_run(p->replay, how ? how : &as_it_was);
}

double
pt_replay_ms(pt_profile *p, const perfi_conditions *how)
{
    perfi_outcome o = pt_replay(p, how);
    ck_assert(!o.stuck);
    return (double)o.ns / (double)PT_MS;
}
