/* nest.c - an item that waits in the queue while a batch waits for it: it moves
 * to where nested ones are. Its key, its time of submission and its times stay.
 */
#include "batcher.h"
#include "queue.h"

void
perfi_batch_queue_nest_at(perf_batch_queue *q, perf_batch_item *item,
                          uint64_t now_ns)
{
    if (item->nested)
        return;
    perfi_queue_clock(q, now_ns);
    perfi_queue_leave(q, item);
    item->nested = true;
    item->numbers[PERFI_SEQUENCE] = ++q->sequence; /* the last of them */
    perfi_queue_enter(q, item);
    perfi_times_put(q, item, PERFI_TIMES_WAITING);
    perfi_queue_admit(q);
}
