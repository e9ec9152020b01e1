/* _memory.c - the memory tier's table: a dict of entries, and the policy that
 * says which of them stay.
 *
 * libperf/cache/table.py is the same in Python, and says what each method does;
 * both pass the same tests. This one relies on the GIL: between two lines no
 * other thread runs, unless a key's __eq__ is written in Python. Then the table
 * is still whole: a slot knows its entry, and lets go of that one only. What
 * falls out is let go of last, for its __del__ may come back to the table. */
#include "_memory.h"

#include <libperf/metric.h>

static PyObject *missing;

/* ---- looking ---- */

static void
hit(table *self, const entry *found)
{
    self->hits++;
    if (found->slot < 0) /* it has just fallen out */
        return;
    self->touched[self->touched_count++] = found->slot;
    if (self->touched_count == MEM_BATCH)
        mem_tell_hits(self);
}

static PyObject *
table_get(table *self, PyObject *key)
{
    entry *found = (entry *)PyDict_GetItemWithError(self->data, key);
    if (!found)
        return PyErr_Occurred() ? NULL : Py_NewRef(missing);
    if (found->check_ns != MEM_NEVER) {
        Py_INCREF(found); /* a clock in Python may do anything */
        long long now_ns = mem_clock(self);
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
    if (!Py_IS_TYPE(found, mem_entry_type))
        return PyErr_Format(PyExc_TypeError, "touch() takes an Entry");
    hit(self, (entry *)found);
    Py_RETURN_NONE;
}

static PyObject *
table_miss(table *self, PyObject *unused)
{
    (void)unused;
    self->misses++;
    perf_metric_add(self->misses_series, 1);
    Py_RETURN_NONE;
}

/* ---- changes ---- */

static PyObject *
table_put(table *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 4 || !Py_IS_TYPE(args[0], mem_entry_type))
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
    self->expiring |= expires_ns != MEM_NEVER;
    bool failed = false;
    if (self->expiring) {
        now_ns = mem_clock(self);
        failed = PyErr_Occurred() || mem_expire(self, now_ns, &out);
    }
    if (!failed)
        failed = mem_put(self, (entry *)Py_NewRef(it), weight, cost, expires_ns,
                         now_ns, &out) != 0;
    return mem_let_go(&out, failed);
}

/** An entry without a life of its own. */
static PyObject *
set_timed(table *self, PyObject *key, PyObject *value, long long ttl_ns,
          double jitter, uint64_t weight)
{
    long long now_ns = 0, expires_ns = MEM_NEVER;
    GONE_NONE(out);
    self->expiring |= ttl_ns != MEM_NEVER;
    if (self->expiring) {
        now_ns = mem_clock(self);
        if (PyErr_Occurred() || mem_expire(self, now_ns, &out))
            return mem_let_go(&out, true);
    }
    if (ttl_ns != MEM_NEVER) {
        uint64_t x = self->chance; /* xorshift64 (Marsaglia, 2003) */
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        self->chance = x;
        double share = 1 + jitter * (2 * ((double)(x >> 11) / 0x1p53) - 1);
        double left = (double)ttl_ns * share;
        expires_ns = left > (double)(MEM_NEVER - now_ns)
                         ? MEM_NEVER
                         : now_ns + (long long)left;
    }
    entry *it = mem_entry_make(key, value, expires_ns, Py_None, 0);
    bool failed =
        !it || mem_put(self, it, weight, 0.0, expires_ns, now_ns, &out) != 0;
    return mem_let_go(&out, failed);
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
    bool failed = mem_drop(self, it, &out) != 0;
    Py_XDECREF(mem_let_go(&out, failed));
    if (failed)
        Py_CLEAR(it);
    return (PyObject *)it;
}

static PyObject *
table_expire(table *self, PyObject *unused)
{
    (void)unused;
    GONE_NONE(out);
    long long now_ns = mem_clock(self);
    return mem_let_go(&out, PyErr_Occurred() || mem_expire(self, now_ns, &out));
}

static PyObject *
table_clear(table *self, PyObject *unused)
{
    (void)unused;
    GONE_NONE(out);
    for (size_t i = 0; i < self->room; i++)
        if (self->slots[i] && mem_drop(self, self->slots[i], &out))
            return mem_let_go(&out, true);
    return mem_let_go(&out, false);
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
    mem_tell_hits(self);
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

static PyObject *
table_misses(table *self, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLongLong(self->misses);
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
    unsigned series, misses_series;
    if (!PyArg_ParseTuple(args, "KKiKOII", &max_entries, &max_weight, &kind,
                          &seed, &clock, &series, &misses_series))
        return NULL;
    table *self = (table *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    self->max_entries = max_entries;
    self->max_weight = max_weight;
    self->chance = seed | 1;
    self->series = series;
    self->misses_series = misses_series;
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
    {"miss", (PyCFunction)table_miss, METH_NOARGS, NULL},
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
    {"misses", (getter)table_misses, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
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
    PyObject *table_type = PyType_FromSpec(&table_spec);
    missing = PyObject_CallNoArgs((PyObject *)&PyBaseObject_Type);
    if (!self || !mem_entry_ready() || !table_type || !missing ||
        PyModule_AddObjectRef(self, "Entry", (PyObject *)mem_entry_type) ||
        PyModule_AddObjectRef(self, "Table", table_type) ||
        PyModule_AddObjectRef(self, "MISSING", missing))
        Py_CLEAR(self);
    Py_XDECREF(table_type);
    return self;
}
