/* client.h - a client: what its users' threads and its I/O thread share.
 *
 * The counters belong to the I/O thread, except those that submit() counts.
 * `lock` is held for a few instructions: while the breaker is looked at, or the
 * last error copied. (And once, while the thread is started.) */
#ifndef PERFI_REDIS_CLIENT_H
#define PERFI_REDIS_CLIENT_H
#include "../../metrics/counters.h"
#include "breaker.h"
#include "changes.h"
#include "settings.h"

#include <libperf/histogram.h>
#include <sched.h>

typedef struct perfi_io perfi_io;

struct perf_redis {
    const perf_allocator *allocator;
    perfi_settings *settings;
    perf_redis *next, **link; /* in the list of clients: redis.c */
    _Atomic(perfi_io *) io;   /* NULL until the first command; release */
    _Atomic uint32_t lock;
    bool closed;                    /* under the lock */
    perfi_breaker breaker;          /* under the lock */
    char error[128];                /* under the lock */
    _Atomic uint32_t breaker_state; /* its copy; relaxed: a hint */
    _Atomic uint32_t connected, tracking;
    _Atomic uint64_t accepted, refused;
    _Atomic uint64_t queue_bytes; /* of tickets that the I/O thread holds */
    perfi_counter replies, errors, timeouts, unreachable, connects, dial_errors,
        losses, writes, bytes_out, bytes_in;
    perf_histogram *latency;
    perfi_changes changes;
};

static inline void
perfi_redis_lock(perf_redis *r)
{
    for (int i = 0; /* acquire: pairs with the release of unlock */
         atomic_exchange_explicit(&r->lock, 1, memory_order_acquire); i++)
        if (i % 64 == 63)
            sched_yield();
}

static inline void
perfi_redis_unlock(perf_redis *r)
{
    atomic_store_explicit(&r->lock, 0, memory_order_release);
}

/** Whether a command may pass. */
bool perfi_redis_admit_at(perf_redis *r, uint64_t now_ns);
void perfi_redis_succeed(perf_redis *r);
void perfi_redis_fail_at(perf_redis *r, uint64_t now_ns);
void perfi_redis_say(perf_redis *r, const char error[128]);

#endif
