/* chunks.c - where the chunks of a ring lie: in the segment, found by a list
 * once and by a table from then on, or behind it in a trace file. */
#include "reader.h"

#include <string.h>

/* Every block and every chunk of a ring takes up a chunk of the file: rings
 * that claim more would have us look at the same chunks again and again. */
static void
bound_rings(const perf_reader *r, perfi_image *image)
{
    uint64_t left = image->size / PERFI_CHUNK;
    for (uint32_t i = 0; i < r->blocks; i++) {
        perfi_image_head *head = &r->block[i].fresh;
        uint64_t chunks = (uint64_t)head->chunks + 1;
        if (chunks <= left)
            left -= chunks;
        else {
            image->damaged++;
            head->chunks = 0;
        }
    }
}

static perf_err
make_room(const perf_allocator *a, perfi_image_block *b, uint32_t chunks)
{
    if (chunks <= b->ring_room)
        return PERF_OK;
    /* a ring grows chunk by chunk: not a copy for each */
    uint32_t room = b->ring_room * 2 > chunks ? b->ring_room * 2 : chunks;
    uint32_t *ring = a->alloc(room * sizeof *ring, a->ctx);
    if (!ring)
        return PERF_ERR_NOMEM;
    if (b->ring_known)
        memcpy(ring, b->ring, b->ring_known * sizeof *ring);
    a->free(b->ring, b->ring_room * sizeof *ring, a->ctx);
    b->ring = ring;
    b->ring_room = room;
    return PERF_OK;
}

static bool
look_at_chunk(const perf_reader *r, const perfi_image *image, uint32_t offset,
              perfi_ring_chunk *out)
{
    if (offset % (PERFI_CHUNK / PERFI_UNIT))
        return false;
    if (!image->bytes)
        return perfi_read_at(r, out, sizeof *out,
                             (uint64_t)offset * PERFI_UNIT);
    const void *chunk = perfi_image_at(image, offset, PERFI_CHUNK);
    if (chunk)
        memcpy(out, chunk, sizeof *out);
    return chunk != NULL;
}

/* The list leads from the newest chunk to the oldest: index falls by one. It
 * may begin with chunks that were made after the head was looked at.
 * `steps`: how many there can be in the whole file. */
static bool
follow_list(const perf_reader *r, const perfi_image *image,
            perfi_image_block *b, uint64_t *steps)
{
    perfi_ring_chunk chunk;
    for (uint32_t offset = b->fresh.ring; offset; offset = chunk.older) {
        if (!*steps || !look_at_chunk(r, image, offset, &chunk) ||
            chunk.older >= offset) /* lists lead to smaller offsets */
            return false;
        --*steps;
        if (chunk.index < b->ring_known)
            break;
        if (chunk.index < b->fresh.chunks)
            b->ring[chunk.index] = offset;
    }
    return true;
}

perf_err
perfi_chunks_find(perf_reader *r, perfi_image *image)
{
    uint64_t steps = image->size / PERFI_CHUNK;
    bound_rings(r, image);
    for (uint32_t i = 0; i < r->blocks; i++) {
        perfi_image_block *b = &r->block[i];
        uint32_t chunks = b->fresh.chunks;
        if (chunks <= b->ring_known) /* they stay where they are */
            continue;
        perf_err err = make_room(r->allocator, b, chunks);
        if (err)
            return err;
        image->damaged += !follow_list(r, image, b, &steps);
        b->ring_known = chunks;
    }
    return PERF_OK;
}

const unsigned char *
perfi_chunk_in_ring(const perfi_image *image, const perfi_image_block *b,
                    uint64_t number)
{
    uint32_t offset = b->ring[number % b->head.chunks];
    const unsigned char *bytes =
        b->head.news ? perfi_chunk_in_news(&b->head, number)
                     : perfi_image_at(image, offset, PERFI_CHUNK);
    const perfi_ring_chunk *chunk = (const void *)bytes;
    return chunk && perfi_get(&chunk->number) == number ? bytes : NULL;
}

const perfi_ring_chunk *
perfi_chunk_kept(const perfi_image *image, uint32_t block, uint64_t number)
{
    uint64_t low = 0, high = image->kept;
    while (low < high) { /* all before `low` come before what we look for */
        uint64_t i = low + (high - low) / 2;
        const perfi_ring_chunk *chunk = perfi_image_kept(image, i);
        if (chunk->block < block ||
            (chunk->block == block && perfi_get(&chunk->number) < number))
            low = i + 1;
        else
            high = i;
    }
    if (low == image->kept)
        return NULL;
    const perfi_ring_chunk *found = perfi_image_kept(image, low);
    /* >=: they may not be in order at all */
    return found->block == block && perfi_get(&found->number) >= number ? found
                                                                        : NULL;
}
