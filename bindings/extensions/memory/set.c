/* set.c - values that have nothing but an end: set() and set_plain() of
 * a table. */
#include "memory.h"

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

PyObject *
mem_set(table *self, PyObject *const *args, Py_ssize_t nargs)
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

PyObject *
mem_prepare(table *self, PyObject *args)
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

PyObject *
mem_set_plain(table *self, PyObject *const *args, Py_ssize_t nargs)
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
