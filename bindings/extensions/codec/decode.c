/* decode.c - from tokens to objects: plain ones only. */
#include "codec.h"

#include <string.h>

enum { MEMO = 64, MEMO_LONGEST = 32 };

typedef struct read_state {
    perf_codec_reader reader;
    PyObject *revive;
    PyObject *undecodable;
    size_t memory;        /* that may still be used */
    PyObject *memo[MEMO]; /* keys of dicts come again and again */
} read_state;

static PyObject *make_object(read_state *r, const perf_token *t);
static PyObject *read_object(read_state *r);

static PyObject *
corrupt(read_state *r, const char *why)
{
    PyErr_SetString(r->undecodable, why);
    return NULL;
}

/* Bytes that stand for themselves may announce more than themselves: an empty
 * set is one byte here, and 216 there. */
static bool
spend(read_state *r, size_t bytes)
{
    if (bytes > r->memory)
        return corrupt(r, "it takes too much memory");
    r->memory -= bytes;
    return true;
}

static PyObject *
read_text(read_state *r, const perf_token *t)
{
    if (!spend(r, 64 + t->size))
        return NULL;
    PyObject *text = PyUnicode_DecodeUTF8((const char *)t->bytes,
                                          (Py_ssize_t)t->size, "surrogatepass");
    if (!text && PyErr_ExceptionMatches(PyExc_UnicodeError)) {
        PyErr_Clear();
        return corrupt(r, "a text is not UTF-8");
    }
    return text;
}

/* Short texts that are keys: the same object for the same text. */
static PyObject *
read_key_text(read_state *r, const perf_token *t)
{
    if (t->size > MEMO_LONGEST)
        return read_text(r, t);
    PyObject **place = &r->memo[perf_hash(t->bytes, t->size) % MEMO];
    PyObject *known = *place;
    if (known && (size_t)PyUnicode_GET_LENGTH(known) == t->size &&
        !memcmp(PyUnicode_1BYTE_DATA(known), t->bytes, t->size))
        return Py_NewRef(known);
    PyObject *text = read_text(r, t);
    if (text && !known && PyUnicode_IS_COMPACT_ASCII(text))
        *place = Py_NewRef(text);
    return text;
}

/* int.from_bytes() is what public API there is for large ones. */
static PyObject *
read_big(read_state *r, const perf_token *t)
{
    if (!spend(r, 64 + 2 * t->size))
        return NULL;
    PyObject *number = NULL;
    PyObject *method =
        PyObject_GetAttrString((PyObject *)&PyLong_Type, "from_bytes");
    PyObject *args = Py_BuildValue("(y#s)", (const char *)t->bytes,
                                   (Py_ssize_t)t->size, "little");
    PyObject *keywords = Py_BuildValue("{s:O}", "signed", Py_True);
    if (method && args && keywords)
        number = PyObject_Call(method, args, keywords);
    Py_XDECREF(method);
    Py_XDECREF(args);
    Py_XDECREF(keywords);
    return number;
}

/* ---- containers: no larger than the bytes that are left ---- */

static PyObject *
read_list(read_state *r, size_t size)
{
    PyObject *list =
        spend(r, 64 + 8 * size) ? PyList_New((Py_ssize_t)size) : NULL;
    for (size_t i = 0; list && i < size; i++) {
        PyObject *item = read_object(r);
        if (!item)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, (Py_ssize_t)i, item);
    }
    return list;
}

static PyObject *
read_tuple(read_state *r, size_t size)
{
    PyObject *tuple =
        spend(r, 64 + 8 * size) ? PyTuple_New((Py_ssize_t)size) : NULL;
    for (size_t i = 0; tuple && i < size; i++) {
        PyObject *item = read_object(r);
        if (!item)
            Py_CLEAR(tuple);
        else
            PyTuple_SET_ITEM(tuple, (Py_ssize_t)i, item);
    }
    return tuple;
}

/* A key or a member that cannot be hashed was not written by us. */
static bool
added(read_state *r, int failed)
{
    if (failed && PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyErr_Clear();
        return corrupt(r, "something unhashable is a key");
    }
    return !failed;
}

static PyObject *
read_key(read_state *r)
{
    perf_token t;
    if (perf_codec_next(&r->reader, &t))
        return corrupt(r, "the bytes are no value");
    return t.kind == PERF_TOKEN_STR ? read_key_text(r, &t) : make_object(r, &t);
}

static PyObject *
read_dict(read_state *r, size_t size)
{
    PyObject *dict = spend(r, 64 + 64 * size) ? PyDict_New() : NULL;
    for (size_t i = 0; dict && i < size; i++) {
        PyObject *key = read_key(r);
        PyObject *value = key ? read_object(r) : NULL;
        if (!value || !added(r, PyDict_SetItem(dict, key, value)))
            Py_CLEAR(dict);
        Py_XDECREF(key);
        Py_XDECREF(value);
    }
    return dict;
}

static PyObject *
read_set(read_state *r, size_t size, bool frozen)
{
    if (!spend(r, 216 + 32 * size))
        return NULL;
    PyObject *set = frozen ? PyFrozenSet_New(NULL) : PySet_New(NULL);
    if (frozen && set && !size)
        return set; /* one for all: nothing is added to it */
    for (size_t i = 0; set && i < size; i++) {
        PyObject *member = read_object(r);
        if (!member || !added(r, PySet_Add(set, member)))
            Py_CLEAR(set);
        Py_XDECREF(member);
    }
    return set;
}

static PyObject *
read_typed(read_state *r, const perf_token *t)
{
    if (!r->revive)
        return corrupt(r, "it holds a type, and nothing revives it");
    PyObject *name = read_text(r, t), *object = NULL;
    PyObject *plain = name ? read_object(r) : NULL;
    if (plain)
        object = PyObject_CallFunctionObjArgs(r->revive, name, plain, NULL);
    Py_XDECREF(name);
    Py_XDECREF(plain);
    return object;
}

static PyObject *
make_object(read_state *r, const perf_token *t)
{
    switch (t->kind) {
    case PERF_TOKEN_NONE: Py_RETURN_NONE;
    case PERF_TOKEN_BOOL: return PyBool_FromLong((long)t->integer);
    case PERF_TOKEN_INT:
        return spend(r, 32) ? PyLong_FromLongLong(t->integer) : NULL;
    case PERF_TOKEN_BIG: return read_big(r, t);
    case PERF_TOKEN_FLOAT:
        return spend(r, 24) ? PyFloat_FromDouble(t->real) : NULL;
    case PERF_TOKEN_STR: return read_text(r, t);
    case PERF_TOKEN_BYTES:
        return spend(r, 40 + t->size)
                   ? PyBytes_FromStringAndSize((const char *)t->bytes,
                                               (Py_ssize_t)t->size)
                   : NULL;
    case PERF_TOKEN_LIST: return read_list(r, t->size);
    case PERF_TOKEN_TUPLE: return read_tuple(r, t->size);
    case PERF_TOKEN_DICT: return read_dict(r, t->size);
    case PERF_TOKEN_SET: return read_set(r, t->size, false);
    case PERF_TOKEN_FROZENSET: return read_set(r, t->size, true);
    case PERF_TOKEN_TYPED: return read_typed(r, t);
    case PERF_TOKEN_END: break;
    }
    return corrupt(r, "the bytes are no value");
}

static PyObject *
read_object(read_state *r)
{
    perf_token t;
    if (perf_codec_next(&r->reader, &t))
        return corrupt(r, "the bytes are no value");
    return make_object(r, &t);
}

PyObject *
codec_read(codec_state *state, const uint8_t *bytes, size_t size,
           PyObject *revive, size_t memory)
{
    read_state r = {
        .revive = revive == Py_None ? NULL : revive,
        .undecodable = state->undecodable,
        .memory = memory,
    };
    perf_codec_open(&r.reader, bytes, size);
    PyObject *object = read_object(&r);
    perf_token end;
    if (object && perf_codec_next(&r.reader, &end)) {
        Py_CLEAR(object);
        corrupt(&r, "something follows the value");
    }
    for (size_t i = 0; i < MEMO; i++)
        Py_XDECREF(r.memo[i]);
    return object;
}
