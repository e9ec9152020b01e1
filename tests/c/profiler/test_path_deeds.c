/* test_path_deeds.c - what tasks do next is drawn by lot. */
#include "test_path_deeds.h"

#include <string.h>

struct program of;
uint32_t program_spans[5];

uint64_t
chance(uint64_t n)
{
    return pt_below(&of.random, n);
}

uint64_t
new_id(void)
{
    return ++of.newest_id;
}

/* ---- events ---- */

void
say(uint32_t thread, uint64_t *clock, perf_event e)
{
    if (!of.kind.ties || chance(10) == 0)
        *clock += 1 + chance(300);
    script_add(thread, *clock, e);
}

uint64_t
current(const task *t)
{
    return t->depth ? t->span[t->depth - 1] : t->base;
}

static void
open_span(task *t)
{
    uint64_t id = new_id(), parent = current(t);
    if (t->depth == DEPTH)
        return;
    SAY(SPAN_BEGIN, .key = id, .arg = program_spans[chance(5)], .more = parent,
        .span = parent);
    t->span[t->depth++] = id;
}

void
end_span(uint64_t id, uint64_t inside)
{
    for (uint32_t i = 0; i < of.ends; i++)
        if (of.ended[i] == id)
            return;
    SAY(SPAN_END, .key = id, .span = inside);
    of.ended[of.ends++] = id;
}

void
close_span(task *t)
{
    if (t->depth) {
        end_span(current(t), current(t));
        t->depth--;
    }
}

/* ---- who goes on ---- */

void
enqueue(turn one)
{
    if (of.end < MANY)
        of.queue[of.end++] = one;
}

void
wake(task *t)
{
    t->awaits = 0;
    if (!t->done && !t->ready)
        enqueue((turn){.task = (uint32_t)(t - of.task) + 1});
    t->ready = true;
}

void
wake_all(uint64_t future)
{
    for (uint32_t i = 0; i < of.tasks; i++)
        if (of.task[i].awaits == future)
            wake(&of.task[i]);
}

void
resolve(uint64_t future, uint64_t span)
{
    SAY(RESOLVE, .key = future, .span = span);
    wake_all(future);
}

static void
await(task *t, uint64_t future, wish what)
{
    SAY(AWAIT, .key = future, .span = current(t));
    SAY(SUSPEND, .key = future, .span = current(t));
    t->awaits = future;
    t->wish = what;
    if (what != FUTURE)
        of.waiting[of.waiters++] = (uint32_t)(t - of.task);
}

/* The one that has waited longest for a place or an item. */
static task *
take_waiter(wish what)
{
    for (uint32_t i = 0; i < of.waiters; i++) {
        task *t = &of.task[of.waiting[i]];
        if (t->wish != what || !t->awaits)
            continue;
        memmove(&of.waiting[i], &of.waiting[i + 1],
                (--of.waiters - i) * sizeof *of.waiting);
        return t;
    }
    return NULL;
}

static void
call_later(uint64_t t, perf_actor kind, uint64_t id, uint64_t future,
           uint64_t span)
{
    of.later[of.laters++] = (callback){
        .id = id, .span = span, .t = t, .resolves = future, .kind = kind};
}

/* ---- deeds; false: the task gives the loop back ---- */

void
spend_time(void)
{
    of.now += of.kind.ties ? chance(4) / 3 * 1000 : chance(5000);
}

static task *
some_task(const task *but)
{
    task *t = &of.task[chance(of.tasks)];
    return t == but || t->done ? NULL : t;
}

static void
make_task(task *by)
{
    if (of.tasks == TASKS || by->level == LEVELS)
        return;
    task *t = &of.task[of.tasks++];
    *t = (task){.id = new_id(), .base = current(by), .level = by->level + 1};
    SAY(SPAWN, .key = t->id, .span = current(by));
    wake(t);
}

static bool
gather_children(task *t)
{
    gather *g = &of.gather[of.gathers];
    *g = (gather){.future = new_id(), .span = current(t)};
    for (uint32_t i = 0; i < of.tasks; i++)
        if (of.task[i].level == t->level + 1 && !of.task[i].done)
            g->of[g->count++] = of.task[i].id;
    if (!g->count)
        return true;
    g->left = g->count;
    of.gathers++;
    await(t, g->future, FUTURE);
    return false;
}

static bool
sleep_for(task *t)
{
    uint64_t timer = new_id(), future = new_id();
    uint64_t due = of.now + chance(20000);
    SAY(TIMER, .key = timer, .more = due, .arg = chance(8) == 0,
        .span = current(t));
    call_later(due, PERF_ACTOR_TIMER, timer, future, current(t));
    await(t, future, FUTURE);
    return false;
}

static bool
acquire(task *t)
{
    if (t->holds)
        return true;
    SAY(ACQUIRE, .key = LOCK, .span = current(t));
    if (!of.places) {
        await(t, new_id(), PLACE);
        return false;
    }
    of.places--;
    t->holds = true;
    SAY(ACQUIRED, .key = LOCK, .span = current(t));
    return true;
}

void
release(task *t)
{
    if (!t->holds)
        return;
    t->holds = false;
    SAY(RELEASE, .key = LOCK, .span = current(t));
    task *next = take_waiter(PLACE);
    if (next)
        resolve(next->awaits, current(t));
    else
        of.places++;
}

static void
put(task *t)
{
    SAY(PUT_NOWAIT, .key = JOBS, .span = current(t));
    task *next = take_waiter(ITEM);
    if (next)
        resolve(next->awaits, current(t));
    else
        of.items++;
}

static bool
get(task *t)
{
    SAY(GET, .key = JOBS, .span = current(t));
    if (!of.items) {
        await(t, new_id(), ITEM);
        return false;
    }
    of.items--;
    SAY(GOT, .key = JOBS, .span = current(t));
    return true;
}

static bool
run_in_executor(task *t)
{
    uint32_t thread = 1 + (uint32_t)chance(2);
    uint64_t work = new_id(), future = new_id(), call = new_id();
    uint64_t inside = current(t), span = new_id();
    SAY(SUBMIT, .key = work, .more = POOL, .span = inside);
    if (of.clock[thread] < of.now)
        of.clock[thread] = of.now;
    SAY_IN(thread, RUN, .key = work, .arg = PERF_ACTOR_WORK, .span = inside);
    SAY_IN(thread, SPAN_BEGIN, .key = span, .arg = program_spans[chance(5)],
           .more = inside, .span = inside);
    of.clock[thread] += chance(20000);
    SAY_IN(thread, SPAN_END, .key = span, .span = span);
    SAY_IN(thread, SPAWN, .key = call, .span = inside);
    call_later(of.clock[thread], PERF_ACTOR_CALLBACK, call, future, inside);
    SAY_IN(thread, END, .span = inside);
    await(t, future, FUTURE);
    return false;
}

static bool
wait_for_outside(task *t)
{
    uint64_t future = new_id();
    call_later(of.now + chance(20000), PERF_ACTOR_IO, new_id(), future, 0);
    await(t, future, FUTURE);
    return false;
}

static bool
is_task(uint64_t id)
{
    for (uint32_t i = 0; i < of.tasks; i++)
        if (of.task[i].id == id)
            return true;
    return false;
}

/* The future that is awaited is cancelled with the task; one that is not of
 * the recorder's kind does not say so. */
static void
cancel(task *by, task *t)
{
    if (!t || t->ready || !t->awaits || t->id == ROOT)
        return;
    uint64_t future = t->awaits;
    SAY(CANCEL, .key = t->id, .span = current(by));
    t->cancelled = true;
    t->awaits = 0;
    if (!is_task(future) && chance(2))
        SAY(RESOLVE, .key = future, .span = current(by));
    wake(t);
}

static bool
wait_for_task(task *t, const task *other)
{
    if (!other || other->level <= t->level)
        return true;
    await(t, other->id, FUTURE);
    return false;
}

static bool
yield(task *t)
{
    SAY(SUSPEND, .span = current(t));
    wake(t);
    return false;
}

bool
deed(task *t)
{
    task *other = some_task(t);
    switch (chance(20)) {
    case 0:
    case 1:
    case 2: open_span(t); return true;
    case 3:
    case 4: close_span(t); return true;
    case 5:
    case 6:
    case 7: make_task(t); return true;
    case 8: return gather_children(t);
    case 9:
    case 10: return sleep_for(t);
    case 11: return acquire(t);
    case 12: release(t); return true;
    case 13: put(t); return true;
    case 14: return chance(2) ? get(t) : yield(t);
    case 15: return run_in_executor(t);
    case 16: return wait_for_outside(t);
    case 17: return wait_for_task(t, other);
    case 18: cancel(t, other); return true;
    default: /* a generator's span, by whoever closes it */
        if (other && other->depth && chance(3) == 0)
            end_span(current(other), current(t));
        return true;
    }
}
