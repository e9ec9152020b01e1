/* pt_scenes.c - streams of events as a scheduler would have written them. */
#include "pt_scenes.h"

enum { TURNS_MAX = 64 };

static uint64_t
begin_main(void)
{
    pt_main();
    uint64_t root = pt_new_task();
    pt_say(HOST, .key = root, .more = PT_LOOP);
    return root;
}

static void
end_main(void)
{
    pt_end_actor(); /* the root */
    pt_say(HOSTED);
}

void
pt_scene_chain(double a, double b, double c)
{
    static const char *const names[] = {"A", "B", "C"};
    const double ms[] = {a, b, c};
    uint64_t root = begin_main();
    pt_resume(root, PERF_ACTOR_TASK);
    for (int i = 0; i < 3; i++) {
        pt_open(names[i]);
        pt_sleep(root, ms[i]);
        pt_close();
    }
    end_main();
}

static pt_nap
begin_sleeper(uint64_t task, const char *name, double ms)
{
    pt_resume(task, PERF_ACTOR_TASK);
    pt_open(name);
    return pt_doze(ms);
}

static void
end_sleeper(uint64_t task, pt_nap nap)
{
    pt_wake(nap);
    pt_resume(task, PERF_ACTOR_TASK);
    pt_close();
    pt_end_actor();
}

void
pt_scene_both(double a, double b)
{
    uint64_t root = begin_main();
    pt_resume(root, PERF_ACTOR_TASK);
    uint64_t first = pt_new_task(), second = pt_new_task();
    pt_say(AWAIT, .key = first);
    pt_suspend(first);
    pt_nap one = begin_sleeper(first, "A", a);
    pt_nap two = begin_sleeper(second, "B", b);
    if (b < a)
        end_sleeper(second, two);
    end_sleeper(first, one);
    pt_resume(root, PERF_ACTOR_TASK);
    pt_say(AWAIT, .key = second);
    if (b >= a) {
        pt_suspend(second);
        end_sleeper(second, two);
        pt_resume(root, PERF_ACTOR_TASK);
    }
    end_main();
}

void
pt_scene_turns(int n, double ms)
{
    uint64_t task[TURNS_MAX], future[TURNS_MAX];
    uint64_t root = begin_main();
    uint64_t semaphore = pt_resource(PERF_RESOURCE_SEMAPHORE, 1, "s");
    pt_nap nap = {0};
    pt_resume(root, PERF_ACTOR_TASK);
    for (int i = 0; i < n; i++)
        task[i] = pt_new_task();
    pt_suspend(task[n - 1]);
    for (int i = 0; i < n; i++) {
        future[i] = perf_event_new_id();
        pt_resume(task[i], PERF_ACTOR_TASK);
        pt_open("A");
        pt_say(ACQUIRE, .key = semaphore);
        if (i) {
            pt_suspend(future[i]);
            continue;
        }
        pt_say(ACQUIRED, .key = semaphore);
        nap = pt_doze(ms);
    }
    for (int i = 0; i < n; i++) {
        pt_wake(nap);
        pt_resume(task[i], PERF_ACTOR_TASK);
        pt_say(RELEASE, .key = semaphore);
        if (i + 1 < n)
            pt_say(RESOLVE, .key = future[i + 1]);
        pt_close();
        pt_end_actor();
        if (i + 1 == n)
            break;
        pt_resume(task[i + 1], PERF_ACTOR_TASK);
        pt_say(ACQUIRED, .key = semaphore);
        nap = pt_doze(ms);
    }
    pt_resume(root, PERF_ACTOR_TASK);
    for (int i = 0; i + 1 < n; i++)
        pt_say(AWAIT, .key = task[i]);
    end_main();
}

/* ---- everything ---- */

static void
import(const char *module)
{
    pt_say(IMPORT, .arg = pt_name(PERF_KIND_TEXT, module));
    pt_work(3);
    pt_say(IMPORTED);
}

/* A call that is made three times, once with a child that holds a place. */
static void
calls(uint64_t by)
{
    uint64_t s = pt_resource(PERF_RESOURCE_SEMAPHORE, 2, "places");
    for (int i = 0; i < 3; i++) {
        uint64_t span = pt_open("called");
        pt_say(CALL, .key = span, .more = 99,
               .arg = pt_name(PERF_KIND_TEXT, "a.py:9"));
        uint64_t child = pt_new_task();
        pt_suspend(child);
        pt_resume(child, PERF_ACTOR_TASK);
        pt_say(ACQUIRE, .key = s);
        pt_say(ACQUIRED, .key = s);
        pt_sleep(child, 2);
        pt_say(RELEASE, .key = s);
        pt_end_actor();
        pt_resume(by, PERF_ACTOR_TASK);
        pt_close();
    }
}

/* A producer, two workers that take turns, and their last items. */
static void
queue_and_workers(uint64_t by)
{
    uint64_t q = pt_resource(PERF_RESOURCE_QUEUE, 4, "q");
    pt_say(WHERE, .key = q, .arg = pt_name(PERF_KIND_TEXT, "a.py:7"));
    uint64_t worker[2] = {pt_new_task(), pt_new_task()};
    for (int i = 0; i < 6; i++) {
        pt_say(PUT, .key = q);
        pt_say(HAS_PUT, .key = q);
    }
    pt_say(PUT_NOWAIT, .key = q);
    pt_say(JOIN, .key = q);
    pt_suspend(perf_event_new_id());
    for (int i = 0; i < 6; i++) {
        pt_resume(worker[i % 2], PERF_ACTOR_TASK);
        pt_say(GET, .key = q);
        pt_say(GOT, .key = q);
        pt_open("item");
        pt_work(1);
        pt_close();
        pt_say(TASK_DONE, .key = q);
        pt_suspend(0);
    }
    pt_resume(by, PERF_ACTOR_TASK);
    pt_say(JOINED, .key = q);
    pt_say(GOT_NOWAIT, .key = q);
    pt_resume(worker[0], PERF_ACTOR_TASK);
    pt_end_actor();
    pt_resume(worker[1], PERF_ACTOR_TASK);
    pt_say(GET, .key = q);
    pt_suspend(perf_event_new_id());
    pt_say(CANCEL, .key = worker[1]);
    pt_resume(worker[1], PERF_ACTOR_TASK);
    pt_say(NOT_GOT, .key = q);
    pt_end_actor();
}

/* A lock that is held to sleep, and one try in vain. */
static void
lock(uint64_t by)
{
    uint64_t l = pt_resource(PERF_RESOURCE_LOCK, 1, "l");
    pt_open("limited");
    pt_say(ACQUIRE, .key = l);
    pt_say(ACQUIRED, .key = l);
    pt_sleep(by, 5);
    pt_say(RELEASE, .key = l);
    pt_sleep(by, 9);
    pt_close();
    pt_say(ACQUIRE, .key = l);
    pt_sleep(by, 1);
    pt_say(NOT_ACQUIRED, .key = l);
}

/* Work in an executor and a thread: what the loop's thread says of them. */
typedef struct helpers {
    uint64_t pool, work[2], thread;
    double begin, end;
} helpers;

static helpers
begin_helpers(uint64_t by)
{
    helpers h = {.begin = pt_now(), .end = pt_now() + 50};
    h.pool = pt_resource(PERF_RESOURCE_EXECUTOR, 2, "pool");
    h.thread = pt_new_task();
    for (int i = 0; i < 2; i++) {
        h.work[i] = perf_event_new_id();
        pt_say(SUBMIT, .key = h.work[i], .more = h.pool);
    }
    pt_suspend(h.work[1]);
    pt_at(h.end);
    pt_resume(by, PERF_ACTOR_TASK);
    return h;
}

/* What they say: work, a sleep, waits with and without a limit. */
static void
run_helpers(helpers h)
{
    for (int i = 0; i < 2; i++) {
        pt_at(h.begin);
        pt_thread();
        pt_resume(h.work[i], PERF_ACTOR_WORK);
        pt_work(8);
        pt_say(SLEEP, .more = 4 * PT_MS);
        pt_idle(4);
        pt_say(SLEPT);
        pt_end_actor();
    }
    pt_at(h.begin);
    pt_say(THREAD, .key = h.thread, .arg = PERF_ACTOR_THREAD, .more = 1);
    for (int i = 0; i < 2; i++)
        pt_say(WAIT_FOR, .key = h.work[i]);
    pt_say(WAIT);
    pt_at(h.begin + 20);
    pt_say(WAITED);
    pt_say(WAIT_FOR, .key = perf_event_new_id());
    pt_say(WAIT);
    pt_idle(5);
    pt_say(WAITED, .arg = 1, .more = 1);
    pt_say(WAIT_EXECUTOR, .key = h.pool);
    pt_say(WAITED);
}

/* Callbacks of gather(), a reader, a time limit, timers at even gaps. */
static void
callbacks(uint64_t by)
{
    uint64_t done = perf_event_new_id(), outer = perf_event_new_id();
    uint64_t io = perf_event_new_id(), limit = perf_event_new_id();
    pt_say(TIMER, .key = limit, .arg = 1, .more = PT_EPOCH_NS + 900 * PT_MS);
    pt_say(RESOLVE, .key = done);
    uint64_t callback[3];
    for (int i = 0; i < 3; i++) {
        callback[i] = perf_event_new_id();
        pt_say(SPAWN, .key = callback[i], .arg = 3, .more = done);
    }
    pt_suspend(outer);
    pt_idle(6);
    pt_say(SELECT, .more = PT_EPOCH_NS);
    pt_resume(io, PERF_ACTOR_IO);
    pt_say(RESOLVE, .key = perf_event_new_id());
    pt_end_actor();
    for (int i = 0; i < 3; i++) {
        pt_resume(callback[i], PERF_ACTOR_CALLBACK);
        if (i == 2)
            pt_say(RESOLVE, .key = outer);
        pt_end_actor();
    }
    pt_resume(by, PERF_ACTOR_TASK);
    pt_open("slots");
    for (int i = 0; i < 6; i++)
        pt_sleep(by, 10);
    pt_close();
    for (int i = 0; i < 3; i++) {
        pt_open("call");
        pt_work(1);
        pt_close_as(i < 2 ? PERF_STATUS_ERROR : PERF_STATUS_OK);
        pt_work(1);
    }
    pt_say(LABEL);
}

void
pt_scene_everything(void)
{
    uint64_t root = begin_main();
    pt_resume(root, PERF_ACTOR_TASK);
    pt_open_as(PERF_KIND_NODE, "root");
    import("numpy.linalg");
    queue_and_workers(root);
    lock(root);
    calls(root);
    callbacks(root);
    helpers h = begin_helpers(root);
    pt_close();
    end_main();
    run_helpers(h);
}
