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
#include <limits.h>
#include <stdio.h>
#include <string.h>

enum {
    FUNCTIONS_MAX = 1000,
    PLACES_BITS = 12,
    PLACES = 1 << PLACES_BITS,
    DEEPEST = 2000
};
#define FLUSH_S 0.2

typedef enum quantity { CALLS, SELF, TOTAL, QUANTITIES } quantity;
static const char *const words[] = {"calls", "self", "total"};

typedef struct function {
    PyCodeObject *code;                              /* kept alive */
    uint64_t value[QUANTITIES], flushed[QUANTITIES]; /* calls, ticks */
    uint32_t name[QUANTITIES]; /* of the counters in the segment */
    uint16_t number;           /* its place in `functions` */
    bool is_root;              /* itself profiled, not only called by one */
} function;

typedef struct call {
    function *of;
    uint64_t start, inside; /* ticks; those of what it called */
    int depth;
} call;

typedef struct stack {
    call *top;                    /* the first one: nothing */
    uint16_t open[FUNCTIONS_MAX]; /* calls of each in it */
    call call[1 + DEEPEST];       /* below all lies one that no event ends */
} stack;

static function functions[FUNCTIONS_MAX];
static uint32_t count;
static function *places[PLACES]; /* by address of the code */
static pthread_key_t thread_end;
static bool has_key;
static _Thread_local stack *mine;
static uint64_t flushed_at, flush_ticks;

/* ---- functions ---- */

static function **
place_of(const PyCodeObject *code)
{
    uint64_t hash = ((uintptr_t)code >> 4) * UINT64_C(0x9E3779B97F4A7C15);
    uint32_t i = (uint32_t)(hash >> (64 - PLACES_BITS));
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
                    .number = (uint16_t)(f - functions),
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
flush_when_due(uint64_t now)
{
    if (now - flushed_at < flush_ticks)
        return;
    flush_ticks = (uint64_t)(FLUSH_S * perf_clock_ticks_per_s());
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
make_stack(void)
{
    if (!has_key && pthread_key_create(&thread_end, free_stack))
        return NULL;
    has_key = true;
    mine = PyMem_RawCalloc(1, sizeof *mine);
    if (mine) {
        pthread_setspecific(thread_end, mine);
        mine->top = mine->call;
        mine->top->depth = INT_MIN;
    }
    return mine;
}

/* A function's calls in a stack end as they lie, the outermost as the last: it
 * counts for all of them, no time counts twice. */
static void
close_top(stack *s, uint64_t now)
{
    call *c = s->top--;
    function *f = c->of;
    uint64_t took = now - c->start;
    f->value[SELF] += took > c->inside ? took - c->inside : 0;
    if (!--s->open[f->number])
        f->value[TOTAL] += took;
    s->top->inside += took;
    if (s->top == s->call)
        flush_when_due(now);
}

/* They have ended without a word. */
static uint64_t
close_down_to(stack *s, int depth)
{
    uint64_t now = perf_clock_ticks();
    while (s->top->depth >= depth)
        close_top(s, now);
    return now;
}

/* `fresh`: it is called, not gone on with. */
static inline void
begin(const PyCodeObject *code, int depth, bool fresh)
{
    stack *s = mine ? mine : make_stack();
    function *f = *place_of(code);
    if (!s || !f)
        return;
    uint64_t now = s->top->depth >= depth ? close_down_to(s, depth) : 0;
    if (s->top == s->call ? !f->is_root : s->top == &s->call[DEEPEST])
        return;
    f->value[CALLS] += fresh;
    s->open[f->number]++;
    call *c = ++s->top;
    c->of = f;
    c->depth = depth;
    c->inside = 0;
    c->start = now ? now : perf_clock_ticks();
}

static inline void
end(const PyCodeObject *code, int depth)
{
    stack *s = mine;
    if (!s || s->top->depth < depth)
        return;
    uint64_t now = s->top->depth > depth ? close_down_to(s, depth + 1)
                                         : perf_clock_ticks();
    if (s->top->depth == depth && s->top->of->code == code)
        close_top(s, now);
}

#if PY_VERSION_HEX >= 0x030C0000

/* How deep the frame lies that runs. */
static int
depth_now(void)
{
    const PyThreadState *t = PyThreadState_Get();
    return t->py_recursion_limit - t->py_recursion_remaining;
}

/* What sys.monitoring calls. Objects of a type of their own, not functions of
 * the module: there is nothing between the interpreter and what they do. */
typedef struct hearer {
    PyObject_HEAD vectorcallfunc heard;
} hearer;

static PyObject *
heard_begin(PyObject *self, PyObject *const *args, size_t nargs,
            PyObject *names)
{
    (void)self;
    (void)names;
    if (PyVectorcall_NARGS(nargs) && PyCode_Check(args[0]))
        begin((PyCodeObject *)args[0], depth_now(), true);
    Py_RETURN_NONE;
}

static PyObject *
heard_resume(PyObject *self, PyObject *const *args, size_t nargs,
             PyObject *names)
{
    (void)self;
    (void)names;
    if (PyVectorcall_NARGS(nargs) && PyCode_Check(args[0]))
        begin((PyCodeObject *)args[0], depth_now(), false);
    Py_RETURN_NONE;
}

static PyObject *
heard_end(PyObject *self, PyObject *const *args, size_t nargs, PyObject *names)
{
    (void)self;
    (void)names;
    if (PyVectorcall_NARGS(nargs) && PyCode_Check(args[0]))
        end((PyCodeObject *)args[0], depth_now());
    Py_RETURN_NONE;
}

static PyMemberDef hearer_members[] = {
    {"__vectorcalloffset__", Py_T_PYSSIZET, offsetof(hearer, heard),
     Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot hearer_slots[] = {
    {Py_tp_doc, "Hears of one kind of event."},
    {Py_tp_call, (void *)(uintptr_t)PyVectorcall_Call},
    {Py_tp_members, hearer_members},
    {0, NULL},
};

static PyType_Spec hearer_spec = {
    .name = "libperf._sampler.Hearer",
    .basicsize = sizeof(hearer),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL |
             Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = hearer_slots,
};

int
sam_calls_prepare(PyObject *module)
{
    static const struct {
        const char *name;
        vectorcallfunc heard;
    } hearers[] = {{"calls_begin", heard_begin},
                   {"calls_resume", heard_resume},
                   {"calls_end", heard_end}};
    PyTypeObject *type = (PyTypeObject *)PyType_FromSpec(&hearer_spec);
    for (size_t i = 0; type && i < sizeof hearers / sizeof *hearers; i++) {
        hearer *made = PyObject_New(hearer, type);
        if (made)
            made->heard = hearers[i].heard;
        int failed =
            PyModule_AddObjectRef(module, hearers[i].name, (PyObject *)made);
        Py_XDECREF(made);
        if (failed)
            Py_CLEAR(type);
    }
    Py_XDECREF(type);
    return type ? 0 : -1;
}

#else

bool
sam_calls_knows(PyCodeObject *code)
{
    return *place_of(code) != NULL;
}

bool
sam_calls_is_inside(void)
{
    return mine && mine->top != mine->call;
}

void
sam_calls_begin(PyCodeObject *code, int depth, bool fresh)
{
    begin(code, depth, fresh);
}

void
sam_calls_end(PyCodeObject *code, int depth)
{
    end(code, depth);
}

void
sam_calls_end_all(void)
{
    if (mine)
        close_down_to(mine, 0);
}

int
sam_calls_prepare(PyObject *module)
{
    (void)module;
    return 0;
}

#endif
