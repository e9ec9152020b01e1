/* test_growth.c - four times as much takes about four times as many steps, also
 * where there is much of one thing. Steps, not time: the profiler's own code is
 * compiled so that it counts its basic blocks (see CMakeLists.txt). */
#include "pt_profile.h"

#include <stdio.h>
#include <stdlib.h>

static uint64_t steps;

void __sanitizer_cov_trace_pc(void);

void
__sanitizer_cov_trace_pc(void)
{
    steps++;
}

/* ---- programs with n of something ---- */

/* Spans that nobody makes current, as callbacks of a framework begin them; the
 * first that began ends first, or last. */
static void
siblings(uint32_t n, bool current, bool first_ends_first)
{
    uint32_t name = pt_name(PERF_KIND_LLM, "call");
    uint64_t first = UINT64_C(1) << 40;
    pt_main();
    uint64_t parent = pt_open("parent");
    for (uint64_t i = 0; i < n; i++) {
        pt_say(SPAN_BEGIN, .key = first + i, .more = parent, .arg = name);
        pt_work(0.01);
        pt_say(LABEL, .span = current ? first + i : parent);
    }
    for (uint64_t i = 0; i < n; i++) {
        uint64_t id = first + (first_ends_first ? i : n - 1 - i);
        pt_work(0.01);
        pt_say(SPAN_END, .span = id, .key = id);
    }
}

static void
siblings_in_order(uint32_t n)
{
    siblings(n, false, true);
}

static void
siblings_nested(uint32_t n)
{
    siblings(n, false, false);
}

static void
siblings_current(uint32_t n)
{
    siblings(n, true, true);
}

/* They end while another span is current. */
static void
siblings_of_another(uint32_t n)
{
    siblings(n, false, true);
    pt_open("other");
    siblings(n, false, true);
}

static void
waiters(uint32_t n)
{
    uint64_t *task = calloc(n, sizeof *task), future = perf_event_new_id();
    pt_main();
    for (uint32_t i = 0; i < n; i++)
        task[i] = pt_new_task();
    uint64_t last = pt_new_task();
    pt_say(HOST, .key = last, .more = PT_LOOP);
    for (uint32_t i = 0; i < n; i++) {
        pt_resume(task[i], PERF_ACTOR_TASK);
        pt_suspend(future);
    }
    pt_resume(last, PERF_ACTOR_TASK);
    pt_say(RESOLVE, .key = future);
    for (uint32_t i = 0; i < n; i++)
        pt_say(CANCEL, .key = task[i]);
    pt_suspend(task[n - 1]);
    for (uint32_t i = 0; i < n; i++) {
        pt_resume(task[i], PERF_ACTOR_TASK);
        pt_end_actor();
    }
    pt_resume(last, PERF_ACTOR_TASK);
    pt_end_actor();
    free(task);
}

static void
group(uint32_t n)
{
    uint64_t *callback = calloc(n, sizeof *callback);
    pt_main();
    uint64_t task = pt_new_task();
    pt_say(HOST, .key = task, .more = PT_LOOP);
    pt_resume(task, PERF_ACTOR_TASK);
    for (uint32_t i = 0; i < n; i++) {
        callback[i] = perf_event_new_id();
        pt_say(SPAWN, .key = callback[i], .arg = 5);
    }
    uint64_t outer = perf_event_new_id();
    pt_suspend(outer);
    for (uint32_t i = 0; i < n; i++) {
        pt_work(0.01);
        pt_resume(callback[n - 1 - i], PERF_ACTOR_CALLBACK);
        if (i == n - 1)
            pt_say(RESOLVE, .key = outer);
        pt_end_actor();
    }
    pt_resume(task, PERF_ACTOR_TASK);
    pt_end_actor();
    free(callback);
}

/* All at the same time, with pieces of CPU time and of waiting. */
static void
threads(uint32_t n)
{
    pt_main();
    for (uint32_t i = 0; i < n; i++) {
        pt_at(0);
        pt_thread();
        for (int k = 0; k < 200; k++) {
            pt_work(1);
            pt_idle(4);
            pt_say(LABEL);
        }
    }
}

/* One after the other: a thread for each request. */
static void
short_threads(uint32_t n)
{
    pt_main();
    for (uint32_t i = 0; i < n; i++) {
        pt_thread();
        for (int k = 0; k < 4; k++) {
            pt_work(1);
            pt_idle(4);
            pt_say(LABEL);
        }
    }
}

/* Timers of one label that begin at a time and last so long. */
static void
timers(uint32_t n, double gap, uint64_t most)
{
    pt_random random = {1};
    uint64_t *timer = calloc(n, sizeof *timer);
    pt_main();
    pt_task();
    pt_open("A");
    for (uint32_t i = 0; i < n; i++) {
        timer[i] = perf_event_new_id();
        pt_at(i * gap);
        uint64_t ms = most ? pt_below(&random, most) : 7;
        uint64_t due = (uint64_t)(i * gap) + ms;
        pt_say(TIMER, .key = timer[i], .more = PT_EPOCH_NS + due * PT_MS);
    }
    pt_suspend(0);
    for (uint32_t i = 0; i < n; i++) {
        pt_resume(timer[i], PERF_ACTOR_TIMER);
        pt_end_actor();
    }
    free(timer);
}

static void
timers_even(uint32_t n)
{
    timers(n, 10, 0);
}

static void
timers_any(uint32_t n)
{
    timers(n, 10, 5000);
}

static void
timers_dense(uint32_t n)
{
    timers(n, 1, 3000);
}

/* Many at once hold the places of a wide semaphore, many wait. */
static void
holders(uint32_t n)
{
    uint64_t *task = calloc(n, sizeof *task);
    pt_main();
    uint64_t s = pt_resource(PERF_RESOURCE_SEMAPHORE, 64, "s");
    for (uint32_t i = 0; i < n; i++)
        task[i] = pt_new_task();
    pt_say(HOST, .key = task[n - 1], .more = PT_LOOP);
    for (uint32_t i = 0; i < n; i++) {
        pt_resume(task[i], PERF_ACTOR_TASK);
        pt_say(ACQUIRE, .key = s);
        pt_say(ACQUIRED, .key = s);
        pt_suspend(0);
    }
    for (uint32_t i = 0; i < n; i++) {
        pt_resume(task[i], PERF_ACTOR_TASK);
        pt_say(RELEASE, .key = s);
        pt_end_actor();
    }
    free(task);
}

/* A producer that signals with what it never took. */
static void
foreign_releases(uint32_t n)
{
    pt_main();
    uint64_t own = pt_resource(PERF_RESOURCE_LOCK, 1, "own");
    uint64_t signal = pt_resource(PERF_RESOURCE_SEMAPHORE, 0, "signal");
    for (uint32_t i = 0; i < n; i++) {
        pt_say(ACQUIRE, .key = own);
        pt_say(ACQUIRED, .key = own);
        pt_say(RELEASE, .key = own);
        pt_say(RELEASE, .key = signal);
    }
}

/* A queue for each answer. */
static void
queues(uint32_t n)
{
    pt_main();
    for (uint32_t i = 0; i < n; i++) {
        uint64_t q = pt_resource(PERF_RESOURCE_QUEUE, 0, "q");
        pt_say(PUT_NOWAIT, .key = q);
        pt_say(GET, .key = q);
        pt_say(GOT, .key = q);
    }
}

static void
items(uint32_t n)
{
    pt_main();
    uint64_t q = pt_resource(PERF_RESOURCE_QUEUE, 0, "q");
    uint64_t worker = pt_new_task();
    for (uint32_t i = 0; i < n; i++)
        pt_say(PUT_NOWAIT, .key = q);
    pt_say(HOST, .key = worker, .more = PT_LOOP);
    pt_resume(worker, PERF_ACTOR_TASK);
    for (uint32_t i = 0; i < n; i++) {
        pt_say(GET, .key = q);
        pt_say(GOT, .key = q);
        pt_work(0.1);
        pt_say(TASK_DONE, .key = q);
    }
    pt_end_actor();
}

/* wait(FIRST_COMPLETED) on eight futures, one of which is new each time, and
 * one that is only done at the end. */
static void
waits_for_first(uint32_t n)
{
    enum { WINDOW = 8 };
    uint64_t *future = calloc(n + WINDOW, sizeof *future);
    pt_main();
    for (uint32_t i = 0; i < n + WINDOW; i++)
        future[i] = pt_new_task();
    for (uint32_t i = 1; i < n; i++) {
        pt_say(WAIT_FOR, .key = future[0]);
        for (uint32_t k = 0; k < WINDOW; k++)
            pt_say(WAIT_FOR, .key = future[i + k]);
        pt_say(WAIT);
        pt_at(i);
        pt_say(WAITED, .more = WINDOW);
    }
    pt_at(0);
    pt_thread();
    for (uint32_t i = 1; i < n + WINDOW; i++) {
        pt_at(i);
        pt_resume(future[i], PERF_ACTOR_WORK);
        pt_end_actor();
    }
    pt_resume(future[0], PERF_ACTOR_WORK);
    pt_end_actor();
    free(future);
}

static void
retries(uint32_t n)
{
    pt_main();
    pt_open("outer");
    for (uint32_t i = 0; i < n; i++) {
        pt_open("call");
        pt_work(0.1);
        pt_close_as(PERF_STATUS_ERROR);
        pt_work(0.1);
    }
}

/* Calls that are made again, one after the other; each has a child. */
static void
repeats(uint32_t n)
{
    pt_main();
    for (uint32_t i = 0; i < n; i++) {
        uint64_t span = pt_open("call");
        pt_say(CALL, .key = span, .more = i % 7);
        uint64_t child = pt_new_task();
        pt_resume(child, PERF_ACTOR_TASK);
        pt_work(0.1);
        pt_end_actor();
        pt_close();
    }
}

/* Each in the last, and all of them equal: nobody may wait for itself. */
static void
recursion(uint32_t n)
{
    pt_main();
    for (uint32_t i = 0; i < n; i++) {
        uint64_t span = pt_open("call");
        pt_say(CALL, .key = span, .more = 1);
        pt_work(0.1);
    }
    for (uint32_t i = 0; i < n; i++)
        pt_close();
}

/* Many modules, each inside many spans. */
static void
imports(uint32_t n)
{
    uint32_t side = 1;
    while (side * side < n)
        side++;
    pt_main();
    for (uint32_t i = 0; i < n; i++) {
        char text[16];
        snprintf(text, sizeof text, "s%u", i / side);
        pt_open(text);
        snprintf(text, sizeof text, "m%u.x", i % side);
        pt_say(IMPORT, .arg = pt_name(PERF_KIND_TEXT, text));
        pt_work(0.1);
        pt_say(IMPORTED);
        pt_close();
    }
}

/* Resources that are waited for in vain, one in the other; and turns that a
 * thread's own actor gives away, who never comes back from them. */
static void
brackets(uint32_t n)
{
    pt_main();
    for (uint32_t i = 0; i < n; i++)
        pt_say(ACQUIRE, .key = 7);
    for (uint32_t i = 0; i < n; i++)
        pt_say(NOT_ACQUIRED, .key = 7);
    for (uint32_t i = 0; i < n; i++)
        pt_say(SUSPEND, .key = 0);
}

/* ---- how many steps they take ---- */

typedef struct task {
    void (*write)(uint32_t n);
    uint32_t n;
    uint64_t steps;
} task;

static void
measure(void *ctx)
{
    task *t = ctx;
    perf_reader *reader;
    perf_analysis_info info;
    perf_resource_use use;
    perf_label label;
    uint64_t ns;
    pt_start(UINT64_C(512) << 20, UINT64_C(256) << 20);
    t->write(t->n);
    steps = 0;
    perf_analysis *a = pt_analyse(&reader);
    perf_analysis_info_get(a, &info);
    for (uint32_t i = 0; i < info.resources; i++)
        perf_analysis_resource(a, i, &use);
    for (uint32_t i = 0; i < info.labels; i++)
        perf_analysis_label(a, i, &label);
    perf_change change = {PERF_CHANGE_TIME, 0, 0.5};
    perf_analysis_replay_blocking(a, &change, 1, 0, 1, &ns);
    change = (perf_change){PERF_CHANGE_CACHE, info.labels - 1, 0};
    perf_analysis_replay_blocking(a, &change, 1, 0, 0, &ns);
    t->steps = steps;
    PT_CHECK_EQ(perf_reader_lost(reader) + pt_stats().dropped_records, 0);
    perf_analysis_destroy(a);
    perf_reader_close(reader);
}

static const struct {
    const char *name;
    void (*write)(uint32_t n);
    uint32_t n;
} cases[] = {
    {"siblings, in order", siblings_in_order, 8000},
    {"siblings, nested", siblings_nested, 8000},
    {"siblings, current", siblings_current, 8000},
    {"siblings, of another", siblings_of_another, 8000},
    {"waiters of one future", waiters, 8000},
    {"callbacks of one group", group, 8000},
    {"threads", threads, 100},
    {"short threads", short_threads, 4000},
    {"timers, evenly", timers_even, 4000},
    {"timers, at any time", timers_any, 4000},
    {"timers, dense", timers_dense, 4000},
    {"holders of one semaphore", holders, 8000},
    {"releases of what others took", foreign_releases, 8000},
    {"queues", queues, 8000},
    {"items of one queue", items, 8000},
    {"waits for the first", waits_for_first, 4000},
    {"retries", retries, 8000},
    {"imports", imports, 8000},
    {"repeats", repeats, 8000},
    {"recursion", recursion, 8000},
    {"brackets", brackets, 8000},
};

START_TEST(test_four_times_as_much)
{
    task *t = pt_shared(2 * sizeof *t);
    for (uint32_t i = 0; i < 2; i++) {
        t[i] = (task){cases[_i].write, cases[_i].n / (i ? 1 : 4), 0};
        pt_run_well(measure, &t[i]);
    }
    double ratio = (double)t[1].steps / (double)t[0].steps;
    ck_assert_uint_gt(t[0].steps, cases[_i].n);
    ck_assert_msg(ratio < 5.5, "%s: %.1f times the steps", cases[_i].name,
                  ratio);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("profiler.growth");
    tcase_add_loop_test(tests, test_four_times_as_much, 0,
                        sizeof cases / sizeof *cases);
    return pt_end();
}
