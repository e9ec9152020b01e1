/* post.c - callbacks in event loops. A batch makes one handle in a
 * loop, not one for each item: a loop's call_soon() and its handles are Python,
 * and cost more than all else on an item's way. The loop would have run those
 * handles one after the other; so does this.
 * Where handles are looked at, each callback has its own: by a loop in debug
 * mode, and by whoever has put a type of his own in the place of asyncio's, as
 * the profiler does. */
#include "batcher.h"

static PyObject *events; /* the namespace of asyncio.events */
static PyObject *str_handle, *str_get_debug, *str_call_exception_handler;

enum { FIRST = 1, STEP = 3 }; /* of [loop, function, future, context, …] */

/** Does somebody look at handles? */
static bool
is_watched(PyObject *loop)
{
    PyObject *type = PyDict_GetItemWithError(events, str_handle);
    if (!type || !PyType_Check(type) ||
        ((PyTypeObject *)type)->tp_base != &PyBaseObject_Type)
        return true;
    PyObject *debug = PyObject_CallMethodNoArgs(loop, str_get_debug);
    int is_true = debug ? PyObject_IsTrue(debug) : 0;
    Py_XDECREF(debug);
    if (!debug || is_true < 0)
        PyErr_Clear();
    return is_true;
}

/* ---- calling ---- */

/** A handle for each. */
static void
call_soon_each(PyObject *list)
{
    for (Py_ssize_t i = FIRST; i + STEP <= PyList_GET_SIZE(list); i += STEP) {
        PyObject *args[] = {PyList_GET_ITEM(list, 0), PyList_GET_ITEM(list, i),
                            PyList_GET_ITEM(list, i + 1),
                            PyList_GET_ITEM(list, i + 2)};
        PyObject *handle = PyObject_VectorcallMethod(bat_str_call_soon, args, 3,
                                                     bat_names_context);
        if (!handle)
            PyErr_WriteUnraisable(args[1]);
        Py_XDECREF(handle);
    }
}

/** A callback has raised: as asyncio's handles have it. */
static void
say_failed(PyObject *loop, PyObject *function, PyObject *it)
{
    PyObject *error = bat_caught();
    PyObject *text = PyUnicode_FromFormat("Exception in callback %R", function);
    PyObject *told = text ? Py_BuildValue("{sOsOsO}", "message", text,
                                          "exception", error, "future", it)
                          : NULL;
    PyObject *said =
        told ? PyObject_CallMethodOneArg(loop, str_call_exception_handler, told)
             : NULL;
    if (!said)
        PyErr_WriteUnraisable(function);
    Py_XDECREF(said);
    Py_XDECREF(told);
    Py_XDECREF(text);
    Py_XDECREF(error);
}

/** 0; -1: an exception that is to end the loop. */
static int
call_one(PyObject *loop, PyObject *function, PyObject *it, PyObject *context)
{
    PyObject *result = NULL;
    if (!PyContext_Enter(context)) {
        result = PyObject_CallOneArg(function, it);
        PyObject *type, *value, *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        PyContext_Exit(context);
        PyErr_Restore(type, value, traceback);
    }
    Py_XDECREF(result);
    if (result)
        return 0;
    if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) ||
        PyErr_ExceptionMatches(PyExc_SystemExit))
        return -1;
    say_failed(loop, function, it);
    return 0;
}

static PyObject *deliver(PyObject *list, PyObject *unused);
static PyMethodDef deliver_def = {"deliver", deliver, METH_NOARGS, NULL};

/** Ask a loop to call what is in the list: in its thread, or in another one.
 *  In an empty context: that of here may hold the batch. */
static PyObject *
ask(PyObject *list, PyObject *how)
{
    PyObject *function = PyCFunction_New(&deliver_def, list);
    PyObject *context = function ? PyContext_New() : NULL;
    PyObject *args[] = {PyList_GET_ITEM(list, 0), function, context};
    PyObject *handle =
        context ? PyObject_VectorcallMethod(how, args, 2, bat_names_context)
                : NULL;
    Py_XDECREF(context);
    Py_XDECREF(function);
    return handle;
}

/** The loop will end; should it run again, the rest is called then. */
static void
leave_rest(PyObject *list, Py_ssize_t from)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *handle = NULL;
    if (!PyList_SetSlice(list, FIRST, from, NULL))
        handle = ask(list, bat_str_call_soon);
    if (!handle)
        PyErr_WriteUnraisable(list);
    Py_XDECREF(handle);
    PyErr_Restore(type, value, traceback);
}

/** In the thread of the loop that list[0] is. */
static PyObject *
deliver(PyObject *list, PyObject *unused)
{
    (void)unused;
    PyObject *loop = PyList_GET_ITEM(list, 0);
    if (is_watched(loop)) {
        call_soon_each(list);
        Py_RETURN_NONE;
    }
    for (Py_ssize_t i = FIRST; i + STEP <= PyList_GET_SIZE(list); i += STEP) {
        PyObject *call[STEP];
        for (int k = 0; k < STEP; k++) { /* it may be let go of once called */
            call[k] = PyList_GET_ITEM(list, i + k);
            PyList_SET_ITEM(list, i + k, Py_NewRef(Py_None));
        }
        int err = call_one(loop, call[0], call[1], call[2]);
        if (err)
            leave_rest(list, i + STEP);
        for (int k = 0; k < STEP; k++)
            Py_DECREF(call[k]);
        if (err)
            return NULL;
    }
    Py_RETURN_NONE;
}

/* ---- gathering ---- */

/** The list of a loop, borrowed; NULL: an exception. */
static PyObject *
list_of(bat_post *post, PyObject *loop)
{
    if (post->last && PyList_GET_ITEM(post->last, 0) == loop)
        return post->last;
    if (!post->lists && !(post->lists = PyList_New(0)))
        return NULL;
    for (Py_ssize_t i = PyList_GET_SIZE(post->lists); i--;) {
        PyObject *list = PyList_GET_ITEM(post->lists, i);
        if (PyList_GET_ITEM(list, 0) == loop)
            return post->last = list;
    }
    PyObject *list = PyList_New(1);
    if (!list)
        return NULL;
    PyList_SET_ITEM(list, 0, Py_NewRef(loop));
    int err = PyList_Append(post->lists, list);
    Py_DECREF(list);
    return err ? NULL : (post->last = list);
}

int
bat_gather(bat_post *post, bat_future *it, const bat_call *call)
{
    PyObject *list = list_of(post, call->loop);
    PyObject *parts[STEP] = {call->function, (PyObject *)it, call->context};
    if (!list)
        return -1;
    for (int k = 0; k < STEP; k++)
        if (PyList_Append(list, parts[k])) {
            Py_ssize_t size = PyList_GET_SIZE(list);
            PyList_SetSlice(list, size - k, size, NULL);
            return -1;
        }
    return 0;
}

static void
post_here(PyObject *list)
{
    bool one = PyList_GET_SIZE(list) == FIRST + STEP;
    if (one || is_watched(PyList_GET_ITEM(list, 0))) {
        call_soon_each(list);
        return;
    }
    PyObject *handle = ask(list, bat_str_call_soon);
    if (!handle)
        PyErr_WriteUnraisable(PyList_GET_ITEM(list, 0));
    Py_XDECREF(handle);
}

static void
post_elsewhere(PyObject *list, bat_queue *queue)
{
    PyObject *handle = ask(list, bat_str_call_soon_threadsafe);
    if (!handle && PyErr_ExceptionMatches(PyExc_RuntimeError)) {
        PyErr_Clear(); /* that loop is closed */
        queue->orphaned +=
            (unsigned long long)(PyList_GET_SIZE(list) - FIRST) / STEP;
    } else if (!handle) {
        PyErr_WriteUnraisable(PyList_GET_ITEM(list, 0));
    }
    Py_XDECREF(handle);
}

void
bat_post_end(bat_post *post)
{
    PyObject *lists = post->lists, *loop = post->loop;
    post->lists = post->last = post->loop = NULL;
    post->asked = false;
    for (Py_ssize_t i = 0; lists && i < PyList_GET_SIZE(lists); i++) {
        PyObject *list = PyList_GET_ITEM(lists, i);
        if (PyList_GET_ITEM(list, 0) == loop)
            post_here(list);
        else
            post_elsewhere(list, post->queue);
    }
    Py_XDECREF(lists);
    Py_XDECREF(loop);
}

bool
bat_post_ready(void)
{
    PyObject *module = PyImport_ImportModule("asyncio.events");
    events = module ? Py_XNewRef(PyModule_GetDict(module)) : NULL;
    Py_XDECREF(module);
    str_handle = PyUnicode_InternFromString("Handle");
    str_get_debug = PyUnicode_InternFromString("get_debug");
    str_call_exception_handler =
        PyUnicode_InternFromString("call_exception_handler");
    return events && str_handle && str_get_debug && str_call_exception_handler;
}
