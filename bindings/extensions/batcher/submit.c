/* submit.c - submit(): the hot path. All that runs Python (weigher,
 * hashes, clocks) comes before the item is in the queue, or after. */
#include "batcher.h"

#include <libperf/clock.h>
#include <math.h>

typedef struct order {
    PyObject *data, *priority, *timeout, *queue_timeout, *tenant; /* borrowed */
} order;

/* ---- arguments ---- */

static const char *const names[] = {"data", "priority", "timeout",
                                    "queue_timeout", "tenant"};
enum { POSITIONAL = 3, ALL = 5 };

static int
parse(order *out, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *found[ALL] = {NULL};
    if (nargs > POSITIONAL) {
        PyErr_Format(PyExc_TypeError,
                     "submit() takes at most 3 positional arguments: data, "
                     "priority, timeout; not %zd",
                     nargs);
        return -1;
    }
    for (Py_ssize_t i = 0; i < nargs; i++)
        found[i] = args[i];
    Py_ssize_t named = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    for (Py_ssize_t i = 0; i < named; i++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, i);
        int k = 0;
        while (k < ALL && PyUnicode_CompareWithASCIIString(name, names[k]))
            k++;
        if (k == ALL || found[k]) {
            PyErr_Format(PyExc_TypeError,
                         k == ALL ? "submit() has no argument %R"
                                  : "submit() got %R twice",
                         name);
            return -1;
        }
        found[k] = args[nargs + i];
    }
    if (!found[0]) {
        PyErr_SetString(PyExc_TypeError, "submit() needs an item: `data`");
        return -1;
    }
    *out = (order){found[0], found[1], found[2], found[3], found[4]};
    return 0;
}

static int
parse_priority(PyObject *value, uint8_t *out)
{
    long number = PERF_PRIORITY_NORMAL;
    int overflow = 0;
    if (value && PyLong_Check(value))
        number = PyLong_AsLongAndOverflow(value, &overflow);
    else if (value)
        number = -1;
    if (number >= 0 && number < PERF_PRIORITIES && !overflow) {
        *out = (uint8_t)number;
        return 0;
    }
    PyErr_Format(PyExc_ValueError,
                 "priority is %R: it must be 0 (critical), 1 (high), 2 "
                 "(normal) or 3 (low)",
                 value);
    return -1;
}

/** Its own or the queue's, NaN: none. */
static int
parse_time(PyObject *value, const char *name, double of_queue, double *out)
{
    *out = of_queue;
    return value && value != Py_None ? bat_seconds(value, name, out) : 0;
}

/** When that is, 0: never. */
static uint64_t
at(uint64_t now_ns, double seconds)
{
    if (isnan(seconds))
        return 0;
    uint64_t ns = bat_nanoseconds(seconds);
    if (ns >= UINT64_MAX - now_ns)
        return 0;
    return now_ns + ns ? now_ns + ns : 1;
}

/** What a weigher said; 0, or -1. */
static int
weight_of(PyObject *said, uint64_t *out)
{
    PyObject *number = NULL;
    if (PyFloat_Check(said)) {
        double weight = PyFloat_AS_DOUBLE(said);
        if (weight >= 0 && weight < 1.8e19)
            number = PyLong_FromDouble(ceil(weight));
    } else if (PyIndex_Check(said)) {
        number = PyNumber_Index(said);
    } else {
        PyErr_Format(PyExc_TypeError,
                     "the weigher returned %R: a weight is a number", said);
    }
    uint64_t weight = number ? PyLong_AsUnsignedLongLong(number) : 0;
    bool bad = !number;
    if (number && PyErr_Occurred()) { /* negative, or huge */
        bad = true;
        if (PyErr_ExceptionMatches(PyExc_OverflowError) ||
            PyErr_ExceptionMatches(PyExc_TypeError))
            PyErr_Clear();
    }
    Py_XDECREF(number);
    if (bad && !PyErr_Occurred())
        PyErr_Format(PyExc_ValueError,
                     "the weigher returned %R: a weight is 0 or more, and "
                     "finite",
                     said);
    *out = weight;
    return bad ? -1 : 0;
}

static int
weigh(bat_queue *self, PyObject *data, uint64_t *out)
{
    *out = 1;
    if (!self->weigher)
        return 0;
    PyObject *said = PyObject_CallOneArg(self->weigher, data);
    int err = said ? weight_of(said, out) : -1;
    Py_XDECREF(said);
    return err;
}

/** What equal items have in common; NULL: it is like no other, or failed. */
static PyObject *
key_of(bat_queue *self, PyObject *data)
{
    PyObject *key = PyObject_CallOneArg(self->same, data);
    if (key && PyObject_Hash(key) == -1) {
        Py_CLEAR(key);
        if (PyErr_ExceptionMatches(PyExc_TypeError))
            PyErr_Clear();
    }
    return key;
}

/* ---- tenants ---- */

static int
add_tenant(bat_queue *self, PyObject *tenant, double share, uint32_t *out)
{
    perf_err err = perf_batch_queue_tenant_add(self->core, share, out);
    if (err == PERF_ERR_NOMEM)
        PyErr_NoMemory();
    else if (err == PERF_ERR_FULL)
        PyErr_SetString(self->errors[BAT_FULL], "too many tenants: 1,048,576");
    else if (err)
        PyErr_SetString(PyExc_ValueError,
                        "a share must be above 0, and finite");
    PyObject *number = err ? NULL : PyLong_FromUnsignedLong(*out);
    int failed = number ? PyDict_SetItem(self->tenants, tenant, number) : -1;
    Py_XDECREF(number);
    return failed;
}

static int
tenant_of(bat_queue *self, PyObject *tenant, uint32_t *out)
{
    *out = 0;
    if (!tenant || tenant == Py_None)
        return 0;
    PyObject *number = PyDict_GetItemWithError(self->tenants, tenant);
    if (!number)
        return PyErr_Occurred() ? -1 : add_tenant(self, tenant, 1.0, out);
    *out = (uint32_t)PyLong_AsUnsignedLong(number);
    return 0;
}

PyObject *
bat_queue_share(bat_queue *self, PyObject *args)
{
    PyObject *tenant;
    double share;
    uint32_t number;
    if (!bat_alive(self) ||
        !PyArg_ParseTuple(args, "Od:share", &tenant, &share))
        return NULL;
    if (tenant == Py_None)
        return PyErr_Format(PyExc_ValueError, "None is no tenant: it is "
                                              "everybody who is in none");
    if (PyObject_Hash(tenant) == -1 || add_tenant(self, tenant, share, &number))
        return NULL;
    Py_RETURN_NONE;
}

/* ---- waking ---- */

int
bat_wake(bat_queue *self, PyObject *loop, uint64_t now_ns)
{
    PyObject *whom = loop ? loop : Py_None;
    if (self->woken == whom || !self->core)
        return 0;
    uint64_t wake_ns = perf_batch_queue_wake_at(self->core, now_ns);
    bool kept = !self->keeper || self->keeper == whom; /* others may stop */
    if (kept && wake_ns > now_ns && wake_ns >= self->told_ns)
        return 0;
    Py_XSETREF(self->woken, Py_NewRef(whom));
    PyObject *done = PyObject_CallOneArg(self->wake, whom);
    if (!done && self->woken == whom)
        Py_CLEAR(self->woken);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

/* ---- submitting ---- */

/** Why the core does not take it, as an exception. */
static void
refused(bat_queue *self, const bat_future *it, perf_err err)
{
    PyObject *error = NULL;
    if (err == PERF_ERR_FULL) {
        batcher_series_add(&self->series, SERIES_REJECTED, 1);
        error = bat_error(self, BAT_FULL,
                          PyUnicode_FromString("the queue is full"), NULL);
        bat_say_retry_after(self, error);
    } else if (err == PERF_ERR_CLOSED) {
        error =
            bat_error(self, BAT_CLOSED,
                      PyUnicode_FromString("closed: it takes no more"), NULL);
    } else if (err == PERF_ERR_RANGE) {
        PyErr_Format(PyExc_ValueError,
                     "the item weighs %llu: more than the %llu of a batch",
                     (unsigned long long)it->item.weight,
                     (unsigned long long)self->max_weight);
    } else if (err == PERF_ERR_NOMEM) {
        PyErr_NoMemory();
    } else {
        PyErr_Format(PyExc_ValueError, "the item was refused: error %d",
                     (int)err);
    }
    if (error)
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_XDECREF(error);
}

/** The batch, of whatever queue, that is processed here, as a new reference;
 *  NULL: none, or an exception. */
static PyObject *
outer_batch(bat_queue *self)
{
    PyObject *batch = NULL;
    if (PyContextVar_Get(self->inside, NULL, &batch) < 0 || !batch)
        return NULL;
    if (Py_IS_TYPE(batch, bat_batch_type) &&
        ((bat_batch *)batch)->state == BAT_OPEN)
        return batch;
    Py_DECREF(batch);
    return NULL;
}

/** Does a batch of this queue wait for that one, or for what that one is
 *  needed by? Two functions may call each other. */
static bool
is_awaited(const bat_queue *self, const PyObject *outer)
{
    for (const bat_batch *it = (const bat_batch *)outer; it;
         it = (const bat_batch *)it->outer)
        if (it->queue == self && it->state == BAT_OPEN)
            return true;
    return false;
}

/** Everything about the item but its times. */
static bat_future *
make(bat_queue *self, const order *of)
{
    uint8_t priority;
    uint64_t weight;
    uint32_t tenant;
    if (parse_priority(of->priority, &priority) ||
        weigh(self, of->data, &weight) || tenant_of(self, of->tenant, &tenant))
        return NULL;
    PyObject *key = self->same ? key_of(self, of->data) : NULL;
    bat_future *it =
        key || !PyErr_Occurred() ? bat_future_make(self, of->data) : NULL;
    if (!it) {
        Py_XDECREF(key);
        return NULL;
    }
    it->key = key;
    it->item.priority = priority;
    it->item.weight = weight;
    it->item.tenant = tenant;
    it->loop = bat_running_loop();
    it->outer = outer_batch(self);
    it->item.nested = is_awaited(self, it->outer);
    it->caller = bat_caller(self);
    if ((!it->loop || !it->outer) && PyErr_Occurred())
        Py_CLEAR(it);
    return it;
}

/** Take it back: somebody has to know that it was not queued. */
static void
take_back(bat_queue *self, bat_future *it, uint64_t now_ns)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (it->state == BAT_PENDING && self->core) {
        perf_batch_queue_cancel_at(self->core, &it->item, now_ns);
        bat_resolve(it, BAT_CANCELLED, NULL);
        bat_unhold(self, it);
    }
    PyErr_Restore(type, value, traceback);
}

/** A thread whose item waits outside waits itself, until that is over. */
static int
wait_outside(bat_queue *self, bat_future *it, uint64_t now_ns)
{
    uint64_t end_ns = UINT64_MAX;
    if (it->item.deadline_ns)
        end_ns = it->item.deadline_ns;
    if (it->item.start_by_ns && it->item.start_by_ns < end_ns)
        end_ns = it->item.start_by_ns;
    while (it->state == BAT_PENDING && it->item.state == PERF_BATCH_BLOCKED) {
        /* times of another clock are for whoever turns it */
        uint64_t left_ns =
            self->clock || self->loop_time || end_ns == UINT64_MAX ? UINT64_MAX
            : end_ns > now_ns ? end_ns - now_ns
                              : 1000000;
        if (bat_wait(it, left_ns, true) < 0 || bat_now(self, &now_ns))
            return -1;
        bat_settle(self, now_ns);
    }
    return 0;
}

PyObject *
bat_queue_submit(bat_queue *self, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames)
{
    order of;
    double timeout, queue_timeout;
    uint64_t now_ns;
    if (parse(&of, args, nargs, kwnames) ||
        parse_time(of.timeout, "timeout", self->timeout, &timeout) ||
        parse_time(of.queue_timeout, "queue_timeout", self->queue_timeout,
                   &queue_timeout) ||
        !bat_alive(self))
        return NULL;
    bat_future *it = make(self, &of);
    if (!it || bat_now(self, &now_ns)) {
        Py_XDECREF(it);
        return NULL;
    }
    it->item.deadline_ns = at(now_ns, timeout);
    it->item.start_by_ns = at(now_ns, queue_timeout);
    perf_err err = perf_batch_queue_submit_at(self->core, &it->item, now_ns);
    if (err) {
        refused(self, it, err);
        bat_settle(self, now_ns);
        Py_DECREF(it);
        return NULL;
    }
    bat_hold(self, it);
    PyObject *loop = Py_XNewRef(it->loop); /* it may be done at once */
    if (self->watcher && self->watcher != Py_None)
        bat_say_submitted(self, it);
    bat_settle(self, now_ns);
    int failed = bat_wake(self, loop, now_ns);
    if (!failed && !loop && !it->item.nested)
        failed = wait_outside(self, it, now_ns);
    Py_XDECREF(loop);
    if (!failed)
        return (PyObject *)it;
    take_back(self, it, now_ns);
    Py_DECREF(it);
    return NULL;
}
