/* ticket.h - commands on their way, and ports where they arrive.
 *
 * A ticket is held by those who may still look at it: the I/O thread, whoever
 * submitted it, a port. The I/O thread alone makes it done, once. Afterwards
 * its replies are for reading; those that come too late are dropped.
 * A ticket on its way holds its port; one that has arrived does not. */
#ifndef PERFI_TICKET_H
#define PERFI_TICKET_H
#include "wake.h"

#include <libperf/redis.h>
#include <pthread.h>
#include <stdatomic.h>

struct perf_redis_ticket {
    perf_redis_ticket *next;         /* the I/O thread's: queue, in flight */
    perf_redis_ticket *next_arrived; /* the port's */
    const perf_allocator *allocator;
    perf_redis_port *port; /* the I/O thread's */
    uint64_t tag;
    uint64_t submitted_ns, deadline_ns;
    _Atomic uint32_t holders;
    uint32_t forks;             /* perfi_redis_forks at its birth */
    uint32_t expected, arrived; /* replies */
    size_t wire_size, written;
    size_t bytes; /* of this block */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool internal;    /* a heartbeat: nobody's, not counted */
    atomic_bool done; /* release: err and replies are there */
    perf_err err;
    perf_redis_reply **reply; /* in this block: `expected` */
    uint8_t *wire;            /* in this block */
};

struct perf_redis_port {
    const perf_allocator *allocator;
    perfi_wake wake;
    _Atomic uint32_t holders;
    uint32_t forks;
    _Atomic(perf_redis_ticket *) arrived; /* the latest first; release/acquire
                                             between I/O threads and taker */
    perf_redis_ticket *taken;             /* the taker's: the oldest first */
};

/** Grows in each child: what was made before belongs to the parent. */
extern _Atomic uint32_t perfi_redis_forks;

/** A ticket that `holders` hold. NULL: no memory. */
perf_redis_ticket *perfi_ticket_new(const perf_allocator *allocator,
                                    const void *wire, size_t size,
                                    size_t commands, uint32_t holders);

/** Make it done, and put it into its port, if it has one: that is to be woken,
 *  and dropped, by the caller; else NULL. */
perf_redis_port *perfi_ticket_finish(perf_redis_ticket *ticket, perf_err err);

/** It arrives: one of the ticket's holders is the port from now on. */
void perfi_port_put(perf_redis_port *port, perf_redis_ticket *ticket);
void perfi_port_hold(perf_redis_port *port);
void perfi_port_drop(perf_redis_port *port);

#endif
