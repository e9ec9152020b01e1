/* drops.c - who is given up: whose time is over, who could not be in time, who
 * had to make room. */
#include "queue.h"

/* ---- times ---- */

/* An item that must have started by some time has until its end; one with a
 * deadline has until its beginning: what comes then is too late. */
static uint64_t
time_of(const perf_batch_item *item, int which)
{
    uint64_t time = item->deadline_ns ? item->deadline_ns : UINT64_MAX;
    if (which == PERFI_TIMES_RUNNING || !item->start_by_ns ||
        item->state == PERF_BATCH_ISOLATED) /* it had started in time */
        return time;
    uint64_t start = perfi_add(item->start_by_ns, 1);
    return start < time ? start : time;
}

void
perfi_times_add(perf_batch_queue *q, perf_batch_item *item, int which)
{
    item->numbers[PERFI_TIME] = time_of(item, which);
    if (item->numbers[PERFI_TIME] != UINT64_MAX) /* never */
        perfi_sorted_put(&q->times[which], item, PERFI_BY_TIME);
}

static uint64_t
first_time(const perf_batch_queue *q, int which)
{
    const perf_batch_item *item =
        perfi_sorted_first(&q->times[which], PERFI_BY_TIME);
    return item ? item->numbers[PERFI_TIME] : UINT64_MAX;
}

uint64_t
perfi_times_next(const perf_batch_queue *q)
{
    uint64_t waiting = first_time(q, PERFI_TIMES_WAITING);
    uint64_t running = first_time(q, PERFI_TIMES_RUNNING);
    return waiting < running ? waiting : running;
}

/* By deadlines alone: a batch that takes long can still start in time. */
perf_batch_item *
perfi_queue_late(const perf_batch_queue *q, uint64_t bound_ns)
{
    perf_batch_item *item =
        perfi_sorted_first(&q->times[PERFI_TIMES_WAITING], PERFI_BY_TIME);
    if (!bound_ns || !item || item->nested || !item->deadline_ns ||
        item->state != PERF_BATCH_QUEUED)
        return NULL;
    return item->deadline_ns < perfi_add(q->now_ns, bound_ns) ? item : NULL;
}

/* ---- giving up ---- */

static void
count_drop(perf_batch_stats *s, perf_batch_drop why)
{
    switch (why) {
    case PERF_BATCH_DROP_EXPIRED: s->expired++; break;
    case PERF_BATCH_DROP_INFEASIBLE: s->infeasible++; break;
    case PERF_BATCH_DROP_SHED: s->shed++; break;
    case PERF_BATCH_DROP_CLOSED: s->closed++; break;
    case PERF_BATCH_DROP_NONE: break;
    }
}

void
perfi_queue_drop(perf_batch_queue *q, perf_batch_item *item,
                 perf_batch_drop why)
{
    if (item->state == PERF_BATCH_RUNNING) {
        perfi_queue_stop(q, item);
    } else {
        perfi_queue_leave(q, item);
        q->weight_in -= item->weight;
    }
    item->state = PERF_BATCH_DROPPED;
    item->drop = (uint8_t)why;
    item->place |= PERFI_IN_DROPPED;
    count_drop(&q->stats, why);
    item->links[1] = NULL;
    *(q->dropped ? &q->last_dropped->links[1] : &q->dropped) = item;
    q->last_dropped = item;
}

void
perfi_queue_expire_timed(perf_batch_queue *q)
{
    bool any = false;
    for (int which = 0; which < 2; which++)
        while (first_time(q, which) <= q->now_ns) {
            perfi_sorted *times = &q->times[which];
            perf_batch_item *item = perfi_sorted_first(times, PERFI_BY_TIME);
            if (!item) /* at the end of time */
                break;
            perfi_queue_drop(q, item, PERF_BATCH_DROP_EXPIRED);
            any = true;
        }
    if (any)
        perfi_queue_admit(q);
}

perf_batch_item *
perf_batch_queue_dropped_at(perf_batch_queue *q, uint64_t now_ns)
{
    perfi_queue_clock(q, now_ns);
    perfi_queue_expire(q);
    perf_batch_item *item = q->dropped;
    if (!item)
        return NULL;
    q->dropped = item->links[1];
    item->place &= ~(uint32_t)PERFI_IN_DROPPED;
    return item;
}

void
perf_batch_queue_discard(perf_batch_queue *q)
{
    const perf_batch_drop why = PERF_BATCH_DROP_CLOSED;
    q->discarded = q->closed;
    while (q->arrivals.first)
        perfi_queue_drop(q, q->arrivals.first, why);
    while (q->nested.first)
        perfi_queue_drop(q, q->nested.first, why);
    for (int i = 0; i < 2; i++)
        while (q->groups[i].first)
            perfi_queue_drop(q, q->groups[i].first, why);
    while (q->room.first)
        perfi_queue_drop(q, q->room.first, why);
    q->full = false;
}
