/* handle.c - asyncio's handles, which run actors: whatever the loop
 * does goes through their `_run`. */
#include "scheduler.h"

/* Behind the last byte of the larger of both types' bases. */
static Py_ssize_t actor_offset;

/* Where a handle's slots lie in it. */
static Py_ssize_t callback_offset, args_offset, context_offset, loop_offset;

static PyObject *run; /* asyncio's Handle._run */

/* What is in a slot of a handle, as a new reference; NULL: nothing. */
static PyObject *
slot(PyObject *self, Py_ssize_t offset)
{
    return Py_XNewRef(*(PyObject **)((char *)self + offset));
}

static void
set_slot(PyObject *self, Py_ssize_t offset, PyObject *value)
{
    Py_XSETREF(*(PyObject **)((char *)self + offset), Py_NewRef(value));
}

/* The thread knows, unless its loop ran before the session began. */
static uint64_t
loop_of(PyObject *self)
{
    PyObject *loop = *(PyObject **)((char *)self + loop_offset);
    return sched_here.loop || !loop ? sched_here.loop : sched_id_of(loop);
}

static sched_actor *
actor_of(PyObject *self)
{
    return (sched_actor *)((char *)self + actor_offset);
}

/* The actor is there before anybody sees the handle. */
static PyObject *
handle_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    sched_actor actor = sched_here.next;
    sched_here.next = (sched_actor){0};
    PyObject *self = type->tp_alloc(type, 0);
    if (self)
        *actor_of(self) = actor;
    return self;
}

/* Run the callback in its context, between its events. */
static PyObject *
run_actor(PyObject *self, PyObject *callback, PyObject *args)
{
    uint32_t session = sched_session;
    PyObject *of = sched_task_of(callback);
    PyErr_Clear();
    sched_actor actor = *actor_of(self);
    if (of)
        actor = (sched_actor){sched_id_of(of), PERF_ACTOR_TASK};
    else if (!actor.id) /* a handle of the selector's runs again and again */
        actor = (sched_actor){perf_event_new_id(), PERF_ACTOR_IO};
    sched_emit(PERF_EVENT_RUN, actor.kind, actor.id, loop_of(self));

    PyObject *result = PyObject_Call(callback, args, NULL);

    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    if (sched_session == session && of)
        sched_leave_task(of, actor.id);
    else if (sched_session == session)
        sched_emit(PERF_EVENT_END, 0, actor.id, 0);
    PyErr_Restore(type, value, trace);
    Py_XDECREF(of);
    return result;
}

/* A callback that gives a handle its own callback back, and raises what that
 * has raised. `held`: handle, callback, arguments, exception. */
static PyObject *
raise_again(PyObject *held, PyObject *Py_UNUSED(ignored))
{
    PyObject *self = PyTuple_GET_ITEM(held, 0);
    PyObject *error = PyTuple_GET_ITEM(held, 3);
    set_slot(self, callback_offset, PyTuple_GET_ITEM(held, 1));
    set_slot(self, args_offset, PyTuple_GET_ITEM(held, 2));
    PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    return NULL;
}

static PyMethodDef raise_definition = {"raise", raise_again, METH_NOARGS, NULL};

/* asyncio's own `_run` knows what is to be done with the exception. */
static PyObject *
run_failed(PyObject *self, PyObject *callback, PyObject *args)
{
    PyObject *type, *value, *trace, *result = NULL;
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    if (trace)
        PyException_SetTraceback(value, trace);
    PyObject *held = PyTuple_Pack(4, self, callback, args, value);
    PyObject *raise = held ? PyCFunction_New(&raise_definition, held) : NULL;
    PyObject *none = PyTuple_New(0);
    if (raise && none) {
        set_slot(self, callback_offset, raise);
        set_slot(self, args_offset, none);
        result = PyObject_CallOneArg(run, self);
    }
    Py_XDECREF(held);
    Py_XDECREF(raise);
    Py_XDECREF(none);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(trace);
    return result;
}

static PyObject *
handle_run(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *context = slot(self, context_offset);
    PyObject *callback = slot(self, callback_offset);
    PyObject *args = slot(self, args_offset);
    PyObject *result = NULL;
    bool ours = sched_session && context && callback && args &&
                PyTuple_Check(args) && PyContext_CheckExact(context);
    if (ours && PyContext_Enter(context) == 0) {
        result = run_actor(self, callback, args);
        PyContext_Exit(context);
        if (!result)
            result = run_failed(self, callback, args);
    } else {
        PyErr_Clear();
        result = PyObject_CallOneArg(run, self);
    }
    Py_XDECREF(context);
    Py_XDECREF(callback);
    Py_XDECREF(args);
    return result;
}

static PyMethodDef handle_methods[] = {{"_run", handle_run, METH_NOARGS, NULL},
                                       {NULL, NULL, 0, NULL}};
static PyType_Slot handle_slots[] = {{Py_tp_new, (void *)(uintptr_t)handle_new},
                                     {Py_tp_methods, handle_methods},
                                     {0, NULL}};

static bool
find_slot(PyObject *cls, const char *name, Py_ssize_t *offset)
{
    PyObject *member = PyObject_GetAttrString(cls, name);
    bool found = member && Py_IS_TYPE(member, &PyMemberDescr_Type);
    if (found)
        *offset = ((PyMemberDescrObject *)member)->d_member->offset;
    else if (member)
        PyErr_Format(PyExc_TypeError, "Handle.%s is no slot", name);
    Py_XDECREF(member);
    return found;
}

bool
sched_handle_types(PyObject *plain, PyObject *plain_timer,
                   PyTypeObject **handle, PyTypeObject **timer)
{
    actor_offset = sched_end_of_larger(plain, plain_timer);
    Py_ssize_t bytes = actor_offset + (Py_ssize_t)sizeof(sched_actor);
    return (run = PyObject_GetAttrString(plain, "_run")) &&
           find_slot(plain, "_callback", &callback_offset) &&
           find_slot(plain, "_args", &args_offset) &&
           find_slot(plain, "_context", &context_offset) &&
           find_slot(plain, "_loop", &loop_offset) &&
           (*timer = sched_extend(plain_timer, "libperf._scheduler.TimerHandle",
                                  handle_slots, bytes)) &&
           (*handle = sched_extend(plain, "libperf._scheduler.Handle",
                                   handle_slots, bytes));
}
