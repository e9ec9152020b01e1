/* path.c - the critical path of a program with a million spans. */
#define _GNU_SOURCE
#include "cases.h"

#include <libperf/analysis.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TASKS = 100000, SPANS_EACH = 10, MAIN = 1, FIRST_TASK = 2 };

typedef struct bench_data {
    perf_reader *reader;
    perf_analysis *analysis;
} bench_data;

/* ---- a program's events, in virtual time ---- */

static void
say(perf_event_code code, uint32_t arg, uint64_t span, uint64_t key,
    uint64_t more)
{
    static uint64_t now = 1000000;
    perf_events_set_time(now += 100, 0);
    perf_event_write(code, arg, span, key, more);
}

static void
run_task(uint64_t task, uint64_t span, uint32_t name)
{
    say(PERF_EVENT_RUN, PERF_ACTOR_TASK, 0, task, 0);
    for (int i = 0; i < SPANS_EACH / 2; i++, span += 2) { /* one in the other */
        say(PERF_EVENT_SPAN_BEGIN, name, 0, span, 0);
        say(PERF_EVENT_SPAN_BEGIN, name + 1, span, span + 1, span);
        say(PERF_EVENT_SPAN_END, 0, span + 1, span + 1, 0);
        say(PERF_EVENT_SPAN_END, 0, span, span, 0);
    }
}

/* Each task makes the next one; the last one is what the program waits for. */
static void
write_chain(void)
{
    uint32_t name = perf_name(PERF_KIND_SPAN, "outer", 5);
    perf_name(PERF_KIND_SPAN, "inner", 5);
    say(PERF_EVENT_THREAD, PERF_ACTOR_MAIN, 0, MAIN, 0);
    say(PERF_EVENT_SPAWN, 0, 0, FIRST_TASK, 0);
    say(PERF_EVENT_HOST, 0, 0, FIRST_TASK + TASKS - 1, MAIN);
    for (uint64_t i = 0; i < TASKS; i++) {
        run_task(FIRST_TASK + i, FIRST_TASK + TASKS + i * SPANS_EACH, name);
        if (i + 1 < TASKS)
            say(PERF_EVENT_SPAWN, 0, 0, FIRST_TASK + i + 1, 0);
        say(PERF_EVENT_END, 0, 0, 0, 0);
    }
    say(PERF_EVENT_HOSTED, 0, 0, 0, 0);
}

/* In a process of its own, for the sake of a larger segment. Its file is there
 * until somebody else starts one. */
static void
write_segment(int told)
{
    char path[PERF_PATH_MAX_BYTES] = "";
    perf_segment_config config;
    perf_segment_config_init(&config, sizeof config);
    config.max_bytes = UINT64_C(512) << 20;
    config.ring_bytes = UINT64_C(256) << 20;
    if (!perf_segment_start(&config)) {
        write_chain();
        perf_segment_path(path, sizeof path);
    }
    exit(write(told, path, sizeof path) == sizeof path ? EXIT_SUCCESS
                                                       : EXIT_FAILURE);
}

static perf_reader *
open_program(void)
{
    char path[PERF_PATH_MAX_BYTES] = "";
    perf_reader *reader = NULL;
    int ends[2];
    if (pipe(ends))
        return NULL;
    pid_t pid = fork();
    if (!pid)
        write_segment(ends[1]);
    close(ends[1]);
    if (pid > 0 && read(ends[0], path, sizeof path) > 0)
        perf_reader_open_blocking(path, NULL, &reader);
    close(ends[0]);
    waitpid(pid, NULL, 0);
    unlink(path);
    return reader;
}

/* ---- cases ---- */

static void
tear_down(perf_bench_state *state)
{
    bench_data *d = state->data;
    if (!d)
        return;
    perf_analysis_destroy(d->analysis);
    perf_reader_close(d->reader);
    free(d);
}

static void
set_up(perf_bench_state *state)
{
    bench_data *d = state->data = calloc(1, sizeof *d);
    if (!d || !(d->reader = open_program()) ||
        perf_analysis_create_blocking(d->reader, 0, NULL, &d->analysis))
        perf_bench_fail(state, "no program to analyse");
}

static void
path(perf_bench_state *state)
{
    const bench_data *d = state->data;
    for (uint64_t i = 0; i < state->iterations; i++) {
        const perf_path_step *step;
        size_t count;
        if (perf_analysis_path_blocking(d->analysis, 0, &step, &count) ||
            count < TASKS * SPANS_EACH)
            perf_bench_fail(state, "no path");
    }
}

void
add_path_cases(void)
{
    perf_bench_case *c = perf_bench_add("path/1M_spans", path);
    c->setup = set_up;
    c->teardown = tear_down;
}
