/* io.h - a client's thread and its connections. */
#ifndef PERFI_REDIS_IO_H
#define PERFI_REDIS_IO_H
#include "dial.h"
#include "flight.h"
#include "reply.h"

/* A connection, and whether it is alive. */
typedef struct perfi_line {
    redisContext *c; /* NULL: none */
    perfi_replies replies;
    uint64_t heard_ns; /* the last byte */
    uint64_t asked_ns; /* the PING that is not answered; 0: none is */
    _Atomic int fd;    /* the same as c's, for the child of a fork; -1 */
} perfi_line;

struct perfi_io {
    perf_redis *client;
    pthread_t thread;
    perfi_wake wake;
    _Atomic(perf_redis_ticket *) submitted; /* the latest first; release.
                                               a mark of io.c: no more */
    atomic_bool asleep; /* it has to be woken; seq_cst, see io.c */
    /* Heuristics, relaxed: how many were submitted since the thread looked, and
     * how many it waits for; 0: for none in particular */
    _Atomic uint32_t come, awaited;
    atomic_bool stop;
    /* the thread's own */
    perfi_flight flight;
    perfi_line commands, listener;
    perfi_dial *dial;
    uint64_t dial_until_ns; /* then it is hung up */
    uint64_t redial_ns;     /* not earlier */
    uint64_t since_ns;      /* connected */
    uint32_t crowd; /* tickets that went together lately, at most; times 16 */
    uint64_t gather_ns; /* until then what comes may wait for company */
    perfi_backoff backoff;
    bool was_connected;
    bool again; /* there may be more to read */
};

/* ---- link.c: the connections, for the thread ---- */

/** Connect, if it is time to and there is a reason. */
void perfi_link_connect_at(perfi_io *io, uint64_t now_ns);

/** Ask quiet connections whether they are alive. */
void perfi_link_beat_at(perfi_io *io, uint64_t now_ns);

/** Write what can be written. */
void perfi_link_write_at(perfi_io *io, uint64_t now_ns);

/** Read what has come. */
void perfi_link_read_at(perfi_io *io, perfi_line *line, uint64_t now_ns);

/** When the next thing is due that no descriptor tells about. */
uint64_t perfi_link_due_ns(const perfi_io *io);

void perfi_link_end(perfi_io *io);

/* ---- io.c ---- */

/** Start a thread.  Errors: PERF_ERR_NOMEM, PERF_ERR_SYSTEM. */
perf_err perfi_io_start(perf_redis *client, perfi_io **out);

/** Hand over a ticket, which the thread holds from now on; false: it has ended,
 *  and takes no more. */
bool perfi_io_submit(perfi_io *io, perf_redis_ticket *ticket);

/** End it, and wait for its end. */
void perfi_io_end_blocking(perfi_io *io);

/** Free it, once it has ended. */
void perfi_io_free(perfi_io *io);

/** In the child of a fork, where the thread is not: close its descriptors. What
 *  it was doing is unknown, so its memory is left alone. */
void perfi_io_abandon(perfi_io *io);

#endif
