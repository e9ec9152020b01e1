/* replay.c - a million spans in a hundred thousand tasks: to read what was
 * recorded, to make programs of it, and to replay these. The bar: a replay in
 * one second. */
#define _GNU_SOURCE
#include "cases.h"

#include <libperf/analysis.h>
#include <libperf/span.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    BATCHES = 1000, /* one after the other: */
    TASKS = 100,    /* requests at the same time */
    CALLS = 9,      /* spans in a request */
    LOOP = 1,
    US = 1000,
};

/* ---- the recording ---- */

/* Virtual time: the same recording each time. */
static struct {
    uint64_t now_ns, cpu_ns, span;
    uint32_t request, call[CALLS];
} at;

static void
write_event(perf_event_code code, uint32_t arg, uint64_t key, uint64_t more)
{
    perf_events_set_time(at.now_ns, at.cpu_ns);
    perf_event_write(code, arg, at.span, key, more);
}

static void
work(uint64_t ns)
{
    at.now_ns += ns;
    at.cpu_ns += ns;
}

static void
run(uint64_t actor, perf_actor kind)
{
    write_event(PERF_EVENT_RUN, kind, actor, LOOP);
}

/* A request: calls that use the CPU, and one that waits for the network. */
typedef struct request {
    uint64_t task, span, call, timer, future, due_ns;
} request;

static void
call(uint64_t parent, uint64_t id, uint32_t name)
{
    write_event(PERF_EVENT_SPAN_BEGIN, name, id, parent);
    at.span = id;
}

static void
end(uint64_t id, uint64_t parent)
{
    write_event(PERF_EVENT_SPAN_END, PERF_STATUS_OK, id, 0);
    at.span = parent;
}

static void
begin_request(request *r)
{
    run(r->task, PERF_ACTOR_TASK);
    at.span = 0;
    r->span = perf_event_new_id();
    call(0, r->span, at.request);
    for (int i = 0; i + 1 < CALLS; i++) {
        uint64_t id = perf_event_new_id();
        call(r->span, id, at.call[i]);
        work(2 * US);
        end(id, r->span);
    }
    r->call = perf_event_new_id();
    r->timer = perf_event_new_id();
    r->future = perf_event_new_id();
    r->due_ns = at.now_ns + 5000 * US;
    call(r->span, r->call, at.call[CALLS - 1]);
    write_event(PERF_EVENT_TIMER, 0, r->timer, r->due_ns);
    write_event(PERF_EVENT_SUSPEND, 0, r->future, 0);
}

static void
end_request(request *r)
{
    uint64_t since = at.now_ns;
    if (at.now_ns < r->due_ns)
        at.now_ns = r->due_ns;
    at.span = r->call;
    write_event(PERF_EVENT_SELECT, 0, 0, since);
    run(r->timer, PERF_ACTOR_TIMER);
    write_event(PERF_EVENT_RESOLVE, 0, r->future, 0);
    write_event(PERF_EVENT_END, 0, 0, 0);
    run(r->task, PERF_ACTOR_TASK);
    work(2 * US);
    end(r->call, r->span);
    end(r->span, 0);
    write_event(PERF_EVENT_END, 0, 0, 0);
}

static void
batch(uint64_t root)
{
    request requests[TASKS];
    run(root, PERF_ACTOR_TASK);
    for (int i = 0; i < TASKS; i++) {
        requests[i].task = perf_event_new_id();
        write_event(PERF_EVENT_SPAWN, 0, requests[i].task, 0);
    }
    write_event(PERF_EVENT_SUSPEND, 0, requests[TASKS - 1].task, 0);
    for (int i = 0; i < TASKS; i++)
        begin_request(&requests[i]);
    for (int i = 0; i < TASKS; i++)
        end_request(&requests[i]);
}

static uint32_t
name_of(const char *text)
{
    return perf_name(PERF_KIND_SPAN, text, strlen(text));
}

static void
record(void)
{
    at.now_ns = at.cpu_ns = 1000000 * US;
    at.request = name_of("bench.request");
    for (int i = 0; i < CALLS; i++) {
        char text[32];
        snprintf(text, sizeof text, "bench.call%d", i);
        at.call[i] = name_of(text);
    }
    uint64_t main = perf_event_new_id(), root = perf_event_new_id();
    write_event(PERF_EVENT_THREAD, PERF_ACTOR_MAIN, main, 1);
    write_event(PERF_EVENT_SPAWN, 0, root, 0);
    write_event(PERF_EVENT_HOST, 0, root, LOOP);
    for (int i = 0; i < BATCHES; i++)
        batch(root);
    run(root, PERF_ACTOR_TASK);
    write_event(PERF_EVENT_END, 0, 0, 0);
    write_event(PERF_EVENT_HOSTED, 0, 0, 0);
}

/* ---- a file that a child leaves behind ---- */

static char folder[64], file[PERF_PATH_MAX_BYTES];
static int users; /* cases that have not been torn down */

/* The child's segment is its own: the other cases' stays as it is. */
static void
record_in_child(int to)
{
    perf_segment_config config;
    perf_segment_config_init(&config, sizeof config);
    config.dir = folder;
    config.max_bytes = UINT64_C(2) << 30;
    config.ring_bytes = UINT64_C(1) << 30;
    if (perf_segment_start(&config))
        _exit(EXIT_FAILURE);
    record();
    perf_segment_stats stats;
    perf_segment_stats_now(&stats);
    perf_segment_finish();
    perf_segment_path(file, sizeof file);
    bool well = !stats.dropped_records &&
                write(to, file, sizeof file) == (ssize_t)sizeof file;
    _exit(well ? EXIT_SUCCESS : EXIT_FAILURE);
}

static bool
make_file(void)
{
    int ends[2], status = -1;
    strcpy(folder, "/dev/shm/perf-bench-XXXXXX");
    if (!mkdtemp(folder) || pipe(ends))
        return false;
    pid_t child = fork();
    if (child == 0)
        record_in_child(ends[1]);
    close(ends[1]);
    bool well = child > 0 &&
                read(ends[0], file, sizeof file) == (ssize_t)sizeof file &&
                waitpid(child, &status, 0) == child && !status;
    close(ends[0]);
    return well;
}

static void
remove_file(perf_bench_state *state)
{
    (void)state;
    if (--users)
        return;
    unlink(file);
    char *slash = strrchr(file, '/');
    if (slash)
        *slash = 0;
    rmdir(file);
    rmdir(folder);
}

static void
need_file(perf_bench_state *state)
{
    if (users++ == 0 && !make_file())
        perf_bench_fail(state, "no recording could be made");
}

/* ---- cases ---- */

static perf_reader *
open_reader(perf_bench_state *state)
{
    perf_reader *reader = NULL;
    if (perf_reader_open_blocking(file, NULL, &reader))
        perf_bench_fail(state, "the recording cannot be opened");
    return reader;
}

static void
read_events(perf_bench_state *state)
{
    static perf_event events[1024];
    for (uint64_t i = 0; i < state->iterations; i++) {
        perf_reader *reader = open_reader(state);
        while (reader && perf_reader_events(reader, events, 1024))
            perf_bench_keep(events);
        perf_reader_close(reader);
    }
}

static void
create(perf_bench_state *state)
{
    for (uint64_t i = 0; i < state->iterations; i++) {
        perf_analysis *analysis = NULL;
        perf_reader *reader = open_reader(state);
        if (perf_analysis_create_blocking(reader, 0, NULL, &analysis))
            perf_bench_fail(state, "the recording cannot be analysed");
        perf_analysis_destroy(analysis);
        perf_reader_close(reader);
    }
}

static perf_reader *reader;

static void
prepare_replay(perf_bench_state *state)
{
    perf_analysis *analysis = NULL;
    perf_analysis_info info = {0};
    need_file(state);
    reader = open_reader(state);
    if (perf_analysis_create_blocking(reader, 0, NULL, &analysis) ||
        perf_analysis_info_get(analysis, &info) || info.stuck ||
        info.spans != BATCHES * TASKS * (1 + CALLS))
        perf_bench_fail(state, "the recording is not what it should be");
    state->data = analysis;
}

static void
end_replay(perf_bench_state *state)
{
    perf_analysis_destroy(state->data);
    perf_reader_close(reader);
    remove_file(state);
}

static void
replay(perf_bench_state *state)
{
    perf_change half = {PERF_CHANGE_TIME, 5, 0.5};
    uint64_t ns;
    for (uint64_t i = 0; i < state->iterations; i++)
        if (perf_analysis_replay_blocking(state->data, &half, 1, 0, 0, &ns))
            perf_bench_fail(state, "it cannot be replayed");
}

void
add_replay_cases(void)
{
    perf_bench_case *c = perf_bench_add("analysis/read", read_events);
    c->setup = need_file;
    c->teardown = remove_file;
    c = perf_bench_add("analysis/create", create);
    c->setup = need_file;
    c->teardown = remove_file;
    c = perf_bench_add("analysis/replay", replay);
    c->setup = prepare_replay;
    c->teardown = end_replay;
}
