/* block.c - `with libperf.span()`: a type in C that extends Span, a
 * class written in Python, as if it were one more of those with slots.
 *
 * Its objects lie in members that Python's own slots would lie in, so Python
 * itself visits and frees them. */
#include "speed.h"

/* Behind what Span has. */
typedef struct fields {
    PyObject *parent, *attributes, *outer;
    double duration;
    uint32_t number;
} fields;

static PyTypeObject *block;
static Py_ssize_t handle_offset, fields_offset;
static PyObject *str_kind, *str_parent, *str_span;

static fields *
fields_of(PyObject *self)
{
    return (fields *)((char *)self + fields_offset);
}

static PyObject **
handle_of(PyObject *self)
{
    return (PyObject **)((char *)self + handle_offset);
}

/* ---- span(name, /, *, kind="span", parent=None, **attributes) ---- */

/* Take a value out of a dict: a new reference, or `otherwise`. */
static PyObject *
taken_out(PyObject *from, PyObject *name, PyObject *otherwise)
{
    PyObject *found = from ? PyDict_GetItemWithError(from, name) : NULL;
    if (!found)
        return PyErr_Occurred() ? NULL : Py_NewRef(otherwise);
    Py_INCREF(found);
    if (PyDict_DelItem(from, name) < 0)
        Py_CLEAR(found);
    return found;
}

static bool
number_of(PyObject *kind, PyObject *name, uint32_t *out)
{
    PyObject *number = NULL;
    if (kind == str_span && PyUnicode_CheckExact(name))
        number = Py_XNewRef(
            PyDict_GetItemWithError(speed_known_here.span_numbers, name));
    if (!number && !PyErr_Occurred())
        number = PyObject_CallFunctionObjArgs(speed_known_here.number_of_span,
                                              kind, name, NULL);
    if (!number)
        return false;
    *out = (uint32_t)PyLong_AsUnsignedLongMask(number);
    Py_DECREF(number);
    return !PyErr_Occurred();
}

/* `named` is our own dict, or NULL; it is taken over. */
static int
fill(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *named)
{
    fields *own = fields_of(self);
    PyObject *kind = NULL, *parent = NULL;
    if (nargs != 1) {
        PyErr_Format(PyExc_TypeError,
                     "span() takes a name, and everything else by name: %zd "
                     "positional arguments were given",
                     nargs);
    } else if ((kind = taken_out(named, str_kind, str_span)) &&
               (parent = taken_out(named, str_parent, Py_None)) &&
               number_of(kind, args[0], &own->number)) {
        Py_XSETREF(*handle_of(self), Py_NewRef(speed_no_span));
        Py_XSETREF(own->parent, Py_NewRef(parent));
        Py_XSETREF(own->attributes, named);
        Py_CLEAR(own->outer);
        own->duration = 0;
        named = NULL;
    }
    bool failed = PyErr_Occurred() != NULL;
    Py_XDECREF(kind);
    Py_XDECREF(parent);
    Py_XDECREF(named);
    return failed ? -1 : 0;
}

static int
block_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    PyObject *named = NULL;
    if (kwargs && PyDict_GET_SIZE(kwargs) && !(named = PyDict_Copy(kwargs)))
        return -1;
    return fill(self, &PyTuple_GET_ITEM(args, 0), PyTuple_GET_SIZE(args),
                named);
}

/* The same without a tuple and a dict made for it. */
static PyObject *
block_call(PyObject *type, PyObject *const *args, size_t nargsf,
           PyObject *kwnames)
{
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    Py_ssize_t count = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    PyObject *named = NULL;
    if (count && !(named = PyDict_New()))
        return NULL;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (PyDict_SetItem(named, PyTuple_GET_ITEM(kwnames, i),
                           args[nargs + i]) < 0) {
            Py_DECREF(named);
            return NULL;
        }
    }
    PyObject *self = PyType_GenericAlloc((PyTypeObject *)type, 0);
    if (!self) {
        Py_XDECREF(named);
        return NULL;
    }
    if (fill(self, args, nargs, named) < 0)
        Py_CLEAR(self);
    return self;
}

/* ---- begin and end ---- */

static PyObject *
parent_of(PyObject *given, PyObject *outer)
{
    if (!given || given == Py_None)
        return Py_NewRef(outer);
    PyObject *parent =
        PyObject_CallOneArg(speed_known_here.parse_parent, given);
    if (parent && !speed_is_handle(parent)) {
        Py_DECREF(parent);
        return PyErr_Format(PyExc_TypeError, "parent=%R is no span", given);
    }
    return parent;
}

static PyObject *
block_enter(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    fields *own = fields_of(self);
    if (own->outer || !*handle_of(self))
        return PyErr_Format(
            PyExc_RuntimeError,
            "a span is used once: call libperf.span() anew for each block");
    own->outer = speed_current();
    PyObject *parent = parent_of(own->parent, own->outer);
    if (!parent)
        return NULL;
    PyObject *handle = speed_begin_in_task(own->number, parent);
    Py_DECREF(parent);
    if (!handle) /* no memory: as if there were none */
        return PyErr_Occurred() ? NULL : Py_NewRef(self);
    Py_XSETREF(*handle_of(self), Py_NewRef(handle));
    speed_set_current(handle);
    PyObject *attributes = own->attributes;
    own->attributes = NULL;
    bool failed = attributes && !speed_set_attributes(handle, attributes);
    if (failed) { /* nobody will leave what was not entered */
        PyObject *error = speed_take_error();
        speed_set_current(own->outer);
        speed_end_failed(handle, error, 0);
        speed_raise_then(error);
    }
    Py_XDECREF(attributes);
    Py_DECREF(handle);
    return failed ? NULL : Py_NewRef(self);
}

/* Unless this is another context than the one that it became current in. */
static void
put_back(PyObject *handle, PyObject *outer)
{
    PyObject *current = speed_current();
    if (outer && speed_span_of(current)->id == speed_span_of(handle)->id)
        speed_set_current(outer);
    Py_DECREF(current);
}

static PyObject *
block_exit(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    fields *own = fields_of(self);
    if (nargs != 3)
        return PyErr_Format(PyExc_TypeError, "__exit__() takes 3 arguments");
    PyObject *handle = Py_XNewRef(*handle_of(self));
    if (!handle)
        Py_RETURN_NONE;
    put_back(handle, own->outer);
    uint64_t ns = args[1] == Py_None ? perf_span_end(*speed_span_of(handle))
                                     : speed_end_failed(handle, args[1], 0);
    own->duration = (double)ns / 1e9;
    Py_DECREF(handle);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

/* ---- the type ---- */

static PyMethodDef block_methods[] = {
    {"__enter__", block_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))block_exit, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL}};

/* Objects first: those of this type are the garbage collector's to know. */
static PyMemberDef block_members[] = {
    {"_parent", T_OBJECT_EX, offsetof(fields, parent), 0, NULL},
    {"_attributes", T_OBJECT_EX, offsetof(fields, attributes), 0, NULL},
    {"_outer", T_OBJECT_EX, offsetof(fields, outer), 0, NULL},
    {"duration", T_DOUBLE, offsetof(fields, duration), 0, NULL},
    {NULL, 0, 0, 0, NULL}};

static bool
find_handle(PyObject *base)
{
    PyObject *slot = PyObject_GetAttrString(base, "_handle");
    bool found = slot && Py_IS_TYPE(slot, &PyMemberDescr_Type);
    if (found)
        handle_offset = ((PyMemberDescrObject *)slot)->d_member->offset;
    else if (slot)
        PyErr_SetString(PyExc_TypeError, "Span has no slot _handle");
    Py_XDECREF(slot);
    return found;
}

PyObject *
speed_block_type(PyObject *module, PyObject *args)
{
    PyObject *base;
    const char *doc;
    if (!PyArg_ParseTuple(args, "O!s", &PyType_Type, &base, &doc))
        return NULL;
    if (block && (PyObject *)block->tp_base == base)
        return Py_NewRef(block);
    if (!find_handle(base) ||
        !(str_kind = PyUnicode_InternFromString("kind")) ||
        !(str_parent = PyUnicode_InternFromString("parent")) ||
        !(str_span = PyUnicode_InternFromString("span")))
        return NULL;
    PyMemberDef members[Py_ARRAY_LENGTH(block_members)];
    fields_offset = (((PyTypeObject *)base)->tp_basicsize + 7) & ~7;
    memcpy(members, block_members, sizeof(members));
    for (PyMemberDef *each = members; each->name; each++)
        each->offset += fields_offset;
    PyType_Spec spec = {
        .name = "libperf.spans.span",
        .basicsize = (int)(fields_offset + (Py_ssize_t)sizeof(fields)),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
        .slots = (PyType_Slot[]){{Py_tp_doc, (void *)(uintptr_t)doc},
                                 {Py_tp_init, block_init},
                                 {Py_tp_methods, block_methods},
                                 {Py_tp_members, members},
                                 {0, NULL}},
    };
    PyTypeObject *made = (PyTypeObject *)PyType_FromSpecWithBases(&spec, base);
    if (!made)
        return NULL;
    made->tp_vectorcall = block_call;
    Py_XSETREF(block, (PyTypeObject *)Py_NewRef(made));
    return (PyObject *)made;
}
