/* analysis.c - the public face of timeline, model and replay. */
#include "path.h"
#include "replay.h"

#include <libperf/analysis.h>

#include <string.h>

enum {
    FACTOR_MAX = 1000,
};

struct perf_analysis {
    perfi_region region;
    perfi_timeline line;
    perfi_model model;
    perfi_replay *replay;
    perfi_path path;
    perf_analysis_info info;
    bool *contended; /* by grant, of the unchanged replay */
    perf_resource_use *resources;
    uint64_t *asked; /* by resource, when first */
    double *scale, *capacity, *gap;
    bool *cached;                 /* by label */
    double *merged, *merged_each; /* likewise */
    double *span_scale;           /* resampled; made when first needed */
};

/* ---- making ---- */

static void
replay_unchanged(perf_analysis *a)
{
    perfi_conditions as_it_was = {0};
    a->replay = perfi_replay_make(&a->model, &a->region);
    perfi_outcome o = perfi_replay_run(a->replay, &as_it_was);
    a->info.replay_ns = o.ns;
    a->info.stuck = o.stuck;
    a->info.lottery = o.lottery;
    a->info.lag_ns = o.lag_ns;
    a->info.lock_wait_ns = o.lock_wait_ns;
    a->contended =
        perfi_region_take(&a->region, a->model.grants, sizeof *a->contended);
    memcpy(a->contended, perfi_replay_contended(a->replay),
           a->model.grants * sizeof *a->contended);
}

/* One time of use: asked for, had, and done with. */
static void
add_use(perf_analysis *a, uint32_t resource, uint64_t from, uint64_t granted,
        uint64_t released)
{
    perf_resource_use *u = &a->resources[resource];
    uint64_t to = released > granted ? released : granted;
    u->uses++;
    u->held_ns += to - granted;
    if (u->uses == 1 || from < a->asked[resource])
        a->asked[resource] = from;
    if (to > u->active_ns) /* the end, until the begin is taken off it */
        u->active_ns = to;
}

static void
describe_work(perf_analysis *a)
{
    for (uint32_t i = 0; i < a->line.actors.count; i++) {
        const perfi_actor *actor = &a->line.actors.item[i];
        uint32_t queue = a->model.programs[i].worker_of;
        if (queue)
            a->resources[queue - 1].workers++;
        if (!actor->executor || !actor->count)
            continue;
        const perfi_moment *m = &a->line.moments.item[actor->first];
        add_use(a, actor->executor - 1, m->t, m->t, m[actor->count - 1].t);
    }
}

/* After the unchanged replay: it says who waited. */
static void
describe_resources(perf_analysis *a)
{
    const perfi_model *m = &a->model;
    size_t n = a->line.resources.count;
    a->resources = perfi_region_take(&a->region, n, sizeof *a->resources);
    a->asked = perfi_region_take(&a->region, n, sizeof *a->asked);
    for (uint32_t i = 0; i < n; i++) {
        const perfi_resource *r = &a->line.resources.item[i];
        a->resources[i] = (perf_resource_use){
            .kind = r->kind,
            .capacity = r->capacity,
            .name = r->name,
            .where = r->where,
            .waited_ns = perfi_replay_waited(a->replay, i),
        };
    }
    for (size_t i = 0; i < m->uses.count; i++) {
        const perfi_use *use = &m->uses.item[i];
        if (use->resource >= n)
            continue;
        add_use(a, use->resource, use->from, use->granted, use->released);
    }
    for (size_t i = 0; i < m->ops.count; i++) {
        const perfi_op *op = &m->ops.item[i];
        if (op->code == PERFI_OP_ACQUIRE && op->what < n)
            a->resources[op->what].contended += a->contended[op->more];
    }
    for (uint32_t i = 0; i < m->labels.count; i++)
        if (m->labels.item[i].kind == PERFI_LABEL_HOLD)
            a->resources[m->labels.item[i].name].sleeps = 1;
    describe_work(a);
    for (size_t i = 0; i < m->batches.count; i++) {
        const perfi_batch *b = &m->batches.item[i];
        add_use(a, b->resource, b->from, b->from, b->to);
    }
    for (uint32_t i = 0; m->batchers && i < n; i++)
        a->resources[i].waited_ns += m->batchers[i].waited_ns;
    for (uint32_t i = 0; i < n; i++)
        a->resources[i].active_ns -= a->asked[i];
}

static void
make(perf_analysis *a, perf_reader *reader, uint64_t session)
{
    perfi_timeline_read(&a->line, &a->region, reader, session);
    if (!a->line.events)
        return;
    perfi_model_build(&a->model, &a->region, reader, &a->line);
    replay_unchanged(a);
    describe_resources(a);
    perfi_path_prepare(&a->path, &a->region, &a->model);
    a->scale =
        perfi_region_take(&a->region, a->model.labels.count, sizeof *a->scale);
    a->cached =
        perfi_region_take(&a->region, a->model.labels.count, sizeof *a->cached);
    a->merged =
        perfi_region_take(&a->region, a->model.labels.count, sizeof *a->merged);
    a->merged_each = perfi_region_take(&a->region, a->model.labels.count,
                                       sizeof *a->merged_each);
    a->capacity = perfi_region_take(&a->region, a->line.resources.count,
                                    sizeof *a->capacity);
    a->gap =
        perfi_region_take(&a->region, a->model.limiters.count, sizeof *a->gap);
    perf_reader_info info = {0};
    perf_reader_info_get(reader, &info);
    a->info.lost = info.stats.dropped_records;
    if (!session || a->line.is_cut) /* others' losses are not this one's */
        a->info.lost += perf_reader_events_lost(reader);
    a->info.events = a->line.events;
    const perfi_memory *memory = a->line.memory.item;
    for (size_t i = 0; i < a->line.memory.count; i++) {
        if (i == 0)
            a->info.first_bytes = memory[i].bytes;
        a->info.last_bytes = memory[i].bytes;
        if (memory[i].bytes > a->info.peak_bytes)
            a->info.peak_bytes = memory[i].bytes;
    }
    a->info.actors = a->line.actors.count;
    a->info.spans = a->line.spans.count;
    a->info.wall_ns = a->model.wall_ns;
    a->info.startup_ns = a->model.startup_ns;
    a->info.threads = (uint32_t)a->line.threads.count;
    a->info.labels = (uint32_t)a->model.labels.count;
    a->info.resources = (uint32_t)a->line.resources.count;
}

perf_err
perf_analysis_create_blocking(perf_reader *reader, uint64_t session,
                              const perf_allocator *allocator,
                              perf_analysis **out)
{
    if (!reader || !out)
        return PERF_ERR_INVALID;
    *out = NULL;
    if (!allocator)
        allocator = perf_allocator_libc();
    perf_analysis *a = allocator->alloc(sizeof *a, allocator->ctx);
    if (!a)
        return PERF_ERR_NOMEM;
    memset(a, 0, sizeof *a);
    a->region.allocator = allocator;
    if (setjmp(a->region.no_memory)) {
        perf_analysis_destroy(a);
        return PERF_ERR_NOMEM;
    }
    make(a, reader, session);
    if (!a->line.events) {
        perf_analysis_destroy(a);
        return PERF_ERR_NOT_FOUND;
    }
    *out = a;
    return PERF_OK;
}

void
perf_analysis_destroy(perf_analysis *a)
{
    if (!a)
        return;
    const perf_allocator *allocator = a->region.allocator;
    perfi_region_free(&a->region);
    allocator->free(a, sizeof *a, allocator->ctx);
}

/* ---- what is known ---- */

perf_err
perf_analysis_info_get(const perf_analysis *a, perf_analysis_info *out)
{
    if (!a || !out)
        return PERF_ERR_INVALID;
    *out = a->info;
    return PERF_OK;
}

perf_err
perf_analysis_label(const perf_analysis *a, uint32_t label, perf_label *out)
{
    if (!a || !out)
        return PERF_ERR_INVALID;
    if (label >= a->info.labels)
        return PERF_ERR_NOT_FOUND;
    const perfi_label *l = &a->model.labels.item[label];
    *out = (perf_label){
        .kind = l->kind,
        .name = l->name,
        .inside = l->inside,
        .calls = l->calls,
        .retried = l->retried,
        .siblings = l->siblings,
        .mergeable = l->mergeable,
        .cpu_ns = l->cpu_ns,
        .block_ns = l->block_ns,
        .delay_ns = l->delay_ns,
        .loop_ns = l->loop_ns,
        .span_ns = l->span_ns,
        .first_ns = l->first_ns,
        .median_ns = l->median_ns,
        .tail_ns = l->tail_ns,
        .grown_bytes = l->grown_bytes,
        .barrier_ns = l->barrier_ns,
        .digested = l->digested,
        .distinct = l->distinct,
        .repeats = l->repeats,
        .place = l->place ? l->place : UINT32_MAX,
    };
    if (l->limiter)
        out->gap_ns = a->model.limiters.item[l->limiter - 1].gap_ns;
    return PERF_OK;
}

perf_err
perf_analysis_resource(const perf_analysis *a, uint32_t resource,
                       perf_resource_use *out)
{
    if (!a || !out)
        return PERF_ERR_INVALID;
    if (resource >= a->info.resources)
        return PERF_ERR_NOT_FOUND;
    *out = a->resources[resource];
    return PERF_OK;
}

/* ---- what if ---- */

static perf_err
change_capacity(perf_analysis *a, const perf_change *c, perfi_conditions *how)
{
    if (c->what >= a->info.resources)
        return PERF_ERR_NOT_FOUND;
    switch (a->line.resources.item[c->what].kind) {
    case PERF_RESOURCE_QUEUE: how->more_workers = c->what + 1; break;
    case PERF_RESOURCE_LOCK: how->shorter_holds = c->what + 1; break;
    default: a->capacity[c->what] *= c->factor;
    }
    return PERF_OK;
}

static perf_err
change_gap(perf_analysis *a, const perf_change *c)
{
    uint32_t limiter =
        c->what < a->info.labels ? a->model.labels.item[c->what].limiter : 0;
    if (!limiter)
        return PERF_ERR_NOT_FOUND;
    a->gap[limiter - 1] *= c->factor;
    return PERF_OK;
}

static perf_err
change(perf_analysis *a, const perf_change *c, perfi_conditions *how)
{
    if (!(c->factor >= 0 && c->factor <= FACTOR_MAX)) /* NaN too */
        return PERF_ERR_RANGE;
    switch (c->kind) {
    case PERF_CHANGE_TIME:
        if (c->what >= a->info.labels)
            return PERF_ERR_NOT_FOUND;
        a->scale[c->what] *= c->factor;
        return PERF_OK;
    case PERF_CHANGE_CAPACITY: return change_capacity(a, c, how);
    case PERF_CHANGE_GAP: return change_gap(a, c);
    case PERF_CHANGE_SIDE_BY_SIDE:
        if (c->what >= a->info.labels)
            return PERF_ERR_NOT_FOUND;
        how->side_by_side = c->what + 1;
        return PERF_OK;
    case PERF_CHANGE_CACHE:
        if (c->what >= a->info.labels)
            return PERF_ERR_NOT_FOUND;
        a->cached[c->what] = true;
        how->cached = a->cached;
        return PERF_OK;
    case PERF_CHANGE_BATCH:
        if (c->factor < 1)
            return PERF_ERR_RANGE;
        if (c->what >= a->info.labels)
            return PERF_ERR_NOT_FOUND;
        a->merged[c->what] = c->factor;
        how->merged = a->merged;
        return PERF_OK;
    case PERF_CHANGE_BATCH_EACH:
        if (c->what >= a->info.labels)
            return PERF_ERR_NOT_FOUND;
        a->merged_each[c->what] = c->factor;
        return PERF_OK;
    default: return PERF_ERR_INVALID;
    }
}

static void
all_to_one(double *item, size_t count)
{
    for (size_t i = 0; i < count; i++)
        item[i] = 1.0;
}

perf_err
perf_analysis_replay_blocking(perf_analysis *a, const perf_change *changes,
                              size_t count, uint64_t seed, uint64_t sample,
                              uint64_t *out_ns)
{
    if (!a || !out_ns || (count && !changes))
        return PERF_ERR_INVALID;
    perfi_conditions how = {
        .scale = a->scale,
        .capacity = a->capacity,
        .gap = a->gap,
        .contended = a->contended,
        .merged_each = a->merged_each,
        .seed = seed,
    };
    memset(a->cached, 0, a->info.labels * sizeof *a->cached);
    memset(a->merged, 0, a->info.labels * sizeof *a->merged);
    memset(a->merged_each, 0, a->info.labels * sizeof *a->merged_each);
    all_to_one(a->scale, a->info.labels);
    all_to_one(a->capacity, a->info.resources);
    all_to_one(a->gap, a->model.limiters.count);
    for (size_t i = 0; i < count; i++) {
        perf_err err = change(a, &changes[i], &how);
        if (err)
            return err;
    }
    if (setjmp(a->region.no_memory))
        return PERF_ERR_NOMEM;
    if (sample) {
        size_t spans = a->line.spans.count + 1;
        if (!a->span_scale)
            a->span_scale =
                perfi_region_take(&a->region, spans, sizeof *a->span_scale);
        all_to_one(a->span_scale, spans);
        perfi_own_resample(&a->model, sample, a->span_scale);
        how.span_scale = a->span_scale;
    }
    *out_ns = perfi_replay_run(a->replay, &how).ns;
    return PERF_OK;
}

/* ---- critical path ---- */

perf_err
perf_analysis_path_blocking(perf_analysis *a, uint64_t span,
                            const perf_path_step **out, size_t *count)
{
    if (!a || !out || !count)
        return PERF_ERR_INVALID;
    *out = NULL;
    *count = 0;
    if (setjmp(a->region.no_memory))
        return PERF_ERR_NOMEM;
    if (!perfi_path_find(&a->path, span))
        return PERF_ERR_NOT_FOUND;
    *count = a->path.step_count;
    if (*count)
        *out = &a->path.step[a->path.step_room - *count];
    return PERF_OK;
}

perf_err
perf_analysis_path_share(const perf_analysis *a, uint32_t label,
                         perf_path_share *out)
{
    if (!a || !out)
        return PERF_ERR_INVALID;
    if (label >= a->info.labels)
        return PERF_ERR_NOT_FOUND;
    *out = a->path.shares[label];
    return PERF_OK;
}
