/* flight.h - the commands of one connection: those that wait to be written, and
 * those that wait for replies, in the order in which they will come.
 *
 * A command whose time is up is done, but stays where it is once a byte of it
 * was written: its replies will come, and are nobody else's. */
#ifndef PERFI_FLIGHT_H
#define PERFI_FLIGHT_H
#include "client.h"
#include "ticket.h"

#include <hiredis/hiredis.h>

typedef struct perfi_list {
    perf_redis_ticket *first, *last;
} perfi_list;

typedef struct perfi_flight {
    perf_redis *client;
    perfi_list todo, sent;
    perf_redis_ticket *writing; /* the last one sent, if not all of it was */
    uint64_t deadline_ns;       /* no command's is earlier */
    perf_redis_port *touched;   /* something arrived there: to be woken */
} perfi_flight;

/** Queue a ticket, which is the flight's from now on. */
void perfi_flight_add(perfi_flight *f, perf_redis_ticket *ticket);

/** Append to the connection's buffer what it has room for. Returns how many
 *  tickets were begun; -1: no memory. */
long perfi_flight_fill(perfi_flight *f, redisContext *c);

/** The next reply, which is the flight's from now on. false: there is no
 *  command that it can be a reply to. */
bool perfi_flight_reply_at(perfi_flight *f, perf_redis_reply *reply,
                           uint64_t now_ns);

/** Those whose time is up are done. */
void perfi_flight_expire_at(perfi_flight *f, uint64_t now_ns);

/** All that were sent are done, with `err`; when that is one that only the
 *  oldest of them can have caused, the others are with UNREACHABLE. */
void perfi_flight_fail_sent_at(perfi_flight *f, perf_err err, uint64_t now_ns);

/** All that were not sent are done. */
void perfi_flight_fail_todo_at(perfi_flight *f, perf_err err, uint64_t now_ns);

/** Tell event loops what has arrived. */
void perfi_flight_wake(perfi_flight *f);

#endif
