/* ticket.c - waiting for commands, one by one. */
#include "ticket.h"

#include "reply.h"

#include <libperf/clock.h>
#include <string.h>
#include <time.h>

_Atomic uint32_t perfi_redis_forks;

static void
prepare_wait(perf_redis_ticket *t)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

perf_redis_ticket *
perfi_ticket_new(const perf_allocator *allocator, const void *wire, size_t size,
                 size_t commands, uint32_t holders)
{
    size_t replies = commands * sizeof(perf_redis_reply *);
    size_t bytes = sizeof(perf_redis_ticket) + replies + size;
    perf_redis_ticket *t = allocator->alloc(bytes, allocator->ctx);
    if (!t)
        return NULL;
    t->allocator = allocator;
    t->bytes = bytes;
    t->expected = (uint32_t)commands;
    t->reply = (perf_redis_reply **)(t + 1);
    t->wire = (uint8_t *)(t + 1) + replies;
    t->wire_size = size;
    t->forks = atomic_load_explicit(&perfi_redis_forks, memory_order_relaxed);
    memcpy(t->wire, wire, size);
    /* relaxed: nobody else has it yet */
    atomic_store_explicit(&t->holders, holders, memory_order_relaxed);
    prepare_wait(t);
    return t;
}

/* In the child of a fork: made by the parent, whose I/O thread is not here. */
static bool
is_of_the_parent(const perf_redis_ticket *t)
{
    return t->forks !=
           atomic_load_explicit(&perfi_redis_forks, memory_order_relaxed);
}

perf_redis_port *
perfi_ticket_finish(perf_redis_ticket *t, perf_err err)
{
    pthread_mutex_lock(&t->lock);
    t->err = err;
    /* release: pairs with is_done(), which takes no lock */
    atomic_store_explicit(&t->done, true, memory_order_release);
    pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->lock);
    perf_redis_port *port = t->port;
    t->port = NULL;
    if (port)
        perfi_port_put(port, t);
    return port;
}

bool
perf_redis_is_done(const perf_redis_ticket *t, perf_err *err)
{
    if (!t)
        return false;
    bool done = atomic_load_explicit(&t->done, memory_order_acquire);
    if (!done && is_of_the_parent(t)) {
        if (err)
            *err = PERF_ERR_CLOSED;
        return true;
    }
    if (done && err)
        *err = t->err;
    return done;
}

static struct timespec
timespec_of(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / 1000000000),
                             .tv_nsec = (long)(ns % 1000000000)};
}

perf_err
perf_redis_wait_blocking(perf_redis_ticket *t, uint64_t timeout_ns)
{
    perf_err err = PERF_ERR_INVALID;
    if (!t || perf_redis_is_done(t, &err))
        return err;
    uint64_t until;
    bool bounded =
        timeout_ns != UINT64_MAX &&
        !__builtin_add_overflow(perf_clock_now_ns(), timeout_ns, &until) &&
        until < (uint64_t)INT64_MAX;
    struct timespec at = timespec_of(bounded ? until : 0);
    int timed_out = 0;
    pthread_mutex_lock(&t->lock);
    while (!perf_redis_is_done(t, &err) && !timed_out)
        timed_out = bounded ? pthread_cond_timedwait(&t->changed, &t->lock, &at)
                            : pthread_cond_wait(&t->changed, &t->lock);
    if (!perf_redis_is_done(t, &err))
        err = PERF_ERR_TIMEOUT;
    pthread_mutex_unlock(&t->lock);
    return err;
}

const perf_redis_reply *
perf_redis_reply_at(const perf_redis_ticket *t, size_t i)
{
    perf_err err = PERF_ERR_CLOSED;
    if (!perf_redis_is_done(t, &err) || err || i >= t->expected)
        return NULL;
    return t->reply[i];
}

void
perf_redis_release(perf_redis_ticket *t)
{
    /* acq_rel: the last one frees what the others have written */
    if (!t ||
        atomic_fetch_sub_explicit(&t->holders, 1, memory_order_acq_rel) != 1)
        return;
    if (t->port)
        perfi_port_drop(t->port);
    for (uint32_t i = 0; i < t->expected; i++)
        perfi_reply_free(t->reply[i]);
    pthread_cond_destroy(&t->changed);
    pthread_mutex_destroy(&t->lock);
    t->allocator->free(t, t->bytes, t->allocator->ctx);
}
