/* reader.c - opens a segment and copies it.
 *
 * While the writer goes on writing, a copy takes three looks: at the heads of
 * the rings, at everything, at the heads again. What lies below the first look
 * was whole before we copied it; what the second look says has been written
 * over is not used. */
#define _GNU_SOURCE
#include "reader.h"

#include "segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
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

/* The copy is whole: give out records from it. */
static void
use_fresh_heads(const perf_reader *r)
{
    for (uint32_t i = 0; i < r->blocks; i++)
        r->block[i].head = r->block[i].fresh;
}

static uint32_t
bounded_names(const perfi_header *h)
{
    uint64_t n = atomic_load_explicit(&h->names, memory_order_acquire);
    return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

static perf_err
copy_file(perf_reader *r, perfi_image *image)
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
perf_reader_refresh_blocking(perf_reader *r)
{
    if (!r)
        return PERF_ERR_INVALID;
    if (r->fd < 0)
        return PERF_OK;
    if (r->self && r->process != perfi_segment_state.process)
        return PERF_ERR_CLOSED;
    if (r->self) /* so that the header says what this process knows */
        perfi_segment_sign_of_life();
    perfi_image fresh = {0};
    perf_err err = copy_file(r, &fresh);
    if (!err)
        err = perfi_image_index(&fresh, r->block, r->blocks, r->allocator);
    if (err) {
        r->allocator->free(fresh.bytes, fresh.size, r->allocator->ctx);
        return err;
    }
    perfi_image_free(&r->image, r->allocator);
    r->image = fresh;
    use_fresh_heads(r);
    return PERF_OK;
}

/* ---- open, close ---- */

static perf_err
make(const perf_allocator *allocator, int fd, bool self, perf_reader **out)
{
    if (!allocator)
        allocator = perf_allocator_libc();
    perf_reader *r = allocator->alloc(sizeof *r, allocator->ctx);
    if (!r) {
        if (fd >= 0)
            close(fd);
        return PERF_ERR_NOMEM;
    }
    r->allocator = allocator;
    r->fd = fd;
    r->self = self;
    r->process = perfi_segment_state.process;
    perf_err err = perf_reader_refresh_blocking(r);
    if (err) {
        perf_reader_close(r);
        return err;
    }
    *out = r;
    return PERF_OK;
}

static perf_err
error_of(int why)
{
    switch (why) {
    case ENOENT:
    case ENOTDIR: return PERF_ERR_NOT_FOUND;
    case EACCES:
    case EPERM: return PERF_ERR_DENIED;
    case ENOMEM: return PERF_ERR_NOMEM;
    default: return PERF_ERR_SYSTEM;
    }
}

perf_err
perf_reader_open_blocking(const char *path, const perf_allocator *allocator,
                          perf_reader **out)
{
    if (!out)
        return PERF_ERR_INVALID;
    *out = NULL;
    if (!path)
        return PERF_ERR_INVALID;
    /* O_NONBLOCK: a path may be a pipe that nobody writes to */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    return fd < 0 ? error_of(errno) : make(allocator, fd, false, out);
}

perf_err
perf_reader_open_self_blocking(const perf_allocator *allocator,
                               perf_reader **out)
{
    if (!out)
        return PERF_ERR_INVALID;
    *out = NULL;
    pthread_mutex_lock(&perfi_segment_state.lock);
    int fd = -1;
    if (perfi_segment_ensure())
        fd = fcntl(perfi_segment_state.fd, F_DUPFD_CLOEXEC, 0);
    pthread_mutex_unlock(&perfi_segment_state.lock);
    return fd < 0 ? PERF_ERR_SYSTEM : make(allocator, fd, true, out);
}

perf_err
perf_reader_open_bytes(const void *bytes, size_t size,
                       const perf_allocator *allocator, perf_reader **out)
{
    if (!out)
        return PERF_ERR_INVALID;
    *out = NULL;
    if (!bytes)
        return PERF_ERR_INVALID;
    if (size < PERFI_CHUNK)
        return PERF_ERR_CORRUPT;
    perf_reader *r;
    perf_err err = make(allocator, -1, false, &r);
    if (err)
        return err;
    perfi_image *image = &r->image;
    image->bytes = r->allocator->alloc(size, r->allocator->ctx);
    image->size = size;
    if (!image->bytes) {
        perf_reader_close(r);
        return PERF_ERR_NOMEM;
    }
    memcpy(image->bytes, bytes, size);
    const perfi_header *h = perfi_image_header(image);
    err = perfi_image_check_header(h, size);
    if (!err)
        err = look_at_heads_before(r, image, perfi_get(&h->blocks));
    bound_rings(r, image);
    image->names = bounded_names(h);
    if (!err)
        err = perfi_image_index(image, r->block, r->blocks, r->allocator);
    if (err) {
        perf_reader_close(r);
        return err;
    }
    use_fresh_heads(r);
    *out = r;
    return PERF_OK;
}

void
perf_reader_close(perf_reader *r)
{
    if (!r)
        return;
    if (r->fd >= 0)
        close(r->fd);
    perfi_image_free(&r->image, r->allocator);
    r->allocator->free(r->block, r->blocks_room * sizeof *r->block,
                       r->allocator->ctx);
    r->allocator->free(r, sizeof *r, r->allocator->ctx);
}

/* ---- who wrote it ---- */

uint64_t
perfi_reader_ns(const perf_reader *r, uint64_t ticks)
{
    const perfi_header *h = perfi_image_header(&r->image);
    uint64_t scale = perfi_get(&h->scale);
    bool later = ticks >= h->first_ticks;
    uint64_t apart = later ? ticks - h->first_ticks : h->first_ticks - ticks;
    uint64_t ns = (uint64_t)((unsigned __int128)apart * scale >> 32);
    return later ? h->first_mono_ns + ns : h->first_mono_ns - ns;
}

/* The writer holds an exclusive lock as long as it lives. */
static bool
is_alive(const perf_reader *r)
{
    if (r->self)
        return true;
    if (r->fd < 0)
        return false;
    if (flock(r->fd, LOCK_SH | LOCK_NB))
        return errno == EWOULDBLOCK;
    flock(r->fd, LOCK_UN);
    return false;
}

static void
copy_text(char *out, size_t size, const char *from)
{
    size_t n = strnlen(from, size - 1);
    memcpy(out, from, n);
    memset(out + n, 0, size - n);
}

perf_err
perf_reader_info_get(const perf_reader *r, perf_reader_info *out)
{
    if (!r || !out)
        return PERF_ERR_INVALID;
    const perfi_header *h = perfi_image_header(&r->image);
    *out = (perf_reader_info){
        .pid = h->pid,
        .uid = h->uid,
        .start_ns = h->first_mono_ns,
        .latest_ns = perfi_reader_ns(r, perfi_get(&h->latest_ticks)),
        .wall_offset_ns = perfi_get(&h->wall_offset_ns),
        .trace_hi = h->trace_hi,
        .finished = perfi_get(&h->finished) != 0,
        .alive = is_alive(r),
        .clock = h->clock != 0,
        .threads = r->blocks,
        .names = r->image.names,
        .damaged = r->image.damaged,
        .stats = {.used_bytes = r->image.size,
                  .max_bytes = h->max_bytes,
                  .dropped_records = perfi_get(&h->dropped_records),
                  .dropped_values = perfi_get(&h->dropped_values),
                  .dropped_attributes = perfi_get(&h->dropped_attributes),
                  .cut_texts = perfi_get(&h->names_cut),
                  .names_over = perfi_get(&h->names_over)},
    };
    copy_text(out->service, sizeof out->service, h->service);
    copy_text(out->command, sizeof out->command, h->command);
    copy_text(out->version, sizeof out->version, h->version);
    for (uint32_t i = 0; i < r->blocks; i++) {
        const perfi_block *b =
            perfi_image_at(&r->image, r->block[i].offset, sizeof *b);
        if (!b)
            continue;
        out->stats.dropped_records += perfi_get(&b->dropped_records);
        out->stats.dropped_values += perfi_get(&b->dropped_values);
        out->stats.dropped_attributes += perfi_get(&b->dropped_attributes);
        out->stats.cut_texts += perfi_get(&b->cut_texts);
        out->stats.spans_unseen += perfi_get(&b->spans_unseen);
    }
    return PERF_OK;
}

const char *
perf_reader_name(const perf_reader *r, uint32_t name, perf_kind *kind)
{
    if (!r || name >= r->image.names)
        return NULL;
    if (kind)
        *kind = (perf_kind)r->image.name[name].kind;
    return r->image.texts + r->image.name[name].text;
}
