/* stock.c - things with a capacity, in a replay: semaphores and locks, queues,
 * executors. First come, first served. */
#include "replay_state.h"

/* ---- semaphores and locks ---- */

static bool
is_shortened(const perfi_replay *r, uint32_t resource, uint32_t grant)
{
    return r->how->shorter_holds == resource + 1 && r->how->contended &&
           r->how->contended[grant];
}

static void
hand(perfi_replay *r, uint32_t player, uint32_t resource, uint32_t grant)
{
    perfi_stock *s = &r->stocks[resource];
    r->grant_player[grant] = player;
    r->grant_next[grant] = s->held;
    s->held = grant + 1;
    if (is_shortened(r, resource, grant))
        r->players[player].holds++;
}

bool
perfi_stock_acquire(perfi_replay *r, uint32_t player, const perfi_op *op)
{
    perfi_stock *s = &r->stocks[op->what];
    uint32_t grant = (uint32_t)op->more;
    if (s->free && !s->takers.first) {
        s->free--;
        hand(r, player, op->what, grant);
        return true;
    }
    /* those behind one that is marked are marked */
    for (uint32_t g = s->held; g && !r->contended[g - 1];
         g = r->grant_next[g - 1])
        r->contended[g - 1] = true;
    perfi_replay_wait(r, &s->takers, player)->grant = grant;
    return false;
}

/* The grant of this player, else the newest: some release what others took. */
static void
take_back(perfi_replay *r, perfi_stock *s, uint32_t player, uint32_t resource)
{
    uint32_t *link = &s->held;
    while (*link && r->grant_player[*link - 1] != player)
        link = &r->grant_next[*link - 1];
    if (!*link)
        link = &s->held;
    if (!*link)
        return;
    uint32_t grant = *link - 1;
    *link = r->grant_next[grant];
    perfi_player *p = &r->players[r->grant_player[grant]];
    if (is_shortened(r, resource, grant) && p->holds)
        p->holds--;
}

void
perfi_stock_release(perfi_replay *r, uint32_t player, const perfi_op *op)
{
    perfi_stock *s = &r->stocks[op->what];
    perfi_waiter next;
    take_back(r, s, player, op->what);
    if (!perfi_replay_next(r, &s->takers, &next)) {
        s->free++;
        return;
    }
    s->waited_ns += r->now - next.since;
    r->contended[next.grant] = true;
    hand(r, next.player, op->what, next.grant);
    perfi_replay_ready(r, next.player);
}

/* ---- queues ---- */

static void
wake_one(perfi_replay *r, perfi_line *line, perfi_stock *s)
{
    perfi_waiter next;
    if (!perfi_replay_next(r, line, &next))
        return;
    if (s)
        s->waited_ns += r->now - next.since;
    perfi_replay_ready(r, next.player);
}

void
perfi_stock_force(perfi_replay *r, const perfi_op *op)
{
    perfi_stock *s = &r->stocks[op->what];
    s->available++;
    s->unfinished++;
    wake_one(r, &s->takers, NULL);
}

bool
perfi_stock_put(perfi_replay *r, uint32_t player, const perfi_op *op)
{
    perfi_stock *s = &r->stocks[op->what];
    if (s->limit && s->available >= s->limit) {
        perfi_replay_wait(r, &s->putters, player);
        return false;
    }
    perfi_stock_force(r, op);
    return true;
}

bool
perfi_stock_take(perfi_replay *r, uint32_t player, const perfi_op *op,
                 uint64_t *item)
{
    perfi_stock *s = &r->stocks[op->what];
    if (!s->available) {
        perfi_replay_wait(r, &s->takers, player);
        return false;
    }
    s->available--;
    *item = s->next_item++;
    wake_one(r, &s->putters, s);
    return true;
}

void
perfi_stock_give_back(perfi_replay *r, uint32_t queue)
{
    perfi_stock *s = &r->stocks[queue];
    s->available++;
    s->next_item--;
    wake_one(r, &s->takers, NULL);
}

void
perfi_stock_task_done(perfi_replay *r, const perfi_op *op)
{
    perfi_stock *s = &r->stocks[op->what];
    perfi_waiter next;
    if (s->unfinished && --s->unfinished)
        return;
    while (perfi_replay_next(r, &s->joiners, &next))
        perfi_replay_ready(r, next.player);
}

bool
perfi_stock_join(perfi_replay *r, uint32_t player, const perfi_op *op)
{
    perfi_stock *s = &r->stocks[op->what];
    if (!s->unfinished)
        return true;
    perfi_replay_wait(r, &s->joiners, player);
    return false;
}

/* ---- executors ---- */

void
perfi_stock_submit(perfi_replay *r, const perfi_op *op)
{
    perfi_stock *s = &r->stocks[op->more];
    s->pending++;
    if (!s->free) {
        perfi_replay_wait(r, &s->takers, op->what);
        return;
    }
    s->free--;
    perfi_agenda_add(r, r->now, PERFI_DUE_STEP, op->what);
}

void
perfi_stock_worked(perfi_replay *r, uint32_t executor)
{
    perfi_stock *s = &r->stocks[executor];
    perfi_waiter next;
    if (s->pending)
        s->pending--;
    if (perfi_replay_next(r, &s->takers, &next)) {
        s->waited_ns += r->now - next.since;
        perfi_agenda_add(r, r->now, PERFI_DUE_STEP, next.player);
    } else {
        s->free++;
    }
    while (!s->pending && perfi_replay_next(r, &s->joiners, &next))
        perfi_replay_ready(r, next.player);
}

bool
perfi_stock_wait_idle(perfi_replay *r, uint32_t player, const perfi_op *op)
{
    perfi_stock *s = &r->stocks[op->what];
    if (!s->pending)
        return true;
    perfi_replay_wait(r, &s->joiners, player);
    return false;
}
