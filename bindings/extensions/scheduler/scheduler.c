/* scheduler.c - the module libperf._scheduler: writes what schedulers do into
 * the segment, fast enough to stand in asyncio's way. */
#include "scheduler.h"

/* A number among positional arguments; 0: not given. */
static uint64_t
number_at(PyObject *const *args, Py_ssize_t nargs, Py_ssize_t i)
{
    return i < nargs ? PyLong_AsUnsignedLongLongMask(args[i]) : 0;
}

static PyObject *
py_emit(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (!sched_session)
        Py_RETURN_NONE;
    uint64_t code = number_at(args, nargs, 0), key = number_at(args, nargs, 1);
    uint64_t more = number_at(args, nargs, 2), arg = number_at(args, nargs, 3);
    if (PyErr_Occurred())
        return NULL;
    sched_emit((perf_event_code)code, (uint32_t)arg, key, more);
    Py_RETURN_NONE;
}

static PyObject *
py_new_id(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromUnsignedLongLong(perf_event_new_id());
}

static PyObject *
py_id_of(PyObject *module, PyObject *object)
{
    return PyLong_FromUnsignedLongLong(sched_id_of(object));
}

static PyObject *
py_switch(PyObject *module, PyObject *thread)
{
    unsigned long ident = PyLong_AsUnsignedLong(thread);
    if (PyErr_Occurred())
        return NULL;
    sched_switch(ident);
    Py_RETURN_NONE;
}

static PyObject *
py_session(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromUnsignedLong(sched_session);
}

static PyObject *
py_begin_thread(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    uint64_t actor = number_at(args, nargs, 0);
    sched_here.label = number_at(args, nargs, 1);
    if (PyErr_Occurred())
        return NULL;
    if (sched_session)
        sched_say_thread(actor);
    Py_RETURN_NONE;
}

static PyObject *
py_set_loop(PyObject *module, PyObject *loop)
{
    uint64_t before = sched_here.loop;
    sched_here.loop = PyLong_AsUnsignedLongLongMask(loop);
    if (PyErr_Occurred())
        return NULL;
    return PyLong_FromUnsignedLongLong(before);
}

static PyObject *
py_set_label(PyObject *module, PyObject *span)
{
    uint64_t before = sched_here.label;
    sched_here.label = PyLong_AsUnsignedLongLongMask(span);
    if (PyErr_Occurred())
        return NULL;
    return PyLong_FromUnsignedLongLong(before);
}

static PyObject *
py_span(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    uint64_t id = sched_span();
    return PyLong_FromUnsignedLongLong(id ? id : sched_here.label);
}

static PyObject *
py_enter(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(sched_here.brackets++ == 0);
}

static PyObject *
py_leave(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    sched_here.brackets--;
    Py_RETURN_NONE;
}

static PyObject *
py_inside(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(sched_here.brackets != 0);
}

static PyObject *
py_enter_import(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(sched_here.imports++ == 0);
}

static PyObject *
py_leave_import(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    sched_here.imports--;
    Py_RETURN_NONE;
}

static PyObject *real_sleep; /* once in a process */

/* A builtin of the module `time`, as time.sleep is: as an attribute of a class
 * it must not become a method, and it is pickled by its name. */
static PyObject *
watched_sleep(PyObject *self, PyObject *seconds)
{
    double s = PyFloat_AsDouble(seconds);
    PyErr_Clear(); /* the original will complain */
    bool outermost = sched_here.brackets++ == 0;
    if (outermost)
        sched_emit(PERF_EVENT_SLEEP, 0, 0, s > 0 ? (uint64_t)(s * 1e9) : 0);
    PyObject *result = PyObject_CallOneArg(real_sleep, seconds);
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    sched_here.brackets--;
    if (outermost)
        sched_emit(PERF_EVENT_SLEPT, 0, 0, 0);
    PyErr_Restore(type, value, trace);
    return result;
}

static PyMethodDef sleep_definition = {"sleep", watched_sleep, METH_O, NULL};

static PyObject *
py_watch_sleep(PyObject *module, PyObject *time)
{
    PyObject *name = PyObject_GetAttrString(time, "__name__");
    PyObject *original = name ? PyObject_GetAttrString(time, "sleep") : NULL;
    if (!original) {
        Py_XDECREF(name);
        return NULL;
    }
    Py_XSETREF(real_sleep, original);
    PyObject *made = PyCFunction_NewEx(&sleep_definition, time, name);
    Py_DECREF(name);
    return made;
}

static PyObject *
py_switch_current(PyObject *module, PyObject *handle)
{
    if (sched_switch_current(handle) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
py_forget_handle(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    sched_forget_handle();
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"emit", (PyCFunction)(void (*)(void))py_emit, METH_FASTCALL,
     "emit(code, key=0, more=0, arg=0): write an event of this thread."},
    {"new_id", py_new_id, METH_NOARGS, "An id never given out before."},
    {"id_of", py_id_of, METH_O, "An object's id, as long as it lives."},
    {"switch", py_switch, METH_O,
     "Begin a session, given the main thread's ident; 0: end it."},
    {"session", py_session, METH_NOARGS, "0: nothing is recorded."},
    {"begin_thread", (PyCFunction)(void (*)(void))py_begin_thread,
     METH_FASTCALL, "begin_thread(actor, label): who this thread is."},
    {"set_label", py_set_label, METH_O,
     "The span of events for want of one; returns what it was."},
    {"set_loop", py_set_loop, METH_O,
     "The id of the loop that this thread runs; returns what it was."},
    {"span", py_span, METH_NOARGS, "The id of the current span, or label."},
    {"enter", py_enter, METH_NOARGS,
     "Open a bracket of this thread; is it the outermost?"},
    {"leave", py_leave, METH_NOARGS, "Close it."},
    {"inside", py_inside, METH_NOARGS, "Is one open?"},
    {"enter_import", py_enter_import, METH_NOARGS, "The same for imports."},
    {"leave_import", py_leave_import, METH_NOARGS, NULL},
    {"watch_sleep", py_watch_sleep, METH_O,
     "The given module's sleep(), which says so."},
    {"forget_handle", py_forget_handle, METH_NOARGS,
     "A handle of a span has been given another."},
    {"switch_current", py_switch_current, METH_O,
     "libperf.context.switch_current(), and the event that says so."},
    {"loop_types", sched_loop_types, METH_VARARGS,
     "loop_types(Handle, TimerHandle, Future, Task): ours, that extend them."},
    {"loop_methods", sched_loop_methods, METH_O,
     "Our methods for BaseEventLoop, by name."},
    {NULL, NULL, 0, NULL}};

static int
execute(PyObject *module)
{
    return sched_prepare();
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)(uintptr_t)execute},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
    {0, NULL}};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "libperf._scheduler",
    .m_doc = "Writes what schedulers do, event by event (event.h).",
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__scheduler(void);

PyMODINIT_FUNC
PyInit__scheduler(void)
{
    return PyModuleDef_Init(&definition);
}
