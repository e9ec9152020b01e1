/* _scheduler_loop.c - asyncio's handles, futures and tasks, extended by the
 * events they mean, and the methods of a loop that make handles.
 *
 * Each type is asyncio's own plus a few bytes. Whatever the loop does with a
 * handle goes through `_run`, so that is where an actor runs; who schedules
 * it, and why, is known in call_soon and call_at. */
#include "_scheduler.h"

/* One of our types; what it adds begins behind its base's last byte. */
typedef struct extension {
    PyTypeObject *type, *base;
    Py_ssize_t offset;
} extension;

static extension handle, timer, future, task;

/* asyncio's functions that ours stand in front of. */
static PyObject *call_soon, *call_soon_threadsafe, *call_at, *run;
static PyObject *set_result, *set_exception, *cancel_future, *cancel_task;

static PyObject *str_callback, *str_context, *str_loop, *str_fut_waiter,
    *str_done, *str_self, *str_qualname, *str_is_running;
static PyObject *limits; /* qualified names of callbacks of time limits */

/* ---- calling on ---- */

/* function(self, *args, **kwargs) */
static PyObject *
call_with_self(PyObject *function, PyObject *self, PyObject *const *args,
               Py_ssize_t nargs, PyObject *kwnames)
{
    Py_ssize_t n = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    PyObject *few[8], **all = few;
    if (n + 1 > (Py_ssize_t)Py_ARRAY_LENGTH(few) &&
        !(all = PyMem_New(PyObject *, n + 1)))
        return PyErr_NoMemory();
    all[0] = self;
    for (Py_ssize_t i = 0; i < n; i++)
        all[i + 1] = args[i];
    PyObject *result = PyObject_Vectorcall(function, all, nargs + 1, kwnames);
    if (all != few)
        PyMem_Free(all);
    return result;
}

static bool
is_true(PyObject *object, PyObject *method)
{
    PyObject *answer = PyObject_CallMethodNoArgs(object, method);
    bool yes = answer && PyObject_IsTrue(answer) > 0;
    Py_XDECREF(answer);
    PyErr_Clear();
    return yes;
}

uint64_t *
sched_own_id(PyObject *object)
{
    if (future.type && PyObject_TypeCheck(object, future.type))
        return (uint64_t *)((char *)object + future.offset);
    if (task.type && PyObject_TypeCheck(object, task.type))
        return (uint64_t *)((char *)object + task.offset);
    return NULL;
}

/* The task whose step a callback is, as a new reference; NULL: another
 * callback. Its first step and its wake-up are of two types, both private. */
static PyObject *
task_of(PyObject *callback)
{
    static PyTypeObject *step;
    static PyCFunction wakeup;
    if (PyCFunction_Check(callback)) {
        PyCFunction function = PyCFunction_GetFunction(callback);
        const char *name = ((PyCFunctionObject *)callback)->m_ml->ml_name;
        if (!wakeup && strcmp(name, "task_wakeup") == 0)
            wakeup = function;
        return function == wakeup ? Py_NewRef(PyCFunction_GetSelf(callback))
                                  : NULL;
    }
    if (!step) {
        const char *dot = strrchr(Py_TYPE(callback)->tp_name, '.');
        if (strcmp(dot ? dot + 1 : Py_TYPE(callback)->tp_name,
                   "TaskStepMethWrapper") == 0)
            step = (PyTypeObject *)Py_NewRef(Py_TYPE(callback));
    }
    return Py_TYPE(callback) == step ? PyObject_GetAttr(callback, str_self)
                                     : NULL;
}

/* ---- the loop's methods ---- */

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
    PyObject *of = task_of(callback);
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
    if (first && PyObject_TypeCheck(first, future.base) &&
        is_true(first, str_done)) {
        done = sched_id_of(first);
        group = group_of(callback);
    }
    sched_emit(PERF_EVENT_SPAWN, group, id, done);
    sched_next = (sched_actor){id, PERF_ACTOR_CALLBACK};
}

/* Whoever schedules inside of this (a finaliser) must not take our actor. */
static PyObject *
soon(PyObject *original, PyObject *self, PyObject *const *args,
     Py_ssize_t nargs, PyObject *kwnames)
{
    sched_actor outer = sched_next;
    sched_next = (sched_actor){0};
    if (sched_session && nargs)
        note_soon(args[0], nargs > 1 ? args[1] : NULL);
    PyObject *result = call_with_self(original, self, args, nargs, kwnames);
    sched_next = outer;
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
    PyObject *name = PyObject_GetAttr(callback, str_qualname);
    bool is = name && PySet_Contains(limits, name) > 0;
    Py_XDECREF(name);
    PyErr_Clear();
    if (PyCFunction_Check(callback)) /* loop.call_later(t, task.cancel) */
        is =
            is && PyObject_TypeCheck(PyCFunction_GET_SELF(callback), task.base);
    return is;
}

static PyObject *
loop_call_at(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
             PyObject *kwnames)
{
    sched_actor outer = sched_next;
    sched_next = (sched_actor){0};
    double when = nargs > 1 ? PyFloat_AsDouble(args[0]) : -1;
    PyErr_Clear(); /* asyncio will complain */
    if (sched_session && when >= 0) {
        uint64_t id = perf_event_new_id();
        double ns = when * 1e9 + 0.5;
        sched_emit(PERF_EVENT_TIMER, is_limit(args[1]), id,
                   ns < 1.8e19 ? (uint64_t)ns : UINT64_MAX);
        sched_next = (sched_actor){id, PERF_ACTOR_TIMER};
    }
    PyObject *result = call_with_self(call_at, self, args, nargs, kwnames);
    sched_next = outer;
    return result;
}

/* ---- handles ---- */

static sched_actor *
actor_of(PyObject *self)
{
    bool timed = PyObject_TypeCheck(self, timer.type);
    return (sched_actor *)((char *)self +
                           (timed ? timer.offset : handle.offset));
}

/* The actor is there before anybody sees the handle. */
static PyObject *
handle_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    sched_actor actor = sched_next;
    sched_next = (sched_actor){0};
    PyObject *self = type->tp_alloc(type, 0);
    if (self)
        *actor_of(self) = actor;
    return self;
}

/* A task's step is over: what it awaits, or that it has ended. */
static void
leave_task(PyObject *of, uint64_t id, PyObject *context)
{
    PyObject *awaited = PyObject_GetAttr(of, str_fut_waiter);
    PyErr_Clear();
    if (awaited && awaited != Py_None)
        sched_emit_in(context, PERF_EVENT_SUSPEND, 0, sched_id_of(awaited), 0);
    else if (is_true(of, str_done))
        sched_emit_in(context, PERF_EVENT_END, 0, id, 0);
    else
        sched_emit_in(context, PERF_EVENT_SUSPEND, 0, 0, 0);
    Py_XDECREF(awaited);
}

static PyObject *
handle_run(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    uint32_t session = sched_session;
    PyObject *callback = session ? PyObject_GetAttr(self, str_callback) : NULL;
    if (!callback) {
        PyErr_Clear();
        return PyObject_CallOneArg(run, self);
    }
    PyObject *of = task_of(callback);
    PyObject *context = PyObject_GetAttr(self, str_context);
    PyObject *loop = PyObject_GetAttr(self, str_loop);
    PyErr_Clear();
    Py_DECREF(callback);
    sched_actor actor = *actor_of(self);
    if (of)
        actor = (sched_actor){sched_id_of(of), PERF_ACTOR_TASK};
    else if (!actor.id) /* a handle of the selector's runs again and again */
        actor = (sched_actor){perf_event_new_id(), PERF_ACTOR_IO};
    sched_emit_in(context, PERF_EVENT_RUN, actor.kind, actor.id,
                  loop ? sched_id_of(loop) : 0);

    PyObject *result = PyObject_CallOneArg(run, self);

    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    if (sched_session != session)
        ;
    else if (of)
        leave_task(of, actor.id, context);
    else
        sched_emit_in(context, PERF_EVENT_END, 0, actor.id, 0);
    Py_XDECREF(of);
    Py_XDECREF(context);
    Py_XDECREF(loop);
    PyErr_Restore(type, value, trace);
    return result;
}

/* ---- futures and tasks ---- */

static PyObject *
future_set_result(PyObject *self, PyObject *result)
{
    sched_emit(PERF_EVENT_RESOLVE, 0, sched_id_of(self), 0);
    return call_with_self(set_result, self, &result, 1, NULL);
}

static PyObject *
future_set_exception(PyObject *self, PyObject *error)
{
    sched_emit(PERF_EVENT_RESOLVE, 0, sched_id_of(self), 0);
    return call_with_self(set_exception, self, &error, 1, NULL);
}

static PyObject *
future_cancel(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
              PyObject *kwnames)
{
    if (sched_session && !is_true(self, str_done))
        sched_emit(PERF_EVENT_RESOLVE, 0, sched_id_of(self), 0);
    return call_with_self(cancel_future, self, args, nargs, kwnames);
}

static PyObject *
task_cancel(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
            PyObject *kwnames)
{
    if (sched_session && !is_true(self, str_done))
        sched_emit(PERF_EVENT_CANCEL, 0, sched_id_of(self), 0);
    return call_with_self(cancel_task, self, args, nargs, kwnames);
}

static PyObject *
future_await(PyObject *self)
{
    sched_emit(PERF_EVENT_AWAIT, 0, sched_id_of(self), 0);
    return future.base->tp_as_async->am_await(self);
}

static PyObject *
future_iter(PyObject *self)
{
    sched_emit(PERF_EVENT_AWAIT, 0, sched_id_of(self), 0);
    return future.base->tp_iter(self);
}

/* An eager task (Python 3.12) makes its first step inside of this, without a
 * handle, when its loop runs. */
static int
task_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    uint32_t session = sched_session;
    PyObject *eager =
        kwargs ? PyDict_GetItemString(kwargs, "eager_start") : NULL;
    PyObject *loop = kwargs ? PyDict_GetItemString(kwargs, "loop") : NULL;
    uint64_t id = 0;
    if (session && eager && PyObject_IsTrue(eager) > 0 && loop &&
        is_true(loop, str_is_running)) {
        id = sched_id_of(self);
        sched_emit(PERF_EVENT_SPAWN, 0, id, 0);
        sched_emit(PERF_EVENT_RUN, PERF_ACTOR_TASK, id, sched_id_of(loop));
    }
    int failed = task.base->tp_init(self, args, kwargs);
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    if (id && sched_session == session)
        leave_task(self, id, NULL);
    PyErr_Restore(type, value, trace);
    return failed;
}

/* ---- making the types ---- */

#define FAST(f) (PyCFunction)(void (*)(void)) f, METH_FASTCALL | METH_KEYWORDS

static PyMethodDef handle_methods[] = {{"_run", handle_run, METH_NOARGS, NULL},
                                       {NULL, NULL, 0, NULL}};
static PyMethodDef future_methods[] = {
    {"set_result", future_set_result, METH_O, NULL},
    {"set_exception", future_set_exception, METH_O, NULL},
    {"cancel", FAST(future_cancel), NULL},
    {NULL, NULL, 0, NULL}};
static PyMethodDef task_methods[] = {{"cancel", FAST(task_cancel), NULL},
                                     {NULL, NULL, 0, NULL}};
static PyMethodDef loop_methods[] = {
    {"call_soon", FAST(loop_call_soon), NULL},
    {"call_soon_threadsafe", FAST(loop_call_soon_threadsafe), NULL},
    {"call_at", FAST(loop_call_at), NULL},
    {NULL, NULL, 0, NULL}};

static PyType_Slot handle_slots[] = {{Py_tp_new, (void *)(uintptr_t)handle_new},
                                     {Py_tp_methods, handle_methods},
                                     {0, NULL}};
static PyType_Slot future_slots[] = {
    {Py_tp_methods, future_methods},
    {Py_am_await, (void *)(uintptr_t)future_await},
    {Py_tp_iter, (void *)(uintptr_t)future_iter},
    {0, NULL}};
static PyType_Slot task_slots[] = {
    {Py_tp_init, (void *)(uintptr_t)task_init},
    {Py_tp_methods, task_methods},
    {Py_am_await, (void *)(uintptr_t)future_await},
    {Py_tp_iter, (void *)(uintptr_t)future_iter},
    {0, NULL}};

/* What is added holds no objects, so the garbage collector need not know. */
static int
extend(extension *e, PyObject *base, const char *name, PyType_Slot *slots,
       size_t bytes)
{
    e->base = (PyTypeObject *)Py_NewRef(base);
    e->offset = (e->base->tp_basicsize + 7) & ~(Py_ssize_t)7;
    PyType_Spec spec = {
        .name = name,
        .basicsize = (int)(e->offset + (Py_ssize_t)bytes),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
        .slots = slots,
    };
    e->type = (PyTypeObject *)PyType_FromSpecWithBases(&spec, base);
    return e->type ? 0 : -1;
}

static int
name_things(void)
{
    str_callback = PyUnicode_InternFromString("_callback");
    str_context = PyUnicode_InternFromString("_context");
    str_loop = PyUnicode_InternFromString("_loop");
    str_fut_waiter = PyUnicode_InternFromString("_fut_waiter");
    str_done = PyUnicode_InternFromString("done");
    str_self = PyUnicode_InternFromString("__self__");
    str_qualname = PyUnicode_InternFromString("__qualname__");
    str_is_running = PyUnicode_InternFromString("is_running");
    PyObject *names = Py_BuildValue(
        "(ssssss)", "_release_waiter", "Timeout._on_timeout", "Task.cancel",
        "as_completed.<locals>._on_timeout",
        "_AsCompletedIterator._handle_timeout", "CancelScope._timeout");
    limits = names ? PyFrozenSet_New(names) : NULL;
    Py_XDECREF(names);
    return limits && str_callback && str_context && str_loop &&
                   str_fut_waiter && str_done && str_self && str_qualname &&
                   str_is_running
               ? 0
               : -1;
}

/* Once in a process: handles of old sessions may still be waiting. */
PyObject *
sched_loop_types(PyObject *module, PyObject *args)
{
    PyObject *from[4];
    if (!PyArg_ParseTuple(args, "O!O!O!O!", &PyType_Type, &from[0],
                          &PyType_Type, &from[1], &PyType_Type, &from[2],
                          &PyType_Type, &from[3]))
        return NULL;
    if (!handle.type) {
        run = PyObject_GetAttrString(from[0], "_run");
        set_result = PyObject_GetAttrString(from[2], "set_result");
        set_exception = PyObject_GetAttrString(from[2], "set_exception");
        cancel_future = PyObject_GetAttrString(from[2], "cancel");
        cancel_task = PyObject_GetAttrString(from[3], "cancel");
        if (!run || !set_result || !set_exception || !cancel_future ||
            !cancel_task || name_things() < 0 ||
            extend(&timer, from[1], "libperf._scheduler.TimerHandle",
                   handle_slots, sizeof(sched_actor)) < 0 ||
            extend(&future, from[2], "libperf._scheduler.Future", future_slots,
                   sizeof(uint64_t)) < 0 ||
            extend(&task, from[3], "libperf._scheduler.Task", task_slots,
                   sizeof(uint64_t)) < 0 ||
            extend(&handle, from[0], "libperf._scheduler.Handle", handle_slots,
                   sizeof(sched_actor)) < 0)
            return NULL;
    }
    return Py_BuildValue("(OOOO)", handle.type, timer.type, future.type,
                         task.type);
}

/* Anew each time: somebody else may have replaced the loop's own meanwhile. */
PyObject *
sched_loop_methods(PyObject *module, PyObject *loop_class)
{
    PyObject **originals[] = {&call_soon, &call_soon_threadsafe, &call_at};
    PyObject *methods = PyDict_New();
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
