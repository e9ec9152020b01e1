/* seen.c - what reports see of a queue: series under its name, and in
 * which spans items were submitted. */
#include "batcher.h"

PyObject *
bat_queue_report(bat_queue *self, PyObject *args)
{
    const char *name;
    Py_ssize_t length;
    PyObject *current, *nothing;
    if (!PyArg_ParseTuple(args, "s#OO:report", &name, &length, &current,
                          &nothing))
        return NULL;
    if (!PyContextVar_CheckExact(current))
        return PyErr_Format(PyExc_TypeError,
                            "current is %R: it must be a ContextVar", current);
    batcher_series_init(&self->series, name, (size_t)length);
    Py_XSETREF(self->current, Py_NewRef(current));
    Py_XSETREF(self->nothing, Py_NewRef(nothing));
    Py_RETURN_NONE;
}

void
bat_say_submitted(bat_queue *self, bat_future *it)
{
    PyObject *watcher = Py_NewRef(self->watcher);
    PyObject *said = PyObject_CallOneArg(watcher, (PyObject *)it);
    if (!said)
        PyErr_WriteUnraisable(watcher);
    Py_XDECREF(said);
    Py_DECREF(watcher);
}

PyObject *
bat_caller(bat_queue *self)
{
    PyObject *span = NULL;
    if (!self->current)
        return NULL;
    if (PyContextVar_Get(self->current, self->nothing, &span) < 0) {
        PyErr_Clear();
        return NULL;
    }
    if (span == self->nothing)
        Py_CLEAR(span);
    return span;
}

PyObject *
bat_batch_callers(bat_batch *self, void *unused)
{
    (void)unused;
    uint32_t i = 0;
    while (i < self->count && !self->items[i]->caller)
        i++;
    if (i == self->count)
        Py_RETURN_NONE;
    PyObject *list = PyList_New(self->count);
    for (i = 0; list && i < self->count; i++) {
        PyObject *caller = self->items[i]->caller;
        PyList_SET_ITEM(list, i, Py_NewRef(caller ? caller : Py_None));
    }
    return list;
}
