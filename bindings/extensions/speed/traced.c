/* traced.c - a traced function: what its wrapper calls, `run(args,
 * kwargs)`, and calls of plain functions from beginning to end. */
#include "speed.h"

PyTypeObject *speed_traced_type;

static vectorcallfunc python_call; /* how Python functions are called */

/* ---- begin and end ---- */

static PyObject *
begin_by_python(speed_traced *self, PyObject *parent)
{
    PyObject *number = PyLong_FromUnsignedLong(self->number), *made = NULL;
    PyObject *begin = Py_NewRef(self->begin);
    if (number)
        made = PyObject_CallFunctionObjArgs(begin, number, parent, NULL);
    Py_XDECREF(number);
    Py_DECREF(begin);
    if (made && speed_is_handle(made))
        return made;
    Py_XDECREF(made);
    speed_forgive();
    return NULL;
}

static PyObject *
begin_untagged(speed_traced *self, PyObject *parent)
{
    if (self->begin != self->plain)
        return begin_by_python(self, parent);
    if (self->kind == SPEED_COROUTINE || self->kind == SPEED_ASYNC_GENERATOR)
        return speed_begin_in_task(self->number, parent);
    perf_span span = perf_span_begin(self->number, *speed_span_of(parent));
    PyObject *made = speed_handle_of(&span);
    if (!made)
        perf_span_end(span);
    return made;
}

PyObject *
speed_begin(speed_traced *self, PyObject *parent)
{
    PyObject *made = begin_untagged(self, parent);
    if (__builtin_expect(self->tags && made, 0) &&
        !speed_set_attributes(made, self->tags)) {
        PyObject *error = speed_take_error();
        speed_end_failed(made, error, 0);
        speed_raise_then(error);
        Py_CLEAR(made);
    }
    return made;
}

/* A call that took longer than it should. */
__attribute__((cold)) static void
tell(speed_traced *self, PyObject *handle, uint64_t ns)
{
    PyObject *number = PyLong_FromUnsignedLongLong(ns), *told = NULL;
    if (number)
        told = PyObject_CallFunctionObjArgs(self->after, handle, number, NULL);
    Py_XDECREF(told);
    Py_XDECREF(number);
    speed_forgive();
}

static inline void
after(speed_traced *self, PyObject *handle, uint64_t ns)
{
    if (__builtin_expect(self->after != Py_None, 0) &&
        (double)ns > self->slow_ns)
        tell(self, handle, ns);
}

void
speed_end(speed_traced *self, PyObject *handle, perf_status status,
          uint64_t paused_ns)
{
    if (handle)
        after(self, handle,
              perf_span_end_as(*speed_span_of(handle), status, paused_ns));
}

/* The class of the exception is Python's to find out: errors are rare. */
uint64_t
speed_end_failed(PyObject *handle, PyObject *error, uint64_t paused_ns)
{
    PyObject *paused = PyLong_FromUnsignedLongLong(paused_ns), *ended = NULL;
    if (paused)
        ended = PyObject_CallFunctionObjArgs(speed_known_here.end_with_error,
                                             handle, error, paused, NULL);
    Py_XDECREF(paused);
    uint64_t ns = ended ? PyLong_AsUnsignedLongLongMask(ended) : 0;
    if (!ended) /* its time at least */
        ns = perf_span_end_as(*speed_span_of(handle), PERF_STATUS_ERROR,
                              paused_ns);
    speed_forgive();
    Py_XDECREF(ended);
    return ns;
}

void
speed_end_with_error(speed_traced *self, PyObject *handle, PyObject *error,
                     uint64_t paused_ns)
{
    if (!handle)
        return;
    uint64_t ns = speed_end_failed(handle, error, paused_ns);
    if (!PyErr_Occurred())
        after(self, handle, ns);
}

/* ---- plain functions ---- */

typedef struct call {
    speed_traced *of;
    PyObject *function, *handle;
    speed_before before;
} call;

/* False with an exception. */
static inline bool
enter(call *here, speed_traced *self)
{
    here->before = (speed_before){.handle = speed_current()};
    here->handle = speed_begin(self, here->before.handle);
    if (__builtin_expect(!here->handle && PyErr_Occurred(), 0)) {
        Py_DECREF(here->before.handle);
        return false;
    }
    here->of = (speed_traced *)Py_NewRef(self);
    if (self->kind == SPEED_FUNCTION && here->handle)
        speed_make_current(here->handle, &here->before);
    here->function = Py_NewRef(self->function); /* after begin(): a profiler's
                                                   own may set it */
    return true;
}

static void
leave_with_error(call *here)
{
    PyObject *error = speed_take_error();
    if (here->of->kind == SPEED_FUNCTION && here->handle)
        speed_put_back(&here->before);
    speed_end_with_error(here->of, here->handle, error, 0);
    speed_raise_then(error);
}

static inline PyObject *
leave(call *here, PyObject *result)
{
    if (__builtin_expect(!result, 0)) {
        leave_with_error(here);
    } else {
        if (here->of->kind == SPEED_FUNCTION && here->handle)
            speed_put_back(&here->before);
        if (here->handle) {
            after(here->of, here->handle,
                  perf_span_end(*speed_span_of(here->handle)));
            if (__builtin_expect(here->of->after != Py_None, 0) &&
                PyErr_Occurred())
                Py_CLEAR(result);
        }
    }
    Py_XDECREF(here->before.handle);
    Py_XDECREF(here->handle);
    Py_DECREF(here->function);
    Py_DECREF(here->of);
    return result;
}

static PyObject *
call_function(speed_traced *self, PyObject *args, PyObject *kwargs)
{
    call here;
    if (!enter(&here, self))
        return NULL;
    return leave(&here, PyObject_Call(here.function, args, kwargs));
}

/* The same from a call of the wrapper itself: its frame is not needed. */
static PyObject *
fast_call(PyObject *function, PyObject *const *args, size_t nargs,
          PyObject *kwnames)
{
    PyObject *closure = PyFunction_GET_CLOSURE(function);
    PyObject *run = closure && PyTuple_GET_SIZE(closure) == 1
                        ? PyCell_GET(PyTuple_GET_ITEM(closure, 0))
                        : NULL;
    PyObject *of =
        run && PyCFunction_CheckExact(run) ? PyCFunction_GET_SELF(run) : NULL;
    if (!of || !Py_IS_TYPE(of, speed_traced_type))
        return python_call(function, args, nargs, kwnames);
    call here;
    if (!enter(&here, (speed_traced *)of))
        return NULL;
    return leave(&here,
                 PyObject_Vectorcall(here.function, args, nargs, kwnames));
}

PyObject *
speed_set_fast_call(PyObject *module, PyObject *function)
{
#if PY_VERSION_HEX >= 0x030C0000
    if (!PyFunction_Check(function))
        return PyErr_Format(PyExc_TypeError, "that is no function");
    python_call = ((PyFunctionObject *)function)->vectorcall;
    PyFunction_SetVectorcall((PyFunctionObject *)function, fast_call);
    Py_RETURN_TRUE;
#else
    (void)fast_call;
    Py_RETURN_FALSE; /* 3.11 does not ask before it makes a frame */
#endif
}

/* ---- the others ---- */

/* False with an exception. Without memory *out is NULL. */
static bool
begin_here(speed_traced *self, PyObject **out)
{
    PyObject *outer = speed_current();
    *out = speed_begin(self, outer);
    Py_DECREF(outer);
    return *out || !PyErr_Occurred();
}

/* A coroutine's span begins before its function is called: a call that is
 * refused counts, for somebody awaits it. */
static PyObject *
begin_run(speed_traced *self, PyObject *args, PyObject *kwargs)
{
    bool awaits = self->kind == SPEED_COROUTINE;
    PyObject *handle = NULL, *inner, *running = NULL;
    if (awaits && !begin_here(self, &handle))
        return NULL;
    PyObject *function = Py_NewRef(self->function);
    inner = PyObject_Call(function, args, kwargs);
    Py_DECREF(function);
    if (inner && (awaits || begin_here(self, &handle)))
        running = speed_running_of(self, inner, handle);
    Py_XDECREF(inner);
    if (!running && handle) {
        PyObject *error = speed_take_error();
        speed_end_with_error(self, handle, error, 0);
        speed_raise_then(error);
    }
    Py_XDECREF(handle);
    return running;
}

static PyObject *
traced_run(speed_traced *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 2 || !PyTuple_CheckExact(args[0]) ||
        !PyDict_CheckExact(args[1]))
        return PyErr_Format(PyExc_TypeError, "run() takes a tuple and a dict");
    PyObject *kwargs = PyDict_GET_SIZE(args[1]) ? args[1] : NULL;
    if (self->kind <= SPEED_LEAF)
        return call_function(self, args[0], kwargs);
    return begin_run(self, args[0], kwargs);
}

/* ---- life and death ---- */

/* Traced(kind, function, number, begin, tags, after, slow_ns): `begin` is what
 * we do ourselves, until it is replaced. */
static PyObject *
traced_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    int kind;
    unsigned number;
    PyObject *function, *begin, *tags, *after_call;
    double slow_ns;
    if (kwargs && PyDict_GET_SIZE(kwargs))
        return PyErr_Format(PyExc_TypeError, "Traced() takes no keywords");
    if (!PyArg_ParseTuple(args, "iOIOOOd", &kind, &function, &number, &begin,
                          &tags, &after_call, &slow_ns))
        return NULL;
    if (tags != Py_None && !PyDict_CheckExact(tags))
        return PyErr_Format(PyExc_TypeError, "tags=%R is no dict", tags);
    if (kind < SPEED_FUNCTION || kind > SPEED_ASYNC_GENERATOR)
        return PyErr_Format(PyExc_ValueError, "kind %d is none", kind);
    speed_traced *self = (speed_traced *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    self->kind = (speed_kind)kind;
    self->number = number;
    self->function = Py_NewRef(function);
    self->begin = Py_NewRef(begin);
    self->plain = Py_NewRef(begin);
    self->tags = tags == Py_None ? NULL : Py_NewRef(tags);
    self->after = Py_NewRef(after_call);
    self->slow_ns = slow_ns;
    return (PyObject *)self;
}

static int
traced_traverse(speed_traced *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->function);
    Py_VISIT(self->begin);
    Py_VISIT(self->plain);
    Py_VISIT(self->tags);
    Py_VISIT(self->after);
    return 0;
}

/* Whoever still calls it gets a function that is none: TypeError. */
static int
traced_clear(speed_traced *self)
{
    Py_XSETREF(self->function, Py_NewRef(Py_None));
    Py_XSETREF(self->after, Py_NewRef(Py_None));
    Py_CLEAR(self->tags);
    Py_XSETREF(self->begin, Py_XNewRef(self->plain));
    return 0;
}

static void
traced_dealloc(speed_traced *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(self->function);
    Py_CLEAR(self->begin);
    Py_CLEAR(self->plain);
    Py_CLEAR(self->tags);
    Py_CLEAR(self->after);
    type->tp_free(self);
    Py_DECREF(type);
}

/* function and begin are what a profiler replaces. */
static int
set_object(PyObject **place, PyObject *value)
{
    if (!value) {
        PyErr_SetString(PyExc_AttributeError, "it cannot be deleted");
        return -1;
    }
    Py_XSETREF(*place, Py_NewRef(value));
    return 0;
}

static PyObject *
get_function(speed_traced *self, void *unused)
{
    return Py_NewRef(self->function);
}

static int
set_function(speed_traced *self, PyObject *value, void *unused)
{
    return set_object(&self->function, value);
}

static PyObject *
get_begin(speed_traced *self, void *unused)
{
    return Py_NewRef(self->begin);
}

static int
set_begin(speed_traced *self, PyObject *value, void *unused)
{
    return set_object(&self->begin, value);
}

static PyGetSetDef traced_properties[] = {
    {"function", (getter)get_function, (setter)set_function, NULL, NULL},
    {"begin", (getter)get_begin, (setter)set_begin, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL}};

/* A bound method of C's: of all that can be called, 3.11 calls it fastest. */
static PyMethodDef traced_methods[] = {{"run",
                                        (PyCFunction)(void (*)(void))traced_run,
                                        METH_FASTCALL, "run(args, kwargs)"},
                                       {NULL, NULL, 0, NULL}};

static PyType_Spec traced_spec = {
    .name = "libperf._speed.Traced",
    .basicsize = sizeof(speed_traced),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = (PyType_Slot[]){{Py_tp_new, traced_new},
                             {Py_tp_traverse, traced_traverse},
                             {Py_tp_clear, traced_clear},
                             {Py_tp_dealloc, traced_dealloc},
                             {Py_tp_getset, traced_properties},
                             {Py_tp_methods, traced_methods},
                             {0, NULL}},
};

bool
speed_traced_ready(void)
{
    return speed_traced_type ||
           (speed_traced_type = (PyTypeObject *)PyType_FromSpec(&traced_spec));
}
