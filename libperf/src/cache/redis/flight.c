/* flight.c - see flight.h. Nothing here waits or looks at a clock. */
#include "flight.h"

#include "reply.h"

#include <libperf/clock.h>

/* A connection's buffer is cut at its front after each write: it stays small,
 * so that a long value is not moved again and again. */
enum { PIECE = 128 * 1024 };

/* ---- lists ---- */

static void
append(perfi_list *list, perf_redis_ticket *t)
{
    t->next = NULL;
    if (list->last)
        list->last->next = t;
    else
        list->first = t;
    list->last = t;
}

static perf_redis_ticket *
pop(perfi_list *list)
{
    perf_redis_ticket *t = list->first;
    if (t && !(list->first = t->next))
        list->last = NULL;
    return t;
}

/* ---- being done ---- */

void
perfi_flight_wake(perfi_flight *f)
{
    if (!f->touched)
        return;
    perfi_wake_up(f->touched->wake.write);
    perfi_port_drop(f->touched);
    f->touched = NULL;
}

static bool
is_done(const perf_redis_ticket *t)
{
    /* relaxed: only this thread writes it */
    return atomic_load_explicit(&t->done, memory_order_relaxed);
}

/* The server did answer: too much, or more than there was memory for. */
static bool
is_own_fault(perf_err err)
{
    return err == PERF_ERR_RANGE || err == PERF_ERR_NOMEM;
}

static void
count(perfi_flight *f, const perf_redis_ticket *t, perf_err err,
      uint64_t now_ns)
{
    perf_redis *r = f->client;
    if (t->internal || err == PERF_ERR_CLOSED)
        return;
    if (err == PERF_OK) {
        perf_histogram_record_intended(r->latency, t->submitted_ns, now_ns);
        perfi_redis_succeed(r);
        return;
    }
    if (err == PERF_ERR_TIMEOUT)
        perfi_add(&r->timeouts, t->expected);
    else
        perfi_add(&r->unreachable, t->expected);
    if (!is_own_fault(err))
        perfi_redis_fail_at(r, now_ns);
}

static void
finish(perfi_flight *f, perf_redis_ticket *t, perf_err err, uint64_t now_ns)
{
    if (is_done(t))
        return;
    count(f, t, err, now_ns);
    perf_redis_port *port = perfi_ticket_finish(t, err);
    if (!port)
        return;
    if (port == f->touched) {
        perfi_port_drop(port);
        return;
    }
    perfi_flight_wake(f);
    f->touched = port;
}

/* Before it is done: who has waited for it finds it gone from the queue. */
static void
count_out(perfi_flight *f, const perf_redis_ticket *t)
{
    atomic_fetch_sub_explicit(&f->client->queue_bytes, t->bytes,
                              memory_order_relaxed);
}

/* ---- the way of a command ---- */

void
perfi_flight_add(perfi_flight *f, perf_redis_ticket *t)
{
    if (t->deadline_ns < f->deadline_ns)
        f->deadline_ns = t->deadline_ns;
    append(&f->todo, t);
}

long
perfi_flight_fill(perfi_flight *f, redisContext *c)
{
    long begun = 0;
    for (size_t room; (room = sdslen(c->obuf)) < PIECE;) {
        room = PIECE - room;
        perf_redis_ticket *t = f->writing;
        if (!t) {
            t = f->writing = pop(&f->todo);
            if (!t)
                break;
            append(&f->sent, t);
            begun++;
        }
        size_t left = t->wire_size - t->written;
        size_t n = left < room ? left : room;
        if (redisAppendFormattedCommand(c, (const char *)t->wire + t->written,
                                        n) != REDIS_OK)
            return -1;
        t->written += n;
        if (n == left)
            f->writing = NULL;
    }
    return begun;
}

bool
perfi_flight_reply_at(perfi_flight *f, perf_redis_reply *reply, uint64_t now_ns)
{
    perf_redis_ticket *t = f->sent.first;
    bool last = t && t->arrived + 1 == t->expected;
    if (!t || (last && t == f->writing)) {
        perfi_reply_free(reply);
        return false;
    }
    if (!t->internal && !is_done(t)) {
        perfi_add(&f->client->replies, 1);
        if (reply->type == PERF_REDIS_ERROR)
            perfi_add(&f->client->errors, 1);
    }
    if (is_done(t))
        perfi_reply_free(reply); /* too late */
    else
        t->reply[t->arrived] = reply;
    t->arrived++;
    if (last) {
        pop(&f->sent);
        count_out(f, t);
        finish(f, t, PERF_OK, now_ns);
        perf_redis_release(t);
    }
    return true;
}

/* ---- the ways it may end ---- */

static void
fail_all(perfi_flight *f, perfi_list *list, perf_err err, uint64_t now_ns)
{
    for (perf_redis_ticket *t; (t = pop(list));) {
        count_out(f, t);
        finish(f, t, err, now_ns);
        perf_redis_release(t);
    }
}

static void
look_at_deadline(perfi_flight *f, const perf_redis_ticket *t)
{
    if (!is_done(t) && t->deadline_ns < f->deadline_ns)
        f->deadline_ns = t->deadline_ns;
}

void
perfi_flight_expire_at(perfi_flight *f, uint64_t now_ns)
{
    if (now_ns < f->deadline_ns)
        return;
    f->deadline_ns = UINT64_MAX;
    for (perf_redis_ticket *t = f->sent.first; t; t = t->next) {
        if (t->deadline_ns <= now_ns)
            finish(f, t, PERF_ERR_TIMEOUT, now_ns);
        look_at_deadline(f, t);
    }
    perfi_list todo = f->todo, late = {0};
    f->todo = (perfi_list){0};
    for (perf_redis_ticket *t; (t = pop(&todo));) {
        append(t->deadline_ns <= now_ns ? &late : &f->todo, t);
        look_at_deadline(f, t);
    }
    fail_all(f, &late, PERF_ERR_TIMEOUT, now_ns);
}

void
perfi_flight_fail_sent_at(perfi_flight *f, perf_err err, uint64_t now_ns)
{
    f->writing = NULL;
    perf_redis_ticket *t = is_own_fault(err) ? f->sent.first : NULL;
    if (t)
        finish(f, t, err, now_ns);
    fail_all(f, &f->sent, t ? PERF_ERR_UNREACHABLE : err, now_ns);
}

void
perfi_flight_fail_todo_at(perfi_flight *f, perf_err err, uint64_t now_ns)
{
    fail_all(f, &f->todo, err, now_ns);
}
