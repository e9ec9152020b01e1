/* future.c - BatchFuture: the result of one item, for tasks of any
 * event loop and for threads. */
#include "batcher.h"

#include <structmember.h>

PyTypeObject *bat_future_type;

/* ---- the result ---- */

/** The error of a future that was cancelled. */
static PyObject *
cancelled_error(bat_future *self)
{
    if (self->value)
        return PyObject_CallOneArg(bat_cancelled_error, self->value);
    return PyObject_CallNoArgs(bat_cancelled_error);
}

static PyObject *
raise_error(bat_future *self)
{
    PyObject *error = self->state == BAT_CANCELLED ? cancelled_error(self)
                                                   : Py_NewRef(self->value);
    if (!error)
        return NULL;
    /* or it would grow each time that it is raised */
    if (self->state == BAT_ERROR &&
        PyException_SetTraceback(error,
                                 self->traceback ? self->traceback : Py_None))
        PyErr_Clear();
    PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_DECREF(error);
    return NULL;
}

PyObject *
bat_outcome(bat_future *self)
{
    return self->state == BAT_RESULT ? Py_NewRef(self->value)
                                     : raise_error(self);
}

/** result() and exception() of one that is not done. 0, or -1. */
static int
wait_for(bat_future *self, PyObject *const *args, Py_ssize_t nargs,
         PyObject *kwnames)
{
    Py_ssize_t named = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    if (nargs + named > 1 ||
        (named && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, 0),
                                                   "timeout"))) {
        PyErr_SetString(PyExc_TypeError, "the only argument is `timeout`");
        return -1;
    }
    double seconds;
    uint64_t timeout_ns = UINT64_MAX;
    if (nargs + named && args[0] != Py_None) {
        if (bat_seconds(args[0], "timeout", &seconds))
            return -1;
        timeout_ns = bat_nanoseconds(seconds);
    }
    if (self->state != BAT_PENDING)
        return 0;
    PyObject *loop = bat_running_loop();
    if (loop || PyErr_Occurred()) {
        if (loop)
            PyErr_SetString(bat_invalid_state,
                            "not done yet, and waiting would stop the event "
                            "loop that runs in this thread: `await` it");
        Py_XDECREF(loop);
        return -1;
    }
    if (self->item.nested && self->item.state == PERF_BATCH_QUEUED &&
        self->queue->core) {
        PyObject *done = PyObject_CallNoArgs(self->queue->inline_);
        Py_XDECREF(done);
        if (!done)
            return -1;
        if (self->state != BAT_PENDING)
            return 0;
    }
    if (self->loop && self->queue->core) { /* it may stop; this thread waits */
        PyObject *woken = PyObject_CallOneArg(self->queue->wake, Py_None);
        Py_XDECREF(woken);
        if (!woken)
            return -1;
    }
    int waited = bat_wait(self, timeout_ns, false);
    if (waited < 0)
        return -1;
    if (self->state == BAT_PENDING) {
        PyErr_Format(PyExc_TimeoutError, "not done within %R seconds",
                     waited || !(nargs + named) ? Py_None : args[0]);
        return -1;
    }
    return 0;
}

static PyObject *
future_result(bat_future *self, PyObject *const *args, Py_ssize_t nargs,
              PyObject *kwnames)
{
    if ((self->state == BAT_PENDING || nargs || kwnames) &&
        wait_for(self, args, nargs, kwnames))
        return NULL;
    return bat_outcome(self);
}

static PyObject *
future_exception(bat_future *self, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames)
{
    if ((self->state == BAT_PENDING || nargs || kwnames) &&
        wait_for(self, args, nargs, kwnames))
        return NULL;
    if (self->state == BAT_CANCELLED)
        return raise_error(self);
    if (self->state == BAT_RESULT)
        Py_RETURN_NONE;
    if (PyException_SetTraceback(self->value,
                                 self->traceback ? self->traceback : Py_None))
        PyErr_Clear();
    return Py_NewRef(self->value);
}

/* ---- its state ---- */

static PyObject *
future_done(bat_future *self, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(self->state != BAT_PENDING);
}

static PyObject *
future_cancelled(bat_future *self, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(self->state == BAT_CANCELLED);
}

static PyObject *
future_running(bat_future *self, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(self->running);
}

static PyObject *
future_cancel(bat_future *self, PyObject *const *args, Py_ssize_t nargs,
              PyObject *kwnames)
{
    Py_ssize_t named = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    if (nargs + named > 1 ||
        (named &&
         PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, 0), "msg")))
        return PyErr_Format(PyExc_TypeError, "the only argument is `msg`");
    uint64_t now_ns;
    bat_queue *queue = self->queue;
    if (self->state != BAT_PENDING)
        Py_RETURN_FALSE;
    if (bat_now(queue, &now_ns))
        return NULL;
    if (self->state != BAT_PENDING)
        Py_RETURN_FALSE;
    if (queue->core &&
        !perf_batch_queue_cancel_at(queue->core, &self->item, now_ns)) {
        bat_settle(queue, now_ns); /* it has perhaps been dropped just now */
        if (self->state != BAT_PENDING)
            Py_RETURN_FALSE;
    }
    PyObject *message = nargs + named && args[0] != Py_None ? args[0] : NULL;
    bat_resolve(self, BAT_CANCELLED, Py_XNewRef(message));
    batcher_series_add(&queue->series, SERIES_CANCELLED, 1);
    bat_unhold(queue, self);
    bat_post post = {.queue = queue};
    bat_tell(&post, self);
    bat_post_end(&post);
    bat_settle(queue, now_ns);
    Py_RETURN_TRUE;
}

static PyObject *
future_get_loop(bat_future *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    PyObject *loop = bat_running_loop();
    if (!loop && !PyErr_Occurred())
        PyErr_SetString(PyExc_RuntimeError, "no running event loop");
    return loop;
}

static PyObject *
future_repr(bat_future *self)
{
    static const char *const done[] = {"", "finished", "failed", "cancelled"};
    if (self->state == BAT_ERROR)
        return PyUnicode_FromFormat("<BatchFuture failed: %R>", self->value);
    if (self->state != BAT_PENDING)
        return PyUnicode_FromFormat("<BatchFuture %s>", done[self->state]);
    if (self->running)
        return PyUnicode_FromFormat("<BatchFuture running in batch %llu>",
                                    self->batch_id);
    return PyUnicode_FromString("<BatchFuture pending>");
}

/* ---- attributes ---- */

static PyObject *
future_wait_time(bat_future *self, void *unused)
{
    (void)unused;
    if (!self->batch_id)
        Py_RETURN_NONE;
    uint64_t begin_ns = self->item.submitted_ns, end_ns = self->item.taken_ns;
    return PyFloat_FromDouble(
        end_ns > begin_ns ? (double)(end_ns - begin_ns) / 1e9 : 0);
}

static PyObject *
future_batch_id(bat_future *self, void *unused)
{
    (void)unused;
    if (!self->batch_id)
        Py_RETURN_NONE;
    return PyLong_FromUnsignedLongLong(self->batch_id);
}

static PyObject *
future_batch_size(bat_future *self, void *unused)
{
    (void)unused;
    if (!self->batch_id)
        Py_RETURN_NONE;
    return PyLong_FromUnsignedLong(self->batch_size);
}

static PyObject *
future_blocking(bat_future *self, void *unused)
{
    (void)unused;
    return PyBool_FromLong(self->blocking);
}

static int
future_set_blocking(bat_future *self, PyObject *value, void *unused)
{
    (void)unused;
    int is_true = value ? PyObject_IsTrue(value) : -1;
    if (!value)
        PyErr_SetString(PyExc_AttributeError, "it cannot be deleted");
    if (is_true < 0)
        return -1;
    self->blocking = is_true;
    return 0;
}

static PyObject *
future_cancel_message(bat_future *self, void *unused)
{
    (void)unused;
    if (self->state != BAT_CANCELLED || !self->value)
        Py_RETURN_NONE;
    return Py_NewRef(self->value);
}

/* asyncio.gather() asks for it. */
static PyObject *
future_make_cancelled_error(bat_future *self, PyObject *unused)
{
    (void)unused;
    return cancelled_error(self);
}

/* ---- life and death ---- */

bat_future *
bat_future_make(bat_queue *queue, PyObject *data)
{
    bat_future *self = PyObject_GC_New(bat_future, bat_future_type);
    if (!self)
        return NULL;
    memset((char *)self + offsetof(bat_future, item), 0,
           sizeof *self - offsetof(bat_future, item));
    self->queue = (bat_queue *)Py_NewRef(queue);
    self->data = Py_NewRef(data);
    PyObject_GC_Track(self);
    return self;
}

static int
future_traverse(bat_future *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->queue);
    Py_VISIT(self->data);
    Py_VISIT(self->key);
    Py_VISIT(self->loop);
    Py_VISIT(self->outer);
    Py_VISIT(self->caller);
    Py_VISIT(self->value);
    Py_VISIT(self->traceback);
    Py_VISIT(self->first.function);
    Py_VISIT(self->first.context);
    Py_VISIT(self->first.loop);
    Py_VISIT(self->more);
    return 0;
}

/* Not the queue: what it still holds, it has to let go of itself. */
static int
future_clear(bat_future *self)
{
    Py_CLEAR(self->key);
    Py_CLEAR(self->loop);
    Py_CLEAR(self->outer);
    Py_CLEAR(self->caller);
    Py_CLEAR(self->first.function);
    Py_CLEAR(self->first.context);
    Py_CLEAR(self->first.loop);
    Py_CLEAR(self->more);
    Py_CLEAR(self->traceback);
    if (self->data)
        Py_XSETREF(self->data, Py_NewRef(Py_None));
    if (self->state == BAT_RESULT) /* an exception breaks its own cycles */
        Py_XSETREF(self->value, Py_NewRef(Py_None));
    return 0;
}

static void
future_dealloc(bat_future *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, future_dealloc) if (self->weakrefs)
        PyObject_ClearWeakRefs((PyObject *)self);
    future_clear(self);
    Py_CLEAR(self->data);
    Py_CLEAR(self->value);
    Py_CLEAR(self->queue);
    PyObject_GC_Del(self);
    Py_DECREF(type);
    Py_TRASHCAN_END
}

static PyMethodDef future_methods[] = {
    {"result", BAT_FAST_KEYWORDS(future_result), NULL},
    {"exception", BAT_FAST_KEYWORDS(future_exception), NULL},
    {"done", (PyCFunction)future_done, METH_NOARGS, NULL},
    {"cancelled", (PyCFunction)future_cancelled, METH_NOARGS, NULL},
    {"running", (PyCFunction)future_running, METH_NOARGS, NULL},
    {"cancel", BAT_FAST_KEYWORDS(future_cancel), NULL},
    {"get_loop", (PyCFunction)future_get_loop, METH_NOARGS, NULL},
    {"add_done_callback", BAT_FAST_KEYWORDS(bat_future_add_done_callback),
     NULL},
    {"remove_done_callback", (PyCFunction)bat_future_remove_done_callback,
     METH_O, NULL},
    {"_make_cancelled_error", (PyCFunction)future_make_cancelled_error,
     METH_NOARGS, NULL},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef future_properties[] = {
    {"wait_time", (getter)future_wait_time, NULL, NULL, NULL},
    {"batch_id", (getter)future_batch_id, NULL, NULL, NULL},
    {"batch_size", (getter)future_batch_size, NULL, NULL, NULL},
    {"_asyncio_future_blocking", (getter)future_blocking,
     (setter)future_set_blocking, NULL, NULL},
    {"_cancel_message", (getter)future_cancel_message, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* The profiler gives ids to what is awaited: it need not keep those alive that
 * have a place for it. */
static PyMemberDef future_members[] = {
    {"data", T_OBJECT, offsetof(bat_future, data), READONLY, NULL},
    {"_libperf_id", T_ULONGLONG, offsetof(bat_future, libperf_id), 0, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(bat_future, weakrefs), READONLY,
     NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Spec future_spec = {
    .name = "libperf._batcher.BatchFuture",
    .basicsize = sizeof(bat_future),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = (PyType_Slot[]){{Py_tp_traverse, future_traverse},
                             {Py_tp_clear, future_clear},
                             {Py_tp_dealloc, future_dealloc},
                             {Py_tp_repr, future_repr},
                             {Py_tp_methods, future_methods},
                             {Py_tp_getset, future_properties},
                             {Py_tp_members, future_members},
                             {Py_tp_iter, bat_future_await},
                             {Py_am_await, bat_future_await},
                             {0, NULL}},
};

bool
bat_future_ready(void)
{
    bat_future_type = (PyTypeObject *)PyType_FromSpec(&future_spec);
    return bat_future_type;
}
