/* disk.c - a disk is opened and closed; what changed, and how much of it. */
#include "handle.h"

#include <string.h>

enum { MIN_BYTES = 1 << 20, DEFAULT_QUEUE = 4096, MAX_QUEUE = 1 << 20 };
#define MAX_BYTES     (UINT64_C(1) << 40)
#define DEFAULT_BYTES (UINT64_C(1) << 30)

/* ---- open ---- */

void
perf_disk_config_init(perf_disk_config *config, uint32_t size)
{
    if (!config || size < sizeof *config)
        return;
    *config = (perf_disk_config){.size = size,
                                 .version = PERF_DISK_CONFIG_VERSION,
                                 .max_bytes = DEFAULT_BYTES,
                                 .queue_entries = DEFAULT_QUEUE};
}

static perf_err
check_config(const perf_disk_config *config)
{
    if (!config || config->size < sizeof *config || !config->path ||
        !*config->path)
        return PERF_ERR_INVALID;
    if (config->version != PERF_DISK_CONFIG_VERSION)
        return PERF_ERR_VERSION;
    if (config->max_bytes < MIN_BYTES || config->max_bytes > MAX_BYTES ||
        !config->queue_entries || config->queue_entries > MAX_QUEUE ||
        config->keep > 1)
        return PERF_ERR_RANGE;
    return PERF_OK;
}

perf_err
perf_disk_open_blocking(const perf_disk_config *config, char *why,
                        perf_disk **out)
{
    if (why)
        *why = 0;
    if (!out)
        return PERF_ERR_INVALID;
    *out = NULL;
    perf_err err = check_config(config);
    if (err)
        return err;
    const perf_allocator *a =
        config->allocator ? config->allocator : perf_allocator_libc();
    size_t length = strlen(config->path) + 1;
    perf_disk *disk = a->alloc(sizeof *disk + length, a->ctx);
    if (!disk)
        return PERF_ERR_NOMEM;
    memcpy(disk->path, config->path, length);
    disk->config = *config;
    disk->config.path = disk->path;
    disk->config.allocator = a;
    perfi_store *s;
    err = perfi_store_open(&disk->config, why, &s);
    if (err) {
        a->free(disk, sizeof *disk + length, a->ctx);
        return err;
    }
    disk->held = s;
    atomic_store_explicit(&disk->store, s, memory_order_release);
    *out = disk;
    return PERF_OK;
}

perf_err
perf_disk_reopen_blocking(perf_disk *disk)
{
    if (!disk)
        return PERF_ERR_INVALID;
    perfi_store *was = atomic_load_explicit(&disk->store, memory_order_acquire);
    if (!was)
        return PERF_ERR_CLOSED;
    if (perfi_disk_store(disk))
        return PERF_OK;
    perfi_store *s;
    perf_err err = perfi_store_open(&disk->config, NULL, &s);
    if (err)
        return err;
    /* of two threads that do this, one wins */
    if (!atomic_compare_exchange_strong_explicit(&disk->store, &was, s,
                                                 memory_order_acq_rel,
                                                 memory_order_acquire)) {
        perfi_store_stop(s);
        perfi_store_free(s);
        return PERF_OK;
    }
    disk->held = s; /* the parent's is left */
    return PERF_OK;
}

void
perf_disk_stop_blocking(perf_disk *disk)
{
    perfi_store *s = perfi_disk_store(disk);
    /* of two threads that do this, one does it */
    if (disk &&
        atomic_exchange_explicit(&disk->store, NULL, memory_order_acq_rel) && s)
        perfi_store_stop(s);
}

void
perf_disk_close_blocking(perf_disk *disk)
{
    if (!disk)
        return;
    perf_disk_stop_blocking(disk);
    if (disk->held->forks ==
        atomic_load_explicit(&perfi_forks, memory_order_relaxed))
        perfi_store_free(disk->held);
    const perf_allocator *a = disk->config.allocator;
    a->free(disk, sizeof *disk + strlen(disk->path) + 1, a->ctx);
}

/* ---- changes ---- */

const uint64_t *
perf_disk_change_word(const perf_disk *disk)
{
    perfi_store *s = perfi_disk_store(disk);
    perfi_view *slot = s ? perfi_view_take(&s->database) : NULL;
    if (!slot)
        return NULL;
    /* mapped until the disk is closed, even when the database is begun anew */
    const uint64_t *word = (const void *)&s->database.state.header->word;
    perfi_view_give(slot);
    return word;
}

int64_t
perf_disk_changes(perf_disk *disk, perf_disk_cursor *cursor, uint8_t *out,
                  size_t capacity)
{
    if (!cursor || (capacity && !out))
        return PERF_ERR_INVALID;
    perfi_store *s = perfi_disk_store(disk);
    perfi_view *slot = s ? perfi_view_take(&s->database) : NULL;
    if (!slot)
        return PERF_ERR_CLOSED;
    const perfi_state *state = &s->database.state;
    uint64_t others =
        atomic_load_explicit(&state->header->invalidations,
                             memory_order_acquire) -
        atomic_load_explicit(&s->own_invalidations, memory_order_relaxed);
    uint64_t epoch = s->writes.process + s->database.opened;
    perf_disk_cursor was = *cursor;
    *cursor = (perf_disk_cursor){was.place, others, epoch};
    int64_t n;
    if (!was.epoch) {
        cursor->place = atomic_load_explicit(&state->header->log_head,
                                             memory_order_acquire);
        n = 0;
    } else {
        n = perfi_log_read(state, &cursor->place, s->writes.process, out,
                           capacity);
        if (was.epoch != epoch || was.invalidations != others)
            n = PERF_ERR_RANGE;
    }
    perfi_view_give(slot);
    return n;
}

/* ---- counts ---- */

static uint64_t
read_count(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void
add_slots(const perfi_database *d, perf_disk_stats *out)
{
    for (int i = 0; i < PERFI_VIEWS; i++) {
        const perfi_view *slot = &d->slot[i];
        out->hits += read_count(&slot->hits);
        out->misses += read_count(&slot->misses);
        out->filtered += read_count(&slot->filtered);
        out->expired += read_count(&slot->expired);
        out->corrupt += read_count(&slot->corrupt);
    }
}

perf_err
perf_disk_stats_now(const perf_disk *disk, perf_disk_stats *out)
{
    if (!disk || !out)
        return PERF_ERR_INVALID;
    *out = (perf_disk_stats){0};
    perfi_store *s = perfi_disk_store(disk);
    perfi_view *slot = s ? perfi_view_take(&s->database) : NULL;
    if (!slot)
        return PERF_ERR_CLOSED;
    const perfi_writes *w = &s->writes;
    const perfi_state_header *h = s->database.state.header;
    add_slots(&s->database, out);
    out->puts = read_count(&w->puts);
    out->deletes = read_count(&w->deletes);
    out->refused = read_count(&w->refused) + read_count(&s->refused);
    out->evicted = read_count(&w->evicted);
    out->swept = read_count(&w->swept);
    out->commits = read_count(&w->commits);
    out->commit_ns = read_count(&w->commit_ns);
    out->rebuilds = read_count(&w->rebuilds);
    out->resets = s->database.resets;
    out->queued = perfi_queue_count(&s->queue);
    out->entries = read_count(&h->entries);
    out->used_bytes = read_count(&h->used_bytes);
    out->max_bytes = h->max_bytes;
    perfi_view_give(slot);
    return PERF_OK;
}
