/* batcher.c - the batcher with threads: made, fed, closed. Who works is in
 * workers.c, who waits in waiters.c. */
#include "batcher.h"

#include <libperf/clock.h>
#include <string.h>

enum { BLOCK = 64 /* items submitted between two looks at the clock */ };

/* ---- made and freed ---- */

void
perf_batcher_config_init(perf_batcher_config *config)
{
    if (!config)
        return;
    memset(config, 0, sizeof *config);
    perf_batch_config_init(&config->queue);
    config->idle_ns = UINT64_C(10000000000);
}

static void
release(perf_batcher *b)
{
    const perf_allocator *a = b->allocator;
    size_t size = b->config.queue.max_items * sizeof(perf_batch_item *);
    for (uint32_t i = 0; b->worker && i < b->most_workers; i++)
        a->free(b->worker[i].items, size, a->ctx);
    a->free(b->worker, b->most_workers * sizeof *b->worker, a->ctx);
    perf_batch_queue_destroy(b->queue);
    a->free(b, sizeof *b, a->ctx);
}

static bool
open_locks(perf_batcher *b)
{
    if (!perfi_condition_open(&b->work))
        return false;
    if (!perfi_condition_open(&b->quiet)) {
        pthread_cond_destroy(&b->work);
        return false;
    }
    if (!perfi_stripes_open(b)) {
        pthread_cond_destroy(&b->quiet);
        pthread_cond_destroy(&b->work);
        return false;
    }
    pthread_mutex_init(&b->lock, NULL);
    return true;
}

/* One thread for each batch, and one that looks after times meanwhile. */
static uint32_t
count_workers(const perf_batch_config *c)
{
    return (c->concurrency ? c->concurrency : c->max_concurrency) + 1;
}

perf_err
perf_batcher_create(const perf_batcher_config *config, perf_batcher **out)
{
    if (!out)
        return PERF_ERR_INVALID;
    *out = NULL;
    if (!config || !config->process)
        return PERF_ERR_INVALID;
    perf_batch_queue *queue;
    perf_err err = perf_batch_queue_create(&config->queue, &queue);
    if (err)
        return err;
    const perf_allocator *a = config->queue.allocator;
    a = a ? a : perf_allocator_libc();
    perf_batcher *b = a->alloc(sizeof *b, a->ctx);
    if (!b) {
        perf_batch_queue_destroy(queue);
        return PERF_ERR_NOMEM;
    }
    b->config = *config;
    b->allocator = a;
    b->queue = queue;
    b->last_entrant = &b->entrants;
    b->watched_ns = b->discard_ns = UINT64_MAX;
    b->most_workers = count_workers(&config->queue);
    b->worker = a->alloc(b->most_workers * sizeof *b->worker, a->ctx);
    if (!b->worker || !open_locks(b)) {
        release(b);
        return PERF_ERR_NOMEM;
    }
    for (uint32_t i = 0; i < b->most_workers; i++)
        b->worker[i].batcher = b;
    perfi_batcher_watch(b);
    *out = b;
    return PERF_OK;
}

void
perf_batcher_destroy_blocking(perf_batcher *b)
{
    if (!b)
        return;
    perf_batcher_close_blocking(b, 0);
    pthread_mutex_lock(&b->lock);
    while (b->workers || b->guests)
        pthread_cond_wait(&b->quiet, &b->lock);
    pthread_mutex_unlock(&b->lock);
    if (b->has_ended)
        pthread_join(b->ended, NULL);
    perfi_stripes_empty(b);
    perfi_patience_close(&b->callers_wait);
    perfi_batcher_unwatch(b);
    perfi_stripes_close(b, PERFI_STRIPES);
    pthread_cond_destroy(&b->quiet);
    pthread_cond_destroy(&b->work);
    pthread_mutex_destroy(&b->lock);
    release(b);
}

perf_err
perf_batcher_tenant_add_blocking(perf_batcher *b, double share, uint32_t *out)
{
    if (!b)
        return PERF_ERR_INVALID;
    pthread_mutex_lock(&b->lock);
    perf_err err = perf_batch_queue_tenant_add(b->queue, share, out);
    pthread_mutex_unlock(&b->lock);
    return err;
}

/* ---- threads that wait for room ---- */

static void
let_go(perf_batcher *b, perfi_entrant **link, perf_err err)
{
    perfi_entrant *e = *link;
    *link = e->next;
    if (b->last_entrant == &e->next)
        b->last_entrant = link;
    uint32_t word = perfi_item_get(e->item);
    perfi_item_set(e->item, word & ~(uint32_t)PERFI_ITEM_ENTERS);
    e->err = err;
    e->released = true;
    pthread_cond_signal(&e->changed);
}

/* First come first in: those behind one that is outside are so, too. One that
 * was dropped is turned away when the queue names it. */
void
perfi_batcher_let_in(perf_batcher *b)
{
    while (b->entrants) {
        uint8_t state = b->entrants->item->state;
        if (state == PERF_BATCH_BLOCKED || state == PERF_BATCH_DROPPED)
            break;
        let_go(b, &b->entrants, PERF_OK);
    }
}

void
perfi_batcher_turn_away(perf_batcher *b, perf_batch_item *item, perf_err err)
{
    perfi_entrant **link = &b->entrants;
    while ((*link)->item != item)
        link = &(*link)->next;
    let_go(b, link, err);
}

static perf_err
wait_for_room(perf_batcher *b, perf_batch_item *item)
{
    perfi_entrant e = {.item = item};
    pthread_cond_init(&e.changed, NULL);
    perfi_item_set(item, perfi_item_get(item) | PERFI_ITEM_ENTERS);
    *b->last_entrant = &e;
    b->last_entrant = &e.next;
    b->guests++;
    while (!e.released)
        pthread_cond_wait(&e.changed, &b->lock);
    b->guests--;
    perfi_batcher_settle(b);
    pthread_cond_destroy(&e.changed);
    return e.err;
}

/* ---- submitting ---- */

/* Items that come one after the other are likely to share a batch: so many of
 * them share a stripe, and are woken together. */
static uint32_t
next_word(perf_batcher *b)
{
    uint64_t stripe = b->sequence++ / b->config.queue.max_items;
    return PERFI_ITEM_KNOWN | (b->forks & 15) << PERFI_ITEM_FORKS |
           (uint32_t)(stripe % PERFI_STRIPES) << PERFI_ITEM_STRIPE;
}

static perf_err
submit(perf_batcher *b, perf_batch_item *item, uint64_t now_ns)
{
    if (!item)
        return PERF_ERR_INVALID;
    perf_err err = perf_batch_queue_submit_at(b->queue, item, now_ns);
    if (err)
        return err;
    b->open++;
    perfi_item_set(item, next_word(b));
    if (b->entrants)
        perfi_batcher_let_in(b); /* others may have been dropped */
    if (item->state != PERF_BATCH_BLOCKED || perfi_batcher_is_inside(b))
        return PERF_OK;
    perfi_batcher_attend(b, now_ns);
    return wait_for_room(b, item);
}

perf_err
perf_batcher_submit_many_blocking(perf_batcher *b, perf_batch_item **items,
                                  size_t count, size_t *done)
{
    if (done)
        *done = 0;
    if (!b || (!items && count))
        return PERF_ERR_INVALID;
    size_t n = 0;
    uint64_t now_ns = perf_clock_now_ns();
    pthread_mutex_lock(&b->lock);
    perf_err err = b->closed ? PERF_ERR_CLOSED : perfi_batcher_start(b);
    while (!err && n < count) {
        bool waits = b->entrants != NULL;
        err = submit(b, items[n], now_ns);
        n += !err;
        if (waits || n % BLOCK == 0)
            now_ns = perf_clock_now_ns();
    }
    perfi_batcher_attend(b, now_ns);
    pthread_mutex_unlock(&b->lock);
    if (done)
        *done = n;
    return err;
}

perf_err
perf_batcher_submit_blocking(perf_batcher *b, perf_batch_item *item)
{
    return perf_batcher_submit_many_blocking(b, &item, 1, NULL);
}

/* ---- cancelling ---- */

static bool
can_cancel(const perf_batch_item *item)
{
    uint32_t word = perfi_item_get(item);
    return word & PERFI_ITEM_KNOWN && !(word & PERFI_ITEM_ENDED) &&
           (item->state == PERF_BATCH_BLOCKED ||
            item->state == PERF_BATCH_QUEUED ||
            item->state == PERF_BATCH_ISOLATED);
}

bool
perf_batcher_cancel_blocking(perf_batcher *b, perf_batch_item *item)
{
    if (!b || !item)
        return false;
    uint64_t now_ns = perf_clock_now_ns();
    pthread_mutex_lock(&b->lock);
    bool gone =
        can_cancel(item) && perf_batch_queue_cancel_at(b->queue, item, now_ns);
    if (gone) {
        uint32_t word = perfi_item_get(item);
        if (word & PERFI_ITEM_ENTERS)
            perfi_batcher_turn_away(b, item, PERF_OK);
        word &= ~(uint32_t)PERFI_ITEM_ENTERS;
        perfi_item_set(
            item, b->config.done ? 0 : word | perfi_item_word(PERF_ERR_CLOSED));
        if (!b->config.done)
            perfi_batcher_resolve(b, &item, 1);
        b->open--;
        perfi_batcher_let_in(b);
        perfi_batcher_attend(b, now_ns);
        perfi_batcher_settle(b);
    }
    pthread_mutex_unlock(&b->lock);
    return gone;
}

/* ---- closing ---- */

void
perfi_batcher_settle(perf_batcher *b)
{
    if (!b->closed || b->open)
        return;
    pthread_cond_broadcast(&b->work); /* workers end */
    pthread_cond_broadcast(&b->quiet);
}

perf_err
perf_batcher_close_blocking(perf_batcher *b, uint64_t timeout_ns)
{
    if (!b)
        return PERF_ERR_INVALID;
    uint64_t now_ns = perf_clock_now_ns();
    uint64_t until_ns = perfi_later(now_ns, timeout_ns);
    pthread_mutex_lock(&b->lock);
    b->closed = true;
    perf_batch_queue_close(b->queue);
    if (!timeout_ns)
        perf_batch_queue_discard(b->queue);
    else if (until_ns < b->discard_ns)
        b->discard_ns = until_ns;
    perfi_batcher_attend(b, now_ns);
    perfi_batcher_settle(b);
    perf_err err = PERF_OK;
    if (!perfi_batcher_is_inside(b)) {
        b->guests++;
        while (b->open)
            pthread_cond_wait(&b->quiet, &b->lock);
        b->guests--;
        err = b->left ? PERF_ERR_TIMEOUT : PERF_OK;
        perfi_batcher_settle(b);
    }
    pthread_mutex_unlock(&b->lock);
    return err;
}

void
perf_batcher_stats_blocking(perf_batcher *b, perf_batch_stats *out,
                            perf_batch_cost_stats *cost)
{
    if (out)
        memset(out, 0, sizeof *out);
    if (cost)
        memset(cost, 0, sizeof *cost);
    if (!b)
        return;
    pthread_mutex_lock(&b->lock);
    if (out)
        perf_batch_queue_stats_now(b->queue, out);
    if (cost)
        perf_batch_cost_stats_now(perf_batch_queue_cost(b->queue), cost);
    pthread_mutex_unlock(&b->lock);
}
