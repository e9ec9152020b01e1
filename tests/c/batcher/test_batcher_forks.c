/* test_batcher_forks.c - the child of a fork has an empty batcher that works;
 * its parent goes on. And: what happens where no thread can be started. */
#include "test_batcher_kit.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void
expect_exit(pid_t pid, int code)
{
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, code << 8);
}

static void
use_in_child(kit *k)
{
    job j;
    alarm(20); /* a lock that nobody can give back any more */
    k->script = NULL;
    atomic_store(&k->held, false);
    kit_number(&j, 1);
    PT_CHECK_EQ(perf_batcher_submit_blocking(k->batcher, &j.item), PERF_OK);
    PT_CHECK_EQ(kit_wait(k, &j), PERF_OK);
    PT_CHECK(kit_is_right(&j));
}

START_TEST(test_a_child_has_an_empty_one)
{
    enum { N = 30 };
    kit k;
    job first, jobs[N];
    kit_init(&k);
    kit_open(&k);
    kit_hold(&k, &first);
    kit_number(jobs, N);
    kit_submit(&k, jobs, N);
    pid_t pid = fork();
    if (!pid) {
        perf_batch_stats s = kit_stats(&k);
        PT_CHECK_EQ(s.queued + s.running + s.blocked, 0);
        PT_CHECK_EQ(kit_wait(&k, &jobs[0]), PERF_ERR_CLOSED);
        PT_CHECK_EQ(kit_wait(&k, &first), PERF_ERR_CLOSED);
        use_in_child(&k);
        perf_batcher_destroy_blocking(k.batcher);
        _exit(0);
    }
    expect_exit(pid, 0);
    kit_release(&k);
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(kit_wait(&k, &jobs[i]), PERF_OK);
    kit_close(&k);
}
END_TEST

/* The child's only thread comes back out of `process`. */
static perf_err
fork_inside(kit *k, job **jobs, uint32_t count, uint64_t *retry_ns)
{
    (void)jobs;
    (void)count;
    (void)retry_ns;
    pid_t pid = fork();
    if (!pid) {
        if (k->number)
            return PERF_OK;
        use_in_child(k);
        _exit(7);
    }
    expect_exit(pid, k->number ? 0 : 7);
    return PERF_OK;
}

START_TEST(test_process_may_fork)
{
    kit k;
    job j;
    kit_init(&k);
    k.script = fork_inside;
    k.number = (uint64_t)_i;
    kit_open(&k);
    kit_number(&j, 1);
    kit_submit(&k, &j, 1);
    ck_assert_int_eq(kit_wait(&k, &j), PERF_OK);
    kit_close(&k);
}
END_TEST

static atomic_bool stop;

static void *
keep_busy(void *ctx)
{
    kit *k = ctx;
    job jobs[20];
    while (!atomic_load(&stop)) {
        kit_number(jobs, 20);
        kit_submit(k, jobs, 20);
        for (int i = 0; i < 20; i++)
            PT_ASSERT(!kit_wait(k, &jobs[i]));
    }
    return NULL;
}

START_TEST(test_a_fork_may_come_at_any_moment)
{
    kit k;
    pthread_t busy[3];
    kit_init(&k);
    k.config.queue.max_queued = 30;
    k.config.queue.concurrency = 2;
    kit_open(&k);
    for (int i = 0; i < 3; i++)
        pthread_create(&busy[i], NULL, keep_busy, &k);
    for (int i = 0; i < 60; i++) {
        pid_t pid = fork();
        if (!pid) {
            use_in_child(&k);
            perf_batcher_destroy_blocking(k.batcher);
            _exit(0);
        }
        expect_exit(pid, 0);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 3; i++)
        pthread_join(busy[i], NULL);
    kit_close(&k);
}
END_TEST

/* ---- no threads: the linker sends pthread_create() here ---- */

static atomic_int threads = INT_MAX; /* that may be started */

int __real_pthread_create(pthread_t *out, const pthread_attr_t *attributes,
                          void *(*run)(void *), void *arg);
int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *attributes,
                          void *(*run)(void *), void *arg);

int
__wrap_pthread_create(pthread_t *out, const pthread_attr_t *attributes,
                      void *(*run)(void *), void *arg)
{
    if (atomic_fetch_sub(&threads, 1) <= 0)
        return EAGAIN;
    return __real_pthread_create(out, attributes, run, arg);
}

START_TEST(test_without_a_thread_nothing_is_submitted)
{
    kit k;
    job j;
    kit_init(&k);
    kit_open(&k);
    kit_number(&j, 1);
    atomic_store(&threads, 0);
    errno = 0;
    ck_assert_int_eq(perf_batcher_submit_blocking(k.batcher, &j.item),
                     PERF_ERR_SYSTEM);
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_int_eq(j.item.state, PERF_BATCH_NEW);
    atomic_store(&threads, INT_MAX);
    kit_submit(&k, &j, 1);
    ck_assert_int_eq(kit_wait(&k, &j), PERF_OK);
    kit_close(&k);
}
END_TEST

START_TEST(test_one_thread_is_enough_for_everything)
{
    kit k;
    job first, jobs[40];
    kit_init(&k);
    k.config.queue.concurrency = 4;
    kit_open(&k);
    atomic_store(&threads, 1);
    kit_hold(&k, &first);
    kit_number(jobs, 40);
    jobs[39].item.deadline_ns = perf_clock_now_ns() + 1;
    kit_submit(&k, jobs, 40);
    kit_release(&k);
    for (int i = 0; i < 39; i++)
        ck_assert_int_eq(kit_wait(&k, &jobs[i]), PERF_OK);
    ck_assert_int_eq(kit_wait(&k, &jobs[39]), PERF_ERR_TIMEOUT);
    ck_assert_uint_eq(k.most_running, 1);
    kit_close(&k);
}
END_TEST

int
main(void)
{
    TCase *t = pt_begin("batcher.batcher_forks");
    if (!PT_SANITIZED) { /* whose own locks a fork beside threads may block */
        tcase_add_test(t, test_a_child_has_an_empty_one);
        tcase_add_loop_test(t, test_process_may_fork, 0, 2);
        tcase_add_test(t, test_a_fork_may_come_at_any_moment);
    }
    tcase_add_test(t, test_without_a_thread_nothing_is_submitted);
    tcase_add_test(t, test_one_thread_is_enough_for_everything);
    return pt_end();
}
