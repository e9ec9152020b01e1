/* database.c - opens and closes the environment of a folder, one process after
 * the other; checks what it finds before LMDB believes it. */
#define _GNU_SOURCE
#include "database.h"

#include "../../base/say.h"
#include "../../segment/reader.h"
#include "folder.h"
#include "pages.h"

#include <errno.h>
#include <fcntl.h>
#include <libperf/entry.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { OPEN_WAIT_MS = 10000, LOCK_FILE_BYTES = (PERFI_READERS + 64) * 64 };

/** A state file that is not looked at any more, but for its word. */
typedef struct retired {
    struct retired *next;
    void *bytes;
    size_t size;
} retired;

/* ---- errors ---- */

bool
perfi_is_damage(int rc)
{
    return rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND || rc == MDB_PANIC ||
           rc == MDB_INVALID || rc == MDB_VERSION_MISMATCH ||
           rc == MDB_CURSOR_FULL || rc == MDB_INCOMPATIBLE;
}

perf_err
perfi_error_of_lmdb(int rc)
{
    switch (rc) {
    case MDB_SUCCESS: return PERF_OK;
    case MDB_NOTFOUND: return PERF_ERR_NOT_FOUND;
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
    case MDB_READERS_FULL: return PERF_ERR_FULL;
    case MDB_VERSION_MISMATCH: return PERF_ERR_VERSION;
    default: break;
    }
    if (perfi_is_damage(rc))
        return PERF_ERR_CORRUPT;
    errno = rc > 0 ? rc : 0;
    return perfi_error_of(errno);
}

void
perfi_database_poison(perfi_database *d)
{
    /* release: with it goes whatever led to it; pairs with
     * perfi_database_poisoned() */
    atomic_store_explicit(&d->state.header->poisoned, 1, memory_order_release);
    perfi_state_bump(&d->state);
}

/* ---- the state file ---- */

static void
unmap_state(perfi_database *d)
{
    if (d->state.fd >= 0)
        close(d->state.fd);
    if (d->state.header)
        munmap(d->state.header, d->state.size);
    d->state = (perfi_state){.fd = -1};
}

/* Keep the mapping, let go of the file and its lock. */
static void
retire_state(perfi_database *d)
{
    const perf_allocator *a = d->allocator;
    retired *r = a->alloc(sizeof *r, a->ctx);
    /* a mapping keeps the file open, and with it the lock */
    flock(d->state.fd, LOCK_UN);
    close(d->state.fd);
    d->state.fd = -1;
    if (r) { /* else the mapping is simply left */
        *r = (retired){d->retired, d->state.header, d->state.size};
        d->retired = r;
    }
    d->state.header = NULL;
}

static bool
has_data(const perfi_database *d)
{
    struct stat st;
    return !fstatat(d->folder, "data.mdb", &st, AT_SYMLINK_NOFOLLOW) &&
           S_ISREG(st.st_mode) && st.st_size;
}

/* A file that is new gets a header; one that is not is looked at. A database
 * without it is not believed: the times of labels were there.
 * @param alone  no other process has it open */
static perf_err
map_state(perfi_database *d, uint64_t max_bytes, bool *alone, char *why)
{
    int fd;
    struct stat st;
    perf_err err = perfi_disk_file_open(d->folder, "state", why, &fd);
    if (err)
        return err;
    *alone = !flock(fd, LOCK_EX | LOCK_NB);
    if (fstat(fd, &st)) {
        close(fd);
        return PERF_ERR_SYSTEM;
    }
    bool fresh = !st.st_size;
    uint64_t size = fresh ? perfi_state_bytes(max_bytes) : (uint64_t)st.st_size;
    err = size > SIZE_MAX / 2 ? PERF_ERR_CORRUPT
                              : perfi_disk_file_reserve(fd, size);
    void *bytes = MAP_FAILED;
    if (!err) {
        bytes =
            mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (bytes == MAP_FAILED)
            err = perfi_error_of(errno);
    }
    if (err) {
        perfi_disk_why(why, "no room for the file state in the folder: %s",
                       strerror(errno));
        if (fresh) /* or it would be taken for damage next time */
            unlinkat(d->folder, "state", 0);
        close(fd);
        return err;
    }
    /* whoever made it may have been killed before there was a header */
    fresh = fresh || !*(const uint64_t *)bytes;
    if (fresh && size == perfi_state_bytes(max_bytes))
        perfi_state_make(bytes, max_bytes);
    err = perfi_state_attach(bytes, (size_t)size, &d->state);
    if (err) {
        munmap(bytes, (size_t)size);
        close(fd);
        return err;
    }
    d->state.fd = fd;
    return perfi_database_poisoned(d) || (fresh && has_data(d))
               ? PERF_ERR_CORRUPT
               : PERF_OK;
}

/* ---- is the database as it was left? ---- */

static uint64_t
mtime_ns(const struct stat *st)
{
    return (uint64_t)st->st_mtim.tv_sec * 1000000000u +
           (uint64_t)st->st_mtim.tv_nsec;
}

static bool
is_as_left(const perfi_database *d, const struct stat *st)
{
    const perfi_state_header *h = d->state.header;
    uint8_t boot[16];
    perfi_boot_id(boot);
    return h->clean_bytes == (uint64_t)st->st_size &&
           h->clean_mtime_ns == mtime_ns(st) &&
           !memcmp(h->clean_boot, boot, sizeof boot);
}

static void
remember_as_left(perfi_database *d)
{
    struct stat st;
    perfi_state_header *h = d->state.header;
    if (fstatat(d->folder, "data.mdb", &st, AT_SYMLINK_NOFOLLOW))
        return;
    h->clean_bytes = (uint64_t)st.st_size;
    h->clean_mtime_ns = mtime_ns(&st);
    perfi_boot_id(h->clean_boot);
}

/* Both files of LMDB, before it opens them itself: whose they are, room for
 * what it maps, and, if nobody else has them, whether they are in order.
 * @param walked  they were looked through */
static perf_err
check_files(perfi_database *d, bool alone, char *why, bool *walked)
{
    int data, lock;
    struct stat st;
    perf_err err = perfi_disk_file_open(d->folder, "data.mdb", why, &data);
    if (err)
        return err;
    err = perfi_disk_file_open(d->folder, "lock.mdb", why, &lock);
    if (!err) {
        err = perfi_disk_file_reserve(lock, LOCK_FILE_BYTES);
        if (err)
            perfi_disk_why(why, "no room for the file lock.mdb in the folder");
        close(lock);
    }
    if (!err && fstat(data, &st))
        err = PERF_ERR_SYSTEM;
    *walked = !err && alone && !is_as_left(d, &st);
    if (*walked)
        err = perfi_pages_check(data, d->allocator);
    close(data);
    return err;
}

/* ---- LMDB ---- */

static uint64_t
map_bytes(const perfi_database *d)
{
    struct rlimit limit;
    struct stat st;
    uint64_t bytes = d->state.header->max_bytes;
    if (d->keep) /* a removal, too, needs pages to write to */
        bytes += bytes / 4;
    /* past the limit a write would be a signal */
    if (!getrlimit(RLIMIT_FSIZE, &limit) && limit.rlim_cur < bytes)
        bytes = limit.rlim_cur;
    if (!fstatat(d->folder, "data.mdb", &st, 0) && (uint64_t)st.st_size > bytes)
        bytes = (uint64_t)st.st_size;
    return bytes & ~UINT64_C(65535);
}

static int
open_databases(perfi_database *d)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(d->env, NULL, 0, &txn);
    if (rc)
        return rc;
    rc = mdb_dbi_open(txn, NULL, 0, &d->entries);
    if (!rc)
        rc = mdb_dbi_open(txn, "order", MDB_CREATE | MDB_INTEGERKEY, &d->order);
    if (!rc)
        rc = mdb_dbi_open(txn, "leases", MDB_CREATE, &d->leases);
    if (!rc)
        rc = mdb_dbi_open(txn, "dictionaries", MDB_CREATE, &d->dictionaries);
    if (!rc)
        return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return rc;
}

static int
open_slots(perfi_database *d)
{
    int cleared, rc = 0;
    mdb_reader_check(d->env, &cleared);
    for (int i = 0; i < PERFI_VIEWS && !rc; i++) {
        rc = mdb_txn_begin(d->env, NULL, MDB_RDONLY, &d->slot[i].txn);
        if (rc == MDB_READERS_FULL && !mdb_reader_check(d->env, &cleared) &&
            cleared)
            rc = mdb_txn_begin(d->env, NULL, MDB_RDONLY, &d->slot[i].txn);
        if (rc && rc == MDB_READERS_FULL && i)
            return 0; /* fewer will do */
        if (!rc)
            mdb_txn_reset(d->slot[i].txn);
    }
    return rc;
}

static int
open_env(perfi_database *d)
{
    char path[PERFI_PATH_BYTES];
    perfi_disk_folder_path(d->folder, path);
    int rc = mdb_env_create(&d->env);
    if (rc) {
        d->env = NULL;
        return rc;
    }
    rc = mdb_env_set_maxdbs(d->env, PERFI_NAMED);
    if (!rc)
        rc = mdb_env_set_maxreaders(d->env, PERFI_READERS);
    d->map_bytes = map_bytes(d);
    if (!rc)
        rc = mdb_env_set_mapsize(d->env, (size_t)d->map_bytes);
    unsigned flags = MDB_NOTLS | MDB_NORDAHEAD | (d->keep ? 0 : MDB_NOSYNC);
    if (!rc)
        rc = mdb_env_open(d->env, path, flags, 0600);
    int fd;
    if (!rc && !mdb_env_get_fd(d->env, &fd))
        fcntl(fd, F_SETFD, FD_CLOEXEC); /* LMDB does not say O_CLOEXEC */
    if (!rc)
        rc = open_databases(d);
    if (!rc)
        rc = open_slots(d);
    return rc;
}

int
perfi_database_refill(perfi_database *d)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val key, value;
    uint64_t keys = 0;
    int rc = mdb_txn_begin(d->env, NULL, 0, &txn);
    if (rc)
        return rc;
    rc = mdb_cursor_open(txn, d->entries, &cursor);
    if (!rc) {
        perfi_bloom_begin(&d->state);
        while (!(rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)))
            if (key.mv_size == 16) {
                perfi_bloom_fill(&d->state, key.mv_data);
                keys++;
            }
        if (rc == MDB_NOTFOUND)
            rc = 0;
        if (!rc)
            perfi_bloom_end(&d->state, keys);
        mdb_cursor_close(cursor);
    }
    mdb_txn_abort(txn);
    return rc;
}

/* ---- open ---- */

static void
close_env(perfi_database *d)
{
    for (int i = 0; i < PERFI_VIEWS; i++) {
        if (d->slot[i].txn)
            mdb_txn_abort(d->slot[i].txn);
        d->slot[i].txn = NULL;
    }
    if (d->env)
        mdb_env_close(d->env);
    d->env = NULL;
}

/* The folder is locked. */
static perf_err
open_once(perfi_database *d, uint64_t max_bytes, char *why)
{
    bool alone = false, walked = false;
    perf_err err = map_state(d, max_bytes, &alone, why);
    if (err)
        return err;
    err = check_files(d, alone, why, &walked);
    if (err)
        return err;
    if (alone) /* the size may be changed, the layout of the file stays */
        perfi_state_resize(&d->state, max_bytes);
    int rc = open_env(d);
    if (!rc && walked)
        rc = perfi_database_refill(d);
    if (rc) {
        err = perfi_error_of_lmdb(rc);
        perfi_disk_why(why, "LMDB cannot open the folder: %s",
                       mdb_strerror(rc));
        return err;
    }
    d->state.header->clean_bytes = 0; /* from now on it is in use */
    d->opened++;
    /* not atomic, but nobody else tries for it while the folder is locked */
    if (flock(d->state.fd, LOCK_SH | LOCK_NB))
        return perfi_error_of(errno);
    for (int i = 0; i < PERFI_VIEWS; i++)
        atomic_store_explicit(&d->slot[i].taken,
                              d->slot[i].txn ? PERFI_VIEW_FREE
                                             : PERFI_VIEW_GONE,
                              memory_order_release);
    return PERF_OK;
}

static void
give_up(perfi_database *d)
{
    close_env(d);
    unmap_state(d);
}

perf_err
perfi_database_open(perfi_database *d, uint64_t max_bytes, char *why)
{
    perf_err err = perfi_disk_folder_lock(d->folder, OPEN_WAIT_MS);
    if (err) {
        perfi_disk_why(why, "another process has been opening the folder for "
                            "ten seconds");
        return err;
    }
    err = open_once(d, max_bytes, why);
    if (err == PERF_ERR_CORRUPT || err == PERF_ERR_VERSION) {
        if (d->state.header) /* others may still be using it */
            perfi_database_poison(d);
        give_up(d);
        perfi_say_once(PERFI_SAY_DISK,
                       "the cache on disk is %s: it is moved into the folder "
                       "\"damaged\" within its own, and begun anew",
                       err == PERF_ERR_VERSION ? "of another version"
                                               : "damaged");
        perf_err moved = perfi_disk_set_aside(d->folder);
        d->resets++;
        err = moved ? moved : open_once(d, max_bytes, why);
    }
    if (err)
        give_up(d);
    perfi_disk_folder_unlock(d->folder);
    return err;
}

/* ---- close ---- */

/* Take every slot for good. Readers hold one for microseconds. */
static void
stop_readers(perfi_database *d)
{
    for (int i = 0; i < PERFI_VIEWS; i++) {
        int expected = PERFI_VIEW_FREE;
        while (!atomic_compare_exchange_weak_explicit(
                   &d->slot[i].taken, &expected, PERFI_VIEW_GONE,
                   memory_order_acquire, memory_order_relaxed) &&
               expected != PERFI_VIEW_GONE) {
            expected = PERFI_VIEW_FREE;
            sched_yield();
        }
    }
}

void
perfi_database_close(perfi_database *d, bool last)
{
    stop_readers(d);
    if (!d->state.header)
        return;
    perf_err locked = perfi_disk_folder_lock(d->folder, OPEN_WAIT_MS);
    close_env(d);
    if (last && !locked && !perfi_database_poisoned(d))
        remember_as_left(d);
    retire_state(d);
    if (!locked)
        perfi_disk_folder_unlock(d->folder);
}

void
perfi_database_free(perfi_database *d)
{
    const perf_allocator *a = d->allocator;
    for (retired *r = d->retired, *next; r; r = next) {
        next = r->next;
        munmap(r->bytes, r->size);
        a->free(r, sizeof *r, a->ctx);
    }
    d->retired = NULL;
}

/* ---- slots ---- */

perfi_view *
perfi_view_take(perfi_database *d)
{
    /* threads begin at different ones */
    unsigned first = (unsigned)((uintptr_t)pthread_self() >> 12);
    for (unsigned round = 0;; round++) {
        bool any = false;
        for (unsigned i = 0; i < PERFI_VIEWS; i++) {
            perfi_view *slot = &d->slot[(first + i) % PERFI_VIEWS];
            int expected = PERFI_VIEW_FREE;
            /* acquire: what the last holder, or opening, wrote */
            if (atomic_compare_exchange_strong_explicit(
                    &slot->taken, &expected, PERFI_VIEW_TAKEN,
                    memory_order_acquire, memory_order_relaxed))
                return slot;
            any |= expected == PERFI_VIEW_TAKEN;
        }
        if (!any)
            return NULL;
        if (round > 16)
            sched_yield();
    }
}

void
perfi_view_give(perfi_view *slot)
{
    atomic_store_explicit(&slot->taken, PERFI_VIEW_FREE, memory_order_release);
}

bool
perfi_view_begin(perfi_database *d, perfi_view *slot)
{
    int rc = mdb_txn_renew(slot->txn);
    if (perfi_is_damage(rc))
        perfi_database_poison(d);
    return !rc;
}

void
perfi_view_end(perfi_view *slot)
{
    mdb_txn_reset(slot->txn);
}

bool
perfi_is_valid(const perfi_state *s, const perf_entry *entry, uint64_t now_ms)
{
    if (now_ms >= entry->expires_ms)
        return false;
    for (size_t i = 0; i < entry->label_count; i++)
        if (entry->created_ms <=
            perfi_state_label_ms(s, perf_entry_label(entry, i)))
            return false;
    return true;
}
