/* batch.h - writing jobs into the database, and making room for them. */
#ifndef PERFI_DISK_BATCH_H
#define PERFI_DISK_BATCH_H
#include "database.h"
#include "job.h"

enum { PERFI_BATCH_JOBS = 64, PERFI_BATCH_MS = 5 };

/** What a writer counts; relaxed. */
typedef struct perfi_writes {
    _Atomic uint64_t puts, deletes, refused, evicted, swept, commits, commit_ns,
        rebuilds;
    uint64_t ceiling; /* when the file system is full: what there is room
                         for; else UINT64_MAX */
    uint64_t process; /* whose changes they are */
    uint64_t last_token;
} perfi_writes;

/** Write the jobs (perfi_job.next), and say of each what became of it.
 *  @return  MDB_SUCCESS, or an error that says the database is damaged: then
 *           none was written */
int perfi_batch_write(perfi_database *d, perfi_writes *w, perfi_job *jobs,
                      uint64_t now_ms);

/** Make the Bloom filter anew if too much in it is gone. Returns as above. */
int perfi_batch_refill(perfi_database *d, perfi_writes *w);
#endif
