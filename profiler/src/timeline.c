/* timeline.c - sorts the events of each ring by the actor that ran. */
#include "timeline.h"

#include <stdlib.h>
#include <string.h>

enum { BATCH = 1024, DEPTH_MAX = 64 };

/* One thread while its ring is read. */
typedef struct stream {
    perfi_timeline *to;
    uint32_t thread;
    uint64_t now;              /* of its last event */
    uint32_t stack[DEPTH_MAX]; /* actors; the last one runs */
    uint32_t depth;
    uint64_t waited_from, waited_to; /* the selector */
    uint32_t *owner;                 /* actor of each moment */
    size_t owners;
} stream;

/* A time as recorded, since the start. */
static uint64_t
since_start(const perfi_timeline *to, uint64_t ns)
{
    uint64_t t = ns > to->start_ns ? ns - to->start_ns : 0;
    return t < PERFI_TIME_MAX ? t : PERFI_TIME_MAX;
}

/* ---- actors ---- */

/* An actor or a future. */
static uint32_t
thing_of(perfi_timeline *to, uint64_t id)
{
    uint32_t known = to->things.count;
    size_t room = to->things.room;
    uint32_t thing =
        perfi_ids_of(to->region, &to->things, id ? id : UINT64_MAX);
    if (to->things.room != room) /* as many places as the table has */
        to->actor_of = perfi_region_grow(to->region, to->actor_of, known,
                                         to->things.room, sizeof *to->actor_of);
    if (thing == known)
        to->actor_of[thing] = PERFI_NONE;
    return thing;
}

static uint32_t
actor_of(perfi_timeline *to, uint64_t id, perf_actor kind)
{
    uint32_t thing = thing_of(to, id);
    if (to->actor_of[thing] == PERFI_NONE) {
        perfi_actor *a = perfi_list_add(to->region, &to->actors);
        a->kind = (uint8_t)kind;
        a->thing = thing;
        to->actor_of[thing] = (uint32_t)to->actors.count - 1;
    }
    return to->actor_of[thing];
}

static uint32_t
span_of(perfi_timeline *to, uint64_t id)
{
    if (!id)
        return 0;
    uint32_t span = perfi_ids_of(to->region, &to->span_ids, id);
    while (to->spans.count <= span)
        perfi_list_add(to->region, &to->spans)->name = PERFI_NONE;
    return span + 1;
}

static uint32_t
resource_of(perfi_timeline *to, uint64_t id)
{
    uint32_t r = perfi_ids_of(to->region, &to->resource_ids, id ? id : 1);
    while (to->resources.count <= r) {
        perfi_resource *made = perfi_list_add(to->region, &to->resources);
        *made = (perfi_resource){
            .capacity = 1, .name = PERFI_NONE, .where = PERFI_NONE};
    }
    return r;
}

/* ---- what events say about actors, spans and resources ---- */

static void
note_child(stream *s, const perf_event *e, perf_actor kind)
{
    perfi_timeline *to = s->to;
    uint32_t by = s->stack[s->depth - 1];
    uint32_t child = actor_of(to, e->key, kind);
    perfi_actor *a = &to->actors.item[child];
    if (!a->spawner) {
        a->spawner = by + 1;
        a->born_in = span_of(to, e->span);
        const perfi_actor *spawner = &to->actors.item[by];
        a->around = spawner->inner ? spawner->inner : spawner->around;
    }
    if (kind == PERF_ACTOR_TIMER) {
        a->kind = PERF_ACTOR_TIMER;
        a->deadline = since_start(to, e->more);
        a->is_limit = e->arg == 1;
    } else if (kind == PERF_ACTOR_WORK) {
        a->kind = PERF_ACTOR_WORK;
        a->executor = resource_of(to, e->more) + 1;
    } else {
        a->group = e->arg;
        a->argument = e->more ? 1 + thing_of(to, e->more) : 0;
    }
}

static void
note_span(stream *s, const perf_event *e, uint64_t t)
{
    perfi_timeline *to = s->to;
    uint32_t parent = span_of(to, e->more);
    uint32_t number = span_of(to, e->key);
    if (!number)
        return;
    perfi_span *span = &to->spans.item[number - 1];
    if (e->code == PERF_EVENT_SPAN_BEGIN) {
        span->parent = parent == number ? 0 : parent;
        span->name = e->arg < PERF_NAMES_MAX ? e->arg : 0;
        span->actor = s->stack[s->depth - 1];
        span->begin = t;
        to->actors.item[span->actor].inner = number;
    } else if (!span->end) {
        perfi_actor *a = &to->actors.item[s->stack[s->depth - 1]];
        if (a->inner == number)
            a->inner = span->parent;
        span->status = e->arg;
        span->end = t ? t : 1;
        span->ended_in = s->stack[s->depth - 1];
    }
}

/* It says nothing about time: no moment of anybody. */
static void
note_call(perfi_timeline *to, const perf_event *e)
{
    uint32_t number = span_of(to, e->key);
    if (!number)
        return;
    perfi_span *span = &to->spans.item[number - 1];
    span->is_call = true;
    span->digest = e->more;
    span->place = e->arg < PERF_NAMES_MAX ? e->arg : 0;
}

static void
note_resource(perfi_timeline *to, const perf_event *e)
{
    uint32_t number = resource_of(to, e->key);
    perfi_resource *r = &to->resources.item[number];
    if (e->code == PERF_EVENT_WHERE) {
        r->where = e->arg;
        return;
    }
    uint64_t capacity = e->more >> 8;
    r->kind = e->more & 0xFF;
    r->name = e->arg;
    r->capacity =
        capacity > UINT32_MAX / 4 ? UINT32_MAX / 4 : (uint32_t)capacity;
    /* a semaphore of 0 is a signal */
    if (!r->capacity &&
        (r->kind == PERF_RESOURCE_LOCK || r->kind == PERF_RESOURCE_EXECUTOR))
        r->capacity = 1;
}

/* ---- streams ---- */

static void
begin_thread(stream *s, uint64_t id, uint32_t kind)
{
    perfi_timeline *to = s->to;
    perfi_list_add(to->region, &to->threads);
    s->thread = (uint32_t)to->threads.count - 1;
    s->now = s->waited_from = s->waited_to = 0;
    if (!id) /* one that nobody else has */
        id = UINT64_MAX - to->threads.count;
    uint32_t actor = actor_of(to, id, PERF_ACTOR_THREAD);
    bool is_main = kind == PERF_ACTOR_MAIN; /* or started as one's child */
    to->actors.item[actor].kind = is_main ? PERF_ACTOR_MAIN : PERF_ACTOR_THREAD;
    if (is_main && to->main == PERFI_NONE)
        to->main = actor;
    s->stack[0] = actor;
    s->depth = 1;
}

static void
run(stream *s, const perf_event *e)
{
    perfi_timeline *to = s->to;
    uint32_t number = actor_of(to, e->key, PERF_ACTOR_CALLBACK);
    perfi_actor *a = &to->actors.item[number];
    if (e->arg != PERF_ACTOR_CALLBACK && a->kind == PERF_ACTOR_CALLBACK)
        a->kind = (uint8_t)e->arg;
    if (e->more)
        a->loop = perfi_ids_of(to->region, &to->loop_ids, e->more) + 1;
    if (!a->count) {
        a->waited_from = s->waited_from;
        a->waited_to = s->waited_to;
    }
    if (s->depth < DEPTH_MAX)
        s->stack[s->depth++] = number;
    else
        s->stack[s->depth - 1] = number;
}

static void
keep(stream *s, const perf_event *e, uint64_t t)
{
    perfi_timeline *to = s->to;
    uint32_t actor = s->stack[s->depth - 1];
    const perfi_thread_line *line = &to->threads.item[s->thread];
    perfi_moment *m = perfi_list_add(to->region, &to->moments);
    *m = (perfi_moment){
        .code = (uint8_t)e->code,
        .arg = e->arg,
        .thread = s->thread,
        .span = span_of(to, e->span),
        .t = t,
        /* which pulse: its CPU time is known when the next reading comes */
        .cpu = line->pulses.count - 1,
        .key = e->key,
        .more = e->more,
    };
    if (m->span && !(e->code == PERF_EVENT_SPAN_END && e->span == e->key))
        to->spans.item[m->span - 1].was_current = true;
    if (to->moments.count > s->owners) {
        size_t more = to->moments.room;
        s->owner = perfi_region_grow(to->region, s->owner, s->owners, more,
                                     sizeof *s->owner);
        s->owners = more;
    }
    s->owner[to->moments.count - 1] = actor;
    to->actors.item[actor].count++;
}

static void
take(stream *s, const perf_event *e)
{
    perfi_timeline *to = s->to;
    to->events++;
    if (e->code == PERF_EVENT_THREAD)
        begin_thread(s, e->key, e->arg);
    else if (!s->depth) /* its beginning is lost */
        begin_thread(s, 0, PERF_ACTOR_THREAD);
    uint64_t t = since_start(to, e->time_ns);
    s->now = t = t > s->now ? t : s->now; /* a clock that goes back waits */
    if (t > to->end)
        to->end = t;
    perfi_pulses_add(to->region, &to->threads.item[s->thread], t, e->cpu_ns);
    switch (e->code) {
    case PERF_EVENT_SELECT:
        s->waited_from = since_start(to, e->more);
        s->waited_to = t;
        return;
    case PERF_EVENT_RESOURCE:
    case PERF_EVENT_WHERE: note_resource(to, e); return;
    case PERF_EVENT_CALL: note_call(to, e); return;
    case PERF_EVENT_MEMORY: {
        uint32_t span = span_of(to, e->span);
        *perfi_list_add(to->region, &to->memory) =
            (perfi_memory){t, e->more, span};
        return;
    }
    case PERF_EVENT_RUN: run(s, e); break;
    case PERF_EVENT_SPAWN: note_child(s, e, PERF_ACTOR_CALLBACK); break;
    case PERF_EVENT_TIMER: note_child(s, e, PERF_ACTOR_TIMER); break;
    case PERF_EVENT_SUBMIT: note_child(s, e, PERF_ACTOR_WORK); break;
    case PERF_EVENT_SPAN_BEGIN:
    case PERF_EVENT_SPAN_END: note_span(s, e, t); break;
    case PERF_EVENT_BATCH_ITEM: resource_of(to, e->more); /* fallthrough */
    case PERF_EVENT_SUSPEND:
    case PERF_EVENT_RESOLVE:
    case PERF_EVENT_AWAIT:
    case PERF_EVENT_HOST:
    case PERF_EVENT_WAIT_FOR:
        if (e->key)
            thing_of(to, e->key);
        break;
    default: break;
    }
    keep(s, e, t);
    if ((e->code == PERF_EVENT_SUSPEND || e->code == PERF_EVENT_END) &&
        s->depth > 1)
        s->depth--;
}

/* It says where in the code a thread was, and may lie anywhere. */
static bool
is_sample(const perf_event *e)
{
    return e->code >= PERF_EVENT_SAMPLE && e->code <= PERF_EVENT_STALL;
}

/* ---- by actor ---- */

static int
by_time(const void *a, const void *b)
{
    const perfi_moment *x = a, *y = b;
    return (x->t > y->t) - (x->t < y->t);
}

/* Counting sort; an actor that ran in several threads is sorted by time. */
static void
sort_by_actor(perfi_timeline *to, const uint32_t *owner)
{
    perfi_moment *sorted =
        perfi_region_take(to->region, to->moments.count, sizeof *sorted);
    uint32_t first = 0;
    for (size_t i = 0; i < to->actors.count; i++) {
        to->actors.item[i].first = first;
        first += to->actors.item[i].count;
        to->actors.item[i].count = 0;
    }
    for (size_t i = 0; i < to->moments.count; i++) {
        perfi_actor *a = &to->actors.item[owner[i]];
        perfi_moment *m = &sorted[a->first + a->count++];
        *m = to->moments.item[i];
        m->cpu = to->threads.item[m->thread].pulses.item[m->cpu].cpu;
    }
    for (size_t i = 0; i < to->actors.count; i++) {
        const perfi_actor *a = &to->actors.item[i];
        perfi_moment *m = sorted + a->first;
        for (uint32_t j = 1; j < a->count; j++) {
            if (m[j].t >= m[j - 1].t)
                continue;
            qsort(m, a->count, sizeof *m, by_time);
            break;
        }
    }
    perfi_region_drop(to->region, to->moments.item);
    to->moments.item = sorted;
    to->moments.room = to->moments.count;
}

/* NULL: it is whole. */
static perfi_headless *
begin_ring(perfi_timeline *to, const perf_event *first)
{
    if (first->code == PERF_EVENT_THREAD)
        return NULL;
    perfi_headless *ring = perfi_list_add(to->region, &to->headless);
    *ring = (perfi_headless){first->time_ns, UINT64_MAX, UINT64_MAX};
    return ring;
}

/* In a ring sessions follow each other as they are numbered. Times alone do not
 * tell them apart: virtual time begins anew with each. */
static bool
may_have_lost(const perfi_headless *ring, uint64_t session, uint64_t first_ns)
{
    if (!session)
        return true;
    if (ring->session < session)
        return false;
    if (ring->session == session && ring->begin_ns < ring->from_ns)
        return false; /* the clock went back: what is before is another's */
    return ring->from_ns >= first_ns;
}

void
perfi_timeline_read(perfi_timeline *to, perfi_region *region,
                    perf_reader *reader, uint64_t session)
{
    perf_event *batch = perfi_region_take(region, BATCH, sizeof *batch);
    stream s = {.to = to};
    uint32_t block = PERFI_NONE;
    perfi_headless *open = NULL; /* of this ring, until a session begins */
    bool wanted = !session;
    uint64_t first_ns = UINT64_MAX;
    perf_reader_info info = {0};
    perf_reader_info_get(reader, &info);
    *to = (perfi_timeline){.region = region, .main = PERFI_NONE};
    for (size_t n; (n = perf_reader_events(reader, batch, BATCH));) {
        for (size_t i = 0; i < n; i++) {
            const perf_event *e = &batch[i];
            if (is_sample(e))
                continue;
            if (e->block != block) {
                block = e->block;
                s.depth = 0;
                wanted = !session;
                open = begin_ring(to, e);
            }
            if (e->code == PERF_EVENT_THREAD) {
                wanted = !session || e->more == session;
                if (open)
                    *open =
                        (perfi_headless){open->from_ns, e->more, e->time_ns};
                open = NULL;
            }
            if (!wanted)
                continue;
            if (e->time_ns < first_ns)
                first_ns = e->time_ns;
            if (!to->events) /* virtual time may lie before the real one */
                to->start_ns =
                    e->time_ns < info.start_ns ? e->time_ns : info.start_ns;
            if (e->time_ns >= to->start_ns)
                take(&s, e);
        }
    }
    for (size_t i = 0; i < to->headless.count; i++)
        to->is_cut |= may_have_lost(&to->headless.item[i], session, first_ns);
    if (to->main == PERFI_NONE && to->actors.count) {
        to->main = 0; /* the first ring is the first thread's */
        to->actors.item[0].kind = PERF_ACTOR_MAIN;
    }
    sort_by_actor(to, s.owner);
    perfi_region_drop(region, s.owner);
    perfi_region_drop(region, batch);
}
