/* test_path_check.c - the invariants of paths. */
#include "test_path_kit.h"

#include <stdlib.h>

uint64_t *
script_actors(void)
{
    uint64_t stack[SCRIPT_THREADS][64] = {{0}};
    uint32_t depth[SCRIPT_THREADS] = {0};
    uint64_t *actor = malloc(script.count * sizeof *actor);
    for (size_t i = 0; i < script.count; i++) {
        const perf_event *e = &script.item[i];
        uint64_t *in = stack[e->block];
        uint32_t *at = &depth[e->block];
        if (e->code == PERF_EVENT_THREAD)
            in[ *at = 0] = e->key;
        else if (e->code == PERF_EVENT_RUN)
            in[++*at] = e->key;
        actor[i] = in[*at];
        if ((e->code == PERF_EVENT_SUSPEND || e->code == PERF_EVENT_END) && *at)
            --*at;
    }
    return actor;
}

void
span_times(uint64_t span, uint64_t *begin, uint64_t *end)
{
    *begin = *end = 0;
    for (size_t i = 0; i < script.count; i++) {
        const perf_event *e = &script.item[i];
        if (e->key == span && e->code == PERF_EVENT_SPAN_BEGIN)
            *begin = SCRIPT_EPOCH_NS + e->time_ns;
        if (e->key == span && e->code == PERF_EVENT_SPAN_END)
            *end = SCRIPT_EPOCH_NS + e->time_ns;
    }
}

/* ---- invariants ---- */

static uint64_t
startup_between(uint64_t from, uint64_t to)
{
    uint64_t sum = 0, since = 0;
    for (size_t i = 0; i < script.count; i++) {
        const perf_event *e = &script.item[i];
        uint64_t t = SCRIPT_EPOCH_NS + e->time_ns;
        if (e->block || e->span)
            continue;
        if (e->code == PERF_EVENT_IMPORT)
            since = t;
        if (e->code == PERF_EVENT_IMPORTED && since >= from && t <= to)
            sum += t - since;
    }
    return sum;
}

uint64_t
check_sum(uint64_t from, uint64_t to, const perf_path_step *step, size_t count)
{
    uint64_t sum = 0, unexplained = 0, shared = 0, at = from;
    for (size_t i = 0; i < count; i++) {
        PT_CHECK(step[i].from_ns < step[i].to_ns);
        PT_CHECK(step[i].from_ns == at ||
                 step[i].from_ns - at == startup_between(at, step[i].from_ns));
        PT_CHECK(step[i].kind >= PERF_STEP_RUN &&
                 step[i].kind <= PERF_STEP_UNEXPLAINED);
        at = step[i].to_ns;
        sum += step[i].to_ns - step[i].from_ns;
        if (step[i].kind == PERF_STEP_UNEXPLAINED)
            unexplained += step[i].to_ns - step[i].from_ns;
    }
    PT_CHECK(at == to || to - at == startup_between(at, to));
    PT_CHECK_EQ(sum, to - from - startup_between(from, to));
    perf_path_share share;
    uint64_t shared_unexplained = 0;
    for (uint32_t i = 0; !perf_analysis_path_share(analysis, i, &share); i++) {
        shared += share.ns;
        shared_unexplained += share.unexplained_ns;
    }
    PT_CHECK_EQ(shared, sum);
    PT_CHECK_EQ(shared_unexplained, unexplained);
    return unexplained;
}

void
check_spans_open(const perf_path_step *step, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t begin, end;
        if (!step[i].span)
            continue;
        span_times(step[i].span, &begin, &end);
        PT_CHECK(begin && begin <= step[i].from_ns);
        PT_CHECK(!end || end >= step[i].to_ns);
    }
}

/* Did the actor wait for this, in one way or another? */
static bool
awaits(const uint64_t *actor, uint64_t who, uint64_t key)
{
    for (size_t i = 0; i < script.count; i++) {
        uint32_t code = script.item[i].code;
        if (actor[i] == who && script.item[i].key == key &&
            (code == PERF_EVENT_SUSPEND || code == PERF_EVENT_WAIT_FOR ||
             code == PERF_EVENT_HOST || code == PERF_EVENT_ACQUIRE ||
             code == PERF_EVENT_GET || code == PERF_EVENT_PUT ||
             code == PERF_EVENT_JOIN))
            return true;
    }
    return false;
}

static bool
has(uint32_t code, const uint64_t *actor, uint64_t who, uint64_t key)
{
    for (size_t i = 0; i < script.count; i++)
        if (script.item[i].code == code && script.item[i].key == key &&
            (!actor || actor[i] == who))
            return true;
    return false;
}

static bool
is_io(uint64_t id)
{
    for (size_t i = 0; i < script.count; i++)
        if (script.item[i].code == PERF_EVENT_RUN && script.item[i].key == id)
            return script.item[i].arg == PERF_ACTOR_IO;
    return false;
}

/* Did `a` make `b` go on by this event? Or, where b came from the selector, was
 * a the one who waited for that from here on? */
static bool
leads(const uint64_t *actor, const perf_event *e, uint64_t a, uint64_t b)
{
    switch (e->code) {
    case PERF_EVENT_SPAWN:
    case PERF_EVENT_TIMER:
    case PERF_EVENT_SUBMIT:
    case PERF_EVENT_CANCEL: return e->key == b;
    case PERF_EVENT_RESOLVE:
    case PERF_EVENT_RELEASE:
    case PERF_EVENT_PUT:
    case PERF_EVENT_PUT_NOWAIT:
    case PERF_EVENT_HAS_PUT:
    case PERF_EVENT_GOT:
    case PERF_EVENT_TASK_DONE: return awaits(actor, b, e->key);
    case PERF_EVENT_END: /* its thread is free for other work */
        return awaits(actor, b, a) || (has(PERF_EVENT_SUBMIT, NULL, 0, a) &&
                                       has(PERF_EVENT_SUBMIT, NULL, 0, b));
    case PERF_EVENT_SUSPEND: return is_io(b);
    default: return false;
    }
}

static bool
is_edge(const uint64_t *actor, const perf_path_step *a, const perf_path_step *b)
{
    if (a->actor == b->actor || a->kind == PERF_STEP_UNEXPLAINED)
        return true;
    if (a->kind == PERF_STEP_SLEEP) /* until its timer was due */
        return has(PERF_EVENT_TIMER, actor, a->actor, b->actor);
    if (a->kind == PERF_STEP_IO)
        return is_io(b->actor);
    for (size_t i = 0; i < script.count; i++) {
        uint64_t t = SCRIPT_EPOCH_NS + script.item[i].time_ns;
        if (actor[i] == a->actor && t + 1 >= a->to_ns && t <= a->to_ns + 1 &&
            leads(actor, &script.item[i], a->actor, b->actor))
            return true;
    }
    return false;
}

void
check_edges(const perf_path_step *step, size_t count)
{
    uint64_t *actor = script_actors();
    for (size_t i = 1; i < count; i++)
        PT_CHECK(is_edge(actor, &step[i - 1], &step[i]));
    free(actor);
}
