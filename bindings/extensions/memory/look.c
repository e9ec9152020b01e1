/* look.c - what the wrapper of a cached function calls: a look into the
 * table, and what takes more in the one case that it is not there. */
#include "memory.h"

typedef struct look {
    PyObject_HEAD table *table;
    PyObject *slow; /* (key, args, kwargs) */
} look;

static PyObject *
go_on(look *self, PyObject *key, PyObject *args)
{
    PyObject *none = PyDict_New();
    if (!none)
        return NULL;
    PyObject *found =
        PyObject_CallFunctionObjArgs(self->slow, key, args, none, NULL);
    Py_DECREF(none);
    return found;
}

/* one(argument): which is the key itself. */
static PyObject *
look_one(look *self, PyObject *key)
{
    if (__builtin_expect(PyUnicode_CheckExact(key) || PyLong_CheckExact(key),
                         1)) {
        PyObject *found = mem_get(self->table, key);
        if (found != mem_missing)
            return found;
        Py_DECREF(found);
    }
    PyObject *args = PyTuple_Pack(1, key);
    PyObject *found = args ? go_on(self, key, args) : NULL;
    Py_XDECREF(args);
    return found;
}

/* The types are exact: 1 and True are two keys. See PLAIN_IN_TUPLES. */
static bool
is_plain(PyObject *part)
{
    return PyUnicode_CheckExact(part) || PyLong_CheckExact(part) ||
           part == Py_None || PyBytes_CheckExact(part);
}

/* several(*arguments): whose tuple is the key. */
static PyObject *
look_several(look *self, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *key = PyTuple_New(nargs);
    if (!key)
        return NULL;
    bool plain = true;
    for (Py_ssize_t i = 0; i < nargs; i++) {
        plain = plain && is_plain(args[i]);
        PyTuple_SET_ITEM(key, i, Py_NewRef(args[i]));
    }
    PyObject *found =
        plain ? mem_get(self->table, key) : Py_NewRef(mem_missing);
    if (found == mem_missing)
        Py_SETREF(found, go_on(self, key, key));
    Py_DECREF(key);
    return found;
}

static PyObject *
look_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *it, *slow;
    if (kwargs && PyDict_GET_SIZE(kwargs))
        return PyErr_Format(PyExc_TypeError, "Look() takes no keywords");
    if (!PyArg_ParseTuple(args, "O!O", mem_table_type, &it, &slow))
        return NULL;
    look *self = (look *)type->tp_alloc(type, 0);
    if (self) {
        self->table = (table *)Py_NewRef(it);
        self->slow = Py_NewRef(slow);
    }
    return (PyObject *)self;
}

static int
look_traverse(look *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->table);
    Py_VISIT(self->slow);
    return 0;
}

/* The circle goes through the function's wrapper, which is cleared as well: a
 * Look is whole as long as it lives. */
static void
look_dealloc(look *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(self->table);
    Py_CLEAR(self->slow);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef look_methods[] = {
    {"one", (PyCFunction)look_one, METH_O, NULL},
    {"several", (PyCFunction)(void (*)(void))look_several, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Spec look_spec = {
    .name = "libperf._memory.Look",
    .basicsize = sizeof(look),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = (PyType_Slot[]){{Py_tp_new, look_new},
                             {Py_tp_traverse, look_traverse},
                             {Py_tp_dealloc, look_dealloc},
                             {Py_tp_methods, look_methods},
                             {0, NULL}},
};

PyObject *
mem_look_type(void)
{
    return PyType_FromSpec(&look_spec);
}
