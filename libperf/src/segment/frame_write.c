/* frame_write.c - writes functions and frames into the segment, each once, in
 * chunks that are linked from new to old. */
#include "../base/frame.h"

#include "segment.h"

#include <string.h>

static void *
reserve(size_t bytes)
{
    perfi_segment *s = &perfi_segment_state;
    if ((size_t)(s->frame_end - s->frame_at) >= bytes)
        return s->frame_at;
    perfi_header *h = s->header;
    perfi_frame_chunk *chunk = (perfi_frame_chunk *)perfi_segment_chunk();
    if (!chunk)
        return NULL;
    chunk->older = (uint32_t)(perfi_get(&h->frame_chunk) / PERFI_UNIT);
    chunk->functions = (uint32_t)perfi_get(&h->functions);
    chunk->frames = (uint32_t)perfi_get(&h->frames);
    s->frame_at = (unsigned char *)(chunk + 1);
    s->frame_end = (unsigned char *)chunk + PERFI_CHUNK;
    /* release: the chunk says where it belongs before a reader can find it */
    atomic_store_explicit(&h->frame_chunk,
                          (uint64_t)perfi_offset(chunk) * PERFI_UNIT,
                          memory_order_release);
    return s->frame_at;
}

static void
commit(perfi_counter *count, size_t bytes)
{
    perfi_segment_state.frame_at += bytes;
    /* release: what is counted is whole; pairs with the reader's look at the
     * count before it copies */
    atomic_store_explicit(count, perfi_get(count) + 1, memory_order_release);
}

static bool
write_function(const perfi_function_texts *from)
{
    size_t length = from->function_length + (size_t)from->file_length;
    size_t bytes = (offsetof(perfi_function, texts) + length + PERFI_UNIT - 1) /
                   PERFI_UNIT * PERFI_UNIT;
    perfi_function *f = reserve(bytes);
    if (!f)
        return false;
    f->type = PERFI_FUNCTION;
    f->units = (uint8_t)(bytes / PERFI_UNIT);
    f->function_length = from->function_length;
    f->file_length = from->file_length;
    memcpy((char *)f + offsetof(perfi_function, texts), from->texts, length);
    commit(&perfi_segment_state.header->functions, bytes);
    return true;
}

static bool
write_frame(uint32_t caller, uint32_t function, uint32_t line)
{
    perfi_frame *f = reserve(sizeof *f);
    if (!f)
        return false;
    *f = (perfi_frame){.type = PERFI_FRAME,
                       .units = 1,
                       .caller = caller,
                       .function = function,
                       .line = line};
    commit(&perfi_segment_state.header->frames, sizeof *f);
    return true;
}

void
perfi_segment_publish_frames(void)
{
    static const perfi_frame_sink sink = {write_function, write_frame};
    perfi_segment_state.frame_at = perfi_segment_state.frame_end = NULL;
    perfi_frames_publish(&sink);
}
