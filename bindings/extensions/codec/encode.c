/* encode.c - from objects to tokens. The walk holds a reference to
 * whatever it is at: callables that it calls may change what it walks. */
#include "codec.h"

void
codec_walk_begin(codec_walk *walk, codec_state *state, PyObject *extend,
                 const char *root, bool canonical)
{
    perf_codec_start(&walk->writer, walk->buffer, sizeof walk->buffer,
                     CODEC_LIMIT, NULL);
    walk->extend = extend == Py_None ? NULL : extend;
    walk->unencodable = state->unencodable;
    walk->root = root;
    walk->step = NULL;
    walk->depth = 0;
    walk->canonical = canonical;
}

void
codec_walk_end(codec_walk *walk)
{
    perf_codec_stop(&walk->writer);
}

bool
codec_put(codec_walk *walk, const perf_token *token)
{
    perf_err err = perf_codec_put(&walk->writer, token);
    if (!err)
        return true;
    if (err == PERF_ERR_NOMEM)
        PyErr_NoMemory();
    else
        codec_unencodable(walk, NULL, "it is larger than 256 MiB");
    return false;
}

static bool
put_sized(codec_walk *walk, perf_token_kind kind, Py_ssize_t size)
{
    return codec_put(walk, &(perf_token){.kind = kind, .size = (size_t)size});
}

static bool
put_bytes(codec_walk *walk, perf_token_kind kind, const void *bytes,
          Py_ssize_t size)
{
    return codec_put(
        walk,
        &(perf_token){.kind = kind, .bytes = bytes, .size = (size_t)size});
}

/* ---- plain values ---- */

static bool
put_str(codec_walk *walk, perf_token_kind kind, PyObject *text)
{
    if (PyUnicode_IS_COMPACT_ASCII(text))
        return put_bytes(walk, kind, PyUnicode_1BYTE_DATA(text),
                         PyUnicode_GET_LENGTH(text));
    /* PyUnicode_AsUTF8() would keep the UTF-8 for as long as the text lives */
    PyObject *utf8 = PyUnicode_AsEncodedString(text, "utf-8", "surrogatepass");
    bool done = utf8 && put_bytes(walk, kind, PyBytes_AS_STRING(utf8),
                                  PyBytes_GET_SIZE(utf8));
    Py_XDECREF(utf8);
    return done;
}

/* int.to_bytes() is what public API there is for large ones. */
static bool
put_big(codec_walk *walk, PyObject *number)
{
    bool done = false;
    PyObject *bytes = NULL, *method = NULL, *keywords = NULL;
    PyObject *bits = PyObject_CallMethod(number, "bit_length", NULL);
    size_t count = bits ? PyLong_AsSize_t(bits) : (size_t)-1;
    if (count != (size_t)-1 || !PyErr_Occurred()) {
        /* a power of two below 0 takes no bit for its sign */
        size_t size = count / 8 + 1;
        keywords = Py_BuildValue("{s:O}", "signed", Py_True);
        method = PyObject_GetAttrString(number, "to_bytes");
        PyObject *args = Py_BuildValue("(ns)", (Py_ssize_t)size, "little");
        if (keywords && method && args)
            bytes = PyObject_Call(method, args, keywords);
        Py_XDECREF(args);
    }
    if (bytes) {
        const uint8_t *at = (const uint8_t *)PyBytes_AS_STRING(bytes);
        Py_ssize_t size = PyBytes_GET_SIZE(bytes);
        if (size > 9 && at[size - 1] == 0xFF && at[size - 2] & 0x80)
            size--;
        done = put_bytes(walk, PERF_TOKEN_BIG, at, size);
    }
    Py_XDECREF(bits);
    Py_XDECREF(method);
    Py_XDECREF(keywords);
    Py_XDECREF(bytes);
    return done;
}

static bool
put_int(codec_walk *walk, PyObject *number)
{
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(number, &overflow);
    if (overflow)
        return put_big(walk, number);
    return codec_put(walk,
                     &(perf_token){.kind = PERF_TOKEN_INT, .integer = value});
}

static bool
put_float(codec_walk *walk, double value)
{
    if (walk->canonical && value != value)
        value = Py_NAN; /* one of many */
    return codec_put(walk,
                     &(perf_token){.kind = PERF_TOKEN_FLOAT, .real = value});
}

/* ---- containers ---- */

/* Of the container that the walk is in. */
static bool
changed(codec_walk *walk)
{
    walk->step = walk->step->up;
    codec_unencodable(walk, NULL, "it was changed meanwhile");
    return false;
}

static bool
put_sequence(codec_walk *walk, PyObject *sequence, bool list)
{
    codec_step step = {.up = walk->step, .container = sequence};
    Py_ssize_t size = Py_SIZE(sequence);
    if (!put_sized(walk, list ? PERF_TOKEN_LIST : PERF_TOKEN_TUPLE, size))
        return false;
    walk->step = &step;
    bool good = true;
    for (Py_ssize_t i = 0; good && i < size; i++) {
        if (i >= Py_SIZE(sequence))
            return changed(walk);
        step.index = i;
        PyObject *item =
            list ? PyList_GET_ITEM(sequence, i) : PyTuple_GET_ITEM(sequence, i);
        Py_INCREF(item);
        good = codec_walk_object(walk, item);
        Py_DECREF(item);
    }
    if (good && size != Py_SIZE(sequence))
        return changed(walk);
    if (good)
        walk->step = step.up;
    return good;
}

/* Where members of a container lie that are to be sorted. */
typedef struct pieces {
    perf_codec_piece few[32];
    perf_codec_piece *all;
} pieces;

static bool
pieces_begin(pieces *p, Py_ssize_t count)
{
    p->all = p->few;
    if (count > (Py_ssize_t)(sizeof p->few / sizeof *p->few))
        p->all = PyMem_New(perf_codec_piece, (size_t)count);
    if (!p->all)
        PyErr_NoMemory();
    return p->all;
}

static void
pieces_end(pieces *p)
{
    if (p->all != p->few)
        PyMem_Free(p->all);
}

static bool
pieces_sort(pieces *p, codec_walk *walk, Py_ssize_t count)
{
    perf_err err = perf_codec_sort(&walk->writer, p->all, (size_t)count);
    if (err)
        PyErr_NoMemory();
    return !err;
}

static bool
put_dict(codec_walk *walk, PyObject *dict)
{
    codec_step step = {.up = walk->step, .container = dict, .index = -1};
    Py_ssize_t size = PyDict_GET_SIZE(dict), position = 0, count = 0;
    PyObject *key, *value;
    pieces sorted = {.all = NULL};
    if (!put_sized(walk, PERF_TOKEN_DICT, size) ||
        (walk->canonical && !pieces_begin(&sorted, size)))
        return false;
    walk->step = &step;
    bool good = true;
    while (good && PyDict_Next(dict, &position, &key, &value)) {
        if (count == size) {
            good = changed(walk);
            break;
        }
        Py_INCREF(key);
        Py_INCREF(value);
        step.key = key;
        perf_codec_piece piece = {.begin = walk->writer.size};
        good = codec_walk_object(walk, key);
        piece.key_end = walk->writer.size;
        good = good && codec_walk_object(walk, value);
        piece.end = walk->writer.size;
        if (walk->canonical)
            sorted.all[count] = piece;
        count++;
        Py_DECREF(key);
        Py_DECREF(value);
    }
    step.key = NULL;
    if (good && (count != size || PyDict_GET_SIZE(dict) != size))
        good = changed(walk);
    if (walk->canonical) {
        good = good && pieces_sort(&sorted, walk, count);
        pieces_end(&sorted);
    }
    if (good)
        walk->step = step.up;
    return good;
}

static bool
put_set(codec_walk *walk, PyObject *set, perf_token_kind kind)
{
    codec_step step = {.up = walk->step, .container = set, .index = -1};
    Py_ssize_t size = PySet_GET_SIZE(set), count = 0;
    pieces sorted;
    if (!put_sized(walk, kind, size) || !pieces_begin(&sorted, size))
        return false;
    walk->step = &step;
    PyObject *members = PyObject_GetIter(set), *member;
    bool good = members;
    while (good && (member = PyIter_Next(members))) {
        if (count == size) {
            Py_DECREF(member);
            good = changed(walk);
            break;
        }
        perf_codec_piece *piece = &sorted.all[count++];
        piece->begin = walk->writer.size;
        good = codec_walk_object(walk, member);
        piece->key_end = piece->end = walk->writer.size;
        Py_DECREF(member);
    }
    Py_XDECREF(members);
    good = good && !PyErr_Occurred();
    if (good && (count != size || PySet_GET_SIZE(set) != size))
        good = changed(walk);
    good = good && pieces_sort(&sorted, walk, count);
    pieces_end(&sorted);
    if (good)
        walk->step = step.up;
    return good;
}

/* ---- everything else ---- */

static bool
put_typed(codec_walk *walk, PyObject *object, PyObject *pair)
{
    if (!PyTuple_CheckExact(pair) || PyTuple_GET_SIZE(pair) != 2 ||
        !PyUnicode_CheckExact(PyTuple_GET_ITEM(pair, 0))) {
        PyErr_Format(PyExc_TypeError, "expected (name, value), not %R", pair);
        return false;
    }
    codec_step step = {.up = walk->step, .index = -1, .typed = object};
    if (!put_str(walk, PERF_TOKEN_TYPED, PyTuple_GET_ITEM(pair, 0)))
        return false;
    walk->step = &step;
    bool good = codec_walk_object(walk, PyTuple_GET_ITEM(pair, 1));
    if (good)
        walk->step = step.up;
    return good;
}

static bool
put_other(codec_walk *walk, PyObject *object)
{
    PyObject *pair =
        walk->extend ? PyObject_CallOneArg(walk->extend, object) : Py_None;
    bool good = false;
    if (!pair) {
        /* what interrupts is no property of the object */
        if (PyErr_ExceptionMatches(PyExc_Exception) &&
            !PyErr_ExceptionMatches(PyExc_MemoryError))
            codec_unencodable(walk, object, NULL);
        return false;
    }
    if (pair == Py_None)
        codec_unencodable(walk, object, NULL);
    else
        good = put_typed(walk, object, pair);
    if (walk->extend)
        Py_DECREF(pair);
    return good;
}

static bool
put_nested(codec_walk *walk, PyObject *object)
{
    if (PyDict_CheckExact(object))
        return put_dict(walk, object);
    if (PyList_CheckExact(object))
        return put_sequence(walk, object, true);
    if (PyTuple_CheckExact(object))
        return put_sequence(walk, object, false);
    if (PyFrozenSet_CheckExact(object))
        return put_set(walk, object, PERF_TOKEN_FROZENSET);
    if (Py_IS_TYPE(object, &PySet_Type))
        return put_set(walk, object, PERF_TOKEN_SET);
    return put_other(walk, object);
}

bool
codec_walk_object(codec_walk *walk, PyObject *object)
{
    if (PyUnicode_CheckExact(object))
        return put_str(walk, PERF_TOKEN_STR, object);
    if (PyLong_CheckExact(object))
        return put_int(walk, object);
    if (object == Py_None)
        return put_sized(walk, PERF_TOKEN_NONE, 0);
    if (PyBool_Check(object))
        return codec_put(walk, &(perf_token){.kind = PERF_TOKEN_BOOL,
                                             .integer = object == Py_True});
    if (PyFloat_CheckExact(object))
        return put_float(walk, PyFloat_AS_DOUBLE(object));
    if (PyBytes_CheckExact(object))
        return put_bytes(walk, PERF_TOKEN_BYTES, PyBytes_AS_STRING(object),
                         PyBytes_GET_SIZE(object));
    if (walk->depth == PERF_CODEC_DEPTH) {
        codec_unencodable(walk, object, "it is nested too deep");
        return false;
    }
    walk->depth++;
    bool good = put_nested(walk, object);
    walk->depth--;
    return good;
}
