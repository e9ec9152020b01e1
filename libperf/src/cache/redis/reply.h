/* reply.h - replies as trees of the caller's allocator, made by hiredis's
 * parser out of bytes that may be anything. */
#ifndef PERFI_REDIS_REPLY_H
#define PERFI_REDIS_REPLY_H
#include <hiredis/hiredis.h>
#include <libperf/redis.h>

/** What a parser needs to know: its `privdata`. */
typedef struct perfi_replies {
    const perf_allocator *allocator;
    size_t max_bytes; /* of one reply */
    size_t bytes;     /* of the one that is being read */
    perf_err err;     /* why one could not be made: RANGE, NOMEM */
} perfi_replies;

/** Let a parser that is between replies make ours from now on. */
void perfi_replies_attach(perfi_replies *r, redisReader *reader);

/** The next one that is complete; *out is NULL when there is none.
 *  Errors: PERF_ERR_CORRUPT, PERF_ERR_RANGE, PERF_ERR_NOMEM; the parser cannot
 *  be used any more. */
perf_err perfi_replies_next(perfi_replies *r, redisReader *reader,
                            perf_redis_reply **out);

/** NULL is allowed. */
void perfi_reply_free(perf_redis_reply *reply);

/** A string or status of exactly this text. */
bool perfi_reply_is(const perf_redis_reply *reply, const char *text);

#endif
