/* exporter_collect.c - from the segment into the queue. */
#include "exporter.h"

#include <libperf/clock.h>
#include <libperf/metric.h>
#include <libperf/segment.h>

#include <string.h>

#ifdef PERF_HAVE_ZLIB
#include <zlib.h>
#endif

/* Records in one reading from which on it is read more often, and below which
 * it is read less often: a ring has room for 65 thousand. */
enum { MANY = 8192, FEW = 2048 };

static const uint64_t read_least_ns = 50000000;

/* ---- opening ---- */

/* Asking for the segment would start it, and the program may yet configure it.
 */
static bool
has_begun(void)
{
    char path[PERF_PATH_MAX_BYTES];
    return perf_segment_path(path, sizeof path) != PERF_ERR_CLOSED;
}

perf_err
perfi_collect_open(perf_exporter *e)
{
    perf_err err = PERF_OK;
    if (!e->reader && e->path)
        err = perf_reader_open_blocking(e->path, e->allocator, &e->reader);
    else if (!e->reader && has_begun())
        err = perf_reader_open_self_blocking(e->allocator, &e->reader);
    if (!err && e->reader && !e->otlp) {
        perf_otlp_config c = e->config.otlp;
        c.allocator = e->allocator;
        c.resource = (const char *const *)e->resource;
        /* one that is larger than the queue would never be sent */
        if (c.max_bytes > e->config.max_queue_bytes / 2)
            c.max_bytes = e->config.max_queue_bytes / 2;
        err = perf_otlp_create(e->reader, &c, &e->otlp);
    }
    return err;
}

void
perfi_collect_close(perf_exporter *e)
{
    perf_otlp_destroy(e->otlp);
    perf_reader_close(e->reader);
    e->allocator->free(e->packed, e->packed_room, e->allocator->ctx);
    e->otlp = NULL;
    e->reader = NULL;
    e->packed = NULL;
    e->packed_room = 0;
    e->held = (perf_otlp_body){0};
}

/* ---- gzip ---- */

#ifdef PERF_HAVE_ZLIB
static bool
has_room(perf_exporter *e, size_t bytes)
{
    const perf_allocator *a = e->allocator;
    if (e->packed_room >= bytes)
        return true;
    a->free(e->packed, e->packed_room, a->ctx);
    e->packed = a->alloc(bytes, a->ctx);
    e->packed_room = e->packed ? bytes : 0;
    return e->packed;
}

/* False: no memory. */
static bool
pack(perf_exporter *e, const perf_otlp_body *body, size_t *size)
{
    enum { GZIP = 16 + 15 };
    z_stream z = {0};
    if (deflateInit2(&z, Z_BEST_SPEED, Z_DEFLATED, GZIP, 8,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        return false;
    size_t bound = deflateBound(&z, (uLong)body->size);
    bool done = has_room(e, bound);
    if (done) {
        z.next_in = (Bytef *)(uintptr_t)body->bytes; /* zlib forgot a const */
        z.avail_in = (uInt)body->size;
        z.next_out = e->packed;
        z.avail_out = (uInt)bound;
        done = deflate(&z, Z_FINISH) == Z_STREAM_END;
        *size = bound - z.avail_out;
    }
    deflateEnd(&z);
    return done;
}
#else
static bool
pack(perf_exporter *e, const perf_otlp_body *body, size_t *size)
{
    (void)e, (void)body, (void)size;
    return false;
}
#endif

/* ---- bodies ---- */

static void
queue_body(perf_exporter *e, const perf_otlp_body *body)
{
    size_t size = body->size;
    const void *bytes = body->bytes;
    if (e->config.gzip) {
        if (!pack(e, body, &size)) {
            e->queue.lane[body->signal].stats.dropped += body->items;
            return;
        }
        bytes = e->packed;
    }
    perfi_outbox_add(&e->queue, (perf_otlp_signal)body->signal, bytes, size,
                     body->items, e->metric_sets);
}

/* A file is there tomorrow, too: it waits for room. */
static bool
must_wait(const perf_exporter *e, const perf_otlp_body *body)
{
    return e->path && e->queue.bytes &&
           perfi_outbox_room(&e->queue) < body->size;
}

/* Let a fork through: a large copy is many bodies. */
static void
breathe(perf_exporter *e)
{
    pthread_mutex_unlock(&e->work);
    pthread_mutex_lock(&e->work);
}

typedef perf_err (*next_fn)(perf_otlp *o, perf_otlp_body *out);

/* False: a body waits for room. */
static bool
queue_all(perf_exporter *e, next_fn next)
{
    perf_otlp_body body;
    while (!next(e->otlp, &body) && body.items) {
        if (must_wait(e, &body)) {
            e->held = body;
            return false;
        }
        queue_body(e, &body);
        breathe(e);
    }
    return true;
}

bool
perfi_collect_more(perf_exporter *e)
{
    if (!e->held.items || must_wait(e, &e->held))
        return false;
    queue_body(e, &e->held);
    e->held.items = 0;
    queue_all(e, perf_otlp_records);
    e->flush_number = e->queue.parcels; /* who waits, waits for all of it */
    return true;
}

/* ---- reading ---- */

static uint64_t
records(const perf_exporter *e)
{
    perf_otlp_stats s;
    perf_otlp_stats_now(e->otlp, &s);
    return s.spans + s.events + s.log_records + s.lost;
}

static void
adapt(perf_exporter *e, uint64_t found)
{
    if (found > MANY && e->read_every_ns > read_least_ns)
        e->read_every_ns /= 2;
    else if (found < FEW)
        e->read_every_ns *= 2;
    if (e->read_every_ns > e->config.interval_ns)
        e->read_every_ns = e->config.interval_ns;
}

static void
queue_metrics(perf_exporter *e, uint64_t now_ns)
{
    perf_otlp_body body;
    e->metric_sets++;
    e->metrics_due_ns = now_ns + e->config.metrics_interval_ns;
    /* a file's totals are of when it was written */
    uint64_t when = e->path ? 0 : now_ns;
    while (!perf_otlp_metrics(e->otlp, when, &body) && body.items)
        if (!must_wait(e, &body)) /* or a file's spans would go for it; its
                                     totals come again at the end */
            queue_body(e, &body);
}

void
perfi_collect_at(perf_exporter *e, uint64_t now_ns, bool metrics, bool last)
{
    e->read_due_ns = now_ns + e->read_every_ns;
    if (e->held.items)
        return; /* this copy is not done yet */
    bool first = !e->otlp;
    perf_err err = perfi_collect_open(e);
    if (!err && e->otlp && !first)
        err = perf_reader_refresh_blocking(e->reader);
    if (err) {
        perfi_exporter_say(e, "reading the segment: %s", perf_strerror(err));
        return;
    }
    if (!e->otlp)
        return;
    uint64_t before = records(e);
    queue_all(e, perf_otlp_records);
    if (metrics)
        queue_metrics(e, now_ns);
    if (last && !e->held.items)
        queue_all(e, perf_otlp_rest);
    adapt(e, records(e) - before);
    e->read_due_ns = now_ns + e->read_every_ns;
    pthread_mutex_lock(&e->lock);
    e->stats.reads++;
    pthread_mutex_unlock(&e->lock);
}

/* ---- losses ---- */

static void
note(const char *text, uint64_t *noted, uint64_t now)
{
    if (now > *noted)
        perf_metric_add(perf_name(PERF_KIND_COUNTER, text, strlen(text)),
                        now - *noted);
    *noted = now;
}

void
perfi_collect_note(perf_exporter *e)
{
    static const char *const dropped[] = {"otlp.dropped.spans",
                                          "otlp.dropped.data_points",
                                          "otlp.dropped.log_records"};
    static const char *const rejected[] = {"otlp.rejected.spans",
                                           "otlp.rejected.data_points",
                                           "otlp.rejected.log_records"};
    perf_otlp_stats s = {0};
    if (!e->otlp || e->path)
        return;
    perf_otlp_stats_now(e->otlp, &s);
    for (int i = 0; i < PERF_OTLP_SIGNALS; i++) {
        const perf_exporter_lane *lane = &e->queue.lane[i].stats;
        note(dropped[i], &e->noted.lane[i].dropped, lane->dropped);
        note(rejected[i], &e->noted.lane[i].rejected, lane->rejected);
    }
    note("otlp.lost.records", &e->noted.lost, s.lost);
    note("otlp.unencoded.items", &e->noted.unencoded, s.dropped);
}
