/* flights.c - what a cache would do, in a replay: of equal calls the first one
 * is computed; those that come meanwhile wait for it, later ones are answered
 * at once.
 *
 * Of a call that is answered nothing happens that takes time, neither in it nor
 * in whatever it sets going: these actors are hurried through. What they mean
 * for others happens all the same: futures that others wait for, places that
 * were taken before the call and are given back in it, items for queues. */
#include "replay_state.h"

enum {
    HIT_NS = 1000, /* an answer out of memory */
    DEPTH_MAX = 64 /* of spans: damaged ones may run in circles */
};

/* ---- what can be left out ---- */

/* A place that is taken here and given back in the same operations. */
static bool
is_given_back(const perfi_op *take, perfi_range ops)
{
    return take->ns && take->ns <= ops.end;
}

static bool
was_taken_here(const perfi_op *give, perfi_range ops)
{
    return give->ns > ops.first;
}

/* Who keeps a place, or takes what others put there, cannot be left out. */
bool
perfi_flight_can_skip(const perfi_replay *r, perfi_range ops)
{
    for (uint32_t i = ops.first; i < ops.end; i++) {
        const perfi_op *op = &r->m->ops.item[i];
        if (op->code == PERFI_OP_GET || op->code == PERFI_OP_TAKE ||
            op->code == PERFI_OP_NEVER ||
            (op->code == PERFI_OP_ACQUIRE && !is_given_back(op, ops)))
            return false;
    }
    return true;
}

/* ---- hurrying ---- */

static void
set_going(perfi_replay *r, uint32_t actor)
{
    *perfi_list_add(r->region, &r->hurried) = actor;
}

/* What the operations mean for others. */
static void
hurry(perfi_replay *r, uint32_t player, perfi_range ops)
{
    uint32_t resources = (uint32_t)r->m->line->resources.count;
    for (uint32_t i = ops.first; i < ops.end; i++) {
        const perfi_op *op = &r->m->ops.item[i];
        switch ((perfi_op_code)op->code) {
        case PERFI_OP_SPAWN:
        case PERFI_OP_TIMER:
        case PERFI_OP_SLOT:
        case PERFI_OP_SUBMIT: set_going(r, op->what); break;
        case PERFI_OP_RESOLVE: perfi_replay_resolve(r, op->what); break;
        case PERFI_OP_CANCEL: perfi_operation(r, player, op); break;
        case PERFI_OP_RELEASE:
            if (op->what < resources && !was_taken_here(op, ops))
                perfi_stock_release(r, player, op);
            break;
        case PERFI_OP_PUT:
            if (op->what < resources)
                perfi_stock_force(r, op);
            break;
        case PERFI_OP_TASK_DONE:
            if (op->what < resources)
                perfi_stock_task_done(r, op);
            break;
        default: break;
        }
    }
}

/* An actor that an answered call would have made: over before it began. */
static void
hurry_actor(perfi_replay *r, uint32_t actor)
{
    perfi_player *p = &r->players[actor];
    const perfi_program *program = &r->m->programs[actor];
    if (p->done || p->started || p->queued || p->at != program->ops.first)
        return;
    if (program->worker_of || !perfi_flight_can_skip(r, program->ops)) {
        perfi_replay_ready(r, actor);
        return;
    }
    perfi_replay_start(r, actor);
    perfi_range ops = {p->at, p->end};
    p->done = true;
    hurry(r, actor, ops);
    perfi_replay_resolve(r, r->m->line->actors.item[actor].thing);
}

void
perfi_flight_skip(perfi_replay *r, uint32_t player, perfi_range ops)
{
    r->hurried.count = 0;
    hurry(r, player, ops);
    for (size_t i = 0; i < r->hurried.count; i++)
        hurry_actor(r, r->hurried.item[i]);
}

/* ---- flights ---- */

/* NULL: not a call that is to be cached. */
static perfi_flight *
flight_of(perfi_replay *r, uint32_t span, const perfi_call **call)
{
    const perfi_model *m = r->m;
    uint32_t number = m->call_of[span];
    uint32_t name = m->line->spans.item[span - 1].name;
    if (!number || !r->how->cached[m->label_of_name[name] - 1])
        return NULL;
    *call = &m->calls.item[number - 1];
    return &r->flights[(*call)->set];
}

/* Who calls itself computes, or it would wait for itself: in the leader's own
 * operations, or in what it set going. */
bool
perfi_flight_is_inside(const perfi_replay *r, uint32_t span, uint32_t outer)
{
    const perfi_model *m = r->m;
    perfi_range around = m->call_ops[outer];
    uint32_t first = m->call_ops[span].first;
    if (around.first <= first && first < around.end)
        return true;
    for (int up = 0; span && span != outer && up < DEPTH_MAX; up++)
        span = m->line->spans.item[span - 1].parent;
    return span == outer;
}

perfi_next
perfi_flight_begin(perfi_replay *r, uint32_t player, const perfi_op *op)
{
    const perfi_call *call;
    perfi_player *p = &r->players[player];
    perfi_flight *f = flight_of(r, op->span, &call);
    if (!f)
        return PERFI_GO_ON;
    if (!f->leader) {
        f->leader = op->span;
        return PERFI_GO_ON;
    }
    if (call->ops.end > p->end || call->ops.end < p->at || /* damaged */
        perfi_flight_is_inside(r, op->span, f->leader) ||
        !perfi_flight_can_skip(r, call->ops))
        return PERFI_GO_ON;
    if (!f->landed) {
        perfi_replay_wait(r, &f->line, player);
        p->at--;
        return PERFI_LEAVES;
    }
    p->at = call->ops.end;
    perfi_flight_skip(r, player, call->ops);
    perfi_lock_claim(r, player, HIT_NS);
    return PERFI_KEEPS;
}

void
perfi_flight_end(perfi_replay *r, const perfi_op *op)
{
    const perfi_call *call;
    perfi_flight *f = flight_of(r, op->span, &call);
    if (!f || f->leader != op->span || f->landed)
        return;
    f->landed = true;
    perfi_waiter w;
    while (perfi_replay_next(r, &f->line, &w))
        perfi_replay_ready(r, w.player);
}

/* Nothing happens any more: leaders that wait for those who wait for them are
 * given up, one of these leads. */
bool
perfi_flights_give_up(perfi_replay *r)
{
    bool any = false;
    for (uint32_t i = 0; r->how->cached && i < r->m->call_sets; i++) {
        perfi_waiter w;
        perfi_flight *f = &r->flights[i];
        if (f->landed || !perfi_replay_next(r, &f->line, &w))
            continue;
        f->leader = 0;
        perfi_replay_ready(r, w.player);
        any = true;
    }
    return any;
}
