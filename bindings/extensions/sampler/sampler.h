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
#include <time.h>

/* thread.c */

/** A clock's nanoseconds; 0: it cannot be asked. */
uint64_t sam_ns_of(clockid_t clock);

/** CLOCK_MONOTONIC's. */
uint64_t sam_now_ns(void);

/** The CPU time of any thread of this process, by the system's number; 0: it
 *  has ended, or cannot be asked. */
uint64_t sam_cpu_of(unsigned long id);

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

/** Puts what sys.monitoring calls into the module. -1 with an exception. */
int sam_calls_prepare(PyObject *module);

#if PY_VERSION_HEX < 0x030C0000
/** `fresh`: it is called, not gone on with. `depth`: how deep it lies. */
void sam_calls_begin(PyCodeObject *code, int depth, bool fresh);
void sam_calls_end(PyCodeObject *code, int depth);

/** All of this thread's have ended. */
void sam_calls_end_all(void);

/** This thread is in a profiled function, or below. */
bool sam_calls_is_inside(void);
bool sam_calls_knows(PyCodeObject *code);
#endif

/* setprofile.c */

PyObject *sam_calls_switch(PyObject *module, PyObject *on);

#endif
