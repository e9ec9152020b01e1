/* batch.c - Batch: items that were taken together, equal ones of them
 * given once. */
#include "batcher.h"

#include <structmember.h>

PyTypeObject *bat_batch_type;

/* ---- taking ---- */

/** Room for `more` items: no Python runs. */
static bool
make_room(bat_future ***items, uint32_t *room, uint32_t more)
{
    bat_future **larger =
        PyMem_Realloc(*items, ((size_t)*room + more) * sizeof **items);
    if (!larger)
        return false;
    *items = larger;
    *room += more;
    return true;
}

/** They are the batch's from now on. */
static uint32_t
take_over(bat_queue *queue, bat_future **items, perf_batch_item *item,
          uint32_t from, uint64_t id)
{
    uint32_t count = from;
    for (; item; item = item->next) {
        bat_future *it = bat_future_of(item);
        items[count] = (bat_future *)Py_NewRef(it);
        bat_unhold(queue, it);
        it->running = true;
        it->batch_id = id;
        it->index = count++;
    }
    return count;
}

/** Back to where they were: there is no memory for a batch. */
static void
give_back(bat_queue *queue, const perf_batch *core, bat_future **items,
          uint32_t count, uint64_t now_ns)
{
    if (queue->core)
        perf_batch_queue_done_at(queue->core, core, PERF_BATCH_THROTTLED, 0,
                                 now_ns);
    for (uint32_t i = 0; i < count; i++) {
        items[i]->running = false;
        items[i]->batch_id = 0;
        if (items[i]->state == BAT_PENDING)
            bat_hold(queue, items[i]);
    }
    for (uint32_t i = 0; i < count; i++)
        Py_DECREF(items[i]);
    PyMem_Free(items);
}

static bat_batch *
make_batch(bat_queue *queue, const perf_batch *core, uint64_t now_ns)
{
    uint32_t room = 0, count;
    bat_future **items = NULL;
    if (!make_room(&items, &room, core->items)) {
        perf_batch_queue_done_at(queue->core, core, PERF_BATCH_THROTTLED, 0,
                                 now_ns);
        PyErr_NoMemory();
        return NULL;
    }
    count = take_over(queue, items, core->first, 0, core->id);
    bat_batch *self = PyObject_GC_New(bat_batch, bat_batch_type);
    if (!self) {
        give_back(queue, core, items, count, now_ns);
        return NULL;
    }
    memset((char *)self + offsetof(bat_batch, core), 0,
           sizeof *self - offsetof(bat_batch, core));
    self->core = *core;
    self->queue = (bat_queue *)Py_NewRef(queue);
    self->items = items;
    self->count = count;
    self->room = room;
    self->weight = core->weight;
    self->loop = Py_XNewRef(items[0]->loop);
    for (uint32_t i = 0; i < count && !self->outer; i++)
        self->outer = Py_XNewRef(items[i]->outer);
    self->after = queue->running;
    if (self->after)
        self->after->before = self;
    queue->running = self;
    PyObject_GC_Track(self);
    return self;
}

/* ---- equal items ---- */

/** The place of an item in `data`, where one that equals it may be. -1 with an
 *  exception. */
static Py_ssize_t
place_of(bat_batch *self, PyObject *places, bat_future *it)
{
    Py_ssize_t next = PyList_GET_SIZE(self->data);
    if (it->key) {
        PyObject *key = Py_NewRef(it->key);
        PyObject *number = PyLong_FromSsize_t(next);
        PyObject *there =
            number ? PyDict_SetDefault(places, key, number) : NULL;
        Py_ssize_t place = there ? PyLong_AsSsize_t(there) : -1;
        Py_XDECREF(number);
        Py_DECREF(key);
        if (place >= 0 && place < next)
            return place;
        if (place < 0) /* its __eq__ failed: it is like no other */
            PyErr_Clear();
    }
    return PyList_Append(self->data, it->data) ? -1 : next;
}

/** Items from `from` on go into `data`. Returns how many places they left free,
 *  and adds what they would have weighed; -1 with an exception. */
static int64_t
merge(bat_batch *self, PyObject *places, uint32_t from, uint64_t *freed)
{
    uint32_t *wider =
        PyMem_Realloc(self->places, self->room * sizeof *self->places);
    if (!wider) {
        PyErr_NoMemory();
        return -1;
    }
    self->places = wider;
    int64_t free_places = 0;
    for (uint32_t i = from; i < self->count; i++) {
        Py_ssize_t before = PyList_GET_SIZE(self->data);
        Py_ssize_t place = place_of(self, places, self->items[i]);
        if (place < 0)
            return -1;
        self->places[i] = (uint32_t)place;
        if (place < before) {
            free_places++;
            *freed += self->items[i]->item.weight;
        }
    }
    return free_places;
}

/** Take as many more as there are free places: how many, -1: an exception. */
static int64_t
fill(bat_batch *self, uint32_t places, uint64_t freed, uint64_t now_ns)
{
    bat_queue *queue = self->queue;
    if (!make_room(&self->items, &self->room, places)) {
        PyErr_NoMemory();
        return -1;
    }
    uint64_t weight = UINT64_MAX, taken = self->core.weight - freed;
    if (queue->max_weight)
        weight = queue->max_weight > taken ? queue->max_weight - taken : 0;
    perf_batch_item *last = &self->items[self->count - 1]->item;
    uint32_t added = perf_batch_queue_fill_at(queue->core, &self->core, places,
                                              weight, now_ns);
    if (added)
        self->count = take_over(queue, self->items, last->next, self->count,
                                self->core.id);
    return added;
}

static int
take_equal_once(bat_batch *self, uint64_t now_ns)
{
    PyObject *places = PyDict_New();
    uint64_t freed = 0;
    uint32_t from = 0;
    int64_t more = places && (self->data = PyList_New(0)) ? 0 : -1;
    while (more >= 0) {
        more = merge(self, places, from, &freed);
        if (more <= 0 || self->state != BAT_OPEN || !self->queue->core)
            break;
        from = self->count;
        more = fill(self, (uint32_t)more, freed, now_ns);
        if (more == 0)
            break;
    }
    Py_XDECREF(places);
    self->weight = self->core.weight - freed;
    self->core.distinct_weight = self->weight;
    if (self->data)
        self->core.distinct = (uint32_t)PyList_GET_SIZE(self->data);
    return more < 0 ? -1 : 0;
}

static int
take_all(bat_batch *self)
{
    self->data = PyList_New(self->count);
    for (uint32_t i = 0; i < self->count && self->data; i++)
        PyList_SET_ITEM(self->data, i, Py_NewRef(self->items[i]->data));
    return self->data ? 0 : -1;
}

PyObject *
bat_queue_take(bat_queue *self, PyObject *unused)
{
    (void)unused;
    uint64_t now_ns;
    perf_batch core = {0};
    if (!bat_alive(self) || bat_now(self, &now_ns))
        return NULL;
    Py_CLEAR(self->woken);
    if (!perf_batch_queue_take_at(self->core, &core, now_ns)) {
        bat_settle(self, now_ns);
        Py_RETURN_NONE;
    }
    bat_batch *batch = make_batch(self, &core, now_ns);
    int err = !batch       ? -1
              : self->same ? take_equal_once(batch, now_ns)
                           : take_all(batch);
    if (err) { /* its items fail, as it is let go of */
        Py_XDECREF(batch);
        return NULL;
    }
    for (uint32_t i = 0; i < batch->count; i++)
        batch->items[i]->batch_size = batch->count;
    batch->given = (uint32_t)PyList_GET_SIZE(batch->data);
    batcher_series_taken(&self->series, &batch->core, self->weigher != NULL);
    bat_settle(self, now_ns);
    return (PyObject *)batch;
}

/* ---- attributes ---- */

void
bat_batch_close(bat_batch *batch, int state)
{
    batch->state = (uint8_t)state;
    bat_queue *queue = batch->queue;
    if (batch->before)
        batch->before->after = batch->after;
    else if (queue->running == batch)
        queue->running = batch->after;
    if (batch->after)
        batch->after->before = batch->before;
    batch->before = batch->after = NULL;
}

static PyObject *
batch_futures(bat_batch *self, void *unused)
{
    (void)unused;
    PyObject *list = PyList_New(self->count);
    for (uint32_t i = 0; list && i < self->count; i++)
        PyList_SET_ITEM(list, i, Py_NewRef(self->items[i]));
    return list;
}

static PyObject *
batch_first_wait_ns(bat_batch *self, void *unused)
{
    (void)unused;
    if (!self->count)
        return PyLong_FromLong(0);
    uint64_t begin_ns = self->items[0]->item.submitted_ns;
    uint64_t end_ns = self->core.taken_ns;
    return PyLong_FromUnsignedLongLong(end_ns > begin_ns ? end_ns - begin_ns
                                                         : 0);
}

static PyObject *
batch_done(bat_batch *self, void *unused)
{
    (void)unused;
    return PyBool_FromLong(self->state != BAT_OPEN);
}

static PyObject *
batch_reason(bat_batch *self, void *unused)
{
    (void)unused;
    return PyLong_FromLong((long)self->core.reason);
}

static PyObject *
batch_repr(bat_batch *self)
{
    return PyUnicode_FromFormat(
        "<Batch %llu of %lu items%s>", (unsigned long long)self->core.id,
        (unsigned long)self->count, self->state == BAT_OPEN ? "" : ", done");
}

/* ---- death ---- */

static void
batch_finalize(bat_batch *self)
{
    if (self->state != BAT_OPEN)
        return;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    bat_batch_lost(self);
    PyErr_Restore(type, value, traceback);
}

static int
batch_traverse(bat_batch *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->queue);
    Py_VISIT(self->data);
    Py_VISIT(self->loop);
    Py_VISIT(self->outer);
    for (uint32_t i = 0; i < self->count; i++)
        Py_VISIT(self->items[i]);
    return 0;
}

static int
batch_tp_clear(bat_batch *self)
{
    uint32_t count = self->count;
    self->count = 0;
    for (uint32_t i = 0; i < count; i++)
        Py_DECREF(self->items[i]);
    Py_CLEAR(self->loop);
    Py_CLEAR(self->outer);
    return 0;
}

static void
batch_dealloc(bat_batch *self)
{
    if (PyObject_CallFinalizerFromDealloc((PyObject *)self))
        return;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->weakrefs)
        PyObject_ClearWeakRefs((PyObject *)self);
    if (self->state == BAT_OPEN) /* its finaliser was not run: it is over */
        bat_batch_close(self, BAT_DONE);
    batch_tp_clear(self);
    Py_CLEAR(self->data);
    Py_CLEAR(self->queue);
    PyMem_Free(self->items);
    PyMem_Free(self->places);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyGetSetDef batch_properties[] = {
    {"futures", (getter)batch_futures, NULL, NULL, NULL},
    {"first_wait_ns", (getter)batch_first_wait_ns, NULL, NULL, NULL},
    {"done", (getter)batch_done, NULL, NULL, NULL},
    {"reason", (getter)batch_reason, NULL, NULL, NULL},
    {"callers", (getter)bat_batch_callers, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef batch_members[] = {
    {"data", T_OBJECT, offsetof(bat_batch, data), READONLY, NULL},
    {"size", T_UINT, offsetof(bat_batch, count), READONLY, NULL},
    {"id", T_ULONGLONG, offsetof(bat_batch, core.id), READONLY, NULL},
    {"weight", T_ULONGLONG, offsetof(bat_batch, weight), READONLY, NULL},
    {"loop", T_OBJECT, offsetof(bat_batch, loop), READONLY, NULL},
    {"queue", T_OBJECT, offsetof(bat_batch, queue), READONLY, NULL},
    {"outer", T_OBJECT, offsetof(bat_batch, outer), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(bat_batch, weakrefs), READONLY,
     NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Spec batch_spec = {
    .name = "libperf._batcher.Batch",
    .basicsize = sizeof(bat_batch),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = (PyType_Slot[]){{Py_tp_traverse, batch_traverse},
                             {Py_tp_clear, batch_tp_clear},
                             {Py_tp_dealloc, batch_dealloc},
                             {Py_tp_finalize, batch_finalize},
                             {Py_tp_repr, batch_repr},
                             {Py_tp_getset, batch_properties},
                             {Py_tp_members, batch_members},
                             {0, NULL}},
};

bool
bat_batch_ready(void)
{
    bat_batch_type = (PyTypeObject *)PyType_FromSpec(&batch_spec);
    return bat_batch_type;
}
