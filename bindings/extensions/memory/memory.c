/* memory.c - the memory tier's table: a dict of entries, and the policy that
 * says which of them stay.
 *
 * libperf/cache/table.py is the same in Python, and says what each method does;
 * both pass the same tests. This one relies on the GIL: between two lines no
 * other thread runs, unless a key's __eq__ is written in Python. Then the table
 * is still whole: a slot knows its entry, and lets go of that one only. What
 * falls out is let go of last, for its __del__ may come back to the table. */
#include "memory.h"

#include <libperf/metric.h>

PyObject *mem_missing;
PyTypeObject *mem_table_type;

/* ---- looking ---- */

static void
hit(table *self, entry *found)
{
    self->hits++;
    if (found->slot < 0) /* it has just fallen out */
        return;
    if (found->seen != self->epoch) {
        self->touched[self->touched_count++] = found->slot;
        if (self->skips)
            found->seen = self->epoch;
    }
    if (self->hits - self->told >= MEM_BATCH)
        mem_tell_hits(self);
}

/* A clock in Python may do anything. */
static PyObject *
get_timed(table *self, entry *found)
{
    Py_INCREF(found);
    long long now_ns = mem_clock(self);
    PyObject *value = now_ns < found->check_ns ? found->value : mem_missing;
    if (value && value != mem_missing)
        hit(self, found);
    value = PyErr_Occurred() || !value ? NULL : Py_NewRef(value);
    Py_DECREF(found);
    return value;
}

PyObject *
mem_get(table *self, PyObject *key)
{
    entry *found = (entry *)PyDict_GetItemWithError(self->data, key);
    if (__builtin_expect(!found, 0))
        return PyErr_Occurred() ? NULL : Py_NewRef(mem_missing);
    if (found->check_ns != MEM_NEVER)
        return get_timed(self, found);
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
    self->epoch = 1;
    self->skips = kind != PERF_POLICY_LRU && max_entries >= MEM_SKIP_FROM;
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
    {"get", (PyCFunction)mem_get, METH_O, NULL},
    {"find", (PyCFunction)table_find, METH_O, NULL},
    {"touch", (PyCFunction)table_touch, METH_O, NULL},
    {"miss", (PyCFunction)table_miss, METH_NOARGS, NULL},
    {"put", (PyCFunction)(void (*)(void))table_put, METH_FASTCALL, NULL},
    {"set", (PyCFunction)(void (*)(void))mem_set, METH_FASTCALL, NULL},
    {"prepare", (PyCFunction)mem_prepare, METH_VARARGS, NULL},
    {"set_plain", (PyCFunction)(void (*)(void))mem_set_plain, METH_FASTCALL,
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
    mem_table_type = (PyTypeObject *)PyType_FromSpec(&table_spec);
    PyObject *front_type = mem_front_type(), *look_type = mem_look_type();
    mem_missing = PyObject_CallNoArgs((PyObject *)&PyBaseObject_Type);
    if (!self || !mem_entry_ready() || !mem_table_type || !front_type ||
        !look_type || !mem_missing ||
        PyModule_AddObjectRef(self, "Entry", (PyObject *)mem_entry_type) ||
        PyModule_AddObjectRef(self, "Table", (PyObject *)mem_table_type) ||
        PyModule_AddObjectRef(self, "Front", front_type) ||
        PyModule_AddObjectRef(self, "Look", look_type) ||
        PyModule_AddObjectRef(self, "MISSING", mem_missing))
        Py_CLEAR(self);
    Py_XDECREF(front_type);
    Py_XDECREF(look_type);
    return self;
}
