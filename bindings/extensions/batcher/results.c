/* results.c - what a function returned, as one result for each item.
 * Whatever it is: nothing is cut off, nothing is guessed, nothing is raised. */
#include "batcher.h"

static PyObject **
copy_of(PyObject *fast, uint32_t given)
{
    PyObject **out = PyMem_Calloc(given ? given : 1, sizeof *out);
    if (!out) {
        PyErr_NoMemory();
        return NULL;
    }
    PyObject **items = PySequence_Fast_ITEMS(fast);
    for (uint32_t i = 0; i < given; i++)
        out[i] = Py_NewRef(items[i]);
    return out;
}

static PyObject **
of_sequence(PyObject *fast, uint32_t given, PyObject **message)
{
    Py_ssize_t count = PySequence_Fast_GET_SIZE(fast);
    if (count == (Py_ssize_t)given)
        return copy_of(fast, given);
    *message =
        PyUnicode_FromFormat("the function returned %zd results for %lu items",
                             count, (unsigned long)given);
    return NULL;
}

/** Put one entry of a mapping where it belongs; it is noted in `unknown` where
 *  it does not. 0, or -1. */
static int
place(PyObject **out, uint32_t given, PyObject *entry, PyObject *unknown)
{
    if (!PyTuple_Check(entry) || PyTuple_GET_SIZE(entry) != 2) {
        PyErr_Format(PyExc_TypeError, "items() of a mapping gave %R", entry);
        return -1;
    }
    PyObject *key = PyTuple_GET_ITEM(entry, 0);
    if (PyIndex_Check(key)) {
        Py_ssize_t index = PyNumber_AsSsize_t(key, NULL);
        if (index == -1 && PyErr_Occurred())
            return -1;
        if (index >= 0 && index < (Py_ssize_t)given) {
            Py_XSETREF(out[index], Py_NewRef(PyTuple_GET_ITEM(entry, 1)));
            return 0;
        }
    }
    return PyList_Append(unknown, key);
}

static PyObject **
of_mapping(PyObject *results, uint32_t given, PyObject **message)
{
    PyObject **out = PyMem_Calloc(given ? given : 1, sizeof *out);
    PyObject *entries = out ? PyMapping_Items(results) : PyErr_NoMemory();
    PyObject *unknown = entries ? PyList_New(0) : NULL;
    int err = unknown ? 0 : -1;
    for (Py_ssize_t i = 0; !err && i < PyList_GET_SIZE(entries); i++)
        err = place(out, given, PyList_GET_ITEM(entries, i), unknown);
    if (!err && PyList_GET_SIZE(unknown)) {
        Py_ssize_t count = PyList_GET_SIZE(unknown);
        PyObject *some = PyList_GetSlice(unknown, 0, count < 5 ? count : 5);
        *message =
            some ? PyUnicode_FromFormat(
                       "the function returned %zd results for indices that "
                       "none of its %lu items has: %R%s",
                       count, (unsigned long)given, some,
                       count > 5 ? " and more" : "")
                 : NULL;
        Py_XDECREF(some);
        err = -1;
    }
    Py_XDECREF(entries);
    Py_XDECREF(unknown);
    for (uint32_t i = 0; err && out && i < given; i++)
        Py_XDECREF(out[i]);
    if (err) {
        PyMem_Free(out);
        return NULL;
    }
    return out;
}

/** A data frame: its length is that of its rows, but what comes out of it, one
 *  by one, are its columns or their names. */
static bool
is_table(PyObject *results)
{
    return PyObject_HasAttrString(results, "columns");
}

/** Not what has a length by accident, nor what has none. */
static bool
is_sequence(PyObject *results)
{
    return PySequence_Check(results) && !PyUnicode_Check(results) &&
           !PyBytes_Check(results) && !PyByteArray_Check(results) &&
           !PyType_Check(results) && !is_table(results);
}

static PyObject **
of_anything(PyObject *results, uint32_t given, PyObject **message)
{
    int is_mapping = PyObject_IsInstance(results, bat_mapping);
    if (is_mapping)
        return is_mapping < 0 ? NULL : of_mapping(results, given, message);
    if (!is_sequence(results)) {
        *message = PyUnicode_FromFormat(
            "the function returned %s%.200s for %lu items: it must be a list "
            "of as many results, an array, or a mapping {index: result}",
            results == Py_None ? "" : "an object of type ",
            results == Py_None ? "None" : Py_TYPE(results)->tp_name,
            (unsigned long)given);
        return NULL;
    }
    Py_ssize_t count = PyObject_Size(results);
    if (count < 0)
        return NULL;
    if (count != (Py_ssize_t)given) { /* or it is a huge one, for nothing */
        *message = PyUnicode_FromFormat(
            "the function returned %zd results for %lu items", count,
            (unsigned long)given);
        return NULL;
    }
    PyObject *list = PySequence_List(results);
    PyObject **out = list ? of_sequence(list, given, message) : NULL;
    Py_XDECREF(list);
    return out;
}

PyObject **
bat_results(PyObject *results, uint32_t given, PyObject **message,
            PyObject **cause)
{
    PyObject **out;
    *message = *cause = NULL;
    if (PyList_Check(results) || PyTuple_Check(results))
        out = of_sequence(results, given, message);
    else if (PyDict_Check(results))
        out = of_mapping(results, given, message);
    else
        out = of_anything(results, given, message);
    if (out || *message)
        return out;
    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return NULL; /* Ctrl-C is nobody's result */
    *cause = bat_caught();
    *message = PyUnicode_FromFormat(
        "the results that the function returned for %lu items cannot be read: "
        "%s: %.300S",
        (unsigned long)given, Py_TYPE(*cause)->tp_name, *cause);
    if (!*message) {
        PyErr_Clear();
        *message = PyUnicode_FromString("the results cannot be read");
    }
    return NULL;
}
