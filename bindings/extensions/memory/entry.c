/* entry.c - a value in memory, and what is known of it. Nothing of it
 * changes once it is in a table. */
#include "memory.h"

#include <stddef.h>
#include <structmember.h>

PyTypeObject *mem_entry_type;

entry *
mem_entry_make(PyObject *key, PyObject *value, long long check_ns,
               PyObject *life, char listed)
{
    entry *self = PyObject_GC_New(entry, mem_entry_type);
    if (!self)
        return NULL;
    self->key = Py_NewRef(key);
    self->value = Py_NewRef(value);
    self->life = Py_NewRef(life);
    self->check_ns = check_ns;
    self->slot = PERF_SLOT_NONE;
    self->seen = 0;
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
    return (PyObject *)mem_entry_make(key, value, check_ns, life, (char)listed);
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

bool
mem_entry_ready(void)
{
    mem_entry_type = (PyTypeObject *)PyType_FromSpec(&entry_spec);
    return mem_entry_type;
}
