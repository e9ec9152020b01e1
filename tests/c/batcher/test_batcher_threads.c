/* test_batcher_threads.c - many threads submit, wait, cancel and close at once:
 * each item ends exactly once. */
#include "test_batcher_kit.h"

#include <stdlib.h>

enum { THREADS = 8, ITEMS = 10000, WINDOW = 40 };

static void
submit_and_wait(unsigned index, void *ctx)
{
    kit *k = ctx;
    job jobs[WINDOW];
    perf_batch_item *items[WINDOW];
    for (int n = 0; n < PT_TIMES(ITEMS); n += WINDOW) {
        kit_number(jobs, WINDOW);
        for (uint32_t i = 0; i < WINDOW; i++) {
            jobs[i].number = index * ITEMS + i;
            jobs[i].item.priority = i % PERF_PRIORITIES;
            items[i] = &jobs[i].item;
        }
        PT_ASSERT(!perf_batcher_submit_many_blocking(k->batcher, items, WINDOW,
                                                     NULL));
        for (uint32_t i = 0; i < WINDOW; i++)
            PT_ASSERT(!kit_wait(k, &jobs[i]) && kit_is_right(&jobs[i]));
    }
}

/* Bit 0: several slots. Bit 1: the queue is too small for all of them. */
START_TEST(test_each_item_gets_its_result_whoever_submits)
{
    kit k;
    kit_init(&k);
    k.config.queue.max_items = 32;
    k.config.queue.concurrency = _i & 1 ? 4 : 1;
    k.config.queue.max_queued = _i & 2 ? 50 : 10000;
    kit_open(&k);
    pt_parallel(THREADS, submit_and_wait, &k);
    perf_batch_stats s = kit_stats(&k);
    uint64_t all =
        (uint64_t)THREADS * ((PT_TIMES(ITEMS) + WINDOW - 1) / WINDOW * WINDOW);
    ck_assert_uint_eq(s.submitted, all);
    ck_assert_uint_eq(s.finished, all);
    ck_assert_uint_eq(s.items_taken, all);
    ck_assert_uint_le(k.most_running, k.config.queue.concurrency);
    kit_close(&k);
}
END_TEST

/* ---- a storm ---- */

enum { JOBS = 400 };

typedef struct storm {
    kit k;
    job jobs[THREADS][JOBS];
    perf_err submitted[THREADS][JOBS];
    bool cancelled[THREADS][JOBS];
    bool closes;
} storm;

static perf_err
misbehave(kit *k, job **jobs, uint32_t count, uint64_t *retry_ns)
{
    unsigned calls = atomic_load(&k->calls);
    if (calls == k->number + 20 || calls == k->number + 40) {
        *retry_ns = 1000;
        return PERF_ERR_FULL;
    }
    for (uint32_t i = 0; i < count; i++)
        if (jobs[i]->number % 53 == 0)
            return PERF_ERR_CORRUPT;
    return PERF_OK;
}

static void
rage(unsigned index, void *ctx)
{
    storm *s = ctx;
    pt_random random = {index};
    for (uint32_t i = 0; i < JOBS; i++) {
        job *j = &s->jobs[index][i];
        kit_number(j, 1);
        j->number = (uint32_t)pt_below(&random, 1 << 16);
        j->item.priority = (uint8_t)pt_below(&random, PERF_PRIORITIES);
        if (pt_below(&random, 4) == 0)
            j->item.deadline_ns =
                perf_clock_now_ns() + pt_below(&random, 300000);
        if (pt_below(&random, 4) == 0)
            j->item.start_by_ns =
                perf_clock_now_ns() + pt_below(&random, 300000);
        s->submitted[index][i] =
            perf_batcher_submit_blocking(s->k.batcher, &j->item);
        uint32_t other = (uint32_t)pt_below(&random, i + 1);
        if (pt_below(&random, 3) == 0 && !s->submitted[index][other] &&
            !s->cancelled[index][other])
            s->cancelled[index][other] = perf_batcher_cancel_blocking(
                s->k.batcher, &s->jobs[index][other].item);
        if (s->closes && index == 0 && i == JOBS / 2)
            perf_batcher_close_blocking(s->k.batcher, 100000);
    }
}

START_TEST(test_each_item_ends_once_whatever_happens)
{
    storm *s = calloc(1, sizeof *s);
    kit_init(&s->k);
    s->closes = _i & 1;
    s->k.config.done = kit_done;
    s->k.config.queue.concurrency = 1 + (uint32_t)_i % 3;
    s->k.config.queue.max_queued = 60;
    s->k.config.queue.on_full = (perf_batch_full)(_i % 5);
    s->k.config.queue.isolation = (perf_batch_isolation)(_i % 3);
    kit_open(&s->k);
    kit_warm_up(&s->k);
    s->k.number = s->k.calls;
    s->k.script = misbehave;
    pt_parallel(THREADS, rage, s);
    perf_batcher_close_blocking(s->k.batcher, _i & 2 ? UINT64_MAX : 0);
    kit_add_up(&s->k);
    perf_batch_stats stats = kit_stats(&s->k);
    ck_assert_uint_eq(stats.queued + stats.blocked + stats.running, 0);
    uint64_t ok = 0, ended = 0;
    for (int t = 0; t < THREADS; t++)
        for (int i = 0; i < JOBS; i++) {
            job *j = &s->jobs[t][i];
            bool is_in = !s->submitted[t][i] && !s->cancelled[t][i];
            PT_ASSERT(atomic_load(&j->ends) == (is_in ? 1 : 0));
            PT_ASSERT(!is_in || j->err || kit_is_right(j));
            ended += is_in;
            ok += is_in && !j->err;
        }
    if (_i == 0 || _i == 6 || _i == 10) { /* nothing is shed, nor closed soon */
        ck_assert_uint_gt(ok, 0);
        ck_assert_uint_gt(ended, ok);
    }
    kit_close(&s->k);
    free(s);
}
END_TEST

/* ---- waiting for items that somebody cancels ---- */

typedef struct pair {
    kit k;
    job jobs[2 * JOBS];
    atomic_uint at; /* so many are submitted */
} pair;

static void
wait_or_cancel(unsigned index, void *ctx)
{
    pair *p = ctx;
    for (uint32_t i = 0; i < 2 * JOBS; i++) {
        if (index == 0) {
            kit_submit(&p->k, &p->jobs[i], 1);
            atomic_store(&p->at, i + 1);
        }
        while (atomic_load(&p->at) <= i)
            sched_yield();
        if (index == 1) {
            perf_batcher_cancel_blocking(p->k.batcher, &p->jobs[i].item);
            continue;
        }
        perf_err err = kit_wait(&p->k, &p->jobs[i]);
        PT_ASSERT(err == PERF_ERR_CLOSED ||
                  (!err && kit_is_right(&p->jobs[i])));
    }
}

START_TEST(test_whoever_waits_hears_of_a_cancel)
{
    pair *p = calloc(1, sizeof *p);
    kit_init(&p->k);
    kit_open(&p->k);
    kit_number(p->jobs, 2 * JOBS);
    pt_parallel(4, wait_or_cancel, p);
    perf_batch_stats s = kit_stats(&p->k);
    ck_assert_uint_eq(s.finished + s.cancelled, 2 * JOBS);
    kit_close(&p->k);
    free(p);
}
END_TEST

/* ---- workers that come and go ---- */

static void
submit_now_and_then(unsigned index, void *ctx)
{
    kit *k = ctx;
    job j;
    for (int i = 0; i < 500; i++) {
        kit_number(&j, 1);
        j.number = index;
        kit_submit(k, &j, 1);
        PT_ASSERT(!kit_wait(k, &j) && kit_is_right(&j));
    }
}

START_TEST(test_no_item_is_forgotten_by_workers_that_end)
{
    kit k;
    kit_init(&k);
    k.config.idle_ns = _i ? 20000 : 0;
    k.config.queue.concurrency = 2;
    kit_open(&k);
    pt_parallel(3, submit_now_and_then, &k);
    ck_assert_uint_eq(kit_stats(&k).finished, 1500);
    kit_close(&k);
}
END_TEST

int
main(void)
{
    TCase *t = pt_begin("batcher.batcher_threads");
    tcase_add_loop_test(t, test_each_item_gets_its_result_whoever_submits, 0,
                        4);
    tcase_add_loop_test(t, test_each_item_ends_once_whatever_happens, 0, 15);
    tcase_add_test(t, test_whoever_waits_hears_of_a_cancel);
    tcase_add_loop_test(t, test_no_item_is_forgotten_by_workers_that_end, 0, 2);
    return pt_end();
}
