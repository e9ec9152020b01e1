/* series.h - what a queue counts, as series in the segment, where
 * reports find them: batcher.NAME.items and so on (batchers.py has the list).
 *
 * A name is interned when it first has something to say: there is room for a
 * few thousand of them. About 10 ns an item.
 * Threads: one at a time, as the queue. */
#ifndef LIBPERF_BATCHER_SERIES_H
#define LIBPERF_BATCHER_SERIES_H
#include <libperf/batch_queue.h>
#include <libperf/name.h>

/** Counters; their texts are in series.c. */
enum {
    SERIES_ITEMS,
    SERIES_WEIGHT,
    SERIES_BATCHES,
    SERIES_REJECTED,
    SERIES_CANCELLED,
    SERIES_FAILED, /* items */
    SERIES_THROTTLED,
    SERIES_WENT, /* by perf_batch_reason */
    SERIES_DROPPED = SERIES_WENT + PERF_BATCH_REASONS, /* by perf_batch_drop */
    SERIES_WAIT = SERIES_DROPPED + PERF_BATCH_DROP_CLOSED + 1,
    SERIES_SERVICE,
    SERIES_BASE,
    SERIES_EACH,
    SERIES_COUNT
};

/** All zero: nothing is written. */
typedef struct batcher_series {
    size_t length;
    char name[PERF_TEXT_MAX_BYTES];
    uint32_t number[SERIES_COUNT]; /* of names; 0: not interned yet */
} batcher_series;

/** @param name  UTF-8; what is too long for a name of the segment is cut. */
void batcher_series_init(batcher_series *s, const char *name, size_t length);

void batcher_series_add(batcher_series *s, int which, uint64_t amount);

/** A batch goes: its items, why, how long each waited. */
void batcher_series_taken(batcher_series *s, const perf_batch *batch,
                          bool weighed);

/** It is done. @param cost  of the queue, after it has learned of this one */
void batcher_series_done(batcher_series *s, const perf_batch *batch,
                         perf_batch_outcome outcome,
                         const perf_batch_cost *cost, uint64_t now_ns);

/** The queue has given up an item. */
void batcher_series_dropped(batcher_series *s, const perf_batch_item *item);

#endif
