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
    uint32_t id; /* the operating system's */

    unsigned char *cursor, *end; /* ring: room in the current chunk */
    uint64_t position;           /* of the cursor */
    uint64_t records;            /* written so far */
    uint64_t chunk_number;       /* of the current chunk */
    unsigned char **ring;        /* its chunks, ring_chunks_max places */
    size_t ring_bytes;           /* of that table */

    unsigned char *space, *space_end; /* for series and pages */

    uint64_t next_id;         /* state of the id generator */
    uint64_t sign_of_life_at; /* ticks */

    uint32_t groups;     /* of slots */
    uint32_t no_scan;    /* begins to go before slots are searched again */
    uint32_t free_slots; /* entries in slot_stack */
    uint32_t slot_stack[PERFI_SLOT_GROUPS * PERFI_GROUP_SLOTS]; /* offsets */

    perfi_series *series[PERF_NAMES_MAX];
} perfi_thread;

/** NULL: not attached yet. Dynamic TLS: a Python module must not need the
 *  loader's small reserve of static TLS. */
extern _Thread_local perfi_thread *perfi_thread_current;

/** Attach this thread. Returns NULL when there is no room. */
__attribute__((cold)) perfi_thread *perfi_thread_attach(void);

static inline perfi_thread *
perfi_thread_get(void)
{
    perfi_thread *t = perfi_thread_current;
    if (__builtin_expect(!t, 0))
        return perfi_thread_attach();
    return t->block ? t : NULL;
}

/** A 16-aligned, zeroed piece of the segment for this thread, or NULL. */
void *perfi_thread_space(perfi_thread *t, size_t bytes);

/** Free what threads of the process we were forked from had allocated. */
void perfi_threads_forget(void);

/** Called once a segment has started: notice thread ends and forks. */
void perfi_threads_watch(void);

/** Add up what the threads could not keep. The lock must be held. */
void perfi_threads_add_stats(perf_segment_stats *stats);

/* ring.c */

/** Room for `bytes` in the ring, or NULL; ring_commit() makes it visible. */
__attribute__((cold)) unsigned char *perfi_ring_next_chunk(perfi_thread *t);

static inline void *
perfi_ring_reserve(perfi_thread *t, size_t bytes)
{
    if ((size_t)(t->end - t->cursor) < bytes && !perfi_ring_next_chunk(t))
        return NULL;
    return t->cursor;
}

static inline void
perfi_ring_commit(perfi_thread *t, size_t bytes)
{
    t->cursor += bytes;
    t->position += bytes;
    t->records++;
    /* release: the record is whole before the head passes it; pairs with the
     * reader's two looks at the head */
    atomic_store_explicit(&t->block->head, t->position, memory_order_release);
}

/* slot.c */

/** Look for slots when the stack is empty; NULL when 1,024 are open. */
__attribute__((cold)) perfi_slot *perfi_slot_find(perfi_thread *t);

/** A free slot, or NULL. */
static inline perfi_slot *
perfi_slot_take(perfi_thread *t)
{
    if (__builtin_expect(!t->free_slots, 0))
        return perfi_slot_find(t);
    return perfi_at(t->slot_stack[--t->free_slots]);
}

/** Give a slot back; its id must be stored as 0 already. A slot of another
 *  thread is left: its owner finds the 0 when it runs out. */
static inline void
perfi_slot_return(perfi_thread *t, const perfi_slot *slot, uint32_t offset)
{
    if (__builtin_expect(slot->block == t->block_offset, 1))
        t->slot_stack[t->free_slots++] = offset;
}

/* series.c */

/** This thread's series of a name, made at first use; NULL: no room. */
__attribute__((cold)) perfi_series *perfi_series_make(perfi_thread *t,
                                                      uint32_t name);

/** Make the page of a bucket; NULL: no room. */
__attribute__((cold)) perfi_counter *perfi_series_page(perfi_thread *t,
                                                       perfi_series *s,
                                                       uint32_t page);

/** Add to the sum of a quantity. */
void perfi_series_add_quantity(perfi_series *s, uint32_t key, uint64_t amount);

static inline perfi_series *
perfi_series_of(perfi_thread *t, uint32_t name)
{
    perfi_series *s = t->series[name];
    return __builtin_expect(!s, 0) ? perfi_series_make(t, name) : s;
}

/** Count one duration. */
static inline void
perfi_series_record(perfi_thread *t, perfi_series *s, uint64_t value)
{
    uint32_t bucket = perfi_bucket_of(value);
    uint32_t page = bucket >> PERFI_PAGE_BITS;
    uint32_t offset =
        atomic_load_explicit(&s->pages[page], memory_order_relaxed);
    perfi_counter *counters = __builtin_expect(offset != 0, 1)
                                  ? perfi_at(offset)
                                  : perfi_series_page(t, s, page);
    if (__builtin_expect(counters != NULL, 1))
        perfi_add(&counters[bucket & (PERFI_PAGE_BUCKETS - 1)], 1);
    else
        perfi_add(&s->unplaced, 1);
    perfi_add_saturating(&s->sum, value);
    perfi_raise(&s->max, value);
    perfi_lower(&s->min, value);
}
#endif
