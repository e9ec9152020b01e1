/* finish.c - how batches end: each item gets its result, or an
 * exception of its own, once. */
#include "batcher.h"

#include <math.h>

enum { REFUSED_AT_MOST = 8 };

/** Arguments of a verb that ends a batch. 0; -1: an exception; 1: nobody wants
 *  to hear of that batch any more. */
static int
parse(bat_queue *self, const char *verb, PyObject *const *args,
      Py_ssize_t nargs, Py_ssize_t wanted, bat_batch **out)
{
    if (nargs != wanted || !Py_IS_TYPE(args[0], bat_batch_type)) {
        PyErr_Format(PyExc_TypeError, "%s() takes a Batch and %zd more", verb,
                     wanted - 1);
        return -1;
    }
    *out = (bat_batch *)args[0];
    if ((*out)->queue != self) {
        PyErr_Format(PyExc_ValueError, "%s() of a batch of another queue",
                     verb);
        return -1;
    }
    if ((*out)->state == BAT_DONE) {
        PyErr_Format(PyExc_RuntimeError, "%s(): %R already", verb, *out);
        return -1;
    }
    return (*out)->state == BAT_ABANDONED || !self->core;
}

/** "ValueError: text" of an exception, whatever its __str__ does. */
static PyObject *
describe(const char *before, uint32_t items, PyObject *error)
{
    const char *name = Py_TYPE(error)->tp_name;
    PyObject *text =
        PyUnicode_FromFormat("%s %lu items failed: %s: %.300S", before,
                             (unsigned long)items, name, error);
    if (!text) {
        PyErr_Clear();
        text = PyUnicode_FromFormat("%s %lu items failed: %s", before,
                                    (unsigned long)items, name);
    }
    return text;
}

/* ---- giving results ---- */

/** Is its outcome that of this batch? It may have been cancelled meanwhile, or
 *  be in another batch by now. */
static bool
is_ours(const bat_batch *batch, const bat_future *it)
{
    return it->state == BAT_PENDING && it->running &&
           it->batch_id == batch->core.id;
}

/** A result that is an exception: the item's own, whose cause it is. */
static PyObject *
failure_of(bat_batch *batch, uint32_t index, PyObject *cause)
{
    PyObject *text =
        cause ? PyUnicode_FromFormat(
                    "item %lu of %lu failed: %s: %.300S", (unsigned long)index,
                    (unsigned long)batch->count, Py_TYPE(cause)->tp_name, cause)
              : PyUnicode_FromFormat(
                    "the function returned nothing for item %lu of %lu",
                    (unsigned long)index, (unsigned long)batch->count);
    if (!text && cause) {
        PyErr_Clear();
        text = PyUnicode_FromFormat(
            "item %lu of %lu failed: %s", (unsigned long)index,
            (unsigned long)batch->count, Py_TYPE(cause)->tp_name);
    }
    return bat_batch_error(batch->queue, text, index, batch->count, cause);
}

static void
give(bat_batch *batch, PyObject *const *results)
{
    bat_post post = {.queue = batch->queue};
    for (uint32_t i = 0; i < batch->count; i++) {
        bat_future *it = batch->items[i];
        if (!is_ours(batch, it))
            continue;
        PyObject *result = results[batch->places ? batch->places[i] : i];
        if (result && !PyExceptionInstance_Check(result))
            bat_resolve(it, BAT_RESULT, Py_NewRef(result));
        else if (bat_resolve(it, BAT_ERROR, failure_of(batch, i, result)))
            batcher_series_add(&batch->queue->series, SERIES_FAILED, 1);
        bat_tell(&post, it);
    }
    bat_post_end(&post);
}

/** Each fails with an exception of its own. */
static void
fail_each(bat_batch *batch, PyObject *message, PyObject *cause)
{
    bat_post post = {.queue = batch->queue};
    for (uint32_t i = 0; i < batch->count; i++) {
        bat_future *it = batch->items[i];
        if (!is_ours(batch, it))
            continue;
        PyObject *error = bat_batch_error(batch->queue, Py_XNewRef(message), i,
                                          batch->count, cause);
        if (bat_resolve(it, BAT_ERROR, error))
            batcher_series_add(&batch->queue->series, SERIES_FAILED, 1);
        bat_tell(&post, it);
    }
    bat_post_end(&post);
}

/* ---- ending ---- */

/** The core is told; what goes back into the queue is held by that again. No
 *  Python runs. */
static void
end(bat_batch *batch, perf_batch_outcome outcome, uint64_t retry_after_ns,
    uint64_t now_ns)
{
    bat_queue *queue = batch->queue;
    perf_batch_queue_done_at(queue->core, &batch->core, outcome, retry_after_ns,
                             now_ns);
    bat_batch_close(batch, BAT_DONE);
    batcher_series_done(&queue->series, &batch->core, outcome,
                        perf_batch_queue_cost(queue->core), now_ns);
    for (uint32_t i = 0; i < batch->count; i++) {
        bat_future *it = batch->items[i];
        if (it->state != BAT_PENDING || it->item.state == PERF_BATCH_FINISHED ||
            !it->running || it->batch_id != batch->core.id)
            continue;
        it->running = false;
        bat_hold(queue, it);
    }
}

/** Ready to be ended at *now_ns? As parse(): Python may have run since. */
static int
still_open(bat_batch *batch, uint64_t *now_ns)
{
    bat_queue *queue = batch->queue;
    if (bat_now(queue, now_ns))
        return -1;
    bat_settle(queue, *now_ns); /* whose time is over by now */
    return batch->state != BAT_OPEN || !queue->core;
}

PyObject *
bat_queue_finish(bat_queue *self, PyObject *const *args, Py_ssize_t nargs)
{
    bat_batch *batch;
    int err = parse(self, "finish", args, nargs, 2, &batch);
    if (err < 0)
        return NULL;
    if (err)
        Py_RETURN_NONE;
    uint64_t now_ns;
    PyObject *message, *cause;
    PyObject **results = bat_results(args[1], batch->given, &message, &cause);
    PyObject *type = NULL, *value = NULL, *traceback = NULL;
    if (!results && !message) { /* Ctrl-C: nobody waits for ever */
        PyErr_Fetch(&type, &value, &traceback);
        message = PyUnicode_FromString("interrupted");
    }
    err = still_open(batch, &now_ns);
    if (!err && results) {
        end(batch, PERF_BATCH_OK, 0, now_ns);
        give(batch, results);
    } else if (!err) {
        end(batch, PERF_BATCH_LOST, 0, now_ns);
        fail_each(batch, message, cause);
    }
    for (uint32_t i = 0; results && i < batch->given; i++)
        Py_XDECREF(results[i]);
    PyMem_Free(results);
    Py_XDECREF(message);
    Py_XDECREF(cause);
    if (!err)
        bat_settle(self, now_ns);
    if (type)
        PyErr_Restore(type, value, traceback);
    if (err < 0 || type)
        return NULL;
    Py_RETURN_NONE;
}

static bool
is_exception(PyObject *error)
{
    if (!PyExceptionInstance_Check(error))
        PyErr_Format(PyExc_TypeError, "%R is no exception", error);
    return PyExceptionInstance_Check(error);
}

PyObject *
bat_queue_fail(bat_queue *self, PyObject *const *args, Py_ssize_t nargs)
{
    bat_batch *batch;
    uint64_t now_ns;
    int err = parse(self, "fail", args, nargs, 2, &batch);
    if (err < 0 || !is_exception(args[1]))
        return NULL;
    PyObject *text =
        err ? NULL : describe("the batch of", batch->count, args[1]);
    if (!err && !text)
        PyErr_Clear();
    if (!err)
        err = still_open(batch, &now_ns);
    if (!err) {
        end(batch, PERF_BATCH_FAILED, 0, now_ns);
        fail_each(batch, text, args[1]);
        bat_settle(self, now_ns);
    }
    Py_XDECREF(text);
    if (err < 0)
        return NULL;
    Py_RETURN_NONE;
}

/** Those that were refused too often have failed: nobody waits for ever. */
static void
tell_who_gave_up(bat_batch *batch, PyObject *error)
{
    PyObject *text =
        PyUnicode_FromFormat("the service refused it %d times: %s",
                             REFUSED_AT_MOST, Py_TYPE(error)->tp_name);
    if (!text)
        PyErr_Clear();
    fail_each(batch, text, error);
    Py_XDECREF(text);
}

static void
count_refusal(const bat_batch *batch, bat_future *it)
{
    if (it->refused < UINT8_MAX)
        it->refused++;
    if (is_ours(batch, it))
        it->item.gives_up = it->refused >= REFUSED_AT_MOST;
}

PyObject *
bat_queue_throttled(bat_queue *self, PyObject *const *args, Py_ssize_t nargs)
{
    bat_batch *batch;
    double seconds;
    uint64_t now_ns;
    int err = parse(self, "throttled", args, nargs, 3, &batch);
    if (err < 0 || !is_exception(args[1]) ||
        bat_seconds(args[2], "retry_after", &seconds))
        return NULL;
    if (!err)
        err = still_open(batch, &now_ns);
    if (!err) {
        for (uint32_t i = 0; i < batch->count; i++)
            count_refusal(batch, batch->items[i]);
        end(batch, PERF_BATCH_THROTTLED, bat_nanoseconds(seconds), now_ns);
        tell_who_gave_up(batch, args[1]);
        bat_settle(self, now_ns);
    }
    if (err < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* ---- without whoever processes it ---- */

/** An exception like `error`, for one item. */
static PyObject *
one_like(bat_queue *queue, PyObject *error, PyObject *text, uint32_t index,
         uint32_t size)
{
    for (int kind = BAT_DEADLINE; kind < BAT_ERRORS; kind++) {
        if ((PyObject *)Py_TYPE(error) != queue->errors[kind])
            continue;
        PyObject *message = PyObject_Str(error);
        return bat_error(queue, kind, message, error);
    }
    return bat_batch_error(queue, Py_XNewRef(text), index, size, error);
}

static int
abandon_one(bat_batch *batch, PyObject *error, uint64_t now_ns)
{
    int count = 0;
    end(batch, PERF_BATCH_LOST, 0, now_ns);
    batch->state = BAT_ABANDONED;
    PyObject *text = describe("the batch of", batch->count, error);
    bat_post post = {.queue = batch->queue};
    for (uint32_t i = 0; i < batch->count; i++) {
        bat_future *it = batch->items[i];
        if (!is_ours(batch, it))
            continue;
        if (bat_resolve(it, BAT_ERROR,
                        one_like(batch->queue, error, text, i, batch->count)))
            count++;
        bat_tell(&post, it);
    }
    batcher_series_add(&batch->queue->series, SERIES_FAILED, (uint64_t)count);
    bat_post_end(&post);
    Py_XDECREF(text);
    return count;
}

PyObject *
bat_queue_abandon(bat_queue *self, PyObject *error)
{
    uint64_t now_ns;
    long count = 0;
    if (!bat_alive(self) || !is_exception(error) || bat_now(self, &now_ns))
        return NULL;
    while (self->running) {
        bat_batch *batch = (bat_batch *)Py_NewRef(self->running);
        count += abandon_one(batch, error, now_ns);
        Py_DECREF(batch);
    }
    bat_settle(self, now_ns);
    return PyLong_FromLong(count);
}

void
bat_batch_lost(bat_batch *batch)
{
    uint64_t now_ns;
    bat_queue *queue = batch->queue;
    if (!queue->core)
        return;
    if (bat_now(queue, &now_ns)) { /* 0 counts as the latest time */
        PyErr_WriteUnraisable((PyObject *)queue);
        now_ns = 0;
    }
    bat_settle(queue, now_ns);
    if (batch->state != BAT_OPEN)
        return;
    end(batch, PERF_BATCH_LOST, 0, now_ns);
    PyObject *text = PyUnicode_FromString(
        "whoever took the batch let go of it without a result");
    fail_each(batch, text, NULL);
    Py_XDECREF(text);
    bat_settle(queue, now_ns);
    PyObject *loop = bat_running_loop(); /* there is a free slot */
    if (PyErr_Occurred() || bat_wake(queue, loop, now_ns))
        PyErr_WriteUnraisable((PyObject *)queue);
    Py_XDECREF(loop);
}
