/* test_batcher.c - a batcher with threads: what becomes of items. */
#include "test_batcher_kit.h"

#include <stdlib.h>

START_TEST(test_each_item_gets_its_own_result)
{
    kit k;
    job jobs[100];
    perf_batch_item *items[100];
    size_t done = 0;
    kit_init(&k);
    kit_open(&k);
    kit_number(jobs, 100);
    for (int i = 0; i < 100; i++)
        items[i] = &jobs[i].item;
    ck_assert_int_eq(
        perf_batcher_submit_many_blocking(k.batcher, items, 100, &done),
        PERF_OK);
    ck_assert_uint_eq(done, 100);
    for (int i = 99; i >= 0; i--) {
        ck_assert_int_eq(kit_wait(&k, &jobs[i]), PERF_OK);
        ck_assert(kit_is_right(&jobs[i]));
        ck_assert_int_eq(kit_wait(&k, &jobs[i]), PERF_OK); /* again */
    }
    ck_assert_uint_le(k.most_items, 10);
    ck_assert_uint_eq(kit_stats(&k).finished, 100);
    kit_add_up(&k);
    kit_close(&k);
}
END_TEST

static pthread_t main_thread;

static void
end_elsewhere(perf_batch_item *item, perf_err err, void *ctx)
{
    PT_ASSERT(!pthread_equal(pthread_self(), main_thread));
    kit_done(item, err, ctx);
}

START_TEST(test_done_is_called_once_in_a_worker)
{
    kit k;
    job jobs[50];
    main_thread = pthread_self();
    kit_init(&k);
    k.config.done = end_elsewhere;
    kit_open(&k);
    kit_number(jobs, 50);
    kit_submit(&k, jobs, 50);
    for (int i = 0; i < 50; i++)
        kit_await(&k.ended);
    kit_close(&k);
    for (int i = 0; i < 50; i++) {
        ck_assert_uint_eq(jobs[i].ends, 1);
        ck_assert_int_eq(jobs[i].err, PERF_OK);
    }
}
END_TEST

START_TEST(test_what_is_wrong_is_refused)
{
    kit k;
    job j;
    perf_batcher *none = (perf_batcher *)&k;
    kit_init(&k);
    kit_number(&j, 1);
    ck_assert_int_eq(perf_batcher_create(NULL, &none), PERF_ERR_INVALID);
    ck_assert_ptr_null(none);
    ck_assert_int_eq(perf_batcher_create(&k.config, NULL), PERF_ERR_INVALID);
    k.config.process = NULL;
    ck_assert_int_eq(perf_batcher_create(&k.config, &none), PERF_ERR_INVALID);
    k.config.process = kit_process;
    k.config.queue.max_items = 0;
    ck_assert_int_eq(perf_batcher_create(&k.config, &none), PERF_ERR_RANGE);
    k.config.queue.max_items = 10;
    kit_open(&k);
    perf_batcher *b = k.batcher;
    ck_assert_int_eq(perf_batcher_submit_blocking(NULL, &j.item),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_batcher_submit_blocking(b, NULL), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_batcher_submit_many_blocking(b, NULL, 1, NULL),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_batcher_submit_many_blocking(b, NULL, 0, NULL),
                     PERF_OK);
    ck_assert_int_eq(perf_batcher_wait_blocking(b, &j.item, 0),
                     PERF_ERR_INVALID); /* never submitted */
    ck_assert(!perf_batcher_cancel_blocking(b, &j.item));
    j.item.priority = PERF_PRIORITIES;
    ck_assert_int_eq(perf_batcher_submit_blocking(b, &j.item),
                     PERF_ERR_INVALID);
    j.item.priority = 0;
    j.item.tenant = 1;
    ck_assert_int_eq(perf_batcher_submit_blocking(b, &j.item),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_batcher_close_blocking(NULL, 0), PERF_ERR_INVALID);
    perf_batcher_destroy_blocking(NULL);
    kit_close(&k);
}
END_TEST

START_TEST(test_the_first_that_fails_ends_a_submission_of_many)
{
    kit k;
    job jobs[5];
    perf_batch_item *items[5];
    size_t done = 9;
    kit_init(&k);
    kit_open(&k);
    kit_number(jobs, 5);
    for (int i = 0; i < 5; i++)
        items[i] = &jobs[i].item;
    jobs[2].item.priority = 99;
    ck_assert_int_eq(
        perf_batcher_submit_many_blocking(k.batcher, items, 5, &done),
        PERF_ERR_INVALID);
    ck_assert_uint_eq(done, 2);
    ck_assert_int_eq(kit_wait(&k, &jobs[0]), PERF_OK);
    ck_assert_int_eq(kit_wait(&k, &jobs[1]), PERF_OK);
    ck_assert_int_eq(jobs[2].item.state, PERF_BATCH_NEW);
    ck_assert_int_eq(jobs[3].item.state, PERF_BATCH_NEW);
    kit_close(&k);
}
END_TEST

START_TEST(test_tenants_have_numbers)
{
    kit k;
    job j;
    uint32_t tenant = 0;
    kit_init(&k);
    kit_open(&k);
    ck_assert_int_eq(perf_batcher_tenant_add_blocking(k.batcher, 2, &tenant),
                     PERF_OK);
    ck_assert_int_eq(perf_batcher_tenant_add_blocking(NULL, 2, &tenant),
                     PERF_ERR_INVALID);
    kit_number(&j, 1);
    j.item.tenant = tenant;
    kit_submit(&k, &j, 1);
    ck_assert_int_eq(kit_wait(&k, &j), PERF_OK);
    kit_close(&k);
}
END_TEST

START_TEST(test_what_comes_while_a_batch_runs_goes_together)
{
    kit k;
    job first, jobs[25];
    kit_init(&k);
    kit_open(&k);
    kit_hold(&k, &first);
    kit_number(jobs, 25);
    kit_submit(&k, jobs, 25);
    kit_release(&k);
    for (int i = 0; i < 25; i++)
        ck_assert_int_eq(kit_wait(&k, &jobs[i]), PERF_OK);
    ck_assert_uint_eq(k.calls, 1 + 3);
    ck_assert_uint_eq(k.most_items, 10);
    ck_assert_uint_eq(k.most_running, 1);
    kit_close(&k);
}
END_TEST

START_TEST(test_no_more_batches_run_at_a_time_than_were_allowed)
{
    kit k;
    job jobs[9];
    kit_init(&k);
    k.config.queue.concurrency = 3;
    k.config.queue.max_items = 1;
    kit_open(&k);
    atomic_store(&k.held, true);
    kit_number(jobs, 9);
    kit_submit(&k, jobs, 9);
    for (int i = 0; i < 3; i++)
        kit_await(&k.entered);
    ck_assert_uint_eq(kit_stats(&k).running, 3);
    ck_assert_uint_eq(kit_stats(&k).queued, 6);
    for (int i = 0; i < 9; i++)
        sem_post(&k.go);
    for (int i = 0; i < 9; i++)
        ck_assert_int_eq(kit_wait(&k, &jobs[i]), PERF_OK);
    ck_assert_uint_eq(k.most_running, 3);
    kit_close(&k);
}
END_TEST

START_TEST(test_a_wait_that_is_over_leaves_the_item_where_it_is)
{
    kit k;
    job j;
    kit_init(&k);
    kit_open(&k);
    kit_hold(&k, &j);
    ck_assert_int_eq(perf_batcher_wait_blocking(k.batcher, &j.item, 0),
                     PERF_ERR_TIMEOUT);
    ck_assert_int_eq(perf_batcher_wait_blocking(k.batcher, &j.item, 1000),
                     PERF_ERR_TIMEOUT);
    ck_assert(!perf_batcher_cancel_blocking(k.batcher, &j.item));
    kit_release(&k);
    ck_assert_int_eq(kit_wait(&k, &j), PERF_OK);
    kit_close(&k);
}
END_TEST

START_TEST(test_whoever_has_done_does_not_wait)
{
    kit k;
    job j;
    kit_init(&k);
    k.config.done = kit_done;
    kit_open(&k);
    kit_hold(&k, &j);
    ck_assert_int_eq(perf_batcher_wait_blocking(k.batcher, &j.item, 0),
                     PERF_ERR_INVALID);
    kit_release(&k);
    kit_close(&k);
    ck_assert_uint_eq(j.ends, 1);
}
END_TEST

/* ---- times ---- */

START_TEST(test_a_time_is_over_while_all_slots_are_busy)
{
    kit k;
    job first, late;
    kit_init(&k);
    kit_open(&k);
    kit_hold(&k, &first);
    kit_number(&late, 1);
    if (_i)
        late.item.deadline_ns = perf_clock_now_ns() + 2000000;
    else
        late.item.start_by_ns = perf_clock_now_ns() + 2000000;
    kit_submit(&k, &late, 1);
    ck_assert_int_eq(kit_wait(&k, &late), PERF_ERR_TIMEOUT);
    ck_assert_uint_eq(k.running, 1); /* still */
    kit_release(&k);
    ck_assert_int_eq(kit_wait(&k, &first), PERF_OK);
    ck_assert_uint_eq(kit_stats(&k).expired, 1);
    kit_close(&k);
}
END_TEST

static perf_err
outlast(kit *k, job **jobs, uint32_t count, uint64_t *retry_ns)
{
    (void)retry_ns;
    for (uint32_t i = 0; i < count; i++)
        while (perf_clock_now_ns() <= jobs[i]->item.deadline_ns)
            PT_ASSERT(jobs[i]->ends == 0);
    kit_await(&k->go);
    for (uint32_t i = 0; i < count; i++)
        PT_ASSERT(jobs[i]->ends == 0); /* `process` has it */
    return PERF_OK;
}

/* The watcher has named it meanwhile: the queue knows. */
START_TEST(test_an_item_that_is_late_in_its_batch_ends_with_the_batch)
{
    kit k;
    job j;
    kit_init(&k);
    k.config.done = kit_done;
    k.script = outlast;
    kit_open(&k);
    kit_number(&j, 1);
    j.item.deadline_ns = perf_clock_now_ns() + 10000000;
    kit_submit(&k, &j, 1);
    while (!kit_stats(&k).expired)
        sched_yield();
    sem_post(&k.go);
    kit_await(&k.ended);
    ck_assert_int_eq(j.err, PERF_ERR_TIMEOUT);
    kit_close(&k);
    ck_assert_uint_eq(j.ends, 1);
}
END_TEST

/* ---- failures ---- */

static perf_err
fail_poison(kit *k, job **jobs, uint32_t count, uint64_t *retry_ns)
{
    (void)k;
    (void)retry_ns;
    for (uint32_t i = 0; i < count; i++)
        if (jobs[i]->number == KIT_POISON)
            return PERF_ERR_CORRUPT;
    return PERF_OK;
}

START_TEST(test_one_bad_item_is_found)
{
    static const uint32_t calls[] = {1, 1 + 2 * 3, 1 + 8};
    kit k;
    job first, jobs[8];
    kit_init(&k);
    k.config.queue.isolation = (perf_batch_isolation)_i;
    k.script = fail_poison;
    kit_open(&k);
    kit_hold(&k, &first);
    kit_number(jobs, 8);
    jobs[5].number = KIT_POISON;
    kit_submit(&k, jobs, 8);
    kit_release(&k);
    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(kit_wait(&k, &jobs[i]),
                         i == 5 || !_i ? PERF_ERR_CORRUPT : PERF_OK);
    ck_assert_uint_eq(k.calls, 1 + calls[_i]);
    ck_assert_uint_eq(kit_stats(&k).failed, _i ? 1 : 8);
    kit_close(&k);
}
END_TEST

static perf_err
refuse_twice(kit *k, job **jobs, uint32_t count, uint64_t *retry_ns)
{
    (void)jobs;
    (void)count;
    if (k->number++ >= 2)
        return PERF_OK;
    *retry_ns = 2000000;
    return PERF_ERR_FULL;
}

START_TEST(test_what_was_refused_is_tried_again_after_the_pause)
{
    kit k;
    job jobs[4];
    kit_init(&k);
    kit_open(&k);
    kit_warm_up(&k);
    k.script = refuse_twice;
    kit_number(jobs, 4);
    uint64_t before = perf_clock_now_ns();
    kit_submit(&k, jobs, 4);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(kit_wait(&k, &jobs[i]), PERF_OK);
    ck_assert_uint_ge(perf_clock_now_ns() - before, 4000000);
    ck_assert_uint_eq(kit_stats(&k).batches_throttled, 2);
    kit_close(&k);
}
END_TEST

static perf_err
be_full(kit *k, job **jobs, uint32_t count, uint64_t *retry_ns)
{
    (void)k;
    (void)jobs;
    (void)count;
    (void)retry_ns;
    return PERF_ERR_FULL;
}

START_TEST(test_full_without_a_time_is_a_failure)
{
    kit k;
    job j;
    kit_init(&k);
    k.script = be_full;
    kit_open(&k);
    kit_number(&j, 1);
    kit_submit(&k, &j, 1);
    ck_assert_int_eq(kit_wait(&k, &j), PERF_ERR_FULL);
    ck_assert_uint_eq(kit_stats(&k).batches_throttled, 0);
    kit_close(&k);
}
END_TEST

/* ---- threads come and go ---- */

static uint32_t
count_threads(kit *k)
{
    pthread_mutex_lock(&k->batcher->lock);
    uint32_t n = k->batcher->workers;
    pthread_mutex_unlock(&k->batcher->lock);
    return n;
}

START_TEST(test_workers_come_with_items_and_end_when_idle)
{
    kit k;
    job j;
    kit_init(&k);
    k.config.idle_ns = 0;
    kit_open(&k);
    ck_assert_uint_eq(count_threads(&k), 0);
    for (int i = 0; i < 20; i++) {
        kit_number(&j, 1);
        kit_submit(&k, &j, 1);
        ck_assert_int_eq(kit_wait(&k, &j), PERF_OK);
        while (count_threads(&k))
            sched_yield();
    }
    kit_close(&k);
}
END_TEST

START_TEST(test_an_idle_worker_stays_as_long_as_it_was_told)
{
    kit k;
    job jobs[50];
    kit_init(&k);
    kit_open(&k);
    kit_number(jobs, 50);
    for (int i = 0; i < 50; i++) {
        kit_submit(&k, &jobs[i], 1);
        ck_assert_int_eq(kit_wait(&k, &jobs[i]), PERF_OK);
    }
    uint32_t threads = count_threads(&k);
    ck_assert(threads >= 1 && threads <= 2);
    kit_close(&k);
}
END_TEST

START_TEST(test_every_allocation_may_fail)
{
    bool made = false;
    for (uint64_t allowed = 0; !made; allowed++) {
        kit k;
        job j;
        pt_alloc alloc;
        pt_alloc_init(&alloc, allowed);
        kit_init(&k);
        k.config.queue.allocator = &alloc.face;
        perf_err err = perf_batcher_create(&k.config, &k.batcher);
        ck_assert(err == PERF_OK || err == PERF_ERR_NOMEM);
        ck_assert((err == PERF_OK) == (k.batcher != NULL));
        if (k.batcher) {
            kit_number(&j, 1);
            err = perf_batcher_submit_blocking(k.batcher, &j.item);
            ck_assert(err == PERF_OK || err == PERF_ERR_NOMEM);
            if (err)
                ck_assert_int_eq(j.item.state, PERF_BATCH_NEW);
            else
                ck_assert_int_eq(kit_wait(&k, &j), PERF_OK);
            made = !err;
        }
        kit_close(&k);
        ck_assert_uint_eq(alloc.live, 0);
        ck_assert(!alloc.wrong_size);
        ck_assert_uint_lt(allowed, 50);
    }
}
END_TEST

int
main(void)
{
    TCase *t = pt_begin("batcher.batcher");
    tcase_add_test(t, test_each_item_gets_its_own_result);
    tcase_add_test(t, test_done_is_called_once_in_a_worker);
    tcase_add_test(t, test_what_is_wrong_is_refused);
    tcase_add_test(t, test_the_first_that_fails_ends_a_submission_of_many);
    tcase_add_test(t, test_tenants_have_numbers);
    tcase_add_test(t, test_what_comes_while_a_batch_runs_goes_together);
    tcase_add_test(t, test_no_more_batches_run_at_a_time_than_were_allowed);
    tcase_add_test(t, test_a_wait_that_is_over_leaves_the_item_where_it_is);
    tcase_add_test(t, test_whoever_has_done_does_not_wait);
    tcase_add_loop_test(t, test_a_time_is_over_while_all_slots_are_busy, 0, 2);
    tcase_add_test(t,
                   test_an_item_that_is_late_in_its_batch_ends_with_the_batch);
    tcase_add_loop_test(t, test_one_bad_item_is_found, 0, 3);
    tcase_add_test(t, test_what_was_refused_is_tried_again_after_the_pause);
    tcase_add_test(t, test_full_without_a_time_is_a_failure);
    tcase_add_test(t, test_workers_come_with_items_and_end_when_idle);
    tcase_add_test(t, test_an_idle_worker_stays_as_long_as_it_was_told);
    tcase_add_test(t, test_every_allocation_may_fail);
    return pt_end();
}
