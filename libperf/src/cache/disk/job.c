/* job.c - the bounded queue of a writer. A job is one block of memory that is
 * made outside of any lock. */
#include "job.h"

#include <sched.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define relax() _mm_pause()
#else
#define relax() ((void)0)
#endif

/* ---- a job ---- */

perfi_job *
perfi_job_make(const perf_allocator *a, perfi_job_kind kind,
               const uint8_t *digest, const void *bytes, size_t size)
{
    perfi_job *job = a->alloc(sizeof *job + size, a->ctx);
    if (!job)
        return NULL;
    atomic_init(&job->references, 1);
    job->kind = (uint8_t)kind;
    job->size = size;
    if (digest)
        memcpy(job->digest, digest, sizeof job->digest);
    if (size)
        memcpy(job->bytes, bytes, size);
    return job;
}

void
perfi_job_drop(const perf_allocator *a, perfi_job *job)
{
    if (job && atomic_fetch_sub_explicit(&job->references, 1,
                                         memory_order_acq_rel) == 1)
        a->free(job, sizeof *job + job->size, a->ctx);
}

/* ---- the lock: nobody sleeps or allocates with it ---- */

static void
lock(perfi_queue *q)
{
    for (unsigned i = 0;
         atomic_exchange_explicit(&q->lock, true, memory_order_acquire); i++) {
        if (i < 64)
            relax();
        else
            sched_yield();
    }
}

static void
unlock(perfi_queue *q)
{
    atomic_store_explicit(&q->lock, false, memory_order_release);
}

/* ---- the index ---- */

static bool
is_indexed(const perfi_job *job)
{
    return job->kind == PERFI_JOB_PUT || job->kind == PERFI_JOB_DELETE;
}

static perfi_job **
bucket_of(perfi_queue *q, const uint8_t digest[16])
{
    return &q->bucket[(digest[0] | digest[1] << 8) % PERFI_QUEUE_BUCKETS];
}

/* Where the job of a digest hangs, or would. */
static perfi_job **
place_of(perfi_queue *q, const uint8_t digest[16])
{
    perfi_job **at = bucket_of(q, digest);
    while (*at && memcmp((*at)->digest, digest, sizeof(*at)->digest) != 0)
        at = &(*at)->chain;
    return at;
}

/* In the place of an earlier one of its digest. */
static void
insert(perfi_queue *q, perfi_job *job)
{
    perfi_job **at = place_of(q, job->digest), *was = *at;
    job->chain = was ? was->chain : NULL;
    *at = job;
    if (was)
        atomic_store_explicit(&was->is_late, true, memory_order_relaxed);
    else
        atomic_fetch_add_explicit(&q->indexed, 1, memory_order_relaxed);
}

perfi_job *
perfi_queue_find(perfi_queue *q, const uint8_t digest[16])
{
    if (!atomic_load_explicit(&q->indexed, memory_order_acquire))
        return NULL;
    lock(q);
    perfi_job *job = *place_of(q, digest);
    if (job)
        atomic_fetch_add_explicit(&job->references, 1, memory_order_relaxed);
    unlock(q);
    return job;
}

/* ---- the queue ---- */

uint32_t
perfi_queue_add(perfi_queue *q, perfi_job *job)
{
    uint32_t count = 0;
    lock(q);
    /* what somebody waits for always has room: the waiting bound it */
    if (job->waited ||
        (q->count < q->room && job->size <= PERFI_QUEUE_BYTES - q->bytes)) {
        atomic_fetch_add_explicit(&job->references, 1, memory_order_relaxed);
        if (q->last)
            q->last->next = job;
        else
            q->first = job;
        q->last = job;
        if (is_indexed(job))
            insert(q, job);
        if (!job->waited)
            q->bytes += job->size;
        count = ++q->count;
    }
    unlock(q);
    return count;
}

perfi_job *
perfi_queue_take(perfi_queue *q, uint32_t count, uint64_t bytes)
{
    lock(q);
    perfi_job *first = q->first, *last = NULL;
    uint64_t sum = 0;
    for (perfi_job *job = first; job && count; job = job->next, count--) {
        sum += job->size;
        if (last && sum > bytes)
            break;
        if (!job->waited)
            q->bytes -= job->size;
        q->count--;
        last = job;
    }
    if (last) {
        q->first = last->next;
        last->next = NULL;
        if (!q->first)
            q->last = NULL;
    }
    unlock(q);
    return first;
}

void
perfi_queue_done(perfi_queue *q, perfi_job *job)
{
    if (is_indexed(job)) {
        lock(q);
        perfi_job **at = place_of(q, job->digest);
        if (*at == job) {
            *at = job->chain;
            /* release: who no longer finds it here finds it in the database;
             * pairs with the load in perfi_queue_find() */
            atomic_fetch_sub_explicit(&q->indexed, 1, memory_order_release);
        }
        unlock(q);
    }
    perfi_job_drop(q->allocator, job);
}

uint32_t
perfi_queue_count(perfi_queue *q)
{
    lock(q);
    uint32_t count = q->count;
    unlock(q);
    return count;
}
