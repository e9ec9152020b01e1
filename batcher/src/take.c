/* take.c - when a batch goes, and with whom. */
#include "queue.h"

/* ---- when ---- */

typedef struct plan {
    uint64_t when_ns; /* it goes; UINT64_MAX: nobody waits */
    perf_batch_reason reason;
    uint32_t most; /* items */
} plan;

uint64_t
perfi_queue_bound(const perf_batch_queue *q, const perf_batch *batch,
                  uint32_t items)
{
    uint64_t most = q->config.max_weight, weight = 0;
    uint64_t there = (batch ? batch->items : 0) + (uint64_t)q->waiting;
    if (most && there) {
        double all = batch ? (double)batch->weight : 0;
        all += (double)q->waiting_weight;
        double about = all / (double)there * (double)items;
        weight = about < (double)most ? (uint64_t)about : most;
    }
    return perfi_batch_control_bound(q->control, items, weight);
}

static uint64_t
latest_start(uint64_t submitted_ns, uint64_t time_ns)
{
    return submitted_ns + (time_ns - submitted_ns) / 2;
}

/* Until when it can wait for more without being late for somebody. All that
 * wait would go now, so that the first time is that of one of them. Where it is
 * not known how long a batch takes, half of the time that an item was given. */
static uint64_t
slack_until(const perf_batch_queue *q)
{
    const perf_batch_item *item =
        perfi_sorted_first(&q->times[PERFI_TIMES_WAITING], PERFI_BY_TIME);
    if (!item)
        return UINT64_MAX;
    uint64_t time = item->numbers[PERFI_TIME];
    uint64_t bound = perfi_queue_bound(q, NULL, q->waiting + 1);
    if (!bound || time != item->deadline_ns)
        return latest_start(item->submitted_ns, time);
    return time > bound ? time - bound : 0;
}

/* It is worth to wait for more, but not for ever. */
static plan
wait_for_more(const perf_batch_queue *q, uint32_t wanted, uint32_t most)
{
    uint64_t oldest = q->arrivals.first->submitted_ns;
    uint64_t until = perfi_add(oldest, q->config.max_wait_ns);
    if (q->waiting >= q->config.min_items) {
        uint64_t patience =
            perfi_batch_control_patience(q->control, wanted - q->waiting);
        uint64_t enough = perfi_add(q->latest_ns, patience);
        until = enough < until ? enough : until;
    }
    uint64_t slack = slack_until(q);
    if (slack < until)
        return (plan){slack, PERF_BATCH_REASON_DEADLINE, most};
    return (plan){until, PERF_BATCH_REASON_WAIT, most};
}

static bool
is_full(const perf_batch_queue *q, uint32_t most)
{
    uint64_t weight = q->config.max_weight;
    return q->waiting >= most || (weight && q->waiting_weight >= weight) ||
           q->full || q->stats.queued >= q->config.max_queued;
}

static plan
plan_next(const perf_batch_queue *q)
{
    if (!q->waiting)
        return (plan){UINT64_MAX, PERF_BATCH_REASON_IDLE, 0};
    uint32_t most = perfi_batch_control_max_items(q->control, q->waiting);
    if (is_full(q, most))
        return (plan){q->now_ns, PERF_BATCH_REASON_FULL, most};
    if (q->closed)
        return (plan){q->now_ns, PERF_BATCH_REASON_DRAIN, most};
    uint32_t wanted = perfi_batch_control_min_items(q->control, q->slots_used);
    if (wanted < q->config.min_items)
        wanted = q->config.min_items;
    if (q->waiting < wanted)
        return wait_for_more(q, wanted, most);
    perf_batch_reason reason =
        wanted > 1 ? PERF_BATCH_REASON_ENOUGH : PERF_BATCH_REASON_IDLE;
    return (plan){q->now_ns, reason, most};
}

/* ---- into a batch ---- */

/* It is out of the queue already. */
static void
join(perf_batch_queue *q, perf_batch *batch, perf_batch_item *item)
{
    uint64_t waited = q->now_ns - item->numbers[PERFI_SINCE];
    q->stats.wait_ns += waited;
    perfi_values_add(&q->waits, waited);
    q->stats.running++;
    q->stats.items_taken++;
    q->stats.weight_taken += item->weight;
    item->state = PERF_BATCH_RUNNING;
    item->attempts++;
    item->place |= PERFI_IN_BATCH;
    item->taken_ns = item->numbers[PERFI_SINCE] = q->now_ns;
    perfi_times_put(q, item, PERFI_TIMES_RUNNING);

    item->next = NULL;
    if (batch->first)
        batch->first->previous->next = item;
    else
        batch->first = item;
    batch->first->previous = item; /* the last one: nobody else uses it */
    batch->items++;
    batch->weight += item->weight;
}

static void
move(perf_batch_queue *q, perf_batch *batch, perf_batch_item *item)
{
    perfi_queue_leave(q, item);
    perfi_tenants_charge(q, item, 1);
    join(q, batch, item);
}

/* A first item goes alone if it is too heavy for any batch. */
static bool
fits(const perf_batch_queue *q, const perf_batch *batch,
     const perf_batch_item *item)
{
    uint64_t most = q->config.max_weight;
    return !most || !batch->items ||
           (batch->weight <= most && item->weight <= most - batch->weight);
}

typedef struct forming {
    uint32_t most;    /* items */
    uint8_t priority; /* of the first item; lower ones ride along */
    uint64_t soonest; /* deadline of those that are in it; UINT64_MAX: none */
    bool stale;       /* the size is to be found anew */
    uint32_t size;    /* of the batch about to be formed */
    uint64_t bound;   /* what that takes; 0: not known */
} forming;

/* Lower priorities have waited so long that it is their turn before that of all
 * higher ones: nobody rides along then. A batch that stopped at one of them
 * would be small while many wait, and under load that ruins everybody. */
static bool
is_mixed(const perf_batch_queue *q, uint8_t priority)
{
    const perfi_tenant *t = q->active_count ? q->active[0] : NULL;
    for (int low = priority + 1; t && low < PERF_PRIORITIES; low++) {
        const perf_batch_item *first =
            perfi_sorted_first(&t->lanes[low], PERFI_BY_KEY);
        for (int high = 0; first && high <= priority; high++) {
            const perf_batch_item *last = t->lanes[high].last;
            if (last && perfi_item_before(first, last, PERFI_BY_KEY))
                return true;
        }
    }
    return false;
}

/* With all that have the first one's priority, or a higher one. */
static void
foresee(const perf_batch_queue *q, const perf_batch *batch, forming *f)
{
    uint64_t more = 0;
    for (int p = 0; p <= f->priority; p++)
        more += q->stats.queued_by_priority[p];
    if (is_mixed(q, f->priority))
        more = q->waiting;
    uint64_t size = batch->items + (more < q->waiting ? more : q->waiting);
    size = size > batch->items ? size : size + 1;
    f->size = size < f->most ? (uint32_t)size : f->most;
    f->bound = perfi_queue_bound(q, batch, f->size);
    f->stale = false;
}

typedef enum verdict { GO, DROP, STOP } verdict;

/* Who cannot be in time in a batch of that size is dropped: it is not made
 * smaller to save one. But who rides along must not make others late. */
static verdict
judge_times(const perf_batch_queue *q, const perf_batch *batch,
            const perf_batch_item *item, forming *f)
{
    bool rides = item->priority > f->priority;
    if (f->stale)
        foresee(q, batch, f);
    if (!f->bound)
        return GO;
    forming with = *f;
    if (rides && with.size < f->most)
        with.bound = perfi_queue_bound(q, batch, ++with.size);
    uint64_t ends = perfi_add(q->now_ns, with.bound);
    if (item->deadline_ns && item->deadline_ns < ends)
        return DROP;
    if (rides && f->soonest < ends)
        return STOP;
    *f = with;
    return GO;
}

static inline verdict
judge(const perf_batch_queue *q, const perf_batch *batch,
      const perf_batch_item *item, forming *f)
{
    bool rides = item->priority > f->priority;
    if (item->deadline_ns || (rides && f->soonest != UINT64_MAX))
        return judge_times(q, batch, item, f);
    f->stale |= rides;
    return GO;
}

/* In the order of their turns. */
static void
form(perf_batch_queue *q, perf_batch *batch, uint32_t most)
{
    forming f = {.most = most, .soonest = UINT64_MAX, .stale = true};
    for (perf_batch_item *item;
         batch->items < most && (item = perfi_tenants_first(q));) {
        if (!fits(q, batch, item)) {
            batch->reason = PERF_BATCH_REASON_FULL;
            return;
        }
        if (!batch->items && f.priority != item->priority) {
            f.priority = item->priority;
            f.stale = true;
        }
        verdict v = judge(q, batch, item, &f);
        if (v == STOP)
            return;
        if (v == DROP) {
            perfi_queue_drop(q, item, PERF_BATCH_DROP_INFEASIBLE);
            f.stale = true;
            continue;
        }
        if (item->deadline_ns && item->deadline_ns < f.soonest)
            f.soonest = item->deadline_ns;
        move(q, batch, item);
        if (q->config.max_weight && batch->weight > q->config.max_weight)
            return; /* alone, even beside one without weight */
    }
}

/* ---- take ---- */

static void
begin(perf_batch_queue *q, perf_batch *batch)
{
    batch->id = ++q->last_batch;
    batch->taken_ns = q->now_ns;
    q->batches_out++;
    q->stats.batches++;
    q->stats.reasons[batch->reason]++;
    q->slots_used += !(batch->slot & PERFI_SLOT_NONE);
    perfi_batch_control_taken(q->control, batch, q->slots_used, q->now_ns);
}

static bool
take_nested(perf_batch_queue *q, perf_batch *batch)
{
    batch->reason = PERF_BATCH_REASON_NESTED;
    batch->slot = PERFI_SLOT_NONE;
    while (batch->items < q->config.max_items && q->nested.first &&
           fits(q, batch, q->nested.first))
        move(q, batch, q->nested.first);
    begin(q, batch);
    return true;
}

static bool
take_group(perf_batch_queue *q, perf_batch *batch, bool nested)
{
    batch->reason = PERF_BATCH_REASON_ISOLATED;
    batch->slot = PERFI_SLOT_GROUP | (nested ? PERFI_SLOT_NONE : 0);
    perf_batch_item *next, *item = perfi_groups_take(q, nested);
    for (; item; item = next) {
        next = item->next;
        perfi_times_remove(q, item, PERFI_TIMES_WAITING);
        perfi_queue_uncount(q, item);
        perfi_tenants_charge(q, item, 1);
        join(q, batch, item);
    }
    q->stats.batches_isolated++;
    if (!nested)
        q->isolating = q->group_was_last = true;
    begin(q, batch);
    return true;
}

static bool
take_waiting(perf_batch_queue *q, perf_batch *batch)
{
    plan next = plan_next(q);
    perf_batch_item *late;
    while (
        next.when_ns <= q->now_ns &&
        next.reason == PERF_BATCH_REASON_DEADLINE &&
        (late = perfi_queue_late(q, perfi_queue_bound(q, NULL, q->waiting)))) {
        perfi_queue_drop(q, late, PERF_BATCH_DROP_INFEASIBLE);
        next = plan_next(q); /* who remains may have time to wait for more */
    }
    if (next.when_ns > q->now_ns || !q->waiting)
        return false;
    batch->reason = next.reason;
    form(q, batch, next.most);
    if (!batch->items)
        return false;
    q->group_was_last = false;
    begin(q, batch);
    return true;
}

static bool
take_next(perf_batch_queue *q, perf_batch *batch)
{
    if (perfi_batch_control_not_before(q->control, q->now_ns) > q->now_ns)
        return false;
    if (q->nested.first)
        return take_nested(q, batch);
    if (q->groups[1].first)
        return take_group(q, batch, true);
    if (q->slots_used >= perfi_batch_control_slots(q->control))
        return false;
    bool group = q->groups[0].first && !q->isolating;
    if (group && !q->group_was_last)
        return take_group(q, batch, false);
    return take_waiting(q, batch) || (group && take_group(q, batch, false));
}

bool
perf_batch_queue_take_at(perf_batch_queue *q, perf_batch *out, uint64_t now_ns)
{
    perfi_queue_clock(q, now_ns);
    perfi_queue_expire(q);
    perf_batch batch = {0};
    bool taken = take_next(q, &batch);
    perfi_queue_admit(q);
    perfi_values_flush(&q->waits);
    if (taken)
        *out = batch;
    return taken;
}

uint32_t
perf_batch_queue_fill_at(perf_batch_queue *q, perf_batch *batch, uint32_t items,
                         uint64_t weight, uint64_t now_ns)
{
    if (!batch->items || batch->slot & PERFI_SLOT_GROUP ||
        batch->id <= q->forgotten)
        return 0;
    perfi_queue_clock(q, now_ns);
    perfi_queue_expire(q);
    bool nested = batch->slot & PERFI_SLOT_NONE;
    uint32_t before = batch->items;
    while (batch->items - before < items) {
        perf_batch_item *item =
            nested ? q->nested.first : perfi_tenants_first(q);
        if (!item || item->weight > weight)
            break;
        forming f = {.most = q->config.max_items,
                     .priority = item->priority,
                     .soonest = UINT64_MAX,
                     .stale = true};
        if (!nested && judge(q, batch, item, &f) == DROP) {
            perfi_queue_drop(q, item, PERF_BATCH_DROP_INFEASIBLE);
            continue;
        }
        weight -= item->weight;
        move(q, batch, item);
    }
    perfi_queue_admit(q);
    perfi_values_flush(&q->waits);
    return batch->items - before;
}

uint64_t
perf_batch_queue_wake_at(perf_batch_queue *q, uint64_t now_ns)
{
    perfi_queue_clock(q, now_ns);
    if (q->dropped)
        return q->now_ns;
    uint64_t take = UINT64_MAX;
    if (q->nested.first || q->groups[1].first)
        take = q->now_ns;
    else if (q->slots_used < perfi_batch_control_slots(q->control))
        take = q->groups[0].first && !q->isolating ? q->now_ns
                                                   : plan_next(q).when_ns;
    uint64_t pause = perfi_batch_control_not_before(q->control, q->now_ns);
    take = take > pause ? take : pause;
    uint64_t time = perfi_times_next(q);
    return take < time ? take : time;
}
