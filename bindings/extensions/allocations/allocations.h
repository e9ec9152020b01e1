/* allocations.h - what the files of the module libperf._allocations share.
 *
 * The allocator's functions for objects and memory run under the GIL, and so
 * does everything here; it guards all state. The raw ones may run without it:
 * they touch two atomic counters and nothing else. State is the process's own,
 * since the allocator is. */
#ifndef LIBPERF_BINDINGS_ALLOCATIONS_H
#define LIBPERF_BINDINGS_ALLOCATIONS_H
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <libperf/heap.h>
#include <libperf/span.h>
#include <stdatomic.h>

/** What is counted. */
typedef struct alloc_state {
    _Atomic bool counting; /* relaxed: raw functions look at it without the
                              GIL; a block more or less is no matter */
    bool inside;           /* what we allocate ourselves is not the program's */
    bool stacks;           /* samples are taken */
    PyInterpreterState *interpreter;
    PyObject *handle; /* of the span that was current last; a strong reference,
                         so that no other one gets its address */
    perf_span span;   /* and the span */
    uint64_t bytes, blocks; /* of it, not yet handed over */
    int64_t due;            /* bytes until the next sample; below 0: now */
    perf_heap *heap;        /* the sampled blocks that live */
    /* since the start: all, and those of no open span */
    uint64_t all_bytes, all_blocks, other_bytes, other_blocks;
    uint64_t told_bytes, told_blocks, told_other; /* to the segment */
} alloc_state;

extern alloc_state alloc_now;

static inline bool
alloc_counting(void)
{
    return atomic_load_explicit(&alloc_now.counting, memory_order_relaxed);
}

/** Relaxed: statistics. By threads without the GIL, and other interpreters. */
extern _Atomic uint64_t alloc_raw_bytes, alloc_raw_blocks;

/* ---- hook.c: between Python and its allocator ---- */

/** Stand in front of the allocator; where we do still, perhaps behind others,
 *  nothing changes. */
void alloc_hook(void);

/** Leave, where nobody has put himself in front of us. */
void alloc_unhook(void);

/** 0: not there; 1: right behind Python; 2: behind somebody else. */
int alloc_hooked(void);

/* ---- span.c: whose bytes they are ---- */

/** Made once, when the module is imported. Returns -1 with an exception. */
int alloc_span_prepare(void);

/** The handle of the current span; borrowed from the context. */
PyObject *alloc_current(void);

/** Another span is current than at the last allocation. */
void alloc_change(PyObject *handle);

/** Hand over to the span what is its own. */
void alloc_flush(void);

/** Hand over to the segment's counters what they do not have yet. */
void alloc_tell(void);

/** Begin to be told of the ends of spans, and stop. */
void alloc_watch_spans(bool on);

/** Forget the last handle. */
void alloc_forget_span(void);

/* ---- sample.c: where in the code ---- */

/** A block with which a sample is due. */
void alloc_sample(void *block, size_t size);

/** The number of this thread's call stack (frame.h). */
uint32_t alloc_stack(PyThreadState *thread);

#if PY_VERSION_HEX >= 0x030D0000
#define alloc_thread() PyThreadState_GetUnchecked()
#else
#define alloc_thread() _PyThreadState_UncheckedGet()
#endif

/** Count one block of the domains that hold the GIL. */
static inline void
alloc_count(void *block, size_t size)
{
    alloc_state *now = &alloc_now;
    PyThreadState *thread;
    if (!alloc_counting() || now->inside)
        return;
    thread = alloc_thread();
    if (__builtin_expect(!thread || thread->interp != now->interpreter, 0)) {
        atomic_fetch_add_explicit(&alloc_raw_bytes, size, memory_order_relaxed);
        atomic_fetch_add_explicit(&alloc_raw_blocks, 1, memory_order_relaxed);
        return;
    }
    PyObject *handle = alloc_current();
    if (__builtin_expect(handle != now->handle, 0))
        alloc_change(handle);
    now->bytes += size;
    now->blocks++;
    now->due -= (int64_t)size;
    if (__builtin_expect(now->due < 0, 0))
        alloc_sample(block, size);
}

static inline void
alloc_freed(void *block)
{
    if (alloc_now.heap && block)
        perf_heap_remove(alloc_now.heap, (uint64_t)(uintptr_t)block);
}

#endif
