/* check.c - is a queue whole? Walks through all that it holds; for tests. */
#include "queue.h"

#include <string.h>

typedef struct tally {
    perf_batch_stats stats; /* what is there */
    uint64_t timed;         /* of what waits */
    uint64_t weight;        /* blocked, too */
} tally;

static void
see(tally *t, const perf_batch_item *item)
{
    if (item->state != PERF_BATCH_BLOCKED) {
        t->stats.queued++;
        t->stats.queued_weight += item->weight;
        t->stats.queued_by_priority[item->priority]++;
    }
    t->weight += item->weight;
    t->timed +=
        (item->place & (PERFI_IN_LIST | PERFI_IN_HEAP) << PERFI_BY_TIME) != 0;
}

static bool
check_list(const perfi_list *list, perfi_chain chain, perf_batch_state state,
           tally *t, uint64_t *count)
{
    perf_batch_item *before = NULL;
    for (perf_batch_item *i = list->first; i; i = *perfi_next(i, chain)) {
        if (*perfi_previous(i, chain) != before || i->state != state)
            return false;
        if (before &&
            before->numbers[PERFI_SEQUENCE] >= i->numbers[PERFI_SEQUENCE])
            return false; /* first come */
        see(t, i);
        ++*count;
        before = i;
    }
    return list->last == before;
}

static const char *
check_groups(const perf_batch_queue *q, int nested, tally *t)
{
    const perfi_list *groups = &q->groups[nested];
    perf_batch_item *before = NULL;
    for (perf_batch_item *g = groups->first; g;
         g = *perfi_next(g, PERFI_BY_ARRIVAL)) {
        perf_batch_item *previous = NULL;
        if (*perfi_previous(g, PERFI_BY_ARRIVAL) != before)
            return "groups are not linked well";
        for (perf_batch_item *i = g; i; i = i->next) {
            if (i->previous != previous || i->nested != (nested == 1) ||
                i->state != PERF_BATCH_ISOLATED)
                return "a group is not linked well";
            see(t, i);
            previous = i;
        }
        before = g;
    }
    return groups->last == before ? NULL : "groups end elsewhere";
}

static const char *
check_tenants(const perf_batch_queue *q)
{
    uint64_t items = 0, active = 0;
    for (uint32_t n = 0; n <= q->tenants; n++) {
        const perfi_tenant *t = perfi_tenant_of(q, n);
        for (int p = 0; p < PERF_PRIORITIES; p++) {
            uint64_t count;
            if (!perfi_sorted_check(&t->lanes[p], PERFI_BY_KEY, &count))
                return "a lane is not in order";
            if ((count != 0) != (t->used >> p & 1))
                return "a lane is not known to be used";
            items += count;
        }
        if ((t->used != 0) != (t->position != PERFI_NOT_ACTIVE))
            return "a tenant with items is not active";
        active += t->used != 0;
    }
    if (items != q->waiting || active != q->active_count)
        return "tenants do not have all items";
    for (uint32_t i = 0; i < q->active_count; i++)
        if (q->active[i]->position != i ||
            q->active[(i + 1) / 2 - (i > 0)]->served > q->active[i]->served)
            return "tenants are not in order";
    return NULL;
}

static const char *
check_counts(const perf_batch_queue *q, const tally *t)
{
    const perf_batch_stats *s = &q->stats, *seen = &t->stats;
    if (s->queued != seen->queued || s->queued_weight != seen->queued_weight)
        return "queued: counted wrong";
    if (memcmp(s->queued_by_priority, seen->queued_by_priority,
               sizeof s->queued_by_priority))
        return "queued_by_priority: counted wrong";
    if (s->submitted != s->blocked + s->queued + s->running + s->finished +
                            s->cancelled + s->expired + s->infeasible +
                            s->shed + s->closed)
        return "submitted: items are lost, or counted twice";
    bool idle = !q->batches_out;
    if (idle ? q->weight_in != t->weight : q->weight_in < t->weight)
        return "weight: counted wrong";
    if (idle && (s->running || q->slots_used || q->isolating))
        return "something runs in no batch";
    return NULL;
}

static const char *
check_times(const perf_batch_queue *q, const tally *t)
{
    uint64_t waiting, running;
    if (!perfi_sorted_check(&q->times[PERFI_TIMES_WAITING], PERFI_BY_TIME,
                            &waiting) ||
        !perfi_sorted_check(&q->times[PERFI_TIMES_RUNNING], PERFI_BY_TIME,
                            &running))
        return "times are not in order";
    if (waiting != t->timed || running > q->stats.running)
        return "times of items that are not there";
    return NULL;
}

static const char *
check_worst(const perf_batch_queue *q)
{
    uint64_t count;
    if (!perfi_sorted_check(&q->worst, PERFI_BY_WORST, &count))
        return "the worst are not in order";
    bool used = q->config.on_full == PERF_BATCH_FULL_SHED_LOWEST;
    return count == (used ? q->waiting : 0) ? NULL : "the worst are not all";
}

static const char *
check_room(const perf_batch_queue *q)
{
    if (q->full && q->config.on_full != PERF_BATCH_FULL_BLOCK)
        return "full, where nobody waits outside";
    if (!q->full && q->room.first)
        return "somebody waits outside for nothing";
    return NULL;
}

const char *
perfi_batch_queue_check(const perf_batch_queue *q)
{
    tally t = {0};
    uint64_t waiting = 0, nested = 0, blocked = 0;
    if (!check_list(&q->arrivals, PERFI_BY_ARRIVAL, PERF_BATCH_QUEUED, &t,
                    &waiting) ||
        waiting != q->waiting || t.weight != q->waiting_weight)
        return "arrivals are not as they came";
    if (!check_list(&q->nested, PERFI_BY_PLACE, PERF_BATCH_QUEUED, &t, &nested))
        return "nested items are not as they came";
    if (!check_list(&q->room, PERFI_BY_PLACE, PERF_BATCH_BLOCKED, &t,
                    &blocked) ||
        blocked != q->stats.blocked)
        return "who waits outside is not as they came";
    const char *wrong = check_groups(q, 0, &t);
    wrong = wrong ? wrong : check_groups(q, 1, &t);
    wrong = wrong ? wrong : check_tenants(q);
    wrong = wrong ? wrong : check_times(q, &t);
    wrong = wrong ? wrong : check_worst(q);
    wrong = wrong ? wrong : check_room(q);
    return wrong ? wrong : check_counts(q, &t);
}
