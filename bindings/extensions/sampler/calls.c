/* calls.c - the calls below a profiled function: how often, how long,
 * and how long without what they called.
 *
 * Each thread has a stack of the calls that it is in. Python does not promise
 * an end for each begin (a call that raises has none before Python 3.15, nor
 * has a generator that is closed), so every call knows how deep it lies: what
 * lies as deep or deeper than the next event has ended by then. Nothing counts
 * outside of a profiled function. */
#include "sampler.h"

#include <libperf/clock.h>
#include <libperf/metric.h>
#include <stdio.h>
#include <string.h>

enum { FUNCTIONS_MAX = 1000, PLACES = 4096, DEEPEST = 2000 };
#define FLUSH_NS UINT64_C(200000000)

typedef enum quantity { CALLS, SELF, TOTAL, QUANTITIES } quantity;
static const char *const words[] = {"calls", "self", "total"};

typedef struct function {
    PyCodeObject *code;                              /* kept alive */
    uint64_t value[QUANTITIES], flushed[QUANTITIES]; /* calls, ticks */
    uint32_t name[QUANTITIES]; /* of the counters in the segment */
    uint32_t open;             /* calls of it, in all threads */
    bool is_root;              /* itself profiled, not only called by one */
} function;

typedef struct call {
    function *of;
    uint64_t start, inside; /* ticks; those of what it called */
    int depth;
    bool is_outermost; /* of its function: no time counts twice */
} call;

typedef struct stack {
    uint32_t count;
    call call[DEEPEST];
} stack;

static function functions[FUNCTIONS_MAX];
static uint32_t count;
static function *places[PLACES]; /* by address of the code */
static pthread_key_t thread_end;
static bool has_key;
static _Thread_local stack *mine;
static uint64_t flushed_at; /* ns */

/* ---- functions ---- */

static function **
place_of(const PyCodeObject *code)
{
    uint64_t hash = ((uintptr_t)code >> 4) * UINT64_C(0x9E3779B97F4A7C15);
    uint32_t i = (uint32_t)(hash >> 40) & (PLACES - 1);
    while (places[i] && places[i]->code != code)
        i = (i + 1) & (PLACES - 1);
    return &places[i];
}

/* The last bytes of a text, from the begin of a character on. */
static const char *
end_of(const char *text, Py_ssize_t length, int most)
{
    if (length <= most)
        return text;
    text += length - most;
    while (((unsigned char)*text & 0xC0) == 0x80)
        text++;
    return text;
}

static void
name_counters(function *f)
{
    char text[PERF_TEXT_MAX_BYTES + 1];
    Py_ssize_t name_length, file_length;
    PyObject *keep_name, *keep_file;
    const char *name = sam_text(f->code->co_qualname, &name_length, &keep_name);
    const char *file = sam_text(f->code->co_filename, &file_length, &keep_file);
    for (int q = 0; q < QUANTITIES; q++) {
        int n = snprintf(text, sizeof text, "profile.%s:%s:%d:%.*s", words[q],
                         end_of(file, file_length, 100),
                         f->code->co_firstlineno, (int)name_length, name);
        n = n < (int)sizeof text ? n : (int)sizeof text - 1;
        f->name[q] = perf_name(PERF_KIND_COUNTER, text, (size_t)n);
    }
    Py_XDECREF(keep_name);
    Py_XDECREF(keep_file);
}

/* add(code, is_root) -> bool: it is new. False too when there is no room. */
PyObject *
sam_calls_add(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *code;
    int is_root;
    if (!PyArg_ParseTuple(args, "O!p", &PyCode_Type, &code, &is_root))
        return NULL;
    function **place = place_of((PyCodeObject *)code);
    if (*place) {
        (*place)->is_root |= is_root != 0;
        Py_RETURN_FALSE;
    }
    if (count == FUNCTIONS_MAX)
        Py_RETURN_FALSE;
    function *f = &functions[count++];
    *f = (function){.code = (PyCodeObject *)Py_NewRef(code),
                    .is_root = is_root != 0};
    name_counters(f);
    *place = f;
    Py_RETURN_TRUE;
}

/* ---- what is counted goes into the segment ---- */

static void
flush(void)
{
    for (uint32_t i = 0; i < count; i++) {
        function *f = &functions[i];
        for (int q = 0; q < QUANTITIES; q++) {
            uint64_t more = f->value[q] - f->flushed[q];
            if (!more)
                continue;
            f->flushed[q] = f->value[q];
            perf_metric_add(f->name[q],
                            q == CALLS ? more : perf_clock_duration_ns(more));
        }
    }
}

PyObject *
sam_calls_flush(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    flush();
    Py_RETURN_NONE;
}

static void
flush_when_due(void)
{
    uint64_t now = perf_clock_now_ns();
    if (now - flushed_at < FLUSH_NS)
        return;
    flushed_at = now;
    flush();
}

/* read() -> [(code, calls, self ns, total ns)] */
PyObject *
sam_calls_read(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    PyObject *list = PyList_New(0);
    for (uint32_t i = 0; list && i < count; i++) {
        const function *f = &functions[i];
        PyObject *row = Py_BuildValue(
            "(OKKK)", f->code, (unsigned long long)f->value[CALLS],
            (unsigned long long)perf_clock_duration_ns(f->value[SELF]),
            (unsigned long long)perf_clock_duration_ns(f->value[TOTAL]));
        if (!row || PyList_Append(list, row) < 0)
            Py_CLEAR(list);
        Py_XDECREF(row);
    }
    return list;
}

/* ---- calls ---- */

static void
free_stack(void *ended)
{
    PyMem_RawFree(ended);
}

static stack *
own_stack(void)
{
    if (mine)
        return mine;
    if (!has_key && pthread_key_create(&thread_end, free_stack))
        return NULL;
    has_key = true;
    mine = PyMem_RawCalloc(1, sizeof *mine);
    if (mine)
        pthread_setspecific(thread_end, mine);
    return mine;
}

static void
close_last(stack *s, uint64_t now)
{
    call *c = &s->call[--s->count];
    uint64_t took = now - c->start;
    c->of->value[SELF] += took > c->inside ? took - c->inside : 0;
    if (c->is_outermost)
        c->of->value[TOTAL] += took;
    c->of->open--;
    if (s->count)
        s->call[s->count - 1].inside += took;
    else
        flush_when_due();
}

static bool
is_inside(const stack *s, const function *f)
{
    if (f->open)
        for (uint32_t i = s->count; i--;)
            if (s->call[i].of == f)
                return true;
    return false;
}

/* `fresh`: it is called, not gone on with. */
static void
begin(const PyCodeObject *code, int depth, bool fresh)
{
    stack *s = own_stack();
    function *f = *place_of(code);
    if (!s || !f)
        return;
    uint64_t now = 0;
    while (s->count && s->call[s->count - 1].depth >= depth) {
        now = now ? now : perf_clock_ticks();
        close_last(s, now); /* it has ended without a word */
    }
    if ((!s->count && !f->is_root) || s->count == DEEPEST)
        return;
    f->value[CALLS] += fresh;
    call *c = &s->call[s->count];
    *c = (call){.of = f, .depth = depth, .is_outermost = !is_inside(s, f)};
    f->open++;
    s->count++;
    c->start = now ? now : perf_clock_ticks();
}

static void
end(const PyCodeObject *code, int depth)
{
    stack *s = mine;
    if (!s || !s->count || s->call[s->count - 1].depth < depth)
        return;
    uint64_t now = perf_clock_ticks();
    while (s->count && s->call[s->count - 1].depth > depth)
        close_last(s, now);
    if (s->count && s->call[s->count - 1].depth == depth &&
        s->call[s->count - 1].of->code == code)
        close_last(s, now);
}

#if PY_VERSION_HEX >= 0x030C0000

/* How deep the frame lies that runs. */
static int
depth_now(void)
{
    const PyThreadState *t = PyThreadState_Get();
    return t->py_recursion_limit - t->py_recursion_remaining;
}

static PyObject *
begin_event(PyObject *const *args, Py_ssize_t nargs, bool fresh)
{
    if (nargs && PyCode_Check(args[0]))
        begin((PyCodeObject *)args[0], depth_now(), fresh);
    Py_RETURN_NONE;
}

PyObject *
sam_calls_begin(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    return begin_event(args, nargs, true);
}

PyObject *
sam_calls_resume(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    return begin_event(args, nargs, false);
}

PyObject *
sam_calls_end(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    if (nargs && PyCode_Check(args[0]))
        end((PyCodeObject *)args[0], depth_now());
    Py_RETURN_NONE;
}

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
        function **place = place_of(code);
        if (!*place && mine && mine->count) { /* called by a profiled one */
            PyObject *args = Py_BuildValue("(OO)", code, Py_False);
            PyObject *made = args ? sam_calls_add(NULL, args) : NULL;
            Py_XDECREF(args);
            Py_XDECREF(made);
            PyErr_Clear();
        }
        begin(code, ++depth, is_fresh(frame, code));
    } else {
        end(code, depth);
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
    if (mine && mine->count) {
        uint64_t ticks = perf_clock_ticks();
        while (mine->count)
            close_last(mine, ticks);
    }
    Py_RETURN_TRUE;
}

PyObject *
sam_calls_begin(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    (void)args;
    (void)nargs;
    Py_RETURN_NONE;
}

PyObject *
sam_calls_resume(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    return sam_calls_begin(module, args, nargs);
}

PyObject *
sam_calls_end(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    return sam_calls_begin(module, args, nargs);
}

#endif
