/* disk.c - libperf._disk: a read of the disk tier without what cffi and a
 * Python function cost around it, which is more than the read itself.
 *
 * A Reader is called with a key, (full, digest), and returns the entry as
 * bytes, or None. What is not simply there or not there is left to a function
 * of Python's. The GIL is kept: perf_disk_get() never waits. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <libperf/disk.h>
#include <libperf/hash.h>
#include <stdbool.h>

enum { SMALL = 16 << 10 }; /* most entries; a larger one is asked for twice */

typedef struct reader {
    PyObject_HEAD vectorcallfunc call;
    perf_disk *disk;
    PyObject *owner;  /* keeps `disk` from being freed */
    PyObject *closed; /* called with the key when the disk answers CLOSED */
} reader;

static PyObject *
read_large(reader *self, PyObject *full, const uint8_t *digest, int64_t size)
{
    for (;;) { /* it may be another, larger one by now */
        PyObject *entry = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
        if (!entry)
            return NULL;
        int64_t found =
            perf_disk_get(self->disk, digest, PyBytes_AS_STRING(full),
                          (size_t)PyBytes_GET_SIZE(full),
                          PyBytes_AS_STRING(entry), (size_t)size);
        if (found == size)
            return entry;
        if (found > 0 && found < size) {
            _PyBytes_Resize(&entry, (Py_ssize_t)found);
            return entry;
        }
        Py_DECREF(entry);
        if (found <= 0)
            Py_RETURN_NONE;
        size = found;
    }
}

static PyObject *
read_entry(PyObject *callable, PyObject *const *args, size_t count,
           PyObject *names)
{
    reader *self = (reader *)callable;
    if (PyVectorcall_NARGS(count) != 1 || names) {
        PyErr_SetString(PyExc_TypeError, "one key is wanted");
        return NULL;
    }
    PyObject *key = args[0], *full, *digest;
    if (!PyTuple_Check(key) || PyTuple_GET_SIZE(key) != 2 ||
        !PyBytes_Check(full = PyTuple_GET_ITEM(key, 0)) ||
        !PyBytes_Check(digest = PyTuple_GET_ITEM(key, 1)) ||
        PyBytes_GET_SIZE(digest) != PERF_DIGEST_SIZE) {
        PyErr_SetString(PyExc_TypeError,
                        "a Key is wanted: make_key() makes one");
        return NULL;
    }
    char entry[SMALL];
    const uint8_t *id = (const uint8_t *)PyBytes_AS_STRING(digest);
    int64_t size = perf_disk_get(self->disk, id, PyBytes_AS_STRING(full),
                                 (size_t)PyBytes_GET_SIZE(full), entry, SMALL);
    if (size > SMALL)
        return read_large(self, full, id, size);
    if (size > 0)
        return PyBytes_FromStringAndSize(entry, (Py_ssize_t)size);
    if (size == PERF_ERR_CLOSED)
        return PyObject_CallOneArg(self->closed, key);
    Py_RETURN_NONE;
}

/* Reader(address, owner, closed) */
static PyObject *
make(PyTypeObject *type, PyObject *args, PyObject *names)
{
    PyObject *address, *owner, *closed;
    if (names && PyDict_GET_SIZE(names)) {
        PyErr_SetString(PyExc_TypeError, "Reader() takes no names");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "OOO", &address, &owner, &closed))
        return NULL;
    void *disk = PyLong_AsVoidPtr(address);
    if (!disk && PyErr_Occurred())
        return NULL;
    reader *self = (reader *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    self->call = read_entry;
    self->disk = disk;
    self->owner = Py_NewRef(owner);
    self->closed = Py_NewRef(closed);
    return (PyObject *)self;
}

static int
traverse(PyObject *object, visitproc visit, void *arg)
{
    reader *self = (reader *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->owner);
    Py_VISIT(self->closed);
    return 0;
}

/* `owner` stays: whoever still calls it must find the disk. A cycle goes
 * through `closed`. */
static int
clear(PyObject *object)
{
    Py_SETREF(((reader *)object)->closed, Py_NewRef(Py_None));
    return 0;
}

static void
destroy(PyObject *object)
{
    reader *self = (reader *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    Py_CLEAR(self->closed);
    Py_CLEAR(self->owner);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyMemberDef members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(reader, call), READONLY,
     NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot reader_slots[] = {
    {Py_tp_new, make},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_traverse, traverse},
    {Py_tp_clear, clear},
    {Py_tp_dealloc, destroy},
    {Py_tp_members, members},
    {0, NULL},
};

static PyType_Spec reader_spec = {
    .name = "libperf._disk.Reader",
    .basicsize = sizeof(reader),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = reader_slots,
};

static int
prepare(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &reader_spec, NULL);
    int rc = type ? PyModule_AddObjectRef(module, "Reader", type) : -1;
    Py_XDECREF(type);
    return rc;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, prepare},
    {0, NULL},
};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "libperf._disk",
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__disk(void)
{
    return PyModuleDef_Init(&definition);
}
