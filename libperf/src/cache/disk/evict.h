/* evict.h - what goes when room is needed, and what has no use any more. */
#ifndef PERFI_DISK_EVICT_H
#define PERFI_DISK_EVICT_H
#include "batch.h"

/** The number that the next new entry gets. */
int perfi_next_number(MDB_txn *txn, perfi_database *d, uint64_t *out);

/** Pages that hold something, in bytes, and how many entries there are. */
void perfi_measure(MDB_txn *txn, perfi_database *d, uint64_t *used,
                   uint64_t *entries);

/** Whether max_bytes are not yet used. */
bool perfi_has_room(MDB_txn *txn, perfi_database *d);

/** How long the database file is. */
uint64_t perfi_file_bytes(const perfi_database *d);

/** Remove an entry whose value was just looked up. */
int perfi_remove(MDB_txn *txn, perfi_database *d, MDB_val *key,
                 const MDB_val *value);

/** Evict until at most so many percent are used, but not more than `most`. */
int perfi_make_room(MDB_txn *txn, perfi_database *d, const perfi_writes *w,
                    unsigned percent, unsigned most, uint64_t *next,
                    uint64_t now_ms, uint64_t *evicted);

/** Look at a few entries, going on where it was left; remove those that no
 *  reader will ever be given. */
int perfi_sweep_expired(MDB_txn *txn, perfi_database *d, uint64_t now_ms,
                        uint64_t *swept);
#endif
