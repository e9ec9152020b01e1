/* batcher.h - futures, batches and queues, as the files of libperf._batcher
 * share them.
 *
 * The GIL guards all of it. Between two lines of C no other thread runs, unless
 * one of them calls Python: a weigher, a clock, an exception's constructor, a
 * loop's call_soon(), the __del__ of what was let go of. So Python is never
 * called in the middle of something; what was true before such a call is looked
 * at again behind it.
 * Who keeps a future alive: the queue, while the core's queue has its item (it
 * is `held`); its batch, while it is in one; and whoever waits for it. */
#ifndef LIBPERF_BATCHER_EXTENSION_H
#define LIBPERF_BATCHER_EXTENSION_H
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "series.h"

#include <libperf/batch_queue.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct bat_queue bat_queue;
typedef struct bat_batch bat_batch;
typedef struct bat_future bat_future;
typedef struct bat_waiter bat_waiter;

/** Whom to call when a future is done. */
typedef struct bat_call {
    PyObject *function; /* NULL: nobody */
    PyObject *context;
    PyObject *loop; /* None: in the thread that finishes it */
} bat_call;

enum { BAT_PENDING = 0, BAT_RESULT = 1, BAT_ERROR = 2, BAT_CANCELLED = 3 };

struct bat_future {
    PyObject_HEAD perf_batch_item item;
    bat_queue *queue;
    PyObject *data;
    PyObject *key;       /* equal items have equal ones; NULL: like no other */
    PyObject *loop;      /* that ran when it was submitted; NULL: none */
    PyObject *outer;     /* the batch out of which it came; NULL: none */
    PyObject *caller;    /* the span it was submitted in; NULL: none */
    PyObject *value;     /* result, exception, or message of cancel(); NULL */
    PyObject *traceback; /* that the exception came with; NULL */
    bat_call first;      /* most futures have one */
    PyObject *more;      /* a list of tuples like bat_call; NULL */
    bat_waiter *waiters;
    bat_future *before, *after; /* among those that its queue holds */
    PyObject *weakrefs;
    unsigned long long batch_id;   /* 0: not begun */
    unsigned long long libperf_id; /* the profiler's; 0: none yet */
    uint32_t batch_size;
    uint32_t index; /* in its batch */
    uint8_t state;
    uint8_t refused; /* how often its batch was throttled */
    bool held, running, blocking;
};

enum { BAT_OPEN = 0, BAT_DONE = 1, BAT_ABANDONED = 2 };

struct bat_batch {
    PyObject_HEAD perf_batch core;
    bat_queue *queue;
    PyObject *data;  /* list */
    PyObject *loop;  /* NULL: none */
    PyObject *outer; /* NULL: none */
    bat_future **items;
    uint32_t *places; /* of each item in `data`; NULL: its own */
    uint32_t count, room, given;
    uint64_t weight;           /* of what is given */
    bat_batch *before, *after; /* among those that run; not owned */
    PyObject *weakrefs;
    uint8_t state;
};

enum {
    BAT_BATCH_ERROR = 0,
    BAT_DEADLINE = 1,
    BAT_FULL = 2,
    BAT_SHED = 3,
    BAT_CLOSED = 4,
    BAT_ERRORS = 5,
};

struct bat_queue {
    PyObject_HEAD perf_batch_queue *core; /* NULL once it was collected */
    PyObject *wake, *inside, *inline_, *weigher, *same, *clock;
    PyObject *errors[BAT_ERRORS];
    PyObject *tenants; /* name -> number */
    PyObject *woken;   /* the loop, or None, that wake() was last called for */
    PyObject *keeper;  /* the loop that will do what next_wake() told; NULL: one
                          that cannot stop */
    bat_future *held;  /* ring; NULL: empty */
    bat_batch *running;
    bat_waiter *entrants; /* threads whose items wait outside, oldest first */
    PyObject *weakrefs;
    uint64_t told_ns; /* next_wake() */
    uint64_t max_weight;
    double timeout, queue_timeout; /* NaN: none */
    PyObject *current;     /* a variable: the span; NULL: nobody asked */
    PyObject *nothing;     /* its value where there is none */
    PyObject *watcher;     /* is told of each item; NULL, None: nobody */
    batcher_series series; /* what is counted for reports */
    unsigned long long orphaned;
    bool loop_time;
};

/** A thread that waits. Freed by that thread only: one that never wakes up
 *  again, at the end of the process, leaves it behind. */
struct bat_waiter {
    PyThread_type_lock lock;
    bat_future *future; /* owned */
    bat_waiter *next;   /* of the future */
    bat_waiter *behind; /* of the queue's entrants */
    bool entrant;       /* waits to be let in */
    bool released;
};

/** What is told to whom, at the end of a verb: callbacks are gathered, so that
 *  each loop is asked once. */
typedef struct bat_post {
    PyObject *loop;  /* that runs here; NULL: none */
    PyObject *lists; /* of [loop, function, future, context, function, …] */
    PyObject *last;  /* of these, to which something was added; borrowed */
    bat_queue *queue;
    bool asked;
} bat_post;

/* ---- batcher.c ---- */

extern PyObject *bat_str_call_soon, *bat_str_call_soon_threadsafe;
extern PyObject *bat_str_time, *bat_str_retry_after;
extern PyObject *bat_names_context; /* ("context",) */
extern PyObject *bat_cancelled_error, *bat_invalid_state, *bat_mapping;

/** The running loop of this thread as a new reference; NULL: none, or, with an
 *  exception, it is not known. */
PyObject *bat_running_loop(void);

/** Let go of the loop that was last seen. */
void bat_forget_loop(void);

/** Seconds in nanoseconds, rounded up; UINT64_MAX: for ever. `name` is for the
 *  ValueError.  Returns -1 with an exception. */
int bat_seconds(PyObject *value, const char *name, double *out);
uint64_t bat_nanoseconds(double seconds);

/** A new exception of the queue's errors[kind]; where it cannot be made, what
 *  came instead. `message` is stolen, NULL is an exception. Never NULL. */
PyObject *bat_error(bat_queue *queue, int kind, PyObject *message,
                    PyObject *cause);
PyObject *bat_batch_error(bat_queue *queue, PyObject *message, uint32_t index,
                          uint32_t size, PyObject *cause);

/** The current exception as an object, and it is cleared; none is as good as a
 *  MemoryError. */
PyObject *bat_caught(void);

/* ---- future.c ---- */

extern PyTypeObject *bat_future_type;
bool bat_future_ready(void);

/** Pending, and in no queue. */
bat_future *bat_future_make(bat_queue *queue, PyObject *data);

static inline bat_future *
bat_future_of(perf_batch_item *item)
{
    return (bat_future *)((char *)item - offsetof(bat_future, item));
}

/** Its result, or its exception raised. It is done. */
PyObject *bat_outcome(bat_future *self);

/* ---- await.c ---- */

bool bat_await_ready(void);
PyObject *bat_future_await(bat_future *self);

/* ---- calls.c ---- */

PyObject *bat_future_add_done_callback(bat_future *self, PyObject *const *args,
                                       Py_ssize_t nargs, PyObject *kwnames);
PyObject *bat_future_remove_done_callback(bat_future *self, PyObject *callback);

/* ---- deliver.c: what happens when an item is done ---- */

/** It is done: `value` is stolen. Threads that wait wake up; no Python runs,
 *  and nobody else is told yet. False: it was done before. */
bool bat_resolve(bat_future *it, int state, PyObject *value);

/** Tell who has asked to be. A reference to `it` must be held. */
void bat_tell(bat_post *post, bat_future *it);

/** Tell one: as bat_tell() does. */
void bat_tell_one(bat_post *post, bat_future *it, const bat_call *call);

void bat_hold(bat_queue *queue, bat_future *it);
void bat_unhold(bat_queue *queue, bat_future *it);

/** In how long there will be room, on a QueueFull: its `retry_after`. */
void bat_say_retry_after(bat_queue *queue, PyObject *error);

/** Finish what the core has given up, and let in who waits outside. Returns how
 *  many were finished. Keeps an exception that is set. */
int bat_settle(bat_queue *queue, uint64_t now_ns);

/** Discard callbacks and waiters: there is nobody to tell. */
void bat_silence(bat_future *it);

/* ---- post.c: callbacks in event loops ---- */

bool bat_post_ready(void);

/** Remember it for its loop. 0, or -1. */
int bat_gather(bat_post *post, bat_future *it, const bat_call *call);

/** Ask the loops to call what was gathered. */
void bat_post_end(bat_post *post);

/* ---- wait.c ---- */

/** Wait until it is done, or (`entrant`) let in. Returns 1; 0: the time is
 *  over; -1 with an exception, such as KeyboardInterrupt. */
int bat_wait(bat_future *it, uint64_t timeout_ns, bool entrant);

/** Wake the threads that wait for it. */
void bat_release(bat_future *it);
void bat_release_entrants(bat_queue *queue);

/* ---- queue.c ---- */

extern PyTypeObject *bat_queue_type;
bool bat_queue_ready(void);

/** Now, by the queue's clock. Returns -1 with an exception. */
int bat_now(bat_queue *queue, uint64_t *out);

/** Is this queue of any use? False with an exception. */
bool bat_alive(bat_queue *queue);

/* ---- submit.c ---- */

PyObject *bat_queue_submit(bat_queue *self, PyObject *const *args,
                           Py_ssize_t nargs, PyObject *kwnames);
PyObject *bat_queue_share(bat_queue *self, PyObject *args);

/** Call wake(), if somebody has to look after the queue. */
int bat_wake(bat_queue *self, PyObject *loop, uint64_t now_ns);

/* ---- batch.c ---- */

extern PyTypeObject *bat_batch_type;
bool bat_batch_ready(void);
PyObject *bat_queue_take(bat_queue *self, PyObject *unused);

/** It does not run any more. */
void bat_batch_close(bat_batch *batch, int state);

/* ---- finish.c ---- */

PyObject *bat_queue_finish(bat_queue *self, PyObject *const *args,
                           Py_ssize_t nargs);
PyObject *bat_queue_fail(bat_queue *self, PyObject *const *args,
                         Py_ssize_t nargs);
PyObject *bat_queue_throttled(bat_queue *self, PyObject *const *args,
                              Py_ssize_t nargs);
PyObject *bat_queue_abandon(bat_queue *self, PyObject *error);

/** Nobody finished it, and nobody will. */
void bat_batch_lost(bat_batch *batch);

/* ---- seen.c: what reports see ---- */

PyObject *bat_queue_report(bat_queue *self, PyObject *args);

/** Tell the watcher of an item. Keeps no exception. */
void bat_say_submitted(bat_queue *self, bat_future *it);

/** The span that is current, as a new reference; NULL: none. */
PyObject *bat_caller(bat_queue *self);

/** Of all items of a batch: a list, or None. */
PyObject *bat_batch_callers(bat_batch *self, void *unused);

/* ---- results.c ---- */

/** What a function returned for `given` items, as that many owned references;
 *  NULL in it: it said nothing about that one. A NULL array: it is not usable,
 *  `*message` says why (NULL: an exception), `*cause` perhaps.
 *  The array is PyMem_Free()'s. */
PyObject **bat_results(PyObject *results, uint32_t given, PyObject **message,
                       PyObject **cause);

/** For tables of methods: one that takes an array, and keywords. */
#define BAT_FAST(f) (PyCFunction)(void (*)(void)) f, METH_FASTCALL
#define BAT_FAST_KEYWORDS(f)                                                   \
    (PyCFunction)(void (*)(void)) f, METH_FASTCALL | METH_KEYWORDS

#endif
