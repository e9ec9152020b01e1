/* dial.h - connecting, in a thread that may wait.
 *
 * Looking up a host, connecting, TLS, AUTH, SELECT and the rest are written
 * down one after the other and may each take their time; the I/O thread goes
 * on meanwhile, and is woken at the end. Whoever loses patience hangs up: the
 * thread then ends as soon as the system lets it, and is waited for by nobody.
 * Memory: libc's, since that may be after the client is gone. */
#ifndef PERFI_DIAL_H
#define PERFI_DIAL_H
#include "reply.h"
#include "settings.h"

#include <pthread.h>

typedef struct perfi_dial {
    perfi_settings *settings;
    perfi_replies replies;    /* the thread's: a stranger may be answering */
    _Atomic uint32_t holders; /* who asked, and the thread */
    int wake;                 /* to be written when done */
    pthread_mutex_t lock;     /* of the following */
    bool done, hung_up;
    int fd; /* that the thread waits for; -1 */
    /* the result, when done */
    redisContext *commands; /* NULL: it did not work out */
    redisContext *listener; /* NULL: the server does not tell about changes */
    char error[128];        /* if so, why; else empty */
} perfi_dial;

/** Start. NULL: no memory, no thread.
 *  @param wake  a descriptor, duplicated: perfi_wake_up() when it is done */
perfi_dial *perfi_dial_start(perfi_settings *settings, int wake);

/** Whether it is done; if so, the connections are the caller's. */
bool perfi_dial_take(perfi_dial *dial, redisContext **commands,
                     redisContext **listener, char error[128]);

/** What it waits for breaks off. */
void perfi_dial_hang_up(perfi_dial *dial);

/** Forget it, done or not. */
void perfi_dial_drop(perfi_dial *dial);

/* ---- dial_tls.c, or dial_tls_absent.c ---- */

/** Whether there is TLS in this build. */
bool perfi_tls_is_there(void);

/** Speak TLS on a connection, and know the server by its certificate.
 *  @param error  why not */
bool perfi_tls_begin(redisContext *c, const perf_redis_config *config,
                     char error[128]);

#endif
