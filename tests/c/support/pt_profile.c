/* pt_profile.c - reads a stream back: timeline, model, analysis, and text. */
#include "pt_profile.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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
        if (op->code == PERFI_OP_NONE || op->code == PERFI_OP_BEGIN ||
            op->code == PERFI_OP_END)
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
            p->model.ops.item[i].code != PERFI_OP_BEGIN &&
            p->model.ops.item[i].code != PERFI_OP_END && !n--)
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
