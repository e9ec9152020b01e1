/* running.c - one run of a traced coroutine or generator: what the
 * wrapper awaits, or yields from.
 *
 * The wrapper is a real coroutine or generator, written in Python; whatever
 * looks at it finds what it expects. It hands each resume on to this object,
 * which makes its own span current, resumes the user's, and puts back what was
 * current. GeneratorExit comes another way: Python closes what is awaited
 * before it raises it. So close() does nothing, the wrapper gets the exception
 * and hands it to take(), and the next resume throws it into the user's: it may
 * do with it what it could undecorated. */
#include "speed.h"

typedef struct running {
    PyObject_HEAD speed_traced *of;
    PyObject *inner;   /* what the user's function returned */
    PyObject *step;    /* of an async generator: what is awaited now */
    PyObject *handle;  /* NULL: untraced */
    PyObject *current; /* inside of it, while it is suspended */
    speed_tables kept;
    PyObject *thrown; /* into it, by the next resume */
    uint64_t since;   /* ticks: it waits for its consumer; 0: it does not */
    uint64_t paused;  /* ticks */
    bool exits;       /* it was thrown a GeneratorExit */
    bool over;
} running;

PyTypeObject *speed_running_type;
PyObject *speed_end_of_items;

static PyObject *str_throw, *str_asend, *str_athrow;

/* ---- StopIteration ---- */

static PyObject *
take_stop_value(void)
{
    PyObject *error = speed_take_error();
    PyObject *value = ((PyStopIterationObject *)error)->value;
    value = Py_NewRef(value ? value : Py_None);
    Py_DECREF(error);
    return value;
}

/* Whatever the value is: an exception, a tuple. */
static void
raise_stop(PyObject *value)
{
    PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, value);
    if (stop)
        PyErr_SetObject(PyExc_StopIteration, stop);
    Py_XDECREF(stop);
}

static PySendResult
throw_into(PyObject *target, PyObject *error, PyObject **result)
{
    *result = PyObject_CallMethodOneArg(target, str_throw, error);
    if (*result)
        return PYGEN_NEXT;
    if (!PyErr_ExceptionMatches(PyExc_StopIteration))
        return PYGEN_ERROR;
    *result = take_stop_value();
    return PYGEN_RETURN;
}

/* ---- one resume ---- */

static uint64_t
paused_ns(const running *self)
{
    return self->paused ? perf_clock_duration_ns(self->paused) : 0;
}

static void
let_go(running *self)
{
    Py_CLEAR(self->inner);
    Py_CLEAR(self->step);
    Py_CLEAR(self->current);
    Py_CLEAR(self->kept.outside);
    Py_CLEAR(self->kept.inside);
}

static PySendResult
returned(running *self, PyObject **result)
{
    speed_traced *of = self->of;
    if (of->kind == SPEED_ASYNC_GENERATOR) { /* an item */
        Py_CLEAR(self->step);
        self->since = perf_clock_ticks();
        return PYGEN_RETURN;
    }
    bool left =
        of->kind == SPEED_COROUTINE && self->exits && *result == Py_None;
    self->over = true;
    speed_end(of, self->handle, left ? PERF_STATUS_CANCELLED : PERF_STATUS_OK,
              paused_ns(self));
    let_go(self);
    if (__builtin_expect(of->after != Py_None, 0) && PyErr_Occurred()) {
        Py_CLEAR(*result);
        return PYGEN_ERROR;
    }
    return PYGEN_RETURN;
}

static bool
is_a(PyObject *error, PyObject *class)
{
    return PyErr_GivenExceptionMatches(error, class);
}

static PySendResult
raised(running *self, PyObject *error, PyObject **result)
{
    speed_traced *of = self->of;
    bool at_end = of->kind == SPEED_ASYNC_GENERATOR &&
                  is_a(error, PyExc_StopAsyncIteration);
    self->over = true;
    if (at_end ||
        (of->kind != SPEED_COROUTINE && is_a(error, PyExc_GeneratorExit)))
        /* its consumer had enough: no error */
        speed_end(of, self->handle, PERF_STATUS_OK, paused_ns(self));
    else
        speed_end_with_error(of, self->handle, error, paused_ns(self));
    let_go(self);
    if (!at_end || PyErr_Occurred()) {
        speed_raise_then(error);
        return PYGEN_ERROR;
    }
    Py_DECREF(error);
    *result = Py_NewRef(speed_end_of_items);
    return PYGEN_RETURN;
}

static PySendResult
after_the_end(running *self, PyObject **result)
{
    PyObject *thrown = self->thrown;
    self->thrown = NULL;
    if (thrown) {
        speed_raise_again(thrown);
        return PYGEN_ERROR;
    }
    *result = Py_NewRef(
        self->of->kind == SPEED_ASYNC_GENERATOR ? speed_end_of_items : Py_None);
    return PYGEN_RETURN;
}

static PySendResult
resume(running *self, PyObject *value, PyObject **result)
{
    *result = NULL;
    if (self->over)
        return after_the_end(self, result);
    if (self->since) {
        self->paused += perf_clock_ticks() - self->since;
        self->since = 0;
    }
    speed_before before = {.handle = speed_current()};
    speed_switch_to(self->current, &before, &self->kept);
    PyObject *target = Py_NewRef(self->step ? self->step : self->inner);
    PyObject *thrown = self->thrown, *error = NULL;
    self->thrown = NULL;
    PySendResult status = thrown ? throw_into(target, thrown, result)
                                 : PyIter_Send(target, value, result);
    Py_DECREF(target);
    Py_XDECREF(thrown);
    if (status == PYGEN_ERROR)
        error = speed_take_error();
    PyObject *current = speed_current();
    bool changed = current != self->current;
    Py_XSETREF(self->current, current);
    speed_switch_back(&before, changed, &self->kept);
    if (error)
        return raised(self, error, result);
    if (status == PYGEN_RETURN)
        return returned(self, result);
    self->exits = false; /* it went on in spite of it */
    if (self->of->kind == SPEED_GENERATOR)
        self->since = perf_clock_ticks();
    return PYGEN_NEXT;
}

/* What Python's own send() and throw() make of the same. */
static PyObject *
as_method(PySendResult status, PyObject *result)
{
    if (status == PYGEN_RETURN) {
        raise_stop(result);
        Py_CLEAR(result);
    }
    return result;
}

static PyObject *
running_next(running *self)
{
    PyObject *result;
    PySendResult status = resume(self, Py_None, &result);
    if (status == PYGEN_RETURN && result == Py_None)
        Py_CLEAR(result); /* NULL without an exception means just that */
    return as_method(result ? status : PYGEN_ERROR, result);
}

static PyObject *
running_send(running *self, PyObject *value)
{
    PyObject *result;
    PySendResult status = resume(self, value, &result);
    return as_method(status, result);
}

/* An exception as an object, of what throw() was given: (error), or, before
 * Python 3.12, (class, value, traceback). */
static PyObject *
exception_of(PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *class = nargs ? args[0] : NULL, *error;
    PyObject *value = nargs > 1 && args[1] != Py_None ? args[1] : NULL;
    if (class && PyExceptionInstance_Check(class))
        error = Py_NewRef(class);
    else if (!class || !PyExceptionClass_Check(class))
        return PyErr_Format(PyExc_TypeError, "throw() takes an exception");
    else if (value && PyObject_TypeCheck(value, (PyTypeObject *)class))
        error = Py_NewRef(value);
    else if (value && PyTuple_Check(value))
        error = PyObject_CallObject(class, value);
    else
        error = value ? PyObject_CallOneArg(class, value)
                      : PyObject_CallNoArgs(class);
    if (error && nargs > 2 && args[2] != Py_None &&
        PyException_SetTraceback(error, args[2]) < 0)
        Py_CLEAR(error);
    if (error && !PyExceptionInstance_Check(error)) {
        Py_CLEAR(error);
        PyErr_SetString(PyExc_TypeError, "throw() takes an exception");
    }
    return error;
}

static PyObject *
running_throw(running *self, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *result, *error = exception_of(args, nargs);
    if (!error)
        return NULL;
    Py_XSETREF(self->thrown, error);
    PySendResult status = resume(self, Py_None, &result);
    return as_method(status, result);
}

/* The wrapper is about to get the GeneratorExit. */
static PyObject *
running_close(running *self, PyObject *Py_UNUSED(ignored))
{
    Py_RETURN_NONE;
}

/* take(error): is it one for us? Then the next resume throws it. */
static PyObject *
running_take(running *self, PyObject *error)
{
    if (self->over || !PyExceptionInstance_Check(error))
        Py_RETURN_FALSE;
    self->exits = true;
    Py_XSETREF(self->thrown, Py_NewRef(error));
    Py_RETURN_TRUE;
}

/* ---- async generators ---- */

static PyObject *
next_step(running *self, PyObject *method, PyObject *value)
{
    if (self->over)
        Py_RETURN_NONE;
    PyObject *step = PyObject_CallMethodOneArg(self->inner, method, value);
    if (!step)
        return NULL;
    Py_XSETREF(self->step, step);
    Py_RETURN_NONE;
}

static PyObject *
running_sent(running *self, PyObject *value)
{
    return next_step(self, str_asend, value);
}

static PyObject *
running_raised(running *self, PyObject *error)
{
    return next_step(self, str_athrow, error);
}

/* ---- what others look at ---- */

/* Whoever follows what a coroutine awaits comes through here: frames and the
 * like are the user's. `name` is asked for as it is of what is inside. */
static PyObject *
get_inside(running *self, void *name)
{
    PyObject *inner = self->inner;
    if (!inner)
        return PyErr_Format(PyExc_AttributeError, "%s", (const char *)name);
    return PyObject_GetAttrString(inner, name);
}

#define INSIDE(name)                                                           \
    {                                                                          \
        name, (getter)get_inside, NULL, NULL, name                             \
    }

static PyGetSetDef running_properties[] = {
    INSIDE("cr_frame"),     INSIDE("cr_await"),
    INSIDE("cr_code"),      INSIDE("cr_running"),
    INSIDE("cr_origin"),    INSIDE("gi_frame"),
    INSIDE("gi_yieldfrom"), INSIDE("gi_code"),
    INSIDE("gi_running"),   INSIDE("ag_frame"),
    INSIDE("ag_await"),     INSIDE("ag_code"),
    INSIDE("ag_running"),   INSIDE("__name__"),
    INSIDE("__qualname__"), {NULL, NULL, NULL, NULL, NULL}};

static PyMethodDef running_methods[] = {
    {"send", (PyCFunction)running_send, METH_O, NULL},
    {"throw", (PyCFunction)(void (*)(void))running_throw, METH_FASTCALL, NULL},
    {"close", (PyCFunction)running_close, METH_NOARGS, NULL},
    {"take", (PyCFunction)running_take, METH_O, NULL},
    {"sent", (PyCFunction)running_sent, METH_O, NULL},
    {"raised", (PyCFunction)running_raised, METH_O, NULL},
    {NULL, NULL, 0, NULL}};

/* ---- life and death ---- */

PyObject *
speed_running_of(speed_traced *of, PyObject *inner, PyObject *handle)
{
    running *self = PyObject_GC_New(running, speed_running_type);
    if (!self)
        return NULL;
    self->of = (speed_traced *)Py_NewRef(of);
    self->inner = Py_NewRef(inner);
    self->step = self->thrown = NULL;
    self->handle = Py_XNewRef(handle);
    self->current = handle ? Py_NewRef(handle) : speed_current();
    self->kept = (speed_tables){NULL, NULL};
    self->since = self->paused = 0;
    self->exits = self->over = false;
    if (of->kind == SPEED_ASYNC_GENERATOR &&
        !(self->step =
              PyObject_CallOneArg(speed_known_here.first_step, inner))) {
        Py_DECREF(self);
        return NULL;
    }
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static int
running_traverse(running *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->of);
    Py_VISIT(self->inner);
    Py_VISIT(self->step);
    Py_VISIT(self->thrown);
    Py_VISIT(self->kept.outside);
    Py_VISIT(self->kept.inside);
    return 0;
}

static int
running_clear(running *self)
{
    self->over = true;
    Py_CLEAR(self->inner);
    Py_CLEAR(self->step);
    Py_CLEAR(self->thrown);
    Py_CLEAR(self->kept.outside);
    Py_CLEAR(self->kept.inside);
    return 0;
}

static void
running_dealloc(running *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    running_clear(self);
    Py_CLEAR(self->handle);
    Py_CLEAR(self->current);
    Py_CLEAR(self->of);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyType_Spec running_spec = {
    .name = "libperf._speed.Running",
    .basicsize = sizeof(running),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = (PyType_Slot[]){{Py_tp_traverse, running_traverse},
                             {Py_tp_clear, running_clear},
                             {Py_tp_dealloc, running_dealloc},
                             {Py_tp_iter, PyObject_SelfIter},
                             {Py_tp_iternext, running_next},
                             {Py_am_await, PyObject_SelfIter},
                             {Py_am_send, resume},
                             {Py_tp_methods, running_methods},
                             {Py_tp_getset, running_properties},
                             {0, NULL}},
};

bool
speed_running_ready(void)
{
    if (speed_running_type)
        return true;
    if (!(str_throw = PyUnicode_InternFromString("throw")) ||
        !(str_asend = PyUnicode_InternFromString("asend")) ||
        !(str_athrow = PyUnicode_InternFromString("athrow")) ||
        !(speed_end_of_items =
              PyObject_CallNoArgs((PyObject *)&PyBaseObject_Type)))
        return false;
    speed_running_type = (PyTypeObject *)PyType_FromSpec(&running_spec);
    return speed_running_type != NULL;
}
