/* pt_events.c - a stream of events in virtual time. */
#include "pt_events.h"

#include <stdlib.h>

enum { DEPTH = 16, ACTORS = 1 << 20, NAPPING = 4 };

/* What is being written. */
static struct {
    uint64_t now, cpu; /* since the epoch; of the thread */
    bool cpu_hidden;
    uint64_t actor[DEPTH]; /* that run, one on top of the other */
    uint32_t depth;
    uint64_t span;       /* current in the one on top */
    uint64_t *span_of;   /* in each actor when it ran last */
    uint64_t *parent_of; /* of spans, by id */
    uint64_t since;      /* when the selector was asked */
    uint64_t session;
} to = {.session = 1};

static uint64_t *
by_id(uint64_t **table, uint64_t id)
{
    static uint64_t none;
    if (!*table)
        *table = calloc(ACTORS, sizeof **table);
    none = 0;
    return id < ACTORS ? &(*table)[id] : &none;
}

/* ---- time ---- */

static uint64_t
ns_of(double ms)
{
    return (uint64_t)(ms * (double)PT_MS + 0.5);
}

void
pt_at(double ms)
{
    to.now = ns_of(ms);
}

double
pt_now(void)
{
    return (double)to.now / (double)PT_MS;
}

void
pt_work(double ms)
{
    to.now += ns_of(ms);
    to.cpu += ns_of(ms);
}

void
pt_idle(double ms)
{
    to.now += ns_of(ms);
}

void
pt_read_cpu(bool yes)
{
    to.cpu_hidden = !yes;
}

/* ---- events ---- */

void
pt_write(perf_event e)
{
    perf_events_set_time(PT_EPOCH_NS + to.now, to.cpu_hidden ? 0 : to.cpu);
    perf_event_write((perf_event_code)e.code, e.arg, e.span ? e.span : to.span,
                     e.key, e.more);
}

static uint64_t
begin_thread(perf_actor kind)
{
    uint64_t id = perf_event_new_id();
    to.cpu = PT_MS; /* 0 would mean that it was not read */
    to.depth = 1;
    to.actor[0] = id;
    to.span = 0;
    pt_say(THREAD, .key = id, .arg = kind, .more = to.session);
    return id;
}

uint64_t
pt_main(void)
{
    to.now = 0;
    return begin_thread(PERF_ACTOR_MAIN);
}

uint64_t
pt_thread(void)
{
    return begin_thread(PERF_ACTOR_THREAD);
}

void
pt_session(uint64_t session)
{
    to.session = session;
}

static bool
is_on_loop(perf_actor kind)
{
    return kind >= PERF_ACTOR_TASK && kind <= PERF_ACTOR_IO;
}

void
pt_resume(uint64_t actor, perf_actor kind)
{
    *by_id(&to.span_of, to.actor[to.depth - 1]) = to.span;
    to.actor[to.depth++] = actor;
    to.span = *by_id(&to.span_of, actor);
    pt_say(RUN, .key = actor, .arg = kind,
           .more = is_on_loop(kind) ? PT_LOOP : 0);
}

static void
leave(void)
{
    *by_id(&to.span_of, to.actor[--to.depth]) = to.span;
    to.span = *by_id(&to.span_of, to.actor[to.depth - 1]);
}

void
pt_suspend(uint64_t key)
{
    pt_say(SUSPEND, .key = key);
    leave();
}

void
pt_end_actor(void)
{
    pt_say(END);
    leave();
}

uint64_t
pt_new_task(void)
{
    uint64_t id = perf_event_new_id();
    *by_id(&to.span_of, id) = to.span;
    pt_say(SPAWN, .key = id);
    return id;
}

uint64_t
pt_task(void)
{
    uint64_t task = pt_new_task();
    pt_resume(task, PERF_ACTOR_TASK);
    return task;
}

uint64_t
pt_open_as(perf_kind kind, const char *name)
{
    uint64_t id = perf_event_new_id();
    pt_say(SPAN_BEGIN, .arg = pt_name(kind, name), .key = id, .more = to.span);
    *by_id(&to.parent_of, id) = to.span;
    to.span = id;
    return id;
}

uint64_t
pt_open(const char *name)
{
    return pt_open_as(PERF_KIND_SPAN, name);
}

void
pt_close_as(perf_status status)
{
    pt_say(SPAN_END, .arg = status, .key = to.span);
    to.span = *by_id(&to.parent_of, to.span);
}

void
pt_close(void)
{
    pt_close_as(PERF_STATUS_OK);
}

uint64_t
pt_resource(perf_resource kind, uint64_t capacity, const char *name)
{
    uint64_t id = perf_event_new_id();
    pt_say(RESOURCE, .arg = pt_name(PERF_KIND_TEXT, name), .key = id,
           .more = kind | capacity << 8);
    return id;
}

pt_nap
pt_doze(double ms)
{
    pt_nap nap = {perf_event_new_id(), perf_event_new_id(), pt_now() + ms};
    *by_id(&to.span_of, nap.timer) = to.span;
    pt_say(TIMER, .key = nap.timer, .more = PT_EPOCH_NS + ns_of(nap.until));
    to.since = to.now;
    pt_suspend(nap.future);
    return nap;
}

void
pt_wake(pt_nap nap)
{
    pt_at(nap.until);
    pt_say(SELECT, .more = PT_EPOCH_NS + to.since);
    pt_resume(nap.timer, PERF_ACTOR_TIMER);
    pt_say(RESOLVE, .key = nap.future);
    pt_end_actor();
}

void
pt_sleep(uint64_t actor, double ms)
{
    pt_wake(pt_doze(ms));
    pt_resume(actor, PERF_ACTOR_TASK);
}
