/* attribute.c - attributes of spans: libperf.spans.set_attribute(). */
#include "speed.h"

#include <libperf/name.h>

static PyObject *numbers; /* of keys seen so far: text -> number */

/* The number of a key; 0 with an exception: it is no text. */
static uint32_t
number_of_key(PyObject *name)
{
    PyObject *number = PyDict_GetItemWithError(numbers, name);
    if (number)
        return (uint32_t)PyLong_AsUnsignedLongMask(number);
    if (PyErr_Occurred())
        PyErr_Clear(); /* it has no hash: Python will say what it is */
    number = PyObject_CallOneArg(speed_known_here.key_number, name);
    if (!number)
        return 0;
    uint32_t found = (uint32_t)PyLong_AsUnsignedLongMask(number);
    if (PyDict_GET_SIZE(numbers) < PERF_NAMES_MAX && PyUnicode_CheckExact(name))
        PyDict_SetItem(numbers, name, number);
    Py_DECREF(number);
    PyErr_Clear();
    return found;
}

/* Its text is at most one character longer than what is kept: so it is counted
 * as cut. */
static int
set_text(const perf_span *span, uint32_t key, PyObject *value)
{
    if (PyUnicode_CheckExact(value) && PyUnicode_IS_COMPACT_ASCII(value)) {
        size_t length = (size_t)PyUnicode_GET_LENGTH(value);
        return perf_span_set_text(*span, key, PyUnicode_DATA(value),
                                  Py_MIN(length, PERF_TEXT_MAX_BYTES + 1));
    }
    PyObject *bytes = PyObject_CallOneArg(speed_known_here.to_bytes, value);
    if (!bytes || !PyBytes_Check(bytes)) {
        Py_XDECREF(bytes);
        return -1;
    }
    bool kept = perf_span_set_text(*span, key, PyBytes_AS_STRING(bytes),
                                   (size_t)PyBytes_GET_SIZE(bytes));
    Py_DECREF(bytes);
    return kept;
}

int
speed_set_attribute(PyObject *handle, PyObject *name, PyObject *value)
{
    const perf_span *span = speed_span_of(handle);
    if (value == Py_None)
        return true;
    uint32_t key = number_of_key(name);
    if (PyErr_Occurred())
        return -1;
    if (PyLong_Check(value)) {
        int overflow = 0;
        long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
        if (!overflow)
            return perf_span_set_int(*span, key, number);
    } else if (PyFloat_Check(value)) {
        return perf_span_set_float(*span, key, PyFloat_AS_DOUBLE(value));
    }
    return set_text(span, key, value);
}

bool
speed_set_attributes(PyObject *handle, PyObject *attributes)
{
    PyObject *name, *value;
    for (Py_ssize_t i = 0; PyDict_Next(attributes, &i, &name, &value);) {
        if (speed_set_attribute(handle, name, value) >= 0)
            continue;
        speed_forgive();
        if (PyErr_Occurred())
            return false;
    }
    return true;
}

bool
speed_attribute_ready(void)
{
    return numbers || (numbers = PyDict_New());
}
