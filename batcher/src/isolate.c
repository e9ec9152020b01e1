/* isolate.c - who is tried again. The items of a batch that failed become
 * groups, each a batch of its own: two halves, or everybody alone. A group that
 * fails is cut again; a group of one has failed for good. With one bad item
 * among n, halves need about 2 log2(n) calls to find it.
 *
 * A group is linked by `next` and `previous`; its first item is in a list of
 * groups. Only one group runs at a time, so that a stream of bad items leaves
 * all other slots to the rest. Nested ones are not counted: who waits for them
 * may hold the only slot, and the group's place too. */
#include "queue.h"

static void
put_group(perf_batch_queue *q, perf_batch_item *first, perf_batch_item *after)
{
    perfi_list *groups = &q->groups[first->nested];
    perfi_list_put(groups, first, after, PERFI_BY_ARRIVAL);
    perf_batch_item *previous = NULL;
    for (perf_batch_item *i = first; i; i = i->next) {
        i->previous = previous;
        i->state = PERF_BATCH_ISOLATED;
        perfi_queue_count(q, i);
        perfi_times_put(q, i, PERFI_TIMES_WAITING);
        previous = i;
    }
}

/* Cut behind `count` items; returns the rest. */
static perf_batch_item *
cut(perf_batch_item *first, uint32_t count)
{
    while (--count)
        first = first->next;
    perf_batch_item *rest = first->next;
    first->next = NULL;
    return rest;
}

void
perfi_groups_split(perf_batch_queue *q, perf_batch_item *first, uint32_t live)
{
    bool bisect = q->config.isolation == PERF_BATCH_ISOLATE_BISECT;
    uint32_t size = bisect ? (live + 1) / 2 : 1;
    for (perf_batch_item *rest; first; first = rest) {
        rest = live > size ? cut(first, size) : NULL;
        live -= size;
        put_group(q, first, q->groups[first->nested].last);
    }
}

void
perfi_groups_return(perf_batch_queue *q, perf_batch_item *first)
{
    put_group(q, first, NULL);
}

void
perfi_groups_leave(perf_batch_queue *q, perf_batch_item *item)
{
    perf_batch_item *next = item->next, *previous = item->previous;
    if (next)
        next->previous = previous;
    if (previous) {
        previous->next = next;
        return;
    }
    perfi_list *groups = &q->groups[item->nested];
    if (next)
        perfi_list_put(groups, next, item, PERFI_BY_ARRIVAL);
    perfi_list_remove(groups, item, PERFI_BY_ARRIVAL);
}

perf_batch_item *
perfi_groups_take(perf_batch_queue *q, bool nested)
{
    perfi_list *groups = &q->groups[nested];
    perf_batch_item *first = groups->first;
    perfi_list_remove(groups, first, PERFI_BY_ARRIVAL);
    return first;
}
