/* entry.c - entries (entry.h) to and from Python. */
#include "codec.h"

#include <string.h>

static uint64_t
number_of(PyObject *number)
{
    return PyLong_AsUnsignedLongLong(number); /* (uint64_t)-1 with exception */
}

/* Numbers that saturate: how long something took, and what 0 to 2^32 holds. */
static uint32_t
small_of(PyObject *number)
{
    uint64_t n = number_of(number);
    return n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

static bool
put_labels(PyObject *labels, uint8_t out[][8], uint8_t *count)
{
    PyObject *all = PySequence_Tuple(labels);
    if (!all)
        return false;
    Py_ssize_t size = PyTuple_GET_SIZE(all);
    if (size > PERF_ENTRY_LABELS_MAX) {
        PyErr_Format(PyExc_ValueError, "%zd labels are too many: up to %d",
                     size, PERF_ENTRY_LABELS_MAX);
        size = -1;
    }
    for (Py_ssize_t i = 0; i < size; i++)
        perf_entry_put_label(number_of(PyTuple_GET_ITEM(all, i)), out[i]);
    Py_DECREF(all);
    *count = (uint8_t)(size < 0 ? 0 : size);
    return !PyErr_Occurred();
}

/* entry_pack(key, value, labels, created_ms, fresh_ms, expires_ms, compute_us,
 *            flags, compression, dictionary, raw_size) -> bytes */
PyObject *
codec_entry_pack(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    uint8_t labels[PERF_ENTRY_LABELS_MAX][8];
    if (nargs != 11 || !PyBytes_Check(args[0]) || !PyBytes_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError,
                        "entry_pack() takes key, value and nine more");
        return NULL;
    }
    perf_entry entry = {
        .created_ms = number_of(args[3]),
        .fresh_ms = number_of(args[4]),
        .expires_ms = number_of(args[5]),
        .compute_us = small_of(args[6]),
        .flags = (uint8_t)small_of(args[7]),
        .compression = (uint8_t)small_of(args[8]),
        .dictionary = small_of(args[9]),
        .raw_size = small_of(args[10]),
        .label = labels[0],
        .key = (const uint8_t *)PyBytes_AS_STRING(args[0]),
        .key_size = (size_t)PyBytes_GET_SIZE(args[0]),
        .value = (const uint8_t *)PyBytes_AS_STRING(args[1]),
        .value_size = (size_t)PyBytes_GET_SIZE(args[1]),
    };
    if (PyErr_Occurred() || !put_labels(args[2], labels, &entry.label_count))
        return NULL;
    size_t size = perf_entry_size(&entry);
    if (!size) {
        PyErr_SetString(PyExc_ValueError, "an entry needs a key, and holds up "
                                          "to 4 GiB");
        return NULL;
    }
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (bytes)
        perf_entry_write(&entry, PyBytes_AS_STRING(bytes), size);
    return bytes;
}

static PyObject *
labels_of(const perf_entry *entry)
{
    PyObject *labels = PyTuple_New(entry->label_count);
    for (uint8_t i = 0; labels && i < entry->label_count; i++) {
        PyObject *label =
            PyLong_FromUnsignedLongLong(perf_entry_label(entry, i));
        if (!label)
            Py_CLEAR(labels);
        else
            PyTuple_SET_ITEM(labels, i, label);
    }
    return labels;
}

/* entry_unpack(bytes) -> None or (created_ms, fresh_ms, expires_ms, compute_us,
 * labels, flags, compression, dictionary, raw_size, begin of the value, key) */
PyObject *
codec_entry_unpack(PyObject *module, PyObject *bytes)
{
    Py_buffer view;
    perf_entry entry;
    if (PyObject_GetBuffer(bytes, &view, PyBUF_SIMPLE))
        return NULL;
    PyObject *out = NULL;
    if (perf_entry_read(view.buf, (size_t)view.len, &entry))
        out = Py_NewRef(Py_None);
    else
        out = Py_BuildValue(
            "(KKKINiiIIny#)", (unsigned long long)entry.created_ms,
            (unsigned long long)entry.fresh_ms,
            (unsigned long long)entry.expires_ms, (unsigned)entry.compute_us,
            labels_of(&entry), (int)entry.flags, (int)entry.compression,
            (unsigned)entry.dictionary, (unsigned)entry.raw_size,
            (Py_ssize_t)(entry.value - (const uint8_t *)view.buf),
            (const char *)entry.key, (Py_ssize_t)entry.key_size);
    PyBuffer_Release(&view);
    return out;
}
