/* test_queue_kit.h - a queue in front of made-up batches: times are numbers
 * here, and everything is walked through after each step. */
#ifndef TEST_QUEUE_KIT_H
#define TEST_QUEUE_KIT_H
#include "pt.h"
#include "queue.h"

#include <stdlib.h>
#include <string.h>

#define MS UINT64_C(1000000)

static perf_batch_queue *queue;

static inline void
whole(void)
{
    const char *wrong = perfi_batch_queue_check(queue);
    if (wrong)
        ck_abort_msg("%s", wrong);
}

/* The defaults, but for one slot and up to `max_items`. */
static inline perf_batch_config
config_of(uint32_t max_items)
{
    perf_batch_config c;
    perf_batch_config_init(&c);
    c.max_items = max_items;
    return c;
}

static inline void
make(const perf_batch_config *c)
{
    ck_assert_int_eq(perf_batch_queue_create(c, &queue), PERF_OK);
}

/* What a batch takes is known from the beginning. */
static inline void
make_fixed(const perf_batch_config *c, uint64_t base_ns, uint64_t each_ns)
{
    make(c);
    ck_assert_int_eq(perf_batch_cost_fix(perf_batch_queue_cost(queue),
                                         (double)base_ns, (double)each_ns),
                     PERF_OK);
}

static inline perf_err
submit(perf_batch_item *item, uint64_t now)
{
    perf_err err = perf_batch_queue_submit_at(queue, item, now);
    whole();
    return err;
}

static inline perf_batch_item
item_of(perf_priority priority)
{
    return (perf_batch_item){.priority = (uint8_t)priority};
}

/* `count` items of normal priority. */
static inline void
submit_many(perf_batch_item *items, int count, uint64_t now)
{
    for (int i = 0; i < count; i++) {
        items[i] = item_of(PERF_PRIORITY_NORMAL);
        ck_assert_int_eq(submit(&items[i], now), PERF_OK);
    }
}

static inline bool
take(perf_batch *batch, uint64_t now)
{
    bool taken = perf_batch_queue_take_at(queue, batch, now);
    whole();
    if (!taken)
        return false;
    uint32_t items = 0;
    uint64_t weight = 0;
    for (perf_batch_item *i = batch->first; i; i = i->next) {
        ck_assert_uint_eq(i->state, PERF_BATCH_RUNNING);
        ck_assert_uint_eq(i->taken_ns, batch->taken_ns);
        items++;
        weight += i->weight;
    }
    ck_assert_uint_gt(items, 0);
    ck_assert_uint_eq(items, batch->items);
    ck_assert_uint_eq(weight, batch->weight);
    return true;
}

static inline perf_batch
take_well(uint64_t now)
{
    perf_batch batch;
    ck_assert(take(&batch, now));
    return batch;
}

static inline bool
takes_nothing(uint64_t now)
{
    perf_batch batch;
    return !take(&batch, now);
}

static inline void
done(const perf_batch *batch, perf_batch_outcome outcome, uint64_t now)
{
    perf_batch_queue_done_at(queue, batch, outcome, 0, now);
    whole();
}

static inline bool
cancel(perf_batch_item *item, uint64_t now)
{
    bool cancelled = perf_batch_queue_cancel_at(queue, item, now);
    whole();
    return cancelled;
}

static inline uint64_t
wake(uint64_t now)
{
    return perf_batch_queue_wake_at(queue, now);
}

static inline perf_batch_item *
dropped(uint64_t now)
{
    perf_batch_item *item = perf_batch_queue_dropped_at(queue, now);
    whole();
    if (item)
        ck_assert_uint_eq(item->state, PERF_BATCH_DROPPED);
    return item;
}

/* The next one that was given up is this, for that reason. */
static inline void
check_dropped(const perf_batch_item *item, perf_batch_drop why, uint64_t now)
{
    ck_assert_ptr_eq(dropped(now), item);
    ck_assert_uint_eq(item->drop, why);
}

static inline perf_batch_stats
stats(void)
{
    perf_batch_stats s;
    perf_batch_queue_stats_now(queue, &s);
    return s;
}

/* The batch holds exactly these, in this order. */
static inline void
check_items(const perf_batch *batch, int count, perf_batch_item *const *items)
{
    const perf_batch_item *item = batch->first;
    for (int i = 0; i < count; i++, item = item->next)
        ck_assert_ptr_eq(item, items[i]);
    ck_assert_ptr_null(item);
}
#define CHECK_ITEMS(batch, ...)                                                \
    check_items(batch,                                                         \
                sizeof((perf_batch_item *[]){__VA_ARGS__}) / sizeof(void *),   \
                (perf_batch_item *[]){__VA_ARGS__})

static inline void
end(void)
{
    whole();
    perf_batch_queue_destroy(queue);
}

#endif
