/* batch_queue.c - a queue's settings, its life, and what it says of itself. */
#include "queue.h"

#include <string.h>

enum {
    MAX_ITEMS = 65536,
    MAX_SLOTS = 1024,
};

/* ---- settings ---- */

void
perf_batch_config_init(perf_batch_config *c)
{
    const uint64_t ms = 1000 * 1000;
    *c = (perf_batch_config){
        .min_items = 1,
        .max_items = 10,
        .max_wait_ns = 100 * ms,
        .concurrency = 1,
        .max_concurrency = 16,
        .max_queued = 10 * 1000,
        .aging_ns = {0, 100 * ms, 1000 * ms, 10 * 1000 * ms},
    };
}

const char *
perf_batch_config_check(const perf_batch_config *c)
{
    if (c->max_items < 1 || c->max_items > MAX_ITEMS)
        return "max_items: 1 to 65,536";
    if (c->min_items < 1 || c->min_items > c->max_items)
        return "min_items: 1 to max_items";
    if (c->concurrency > MAX_SLOTS)
        return "concurrency: 0 to 1,024";
    if (c->max_concurrency < 1 || c->max_concurrency > MAX_SLOTS)
        return "max_concurrency: 1 to 1,024";
    if (c->max_queued < 1)
        return "max_queued: at least 1";
    if ((unsigned)c->on_full > PERF_BATCH_FULL_SHED_INFEASIBLE)
        return "on_full: a perf_batch_full";
    if ((unsigned)c->order > PERF_BATCH_ORDER_STRICT)
        return "order: a perf_batch_order";
    if ((unsigned)c->isolation > PERF_BATCH_ISOLATE_SINGLES)
        return "isolation: a perf_batch_isolation";
    for (int i = 1; i < PERF_PRIORITIES; i++)
        if (c->aging_ns[i] < c->aging_ns[i - 1])
            return "aging_ns: ascending";
    return NULL;
}

/* ---- life ---- */

static perf_err
fill(perf_batch_queue *q)
{
    perf_err err = perfi_tenants_init(q);
    if (!err)
        err = perfi_batch_control_create(&q->config, &q->control);
    if (!err)
        err = perf_histogram_create(q->allocator, &q->waits.histogram);
    if (!err)
        err = perf_histogram_create(q->allocator, &q->batch_times);
    if (!err)
        err = perf_histogram_create(q->allocator, &q->totals.histogram);
    return err;
}

perf_err
perf_batch_queue_create(const perf_batch_config *config, perf_batch_queue **out)
{
    if (!out)
        return PERF_ERR_INVALID;
    *out = NULL;
    perf_batch_config defaults;
    perf_batch_config_init(&defaults);
    config = config ? config : &defaults;
    if (perf_batch_config_check(config))
        return PERF_ERR_RANGE;
    const perf_allocator *a =
        config->allocator ? config->allocator : perf_allocator_libc();
    perf_batch_queue *q = a->alloc(sizeof *q, a->ctx);
    if (!q)
        return PERF_ERR_NOMEM;
    q->config = *config;
    q->config.allocator = q->allocator = a;
    q->low = (uint32_t)((uint64_t)config->max_queued * 4 / 5);
    q->low_weight = config->max_queued_weight - config->max_queued_weight / 5;
    perf_err err = fill(q);
    if (err) {
        perf_batch_queue_destroy(q);
        return err;
    }
    *out = q;
    return PERF_OK;
}

void
perf_batch_queue_destroy(perf_batch_queue *q)
{
    if (!q)
        return;
    perf_histogram_destroy(q->waits.histogram);
    perf_histogram_destroy(q->batch_times);
    perf_histogram_destroy(q->totals.histogram);
    perfi_batch_control_destroy(q->control);
    perfi_tenants_free(q);
    q->allocator->free(q, sizeof *q, q->allocator->ctx);
}

void
perf_batch_queue_close(perf_batch_queue *q)
{
    q->closed = true;
}

void
perf_batch_queue_forget(perf_batch_queue *q)
{
    perf_batch_stats *s = &q->stats;
    s->submitted -= s->blocked + s->queued + s->running;
    s->blocked = s->queued = s->running = s->queued_weight = 0;
    memset(s->queued_by_priority, 0, sizeof s->queued_by_priority);
    perfi_tenants_forget(q);
    q->arrivals = q->nested = q->room = (perfi_list){NULL, NULL};
    q->groups[0] = q->groups[1] = (perfi_list){NULL, NULL};
    q->times[0] = q->times[1] = q->worst = (perfi_sorted){NULL, NULL, NULL};
    q->dropped = q->last_dropped = NULL;
    q->waiting = q->slots_used = q->batches_out = 0;
    q->waiting_weight = q->weight_in = 0;
    q->full = q->isolating = q->group_was_last = false;
    q->forgotten = q->last_batch;
    perfi_batch_control_forget(q->control);
}

/* ---- what it says of itself ---- */

perf_batch_cost *
perf_batch_queue_cost(perf_batch_queue *q)
{
    return perfi_batch_control_cost(q->control);
}

static void
quantiles(const perf_histogram *h, uint64_t *p50, uint64_t *p95, uint64_t *p99)
{
    static const double at[] = {.5, .95, .99};
    uint64_t values[3] = {0};
    perf_histogram_quantiles(h, at, 3, values);
    *p50 = values[0];
    *p95 = values[1];
    *p99 = values[2];
}

void
perf_batch_queue_stats_now(const perf_batch_queue *q, perf_batch_stats *out)
{
    *out = q->stats;
    quantiles(q->waits.histogram, &out->wait_p50_ns, &out->wait_p95_ns,
              &out->wait_p99_ns);
    quantiles(q->batch_times, &out->batch_p50_ns, &out->batch_p95_ns,
              &out->batch_p99_ns);
    quantiles(q->totals.histogram, &out->total_p50_ns, &out->total_p95_ns,
              &out->total_p99_ns);
    out->wait_max_ns = perf_histogram_max(q->waits.histogram);
    out->batch_max_ns = perf_histogram_max(q->batch_times);
    perfi_batch_control_stats(q->control, out);
}

/* Until it is no more than 80 % full, batch by batch. */
uint64_t
perf_batch_queue_retry_after(const perf_batch_queue *q)
{
    uint32_t most = perfi_batch_control_max_items(q->control, q->waiting);
    uint64_t weight = q->config.max_weight;
    if (weight && q->waiting)
        weight = q->waiting_weight / q->waiting * most;
    if (weight > q->config.max_weight)
        weight = q->config.max_weight;
    uint64_t each = perfi_batch_control_expect(q->control, most, weight);
    uint64_t over = q->waiting > q->low ? q->waiting - q->low : 1;
    uint64_t batches = (over + most - 1) / most;
    uint64_t slots = perfi_batch_control_slots(q->control);
    if (each && batches > (UINT64_MAX - slots) / each)
        return UINT64_MAX;
    return (each * batches + slots - 1) / slots;
}
