/* scheduler.h - what the files of the module libperf._scheduler share.
 *
 * State is the process's own, not the module's: the core it writes to is one,
 * and so is asyncio, whose classes are replaced. The GIL guards all of it. */
#ifndef LIBPERF_BINDINGS_SCHEDULER_H
#define LIBPERF_BINDINGS_SCHEDULER_H
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <libperf/event.h>

/** What is recorded now: 0 nothing, else a number that grows with each start
 *  and each fork. What begins in one session does not end in another. */
extern uint32_t sched_session;

typedef struct sched_actor {
    uint64_t id; /* 0: none */
    perf_actor kind;
} sched_actor;

/** What a thread knows about itself. */
typedef struct sched_thread {
    sched_actor next;    /* whom the next handle that it makes will run */
    uint64_t loop;       /* id of the loop that it runs; 0: unknown */
    uint64_t label;      /* the span of who started it; for want of its own */
    uint64_t await_key;  /* the last event was AWAIT: of what; else 0 */
    uint64_t await_span; /* and under which span */
    uint32_t session;    /* in which it has said that it is there */
    uint32_t brackets;   /* open waits: only the outermost is written */
    uint32_t imports;    /* and imports */
} sched_thread;

extern _Thread_local sched_thread sched_here;

/** Begin a session, given Python's ident of the main thread; 0: end it. */
void sched_switch(unsigned long main_thread_ident);

/** Write an event of this thread; it is labelled with the current span. */
void sched_emit(perf_event_code code, uint32_t arg, uint64_t key,
                uint64_t more);

/** Say that the task which runs now awaits `key`; 0: only its turn. */
void sched_suspend(uint64_t key);

/** Say that this thread begins to record, as this actor. */
void sched_say_thread(uint64_t actor);

/** The id of the current span; 0: none. */
uint64_t sched_span(void);

/** Make a span current, and say so. Returns -1 with an exception. */
int sched_switch_current(PyObject *handle);

/** A handle was given another span. */
void sched_forget_handle(void);

/** The id of any object, the same as long as it lives. Never fails. */
uint64_t sched_id_of(PyObject *object);

/** Has it been given one? */
bool sched_has_id(PyObject *object);

/** Where a future or task of our own types keeps its id; NULL: it is none. */
uint64_t *sched_own_id(PyObject *object);

/** asyncio's own types; NULL before loop_types(). */
extern PyTypeObject *sched_plain_future, *sched_plain_task;

/** future.done(), false when it fails. */
bool sched_is_done(PyObject *future);

/** The task whose step a callback is, as a new reference; NULL: another
 *  callback. */
PyObject *sched_task_of(PyObject *callback);

/** A task's step is over: say what it awaits, or that it has ended. */
void sched_leave_task(PyObject *task, uint64_t id);

/** A type with `slots` that extends another to `bytes`. What is added holds no
 *  objects, so the garbage collector need not know. NULL with an exception. */
PyTypeObject *sched_extend(PyObject *base, const char *name, PyType_Slot *slots,
                           Py_ssize_t bytes);

/** Behind the last byte of instances of both types. */
Py_ssize_t sched_end_of_larger(PyObject *a, PyObject *b);

/** Make our types of handles. False with an exception. */
bool sched_handle_types(PyObject *plain, PyObject *plain_timer,
                        PyTypeObject **handle, PyTypeObject **timer);

/** function(self, *args, **kwargs) */
PyObject *sched_call(PyObject *function, PyObject *self, PyObject *const *args,
                     Py_ssize_t nargs, PyObject *kwnames);

/** Called when the module is imported. Returns -1 with an exception. */
int sched_prepare(void);

/** Functions of the module. */
PyObject *sched_loop_types(PyObject *module, PyObject *args);
PyObject *sched_loop_methods(PyObject *module, PyObject *loop_class);

/** For tables of methods: one that takes an array, and keywords. */
#define SCHED_FAST(f)                                                          \
    (PyCFunction)(void (*)(void)) f, METH_FASTCALL | METH_KEYWORDS

#endif
