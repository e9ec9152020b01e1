/* ring.h - where a thread's finished records go. */
#ifndef PERFI_RING_H
#define PERFI_RING_H
#include "thread.h"

/** Go on in a new chunk, or in the oldest one. NULL: there is no room. */
__attribute__((cold)) unsigned char *perfi_ring_next_chunk(perfi_thread *t);

/** Room for `bytes` in the ring, or NULL; ring_commit() makes it visible. */
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
#endif
