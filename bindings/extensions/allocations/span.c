/* span.c - whose bytes they are: those of the span that is current
 * when they are allocated.
 *
 * Which one is current is asked at each allocation, of the context variable: a
 * look into its cache. So nothing has to know when contexts change, in event
 * loops, threads or generators, and what a span is given is exact. Bytes
 * gather here as long as the handle stays the same; they go to the span when
 * another one turns up, and when the span ends. */
#include "allocations.h"

#include <libperf/metric.h>
#include <string.h>

static PyObject *variable;    /* libperf.context's context variable */
static PyObject *no_span;     /* and its default */
static PyTypeObject *cdata;   /* cffi's objects, */
static PyObject *struct_type; /* its type of our struct, */
static int (*to_c)(char *, PyObject *, PyObject *); /* and its conversion */
static uint32_t key_bytes, key_blocks;
static uint32_t counter_bytes, counter_blocks, counter_other;

/* ---- from a handle to a span ---- */

/* The accelerator's handles are the struct, to be looked at. */
static perf_span
span_in(PyObject *handle)
{
    perf_span span = {0};
    Py_buffer view;
    if (!PyObject_CheckBuffer(handle) || /* an exception would be an object */
        PyObject_GetBuffer(handle, &view, PyBUF_SIMPLE) < 0)
        return span;
    if (view.len == sizeof span)
        memcpy(&span, view.buf, sizeof span);
    PyBuffer_Release(&view);
    return span;
}

/* Never fails: what cannot be read is no span. */
static perf_span
span_of(PyObject *handle)
{
    perf_span span = {0};
    if (!handle || handle == no_span)
        return span;
    PyObject *type, *value, *trace; /* of an exception that is on its way */
    PyErr_Fetch(&type, &value, &trace);
    if (PyObject_TypeCheck(handle, cdata)) {
        if (to_c((char *)&span, struct_type, handle) < 0)
            span = (perf_span){0};
    } else {
        span = span_in(handle);
    }
    PyErr_Restore(type, value, trace); /* also forgets one of ours */
    return span;
}

PyObject *
alloc_current(void)
{
    PyObject *handle = NULL;
    if (PyContextVar_Get(variable, NULL, &handle) < 0)
        return no_span;
    Py_XDECREF(handle); /* the context, or the variable, holds it */
    return handle;
}

/* ---- handing over ---- */

void
alloc_flush(void)
{
    alloc_state *now = &alloc_now;
    if (!now->blocks)
        return;
    now->all_bytes += now->bytes;
    now->all_blocks += now->blocks;
    if (now->span.id &&
        perf_span_add_int(now->span, key_bytes, (int64_t)now->bytes)) {
        perf_span_add_int(now->span, key_blocks, (int64_t)now->blocks);
    } else {
        now->other_bytes += now->bytes;
        now->other_blocks += now->blocks;
    }
    now->bytes = now->blocks = 0;
}

void
alloc_change(PyObject *handle)
{
    alloc_state *now = &alloc_now;
    PyObject *before = now->handle;
    now->inside = true;
    alloc_flush();
    now->handle = Py_XNewRef(handle);
    now->span = span_of(handle);
    Py_XDECREF(before);
    now->inside = false;
}

static void
add(uint32_t counter, uint64_t now, uint64_t *told)
{
    if (now > *told)
        perf_metric_add(counter, now - *told);
    *told = now;
}

void
alloc_tell(void)
{
    alloc_state *now = &alloc_now;
    add(counter_bytes, now->all_bytes, &now->told_bytes);
    add(counter_blocks, now->all_blocks, &now->told_blocks);
    add(counter_other, now->other_bytes, &now->told_other);
}

/* Called by whoever ends a span; in Python always with the GIL. */
static void
before_end(perf_span span)
{
    if (PyGILState_Check() && span.id == alloc_now.span.id)
        alloc_flush();
}

void
alloc_watch_spans(bool on)
{
    perf_spans_watch(on ? before_end : NULL);
}

void
alloc_forget_span(void)
{
    alloc_now.span = (perf_span){0};
    Py_CLEAR(alloc_now.handle);
}

/* ---- once ---- */

/* cffi's own table of functions, as the modules that it generates use it
 * (cffi/_cffi_include.h); number 17 is _cffi_to_c. */
static int
find_cffi(void)
{
    PyObject *backend = PyImport_ImportModule("_cffi_backend");
    if (!backend)
        return -1;
    PyObject *capsule = PyObject_GetAttrString(backend, "_C_API");
    void **table = capsule ? PyCapsule_GetPointer(capsule, "cffi") : NULL;
    if (table)
        *(void **)&to_c = table[17];
    Py_XDECREF(capsule);
    cdata = (PyTypeObject *)PyObject_GetAttrString(backend, "_CDataBase");
    Py_DECREF(backend);
    return table && cdata ? 0 : -1;
}

static PyObject *
attribute_of(const char *module, const char *name)
{
    PyObject *found = PyImport_ImportModule(module);
    PyObject *value = found ? PyObject_GetAttrString(found, name) : NULL;
    Py_XDECREF(found);
    return value;
}

static uint32_t
name_of(perf_kind kind, const char *text)
{
    return perf_name(kind, text, strlen(text));
}

int
alloc_span_prepare(void)
{
    if (variable)
        return 0;
    PyObject *ffi = attribute_of("libperf._core", "ffi");
    if (!ffi || find_cffi() < 0)
        return -1;
    struct_type = PyObject_CallMethod(ffi, "typeof", "s", "perf_span");
    Py_DECREF(ffi);
    no_span = attribute_of("libperf.context", "NO_SPAN");
    PyObject *current = attribute_of("libperf.context", "_current");
    if (!struct_type || !no_span || !current)
        return -1;
    key_bytes = name_of(PERF_KIND_QUANTITY, "alloc.bytes");
    key_blocks = name_of(PERF_KIND_QUANTITY, "alloc.blocks");
    counter_bytes = name_of(PERF_KIND_COUNTER, "memory.allocated.bytes");
    counter_blocks = name_of(PERF_KIND_COUNTER, "memory.allocated.blocks");
    counter_other = name_of(PERF_KIND_COUNTER, "memory.allocated.other");
    variable = current;
    return 0;
}
