/* weigh.c - about how much memory an object takes. Of a long container
 * a few members are looked at, and stand for the others. What is in two places
 * is counted twice. */
#include "codec.h"

enum { MEMBERS = 32, DEPTH = 8, LOOKS = 2000 };

typedef struct scale {
    unsigned depth;
    unsigned looks; /* objects that were looked at */
} scale;

static size_t weigh(scale *s, PyObject *object);

/* What an object says of itself, or what its type does. */
static size_t
own_size(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    size_t head = PyType_IS_GC(type) ? 16 : 0;
    PyObject *said = PyObject_CallMethod(object, "__sizeof__", NULL);
    size_t size =
        said && PyLong_Check(said) ? PyLong_AsSize_t(said) : (size_t)-1;
    Py_XDECREF(said);
    PyErr_Clear();
    if (size == (size_t)-1 || size > PY_SSIZE_T_MAX / 2)
        size = (size_t)type->tp_basicsize;
    return head + size;
}

/* So many of `size` weigh `sum`. */
static size_t
scaled(size_t sum, Py_ssize_t looked, Py_ssize_t size)
{
    return looked ? (size_t)((double)sum / (double)looked * (double)size) : 0;
}

static Py_ssize_t
few(Py_ssize_t size)
{
    return size < MEMBERS ? size : MEMBERS;
}

/* Spread over all of it: the first ones may be another kind of thing. */
static size_t
weigh_sequence(scale *s, PyObject *sequence, Py_ssize_t size)
{
    Py_ssize_t count = few(size), looked = 0;
    size_t sum = 0;
    for (; looked < count && s->looks < LOOKS; looked++) {
        Py_ssize_t i = looked * size / count;
        if (i >= Py_SIZE(sequence)) /* __sizeof__() took something away */
            break;
        PyObject *item = PyList_CheckExact(sequence)
                             ? PyList_GET_ITEM(sequence, i)
                             : PyTuple_GET_ITEM(sequence, i);
        Py_INCREF(item);
        sum += weigh(s, item);
        Py_DECREF(item);
    }
    return scaled(sum, looked, size) + 56 + sizeof(PyObject *) * (size_t)size;
}

static size_t
weigh_dict(scale *s, PyObject *dict)
{
    Py_ssize_t size = PyDict_GET_SIZE(dict), looked = 0, position = 0;
    PyObject *key, *value;
    size_t sum = 0;
    while (looked < few(size) && s->looks < LOOKS &&
           PyDict_Next(dict, &position, &key, &value)) {
        Py_INCREF(key);
        Py_INCREF(value);
        sum += weigh(s, key) + weigh(s, value);
        Py_DECREF(key);
        Py_DECREF(value);
        looked++;
    }
    return scaled(sum, looked, size) + own_size(dict);
}

static size_t
weigh_set(scale *s, PyObject *set)
{
    Py_ssize_t size = PySet_GET_SIZE(set), looked = 0;
    PyObject *members = PyObject_GetIter(set), *member;
    size_t sum = 0;
    while (members && looked < few(size) && s->looks < LOOKS &&
           (member = PyIter_Next(members))) {
        sum += weigh(s, member);
        Py_DECREF(member);
        looked++;
    }
    Py_XDECREF(members);
    PyErr_Clear();
    return scaled(sum, looked, size) + own_size(set);
}

static size_t
weigh_instance(scale *s, PyObject *object)
{
    size_t size = own_size(object);
    if (PyType_Check(object) || PyModule_Check(object) ||
        PyFunction_Check(object))
        return size; /* not made for the cache */
    PyObject *fields = PyObject_GetAttrString(object, "__dict__");
    if (fields && PyDict_CheckExact(fields))
        size += weigh(s, fields);
    Py_XDECREF(fields);
    PyErr_Clear();
    return size;
}

static size_t
weigh_nested(scale *s, PyObject *object)
{
    if (PyDict_CheckExact(object))
        return weigh_dict(s, object);
    if (PyList_CheckExact(object))
        return weigh_sequence(s, object, PyList_GET_SIZE(object));
    if (PyTuple_CheckExact(object))
        return weigh_sequence(s, object, PyTuple_GET_SIZE(object));
    if (PyAnySet_CheckExact(object))
        return weigh_set(s, object);
    return weigh_instance(s, object);
}

static size_t
weigh(scale *s, PyObject *object)
{
    s->looks++;
    if (PyUnicode_CheckExact(object)) {
        size_t head = PyUnicode_IS_COMPACT_ASCII(object)
                          ? sizeof(PyASCIIObject)
                          : sizeof(PyCompactUnicodeObject);
        return head + (size_t)(PyUnicode_GET_LENGTH(object) + 1) *
                          (size_t)PyUnicode_KIND(object);
    }
    if (PyBytes_CheckExact(object))
        return sizeof(PyBytesObject) + (size_t)PyBytes_GET_SIZE(object);
    if (object == Py_None || PyBool_Check(object))
        return 0; /* there is one of each anyway */
    if (PyFloat_CheckExact(object))
        return sizeof(PyFloatObject);
    if (PyLong_CheckExact(object))
        return own_size(object);
    if (s->depth == DEPTH || s->looks > LOOKS)
        return (size_t)Py_TYPE(object)->tp_basicsize;
    s->depth++;
    size_t size = weigh_nested(s, object);
    s->depth--;
    return size;
}

size_t
codec_weigh(PyObject *object)
{
    scale s = {0};
    return weigh(&s, object);
}
