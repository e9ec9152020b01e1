/* sample.c - a block of which more is kept: the call stack that
 * allocated it, and whether it still lives.
 *
 * We are in the middle of an allocation. Whoever makes an object of a frame
 * here allocates, and may set off the garbage collector in the middle of an
 * operation that does not expect it. So the interpreter's own frames are read,
 * as tracemalloc does it: nothing is allocated but numbers in the segment. */
#define Py_BUILD_CORE 1 /* for pycore_frame.h */
#include "allocations.h"

#include <internal/pycore_frame.h>
#include <libperf/clock.h>
#include <libperf/event.h>
#include <libperf/frame.h>

enum { DEPTH_MAX = 128 };      /* the innermost frames that are kept */
enum { TELL_BYTES = 1 << 20 }; /* how often, without samples */

/* ---- frames ---- */

typedef struct place {
    PyCodeObject *code;
    int instruction; /* offset in bytes */
} place;

#if PY_VERSION_HEX >= 0x030D0000
#define INNERMOST(thread) ((thread)->current_frame)
#define CODE_OF(frame)    _PyFrame_GetCode(frame)
#else
#define INNERMOST(thread) ((thread)->cframe->current_frame)
#define CODE_OF(frame)    ((frame)->f_code)
#endif

/* Has it begun? One of C's own, and one that is being made, has not. */
static bool
is_whole(_PyInterpreterFrame *frame)
{
#if PY_VERSION_HEX >= 0x030C0000
    if (frame->owner == FRAME_OWNED_BY_CSTACK)
        return false;
#endif
    return !_PyFrame_IsIncomplete(frame);
}

/* Innermost first. Returns how many; `more`: there were others. */
static int
walk(PyThreadState *thread, place *out, bool *more)
{
    int n = 0;
    _PyInterpreterFrame *frame = INNERMOST(thread);
    for (; frame && n < DEPTH_MAX; frame = frame->previous) {
        if (!is_whole(frame))
            continue;
        out[n].code = CODE_OF(frame);
        out[n++].instruction =
            _PyInterpreterFrame_LASTI(frame) * (int)sizeof(_Py_CODEUNIT);
    }
    *more = frame != NULL;
    return n;
}

/* A text's UTF-8: its own bytes where it is ASCII, else a copy that the text
 * keeps. */
static const char *
utf8_of(PyObject *text, Py_ssize_t *length)
{
    if (PyUnicode_IS_COMPACT_ASCII(text)) {
        *length = PyUnicode_GET_LENGTH(text);
        return (const char *)PyUnicode_DATA(text);
    }
    const char *bytes = PyUnicode_AsUTF8AndSize(text, length);
    if (bytes)
        return bytes;
    PyErr_Clear(); /* half a surrogate pair, or no memory */
    *length = 1;
    return "?";
}

uint32_t
alloc_stack(PyThreadState *thread)
{
    place at[DEPTH_MAX];
    bool more;
    int n = walk(thread, at, &more);
    uint32_t frame = more ? perf_frame(0, "(outer frames)", 14, "", 0, 0) : 0;
    while (n-- > 0) {
        Py_ssize_t name_length, file_length;
        const char *name = utf8_of(at[n].code->co_qualname, &name_length);
        const char *file = utf8_of(at[n].code->co_filename, &file_length);
        int line = PyCode_Addr2Line(at[n].code, at[n].instruction);
        frame = perf_frame(frame, name, (size_t)name_length, file,
                           (size_t)file_length, line > 0 ? (uint32_t)line : 0);
    }
    return frame;
}

/* ---- samples ---- */

static void
keep(void *block, size_t size)
{
    alloc_state *now = &alloc_now;
    perf_heap_block sample = {
        .address = (uint64_t)(uintptr_t)block,
        .size = size,
        .weight = perf_heap_weight(now->heap, size),
        .time_ns = perf_clock_now_ns(),
        .frame = alloc_stack(alloc_thread()),
        .name = now->span.id ? now->span.name : 0,
    };
    perf_event_write(PERF_EVENT_ALLOCATED, now->span.task, now->span.id,
                     sample.frame, sample.weight);
    perf_heap_put(now->heap, &sample);
}

void
alloc_sample(void *block, size_t size)
{
    alloc_state *now = &alloc_now;
    PyObject *type, *value, *trace; /* of an exception that is on its way */
    now->inside = true;
    PyErr_Fetch(&type, &value, &trace);
    if (now->stacks && size)
        keep(block, size);
    alloc_flush();
    alloc_tell();
    PyErr_Restore(type, value, trace);
    now->due = now->stacks ? (int64_t)perf_heap_next_bytes(now->heap)
                           : (int64_t)TELL_BYTES;
    now->inside = false;
}
