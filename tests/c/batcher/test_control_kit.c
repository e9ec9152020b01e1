/* test_control_kit.c - events in order of their time: an item comes, a batch is
 * done, a wait is over. */
#include "test_control_kit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { RUNNING = 256 };

typedef struct run {
    perf_batch batch;
    double left; /* ns of work, at full speed */
} run;

typedef struct play {
    const pt_world *world;
    perfi_batch_control *control;
    perf_batch_item *item; /* in order of coming */
    uint32_t come, taken, done;
    double now, next, work_now;
    run running[RUNNING];
    uint32_t count;
    pt_random random;
    double *total; /* of items, ns */
    double *slots; /* of batches */
    uint32_t batches;
    double half_at;
    uint32_t half_done;
} play;

pt_world
pt_world_new(void)
{
    pt_world world = {
        .items = 20000,
        .per_s = 100,
        .burst = 1,
        .base_ns = 20 * PT_MS,
        .each_ns = PT_MS,
        .cv = 0.1,
        .seed = 1,
    };
    world.config.max_items = 32;
    world.config.min_items = 1;
    world.config.concurrency = 1;
    world.config.max_concurrency = 16;
    world.config.max_wait_ns = (uint64_t)(1000 * PT_S);
    return world;
}

double
pt_capacity(const pt_world *world, double slots)
{
    double n = world->config.max_items;
    return slots * n / (world->base_ns + world->each_ns * n) * PT_S;
}

static double
exponential(play *p)
{
    return -log(pt_unit(&p->random));
}

static double
lognormal(play *p, double cv)
{
    if (cv <= 0)
        return 1;
    double s = sqrt(log(1 + cv * cv));
    double u = sqrt(-2 * log(pt_unit(&p->random)));
    return exp(s * u * cos(6.283185307179586 * pt_unit(&p->random)) -
               s * s / 2);
}

static bool
is_later(const play *p)
{
    return p->come > p->world->items / 2;
}

/* ---- items come ---- */

static void
item_comes(play *p)
{
    perf_batch_item *item = &p->item[p->come++];
    item->submitted_ns = (uint64_t)p->now;
    perfi_batch_control_arrived(p->control, 0, (uint64_t)p->now);
}

static void
next_arrival(play *p)
{
    const pt_world *w = p->world;
    if (p->come >= w->items || w->clients) {
        p->next = INFINITY;
        return;
    }
    double per_s = is_later(p) && w->per_s_later ? w->per_s_later : w->per_s;
    p->next = p->now + exponential(p) * w->burst / per_s * PT_S;
}

static void
arrivals_come(play *p)
{
    for (uint32_t i = 0; i < p->world->burst && p->come < p->world->items; i++)
        item_comes(p);
    next_arrival(p);
}

/* ---- batches go ---- */

static void
take(play *p, uint32_t items)
{
    const pt_world *w = p->world;
    run *r = &p->running[p->count++];
    PT_ASSERT(p->count < RUNNING);
    *r = (run){.batch = {.first = &p->item[p->taken],
                         .items = items,
                         .id = p->batches + 1,
                         .taken_ns = (uint64_t)p->now}};
    for (uint32_t i = 0; i < items; i++) {
        perf_batch_item *item = &p->item[p->taken + i];
        item->taken_ns = (uint64_t)p->now;
        item->next = i + 1 < items ? item + 1 : NULL;
    }
    p->taken += items;
    bool full = p->come > p->taken;
    r->batch.reason = full ? PERF_BATCH_REASON_FULL : PERF_BATCH_REASON_IDLE;
    r->left = (w->base_ns + w->each_ns * items) * lognormal(p, w->cv);
    p->slots[p->batches++] = perfi_batch_control_slots(p->control);
    perfi_batch_control_taken(p->control, &r->batch, p->count,
                              (uint64_t)p->now);
}

/* Take what may be taken; returns when to look again. */
static double
take_all(play *p)
{
    const pt_world *w = p->world;
    const perf_batch_config *config = &w->config;
    for (;;) {
        uint32_t queued = p->come - p->taken;
        if (!queued || p->count >= perfi_batch_control_slots(p->control))
            return INFINITY;
        uint64_t from =
            perfi_batch_control_not_before(p->control, (uint64_t)p->now);
        if (from)
            return (double)from;
        uint32_t most = perfi_batch_control_max_items(p->control, queued);
        if (w->fixed_max)
            most = w->fixed_max;
        uint32_t least = perfi_batch_control_min_items(p->control, p->count);
        if (w->fixed_min)
            least = w->fixed_min[p->count];
        if (queued < least && p->come < w->items) {
            double last = (double)p->item[p->come - 1].submitted_ns;
            double old = (double)p->item[p->taken].submitted_ns;
            double until = last + (double)perfi_batch_control_patience(
                                      p->control, least - queued);
            if (until > old + (double)config->max_wait_ns)
                until = old + (double)config->max_wait_ns;
            if (p->now < until)
                return until;
        }
        take(p, queued < most ? queued : most);
    }
}

/* ---- batches are done ---- */

static double
speed_of(const play *p)
{
    const pt_world *w = p->world;
    double servers =
        is_later(p) && w->servers_later ? w->servers_later : w->servers;
    return servers && p->count > servers ? servers / p->count : 1;
}

static double
next_done(const play *p, uint32_t *which)
{
    double least = INFINITY;
    for (uint32_t i = 0; i < p->count; i++)
        if (p->running[i].left < least) {
            least = p->running[i].left;
            *which = i;
        }
    return p->now + least / speed_of(p);
}

static void
go_on(play *p, double to)
{
    double done = (to - p->now) * speed_of(p);
    for (uint32_t i = 0; i < p->count; i++)
        p->running[i].left -= done;
    p->now = to;
}

static void
batch_is_done(play *p, uint32_t which)
{
    run r = p->running[which];
    p->running[which] = p->running[--p->count];
    perfi_batch_control_done(p->control, &r.batch, PERF_BATCH_OK, 0, p->count,
                             (uint64_t)p->now);
    for (perf_batch_item *item = r.batch.first; item; item = item->next) {
        p->total[p->done++] = p->now - (double)item->submitted_ns;
        if (p->world->clients && p->come < p->world->items)
            item_comes(p);
    }
    if (is_later(p)) {
        if (!p->half_at) {
            p->half_at = p->now;
            p->half_done = p->done;
        }
    }
}

/* ---- the whole ---- */

static int
ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static pt_seen
what_was_seen(play *p)
{
    pt_seen seen = {.batches = p->batches};
    double sum = 0, late = 0;
    for (uint32_t i = 0; i < p->done; i++) {
        sum += p->total[i];
        late += p->total[i] > (double)p->world->config.target_latency_ns;
    }
    qsort(p->total, p->done, sizeof *p->total, ascending);
    seen.mean_ms = sum / p->done / PT_MS;
    seen.p50_ms = p->total[p->done / 2] / PT_MS;
    seen.p95_ms = p->total[p->done * 19 / 20] / PT_MS;
    seen.p99_ms = p->total[(uint64_t)p->done * 99 / 100] / PT_MS;
    seen.late = late / p->done;
    seen.batch = (double)p->done / p->batches;
    uint32_t half = p->batches / 2, rest = p->batches - half;
    for (uint32_t i = half; i < p->batches; i++)
        seen.slots += p->slots[i] / rest;
    qsort(p->slots + half, rest, sizeof *p->slots, ascending);
    seen.slots_low = p->slots[half + rest / 20];
    seen.slots_high = p->slots[half + rest * 19 / 20];
    double s = (p->now - p->half_at) / PT_S;
    seen.per_s = (p->done - p->half_done) / s;
    perfi_batch_control_stats(p->control, &seen.stats);
    perf_batch_cost_stats_now(perfi_batch_control_cost(p->control), &seen.cost);
    return seen;
}

pt_seen
pt_play(const pt_world *world)
{
    play *p = calloc(1, sizeof *p);
    p->world = world;
    p->random.state = world->seed;
    p->item = calloc(world->items, sizeof *p->item);
    p->total = calloc(world->items, sizeof *p->total);
    p->slots = calloc(world->items, sizeof *p->slots);
    PT_ASSERT(!perfi_batch_control_create(&world->config, &p->control));
    for (uint32_t i = 0; i < world->clients; i++)
        item_comes(p);
    next_arrival(p);
    while (p->done < world->items) {
        double wake = take_all(p);
        uint32_t which = 0;
        double done = next_done(p, &which);
        double next = p->next < done ? p->next : done;
        next = wake < next ? wake : next;
        PT_ASSERT(isfinite(next));
        go_on(p, next < p->now ? p->now : next);
        if (next == done)
            batch_is_done(p, which);
        else if (next == p->next)
            arrivals_come(p);
    }
    pt_seen seen = what_was_seen(p);
    perfi_batch_control_destroy(p->control);
    free(p->item);
    free(p->total);
    free(p->slots);
    free(p);
    return seen;
}
