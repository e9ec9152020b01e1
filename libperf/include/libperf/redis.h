/* redis.h - commands to a Redis server, from any thread, that never wait.
 *
 * Model:    a client has one I/O thread and one connection. Commands, in the
 *           server's own wire form, are handed in with a bound on how long
 *           an answer is worth having; the thread writes what has gathered
 *           as one piece, and sorts the replies out. A command's replies
 *           come with its *ticket*: waited for, or through a *port*, a file
 *           descriptor for an event loop, which gathers many of them into
 *           one wake-up.
 *           A server that is away is not an error of the client. The thread
 *           starts with the first command; it connects, and connects again,
 *           by itself. After `failures` commands in a row without a reply
 *           the *breaker* opens: commands are refused at once, and one of
 *           them is let through from time to time to see.
 *           A second connection hears which keys other clients change under
 *           the prefixes `track` (CLIENT TRACKING, Redis 6), for programs
 *           that keep copies.
 *           Every command must have one reply, at once: those that subscribe,
 *           wait, or change the connection are refused.
 * Library:  hiredis. Without it create() gives PERF_ERR_UNSUPPORTED; TLS needs
 *           hiredis_ssl as well.
 * Threads:  any, unless said otherwise.
 * Fork:     the child's first command starts a thread and connections of its
 *           own; the parent's go on. Tickets and ports are the parent's: in
 *           the child they are over (PERF_ERR_CLOSED).
 * Units:    nanoseconds of CLOCK_MONOTONIC.
 * Memory:   a client 130 KB; a command 200 bytes and its text, until it is
 *           answered; its replies until the ticket is released. What the
 *           sockets need is hiredis's, from libc. */
#ifndef LIBPERF_REDIS_H
#define LIBPERF_REDIS_H
#include <libperf/allocator.h>

PERF_BEGIN_DECLS

typedef struct perf_redis perf_redis;
typedef struct perf_redis_ticket perf_redis_ticket;
typedef struct perf_redis_port perf_redis_port;

enum { PERF_REDIS_CONFIG_VERSION = 1, PERF_REDIS_TRACK_MAX = 4 };

/** Settings; call perf_redis_config_init() first. Texts are copied. */
typedef struct perf_redis_config {
    uint32_t size;        /* sizeof this struct */
    uint32_t version;     /* PERF_REDIS_CONFIG_VERSION */
    const char *host;     /* default "localhost" */
    const char *path;     /* of a unix socket, instead of host and port */
    const char *user;     /* NULL: none */
    const char *password; /* NULL: none */
    const char *name;     /* that CLIENT LIST shows; default "libperf" */
    uint32_t port;        /* 1..65535; default 6379 */
    uint32_t database;    /* default 0 */
    uint32_t failures;    /* in a row that open the breaker; default 5 */
    bool tls;
    const char *tls_ca;                      /* file; NULL: the system's */
    const char *tls_cert, *tls_key;          /* files; NULL: none */
    const char *tls_name;                    /* to ask for; NULL: the host */
    const char *track[PERF_REDIS_TRACK_MAX]; /* prefixes; the first NULL ends.
                                                None may begin another */
    uint64_t connect_timeout_ns;             /* default 1 s */
    uint64_t heartbeat_ns; /* quiet for so long: ask; again: lost. 2 s */
    uint64_t backoff_min_ns, backoff_max_ns; /* 100 ms, 5 s */
    uint64_t max_queue_bytes;        /* of commands not answered; 256 MiB */
    uint64_t max_reply_bytes;        /* of one reply; 512 MiB */
    uint64_t seed;                   /* of what is left to chance */
    const perf_allocator *allocator; /* NULL: libc */
} perf_redis_config;

/** Fill in every default.  @param size  sizeof(perf_redis_config). */
PERF_API void perf_redis_config_init(perf_redis_config *config, uint32_t size);

/** What this build can do: bit 0 Redis at all, bit 1 TLS. */
PERF_API uint32_t perf_redis_features(void);

/** Make a client. Nothing is connected yet.
 *  Errors: PERF_ERR_INVALID (no host, overlapping prefixes), PERF_ERR_VERSION,
 *  PERF_ERR_RANGE, PERF_ERR_NOMEM, PERF_ERR_UNSUPPORTED.
 *  Ownership: the caller's; perf_redis_destroy_blocking(). */
PERF_API perf_err perf_redis_create(const perf_redis_config *config,
                                    perf_redis **out);

/** End its thread and its connections; it waits for the thread, which takes no
 *  longer than a system call. Open tickets are done with PERF_ERR_CLOSED, and
 *  so is every submit() from then on. Closing twice, and NULL, is allowed.
 *  Threads: any; others may go on using the client. */
PERF_API void perf_redis_close_blocking(perf_redis *redis);

/** Close it and free it. Tickets and ports may go on. NULL is allowed.
 *  Threads: nobody else may be using the client. */
PERF_API void perf_redis_destroy_blocking(perf_redis *redis);

/* ---- commands ---- */

/** How many bytes a command takes on the wire; 0: no arguments.
 *  @param argv   argc pointers; NULL where the size is 0 */
PERF_API size_t perf_redis_command_size(size_t argc, const size_t *sizes);

/** Write it.  @param out  perf_redis_command_size() bytes
 *  Errors: PERF_ERR_INVALID, PERF_ERR_RANGE (`capacity` is less). */
PERF_API perf_err perf_redis_command_write(size_t argc, const void *const *argv,
                                           const size_t *sizes, void *out,
                                           size_t capacity);

typedef struct perf_redis_options {
    uint64_t timeout_ns;   /* 0: 50 ms */
    perf_redis_port *port; /* that the ticket comes through; NULL: none */
    uint64_t tag;          /* the caller's, comes with it */
} perf_redis_options;

/** Send commands, one after the other on the wire: they are one ticket.
 *  @param wire     any number of them, as perf_redis_command_write() makes
 *                  them; copied
 *  @param options  NULL: defaults
 *  @param out      the ticket, to be released; NULL: nobody asks how it went
 *  Errors: PERF_ERR_UNREACHABLE (the breaker is open), PERF_ERR_FULL
 *  (max_queue_bytes are waiting), PERF_ERR_NOMEM, PERF_ERR_CLOSED (the client
 *  is, or `port` was made before a fork), PERF_ERR_INVALID (not commands, or
 * refused ones), PERF_ERR_SYSTEM (no thread can be started). Cost: about 0.3
 * us, and a write to the thread when it sleeps. */
PERF_API perf_err perf_redis_submit(perf_redis *redis, const void *wire,
                                    size_t size,
                                    const perf_redis_options *options,
                                    perf_redis_ticket **out);

/* ---- tickets ---- */

/** Append-only. */
typedef enum perf_redis_type {
    PERF_REDIS_NIL = 0,
    PERF_REDIS_STRING = 1,
    PERF_REDIS_STATUS = 2, /* "OK" */
    PERF_REDIS_ERROR = 3,  /* "WRONGTYPE Operation against ..." */
    PERF_REDIS_INTEGER = 4,
    PERF_REDIS_ARRAY = 5,
} perf_redis_type;

typedef struct perf_redis_reply {
    uint32_t type;        /* perf_redis_type */
    uint32_t count;       /* of `element`, in an array */
    int64_t integer;      /* 0 unless it is one */
    size_t size;          /* of `bytes`, in a string, status or error */
    const uint8_t *bytes; /* a NUL follows */
    const struct perf_redis_reply *const *element; /* none is NULL */
} perf_redis_reply;

/** Wait until it is done, at most so long.  @param timeout_ns  UINT64_MAX: as
 *  long as the command's own timeout lets it take
 *  Errors: PERF_ERR_TIMEOUT; when done without replies, why: PERF_ERR_TIMEOUT,
 *  PERF_ERR_UNREACHABLE, PERF_ERR_CLOSED, PERF_ERR_NOMEM, PERF_ERR_RANGE (over
 *  max_reply_bytes). An error that the server replied is a reply. */
PERF_API perf_err perf_redis_wait_blocking(perf_redis_ticket *ticket,
                                           uint64_t timeout_ns);

/** Whether it is done; if so, `err` says how (NULL is allowed). */
PERF_API bool perf_redis_is_done(const perf_redis_ticket *ticket,
                                 perf_err *err);

/** The reply to the i-th command of a ticket that is done with PERF_OK, else
 *  NULL.  Ownership: the ticket's. */
PERF_API const perf_redis_reply *perf_redis_reply_at(
    const perf_redis_ticket *ticket, size_t i);

/** Done or not. NULL is allowed. */
PERF_API void perf_redis_release(perf_redis_ticket *ticket);

/* ---- entries: what a cache asks for, and what it finds ---- */

typedef enum perf_redis_verdict {
    PERF_REDIS_HIT = 0,
    PERF_REDIS_MISS = 1,    /* no such key, or no sensible reply */
    PERF_REDIS_DAMAGED = 2, /* not an entry, or another key's */
    PERF_REDIS_EXPIRED = 3,
    PERF_REDIS_INVALIDATED = 4,
    PERF_REDIS_UNSURE = 5, /* it has labels that were not asked for */
} perf_redis_verdict;

/** Read what "MGET entry label..." replied: an entry (entry.h), and for each of
 *  `n` labels when it was invalidated, in milliseconds since 1970 as decimal
 *  digits, or nil. A time that is no number counts as now.
 *  @param i      which of the ticket's replies
 *  @param asked  n labels, in the order of the command
 *  @param out    the reply that is the entry, when it is a HIT or UNSURE, else
 *                NULL.  Ownership: the ticket's. */
PERF_API perf_redis_verdict perf_redis_entry_at(const perf_redis_ticket *ticket,
                                                size_t i, const void *key,
                                                size_t key_size,
                                                uint64_t now_ms,
                                                const uint64_t *asked, size_t n,
                                                const perf_redis_reply **out);

/* ---- ports ---- */

typedef struct perf_redis_done {
    perf_redis_ticket *ticket; /* the taker's, to be released */
    uint64_t tag;
    int32_t err;    /* perf_err: how it was done */
    uint32_t count; /* of replies */
} perf_redis_done;

/** A place where tickets arrive when they are done. Tickets that are sent
 *  with it may be given to submit() without `out`: they come here.
 *  Errors: PERF_ERR_INVALID, PERF_ERR_NOMEM, PERF_ERR_SYSTEM. */
PERF_API perf_err perf_redis_port_create(const perf_allocator *allocator,
                                         perf_redis_port **out);

/** Readable when there is something to take. */
PERF_API int perf_redis_port_fd(const perf_redis_port *port);

/** Take up to `n`, in the order in which they were done. While it gives `n`
 *  there may be more; only then is the descriptor not readable any more.
 *  Threads: one at a time. */
PERF_API size_t perf_redis_port_take(perf_redis_port *port,
                                     perf_redis_done *out, size_t n);

/** What is still to arrive is released. NULL is allowed. */
PERF_API void perf_redis_port_close(perf_redis_port *port);

/* ---- what others changed ---- */

enum { PERF_REDIS_CHANGE_BYTES = 62 };

typedef struct perf_redis_change {
    uint8_t track; /* which of config.track the key begins with */
    uint8_t size;
    uint8_t key[PERF_REDIS_CHANGE_BYTES]; /* the rest of it */
} perf_redis_change;

/** A number that grows with every change: as long as it stands still there
 *  are none to be read.  Ownership: the client's. */
PERF_API const uint64_t *perf_redis_change_word(const perf_redis *redis);

/** Read changes from `*cursor` on (0 at first), and move it.
 *  @param all  set when anything may have changed: a connection was lost or is
 *              back, a key was longer than there is room for, the database was
 *              flushed, or more than 1,000 changes came since
 *  Returns how many there are in `out`, up to n; n: perhaps more. */
PERF_API size_t perf_redis_changes(const perf_redis *redis, uint64_t *cursor,
                                   perf_redis_change *out, size_t n, bool *all);

/* ---- numbers ---- */

typedef enum perf_redis_breaker {
    PERF_REDIS_CLOSED = 0, /* commands pass */
    PERF_REDIS_OPEN = 1,
    PERF_REDIS_PROBING = 2, /* one of them does */
} perf_redis_breaker;

typedef struct perf_redis_stats {
    uint64_t commands;    /* that were accepted */
    uint64_t replies;     /* to them */
    uint64_t errors;      /* replies that are errors */
    uint64_t timeouts;    /* commands without a reply in time */
    uint64_t unreachable; /* commands that could not be sent, or whose
                             connection was lost */
    uint64_t refused;     /* commands not accepted: breaker, queue */
    uint64_t opens;       /* of the breaker */
    uint64_t connects;    /* that succeeded */
    uint64_t dial_errors; /* those that did not */
    uint64_t losses;      /* of a connection */
    uint64_t writes;      /* commands / writes: how well they gather */
    uint64_t bytes_out, bytes_in;
    uint64_t changes;                /* heard of */
    uint64_t queue_bytes;            /* now */
    uint64_t p50_ns, p99_ns, max_ns; /* from submit to reply */
    uint32_t breaker;                /* perf_redis_breaker, now */
    uint32_t connected, tracking;    /* now: 0 or 1 */
    char error[128]; /* the last one of connecting, in words; else empty */
} perf_redis_stats;

PERF_API void perf_redis_stats_now(const perf_redis *redis,
                                   perf_redis_stats *out);

PERF_END_DECLS
#endif
