/* batcher.h - the batcher with threads, inside: what its parts share.
 *
 * Locks: the batcher's lock, then that of a stripe. Neither is held while code
 * of the user runs. A stripe is where threads wait for items: whether one has
 * ended is known under the stripe's lock alone, so that those who wake up do
 * not queue for the batcher's. */
#ifndef PERFI_BATCHER_H
#define PERFI_BATCHER_H
#include "patience.h"

#include <libperf/batcher.h>
#include <pthread.h>

/* ---- what an item's `driver` says ---- */

enum {
    PERFI_ITEM_ERR = 0xff,       /* how it ended: the low byte of a perf_err */
    PERFI_ITEM_KNOWN = 1 << 8,   /* submitted */
    PERFI_ITEM_TAKEN = 1 << 9,   /* in a batch; under the batcher's lock */
    PERFI_ITEM_ENTERS = 1 << 10, /* submit() waits for room with it; same */
    PERFI_ITEM_ENDED = 1 << 11,  /* where there is no `done` */
    PERFI_ITEM_FORKS = 12,       /* 4 bits: of the batcher, when submitted */
    PERFI_ITEM_STRIPE = 16,      /* 4 bits */
    PERFI_ITEM_LATE = 1 << 20,   /* dropped while in a batch; under the lock */
    PERFI_STRIPES = 16,
};

static inline uint32_t
perfi_item_get(const perf_batch_item *item)
{
    /* acquire: who sees the end sees the result (perfi_item_end) */
    return __atomic_load_n(&item->driver, __ATOMIC_ACQUIRE);
}

/* One thread at a time writes: under the batcher's lock until the item is
 * resolved, then whoever resolves it. */
static inline void
perfi_item_set(perf_batch_item *item, uint32_t word)
{
    __atomic_store_n(&item->driver, word, __ATOMIC_RELAXED);
}

static inline perf_err
perfi_item_err(uint32_t word)
{
    return (perf_err)(int8_t)(word & PERFI_ITEM_ERR);
}

static inline uint32_t
perfi_item_word(perf_err err)
{
    return (uint32_t)err & PERFI_ITEM_ERR;
}

/* ---- the batcher ---- */

typedef struct perfi_stripe {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint32_t waiting; /* threads */
} perfi_stripe;

/* A thread that waits for room. */
typedef struct perfi_entrant {
    struct perfi_entrant *next;
    perf_batch_item *item;
    pthread_cond_t changed;
    bool released;
    perf_err err;
} perfi_entrant;

typedef struct perfi_worker {
    perf_batcher *batcher;
    perf_batch_item **items; /* of its batch; stays when the thread ends */
    uint64_t idle_until_ns;  /* 0: it has just done something */
    bool busy;               /* there is a thread */
} perfi_worker;

struct perf_batcher {
    perf_batcher_config config;
    const perf_allocator *allocator;
    uint64_t max_wait_ns;
    perfi_worker *worker;
    uint32_t most_workers;
    uint32_t forks;                    /* written by the child's only thread */
    struct perf_batcher *next, **link; /* all there are; under their own lock */

    pthread_mutex_t lock; /* of what follows */
    perf_batch_queue *queue;
    pthread_cond_t work;  /* idle workers wait for it */
    pthread_cond_t quiet; /* close() and destroy() do */
    uint64_t open;        /* items that have not ended */
    uint64_t left;        /* items that were closed away */
    uint64_t sequence;    /* items so far: which stripe is next */

    uint32_t workers;   /* threads */
    uint32_t idle;      /* of these: asleep */
    uint32_t signals;   /* wakes that no sleeper has seen yet */
    uint32_t coming;    /* workers that will look at the queue before they sleep
                           or run anything of the user's; signalled ones too */
    uint32_t lingering; /* of these: looking whether they are called */
    bool called;        /* atomic; written under the lock */
    perfi_worker *watcher; /* it sleeps until then; NULL: nobody does */
    uint64_t watched_ns;   /* UINT64_MAX */
    pthread_t ended;       /* a thread to be joined */
    bool has_ended;

    perfi_entrant *entrants, **last_entrant;
    uint32_t guests;  /* threads asleep in submit() or close() */
    uint32_t helpers; /* threads in `process` that wait for an item */
    bool closed;
    uint64_t discard_ns; /* close()'s bound */

    perfi_patience workers_wait, callers_wait; /* locks of their own */
    perfi_stripe stripe[PERFI_STRIPES];
};

/* ---- batcher.c ---- */

/* After an item ended, or a worker: under the lock. */
void perfi_batcher_settle(perf_batcher *b);

/* Let those go that have got room; after whatever may have made some. */
void perfi_batcher_let_in(perf_batcher *b);

/* An item left the queue before it was let in; its submit() returns `err`. */
void perfi_batcher_turn_away(perf_batcher *b, perf_batch_item *item,
                             perf_err err);

/* ---- workers.c ---- */

/* In a thread that processes batches of this one. */
bool perfi_batcher_is_inside(const perf_batcher *b);

/* There is at least one thread. */
perf_err perfi_batcher_start(perf_batcher *b);

/* See to it that somebody looks at the queue when it is time: under the lock,
 * after whatever may have moved that time, and before code of the user runs. */
void perfi_batcher_attend(perf_batcher *b, uint64_t now_ns);

/* Process a batch that was taken; the lock is given up meanwhile.
 * @param items  room for all of it
 * Returns false in the child of a fork that `process` or `done` made: the lock
 * is not held, nothing of the batch is left. */
bool perfi_batcher_run(perf_batcher *b, const perf_batch *batch,
                       perf_batch_item **items, uint64_t now_ns);

/* In a fork's child: there are none. */
void perfi_workers_forget(perf_batcher *b);

/* ---- waiters.c ---- */

bool perfi_stripes_open(perf_batcher *b);
void perfi_stripes_close(perf_batcher *b, uint32_t count);

/* A condition variable with CLOCK_MONOTONIC. */
bool perfi_condition_open(pthread_cond_t *condition);

/* Until that time, or UINT64_MAX. */
void perfi_condition_wait(pthread_cond_t *condition, pthread_mutex_t *lock,
                          uint64_t until_ns);

/* Items ended, their words say how: `done`, or those who wait. They are the
 * caller's then. Not under the lock, unless there is no `done`. */
void perfi_batcher_resolve(perf_batcher *b, perf_batch_item **items,
                           uint32_t count);

/* Wake all who wait for an item: they look at it again. */
void perfi_stripes_wake(perf_batcher *b);

/* Wait until nobody waits for an item. */
void perfi_stripes_empty(perf_batcher *b);

/* ---- nest.c ---- */

/* A batch that runs waits for this item, which waits itself: it is nested from
 * now on. */
void perfi_batch_queue_nest_at(perf_batch_queue *q, perf_batch_item *item,
                               uint64_t now_ns);

/* ---- batcher_forks.c ---- */

void perfi_batcher_watch(perf_batcher *b);
void perfi_batcher_unwatch(perf_batcher *b);

static inline uint64_t
perfi_later(uint64_t now_ns, uint64_t by_ns)
{
    return by_ns > UINT64_MAX - now_ns ? UINT64_MAX : now_ns + by_ns;
}

#endif
