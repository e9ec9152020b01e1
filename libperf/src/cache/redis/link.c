/* link.c - a client's two connections: made, kept alive, written, read, lost.
 */
#include "io.h"

enum {
    READ_BYTES = 16 * 1024, /* that hiredis reads at once */
    READS = 64,             /* a turn */
    GATHER_NS = 200000,     /* what a network takes for a reply */
};

/* ---- lines ---- */

static void
line_open(perfi_io *io, perfi_line *line, redisContext *c, uint64_t now_ns)
{
    const perf_redis *r = io->client;
    line->c = c;
    line->heard_ns = now_ns;
    line->asked_ns = 0;
    line->replies.allocator = r->allocator;
    line->replies.max_bytes = r->settings->c.max_reply_bytes;
    perfi_replies_attach(&line->replies, c->reader);
    atomic_store_explicit(&line->fd, c->fd, memory_order_relaxed);
}

static void
line_close(perfi_line *line)
{
    /* first, or a child of a fork might close another's descriptor */
    atomic_store_explicit(&line->fd, -1, memory_order_relaxed);
    if (line->c)
        redisFree(line->c);
    line->c = NULL;
}

/* Both: what one knows is worth nothing without the other. */
static void
lose(perfi_io *io, perf_err why, uint64_t now_ns)
{
    perf_redis *r = io->client;
    bool had_listener = io->listener.c;
    if (!io->commands.c)
        return;
    line_close(&io->commands);
    line_close(&io->listener);
    atomic_store_explicit(&r->connected, 0, memory_order_relaxed);
    atomic_store_explicit(&r->tracking, 0, memory_order_relaxed);
    if (had_listener)
        perfi_changes_all(&r->changes);
    perfi_add(&r->losses, 1);
    perfi_flight_fail_sent_at(&io->flight, why, now_ns);
    /* at once, unless it did not last the last time either */
    if (now_ns - io->since_ns >= r->settings->c.heartbeat_ns) {
        perfi_backoff_reset(&io->backoff);
        io->redial_ns = now_ns;
    } else
        io->redial_ns = now_ns + perfi_backoff_next(&io->backoff);
}

/* ---- dialling ---- */

static void
adopt(perfi_io *io, redisContext *commands, redisContext *listener,
      uint64_t now_ns)
{
    perf_redis *r = io->client;
    line_open(io, &io->commands, commands, now_ns);
    if (listener)
        line_open(io, &io->listener, listener, now_ns);
    if (io->was_connected && listener)
        perfi_changes_all(&r->changes);
    io->was_connected = true;
    io->since_ns = now_ns;
    perfi_add(&r->connects, 1);
    atomic_store_explicit(&r->connected, 1, memory_order_relaxed);
    atomic_store_explicit(&r->tracking, listener != NULL, memory_order_relaxed);
    perfi_redis_succeed(r);
}

static void
end_dial(perfi_io *io, uint64_t now_ns)
{
    redisContext *commands, *listener;
    char error[128];
    if (!perfi_dial_take(io->dial, &commands, &listener, error)) {
        if (now_ns >= io->dial_until_ns)
            perfi_dial_hang_up(io->dial);
        return;
    }
    perfi_dial_drop(io->dial);
    io->dial = NULL;
    perfi_redis_say(io->client, error);
    if (commands) {
        adopt(io, commands, listener, now_ns);
        return;
    }
    perfi_add(&io->client->dial_errors, 1);
    io->redial_ns = now_ns + perfi_backoff_next(&io->backoff);
    perfi_flight_fail_todo_at(&io->flight, PERF_ERR_UNREACHABLE, now_ns);
}

/* Copies are only worth having while changes are heard of. */
static bool
wants_line(const perfi_io *io)
{
    return io->flight.todo.first ||
           (io->was_connected && io->client->settings->tracks);
}

void
perfi_link_connect_at(perfi_io *io, uint64_t now_ns)
{
    if (io->dial)
        end_dial(io, now_ns);
    if (io->dial || io->commands.c || !wants_line(io))
        return;
    bool probing =
        io->flight.todo.first &&
        atomic_load_explicit(&io->client->breaker_state,
                             memory_order_relaxed) == PERF_REDIS_PROBING;
    if (now_ns < io->redial_ns && !probing) {
        perfi_flight_fail_todo_at(&io->flight, PERF_ERR_UNREACHABLE, now_ns);
        return;
    }
    perfi_settings *s = io->client->settings;
    io->dial = perfi_dial_start(s, io->wake.write);
    io->dial_until_ns = now_ns + 3 * s->c.connect_timeout_ns;
    if (!io->dial) { /* no memory, no thread: not now */
        io->redial_ns = now_ns + perfi_backoff_next(&io->backoff);
        perfi_flight_fail_todo_at(&io->flight, PERF_ERR_UNREACHABLE, now_ns);
    }
}

/* ---- hearts ---- */

static void
ask_commands(perfi_io *io)
{
    static const char ping[] = "*1\r\n$4\r\nPING\r\n";
    perf_redis_ticket *t =
        perfi_ticket_new(io->client->allocator, ping, sizeof ping - 1, 1, 1);
    if (!t)
        return; /* asked again, and again, and then it counts as lost */
    t->internal = true;
    t->deadline_ns = UINT64_MAX;
    atomic_fetch_add_explicit(&io->client->queue_bytes, t->bytes,
                              memory_order_relaxed);
    perfi_flight_add(&io->flight, t);
}

/* Whether it is time to ask; *lost when an answer is overdue. */
static bool
is_quiet_at(perfi_line *line, uint64_t beat_ns, uint64_t now_ns, bool *lost)
{
    if (!line->c || now_ns - line->heard_ns < beat_ns)
        return false;
    if (!line->asked_ns || line->asked_ns <= line->heard_ns) {
        line->asked_ns = now_ns;
        return true;
    }
    *lost = *lost || now_ns - line->asked_ns >= beat_ns;
    return false;
}

void
perfi_link_beat_at(perfi_io *io, uint64_t now_ns)
{
    uint64_t beat = io->client->settings->c.heartbeat_ns;
    bool lost = false;
    if (!io->listener.c && !io->flight.sent.first)
        return; /* nothing depends on it */
    if (is_quiet_at(&io->commands, beat, now_ns, &lost))
        ask_commands(io);
    if (is_quiet_at(&io->listener, beat, now_ns, &lost) &&
        redisAppendCommand(io->listener.c, "PING") != REDIS_OK)
        lost = true;
    if (lost)
        lose(io, PERF_ERR_UNREACHABLE, now_ns);
}

/* ---- writing ---- */

static bool
write_listener(perfi_io *io)
{
    int done = 1;
    redisContext *c = io->listener.c;
    return !c || !sdslen(c->obuf) || redisBufferWrite(c, &done) == REDIS_OK;
}

/* See io.c. */
static void
gather(perfi_io *io, long begun, uint64_t now_ns)
{
    perfi_add(&io->client->writes, 1);
    io->gather_ns = now_ns + GATHER_NS;
    io->crowd -= io->crowd / 16;
    if ((uint32_t)begun * 16 > io->crowd)
        io->crowd = (uint32_t)begun * 16;
}

static bool
write_commands(perfi_io *io, uint64_t now_ns)
{
    redisContext *c = io->commands.c;
    for (int done = 1; done;) {
        long begun = perfi_flight_fill(&io->flight, c);
        size_t before = sdslen(c->obuf);
        if (begun < 0)
            return false;
        if (!before)
            return true;
        if (redisBufferWrite(c, &done) != REDIS_OK)
            return false;
        perfi_add(&io->client->bytes_out, before - sdslen(c->obuf));
        if (begun)
            gather(io, begun, now_ns);
    }
    return true;
}

void
perfi_link_write_at(perfi_io *io, uint64_t now_ns)
{
    if (io->commands.c && (!write_commands(io, now_ns) || !write_listener(io)))
        lose(io, PERF_ERR_UNREACHABLE, now_ns);
}

/* ---- reading ---- */

/* ["message", channel, keys]; keys is nil when all of them changed. */
static void
hear(perfi_io *io, const perf_redis_reply *m)
{
    perf_redis *r = io->client;
    if (m->type != PERF_REDIS_ARRAY || m->count != 3 ||
        !perfi_reply_is(m->element[0], "message"))
        return; /* the answer to PING */
    const perf_redis_reply *keys = m->element[2];
    if (keys->type != PERF_REDIS_ARRAY)
        perfi_changes_all(&r->changes);
    for (uint32_t i = 0; i < keys->count; i++)
        perfi_changes_add(&r->changes, r->settings, keys->element[i]->bytes,
                          keys->element[i]->size);
}

static perf_err
take_replies(perfi_io *io, perfi_line *line, uint64_t now_ns)
{
    for (;;) {
        perf_redis_reply *reply;
        perf_err err =
            perfi_replies_next(&line->replies, line->c->reader, &reply);
        if (err || !reply)
            return err == PERF_ERR_CORRUPT ? PERF_ERR_UNREACHABLE : err;
        if (line == &io->listener) {
            hear(io, reply);
            perfi_reply_free(reply);
        } else if (!perfi_flight_reply_at(&io->flight, reply, now_ns))
            return PERF_ERR_UNREACHABLE;
    }
}

/* What has come, as far as it goes in one turn. */
static perf_err
read_line(perfi_io *io, perfi_line *line, uint64_t now_ns)
{
    const redisReader *reader = line->c->reader;
    for (int i = 0; i < READS; i++) {
        size_t before = reader->len;
        bool alive = redisBufferRead(line->c) == REDIS_OK;
        size_t got = reader->len - before;
        if (alive && !got)
            return PERF_OK;
        if (alive) {
            perfi_add(&io->client->bytes_in, got);
            line->heard_ns = now_ns;
        }
        perf_err err = take_replies(io, line, now_ns);
        if (err || !alive)
            return err ? err : PERF_ERR_UNREACHABLE;
        /* less than asked for: poll() tells when there is more; of what TLS
         * has read already it would not */
        if (got < READ_BYTES && !io->client->settings->c.tls)
            return PERF_OK;
    }
    io->again = true;
    return PERF_OK;
}

void
perfi_link_read_at(perfi_io *io, perfi_line *line, uint64_t now_ns)
{
    perf_err err = line->c ? read_line(io, line, now_ns) : PERF_OK;
    if (err)
        lose(io, err, now_ns);
}

/* ---- for the loop ---- */

uint64_t
perfi_link_due_ns(const perfi_io *io)
{
    uint64_t due = io->flight.deadline_ns;
    uint64_t beat = io->client->settings->c.heartbeat_ns;
    const perfi_line *lines[] = {&io->commands, &io->listener};
    for (int i = 0; i < 2; i++) {
        uint64_t last = lines[i]->heard_ns > lines[i]->asked_ns
                            ? lines[i]->heard_ns
                            : lines[i]->asked_ns;
        if (lines[i]->c && last + beat < due &&
            (io->listener.c || io->flight.sent.first))
            due = last + beat;
    }
    if (io->dial && io->dial_until_ns < due)
        due = io->dial_until_ns;
    if (!io->dial && !io->commands.c && wants_line(io) && io->redial_ns < due)
        due = io->redial_ns;
    return due;
}

void
perfi_link_end(perfi_io *io)
{
    line_close(&io->commands);
    line_close(&io->listener);
    if (io->dial) {
        perfi_dial_hang_up(io->dial);
        perfi_dial_drop(io->dial);
    }
}
