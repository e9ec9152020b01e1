/* waiters.c - threads that wait for items to end.
 *
 * They wait in stripes: a few condition variables, each with a lock of its own.
 * Items that were submitted one after the other share a stripe and mostly end
 * together, by one broadcast; an item has no room for more than a number. */
#include "batcher.h"

#include <libperf/clock.h>
#include <time.h>

enum { FEW = 64 };

bool
perfi_condition_open(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes))
        return false;
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    bool made = !pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
    return made;
}

void
perfi_condition_wait(pthread_cond_t *condition, pthread_mutex_t *lock,
                     uint64_t until_ns)
{
    if (until_ns >= INT64_MAX) {
        pthread_cond_wait(condition, lock);
        return;
    }
    struct timespec at = {.tv_sec = (time_t)(until_ns / 1000000000),
                          .tv_nsec = (long)(until_ns % 1000000000)};
    pthread_cond_timedwait(condition, lock, &at);
}

bool
perfi_stripes_open(perf_batcher *b)
{
    for (uint32_t i = 0; i < PERFI_STRIPES; i++) {
        if (!perfi_condition_open(&b->stripe[i].changed)) {
            perfi_stripes_close(b, i);
            return false;
        }
        pthread_mutex_init(&b->stripe[i].lock, NULL);
    }
    return true;
}

void
perfi_stripes_close(perf_batcher *b, uint32_t count)
{
    while (count--) {
        pthread_cond_destroy(&b->stripe[count].changed);
        pthread_mutex_destroy(&b->stripe[count].lock);
    }
}

void
perfi_stripes_wake(perf_batcher *b)
{
    for (uint32_t i = 0; i < PERFI_STRIPES; i++) {
        pthread_mutex_lock(&b->stripe[i].lock);
        pthread_cond_broadcast(&b->stripe[i].changed);
        pthread_mutex_unlock(&b->stripe[i].lock);
    }
}

void
perfi_stripes_empty(perf_batcher *b)
{
    for (uint32_t i = 0; i < PERFI_STRIPES; i++) {
        perfi_stripe *s = &b->stripe[i];
        pthread_mutex_lock(&s->lock);
        while (s->waiting)
            pthread_cond_wait(&s->changed, &s->lock);
        pthread_mutex_unlock(&s->lock);
    }
}

static perfi_stripe *
stripe_of(perf_batcher *b, uint32_t word)
{
    return &b->stripe[word >> PERFI_ITEM_STRIPE & (PERFI_STRIPES - 1)];
}

/* ---- telling ---- */

/* In the child of a fork that one of them made the rest is its parent's. */
static void
call_back(perf_batcher *b, perf_batch_item **items, uint32_t count)
{
    uint32_t forks = b->forks;
    for (uint32_t i = 0; i < count && b->forks == forks; i++) {
        perf_err err = perfi_item_err(perfi_item_get(items[i]));
        perfi_item_set(items[i], 0);
        b->config.done(items[i], err, b->config.ctx);
    }
}

void
perfi_batcher_resolve(perf_batcher *b, perf_batch_item **items, uint32_t count)
{
    if (b->config.done) {
        call_back(b, items, count);
        return;
    }
    for (uint32_t i = 0; i < count;) {
        uint32_t word = perfi_item_get(items[i]);
        perfi_stripe *s = stripe_of(b, word);
        pthread_mutex_lock(&s->lock);
        do {
            /* release: pairs with perfi_item_get(); after it the item may be
             * gone */
            __atomic_store_n(&items[i]->driver, word | PERFI_ITEM_ENDED,
                             __ATOMIC_RELEASE);
            word = ++i < count ? perfi_item_get(items[i]) : 0;
        } while (i < count && stripe_of(b, word) == s);
        uint32_t waiting = s->waiting;
        pthread_mutex_unlock(&s->lock);
        if (waiting)
            pthread_cond_broadcast(&s->changed);
    }
}

/* ---- waiting ---- */

/* With the stripe's lock; one look at the item, one sleep, another look. */
static bool
sleep_once(perfi_stripe *s, const perf_batch_item *item, uint64_t until_ns)
{
    if (perfi_item_get(item) & PERFI_ITEM_ENDED)
        return true;
    s->waiting++;
    perfi_condition_wait(&s->changed, &s->lock, until_ns);
    /* destroy() waits for the last one */
    if (--s->waiting == 0)
        pthread_cond_broadcast(&s->changed);
    return perfi_item_get(item) & PERFI_ITEM_ENDED;
}

static bool
has_ended(void *ctx)
{
    return perfi_item_get(ctx) & PERFI_ITEM_ENDED;
}

static perf_err
wait_outside(perf_batcher *b, perf_batch_item *item, uint64_t until_ns)
{
    perfi_stripe *s = stripe_of(b, perfi_item_get(item));
    bool ended =
        perfi_patience_wait(&b->callers_wait, until_ns, has_ended, item);
    if (ended)
        return perfi_item_err(perfi_item_get(item));
    pthread_mutex_lock(&s->lock);
    do
        ended = sleep_once(s, item, until_ns);
    while (!ended &&
           (until_ns == UINT64_MAX || perf_clock_now_ns() < until_ns));
    pthread_mutex_unlock(&s->lock);
    return ended ? perfi_item_err(perfi_item_get(item)) : PERF_ERR_TIMEOUT;
}

/* ---- in `process`: it does the work itself ---- */

/* Under the lock, which is given up meanwhile. */
static void
sleep_inside(perf_batcher *b, const perf_batch_item *item, uint64_t until_ns,
             uint64_t now_ns)
{
    perfi_stripe *s = stripe_of(b, perfi_item_get(item));
    uint64_t wake_ns = perf_batch_queue_wake_at(b->queue, now_ns);
    b->helpers++;
    perfi_batcher_attend(b, now_ns);
    pthread_mutex_lock(&s->lock);
    pthread_mutex_unlock(&b->lock);
    sleep_once(s, item,
               wake_ns > now_ns && wake_ns < until_ns ? wake_ns : until_ns);
    pthread_mutex_unlock(&s->lock);
    pthread_mutex_lock(&b->lock);
    b->helpers--;
}

static bool
is_queued(const perf_batch_item *item)
{
    return item->state == PERF_BATCH_BLOCKED ||
           item->state == PERF_BATCH_QUEUED ||
           item->state == PERF_BATCH_ISOLATED;
}

/* Under the lock, which it gives up only where it returns PERF_ERR_CLOSED: in
 * the child of a fork. */
static perf_err
help(perf_batcher *b, perf_batch_item *item, perf_batch_item **items,
     uint64_t until_ns)
{
    for (;;) {
        uint32_t word = perfi_item_get(item);
        uint64_t now_ns = perf_clock_now_ns();
        perf_batch batch;
        if (word & PERFI_ITEM_ENDED)
            return perfi_item_err(word);
        if (now_ns >= until_ns)
            return PERF_ERR_TIMEOUT;
        bool waits = is_queued(item);
        if (waits)
            perfi_batch_queue_nest_at(b->queue, item, now_ns);
        if (!waits || !perf_batch_queue_take_at(b->queue, &batch, now_ns))
            sleep_inside(b, item, until_ns, now_ns);
        else if (!perfi_batcher_run(b, &batch, items, now_ns))
            return PERF_ERR_CLOSED;
    }
}

static perf_err
wait_inside(perf_batcher *b, perf_batch_item *item, uint64_t until_ns)
{
    perf_batch_item *few[FEW], **items = few;
    const perf_allocator *a = b->allocator;
    size_t size = b->config.queue.max_items * sizeof *items;
    if (b->config.queue.max_items > FEW)
        items = a->alloc(size, a->ctx);
    if (!items)
        return PERF_ERR_NOMEM;
    uint32_t forks = b->forks;
    pthread_mutex_lock(&b->lock);
    perf_err err = help(b, item, items, until_ns);
    if (b->forks == forks) {
        perfi_batcher_attend(b, perf_clock_now_ns());
        pthread_mutex_unlock(&b->lock);
    }
    if (items != few)
        a->free(items, size, a->ctx);
    return err;
}

perf_err
perf_batcher_wait_blocking(perf_batcher *b, perf_batch_item *item,
                           uint64_t timeout_ns)
{
    if (!b || !item || b->config.done)
        return PERF_ERR_INVALID;
    uint32_t word = perfi_item_get(item);
    if (word & PERFI_ITEM_ENDED)
        return perfi_item_err(word);
    if (!(word & PERFI_ITEM_KNOWN))
        return PERF_ERR_INVALID;
    if ((word >> PERFI_ITEM_FORKS & 15) != (b->forks & 15))
        return PERF_ERR_CLOSED; /* the parent's */
    uint64_t until_ns = UINT64_MAX;
    if (timeout_ns != UINT64_MAX)
        until_ns = perfi_later(perf_clock_now_ns(), timeout_ns);
    return perfi_batcher_is_inside(b) ? wait_inside(b, item, until_ns)
                                      : wait_outside(b, item, until_ns);
}
