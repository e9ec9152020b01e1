/* codec.c - the module libperf._codec: values to bytes and back, keys. */
#include "codec.h"

#include <string.h>

enum { KEY_LONGEST = 256 }; /* what is longer is stood for by a fingerprint */

codec_state *
codec_state_of(PyObject *module)
{
    return PyModule_GetState(module);
}

/* So many arguments at least and at most; false with an exception. */
static bool
takes(const char *name, Py_ssize_t nargs, Py_ssize_t least, Py_ssize_t most)
{
    if (nargs >= least && nargs <= most)
        return true;
    PyErr_Format(PyExc_TypeError, "%s() takes %zd to %zd arguments, not %zd",
                 name, least, most, nargs);
    return false;
}

static PyObject *
argument(PyObject *const *args, Py_ssize_t nargs, Py_ssize_t i)
{
    return i < nargs ? args[i] : Py_None;
}

/* ---- values ---- */

static PyObject *
write_one(PyObject *module, PyObject *object, PyObject *extend, bool canonical)
{
    codec_walk walk;
    codec_walk_begin(&walk, codec_state_of(module), extend,
                     canonical ? "key" : "value", canonical);
    PyObject *bytes = NULL;
    if (codec_walk_object(&walk, object))
        bytes = PyBytes_FromStringAndSize((const char *)walk.writer.bytes,
                                          (Py_ssize_t)walk.writer.size);
    codec_walk_end(&walk);
    return bytes;
}

static PyObject *
py_encode(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (!takes("encode", nargs, 1, 2))
        return NULL;
    return write_one(module, args[0], argument(args, nargs, 1), false);
}

static PyObject *
py_canonical(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (!takes("canonical", nargs, 1, 2))
        return NULL;
    return write_one(module, args[0], argument(args, nargs, 1), true);
}

/* decode(buffer, revive=None, begin=0, memory=1 GiB) */
static PyObject *
py_decode(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (!takes("decode", nargs, 1, 4))
        return NULL;
    size_t begin = nargs > 2 ? PyLong_AsSize_t(args[2]) : 0;
    size_t memory =
        nargs > 3 ? PyLong_AsSize_t(args[3]) : (size_t)4 * CODEC_LIMIT;
    Py_buffer view;
    if (PyErr_Occurred() || PyObject_GetBuffer(args[0], &view, PyBUF_SIMPLE))
        return NULL;
    if (begin > (size_t)view.len)
        begin = (size_t)view.len;
    PyObject *object =
        codec_read(codec_state_of(module), (const uint8_t *)view.buf + begin,
                   (size_t)view.len - begin, argument(args, nargs, 1), memory);
    PyBuffer_Release(&view);
    return object;
}

static PyObject *
py_weigh(PyObject *module, PyObject *object)
{
    return PyLong_FromSize_t(codec_weigh(object));
}

/* ---- keys ---- */

/* Key(full, digest), without its __new__(): a NamedTuple is nothing but a
 * tuple of its fields. */
static PyObject *
make_key(PyObject *module, PyObject *type, const codec_walk *walk)
{
    uint8_t full[1 + CODEC_FINGERPRINT], digest[PERF_DIGEST_SIZE];
    const uint8_t *bytes = walk->writer.bytes;
    size_t size = walk->writer.size;
    if (size > KEY_LONGEST) {
        full[0] = 0xFF; /* no value begins like this */
        if (!codec_fingerprint(codec_state_of(module), bytes, size, full + 1))
            return NULL;
        bytes = full;
        size = sizeof full;
    }
    perf_digest(bytes, size, digest);
    PyObject *key = ((PyTypeObject *)type)->tp_alloc((PyTypeObject *)type, 2);
    PyObject *first =
        PyBytes_FromStringAndSize((const char *)bytes, (Py_ssize_t)size);
    PyObject *second =
        PyBytes_FromStringAndSize((const char *)digest, sizeof digest);
    if (!key || !first || !second) {
        Py_XDECREF(first);
        Py_XDECREF(second);
        Py_CLEAR(key);
        return NULL;
    }
    PyTuple_SET_ITEM(key, 0, first);
    PyTuple_SET_ITEM(key, 1, second);
    return key;
}

static bool
is_key_type(PyObject *type)
{
    if (PyType_Check(type) &&
        PyType_IsSubtype((PyTypeObject *)type, &PyTuple_Type))
        return true;
    PyErr_Format(PyExc_TypeError, "%R is no type of tuples", type);
    return false;
}

static bool
walk_root(codec_walk *walk, const char *root, PyObject *object)
{
    walk->root = root;
    return codec_walk_object(walk, object);
}

/* key(Key, namespace, scope, object, extend=None) -> Key */
static PyObject *
py_key(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (!takes("key", nargs, 4, 5) || !is_key_type(args[0]))
        return NULL;
    codec_walk walk;
    codec_walk_begin(&walk, codec_state_of(module), argument(args, nargs, 4),
                     "key", true);
    perf_token three = {.kind = PERF_TOKEN_TUPLE, .size = 3};
    bool good =
        codec_put(&walk, &three) && walk_root(&walk, "namespace", args[1]) &&
        walk_root(&walk, "scope", args[2]) && walk_root(&walk, "key", args[3]);
    PyObject *key = good ? make_key(module, args[0], &walk) : NULL;
    codec_walk_end(&walk);
    return key;
}

static PyObject *
py_hash(PyObject *module, PyObject *bytes)
{
    Py_buffer view;
    if (PyObject_GetBuffer(bytes, &view, PyBUF_SIMPLE))
        return NULL;
    uint64_t hash = perf_hash(view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    return PyLong_FromUnsignedLongLong(hash);
}

/* ---- the module ---- */

#define FAST(f) (PyCFunction)(void (*)(void)) f, METH_FASTCALL

static PyMethodDef methods[] = {
    {"encode", FAST(py_encode), NULL},
    {"decode", FAST(py_decode), NULL},
    {"canonical", FAST(py_canonical), NULL},
    {"weigh", py_weigh, METH_O, NULL},
    {"key", FAST(py_key), NULL},
    {"hash", py_hash, METH_O, NULL},
    {"entry_pack", FAST(codec_entry_pack), NULL},
    {"entry_unpack", codec_entry_unpack, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static int
prepare(PyObject *module)
{
    codec_state *state = codec_state_of(module);
    state->unencodable = PyErr_NewExceptionWithDoc(
        "libperf.cache.values.Unencodable",
        "A value that cannot be stored, or a key that has no canonical form.",
        PyExc_TypeError, NULL);
    state->undecodable = PyErr_NewExceptionWithDoc(
        "libperf.cache.values.Undecodable", "Bytes that are no value.",
        PyExc_ValueError, NULL);
    if (!state->unencodable || !state->undecodable ||
        PyModule_AddObjectRef(module, "Unencodable", state->unencodable) ||
        PyModule_AddObjectRef(module, "Undecodable", state->undecodable))
        return -1;
    state->compressor_type = codec_make_compressor_type(module);
    if (!state->compressor_type || !codec_prepare_fingerprint(state))
        return -1;
    return PyModule_AddObjectRef(module, "Compressor", state->compressor_type);
}

static int
traverse(PyObject *module, visitproc visit, void *arg)
{
    codec_state *state = codec_state_of(module);
    Py_VISIT(state->unencodable);
    Py_VISIT(state->undecodable);
    Py_VISIT(state->compressor_type);
    Py_VISIT(state->blake2b);
    Py_VISIT(state->its_size);
    return 0;
}

static int
clear(PyObject *module)
{
    codec_state *state = codec_state_of(module);
    Py_CLEAR(state->unencodable);
    Py_CLEAR(state->undecodable);
    Py_CLEAR(state->compressor_type);
    Py_CLEAR(state->blake2b);
    Py_CLEAR(state->its_size);
    return 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, prepare},
    {0, NULL},
};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "libperf._codec",
    .m_size = sizeof(codec_state),
    .m_methods = methods,
    .m_slots = slots,
    .m_traverse = traverse,
    .m_clear = clear,
};

PyMODINIT_FUNC
PyInit__codec(void)
{
    return PyModuleDef_Init(&definition);
}
