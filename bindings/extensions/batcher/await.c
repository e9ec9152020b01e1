/* await.c - `await future`, as asyncio's own futures do it: the future
 * itself is yielded to the task, which asks to be told when it is done. */
#include "batcher.h"

static PyTypeObject *steps_type;

typedef struct steps {
    PyObject_HEAD bat_future *future; /* NULL: over */
} steps;

enum { STEPS_KEPT = 128 };
static steps *steps_kept[STEPS_KEPT];
static int steps_count;

PyObject *
bat_future_await(bat_future *self)
{
    steps *it;
    if (steps_count) {
        it = steps_kept[--steps_count];
        PyObject_Init((PyObject *)it, steps_type);
    } else if (!(it = PyObject_GC_New(steps, steps_type))) {
        return NULL;
    }
    it->future = (bat_future *)Py_NewRef(self);
    PyObject_GC_Track(it);
    return (PyObject *)it;
}

static PySendResult
steps_send(steps *self, PyObject *value, PyObject **out)
{
    (void)value;
    bat_future *it = self->future;
    *out = NULL;
    if (!it)
        return PYGEN_ERROR;
    if (it->state == BAT_PENDING) {
        if (it->blocking) {
            PyErr_SetString(PyExc_RuntimeError,
                            "await wasn't used with future");
            return PYGEN_ERROR;
        }
        it->blocking = true;
        *out = Py_NewRef(it);
        return PYGEN_NEXT;
    }
    self->future = NULL;
    *out = bat_outcome(it);
    Py_DECREF(it);
    return *out ? PYGEN_RETURN : PYGEN_ERROR;
}

/** As generators do it: a result is a StopIteration. */
static PyObject *
steps_next(steps *self)
{
    PyObject *out;
    if (steps_send(self, Py_None, &out) != PYGEN_RETURN)
        return out;
    if (out == Py_None) {
        Py_DECREF(out);
        return NULL;
    }
    PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, out);
    Py_DECREF(out);
    if (stop)
        PyErr_SetObject(PyExc_StopIteration, stop);
    Py_XDECREF(stop);
    return NULL;
}

static PyObject *
steps_send_method(steps *self, PyObject *value)
{
    (void)value;
    PyObject *out = steps_next(self);
    if (!out && !PyErr_Occurred())
        PyErr_SetNone(PyExc_StopIteration);
    return out;
}

static PyObject *
steps_throw(steps *self, PyObject *args)
{
    PyObject *type, *value = NULL, *traceback = NULL;
    if (!PyArg_ParseTuple(args, "O|OO:throw", &type, &value, &traceback))
        return NULL;
    Py_CLEAR(self->future);
    if (PyExceptionInstance_Check(type)) {
        PyErr_SetObject((PyObject *)Py_TYPE(type), type);
    } else if (PyExceptionClass_Check(type)) {
        PyErr_SetObject(type, value);
    } else {
        PyErr_SetString(PyExc_TypeError, "throw() takes an exception");
    }
    return NULL;
}

static PyObject *
steps_close(steps *self, PyObject *unused)
{
    (void)unused;
    Py_CLEAR(self->future);
    Py_RETURN_NONE;
}

static int
steps_traverse(steps *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->future);
    return 0;
}

static int
steps_clear(steps *self)
{
    Py_CLEAR(self->future);
    return 0;
}

static void
steps_dealloc(steps *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(self->future);
    if (steps_count < STEPS_KEPT)
        steps_kept[steps_count++] = self;
    else
        PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyMethodDef steps_methods[] = {
    {"send", (PyCFunction)steps_send_method, METH_O, NULL},
    {"throw", (PyCFunction)steps_throw, METH_VARARGS, NULL},
    {"close", (PyCFunction)steps_close, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Spec steps_spec = {
    .name = "libperf._batcher.BatchFutureSteps",
    .basicsize = sizeof(steps),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = (PyType_Slot[]){{Py_tp_traverse, steps_traverse},
                             {Py_tp_clear, steps_clear},
                             {Py_tp_dealloc, steps_dealloc},
                             {Py_tp_methods, steps_methods},
                             {Py_tp_iter, PyObject_SelfIter},
                             {Py_tp_iternext, steps_next},
                             {Py_am_send, steps_send},
                             {0, NULL}},
};

bool
bat_await_ready(void)
{
    steps_type = (PyTypeObject *)PyType_FromSpec(&steps_spec);
    return steps_type;
}
