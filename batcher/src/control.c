/* control.c - binds what is learned from a load: arrivals, the cost of batches,
 * their sizes, how many run, and how fast they may follow each other. */
#include "control.h"

#include "arrivals.h"
#include "batch_cost.h"
#include "pace.h"
#include "sizes.h"
#include "slots.h"

#include <string.h>

struct perfi_batch_control {
    const perf_allocator *allocator;
    perf_batch_cost *cost;
    uint64_t target_ns, price_ns;
    uint32_t most;        /* items */
    uint32_t concurrency; /* 0: `slots` finds out */
    bool by_weight;       /* the configuration bounds it, */
    bool weighed;         /* and there was an item that has one */
    uint64_t now_ns;      /* the latest time that was told, */
    uint32_t running;     /* how many batches run, */
    uint32_t under_way;   /* and items in them */
    double weight;        /* of an item, of the latest 64 or so */
    perfi_arrivals arrivals;
    perfi_lateness lateness;
    perfi_batch_slots slots;
    perfi_pace pace;
};

perf_err
perfi_batch_control_create(const perf_batch_config *config,
                           perfi_batch_control **out)
{
    const perf_allocator *a = config->allocator;
    if (!a)
        a = perf_allocator_libc();
    *out = NULL;
    perfi_batch_control *control = a->alloc(sizeof *control, a->ctx);
    if (!control)
        return PERF_ERR_NOMEM;
    perf_err err = perf_batch_cost_create(a, &control->cost);
    if (err) {
        a->free(control, sizeof *control, a->ctx);
        return err;
    }
    control->allocator = a;
    control->target_ns = config->target_latency_ns;
    control->price_ns = config->call_price_ns;
    control->most = config->max_items;
    control->concurrency = config->concurrency;
    control->by_weight = config->max_weight > 0;
    perfi_batch_slots_init(&control->slots, config->max_concurrency);
    *out = control;
    return PERF_OK;
}

void
perfi_batch_control_destroy(perfi_batch_control *control)
{
    if (!control)
        return;
    const perf_allocator *a = control->allocator;
    perf_batch_cost_destroy(control->cost);
    a->free(control, sizeof *control, a->ctx);
}

static uint64_t
advance(perfi_batch_control *control, uint64_t now_ns)
{
    if (now_ns > control->now_ns)
        control->now_ns = now_ns;
    return control->now_ns;
}

/* What the cost model counts: items, or weight where that is bounded. */
static uint64_t
size_of(const perfi_batch_control *control, uint32_t items, uint64_t weight)
{
    return control->weighed ? weight : items;
}

static void
weigh(perfi_batch_control *control, uint64_t weight)
{
    if (!control->weighed) {
        if (!weight)
            return;
        control->weighed = true; /* so far items were counted */
        control->weight = (double)weight;
        perfi_batch_cost_restart(control->cost);
    }
    control->weight += ((double)weight - control->weight) / 64;
}

/* ---- what happens ---- */

void
perfi_batch_control_arrived(perfi_batch_control *control, uint64_t weight,
                            uint64_t now_ns)
{
    perfi_arrivals_add(&control->arrivals, advance(control, now_ns));
    if (control->by_weight)
        weigh(control, weight);
}

void
perfi_batch_control_taken(perfi_batch_control *control, const perf_batch *batch,
                          uint32_t running, uint64_t now_ns)
{
    now_ns = advance(control, now_ns);
    control->under_way += batch->items;
    perfi_pace_taken(&control->pace, now_ns);
    control->running = running;
    perfi_batch_slots_running(&control->slots, running, now_ns);
}

static void
count_late(perfi_batch_control *control, const perf_batch *batch,
           uint64_t now_ns)
{
    for (const perf_batch_item *item = batch->first; item; item = item->next)
        perfi_lateness_add(&control->lateness,
                           now_ns - item->submitted_ns > control->target_ns);
    perfi_lateness_turn(&control->lateness);
}

static void
learn(perfi_batch_control *control, const perf_batch *batch, uint64_t now_ns)
{
    uint32_t items = batch->distinct ? batch->distinct : batch->items;
    uint64_t weight =
        batch->distinct_weight ? batch->distinct_weight : batch->weight;
    uint64_t size = size_of(control, items, weight);
    perf_batch_cost_observe(control->cost, size, now_ns - batch->taken_ns);
    perfi_batch_cost_now cost = perfi_batch_cost_look(control->cost);
    perfi_batch_slots_done(&control->slots, (double)size, batch->taken_ns,
                           now_ns, cost.each);
    if (control->target_ns)
        count_late(control, batch, now_ns);
    perfi_pace_done(&control->pace, now_ns);
}

void
perfi_batch_control_done(perfi_batch_control *control, const perf_batch *batch,
                         perf_batch_outcome outcome, uint64_t retry_after_ns,
                         uint32_t running, uint64_t now_ns)
{
    now_ns = advance(control, now_ns);
    if (outcome == PERF_BATCH_OK)
        learn(control, batch, now_ns);
    else if (outcome == PERF_BATCH_THROTTLED)
        perfi_pace_refused(&control->pace, batch->taken_ns, retry_after_ns,
                           now_ns);
    if (retry_after_ns) {
        uint64_t left_ns = UINT64_MAX - 1 - now_ns;
        perfi_pace_pause(
            &control->pace,
            now_ns + (retry_after_ns < left_ns ? retry_after_ns : left_ns));
    }
    /* a batch may have been filled up since it was taken */
    bool more = running && control->under_way > batch->items;
    control->under_way = more ? control->under_way - batch->items : 0;
    control->running = running;
    perfi_batch_slots_running(&control->slots, running, now_ns);
}

void
perfi_batch_control_forget(perfi_batch_control *control)
{
    control->running = control->under_way = 0;
    perfi_batch_slots_forget(&control->slots, control->now_ns);
}

/* ---- what is asked ---- */

uint32_t
perfi_batch_control_slots(const perfi_batch_control *control)
{
    return control->concurrency ? control->concurrency : control->slots.limit;
}

uint64_t
perfi_batch_control_not_before(const perfi_batch_control *control,
                               uint64_t now_ns)
{
    return perfi_pace_not_before(&control->pace, now_ns);
}

static perfi_batch_load
load_of(const perfi_batch_control *control)
{
    perfi_batch_cost_now cost = perfi_batch_cost_look(control->cost);
    return (perfi_batch_load){
        .base = cost.base,
        .each = cost.each * (control->weighed ? control->weight : 1),
        .margin = cost.margin,
        .known = cost.known,
        .rate = perfi_arrivals_rate(&control->arrivals, control->now_ns),
        .target = (double)control->target_ns,
        .price = (double)control->price_ns,
        .slots = perfi_batch_control_slots(control),
        .most = control->most,
    };
}

uint32_t
perfi_batch_control_max_items(const perfi_batch_control *control,
                              uint32_t queued)
{
    if (!control->target_ns)
        return control->most;
    perfi_batch_load load = load_of(control);
    return perfi_sizes_max(&load, &control->lateness,
                           queued + control->under_way);
}

uint32_t
perfi_batch_control_min_items(const perfi_batch_control *control,
                              uint32_t running)
{
    if (!control->price_ns && perfi_batch_control_slots(control) < 2)
        return 1;
    perfi_batch_load load = load_of(control);
    uint32_t least = perfi_sizes_min(&load, running);
    if (!control->target_ns)
        return least;
    uint32_t most =
        perfi_sizes_max(&load, &control->lateness, control->under_way);
    return least < most ? least : most;
}

uint64_t
perfi_batch_control_patience(const perfi_batch_control *control,
                             uint32_t missing)
{
    perfi_batch_load load = load_of(control);
    return perfi_sizes_patience(&load, missing);
}

uint64_t
perfi_batch_control_expect(const perfi_batch_control *control, uint32_t items,
                           uint64_t weight)
{
    return perf_batch_cost_predict(control->cost,
                                   size_of(control, items, weight));
}

uint64_t
perfi_batch_control_bound(const perfi_batch_control *control, uint32_t items,
                          uint64_t weight)
{
    return perf_batch_cost_bound(control->cost,
                                 size_of(control, items, weight));
}

perf_batch_cost *
perfi_batch_control_cost(perfi_batch_control *control)
{
    return control->cost;
}

void
perfi_batch_control_stats(const perfi_batch_control *control,
                          perf_batch_stats *out)
{
    const perfi_pace *pace = &control->pace;
    out->arrivals_per_s =
        perfi_arrivals_rate(&control->arrivals, control->now_ns) * 1e9;
    out->concurrency = perfi_batch_control_slots(control);
    out->min_items = perfi_batch_control_min_items(control, control->running);
    out->max_items = perfi_batch_control_max_items(control, 0);
    out->calls_per_s = pace->rate;
    out->paused_until_ns =
        pace->pause_ns > control->now_ns ? pace->pause_ns : 0;
    out->target_missed =
        control->target_ns && perfi_lateness_missed(&control->lateness);
}
