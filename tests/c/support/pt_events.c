/* pt_events.c - a stream of events in virtual time, and its reading back. */
#include "pt_events.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* ---- what was made of them ---- */

static void
read_timeline(pt_profile *p, uint64_t session)
{
    perf_events_set_time(0, 0);
    p->region.allocator = perf_allocator_libc();
    p->reader = pt_self();
    perfi_timeline_read(&p->line, &p->region, p->reader, session);
}

void
pt_profile_session(pt_profile *p, uint64_t session)
{
    memset(p, 0, sizeof *p);
    if (setjmp(p->region.no_memory))
        ck_abort_msg("no memory");
    read_timeline(p, session);
}

void
pt_profile_timeline(pt_profile *p)
{
    pt_profile_session(p, 0);
}

void
pt_profile_model(pt_profile *p)
{
    memset(p, 0, sizeof *p);
    if (setjmp(p->region.no_memory))
        ck_abort_msg("no memory");
    read_timeline(p, 0);
    perfi_model_build(&p->model, &p->region, p->reader, &p->line);
}

void
pt_profile_free(pt_profile *p)
{
    perfi_region_free(&p->region);
    perf_reader_close(p->reader);
}

static uint32_t
number_of(const pt_profile *p, uint64_t id)
{
    uint32_t thing = perfi_ids_find(&p->line.things, id);
    ck_assert_uint_lt(thing, p->line.things.count);
    uint32_t number = p->line.actor_of[thing];
    ck_assert_uint_lt(number, p->line.actors.count);
    return number;
}

const perfi_actor *
pt_actor(const pt_profile *p, uint64_t id)
{
    return &p->line.actors.item[number_of(p, id)];
}

const perfi_span *
pt_span(const pt_profile *p, uint64_t id)
{
    uint32_t number = perfi_ids_find(&p->line.span_ids, id);
    ck_assert_uint_lt(number, p->line.spans.count);
    return &p->line.spans.item[number];
}

static const char *
label_text(const pt_profile *p, uint32_t label)
{
    const perfi_label *l = &p->model.labels.item[label];
    switch ((perfi_label_kind)l->kind) {
    case PERFI_LABEL_NONE: return "";
    case PERFI_LABEL_LIMIT: return "(limit)";
    case PERFI_LABEL_HOLD: return "(hold)";
    default: return perf_reader_name(p->reader, l->name, NULL);
    }
}

const perfi_label *
pt_label(const pt_profile *p, const char *name)
{
    for (uint32_t i = 0; i < p->model.labels.count; i++)
        if (!strcmp(label_text(p, i), name))
            return &p->model.labels.item[i];
    ck_abort_msg("no label %s", name);
    return NULL;
}

/* ---- as text ---- */

static char text[4096];
static size_t text_at;

__attribute__((format(printf, 1, 2))) static void
add(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text + text_at, sizeof text - text_at, format, args);
    va_end(args);
    text_at += (size_t)n;
    if (text_at >= sizeof text)
        text_at = sizeof text - 1;
}

static double
ms_of(uint64_t ns)
{
    return (double)ns / (double)PT_MS;
}

static const char *
op_text(perfi_op_code code)
{
    static const char *const texts[PERFI_OP_COUNT] = {
        [PERFI_OP_RUN] = "run",
        [PERFI_OP_BLOCK] = "block",
        [PERFI_OP_WAIT] = "wait",
        [PERFI_OP_DELAY] = "delay",
        [PERFI_OP_NEVER] = "never",
        [PERFI_OP_YIELD] = "yield",
        [PERFI_OP_SPAWN] = "spawn",
        [PERFI_OP_TIMER] = "timer",
        [PERFI_OP_SLOT] = "slot",
        [PERFI_OP_RESOLVE] = "resolve",
        [PERFI_OP_CANCEL] = "cancel",
        [PERFI_OP_HOST] = "host",
        [PERFI_OP_SUBMIT] = "submit",
        [PERFI_OP_ACQUIRE] = "acquire",
        [PERFI_OP_RELEASE] = "release",
        [PERFI_OP_PUT] = "put",
        [PERFI_OP_GET] = "get",
        [PERFI_OP_TAKE] = "take",
        [PERFI_OP_TASK_DONE] = "task_done",
        [PERFI_OP_JOIN] = "join",
    };
    if (code == PERFI_OP_COUNT)
        return "count";
    return code == PERFI_OP_WAIT_EXECUTOR ? "wait_executor" : texts[code];
}

const char *
pt_ops(const pt_profile *p, uint64_t id)
{
    return pt_ops_in(p, p->model.programs[number_of(p, id)].ops);
}

const char *
pt_ops_in(const pt_profile *p, perfi_range ops)
{
    text[text_at = 0] = 0;
    for (uint32_t i = ops.first; i < ops.end; i++) {
        const perfi_op *op = &p->model.ops.item[i];
        if (op->code == PERFI_OP_NONE || op->code == PERFI_OP_BEGIN)
            continue;
        add("%s%s", text_at ? " " : "", op_text((perfi_op_code)op->code));
        bool timed = op->code == PERFI_OP_RUN || op->code == PERFI_OP_BLOCK ||
                     op->code == PERFI_OP_DELAY || op->code == PERFI_OP_TIMER ||
                     op->code == PERFI_OP_SLOT;
        if (timed)
            add(":%g", ms_of(op->ns));
        if (timed && op->label)
            add("@%s", label_text(p, op->label));
    }
    return text;
}

const perfi_op *
pt_nth_op(const pt_profile *p, uint64_t id, size_t n)
{
    perfi_range ops = p->model.programs[number_of(p, id)].ops;
    for (uint32_t i = ops.first; i < ops.end; i++)
        if (p->model.ops.item[i].code != PERFI_OP_NONE &&
            p->model.ops.item[i].code != PERFI_OP_BEGIN && !n--)
            return &p->model.ops.item[i];
    ck_abort_msg("not so many operations");
    return NULL;
}

const char *
pt_moments(const pt_profile *p, uint64_t id)
{
    static const char *const texts[] = {
        [PERF_EVENT_THREAD] = "THREAD",   [PERF_EVENT_RUN] = "RUN",
        [PERF_EVENT_SUSPEND] = "SUSPEND", [PERF_EVENT_END] = "END",
        [PERF_EVENT_LABEL] = "LABEL",     [PERF_EVENT_SPAWN] = "SPAWN",
        [PERF_EVENT_TIMER] = "TIMER",     [PERF_EVENT_RESOLVE] = "RESOLVE",
    };
    const perfi_actor *a = pt_actor(p, id);
    text[text_at = 0] = 0;
    for (uint32_t i = a->first; i < a->first + a->count; i++) {
        const perfi_moment *m = &p->line.moments.item[i];
        ck_assert_uint_le(m->code, PERF_EVENT_RESOLVE);
        add("%s%s@%g", text_at ? " " : "", texts[m->code], ms_of(m->t));
    }
    return text;
}

perf_analysis *
pt_analyse(perf_reader **reader)
{
    perf_analysis *analysis = NULL;
    perf_events_set_time(0, 0);
    *reader = pt_self();
    perf_err err = perf_analysis_create_blocking(*reader, 0, NULL, &analysis);
    ck_assert_int_eq(err, PERF_OK);
    return analysis;
}
