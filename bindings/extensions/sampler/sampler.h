/* sampler.h - what the files of the module libperf._sampler share.
 *
 * Python's frames are read with the GIL held, and only then. State is the
 * process's own; what is not atomic is guarded by the GIL. */
#ifndef LIBPERF_BINDINGS_SAMPLER_H
#define LIBPERF_BINDINGS_SAMPLER_H
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/** Nanoseconds of CLOCK_MONOTONIC. */
uint64_t sam_now_ns(void);

/** Sleep until then. */
void sam_sleep_until(uint64_t ns);

/** Start a thread of C that no signal of the program interrupts. */
bool sam_thread_start(pthread_t *thread, void *(*run)(void *unused));

/** A thread of C takes the GIL, and gives it back. The first time it gets
 *  itself a thread state, which sam_gil_drop() gives back in the end. */
typedef struct sam_gil {
    PyThreadState *own;
    PyGILState_STATE state;
} sam_gil;
void sam_gil_take(sam_gil *gil);
void sam_gil_give(sam_gil *gil);
void sam_gil_drop(sam_gil *gil);

/* stack.c */

/** What a thread is doing. */
typedef struct sam_look {
    uint32_t frame; /* frame.h; 0: nothing */
    uint32_t task;
    uint64_t span;
} sam_look;

/** Look at a thread of Python's. The GIL is held. Never fails. */
sam_look sam_look_at(PyThreadState *thread);

/** Forget whatever code is remembered. */
void sam_stack_forget(void);

/** Called when the module is imported. Returns -1 with an exception. */
int sam_stack_prepare(void);

/** Texts of a code object as UTF-8; `keep` is NULL, or to be decref'd. */
const char *sam_text(PyObject *text, Py_ssize_t *length, PyObject **keep);

/* ticks.c */

PyObject *sam_start(PyObject *module, PyObject *args);
PyObject *sam_stop(PyObject *module, PyObject *unused);
PyObject *sam_after_fork(PyObject *module, PyObject *unused);
PyObject *sam_stats(PyObject *module, PyObject *unused);

/* watch.c */

PyObject *sam_watch_start(PyObject *module, PyObject *unused);
PyObject *sam_watch_stop(PyObject *module, PyObject *unused);
PyObject *sam_watch_after_fork(PyObject *module, PyObject *unused);
PyObject *sam_watch_enter(PyObject *module, PyObject *args);
PyObject *sam_watch_release(PyObject *module, PyObject *token);
PyObject *sam_watch_leave(PyObject *module, PyObject *unused);
PyObject *sam_watch_idle(PyObject *module, PyObject *unused);
PyObject *sam_watch_busy(PyObject *module, PyObject *unused);
PyObject *sam_watch_select(PyObject *module, PyObject *select);
PyObject *sam_watch_forget(PyObject *module, PyObject *unused);

/* calls.c */

PyObject *sam_calls_add(PyObject *module, PyObject *args);
PyObject *sam_calls_flush(PyObject *module, PyObject *unused);
PyObject *sam_calls_read(PyObject *module, PyObject *unused);
PyObject *sam_calls_begin(PyObject *module, PyObject *const *args,
                          Py_ssize_t nargs);
PyObject *sam_calls_resume(PyObject *module, PyObject *const *args,
                           Py_ssize_t nargs);
PyObject *sam_calls_end(PyObject *module, PyObject *const *args,
                        Py_ssize_t nargs);
PyObject *sam_calls_switch(PyObject *module, PyObject *on);

#endif
