/* read.c - what is asked of a store, and what is believed of its answer. */
#include "handle.h"

#include <libperf/entry.h>
#include <string.h>

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
    perfi_store *s = perfi_disk_store(disk);
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
    perfi_store *s = perfi_disk_store(disk);
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
    perfi_store *s = perfi_disk_store(disk);
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
