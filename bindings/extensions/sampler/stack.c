/* stack.c - what a thread of Python's is doing: its frames as one
 * number, the span that is current in it, its task.
 *
 * A frame's number is asked of the core once; from then on it is found by its
 * caller's number, its code and its instruction in a table whose entries are
 * written over by newer ones. An entry keeps its code alive, or another code
 * at the same address would be taken for it. */
#include "sampler.h"

#include <libperf/frame.h>

enum { DEEPEST = 256, KNOWN = 8192 /* a power of 2 */ };

typedef struct known {
    PyCodeObject *code; /* NULL: free */
    uint32_t caller, frame;
    int instruction;
} known;

static known table[KNOWN];
static PyObject *current_span, *no_span; /* libperf.context's */
static PyObject *str_id, *str_get, *str_thread_id;
static PyObject *str_asyncio_tasks, *str_current_tasks;
static PyObject *last_handle; /* and its span */
static uint64_t last_span;

/* ---- frames ---- */

const char *
sam_text(PyObject *text, Py_ssize_t *length, PyObject **keep)
{
    *keep = NULL;
    const char *bytes = PyUnicode_AsUTF8AndSize(text, length);
    if (bytes)
        return bytes;
    PyErr_Clear(); /* a lone surrogate, in the name of a file */
    *keep = PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
    if (*keep) {
        *length = PyBytes_GET_SIZE(*keep);
        return PyBytes_AS_STRING(*keep);
    }
    PyErr_Clear();
    *length = 0;
    return "";
}

static uint32_t
ask_core(uint32_t caller, PyCodeObject *code, int instruction)
{
    Py_ssize_t name_length, file_length;
    PyObject *keep_name, *keep_file;
    const char *name = sam_text(code->co_qualname, &name_length, &keep_name);
    const char *file = sam_text(code->co_filename, &file_length, &keep_file);
    int line = PyCode_Addr2Line(code, instruction);
    uint32_t number =
        perf_frame(caller, name, (size_t)name_length, file, (size_t)file_length,
                   line > 0 ? (uint32_t)line : 0);
    Py_XDECREF(keep_name);
    Py_XDECREF(keep_file);
    return number;
}

static uint32_t
number_of(uint32_t caller, PyCodeObject *code, int instruction)
{
    uint64_t hash =
        ((uintptr_t)code >> 4) * UINT64_C(0x9E3779B97F4A7C15) ^
        caller * UINT64_C(0xBF58476D1CE4E5B9) ^
        (uint64_t)(uint32_t)instruction * UINT64_C(0x94D049BB133111EB);
    known *k = &table[(hash >> 40) & (KNOWN - 1)];
    if (k->code == code && k->caller == caller && k->instruction == instruction)
        return k->frame;
    PyCodeObject *before = k->code;
    *k = (known){(PyCodeObject *)Py_NewRef((PyObject *)code), caller,
                 ask_core(caller, code, instruction), instruction};
    uint32_t number = k->frame;
    Py_XDECREF(before); /* last: it may run anything */
    return number;
}

static uint32_t
stack_of(PyThreadState *thread)
{
    PyCodeObject *code[DEEPEST];
    int instruction[DEEPEST], depth = 0;
#if PY_VERSION_HEX < 0x030C0000
    int collects = PyGC_Disable(); /* a new frame object may set it off */
#endif
    PyFrameObject *frame = PyThreadState_GetFrame(thread);
    while (frame && depth < DEEPEST) {
        code[depth] = PyFrame_GetCode(frame);
        instruction[depth++] = PyFrame_GetLasti(frame);
        PyFrameObject *back = PyFrame_GetBack(frame);
        Py_DECREF(frame);
        frame = back;
    }
#if PY_VERSION_HEX < 0x030C0000
    if (collects)
        PyGC_Enable();
#endif
    uint32_t number = 0;
    if (frame) {
        number = perf_frame(0, "(deeper)", 8, "", 0, 0);
        Py_DECREF(frame);
    }
    while (depth--) {
        number = number_of(number, code[depth], instruction[depth]);
        Py_DECREF(code[depth]);
    }
    return number;
}

void
sam_stack_forget(void)
{
    for (int i = 0; i < KNOWN; i++) {
        PyCodeObject *code = table[i].code;
        table[i] = (known){0};
        Py_XDECREF(code);
    }
    Py_CLEAR(last_handle);
}

/* ---- spans ---- */

static uint64_t
span_in(PyObject *handle)
{
    if (handle == no_span || handle == Py_None)
        return 0;
    if (handle == last_handle)
        return last_span;
    PyObject *number = PyObject_GetAttr(handle, str_id);
    if (!number)
        return 0;
    last_span = PyLong_AsUnsignedLongLongMask(number);
    Py_DECREF(number);
    Py_XSETREF(last_handle, Py_NewRef(handle));
    return last_span;
}

static uint64_t
span_of(PyThreadState *thread)
{
    PyObject *handle = NULL;
    if (thread == PyThreadState_Get())
        PyContextVar_Get(current_span, NULL, &handle);
    else if (thread->context)
        handle =
            PyObject_CallMethodOneArg(thread->context, str_get, current_span);
    uint64_t id = handle ? span_in(handle) : 0;
    Py_XDECREF(handle);
    PyErr_Clear();
    return id;
}

/* ---- tasks ---- */

/* asyncio's own table of what each loop runs; borrowed. NULL: there is none. */
static PyObject *
current_tasks(void)
{
    PyObject *modules = PyImport_GetModuleDict();
    PyObject *tasks = PyDict_GetItemWithError(modules, str_asyncio_tasks);
    PyObject *names = tasks ? PyModule_GetDict(tasks) : NULL;
    PyObject *found =
        names ? PyDict_GetItemWithError(names, str_current_tasks) : NULL;
    return found && PyDict_Check(found) ? found : NULL;
}

/* libperf.task.number_of() of the task that runs in a thread. */
static uint32_t
task_of(PyThreadState *thread)
{
    PyObject *tasks = current_tasks(), *loop, *task;
    for (Py_ssize_t at = 0; tasks && PyDict_Next(tasks, &at, &loop, &task);) {
        PyObject *number = PyObject_GetAttr(loop, str_thread_id);
        bool here = number && PyLong_Check(number) &&
                    PyLong_AsUnsignedLongMask(number) == thread->thread_id;
        Py_XDECREF(number);
        if (here)
            return (uint32_t)((uintptr_t)task >> 4);
    }
    PyErr_Clear();
    return 0;
}

sam_look
sam_look_at(PyThreadState *thread)
{
    sam_look look = {.span = span_of(thread), .task = task_of(thread)};
    look.frame = stack_of(thread);
    return look;
}

int
sam_stack_prepare(void)
{
    PyObject *context = PyImport_ImportModule("libperf.context");
    if (!context)
        return -1;
    current_span = PyObject_GetAttrString(context, "_current");
    no_span = PyObject_GetAttrString(context, "NO_SPAN");
    Py_DECREF(context);
    str_id = PyUnicode_InternFromString("id");
    str_get = PyUnicode_InternFromString("get");
    str_thread_id = PyUnicode_InternFromString("_thread_id");
    str_asyncio_tasks = PyUnicode_InternFromString("asyncio.tasks");
    str_current_tasks = PyUnicode_InternFromString("_current_tasks");
    bool all = current_span && no_span && str_id && str_get && str_thread_id &&
               str_asyncio_tasks && str_current_tasks;
    return all ? 0 : -1;
}
