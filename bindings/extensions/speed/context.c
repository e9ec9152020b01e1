/* context.c - putting back all variables of a context at once.
 *
 * A context holds its variables in a table that never changes: setting one
 * makes another table, and so does setting it back, which is half of what a
 * traced call costs. But who has set one variable, and finds the table that
 * this made still in its place, may just as well put the one before back there.
 *
 * This is below Python's public functions. The declarations are those of the
 * Python that we are compiled for; a later one than we know, or one whose
 * contexts do not behave as they should when the module is loaded, gets the
 * public functions. */
#define Py_BUILD_CORE_MODULE 1
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#if PY_VERSION_HEX < 0x030E0000 && !defined(Py_GIL_DISABLED) &&                \
    __has_include(<internal/pycore_context.h>)
#include <internal/pycore_context.h>
#define KNOWN 1
#else
#define KNOWN 0
#endif

#include "speed.h"

static bool works; /* we have seen it work */

#if KNOWN

PyObject *
speed_variables(void)
{
    PyContext *context = (PyContext *)PyThreadState_Get()->context;
    return works && context ? Py_XNewRef((PyObject *)context->ctx_vars) : NULL;
}

bool
speed_put_variables_back(PyObject *now, PyObject *before, PyObject *handle)
{
    PyThreadState *thread = PyThreadState_Get();
    PyContext *context = (PyContext *)thread->context;
    PyContextVar *variable = (PyContextVar *)speed_known_here.variable;
    if (!context || (PyObject *)context->ctx_vars != now)
        return false;
    context->ctx_vars = (PyHamtObject *)Py_NewRef(before);
    /* what it remembers of itself must be in the table: a default is not */
    variable->var_cached = handle == speed_no_span ? NULL : handle;
    variable->var_cached_tsid = thread->id;
    variable->var_cached_tsver = thread->context_ver;
    Py_DECREF(now); /* the context's */
    return true;
}

static bool
is(PyObject *handle)
{
    PyObject *current = speed_current();
    Py_DECREF(current);
    return current == handle;
}

/* Set and put back, twice: with a value before, and without one. */
static bool
does_it_work(PyObject *one, PyObject *two)
{
    PyObject *tables[3] = {speed_variables()};
    bool fine = tables[0] && strcmp(Py_TYPE(tables[0])->tp_name, "hamt") == 0;
    if (fine) {
        speed_set_current(one);
        tables[1] = speed_variables();
        speed_set_current(two);
        tables[2] = speed_variables();
        fine = is(two) && speed_put_variables_back(tables[2], tables[1], one) &&
               is(one) &&
               !speed_put_variables_back(tables[2], tables[1], one) &&
               speed_put_variables_back(tables[1], tables[0], speed_no_span) &&
               is(speed_no_span);
    }
    for (size_t i = 0; i < Py_ARRAY_LENGTH(tables); i++)
        Py_XDECREF(tables[i]);
    return fine;
}

/* In a context of its own. */
void
speed_try_variables(void)
{
    PyObject *one = speed_handle_of(&(perf_span){.id = 1});
    PyObject *two = speed_handle_of(&(perf_span){.id = 2});
    PyObject *context = PyContext_New();
    works = one && two && context && PyContext_Enter(context) == 0;
    if (works) {
        bool fine = does_it_work(one, two);
        works = PyContext_Exit(context) == 0 && fine;
    }
    PyErr_Clear();
    Py_XDECREF(context);
    Py_XDECREF(two);
    Py_XDECREF(one);
}

#else

PyObject *
speed_variables(void)
{
    return NULL;
}

bool
speed_put_variables_back(PyObject *now, PyObject *before, PyObject *handle)
{
    return false;
}

void
speed_try_variables(void)
{
    works = false;
}

#endif
