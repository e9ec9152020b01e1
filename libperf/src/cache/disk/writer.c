/* writer.c - the one thread of a process that writes to a folder. It sleeps
 * until something is queued, then waits 5 ms for more. */
#define _GNU_SOURCE
#include "store.h"

#include <errno.h>
#include <libperf/clock.h>
#include <signal.h>
#include <time.h>

enum { STUCK_S = 10 };

uint64_t
perfi_wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static struct timespec
deadline_in(uint64_t ms)
{
    enum { LONGEST_S = 1 << 30 };
    uint64_t now = perf_clock_now_ns();
    uint64_t seconds = ms / 1000 < LONGEST_S ? ms / 1000 : LONGEST_S;
    uint64_t ns = now % 1000000000 + ms % 1000 * 1000000;
    return (struct timespec){
        .tv_sec = (time_t)(now / 1000000000 + seconds + ns / 1000000000),
        .tv_nsec = (long)(ns % 1000000000)};
}

/* ---- who queues ---- */

/* It is locked: the writer is either before its last look, or waiting. */
static void
signal_writer(perfi_store *s)
{
    pthread_mutex_lock(&s->lock);
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

void
perfi_writer_wake(perfi_store *s)
{
    if (atomic_exchange_explicit(&s->asleep, false, memory_order_acq_rel))
        signal_writer(s);
}

static perf_err
add(perfi_store *s, perfi_job *job)
{
    if (atomic_load_explicit(&s->stopping, memory_order_relaxed))
        return PERF_ERR_CLOSED;
    if (job->waited)
        atomic_fetch_add_explicit(&s->urgent, 1, memory_order_relaxed);
    uint32_t count = perfi_queue_add(&s->queue, job);
    if (!count)
        return PERF_ERR_FULL;
    bool asleep =
        atomic_exchange_explicit(&s->asleep, false, memory_order_acq_rel);
    if (asleep || job->waited || count == PERFI_BATCH_JOBS)
        signal_writer(s);
    return PERF_OK;
}

perf_err
perfi_writer_add(perfi_store *s, perfi_job *job)
{
    perf_err err = add(s, job);
    perfi_job_drop(s->allocator, job);
    return err;
}

perf_err
perfi_writer_wait(perfi_store *s, perfi_job *job, uint64_t timeout_ms,
                  uint64_t *number)
{
    struct timespec until = deadline_in(timeout_ms);
    job->waited = true;
    perf_err err = add(s, job);
    if (!err) {
        int rc = 0;
        pthread_mutex_lock(&s->lock);
        while (!job->done && rc != ETIMEDOUT)
            rc = pthread_cond_timedwait(&s->done, &s->lock, &until);
        err = job->done ? job->result : PERF_ERR_TIMEOUT;
        if (number && !err)
            *number = job->number;
        pthread_mutex_unlock(&s->lock);
    }
    perfi_job_drop(s->allocator, job);
    return err;
}

/* ---- the writer ---- */

static bool
has_work(perfi_store *s)
{
    return perfi_queue_count(&s->queue) ||
           (s->database.env && perfi_database_poisoned(&s->database)) ||
           atomic_load_explicit(&s->stopping, memory_order_relaxed);
}

/* Until there is something, and then for more. */
static void
wait_for_work(perfi_store *s)
{
    pthread_mutex_lock(&s->lock);
    while (true) {
        atomic_exchange_explicit(&s->asleep, true, memory_order_acq_rel);
        if (has_work(s))
            break;
        pthread_cond_wait(&s->wake, &s->lock);
    }
    atomic_exchange_explicit(&s->asleep, false, memory_order_acq_rel);
    struct timespec until = deadline_in(PERFI_BATCH_MS);
    int rc = 0;
    while (rc != ETIMEDOUT &&
           !atomic_load_explicit(&s->stopping, memory_order_relaxed) &&
           !atomic_load_explicit(&s->urgent, memory_order_relaxed) &&
           perfi_queue_count(&s->queue) < PERFI_BATCH_JOBS)
        rc = pthread_cond_timedwait(&s->wake, &s->lock, &until);
    pthread_mutex_unlock(&s->lock);
}

/* The damaged one is left, and another begun. */
static perf_err
reopen(perfi_store *s)
{
    perfi_database *d = &s->database;
    if (d->env && !perfi_database_poisoned(d))
        return PERF_OK;
    perfi_database_close(d, false);
    return perfi_database_open(d, s->max_bytes, NULL);
}

static void
write_batch(perfi_store *s, perfi_job *jobs)
{
    perf_err err = reopen(s);
    uint64_t now_ms = perfi_wall_ms();
    int rc = 0;
    if (!err)
        rc = perfi_batch_write(&s->database, &s->writes, jobs, now_ms);
    if (perfi_is_damage(rc)) { /* once more, in the new one */
        perfi_database_poison(&s->database);
        err = reopen(s);
        rc =
            err ? 0 : perfi_batch_write(&s->database, &s->writes, jobs, now_ms);
    }
    if (!err)
        err = perfi_error_of_lmdb(rc);
    for (perfi_job *job = jobs; job && err; job = job->next) {
        job->result = err;
        perfi_count(&s->writes.refused, 1);
    }
    if (!err && perfi_is_damage(perfi_batch_refill(&s->database, &s->writes)))
        perfi_database_poison(&s->database);
}

/* When somebody learns that his job is done, nothing is left to be freed here:
 * who waits frees his own. */
static void
finish(perfi_store *s, perfi_job *jobs)
{
    perfi_job *waited = NULL;
    for (perfi_job *job = jobs, *next; job; job = next) {
        next = job->next;
        if (job->waited) {
            job->next = waited;
            waited = job;
        } else {
            perfi_queue_done(&s->queue, job);
        }
    }
    if (!waited)
        return;
    pthread_mutex_lock(&s->lock);
    for (perfi_job *job = waited, *next; job; job = next) {
        next = job->next;
        job->done = true;
        atomic_fetch_sub_explicit(&s->urgent, 1, memory_order_relaxed);
        perfi_queue_done(&s->queue, job);
    }
    pthread_cond_broadcast(&s->done);
    pthread_mutex_unlock(&s->lock);
}

static void *
run(void *store)
{
    perfi_store *s = store;
    uint64_t bytes = s->max_bytes / 16;
    for (;;) {
        wait_for_work(s);
        perfi_job *jobs = perfi_queue_take(&s->queue, PERFI_BATCH_JOBS, bytes);
        if (jobs) {
            write_batch(s, jobs);
            finish(s, jobs);
        } else if (atomic_load_explicit(&s->stopping, memory_order_relaxed)) {
            return NULL;
        } else {
            reopen(s);
        }
    }
}

/* ---- start, stop ---- */

perf_err
perfi_writer_start(perfi_store *s)
{
    pthread_condattr_t attributes;
    sigset_t all, before;
    if (pthread_condattr_init(&attributes))
        return PERF_ERR_NOMEM;
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->wake, &attributes);
    pthread_cond_init(&s->done, &attributes);
    pthread_condattr_destroy(&attributes);
    /* signals are for the program's own threads; and a file that may not grow
     * is an error here, not SIGXFSZ */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&s->thread, NULL, run, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc ? PERF_ERR_NOMEM : PERF_OK;
}

void
perfi_writer_stop(perfi_store *s)
{
    struct timespec until;
    atomic_store_explicit(&s->stopping, true, memory_order_relaxed);
    atomic_exchange_explicit(&s->asleep, false, memory_order_acq_rel);
    signal_writer(s);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += STUCK_S;
    /* another process may be stopped while it holds the write lock */
    s->is_stuck = pthread_timedjoin_np(s->thread, NULL, &until) != 0;
    if (s->is_stuck) {
        pthread_detach(s->thread);
        return;
    }
    /* what was queued while it ended */
    for (perfi_job *jobs;
         (jobs = perfi_queue_take(&s->queue, UINT32_MAX, UINT64_MAX));) {
        for (perfi_job *job = jobs; job; job = job->next)
            job->result = PERF_ERR_CLOSED;
        finish(s, jobs);
    }
}
