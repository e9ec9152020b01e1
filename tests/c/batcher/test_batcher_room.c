/* test_batcher_room.c - what becomes of items that come to a full queue, and of
 * those that nobody wants any more. */
#include "test_batcher_kit.h"

/* ---- full ---- */

START_TEST(test_a_full_queue_rejects)
{
    kit k;
    job first, jobs[3];
    kit_init(&k);
    k.config.queue.max_queued = 2;
    k.config.queue.on_full = PERF_BATCH_FULL_REJECT;
    kit_open(&k);
    kit_hold(&k, &first);
    kit_number(jobs, 3);
    kit_submit(&k, jobs, 2);
    ck_assert_int_eq(perf_batcher_submit_blocking(k.batcher, &jobs[2].item),
                     PERF_ERR_FULL);
    ck_assert_int_eq(jobs[2].item.state, PERF_BATCH_NEW);
    kit_release(&k);
    ck_assert_int_eq(kit_wait(&k, &jobs[1]), PERF_OK);
    kit_close(&k);
}
END_TEST

START_TEST(test_who_is_shed_hears_of_it)
{
    kit k;
    job first, jobs[3];
    kit_init(&k);
    k.config.queue.max_queued = 2;
    k.config.queue.on_full = PERF_BATCH_FULL_SHED_OLDEST;
    kit_open(&k);
    kit_hold(&k, &first);
    kit_number(jobs, 3);
    kit_submit(&k, jobs, 3);
    ck_assert_int_eq(kit_wait(&k, &jobs[0]), PERF_ERR_FULL);
    kit_release(&k);
    ck_assert_int_eq(kit_wait(&k, &jobs[1]), PERF_OK);
    ck_assert_int_eq(kit_wait(&k, &jobs[2]), PERF_OK);
    kit_close(&k);
}
END_TEST

typedef struct submitter {
    kit *k;
    job *j;
    pthread_t thread;
    perf_err err;
} submitter;

static void *
submit_one(void *arg)
{
    submitter *s = arg;
    s->err = perf_batcher_submit_blocking(s->k->batcher, &s->j->item);
    return NULL;
}

static void
start_submitter(submitter *s, kit *k, job *j)
{
    *s = (submitter){.k = k, .j = j, .err = PERF_ERR_UNSUPPORTED};
    uint64_t blocked = kit_stats(k).blocked;
    pthread_create(&s->thread, NULL, submit_one, s);
    kit_await_blocked(k, blocked + 1);
}

static void
open_full(kit *k, job *first, job *second)
{
    kit_init(k);
    k->config.queue.max_queued = 1;
    k->config.queue.max_items = 1;
    kit_open(k);
    kit_hold(k, first);
    kit_number(second, 1);
    kit_submit(k, second, 1);
}

START_TEST(test_who_waits_for_room_comes_in_as_he_came)
{
    enum { N = 6 };
    kit k;
    job first, second, jobs[N];
    submitter s[N];
    open_full(&k, &first, &second);
    kit_number(jobs, N);
    for (int i = 0; i < N; i++)
        start_submitter(&s[i], &k, &jobs[i]);
    kit_release(&k);
    for (int i = 0; i < N; i++) {
        pthread_join(s[i].thread, NULL);
        ck_assert_int_eq(s[i].err, PERF_OK);
        ck_assert_int_eq(kit_wait(&k, &jobs[i]), PERF_OK);
        ck_assert_uint_eq(jobs[i].turn, (uint64_t)i + 2);
    }
    kit_close(&k);
}
END_TEST

START_TEST(test_who_waits_for_room_does_so_no_longer_than_its_times)
{
    kit k;
    job first, second, late;
    open_full(&k, &first, &second);
    kit_number(&late, 1);
    late.item.deadline_ns = perf_clock_now_ns() + 2000000;
    ck_assert_int_eq(perf_batcher_submit_blocking(k.batcher, &late.item),
                     PERF_ERR_TIMEOUT);
    ck_assert_int_eq(perf_batcher_wait_blocking(k.batcher, &late.item, 0),
                     PERF_ERR_INVALID); /* as if it had not been submitted */
    kit_release(&k);
    ck_assert_int_eq(kit_wait(&k, &second), PERF_OK);
    kit_add_up(&k);
    kit_close(&k);
}
END_TEST

static void *
close_now(void *arg)
{
    submitter *s = arg;
    s->err = perf_batcher_close_blocking(s->k->batcher, 0);
    return NULL;
}

START_TEST(test_who_waits_for_room_is_told_of_the_end)
{
    kit k;
    job first, second, jobs[2];
    submitter s[2], closer = {.k = &k};
    open_full(&k, &first, &second);
    kit_number(jobs, 2);
    for (int i = 0; i < 2; i++)
        start_submitter(&s[i], &k, &jobs[i]);
    ck_assert(perf_batcher_cancel_blocking(k.batcher, &jobs[0].item));
    pthread_join(s[0].thread, NULL);
    ck_assert_int_eq(s[0].err, PERF_OK);
    pthread_create(&closer.thread, NULL, close_now, &closer);
    pthread_join(s[1].thread, NULL);
    ck_assert_int_eq(s[1].err, PERF_ERR_CLOSED);
    ck_assert_int_eq(kit_wait(&k, &second), PERF_ERR_CLOSED);
    kit_release(&k);
    pthread_join(closer.thread, NULL);
    ck_assert_int_eq(closer.err, PERF_ERR_TIMEOUT);
    ck_assert_int_eq(kit_wait(&k, &first), PERF_OK);
    kit_close(&k);
}
END_TEST

/* ---- cancelling ---- */

static void *
wait_for_it(void *arg)
{
    submitter *s = arg;
    s->err = kit_wait(s->k, s->j);
    return NULL;
}

START_TEST(test_what_is_cancelled_is_the_callers_again)
{
    kit k;
    job first, jobs[3];
    kit_init(&k);
    kit_open(&k);
    kit_hold(&k, &first);
    kit_number(jobs, 3);
    kit_submit(&k, jobs, 3);
    submitter s = {.k = &k, .j = &jobs[0]};
    pthread_create(&s.thread, NULL, wait_for_it, &s);
    ck_assert(perf_batcher_cancel_blocking(k.batcher, &jobs[0].item));
    ck_assert(!perf_batcher_cancel_blocking(k.batcher, &jobs[0].item));
    pthread_join(s.thread, NULL);
    ck_assert_int_eq(s.err, PERF_ERR_CLOSED);
    kit_submit(&k, jobs, 1); /* again */
    kit_release(&k);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(kit_wait(&k, &jobs[i]), PERF_OK);
    ck_assert(!perf_batcher_cancel_blocking(k.batcher, &jobs[1].item));
    ck_assert_uint_eq(kit_stats(&k).cancelled, 1);
    kit_add_up(&k);
    kit_close(&k);
}
END_TEST

int
main(void)
{
    TCase *t = pt_begin("batcher.batcher_room");
    tcase_add_test(t, test_a_full_queue_rejects);
    tcase_add_test(t, test_who_is_shed_hears_of_it);
    tcase_add_test(t, test_who_waits_for_room_comes_in_as_he_came);
    tcase_add_test(t, test_who_waits_for_room_does_so_no_longer_than_its_times);
    tcase_add_test(t, test_who_waits_for_room_is_told_of_the_end);
    tcase_add_test(t, test_what_is_cancelled_is_the_callers_again);
    return pt_end();
}
