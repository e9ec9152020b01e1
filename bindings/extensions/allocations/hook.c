/* hook.c - our functions in front of Python's allocator.
 *
 * Others may do the same (tracemalloc does), before or after us, and leave in
 * any order. Who leaves puts back what he found. So:
 * - what we stand in front of is called by its own context, which we hand on:
 *   a thread that reads function and context while we come or go may mix ours
 *   with theirs, and is right either way;
 * - when somebody is in front of us we stay, hand everything on, and count
 *   nothing: he will go on calling us, or put us back;
 * - when somebody has put back what was there before us, we are out, and our
 *   leaving must not bring back him in whose place we were. */
#include "allocations.h"

/* pymalloc takes blocks of up to 512 bytes itself and asks the raw domain for
 * larger ones, some debugging allocators add a few words to each. What they
 * ask for there is not another block. */
enum { RAW_FROM = 512 - 64 };

static PyMemAllocatorEx object_below, memory_below, raw_below;
static _Thread_local bool counted; /* what the raw domain is asked for now */
/* Which domain somebody asks to find out whether it leads to us; and whether
 * this thread came to us. Relaxed: only who asks looks at it. */
static _Atomic(PyMemAllocatorEx *) probed;
static _Thread_local bool seen;

_Atomic uint64_t alloc_raw_bytes, alloc_raw_blocks;

static inline void
note(PyMemAllocatorEx *below)
{
    if (__builtin_expect(
            atomic_load_explicit(&probed, memory_order_relaxed) == below, 0))
        seen = true;
}

/* ---- objects and memory: under the GIL ---- */

static void *
take(PyMemAllocatorEx *below, void *ctx, size_t size)
{
    bool before = counted;
    counted = true;
    void *block = below->malloc(ctx, size);
    counted = before;
    return block;
}

static void *
count_malloc(PyMemAllocatorEx *below, void *ctx, size_t size)
{
    void *block =
        size < RAW_FROM ? below->malloc(ctx, size) : take(below, ctx, size);
    if (block)
        alloc_count(block, size);
    note(below);
    return block;
}

static void *
count_calloc(PyMemAllocatorEx *below, void *ctx, size_t n, size_t size)
{
    bool before = counted;
    counted = true;
    void *block = below->calloc(ctx, n, size);
    counted = before;
    if (block)
        alloc_count(block, n * size);
    return block;
}

/* As if it were freed and allocated anew, whether it moves or not: how large it
 * was nobody tells, and what a program asks for is the same in each run. */
static void *
count_realloc(PyMemAllocatorEx *below, void *ctx, void *block, size_t size)
{
    bool before = counted;
    counted = true;
    void *moved = below->realloc(ctx, block, size);
    counted = before;
    if (moved) { /* else the old block is still there */
        alloc_freed(block);
        alloc_count(moved, size);
    }
    return moved;
}

static void
count_free(PyMemAllocatorEx *below, void *ctx, void *block)
{
    alloc_freed(block); /* first: then it may be another one's */
    below->free(ctx, block);
}

#define DOMAIN_UNDER_THE_GIL(name)                                             \
    static void *name##_malloc(void *ctx, size_t size)                         \
    {                                                                          \
        return count_malloc(&name##_below, ctx, size);                         \
    }                                                                          \
    static void *name##_calloc(void *ctx, size_t n, size_t size)               \
    {                                                                          \
        return count_calloc(&name##_below, ctx, n, size);                      \
    }                                                                          \
    static void *name##_realloc(void *ctx, void *block, size_t size)           \
    {                                                                          \
        return count_realloc(&name##_below, ctx, block, size);                 \
    }                                                                          \
    static void name##_free(void *ctx, void *block)                            \
    {                                                                          \
        count_free(&name##_below, ctx, block);                                 \
    }

DOMAIN_UNDER_THE_GIL(object)
DOMAIN_UNDER_THE_GIL(memory)

/* ---- raw: perhaps without the GIL ---- */

static void *
count_raw(void *block, size_t size)
{
    if (block && !counted && alloc_counting()) {
        atomic_fetch_add_explicit(&alloc_raw_bytes, size, memory_order_relaxed);
        atomic_fetch_add_explicit(&alloc_raw_blocks, 1, memory_order_relaxed);
    }
    return block;
}

static void *
raw_malloc(void *ctx, size_t size)
{
    note(&raw_below);
    return count_raw(raw_below.malloc(ctx, size), size);
}

static void *
raw_calloc(void *ctx, size_t n, size_t size)
{
    return count_raw(raw_below.calloc(ctx, n, size), n * size);
}

static void *
raw_realloc(void *ctx, void *block, size_t size)
{
    return count_raw(raw_below.realloc(ctx, block, size), size);
}

static void
raw_free(void *ctx, void *block)
{
    raw_below.free(ctx, block);
}

/* ---- coming and going ---- */

typedef struct domain {
    PyMemAllocatorDomain which;
    PyMemAllocatorEx *below; /* what we stand in front of */
    PyMemAllocatorEx ours;   /* without the context, which is theirs */
    void *(*allocate)(size_t);
    void (*release)(void *);
    bool installed; /* since then we may be called */
} domain;

static domain domains[] = {
    {PYMEM_DOMAIN_RAW,
     &raw_below,
     {NULL, raw_malloc, raw_calloc, raw_realloc, raw_free},
     PyMem_RawMalloc,
     PyMem_RawFree,
     false},
    {PYMEM_DOMAIN_MEM,
     &memory_below,
     {NULL, memory_malloc, memory_calloc, memory_realloc, memory_free},
     PyMem_Malloc,
     PyMem_Free,
     false},
    {PYMEM_DOMAIN_OBJ,
     &object_below,
     {NULL, object_malloc, object_calloc, object_realloc, object_free},
     PyObject_Malloc,
     PyObject_Free,
     false},
};
enum { DOMAINS = sizeof domains / sizeof *domains };

static bool
is_in_front(const domain *d)
{
    PyMemAllocatorEx now;
    PyMem_GetAllocator(d->which, &now);
    return now.malloc == d->ours.malloc;
}

/* Does Python still come to us, by whatever way? Of several sizes: who stands
 * in front of us may look after some of them himself. */
static bool
is_reached(const domain *d)
{
    static const size_t sizes[] = {1, 100, 1000, 100000};
    bool before = alloc_now.inside;
    alloc_now.inside = true;
    seen = false;
    atomic_store_explicit(&probed, d->below, memory_order_relaxed);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        d->release(d->allocate(sizes[i]));
    atomic_store_explicit(&probed, NULL, memory_order_relaxed);
    alloc_now.inside = before;
    return seen;
}

int
alloc_hooked(void)
{
    const domain *d = &domains[DOMAINS - 1];
    if (!d->installed || !is_reached(d))
        return 0;
    return is_in_front(d) ? 1 : 2;
}

static void
put_in_front(domain *d)
{
    PyMem_GetAllocator(d->which, d->below);
    d->ours.ctx = d->below->ctx;
    /* what we stand in front of is written before anybody can see us; pairs
     * with the dependency of those who then call us */
    atomic_thread_fence(memory_order_seq_cst);
    PyMem_SetAllocator(d->which, &d->ours);
    d->installed = true;
}

void
alloc_hook(void)
{
    for (int i = 0; i < DOMAINS; i++) {
        domain *d = &domains[i];
        /* who is not reached stands behind nobody: whatever is there now, it
         * does not lead to us, and we may stand in front of it */
        if (!d->installed || !is_reached(d))
            put_in_front(d);
    }
}

void
alloc_unhook(void)
{
    for (int i = 0; i < DOMAINS; i++) {
        domain *d = &domains[i];
        if (!d->installed || !is_in_front(d))
            continue;
        PyMem_SetAllocator(d->which, d->below);
        d->installed = false;
    }
}
