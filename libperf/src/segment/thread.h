/* thread.h - what a thread keeps to itself while it records: pointers into its
 * block, so that the hot verbs follow no list and take no lock. */
#ifndef PERFI_THREAD_H
#define PERFI_THREAD_H
#include "segment.h"

typedef struct perfi_thread {
    struct perfi_thread *all;  /* every thread there was; under the lock */
    struct perfi_thread *free; /* those whose thread has ended */
    uint32_t process;          /* segment's, when it was made */
    perfi_block *block;
    uint32_t block_offset;
    uint32_t id;         /* the operating system's */
    _Atomic bool events; /* its spans write some; as perfi_thread_plain */
    /* its perfi_thread_plain; NULL: it has ended, or is about to. Under the
     * lock */
    _Atomic(struct perfi_thread *) *plain;

    unsigned char *cursor, *end; /* ring: room in the current chunk */
    uint64_t position;           /* of the cursor */
    uint64_t records;            /* written so far, */
    uint64_t event_records;      /* and how many of them are events */
    uint64_t chunk_number;       /* of the current chunk */
    unsigned char **ring;        /* its chunks, ring_chunks_max places */
    size_t ring_bytes;           /* of that table */

    unsigned char *space, *space_end; /* for series and pages */

    uint64_t next_id;         /* state of the id generator */
    uint64_t sign_of_life_at; /* ticks */
    uint64_t cpu_read_at;     /* ticks; when the CPU time was read last */

    uint32_t groups;     /* of slots */
    uint32_t no_scan;    /* begins to go before slots are searched again */
    uint32_t free_slots; /* entries in slot_stack */
    uint32_t slot_stack[PERFI_SLOT_GROUPS * PERFI_GROUP_SLOTS]; /* offsets */

    perfi_series *series[PERF_NAMES_MAX];
} perfi_thread;

/** This thread when there is nothing special about it, else NULL: not attached
 *  yet, no room for it, its spans write events, or somebody watches how they
 *  end. So these cost the hot verbs nothing. Written by other threads too,
 * under the lock; relaxed: nothing hangs on it but from which span on there are
 * events. Dynamic TLS: a Python module must not need the loader's small reserve
 * of static TLS. */
extern _Thread_local _Atomic(perfi_thread *) perfi_thread_plain;

static inline perfi_thread *
perfi_thread_get_plain(void)
{
    return atomic_load_explicit(&perfi_thread_plain, memory_order_relaxed);
}

/** This thread, attached if need be; NULL when there is no room. */
__attribute__((cold)) perfi_thread *perfi_thread_find(void);

/** The same, fast when there is nothing special about it. */
static inline perfi_thread *
perfi_thread_get(void)
{
    perfi_thread *t = perfi_thread_get_plain();
    return __builtin_expect(!t, 0) ? perfi_thread_find() : t;
}

/** A 16-aligned, zeroed piece of the segment for this thread, or NULL. */
void *perfi_thread_space(perfi_thread *t, size_t bytes);

/** Let every thread's spans write events, or stop; later threads too. */
void perfi_threads_switch_events(bool on);

/** Somebody wants to be told of the end of each span, or no longer. */
void perfi_threads_watch_ends(bool on);

/** Free what threads of the process we were forked from had allocated. */
void perfi_threads_forget(void);

/** Called once a segment has started: notice thread ends and forks. */
void perfi_threads_watch(void);

/** Add up what the threads could not keep. The lock must be held. */
void perfi_threads_add_stats(perf_segment_stats *stats);

/** The sum of a counter over all threads there were. The lock must be held. */
uint64_t perfi_threads_total(uint32_t name);
#endif
