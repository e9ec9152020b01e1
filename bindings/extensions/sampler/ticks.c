/* ticks.c - asks, many times a second, where the program is.
 *
 * A thread of C wakes up at random moments, 1,000 in a second by default. From
 * Python 3.13 on it then asks the main thread by Py_AddPendingCall(): that
 * looks at itself between two instructions, without a change of threads. All
 * other threads, and the main one of older versions, whose pending calls come
 * too late, or one that does not answer, are looked at by the thread of C
 * itself, which takes the GIL for that, at most 100 times in a second.
 *
 * A look counts for the CPU time that its thread has used since the last look
 * that counted. It counts only if the thread was running when it was asked: if
 * it has used a good part of the time since (on a busy machine it does not get
 * all of it). Who waited would otherwise always be seen at the place where it
 * wakes up. */
#include "sampler.h"

#include <libperf/event.h>
#include <time.h>

#define NS_PER_S UINT64_C(1000000000)
/* between two looks that take the GIL; CPU time that others must have used */
#define TURN_NS  UINT64_C(10000000)
#define LEAST_NS UINT64_C(500000)
#define SOON_NS  UINT64_C(20000)     /* a delay that says nothing */
#define DEAF_NS  UINT64_C(100000000) /* no answer for so long */

#if PY_VERSION_HEX >= 0x030D0000
#define MAIN_LOOKS_AT_ITSELF 1
#else
#define MAIN_LOOKS_AT_ITSELF 0
#endif

enum {
    THREADS_MAX = 1024,
    LEAST_PART = 4, /* a quarter */
    TIMED = 16      /* of so many looks at itself one is timed: it is a call of
                     * the system's */
};

/* A thread of Python's, by the system's number. */
typedef struct seen {
    unsigned long id;
    uint64_t counted; /* its CPU time at the last look that counted, */
    uint64_t asked;   /* and when we asked */
    bool is_there;
} seen;

static struct {
    _Atomic bool runs; /* relaxed: the thread is joined */
    uint64_t period_ns;
    pthread_t thread;
    unsigned long main_id;
    PyThreadState *main;
    uint64_t random;

    /* What the main thread is asked: filled by the thread of C, then asked_at
     * by release; taken by the main thread, which then frees it. */
    _Atomic uint64_t asked_at; /* 0: nothing */
    uint64_t asked_cpu;
    uint64_t main_counted; /* its CPU time; under the GIL */
    uint32_t looks;        /* at itself */

    seen threads[THREADS_MAX]; /* the thread of C's */
    uint32_t threads_count;
    uint64_t turned_at, others_cpu;

    _Atomic uint64_t ticks, samples, waited; /* relaxed: for people */
    _Atomic uint64_t thread_ns; /* CPU time of threads of C that have ended */
    _Atomic uint64_t looks_ns;  /* the main thread's, in looks at itself */
} here;

/* ---- a look ---- */

static uint64_t
random_below(uint64_t bound)
{
    uint64_t x = here.random;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    here.random = x;
    return x % bound;
}

static void
add(_Atomic uint64_t *what, uint64_t more)
{
    atomic_fetch_add_explicit(what, more, memory_order_relaxed);
}

static void
count(_Atomic uint64_t *what)
{
    add(what, 1);
}

/* Was it running, all the time since it was asked? */
static bool
was_running(uint64_t asked_at, uint64_t asked_cpu, uint64_t now, uint64_t cpu)
{
    uint64_t delay = now - asked_at;
    return delay <= SOON_NS || (cpu - asked_cpu) * LEAST_PART >= delay;
}

static void
write_sample(PyThreadState *thread, unsigned long id, uint64_t weight)
{
    sam_look look = sam_look_at(thread);
    perf_event_write(PERF_EVENT_SAMPLE, look.task, look.span,
                     (uint64_t)(uint32_t)id << 32 | look.frame, weight);
    count(&here.samples);
}

#if MAIN_LOOKS_AT_ITSELF
static int
look_at_main(void *unused)
{
    (void)unused;
    uint64_t asked = atomic_load_explicit(&here.asked_at, memory_order_acquire);
    if (asked && atomic_load_explicit(&here.runs, memory_order_relaxed)) {
        uint64_t cpu = sam_ns_of(CLOCK_THREAD_CPUTIME_ID);
        if (!was_running(asked, here.asked_cpu, sam_now_ns(), cpu)) {
            count(&here.waited);
        } else if (cpu > here.main_counted) {
            uint64_t weight = cpu - here.main_counted;
            here.main_counted = cpu;
            write_sample(PyThreadState_Get(), 0, weight);
            if (++here.looks % TIMED == 0)
                add(&here.looks_ns,
                    TIMED * (sam_ns_of(CLOCK_THREAD_CPUTIME_ID) - cpu));
        }
    }
    /* release: done with what was asked; pairs with the acquire in ask_main */
    atomic_store_explicit(&here.asked_at, 0, memory_order_release);
    return 0;
}

static void
ask_main(uint64_t now)
{
    if (atomic_load_explicit(&here.asked_at, memory_order_acquire))
        return;
    uint64_t cpu = sam_cpu_of(here.main_id);
    if (cpu == here.asked_cpu) /* it has slept since */
        return;
    here.asked_cpu = cpu;
    atomic_store_explicit(&here.asked_at, now, memory_order_release);
    if (Py_AddPendingCall(look_at_main, NULL))
        atomic_store_explicit(&here.asked_at, 0, memory_order_relaxed);
}
#endif

/* ---- the other threads ---- */

static seen *
find(unsigned long id)
{
    for (uint32_t i = 0; i < here.threads_count; i++)
        if (here.threads[i].id == id)
            return &here.threads[i];
    if (here.threads_count == THREADS_MAX)
        return NULL;
    seen *s = &here.threads[here.threads_count++];
    *s = (seen){.id = id};
    return s;
}

static void
forget_ended(void)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < here.threads_count; i++)
        if (here.threads[i].is_there)
            here.threads[left++] = here.threads[i];
    here.threads_count = left;
    for (uint32_t i = 0; i < left; i++)
        here.threads[i].is_there = false;
}

/* The main thread computes, but does not look at itself: it is in a long call
 * of C's, or Python sends its pending calls elsewhere, as 3.13 does in a child
 * that another thread than the main one has forked. */
static bool
main_is_deaf(uint64_t now)
{
    uint64_t asked = atomic_load_explicit(&here.asked_at, memory_order_relaxed);
    return MAIN_LOOKS_AT_ITSELF && asked && now > asked + DEAF_NS &&
           sam_cpu_of(here.main_id) > here.asked_cpu + DEAF_NS / LEAST_PART;
}

static void
look_at_other(PyThreadState *thread, uint64_t asked_at, uint64_t now)
{
    unsigned long id = thread->native_thread_id;
    seen *s = find(id);
    uint64_t cpu = sam_cpu_of(id);
    if (!s)
        return;
    bool is_main = thread == here.main;
    if (is_main && here.main_counted > s->counted)
        s->counted = here.main_counted; /* by its own looks */
    s->is_there = true;
    if (!s->asked || !cpu) /* new: it was not asked */
        return;
    if (!was_running(asked_at, s->asked, now, cpu)) {
        count(&here.waited);
    } else if (cpu > s->counted) {
        uint64_t weight = cpu - s->counted;
        s->counted = cpu;
        if (is_main)
            here.main_counted = cpu;
        write_sample(thread, id, weight);
    }
}

/* The CPU time of the process, without what is seen elsewhere. */
static uint64_t
cpu_of_others(void)
{
    uint64_t all = sam_ns_of(CLOCK_PROCESS_CPUTIME_ID);
    uint64_t known = sam_ns_of(CLOCK_THREAD_CPUTIME_ID);
    if (MAIN_LOOKS_AT_ITSELF)
        known += sam_cpu_of(here.main_id);
    return all > known ? all - known : 0;
}

static void
look_at_others(sam_gil *gil, bool and_main)
{
    for (uint32_t i = 0; i < here.threads_count; i++)
        here.threads[i].asked = sam_cpu_of(here.threads[i].id);
    uint64_t asked_at = sam_now_ns();
    sam_gil_take(gil);
    uint64_t now = sam_now_ns();
    PyThreadState *own = PyThreadState_Get();
    PyInterpreterState *python = PyThreadState_GetInterpreter(own);
    for (PyThreadState *t = PyInterpreterState_ThreadHead(python); t;
         t = PyThreadState_Next(t))
        if (t != own && t->native_thread_id && (and_main || t != here.main))
            look_at_other(t, asked_at, now);
    forget_ended();
    sam_gil_give(gil);
}

static void
look_at_others_when_due(sam_gil *gil, uint64_t now)
{
    if (now - here.turned_at < TURN_NS)
        return;
    here.turned_at = now;
    uint64_t cpu = cpu_of_others();
    bool deaf = main_is_deaf(now);
    if (!deaf && cpu < here.others_cpu + LEAST_NS)
        return;
    here.others_cpu = cpu;
    look_at_others(gil, deaf || !MAIN_LOOKS_AT_ITSELF);
}

/* ---- the thread ---- */

static void *
run(void *unused)
{
    (void)unused;
    sam_gil gil = {0};
    uint64_t next = sam_now_ns();
    while (atomic_load_explicit(&here.runs, memory_order_relaxed)) {
        sam_sleep_until(next + random_below(here.period_ns));
        next += here.period_ns;
        uint64_t now = sam_now_ns();
        if (now > next + NS_PER_S) /* the machine was asleep */
            next = now;
        count(&here.ticks);
#if MAIN_LOOKS_AT_ITSELF
        ask_main(now);
#endif
        look_at_others_when_due(&gil, now);
    }
    sam_gil_drop(&gil);
    add(&here.thread_ns, sam_ns_of(CLOCK_THREAD_CPUTIME_ID));
    return NULL;
}

/* Threads that run already count from now on, later ones from their begin. */
static void
note_threads(void)
{
    here.threads_count = 0;
    PyThreadState *t = PyInterpreterState_ThreadHead(
        PyThreadState_GetInterpreter(PyThreadState_Get()));
    for (; t; t = PyThreadState_Next(t)) {
        seen *s = t->native_thread_id ? find(t->native_thread_id) : NULL;
        if (s)
            s->counted = sam_cpu_of(s->id);
    }
}

static bool
start(void)
{
    here.random = sam_now_ns() | 1;
    here.turned_at = 0;
    here.others_cpu = cpu_of_others();
    atomic_store_explicit(&here.asked_at, 0, memory_order_relaxed);
    atomic_store_explicit(&here.runs, true, memory_order_relaxed);
    if (sam_thread_start(&here.thread, run))
        return true;
    atomic_store_explicit(&here.runs, false, memory_order_relaxed);
    return false;
}

/* The main thread's state, and its number of the system. */
static bool
find_main(unsigned long ident)
{
    PyThreadState *t = PyInterpreterState_ThreadHead(
        PyThreadState_GetInterpreter(PyThreadState_Get()));
    while (t && t->thread_id != ident)
        t = PyThreadState_Next(t);
    if (!t)
        return false;
    here.main = t;
    here.main_id = t->native_thread_id;
    here.main_counted = here.asked_cpu = sam_cpu_of(here.main_id);
    return true;
}

PyObject *
sam_start(PyObject *module, PyObject *args)
{
    (void)module;
    unsigned long main_ident;
    unsigned long long period_ns;
    if (!PyArg_ParseTuple(args, "kK", &main_ident, &period_ns))
        return NULL;
    if (atomic_load_explicit(&here.runs, memory_order_relaxed) ||
        !find_main(main_ident))
        Py_RETURN_FALSE;
    here.period_ns = period_ns ? period_ns : 1;
    if (!MAIN_LOOKS_AT_ITSELF && here.period_ns < TURN_NS)
        here.period_ns = TURN_NS;
    note_threads();
    return PyBool_FromLong(start());
}

PyObject *
sam_stop(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    if (atomic_exchange_explicit(&here.runs, false, memory_order_relaxed)) {
        pthread_t thread = here.thread;
        Py_BEGIN_ALLOW_THREADS;
        pthread_join(thread, NULL);
        Py_END_ALLOW_THREADS;
    }
    sam_stack_forget();
    Py_RETURN_NONE;
}

/* In a forked child: the thread of C is gone. Goes on as in the parent. */
PyObject *
sam_after_fork(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    if (!atomic_load_explicit(&here.runs, memory_order_relaxed))
        Py_RETURN_FALSE;
    atomic_store_explicit(&here.runs, false, memory_order_relaxed);
    if (!find_main(PyThread_get_thread_ident()))
        Py_RETURN_FALSE;
    note_threads();
    return PyBool_FromLong(start());
}

PyObject *
sam_stats(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    const struct {
        const char *name;
        _Atomic uint64_t *value;
    } all[] = {{"ticks", &here.ticks},
               {"samples", &here.samples},
               {"waited", &here.waited},
               {"thread_ns", &here.thread_ns},
               {"looks_ns", &here.looks_ns}};
    PyObject *made = PyDict_New();
    for (size_t i = 0; made && i < sizeof all / sizeof *all; i++) {
        PyObject *value = PyLong_FromUnsignedLongLong(
            atomic_load_explicit(all[i].value, memory_order_relaxed));
        if (!value || PyDict_SetItemString(made, all[i].name, value) < 0)
            Py_CLEAR(made);
        Py_XDECREF(value);
    }
    return made;
}
