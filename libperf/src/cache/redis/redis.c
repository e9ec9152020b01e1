/* redis.c - clients: made, forked, closed; handing in commands; numbers. */
#include <libperf/redis.h>

#include "client.h"
#include "io.h"
#include "wire.h"

#include <libperf/clock.h>
#include <string.h>

static const uint64_t default_timeout_ns = 50000000;

/* ---- forks ---- */

/* All clients of the process: a child finds there what it must let go of. */
static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static perf_redis *list;

static void
before_fork(void)
{
    pthread_mutex_lock(&list_lock);
}

static void
after_fork_in_parent(void)
{
    pthread_mutex_unlock(&list_lock);
}

/* The I/O threads are not here, wherever they were when the fork came. */
static void
after_fork_in_child(void)
{
    atomic_fetch_add_explicit(&perfi_redis_forks, 1, memory_order_relaxed);
    for (perf_redis *r = list; r; r = r->next) {
        perfi_io *io = atomic_load_explicit(&r->io, memory_order_relaxed);
        if (io)
            perfi_io_abandon(io);
        atomic_store_explicit(&r->io, NULL, memory_order_relaxed);
        atomic_store_explicit(&r->lock, 0, memory_order_relaxed);
        atomic_store_explicit(&r->queue_bytes, 0, memory_order_relaxed);
        atomic_store_explicit(&r->connected, 0, memory_order_relaxed);
        atomic_store_explicit(&r->tracking, 0, memory_order_relaxed);
        if (r->settings->tracks)
            perfi_changes_all(&r->changes); /* nobody listens any more */
    }
    pthread_mutex_unlock(&list_lock);
}

__attribute__((constructor)) static void
watch_forks(void)
{
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

static void
enlist(perf_redis *r)
{
    pthread_mutex_lock(&list_lock);
    r->next = list;
    r->link = &list;
    if (list)
        list->link = &r->next;
    list = r;
    pthread_mutex_unlock(&list_lock);
}

static void
delist(perf_redis *r)
{
    pthread_mutex_lock(&list_lock);
    *r->link = r->next;
    if (r->next)
        r->next->link = r->link;
    pthread_mutex_unlock(&list_lock);
}

/* ---- making and closing ---- */

uint32_t
perf_redis_features(void)
{
    return perfi_tls_is_there() ? 3 : 1;
}

static void
discard(perf_redis *r)
{
    const perf_allocator *a = r->allocator;
    perf_histogram_destroy(r->latency);
    perfi_settings_drop(r->settings);
    a->free(r, sizeof *r, a->ctx);
}

perf_err
perf_redis_create(const perf_redis_config *config, perf_redis **out)
{
    if (!out)
        return PERF_ERR_INVALID;
    *out = NULL;
    perfi_settings *s;
    perf_err err = perfi_settings_new(config, &s);
    if (!err && s->c.tls && !perfi_tls_is_there())
        err = PERF_ERR_UNSUPPORTED;
    if (err) {
        perfi_settings_drop(s);
        return err;
    }
    const perf_allocator *a =
        s->c.allocator ? s->c.allocator : perf_allocator_libc();
    perf_redis *r = a->alloc(sizeof *r, a->ctx);
    if (!r) {
        perfi_settings_drop(s);
        return PERF_ERR_NOMEM;
    }
    r->allocator = a;
    r->settings = s;
    r->breaker = (perfi_breaker){
        .backoff = {s->c.backoff_min_ns, s->c.backoff_max_ns, 0, s->c.seed},
        .limit = s->c.failures};
    err = perf_histogram_create(a, &r->latency);
    if (err) {
        discard(r);
        return err;
    }
    enlist(r);
    *out = r;
    return PERF_OK;
}

void
perf_redis_close_blocking(perf_redis *r)
{
    if (!r)
        return;
    perfi_redis_lock(r);
    bool before = r->closed;
    r->closed = true;
    perfi_io *io = atomic_load_explicit(&r->io, memory_order_relaxed);
    perfi_redis_unlock(r);
    if (io && !before)
        perfi_io_end_blocking(io);
}

void
perf_redis_destroy_blocking(perf_redis *r)
{
    if (!r)
        return;
    perf_redis_close_blocking(r);
    delist(r);
    perfi_io *io = atomic_load_explicit(&r->io, memory_order_acquire);
    if (io)
        perfi_io_free(io);
    discard(r);
}

/* ---- the breaker: asked by any thread, told by the I/O thread ---- */

static void
show_breaker(perf_redis *r)
{
    atomic_store_explicit(&r->breaker_state, r->breaker.state,
                          memory_order_relaxed);
}

bool
perfi_redis_admit_at(perf_redis *r, uint64_t now_ns)
{
    if (atomic_load_explicit(&r->breaker_state, memory_order_relaxed) ==
        PERF_REDIS_CLOSED)
        return true;
    perfi_redis_lock(r);
    bool admitted = perfi_breaker_admit_at(&r->breaker, now_ns);
    show_breaker(r);
    perfi_redis_unlock(r);
    return admitted;
}

void
perfi_redis_succeed(perf_redis *r)
{
    /* as nearly always. Failures are counted by this thread alone */
    if (!r->breaker.failures &&
        atomic_load_explicit(&r->breaker_state, memory_order_relaxed) ==
            PERF_REDIS_CLOSED)
        return;
    perfi_redis_lock(r);
    perfi_breaker_succeed(&r->breaker);
    show_breaker(r);
    perfi_redis_unlock(r);
}

void
perfi_redis_fail_at(perf_redis *r, uint64_t now_ns)
{
    perfi_redis_lock(r);
    perfi_breaker_fail_at(&r->breaker, now_ns);
    show_breaker(r);
    perfi_redis_unlock(r);
}

void
perfi_redis_say(perf_redis *r, const char error[128])
{
    perfi_redis_lock(r);
    memcpy(r->error, error, sizeof r->error);
    perfi_redis_unlock(r);
}

/* ---- submitting ---- */

static perf_err
find_io(perf_redis *r, perfi_io **out)
{
    /* acquire: pairs with the release below */
    *out = atomic_load_explicit(&r->io, memory_order_acquire);
    if (*out)
        return PERF_OK;
    perf_err err = PERF_OK;
    perfi_redis_lock(r);
    *out = atomic_load_explicit(&r->io, memory_order_relaxed);
    if (!*out && r->closed)
        err = PERF_ERR_CLOSED;
    else if (!*out) {
        err = perfi_io_start(r, out);
        atomic_store_explicit(&r->io, *out, memory_order_release);
    }
    perfi_redis_unlock(r);
    return err;
}

static perf_err
refuse(perf_redis *r, perf_err why)
{
    atomic_fetch_add_explicit(&r->refused, 1, memory_order_relaxed);
    return why;
}

/* Count its bytes in, unless there are too many. */
static bool
reserve(perf_redis *r, uint64_t bytes)
{
    uint64_t before =
        atomic_fetch_add_explicit(&r->queue_bytes, bytes, memory_order_relaxed);
    if (before + bytes <= r->settings->c.max_queue_bytes)
        return true;
    atomic_fetch_sub_explicit(&r->queue_bytes, bytes, memory_order_relaxed);
    return false;
}

static perf_err
check_port(const perf_redis_port *port)
{
    return port && port->forks != atomic_load_explicit(&perfi_redis_forks,
                                                       memory_order_relaxed)
               ? PERF_ERR_CLOSED
               : PERF_OK;
}

perf_err
perf_redis_submit(perf_redis *r, const void *wire, size_t size,
                  const perf_redis_options *options, perf_redis_ticket **out)
{
    static const perf_redis_options defaults;
    if (out)
        *out = NULL;
    const perf_redis_options *o = options ? options : &defaults;
    size_t commands = r ? perfi_wire_count(wire, size) : 0;
    if (!commands || commands > UINT32_MAX)
        return PERF_ERR_INVALID;
    perfi_io *io;
    perf_err err = check_port(o->port);
    if (!err)
        err = find_io(r, &io);
    if (err)
        return err;
    uint64_t now_ns = perf_clock_now_ns();
    if (!perfi_redis_admit_at(r, now_ns))
        return refuse(r, PERF_ERR_UNREACHABLE);
    uint32_t holders = 1U + (out ? 1U : 0U) + (o->port ? 1U : 0U);
    perf_redis_ticket *t =
        perfi_ticket_new(r->allocator, wire, size, commands, holders);
    if (!t)
        return refuse(r, PERF_ERR_NOMEM);
    err = !reserve(r, t->bytes) ? PERF_ERR_FULL : PERF_OK;
    uint64_t timeout = o->timeout_ns ? o->timeout_ns : default_timeout_ns;
    t->tag = o->tag;
    t->submitted_ns = now_ns;
    if (__builtin_add_overflow(now_ns, timeout, &t->deadline_ns))
        t->deadline_ns = UINT64_MAX;
    if ((t->port = o->port))
        perfi_port_hold(o->port);
    if (!err && !perfi_io_submit(io, t)) {
        atomic_fetch_sub_explicit(&r->queue_bytes, t->bytes,
                                  memory_order_relaxed);
        err = PERF_ERR_CLOSED;
    }
    if (err) {
        while (holders--)
            perf_redis_release(t);
        return refuse(r, err);
    }
    atomic_fetch_add_explicit(&r->accepted, commands, memory_order_relaxed);
    if (out)
        *out = t;
    return PERF_OK;
}

/* ---- changes and numbers ---- */

const uint64_t *
perf_redis_change_word(const perf_redis *r)
{
    return r ? (const uint64_t *)&r->changes.head : NULL;
}

size_t
perf_redis_changes(const perf_redis *r, uint64_t *cursor,
                   perf_redis_change *out, size_t n, bool *all)
{
    if (!r || !cursor || !out || !all)
        return 0;
    *all = false;
    return perfi_changes_read(&r->changes, cursor, out, n, all);
}

static uint64_t
look(const _Atomic uint64_t *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}

void
perf_redis_stats_now(const perf_redis *redis, perf_redis_stats *out)
{
    if (!out)
        return;
    *out = (perf_redis_stats){0};
    if (!redis)
        return;
    perf_redis *r = (perf_redis *)(uintptr_t)redis; /* for its lock */
    *out = (perf_redis_stats){
        .commands = look(&r->accepted),
        .replies = look(&r->replies),
        .errors = look(&r->errors),
        .timeouts = look(&r->timeouts),
        .unreachable = look(&r->unreachable),
        .refused = look(&r->refused),
        .connects = look(&r->connects),
        .dial_errors = look(&r->dial_errors),
        .losses = look(&r->losses),
        .writes = look(&r->writes),
        .bytes_out = look(&r->bytes_out),
        .bytes_in = look(&r->bytes_in),
        .changes = look(&r->changes.head),
        .queue_bytes = look(&r->queue_bytes),
        .p50_ns = perf_histogram_quantile(r->latency, 0.5),
        .p99_ns = perf_histogram_quantile(r->latency, 0.99),
        .max_ns = perf_histogram_max(r->latency),
        .connected = atomic_load_explicit(&r->connected, memory_order_relaxed),
        .tracking = atomic_load_explicit(&r->tracking, memory_order_relaxed),
    };
    perfi_redis_lock(r);
    out->opens = r->breaker.opens;
    out->breaker = r->breaker.state;
    memcpy(out->error, r->error, sizeof out->error);
    perfi_redis_unlock(r);
}
