/* event.c - writing an event: under which span, and the ids of what
 * it is about. */
#include "scheduler.h"

uint32_t sched_session;
_Thread_local sched_thread sched_here;

static uint32_t newest_session;
static unsigned long main_thread; /* Python's number of it */
static PyObject *current_span;    /* libperf.context: the context variable */
static PyObject *no_span;         /* and its default */
static PyObject *kept;            /* address -> (object, id) */
static PyObject *str_id, *str_libperf_id;

/* ---- spans ---- */

/* The last handle and its span. A handle that is given another span (by
 * libperf.langchain) must be forgotten. */
static PyObject *last_handle;
static uint64_t last_span;

void
sched_forget_handle(void)
{
    Py_CLEAR(last_handle);
}

static uint64_t
span_of(PyObject *handle)
{
    if (handle == no_span)
        return 0;
    if (handle == last_handle)
        return last_span;
    PyObject *number = PyObject_GetAttr(handle, str_id);
    if (!number) {
        PyErr_Clear();
        return 0;
    }
    last_span = PyLong_AsUnsignedLongLongMask(number);
    Py_DECREF(number);
    Py_XSETREF(last_handle, Py_NewRef(handle));
    return last_span;
}

uint64_t
sched_span(void)
{
    PyObject *handle = NULL;
    if (PyContextVar_Get(current_span, NULL, &handle) < 0 || !handle) {
        PyErr_Clear();
        return 0;
    }
    uint64_t id = span_of(handle);
    Py_DECREF(handle);
    return id;
}

/* ---- events ---- */

void
sched_say_thread(uint64_t actor)
{
    sched_here.session = sched_session;
    perf_event_write(PERF_EVENT_THREAD,
                     PyThread_get_thread_ident() == main_thread
                         ? PERF_ACTOR_MAIN
                         : PERF_ACTOR_THREAD,
                     sched_here.label, actor, sched_session);
}

static void
write_event(perf_event_code code, uint32_t arg, uint64_t span, uint64_t key,
            uint64_t more)
{
    if (sched_here.session != sched_session)
        sched_say_thread(perf_event_new_id());
    if (!span)
        span = sched_here.label;
    perf_event_write(code, arg, span, key, more);
    if (code == PERF_EVENT_AWAIT) {
        sched_here.await_key = key;
        sched_here.await_span = span;
    } else if (code != PERF_EVENT_LABEL) {
        sched_here.await_key = 0;
    }
}

void
sched_emit(perf_event_code code, uint32_t arg, uint64_t key, uint64_t more)
{
    if (sched_session)
        write_event(code, arg, sched_span(), key, more);
}

/* A coroutine that is suspended has put back what was current before it: under
 * which span it waits, only its AWAIT knows. */
void
sched_suspend(uint64_t key)
{
    if (!sched_session)
        return;
    bool awaits = key && key == sched_here.await_key;
    write_event(PERF_EVENT_SUSPEND, 0,
                awaits ? sched_here.await_span : sched_span(), key, 0);
}

int
sched_switch_current(PyObject *handle)
{
    PyObject *before = NULL;
    if (sched_session && PyContextVar_Get(current_span, NULL, &before) == 0 &&
        before != handle)
        write_event(PERF_EVENT_LABEL, 0, span_of(before), 0, 0);
    Py_XDECREF(before);
    PyObject *token = PyContextVar_Set(current_span, handle);
    Py_XDECREF(token);
    return token ? 0 : -1;
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
    if (!value) {
        PyErr_Clear();
        return 0;
    }
    uint64_t id =
        PyLong_CheckExact(value) ? PyLong_AsUnsignedLongLongMask(value) : 0;
    Py_DECREF(value);
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

/* ---- sessions ---- */

void
sched_switch(unsigned long main_thread_ident)
{
    main_thread = main_thread_ident;
    sched_session = main_thread ? ++newest_session : 0;
    if (!sched_session) {
        PyDict_Clear(kept);
        sched_forget_handle();
    }
}

int
sched_prepare(void)
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
