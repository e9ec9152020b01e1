/* test_path_program.c - a loop, as small as it can be, a thread beside it, and
 * a main thread that hosts it. */
#include "test_path_deeds.h"

#include <string.h>

static uint32_t module, names[4];

void
program_names(void)
{
    static const char *const spans[] = {"plan", "fetch", "rank", "call",
                                        "answer"};
    for (int i = 0; i < 5; i++)
        program_spans[i] = pt_name(PERF_KIND_SPAN, spans[i]);
    module = text("numpy.linalg");
    static const char *const resources[] = {"db", "jobs", "pool", "lock"};
    for (int i = 0; i < 4; i++)
        names[i] = text(resources[i]);
}

/* ---- the loop ---- */

static void
end_task(task *t)
{
    release(t);
    while (t->depth && chance(12)) /* some are never closed */
        close_span(t);
    for (uint32_t g = 0; g < of.gathers; g++)
        for (uint32_t i = 0; i < of.gather[g].count; i++)
            if (of.gather[g].of[i] == t->id) {
                callback call = {.id = new_id(),
                                 .span = of.gather[g].span,
                                 .gather = g + 1,
                                 .kind = PERF_ACTOR_CALLBACK};
                SAY(SPAWN, .key = call.id, .arg = g + 1, .more = t->id,
                    .span = current(t));
                enqueue((turn){.call = call});
            }
    SAY(END, .span = current(t));
    t->done = true;
    wake_all(t->id);
}

static void
run_task(task *t)
{
    static const perf_event_code good[] = {0, PERF_EVENT_ACQUIRED,
                                           PERF_EVENT_GOT},
                                 bad[] = {0, PERF_EVENT_NOT_ACQUIRED,
                                          PERF_EVENT_NOT_GOT};
    wish had = t->wish;
    t->ready = false;
    t->wish = FUTURE;
    SAY(RUN, .key = t->id, .arg = PERF_ACTOR_TASK, .span = current(t),
        .more = LOOP);
    if (had != FUTURE)
        say(0, &of.now,
            (perf_event){.code = (uint16_t)(t->cancelled ? bad : good)[had],
                         .key = had == PLACE ? LOCK : JOBS,
                         .span = current(t)});
    t->holds |= had == PLACE && !t->cancelled;
    while (!t->cancelled && t->deeds++ < DEEDS) {
        spend_time();
        if (!deed(t))
            return;
    }
    end_task(t);
}

static void
run_callback(const callback *c)
{
    SAY(RUN, .key = c->id, .arg = c->kind, .span = c->span, .more = LOOP);
    spend_time();
    if (c->gather && --of.gather[c->gather - 1].left == 0)
        resolve(of.gather[c->gather - 1].future, c->span);
    else if (!c->gather)
        resolve(c->resolves, c->span);
    SAY(END, .span = c->span);
}

/* The next one that is due by now; false: none is. */
static bool
take_due(bool wait)
{
    uint32_t next = 0;
    for (uint32_t i = 1; i < of.laters; i++)
        if (of.later[i].t < of.later[next].t)
            next = i;
    if (!of.laters || (!wait && of.later[next].t > of.now))
        return false;
    if (of.later[next].t > of.now) {
        uint64_t since = of.now;
        of.now = of.later[next].t;
        SAY(SELECT, .more = since);
    }
    enqueue((turn){.call = of.later[next]});
    of.later[next] = of.later[--of.laters];
    return true;
}

/* Returns false when nothing will ever happen again. */
static bool
run_loop(const task *until)
{
    while (!until->done) {
        while (take_due(false))
            ;
        if (of.first == of.end && !take_due(true))
            return false;
        turn next = of.queue[of.first++];
        if (next.task)
            run_task(&of.task[next.task - 1]);
        else
            run_callback(&next.call);
    }
    return true;
}

/* ---- the program ---- */

static void
import(uint64_t span)
{
    SAY(IMPORT, .arg = module, .span = span);
    spend_time();
    SAY(IMPORTED, .span = span);
}

static void
begin_thread(uint64_t *released, uint64_t *ended)
{
    SAY(SPAWN, .key = THREAD);
    of.clock[BESIDE] = of.now;
    SAY_IN(BESIDE, THREAD, .key = THREAD, .arg = PERF_ACTOR_THREAD);
    SAY_IN(BESIDE, ACQUIRE, .key = OTHER);
    SAY_IN(BESIDE, ACQUIRED, .key = OTHER);
    of.clock[BESIDE] += chance(100000);
    SAY_IN(BESIDE, RELEASE, .key = OTHER);
    *released = of.clock[BESIDE];
    of.clock[BESIDE] += chance(100000);
    SAY_IN(BESIDE, END);
    *ended = of.clock[BESIDE];
}

static void
not_before(uint64_t t)
{
    if (of.now < t)
        of.now = t;
}

static void
say_resources(void)
{
    static const uint64_t id[] = {LOCK, JOBS, POOL, OTHER};
    static const uint64_t what[] = {
        PERF_RESOURCE_SEMAPHORE | 2 << 8, PERF_RESOURCE_QUEUE,
        PERF_RESOURCE_EXECUTOR | 2 << 8, PERF_RESOURCE_LOCK | 1 << 8};
    for (int i = 0; i < 4; i++)
        SAY(RESOURCE, .key = id[i], .arg = names[i], .more = what[i]);
}

bool
program_make(program_kind kind)
{
    uint64_t released, ended, span;
    memset(&of, 0, sizeof of);
    script.count = 0;
    of.kind = kind;
    of.random.state = kind.seed;
    of.newest_id = MANY;
    of.places = 2;
    SAY(THREAD, .key = MAIN, .arg = PERF_ACTOR_MAIN);
    say_resources();
    for (uint64_t i = chance(3); kind.startup && i; i--)
        import(0);
    begin_thread(&released, &ended);
    span = of.root = new_id();
    SAY(SPAN_BEGIN, .key = span, .arg = program_spans[0]);
    import(span);
    SAY(SLEEP, .more = 5000, .span = span);
    of.now += 5000;
    SAY(SLEPT, .span = span);
    of.task[of.tasks++] = (task){.id = ROOT, .base = span};
    SAY(SPAWN, .key = ROOT, .span = span);
    wake(&of.task[0]);
    SAY(HOST, .key = ROOT, .more = LOOP, .span = span);
    bool ends = run_loop(&of.task[0]);
    SAY(HOSTED, .key = ROOT, .span = span);
    SAY(ACQUIRE, .key = OTHER, .span = span);
    not_before(released);
    SAY(ACQUIRED, .key = OTHER, .span = span);
    SAY(WAIT_FOR, .key = THREAD, .span = span);
    SAY(WAIT, .arg = 1, .span = span);
    not_before(ended);
    SAY(WAITED, .span = span);
    end_span(span, span);
    SAY(LABEL);
    return ends;
}
