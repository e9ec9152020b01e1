/* io.c - the loop: take what was submitted, write, wait, read.
 *
 * The clock is read once a turn. Everything that may take time is a dial's
 * (dial.c); here only poll() waits.
 *
 * Waking a thread costs more than everything else a command needs. So it is
 * woken only when it sleeps; for a moment after each write, while replies are
 * on their way, it is not said to: what is submitted then goes together, when
 * a reply or the end of the moment wakes it. Where several threads ask at once
 * again and again, it waits for most of them even if nothing is on its way. */
#define _GNU_SOURCE /* ppoll() */
#include "io.h"

#include "thread.h"

#include <libperf/clock.h>
#include <poll.h>
#include <time.h>

enum {
    CROWD = 3,        /* threads */
    PAUSE_NS = 100000 /* for which a crowd is waited for */
};

/* ---- the loop ---- */

/* Lies where a ticket was: nobody takes any more. */
static perf_redis_ticket closed;

/* @param rest  NULL, or &closed: for the last time */
static void
take_submitted(perfi_io *io, perf_redis_ticket *rest)
{
    /* acquire: pairs with perfi_io_submit() */
    perf_redis_ticket *t =
        atomic_exchange_explicit(&io->submitted, rest, memory_order_acquire);
    perf_redis_ticket *oldest = NULL;
    atomic_store_explicit(&io->come, 0, memory_order_relaxed);
    while (t) {
        perf_redis_ticket *older = t->next;
        t->next = oldest;
        oldest = t;
        t = older;
    }
    while (oldest) {
        perf_redis_ticket *later = oldest->next;
        perfi_flight_add(&io->flight, oldest);
        oldest = later;
    }
}

static struct pollfd
pollfd_of(const redisContext *c)
{
    if (!c)
        return (struct pollfd){.fd = -1};
    short write = sdslen(c->obuf) ? POLLOUT : 0;
    return (struct pollfd){.fd = c->fd, .events = (short)(POLLIN | write)};
}

static int
poll_until(struct pollfd *fds, nfds_t n, uint64_t due, uint64_t now_ns)
{
    uint64_t ns = due > now_ns ? due - now_ns : 0;
#ifdef __linux__
    struct timespec t = {.tv_sec = (time_t)(ns / 1000000000),
                         .tv_nsec = (long)(ns % 1000000000)};
    return ppoll(fds, n, due == UINT64_MAX ? NULL : &t, NULL);
#else
    uint64_t ms = ns / 1000000 + (ns % 1000000 != 0);
    return poll(fds, n, ms < 60000 ? (int)ms : 60000);
#endif
}

/* Until when whoever submits something does not wake us. */
static uint64_t
gather_until(perfi_io *io, uint64_t now_ns)
{
    bool crowd = !io->flight.sent.first && io->crowd >= CROWD * 16;
    atomic_store_explicit(&io->awaited, crowd ? io->crowd / 16 : 0,
                          memory_order_relaxed);
    if (io->flight.sent.first)
        return io->gather_ns;
    return crowd && now_ns < io->gather_ns + PAUSE_NS ? now_ns + PAUSE_NS : 0;
}

/* Until when to sleep. */
static uint64_t
fall_asleep(perfi_io *io, uint64_t now_ns)
{
    uint64_t due = io->again ? now_ns : perfi_link_due_ns(io);
    uint64_t until = gather_until(io, now_ns);
    if (now_ns < until)
        return until < due ? until : due;
    /* seq_cst: either perfi_io_submit() sees that we sleep, or we see what it
     * has pushed */
    atomic_store_explicit(&io->asleep, true, memory_order_seq_cst);
    return atomic_load_explicit(&io->submitted, memory_order_seq_cst) ? now_ns
                                                                      : due;
}

/* Returns the time at which it woke. */
static uint64_t
wait(perfi_io *io, uint64_t now_ns)
{
    struct pollfd fds[] = {{.fd = io->wake.read, .events = POLLIN},
                           pollfd_of(io->commands.c),
                           pollfd_of(io->listener.c)};
    bool again = io->again;
    uint64_t due = fall_asleep(io, now_ns);
    int ready = poll_until(fds, 3, due, now_ns);
    atomic_store_explicit(&io->asleep, false, memory_order_relaxed);
    io->again = false;
    now_ns = perf_clock_now_ns();
    if (ready < 0)
        return now_ns;
    if (fds[0].revents)
        perfi_wake_clear(&io->wake);
    if (fds[1].revents & ~POLLOUT || again)
        perfi_link_read_at(io, &io->commands, now_ns);
    if (fds[2].revents & ~POLLOUT || again)
        perfi_link_read_at(io, &io->listener, now_ns);
    return now_ns;
}

static void
end(perfi_io *io, uint64_t now_ns)
{
    perfi_flight_fail_sent_at(&io->flight, PERF_ERR_CLOSED, now_ns);
    perfi_flight_fail_todo_at(&io->flight, PERF_ERR_CLOSED, now_ns);
    perfi_flight_wake(&io->flight);
    perfi_link_end(io);
}

static void *
run(void *arg)
{
    perfi_io *io = arg;
    uint64_t now_ns = perf_clock_now_ns();
    for (;;) {
        /* acquire: pairs with perfi_io_end_blocking() */
        bool stop = atomic_load_explicit(&io->stop, memory_order_acquire);
        take_submitted(io, stop ? &closed : NULL);
        if (stop)
            break;
        perfi_flight_expire_at(&io->flight, now_ns);
        perfi_link_beat_at(io, now_ns);
        perfi_link_connect_at(io, now_ns);
        perfi_link_write_at(io, now_ns);
        perfi_flight_wake(&io->flight);
        now_ns = wait(io, now_ns);
    }
    end(io, now_ns);
    return NULL;
}

/* ---- from other threads ---- */

perf_err
perfi_io_start(perf_redis *r, perfi_io **out)
{
    *out = NULL;
    perfi_io *io = r->allocator->alloc(sizeof *io, r->allocator->ctx);
    if (!io)
        return PERF_ERR_NOMEM;
    io->client = io->flight.client = r;
    io->flight.deadline_ns = UINT64_MAX;
    io->backoff = r->breaker.backoff;
    io->backoff.random ^= (uint64_t)getpid() << 32; /* a child's is another */
    atomic_init(&io->commands.fd, -1);
    atomic_init(&io->listener.fd, -1);
    if (perfi_wake_open(&io->wake)) {
        if (perfi_thread_start(&io->thread, run, io)) {
            *out = io;
            return PERF_OK;
        }
        perfi_wake_close(&io->wake);
    }
    r->allocator->free(io, sizeof *io, r->allocator->ctx);
    return PERF_ERR_SYSTEM;
}

bool
perfi_io_submit(perfi_io *io, perf_redis_ticket *t)
{
    perf_redis_ticket *top =
        atomic_load_explicit(&io->submitted, memory_order_relaxed);
    do { /* release: pairs with take_submitted() */
        if (top == &closed)
            return false;
        t->next = top;
    } while (!atomic_compare_exchange_weak_explicit(
        &io->submitted, &top, t, memory_order_seq_cst, memory_order_relaxed));
    bool asleep =
        atomic_load_explicit(&io->asleep, memory_order_seq_cst) &&
        atomic_exchange_explicit(&io->asleep, false, memory_order_seq_cst);
    uint32_t come =
        1 + atomic_fetch_add_explicit(&io->come, 1, memory_order_relaxed);
    if (asleep ||
        come == atomic_load_explicit(&io->awaited, memory_order_relaxed))
        perfi_wake_up(io->wake.write);
    return true;
}

void
perfi_io_end_blocking(perfi_io *io)
{
    atomic_store_explicit(&io->stop, true, memory_order_release);
    perfi_wake_up(io->wake.write);
    pthread_join(io->thread, NULL);
}

void
perfi_io_free(perfi_io *io)
{
    const perf_allocator *a = io->client->allocator;
    perfi_wake_close(&io->wake);
    a->free(io, sizeof *io, a->ctx);
}

void
perfi_io_abandon(perfi_io *io)
{
    int fds[] = {atomic_load_explicit(&io->commands.fd, memory_order_relaxed),
                 atomic_load_explicit(&io->listener.fd, memory_order_relaxed)};
    for (int i = 0; i < 2; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    perfi_wake_close(&io->wake);
}
