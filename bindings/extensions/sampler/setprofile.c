/* setprofile.c - calls below a profiled function on Python 3.11, where
 * a thread has one profile function that hears of every call. From 3.12 on
 * sys.monitoring tells calls.c by itself. */
#include "sampler.h"

#if PY_VERSION_HEX >= 0x030C0000

PyObject *
sam_calls_switch(PyObject *module, PyObject *on)
{
    (void)module;
    (void)on;
    Py_RETURN_FALSE; /* there is something better */
}

#else

static _Thread_local int depth; /* of calls since the profile function is set */

static bool
is_fresh(PyFrameObject *frame, const PyCodeObject *code)
{
    if (!(code->co_flags & (CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR)))
        return true;
    int at = PyFrame_GetLasti(frame);
    const _Py_CODEUNIT *units = _PyCode_CODE(code);
    /* RESUME's argument: 0 at the begin of a function, else after a yield */
    return at < 0 || (_Py_OPARG(units[at / (int)sizeof *units]) & 3) == 0;
}

static int
heard(PyObject *object, PyFrameObject *frame, int what, PyObject *arg)
{
    (void)object;
    (void)arg;
    if (what != PyTrace_CALL && what != PyTrace_RETURN)
        return 0;
    PyCodeObject *code = PyFrame_GetCode(frame);
    if (what == PyTrace_CALL) {
        if (sam_calls_is_inside() && !sam_calls_knows(code)) {
            PyObject *args = Py_BuildValue("(OO)", code, Py_False);
            PyObject *made = args ? sam_calls_add(NULL, args) : NULL;
            Py_XDECREF(args);
            Py_XDECREF(made);
            PyErr_Clear();
        }
        sam_calls_begin(code, ++depth, is_fresh(frame, code));
    } else {
        sam_calls_end(code, depth);
        if (depth)
            depth--;
    }
    Py_DECREF(code);
    return 0;
}

/* switch(on) -> bool: it was done. Another profiler's function stays. */
PyObject *
sam_calls_switch(PyObject *module, PyObject *on)
{
    (void)module;
    Py_tracefunc now = PyThreadState_Get()->c_profilefunc;
    if (now && now != heard)
        Py_RETURN_FALSE;
    if (PyObject_IsTrue(on)) {
        if (now == heard)
            Py_RETURN_FALSE; /* by the outer one of two */
        depth = 0;
        PyEval_SetProfile(heard, NULL);
        Py_RETURN_TRUE;
    }
    PyEval_SetProfile(NULL, NULL);
    sam_calls_end_all();
    Py_RETURN_TRUE;
}

#endif
