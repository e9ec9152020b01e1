/* disk.c - the calls of disk.h: what is asked of a store, and what is believed
 * of its answer. */
#define _GNU_SOURCE
#include "store.h"

#include <libperf/disk.h>
#include <libperf/entry.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct perf_disk {
    _Atomic(perfi_store *) store; /* release when it is opened, NULL: stopped */
    perfi_store *held;            /* freed with the disk */
    perf_disk_config config;
    char path[]; /* what config.path points to */
};

enum { MIN_BYTES = 1 << 20, DEFAULT_QUEUE = 4096, MAX_QUEUE = 1 << 20 };
#define MAX_BYTES     (UINT64_C(1) << 40)
#define DEFAULT_BYTES (UINT64_C(1) << 30)

/* NULL: it was stopped, or it is another process's. */
static perfi_store *
store_of(const perf_disk *disk)
{
    if (!disk)
        return NULL;
    perfi_store *s = atomic_load_explicit(&disk->store, memory_order_acquire);
    return s && s->forks ==
                       atomic_load_explicit(&perfi_forks, memory_order_relaxed)
               ? s
               : NULL;
}

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
    if (store_of(disk))
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
    perfi_store *s = store_of(disk);
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

/* ---- reading ---- */

/** What is looked for, and where it goes. */
typedef struct query {
    const uint8_t *digest;
    const void *key;
    size_t key_size;
    void *out;
    size_t capacity;
    uint64_t now_ms;
} query;

static int64_t
copy_out(const void *bytes, size_t size, void *out, size_t capacity)
{
    if (size <= capacity)
        memcpy(out, bytes, size);
    return (int64_t)size;
}

/* Believed, it is copied; else it is a miss, and counted. */
static int64_t
answer(perfi_store *s, perfi_view *slot, const query *q, const void *bytes,
       size_t size)
{
    perf_entry entry;
    if (perf_entry_read(bytes, size, &entry) || entry.key_size != q->key_size ||
        memcmp(entry.key, q->key, q->key_size) != 0) {
        perfi_count(&slot->corrupt, 1);
        return PERF_ERR_NOT_FOUND;
    }
    if (!perfi_is_valid(&s->database.state, &entry, q->now_ms)) {
        perfi_count(&slot->expired, 1);
        return PERF_ERR_NOT_FOUND;
    }
    perfi_state_touch(&s->database.state, q->digest);
    return copy_out(bytes, size, q->out, q->capacity);
}

/* In the database, which the filter says may have it. */
static int64_t
look_up(perfi_store *s, perfi_view *slot, const query *q)
{
    perfi_database *d = &s->database;
    MDB_val key = {16, (void *)(uintptr_t)q->digest}, value;
    int64_t size = PERF_ERR_NOT_FOUND;
    if (!perfi_view_begin(d, slot))
        return size;
    int rc = mdb_get(slot->txn, d->entries, &key, &value);
    if (!rc && value.mv_size > PERFI_NUMBER)
        size = answer(s, slot, q, (char *)value.mv_data + PERFI_NUMBER,
                      value.mv_size - PERFI_NUMBER);
    else if (perfi_is_damage(rc))
        perfi_database_poison(d);
    perfi_view_end(slot);
    return size;
}

static int64_t
find(perfi_store *s, perfi_view *slot, const query *q)
{
    if (perfi_database_poisoned(&s->database)) {
        perfi_writer_wake(s);
        return PERF_ERR_NOT_FOUND;
    }
    perfi_job *job = perfi_queue_find(&s->queue, q->digest);
    if (job) {
        int64_t size = job->kind == PERFI_JOB_PUT
                           ? answer(s, slot, q, job->bytes, job->size)
                           : PERF_ERR_NOT_FOUND;
        perfi_job_drop(s->allocator, job);
        return size;
    }
    if (!perfi_bloom_may_have(&s->database.state, q->digest)) {
        perfi_count(&slot->filtered, 1);
        return PERF_ERR_NOT_FOUND;
    }
    return look_up(s, slot, q);
}

int64_t
perf_disk_get_at(perf_disk *disk, const uint8_t *digest, const void *key,
                 size_t key_size, void *out, size_t capacity, uint64_t now_ms)
{
    if (!digest || !key || !key_size || (capacity && !out))
        return PERF_ERR_INVALID;
    perfi_store *s = store_of(disk);
    perfi_view *slot = s ? perfi_view_take(&s->database) : NULL;
    if (!slot)
        return PERF_ERR_CLOSED;
    query q = {digest, key, key_size, out, capacity, now_ms};
    int64_t size = find(s, slot, &q);
    /* one that did not fit will be asked for again */
    if (size >= 0 && (uint64_t)size <= capacity)
        perfi_count(&slot->hits, 1);
    else if (size < 0)
        perfi_count(&slot->misses, 1);
    perfi_view_give(slot);
    return size;
}

int64_t
perf_disk_get(perf_disk *disk, const uint8_t *digest, const void *key,
              size_t key_size, void *out, size_t capacity)
{
    return perf_disk_get_at(disk, digest, key, key_size, out, capacity,
                            perfi_wall_ms());
}

int64_t
perf_disk_dictionary(perf_disk *disk, uint32_t id, void *out, size_t capacity)
{
    if (capacity && !out)
        return PERF_ERR_INVALID;
    perfi_store *s = store_of(disk);
    perfi_view *slot = s ? perfi_view_take(&s->database) : NULL;
    if (!slot)
        return PERF_ERR_CLOSED;
    int64_t size = PERF_ERR_NOT_FOUND;
    MDB_val key = {sizeof id, &id}, value;
    if (perfi_view_begin(&s->database, slot)) {
        if (!mdb_get(slot->txn, s->database.dictionaries, &key, &value))
            size = copy_out(value.mv_data, value.mv_size, out, capacity);
        perfi_view_end(slot);
    }
    perfi_view_give(slot);
    return size;
}

/* ---- all of them ---- */

/* From where the cursor stands on, the first that a reader would be given. */
static int64_t
next_valid(perfi_store *s, MDB_cursor *cursor, uint8_t *digest, query *q)
{
    MDB_val key = {16, digest}, value;
    int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    if (!rc && key.mv_size == 16 && !memcmp(key.mv_data, digest, 16))
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    for (; !rc; rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        perf_entry entry;
        if (key.mv_size != 16 || value.mv_size <= PERFI_NUMBER)
            continue;
        const char *bytes = (char *)value.mv_data + PERFI_NUMBER;
        size_t size = value.mv_size - PERFI_NUMBER;
        if (perf_entry_read(bytes, size, &entry) ||
            !perfi_is_valid(&s->database.state, &entry, q->now_ms))
            continue;
        if (size <= q->capacity)
            memcpy(digest, key.mv_data, 16);
        return copy_out(bytes, size, q->out, q->capacity);
    }
    return PERF_ERR_NOT_FOUND;
}

int64_t
perf_disk_next_blocking(perf_disk *disk, uint8_t *digest, void *out,
                        size_t capacity, uint64_t now_ms)
{
    if (!digest || (capacity && !out))
        return PERF_ERR_INVALID;
    perfi_store *s = store_of(disk);
    perfi_view *slot = s ? perfi_view_take(&s->database) : NULL;
    if (!slot)
        return PERF_ERR_CLOSED;
    int64_t size = PERF_ERR_NOT_FOUND;
    MDB_cursor *cursor;
    query q = {.out = out, .capacity = capacity, .now_ms = now_ms};
    if (!perfi_database_poisoned(&s->database) &&
        perfi_view_begin(&s->database, slot)) {
        if (!mdb_cursor_open(slot->txn, s->database.entries, &cursor)) {
            size = next_valid(s, cursor, digest, &q);
            mdb_cursor_close(cursor);
        }
        perfi_view_end(slot);
    }
    perfi_view_give(slot);
    return size;
}

/* ---- writing ---- */

static perf_err
refuse(perfi_store *s, perf_err err)
{
    if (err)
        atomic_fetch_add_explicit(&s->refused, 1, memory_order_relaxed);
    return err;
}

static perf_err
make_put(perfi_store *s, const uint8_t *digest, const void *entry, size_t size,
         perfi_job **out)
{
    if (size > s->max_bytes / 8)
        return PERF_ERR_RANGE;
    *out = perfi_job_make(s->allocator, PERFI_JOB_PUT, digest, entry, size);
    return *out ? PERF_OK : PERF_ERR_NOMEM;
}

perf_err
perf_disk_put(perf_disk *disk, const uint8_t *digest, const void *entry,
              size_t size)
{
    perfi_store *s = store_of(disk);
    perfi_job *job;
    if (!digest || !entry || !size)
        return PERF_ERR_INVALID;
    if (!s)
        return PERF_ERR_CLOSED;
    perf_err err = make_put(s, digest, entry, size, &job);
    return refuse(s, err ? err : perfi_writer_add(s, job));
}

perf_err
perf_disk_put_blocking(perf_disk *disk, const uint8_t *digest,
                       const void *entry, size_t size, uint64_t timeout_ms)
{
    perfi_store *s = store_of(disk);
    perfi_job *job;
    if (!digest || !entry || !size)
        return PERF_ERR_INVALID;
    if (!s)
        return PERF_ERR_CLOSED;
    perf_err err = make_put(s, digest, entry, size, &job);
    return err ? refuse(s, err) : perfi_writer_wait(s, job, timeout_ms, NULL);
}

perf_err
perf_disk_delete(perf_disk *disk, const uint8_t *digest)
{
    perfi_store *s = store_of(disk);
    if (!digest)
        return PERF_ERR_INVALID;
    if (!s)
        return PERF_ERR_CLOSED;
    perfi_job *job =
        perfi_job_make(s->allocator, PERFI_JOB_DELETE, digest, NULL, 0);
    return refuse(s, job ? perfi_writer_add(s, job) : PERF_ERR_NOMEM);
}

/* A job that somebody waits for, and which may have bytes. */
static perf_err
wait_for(perf_disk *disk, perfi_job_kind kind, const void *bytes, size_t size,
         uint64_t number, uint64_t timeout_ms)
{
    perfi_store *s = store_of(disk);
    if (!s)
        return PERF_ERR_CLOSED;
    perfi_job *job = perfi_job_make(s->allocator, kind, NULL, bytes, size);
    if (!job)
        return PERF_ERR_NOMEM;
    job->number = number;
    return perfi_writer_wait(s, job, timeout_ms, NULL);
}

perf_err
perf_disk_flush_blocking(perf_disk *disk, uint64_t timeout_ms)
{
    return disk ? wait_for(disk, PERFI_JOB_FLUSH, NULL, 0, 0, timeout_ms)
                : PERF_ERR_INVALID;
}

perf_err
perf_disk_put_dictionary_blocking(perf_disk *disk, uint32_t id,
                                  const void *bytes, size_t size,
                                  uint64_t timeout_ms)
{
    if (!disk || !bytes || !size)
        return PERF_ERR_INVALID;
    perfi_store *s = store_of(disk);
    if (s && size > s->max_bytes / 8)
        return PERF_ERR_RANGE;
    return wait_for(disk, PERFI_JOB_DICTIONARY, bytes, size, id, timeout_ms);
}

/* ---- leases ---- */

perf_err
perf_disk_lease_blocking(perf_disk *disk, const uint8_t *digest,
                         uint64_t now_ms, uint64_t for_ms, uint64_t timeout_ms,
                         uint64_t *token)
{
    if (!digest || !token)
        return PERF_ERR_INVALID;
    *token = 0;
    perfi_store *s = store_of(disk);
    if (!s)
        return PERF_ERR_CLOSED;
    perfi_job *job =
        perfi_job_make(s->allocator, PERFI_JOB_LEASE, digest, NULL, 0);
    if (!job)
        return PERF_ERR_NOMEM;
    job->now_ms = now_ms;
    job->until_ms = for_ms > UINT64_MAX - now_ms ? UINT64_MAX : now_ms + for_ms;
    return perfi_writer_wait(s, job, timeout_ms, token);
}

perf_err
perf_disk_release(perf_disk *disk, const uint8_t *digest, uint64_t token)
{
    perfi_store *s = store_of(disk);
    if (!digest || !token)
        return PERF_ERR_INVALID;
    if (!s)
        return PERF_ERR_CLOSED;
    perfi_job *job =
        perfi_job_make(s->allocator, PERFI_JOB_RELEASE, digest, NULL, 0);
    if (!job)
        return PERF_ERR_NOMEM;
    job->number = token;
    return perfi_writer_add(s, job);
}

/* ---- labels ---- */

/* On the medium: the page of each. */
static bool
sync_label(perfi_state *state, uint64_t label)
{
    uintptr_t at = (uintptr_t)&state->label[label % PERFI_STATE_LABELS];
    uintptr_t page = at & ~(uintptr_t)(PERFI_STATE_PAGE - 1);
    return !msync((void *)page, PERFI_STATE_PAGE, MS_SYNC);
}

perf_err
perf_disk_invalidate_blocking(perf_disk *disk, const uint64_t *labels,
                              size_t count, uint64_t now_ms)
{
    if (!disk || (count && !labels))
        return PERF_ERR_INVALID;
    perfi_store *s = store_of(disk);
    perfi_view *slot = s ? perfi_view_take(&s->database) : NULL;
    if (!slot)
        return PERF_ERR_CLOSED;
    perfi_state *state = &s->database.state;
    for (size_t i = 0; i < count; i++)
        perfi_state_invalidate(state, labels[i], now_ms);
    if (count) {
        atomic_fetch_add_explicit(&s->own_invalidations, 1,
                                  memory_order_relaxed);
        atomic_fetch_add_explicit(&state->header->invalidations, 1,
                                  memory_order_release);
        perfi_state_bump(state);
    }
    perf_err err = PERF_OK;
    for (size_t i = 0; i < count; i++)
        if (!sync_label(state, labels[i]))
            err = PERF_ERR_SYSTEM;
    perfi_view_give(slot);
    return err;
}

uint64_t
perf_disk_label_ms(const perf_disk *disk, uint64_t label)
{
    perfi_store *s = store_of(disk);
    perfi_view *slot = s ? perfi_view_take(&s->database) : NULL;
    if (!slot)
        return 0;
    uint64_t ms = perfi_state_label_ms(&s->database.state, label);
    perfi_view_give(slot);
    return ms;
}

/* ---- changes ---- */

const uint64_t *
perf_disk_change_word(const perf_disk *disk)
{
    perfi_store *s = store_of(disk);
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
    perfi_store *s = store_of(disk);
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
perf_disk_stats_get(const perf_disk *disk, perf_disk_stats *out)
{
    if (!disk || !out)
        return PERF_ERR_INVALID;
    *out = (perf_disk_stats){0};
    perfi_store *s = store_of(disk);
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
