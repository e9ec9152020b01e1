/* test_batcher_kit.h - a batcher whose `process` stops where a test wants it
 * to, and jobs that know how often they ended. */
#ifndef TEST_BATCHER_KIT_H
#define TEST_BATCHER_KIT_H
#include "batcher.h"
#include "pt.h"
#include "queue.h"

#include <libperf/batcher.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>

enum { KIT_POISON = 1 << 20 };

typedef struct job {
    perf_batch_item item; /* first: an item is its job */
    uint32_t number, result;
    atomic_uint ends;
    perf_err err;
    uint64_t turn; /* which one it was to be processed */
} job;

typedef struct kit kit;
struct kit {
    perf_batcher *batcher;
    perf_batcher_config config;
    atomic_bool held; /* `process` says that it is there, and waits */
    sem_t entered, go;
    sem_t ended; /* `done` was called */
    atomic_uint calls, running, most_running, most_items, turns;
    /* what a call does beside giving results; NULL: nothing */
    perf_err (*script)(kit *k, job **jobs, uint32_t count, uint64_t *retry_ns);
    uint64_t number; /* the script's */
};

static inline void
kit_raise(atomic_uint *most, uint32_t to)
{
    unsigned before = atomic_load(most);
    while (before < to && !atomic_compare_exchange_weak(most, &before, to))
        ;
}

static inline perf_err
kit_process(perf_batch_item **items, uint32_t count, uint64_t *retry_after_ns,
            void *ctx)
{
    kit *k = ctx;
    atomic_fetch_add(&k->calls, 1);
    kit_raise(&k->most_running, atomic_fetch_add(&k->running, 1) + 1);
    kit_raise(&k->most_items, count);
    if (atomic_load(&k->held)) {
        sem_post(&k->entered);
        while (sem_wait(&k->go))
            ;
    }
    perf_err err = PERF_OK;
    for (uint32_t i = 0; i < count; i++) {
        job *j = (job *)items[i];
        j->result = j->number * 3 + 1;
        j->turn = atomic_fetch_add(&k->turns, 1);
    }
    if (k->script)
        err = k->script(k, (job **)items, count, retry_after_ns);
    atomic_fetch_sub(&k->running, 1);
    return err;
}

static inline void
kit_done(perf_batch_item *item, perf_err err, void *ctx)
{
    kit *k = ctx;
    job *j = (job *)item;
    j->err = err;
    atomic_fetch_add(&j->ends, 1);
    sem_post(&k->ended);
}

/** Settings that a test changes before kit_open(). */
static inline void
kit_init(kit *k)
{
    *k = (kit){0};
    perf_batcher_config_init(&k->config);
    k->config.process = kit_process;
    k->config.ctx = k;
    sem_init(&k->entered, 0, 0);
    sem_init(&k->go, 0, 0);
    sem_init(&k->ended, 0, 0);
}

static inline void
kit_open(kit *k)
{
    ck_assert_int_eq(perf_batcher_create(&k->config, &k->batcher), PERF_OK);
}

static inline void
kit_close(kit *k)
{
    perf_batcher_destroy_blocking(k->batcher);
    sem_destroy(&k->entered);
    sem_destroy(&k->go);
    sem_destroy(&k->ended);
}

static inline void
kit_await(sem_t *s)
{
    while (sem_wait(s))
        ;
}

static inline void
kit_number(job *jobs, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        jobs[i] = (job){.number = i};
        jobs[i].item.priority = PERF_PRIORITY_NORMAL;
    }
}

static inline void
kit_submit(kit *k, job *jobs, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        PT_ASSERT(!perf_batcher_submit_blocking(k->batcher, &jobs[i].item));
}

static inline perf_err
kit_wait(kit *k, job *j)
{
    return perf_batcher_wait_blocking(k->batcher, &j->item, UINT64_MAX);
}

static inline bool
kit_is_right(const job *j)
{
    return j->result == j->number * 3 + 1;
}

/** Calls that were not refused: the rate that is left when others are depends
 * on what was seen. */
static inline void
kit_warm_up(kit *k)
{
    job j;
    uint64_t until_ns = perf_clock_now_ns() + 50 * 1000 * 1000;
    while (perf_clock_now_ns() < until_ns) {
        kit_number(&j, 1);
        j.number = 1;
        kit_submit(k, &j, 1);
        if (k->config.done)
            kit_await(&k->ended);
        else
            PT_ASSERT(!kit_wait(k, &j));
    }
}

/** One job is in `process` and stays there until kit_release(). */
static inline void
kit_hold(kit *k, job *j)
{
    atomic_store(&k->held, true);
    kit_number(j, 1);
    kit_submit(k, j, 1);
    kit_await(&k->entered);
}

static inline void
kit_release(kit *k)
{
    atomic_store(&k->held, false);
    sem_post(&k->go);
}

static inline perf_batch_stats
kit_stats(kit *k)
{
    perf_batch_stats s;
    perf_batcher_stats_blocking(k->batcher, &s, NULL);
    return s;
}

/** Items are in one place, and in one only; the queue is whole. */
static inline void
kit_add_up(kit *k)
{
    perf_batch_stats s = kit_stats(k);
    pthread_mutex_lock(&k->batcher->lock);
    const char *wrong = perfi_batch_queue_check(k->batcher->queue);
    pthread_mutex_unlock(&k->batcher->lock);
    ck_assert_msg(!wrong, "%s", wrong);
    ck_assert_uint_eq(s.submitted, s.blocked + s.queued + s.running +
                                       s.finished + s.cancelled + s.expired +
                                       s.infeasible + s.shed + s.closed);
}

/** Until so many wait outside: their threads are about to sleep, or do. */
static inline void
kit_await_blocked(kit *k, uint64_t count)
{
    while (kit_stats(k).blocked != count)
        sched_yield();
}

#endif
