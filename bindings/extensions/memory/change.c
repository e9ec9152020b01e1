/* change.c - what comes into a table, and what falls out of it.
 *
 * No code but ours runs between the lines here, but for a key's __eq__: nothing
 * that the garbage collector counts is allocated. */
#include "memory.h"

#include <libperf/metric.h>
#include <time.h>

long long
mem_clock(table *self)
{
    if (self->clock) {
        PyObject *now = PyObject_CallNoArgs(self->clock);
        long long ns = now ? PyLong_AsLongLong(now) : -1;
        Py_XDECREF(now);
        return ns;
    }
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

void
mem_tell_hits(table *self)
{
    perf_policy_touch_many(self->policy, self->touched,
                           (size_t)self->touched_count);
    self->touched_count = 0;
    if (!++self->epoch)
        self->epoch = 1; /* 0 is nobody's */
    perf_metric_add(self->series, self->hits - self->told);
    self->told = self->hits;
}

/** Without a GC allocation: nobody else's code may run now. */
static void
go(gone *out, entry *it)
{
    if (out->count == out->room) {
        size_t room = out->room * 4;
        entry **more = PyMem_Malloc(room * sizeof *more);
        if (!more) { /* then it stays alive */
            return;
        }
        memcpy(more, out->all, out->count * sizeof *more);
        if (out->all != out->few)
            PyMem_Free(out->all);
        out->all = more;
        out->room = room;
    }
    out->all[out->count++] = it;
}

PyObject *
mem_let_go(gone *out, bool failed)
{
    PyObject *listed = failed ? NULL : Py_NewRef(Py_None);
    for (size_t i = 0; i < out->count && listed; i++) {
        if (!out->all[i]->listed)
            continue;
        if (listed == Py_None) {
            Py_DECREF(listed);
            listed = PyList_New(0);
        }
        if (listed && PyList_Append(listed, (PyObject *)out->all[i]))
            Py_CLEAR(listed);
    }
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    for (size_t i = 0; i < out->count; i++)
        Py_DECREF(out->all[i]);
    PyErr_Restore(type, value, traceback);
    if (out->all != out->few)
        PyMem_Free(out->all);
    return listed;
}

/** The policy has given up that slot. */
static int
freed(table *self, int32_t slot, gone *out)
{
    entry *it = self->slots[slot];
    self->slots[slot] = NULL;
    if (!it)
        return 0;
    it->slot = PERF_SLOT_NONE;
    PyObject *there = PyDict_GetItemWithError(self->data, it->key);
    int err = 0;
    if (there == (PyObject *)it)
        err = PyDict_DelItem(self->data, it->key);
    else if (!there && PyErr_Occurred())
        err = -1;
    go(out, it);
    return err;
}

int
mem_drop(table *self, entry *it, gone *out)
{
    int32_t slot = it->slot;
    if (slot < 0 || self->slots[slot] != it)
        return 0;
    perf_policy_remove(self->policy, slot);
    return freed(self, slot, out);
}

int
mem_expire(table *self, long long now_ns, gone *out)
{
    for (int i = 0; i < MEM_EXPIRE_AT_ONCE; i++) {
        int32_t slot = perf_policy_expired_at(self->policy, (uint64_t)now_ns);
        if (slot < 0)
            return 0;
        if (freed(self, slot, out))
            return -1;
    }
    return 0;
}

static int
make_room(table *self, int32_t slot)
{
    if ((size_t)slot < self->room)
        return 0;
    size_t room = self->room ? self->room * 2 : 64;
    while (room <= (size_t)slot)
        room *= 2;
    entry **slots = PyMem_Realloc(self->slots, room * sizeof *slots);
    if (!slots) {
        PyErr_NoMemory();
        return -1;
    }
    memset(slots + self->room, 0, (room - self->room) * sizeof *slots);
    self->slots = slots;
    self->room = room;
    return 0;
}

static uint64_t
mixed(Py_hash_t hash)
{
    uint64_t x = (uint64_t)hash; /* an int's own hash is the int */
    x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93u;
    x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93u;
    return x ^ (x >> 32);
}

int
mem_put(table *self, entry *it, uint64_t weight, double cost,
        long long expires_ns, long long now_ns, gone *out)
{
    Py_hash_t hash = PyObject_Hash(it->key);
    entry *old = hash == -1
                     ? NULL
                     : (entry *)PyDict_GetItemWithError(self->data, it->key);
    if (hash == -1 || (!old && PyErr_Occurred())) {
        Py_DECREF(it);
        return -1;
    }
    perf_policy_entry entry_of = {
        .hash = mixed(hash),
        .expires_ns = expires_ns == MEM_NEVER ? 0 : (uint64_t)expires_ns,
        .weight = weight > UINT32_MAX ? UINT32_MAX : (uint32_t)weight,
        .cost = (float)cost,
    };
    if (self->touched_count)
        mem_tell_hits(self);
    int32_t slot = old ? old->slot : PERF_SLOT_NONE;
    if (slot >= 0 && perf_policy_replace_at(self->policy, slot, &entry_of,
                                            (uint64_t)now_ns)) {
        if (mem_drop(self, old, out)) {
            Py_DECREF(it);
            return -1;
        }
        slot = PERF_SLOT_NONE;
    } else if (slot >= 0) {
        self->slots[slot] = NULL;
        old->slot = PERF_SLOT_NONE;
        go(out, old);
    }
    if (slot < 0) {
        slot = perf_policy_insert_at(self->policy, &entry_of, (uint64_t)now_ns);
        if (slot < 0) { /* too heavy */
            go(out, it);
            return 0;
        }
    }
    if (make_room(self, slot) ||
        PyDict_SetItem(self->data, it->key, (PyObject *)it)) {
        perf_policy_remove(self->policy, slot);
        Py_DECREF(it);
        return -1;
    }
    it->slot = slot;
    self->slots[slot] = it;
    if (self->max_weight ||
        (uint64_t)PyDict_GET_SIZE(self->data) > self->max_entries)
        while ((slot = perf_policy_victim(self->policy)) >= 0)
            if (freed(self, slot, out))
                return -1;
    return 0;
}
