/* operations.c - what each operation does in a replay. */
#include "replay_state.h"

/* Of a changed time the fractions of nanoseconds are carried on: many short
 * operations that get a little faster are faster together. */
static uint64_t
own_time(const perfi_replay *r, perfi_player *p, const perfi_op *op)
{
    double factor = r->how->scale ? r->how->scale[op->label] : 1.0;
    if (r->how->span_scale)
        factor *= r->how->span_scale[op->span];
    if (p->holds)
        factor *= 0.5;
    if (factor == 1.0)
        return op->ns;
    double exact = (double)op->ns * factor + p->rest_ns;
    uint64_t whole = perfi_times(1, exact);
    p->rest_ns = exact - (double)whole;
    return whole;
}

static perfi_next
wait_for(perfi_replay *r, uint32_t player, uint32_t thing)
{
    if (thing >= r->m->line->things.count)
        return PERFI_GO_ON;
    if (r->done[thing])
        return PERFI_GO_ON;
    perfi_replay_wait(r, &r->awaited[thing], player);
    return PERFI_LEAVES;
}

/* Sets are waited for again and again: what was done once is not looked at
 * any more. */
static perfi_next
wait_for_count(perfi_replay *r, uint32_t player, const perfi_op *op)
{
    uint32_t *keys = r->keys + op->what, all = (uint32_t)op->more;
    uint32_t done = r->keys_done[op->what];
    for (uint32_t i = done; i < all; i++) {
        uint32_t key = keys[i];
        if (!r->done[key])
            continue;
        keys[i] = keys[done];
        keys[done++] = key;
    }
    r->keys_done[op->what] = done;
    uint32_t wanted = op->ns < all ? (uint32_t)op->ns : all;
    if (done >= wanted)
        return PERFI_GO_ON;
    *perfi_list_add(r->region, &r->counters) = wanted - done;
    uint32_t counter = (uint32_t)r->counters.count;
    for (uint32_t i = done; i < all; i++)
        perfi_replay_wait(r, &r->awaited[keys[i]], player)->counter = counter;
    return PERFI_LEAVES;
}

/* A clone of a worker: takes items, has no program of its own. */
static void
add_clone(perfi_replay *r, uint32_t of)
{
    if (r->players_made == r->players_room)
        return;
    const perfi_program *program = &r->m->programs[of];
    uint32_t number = r->players_made++;
    r->players[number] = (perfi_player){
        .at = program->ops.end - 1, /* its TAKE */
        .end = program->ops.end,
        .loop = r->players[of].loop,
        .thread = number,
        .started = true,
        .is_clone = true,
    };
    perfi_replay_ready(r, number);
}

static void
spawn(perfi_replay *r, uint32_t actor)
{
    uint32_t queue = r->m->programs[actor].worker_of;
    if (queue && queue == r->how->more_workers)
        add_clone(r, actor);
    uint32_t argument = r->m->line->actors.item[actor].argument;
    if (argument && !r->done[argument - 1] && r->m->resolver[argument - 1])
        perfi_replay_wait(r, &r->awaited[argument - 1], actor);
    else
        perfi_replay_ready(r, actor);
}

static void
start_timer(perfi_replay *r, perfi_player *p, const perfi_op *op)
{
    perfi_agenda_add(r, r->now + own_time(r, p, op) + op->more, PERFI_DUE_READY,
                     op->what);
}

/* Slots do not get shorter because calls get faster: only the rate counts. */
static void
start_slot(perfi_replay *r, const perfi_op *op)
{
    uint32_t number = r->m->labels.item[op->label].limiter - 1;
    double factor = r->how->gap ? r->how->gap[number] : 1.0;
    uint64_t first = r->now + perfi_times(op->ns, factor);
    uint64_t slot = r->next_slot[number] ? r->next_slot[number] : first;
    if (slot < r->now)
        slot = r->now;
    r->next_slot[number] =
        slot + perfi_times(r->m->limiters.item[number].gap_ns, factor);
    perfi_agenda_add(r, slot + op->more, PERFI_DUE_READY, op->what);
}

/* Who is cancelled goes on where it did; or not, when it is past that already:
 * nothing happens twice, and a replay comes to its end. */
static void
cancel(perfi_replay *r, uint32_t by, const perfi_op *op)
{
    perfi_player *p = &r->players[op->what];
    const perfi_program *program = &r->m->programs[op->what];
    perfi_range to = program->epilogue;
    if (!to.end)
        to = (perfi_range){(uint32_t)op->more - 1, program->whole_end};
    bool in_own_program = !program->worker_of || p->cancelled;
    if (p->done || op->what == by || (!program->epilogue.end && !op->more) ||
        (in_own_program && to.first < p->at))
        return;
    p->at = to.first;
    p->end = to.end;
    p->then_at = p->then_end = 0;
    p->epoch++;
    p->started = p->cancelled = true;
    perfi_replay_ready(r, op->what);
}

static perfi_next
host(perfi_replay *r, uint32_t player, const perfi_op *op)
{
    if (r->done[op->what] || op->more >= r->m->line->loop_ids.count)
        return PERFI_GO_ON;
    perfi_loop *l = &r->loops[op->more];
    l->host = player + 1;
    l->busy = false;
    r->players[player].hosts = (uint32_t)op->more + 1;
    perfi_replay_wait(r, &r->awaited[op->what], player);
    perfi_replay_set_turn(r, (uint32_t)op->more);
    return PERFI_LEAVES;
}

/* The next item, and what is to be done with it. */
static perfi_next
take(perfi_replay *r, uint32_t player, const perfi_op *op)
{
    uint64_t item;
    perfi_player *p = &r->players[player];
    p->at--; /* again, when there is an item or after its body */
    if (!perfi_stock_take(r, player, op, &item))
        return PERFI_LEAVES;
    perfi_range all = r->m->bodies_of[op->what];
    if (item >= all.end - all.first)
        return PERFI_GO_ON;
    const perfi_body *body = &r->m->bodies.item[all.first + item];
    if (body->is_final && p->is_clone) { /* the others need it to end */
        p->done = true;
        perfi_stock_give_back(r, op->what);
        return PERFI_LEAVES;
    }
    if (!body->is_final) {
        p->then_at = p->at;
        p->then_end = p->end;
    }
    p->at = body->ops.first;
    p->end = body->ops.end;
    return PERFI_GO_ON;
}

/* Siblings side by side: the first sets the others going; where one of them
 * would have come, it is waited for. */
static perfi_next
begin(perfi_replay *r, uint32_t player, const perfi_op *op)
{
    const perfi_model *m = r->m;
    perfi_player *p = &r->players[player];
    uint32_t name = m->line->spans.item[op->span - 1].name;
    if (!m->sibling_of[op->span] ||
        m->label_of_name[name] != r->how->side_by_side)
        return PERFI_GO_ON;
    uint32_t number = m->sibling_of[op->span] - 1;
    const perfi_sibling *s = &m->siblings.item[number];
    if (s->count && !r->sibling_is[number]) {
        for (uint32_t i = number + 1; i < number + s->count; i++)
            perfi_replay_set_going(r, player, i);
        r->sibling_is[number] = PERFI_SIBLING_RUNS;
        return PERFI_GO_ON;
    }
    if (!r->sibling_is[number] || p->serves == number + 1 || s->count)
        return PERFI_GO_ON;
    if (s->ops.end < p->at) /* damaged */
        return PERFI_GO_ON;
    if (r->sibling_is[number] == PERFI_SIBLING_DONE) {
        p->at = s->ops.end;
        return PERFI_GO_ON;
    }
    perfi_replay_wait(r, &r->sibling_line[number], player);
    p->at--;
    return PERFI_LEAVES;
}

perfi_next
perfi_operation(perfi_replay *r, uint32_t player, const perfi_op *op)
{
    perfi_player *p = &r->players[player];
    uint64_t ns, item;
    bool resource = op->what < r->m->line->resources.count;
    switch ((perfi_op_code)op->code) {
    case PERFI_OP_NONE: return PERFI_GO_ON;
    case PERFI_OP_BEGIN:
        if (r->how->cached) {
            perfi_next next = perfi_flight_begin(r, player, op);
            if (next != PERFI_GO_ON)
                return next;
        }
        if (r->how->merged) {
            perfi_next next = perfi_merge_begin(r, player, op);
            if (next != PERFI_GO_ON)
                return next;
        }
        return r->how->side_by_side ? begin(r, player, op) : PERFI_GO_ON;
    case PERFI_OP_END:
        if (r->how->cached)
            perfi_flight_end(r, op);
        return r->how->merged ? perfi_merge_end(r, player, op) : PERFI_GO_ON;
    case PERFI_OP_RUN:
        ns = own_time(r, p, op);
        if (!ns)
            return PERFI_GO_ON;
        perfi_lock_claim(r, player, ns);
        return PERFI_KEEPS;
    case PERFI_OP_BLOCK:
        perfi_agenda_add(r, r->now + own_time(r, p, op), PERFI_DUE_RESUME,
                         player);
        return PERFI_KEEPS;
    case PERFI_OP_WAIT: return wait_for(r, player, op->what);
    case PERFI_OP_DELAY:
        perfi_agenda_add(r, r->now + own_time(r, p, op), PERFI_DUE_READY,
                         player);
        return PERFI_LEAVES;
    case PERFI_OP_NEVER: return PERFI_LEAVES;
    case PERFI_OP_YIELD: perfi_replay_ready(r, player); return PERFI_LEAVES;
    case PERFI_OP_SPAWN: spawn(r, op->what); return PERFI_GO_ON;
    case PERFI_OP_TIMER: start_timer(r, p, op); return PERFI_GO_ON;
    case PERFI_OP_SLOT: start_slot(r, op); return PERFI_GO_ON;
    case PERFI_OP_RESOLVE:
        perfi_replay_resolve(r, op->what);
        return PERFI_GO_ON;
    case PERFI_OP_CANCEL: cancel(r, player, op); return PERFI_GO_ON;
    case PERFI_OP_HOST: return host(r, player, op);
    case PERFI_OP_COUNT: return wait_for_count(r, player, op);
    case PERFI_OP_SUBMIT:
        if (op->more < r->m->line->resources.count)
            perfi_stock_submit(r, op);
        return PERFI_GO_ON;
    default: break;
    }
    if (!resource)
        return PERFI_GO_ON;
    switch ((perfi_op_code)op->code) {
    case PERFI_OP_ITEM: return perfi_batcher_item(r, op);
    case PERFI_OP_BATCH_BEGIN: return perfi_batcher_begin(r, player, op);
    case PERFI_OP_PUMP: return perfi_batcher_pump(r, player, op);
    case PERFI_OP_ACQUIRE:
        return perfi_stock_acquire(r, player, op) ? PERFI_GO_ON : PERFI_LEAVES;
    case PERFI_OP_RELEASE:
        perfi_stock_release(r, player, op);
        return PERFI_GO_ON;
    case PERFI_OP_PUT:
        if (perfi_stock_put(r, player, op))
            return PERFI_GO_ON;
        p->at--;
        return PERFI_LEAVES;
    case PERFI_OP_GET:
        if (perfi_stock_take(r, player, op, &item))
            return PERFI_GO_ON;
        p->at--;
        return PERFI_LEAVES;
    case PERFI_OP_TAKE: return take(r, player, op);
    case PERFI_OP_TASK_DONE: perfi_stock_task_done(r, op); return PERFI_GO_ON;
    case PERFI_OP_JOIN:
        return perfi_stock_join(r, player, op) ? PERFI_GO_ON : PERFI_LEAVES;
    case PERFI_OP_WAIT_EXECUTOR:
        return perfi_stock_wait_idle(r, player, op) ? PERFI_GO_ON
                                                    : PERFI_LEAVES;
    default: return PERFI_GO_ON;
    }
}
