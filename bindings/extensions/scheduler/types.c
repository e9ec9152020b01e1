/* types.c - asyncio's futures and tasks, extended by the events they
 * mean and an id. */
#include "scheduler.h"

PyTypeObject *sched_plain_future, *sched_plain_task;

static PyTypeObject *handle, *timer, *future, *task;
static Py_ssize_t id_offset; /* behind the last byte of the larger base */

/* asyncio's functions that ours stand in front of. */
static PyObject *set_result, *set_exception, *cancel_future, *cancel_task;

static PyObject *str_fut_waiter, *str_done, *str_self, *str_is_running,
    *str_eager_start, *str_loop;

/* ---- calling on ---- */

PyObject *
sched_call(PyObject *function, PyObject *self, PyObject *const *args,
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

bool
sched_is_done(PyObject *object)
{
    return is_true(object, str_done);
}

uint64_t *
sched_own_id(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    if (type != future && type != task &&
        (!task || !PyType_IsSubtype(type, sched_plain_future) ||
         (!PyType_IsSubtype(type, future) && !PyType_IsSubtype(type, task))))
        return NULL;
    return (uint64_t *)((char *)object + id_offset);
}

/* A task's step and its wake-up are of two types, both private. */
PyObject *
sched_task_of(PyObject *callback)
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

/* ---- futures and tasks ---- */

void
sched_leave_task(PyObject *of, uint64_t id)
{
    PyObject *awaited = PyObject_GetAttr(of, str_fut_waiter);
    PyErr_Clear();
    if (awaited && awaited != Py_None)
        sched_suspend(sched_id_of(awaited));
    else if (sched_is_done(of))
        sched_emit(PERF_EVENT_END, 0, id, 0);
    else
        sched_suspend(0);
    Py_XDECREF(awaited);
}

static PyObject *
future_set_result(PyObject *self, PyObject *result)
{
    sched_emit(PERF_EVENT_RESOLVE, 0, sched_id_of(self), 0);
    return sched_call(set_result, self, &result, 1, NULL);
}

static PyObject *
future_set_exception(PyObject *self, PyObject *error)
{
    sched_emit(PERF_EVENT_RESOLVE, 0, sched_id_of(self), 0);
    return sched_call(set_exception, self, &error, 1, NULL);
}

static PyObject *
future_cancel(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
              PyObject *kwnames)
{
    if (sched_session && !sched_is_done(self))
        sched_emit(PERF_EVENT_RESOLVE, 0, sched_id_of(self), 0);
    return sched_call(cancel_future, self, args, nargs, kwnames);
}

static PyObject *
task_cancel(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
            PyObject *kwnames)
{
    if (sched_session && !sched_is_done(self))
        sched_emit(PERF_EVENT_CANCEL, 0, sched_id_of(self), 0);
    return sched_call(cancel_task, self, args, nargs, kwnames);
}

static PyObject *
future_await(PyObject *self)
{
    sched_emit(PERF_EVENT_AWAIT, 0, sched_id_of(self), 0);
    return sched_plain_future->tp_as_async->am_await(self);
}

static PyObject *
future_iter(PyObject *self)
{
    sched_emit(PERF_EVENT_AWAIT, 0, sched_id_of(self), 0);
    return sched_plain_future->tp_iter(self);
}

/* An eager task (Python 3.12) makes its first step inside of this, without a
 * handle, when its loop runs. */
static int
task_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    uint32_t session = sched_session;
    PyObject *eager = kwargs ? PyDict_GetItem(kwargs, str_eager_start) : NULL;
    PyObject *loop = kwargs ? PyDict_GetItem(kwargs, str_loop) : NULL;
    uint64_t id = 0;
    if (session && eager && PyObject_IsTrue(eager) > 0 && loop &&
        is_true(loop, str_is_running)) {
        id = sched_id_of(self);
        sched_emit(PERF_EVENT_SPAWN, 0, id, 0);
        sched_emit(PERF_EVENT_RUN, PERF_ACTOR_TASK, id, sched_id_of(loop));
    }
    int failed = sched_plain_task->tp_init(self, args, kwargs);
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    if (id && sched_session == session)
        sched_leave_task(self, id);
    PyErr_Restore(type, value, trace);
    return failed;
}

/* ---- making the types ---- */

static PyMethodDef future_methods[] = {
    {"set_result", future_set_result, METH_O, NULL},
    {"set_exception", future_set_exception, METH_O, NULL},
    {"cancel", SCHED_FAST(future_cancel), NULL},
    {NULL, NULL, 0, NULL}};
static PyMethodDef task_methods[] = {{"cancel", SCHED_FAST(task_cancel), NULL},
                                     {NULL, NULL, 0, NULL}};
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

PyTypeObject *
sched_extend(PyObject *base, const char *name, PyType_Slot *slots,
             Py_ssize_t bytes)
{
    PyType_Spec spec = {
        .name = name,
        .basicsize = (int)bytes,
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
        .slots = slots,
    };
    return (PyTypeObject *)PyType_FromSpecWithBases(&spec, base);
}

Py_ssize_t
sched_end_of_larger(PyObject *a, PyObject *b)
{
    Py_ssize_t bytes = Py_MAX(((PyTypeObject *)a)->tp_basicsize,
                              ((PyTypeObject *)b)->tp_basicsize);
    return (bytes + 7) & ~(Py_ssize_t)7;
}

static bool
name_things(void)
{
    return (str_fut_waiter = PyUnicode_InternFromString("_fut_waiter")) &&
           (str_done = PyUnicode_InternFromString("done")) &&
           (str_self = PyUnicode_InternFromString("__self__")) &&
           (str_is_running = PyUnicode_InternFromString("is_running")) &&
           (str_eager_start = PyUnicode_InternFromString("eager_start")) &&
           (str_loop = PyUnicode_InternFromString("loop"));
}

static bool
make_future_types(PyObject *plain_future, PyObject *plain_task)
{
    sched_plain_future = (PyTypeObject *)Py_NewRef(plain_future);
    sched_plain_task = (PyTypeObject *)Py_NewRef(plain_task);
    id_offset = sched_end_of_larger(plain_future, plain_task);
    Py_ssize_t bytes = id_offset + (Py_ssize_t)sizeof(uint64_t);
    return (set_result = PyObject_GetAttrString(plain_future, "set_result")) &&
           (set_exception =
                PyObject_GetAttrString(plain_future, "set_exception")) &&
           (cancel_future = PyObject_GetAttrString(plain_future, "cancel")) &&
           (cancel_task = PyObject_GetAttrString(plain_task, "cancel")) &&
           (future = sched_extend(plain_future, "libperf._scheduler.Future",
                                  future_slots, bytes)) &&
           (task = sched_extend(plain_task, "libperf._scheduler.Task",
                                task_slots, bytes));
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
    if (!handle && (!name_things() || !make_future_types(from[2], from[3]) ||
                    !sched_handle_types(from[0], from[1], &handle, &timer)))
        return NULL;
    return Py_BuildValue("(OOOO)", handle, timer, future, task);
}
