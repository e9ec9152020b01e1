/* database.h - the LMDB environment of a folder, and read transactions that
 * wait in slots to be renewed.
 *
 * Databases: entries (digest -> number, entry), order (number -> digest: the
 * oldest first), leases (digest -> lease), dictionaries (id -> bytes). Entries
 * lie in the unnamed one, where LMDB keeps the names of the others: a read then
 * goes down one tree, not two. No name is as long as a digest. */
#ifndef PERFI_DATABASE_H
#define PERFI_DATABASE_H
#include "state.h"

#include <lmdb.h>
#include <stdatomic.h>

enum {
    PERFI_VIEWS = 8, /* reads at the same time; each is a place in LMDB's table
                        of readers, which all processes share */
    PERFI_READERS = 2048,
    PERFI_NAMED = 3,  /* databases */
    PERFI_NUMBER = 8, /* bytes before the entry in a value */
};

/** Relaxed counts that the holder of a slot alone writes. */
typedef struct perfi_view {
    _Atomic int taken; /* acquire when taken, release when given */
    MDB_txn *txn;
    _Atomic uint64_t hits, misses, filtered, expired, corrupt;
    char apart[72]; /* from the next one: no two share a line of the cache */
} perfi_view;

enum { PERFI_VIEW_FREE, PERFI_VIEW_TAKEN, PERFI_VIEW_GONE };

typedef struct perfi_database {
    MDB_env *env; /* NULL: closed */
    MDB_dbi entries, order, leases, dictionaries;
    perfi_state state;
    perfi_view slot[PERFI_VIEWS];
    uint64_t map_bytes; /* no more can be written */
    int folder;
    bool keep;
    uint64_t opened, resets; /* how often */
    void *retired; /* states that were left: somebody may hold their word */
    const perf_allocator *allocator;
} perfi_database;

/** Open what the folder holds, or begin anew. */
perf_err perfi_database_open(perfi_database *d, uint64_t max_bytes, char *why);

/** Nobody reads any more from when this returns.
 *  @param last  the process has no other use for it: it is left as clean */
void perfi_database_close(perfi_database *d, bool last);

/** Make the Bloom filter anew from what the database holds. Returns LMDB's
 *  error. */
int perfi_database_refill(perfi_database *d);

/** Unmap what readers of the word may still have looked at. */
void perfi_database_free(perfi_database *d);

/** Whether LMDB's error means that the file is damaged. */
bool perfi_is_damage(int rc);
perf_err perfi_error_of_lmdb(int rc);

/** Have it moved away by whoever looks next. */
void perfi_database_poison(perfi_database *d);

static inline bool
perfi_database_poisoned(const perfi_database *d)
{
    return atomic_load_explicit(&d->state.header->poisoned,
                                memory_order_acquire);
}

/** A slot for a read; NULL: the database is closed. */
perfi_view *perfi_view_take(perfi_database *d);

/** Renew its transaction. @return false: it cannot be read. */
bool perfi_view_begin(perfi_database *d, perfi_view *slot);
void perfi_view_end(perfi_view *slot);
void perfi_view_give(perfi_view *slot);

static inline void
perfi_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(
        counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
        memory_order_relaxed);
}

/** Is it neither expired nor invalidated? */
struct perf_entry;
bool perfi_is_valid(const perfi_state *s, const struct perf_entry *entry,
                    uint64_t now_ms);
#endif
