/* front.c - get() and set() of a cache, as far as they are one step
 * into a table; what TieredCache is made of. Whatever takes more is the
 * subclass's: _get(), _set() and _unlist(), which get the very same arguments.
 */
#include "memory.h"

#include <stddef.h>

typedef struct front {
    PyObject_HEAD table *gets, *sets; /* NULL: it takes more */
} front;

static PyObject *get_name, *set_name, *unlist_name;

static bool
is_plain(PyObject *key)
{
    return PyUnicode_CheckExact(key) || PyLong_CheckExact(key);
}

/** self.<name>(...), with the arguments that we got ourselves. */
static PyObject *
pass_on(front *self, PyObject *name, PyObject *const *args, Py_ssize_t nargs,
        PyObject *kwnames)
{
    Py_ssize_t count = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    PyObject *few[8], **all = few;
    if (count + 1 > (Py_ssize_t)Py_ARRAY_LENGTH(few) &&
        !(all = PyMem_New(PyObject *, (size_t)count + 1)))
        return PyErr_NoMemory();
    all[0] = (PyObject *)self;
    for (Py_ssize_t i = 0; i < count; i++)
        all[i + 1] = args[i];
    PyObject *found =
        PyObject_VectorcallMethod(name, all, (size_t)nargs + 1, kwnames);
    if (all != few)
        PyMem_Free(all);
    return found;
}

static PyObject *
front_get(front *self, PyObject *const *args, Py_ssize_t nargs,
          PyObject *kwnames)
{
    if (self->gets && !kwnames && (nargs == 1 || nargs == 2) &&
        is_plain(args[0])) {
        table *it = (table *)Py_NewRef(self->gets); /* close() may come */
        PyObject *found = mem_get(it, args[0]);
        Py_DECREF(it);
        if (found != mem_missing)
            return found;
        Py_DECREF(found);
    }
    return pass_on(self, get_name, args, nargs, kwnames);
}

static PyObject *
front_set(front *self, PyObject *const *args, Py_ssize_t nargs,
          PyObject *kwnames)
{
    if (self->sets && !kwnames && nargs == 2) {
        table *it = (table *)Py_NewRef(self->sets);
        PyObject *gone = mem_set_plain(it, args, nargs);
        Py_DECREF(it);
        if (!gone || gone == Py_None)
            return gone;
        if (gone != Py_False) {
            PyObject *done =
                PyObject_CallMethodOneArg((PyObject *)self, unlist_name, gone);
            Py_DECREF(gone);
            return done;
        }
        Py_DECREF(gone);
    }
    return pass_on(self, set_name, args, nargs, kwnames);
}

static int
put(table **place, PyObject *given)
{
    bool is_table = Py_IS_TYPE(given, mem_table_type);
    if (!is_table && given != Py_None) {
        PyErr_SetString(PyExc_TypeError, "serve() takes a Table or None");
        return -1;
    }
    Py_XSETREF(*place, is_table ? (table *)Py_NewRef(given) : NULL);
    return 0;
}

static PyObject *
front_serve(front *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 2)
        return PyErr_Format(PyExc_TypeError, "serve() takes two arguments");
    if (put(&self->gets, args[0]) || put(&self->sets, args[1]))
        return NULL;
    if (self->sets && !self->sets->copied) {
        Py_CLEAR(self->sets);
        return PyErr_Format(PyExc_ValueError, "this Table is not prepared");
    }
    Py_RETURN_NONE;
}

static int
front_traverse(front *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->gets);
    Py_VISIT(self->sets);
    return 0;
}

static int
front_clear(front *self)
{
    Py_CLEAR(self->gets);
    Py_CLEAR(self->sets);
    return 0;
}

static void
front_dealloc(front *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    front_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

PyDoc_STRVAR(get_doc,
             "get($self, key, default=None, *, scope=None)\n--\n\n"
             "The value, or `default`: None as a value and no value differ by "
             "it. Raises only for a key without a form.");
PyDoc_STRVAR(set_doc,
             "set($self, key, value, ttl=..., *, tags=(), scope=None)\n--\n\n"
             "ttl: seconds, else the cache's; None: for ever; 0: not at all, "
             "and what was there is gone.");

static PyMethodDef front_methods[] = {
    {"get", (PyCFunction)(void (*)(void))front_get,
     METH_FASTCALL | METH_KEYWORDS, get_doc},
    {"set", (PyCFunction)(void (*)(void))front_set,
     METH_FASTCALL | METH_KEYWORDS, set_doc},
    {"_serve", (PyCFunction)(void (*)(void))front_serve, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Spec front_spec = {
    .name = "libperf._memory.Front",
    .basicsize = sizeof(front),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = (PyType_Slot[]){{Py_tp_traverse, front_traverse},
                             {Py_tp_clear, front_clear},
                             {Py_tp_dealloc, front_dealloc},
                             {Py_tp_methods, front_methods},
                             {0, NULL}},
};

PyObject *
mem_front_type(void)
{
    get_name = PyUnicode_InternFromString("_get");
    set_name = PyUnicode_InternFromString("_set");
    unlist_name = PyUnicode_InternFromString("_unlist");
    if (!get_name || !set_name || !unlist_name)
        return NULL;
    return PyType_FromSpec(&front_spec);
}
