/* speed.c - the module libperf._speed: tracing without Python in the way. */
#include "speed.h"

speed_known speed_known_here;

/* ---- what Python gives us ---- */

static const struct {
    const char *name;
    PyObject **place;
} known[] = {
    {"variable", &speed_known_here.variable},
    {"end_with_error", &speed_known_here.end_with_error},
    {"parse_parent", &speed_known_here.parse_parent},
    {"number_of_span", &speed_known_here.number_of_span},
    {"span_numbers", &speed_known_here.span_numbers},
    {"key_number", &speed_known_here.key_number},
    {"to_bytes", &speed_known_here.to_bytes},
    {"first_step", &speed_known_here.first_step},
};

static PyObject **
place_of(PyObject *name)
{
    for (size_t i = 0; i < Py_ARRAY_LENGTH(known); i++)
        if (PyUnicode_CompareWithASCIIString(name, known[i].name) == 0)
            return known[i].place;
    return NULL;
}

/* Whether it is of the type that C is going to take it for. */
static bool
fits(PyObject **place, PyObject *object)
{
    if (place == &speed_known_here.variable)
        return PyContextVar_CheckExact(object);
    if (place == &speed_known_here.span_numbers)
        return PyDict_CheckExact(object);
    return PyCallable_Check(object);
}

static PyObject *
py_remember(PyObject *module, PyObject *args, PyObject *kwargs)
{
    PyObject *name, *object;
    if (PyTuple_GET_SIZE(args) || !kwargs)
        return PyErr_Format(PyExc_TypeError, "remember() takes keywords");
    for (Py_ssize_t i = 0; PyDict_Next(kwargs, &i, &name, &object);) {
        PyObject **place = place_of(name);
        if (!place || !fits(place, object))
            return PyErr_Format(PyExc_TypeError, "remember(%U=%R)", name,
                                object);
        Py_XSETREF(*place, Py_NewRef(object));
        if (place == &speed_known_here.variable)
            speed_try_variables();
    }
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"remember", (PyCFunction)(void (*)(void))py_remember,
     METH_VARARGS | METH_KEYWORDS,
     "remember(**objects): what of libperf's own Python code is called."},
    {"block_type", speed_block_type, METH_VARARGS,
     "block_type(Span, doc): libperf.span, which extends Span."},
    {"set_fast_call", speed_set_fast_call, METH_O,
     "Call a wrapper without its frame; False: this Python cannot."},
    {NULL, NULL, 0, NULL}};

/* ---- the module ---- */

/* State is the process's own, so there is one interpreter: its first. Without
 * the GIL nothing here would be safe. Either way libperf goes on in Python. */
static bool
may_load(void)
{
#ifdef Py_GIL_DISABLED
    PyErr_SetString(PyExc_ImportError,
                    "libperf._speed needs an interpreter with a GIL");
    return false;
#else
    if (PyInterpreterState_Get() == PyInterpreterState_Main())
        return true;
    PyErr_SetString(PyExc_ImportError,
                    "libperf._speed serves the main interpreter only");
    return false;
#endif
}

static int
execute(PyObject *module)
{
    if (!may_load() || !speed_handle_ready() || !speed_current_ready() ||
        !speed_attribute_ready() || !speed_traced_ready() ||
        !speed_running_ready() ||
        PyModule_AddFunctions(module, speed_handle_functions) < 0 ||
        PyModule_AddObjectRef(module, "Handle",
                              (PyObject *)&speed_handle_type) < 0 ||
        PyModule_AddObjectRef(module, "Traced", (PyObject *)speed_traced_type) <
            0 ||
        PyModule_AddObjectRef(module, "Running",
                              (PyObject *)speed_running_type) < 0 ||
        PyModule_AddObjectRef(module, "NO_SPAN", speed_no_span) < 0 ||
        PyModule_AddObjectRef(module, "END", speed_end_of_items) < 0 ||
        PyModule_AddObjectRef(module, "hooks", speed_hooks()) < 0)
        return -1;
    return 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)(uintptr_t)execute},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED}, /* it is not switched on to be refused */
#endif
    {0, NULL}};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "libperf._speed",
    .m_doc = "The accelerator of tracing; see libperf/accelerated.py.",
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__speed(void);

PyMODINIT_FUNC
PyInit__speed(void)
{
    return PyModuleDef_Init(&definition);
}
