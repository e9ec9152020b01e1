/* dial.c - from settings to connections that are ready for commands. */
#include "dial.h"

#include "thread.h"
#include "wake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { GREETING_MAX_BYTES = 64 * 1024 };

#define CHANNEL "__redis__:invalidate"

static struct timeval
timeval_of(uint64_t ns)
{
    return (struct timeval){.tv_sec = (time_t)(ns / 1000000000),
                            .tv_usec = (suseconds_t)(ns / 1000 % 1000000)};
}

/* ---- hanging up ---- */

/* What the thread is going to wait for; false when nobody wants it any more. */
static bool
watch(perfi_dial *d, int fd)
{
    pthread_mutex_lock(&d->lock);
    d->fd = fd;
    bool wanted = !d->hung_up;
    pthread_mutex_unlock(&d->lock);
    return wanted;
}

void
perfi_dial_hang_up(perfi_dial *d)
{
    pthread_mutex_lock(&d->lock);
    d->hung_up = true;
    if (d->fd >= 0)
        shutdown(d->fd, SHUT_RDWR);
    pthread_mutex_unlock(&d->lock);
}

/* ---- one connection ---- */

static void
fail(perfi_dial *d, const char *what, const char *why)
{
    snprintf(d->error, sizeof d->error, "%.20s: %.100s", what, why);
}

/* Send one command and wait for its reply. NULL, and the error is said. */
static perf_redis_reply *
ask(perfi_dial *d, redisContext *c, int argc, const char **argv)
{
    perf_redis_reply *reply = redisCommandArgv(c, argc, argv, NULL);
    if (!reply)
        fail(d, argv[0], c->err ? c->errstr : "no reply");
    else if (reply->type == PERF_REDIS_ERROR) {
        fail(d, argv[0], (const char *)reply->bytes);
        perfi_reply_free(reply);
        reply = NULL;
    }
    return reply;
}

static bool
tell(perfi_dial *d, redisContext *c, int argc, const char **argv)
{
    perf_redis_reply *reply = ask(d, c, argc, argv);
    perfi_reply_free(reply);
    return reply != NULL;
}

static bool
introduce(perfi_dial *d, redisContext *c)
{
    const perf_redis_config *s = &d->settings->c;
    if (s->password) {
        const char *with_user[] = {"AUTH", s->user, s->password};
        const char *without[] = {"AUTH", s->password};
        if (!(s->user ? tell(d, c, 3, with_user) : tell(d, c, 2, without)))
            return false;
    }
    if (s->database) {
        char number[16];
        snprintf(number, sizeof number, "%u", s->database);
        if (!tell(d, c, 2, (const char *[]){"SELECT", number}))
            return false;
    }
    if (s->name && *s->name)
        tell(d, c, 3, (const char *[]){"CLIENT", "SETNAME", s->name});
    /* says so when a password is wanted, or data are still being loaded */
    return tell(d, c, 1, (const char *[]){"PING"});
}

static redisContext *
open_socket(perfi_dial *d)
{
    const perf_redis_config *s = &d->settings->c;
    struct timeval timeout = timeval_of(s->connect_timeout_ns);
    redisContext *c =
        s->path ? redisConnectUnixWithTimeout(s->path, timeout)
                : redisConnectWithTimeout(s->host, (int)s->port, timeout);
    if (c && !c->err) {
        fcntl(c->fd, F_SETFD, FD_CLOEXEC);
        redisSetTimeout(c, timeout);
        perfi_replies_attach(&d->replies, c->reader);
        if (!s->path)
            redisEnableKeepAlive(c);
    }
    return c;
}

static redisContext *
connect_one(perfi_dial *d)
{
    redisContext *c = open_socket(d);
    if (!c) {
        fail(d, "connect", "out of memory");
        return NULL;
    }
    bool ready = false;
    if (c->err)
        fail(d, "connect", c->errstr);
    else if (!watch(d, c->fd))
        fail(d, "connect", "hung up");
    else if (!d->settings->c.tls ||
             perfi_tls_begin(c, &d->settings->c, d->error))
        ready = introduce(d, c);
    watch(d, -1);
    if (ready)
        return c;
    redisFree(c);
    return NULL;
}

/* ---- hearing of changes ---- */

/* CLIENT TRACKING ON REDIRECT <id> BCAST PREFIX <a> PREFIX <b> NOLOOP */
static bool
redirect(perfi_dial *d, redisContext *c, int64_t id)
{
    const char *argv[7 + 2 * PERF_REDIS_TRACK_MAX];
    char number[24];
    int argc = 0;
    snprintf(number, sizeof number, "%lld", (long long)id);
    argv[argc++] = "CLIENT";
    argv[argc++] = "TRACKING";
    argv[argc++] = "ON";
    argv[argc++] = "REDIRECT";
    argv[argc++] = number;
    argv[argc++] = "BCAST";
    for (size_t i = 0; i < d->settings->tracks; i++) {
        argv[argc++] = "PREFIX";
        argv[argc++] = d->settings->c.track[i];
    }
    argv[argc++] = "NOLOOP";
    return tell(d, c, argc, argv);
}

/* The connection that changes are told to; NULL: the server does not. */
static redisContext *
listen_for(perfi_dial *d, redisContext *commands)
{
    redisContext *c = connect_one(d);
    if (!c)
        return NULL;
    bool ready = false;
    perf_redis_reply *id = NULL;
    if (watch(d, c->fd))
        id = ask(d, c, 2, (const char *[]){"CLIENT", "ID"});
    if (id && id->type == PERF_REDIS_INTEGER &&
        tell(d, c, 2, (const char *[]){"SUBSCRIBE", CHANNEL}) &&
        watch(d, commands->fd))
        ready = redirect(d, commands, id->integer);
    watch(d, -1);
    perfi_reply_free(id);
    if (ready)
        return c;
    redisFree(c);
    return NULL;
}

/* ---- the thread ---- */

static bool
make_ready(redisContext *c)
{
    /* blocking until here, never from here on */
    c->flags &= ~REDIS_BLOCK;
    int flags = fcntl(c->fd, F_GETFL);
    return !c->err && flags >= 0 &&
           fcntl(c->fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

static void
dial(perfi_dial *d, redisContext **commands, redisContext **listener)
{
    *commands = connect_one(d);
    if (*commands && d->settings->tracks) {
        *listener = listen_for(d, *commands);
        if ((*commands)->err) { /* lost meanwhile */
            redisFree(*commands);
            *commands = NULL;
        }
    }
    if (*commands && !make_ready(*commands)) {
        redisFree(*commands);
        *commands = NULL;
    }
    if (*listener && (!*commands || !make_ready(*listener))) {
        redisFree(*listener);
        *listener = NULL;
    }
}

static void *
run(void *arg)
{
    perfi_dial *d = arg;
    redisContext *commands = NULL, *listener = NULL;
    dial(d, &commands, &listener);
    pthread_mutex_lock(&d->lock);
    d->commands = commands;
    d->listener = listener;
    d->done = true;
    pthread_mutex_unlock(&d->lock);
    perfi_wake_up(d->wake);
    perfi_dial_drop(d);
    return NULL;
}

perfi_dial *
perfi_dial_start(perfi_settings *settings, int wake)
{
    perfi_dial *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    d->wake = fcntl(wake, F_DUPFD_CLOEXEC, 0);
    d->fd = -1;
    d->settings = settings;
    perfi_settings_hold(settings);
    d->replies = (perfi_replies){.allocator = perf_allocator_libc(),
                                 .max_bytes = GREETING_MAX_BYTES};
    pthread_mutex_init(&d->lock, NULL);
    atomic_init(&d->holders, 2);
    pthread_t thread;
    if (d->wake >= 0 && perfi_thread_start(&thread, run, d)) {
        pthread_detach(thread);
        return d;
    }
    atomic_store_explicit(&d->holders, 1, memory_order_relaxed);
    perfi_dial_drop(d);
    return NULL;
}

bool
perfi_dial_take(perfi_dial *d, redisContext **commands, redisContext **listener,
                char error[128])
{
    pthread_mutex_lock(&d->lock);
    bool done = d->done;
    if (done) {
        *commands = d->commands;
        *listener = d->listener;
        d->commands = d->listener = NULL;
        memcpy(error, d->error, sizeof d->error);
    }
    pthread_mutex_unlock(&d->lock);
    return done;
}

void
perfi_dial_drop(perfi_dial *d)
{
    if (atomic_fetch_sub_explicit(&d->holders, 1, memory_order_acq_rel) != 1)
        return;
    if (d->commands)
        redisFree(d->commands);
    if (d->listener)
        redisFree(d->listener);
    if (d->wake >= 0)
        close(d->wake);
    pthread_mutex_destroy(&d->lock);
    perfi_settings_drop(d->settings);
    free(d);
}
