/* players.c - actors in a replay: they wait, run one after the other on a loop,
 * set others going, end. */
#include "replay_state.h"

/* ---- waiting ---- */

perfi_waiter *
perfi_replay_wait(perfi_replay *r, perfi_line *line, uint32_t player)
{
    uint32_t number = r->free_waiter;
    if (number) {
        r->free_waiter = r->waiters.item[number - 1].next;
    } else {
        perfi_list_add(r->region, &r->waiters);
        number = (uint32_t)r->waiters.count;
    }
    perfi_waiter *w = &r->waiters.item[number - 1];
    *w = (perfi_waiter){
        .player = player, .epoch = r->players[player].epoch, .since = r->now};
    if (line->last)
        r->waiters.item[line->last - 1].next = number;
    else
        line->first = number;
    line->last = number;
    return w;
}

static bool
first_waiter(perfi_replay *r, perfi_line *line, perfi_waiter *out)
{
    uint32_t number = line->first;
    if (!number)
        return false;
    perfi_waiter *w = &r->waiters.item[number - 1];
    *out = *w;
    line->first = w->next;
    if (!line->first)
        line->last = 0;
    w->next = r->free_waiter;
    r->free_waiter = number;
    return true;
}

bool
perfi_replay_next(perfi_replay *r, perfi_line *line, perfi_waiter *out)
{
    while (first_waiter(r, line, out)) {
        const perfi_player *p = &r->players[out->player];
        if (p->epoch == out->epoch && !p->done)
            return true;
    }
    return false;
}

/* ---- loops ---- */

void
perfi_replay_set_turn(perfi_replay *r, uint32_t loop)
{
    perfi_loop *l = &r->loops[loop];
    if (l->busy || l->on_agenda)
        return;
    l->on_agenda = true;
    perfi_agenda_add(r, r->now, PERFI_DUE_DRIVE, loop);
}

static void
append(perfi_replay *r, perfi_turn *turn, uint32_t player)
{
    perfi_player *p = &r->players[player];
    p->ready_at = r->now;
    p->next = 0;
    if (turn->last)
        r->players[turn->last - 1].next = player + 1;
    else
        turn->first = player + 1;
    turn->last = player + 1;
}

static bool
take_first(perfi_replay *r, perfi_turn *turn, uint32_t *player)
{
    if (!turn->first)
        return false;
    *player = turn->first - 1;
    turn->first = r->players[*player].next;
    if (!turn->first)
        turn->last = 0;
    return true;
}

static void
enqueue(perfi_replay *r, uint32_t player, uint32_t loop)
{
    if (r->players[player].queued)
        return;
    r->players[player].queued = true;
    append(r, &r->loops[loop].ready, player);
    r->loops[loop].count++;
    perfi_replay_set_turn(r, loop);
}

void
perfi_replay_ready(perfi_replay *r, uint32_t player)
{
    perfi_player *p = &r->players[player];
    if (p->done || p->queued)
        return;
    if (!p->loop) {
        perfi_agenda_add(r, r->now, PERFI_DUE_STEP, player);
        return;
    }
    enqueue(r, player, p->loop - 1);
}

void
perfi_replay_due(perfi_replay *r, uint32_t player)
{
    perfi_player *p = &r->players[player];
    if (!p->loop || p->done || p->queued) {
        perfi_replay_ready(r, player);
        return;
    }
    p->queued = true;
    append(r, &r->loops[p->loop - 1].due, player);
    perfi_replay_set_turn(r, p->loop - 1);
}

/* A host comes back through the queue of its loop. */
static void
wake(perfi_replay *r, uint32_t player)
{
    perfi_player *p = &r->players[player];
    if (p->hosts)
        enqueue(r, player, p->hosts - 1);
    else
        perfi_replay_ready(r, player);
}

void
perfi_replay_resolve(perfi_replay *r, uint32_t thing)
{
    if (thing >= r->m->line->things.count || r->done[thing])
        return;
    r->done[thing] = true;
    perfi_waiter w;
    while (first_waiter(r, &r->awaited[thing], &w)) {
        if (r->players[w.player].epoch != w.epoch)
            continue;
        if (w.counter && --r->counters.item[w.counter - 1])
            continue;
        r->players[w.player].epoch++;
        wake(r, w.player);
    }
}

/* ---- actors ---- */

void
perfi_replay_set_going(perfi_replay *r, uint32_t player, uint32_t sibling)
{
    if (r->players_made == r->players_room)
        return;
    const perfi_sibling *s = &r->m->siblings.item[sibling];
    uint32_t number = r->players_made++;
    r->players[number] = (perfi_player){
        .at = s->ops.first + 1,
        .end = s->ops.end,
        .loop = r->players[player].loop,
        .thread = number,
        .serves = sibling + 1,
        .started = true,
        .is_clone = true,
    };
    r->sibling_is[sibling] = PERFI_SIBLING_RUNS;
    perfi_replay_ready(r, number);
}

static void
finish(perfi_replay *r, uint32_t player)
{
    perfi_player *p = &r->players[player];
    p->done = true;
    if (p->serves) {
        perfi_waiter w;
        r->sibling_is[p->serves - 1] = PERFI_SIBLING_DONE;
        while (perfi_replay_next(r, &r->sibling_line[p->serves - 1], &w))
            perfi_replay_ready(r, w.player);
    }
    if (p->is_clone)
        return;
    const perfi_actor *a = &r->m->line->actors.item[player];
    perfi_replay_resolve(r, a->thing);
    if (a->executor)
        perfi_stock_worked(r, a->executor - 1);
    if (player == r->m->line->main)
        r->ended = true;
}

/* Run it until it keeps its thread busy or gives it up. */
perfi_next
perfi_replay_step(perfi_replay *r, uint32_t player)
{
    perfi_player *p = &r->players[player];
    for (;;) {
        if (p->at < p->end) {
            perfi_next n = perfi_operation(r, player, &r->m->ops.item[p->at++]);
            if (n != PERFI_GO_ON)
                return n;
        } else if (p->then_end) {
            p->at = p->then_at;
            p->end = p->then_end;
            p->then_at = p->then_end = 0;
        } else {
            finish(r, player);
            return PERFI_LEAVES;
        }
    }
}

/* Callbacks that count: the n-th call has the n-th's effects. */
void
perfi_replay_start(perfi_replay *r, uint32_t player)
{
    perfi_player *p = &r->players[player];
    p->started = true;
    uint32_t group = p->is_clone ? 0 : r->m->line->actors.item[player].group;
    if (!group)
        return;
    const perfi_group *g = &r->m->groups.item[group - 1];
    uint32_t call = r->calls[group - 1]++;
    if (call >= g->count)
        return;
    perfi_range ops = r->m->programs[r->m->ordinal[g->first + call]].ops;
    p->at = ops.first;
    p->end = ops.end;
}

/* As asyncio does: what is ready when an iteration begins runs in it; what
 * becomes ready meanwhile runs in the next, timers after callbacks. */
static bool
next_in_turn(perfi_replay *r, perfi_loop *l, uint32_t *player)
{
    if (!l->left) {
        uint32_t due;
        while (take_first(r, &l->due, &due)) {
            uint64_t since = r->players[due].ready_at;
            append(r, &l->ready, due);
            r->players[due].ready_at = since;
            l->count++;
        }
        l->left = l->count;
    }
    if (!take_first(r, &l->ready, player))
        return false;
    l->left--;
    l->count--;
    return true;
}

void
perfi_replay_drive(perfi_replay *r, uint32_t loop)
{
    perfi_loop *l = &r->loops[loop];
    uint32_t player;
    while (l->host && !l->busy && next_in_turn(r, l, &player)) {
        perfi_player *p = &r->players[player];
        r->outcome.lag_ns += r->now - p->ready_at;
        p->queued = false;
        if (p->done)
            continue;
        if (player + 1 == l->host) {
            l->host = 0;
            p->hosts = 0;
            perfi_replay_step(r, player);
            return;
        }
        l->busy = true;
        p->thread = r->players[l->host - 1].thread;
        if (!p->started)
            perfi_replay_start(r, player);
        if (perfi_replay_step(r, player) == PERFI_KEEPS)
            return;
        l->busy = false;
    }
}

void
perfi_replay_resume(perfi_replay *r, uint32_t player)
{
    uint32_t loop = r->players[player].loop;
    if (perfi_replay_step(r, player) == PERFI_KEEPS || !loop)
        return;
    r->loops[loop - 1].busy = false;
    perfi_replay_drive(r, loop - 1);
}
