/* reader.c - opens a segment, takes copies of it, and says who wrote it. */
#define _GNU_SOURCE
#include "reader.h"

#include "segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* What of the rings is copied. */
typedef enum rings { RINGS_NONE, RINGS_NEW, RINGS_ALL } rings;

/* The copy is whole: give out what is in it. A ring without chunks has no
 * records, and its cursor stays where it is. */
static void
use_fresh_heads(const perf_reader *r, rings which)
{
    for (uint32_t i = 0; i < r->blocks; i++) {
        perfi_image_block *b = &r->block[i];
        perfi_news_free(&b->head, r->allocator);
        b->head = b->fresh;
        b->fresh.news = NULL; /* it has one owner */
        b->fresh.news_chunks = 0;
        if (which == RINGS_NONE)
            b->head.chunks = 0;
    }
}

static perf_err
copy(perf_reader *r, perfi_image *fresh, rings which)
{
    perf_err err = which == RINGS_ALL ? perfi_copy_file(r, fresh)
                                      : perfi_copy_counts(r, fresh);
    if (!err && which == RINGS_NEW)
        err = perfi_copy_news(r, fresh);
    if (!err)
        err = perfi_image_index(fresh, r->block, r->blocks, r->allocator);
    return err;
}

static void
drop(perf_reader *r, perfi_image *fresh)
{
    for (uint32_t i = 0; i < r->blocks; i++)
        perfi_news_free(&r->block[i].fresh, r->allocator);
    perfi_image_free(fresh, r->allocator);
}

static perf_err
refresh(perf_reader *r, rings which)
{
    if (!r)
        return PERF_ERR_INVALID;
    if (r->fd < 0)
        return PERF_OK;
    if (r->self && r->process != perfi_segment_state.process)
        return PERF_ERR_CLOSED;
    if (r->self)
        perfi_segment_publish_names(); /* or they would be up to a second old */
    perfi_image fresh = {0};
    perf_err err = copy(r, &fresh, which);
    if (err) {
        drop(r, &fresh);
        return err;
    }
    perfi_image_free(&r->image, r->allocator);
    r->image = fresh;
    use_fresh_heads(r, which);
    return PERF_OK;
}

perf_err
perf_reader_refresh_blocking(perf_reader *r)
{
    return refresh(r, RINGS_ALL);
}

perf_err
perf_reader_refresh_counts_blocking(perf_reader *r)
{
    return refresh(r, RINGS_NONE);
}

perf_err
perf_reader_refresh_news_blocking(perf_reader *r)
{
    return refresh(r, RINGS_NEW);
}

/* ---- open, close ---- */

static perf_err
make(const perf_allocator *allocator, int fd, bool self, rings which,
     perf_reader **out)
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
    perf_err err = refresh(r, which);
    if (err) {
        perf_reader_close(r);
        return err;
    }
    *out = r;
    return PERF_OK;
}

perf_err
perfi_error_of(int why)
{
    switch (why) {
    case ENOENT:
    case ENOTDIR: return PERF_ERR_NOT_FOUND;
    case EACCES:
    case EPERM: return PERF_ERR_DENIED;
    case ENOMEM: return PERF_ERR_NOMEM;
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return PERF_ERR_FULL;
    default: return PERF_ERR_SYSTEM;
    }
}

static perf_err
open_path(const char *path, const perf_allocator *allocator, rings which,
          perf_reader **out)
{
    if (!out)
        return PERF_ERR_INVALID;
    *out = NULL;
    if (!path)
        return PERF_ERR_INVALID;
    /* O_NONBLOCK: a path may be a pipe that nobody writes to */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    return fd < 0 ? perfi_error_of(errno)
                  : make(allocator, fd, false, which, out);
}

perf_err
perf_reader_open_blocking(const char *path, const perf_allocator *allocator,
                          perf_reader **out)
{
    return open_path(path, allocator, RINGS_ALL, out);
}

perf_err
perf_reader_open_counts_blocking(const char *path,
                                 const perf_allocator *allocator,
                                 perf_reader **out)
{
    return open_path(path, allocator, RINGS_NONE, out);
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
    return fd < 0 ? PERF_ERR_SYSTEM : make(allocator, fd, true, RINGS_ALL, out);
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
    perf_err err = make(allocator, -1, false, RINGS_ALL, &r);
    if (err)
        return err;
    err = perfi_copy_bytes(r, &r->image, bytes, size);
    if (!err)
        err = perfi_image_index(&r->image, r->block, r->blocks, r->allocator);
    if (err) {
        perf_reader_close(r);
        return err;
    }
    use_fresh_heads(r, RINGS_ALL);
    *out = r;
    return PERF_OK;
}

void
perfi_reader_clear(perf_reader *r)
{
    const perf_allocator *a = r->allocator;
    if (r->fd >= 0)
        close(r->fd);
    perfi_image_free(&r->image, a);
    for (uint32_t i = 0; i < r->blocks; i++) {
        perfi_news_free(&r->block[i].head, a);
        a->free(r->block[i].ring, r->block[i].ring_room * sizeof(uint32_t),
                a->ctx);
    }
    a->free(r->block, r->blocks_room * sizeof *r->block, a->ctx);
}

void
perf_reader_close(perf_reader *r)
{
    if (!r)
        return;
    perfi_reader_clear(r);
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
                  .names_over = perfi_get(&h->names_over),
                  .frames_over = perfi_image_has_frames(h)
                                     ? perfi_get(&h->frames_over)
                                     : 0},
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
