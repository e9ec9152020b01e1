/* ring.c - a thread's ring of finished records: grows chunk by chunk to its
 * bound, then writes over the oldest chunk. */
#include "ring.h"

static unsigned char *
grow(perfi_thread *t, perfi_block *b, uint32_t chunks)
{
    if (chunks == b->ring_chunks_max)
        return NULL;
    unsigned char *chunk = perfi_segment_chunk();
    if (!chunk)
        return NULL;
    perfi_ring_chunk *head = (perfi_ring_chunk *)chunk;
    head->older = atomic_load_explicit(&b->ring, memory_order_relaxed);
    head->index = chunks;
    t->ring[chunks] = chunk;
    return chunk;
}

unsigned char *
perfi_ring_next_chunk(perfi_thread *t)
{
    perfi_block *b = t->block;
    uint32_t chunks =
        atomic_load_explicit(&b->ring_chunks, memory_order_relaxed);
    bool wrapped = atomic_load_explicit(&b->ring_wrapped, memory_order_relaxed);
    uint64_t number = chunks ? t->chunk_number + 1 : 0;
    unsigned char *chunk = wrapped ? NULL : grow(t, b, chunks);
    bool fresh = chunk != NULL;
    if (!fresh && !chunks)
        return NULL;

    if (t->cursor && (size_t)(t->end - t->cursor) >= sizeof(uint64_t))
        *(uint64_t *)(void *)t->cursor = 0; /* no more records here */
    if (!fresh) {
        chunk = t->ring[number % chunks];
        atomic_store_explicit(&b->ring_wrapped, 1, memory_order_relaxed);
        /* The head moves into this chunk before the first byte of it changes,
         * to say that it is being written over: release keeps what is before,
         * the fence keeps the bytes after. ThreadSanitizer knows no fences;
         * readers come through the kernel, so it has nothing to see here
         * anyway. */
        atomic_store_explicit(&b->head, number * PERFI_CHUNK + 1,
                              memory_order_release);
#if !defined(__SANITIZE_THREAD__)
        atomic_thread_fence(memory_order_release);
#endif
    }
    perfi_ring_chunk *head = (perfi_ring_chunk *)chunk;
    perfi_set(&head->number, number);
    perfi_set(&head->first, t->records);
    perfi_set(&head->events, t->event_records);
    t->chunk_number = number;
    t->cursor = chunk + sizeof *head;
    t->end = chunk + PERFI_CHUNK;
    t->position = number * PERFI_CHUNK + sizeof *head;
    if (fresh) {
        atomic_store_explicit(&b->ring, perfi_offset(chunk),
                              memory_order_release);
        atomic_store_explicit(&b->ring_chunks, chunks + 1,
                              memory_order_release);
    }
    /* last: a head in a chunk that a reader's list does not have yet would
     * look as if the ring had wrapped */
    atomic_store_explicit(&b->head, t->position, memory_order_release);
    return t->cursor;
}
