/* batcher.c - the module libperf._batcher: names, the running loop, times and
 * exceptions. _batcher.pyi says what each method does. */
#include "batcher.h"

#include <math.h>
#include <pthread.h>

PyObject *bat_str_call_soon, *bat_str_call_soon_threadsafe;
PyObject *bat_str_time, *bat_str_retry_after;
PyObject *bat_names_context;
PyObject *bat_cancelled_error, *bat_invalid_state, *bat_mapping;

/* ---- the running loop ---- */

/* asyncio's own function asks the kernel for the process's number each time,
 * which costs more than all else in submit(). In 3.11 the loop is kept by an
 * object in the thread's dict, which is replaced when another loop runs: while
 * that object is the same, so is the loop. Where the dict has none, which in
 * a newer Python says nothing, asyncio is asked. */
static PyObject *get_running_loop, *str_holder;
static bool none_without_holder; /* it is asyncio's in C that puts it there */
static PyObject *last_holder, *last_loop; /* loop NULL: none runs */

/* Looking into a dict that is as it was when we looked last would find the
 * same. Each change of any dict has a number of its own. */
#if PY_VERSION_HEX < 0x030C0000
static uint64_t last_version; /* 0: none */

static inline bool
is_as_it_was(PyObject *dict)
{
    return dict && ((PyDictObject *)dict)->ma_version_tag == last_version;
}

static inline void
remember(PyObject *dict)
{
    last_version = dict ? ((PyDictObject *)dict)->ma_version_tag : 0;
}
#else
static inline bool
is_as_it_was(PyObject *dict)
{
    (void)dict;
    return false;
}

static inline void
remember(PyObject *dict)
{
    (void)dict;
}
#endif

void
bat_forget_loop(void)
{
    remember(NULL);
    Py_CLEAR(last_holder);
    Py_CLEAR(last_loop);
}

/* The same object, but in a child no loop runs. */
static void
after_fork(void)
{
    remember(NULL);
    last_holder = NULL;
    last_loop = NULL;
}

PyObject *
bat_running_loop(void)
{
    PyObject *dict = PyThreadState_GetDict();
    if (is_as_it_was(dict))
        return Py_XNewRef(last_loop);
    PyObject *holder = dict ? PyDict_GetItemWithError(dict, str_holder) : NULL;
    if (holder && holder == last_holder) {
        remember(dict);
        return Py_XNewRef(last_loop);
    }
    if (!holder && none_without_holder && dict && !PyErr_Occurred())
        return NULL; /* a thread in which no loop has ever run */
    remember(NULL);
    Py_XINCREF(holder);
    PyObject *loop = PyObject_CallNoArgs(get_running_loop);
    if (loop == Py_None)
        Py_CLEAR(loop);
    if (holder && !PyErr_Occurred()) {
        PyObject *old_holder = last_holder, *old_loop = last_loop;
        last_holder = Py_NewRef(holder);
        last_loop = Py_XNewRef(loop);
        Py_XDECREF(old_holder);
        Py_XDECREF(old_loop);
    }
    Py_XDECREF(holder);
    return loop; /* what was let go of may have changed the dict: it is
                    remembered the next time */
}

/* ---- times ---- */

int
bat_seconds(PyObject *value, const char *name, double *out)
{
    *out = PyFloat_AsDouble(value);
    if (*out == -1.0 && PyErr_Occurred())
        return -1;
    if (*out >= 0)
        return 0;
    PyErr_Format(PyExc_ValueError, "%s is %R: it must be seconds, 0 or more",
                 name, value);
    return -1;
}

uint64_t
bat_nanoseconds(double seconds)
{
    double ns = ceil(seconds * 1e9);
    return ns < 9e18 ? (uint64_t)ns : UINT64_MAX;
}

/* ---- exceptions ---- */

PyObject *
bat_caught(void)
{
    PyObject *type, *value, *traceback;
    if (!PyErr_Occurred())
        PyErr_NoMemory();
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback && PyException_SetTraceback(value, traceback))
        PyErr_Clear();
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return value;
}

static PyObject *
made(PyObject *error, PyObject *message, PyObject *cause)
{
    Py_XDECREF(message);
    if (error && !PyExceptionInstance_Check(error)) {
        PyErr_Format(PyExc_TypeError, "%R is no exception", error);
        Py_CLEAR(error);
    }
    if (!error)
        return bat_caught();
    if (cause)
        PyException_SetCause(error, Py_NewRef(cause));
    return error;
}

PyObject *
bat_error(bat_queue *queue, int kind, PyObject *message, PyObject *cause)
{
    PyObject *error =
        message ? PyObject_CallOneArg(queue->errors[kind], message) : NULL;
    return made(error, message, cause);
}

PyObject *
bat_batch_error(bat_queue *queue, PyObject *message, uint32_t index,
                uint32_t size, PyObject *cause)
{
    PyObject *error =
        message ? PyObject_CallFunction(queue->errors[BAT_BATCH_ERROR], "OII",
                                        message, index, size)
                : NULL;
    return made(error, message, cause);
}

/* ---- the module ---- */

static bool
take_names(void)
{
    PyObject *events = PyImport_ImportModule("asyncio.events");
    PyObject *exceptions = PyImport_ImportModule("asyncio.exceptions");
    PyObject *abc = PyImport_ImportModule("collections.abc");
    if (events && exceptions && abc) {
        get_running_loop = PyObject_GetAttrString(events, "_get_running_loop");
        none_without_holder = get_running_loop &&
                              PyCFunction_Check(get_running_loop) &&
                              PY_VERSION_HEX < 0x030C0000;
        bat_cancelled_error =
            PyObject_GetAttrString(exceptions, "CancelledError");
        bat_invalid_state =
            PyObject_GetAttrString(exceptions, "InvalidStateError");
        bat_mapping = PyObject_GetAttrString(abc, "Mapping");
    }
    Py_XDECREF(events);
    Py_XDECREF(exceptions);
    Py_XDECREF(abc);
    str_holder = PyUnicode_InternFromString("__asyncio_running_event_loop__");
    bat_str_call_soon = PyUnicode_InternFromString("call_soon");
    bat_str_call_soon_threadsafe =
        PyUnicode_InternFromString("call_soon_threadsafe");
    bat_str_time = PyUnicode_InternFromString("time");
    bat_str_retry_after = PyUnicode_InternFromString("retry_after");
    bat_names_context = Py_BuildValue("(N)", PyUnicode_InternFromString("conte"
                                                                        "xt"));
    return get_running_loop && bat_cancelled_error && bat_invalid_state &&
           bat_mapping && str_holder && bat_str_call_soon &&
           bat_str_call_soon_threadsafe && bat_str_time &&
           bat_str_retry_after && bat_names_context;
}

static PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "libperf._batcher",
    .m_doc = "Futures and queues of batches; see _batcher.pyi.",
    .m_size = -1,
};

PyMODINIT_FUNC
PyInit__batcher(void)
{
    PyObject *self = PyModule_Create(&module);
    if (!self || !take_names() || !bat_future_ready() || !bat_await_ready() ||
        !bat_post_ready() || !bat_batch_ready() || !bat_queue_ready() ||
        PyModule_AddObjectRef(self, "BatchFuture",
                              (PyObject *)bat_future_type) ||
        PyModule_AddObjectRef(self, "Batch", (PyObject *)bat_batch_type) ||
        PyModule_AddObjectRef(self, "Queue", (PyObject *)bat_queue_type))
        Py_CLEAR(self);
    else
        pthread_atfork(NULL, NULL, after_fork);
    return self;
}
