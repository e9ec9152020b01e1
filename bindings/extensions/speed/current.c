/* current.c - which span is current, and in which task we are. */
#include "speed.h"

/* What a profiler replaces: see libperf.context.switch_current(). */
typedef struct hooks {
    PyObject_HEAD PyObject *switch_current; /* NULL: nobody profiles */
} hooks;

static hooks *profiler;
static PyObject *str_asyncio, *str_running_loop, *str_current_task;

/* ---- the variable ---- */

PyObject *
speed_current(void)
{
    PyObject *found = NULL;
    if (PyContextVar_Get(speed_known_here.variable, speed_no_span, &found) < 0)
        PyErr_Clear();
    if (!found || !speed_is_handle(found))
        Py_XSETREF(found, Py_NewRef(speed_no_span));
    return found;
}

void
speed_set_current(PyObject *handle)
{
    PyObject *token = PyContextVar_Set(speed_known_here.variable, handle);
    if (!token) { /* a wrong span would stay current: worth another try */
        PyErr_Clear();
        token = PyContextVar_Set(speed_known_here.variable, handle);
    }
    if (!token)
        PyErr_Clear();
    Py_XDECREF(token);
}

/* Whoever profiles is told when it is another one. */
static void
switch_current(PyObject *handle)
{
    PyObject *told = profiler->switch_current;
    if (told && told != Py_None) {
        Py_INCREF(told);
        PyObject *done = PyObject_CallOneArg(told, handle);
        Py_DECREF(told);
        if (done) {
            Py_DECREF(done);
            return;
        }
        PyErr_Clear();
    }
    speed_set_current(handle);
}

void
speed_make_current(PyObject *handle, speed_before *before)
{
    before->variables = speed_variables();
    before->token = PyContextVar_Set(speed_known_here.variable, handle);
    if (before->token)
        before->set = speed_variables();
    else
        PyErr_Clear();
}

static void
forget(speed_before *before)
{
    Py_CLEAR(before->set);
    Py_CLEAR(before->variables);
    Py_CLEAR(before->token);
    Py_CLEAR(before->handle);
}

/* If another variable was set meanwhile, a token spares the search for what is
 * there, and another token. Where the context is another one after all, or the
 * token was used up, the value is put back. */
void
speed_put_back(speed_before *before)
{
    bool done = before->variables && before->set &&
                speed_put_variables_back(before->set, before->variables,
                                         before->handle);
    if (!done &&
        (!before->token ||
         PyContextVar_Reset(speed_known_here.variable, before->token) < 0)) {
        PyErr_Clear();
        speed_set_current(before->handle);
    }
    forget(before);
}

static bool
is_profiled(void)
{
    PyObject *told = profiler->switch_current;
    return told && told != Py_None;
}

/* Where the context's variables are those that they were before the last
 * resume, the ones of inside it fit as well: nothing has to be made. */
void
speed_switch_to(PyObject *handle, speed_before *before, speed_tables *kept)
{
    before->token = before->variables = before->set = NULL;
    if (__builtin_expect(is_profiled(), 0)) {
        switch_current(handle);
    } else if (kept->inside &&
               speed_put_variables_back(kept->outside, kept->inside, handle)) {
        before->variables = Py_NewRef(kept->outside);
        before->set = Py_NewRef(kept->inside);
    } else {
        speed_make_current(handle, before);
    }
}

static void
keep(speed_tables *kept, PyObject *outside, PyObject *inside)
{
    Py_XSETREF(kept->outside, Py_XNewRef(outside));
    Py_XSETREF(kept->inside, Py_XNewRef(inside));
}

void
speed_switch_back(speed_before *before, bool changed, speed_tables *kept)
{
    if (__builtin_expect(is_profiled(), 0)) {
        switch_current(before->handle);
        keep(kept, NULL, NULL);
        forget(before);
        return;
    }
    if (changed || !before->set || !before->variables)
        keep(kept, NULL, NULL);
    else if (before->set != kept->inside || before->variables != kept->outside)
        keep(kept, before->variables, before->set);
    speed_put_back(before);
}

/* ---- the task ---- */

/* A function of asyncio's, as it is there now; not while it is imported. */
static PyObject *
of_asyncio(PyObject *asyncio, PyObject *name)
{
    PyObject *names =
        PyModule_Check(asyncio) ? PyModule_GetDict(asyncio) : NULL;
    return names ? PyDict_GetItemWithError(names, name) : NULL;
}

static PyObject *
running_task(void)
{
    PyObject *modules = PyImport_GetModuleDict();
    PyObject *asyncio = PyDict_Check(modules)
                            ? PyDict_GetItemWithError(modules, str_asyncio)
                            : NULL;
    if (!asyncio)
        return NULL;
    PyObject *loop_of = of_asyncio(asyncio, str_running_loop);
    PyObject *task_of = of_asyncio(asyncio, str_current_task);
    if (!loop_of || !task_of)
        return NULL;
    Py_INCREF(task_of);
    PyObject *loop = PyObject_CallNoArgs(loop_of), *task = NULL;
    if (loop && loop != Py_None)
        task = PyObject_CallOneArg(task_of, loop);
    Py_XDECREF(loop);
    Py_DECREF(task_of);
    return task;
}

uint32_t
speed_task(void)
{
    PyObject *task = running_task();
    uint32_t number = 0;
    if (!task && PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_Exception))
        PyErr_Clear(); /* no asyncio that we know */
    else if (task && task != Py_None)
        number = (uint32_t)((uintptr_t)task >> 4);
    Py_XDECREF(task);
    return number;
}

PyObject *
speed_begin_in_task(uint32_t number, PyObject *parent)
{
    const perf_span *of = speed_span_of(parent);
    uint32_t task = speed_task();
    if (__builtin_expect(PyErr_Occurred() != NULL, 0))
        return NULL;
    perf_span span =
        task ? perf_span_begin_at(number, *of, task, perf_clock_ticks())
             : perf_span_begin(number, *of);
    PyObject *made = speed_handle_of(&span);
    if (!made)
        perf_span_end(span);
    return made;
}

/* ---- hooks ---- */

static PyMemberDef hooks_members[] = {
    {"switch_current", T_OBJECT, offsetof(hooks, switch_current), 0, NULL},
    {NULL, 0, 0, 0, NULL}};

static PyTypeObject hooks_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "libperf._speed.Hooks",
    .tp_basicsize = sizeof(hooks),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_members = hooks_members,
};

PyObject *
speed_hooks(void)
{
    return (PyObject *)profiler;
}

bool
speed_current_ready(void)
{
    if (profiler)
        return true;
    if (PyType_Ready(&hooks_type) < 0 ||
        !(str_asyncio = PyUnicode_InternFromString("asyncio")) ||
        !(str_running_loop = PyUnicode_InternFromString("_get_running_loop")) ||
        !(str_current_task = PyUnicode_InternFromString("current_task")))
        return false;
    profiler = PyObject_New(hooks, &hooks_type);
    if (profiler)
        profiler->switch_current = NULL;
    return profiler != NULL;
}
