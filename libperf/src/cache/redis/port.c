/* port.c - where tickets arrive for an event loop.
 *
 * I/O threads push onto a stack without a lock; the taker takes all of it and
 * turns it round. A wake-up may come for what was taken already, never too
 * late: it follows the push, and the taker clears before it takes. */
#include "ticket.h"

perf_err
perf_redis_port_create(const perf_allocator *allocator, perf_redis_port **out)
{
    if (!out)
        return PERF_ERR_INVALID;
    *out = NULL;
    if (!allocator)
        allocator = perf_allocator_libc();
    perf_redis_port *port = allocator->alloc(sizeof *port, allocator->ctx);
    if (!port)
        return PERF_ERR_NOMEM;
    if (!perfi_wake_open(&port->wake)) {
        allocator->free(port, sizeof *port, allocator->ctx);
        return PERF_ERR_SYSTEM;
    }
    port->allocator = allocator;
    port->forks =
        atomic_load_explicit(&perfi_redis_forks, memory_order_relaxed);
    atomic_store_explicit(&port->holders, 1, memory_order_relaxed);
    *out = port;
    return PERF_OK;
}

void
perfi_port_hold(perf_redis_port *port)
{
    atomic_fetch_add_explicit(&port->holders, 1, memory_order_relaxed);
}

void
perfi_port_put(perf_redis_port *port, perf_redis_ticket *ticket)
{
    perf_redis_ticket *top =
        atomic_load_explicit(&port->arrived, memory_order_relaxed);
    do /* release: pairs with refill() */
        ticket->next_arrived = top;
    while (!atomic_compare_exchange_weak_explicit(&port->arrived, &top, ticket,
                                                  memory_order_release,
                                                  memory_order_relaxed));
}

/* Move what has arrived to `taken`, which is empty. */
static void
refill(perf_redis_port *port)
{
    perf_redis_ticket *t =
        atomic_exchange_explicit(&port->arrived, NULL, memory_order_acquire);
    while (t) {
        perf_redis_ticket *older = t->next_arrived;
        t->next_arrived = port->taken;
        port->taken = t;
        t = older;
    }
}

static perf_redis_ticket *
take(perf_redis_port *port)
{
    if (!port->taken)
        refill(port);
    perf_redis_ticket *t = port->taken;
    if (t)
        port->taken = t->next_arrived;
    return t;
}

int
perf_redis_port_fd(const perf_redis_port *port)
{
    return port ? port->wake.read : -1;
}

size_t
perf_redis_port_take(perf_redis_port *port, perf_redis_done *out, size_t n)
{
    /* in a child the descriptor is the parent's as well */
    if (!port || !out ||
        port->forks !=
            atomic_load_explicit(&perfi_redis_forks, memory_order_relaxed))
        return 0;
    if (!port->taken)
        perfi_wake_clear(&port->wake);
    size_t count = 0;
    for (perf_redis_ticket *t; count < n && (t = take(port)); count++)
        out[count] =
            (perf_redis_done){t, t->tag, t->err, t->err ? 0 : t->expected};
    return count;
}

void
perfi_port_drop(perf_redis_port *port)
{
    if (atomic_fetch_sub_explicit(&port->holders, 1, memory_order_acq_rel) != 1)
        return;
    for (perf_redis_ticket *t; (t = take(port));)
        perf_redis_release(t);
    perfi_wake_close(&port->wake);
    port->allocator->free(port, sizeof *port, port->allocator->ctx);
}

void
perf_redis_port_close(perf_redis_port *port)
{
    if (port)
        perfi_port_drop(port);
}
