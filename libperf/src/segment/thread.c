/* thread.c - gives each recording thread a block, and the block to another
 * thread when it ends.
 *
 * A block is never cleared: its counters go on growing under the next owner,
 * since totals are kept by name and not by thread. So thousands of threads
 * that come and go need as many blocks as there ever were at one time. */
#define _GNU_SOURCE
#include "thread.h"

#include "../base/clock.h"
#include "../base/frame.h"
#include "../base/intern.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

_Thread_local _Atomic(perfi_thread *) perfi_thread_plain;

static _Thread_local perfi_thread *mine; /* NULL: not attached */
static _Thread_local bool ended; /* its destructors are running; some record */

static perfi_thread *all_threads, *free_threads; /* under the segment's lock */
static perfi_thread *stale_threads; /* of the process we were forked from */
static pthread_key_t thread_end;
static bool watching;

/* Under the segment's lock; what a new thread begins with. A forked child keeps
 * them. */
static bool events_are_on, ends_are_watched;

/* What a thread points at when it found no room: it is not to ask each time. */
static perfi_thread no_room;

static uint32_t
system_thread_id(void)
{
#ifdef __linux__
    return (uint32_t)syscall(SYS_gettid);
#else
    return (uint32_t)(uintptr_t)pthread_self();
#endif
}

static uint64_t
seed_of(const perfi_thread *t)
{
    /* two threads' sequences start 2^64 / golden ratio steps apart */
    return perfi_segment_state.header->trace_hi ^
           (perfi_clock_ticks() + (uint64_t)t->block_offset) *
               UINT64_C(0xD1342543DE82EF95);
}

static perfi_thread *
make_thread(void)
{
    perfi_segment *s = &perfi_segment_state;
    const perf_allocator *a = s->settings.allocator;
    size_t ring_bytes = s->ring_chunks_max * sizeof(unsigned char *);
    perfi_thread *t = a->alloc(sizeof *t, a->ctx);
    unsigned char **ring = a->alloc(ring_bytes, a->ctx);
    unsigned char *chunk = t && ring ? perfi_segment_chunk() : NULL;
    if (!chunk) {
        a->free(ring, ring_bytes, a->ctx);
        a->free(t, sizeof *t, a->ctx);
        return NULL;
    }
    t->ring = ring;
    t->ring_bytes = ring_bytes;
    t->process = s->process;
    t->block = (perfi_block *)chunk;
    t->block_offset = perfi_offset(chunk);
    t->space = chunk + (sizeof *t->block + 63) / 64 * 64;
    t->space_end = chunk + PERFI_CHUNK;
    t->next_id = seed_of(t);
    t->block->ring_chunks_max = s->ring_chunks_max;
    t->block->next = (uint32_t)(perfi_get(&s->header->blocks) / PERFI_UNIT);
    t->all = all_threads;
    all_threads = t;
    /* release: the block is whole before a reader can find it */
    atomic_store_explicit(&s->header->blocks,
                          (uint64_t)t->block_offset * PERFI_UNIT,
                          memory_order_release);
    return t;
}

void
perfi_threads_forget(void)
{
    const perf_allocator *a = perfi_segment_state.settings.allocator;
    while (stale_threads) {
        perfi_thread *t = stale_threads;
        stale_threads = t->all;
        a->free(t->ring, t->ring_bytes, a->ctx);
        a->free(t, sizeof *t, a->ctx);
    }
}

/* Under the lock. */
static void
make_special_or_plain(perfi_thread *t)
{
    bool special = events_are_on || ends_are_watched;
    atomic_store_explicit(&t->events, events_are_on, memory_order_relaxed);
    if (t->plain)
        atomic_store_explicit(t->plain, special ? NULL : t,
                              memory_order_relaxed);
}

static perfi_thread *
attach(void)
{
    perfi_segment *s = &perfi_segment_state;
    pthread_mutex_lock(&s->lock);
    perfi_thread *t = NULL;
    if (perfi_segment_ensure()) {
        t = free_threads;
        if (t)
            free_threads = t->free;
        else
            t = make_thread();
    }
    if (t) {
        t->id = system_thread_id();
        t->cpu_read_at = 0; /* the CPU time was another thread's */
        atomic_store_explicit(&t->block->thread, t->id, memory_order_relaxed);
        /* nobody may write into the storage of a thread whose end we shall
         * not hear of: such a one is never plain */
        if (!pthread_setspecific(thread_end, t) && !ended)
            t->plain = &perfi_thread_plain;
        make_special_or_plain(t);
    }
    pthread_mutex_unlock(&s->lock);
    return t ? t : &no_room;
}

perfi_thread *
perfi_thread_find(void)
{
    if (!mine)
        mine = attach();
    return mine == &no_room ? NULL : mine;
}

/* Runs at the end of each thread that recorded. */
static void
detach(void *thread)
{
    perfi_thread *t = thread;
    perfi_segment *s = &perfi_segment_state;
    pthread_mutex_lock(&s->lock);
    t->plain = NULL;
    atomic_store_explicit(&perfi_thread_plain, NULL, memory_order_relaxed);
    mine = NULL;
    ended = true;
    if (t->process == s->process) {
        atomic_store_explicit(&t->block->thread, 0, memory_order_relaxed);
        t->free = free_threads;
        free_threads = t;
    }
    pthread_mutex_unlock(&s->lock);
}

void *
perfi_thread_space(perfi_thread *t, size_t bytes)
{
    bytes = (bytes + PERFI_UNIT - 1) / PERFI_UNIT * PERFI_UNIT;
    if ((size_t)(t->space_end - t->space) < bytes) {
        unsigned char *chunk = perfi_segment_chunk();
        if (!chunk)
            return NULL;
        t->space = chunk;
        t->space_end = chunk + PERFI_CHUNK;
    }
    void *piece = t->space;
    t->space += bytes;
    return piece;
}

static void
switch_all(bool *what, bool on)
{
    pthread_mutex_lock(&perfi_segment_state.lock);
    *what = on;
    for (perfi_thread *t = all_threads; t; t = t->all)
        make_special_or_plain(t);
    pthread_mutex_unlock(&perfi_segment_state.lock);
}

void
perfi_threads_switch_events(bool on)
{
    switch_all(&events_are_on, on);
}

void
perfi_threads_watch_ends(bool on)
{
    switch_all(&ends_are_watched, on);
}

void
perfi_threads_add_stats(perf_segment_stats *stats)
{
    for (const perfi_thread *t = all_threads; t; t = t->all) {
        stats->dropped_records += perfi_get(&t->block->dropped_records);
        stats->dropped_values += perfi_get(&t->block->dropped_values);
        stats->dropped_attributes += perfi_get(&t->block->dropped_attributes);
        stats->cut_texts += perfi_get(&t->block->cut_texts);
        stats->spans_unseen += perfi_get(&t->block->spans_unseen);
    }
}

/* As a reader finds it: the thread's own table is the thread's alone. */
static uint64_t
total_of(const perfi_block *block, uint32_t name)
{
    /* acquire: pairs with the release of perfi_series_make() */
    uint32_t at = atomic_load_explicit(&block->series, memory_order_acquire);
    while (at) {
        const perfi_series *s = perfi_at(at);
        if (s->name == name)
            return perfi_get(&s->sum);
        at = s->next;
    }
    return 0;
}

uint64_t
perfi_threads_total(uint32_t name)
{
    uint64_t total = 0;
    for (const perfi_thread *t = all_threads; t; t = t->all)
        if (__builtin_add_overflow(total, total_of(t->block, name), &total))
            total = UINT64_MAX;
    return total;
}

/* ---- fork ---- */

static void
before_fork(void)
{
    pthread_mutex_lock(&perfi_segment_state.lock);
    perfi_names_lock();
    perfi_frames_lock();
}

static void
after_fork_in_parent(void)
{
    perfi_frames_unlock();
    perfi_names_unlock();
    pthread_mutex_unlock(&perfi_segment_state.lock);
}

/* The child records into a segment of its own, from its first record on. The
 * parent's mapping is replaced by plain memory at the same place: a span that
 * was being written when a signal handler forked must find somewhere. */
static void
after_fork_in_child(void)
{
    perfi_segment *s = &perfi_segment_state;
    if (s->base) {
        mmap(s->base, s->max_bytes, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
        close(s->fd); /* the parent's lock stays the parent's */
    }
    s->base = NULL;
    s->header = NULL;
    s->fd = -1;
    s->process++;
    if (all_threads) /* freed when the child starts recording, not here */
        stale_threads = all_threads;
    all_threads = free_threads = NULL;
    mine = NULL;
    atomic_store_explicit(&perfi_thread_plain, NULL, memory_order_relaxed);
    if (watching)
        pthread_setspecific(thread_end, NULL);
    perfi_frames_forget_sink();
    perfi_frames_unlock();
    perfi_names_unlock();
    pthread_mutex_unlock(&s->lock);
}

void
perfi_threads_watch(void)
{
    if (watching) /* a key is inherited by a fork */
        return;
    watching = true;
    pthread_key_create(&thread_end, detach);
}

/* From the load on, not from the first record: names are interned, under a
 * lock, before that. */
__attribute__((constructor)) static void
watch_forks(void)
{
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}
