/* submit.c - who may enter: what an item's key is, what happens when the queue
 * is full, who waits outside. */
#include "queue.h"

/* ---- an item's place in the order ---- */

/* Strict: the priority above all else. What is left of the key is as good as
 * all of it for 146 years. */
static uint64_t
strict_key(uint64_t key, uint8_t priority)
{
    const uint64_t most = (UINT64_C(1) << 62) - 1;
    return (uint64_t)priority << 62 | (key < most ? key : most);
}

static uint64_t
key_of(const perf_batch_config *c, const perf_batch_item *item)
{
    uint8_t p = item->priority;
    uint64_t key = perfi_add(item->submitted_ns, c->aging_ns[p]);
    if (item->deadline_ns && item->deadline_ns < key) {
        uint64_t above = p ? c->aging_ns[p - 1] : 0;
        uint64_t least = perfi_add(item->submitted_ns, above);
        key = item->deadline_ns > least ? item->deadline_ns : least;
    }
    return c->order == PERF_BATCH_ORDER_STRICT ? strict_key(key, p) : key;
}

/* ---- into what waits, and out of it ---- */

/* Behind whoever was submitted before it: the last place, unless it comes back
 * from a batch. Looked for from both ends. */
static inline void
put_in_turn(perfi_list *list, perf_batch_item *item, perfi_chain chain)
{
    uint64_t turn = item->numbers[PERFI_SEQUENCE];
    perf_batch_item *older = list->last, *younger = list->first;
    if (!older || older->numbers[PERFI_SEQUENCE] < turn) {
        perfi_list_append(list, item, chain);
        return;
    }
    while (older && older->numbers[PERFI_SEQUENCE] > turn &&
           younger->numbers[PERFI_SEQUENCE] < turn) {
        older = *perfi_previous(older, chain);
        younger = *perfi_next(younger, chain);
    }
    if (older && older->numbers[PERFI_SEQUENCE] > turn)
        older = *perfi_previous(younger, chain);
    perfi_list_put(list, item, older, chain);
}

void
perfi_queue_enter(perf_batch_queue *q, perf_batch_item *item)
{
    item->state = PERF_BATCH_QUEUED;
    perfi_queue_count(q, item);
    if (item->nested) {
        put_in_turn(&q->nested, item, PERFI_BY_PLACE);
        return;
    }
    put_in_turn(&q->arrivals, item, PERFI_BY_ARRIVAL);
    q->waiting++;
    q->waiting_weight += item->weight;
    perfi_tenants_put(q, item);
    if (q->config.on_full == PERF_BATCH_FULL_SHED_LOWEST)
        perfi_sorted_put(&q->worst, item, PERFI_BY_WORST);
}

static void
leave_waiting(perf_batch_queue *q, perf_batch_item *item)
{
    perfi_list_remove(&q->arrivals, item, PERFI_BY_ARRIVAL);
    q->waiting--;
    q->waiting_weight -= item->weight;
    perfi_tenants_remove(q, item);
    if (q->config.on_full == PERF_BATCH_FULL_SHED_LOWEST)
        perfi_sorted_remove(&q->worst, item, PERFI_BY_WORST);
}

void
perfi_queue_leave(perf_batch_queue *q, perf_batch_item *item)
{
    perfi_times_remove(q, item, PERFI_TIMES_WAITING);
    if (item->state == PERF_BATCH_BLOCKED) {
        perfi_list_remove(&q->room, item, PERFI_BY_PLACE);
        q->stats.blocked--;
        return;
    }
    perfi_queue_uncount(q, item);
    if (item->state == PERF_BATCH_ISOLATED)
        perfi_groups_leave(q, item);
    else if (item->nested)
        perfi_list_remove(&q->nested, item, PERFI_BY_PLACE);
    else
        leave_waiting(q, item);
}

/* ---- room ---- */

static bool
has_room(const perf_batch_queue *q, uint64_t weight)
{
    uint64_t most = q->config.max_queued_weight;
    if (!q->stats.queued || !most)
        return q->stats.queued < q->config.max_queued;
    return q->stats.queued < q->config.max_queued &&
           q->stats.queued_weight <= most &&
           weight <= most - q->stats.queued_weight;
}

static void
wait_outside(perf_batch_queue *q, perf_batch_item *item)
{
    item->state = PERF_BATCH_BLOCKED;
    q->full = true;
    q->stats.blocked++;
    perfi_list_put(&q->room, item, q->room.last, PERFI_BY_PLACE);
}

void
perfi_queue_admit(perf_batch_queue *q)
{
    if (!q->full || q->stats.queued > q->low)
        return;
    if (q->config.max_queued_weight && q->stats.queued_weight > q->low_weight)
        return;
    for (perf_batch_item *item; (item = q->room.first);) {
        if (!has_room(q, item->weight))
            return;
        perfi_list_remove(&q->room, item, PERFI_BY_PLACE);
        q->stats.blocked--;
        perfi_queue_enter(q, item);
    }
    q->full = false;
}

/* Who must go so that somebody can come. */
static perf_batch_item *
victim(const perf_batch_queue *q)
{
    switch (q->config.on_full) {
    case PERF_BATCH_FULL_SHED_OLDEST: return q->arrivals.first;
    case PERF_BATCH_FULL_SHED_LOWEST:
        return perfi_sorted_first(&q->worst, PERFI_BY_WORST);
    case PERF_BATCH_FULL_SHED_INFEASIBLE: {
        uint32_t most = perfi_batch_control_max_items(q->control, q->waiting);
        uint32_t items = q->waiting < most ? q->waiting : most;
        return perfi_queue_late(q, perfi_queue_bound(q, NULL, items));
    }
    default: return NULL;
    }
}

/* Returns false when the item itself must go: there is nobody worse. */
static bool
make_room(perf_batch_queue *q, const perf_batch_item *item)
{
    bool infeasible = q->config.on_full == PERF_BATCH_FULL_SHED_INFEASIBLE;
    bool lowest = q->config.on_full == PERF_BATCH_FULL_SHED_LOWEST;
    while (!has_room(q, item->weight)) {
        perf_batch_item *other = victim(q);
        if (!other)
            return false;
        if (lowest && perfi_item_before(other, item, PERFI_BY_KEY))
            return false;
        perfi_queue_drop(q, other,
                         infeasible ? PERF_BATCH_DROP_INFEASIBLE
                                    : PERF_BATCH_DROP_SHED);
    }
    return true;
}

/* ---- submit ---- */

static perf_err
check_item(const perf_batch_queue *q, const perf_batch_item *item)
{
    bool here =
        item->state >= PERF_BATCH_BLOCKED && item->state <= PERF_BATCH_RUNNING;
    if (here || item->place & (PERFI_IN_BATCH | PERFI_IN_DROPPED))
        return PERF_ERR_INVALID;
    if (item->priority >= PERF_PRIORITIES || item->tenant > q->tenants)
        return PERF_ERR_INVALID;
    if (q->closed)
        return PERF_ERR_CLOSED;
    uint64_t most = q->config.max_weight;
    if (q->config.reject_oversize && most && item->weight > most)
        return PERF_ERR_RANGE;
    return item->weight > UINT64_MAX - q->weight_in ? PERF_ERR_RANGE : PERF_OK;
}

static void
prepare(perf_batch_queue *q, perf_batch_item *item)
{
    item->drop = PERF_BATCH_DROP_NONE;
    item->attempts = 0;
    item->place = 0;
    item->submitted_ns = item->numbers[PERFI_SINCE] = q->now_ns;
    item->taken_ns = 0;
    item->gives_up = false;
    item->numbers[PERFI_KEY] = key_of(&q->config, item);
    item->numbers[PERFI_SEQUENCE] = ++q->sequence;
}

/* It is among those that were submitted, wherever it goes. */
static void
accept(perf_batch_queue *q, perf_batch_item *item)
{
    q->stats.submitted++;
    q->weight_in += item->weight;
    q->latest_ns = q->now_ns;
    perfi_batch_control_arrived(q->control, item->weight, q->now_ns);
    perfi_times_put(q, item, PERFI_TIMES_WAITING);
}

static perf_err
submit_to_full(perf_batch_queue *q, perf_batch_item *item)
{
    uint8_t on_full = (uint8_t)q->config.on_full;
    if (on_full == PERF_BATCH_FULL_BLOCK) {
        prepare(q, item);
        accept(q, item);
        wait_outside(q, item);
        return PERF_OK;
    }
    perf_batch_item as_it_was = *item;
    prepare(q, item);
    if (make_room(q, item)) {
        accept(q, item);
        perfi_queue_enter(q, item);
        return PERF_OK;
    }
    if (on_full == PERF_BATCH_FULL_SHED_LOWEST && q->waiting) {
        accept(q, item);
        perfi_queue_enter(q, item);
        perfi_queue_drop(q, item, PERF_BATCH_DROP_SHED);
        return PERF_OK;
    }
    *item = as_it_was;
    q->stats.rejected++;
    return PERF_ERR_FULL;
}

perf_err
perf_batch_queue_submit_at(perf_batch_queue *q, perf_batch_item *item,
                           uint64_t now_ns)
{
    if (!q || !item)
        return PERF_ERR_INVALID;
    perf_err err = check_item(q, item);
    if (err)
        return err;
    perfi_queue_clock(q, now_ns);
    perfi_queue_expire(q);
    if (!item->nested && (q->full || !has_room(q, item->weight)))
        return submit_to_full(q, item);
    prepare(q, item);
    accept(q, item);
    perfi_queue_enter(q, item);
    return PERF_OK;
}

bool
perf_batch_queue_cancel_at(perf_batch_queue *q, perf_batch_item *item,
                           uint64_t now_ns)
{
    if (!q || !item || item->state < PERF_BATCH_BLOCKED ||
        item->state > PERF_BATCH_RUNNING)
        return false;
    perfi_queue_clock(q, now_ns);
    if (item->state == PERF_BATCH_RUNNING) {
        perfi_queue_stop(q, item);
    } else {
        perfi_queue_leave(q, item);
        q->weight_in -= item->weight;
        perfi_queue_admit(q);
    }
    item->state = PERF_BATCH_CANCELLED;
    q->stats.cancelled++;
    return true;
}
