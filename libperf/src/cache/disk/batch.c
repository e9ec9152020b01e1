/* batch.c - one transaction for many jobs.
 *
 * An entry has a number, which is its place in the order of writing; it keeps
 * it when it is written again. To make room the lowest go first. One that was
 * read since it was written, or looked at last, gets a new number instead. */
#include "batch.h"

#include "evict.h"
#include "lease.h"

#include <errno.h>
#include <libperf/clock.h>
#include <string.h>

enum {
    PERCENT = 80,         /* of max_bytes that may be used */
    EVICT_AT_ONCE = 1024, /* entries, along with a batch */
    LEAST_PERCENT = 20,   /* when an entry finds no room: that many stay */
    MOST_AT_ONCE = 16,
    TRIES = 100,
    TICKS = 3,
};

/** A transaction, and what is the next number in it. */
typedef struct write_txn {
    perfi_database *d;
    perfi_writes *w;
    MDB_txn *txn;
    uint64_t next;
} write_txn;

/* ---- one job ---- */

static MDB_val
key_of(const perfi_job *job)
{
    return (MDB_val){sizeof job->digest, (void *)(uintptr_t)job->digest};
}

/* Its value in the database, with its number in front: the one it had, or the
 * next. */
static int
reserve(write_txn *t, MDB_val *key, MDB_val *value, bool *is_new)
{
    size_t size = value->mv_size;
    uint64_t number = t->next;
    int rc = mdb_put(t->txn, t->d->entries, key, value,
                     MDB_NOOVERWRITE | MDB_RESERVE);
    *is_new = !rc;
    if (rc == MDB_KEYEXIST) {
        if (value->mv_size < PERFI_NUMBER)
            return MDB_CORRUPTED;
        memcpy(&number, value->mv_data, PERFI_NUMBER);
        *value = (MDB_val){size, NULL};
        rc = mdb_put(t->txn, t->d->entries, key, value, MDB_RESERVE);
    }
    if (!rc)
        memcpy(value->mv_data, &number, PERFI_NUMBER);
    return rc;
}

static int
apply_put(write_txn *t, perfi_job *job)
{
    bool is_new;
    MDB_val key = key_of(job), value = {PERFI_NUMBER + job->size, NULL};
    int rc = reserve(t, &key, &value, &is_new);
    if (rc)
        return rc;
    memcpy((char *)value.mv_data + PERFI_NUMBER, job->bytes, job->size);
    if (!is_new) {
        perfi_state_touch(&t->d->state, job->digest);
        return 0;
    }
    uint64_t number = t->next++;
    MDB_val order = {sizeof number, &number};
    perfi_bloom_add(&t->d->state, job->digest);
    return mdb_put(t->txn, t->d->order, &order, &key, MDB_APPEND);
}

static int
apply_delete(write_txn *t, perfi_job *job)
{
    MDB_val key = key_of(job), value;
    int rc = mdb_get(t->txn, t->d->entries, &key, &value);
    if (rc == MDB_NOTFOUND)
        return 0;
    return rc ? rc : perfi_remove(t->txn, t->d, &key, &value);
}

static int
apply_lease(write_txn *t, perfi_job *job)
{
    MDB_val key = key_of(job), value;
    perfi_lease held, own;
    int rc = mdb_get(t->txn, t->d->leases, &key, &value);
    if (rc && rc != MDB_NOTFOUND)
        return rc;
    job->number = 0;
    if (!rc && value.mv_size == sizeof held) {
        memcpy(&held, value.mv_data, sizeof held);
        if (perfi_lease_holds(&held, job->now_ms))
            return 0;
    }
    perfi_lease_make(&own, t->w->process + ++t->w->last_token, job->until_ms);
    own.token += !own.token;
    value = (MDB_val){sizeof own, &own};
    rc = mdb_put(t->txn, t->d->leases, &key, &value, 0);
    if (!rc)
        job->number = own.token;
    return rc;
}

static int
apply_release(write_txn *t, perfi_job *job)
{
    MDB_val key = key_of(job), value;
    perfi_lease held;
    int rc = mdb_get(t->txn, t->d->leases, &key, &value);
    if (rc)
        return rc == MDB_NOTFOUND ? 0 : rc;
    if (value.mv_size == sizeof held) {
        memcpy(&held, value.mv_data, sizeof held);
        if (held.token != job->number)
            return 0;
    }
    return mdb_del(t->txn, t->d->leases, &key, NULL);
}

static int
apply_dictionary(write_txn *t, perfi_job *job)
{
    uint32_t id = (uint32_t)job->number;
    MDB_val key = {sizeof id, &id}, value = {job->size, job->bytes};
    return mdb_put(t->txn, t->d->dictionaries, &key, &value, 0);
}

/* What is written over before anybody waits for it need not be written. */
static bool
is_for_nothing(const perfi_job *job)
{
    return !job->waited &&
           atomic_load_explicit(&job->is_late, memory_order_relaxed);
}

static int
apply(write_txn *t, perfi_job *job)
{
    if (is_for_nothing(job))
        return 0;
    switch ((perfi_job_kind)job->kind) {
    case PERFI_JOB_PUT: return apply_put(t, job);
    case PERFI_JOB_DELETE: return apply_delete(t, job);
    case PERFI_JOB_LEASE: return apply_lease(t, job);
    case PERFI_JOB_RELEASE: return apply_release(t, job);
    case PERFI_JOB_DICTIONARY: return apply_dictionary(t, job);
    case PERFI_JOB_FLUSH: return 0;
    }
    return EINVAL;
}

/* ---- a transaction ---- */

static int
begin(write_txn *t)
{
    int rc = mdb_txn_begin(t->d->env, NULL, 0, &t->txn);
    if (rc)
        return rc;
    perfi_log_recover(&t->d->state);
    rc = perfi_next_number(t->txn, t->d, &t->next);
    if (rc)
        mdb_txn_abort(t->txn);
    return rc;
}

static int
commit(write_txn *t)
{
    perfi_state *s = &t->d->state;
    uint64_t used, entries;
    perfi_measure(t->txn, t->d, &used, &entries);
    uint64_t reserved =
        atomic_load_explicit(&s->header->log_reserved, memory_order_relaxed);
    uint64_t from = perf_clock_now_ns();
    int rc = mdb_txn_commit(t->txn);
    perfi_count(&t->w->commit_ns, perf_clock_now_ns() - from);
    if (rc)
        return rc;
    perfi_count(&t->w->commits, 1);
    atomic_store_explicit(&s->header->used_bytes, used, memory_order_relaxed);
    atomic_store_explicit(&s->header->entries, entries, memory_order_relaxed);
    perfi_log_publish(s, reserved);
    return 0;
}

static void
log_changes(write_txn *t, const perfi_job *jobs, const perfi_job *end)
{
    for (; jobs != end; jobs = jobs->next)
        if (jobs->kind == PERFI_JOB_PUT || jobs->kind == PERFI_JOB_DELETE)
            perfi_log_add(&t->d->state, jobs->digest, t->w->process);
}

static bool
has_put(const perfi_job *jobs, const perfi_job *end)
{
    for (; jobs != end; jobs = jobs->next)
        if (jobs->kind == PERFI_JOB_PUT || jobs->kind == PERFI_JOB_DICTIONARY)
            return true;
    return false;
}

/* Jobs up to `end` in one transaction: all of them, or none. */
static int
write_jobs(perfi_database *d, perfi_writes *w, perfi_job *jobs,
           const perfi_job *end, uint64_t now_ms)
{
    write_txn t = {.d = d, .w = w};
    int rc = begin(&t);
    if (rc)
        return rc;
    for (perfi_job *job = jobs; job != end && !rc; job = job->next)
        rc = apply(&t, job);
    uint64_t evicted = 0, swept = 0;
    if (!rc && d->keep && !perfi_has_room(t.txn, d) && has_put(jobs, end))
        rc = MDB_MAP_FULL;
    if (!rc && !d->keep)
        rc = perfi_make_room(t.txn, d, w, PERCENT, EVICT_AT_ONCE, &t.next,
                             now_ms, &evicted);
    if (!rc && !d->keep)
        rc = perfi_sweep_expired(t.txn, d, now_ms, &swept);
    if (rc) {
        mdb_txn_abort(t.txn);
        return rc;
    }
    log_changes(&t, jobs, end);
    rc = commit(&t);
    if (!rc) {
        perfi_count(&w->evicted, evicted);
        perfi_count(&w->swept, swept);
    }
    return rc;
}

/* ---- when there is no room ---- */

static bool
is_full(int rc)
{
    return rc == MDB_MAP_FULL || rc == MDB_TXN_FULL || rc == ENOSPC ||
           rc == EFBIG || rc == EDQUOT || rc == EIO; /* EIO: half a write */
}

/* A transaction that changes next to nothing. */
static int
tick(write_txn *t)
{
    MDB_val key = {4, "tick"}, value = {sizeof t->next, &t->next};
    return mdb_put(t->txn, t->d->leases, &key, &value, 0);
}

/* A transaction that only evicts, at most so many. */
static int
evict_some(perfi_database *d, perfi_writes *w, unsigned most, unsigned *ticks,
           uint64_t now_ms)
{
    write_txn t = {.d = d, .w = w};
    uint64_t evicted = 0;
    int rc = begin(&t);
    if (rc)
        return rc;
    rc = perfi_make_room(t.txn, d, w, LEAST_PERCENT, most, &t.next, now_ms,
                         &evicted);
    if (!rc && !evicted)
        rc = *ticks && (*ticks)-- ? tick(&t) : MDB_MAP_FULL;
    if (rc) {
        mdb_txn_abort(t.txn);
        return rc;
    }
    rc = commit(&t);
    if (!rc)
        perfi_count(&w->evicted, evicted);
    return rc;
}

/* A job alone, with more and more room: a long value needs pages in a row. An
 * eviction, too, writes its pages to others, so it begins with few when few are
 * left; and those that it frees can be written to two transactions later, even
 * if these are for nothing else. */
static int
write_one(perfi_database *d, perfi_writes *w, perfi_job *job, uint64_t now_ms)
{
    unsigned most = MOST_AT_ONCE, ticks = TICKS;
    int rc = write_jobs(d, w, job, job->next, now_ms);
    for (int i = 0; i < TRIES && is_full(rc) && !d->keep && most; i++) {
        if (rc != MDB_MAP_FULL && rc != MDB_TXN_FULL)
            w->ceiling = perfi_file_bytes(d);
        int evicted = evict_some(d, w, most, &ticks, now_ms);
        if (is_full(evicted))
            most /= 4;
        else if (evicted)
            return evicted;
        else
            rc = write_jobs(d, w, job, job->next, now_ms);
    }
    return rc;
}

static int
write_each(perfi_database *d, perfi_writes *w, perfi_job *jobs, uint64_t now_ms)
{
    for (perfi_job *job = jobs; job; job = job->next) {
        if (job->kind == PERFI_JOB_FLUSH) /* it has nothing to write */
            continue;
        int rc = write_one(d, w, job, now_ms);
        if (perfi_is_damage(rc))
            return rc;
        job->result = perfi_error_of_lmdb(rc);
        if (rc && job->kind == PERFI_JOB_PUT && !d->keep) {
            /* an older value must not outlive it */
            job->kind = PERFI_JOB_DELETE;
            write_one(d, w, job, now_ms);
            job->kind = PERFI_JOB_PUT;
        }
    }
    return 0;
}

/* Who waits for what was written before need not wait for other processes. */
static bool
is_nothing(const perfi_job *jobs)
{
    while (jobs && jobs->kind == PERFI_JOB_FLUSH)
        jobs = jobs->next;
    return !jobs;
}

static void
count_jobs(perfi_writes *w, const perfi_job *jobs)
{
    for (; jobs; jobs = jobs->next)
        if (jobs->result)
            perfi_count(&w->refused, 1);
        else if (jobs->kind == PERFI_JOB_PUT)
            perfi_count(&w->puts, 1);
        else if (jobs->kind == PERFI_JOB_DELETE)
            perfi_count(&w->deletes, 1);
}

int
perfi_batch_write(perfi_database *d, perfi_writes *w, perfi_job *jobs,
                  uint64_t now_ms)
{
    for (perfi_job *job = jobs; job; job = job->next)
        job->result = PERF_OK;
    /* now and then the file may grow again */
    if (atomic_load_explicit(&w->commits, memory_order_relaxed) % 256 == 0)
        w->ceiling = UINT64_MAX;
    int rc = is_nothing(jobs) ? 0 : write_jobs(d, w, jobs, NULL, now_ms);
    if (is_full(rc)) {
        rc = write_each(d, w, jobs, now_ms);
    } else if (rc && !perfi_is_damage(rc)) {
        for (perfi_job *job = jobs; job; job = job->next)
            job->result = perfi_error_of_lmdb(rc);
        rc = 0;
    }
    if (!rc)
        count_jobs(w, jobs);
    return rc;
}

int
perfi_batch_refill(perfi_database *d, perfi_writes *w)
{
    const perfi_state_header *h = d->state.header;
    uint64_t keys = atomic_load_explicit(&h->bloom_keys, memory_order_relaxed);
    uint64_t live = atomic_load_explicit(&h->entries, memory_order_relaxed);
    if (keys <= perfi_bloom_room(&d->state) || live > keys / 2)
        return 0;
    int rc = perfi_database_refill(d);
    if (!rc)
        perfi_count(&w->rebuilds, 1);
    return rc;
}
