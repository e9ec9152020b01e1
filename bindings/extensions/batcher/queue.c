/* queue.c - Queue: perf_batch_queue with Python items. What it decides
 * is the core's; here is who is told. */
#include "batcher.h"

#include <libperf/clock.h>
#include <math.h>
#include <structmember.h>

PyTypeObject *bat_queue_type;

bool
bat_alive(bat_queue *queue)
{
    if (!queue->core)
        PyErr_SetString(PyExc_RuntimeError, "this queue has been collected");
    return queue->core;
}

/* ---- time ---- */

static int
now_of_clock(bat_queue *queue, uint64_t *out)
{
    PyObject *said = PyObject_CallNoArgs(queue->clock);
    *out = said ? PyLong_AsUnsignedLongLong(said) : 0;
    Py_XDECREF(said);
    if (!said || PyErr_Occurred())
        return -1;
    *out += 1; /* a time of 0 would be none */
    return 0;
}

int
bat_now(bat_queue *queue, uint64_t *out)
{
    if (queue->clock)
        return now_of_clock(queue, out);
    PyObject *loop = queue->loop_time ? bat_running_loop() : NULL;
    if (!loop) {
        *out = perf_clock_now_ns();
        return PyErr_Occurred() ? -1 : 0;
    }
    PyObject *said = PyObject_CallMethodNoArgs(loop, bat_str_time);
    double seconds = said ? PyFloat_AsDouble(said) : -1;
    Py_DECREF(loop);
    Py_XDECREF(said);
    if (PyErr_Occurred())
        return -1;
    *out = seconds > 0 ? (uint64_t)llround(seconds * 1e9) + 1 : 1;
    return 0;
}

static PyObject *
queue_next_wake(bat_queue *self, PyObject *const *args, Py_ssize_t nargs)
{
    uint64_t now_ns;
    if (nargs > 1) {
        PyErr_SetString(PyExc_TypeError,
                        "next_wake() takes a loop, or nothing");
        return NULL;
    }
    if (!bat_alive(self) || bat_now(self, &now_ns))
        return NULL;
    PyObject *keeper = nargs && args[0] != Py_None ? args[0] : NULL;
    Py_XSETREF(self->keeper, Py_XNewRef(keeper));
    Py_CLEAR(self->woken);
    uint64_t wake_ns = perf_batch_queue_wake_at(self->core, now_ns);
    self->told_ns = wake_ns;
    if (wake_ns == UINT64_MAX)
        Py_RETURN_NONE;
    return PyFloat_FromDouble(
        wake_ns > now_ns ? (double)(wake_ns - now_ns) / 1e9 : 0);
}

/* ---- life ---- */

static PyObject *
queue_expire(bat_queue *self, PyObject *unused)
{
    (void)unused;
    uint64_t now_ns;
    if (!bat_alive(self) || bat_now(self, &now_ns))
        return NULL;
    return PyLong_FromLong(bat_settle(self, now_ns));
}

static PyObject *
queue_close(bat_queue *self, PyObject *unused)
{
    (void)unused;
    if (self->core)
        perf_batch_queue_close(self->core);
    bat_forget_loop();
    Py_RETURN_NONE;
}

static PyObject *
queue_discard(bat_queue *self, PyObject *unused)
{
    (void)unused;
    uint64_t now_ns;
    if (!bat_alive(self) || bat_now(self, &now_ns))
        return NULL;
    perf_batch_queue_discard(self->core);
    return PyLong_FromLong(bat_settle(self, now_ns));
}

/** In the child of a fork nobody is told: loops and threads are the parent's,
 *  and so is the pipe that wakes a loop. */
static void
forget_one(bat_queue *self, bat_future *it)
{
    it->waiters = NULL;
    PyObject *error = bat_error(
        self, BAT_CLOSED,
        PyUnicode_FromString("submitted in the parent of a fork: the result "
                             "is there"),
        NULL);
    bat_resolve(it, BAT_ERROR, error);
    bat_silence(it);
}

static PyObject *
queue_forget(bat_queue *self, PyObject *unused)
{
    (void)unused;
    if (!bat_alive(self))
        return NULL;
    perf_batch_queue_forget(self->core);
    self->entrants = NULL;
    self->told_ns = UINT64_MAX;
    Py_CLEAR(self->woken);
    Py_CLEAR(self->keeper);
    while (self->held) {
        bat_future *it = (bat_future *)Py_NewRef(self->held);
        bat_unhold(self, it);
        forget_one(self, it);
        Py_DECREF(it);
    }
    while (self->running) {
        bat_batch *batch = (bat_batch *)Py_NewRef(self->running);
        bat_batch_close(batch, BAT_ABANDONED);
        for (uint32_t i = 0; i < batch->count; i++)
            forget_one(self, batch->items[i]);
        Py_DECREF(batch);
    }
    Py_RETURN_NONE;
}

static PyObject *
queue_running(bat_queue *self, PyObject *unused)
{
    (void)unused;
    Py_ssize_t count = 0, i = 0;
    for (bat_batch *batch = self->running; batch; batch = batch->after)
        count++;
    PyObject *tuple = PyTuple_New(count); /* the collector may end some */
    for (bat_batch *batch = self->running; batch && tuple && i < count;
         batch = batch->after)
        PyTuple_SET_ITEM(tuple, i++, Py_NewRef(batch));
    PyObject *list = tuple ? PyTuple_GetSlice(tuple, 0, i) : NULL;
    Py_XSETREF(tuple, NULL);
    Py_XSETREF(list, list ? PySequence_List(list) : NULL);
    return list;
}

/* ---- statistics ---- */

static int
put(PyObject *dict, const char *name, PyObject *value)
{
    int err = value ? PyDict_SetItemString(dict, name, value) : -1;
    Py_XDECREF(value);
    return err;
}

static PyObject *
numbers(const uint64_t *of, Py_ssize_t count)
{
    PyObject *list = PyList_New(count);
    for (Py_ssize_t i = 0; list && i < count; i++) {
        PyObject *number = PyLong_FromUnsignedLongLong(of[i]);
        if (!number)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, i, number);
    }
    return list;
}

#define INTEGER(name)                                                          \
    {                                                                          \
#name, offsetof(perf_batch_stats, name)                                \
    }
static const struct {
    const char *name;
    size_t at;
} integers[] = {
    INTEGER(submitted),
    INTEGER(blocked),
    INTEGER(queued),
    INTEGER(running),
    INTEGER(finished),
    INTEGER(failed),
    INTEGER(cancelled),
    INTEGER(expired),
    INTEGER(infeasible),
    INTEGER(shed),
    INTEGER(closed),
    INTEGER(rejected),
    INTEGER(queued_weight),
    INTEGER(batches),
    INTEGER(batches_done),
    INTEGER(batches_failed),
    INTEGER(batches_throttled),
    INTEGER(batches_isolated),
    INTEGER(items_taken),
    INTEGER(weight_taken),
    INTEGER(wait_ns),
    INTEGER(service_ns),
    INTEGER(wait_p50_ns),
    INTEGER(wait_p95_ns),
    INTEGER(wait_p99_ns),
    INTEGER(wait_max_ns),
    INTEGER(total_p50_ns),
    INTEGER(total_p95_ns),
    INTEGER(total_p99_ns),
    INTEGER(batch_ns),
    INTEGER(batch_p50_ns),
    INTEGER(batch_p95_ns),
    INTEGER(batch_p99_ns),
    INTEGER(batch_max_ns),
    INTEGER(paused_until_ns),
};

static int
put_stats(PyObject *dict, const perf_batch_stats *s,
          const perf_batch_cost_stats *c)
{
    int err = 0;
    for (size_t i = 0; i < Py_ARRAY_LENGTH(integers) && !err; i++) {
        uint64_t value;
        memcpy(&value, (const char *)s + integers[i].at, sizeof value);
        err = put(dict, integers[i].name, PyLong_FromUnsignedLongLong(value));
    }
    return err ||
           put(dict, "queued_by_priority",
               numbers(s->queued_by_priority, PERF_PRIORITIES)) ||
           put(dict, "reasons", numbers(s->reasons, PERF_BATCH_REASONS)) ||
           put(dict, "arrivals_per_s", PyFloat_FromDouble(s->arrivals_per_s)) ||
           put(dict, "concurrency", PyLong_FromUnsignedLong(s->concurrency)) ||
           put(dict, "min_items", PyLong_FromUnsignedLong(s->min_items)) ||
           put(dict, "max_items", PyLong_FromUnsignedLong(s->max_items)) ||
           put(dict, "calls_per_s", PyFloat_FromDouble(s->calls_per_s)) ||
           put(dict, "target_missed", PyBool_FromLong(s->target_missed)) ||
           put(dict, "base_ns", PyFloat_FromDouble(c->base_ns)) ||
           put(dict, "each_ns", PyFloat_FromDouble(c->each_ns)) ||
           put(dict, "margin_ns", PyLong_FromUnsignedLongLong(c->margin_ns)) ||
           put(dict, "observed", PyLong_FromUnsignedLongLong(c->observed)) ||
           put(dict, "known", PyBool_FromLong(c->known));
}

static PyObject *
queue_stats(bat_queue *self, PyObject *unused)
{
    (void)unused;
    if (!bat_alive(self))
        return NULL;
    perf_batch_stats stats = {0};
    perf_batch_cost_stats cost = {0};
    perf_batch_queue_stats_now(self->core, &stats);
    perf_batch_cost *learned = perf_batch_queue_cost(self->core);
    if (learned)
        perf_batch_cost_stats_now(learned, &cost);
    PyObject *dict = PyDict_New();
    if (dict && put_stats(dict, &stats, &cost))
        Py_CLEAR(dict);
    return dict;
}

/* ---- making ---- */

static int
take_errors(bat_queue *self, PyObject *errors)
{
    PyObject *five = PySequence_Tuple(errors);
    if (!five)
        return -1;
    Py_ssize_t count = PyTuple_GET_SIZE(five);
    bool right = count == BAT_ERRORS;
    for (Py_ssize_t i = 0; i < count && right; i++)
        right = PyExceptionClass_Check(PyTuple_GET_ITEM(five, i));
    for (Py_ssize_t i = 0; i < count && right; i++)
        self->errors[i] = Py_NewRef(PyTuple_GET_ITEM(five, i));
    Py_DECREF(five);
    if (!right)
        PyErr_SetString(PyExc_TypeError,
                        "errors: (BatchError, DeadlineExceeded, QueueFull, "
                        "ItemShed, BatcherClosed)");
    return right ? 0 : -1;
}

static int
take_functions(bat_queue *self, PyObject *const given[6])
{
    static const char *const names[] = {"wake", "inline", "weigher", "same",
                                        "clock"};
    PyObject **to[] = {&self->wake, &self->inline_, &self->weigher, &self->same,
                       &self->clock};
    for (int i = 0; i < 5; i++) {
        if (i >= 2 && given[i] == Py_None)
            continue;
        if (!PyCallable_Check(given[i])) {
            PyErr_Format(PyExc_TypeError, "%s is %R: it must be a function",
                         names[i], given[i]);
            return -1;
        }
        *to[i] = Py_NewRef(given[i]);
    }
    if (!PyContextVar_CheckExact(given[5])) {
        PyErr_Format(PyExc_TypeError, "inside is %R: it must be a ContextVar",
                     given[5]);
        return -1;
    }
    self->inside = Py_NewRef(given[5]);
    return 0;
}

static int
take_time(PyObject *value, const char *name, double *out)
{
    *out = NAN;
    return value == Py_None ? 0 : bat_seconds(value, name, out);
}

static int
make_core(bat_queue *self, PyObject *address)
{
    const perf_batch_config *config = PyLong_AsVoidPtr(address);
    if (PyErr_Occurred())
        return -1;
    self->max_weight = config ? config->max_weight : 0;
    perf_err err = perf_batch_queue_create(config, &self->core);
    if (!err)
        return 0;
    self->core = NULL;
    const char *text = config ? perf_batch_config_check(config) : NULL;
    if (err == PERF_ERR_NOMEM)
        PyErr_NoMemory();
    else
        PyErr_Format(PyExc_ValueError, "a queue of batches: %s (error %d)",
                     text ? text : "not possible", (int)err);
    return -1;
}

static PyObject *
queue_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {
        "",     "wake",    "inside",        "inline", "errors",    "weigher",
        "same", "timeout", "queue_timeout", "clock",  "loop_time", NULL};
    PyObject *config, *wake = NULL, *inside = NULL, *inline_ = NULL;
    PyObject *errors = NULL, *weigher = Py_None, *same = Py_None;
    PyObject *timeout = Py_None, *queue_timeout = Py_None, *clock = Py_None;
    int loop_time = 0;
    if (!PyArg_ParseTupleAndKeywords(
            args, kwargs, "O!|$OOOOOOOOOp:Queue", names, &PyLong_Type, &config,
            &wake, &inside, &inline_, &errors, &weigher, &same, &timeout,
            &queue_timeout, &clock, &loop_time))
        return NULL;
    if (!wake || !inside || !inline_ || !errors)
        return PyErr_Format(PyExc_TypeError,
                            "Queue() needs wake, inside, inline and errors");
    bat_queue *self = (bat_queue *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    self->told_ns = UINT64_MAX;
    self->loop_time = loop_time;
    PyObject *given[] = {wake, inline_, weigher, same, clock, inside};
    if (take_functions(self, given) || take_errors(self, errors) ||
        take_time(timeout, "timeout", &self->timeout) ||
        take_time(queue_timeout, "queue_timeout", &self->queue_timeout) ||
        !(self->tenants = PyDict_New()) || make_core(self, config))
        Py_CLEAR(self);
    return (PyObject *)self;
}

/* ---- death ---- */

static int
queue_traverse(bat_queue *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->wake);
    Py_VISIT(self->inside);
    Py_VISIT(self->inline_);
    Py_VISIT(self->weigher);
    Py_VISIT(self->same);
    Py_VISIT(self->clock);
    for (int i = 0; i < BAT_ERRORS; i++)
        Py_VISIT(self->errors[i]);
    Py_VISIT(self->tenants);
    Py_VISIT(self->woken);
    Py_VISIT(self->current);
    Py_VISIT(self->nothing);
    Py_VISIT(self->watcher);
    Py_VISIT(self->keeper);
    bat_future *it = self->held;
    while (it) {
        Py_VISIT(it);
        it = it->after == self->held ? NULL : it->after;
    }
    return 0;
}

/* Only a queue that nobody has any more is cleared, nor any of its items. */
static int
queue_tp_clear(bat_queue *self)
{
    perf_batch_queue *core = self->core;
    self->core = NULL;
    perf_batch_queue_destroy(core); /* it forgets the items */
    while (self->held)
        bat_unhold(self, self->held);
    Py_CLEAR(self->woken);
    Py_CLEAR(self->current);
    Py_CLEAR(self->nothing);
    Py_CLEAR(self->watcher);
    Py_CLEAR(self->keeper);
    Py_CLEAR(self->tenants);
    Py_CLEAR(self->clock);
    Py_CLEAR(self->weigher);
    Py_CLEAR(self->same);
    Py_CLEAR(self->wake);
    Py_CLEAR(self->inline_);
    Py_CLEAR(self->inside);
    return 0;
}

static void
queue_dealloc(bat_queue *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->weakrefs)
        PyObject_ClearWeakRefs((PyObject *)self);
    queue_tp_clear(self);
    for (int i = 0; i < BAT_ERRORS; i++)
        Py_CLEAR(self->errors[i]);
    bat_forget_loop();
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef queue_methods[] = {
    {"submit", BAT_FAST_KEYWORDS(bat_queue_submit), NULL},
    {"share", (PyCFunction)bat_queue_share, METH_VARARGS, NULL},
    {"take", (PyCFunction)bat_queue_take, METH_NOARGS, NULL},
    {"expire", (PyCFunction)queue_expire, METH_NOARGS, NULL},
    {"finish", BAT_FAST(bat_queue_finish), NULL},
    {"fail", BAT_FAST(bat_queue_fail), NULL},
    {"throttled", BAT_FAST(bat_queue_throttled), NULL},
    {"next_wake", BAT_FAST(queue_next_wake), NULL},
    {"close", (PyCFunction)queue_close, METH_NOARGS, NULL},
    {"discard", (PyCFunction)queue_discard, METH_NOARGS, NULL},
    {"abandon", (PyCFunction)bat_queue_abandon, METH_O, NULL},
    {"forget", (PyCFunction)queue_forget, METH_NOARGS, NULL},
    {"running", (PyCFunction)queue_running, METH_NOARGS, NULL},
    {"report", (PyCFunction)bat_queue_report, METH_VARARGS, NULL},
    {"stats", (PyCFunction)queue_stats, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef queue_members[] = {
    {"orphaned", T_ULONGLONG, offsetof(bat_queue, orphaned), READONLY, NULL},
    {"watcher", T_OBJECT, offsetof(bat_queue, watcher), 0, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(bat_queue, weakrefs), READONLY,
     NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Spec queue_spec = {
    .name = "libperf._batcher.Queue",
    .basicsize = sizeof(bat_queue),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = (PyType_Slot[]){{Py_tp_new, queue_new},
                             {Py_tp_traverse, queue_traverse},
                             {Py_tp_clear, queue_tp_clear},
                             {Py_tp_dealloc, queue_dealloc},
                             {Py_tp_methods, queue_methods},
                             {Py_tp_members, queue_members},
                             {0, NULL}},
};

bool
bat_queue_ready(void)
{
    bat_queue_type = (PyTypeObject *)PyType_FromSpec(&queue_spec);
    return bat_queue_type;
}
