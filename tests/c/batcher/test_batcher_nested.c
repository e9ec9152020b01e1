/* test_batcher_nested.c - `process` submits and waits: it does the work itself,
 * and never hangs. */
#include "test_batcher_kit.h"

#include <stdlib.h>

/* A number is the sum of those below it, down to 0: many waits in waits. */
static perf_err
add_up(kit *k, job **jobs, uint32_t count, uint64_t *retry_ns)
{
    (void)retry_ns;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t n = jobs[i]->number;
        job below[2];
        if (!n)
            continue;
        kit_number(below, 2);
        below[0].number = below[1].number = n - 1;
        kit_submit(k, below, 2);
        PT_ASSERT(!kit_wait(k, &below[0]) && !kit_wait(k, &below[1]));
        PT_ASSERT(kit_is_right(&below[0]) && kit_is_right(&below[1]));
    }
    return PERF_OK;
}

/* Bit 0: several slots; bit 1: a batch has no room on the stack. */
START_TEST(test_waits_in_waits_come_to_an_end)
{
    kit k;
    job jobs[12];
    kit_init(&k);
    k.script = add_up;
    k.config.queue.concurrency = _i & 1 ? 3 : 1;
    k.config.queue.max_items = _i & 2 ? 100 : 4;
    kit_open(&k);
    kit_number(jobs, 12);
    for (int i = 0; i < 12; i++)
        jobs[i].number = 5;
    kit_submit(&k, jobs, 12);
    for (int i = 0; i < 12; i++)
        ck_assert_int_eq(kit_wait(&k, &jobs[i]), PERF_OK);
    ck_assert_uint_eq(k.turns, 12 * 63);
    perf_batch_stats s = kit_stats(&k);
    ck_assert_uint_eq(s.submitted, 12 * 63);
    ck_assert_uint_eq(s.finished, 12 * 63);
    ck_assert_uint_gt(s.reasons[PERF_BATCH_REASON_NESTED], 0);
    kit_close(&k);
}
END_TEST

static pthread_t processing;

static perf_err
wait_for_one(kit *k, job **jobs, uint32_t count, uint64_t *retry_ns)
{
    (void)count;
    (void)retry_ns;
    if (jobs[0]->number) {
        PT_ASSERT(pthread_equal(processing, pthread_self()));
        return (perf_err)k->number;
    }
    job inner;
    processing = pthread_self();
    kit_number(&inner, 1);
    inner.number = 1;
    kit_submit(k, &inner, 1);
    PT_ASSERT(kit_wait(k, &inner) == (perf_err)k->number);
    return PERF_OK;
}

START_TEST(test_it_is_processed_in_the_thread_that_waits)
{
    kit k;
    job j;
    kit_init(&k);
    k.script = wait_for_one;
    k.number = _i ? (uint64_t)PERF_ERR_CORRUPT : 0;
    kit_open(&k);
    kit_number(&j, 1);
    kit_submit(&k, &j, 1);
    ck_assert_int_eq(kit_wait(&k, &j), PERF_OK);
    kit_close(&k);
}
END_TEST

static perf_err
wait_again(kit *k, job **jobs, uint32_t count, uint64_t *retry_ns)
{
    (void)count;
    if (jobs[0]->number) {
        if (k->number++ >= 2)
            return PERF_OK;
        *retry_ns = 1000000;
        return PERF_ERR_FULL;
    }
    job inner;
    kit_number(&inner, 1);
    inner.number = 1;
    kit_submit(k, &inner, 1);
    PT_ASSERT(!kit_wait(k, &inner) && kit_is_right(&inner));
    return PERF_OK;
}

/* One slot, which the outer batch holds all the time. */
START_TEST(test_what_was_refused_comes_back_to_who_waits)
{
    kit k;
    job j;
    kit_init(&k);
    kit_open(&k);
    kit_warm_up(&k);
    k.script = wait_again;
    kit_number(&j, 1);
    kit_submit(&k, &j, 1);
    ck_assert_int_eq(kit_wait(&k, &j), PERF_OK);
    ck_assert_uint_eq(kit_stats(&k).batches_throttled, 2);
    kit_close(&k);
}
END_TEST

static void
fill_queue(kit *k, job *jobs, uint32_t count)
{
    kit_number(jobs, count);
    for (uint32_t i = 0; i < count; i++)
        jobs[i].number = 1 + i;
    kit_submit(k, jobs, count);
}

/* There is room for two; nobody would ever make more. */
static perf_err
submit_too_many(kit *k, job **jobs, uint32_t count, uint64_t *retry_ns)
{
    enum { N = 9 };
    (void)count;
    (void)retry_ns;
    if (jobs[0]->number)
        return PERF_OK;
    job inner[N];
    fill_queue(k, inner, N);
    PT_ASSERT(kit_stats(k).blocked == N - 2);
    for (int i = N - 1; i >= 0; i--)
        PT_ASSERT(!kit_wait(k, &inner[i]) && kit_is_right(&inner[i]));
    kit_add_up(k);
    return PERF_OK;
}

START_TEST(test_process_does_not_wait_for_room)
{
    kit k;
    job j;
    kit_init(&k);
    k.config.queue.max_queued = 2;
    k.script = submit_too_many;
    kit_open(&k);
    kit_number(&j, 1);
    kit_submit(&k, &j, 1);
    ck_assert_int_eq(kit_wait(&k, &j), PERF_OK);
    kit_add_up(&k);
    kit_close(&k);
}
END_TEST

/* The inner ones fail together with others, and come back one by one. */
static perf_err
fail_together(kit *k, job **jobs, uint32_t count, uint64_t *retry_ns)
{
    enum { N = 4 };
    (void)retry_ns;
    if (jobs[0]->number)
        return count > 1 ? PERF_ERR_CORRUPT : PERF_OK;
    job inner[N];
    fill_queue(k, inner, N);
    atomic_fetch_add(&k->turns, 1);
    for (int i = N - 1; i >= 0; i--)
        PT_ASSERT(!kit_wait(k, &inner[i]) && kit_is_right(&inner[i]));
    return PERF_OK;
}

START_TEST(test_what_is_tried_again_is_found_by_who_waits)
{
    kit k;
    job jobs[40];
    kit_init(&k);
    k.config.queue.isolation = (perf_batch_isolation)(1 + _i);
    k.config.queue.concurrency = 2;
    k.script = fail_together;
    kit_open(&k);
    for (int i = 0; i < 40; i++) {
        kit_number(&jobs[i], 1);
        jobs[i].number = (uint32_t)i % 4;
        kit_submit(&k, &jobs[i], 1);
        if (i % 4 == 0)
            ck_assert_int_eq(kit_wait(&k, &jobs[i]), PERF_OK);
    }
    for (int i = 0; i < 40; i++)
        ck_assert_int_eq(kit_wait(&k, &jobs[i]), PERF_OK);
    kit_add_up(&k);
    kit_close(&k);
}
END_TEST

/* A wait in `process` may be bounded, too. */
static perf_err
wait_a_while(kit *k, job **jobs, uint32_t count, uint64_t *retry_ns)
{
    (void)count;
    if (jobs[0]->number) {
        *retry_ns = UINT64_MAX / 2;
        return PERF_ERR_FULL;
    }
    job *inner = (job *)(uintptr_t)k->number;
    kit_number(inner, 1);
    inner->number = 1;
    kit_submit(k, inner, 1);
    perf_err err =
        perf_batcher_wait_blocking(k->batcher, &inner->item, 1000000);
    PT_ASSERT(err == PERF_ERR_TIMEOUT);
    PT_ASSERT(perf_batcher_cancel_blocking(k->batcher, &inner->item));
    return PERF_OK;
}

START_TEST(test_a_wait_in_process_is_over_in_time)
{
    kit k;
    job j, inner;
    kit_init(&k);
    k.script = wait_a_while;
    k.number = (uintptr_t)&inner;
    kit_open(&k);
    kit_number(&j, 1);
    kit_submit(&k, &j, 1);
    ck_assert_int_eq(kit_wait(&k, &j), PERF_OK);
    kit_close(&k);
}
END_TEST

/* What was submitted before the end is processed. */
static perf_err
close_and_wait(kit *k, job **jobs, uint32_t count, uint64_t *retry_ns)
{
    (void)count;
    (void)retry_ns;
    if (jobs[0]->number)
        return PERF_OK;
    job inner[3];
    fill_queue(k, inner, 3);
    perf_batcher_close_blocking(k->batcher, k->number);
    perf_err expected = k->number ? PERF_OK : PERF_ERR_CLOSED;
    for (int i = 2; i >= 0; i--)
        PT_ASSERT(kit_wait(k, &inner[i]) == expected);
    return PERF_OK;
}

START_TEST(test_who_waits_in_process_is_told_of_the_end)
{
    kit k;
    job j;
    kit_init(&k);
    k.script = close_and_wait;
    k.number = _i ? UINT64_MAX : 0;
    kit_open(&k);
    kit_number(&j, 1);
    kit_submit(&k, &j, 1);
    ck_assert_int_eq(kit_wait(&k, &j), PERF_OK);
    kit_close(&k);
}
END_TEST

int
main(void)
{
    TCase *t = pt_begin("batcher.batcher_nested");
    tcase_add_loop_test(t, test_waits_in_waits_come_to_an_end, 0, 4);
    tcase_add_loop_test(t, test_it_is_processed_in_the_thread_that_waits, 0, 2);
    tcase_add_test(t, test_what_was_refused_comes_back_to_who_waits);
    tcase_add_test(t, test_process_does_not_wait_for_room);
    tcase_add_loop_test(t, test_what_is_tried_again_is_found_by_who_waits, 0,
                        2);
    tcase_add_test(t, test_a_wait_in_process_is_over_in_time);
    tcase_add_loop_test(t, test_who_waits_in_process_is_told_of_the_end, 0, 2);
    return pt_end();
}
