/* drain.c - copies the chunks of a segment's rings into a side file before they
 * are written over, and makes a trace file of both.
 *
 * Every complete chunk is copied, since a ring may wrap at any moment; which of
 * them are needed is known in the end. A chunk in the side file lies at its
 * place in `kept`; in the trace file they are ordered, so that a reader finds
 * them by their own numbers. */
#define _GNU_SOURCE
#include "reader.h"

#include <errno.h>
#include <fcntl.h>
#include <libperf/drain.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct kept {
    uint64_t number;
    uint64_t place; /* in the side file, in chunks */
    uint32_t block; /* offset in units */
} kept;

struct perf_drain {
    perf_reader reader; /* looks at the segment, and has no copy of it. The
                           records' cursor of a block is the drain's */
    char trace[PERF_PATH_MAX_BYTES];
    int side; /* -1: nothing was copied yet */
    kept *kept;
    size_t count, room;
    _Alignas(perfi_ring_chunk) unsigned char chunk[PERFI_CHUNK];
};

/* ---- files ---- */

/* Without a name: nothing stays behind, whatever becomes of us. */
static int
make_side(const char *trace)
{
    char path[PERF_PATH_MAX_BYTES + 8];
    snprintf(path, sizeof path, "%s.XXXXXX", trace);
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    return fd;
}

static perf_err
write_all(int fd, const void *bytes, size_t size)
{
    const char *at = bytes;
    while (size) {
        ssize_t n = write(fd, at, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return perfi_error_of(errno);
        at += n;
        size -= (size_t)n;
    }
    return PERF_OK;
}

/* ---- copying ---- */

static perf_err
remember(perf_drain *d, uint32_t block, uint64_t number)
{
    const perf_allocator *a = d->reader.allocator;
    if (d->count == d->room) {
        size_t room = d->room ? d->room * 2 : 64;
        kept *more = a->alloc(room * sizeof *more, a->ctx);
        if (!more)
            return PERF_ERR_NOMEM;
        if (d->count)
            memcpy(more, d->kept, d->count * sizeof *more);
        a->free(d->kept, d->room * sizeof *more, a->ctx);
        d->kept = more;
        d->room = room;
    }
    d->kept[d->count] = (kept){number, d->count, block};
    d->count++;
    return PERF_OK;
}

/* Append d->chunk to the side file. */
static perf_err
append(perf_drain *d, uint32_t block, uint64_t number)
{
    if (d->side < 0)
        d->side = make_side(d->trace);
    if (d->side < 0 ||
        lseek(d->side, (off_t)(d->count * PERFI_CHUNK), SEEK_SET) < 0)
        return perfi_error_of(errno);
    perf_err err = write_all(d->side, d->chunk, PERFI_CHUNK);
    return err ? err : remember(d, block, number);
}

/* The ring has come round to a chunk, perhaps while it was copied. */
static bool
is_written_over(const perf_drain *d, uint32_t block, uint64_t number)
{
    perfi_block b;
    if (!perfi_look_at_block(&d->reader, NULL, block, &b))
        return true;
    uint64_t newest = perfi_head_chunk(perfi_get(&b.head));
    uint32_t chunks =
        atomic_load_explicit(&b.ring_chunks, memory_order_relaxed);
    return number < perfi_oldest_chunk(newest, chunks);
}

static perf_err
copy_chunk(perf_drain *d, const perfi_image_block *b, uint64_t number)
{
    uint64_t offset = b->ring[number % b->fresh.chunks];
    if (!offset)
        return PERF_OK; /* damage: nowhere to be found */
    if (!perfi_read_at(&d->reader, d->chunk, PERFI_CHUNK, offset * PERFI_UNIT))
        return PERF_ERR_CORRUPT;
    perfi_ring_chunk *chunk = (void *)d->chunk;
    if (perfi_get(&chunk->number) != number ||
        is_written_over(d, b->offset, number))
        return PERF_OK; /* lost: a reader counts its records */
    chunk->block = b->offset;
    return append(d, b->offset, number);
}

static perf_err
copy_ring(perf_drain *d, perfi_image_block *b)
{
    if (!b->fresh.chunks)
        return PERF_OK;
    uint64_t last = perfi_head_chunk(b->fresh.before);
    uint64_t oldest = perfi_oldest_chunk(last, b->fresh.chunks);
    uint64_t *next = &b->records.chunk;
    if (*next < oldest)
        *next = oldest;
    for (; *next < last; ++*next) {
        perf_err err = copy_chunk(d, b, *next);
        if (err)
            return err;
    }
    return PERF_OK;
}

/* @param bytes  of the file that are the segment's. */
static perf_err
look(perf_drain *d, uint64_t *bytes)
{
    perf_reader *r = &d->reader;
    perf_err err = perfi_look_at_file(r, &r->image, bytes);
    if (err)
        return err;
    r->image.size = *bytes;
    return perfi_chunks_find(r, &r->image);
}

perf_err
perf_drain_step_blocking(perf_drain *d)
{
    if (!d)
        return PERF_ERR_INVALID;
    uint64_t bytes;
    perf_err err = look(d, &bytes);
    for (uint32_t i = 0; i < d->reader.blocks && !err; i++)
        err = copy_ring(d, &d->reader.block[i]);
    return err;
}

/* ---- the trace file ---- */

static int
by_block_and_number(const void *a, const void *b)
{
    const kept *x = a, *y = b;
    if (x->block != y->block)
        return x->block < y->block ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

/* The segment's own ring no longer has it. */
static bool
is_needed(const perf_drain *d, const kept *k)
{
    for (uint32_t i = 0; i < d->reader.blocks; i++) {
        const perfi_image_block *b = &d->reader.block[i];
        if (b->offset == k->block)
            return k->number <
                   perfi_oldest_chunk(perfi_head_chunk(b->fresh.before),
                                      b->fresh.chunks);
    }
    return false;
}

uint64_t
perf_drain_chunks(const perf_drain *d)
{
    uint64_t n = 0;
    for (size_t i = 0; d && i < d->count; i++)
        n += is_needed(d, &d->kept[i]);
    return n;
}

static perf_err
write_segment(perf_drain *d, int fd, uint64_t bytes)
{
    for (uint64_t at = 0; at < bytes;) {
        size_t n =
            bytes - at < PERFI_CHUNK ? (size_t)(bytes - at) : PERFI_CHUNK;
        if (!perfi_read_at(&d->reader, d->chunk, n, at))
            return PERF_ERR_CORRUPT;
        perf_err err = write_all(fd, d->chunk, n);
        if (err)
            return err;
        at += n;
    }
    return PERF_OK;
}

static perf_err
write_kept(perf_drain *d, int fd, uint64_t segment_bytes)
{
    perfi_trailer trailer = {.magic = PERFI_TRAILER_MAGIC,
                             .segment_bytes = segment_bytes};
    if (d->count)
        qsort(d->kept, d->count, sizeof *d->kept, by_block_and_number);
    for (size_t i = 0; i < d->count; i++) {
        if (!is_needed(d, &d->kept[i]))
            continue;
        off_t at = (off_t)(d->kept[i].place * PERFI_CHUNK);
        if (pread(d->side, d->chunk, PERFI_CHUNK, at) != PERFI_CHUNK)
            return PERF_ERR_SYSTEM;
        perf_err err = write_all(fd, d->chunk, PERFI_CHUNK);
        if (err)
            return err;
        trailer.chunks++;
    }
    return trailer.chunks ? write_all(fd, &trailer, sizeof trailer) : PERF_OK;
}

perf_err
perf_drain_finish_blocking(perf_drain *d)
{
    if (!d)
        return PERF_ERR_INVALID;
    uint64_t bytes;
    perfi_header h;
    perf_err err = look(d, &bytes);
    if (err)
        return err;
    if (!perfi_read_at(&d->reader, &h, sizeof h, 0))
        return PERF_ERR_CORRUPT;
    uint64_t used = perfi_get(&h.used_bytes);
    if (used > bytes)
        used = bytes;
    int fd = open(d->trace, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return perfi_error_of(errno);
    err = write_segment(d, fd, used);
    if (!err)
        err = write_kept(d, fd, used);
    int why = errno;
    struct stat st;
    bool regular = !fstat(fd, &st) && S_ISREG(st.st_mode);
    if (close(fd) && !err) {
        why = errno;
        err = perfi_error_of(why);
    }
    if (err && regular)
        unlink(d->trace);
    errno = why;
    return err;
}

/* ---- open, close ---- */

perf_err
perf_drain_open_blocking(const char *segment, const char *trace,
                         const perf_allocator *allocator, perf_drain **out)
{
    if (!out)
        return PERF_ERR_INVALID;
    *out = NULL;
    if (!segment || !trace || !*trace)
        return PERF_ERR_INVALID;
    if (strlen(trace) >= PERF_PATH_MAX_BYTES)
        return PERF_ERR_RANGE;
    if (!allocator)
        allocator = perf_allocator_libc();
    perf_drain *d = allocator->alloc(sizeof *d, allocator->ctx);
    if (!d)
        return PERF_ERR_NOMEM;
    d->reader.allocator = allocator;
    d->side = -1;
    strcpy(d->trace, trace);
    uint64_t bytes;
    /* O_NONBLOCK: a path may be a pipe that nobody writes to */
    d->reader.fd = open(segment, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    perf_err err = d->reader.fd < 0 ? perfi_error_of(errno) : look(d, &bytes);
    if (err) {
        perf_drain_close(d);
        return err;
    }
    *out = d;
    return PERF_OK;
}

void
perf_drain_close(perf_drain *d)
{
    if (!d)
        return;
    const perf_allocator *a = d->reader.allocator;
    if (d->side >= 0)
        close(d->side);
    perfi_reader_clear(&d->reader);
    a->free(d->kept, d->room * sizeof *d->kept, a->ctx);
    a->free(d, sizeof *d, a->ctx);
}
