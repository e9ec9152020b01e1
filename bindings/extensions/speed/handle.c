/* handle.c - the span as a Python object, and the core's verbs on it. */
#include "speed.h"

PyObject *speed_no_span;

/* Handles that were let go of, for the next ones: as many as spans may be open
 * inside of each other in most programs. */
enum { SPARE_MAX = 32 };
static speed_handle *spare[SPARE_MAX];
static int spares;

PyObject *
speed_handle_of(const perf_span *span)
{
    speed_handle *self;
    if (spares) {
        self = spare[--spares];
        PyObject_Init((PyObject *)self, &speed_handle_type);
    } else {
        self = PyObject_New(speed_handle, &speed_handle_type);
    }
    if (!self) {
        PyErr_Clear();
        return NULL;
    }
    self->span = *span;
    return (PyObject *)self;
}

/* Handle(bytes): the C struct as it lies in memory. */
static PyObject *
handle_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    Py_buffer raw;
    perf_span span;
    if (kwargs && PyDict_GET_SIZE(kwargs))
        return PyErr_Format(PyExc_TypeError, "Handle() takes no keywords");
    if (!PyArg_ParseTuple(args, "y*", &raw))
        return NULL;
    bool fits = raw.len == (Py_ssize_t)sizeof(span);
    if (fits)
        memcpy(&span, raw.buf, sizeof(span));
    PyBuffer_Release(&raw);
    if (!fits)
        return PyErr_Format(PyExc_ValueError, "Handle() takes %zu bytes",
                            sizeof(span));
    PyObject *self = speed_handle_of(&span);
    return self ? self : PyErr_NoMemory();
}

static void
handle_dealloc(PyObject *self)
{
    if (spares < SPARE_MAX)
        spare[spares++] = (speed_handle *)self;
    else
        PyObject_Free(self);
}

/* Its bytes, for whoever wants to give the struct to the core by cffi. */
static int
handle_buffer(PyObject *self, Py_buffer *view, int flags)
{
    return PyBuffer_FillInfo(view, self, &((speed_handle *)self)->span,
                             sizeof(perf_span), 1, flags);
}

static PyObject *
handle_repr(PyObject *self)
{
    const perf_span *span = speed_span_of(self);
    return PyUnicode_FromFormat("<libperf handle %llx>",
                                (unsigned long long)span->id);
}

/* become(other): the one change there is, for spans whose end is told where
 * the context of their start is out of reach. */
static PyObject *
handle_become(PyObject *self, PyObject *other)
{
    if (!speed_is_handle(other))
        return PyErr_Format(PyExc_TypeError, "become() takes a Handle");
    if (self == speed_no_span)
        return PyErr_Format(PyExc_ValueError, "NO_SPAN stays what it is");
    ((speed_handle *)self)->span = *speed_span_of(other);
    Py_RETURN_NONE;
}

static PyObject *
handle_copy(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *made = speed_handle_of(speed_span_of(self));
    return made ? made : PyErr_NoMemory();
}

#define FIELD(type, name)                                                      \
    {                                                                          \
#name, type, offsetof(speed_handle, span) + offsetof(perf_span, name), \
            READONLY, NULL                                                     \
    }

static PyMemberDef handle_members[] = {FIELD(T_ULONGLONG, trace_hi),
                                       FIELD(T_ULONGLONG, trace_lo),
                                       FIELD(T_ULONGLONG, id),
                                       FIELD(T_ULONGLONG, parent),
                                       FIELD(T_UINT, name),
                                       FIELD(T_UINT, task),
                                       FIELD(T_UINT, slot),
                                       FIELD(T_UINT, process),
                                       FIELD(T_ULONGLONG, start_ticks),
                                       {NULL, 0, 0, 0, NULL}};

static PyMethodDef handle_methods[] = {{"become", handle_become, METH_O, NULL},
                                       {"copy", handle_copy, METH_NOARGS, NULL},
                                       {NULL, NULL, 0, NULL}};

static PyBufferProcs handle_as_buffer = {.bf_getbuffer = handle_buffer};

/* Static: there is one interpreter, and what dies needs no count of its type.
 */
PyTypeObject speed_handle_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "libperf._speed.Handle",
    .tp_doc = "What a span is: ids, name, start. Immutable.",
    .tp_basicsize = sizeof(speed_handle),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = handle_new,
    .tp_dealloc = handle_dealloc,
    .tp_repr = handle_repr,
    .tp_as_buffer = &handle_as_buffer,
    .tp_methods = handle_methods,
    .tp_members = handle_members,
};

/* ---- the core's verbs ---- */

/* The arguments: a handle and numbers behind it. Numbers are what the core
 * itself gave, they are cut to its types. */
static bool
arguments(const char *verb, PyObject *const *args, Py_ssize_t nargs,
          Py_ssize_t handle_at, Py_ssize_t count, uint64_t *numbers)
{
    if (nargs != count || !speed_is_handle(args[handle_at])) {
        PyErr_Format(PyExc_TypeError, "%s() takes %zd arguments and a Handle",
                     verb, count - 1);
        return false;
    }
    for (Py_ssize_t i = 0; i < count; i++)
        numbers[i] =
            i == handle_at ? 0 : PyLong_AsUnsignedLongLongMask(args[i]);
    return !PyErr_Occurred();
}

static PyObject *
begun(perf_span span)
{
    PyObject *made = speed_handle_of(&span);
    if (made)
        return made;
    perf_span_end(span);
    return Py_NewRef(speed_no_span);
}

static PyObject *
py_begin(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    uint64_t n[2];
    if (!arguments("begin", args, nargs, 1, 2, n))
        return NULL;
    return begun(perf_span_begin((uint32_t)n[0], *speed_span_of(args[1])));
}

static PyObject *
py_begin_at(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    uint64_t n[4];
    if (!arguments("begin_at", args, nargs, 1, 4, n))
        return NULL;
    return begun(perf_span_begin_at((uint32_t)n[0], *speed_span_of(args[1]),
                                    (uint32_t)n[2], n[3]));
}

static PyObject *
py_begin_in_task(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    uint64_t n[2];
    if (!arguments("begin_in_task", args, nargs, 1, 2, n))
        return NULL;
    PyObject *made = speed_begin_in_task((uint32_t)n[0], args[1]);
    return made || PyErr_Occurred() ? made : Py_NewRef(speed_no_span);
}

static PyObject *
py_end(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    uint64_t n[1];
    if (!arguments("end", args, nargs, 0, 1, n))
        return NULL;
    return PyLong_FromUnsignedLongLong(perf_span_end(*speed_span_of(args[0])));
}

static PyObject *
py_end_as(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    uint64_t n[3];
    if (!arguments("end_as", args, nargs, 0, 3, n))
        return NULL;
    return PyLong_FromUnsignedLongLong(
        perf_span_end_as(*speed_span_of(args[0]), (perf_status)n[1], n[2]));
}

static PyObject *
py_set_int(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    uint64_t n[3];
    if (!arguments("set_int", args, nargs, 0, 3, n))
        return NULL;
    return PyBool_FromLong(perf_span_set_int(*speed_span_of(args[0]),
                                             (uint32_t)n[1], (int64_t)n[2]));
}

static PyObject *
py_set_name(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    uint64_t n[3];
    if (!arguments("set_name", args, nargs, 0, 3, n))
        return NULL;
    return PyBool_FromLong(perf_span_set_name(*speed_span_of(args[0]),
                                              (uint32_t)n[1], (uint32_t)n[2]));
}

static PyObject *
py_set_attribute(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 3 || !speed_is_handle(args[0]))
        return PyErr_Format(PyExc_TypeError,
                            "set_attribute() takes a Handle, name and value");
    int kept = speed_set_attribute(args[0], args[1], args[2]);
    return kept < 0 ? NULL : PyBool_FromLong(kept);
}

#define FAST(f) (PyCFunction)(void (*)(void)) f, METH_FASTCALL

PyMethodDef speed_handle_functions[] = {
    {"begin", FAST(py_begin), "perf_span_begin()"},
    {"begin_at", FAST(py_begin_at), "perf_span_begin_at()"},
    {"begin_in_task", FAST(py_begin_in_task), "in the task that runs now"},
    {"end", FAST(py_end), "perf_span_end()"},
    {"end_as", FAST(py_end_as), "perf_span_end_as()"},
    {"set_int", FAST(py_set_int), "perf_span_set_int()"},
    {"set_name", FAST(py_set_name), "perf_span_set_name()"},
    {"set_attribute", FAST(py_set_attribute), "libperf.spans.set_attribute()"},
    {NULL, NULL, 0, NULL}};

bool
speed_handle_ready(void)
{
    perf_span none = {0};
    if (speed_no_span)
        return true;
    if (PyType_Ready(&speed_handle_type) < 0)
        return false;
    speed_no_span = speed_handle_of(&none);
    if (!speed_no_span)
        PyErr_NoMemory();
    return speed_no_span != NULL;
}
