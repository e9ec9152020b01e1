/* workers.c - the threads that process batches.
 *
 * A worker that finds nothing to do sleeps. One of them, the watcher, sleeps no
 * longer than until the queue's next time; who moves that time, or makes a
 * batch possible, wakes one worker (attend), unless one is on its way anyway:
 * then that one sees to the next when it leaves to run code of the user. With
 * nothing to do at all a worker lingers for a moment before it sleeps. */
#include "batcher.h"

#include <errno.h>
#include <libperf/clock.h>
#include <signal.h>

enum { FEW = 64 };

static _Thread_local const perfi_worker *self; /* NULL: not a worker */

bool
perfi_batcher_is_inside(const perf_batcher *b)
{
    return self && self->batcher == b;
}

static void *work(void *arg);

/* ---- starting ---- */

/* Signals are the program's. */
static int
start_thread(perfi_worker *w)
{
    sigset_t all, before;
    pthread_t thread;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&thread, NULL, work, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err;
}

static perf_err
start_worker(perf_batcher *b)
{
    const perf_allocator *a = b->allocator;
    perfi_worker *w = b->worker, *last = w + b->most_workers;
    while (w < last && w->busy)
        w++;
    if (w == last) /* in a child: one is as good as gone */
        return PERF_ERR_SYSTEM;
    if (!w->items) {
        size_t size = b->config.queue.max_items * sizeof *w->items;
        w->items = a->alloc(size, a->ctx);
    }
    if (!w->items)
        return PERF_ERR_NOMEM;
    int err = start_thread(w);
    if (err) {
        errno = err;
        return PERF_ERR_SYSTEM;
    }
    w->busy = true;
    b->workers++;
    b->coming++;
    return PERF_OK;
}

perf_err
perfi_batcher_start(perf_batcher *b)
{
    return b->workers ? PERF_OK : start_worker(b);
}

void
perfi_workers_forget(perf_batcher *b)
{
    b->workers = b->idle = b->signals = b->coming = b->lingering = 0;
    perfi_patience_forget(&b->workers_wait);
    perfi_patience_forget(&b->callers_wait);
    b->watcher = NULL;
    b->watched_ns = UINT64_MAX;
    b->has_ended = false;
    /* the forking thread may be in `process`, and its items in use */
    for (uint32_t i = 0; i < b->most_workers; i++)
        b->worker[i].busy = &b->worker[i] == self;
}

/* ---- who looks when ---- */

static uint64_t
next_time(perf_batcher *b, uint64_t now_ns)
{
    uint64_t wake_ns = perf_batch_queue_wake_at(b->queue, now_ns);
    return b->discard_ns < wake_ns ? b->discard_ns : wake_ns;
}

void
perfi_batcher_attend(perf_batcher *b, uint64_t now_ns)
{
    if (b->lingering)
        __atomic_store_n(&b->called, true, __ATOMIC_RELAXED);
    if (b->coming || !b->open || next_time(b, now_ns) >= b->watched_ns)
        return;
    if (b->idle > b->signals) {
        b->signals++;
        b->coming++;
        pthread_cond_signal(&b->work);
    } else if (b->workers < b->most_workers) {
        start_worker(b); /* without it: when one of the others is done */
    }
}

/* ---- items that end ---- */

static perf_err
why_dropped(const perf_batch_item *item)
{
    switch (item->drop) {
    case PERF_BATCH_DROP_SHED: return PERF_ERR_FULL;
    case PERF_BATCH_DROP_CLOSED: return PERF_ERR_CLOSED;
    default: return PERF_ERR_TIMEOUT;
    }
}

static void
end_with(perf_batch_item *item, perf_err err)
{
    uint32_t other = PERFI_ITEM_ERR | PERFI_ITEM_TAKEN | PERFI_ITEM_LATE;
    perfi_item_set(item,
                   (perfi_item_get(item) & ~other) | perfi_item_word(err));
}

/* What the queue has given up, as a list. Those in a batch end with it. */
static perf_batch_item *
collect_dropped(perf_batcher *b, uint64_t now_ns)
{
    perf_batch_item *first = NULL, **last = &first, *item;
    while ((item = perf_batch_queue_dropped_at(b->queue, now_ns))) {
        uint32_t word = perfi_item_get(item);
        if (word & PERFI_ITEM_TAKEN) {
            perfi_item_set(item, word | PERFI_ITEM_LATE);
            continue;
        }
        perf_err err = why_dropped(item);
        b->left += err == PERF_ERR_CLOSED;
        if (word & PERFI_ITEM_ENTERS) { /* submit() says so itself */
            perfi_batcher_turn_away(b, item, err);
            perfi_item_set(item, 0);
            b->open--;
            continue;
        }
        end_with(item, err);
        *last = item;
        item->next = NULL;
        last = &item->next;
    }
    perfi_batcher_let_in(b);
    return first;
}

static void
resolve_list(perf_batcher *b, perf_batch_item *first)
{
    perf_batch_item *items[FEW];
    while (first) {
        uint32_t n = 0;
        for (; first && n < FEW; first = first->next)
            items[n++] = first;
        perfi_batcher_resolve(b, items, n);
    }
}

static uint64_t
length(const perf_batch_item *first)
{
    uint64_t n = 0;
    for (; first; first = first->next)
        n++;
    return n;
}

/* Without `done` this takes no time, and nobody needs to be woken meanwhile.
 * Returns with the lock; false: see perfi_batcher_run(). */
static bool
resolve(perf_batcher *b, perf_batch_item **items, uint32_t count,
        perf_batch_item *dropped, uint64_t now_ns)
{
    uint64_t ended = count + length(dropped);
    uint32_t soon = b->config.done ? 0 : 1, forks = b->forks;
    b->coming += soon;
    perfi_batcher_attend(b, now_ns);
    pthread_mutex_unlock(&b->lock);
    perfi_batcher_resolve(b, items, count);
    if (b->forks == forks)
        resolve_list(b, dropped);
    if (b->forks != forks)
        return false;
    pthread_mutex_lock(&b->lock);
    b->coming -= soon;
    b->open -= ended;
    perfi_batcher_settle(b);
    return true;
}

/* ---- a batch ---- */

static void
begin(const perf_batch *batch, perf_batch_item **items)
{
    uint32_t n = 0;
    for (perf_batch_item *i = batch->first; i; i = i->next) {
        perfi_item_set(i, perfi_item_get(i) | PERFI_ITEM_TAKEN);
        items[n++] = i;
    }
}

static perf_batch_outcome
outcome_of(perf_err err, uint64_t retry_after_ns)
{
    if (!err)
        return PERF_BATCH_OK;
    return err == PERF_ERR_FULL && retry_after_ns ? PERF_BATCH_THROTTLED
                                                  : PERF_BATCH_FAILED;
}

/* Those that end come first; how many. The others are in the queue again. */
static uint32_t
sift(perf_batch_item **items, uint32_t count, perf_err err)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < count; i++) {
        perf_batch_item *item = items[i];
        uint32_t word = perfi_item_get(item);
        if (item->state == PERF_BATCH_FINISHED)
            end_with(item, err);
        else if (word & PERFI_ITEM_LATE)
            end_with(item, why_dropped(item));
        else {
            perfi_item_set(item, word & ~(uint32_t)PERFI_ITEM_TAKEN);
            continue;
        }
        items[n++] = item;
    }
    return n;
}

bool
perfi_batcher_run(perf_batcher *b, const perf_batch *batch,
                  perf_batch_item **items, uint64_t now_ns)
{
    uint32_t forks = b->forks;
    uint64_t retry_after_ns = 0;
    begin(batch, items);
    perfi_batcher_let_in(b);
    perfi_batcher_attend(b, now_ns);
    pthread_mutex_unlock(&b->lock);
    perf_err err =
        b->config.process(items, batch->items, &retry_after_ns, b->config.ctx);
    if (b->forks != forks)
        return false;
    now_ns = perf_clock_now_ns();
    pthread_mutex_lock(&b->lock);
    perf_batch_item *dropped = collect_dropped(b, now_ns);
    perf_batch_outcome outcome = outcome_of(err, retry_after_ns);
    perf_batch_queue_done_at(b->queue, batch, outcome, retry_after_ns, now_ns);
    uint32_t ended = sift(items, batch->items, err);
    perfi_batcher_let_in(b);
    if (ended < batch->items && b->helpers)
        perfi_stripes_wake(b);
    return resolve(b, items, ended, dropped, now_ns);
}

/* ---- a worker ---- */

/* Something was done, and the lock given up meanwhile. */
static bool
look(perf_batcher *b, perfi_worker *w, uint64_t now_ns)
{
    if (now_ns >= b->discard_ns) {
        b->discard_ns = UINT64_MAX;
        perf_batch_queue_discard(b->queue);
    }
    perf_batch_item *dropped = collect_dropped(b, now_ns);
    perfi_batcher_settle(b);
    if (dropped) {
        resolve(b, NULL, 0, dropped, now_ns);
        return true;
    }
    perf_batch batch;
    if (!perf_batch_queue_take_at(b->queue, &batch, now_ns))
        return false;
    perfi_batcher_run(b, &batch, w->items, now_ns);
    return true;
}

/* Who called still has the lock, for a moment. */
static bool
is_called(void *ctx)
{
    perf_batcher *b = ctx;
    return __atomic_load_n(&b->called, __ATOMIC_RELAXED) &&
           !pthread_mutex_trylock(&b->lock);
}

/* Returns true when there may be something to do. Under the lock, which is
 * given up meanwhile. */
static bool
linger(perf_batcher *b)
{
    if (b->open || b->coming || b->closed)
        return false;
    __atomic_store_n(&b->called, false, __ATOMIC_RELAXED);
    b->coming++;
    b->lingering++;
    pthread_mutex_unlock(&b->lock);
    if (!perfi_patience_wait(&b->workers_wait, UINT64_MAX, is_called, b))
        pthread_mutex_lock(&b->lock);
    b->coming--;
    b->lingering--;
    return b->open || b->closed;
}

static void
doze(perf_batcher *b, perfi_worker *w, uint64_t now_ns)
{
    uint64_t until_ns = w->idle_until_ns;
    until_ns = until_ns > now_ns ? until_ns : UINT64_MAX;
    uint64_t wake_ns = b->open ? next_time(b, now_ns) : UINT64_MAX;
    if (wake_ns < b->watched_ns) {
        b->watched_ns = wake_ns;
        b->watcher = w;
        until_ns = wake_ns < until_ns ? wake_ns : until_ns;
    }
    b->idle++;
    perfi_condition_wait(&b->work, &b->lock, until_ns);
    b->idle--;
    if (b->signals) {
        b->signals--;
        b->coming--;
    }
    if (b->watcher == w) {
        b->watcher = NULL;
        b->watched_ns = UINT64_MAX;
    }
}

/* The last one stays as long as there is a time to look after. */
static bool
may_end(perf_batcher *b, const perfi_worker *w, uint64_t now_ns)
{
    if (!b->open)
        return b->closed || now_ns >= w->idle_until_ns;
    return now_ns >= w->idle_until_ns &&
           (b->idle || next_time(b, now_ns) == UINT64_MAX);
}

/* Threads are joined in a chain: the next one that ends does it. */
static void
end(perf_batcher *b, perfi_worker *w)
{
    pthread_t previous = b->ended;
    bool had = b->has_ended;
    b->ended = pthread_self();
    b->has_ended = true;
    w->busy = false;
    b->workers--;
    perfi_batcher_attend(b, perf_clock_now_ns());
    perfi_batcher_settle(b);
    pthread_mutex_unlock(&b->lock);
    if (had)
        pthread_join(previous, NULL);
}

static void *
work(void *arg)
{
    perfi_worker *w = arg;
    perf_batcher *b = w->batcher;
    self = w;
    w->idle_until_ns = 0;
    pthread_mutex_lock(&b->lock);
    uint32_t forks = b->forks;
    b->coming--;
    for (;;) {
        uint64_t now_ns = perf_clock_now_ns();
        bool busy = look(b, w, now_ns);
        if (b->forks != forks)
            return NULL; /* in a child: there the batcher has no threads */
        if (busy) {
            w->idle_until_ns = 0;
            continue;
        }
        if (!w->idle_until_ns)
            w->idle_until_ns = perfi_later(now_ns, b->config.idle_ns);
        if (may_end(b, w, now_ns))
            break;
        if (!linger(b))
            doze(b, w, now_ns);
    }
    end(b, w);
    return NULL;
}
