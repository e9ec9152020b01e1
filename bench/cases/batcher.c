/* batcher.c - what batching costs beside the work that it saves: the queue
 * alone, and threads that submit and wait. `process` does nothing. */
#include "cases.h"

#include <libperf/batcher.h>
#include <stdlib.h>

enum { ROUND = 64, BATCH = 32 };

typedef struct bench {
    perf_batch_queue *queue;
    perf_batcher *batcher;
    perf_batch_item items[ROUND];
    uint64_t now_ns;
} bench;

static perf_err
do_nothing(perf_batch_item **items, uint32_t count, uint64_t *retry_after_ns,
           void *ctx)
{
    (void)items;
    (void)count;
    (void)retry_after_ns;
    (void)ctx;
    return PERF_OK;
}

static void
tear_down(perf_bench_state *state)
{
    bench *b = state->data;
    if (!b)
        return;
    perf_batch_queue_destroy(b->queue);
    perf_batcher_destroy_blocking(b->batcher);
    free(b);
    state->data = NULL;
}

static void
set_up(perf_bench_state *state)
{
    perf_batcher_config config;
    perf_batcher_config_init(&config);
    config.queue.max_items = BATCH;
    config.process = do_nothing;
    bench *b = state->data = calloc(1, sizeof *b);
    if (!b || perf_batch_queue_create(&config.queue, &b->queue) ||
        perf_batcher_create(&config, &b->batcher))
        perf_bench_fail(state, "out of memory");
}

static void
renew(bench *b, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        b->items[i] = (perf_batch_item){.priority = PERF_PRIORITY_NORMAL};
}

/* Virtual time: clocks cost the same everywhere. */
static void
pass_queue(perf_bench_state *state)
{
    bench *b = state->data;
    for (uint64_t left = state->iterations; left;) {
        uint64_t count = left < BATCH ? left : BATCH;
        renew(b, count);
        for (uint64_t i = 0; i < count; i++)
            perf_batch_queue_submit_at(b->queue, &b->items[i], b->now_ns += 50);
        perf_batch batch;
        while (perf_batch_queue_take_at(b->queue, &batch, b->now_ns))
            perf_batch_queue_done_at(b->queue, &batch, PERF_BATCH_OK, 0,
                                     b->now_ns += 1000);
        left -= count;
    }
}

static void
pass_batcher(perf_bench_state *state, uint64_t round)
{
    bench *b = state->data;
    perf_batch_item *items[ROUND];
    for (uint64_t left = state->iterations; left;) {
        uint64_t count = left < round ? left : round;
        renew(b, count);
        for (uint64_t i = 0; i < count; i++)
            items[i] = &b->items[i];
        if (perf_batcher_submit_many_blocking(b->batcher, items, count, NULL))
            perf_bench_fail(state, "an item was refused");
        for (uint64_t i = count; i--;)
            perf_batcher_wait_blocking(b->batcher, items[i], UINT64_MAX);
        left -= count;
    }
}

static void
pass_64(perf_bench_state *state)
{
    pass_batcher(state, ROUND);
}

static void
pass_1(perf_bench_state *state)
{
    pass_batcher(state, 1);
}

/* Each thread has one item; 32 of 64 fill a batch. */
static void
pass_own(perf_bench_state *state)
{
    bench *b = state->data;
    for (uint64_t i = 0; i < state->iterations; i++) {
        perf_batch_item item = {.priority = PERF_PRIORITY_NORMAL};
        perf_batcher_submit_blocking(b->batcher, &item);
        perf_batcher_wait_blocking(b->batcher, &item, UINT64_MAX);
    }
}

static void
add(const char *name, perf_bench_fn run, uint32_t threads,
    const char *reference)
{
    perf_bench_case *c = perf_bench_add(name, run);
    c->setup = set_up;
    c->teardown = tear_down;
    c->threads = threads;
    c->reference = reference;
}

void
add_batcher_cases(void)
{
    add("batch_queue/item", pass_queue, 1, NULL);
    add("batcher/item/64_at_once", pass_64, 1, "batch_queue/item");
    add("batcher/item/alone", pass_1, 1, "batch_queue/item");
    add("batcher/item/t64", pass_own, 64, "batch_queue/item");
}
