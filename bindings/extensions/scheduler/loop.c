/* loop.c - the methods of a loop that make handles: who schedules
 * whom, and why. */
#include "scheduler.h"

/* asyncio's methods that ours stand in front of. */
static PyObject *call_soon, *call_soon_threadsafe, *call_at;

static PyObject *limits; /* qualified names of callbacks of time limits */
static PyObject *str_qualname;

/* Done-callbacks that are the same function, or method of the same object,
 * count together; 0: of another type. */
static uint32_t
group_of(PyObject *callback)
{
    if (PyFunction_Check(callback))
        return (uint32_t)sched_id_of(callback);
    if (!PyMethod_Check(callback))
        return 0;
    uint64_t self = sched_id_of(PyMethod_GET_SELF(callback));
    uint64_t function = sched_id_of(PyMethod_GET_FUNCTION(callback));
    return (uint32_t)(self * 0x9E3779B1u ^ function);
}

static void
note_soon(PyObject *callback, PyObject *first)
{
    PyObject *of = sched_task_of(callback);
    if (of) {
        if (first && !sched_own_id(first)) /* ours have said so themselves */
            sched_emit(PERF_EVENT_RESOLVE, 0, sched_id_of(first), 0);
        else if (!first && !sched_has_id(of))
            sched_emit(PERF_EVENT_SPAWN, 0, sched_id_of(of), 0);
        Py_DECREF(of);
        return;
    }
    uint64_t id = perf_event_new_id(), done = 0;
    uint32_t group = 0;
    /* One that is not done is not waited for: this callback will resolve it. */
    if (first && PyObject_TypeCheck(first, sched_plain_future) &&
        sched_is_done(first)) {
        done = sched_id_of(first);
        group = group_of(callback);
    }
    sched_emit(PERF_EVENT_SPAWN, group, id, done);
    sched_here.next = (sched_actor){id, PERF_ACTOR_CALLBACK};
}

/* Whoever schedules inside of this (a finaliser) must not take our actor. */
static PyObject *
soon(PyObject *original, PyObject *self, PyObject *const *args,
     Py_ssize_t nargs, PyObject *kwnames)
{
    sched_actor outer = sched_here.next;
    sched_here.next = (sched_actor){0};
    if (sched_session && nargs)
        note_soon(args[0], nargs > 1 ? args[1] : NULL);
    PyObject *result = sched_call(original, self, args, nargs, kwnames);
    sched_here.next = outer;
    return result;
}

static PyObject *
loop_call_soon(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
               PyObject *kwnames)
{
    return soon(call_soon, self, args, nargs, kwnames);
}

static PyObject *
loop_call_soon_threadsafe(PyObject *self, PyObject *const *args,
                          Py_ssize_t nargs, PyObject *kwnames)
{
    return soon(call_soon_threadsafe, self, args, nargs, kwnames);
}

/* Is it for a time limit? Nobody waits for that, unless it is reached. */
static bool
is_limit(PyObject *callback)
{
    if (PyCFunction_Check(callback)) /* loop.call_later(t, task.cancel) */
        return PyCFunction_GET_SELF(callback) &&
               PyObject_TypeCheck(PyCFunction_GET_SELF(callback),
                                  sched_plain_task);
    PyObject *name = PyObject_GetAttr(callback, str_qualname);
    bool is = name && PySet_Contains(limits, name) > 0;
    Py_XDECREF(name);
    PyErr_Clear();
    return is;
}

static PyObject *
loop_call_at(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
             PyObject *kwnames)
{
    sched_actor outer = sched_here.next;
    sched_here.next = (sched_actor){0};
    double when = nargs > 1 ? PyFloat_AsDouble(args[0]) : -1;
    PyErr_Clear(); /* asyncio will complain */
    if (sched_session && when >= 0) {
        uint64_t id = perf_event_new_id();
        double ns = when * 1e9 + 0.5;
        sched_emit(PERF_EVENT_TIMER, is_limit(args[1]), id,
                   ns < 1.8e19 ? (uint64_t)ns : UINT64_MAX);
        sched_here.next = (sched_actor){id, PERF_ACTOR_TIMER};
    }
    PyObject *result = sched_call(call_at, self, args, nargs, kwnames);
    sched_here.next = outer;
    return result;
}

static PyMethodDef loop_methods[] = {
    {"call_soon", SCHED_FAST(loop_call_soon), NULL},
    {"call_soon_threadsafe", SCHED_FAST(loop_call_soon_threadsafe), NULL},
    {"call_at", SCHED_FAST(loop_call_at), NULL},
    {NULL, NULL, 0, NULL}};

static bool
name_things(void)
{
    if (limits)
        return true;
    str_qualname = PyUnicode_InternFromString("__qualname__");
    PyObject *names = Py_BuildValue(
        "(sssss)", "_release_waiter", "Timeout._on_timeout",
        "as_completed.<locals>._on_timeout",
        "_AsCompletedIterator._handle_timeout", "CancelScope._timeout");
    limits = names ? PyFrozenSet_New(names) : NULL;
    Py_XDECREF(names);
    return str_qualname && limits;
}

/* Anew each time: somebody else may have replaced the loop's own meanwhile. */
PyObject *
sched_loop_methods(PyObject *module, PyObject *loop_class)
{
    PyObject **originals[] = {&call_soon, &call_soon_threadsafe, &call_at};
    PyObject *methods = name_things() ? PyDict_New() : NULL;
    for (int i = 0; methods && loop_methods[i].ml_name; i++) {
        const char *name = loop_methods[i].ml_name;
        PyObject *original = PyObject_GetAttrString(loop_class, name);
        PyObject *ours =
            PyDescr_NewMethod((PyTypeObject *)loop_class, &loop_methods[i]);
        if (!original || !ours || PyDict_SetItemString(methods, name, ours) < 0)
            Py_CLEAR(methods);
        else
            Py_XSETREF(*originals[i], Py_NewRef(original));
        Py_XDECREF(original);
        Py_XDECREF(ours);
    }
    return methods;
}
