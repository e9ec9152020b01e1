/* test_path_kit.c - scripts: written, analysed, and their paths as text. */
#include "test_path_kit.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

script_events script;
perf_reader *reader;
perf_analysis *analysis;

/* ---- scripts ---- */

void
script_add(uint32_t thread, uint64_t t, perf_event e)
{
    if (script.count == script.room) {
        script.room = script.room ? script.room * 2 : 256;
        script.item = realloc(script.item, script.room * sizeof *script.item);
    }
    e.block = (uint16_t)thread;
    e.time_ns = t;
    script.item[script.count++] = e;
}

/* A thread of a script. It stays until all have written, or the next one would
 * take its ring over. */
typedef struct actor_thread {
    size_t limit;
    uint32_t number;
    pthread_barrier_t *wrote, *done;
} actor_thread;

static void *
write_events(void *arg)
{
    const actor_thread *t = arg;
    for (size_t i = 0; i < t->limit; i++) {
        const perf_event *e = &script.item[i];
        if (e->block != t->number)
            continue;
        perf_events_set_time(SCRIPT_EPOCH_NS + e->time_ns, e->cpu_ns);
        bool timed =
            e->code == PERF_EVENT_TIMER || e->code == PERF_EVENT_SELECT;
        perf_event_write((perf_event_code)e->code, e->arg, e->span, e->key,
                         e->more + (timed ? SCRIPT_EPOCH_NS : 0));
    }
    pthread_barrier_wait(t->wrote);
    pthread_barrier_wait(t->done);
    return NULL;
}

void
script_play(size_t limit, const uint32_t *order)
{
    pthread_t ids[SCRIPT_THREADS];
    actor_thread threads[SCRIPT_THREADS];
    pthread_barrier_t wrote, done;
    pthread_barrier_init(&wrote, NULL, 2);
    pthread_barrier_init(&done, NULL, SCRIPT_THREADS);
    for (uint32_t i = 0; i < SCRIPT_THREADS; i++) {
        threads[i] = (actor_thread){limit < script.count ? limit : script.count,
                                    order ? order[i] : i, &wrote, &done};
        pthread_create(&ids[i], NULL, write_events, &threads[i]);
        pthread_barrier_wait(&wrote); /* one after the other */
    }
    for (uint32_t i = 0; i < SCRIPT_THREADS; i++)
        pthread_join(ids[i], NULL);
    pthread_barrier_destroy(&wrote);
    pthread_barrier_destroy(&done);
    perf_events_set_time(0, 0);
}

void
script_analyse(void)
{
    reader = pt_self();
    perf_err err = perf_analysis_create_blocking(reader, 0, NULL, &analysis);
    PT_CHECK(err == PERF_OK || err == PERF_ERR_NOT_FOUND);
}

void
play(void)
{
    script_play(SIZE_MAX, NULL);
    script_analyse();
    PT_CHECK(analysis != NULL);
}

void
forget(void)
{
    perf_analysis_destroy(analysis);
    perf_reader_close(reader);
}

const perf_path_step *
path_of(uint64_t span, size_t *count)
{
    const perf_path_step *step;
    PT_CHECK_EQ(perf_analysis_path_blocking(analysis, span, &step, count),
                PERF_OK);
    return step;
}

/* ---- programs ---- */

uint32_t
text(const char *name)
{
    return pt_name(PERF_KIND_TEXT, name);
}

void
begin(uint32_t thread, double ms, uint64_t span, const char *name,
      uint64_t parent)
{
    E(thread, ms, SPAN_BEGIN, .key = span, .arg = pt_name(PERF_KIND_SPAN, name),
      .more = parent, .span = parent);
}

void
end(uint32_t thread, double ms, uint64_t span)
{
    E(thread, ms, SPAN_END, .key = span, .span = span);
}

void
run(double ms, uint64_t actor, perf_actor kind, uint64_t span)
{
    E(0, ms, RUN, .key = actor, .arg = kind, .span = span, .more = LOOP);
}

/* The main thread, in which a loop runs ROOT from 1 ms on. */
void
loop_begins(void)
{
    E(0, 0, THREAD, .key = MAIN, .arg = PERF_ACTOR_MAIN);
    E(0, 0.5, SPAWN, .key = ROOT);
    E(0, 1, HOST, .key = ROOT, .more = LOOP);
    run(1, ROOT, PERF_ACTOR_TASK, 0);
}

/* ROOT has ended a moment ago. */
void
loop_ends(double ms)
{
    E(0, ms, HOSTED, .key = ROOT);
}

void
thread_begins(uint32_t thread, double ms, uint64_t id)
{
    E(thread, ms, THREAD, .key = id, .arg = PERF_ACTOR_THREAD);
}

void
resource(uint64_t id, perf_resource kind, uint64_t capacity, const char *name)
{
    E(0, 0, RESOURCE, .key = id, .arg = text(name),
      .more = kind | capacity << 8);
}

/* ---- paths as text ---- */

static const char *
name_of(uint32_t name)
{
    return perf_reader_name(reader, name, NULL);
}

static const char *
actor_of(uint64_t id)
{
    static const char *const names[] = {
        [MAIN] = "main",   [ROOT] = "root", [A] = "a",
        [B] = "b",         [C] = "c",       [THREAD] = "thread",
        [TIMER] = "timer", [IO] = "io",     [CALLBACK] = "callback",
    };
    return id < sizeof names / sizeof *names && names[id] ? names[id] : "?";
}

static const char *
span_of(uint64_t id)
{
    for (size_t i = 0; i < script.count; i++)
        if (script.item[i].code == PERF_EVENT_SPAN_BEGIN &&
            script.item[i].key == id)
            return name_of(script.item[i].arg);
    return id ? "?" : "-";
}

const char *
label_of(uint32_t number)
{
    perf_label label;
    ck_assert_int_eq(perf_analysis_label(analysis, number, &label), PERF_OK);
    if (label.kind == PERF_LABEL_NONE)
        return "-";
    if (label.kind == PERF_LABEL_HOLD)
        return "hold";
    return label.kind == PERF_LABEL_LIMIT ? "limit" : name_of(label.name);
}

static const char *
resource_of(uint32_t number)
{
    perf_resource_use r;
    if (number == UINT32_MAX)
        return "";
    ck_assert_int_eq(perf_analysis_resource(analysis, number, &r), PERF_OK);
    return name_of(r.name);
}

static double
ms_of(uint64_t ns)
{
    return (double)(ns - SCRIPT_EPOCH_NS) / (double)MS;
}

/* A line for each step: FROM-TO actor span kind, and what is waited for. Where
 * the label is not the span's name: span=label. */
void
expect_path(uint64_t span, const char *expected)
{
    static const char *const kinds[] = {
        "?", "ran", "blocked", "slept", "io", "import", "lag", "unexplained"};
    char text[4096];
    size_t count, n = 0;
    const perf_path_step *step = path_of(span, &count);
    for (size_t i = 0; i < count; i++) {
        const char *in = span_of(step[i].span), *as = label_of(step[i].label);
        const char *what = resource_of(step[i].resource);
        bool same = !strcmp(in, as);
        n += (size_t)snprintf(
            text + n, sizeof text - n, "%g-%g %s %s%s%s %s%s%s\n",
            ms_of(step[i].from_ns), ms_of(step[i].to_ns),
            actor_of(step[i].actor), in, same ? "" : "=", same ? "" : as,
            kinds[step[i].kind], *what ? " " : "", what);
        ck_assert_uint_lt(n, sizeof text);
    }
    ck_assert_str_eq(text, expected);
}

void
expect(const char *expected)
{
    play();
    expect_path(0, expected);
}
