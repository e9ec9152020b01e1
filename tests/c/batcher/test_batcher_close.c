/* test_batcher_close.c - closing and destroying leave nobody behind, whatever
 * is going on. */
#include "test_batcher_kit.h"

#include <stdlib.h>

typedef struct closer {
    kit *k;
    job *j;
    uint64_t timeout_ns;
    pthread_t thread;
    perf_err err;
} closer;

static void *
close_it(void *arg)
{
    closer *c = arg;
    c->err = perf_batcher_close_blocking(c->k->batcher, c->timeout_ns);
    return NULL;
}

static void *
wait_for_it(void *arg)
{
    closer *c = arg;
    c->err = kit_wait(c->k, c->j);
    return NULL;
}

/* One batch runs, and there are as many others behind it. */
static void
open_with(kit *k, job *first, job *jobs, uint32_t count)
{
    kit_init(k);
    kit_open(k);
    kit_hold(k, first);
    kit_number(jobs, count);
    kit_submit(k, jobs, count);
}

START_TEST(test_what_is_queued_is_still_processed)
{
    kit k;
    job first, late, jobs[35];
    open_with(&k, &first, jobs, 35);
    kit_release(&k);
    ck_assert_int_eq(perf_batcher_close_blocking(k.batcher, UINT64_MAX),
                     PERF_OK);
    for (int i = 0; i < 35; i++) {
        ck_assert_int_eq(
            perf_batcher_wait_blocking(k.batcher, &jobs[i].item, 0), PERF_OK);
        ck_assert(kit_is_right(&jobs[i]));
    }
    kit_number(&late, 1);
    ck_assert_int_eq(perf_batcher_submit_blocking(k.batcher, &late.item),
                     PERF_ERR_CLOSED);
    ck_assert_int_eq(perf_batcher_close_blocking(k.batcher, 0), PERF_OK);
    kit_close(&k);
}
END_TEST

START_TEST(test_nobody_waits_for_more_once_it_is_closed)
{
    kit k;
    job jobs[3];
    kit_init(&k);
    k.config.queue.min_items = 10;
    k.config.queue.max_wait_ns = UINT64_MAX;
    kit_open(&k);
    kit_number(jobs, 3);
    kit_submit(&k, jobs, 3);
    ck_assert_int_eq(perf_batcher_wait_blocking(k.batcher, &jobs[0].item, 1000),
                     PERF_ERR_TIMEOUT);
    ck_assert_int_eq(perf_batcher_close_blocking(k.batcher, UINT64_MAX),
                     PERF_OK);
    ck_assert_int_eq(kit_wait(&k, &jobs[2]), PERF_OK);
    ck_assert_uint_eq(k.calls, 1);
    kit_close(&k);
}
END_TEST

/* 0: at once; else later. What runs is waited for. */
START_TEST(test_what_is_left_is_told_so)
{
    kit k;
    job first, jobs[35];
    closer c = {.k = &k, .timeout_ns = _i ? 2000000 : 0};
    open_with(&k, &first, jobs, 35);
    pthread_create(&c.thread, NULL, close_it, &c);
    for (int i = 0; i < 35; i++)
        ck_assert_int_eq(kit_wait(&k, &jobs[i]), PERF_ERR_CLOSED);
    ck_assert_uint_eq(k.running, 1); /* still */
    kit_release(&k);
    pthread_join(c.thread, NULL);
    ck_assert_int_eq(c.err, PERF_ERR_TIMEOUT);
    ck_assert_int_eq(kit_wait(&k, &first), PERF_OK);
    ck_assert_uint_eq(k.calls, 1);
    kit_add_up(&k);
    kit_close(&k);
}
END_TEST

START_TEST(test_an_earlier_end_counts)
{
    kit k;
    job first, jobs[5];
    closer c = {.k = &k, .timeout_ns = UINT64_MAX};
    open_with(&k, &first, jobs, 5);
    pthread_create(&c.thread, NULL, close_it, &c);
    closer now = {.k = &k};
    pthread_create(&now.thread, NULL, close_it, &now);
    ck_assert_int_eq(kit_wait(&k, &jobs[4]), PERF_ERR_CLOSED);
    kit_release(&k);
    pthread_join(c.thread, NULL);
    pthread_join(now.thread, NULL);
    ck_assert_int_eq(c.err, PERF_ERR_TIMEOUT);
    ck_assert_int_eq(now.err, PERF_ERR_TIMEOUT);
    kit_close(&k);
}
END_TEST

static perf_err
close_inside(kit *k, job **jobs, uint32_t count, uint64_t *retry_ns)
{
    (void)jobs;
    (void)count;
    (void)retry_ns;
    PT_ASSERT(!perf_batcher_close_blocking(k->batcher, k->number));
    return PERF_OK;
}

/* With time: the others are processed. Without: they are not. */
START_TEST(test_process_may_close)
{
    kit k;
    job jobs[30];
    kit_init(&k);
    k.script = close_inside;
    k.number = _i ? UINT64_MAX : 0;
    k.config.queue.min_items = 10;
    k.config.queue.max_wait_ns = UINT64_MAX;
    kit_open(&k);
    kit_number(jobs, 30);
    perf_batch_item *items[30];
    for (int i = 0; i < 30; i++)
        items[i] = &jobs[i].item;
    ck_assert_int_eq(
        perf_batcher_submit_many_blocking(k.batcher, items, 30, NULL), PERF_OK);
    for (int i = 0; i < 30; i++)
        ck_assert_int_eq(kit_wait(&k, &jobs[i]),
                         i < 10 || _i ? PERF_OK : PERF_ERR_CLOSED);
    kit_close(&k);
}
END_TEST

static void
close_in_done(perf_batch_item *item, perf_err err, void *ctx)
{
    kit *k = ctx;
    PT_ASSERT(!perf_batcher_close_blocking(k->batcher, 0));
    kit_done(item, err, ctx);
}

START_TEST(test_done_may_close)
{
    kit k;
    job jobs[10];
    kit_init(&k);
    k.config.done = close_in_done;
    k.config.queue.max_items = 1;
    kit_open(&k);
    kit_number(jobs, 10);
    uint32_t in = 0;
    while (in < 10 && !perf_batcher_submit_blocking(k.batcher, &jobs[in].item))
        in++;
    ck_assert_uint_ge(in, 1);
    for (uint32_t i = 0; i < in; i++)
        kit_await(&k.ended);
    kit_close(&k);
    for (uint32_t i = 0; i < 10; i++)
        ck_assert_uint_eq(jobs[i].ends, i < in);
}
END_TEST

static uint32_t
count_waiting(perf_batcher *b)
{
    uint32_t n = 0;
    for (int i = 0; i < PERFI_STRIPES; i++) {
        pthread_mutex_lock(&b->stripe[i].lock);
        n += b->stripe[i].waiting;
        pthread_mutex_unlock(&b->stripe[i].lock);
    }
    return n;
}

START_TEST(test_destroying_lets_everybody_go)
{
    enum { N = 8 };
    kit k;
    job first, jobs[N];
    closer w[N];
    open_with(&k, &first, jobs, N);
    for (int i = 0; i < N; i++) {
        w[i] = (closer){.k = &k, .j = &jobs[i]};
        pthread_create(&w[i].thread, NULL, wait_for_it, &w[i]);
    }
    while (count_waiting(k.batcher) != N)
        sched_yield();
    kit_release(&k);
    kit_close(&k);
    for (int i = 0; i < N; i++) {
        pthread_join(w[i].thread, NULL);
        ck_assert(w[i].err == PERF_OK || w[i].err == PERF_ERR_CLOSED);
    }
}
END_TEST

START_TEST(test_an_unused_one_is_destroyed)
{
    kit k;
    kit_init(&k);
    kit_open(&k);
    ck_assert_int_eq(perf_batcher_close_blocking(k.batcher, UINT64_MAX),
                     PERF_OK);
    kit_close(&k);
}
END_TEST

static perf_err
refuse_for_ever(kit *k, job **jobs, uint32_t count, uint64_t *retry_ns)
{
    (void)k;
    (void)jobs;
    (void)count;
    *retry_ns = UINT64_MAX;
    return PERF_ERR_FULL;
}

START_TEST(test_a_pause_does_not_keep_it_open)
{
    kit k;
    job jobs[3];
    kit_init(&k);
    k.script = refuse_for_ever;
    kit_open(&k);
    kit_number(jobs, 3);
    kit_submit(&k, jobs, 3);
    while (!kit_stats(&k).batches_throttled)
        sched_yield();
    ck_assert_int_eq(perf_batcher_close_blocking(k.batcher, 2000000),
                     PERF_ERR_TIMEOUT);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(kit_wait(&k, &jobs[i]), PERF_ERR_CLOSED);
    kit_close(&k);
}
END_TEST

int
main(void)
{
    TCase *t = pt_begin("batcher.batcher_close");
    tcase_add_test(t, test_what_is_queued_is_still_processed);
    tcase_add_test(t, test_nobody_waits_for_more_once_it_is_closed);
    tcase_add_loop_test(t, test_what_is_left_is_told_so, 0, 2);
    tcase_add_test(t, test_an_earlier_end_counts);
    tcase_add_loop_test(t, test_process_may_close, 0, 2);
    tcase_add_test(t, test_done_may_close);
    tcase_add_test(t, test_destroying_lets_everybody_go);
    tcase_add_test(t, test_an_unused_one_is_destroyed);
    tcase_add_test(t, test_a_pause_does_not_keep_it_open);
    return pt_end();
}
