/* write.c - what the writer thread is asked for: entries, dictionaries, leases,
 * labels. */
#define _GNU_SOURCE
#include "handle.h"

#include <string.h>
#include <sys/mman.h>

static perf_err
refuse(perfi_store *s, perf_err err)
{
    if (err)
        atomic_fetch_add_explicit(&s->refused, 1, memory_order_relaxed);
    return err;
}

static perf_err
make_put(perfi_store *s, const uint8_t *digest, const void *entry, size_t size,
         perfi_job **out)
{
    if (size > s->max_bytes / 8)
        return PERF_ERR_RANGE;
    *out = perfi_job_make(s->allocator, PERFI_JOB_PUT, digest, entry, size);
    return *out ? PERF_OK : PERF_ERR_NOMEM;
}

perf_err
perf_disk_put(perf_disk *disk, const uint8_t *digest, const void *entry,
              size_t size)
{
    perfi_store *s = perfi_disk_store(disk);
    perfi_job *job;
    if (!digest || !entry || !size)
        return PERF_ERR_INVALID;
    if (!s)
        return PERF_ERR_CLOSED;
    perf_err err = make_put(s, digest, entry, size, &job);
    return refuse(s, err ? err : perfi_writer_add(s, job));
}

perf_err
perf_disk_put_blocking(perf_disk *disk, const uint8_t *digest,
                       const void *entry, size_t size, uint64_t timeout_ms)
{
    perfi_store *s = perfi_disk_store(disk);
    perfi_job *job;
    if (!digest || !entry || !size)
        return PERF_ERR_INVALID;
    if (!s)
        return PERF_ERR_CLOSED;
    perf_err err = make_put(s, digest, entry, size, &job);
    return err ? refuse(s, err) : perfi_writer_wait(s, job, timeout_ms, NULL);
}

perf_err
perf_disk_delete(perf_disk *disk, const uint8_t *digest)
{
    perfi_store *s = perfi_disk_store(disk);
    if (!digest)
        return PERF_ERR_INVALID;
    if (!s)
        return PERF_ERR_CLOSED;
    perfi_job *job =
        perfi_job_make(s->allocator, PERFI_JOB_DELETE, digest, NULL, 0);
    return refuse(s, job ? perfi_writer_add(s, job) : PERF_ERR_NOMEM);
}

/* A job that somebody waits for, and which may have bytes. */
static perf_err
wait_for(perf_disk *disk, perfi_job_kind kind, const void *bytes, size_t size,
         uint64_t number, uint64_t timeout_ms)
{
    perfi_store *s = perfi_disk_store(disk);
    if (!s)
        return PERF_ERR_CLOSED;
    perfi_job *job = perfi_job_make(s->allocator, kind, NULL, bytes, size);
    if (!job)
        return PERF_ERR_NOMEM;
    job->number = number;
    return perfi_writer_wait(s, job, timeout_ms, NULL);
}

perf_err
perf_disk_flush_blocking(perf_disk *disk, uint64_t timeout_ms)
{
    return disk ? wait_for(disk, PERFI_JOB_FLUSH, NULL, 0, 0, timeout_ms)
                : PERF_ERR_INVALID;
}

perf_err
perf_disk_put_dictionary_blocking(perf_disk *disk, uint32_t id,
                                  const void *bytes, size_t size,
                                  uint64_t timeout_ms)
{
    if (!disk || !bytes || !size)
        return PERF_ERR_INVALID;
    perfi_store *s = perfi_disk_store(disk);
    if (s && size > s->max_bytes / 8)
        return PERF_ERR_RANGE;
    return wait_for(disk, PERFI_JOB_DICTIONARY, bytes, size, id, timeout_ms);
}

/* ---- leases ---- */

perf_err
perf_disk_lease_blocking(perf_disk *disk, const uint8_t *digest,
                         uint64_t now_ms, uint64_t for_ms, uint64_t timeout_ms,
                         uint64_t *token)
{
    if (!digest || !token)
        return PERF_ERR_INVALID;
    *token = 0;
    perfi_store *s = perfi_disk_store(disk);
    if (!s)
        return PERF_ERR_CLOSED;
    perfi_job *job =
        perfi_job_make(s->allocator, PERFI_JOB_LEASE, digest, NULL, 0);
    if (!job)
        return PERF_ERR_NOMEM;
    job->now_ms = now_ms;
    job->until_ms = for_ms > UINT64_MAX - now_ms ? UINT64_MAX : now_ms + for_ms;
    return perfi_writer_wait(s, job, timeout_ms, token);
}

perf_err
perf_disk_release(perf_disk *disk, const uint8_t *digest, uint64_t token)
{
    perfi_store *s = perfi_disk_store(disk);
    if (!digest || !token)
        return PERF_ERR_INVALID;
    if (!s)
        return PERF_ERR_CLOSED;
    perfi_job *job =
        perfi_job_make(s->allocator, PERFI_JOB_RELEASE, digest, NULL, 0);
    if (!job)
        return PERF_ERR_NOMEM;
    job->number = token;
    return perfi_writer_add(s, job);
}

/* ---- labels ---- */

/* On the medium: the page of each. */
static bool
sync_label(perfi_state *state, uint64_t label)
{
    uintptr_t at = (uintptr_t)&state->label[label % PERFI_STATE_LABELS];
    uintptr_t page = at & ~(uintptr_t)(PERFI_STATE_PAGE - 1);
    return !msync((void *)page, PERFI_STATE_PAGE, MS_SYNC);
}

perf_err
perf_disk_invalidate_blocking(perf_disk *disk, const uint64_t *labels,
                              size_t count, uint64_t now_ms)
{
    if (!disk || (count && !labels))
        return PERF_ERR_INVALID;
    perfi_store *s = perfi_disk_store(disk);
    perfi_view *slot = s ? perfi_view_take(&s->database) : NULL;
    if (!slot)
        return PERF_ERR_CLOSED;
    perfi_state *state = &s->database.state;
    for (size_t i = 0; i < count; i++)
        perfi_state_invalidate(state, labels[i], now_ms);
    if (count) {
        atomic_fetch_add_explicit(&s->own_invalidations, 1,
                                  memory_order_relaxed);
        atomic_fetch_add_explicit(&state->header->invalidations, 1,
                                  memory_order_release);
        perfi_state_bump(state);
    }
    perf_err err = PERF_OK;
    for (size_t i = 0; i < count; i++)
        if (!sync_label(state, labels[i]))
            err = PERF_ERR_SYSTEM;
    perfi_view_give(slot);
    return err;
}

uint64_t
perf_disk_label_ms(const perf_disk *disk, uint64_t label)
{
    perfi_store *s = perfi_disk_store(disk);
    perfi_view *slot = s ? perfi_view_take(&s->database) : NULL;
    if (!slot)
        return 0;
    uint64_t ms = perfi_state_label_ms(&s->database.state, label);
    perfi_view_give(slot);
    return ms;
}
