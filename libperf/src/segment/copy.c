/* copy.c - copies a segment while its writer goes on writing.
 *
 * It takes three looks: at the heads of the rings, at everything, at the heads
 * again. What lies below the first look was whole before we copied it; what the
 * second look says has been written over is not used. */
#define _GNU_SOURCE
#include "reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool
perfi_read_at(const perf_reader *r, void *out, size_t bytes, uint64_t offset)
{
    size_t done = 0;
    while (done < bytes) {
        ssize_t n = pread(r->fd, (char *)out + done, bytes - done,
                          (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

static int
by_offset(const void *a, const void *b)
{
    uint32_t x = ((const perfi_image_block *)a)->offset;
    uint32_t y = ((const perfi_image_block *)b)->offset;
    return x < y ? -1 : x > y;
}

static perfi_image_block *
known_block(perf_reader *r, uint32_t offset)
{
    for (uint32_t i = 0; i < r->blocks; i++)
        if (r->block[i].offset == offset)
            return &r->block[i];
    return NULL;
}

static perf_err
add_block(perf_reader *r, uint32_t offset)
{
    if (r->blocks == r->blocks_room) {
        uint32_t room = r->blocks_room ? r->blocks_room * 2 : 16;
        perfi_image_block *more =
            r->allocator->alloc(room * sizeof *more, r->allocator->ctx);
        if (!more)
            return PERF_ERR_NOMEM;
        if (r->blocks)
            memcpy(more, r->block, r->blocks * sizeof *more);
        r->allocator->free(r->block, r->blocks_room * sizeof *more,
                           r->allocator->ctx);
        r->block = more;
        r->blocks_room = room;
    }
    r->block[r->blocks++] = (perfi_image_block){.offset = offset};
    return PERF_OK;
}

/* Its head is from a read before: a writer goes on while the kernel copies, and
 * a head ahead of the number of chunks would look as if the ring had
 * wrapped. */
bool
perfi_look_at_block(const perf_reader *r, const perfi_image *image,
                    uint32_t offset, perfi_block *out)
{
    if (r->fd >= 0) {
        uint64_t at = (uint64_t)offset * PERFI_UNIT;
        perfi_counter head;
        if (!perfi_read_at(r, &head, sizeof head,
                           at + offsetof(perfi_block, head)) ||
            !perfi_read_at(r, out, sizeof *out, at))
            return false;
        perfi_set(&out->head, perfi_get(&head));
        return true;
    }
    const void *b = perfi_image_at(image, offset, sizeof *out);
    if (b)
        memcpy(out, b, sizeof *out);
    return b != NULL;
}

static perf_err
look_at_heads_before(perf_reader *r, perfi_image *image, uint64_t newest)
{
    uint64_t before = UINT32_MAX;
    for (uint64_t at = newest / PERFI_UNIT; at;) {
        perfi_block b;
        /* blocks begin chunks, and the list leads to smaller offsets */
        if (at >= before || at % (PERFI_CHUNK / PERFI_UNIT) ||
            !perfi_look_at_block(r, image, (uint32_t)at, &b)) {
            image->damaged++;
            break;
        }
        perfi_image_block *known = known_block(r, (uint32_t)at);
        if (!known) {
            perf_err err = add_block(r, (uint32_t)at);
            if (err)
                return err;
            known = &r->block[r->blocks - 1];
        }
        known->fresh = (perfi_image_head){
            .before = atomic_load_explicit(&b.head, memory_order_acquire),
            .chunks =
                atomic_load_explicit(&b.ring_chunks, memory_order_acquire),
            .ring = atomic_load_explicit(&b.ring, memory_order_acquire),
            .series = atomic_load_explicit(&b.series, memory_order_acquire),
        };
        known->fresh.after = known->fresh.before;
        known->fresh.chunks_after = known->fresh.chunks;
        before = at;
        at = b.next;
    }
    if (r->blocks)
        qsort(r->block, r->blocks, sizeof *r->block, by_offset);
    return PERF_OK;
}

void
perfi_look_at_heads_after(perf_reader *r, const perfi_image *image)
{
    for (uint32_t i = 0; r->fd >= 0 && i < r->blocks; i++) {
        perfi_block b;
        if (!perfi_look_at_block(r, image, r->block[i].offset, &b))
            continue;
        r->block[i].fresh.after = perfi_get(&b.head);
        r->block[i].fresh.chunks_after =
            atomic_load_explicit(&b.ring_chunks, memory_order_acquire);
    }
}

static uint32_t
bounded_names(const perfi_header *h)
{
    uint64_t n = atomic_load_explicit(&h->names, memory_order_acquire);
    return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

/* At most as many as fit into a file of that size. */
static uint32_t
bounded_frames(perfi_image *image, const perfi_counter *count, uint64_t size)
{
    uint64_t n = atomic_load_explicit(count, memory_order_acquire);
    uint64_t most = size / PERFI_UNIT;
    if (most > PERF_FRAMES_MAX)
        most = PERF_FRAMES_MAX;
    image->damaged += n > most;
    return (uint32_t)(n < most ? n : most);
}

/* How many frames there are, in a first look, */
static void
look_at_frames(perfi_image *image, const perfi_header *h, uint64_t size)
{
    if (perfi_image_has_frames(h))
        image->frames = bounded_frames(image, &h->frames, size);
}

/* and in a second one what these need: their functions, and where they lie. */
static void
look_behind_frames(perfi_image *image, const perfi_header *h, uint64_t size)
{
    if (!perfi_image_has_frames(h))
        return;
    image->functions = bounded_frames(image, &h->functions, size);
    image->frame_chunk =
        atomic_load_explicit(&h->frame_chunk, memory_order_acquire);
}

/* How many of the bytes are the segment's: all, unless a trailer says that
 * chunks follow. */
static uint64_t
segment_bytes(const perfi_trailer *t, uint64_t bytes, uint64_t *kept)
{
    *kept = 0;
    uint64_t front = t->segment_bytes;
    if (t->magic != PERFI_TRAILER_MAGIC || front % PERFI_CHUNK ||
        t->chunks > bytes / PERFI_CHUNK || front > bytes ||
        front + t->chunks * PERFI_CHUNK + sizeof *t != bytes)
        return bytes;
    *kept = t->chunks;
    return front;
}

perf_err
perfi_look_at_file(perf_reader *r, perfi_image *image, uint64_t *bytes)
{
    struct stat st;
    perfi_header h;
    perfi_trailer t;
    if (fstat(r->fd, &st))
        return PERF_ERR_SYSTEM;
    uint64_t all = (uint64_t)st.st_size;
    if (!S_ISREG(st.st_mode) || all < PERFI_CHUNK ||
        !perfi_read_at(r, &t, sizeof t, all - sizeof t) ||
        !perfi_read_at(r, &h, sizeof h, 0))
        return PERF_ERR_CORRUPT;
    *bytes = segment_bytes(&t, all, &image->kept);
    perf_err err = perfi_image_check_header(&h, *bytes);
    return err ? err : look_at_heads_before(r, image, perfi_get(&h.blocks));
}

static perf_err
allocate(const perf_reader *r, perfi_image *image)
{
    image->room = image->size + image->kept * PERFI_CHUNK;
    image->bytes = r->allocator->alloc(image->room, r->allocator->ctx);
    return image->bytes ? PERF_OK : PERF_ERR_NOMEM;
}

perf_err
perfi_look_at_sizes(perf_reader *r, perfi_image *image, uint64_t *bytes)
{
    perfi_header h;
    perf_err err = perfi_look_at_file(r, image, bytes);
    if (err)
        return err;
    /* The file may grow meanwhile. After the heads the names and frames, which
     * records mention; then what the frames need; after those the size, within
     * which their texts lie. */
    if (!perfi_read_at(r, &h, sizeof h, 0))
        return PERF_ERR_CORRUPT;
    image->names = bounded_names(&h);
    look_at_frames(image, &h, *bytes);
    if (!perfi_read_at(r, &h, sizeof h, 0))
        return PERF_ERR_CORRUPT;
    look_behind_frames(image, &h, *bytes);
    if (!perfi_read_at(r, &h, sizeof h, 0) ||
        perfi_image_check_header(&h, *bytes))
        return PERF_ERR_CORRUPT;
    uint64_t used = perfi_get(&h.used_bytes);
    image->size = used < *bytes && !image->kept ? used : *bytes;
    return PERF_OK;
}

perf_err
perfi_copy_file(perf_reader *r, perfi_image *image)
{
    uint64_t bytes;
    perf_err err = perfi_look_at_sizes(r, image, &bytes);
    if (!err)
        err = allocate(r, image);
    if (err)
        return err;
    if (!perfi_read_at(r, image->bytes, image->room, 0))
        return PERF_ERR_CORRUPT;
    perfi_look_at_heads_after(r, image);
    err = perfi_chunks_find(r, image);
    if (err)
        return err;
    /* the header may have been damaged between the two looks */
    return perfi_image_check_header(perfi_image_header(image), bytes);
}

perf_err
perfi_copy_bytes(perf_reader *r, perfi_image *image, const void *bytes,
                 size_t size)
{
    perfi_trailer t;
    memcpy(&t, (const unsigned char *)bytes + size - sizeof t, sizeof t);
    image->size = segment_bytes(&t, size, &image->kept);
    perf_err err = allocate(r, image);
    if (err)
        return err;
    memcpy(image->bytes, bytes, image->room);
    const perfi_header *h = perfi_image_header(image);
    err = perfi_image_check_header(h, image->size);
    if (err)
        return err;
    err = look_at_heads_before(r, image, perfi_get(&h->blocks));
    if (err)
        return err;
    image->names = bounded_names(h);
    look_at_frames(image, h, image->size);
    look_behind_frames(image, h, image->size);
    return perfi_chunks_find(r, image);
}
