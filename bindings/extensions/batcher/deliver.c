/* deliver.c - what happens when an item is done: who waits wakes up,
 * callbacks are given to their loops. */
#include "batcher.h"

/* ---- what the queue keeps alive ---- */

void
bat_hold(bat_queue *queue, bat_future *it)
{
    if (it->held)
        return;
    it->held = true;
    Py_INCREF(it);
    bat_future *first = queue->held;
    if (!first) {
        queue->held = it->before = it->after = it;
        return;
    }
    it->after = first;
    it->before = first->before;
    first->before->after = it;
    first->before = it;
}

void
bat_unhold(bat_queue *queue, bat_future *it)
{
    if (!it->held)
        return;
    it->held = false;
    if (it->after == it) {
        queue->held = NULL;
    } else {
        it->before->after = it->after;
        it->after->before = it->before;
        if (queue->held == it)
            queue->held = it->after;
    }
    it->before = it->after = NULL;
    Py_DECREF(it);
}

/* ---- telling ---- */

static int
call_here(bat_future *it, const bat_call *call)
{
    if (PyContext_Enter(call->context)) { /* it is this thread's own */
        PyErr_Clear();
        PyObject *result = PyObject_CallOneArg(call->function, (PyObject *)it);
        Py_XDECREF(result);
        return result ? 0 : -1;
    }
    PyObject *result = PyObject_CallOneArg(call->function, (PyObject *)it);
    Py_XDECREF(result);
    if (!result)
        PyErr_WriteUnraisable(call->function);
    return PyContext_Exit(call->context);
}

void
bat_tell_one(bat_post *post, bat_future *it, const bat_call *call)
{
    int err = 0;
    if (!post->asked && call->loop != Py_None) {
        post->asked = true;
        post->loop = bat_running_loop();
        PyErr_Clear();
    }
    if (call->loop == Py_None)
        err = call_here(it, call);
    else
        err = bat_gather(post, it, call);
    if (err)
        PyErr_WriteUnraisable(call->function);
}

static void
drop_call(bat_call *call)
{
    Py_XDECREF(call->function);
    Py_XDECREF(call->context);
    Py_XDECREF(call->loop);
}

void
bat_tell(bat_post *post, bat_future *it)
{
    bat_call first = it->first;
    PyObject *more = it->more;
    it->first = (bat_call){0};
    it->more = NULL;
    if (first.function)
        bat_tell_one(post, it, &first);
    drop_call(&first);
    for (Py_ssize_t i = 0; more && i < PyList_GET_SIZE(more); i++) {
        PyObject *entry = PyList_GET_ITEM(more, i);
        bat_call call = {PyTuple_GET_ITEM(entry, 0), PyTuple_GET_ITEM(entry, 1),
                         PyTuple_GET_ITEM(entry, 2)};
        bat_tell_one(post, it, &call);
    }
    Py_XDECREF(more);
    Py_CLEAR(it->key);
    Py_CLEAR(it->loop);
    Py_CLEAR(it->outer);
}

/* ---- being done ---- */

bool
bat_resolve(bat_future *it, int state, PyObject *value)
{
    if (it->state != BAT_PENDING) {
        Py_XDECREF(value);
        return false;
    }
    it->state = (uint8_t)state;
    it->value = value;
    it->running = false;
    if (state == BAT_ERROR)
        it->traceback = PyException_GetTraceback(value);
    if (it->waiters)
        bat_release(it);
    return true;
}

void
bat_silence(bat_future *it)
{
    bat_call first = it->first;
    it->first = (bat_call){0};
    it->waiters = NULL;
    drop_call(&first);
    Py_CLEAR(it->more);
    Py_CLEAR(it->key);
    Py_CLEAR(it->loop);
    Py_CLEAR(it->outer);
}

void
bat_say_retry_after(bat_queue *queue, PyObject *error)
{
    uint64_t retry_ns = perf_batch_queue_retry_after(queue->core);
    PyObject *seconds =
        retry_ns ? PyFloat_FromDouble((double)retry_ns / 1e9) : NULL;
    if (seconds && PyObject_SetAttr(error, bat_str_retry_after, seconds))
        PyErr_Clear();
    Py_XDECREF(seconds);
}

/** Why the core gave it up, as an exception. */
static PyObject *
given_up(bat_queue *queue, bat_future *it, uint64_t now_ns)
{
    uint64_t since_ns = it->item.submitted_ns;
    double waited = now_ns > since_ns ? (double)(now_ns - since_ns) / 1e9 : 0;
    char text[160];
    int kind = BAT_DEADLINE;
    switch ((perf_batch_drop)it->item.drop) {
    case PERF_BATCH_DROP_SHED:
        kind = BAT_SHED;
        snprintf(text, sizeof text,
                 "the queue was full: this item made room for another one, "
                 "%.3f s after it was submitted",
                 waited);
        break;
    case PERF_BATCH_DROP_CLOSED:
        kind = BAT_CLOSED;
        snprintf(text, sizeof text,
                 "closed before the item was processed, %.3f s after it was "
                 "submitted",
                 waited);
        break;
    case PERF_BATCH_DROP_INFEASIBLE:
        snprintf(text, sizeof text,
                 "given up %.3f s after it was submitted: no batch could have "
                 "been done in time",
                 waited);
        break;
    default:
        snprintf(text, sizeof text,
                 "its time was over %.3f s after it was "
                 "submitted%s",
                 waited, it->running ? ", in a batch that was running" : "");
    }
    PyObject *error = bat_error(queue, kind, PyUnicode_FromString(text), NULL);
    if (kind == BAT_SHED && queue->core)
        bat_say_retry_after(queue, error);
    return error;
}

int
bat_settle(bat_queue *queue, uint64_t now_ns)
{
    perf_batch_item *item =
        queue->core ? perf_batch_queue_dropped_at(queue->core, now_ns) : NULL;
    if (queue->entrants)
        bat_release_entrants(queue);
    if (!item)
        return 0;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    bat_post post = {.queue = queue};
    int count = 0;
    while (item) {
        bat_future *it = bat_future_of(item);
        Py_INCREF(it);
        bat_unhold(queue, it);
        if (bat_resolve(it, BAT_ERROR, given_up(queue, it, now_ns))) {
            batcher_series_dropped(&queue->series, item);
            bat_tell(&post, it);
            count++;
        }
        Py_DECREF(it);
        item = queue->core ? perf_batch_queue_dropped_at(queue->core, now_ns)
                           : NULL;
    }
    bat_post_end(&post);
    if (queue->entrants)
        bat_release_entrants(queue);
    PyErr_Restore(type, value, traceback);
    return count;
}
