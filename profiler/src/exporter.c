/* exporter.c - exporters: their thread, who asks it, forks. */
#include "exporter.h"

#include <libperf/clock.h>

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define S UINT64_C(1000000000)

uint32_t
perf_exporter_features(void)
{
#ifdef PERF_HAVE_ZLIB
    return 3;
#else
    return 1;
#endif
}

/* ---- forks ---- */

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static perf_exporter *list;

static void
before_fork(void)
{
    pthread_mutex_lock(&list_lock);
    for (perf_exporter *e = list; e; e = e->next) {
        pthread_mutex_lock(&e->work);
        pthread_mutex_lock(&e->lock);
    }
}

static void
give_locks(void)
{
    for (perf_exporter *e = list; e; e = e->next) {
        pthread_mutex_unlock(&e->lock);
        pthread_mutex_unlock(&e->work);
    }
    pthread_mutex_unlock(&list_lock);
}

static void
open_condition(pthread_cond_t *c)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(c, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

/* The thread is not here, and the connections are the parent's. What waits is
 * sent by the parent. The segment's descriptor goes: it keeps a lock alive. */
static void
after_fork_in_child(void)
{
    for (perf_exporter *e = list; e; e = e->next) {
        e->forked = true;
        e->running = false;
        e->stats.running = 0;
        open_condition(&e->changed); /* nobody waits here */
        perfi_http_abandon(e);
        perfi_collect_close(e);
        perfi_outbox_free(&e->queue);
    }
    give_locks();
}

/* At the first start: after the segment's handlers, so that ours run before
 * them at a fork. Whoever holds `work` may ask for the segment's locks. */
static void
watch_forks(void)
{
    pthread_atfork(before_fork, give_locks, after_fork_in_child);
}

static void
enlist(perf_exporter *e)
{
    pthread_mutex_lock(&list_lock);
    e->next = list;
    e->link = &list;
    if (list)
        list->link = &e->next;
    list = e;
    pthread_mutex_unlock(&list_lock);
}

static void
delist(perf_exporter *e)
{
    pthread_mutex_lock(&list_lock);
    *e->link = e->next;
    if (e->next)
        e->next->link = e->link;
    pthread_mutex_unlock(&list_lock);
}

/* ---- numbers and words for others ---- */

void
perfi_exporter_say(perf_exporter *e, const char *format, ...)
{
    va_list values;
    pthread_mutex_lock(&e->lock);
    va_start(values, format);
    vsnprintf(e->stats.error, sizeof e->stats.error, format, values);
    va_end(values);
    pthread_mutex_unlock(&e->lock);
}

/* What others may see. */
static void
publish(perf_exporter *e)
{
    perf_otlp_stats s = {0};
    perf_otlp_stats_now(e->otlp, &s);
    pthread_mutex_lock(&e->lock);
    for (int i = 0; i < PERF_OTLP_SIGNALS; i++)
        e->stats.lane[i] = e->queue.lane[i].stats;
    e->stats.lost = s.lost;
    e->stats.unencoded = s.dropped;
    e->stats.queue_bytes = e->queue.bytes;
    e->stats.most_queue_bytes = e->queue.most_bytes;
    if (e->flush_seen > e->flush_done && !e->held.items &&
        perfi_outbox_is_done(&e->queue, e->flush_number)) {
        e->flush_done = e->flush_seen;
        pthread_cond_broadcast(&e->changed);
    }
    pthread_mutex_unlock(&e->lock);
}

/* A flush has been asked for. An earlier one that is not done becomes part of
 * it. */
static bool
takes_flush(perf_exporter *e)
{
    pthread_mutex_lock(&e->lock);
    bool takes = e->flush_asked > e->flush_seen;
    e->flush_seen = e->flush_asked;
    pthread_mutex_unlock(&e->lock);
    return takes;
}

void
perf_exporter_stats_now(perf_exporter *e, perf_exporter_stats *out)
{
    if (!out)
        return;
    *out = (perf_exporter_stats){0};
    if (!e)
        return;
    pthread_mutex_lock(&e->lock);
    *out = e->stats;
    out->running = e->running;
    pthread_mutex_unlock(&e->lock);
}

/* ---- the thread ---- */

static bool
is_stopping(perf_exporter *e, uint64_t *until_ns)
{
    pthread_mutex_lock(&e->lock);
    bool stop = e->stop;
    *until_ns = e->stop_until_ns;
    pthread_mutex_unlock(&e->lock);
    return stop;
}

/* The last reading. */
static void
begin_to_end(perf_exporter *e, uint64_t now_ns)
{
    if (e->ending)
        return;
    e->ending = true;
    perfi_collect_at(e, now_ns, true, true);
    perfi_outbox_last_try_at(&e->queue, now_ns);
}

static void
work_at(perf_exporter *e, uint64_t now_ns, bool stopping)
{
    bool asked = takes_flush(e);
    bool metrics = now_ns >= e->metrics_due_ns;
    if (stopping)
        begin_to_end(e, now_ns);
    else if (asked || metrics || now_ns >= e->read_due_ns) {
        perfi_collect_at(e, now_ns, metrics || asked, false);
        if (asked)
            e->flush_number = e->queue.parcels;
    }
    for (bool more = true; more;) {
        more = perfi_collect_more(e);
        more = perfi_http_step_at(e, now_ns) || more;
        now_ns = perf_clock_now_ns();
    }
    perfi_collect_note(e);
}

static uint64_t
least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static int
wait_ms_at(perf_exporter *e, uint64_t now_ns, bool stopping, uint64_t until_ns)
{
    uint64_t due = perfi_outbox_due_ns(&e->queue);
    due = stopping ? least(due, until_ns)
                   : least(due, least(e->read_due_ns, e->metrics_due_ns));
    if (due <= now_ns)
        return 0;
    uint64_t ms = (due - now_ns + 999999) / 1000000;
    return (int)least(ms, 60 * 1000);
}

static bool
has_ended(const perf_exporter *e)
{
    return e->ending && !e->held.items && !e->queue.bytes;
}

/* What is left has no more time. */
static void
give_up(perf_exporter *e)
{
    perfi_http_abort(e);
    for (int i = 0; i < PERF_OTLP_SIGNALS; i++)
        perfi_outbox_drop_lane(&e->queue, (perf_otlp_signal)i);
    if (e->held.items)
        e->queue.lane[e->held.signal].stats.dropped += e->held.items;
    e->held.items = 0;
    perfi_collect_note(e);
}

static void *
run(void *ctx)
{
    perf_exporter *e = ctx;
    uint64_t until;
    pthread_mutex_lock(&e->work);
    for (;;) {
        uint64_t now = perf_clock_now_ns();
        bool stopping = is_stopping(e, &until);
        work_at(e, now, stopping);
        publish(e);
        now = perf_clock_now_ns();
        if (stopping && (has_ended(e) || now >= until))
            break;
        int ms = wait_ms_at(e, now, stopping, until);
        pthread_mutex_unlock(&e->work);
        curl_multi_poll(e->multi, NULL, 0, ms, NULL);
        pthread_mutex_lock(&e->work);
    }
    give_up(e);
    publish(e);
    pthread_mutex_unlock(&e->work);
    return NULL;
}

static bool
start_thread(perf_exporter *e)
{
    sigset_t all, before;
    sigfillset(&all); /* signals are for the program's threads */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = !pthread_create(&e->thread, NULL, run, e);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

/* ---- made and ended ---- */

void
perf_exporter_config_init(perf_exporter_config *config, uint32_t size)
{
    if (!config)
        return;
    perf_exporter_config c = {.size = size,
                              .version = PERF_EXPORTER_CONFIG_VERSION,
                              .interval_ns = 5 * S,
                              .metrics_interval_ns = 60 * S,
                              .timeout_ns = 10 * S,
                              .backoff_min_ns = S,
                              .backoff_max_ns = 30 * S,
                              .max_queue_bytes = 32 << 20};
    perf_otlp_config_init(&c.otlp, sizeof c.otlp);
    memset(config, 0, size);
    memcpy(config, &c, size < sizeof c ? size : sizeof c);
}

static void
discard(perf_exporter *e)
{
    const perf_allocator *a = e->allocator;
    perfi_http_close(e);
    perfi_collect_close(e);
    perfi_outbox_free(&e->queue);
    perfi_exporter_settings_free(e);
    pthread_mutex_destroy(&e->work);
    pthread_mutex_destroy(&e->lock);
    if (!e->forked) /* there, threads that are not here may wait for it */
        pthread_cond_destroy(&e->changed);
    a->free(e, sizeof *e, a->ctx);
}

static perf_err
make(const perf_exporter_config *c, const char **field, perf_exporter **out)
{
    const perf_allocator *a =
        c->allocator ? c->allocator : perf_allocator_libc();
    perf_exporter *e = a->alloc(sizeof *e, a->ctx);
    if (!e)
        return PERF_ERR_NOMEM;
    e->allocator = a;
    pthread_mutex_init(&e->work, NULL);
    pthread_mutex_init(&e->lock, NULL);
    open_condition(&e->changed);
    uint64_t now = perf_clock_now_ns();
    perfi_outbox_init(&e->queue, c, c->seed ? c->seed : now);
    perf_err err = perfi_exporter_settings(e, c, field);
    if (!err)
        err = perfi_http_open(e);
    if (!err && e->path)
        err = perfi_collect_open(e);
    e->read_every_ns = e->config.interval_ns;
    e->read_due_ns = e->path ? now : now + e->read_every_ns;
    e->metrics_due_ns = now + e->config.metrics_interval_ns;
    *out = e;
    return err;
}

perf_err
perf_exporter_start_blocking(const perf_exporter_config *config,
                             const char **field, perf_exporter **out)
{
    static pthread_once_t watched = PTHREAD_ONCE_INIT;
    const char *wrong = NULL;
    perf_exporter *e = NULL;
    if (field)
        *field = NULL;
    if (!out)
        return PERF_ERR_INVALID;
    *out = NULL;
    if (!config)
        return PERF_ERR_INVALID;
    if (config->size != sizeof *config ||
        config->version != PERF_EXPORTER_CONFIG_VERSION)
        return PERF_ERR_VERSION;
    perf_err err = make(config, &wrong, &e);
    if (field)
        *field = wrong;
    if (!err) {
        pthread_once(&watched, watch_forks);
        e->running = true;
        enlist(e);
        if (start_thread(e)) {
            *out = e;
            return PERF_OK;
        }
        e->running = false;
        delist(e);
        err = PERF_ERR_SYSTEM;
    }
    if (e)
        discard(e);
    return err;
}

static void
wake(perf_exporter *e)
{
    curl_multi_wakeup(e->multi);
}

static struct timespec
deadline(uint64_t timeout_ns)
{
    uint64_t until;
    if (__builtin_add_overflow(perf_clock_now_ns(), timeout_ns, &until))
        until = INT64_MAX;
    return (struct timespec){(time_t)(until / S), (long)(until % S)};
}

perf_err
perf_exporter_flush_blocking(perf_exporter *e, uint64_t timeout_ns)
{
    if (!e)
        return PERF_ERR_INVALID;
    struct timespec until = deadline(timeout_ns);
    pthread_mutex_lock(&e->lock);
    if (!e->running || e->stop) {
        pthread_mutex_unlock(&e->lock);
        return PERF_ERR_CLOSED;
    }
    uint64_t mine = ++e->flush_asked;
    wake(e);
    int late = 0;
    while (e->flush_done < mine && !e->stop && !late)
        late = pthread_cond_timedwait(&e->changed, &e->lock, &until);
    /* who stops it is told what became of the rest */
    perf_err err = e->stop                 ? PERF_ERR_CLOSED
                   : e->flush_done >= mine ? PERF_OK
                                           : PERF_ERR_TIMEOUT;
    pthread_mutex_unlock(&e->lock);
    return err;
}

static uint64_t
dropped(const perf_exporter_stats *s)
{
    return s->lane[0].dropped + s->lane[1].dropped + s->lane[2].dropped;
}

perf_err
perf_exporter_stop_blocking(perf_exporter *e, uint64_t timeout_ns)
{
    if (!e)
        return PERF_OK;
    uint64_t now = perf_clock_now_ns();
    pthread_mutex_lock(&e->lock);
    bool mine = e->running && !e->stop;
    uint64_t before = dropped(&e->stats);
    if (mine) {
        e->stop = true;
        if (__builtin_add_overflow(now, timeout_ns, &e->stop_until_ns))
            e->stop_until_ns = UINT64_MAX;
        wake(e);
        pthread_cond_broadcast(&e->changed); /* flushes end */
    }
    pthread_mutex_unlock(&e->lock);
    if (!mine)
        return PERF_OK;
    pthread_join(e->thread, NULL);
    pthread_mutex_lock(&e->lock);
    e->running = false;
    bool late = dropped(&e->stats) > before;
    pthread_mutex_unlock(&e->lock);
    return late ? PERF_ERR_TIMEOUT : PERF_OK;
}

void
perf_exporter_destroy_blocking(perf_exporter *e)
{
    if (!e)
        return;
    perf_exporter_stop_blocking(e, 0);
    delist(e);
    discard(e);
}
