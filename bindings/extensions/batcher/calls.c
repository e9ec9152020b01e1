/* calls.c - callbacks of a future: in which loop, and with what. */
#include "batcher.h"

static bool
is_context(PyObject *name)
{
    return name == PyTuple_GET_ITEM(bat_names_context, 0) ||
           !PyUnicode_CompareWithASCIIString(name, "context");
}

/** add_done_callback(callback, *, context=None): who calls it, and with what.
 *  -1 with an exception; `out` is owned. */
static int
parse_call(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
           bat_call *out)
{
    Py_ssize_t named = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    if (nargs != 1 || named > 1 ||
        (named && !is_context(PyTuple_GET_ITEM(kwnames, 0)))) {
        PyErr_SetString(PyExc_TypeError,
                        "add_done_callback(callback, *, context=None)");
        return -1;
    }
    PyObject *context = named ? args[1] : Py_None;
    if (context != Py_None && !PyContext_CheckExact(context)) {
        PyErr_Format(PyExc_TypeError, "context is %R: it must be a Context",
                     context);
        return -1;
    }
    context = context == Py_None ? PyContext_CopyCurrent() : Py_NewRef(context);
    PyObject *loop = context ? bat_running_loop() : NULL;
    if (!context || (!loop && PyErr_Occurred())) {
        Py_XDECREF(context);
        return -1;
    }
    out->function = Py_NewRef(args[0]);
    out->context = context;
    out->loop = loop ? loop : Py_NewRef(Py_None);
    return 0;
}

static int
append_call(bat_future *self, const bat_call *call)
{
    PyObject *entry =
        PyTuple_Pack(3, call->function, call->context, call->loop);
    if (entry && !self->more)
        self->more = PyList_New(0);
    int err = entry && self->more ? PyList_Append(self->more, entry) : -1;
    Py_XDECREF(entry);
    return err;
}

PyObject *
bat_future_add_done_callback(bat_future *self, PyObject *const *args,
                             Py_ssize_t nargs, PyObject *kwnames)
{
    bat_call call;
    if (parse_call(args, nargs, kwnames, &call))
        return NULL;
    if (self->state == BAT_PENDING && !self->first.function && !self->more) {
        self->first = call;
        Py_RETURN_NONE;
    }
    int err = 0;
    if (self->state == BAT_PENDING) {
        err = append_call(self, &call);
    } else {
        bat_post post = {.queue = self->queue};
        bat_tell_one(&post, self, &call);
        bat_post_end(&post);
    }
    Py_DECREF(call.function);
    Py_DECREF(call.context);
    Py_DECREF(call.loop);
    if (err)
        return NULL;
    Py_RETURN_NONE;
}

/** All but those that equal `callback`, as a new list; NULL: an exception. */
static PyObject *
others_of(PyObject *calls, PyObject *callback)
{
    PyObject *left = PyList_New(0);
    for (Py_ssize_t i = 0; left && i < PyList_GET_SIZE(calls); i++) {
        PyObject *entry = Py_NewRef(PyList_GET_ITEM(calls, i));
        int same = PyObject_RichCompareBool(PyTuple_GET_ITEM(entry, 0),
                                            callback, Py_EQ);
        if (same < 0 || (!same && PyList_Append(left, entry)))
            Py_CLEAR(left);
        Py_DECREF(entry);
    }
    return left;
}

PyObject *
bat_future_remove_done_callback(bat_future *self, PyObject *callback)
{
    Py_ssize_t removed = 0;
    bat_call first = self->first;
    if (first.function) {
        Py_INCREF(first.function);
        int same = PyObject_RichCompareBool(first.function, callback, Py_EQ);
        Py_DECREF(first.function);
        if (same < 0)
            return NULL;
        if (same && self->first.function == first.function) {
            self->first = (bat_call){0};
            Py_DECREF(first.function);
            Py_DECREF(first.context);
            Py_DECREF(first.loop);
            removed++;
        }
    }
    while (self->more) { /* again, if it changed while __eq__ ran */
        PyObject *calls = Py_NewRef(self->more);
        PyObject *left = others_of(calls, callback);
        Py_ssize_t before = PyList_GET_SIZE(calls);
        bool same = self->more == calls;
        Py_DECREF(calls);
        if (!left)
            return NULL;
        if (!same || PyList_GET_SIZE(self->more) != before) {
            Py_DECREF(left);
            continue;
        }
        removed += before - PyList_GET_SIZE(left);
        if (!PyList_GET_SIZE(left))
            Py_CLEAR(left);
        Py_XSETREF(self->more, left);
        break;
    }
    return PyLong_FromSsize_t(removed);
}
