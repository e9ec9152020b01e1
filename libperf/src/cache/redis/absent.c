/* absent.c - where there is no hiredis: nobody has a client, so what takes one
 * has nothing to do. Commands can still be written down (wire.c). */
#include <libperf/redis.h>

#include <string.h>

void
perf_redis_config_init(perf_redis_config *config, uint32_t size)
{
    if (!config)
        return;
    perf_redis_config c = {.size = size, .version = PERF_REDIS_CONFIG_VERSION};
    memset(config, 0, size);
    memcpy(config, &c, size < sizeof c ? size : sizeof c);
}

uint32_t
perf_redis_features(void)
{
    return 0;
}

perf_err
perf_redis_create(const perf_redis_config *config, perf_redis **out)
{
    if (!config || !out)
        return PERF_ERR_INVALID;
    *out = NULL;
    return PERF_ERR_UNSUPPORTED;
}

void
perf_redis_close_blocking(perf_redis *redis)
{
    (void)redis;
}

void
perf_redis_destroy_blocking(perf_redis *redis)
{
    (void)redis;
}

perf_err
perf_redis_submit(perf_redis *redis, const void *wire, size_t size,
                  const perf_redis_options *options, perf_redis_ticket **out)
{
    (void)redis, (void)wire, (void)size, (void)options;
    if (out)
        *out = NULL;
    return PERF_ERR_INVALID;
}

perf_err
perf_redis_wait_blocking(perf_redis_ticket *ticket, uint64_t timeout_ns)
{
    (void)ticket, (void)timeout_ns;
    return PERF_ERR_INVALID;
}

bool
perf_redis_is_done(const perf_redis_ticket *ticket, perf_err *err)
{
    (void)ticket, (void)err;
    return false;
}

const perf_redis_reply *
perf_redis_reply_at(const perf_redis_ticket *ticket, size_t i)
{
    (void)ticket, (void)i;
    return NULL;
}

void
perf_redis_release(perf_redis_ticket *ticket)
{
    (void)ticket;
}

perf_redis_verdict
perf_redis_entry_at(const perf_redis_ticket *ticket, size_t i, const void *key,
                    size_t key_size, uint64_t now_ms, const uint64_t *asked,
                    size_t n, const perf_redis_reply **out)
{
    (void)ticket, (void)i, (void)key, (void)key_size;
    (void)now_ms, (void)asked, (void)n;
    if (out)
        *out = NULL;
    return PERF_REDIS_MISS;
}

perf_err
perf_redis_port_create(const perf_allocator *allocator, perf_redis_port **out)
{
    (void)allocator;
    if (!out)
        return PERF_ERR_INVALID;
    *out = NULL;
    return PERF_ERR_UNSUPPORTED;
}

int
perf_redis_port_fd(const perf_redis_port *port)
{
    (void)port;
    return -1;
}

size_t
perf_redis_port_take(perf_redis_port *port, perf_redis_done *out, size_t n)
{
    (void)port, (void)out, (void)n;
    return 0;
}

void
perf_redis_port_close(perf_redis_port *port)
{
    (void)port;
}

const uint64_t *
perf_redis_change_word(const perf_redis *redis)
{
    (void)redis;
    return NULL;
}

size_t
perf_redis_changes(const perf_redis *redis, uint64_t *cursor,
                   perf_redis_change *out, size_t n, bool *all)
{
    (void)redis, (void)cursor, (void)out, (void)n, (void)all;
    return 0;
}

void
perf_redis_stats_now(const perf_redis *redis, perf_redis_stats *out)
{
    (void)redis;
    if (out)
        *out = (perf_redis_stats){0};
}
