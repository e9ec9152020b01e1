/* store.h - an open folder, which all who opened it in a process share. */
#ifndef PERFI_DISK_STORE_H
#define PERFI_DISK_STORE_H
#include "batch.h"

#include <pthread.h>
#include <sys/types.h>

typedef struct perfi_store {
    perfi_database database;
    perfi_queue queue;
    perfi_writes writes;
    _Atomic uint64_t refused;           /* relaxed; beside the writer's */
    _Atomic uint64_t own_invalidations; /* relaxed */
    /* the writer: writer.c */
    pthread_t thread;
    pthread_mutex_t lock; /* for the conditions and job->done */
    pthread_cond_t wake, done;
    _Atomic bool asleep; /* exchanged by both sides, acq_rel: the writer sees
                            the job, or who queued it sees it asleep */
    _Atomic uint32_t urgent; /* jobs that somebody waits for; relaxed */
    _Atomic bool stopping;   /* relaxed: `asleep` orders it */
    bool is_stuck;           /* it did not end in time, and is left */
    /* the registry: store.c */
    unsigned forks; /* of the process that opened it */
    dev_t device;
    ino_t inode;
    uint32_t opens, holders; /* not stopped, not freed */
    uint64_t max_bytes;
    struct perfi_store *next;
    const perf_allocator *allocator;
} perfi_store;

/** How often this process is a child. */
extern _Atomic unsigned perfi_forks;

/** Open the folder, or share what has it open. perfi_store_stop() and then
 *  perfi_store_free(), once for each. */
perf_err perfi_store_open(const perf_disk_config *config, char *why,
                          perfi_store **out);
void perfi_store_stop(perfi_store *s);
void perfi_store_free(perfi_store *s);

/* ---- writer.c ---- */

perf_err perfi_writer_start(perfi_store *s);

/** Everything is written when it returns, or it is stuck. */
void perfi_writer_stop(perfi_store *s);

/** Queue a job and give up the reference to it.
 *  Errors: PERF_ERR_FULL, PERF_ERR_CLOSED. */
perf_err perfi_writer_add(perfi_store *s, perfi_job *job);

/** The same, and wait until it is done. `*number` receives job->number. */
perf_err perfi_writer_wait(perfi_store *s, perfi_job *job, uint64_t timeout_ms,
                           uint64_t *number);

/** Have the writer look at the database: it is damaged. */
void perfi_writer_wake(perfi_store *s);

uint64_t perfi_wall_ms(void);
#endif
