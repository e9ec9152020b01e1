/* compressor.c - the type Compressor: compressor.h for Python. Short
 * values keep the GIL: taking it back would cost more than they take. */
#include "codec.h"

#include <libperf/compressor.h>

enum { LONG = 32 << 10 };

typedef struct compressor {
    PyObject_HEAD perf_compressor *core;
} compressor;

static PyObject *
failed(perf_err err)
{
    if (err == PERF_ERR_NOMEM)
        return PyErr_NoMemory();
    PyObject *type = err == PERF_ERR_NOT_FOUND     ? PyExc_LookupError
                     : err == PERF_ERR_UNSUPPORTED ? PyExc_NotImplementedError
                                                   : PyExc_ValueError;
    PyErr_SetString(type, perf_strerror(err));
    return NULL;
}

static PyObject *
compressor_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    int level = 0;
    static char *names[] = {"level", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|i", names, &level))
        return NULL;
    compressor *self = (compressor *)type->tp_alloc(type, 0);
    perf_err err =
        self ? perf_compressor_create(level, NULL, &self->core) : PERF_OK;
    if (err) {
        Py_DECREF(self);
        return failed(err);
    }
    return (PyObject *)self;
}

static void
compressor_free(compressor *self)
{
    PyTypeObject *type = Py_TYPE(self);
    perf_compressor_destroy(self->core);
    type->tp_free(self);
    Py_DECREF(type);
}

/* add(dictionary) -> id */
static PyObject *
compressor_add(compressor *self, PyObject *bytes)
{
    Py_buffer view;
    uint32_t id;
    perf_err err;
    if (PyObject_GetBuffer(bytes, &view, PyBUF_SIMPLE))
        return NULL;
    Py_BEGIN_ALLOW_THREADS err =
        perf_compressor_add(self->core, view.buf, (size_t)view.len, &id);
    Py_END_ALLOW_THREADS PyBuffer_Release(&view);
    return err ? failed(err) : PyLong_FromUnsignedLong(id);
}

static PyObject *
compressor_has(compressor *self, PyObject *number)
{
    uint64_t id = PyLong_AsUnsignedLongLong(number);
    if (PyErr_Occurred())
        return NULL;
    return PyBool_FromLong(id <= UINT32_MAX &&
                           perf_compressor_has(self->core, (uint32_t)id));
}

/* pack(bytes, id) -> bytes, or None: it would not become smaller */
static PyObject *
compressor_pack(compressor *self, PyObject *args)
{
    Py_buffer view;
    unsigned int id;
    size_t written = 0;
    perf_err err;
    if (!PyArg_ParseTuple(args, "y*I", &view, &id))
        return NULL;
    PyObject *out = PyBytes_FromStringAndSize(NULL, view.len);
    if (!out) {
        PyBuffer_Release(&view);
        return NULL;
    }
    PyThreadState *released = view.len > LONG ? PyEval_SaveThread() : NULL;
    err = perf_compressor_pack(self->core, id, view.buf, (size_t)view.len,
                               PyBytes_AS_STRING(out), (size_t)view.len,
                               &written);
    if (released)
        PyEval_RestoreThread(released);
    bool smaller = !err && written < (size_t)view.len;
    PyBuffer_Release(&view);
    if (smaller) {
        _PyBytes_Resize(&out, (Py_ssize_t)written);
        return out;
    }
    Py_DECREF(out);
    if (err && err != PERF_ERR_FULL)
        return failed(err);
    Py_RETURN_NONE;
}

/* unpack(bytes, id, raw_size, begin=0) -> bytes */
static PyObject *
compressor_unpack(compressor *self, PyObject *args)
{
    Py_buffer view;
    unsigned int id;
    Py_ssize_t raw_size, begin = 0;
    perf_err err;
    if (!PyArg_ParseTuple(args, "y*In|n", &view, &id, &raw_size, &begin))
        return NULL;
    if (begin < 0 || begin > view.len || raw_size < 0) {
        PyBuffer_Release(&view);
        return failed(PERF_ERR_RANGE);
    }
    PyObject *out = PyBytes_FromStringAndSize(NULL, raw_size);
    if (!out) {
        PyBuffer_Release(&view);
        return NULL;
    }
    PyThreadState *released = raw_size > LONG ? PyEval_SaveThread() : NULL;
    err = perf_compressor_unpack(self->core, id, (const char *)view.buf + begin,
                                 (size_t)(view.len - begin),
                                 PyBytes_AS_STRING(out), (size_t)raw_size);
    if (released)
        PyEval_RestoreThread(released);
    PyBuffer_Release(&view);
    if (err)
        Py_CLEAR(out);
    return err ? failed(err) : out;
}

/* train(samples, room, level) -> bytes, or None: nothing in common */
static PyObject *
compressor_train(PyObject *type, PyObject *args)
{
    PyObject *samples, *joined = NULL, *out = NULL, *empty;
    Py_ssize_t room;
    int level = 0;
    if (!PyArg_ParseTuple(args, "O!n|i", &PyList_Type, &samples, &room, &level))
        return NULL;
    if (room <= 0 || room > PERF_DICTIONARY_MAX_BYTES)
        return failed(PERF_ERR_RANGE);
    PyObject *all = PyList_AsTuple(samples);
    empty = PyBytes_FromStringAndSize(NULL, 0);
    joined =
        all && empty ? PyObject_CallMethod(empty, "join", "(O)", all) : NULL;
    Py_ssize_t count = joined ? PyTuple_GET_SIZE(all) : 0;
    size_t *sizes = PyMem_New(size_t, (size_t)count + 1);
    out = joined && sizes ? PyBytes_FromStringAndSize(NULL, room) : NULL;
    if (joined && !sizes)
        PyErr_NoMemory();
    if (out) {
        size_t written = 0;
        perf_err err;
        for (Py_ssize_t i = 0; i < count; i++) /* join() took bytes only */
            sizes[i] = (size_t)PyObject_Length(PyTuple_GET_ITEM(all, i));
        Py_BEGIN_ALLOW_THREADS err = perf_compressor_train_blocking(
            PyBytes_AS_STRING(joined), sizes, (size_t)count, level,
            PyBytes_AS_STRING(out), (size_t)room, &written);
        Py_END_ALLOW_THREADS if (!err)
        {
            _PyBytes_Resize(&out, (Py_ssize_t)written);
        }
        else
        {
            Py_CLEAR(out);
            if (err != PERF_ERR_NOT_FOUND)
                failed(err);
            else
                out = Py_NewRef(Py_None);
        }
    }
    PyMem_Free(sizes);
    Py_XDECREF(all);
    Py_XDECREF(empty);
    Py_XDECREF(joined);
    return out;
}

static PyMethodDef methods[] = {
    {"add", (PyCFunction)(void (*)(void))compressor_add, METH_O, NULL},
    {"has", (PyCFunction)(void (*)(void))compressor_has, METH_O, NULL},
    {"pack", (PyCFunction)(void (*)(void))compressor_pack, METH_VARARGS, NULL},
    {"unpack", (PyCFunction)(void (*)(void))compressor_unpack, METH_VARARGS,
     NULL},
    {"train", compressor_train, METH_VARARGS | METH_STATIC, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_new, compressor_new},
    {Py_tp_dealloc, compressor_free},
    {Py_tp_methods, methods},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "libperf._codec.Compressor",
    .basicsize = sizeof(compressor),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};

PyObject *
codec_make_compressor_type(PyObject *module)
{
    return PyType_FromModuleAndSpec(module, &spec, NULL);
}
