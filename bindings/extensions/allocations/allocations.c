/* allocations.c - the module libperf._allocations: counts what Python
 * allocates, by span, and keeps a sample of what lives. */
#include "allocations.h"

alloc_state alloc_now;

/* start(interval, seed, max_blocks); interval 0: no samples */
static PyObject *
py_start(PyObject *module, PyObject *args)
{
    alloc_state *now = &alloc_now;
    unsigned long long interval, seed, max_blocks;
    if (!PyArg_ParseTuple(args, "KKK", &interval, &seed, &max_blocks))
        return NULL;
    if (alloc_counting()) {
        PyErr_SetString(PyExc_RuntimeError, "allocations are counted already");
        return NULL;
    }
    perf_heap_config config;
    perf_heap_config_init(&config);
    if (interval)
        config.interval_bytes = interval;
    config.seed = seed;
    config.max_blocks = max_blocks;
    perf_heap *heap;
    perf_err err = perf_heap_create(&config, &heap);
    if (err)
        return PyLong_FromLong(err);
    alloc_hook();
    *now = (alloc_state){
        .inside = true,
        .stacks = interval != 0,
        .interpreter = PyInterpreterState_Get(),
        .heap = heap,
        .due = (int64_t)perf_heap_next_bytes(heap),
    };
    atomic_store_explicit(&alloc_raw_bytes, 0, memory_order_relaxed);
    atomic_store_explicit(&alloc_raw_blocks, 0, memory_order_relaxed);
    alloc_watch_spans(true);
    PyObject *done = PyLong_FromLong(PERF_OK);
    now->inside = false;
    atomic_store_explicit(&now->counting, done != NULL, memory_order_relaxed);
    return done;
}

static PyObject *
py_stop(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    alloc_state *now = &alloc_now;
    if (!alloc_counting())
        Py_RETURN_FALSE;
    atomic_store_explicit(&now->counting, false, memory_order_relaxed);
    alloc_flush();
    alloc_tell();
    alloc_watch_spans(false);
    alloc_forget_span();
    alloc_unhook();
    perf_heap_destroy(now->heap); /* from here on nobody hears of frees */
    now->heap = NULL;
    Py_RETURN_TRUE;
}

static PyObject *
py_counts(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    alloc_state *now = &alloc_now;
    if (alloc_counting()) {
        alloc_flush();
        alloc_tell();
    }
    perf_heap_stats stats = {0};
    if (now->heap)
        perf_heap_stats_now(now->heap, &stats);
    return Py_BuildValue("{s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K}", "bytes",
                         (unsigned long long)now->all_bytes, "blocks",
                         (unsigned long long)now->all_blocks, "other_bytes",
                         (unsigned long long)now->other_bytes, "other_blocks",
                         (unsigned long long)now->other_blocks, "raw_bytes",
                         (unsigned long long)atomic_load_explicit(
                             &alloc_raw_bytes, memory_order_relaxed),
                         "raw_blocks",
                         (unsigned long long)atomic_load_explicit(
                             &alloc_raw_blocks, memory_order_relaxed),
                         "live", (unsigned long long)stats.blocks, "taken",
                         (unsigned long long)stats.taken, "dropped",
                         (unsigned long long)stats.dropped);
}

static PyObject *
py_counting(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(alloc_counting());
}

static PyObject *
py_hooked(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromLong(alloc_hooked());
}

/* The blocks that live, as bytes of perf_heap_block: making objects of them
 * would change the table that they come from. */
static PyObject *
py_live(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    alloc_state *now = &alloc_now;
    if (!now->heap)
        return PyBytes_FromStringAndSize(NULL, 0);
    bool before = now->inside;
    now->inside = true; /* the bytes themselves are not to be sampled */
    size_t n = perf_heap_blocks(now->heap, NULL, 0);
    PyObject *out = PyBytes_FromStringAndSize(
        NULL, (Py_ssize_t)(n * sizeof(perf_heap_block)));
    if (out)
        perf_heap_blocks(now->heap, (void *)PyBytes_AS_STRING(out), n);
    now->inside = before;
    return out;
}

/* In a forked child: what the parent has counted and not yet handed over is the
 * parent's. What lives, lives here, too. */
static PyObject *
py_after_fork(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    alloc_state *now = &alloc_now;
    now->bytes = now->blocks = 0;
    now->all_bytes = now->all_blocks = 0;
    now->other_bytes = now->other_blocks = 0;
    now->told_bytes = now->told_blocks = now->told_other = 0;
    atomic_store_explicit(&alloc_raw_bytes, 0, memory_order_relaxed);
    atomic_store_explicit(&alloc_raw_blocks, 0, memory_order_relaxed);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"start", py_start, METH_VARARGS,
     "start(interval, seed, max_blocks): count; returns a perf_err."},
    {"stop", py_stop, METH_NOARGS, "Count no more; did we?"},
    {"counting", py_counting, METH_NOARGS, "Do we?"},
    {"counts", py_counts, METH_NOARGS, "What was counted since the start."},
    {"hooked", py_hooked, METH_NOARGS,
     "0: not in the allocator's way; 1: in front; 2: behind somebody else."},
    {"live", py_live, METH_NOARGS, "The sampled blocks, as in heap.h."},
    {"after_fork", py_after_fork, METH_NOARGS, "Begin anew in a child."},
    {NULL, NULL, 0, NULL}};

static int
execute(PyObject *module)
{
    return alloc_span_prepare();
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)(uintptr_t)execute},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
    {0, NULL}};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "libperf._allocations",
    .m_doc = "Counts what Python allocates.",
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__allocations(void);

PyMODINIT_FUNC
PyInit__allocations(void)
{
    return PyModuleDef_Init(&definition);
}
