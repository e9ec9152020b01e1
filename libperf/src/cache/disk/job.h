/* job.h - what waits to be written, in order, and found by its digest until it
 * is. */
#ifndef PERFI_DISK_JOB_H
#define PERFI_DISK_JOB_H
#include <libperf/disk.h>
#include <stdatomic.h>

typedef enum perfi_job_kind {
    PERFI_JOB_PUT,
    PERFI_JOB_DELETE,
    PERFI_JOB_LEASE,
    PERFI_JOB_RELEASE,
    PERFI_JOB_DICTIONARY,
    PERFI_JOB_FLUSH,
} perfi_job_kind;

typedef struct perfi_job {
    struct perfi_job *next;      /* in the queue */
    struct perfi_job *chain;     /* in the index */
    _Atomic uint32_t references; /* acq_rel when one goes */
    uint8_t kind;                /* perfi_job_kind */
    _Atomic bool is_late; /* a later job has the same digest; relaxed: who
                             misses it only writes for nothing */
    bool waited;          /* somebody wants to know the result */
    bool done;            /* with the store's lock */
    perf_err result;      /* from then on */
    uint8_t digest[16];
    uint64_t number;           /* a lease's token, a dictionary's id */
    uint64_t now_ms, until_ms; /* of a lease */
    size_t size;
    unsigned char bytes[];
} perfi_job;

enum { PERFI_QUEUE_BUCKETS = 1024, PERFI_QUEUE_BYTES = 32 << 20 };

typedef struct perfi_queue {
    _Atomic bool lock; /* acquire and release; held for a few instructions */
    _Atomic uint32_t indexed; /* jobs in the index; relaxed, but for the writer
                                 taking them out after the commit: release */
    perfi_job *first, *last;
    uint32_t count, room;
    uint64_t bytes;
    perfi_job *bucket[PERFI_QUEUE_BUCKETS];
    const perf_allocator *allocator;
} perfi_queue;

/** A job with one reference and a copy of the bytes; NULL: no memory. */
perfi_job *perfi_job_make(const perf_allocator *allocator, perfi_job_kind kind,
                          const uint8_t *digest, const void *bytes,
                          size_t size);
void perfi_job_drop(const perf_allocator *allocator, perfi_job *job);

/** Append; the queue takes a reference of its own.
 *  @return  how many wait now; 0: there is no room */
uint32_t perfi_queue_add(perfi_queue *q, perfi_job *job);

/** Take up to `count` jobs, or those that come to `bytes`. They stay in the
 *  index. */
perfi_job *perfi_queue_take(perfi_queue *q, uint32_t count, uint64_t bytes);

/** Out of the index; the queue's reference goes. */
void perfi_queue_done(perfi_queue *q, perfi_job *job);

/** The latest entry or removal of a digest that waits, with a reference; NULL:
 *  none. */
perfi_job *perfi_queue_find(perfi_queue *q, const uint8_t digest[16]);

uint32_t perfi_queue_count(perfi_queue *q);
#endif
