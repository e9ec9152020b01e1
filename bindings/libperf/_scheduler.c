/* _scheduler.c - the module libperf._scheduler: writes what schedulers do into
 * the segment, fast enough to stand in asyncio's way. */
#include "_scheduler.h"

uint32_t sched_session;
_Thread_local sched_actor sched_next;

static uint32_t newest_session;
static unsigned long main_thread; /* Python's number of it */
static PyObject *current_span;    /* libperf.context: the context variable */
static PyObject *no_span;         /* and its default */
static PyObject *kept;            /* address -> (object, id) */
static PyObject *str_id, *str_libperf_id;

/* What a thread knows about itself. */
static _Thread_local struct {
    uint32_t session;    /* in which it has said that it is there */
    uint32_t brackets;   /* open waits: only the outermost is written */
    uint32_t imports;    /* and imports */
    uint64_t label;      /* the span of who started it; for want of its own */
    uint64_t await_key;  /* the last event was AWAIT: of what; else 0 */
    uint64_t await_span; /* and under which span */
} here;

/* ---- spans ---- */

/* Without a cache: the same handle may hold another span the next time. */
static uint64_t
span_of(PyObject *handle)
{
    if (handle == no_span)
        return 0;
    PyObject *number = PyObject_GetAttr(handle, str_id);
    uint64_t id = number ? PyLong_AsUnsignedLongLongMask(number) : 0;
    Py_XDECREF(number);
    return id;
}

static uint64_t
span_here(void)
{
    PyObject *handle = NULL;
    uint64_t id = 0;
    if (PyContextVar_Get(current_span, NULL, &handle) == 0 && handle)
        id = span_of(handle);
    Py_XDECREF(handle);
    PyErr_Clear();
    return id;
}

/* A context that is entered already belongs to who calls: it has no span of
 * its own to tell. */
static uint64_t
span_in(PyObject *context)
{
    if (!context || PyContext_Enter(context) < 0) {
        PyErr_Clear();
        return span_here();
    }
    uint64_t id = span_here();
    PyContext_Exit(context);
    return id;
}

/* ---- events ---- */

static void
say_thread(uint64_t actor)
{
    here.session = sched_session;
    perf_event_write(PERF_EVENT_THREAD,
                     PyThread_get_thread_ident() == main_thread
                         ? PERF_ACTOR_MAIN
                         : PERF_ACTOR_THREAD,
                     here.label, actor, sched_session);
}

static void
write_event(perf_event_code code, uint32_t arg, uint64_t span, uint64_t key,
            uint64_t more)
{
    if (here.session != sched_session)
        say_thread(perf_event_new_id());
    /* A coroutine that is suspended has put back what was current before it:
     * under which span it waits, only its AWAIT knows. */
    if (code == PERF_EVENT_SUSPEND && key && key == here.await_key)
        span = here.await_span;
    if (!span)
        span = here.label;
    perf_event_write(code, arg, span, key, more);
    if (code == PERF_EVENT_AWAIT) {
        here.await_key = key;
        here.await_span = span;
    } else if (code != PERF_EVENT_LABEL) {
        here.await_key = 0;
    }
}

void
sched_emit(perf_event_code code, uint32_t arg, uint64_t key, uint64_t more)
{
    if (sched_session)
        write_event(code, arg, span_here(), key, more);
}

void
sched_emit_in(PyObject *context, perf_event_code code, uint32_t arg,
              uint64_t key, uint64_t more)
{
    if (sched_session)
        write_event(code, arg, span_in(context), key, more);
}

/* ---- ids ---- */

/* Kept alive, so that nothing else gets its address. */
static uint64_t
id_of_kept(PyObject *object)
{
    uint64_t id = 0;
    PyObject *address = PyLong_FromVoidPtr(object);
    PyObject *entry = address ? PyDict_GetItem(kept, address) : NULL;
    if (entry) {
        id = PyLong_AsUnsignedLongLongMask(PyTuple_GET_ITEM(entry, 1));
    } else if (address) {
        id = perf_event_new_id();
        entry = Py_BuildValue("(OK)", object, (unsigned long long)id);
        if (entry)
            PyDict_SetItem(kept, address, entry);
        Py_XDECREF(entry);
    }
    Py_XDECREF(address);
    PyErr_Clear();
    return id;
}

/* The attribute as it lies in the object, whatever its class says about
 * attributes; 0: none. */
static uint64_t
id_inside(PyObject *object)
{
    if (PyType_Check(object))
        return 0;
    PyObject *value = PyObject_GenericGetAttr(object, str_libperf_id);
    uint64_t id = 0;
    if (value && PyLong_CheckExact(value))
        id = PyLong_AsUnsignedLongLongMask(value);
    Py_XDECREF(value);
    PyErr_Clear();
    return id;
}

uint64_t
sched_id_of(PyObject *object)
{
    uint64_t *own = sched_own_id(object);
    if (own)
        return *own ? *own : (*own = perf_event_new_id());
    uint64_t id = id_inside(object);
    if (id)
        return id;
    if (PyType_Check(object))
        return id_of_kept(object);
    id = perf_event_new_id();
    PyObject *number = PyLong_FromUnsignedLongLong(id);
    int failed =
        !number || PyObject_GenericSetAttr(object, str_libperf_id, number) < 0;
    Py_XDECREF(number);
    PyErr_Clear();
    return failed ? id_of_kept(object) : id;
}

bool
sched_has_id(PyObject *object)
{
    uint64_t *own = sched_own_id(object);
    return own ? *own != 0 : id_inside(object) != 0;
}

/* ---- the module's functions ---- */

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
    main_thread = ident;
    sched_session = ident ? ++newest_session : 0;
    if (!ident)
        PyDict_Clear(kept);
    if (ident)
        say_thread(perf_event_new_id());
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
    here.label = number_at(args, nargs, 1);
    if (PyErr_Occurred())
        return NULL;
    if (sched_session)
        say_thread(actor);
    Py_RETURN_NONE;
}

static PyObject *
py_set_label(PyObject *module, PyObject *span)
{
    uint64_t before = here.label;
    here.label = PyLong_AsUnsignedLongLongMask(span);
    if (PyErr_Occurred())
        return NULL;
    return PyLong_FromUnsignedLongLong(before);
}

static PyObject *
py_span(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    uint64_t id = span_here();
    return PyLong_FromUnsignedLongLong(id ? id : here.label);
}

static PyObject *
py_enter(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(here.brackets++ == 0);
}

static PyObject *
py_leave(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    here.brackets--;
    Py_RETURN_NONE;
}

static PyObject *
py_inside(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(here.brackets != 0);
}

static PyObject *
py_enter_import(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(here.imports++ == 0);
}

static PyObject *
py_leave_import(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    here.imports--;
    Py_RETURN_NONE;
}

/* A builtin, as time.sleep is: as an attribute of a class it must not become a
 * method. `self` is the original. */
static PyObject *
watched_sleep(PyObject *self, PyObject *seconds)
{
    double s = PyFloat_AsDouble(seconds);
    PyErr_Clear(); /* the original will complain */
    bool outermost = here.brackets++ == 0;
    if (outermost)
        sched_emit(PERF_EVENT_SLEEP, 0, 0, s > 0 ? (uint64_t)(s * 1e9) : 0);
    PyObject *result = PyObject_CallOneArg(self, seconds);
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    here.brackets--;
    if (outermost)
        sched_emit(PERF_EVENT_SLEPT, 0, 0, 0);
    PyErr_Restore(type, value, trace);
    return result;
}

static PyMethodDef sleep_definition = {"sleep", watched_sleep, METH_O, NULL};

static PyObject *
py_watch_sleep(PyObject *module, PyObject *original)
{
    return PyCFunction_New(&sleep_definition, original);
}

static PyObject *
py_set_current(PyObject *module, PyObject *handle)
{
    PyObject *before = NULL;
    if (sched_session && PyContextVar_Get(current_span, NULL, &before) == 0 &&
        before != handle)
        write_event(PERF_EVENT_LABEL, 0, span_of(before), 0, 0);
    Py_XDECREF(before);
    PyObject *token = PyContextVar_Set(current_span, handle);
    if (!token)
        return NULL;
    Py_DECREF(token);
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
    {"span", py_span, METH_NOARGS, "The id of the current span, or label."},
    {"enter", py_enter, METH_NOARGS,
     "Open a bracket of this thread; is it the outermost?"},
    {"leave", py_leave, METH_NOARGS, "Close it."},
    {"inside", py_inside, METH_NOARGS, "Is one open?"},
    {"enter_import", py_enter_import, METH_NOARGS, "The same for imports."},
    {"leave_import", py_leave_import, METH_NOARGS, NULL},
    {"watch_sleep", py_watch_sleep, METH_O,
     "A function that sleeps by the given one, and says so."},
    {"set_current", py_set_current, METH_O,
     "libperf.context.set_current(), and the event that says so."},
    {"loop_types", sched_loop_types, METH_VARARGS,
     "loop_types(Handle, TimerHandle, Future, Task): ours, that extend them."},
    {"loop_methods", sched_loop_methods, METH_O,
     "Our methods for BaseEventLoop, by name."},
    {NULL, NULL, 0, NULL}};

static int
fill(PyObject *module)
{
    PyObject *context = PyImport_ImportModule("libperf.context");
    if (!context)
        return -1;
    current_span = PyObject_GetAttrString(context, "_current");
    no_span = PyObject_GetAttrString(context, "NO_SPAN");
    Py_DECREF(context);
    kept = PyDict_New();
    str_id = PyUnicode_InternFromString("id");
    str_libperf_id = PyUnicode_InternFromString("_libperf_id");
    return current_span && no_span && kept && str_id && str_libperf_id ? 0 : -1;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)(uintptr_t)fill},
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
