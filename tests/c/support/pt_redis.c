/* pt_redis.c - servers, real and false; commands out of words. */
#include "pt_redis.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the real one ---- */

/* Debian's redis-tools holds the whole server: under its name it is one. */
static bool
find_server(const char *folder, char out[PT_PATH + 32])
{
    static const char *const places[] = {
        "/usr/bin/redis-server", "/usr/local/bin/redis-server",
        "/usr/bin/valkey-server", "/usr/bin/redis-check-rdb"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        if (access(places[i], X_OK))
            continue;
        snprintf(out, PT_PATH + 32, "%s/redis-server", folder);
        return !symlink(places[i], out) || errno == EEXIST;
    }
    return false;
}

static int
connect_to(const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "%.100s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* It answers anything, if only that a password is wanted. */
static bool
answers(const char *path)
{
    char c;
    int fd = connect_to(path);
    bool yes = fd >= 0 && write(fd, "PING\r\n", 6) == 6 && read(fd, &c, 1) == 1;
    if (fd >= 0)
        close(fd);
    return yes;
}

void
pt_server_restart(pt_server *s, const char *const *arguments)
{
    char program[PT_PATH + 32];
    const char *argv[32] = {
        "redis-server", "--port",     "0",      "--unixsocket",
        s->path,        "--save",     "",       "--dir",
        s->folder,      "--loglevel", "warning"};
    size_t argc = 11;
    if (!find_server(s->folder, program)) {
        printf("no redis-server here: skipped\n");
        exit(77);
    }
    while (arguments && *arguments && argc < 31)
        argv[argc++] = *arguments++;
    s->pid = fork();
    ck_assert_int_ge(s->pid, 0);
    if (!s->pid) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves nobody */
        int null = open("/dev/null", O_WRONLY);
        dup2(null, STDOUT_FILENO);
        execv(program, (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    while (!answers(s->path)) {
        int status;
        ck_assert_msg(waitpid(s->pid, &status, WNOHANG) == 0,
                      "redis-server ended before it was ready");
        poll(NULL, 0, 2);
    }
}

void
pt_server_start(pt_server *s, const char *const *arguments)
{
    pt_folder(s->folder);
    snprintf(s->path, sizeof s->path, "%s/redis.sock", s->folder);
    pt_server_restart(s, arguments);
}

void
pt_server_signal(const pt_server *s, int number)
{
    ck_assert_int_eq(kill(s->pid, number), 0);
}

void
pt_server_kill(pt_server *s)
{
    pt_kill(s->pid);
    s->pid = 0;
}

/* ---- the false one ---- */

int
pt_listen(char path[PT_PATH + 16])
{
    char folder[PT_PATH];
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    pt_folder(folder);
    snprintf(path, PT_PATH + 16, "%s/false.sock", folder);
    snprintf(at.sun_path, sizeof at.sun_path, "%.100s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    ck_assert_int_eq(listen(fd, 64), 0);
    return fd;
}

/* ---- clients ---- */

perf_redis_config
pt_redis_config(const char *path)
{
    perf_redis_config config;
    perf_redis_config_init(&config, sizeof config);
    config.path = path;
    return config;
}

perf_redis *
pt_redis_open(const perf_redis_config *config)
{
    perf_redis *r = NULL;
    ck_assert_int_eq(perf_redis_create(config, &r), PERF_OK);
    return r;
}

perf_redis_ticket *
pt_send_many(perf_redis *r, size_t argc, const char *const *argv,
             const size_t *sizes, const perf_redis_options *options,
             perf_err *err)
{
    perf_redis_ticket *ticket = NULL;
    size_t size = perf_redis_command_size(argc, sizes);
    void *wire = malloc(size);
    PT_ASSERT(!perf_redis_command_write(argc, (const void *const *)argv, sizes,
                                        wire, size));
    perf_err got = perf_redis_submit(r, wire, size, options, &ticket);
    free(wire);
    if (err)
        *err = got;
    else
        PT_ASSERT(got == PERF_OK);
    return ticket;
}

perf_redis_ticket *
pt_send(perf_redis *r, const char *words, const perf_redis_options *options,
        perf_err *err)
{
    const char *argv[64];
    size_t sizes[64], argc = 0;
    while (*words) {
        size_t n = strcspn(words, " ");
        PT_ASSERT(argc < 64);
        argv[argc] = words;
        sizes[argc++] = n;
        words += n + (words[n] == ' ');
    }
    return pt_send_many(r, argc, argv, sizes, options, err);
}

static size_t
show(const perf_redis_reply *reply, char *out, size_t room)
{
    if (room < 64)
        return 0;
    switch ((perf_redis_type)reply->type) {
    case PERF_REDIS_NIL: return (size_t)sprintf(out, "(nil)");
    case PERF_REDIS_INTEGER:
        return (size_t)sprintf(out, "(%lld)", (long long)reply->integer);
    case PERF_REDIS_STRING:
    case PERF_REDIS_STATUS:
    case PERF_REDIS_ERROR:
        return (size_t)snprintf(out, room / 2, "%s%s",
                                reply->type == PERF_REDIS_ERROR ? "-" : "",
                                (const char *)reply->bytes);
    case PERF_REDIS_ARRAY: break;
    }
    size_t at = 0;
    out[at++] = '[';
    for (uint32_t i = 0; i < reply->count; i++) {
        if (i)
            out[at++] = ',';
        at += show(reply->element[i], out + at, room - at);
    }
    strcpy(out + at, "]");
    return at + 1;
}

static const char *
ask(perf_redis *r, const char *words, uint64_t timeout_ns)
{
    static _Thread_local char text[4096];
    perf_redis_options options = {.timeout_ns = timeout_ns};
    perf_err err;
    perf_redis_ticket *ticket = pt_send(r, words, &options, &err);
    if (!err)
        err = perf_redis_wait_blocking(ticket, UINT64_MAX);
    if (err)
        snprintf(text, sizeof text, "!%s", perf_err_name(err));
    else
        show(perf_redis_reply_at(ticket, 0), text, sizeof text);
    perf_redis_release(ticket);
    return text;
}

const char *
pt_ask(perf_redis *r, const char *words)
{
    return ask(r, words, 10 * PT_NS_PER_S);
}

const char *
pt_ask_patiently(perf_redis *r, const char *words)
{
    for (;;) {
        const char *text = ask(r, words, 10 * PT_NS_PER_S);
        if (strcmp(text, "!PERF_ERR_UNREACHABLE") != 0 &&
            strcmp(text, "!PERF_ERR_TIMEOUT") != 0)
            return text;
        poll(NULL, 0, 1);
    }
}

perf_redis_stats
pt_redis_stats(const perf_redis *r)
{
    perf_redis_stats stats;
    perf_redis_stats_now(r, &stats);
    return stats;
}
