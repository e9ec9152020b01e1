/* evict.c - first in, first out, with a second chance for what was read. */
#define _GNU_SOURCE
#include "evict.h"

#include <fcntl.h>
#include <libperf/entry.h>
#include <string.h>
#include <sys/stat.h>

enum {
    CHANCES_AT_ONCE = 256,
    SWEEP_AT_ONCE = 8,
};

int
perfi_next_number(MDB_txn *txn, perfi_database *d, uint64_t *out)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int rc = mdb_cursor_open(txn, d->order, &cursor);
    if (rc)
        return rc;
    rc = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
    *out = 1;
    if (!rc && key.mv_size == sizeof *out) {
        memcpy(out, key.mv_data, sizeof *out);
        ++*out;
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

void
perfi_measure(MDB_txn *txn, perfi_database *d, uint64_t *used,
              uint64_t *entries)
{
    MDB_dbi all[] = {d->entries, d->order, d->leases, d->dictionaries};
    uint64_t pages = 4, page = 4096;
    *entries = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        MDB_stat st;
        if (mdb_stat(txn, all[i], &st))
            continue;
        pages += st.ms_branch_pages + st.ms_leaf_pages + st.ms_overflow_pages;
        page = st.ms_psize;
        if (!i && st.ms_entries > PERFI_NAMED)
            *entries = st.ms_entries - PERFI_NAMED;
    }
    *used = pages * page;
}

bool
perfi_has_room(MDB_txn *txn, perfi_database *d)
{
    uint64_t used, entries;
    perfi_measure(txn, d, &used, &entries);
    return used <= d->state.header->max_bytes;
}

uint64_t
perfi_file_bytes(const perfi_database *d)
{
    struct stat st;
    return fstatat(d->folder, "data.mdb", &st, AT_SYMLINK_NOFOLLOW)
               ? UINT64_MAX
               : (uint64_t)st.st_size;
}

int
perfi_remove(MDB_txn *txn, perfi_database *d, MDB_val *key,
             const MDB_val *value)
{
    uint64_t number;
    if (value->mv_size < sizeof number)
        return MDB_CORRUPTED;
    memcpy(&number, value->mv_data, sizeof number);
    MDB_val order = {sizeof number, &number};
    int rc = mdb_del(txn, d->order, &order, NULL);
    if (rc && rc != MDB_NOTFOUND)
        return rc;
    return mdb_del(txn, d->entries, key, NULL);
}

/* No reader will be given it. The checksum is left to readers. */
static bool
is_gone(const perfi_database *d, const MDB_val *value, uint64_t now_ms)
{
    perf_entry entry;
    return perf_entry_read((const char *)value->mv_data + PERFI_NUMBER,
                           value->mv_size - PERFI_NUMBER, &entry) ||
           !perfi_is_valid(&d->state, &entry, now_ms);
}

/* The same entry with the next number. */
static int
requeue(MDB_txn *txn, perfi_database *d, MDB_val *key, const MDB_val *old,
        uint64_t was, uint64_t *next)
{
    /* the value moves while it is written: a copy of it in between */
    const perf_allocator *a = d->allocator;
    size_t size = old->mv_size;
    char *copy = a->alloc(size, a->ctx);
    if (!copy)
        return MDB_NOTFOUND; /* no second chance, then */
    uint64_t number = (*next)++;
    memcpy(copy, old->mv_data, size);
    memcpy(copy, &number, sizeof number);
    MDB_val order = {sizeof was, &was}, value = {size, copy};
    int rc = mdb_del(txn, d->order, &order, NULL);
    if (!rc)
        rc = mdb_put(txn, d->entries, key, &value, 0);
    order = (MDB_val){sizeof number, &number};
    if (!rc)
        rc = mdb_put(txn, d->order, &order, key, MDB_APPEND);
    a->free(copy, size, a->ctx);
    return rc;
}

/* The oldest one: away with it, or on to the end. */
static int
evict_one(MDB_txn *txn, perfi_database *d, MDB_cursor *cursor,
          unsigned *chances, uint64_t *next, uint64_t now_ms, uint64_t *evicted)
{
    MDB_val order, found, value;
    uint8_t digest[16];
    uint64_t number;
    int rc = mdb_cursor_get(cursor, &order, &found, MDB_FIRST);
    if (rc)
        return rc;
    if (order.mv_size != sizeof number || found.mv_size != sizeof digest)
        return MDB_CORRUPTED;
    memcpy(&number, order.mv_data, sizeof number);
    memcpy(digest, found.mv_data, sizeof digest);
    MDB_val key = {sizeof digest, digest};
    order = (MDB_val){sizeof number, &number};
    rc = mdb_get(txn, d->entries, &key, &value);
    if (rc == MDB_NOTFOUND)
        return mdb_del(txn, d->order, &order, NULL);
    if (rc)
        return rc;
    if (value.mv_size < PERFI_NUMBER)
        return MDB_CORRUPTED;
    if (perfi_state_untouch(&d->state, digest) && *chances &&
        !is_gone(d, &value, now_ms)) {
        --*chances;
        rc = requeue(txn, d, &key, &value, number, next);
        if (rc != MDB_NOTFOUND)
            return rc;
    }
    ++*evicted;
    return perfi_remove(txn, d, &key, &value);
}

int
perfi_make_room(MDB_txn *txn, perfi_database *d, const perfi_writes *w,
                unsigned percent, unsigned most, uint64_t *next,
                uint64_t now_ms, uint64_t *evicted)
{
    uint64_t limit = d->state.header->max_bytes, used, entries;
    if (limit > d->map_bytes)
        limit = d->map_bytes;
    if (limit > w->ceiling)
        limit = w->ceiling;
    limit = limit / 100 * percent;
    perfi_measure(txn, d, &used, &entries);
    if (used <= limit)
        return 0;
    MDB_cursor *cursor;
    unsigned chances = most < CHANCES_AT_ONCE ? most : CHANCES_AT_ONCE;
    int rc = mdb_cursor_open(txn, d->order, &cursor);
    if (rc)
        return rc;
    for (most += chances; most && used > limit && !rc; most--) {
        rc = evict_one(txn, d, cursor, &chances, next, now_ms, evicted);
        perfi_measure(txn, d, &used, &entries);
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* ---- what has expired ---- */

static int
sweep_one(MDB_txn *txn, perfi_database *d, MDB_cursor *cursor, MDB_val *order,
          const MDB_val *found, uint64_t now_ms, uint64_t *swept)
{
    uint8_t digest[16];
    MDB_val key = {sizeof digest, digest}, value;
    if (order->mv_size != 8 || found->mv_size != sizeof digest)
        return MDB_CORRUPTED;
    memcpy(digest, found->mv_data, sizeof digest);
    int rc = mdb_get(txn, d->entries, &key, &value);
    if (rc && rc != MDB_NOTFOUND)
        return rc;
    if (!rc && (value.mv_size < PERFI_NUMBER || !is_gone(d, &value, now_ms)))
        return 0;
    if (!rc)
        rc = mdb_del(txn, d->entries, &key, NULL);
    else
        rc = 0;
    ++*swept;
    return rc ? rc : mdb_cursor_del(cursor, 0);
}

int
perfi_sweep_expired(MDB_txn *txn, perfi_database *d, uint64_t now_ms,
                    uint64_t *swept)
{
    _Atomic uint64_t *place = &d->state.header->sweep;
    uint64_t at = atomic_load_explicit(place, memory_order_relaxed);
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(txn, d->order, &cursor);
    if (rc)
        return rc;
    for (int i = 0; i < SWEEP_AT_ONCE && !rc; i++) {
        MDB_val order = {sizeof at, &at}, found;
        rc = mdb_cursor_get(cursor, &order, &found, MDB_SET_RANGE);
        if (rc)
            break;
        memcpy(&at, order.mv_data, sizeof at);
        rc = sweep_one(txn, d, cursor, &order, &found, now_ms, swept);
        at++;
    }
    if (rc == MDB_NOTFOUND) { /* from the start again */
        at = 0;
        rc = 0;
    }
    atomic_store_explicit(place, at, memory_order_relaxed);
    mdb_cursor_close(cursor);
    return rc;
}
