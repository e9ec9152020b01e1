/* done.c - what becomes of a batch that is done. */
#include "queue.h"

void
perfi_queue_stop(perf_batch_queue *q, perf_batch_item *item)
{
    perfi_times_remove(q, item, PERFI_TIMES_RUNNING);
    uint64_t took = q->now_ns - item->taken_ns;
    q->stats.service_ns += took;
    q->stats.running--;
    item->numbers[PERFI_SINCE] = q->now_ns;
}

static void
finish(perf_batch_queue *q, perf_batch_item *item, bool failed)
{
    item->state = PERF_BATCH_FINISHED;
    q->weight_in -= item->weight;
    q->stats.finished++;
    q->stats.failed += failed;
    perfi_values_add(&q->totals, q->now_ns - item->submitted_ns);
}

/* Back to where it was. */
static void
put_back(perf_batch_queue *q, perf_batch_item *item)
{
    perfi_queue_enter(q, item);
    perfi_times_put(q, item, PERFI_TIMES_WAITING);
    if (q->discarded)
        perfi_queue_drop(q, item, PERF_BATCH_DROP_CLOSED);
}

/* Those that are to come back, linked by `next` and `previous`, out of the
 * batch; all others lose their place. Returns how many.
 * @param refused  who gives up has failed */
static uint32_t
gather(perf_batch_queue *q, const perf_batch *batch, perfi_list *live,
       bool refused)
{
    uint32_t count = 0;
    for (perf_batch_item *next, *item = batch->first; item; item = next) {
        next = item->next;
        item->place &= ~(uint32_t)PERFI_IN_BATCH;
        if (item->state != PERF_BATCH_RUNNING) {
            q->weight_in -= item->weight;
            continue;
        }
        perfi_queue_stop(q, item);
        if (refused && item->gives_up) {
            perfi_tenants_charge(q, item, -1);
            finish(q, item, true);
            continue;
        }
        perfi_list_put(live, item, live->last, PERFI_BY_PLACE);
        count++;
    }
    return count;
}

static void
return_all(perf_batch_queue *q, const perf_batch *batch)
{
    perfi_list live = {NULL, NULL};
    if (!gather(q, batch, &live, true))
        return;
    /* before the first one is back: who comes back is lifted to the others */
    for (perf_batch_item *item = live.first; item; item = item->next)
        perfi_tenants_charge(q, item, -1);
    if (batch->slot & PERFI_SLOT_GROUP && !q->discarded) {
        perfi_groups_return(q, live.first);
        return;
    }
    /* from the last one on: each goes before the one that went before it */
    for (perf_batch_item *before, *item = live.last; item; item = before) {
        before = item->previous;
        put_back(q, item);
    }
}

static bool
tries_again(const perf_batch_queue *q, const perf_batch *batch)
{
    return q->config.isolation != PERF_BATCH_ISOLATE_FAIL_ALL &&
           batch->items > 1 && !q->discarded;
}

static void
finish_all(perf_batch_queue *q, const perf_batch *batch, bool failed)
{
    for (perf_batch_item *item = batch->first; item; item = item->next) {
        item->place &= ~(uint32_t)PERFI_IN_BATCH;
        if (item->state == PERF_BATCH_RUNNING) {
            perfi_queue_stop(q, item);
            finish(q, item, failed);
        } else {
            q->weight_in -= item->weight;
        }
    }
}

static void
count_batch(perf_batch_queue *q, const perf_batch *batch,
            perf_batch_outcome outcome)
{
    q->stats.batches_throttled += outcome == PERF_BATCH_THROTTLED;
    if (outcome == PERF_BATCH_THROTTLED)
        return;
    uint64_t took = q->now_ns - batch->taken_ns;
    q->stats.batches_done++;
    q->stats.batches_failed += outcome != PERF_BATCH_OK;
    q->stats.batch_ns += took;
    perf_histogram_record(q->batch_times, took);
}

static void
give_back(perf_batch_queue *q, const perf_batch *batch)
{
    q->batches_out--;
    q->slots_used -= !(batch->slot & PERFI_SLOT_NONE);
    if (batch->slot == PERFI_SLOT_GROUP)
        q->isolating = false;
}

void
perf_batch_queue_done_at(perf_batch_queue *q, const perf_batch *batch,
                         perf_batch_outcome outcome, uint64_t retry_after_ns,
                         uint64_t now_ns)
{
    if (batch->id <= q->forgotten)
        return; /* of the process that was forked */
    perfi_queue_clock(q, now_ns);
    perfi_queue_expire(q);
    give_back(q, batch);
    perfi_batch_control_done(q->control, batch, outcome, retry_after_ns,
                             q->slots_used, q->now_ns);
    count_batch(q, batch, outcome);
    if (outcome == PERF_BATCH_THROTTLED) {
        return_all(q, batch);
    } else if (outcome == PERF_BATCH_FAILED && tries_again(q, batch)) {
        perfi_list live = {NULL, NULL};
        uint32_t count = gather(q, batch, &live, false);
        if (count)
            perfi_groups_split(q, live.first, count);
    } else {
        finish_all(q, batch, outcome != PERF_BATCH_OK);
    }
    perfi_values_flush(&q->totals);
    perfi_queue_admit(q);
}
