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

static bool
read_at(const perf_reader *r, void *out, size_t bytes, uint64_t offset)
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

/* A block, from the file, or from the image when there is no file. Its head is
 * from a read before: a writer goes on while the kernel copies, and a head
 * ahead of the number of chunks would look as if the ring had wrapped. */
static bool
look_at_block(const perf_reader *r, const perfi_image *image, uint32_t offset,
              perfi_block *out)
{
    if (r->fd >= 0) {
        uint64_t at = (uint64_t)offset * PERFI_UNIT;
        perfi_counter head;
        if (!read_at(r, &head, sizeof head, at + offsetof(perfi_block, head)) ||
            !read_at(r, out, sizeof *out, at))
            return false;
        perfi_set(&out->head, perfi_get(&head));
        return true;
    }
    const void *b = perfi_image_at(image, offset, sizeof *out);
    if (b)
        memcpy(out, b, sizeof *out);
    return b != NULL;
}

/* First look: which blocks there are, and how far their rings are whole. */
static perf_err
look_at_heads_before(perf_reader *r, perfi_image *image, uint64_t newest)
{
    uint64_t before = UINT32_MAX;
    for (uint64_t at = newest / PERFI_UNIT; at;) {
        perfi_block b;
        /* blocks begin chunks, and the list leads to smaller offsets */
        if (at >= before || at % (PERFI_CHUNK / PERFI_UNIT) ||
            !look_at_block(r, image, (uint32_t)at, &b)) {
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

static void
look_at_heads_after(perf_reader *r, const perfi_image *image)
{
    for (uint32_t i = 0; r->fd >= 0 && i < r->blocks; i++) {
        perfi_block b;
        if (!look_at_block(r, image, r->block[i].offset, &b))
            continue;
        r->block[i].fresh.after = perfi_get(&b.head);
        r->block[i].fresh.chunks_after =
            atomic_load_explicit(&b.ring_chunks, memory_order_acquire);
    }
}

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

static uint32_t
bounded_names(const perfi_header *h)
{
    uint64_t n = atomic_load_explicit(&h->names, memory_order_acquire);
    return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

perf_err
perfi_copy_file(perf_reader *r, perfi_image *image)
{
    struct stat st;
    perfi_header h;
    if (fstat(r->fd, &st))
        return PERF_ERR_SYSTEM;
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size < PERFI_CHUNK ||
        !read_at(r, &h, sizeof h, 0))
        return PERF_ERR_CORRUPT;
    perf_err err = perfi_image_check_header(&h, (uint64_t)st.st_size);
    if (err)
        return err;
    err = look_at_heads_before(r, image, perfi_get(&h.blocks));
    if (err)
        return err;
    /* The file may grow meanwhile. After the heads the names, which records
     * mention; after those the size, within which their texts lie. */
    if (!read_at(r, &h, sizeof h, 0))
        return PERF_ERR_CORRUPT;
    image->names = bounded_names(&h);
    if (!read_at(r, &h, sizeof h, 0))
        return PERF_ERR_CORRUPT;
    uint64_t used = perfi_get(&h.used_bytes);
    image->size = used < (uint64_t)st.st_size ? used : (uint64_t)st.st_size;
    image->bytes = r->allocator->alloc(image->size, r->allocator->ctx);
    if (!image->bytes)
        return PERF_ERR_NOMEM;
    if (!read_at(r, image->bytes, image->size, 0))
        return PERF_ERR_CORRUPT;
    look_at_heads_after(r, image);
    bound_rings(r, image);
    /* the header may have been damaged between the two looks */
    return perfi_image_check_header(perfi_image_header(image),
                                    (uint64_t)st.st_size);
}

perf_err
perfi_copy_bytes(perf_reader *r, perfi_image *image, const void *bytes,
                 size_t size)
{
    image->bytes = r->allocator->alloc(size, r->allocator->ctx);
    if (!image->bytes)
        return PERF_ERR_NOMEM;
    image->size = size;
    memcpy(image->bytes, bytes, size);
    const perfi_header *h = perfi_image_header(image);
    perf_err err = perfi_image_check_header(h, size);
    if (err)
        return err;
    err = look_at_heads_before(r, image, perfi_get(&h->blocks));
    bound_rings(r, image);
    image->names = bounded_names(h);
    return err;
}
