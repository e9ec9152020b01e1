/* speed.h - what the files of the module libperf._speed share.
 *
 * The accelerator does what tracing.py, spans.py and context.py do, in C, and
 * passes the same tests. State is the process's own; the GIL guards it, nothing
 * here lets go of it or waits. What goes wrong inside of it is not the user's:
 * his call goes on, untraced at worst. */
#ifndef LIBPERF_BINDINGS_SPEED_H
#define LIBPERF_BINDINGS_SPEED_H
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <libperf/clock.h>
#include <libperf/span.h>

/** What Python gave us by remember(); NULL until then. */
typedef struct speed_known {
    PyObject *variable;       /* the context variable of the current span */
    PyObject *end_with_error; /* (handle, error, paused_ns) -> ns */
    PyObject *parse_parent;   /* (parent) -> handle */
    PyObject
        *number_of_span;    /* (kind, name) -> number; ValueError, TypeError */
    PyObject *span_numbers; /* name -> number: spans of kind "span" */
    PyObject *key_number;   /* (text) -> number; TypeError */
    PyObject *to_bytes;     /* (value) -> UTF-8, cut */
    PyObject *first_step;   /* (async generator) -> its first step */
} speed_known;

extern speed_known speed_known_here;

/* ---- handle.c ---- */

/** A span as an object. It never changes, but for those that become(). */
typedef struct speed_handle {
    PyObject_HEAD perf_span span;
} speed_handle;

extern PyTypeObject speed_handle_type;
extern PyObject *speed_no_span;

/** Makes the type and speed_no_span. False with an exception. */
bool speed_handle_ready(void);

/** A new reference; NULL without an exception: no memory. */
PyObject *speed_handle_of(const perf_span *span);

static inline bool
speed_is_handle(PyObject *object)
{
    return Py_IS_TYPE(object, &speed_handle_type);
}

static inline const perf_span *
speed_span_of(PyObject *handle)
{
    return &((speed_handle *)handle)->span;
}

extern PyMethodDef speed_handle_functions[];

/* ---- current.c ---- */

/** The current span's handle, a new reference. Never fails. */
PyObject *speed_current(void);

/** What was current before, and how to get back to it. It never leaves the C
 *  function that it was made in, nor its context. */
typedef struct speed_before {
    PyObject *handle, *token;
    PyObject *variables; /* of the context, before; NULL: nobody knows */
    PyObject *set;       /* and with the handle among them */
} speed_before;

/** Make a handle current where a span begins. Never fails. */
void speed_make_current(PyObject *handle, speed_before *before);

/** All variables of the context outside of a run when it was resumed last, and
 *  inside: what its next resume will need, if nobody sets one of them. They are
 *  kept alive as long as it is suspended. */
typedef struct speed_tables {
    PyObject *outside, *inside; /* both or none */
} speed_tables;

/** The same where none begins or ends: a profiler hears of it. */
void speed_switch_to(PyObject *handle, speed_before *before,
                     speed_tables *kept);

/** Put back what was current, by the way it was made so. No exception may be
 *  set. Gives up what `before` holds. */
void speed_put_back(speed_before *before);
void speed_switch_back(speed_before *before, bool changed, speed_tables *kept);

/** Make it current, for good. */
void speed_set_current(PyObject *handle);

/** 32 bits of the asyncio task that runs now; 0: none. What is no Exception
 * goes on: PyErr_Occurred(). */
uint32_t speed_task(void);

/** Begin a span in that task, or in its parent's. NULL without an exception: no
 *  memory. */
PyObject *speed_begin_in_task(uint32_t number, PyObject *parent);

/** An object with what a profiler replaces. */
PyObject *speed_hooks(void);

bool speed_current_ready(void);

/* ---- context.c ---- */

/** All variables of the current context, as one object that never changes: a
 *  new reference. NULL: nobody can tell. */
PyObject *speed_variables(void);

/** Put others in their place, if they are still those: in them `handle` is
 *  current. */
bool speed_put_variables_back(PyObject *now, PyObject *before,
                              PyObject *handle);

/** See whether this Python can do that, once the variable is known. */
void speed_try_variables(void);

/* ---- attribute.c ---- */

/** Attach a value. 1: kept; 0: cut or no room; -1 with an exception. */
int speed_set_attribute(PyObject *handle, PyObject *name, PyObject *value);

/** Attach all that is in a dict that nobody else has. False with an exception
 *  that must go on. */
bool speed_set_attributes(PyObject *handle, PyObject *attributes);

bool speed_attribute_ready(void);

/* ---- traced.c ---- */

typedef enum speed_kind {
    SPEED_FUNCTION = 0,
    SPEED_LEAF = 1, /* a function that does not become the current span */
    SPEED_COROUTINE = 2,
    SPEED_GENERATOR = 3,
    SPEED_ASYNC_GENERATOR = 4,
} speed_kind;

/** One traced function. */
typedef struct speed_traced {
    PyObject_HEAD PyObject *function;
    PyObject *begin; /* (number, parent) -> handle */
    PyObject *plain; /* if it is this, we know ourselves what it does */
    PyObject *tags;  /* attributes of every call; NULL: none */
    PyObject *after; /* None, or (handle, ns): of calls that took longer */
    double slow_ns;
    uint32_t number;
    speed_kind kind;
} speed_traced;

extern PyTypeObject *speed_traced_type;

/** Begin one call's span. NULL: no memory, the call goes untraced; or an
 *  exception is set that must go on. */
PyObject *speed_begin(speed_traced *self, PyObject *parent);

/** End it. `handle` may be NULL. No exception may be set; afterwards one may
 *  be that must go on. */
void speed_end(speed_traced *self, PyObject *handle, perf_status status,
               uint64_t paused_ns);
void speed_end_with_error(speed_traced *self, PyObject *handle, PyObject *error,
                          uint64_t paused_ns);

/** End any span whose work raised. Returns its duration in ns. Exceptions: as
 *  above. */
uint64_t speed_end_failed(PyObject *handle, PyObject *error,
                          uint64_t paused_ns);

/** set_fast_call(function): a Python function whose body is `run(args, kwargs)`
 *  is called without its frame, where Python has a way to say so. */
PyObject *speed_set_fast_call(PyObject *module, PyObject *function);

bool speed_traced_ready(void);

/* ---- running.c ---- */

/** A run of a coroutine or generator, begun. `inner`: what the function
 *  returned. NULL with an exception. */
PyObject *speed_running_of(speed_traced *of, PyObject *inner, PyObject *handle);

extern PyTypeObject *speed_running_type;
extern PyObject *speed_end_of_items; /* what an async generator ends in */

bool speed_running_ready(void);

/* ---- block.c ---- */

/** block_type(Span, doc): the type libperf.span, which extends Span. */
PyObject *speed_block_type(PyObject *module, PyObject *args);

/* ---- exceptions ---- */

/** The exception that is set, with its traceback; it is no more. */
static inline PyObject *
speed_take_error(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    if (trace)
        PyException_SetTraceback(value, trace);
    Py_XDECREF(type);
    Py_XDECREF(trace);
    return value;
#endif
}

/** Want of memory in our own work is not the user's. Anything else that comes
 *  out of it is: an interrupt that came just then, a callback of his. */
static inline void
speed_forgive(void)
{
    if (PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_MemoryError))
        PyErr_Clear();
}

/** Set it again. Takes over the reference. */
static inline void
speed_raise_again(PyObject *error)
{
#if PY_VERSION_HEX >= 0x030C0000
    PyErr_SetRaisedException(error);
#else
    PyErr_Restore(Py_NewRef(Py_TYPE(error)), error,
                  PyException_GetTraceback(error));
#endif
}

/** The same, unless something else has come up meanwhile: that came after it,
 *  and says so. */
static inline void
speed_raise_then(PyObject *error)
{
    if (PyErr_Occurred()) {
        PyObject *later = speed_take_error();
        PyException_SetContext(later, error);
        error = later;
    }
    speed_raise_again(error);
}

#endif
