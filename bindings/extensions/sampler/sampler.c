/* sampler.c - the module libperf._sampler: where in the code a program is, who
 * holds up its event loops, and the calls of functions that are profiled. */
#include "sampler.h"

static PyMethodDef methods[] = {
    {"start", sam_start, METH_VARARGS,
     "start(main thread's ident, period in ns) -> bool: sample from now on."},
    {"stop", sam_stop, METH_NOARGS, "Sample no more."},
    {"after_fork", sam_after_fork, METH_NOARGS,
     "In a forked child: go on if the parent did."},
    {"stats", sam_stats, METH_NOARGS,
     "How often it asked, and was told; what that has cost, in ns of CPU "
     "time: of its threads that have ended, and of looks at itself."},
    {"watch_start", sam_watch_start, METH_NOARGS, "Watch those who enter."},
    {"watch_stop", sam_watch_stop, METH_NOARGS, NULL},
    {"watch_after_fork", sam_watch_after_fork, METH_NOARGS, NULL},
    {"enter", sam_watch_enter, METH_VARARGS,
     "enter(threshold in ns, loop): this thread runs a loop now. Without a "
     "loop it will leave()."},
    {"release", sam_watch_release, METH_O,
     "What enter() returned is watched no more."},
    {"leave", sam_watch_leave, METH_NOARGS, "And no more."},
    {"idle", sam_watch_idle, METH_NOARGS,
     "Its loop has come round, and waits."},
    {"busy", sam_watch_busy, METH_NOARGS, "It has something to do."},
    {"watched_select", sam_watch_select, METH_O,
     "A selector's select() that calls idle() and busy() around the given."},
    {"forget_loops", sam_watch_forget, METH_NOARGS,
     "All of those leave that were to say so themselves."},
    {"calls_add", sam_calls_add, METH_VARARGS,
     "calls_add(code, is_root) -> bool: count its calls; False: it is known, "
     "or there is no room."},
    {"calls_flush", sam_calls_flush, METH_NOARGS,
     "Write what was counted into the segment."},
    {"calls_read", sam_calls_read, METH_NOARGS,
     "[(code, calls, own ns, ns with what it called)]"},
    {"calls_switch", sam_calls_switch, METH_O,
     "Python 3.11: set this thread's profile function, or take it away; "
     "False: somebody else's is there."},
    {NULL, NULL, 0, NULL},
};

static int
execute(PyObject *module)
{
    return sam_stack_prepare() || sam_calls_prepare(module) ? -1 : 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)(uintptr_t)execute},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
    {0, NULL}};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "libperf._sampler",
    .m_doc = "Samples of the CPU, event loops that stand still, calls.",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__sampler(void);

PyMODINIT_FUNC
PyInit__sampler(void)
{
    return PyModuleDef_Init(&definition);
}
