/* _memory.c - the memory tier's table: a dict of entries, and the policy that
 * says which of them stay.
 *
 * libperf/cache/table.py is the same in Python, and says what each method does;
 * both pass the same tests. This one relies on the GIL: between two lines no
 * other thread runs, unless a key's __eq__ is written in Python. Then the table
 * is still whole: a slot knows its entry, and lets go of that one only. What
 * falls out is let go of last, for its __del__ may come back to the table. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <libperf/metric.h>
#include <libperf/policy.h>
#include <structmember.h>
#include <time.h>

enum { BATCH = 64, EXPIRE_AT_ONCE = 1000 };

static const long long NEVER = INT64_MAX;

static PyObject *missing;
static PyTypeObject *entry_type;

typedef struct entry {
    PyObject_HEAD PyObject *key, *value, *life;
    long long check_ns;
    int slot;
    char listed;
} entry;

typedef struct table {
    PyObject_HEAD PyObject *data; /* key -> entry */
    PyObject *clock;              /* NULL: CLOCK_MONOTONIC */
    perf_policy *policy;
    entry **slots; /* what lies where; each owned */
    size_t room;
    uint64_t max_entries, max_weight, hits, told, chance;
    uint32_t series; /* that hits are added to, in batches */
    int32_t touched[BATCH];
    int touched_count;
    char expiring;
    /* for set_plain(), once prepare() was called */
    PyObject *copied, *under_way, *weigh;
    long long ttl_ns;
    double jitter;
    unsigned long long overhead;
} table;

/* ---- entries ---- */

static entry *
make_entry(PyObject *key, PyObject *value, long long check_ns, PyObject *life,
           char listed)
{
    entry *self = PyObject_GC_New(entry, entry_type);
    if (!self)
        return NULL;
    self->key = Py_NewRef(key);
    self->value = Py_NewRef(value);
    self->life = Py_NewRef(life);
    self->check_ns = check_ns;
    self->slot = PERF_SLOT_NONE;
    self->listed = listed;
    PyObject_GC_Track(self);
    return self;
}

static PyObject *
entry_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *key, *value, *life = Py_None;
    long long check_ns;
    int listed = 0;
    if (kwargs && PyDict_GET_SIZE(kwargs))
        return PyErr_Format(PyExc_TypeError, "Entry() takes no keywords");
    if (!PyArg_ParseTuple(args, "OOL|Op", &key, &value, &check_ns, &life,
                          &listed))
        return NULL;
    (void)type;
    return (PyObject *)make_entry(key, value, check_ns, life, (char)listed);
}

static int
entry_traverse(entry *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->key);
    Py_VISIT(self->value);
    Py_VISIT(self->life);
    return 0;
}

static int
entry_clear(entry *self)
{
    Py_CLEAR(self->value);
    Py_CLEAR(self->life);
    return 0;
}

static void
entry_dealloc(entry *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, entry_dealloc) entry_clear(self);
    Py_CLEAR(self->key);
    PyObject_GC_Del(self);
    Py_DECREF(type);
    Py_TRASHCAN_END
}

static PyMemberDef entry_members[] = {
    {"key", T_OBJECT, offsetof(entry, key), READONLY, NULL},
    {"value", T_OBJECT, offsetof(entry, value), READONLY, NULL},
    {"life", T_OBJECT, offsetof(entry, life), READONLY, NULL},
    {"check_ns", T_LONGLONG, offsetof(entry, check_ns), READONLY, NULL},
    {"listed", T_BOOL, offsetof(entry, listed), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

/* ---- time and hits ---- */

static long long
read_clock(table *self)
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

static void
tell_hits(table *self)
{
    perf_policy_touch_many(self->policy, self->touched,
                           (size_t)self->touched_count);
    self->touched_count = 0;
    perf_metric_add(self->series, self->hits - self->told);
    self->told = self->hits;
}

static void
hit(table *self, const entry *found)
{
    self->hits++;
    if (found->slot < 0) /* it has just fallen out */
        return;
    self->touched[self->touched_count++] = found->slot;
    if (self->touched_count == BATCH)
        tell_hits(self);
}

static PyObject *
table_get(table *self, PyObject *key)
{
    entry *found = (entry *)PyDict_GetItemWithError(self->data, key);
    if (!found)
        return PyErr_Occurred() ? NULL : Py_NewRef(missing);
    if (found->check_ns != NEVER) {
        Py_INCREF(found); /* a clock in Python may do anything */
        long long now_ns = read_clock(self);
        PyObject *value = now_ns < found->check_ns ? found->value : missing;
        if (value && value != missing)
            hit(self, found);
        value = PyErr_Occurred() || !value ? NULL : Py_NewRef(value);
        Py_DECREF(found);
        return value;
    }
    hit(self, found);
    return Py_NewRef(found->value);
}

static PyObject *
table_find(table *self, PyObject *key)
{
    PyObject *found = PyDict_GetItemWithError(self->data, key);
    return found              ? Py_NewRef(found)
           : PyErr_Occurred() ? NULL
                              : Py_NewRef(Py_None);
}

static PyObject *
table_touch(table *self, PyObject *found)
{
    if (!Py_IS_TYPE(found, entry_type))
        return PyErr_Format(PyExc_TypeError, "touch() takes an Entry");
    hit(self, (entry *)found);
    Py_RETURN_NONE;
}

/* ---- what falls out ---- */

/* Entries to be let go of at the end, and those among them that somebody has
 * listed elsewhere. */
typedef struct gone {
    entry *few[8], **all;
    size_t count, room;
} gone;

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

/** @return  a list of those that were listed; None when none was */
static PyObject *
let_go(gone *out, bool failed)
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

#define GONE_NONE(name)                                                        \
    gone name = {.room = Py_ARRAY_LENGTH(name.few)};                           \
    name.all = name.few

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

static int
drop(table *self, entry *it, gone *out)
{
    int32_t slot = it->slot;
    if (slot < 0 || self->slots[slot] != it)
        return 0;
    perf_policy_remove(self->policy, slot);
    return freed(self, slot, out);
}

static int
expire(table *self, long long now_ns, gone *out)
{
    for (int i = 0; i < EXPIRE_AT_ONCE; i++) {
        int32_t slot = perf_policy_expired_at(self->policy, (uint64_t)now_ns);
        if (slot < 0)
            return 0;
        if (freed(self, slot, out))
            return -1;
    }
    return 0;
}

/* ---- changes ---- */

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

/** Takes over the caller's reference to `it`. */
static int
put(table *self, entry *it, uint64_t weight, double cost, long long expires_ns,
    long long now_ns, gone *out)
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
        .expires_ns = expires_ns == NEVER ? 0 : (uint64_t)expires_ns,
        .weight = weight > UINT32_MAX ? UINT32_MAX : (uint32_t)weight,
        .cost = (float)cost,
    };
    if (self->touched_count)
        tell_hits(self);
    int32_t slot = old ? old->slot : PERF_SLOT_NONE;
    if (slot >= 0 && perf_policy_replace_at(self->policy, slot, &entry_of,
                                            (uint64_t)now_ns)) {
        if (drop(self, old, out)) {
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

static PyObject *
table_put(table *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 4 || !Py_IS_TYPE(args[0], entry_type))
        return PyErr_Format(PyExc_TypeError,
                            "put() takes an Entry, weight, cost, expires_ns");
    uint64_t weight = PyLong_AsUnsignedLongLong(args[1]);
    double cost = PyFloat_AsDouble(args[2]);
    long long expires_ns = PyLong_AsLongLong(args[3]), now_ns = 0;
    if (PyErr_Occurred())
        return NULL;
    entry *it = (entry *)args[0];
    if (it->slot >= 0)
        return PyErr_Format(PyExc_ValueError, "this Entry is in a table");
    GONE_NONE(out);
    self->expiring |= expires_ns != NEVER;
    bool failed = false;
    if (self->expiring) {
        now_ns = read_clock(self);
        failed = PyErr_Occurred() || expire(self, now_ns, &out);
    }
    if (!failed)
        failed = put(self, (entry *)Py_NewRef(it), weight, cost, expires_ns,
                     now_ns, &out) != 0;
    return let_go(&out, failed);
}

/** An entry without a life of its own. */
static PyObject *
set_timed(table *self, PyObject *key, PyObject *value, long long ttl_ns,
          double jitter, uint64_t weight)
{
    long long now_ns = 0, expires_ns = NEVER;
    GONE_NONE(out);
    self->expiring |= ttl_ns != NEVER;
    if (self->expiring) {
        now_ns = read_clock(self);
        if (PyErr_Occurred() || expire(self, now_ns, &out))
            return let_go(&out, true);
    }
    if (ttl_ns != NEVER) {
        uint64_t x = self->chance; /* xorshift64 (Marsaglia, 2003) */
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        self->chance = x;
        double share = 1 + jitter * (2 * ((double)(x >> 11) / 0x1p53) - 1);
        double left = (double)ttl_ns * share;
        expires_ns =
            left > (double)(NEVER - now_ns) ? NEVER : now_ns + (long long)left;
    }
    entry *it = make_entry(key, value, expires_ns, Py_None, 0);
    bool failed =
        !it || put(self, it, weight, 0.0, expires_ns, now_ns, &out) != 0;
    return let_go(&out, failed);
}

/** set(key, value, ttl_ns, jitter, weight) */
static PyObject *
table_set(table *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 5)
        return PyErr_Format(PyExc_TypeError, "set() takes five arguments");
    long long ttl_ns = PyLong_AsLongLong(args[2]);
    double jitter = PyFloat_AsDouble(args[3]);
    uint64_t weight = PyLong_AsUnsignedLongLong(args[4]);
    if (PyErr_Occurred())
        return NULL;
    return set_timed(self, args[0], args[1], ttl_ns, jitter, weight);
}

/** prepare(ttl_ns, jitter, copied, under_way, weigh, overhead) */
static PyObject *
table_prepare(table *self, PyObject *args)
{
    PyObject *copied, *under_way, *weigh;
    if (!PyArg_ParseTuple(args, "LdO!O!OK", &self->ttl_ns, &self->jitter,
                          &PyFrozenSet_Type, &copied, &PyDict_Type, &under_way,
                          &weigh, &self->overhead))
        return NULL;
    Py_XSETREF(self->copied, Py_NewRef(copied));
    Py_XSETREF(self->under_way, Py_NewRef(under_way));
    Py_XSETREF(self->weigh, Py_NewRef(weigh));
    Py_RETURN_NONE;
}

/** Adds what it weighs.  @return  false: an exception */
static bool
add_weight(table *self, PyObject *object, uint64_t *weight)
{
    PyObject *weighed = PyObject_CallOneArg(self->weigh, object);
    uint64_t more = weighed ? PyLong_AsUnsignedLongLong(weighed) : 0;
    Py_XDECREF(weighed);
    *weight += more;
    return !PyErr_Occurred();
}

/** set_plain(key, value): False, if there is more to it than set(). */
static PyObject *
table_set_plain(table *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 2 || !self->copied)
        return PyErr_Format(PyExc_TypeError,
                            "set_plain() takes a key and a value, prepared");
    PyObject *key = args[0], *value = args[1];
    if ((!PyUnicode_CheckExact(key) && !PyLong_CheckExact(key)) ||
        PyDict_GET_SIZE(self->under_way))
        Py_RETURN_FALSE;
    int copy = PySet_Contains(self->copied, (PyObject *)Py_TYPE(value));
    if (copy)
        return copy < 0 ? NULL : Py_NewRef(Py_False);
    uint64_t weight = 1;
    if (self->max_weight) {
        weight = self->overhead;
        if (!add_weight(self, key, &weight) ||
            !add_weight(self, value, &weight))
            return NULL;
    }
    return set_timed(self, key, value, self->ttl_ns, self->jitter, weight);
}

static PyObject *
table_remove(table *self, PyObject *key)
{
    GONE_NONE(out);
    entry *it = (entry *)PyDict_GetItemWithError(self->data, key);
    if (!it)
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    Py_INCREF(it);
    bool failed = drop(self, it, &out) != 0;
    Py_XDECREF(let_go(&out, failed));
    if (failed)
        Py_CLEAR(it);
    return (PyObject *)it;
}

static PyObject *
table_expire(table *self, PyObject *unused)
{
    (void)unused;
    GONE_NONE(out);
    long long now_ns = read_clock(self);
    return let_go(&out, PyErr_Occurred() || expire(self, now_ns, &out));
}

static PyObject *
table_clear(table *self, PyObject *unused)
{
    (void)unused;
    GONE_NONE(out);
    for (size_t i = 0; i < self->room; i++)
        if (self->slots[i] && drop(self, self->slots[i], &out))
            return let_go(&out, true);
    return let_go(&out, false);
}

static PyObject *
table_keys(table *self, PyObject *unused)
{
    (void)unused;
    return PyDict_Keys(self->data);
}

static PyObject *
table_stats(table *self, PyObject *unused)
{
    (void)unused;
    perf_policy_stats s;
    tell_hits(self);
    perf_policy_stats_now(self->policy, &s);
    return Py_BuildValue(
        "KKKKKKd", (unsigned long long)s.entries, (unsigned long long)s.weight,
        (unsigned long long)s.evictions, (unsigned long long)s.rejections,
        (unsigned long long)s.expirations, (unsigned long long)s.bytes,
        s.window);
}

static Py_ssize_t
table_len(table *self)
{
    return PyDict_GET_SIZE(self->data);
}

static PyObject *
table_hits(table *self, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLongLong(self->hits);
}

/* ---- life and death ---- */

static PyObject *
table_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    unsigned long long max_entries, max_weight, seed;
    int kind;
    PyObject *clock;
    if (kwargs && PyDict_GET_SIZE(kwargs))
        return PyErr_Format(PyExc_TypeError, "Table() takes no keywords");
    unsigned series;
    if (!PyArg_ParseTuple(args, "KKiKOI", &max_entries, &max_weight, &kind,
                          &seed, &clock, &series))
        return NULL;
    table *self = (table *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    self->max_entries = max_entries;
    self->max_weight = max_weight;
    self->chance = seed | 1;
    self->series = series;
    self->clock = clock == Py_None ? NULL : Py_NewRef(clock);
    self->data = PyDict_New();
    perf_policy_config config = {
        .kind = (perf_policy_kind)kind,
        .max_entries = (uint32_t)max_entries,
        .max_weight = max_weight,
        .seed = seed,
    };
    perf_err err = perf_policy_create(&config, &self->policy);
    if (err)
        PyErr_Format(err == PERF_ERR_NOMEM ? PyExc_MemoryError
                                           : PyExc_ValueError,
                     "a memory tier of %llu entries", max_entries);
    if (err || !self->data)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static int
table_traverse(table *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->data);
    Py_VISIT(self->clock);
    Py_VISIT(self->copied);
    Py_VISIT(self->under_way);
    Py_VISIT(self->weigh);
    for (size_t i = 0; i < self->room; i++)
        Py_VISIT(self->slots[i]);
    return 0;
}

/** Only a table that nobody has any more is cleared. */
static int
table_tp_clear(table *self)
{
    entry **slots = self->slots;
    size_t room = self->room;
    self->slots = NULL;
    self->room = 0;
    for (size_t i = 0; i < room; i++)
        Py_XDECREF(slots[i]);
    PyMem_Free(slots);
    if (self->data)
        PyDict_Clear(self->data);
    Py_CLEAR(self->copied);
    Py_CLEAR(self->under_way);
    Py_CLEAR(self->weigh);
    return 0;
}

static void
table_dealloc(table *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    table_tp_clear(self);
    Py_CLEAR(self->data);
    Py_CLEAR(self->clock);
    perf_policy_destroy(self->policy);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef table_methods[] = {
    {"get", (PyCFunction)table_get, METH_O, NULL},
    {"find", (PyCFunction)table_find, METH_O, NULL},
    {"touch", (PyCFunction)table_touch, METH_O, NULL},
    {"put", (PyCFunction)(void (*)(void))table_put, METH_FASTCALL, NULL},
    {"set", (PyCFunction)(void (*)(void))table_set, METH_FASTCALL, NULL},
    {"prepare", (PyCFunction)table_prepare, METH_VARARGS, NULL},
    {"set_plain", (PyCFunction)(void (*)(void))table_set_plain, METH_FASTCALL,
     NULL},
    {"remove", (PyCFunction)table_remove, METH_O, NULL},
    {"expire", (PyCFunction)table_expire, METH_NOARGS, NULL},
    {"clear", (PyCFunction)table_clear, METH_NOARGS, NULL},
    {"keys", (PyCFunction)table_keys, METH_NOARGS, NULL},
    {"stats", (PyCFunction)table_stats, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef table_properties[] = {
    {"hits", (getter)table_hits, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Spec entry_spec = {
    .name = "libperf._memory.Entry",
    .basicsize = sizeof(entry),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = (PyType_Slot[]){{Py_tp_new, entry_new},
                             {Py_tp_traverse, entry_traverse},
                             {Py_tp_clear, entry_clear},
                             {Py_tp_dealloc, entry_dealloc},
                             {Py_tp_members, entry_members},
                             {0, NULL}},
};

static PyType_Spec table_spec = {
    .name = "libperf._memory.Table",
    .basicsize = sizeof(table),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = (PyType_Slot[]){{Py_tp_new, table_new},
                             {Py_tp_traverse, table_traverse},
                             {Py_tp_clear, table_tp_clear},
                             {Py_tp_dealloc, table_dealloc},
                             {Py_tp_methods, table_methods},
                             {Py_tp_getset, table_properties},
                             {Py_mp_length, table_len},
                             {Py_sq_length, table_len},
                             {0, NULL}},
};

static PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "libperf._memory",
    .m_doc = "The memory tier's table; see libperf/cache/table.py.",
    .m_size = -1,
};

PyMODINIT_FUNC
PyInit__memory(void)
{
    PyObject *self = PyModule_Create(&module);
    entry_type = (PyTypeObject *)PyType_FromSpec(&entry_spec);
    PyObject *table_type = PyType_FromSpec(&table_spec);
    missing = PyObject_CallNoArgs((PyObject *)&PyBaseObject_Type);
    if (!self || !entry_type || !table_type || !missing ||
        PyModule_AddObjectRef(self, "Entry", (PyObject *)entry_type) ||
        PyModule_AddObjectRef(self, "Table", table_type) ||
        PyModule_AddObjectRef(self, "MISSING", missing))
        Py_CLEAR(self);
    Py_XDECREF(table_type);
    return self;
}
