/* merge_run.c - calls that are made together, in a replay: as a batcher does
 * that lets a batch go as soon as the one before it is done.
 *
 * The first who comes while nothing is under way gathers all who have come when
 * its turn is again; who comes later waits for the next batch. Of a batch the
 * longest call is made, by the actor whose it is; the others wait for its end,
 * and theirs are left out as flights.c does it. */
#include "replay_state.h"

static perfi_merge *
merge_of(perfi_replay *r, uint32_t span, uint32_t *label)
{
    uint32_t name = r->m->line->spans.item[span - 1].name;
    if (name == PERFI_NONE)
        return NULL;
    *label = r->m->label_of_name[name] - 1;
    return r->how->merged[*label] >= 1 ? &r->merges[*label] : NULL;
}

/* How long a call takes alone; what it set going counts where there is nothing
 * of its own. */
static double
recorded(const perfi_replay *r, uint32_t span)
{
    const perfi_span *s = &r->m->line->spans.item[span - 1];
    if (r->m->span_own[span])
        return (double)r->m->span_own[span];
    return s->end > s->begin ? (double)(s->end - s->begin) : 0;
}

/* ---- batches ---- */

static void
ride(perfi_replay *r, perfi_merge *m, uint32_t player)
{
    r->players[player].part = PERFI_RIDES;
    perfi_replay_wait(r, &m->riders, player);
}

/* `first` and all who wait, up to what a batch may be. Returns who leads. */
static uint32_t
gather(perfi_replay *r, perfi_merge *m, uint32_t label, uint32_t first)
{
    perfi_waiter w;
    uint32_t leader = first;
    double most = r->how->merged[label], all, longest;
    all = longest = recorded(r, r->players[first].merging);
    for (uint32_t n = 1; (double)n + 1 <= most; n++) {
        if (!perfi_replay_next(r, &m->queue, &w))
            break;
        double takes = recorded(r, r->players[w.player].merging);
        all += takes;
        ride(r, m, takes > longest ? leader : w.player);
        if (takes > longest) {
            longest = takes;
            leader = w.player;
        }
    }
    perfi_player *p = &r->players[leader];
    p->part = PERFI_LEADS;
    m->busy = true;
    m->paid = false;
    m->leader = p->merging;
    m->since = r->now;
    m->others = longest > 0 ? (all - longest) / longest : 0;
    return leader;
}

/* The batch is over, or its leader will never come: the next one goes. */
static void
let_go(perfi_replay *r, perfi_merge *m, perfi_part part)
{
    perfi_waiter w;
    while (perfi_replay_next(r, &m->riders, &w)) {
        r->players[w.player].part = (uint8_t)part;
        perfi_replay_ready(r, w.player);
    }
    m->leader = 0;
    m->busy = perfi_replay_next(r, &m->queue, &w);
    if (!m->busy)
        return;
    r->players[w.player].part = PERFI_GATHERS; /* what those who are let go
                                                  call next goes with it */
    perfi_replay_ready(r, w.player);
}

/* ---- operations ---- */

static perfi_next
come(perfi_replay *r, uint32_t player, perfi_merge *m, const perfi_op *op)
{
    perfi_player *p = &r->players[player];
    perfi_range ops = r->m->call_ops[op->span];
    if (!ops.end || ops.end > p->end || ops.end < p->at || /* damaged */
        (m->leader && perfi_flight_is_inside(r, op->span, m->leader)) ||
        !perfi_flight_can_skip(r, ops))
        return PERFI_GO_ON;
    p->merging = op->span;
    p->at--;
    if (m->busy) {
        p->part = PERFI_QUEUES;
        perfi_replay_wait(r, &m->queue, player);
    } else {
        p->part = PERFI_GATHERS;
        m->busy = true;
        perfi_replay_ready(r, player); /* after those whose turn it is now */
    }
    return PERFI_LEAVES;
}

perfi_next
perfi_merge_begin(perfi_replay *r, uint32_t player, const perfi_op *op)
{
    uint32_t label, leader;
    perfi_player *p = &r->players[player];
    perfi_merge *m = merge_of(r, op->span, &label);
    if (!m)
        return PERFI_GO_ON;
    switch (p->merging == op->span ? (perfi_part)p->part : PERFI_APART) {
    case PERFI_APART: return come(r, player, m, op);
    case PERFI_GATHERS:
        leader = gather(r, m, label, player);
        if (leader == player)
            return PERFI_GO_ON;
        p->at--;
        perfi_replay_ready(r, leader);
        return PERFI_LEAVES;
    case PERFI_ARRIVED:
        p->merging = 0;
        p->at = r->m->call_ops[op->span].end;
        perfi_flight_skip(r, player, r->m->call_ops[op->span]);
        return PERFI_GO_ON;
    default: return PERFI_GO_ON; /* it leads */
    }
}

/* What the others of the batch add to its time: on the CPU, where the calls
 * are. */
static perfi_next
pay(perfi_replay *r, uint32_t player, const perfi_merge *m, uint32_t label)
{
    const perfi_label *l = &r->m->labels.item[label];
    uint64_t extra =
        perfi_times(r->now - m->since, r->how->merged_each[label] * m->others);
    if (!extra)
        return PERFI_GO_ON;
    r->players[player].at--;
    if (l->cpu_ns > l->block_ns + l->delay_ns) {
        perfi_lock_claim(r, player, extra);
        return PERFI_KEEPS;
    }
    bool keeps = l->block_ns > l->delay_ns || !r->players[player].loop;
    perfi_agenda_add(r, r->now + extra,
                     keeps ? PERFI_DUE_RESUME : PERFI_DUE_READY, player);
    return keeps ? PERFI_KEEPS : PERFI_LEAVES;
}

perfi_next
perfi_merge_end(perfi_replay *r, uint32_t player, const perfi_op *op)
{
    uint32_t label;
    perfi_player *p = &r->players[player];
    perfi_merge *m = merge_of(r, op->span, &label);
    if (!m || m->leader != op->span || p->merging != op->span ||
        p->part != PERFI_LEADS)
        return PERFI_GO_ON;
    if (!m->paid) {
        m->paid = true;
        perfi_next next = pay(r, player, m, label);
        if (next != PERFI_GO_ON)
            return next;
    }
    p->merging = 0;
    let_go(r, m, PERFI_ARRIVED);
    return PERFI_GO_ON;
}

/* Nothing happens any more: leaders that were cancelled, or wait for those who
 * wait for them, are not waited for; who rode with them calls for itself. */
bool
perfi_merges_give_up(perfi_replay *r)
{
    bool any = false;
    for (uint32_t i = 0; r->how->merged && i < r->m->labels.count; i++) {
        perfi_merge *m = &r->merges[i];
        if (!m->busy || (!m->riders.first && !m->queue.first))
            continue;
        let_go(r, m, PERFI_LEADS);
        any = true;
    }
    return any;
}
