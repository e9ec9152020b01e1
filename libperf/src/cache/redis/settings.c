/* settings.c - defaults, checks, and a copy. */
#include "settings.h"

#include <stdlib.h>
#include <string.h>

#define MS UINT64_C(1000000)
#define MB (UINT64_C(1) << 20)

void
perf_redis_config_init(perf_redis_config *config, uint32_t size)
{
    if (!config)
        return;
    perf_redis_config c = {
        .size = size,
        .version = PERF_REDIS_CONFIG_VERSION,
        .host = "localhost",
        .name = "libperf",
        .port = 6379,
        .failures = 5,
        .connect_timeout_ns = 1000 * MS,
        .heartbeat_ns = 2000 * MS,
        .backoff_min_ns = 100 * MS,
        .backoff_max_ns = 5000 * MS,
        .max_queue_bytes = 256 * MB,
        .max_reply_bytes = 512 * MB,
        .seed = 1,
    };
    memcpy(config, &c, size < sizeof c ? size : sizeof c);
}

static size_t
count_tracks(const perf_redis_config *c)
{
    size_t n = 0;
    while (n < PERF_REDIS_TRACK_MAX && c->track[n])
        n++;
    return n;
}

/* The server refuses prefixes of which one begins another. */
static bool
tracks_overlap(const perf_redis_config *c, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            if (i != j &&
                !strncmp(c->track[i], c->track[j], strlen(c->track[i])))
                return true;
    return false;
}

static perf_err
check(const perf_redis_config *c)
{
    if (!c || c->size != sizeof *c)
        return c ? PERF_ERR_VERSION : PERF_ERR_INVALID;
    if (c->version != PERF_REDIS_CONFIG_VERSION)
        return PERF_ERR_VERSION;
    if (!c->path && (!c->host || !*c->host))
        return PERF_ERR_INVALID;
    if (c->path && (!*c->path || c->tls))
        return PERF_ERR_INVALID;
    if (c->user && !c->password)
        return PERF_ERR_INVALID;
    if (!c->path && (!c->port || c->port > 65535))
        return PERF_ERR_RANGE;
    const uint64_t hour = 3600000 * MS;
    if (!c->failures || !c->connect_timeout_ns || !c->heartbeat_ns ||
        !c->backoff_min_ns || c->backoff_max_ns < c->backoff_min_ns ||
        c->connect_timeout_ns > hour || c->heartbeat_ns > hour ||
        c->backoff_max_ns > hour || !c->max_queue_bytes || !c->max_reply_bytes)
        return PERF_ERR_RANGE;
    return tracks_overlap(c, count_tracks(c)) ? PERF_ERR_INVALID : PERF_OK;
}

enum { TEXTS = 9 + PERF_REDIS_TRACK_MAX };

/* Where the texts of a config are. */
static void
texts_of(perf_redis_config *c, const char **text[TEXTS])
{
    const char **list[] = {&c->host,     &c->path,    &c->user,
                           &c->password, &c->name,    &c->tls_ca,
                           &c->tls_cert, &c->tls_key, &c->tls_name};
    memcpy(text, list, sizeof list);
    for (size_t i = 0; i < PERF_REDIS_TRACK_MAX; i++)
        text[9 + i] = &c->track[i];
}

perf_err
perfi_settings_new(const perf_redis_config *config, perfi_settings **out)
{
    *out = NULL;
    perf_err err = check(config);
    if (err)
        return err;
    perf_redis_config c = *config;
    const char **text[TEXTS];
    size_t bytes = sizeof(perfi_settings);
    texts_of(&c, text);
    for (size_t i = 0; i < TEXTS; i++)
        bytes += *text[i] ? strlen(*text[i]) + 1 : 0;
    perfi_settings *s = malloc(bytes);
    if (!s)
        return PERF_ERR_NOMEM;
    char *at = (char *)(s + 1);
    for (size_t i = 0; i < TEXTS; i++)
        if (*text[i]) {
            size_t size = strlen(*text[i]) + 1;
            *text[i] = memcpy(at, *text[i], size);
            at += size;
        }
    s->c = c;
    s->tracks = count_tracks(&c);
    s->bytes = bytes;
    atomic_init(&s->holders, 1);
    *out = s;
    return PERF_OK;
}

void
perfi_settings_hold(perfi_settings *s)
{
    atomic_fetch_add_explicit(&s->holders, 1, memory_order_relaxed);
}

void
perfi_settings_drop(perfi_settings *s)
{
    if (!s ||
        atomic_fetch_sub_explicit(&s->holders, 1, memory_order_acq_rel) != 1)
        return;
    /* there may be a password in it */
    memset(s, 0, s->bytes);
    __asm__ volatile("" : : "r"(s) : "memory");
    free(s);
}
