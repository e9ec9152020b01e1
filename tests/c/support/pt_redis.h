/* pt_redis.h - a real Redis server on a unix socket in a folder of its own, and
 * one that is none: it answers with the bytes that a test gives it. */
#ifndef PT_REDIS_H
#define PT_REDIS_H
#include "pt.h"

#include <libperf/redis.h>

typedef struct pt_server {
    int pid;
    char folder[PT_PATH];
    char path[PT_PATH + 16]; /* of the socket */
} pt_server;

/** Start one; it is ready. Skips the test when there is no redis-server.
 *  @param arguments  more of them, NULL at the end; may be NULL */
void pt_server_start(pt_server *s, const char *const *arguments);

/** Start it again, on the same socket. */
void pt_server_restart(pt_server *s, const char *const *arguments);

void pt_server_signal(const pt_server *s, int signal);

/** SIGKILL, and wait for its end. */
void pt_server_kill(pt_server *s);

/** Listen on a unix socket; returns the descriptor. */
int pt_listen(char path[PT_PATH + 16]);

/** A client with the defaults, of the server at `path`. */
perf_redis_config pt_redis_config(const char *path);
perf_redis *pt_redis_open(const perf_redis_config *config);

/** Send the words of a text as one command; NULL when it is refused, and then
 *  *err says why (NULL: it must not be). */
perf_redis_ticket *pt_send(perf_redis *r, const char *words,
                           const perf_redis_options *options, perf_err *err);
perf_redis_ticket *pt_send_many(perf_redis *r, size_t argc,
                                const char *const *argv, const size_t *sizes,
                                const perf_redis_options *options,
                                perf_err *err);

/** Send it, wait, and give the reply as text: "OK", "(nil)", "(3)",
 *  "-WRONGTYPE ...", "[a,b]", "!PERF_ERR_TIMEOUT". Lives until the next call in
 *  this thread. */
const char *pt_ask(perf_redis *r, const char *words);

/** The same with 10 s of time, again and again until it is not an error of the
 *  connection. */
const char *pt_ask_patiently(perf_redis *r, const char *words);

perf_redis_stats pt_redis_stats(const perf_redis *r);
#endif
