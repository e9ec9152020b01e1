/* watch.c - sees an event loop that does not come round, and looks at
 * who holds it up.
 *
 * Each thread that runs a loop has a heart: the time since when the loop has
 * been busy, written when its selector comes back and when it is asked again.
 * A thread of C looks at the hearts when one could be over its threshold, and
 * sleeps for good while no loop is busy: the next busy() wakes it.
 *
 * To look at the loop's thread it takes the GIL. Python code that computes
 * gives it up within the switch interval; a call that waits without the GIL is
 * seen at once; one that computes in C and keeps the GIL is seen when it comes
 * back, at the line that called it. */
#include "sampler.h"

#include <libperf/clock.h>
#include <libperf/event.h>
#include <semaphore.h>

typedef struct heart {
    struct heart *next; /* all there are; constant once it is in the list */
    _Atomic uint64_t busy_since;   /* ns; 0: it waits, or there is no loop */
    _Atomic uint64_t threshold_ns; /* 0: nobody watches */
    _Atomic bool is_free;          /* its thread has ended */

    /* under the GIL */
    unsigned long ident; /* Python's number of the thread */
    unsigned long id;    /* the system's */
    PyObject *loop;      /* weak reference, NULL: it tells us when it stops */
    uint64_t caught;     /* busy_since of the stall that `look` is of; 0 */
    sam_look look;
} heart;

static _Atomic(heart *) hearts; /* grows at its head, under the GIL; release */
static _Thread_local heart *mine;
static pthread_key_t thread_end;
static bool has_key;

static _Atomic bool runs; /* relaxed: the thread is joined */
/* The thread sleeps until somebody is busy. seq_cst on both sides, with the
 * hearts: one of the two sees what the other has written. */
static _Atomic bool sleeps;
static sem_t wake;
static pthread_t watcher;

static uint64_t
get(_Atomic uint64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

/* ---- the loop's thread ---- */

static void
disarm(heart *h)
{
    atomic_store_explicit(&h->threshold_ns, 0, memory_order_relaxed);
    atomic_store_explicit(&h->busy_since, 0, memory_order_relaxed);
}

static void
set_busy(heart *h)
{
    /* never 0, which would be "idle" */
    atomic_store_explicit(&h->busy_since, perf_clock_now_ns() | 1,
                          memory_order_seq_cst);
    if (atomic_load_explicit(&sleeps, memory_order_seq_cst) &&
        atomic_exchange_explicit(&sleeps, false, memory_order_seq_cst))
        sem_post(&wake);
}

/* The loop has come round. */
static void
set_idle(heart *h)
{
    uint64_t since = get(&h->busy_since), threshold = get(&h->threshold_ns);
    if (!since)
        return;
    atomic_store_explicit(&h->busy_since, 0, memory_order_relaxed);
    if (!threshold || perf_clock_now_ns() - since < threshold)
        return;
    if (h->caught == since)
        perf_event_write(PERF_EVENT_STALL, h->look.task, h->look.span,
                         h->look.frame, since);
    else /* it was over before anybody could look */
        perf_event_write(PERF_EVENT_STALL, 0, 0, 0, since);
}

static void
free_heart(void *ended)
{
    heart *h = ended;
    disarm(h);
    /* release: pairs with the acquire of who takes it over */
    atomic_store_explicit(&h->is_free, true, memory_order_release);
}

/* A loop that has been stopped does not say so by itself. */
static bool
still_runs(const heart *h)
{
    if (!h->loop)
        return true;
    PyObject *loop = PyObject_CallNoArgs(h->loop);
    PyObject *running = loop && loop != Py_None
                            ? PyObject_CallMethod(loop, "is_running", NULL)
                            : NULL;
    bool yes = running && PyObject_IsTrue(running) == 1;
    PyErr_Clear();
    Py_XDECREF(running);
    Py_XDECREF(loop);
    return yes;
}

/* This thread's. NULL with an exception. */
static heart *
own_heart(void)
{
    if (mine)
        return mine;
    if (!has_key && pthread_key_create(&thread_end, free_heart))
        return (heart *)PyErr_NoMemory();
    has_key = true;
    heart *h = atomic_load_explicit(&hearts, memory_order_relaxed);
    while (h && !atomic_load_explicit(&h->is_free, memory_order_acquire))
        h = h->next;
    if (!h) {
        h = PyMem_RawCalloc(1, sizeof *h);
        if (!h)
            return (heart *)PyErr_NoMemory();
        h->next = atomic_load_explicit(&hearts, memory_order_relaxed);
        atomic_store_explicit(&hearts, h, memory_order_release);
    }
    atomic_store_explicit(&h->is_free, false, memory_order_relaxed);
    h->ident = PyThreadState_Get()->thread_id;
    h->id = PyThreadState_Get()->native_thread_id;
    h->caught = 0;
    Py_CLEAR(h->loop); /* of the thread that had it before */
    pthread_setspecific(thread_end, h);
    return mine = h;
}

PyObject *
sam_watch_enter(PyObject *module, PyObject *args)
{
    (void)module;
    unsigned long long threshold;
    PyObject *loop = NULL;
    if (!PyArg_ParseTuple(args, "K|O", &threshold, &loop))
        return NULL;
    heart *h = own_heart();
    PyObject *weak = NULL;
    if (!h || (loop && !(weak = PyWeakref_NewRef(loop, NULL))))
        return NULL;
    if (loop || !h->loop || !still_runs(h)) { /* else that one stays */
        Py_XSETREF(h->loop, weak);
        atomic_store_explicit(&h->threshold_ns, threshold,
                              memory_order_relaxed);
    }
    set_busy(h);
    return PyLong_FromVoidPtr(h);
}

/* In whatever thread: it may not be the loop's. */
PyObject *
sam_watch_release(PyObject *module, PyObject *token)
{
    (void)module;
    heart *h = atomic_load_explicit(&hearts, memory_order_relaxed);
    void *wanted = PyLong_AsVoidPtr(token);
    while (h && h != wanted)
        h = h->next;
    if (PyErr_Occurred())
        return NULL;
    if (h) {
        disarm(h);
        Py_CLEAR(h->loop);
    }
    Py_RETURN_NONE;
}

PyObject *
sam_watch_leave(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    if (mine) {
        set_idle(mine);
        if (!mine->loop)
            disarm(mine);
    }
    Py_RETURN_NONE;
}

PyObject *
sam_watch_idle(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    if (mine)
        set_idle(mine);
    Py_RETURN_NONE;
}

PyObject *
sam_watch_busy(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    if (mine && get(&mine->threshold_ns))
        set_busy(mine);
    Py_RETURN_NONE;
}

static PyObject *
watched_select(PyObject *select, PyObject *const *args, Py_ssize_t nargs,
               PyObject *names)
{
    if (mine)
        set_idle(mine);
    PyObject *ready = PyObject_Vectorcall(select, args, (size_t)nargs, names);
    if (mine && get(&mine->threshold_ns))
        set_busy(mine);
    return ready;
}

static PyMethodDef watched = {
    "select", (PyCFunction)(void (*)(void))watched_select,
    METH_FASTCALL | METH_KEYWORDS, "A selector's select(), which says so."};

PyObject *
sam_watch_select(PyObject *module, PyObject *select)
{
    (void)module;
    return PyCFunction_New(&watched, select);
}

PyObject *
sam_watch_forget(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    for (heart *h = atomic_load_explicit(&hearts, memory_order_relaxed); h;
         h = h->next)
        if (!h->loop)
            disarm(h);
    Py_RETURN_NONE;
}

/* ---- the thread that watches ---- */

/* The GIL is held. */
static void
look_at_blocker(heart *h, uint64_t since)
{
    if (get(&h->busy_since) != since) /* it came round while we waited */
        return;
    if (!still_runs(h)) {
        atomic_store_explicit(&h->busy_since, 0, memory_order_relaxed);
        return;
    }
    PyThreadState *t = PyInterpreterState_ThreadHead(
        PyThreadState_GetInterpreter(PyThreadState_Get()));
    while (t && t->thread_id != h->ident)
        t = PyThreadState_Next(t);
    if (!t)
        return;
    h->look = sam_look_at(t);
    h->caught = since;
    perf_event_write(PERF_EVENT_STALL, h->look.task, h->look.span,
                     (uint64_t)(uint32_t)h->id << 32 | h->look.frame, since);
}

/* Looks at who is over its threshold. Returns when the next one could be; 0:
 * nobody is busy. */
static uint64_t
look_at_hearts(sam_gil *gil, uint64_t now)
{
    uint64_t next = 0;
    for (heart *h = atomic_load_explicit(&hearts, memory_order_acquire); h;
         h = h->next) {
        uint64_t since =
            atomic_load_explicit(&h->busy_since, memory_order_seq_cst);
        uint64_t threshold = get(&h->threshold_ns);
        if (!since || !threshold)
            continue;
        uint64_t due = since + threshold;
        if (due <= now) {
            sam_gil_take(gil);
            if (h->caught != since)
                look_at_blocker(h, since);
            sam_gil_give(gil);
            due = now + threshold; /* it is known: until it is over */
        }
        if (!next || due < next)
            next = due;
    }
    return next;
}

static void *
watch(void *unused)
{
    (void)unused;
    sam_gil gil = {0};
    while (atomic_load_explicit(&runs, memory_order_relaxed)) {
        uint64_t next = look_at_hearts(&gil, sam_now_ns());
        if (next) {
            struct timespec until = {(time_t)(next / 1000000000u),
                                     (long)(next % 1000000000u)};
            sem_clockwait(&wake, CLOCK_MONOTONIC, &until);
            continue;
        }
        atomic_store_explicit(&sleeps, true, memory_order_seq_cst);
        if (!look_at_hearts(&gil, sam_now_ns()) &&
            atomic_load_explicit(&runs, memory_order_seq_cst))
            sem_wait(&wake);
        atomic_store_explicit(&sleeps, false, memory_order_seq_cst);
    }
    sam_gil_drop(&gil);
    return NULL;
}

PyObject *
sam_watch_start(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    if (atomic_load_explicit(&runs, memory_order_relaxed))
        Py_RETURN_TRUE;
    sem_init(&wake, 0, 0);
    atomic_store_explicit(&sleeps, false, memory_order_relaxed);
    atomic_store_explicit(&runs, true, memory_order_relaxed);
    if (sam_thread_start(&watcher, watch))
        Py_RETURN_TRUE;
    atomic_store_explicit(&runs, false, memory_order_relaxed);
    Py_RETURN_FALSE;
}

PyObject *
sam_watch_stop(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    if (atomic_exchange_explicit(&runs, false, memory_order_seq_cst)) {
        sem_post(&wake);
        Py_BEGIN_ALLOW_THREADS;
        pthread_join(watcher, NULL);
        Py_END_ALLOW_THREADS;
    }
    Py_RETURN_NONE;
}

/* In a forked child the watcher is gone, and all threads but this one. */
PyObject *
sam_watch_after_fork(PyObject *module, PyObject *unused)
{
    for (heart *h = atomic_load_explicit(&hearts, memory_order_relaxed); h;
         h = h->next) {
        if (h == mine) {
            h->ident = PyThreadState_Get()->thread_id;
            h->id = PyThreadState_Get()->native_thread_id;
        } else {
            free_heart(h);
        }
    }
    if (!atomic_exchange_explicit(&runs, false, memory_order_relaxed))
        Py_RETURN_FALSE;
    return sam_watch_start(module, unused);
}
