/* breaker.h - when to try a server that does not answer.
 *
 * Model:    a backoff is a wait that doubles up to a bound, of which a random
 *           part up to a half is left off, so that clients do not come back
 *           all at once.
 *           A breaker is closed until `limit` commands in a row fail; then it
 *           is open, and refuses, for a backoff's time; then one command, the
 *           probe, shows whether to close it or to wait longer. A probe that
 *           nothing is heard of is followed by another one.
 * Threads:  one at a time; callers lock. */
#ifndef PERFI_BREAKER_H
#define PERFI_BREAKER_H
#include <libperf/redis.h>

typedef struct perfi_backoff {
    uint64_t min_ns, max_ns;
    uint64_t wait_ns; /* the next one, whole; 0: min_ns */
    uint64_t random;
} perfi_backoff;

/** How long to wait this time; the next wait is twice as long. */
uint64_t perfi_backoff_next(perfi_backoff *b);
void perfi_backoff_reset(perfi_backoff *b);

typedef struct perfi_breaker {
    perfi_backoff backoff;
    uint64_t retry_ns; /* unless closed: when the next probe may pass */
    uint64_t opens;    /* how often it opened */
    uint32_t limit;    /* at least 1 */
    uint32_t failures; /* in a row */
    perf_redis_breaker state;
} perfi_breaker;

/** Whether a command may pass at `now_ns`. Unless it is closed, that command
 *  is the probe. */
bool perfi_breaker_admit_at(perfi_breaker *b, uint64_t now_ns);

/** A command was answered in time, or a connection made. */
void perfi_breaker_succeed(perfi_breaker *b);

/** A command was not answered in time, or could not be sent. */
void perfi_breaker_fail_at(perfi_breaker *b, uint64_t now_ns);

#endif
