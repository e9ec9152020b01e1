/* exporter_outbox.c - lanes of bodies, bounded together. */
#include "exporter_outbox.h"

#include <string.h>

void
perfi_outbox_init(perfi_outbox *q, const perf_exporter_config *config,
                  uint64_t seed)
{
    *q = (perfi_outbox){.allocator = config->allocator ? config->allocator
                                                       : perf_allocator_libc(),
                        .max_bytes = config->max_queue_bytes,
                        .backoff_min_ns = config->backoff_min_ns,
                        .backoff_max_ns = config->backoff_max_ns,
                        .random = seed};
    for (int i = 0; i < PERF_OTLP_SIGNALS; i++)
        q->lane[i].last = &q->lane[i].first;
}

/* ---- parcels ---- */

static void
unlink_parcel(perfi_outbox *q, perfi_lane *lane, perfi_parcel **at)
{
    perfi_parcel *p = *at;
    *at = p->next;
    if (lane->last == &p->next)
        lane->last = at;
    q->bytes -= p->size;
    lane->stats.waiting -= p->items;
    q->allocator->free(p, sizeof *p + p->size, q->allocator->ctx);
}

void
perfi_outbox_free(perfi_outbox *q)
{
    for (int i = 0; i < PERF_OTLP_SIGNALS; i++)
        while (q->lane[i].first)
            unlink_parcel(q, &q->lane[i], &q->lane[i].first);
}

/* The first that may be dropped: one may be under way. */
static perfi_parcel **
first_idle(perfi_lane *lane)
{
    perfi_parcel **at = &lane->first;
    while (*at && (*at)->under_way)
        at = &(*at)->next;
    return at;
}

static bool
drop_oldest(perfi_outbox *q)
{
    perfi_lane *of = NULL;
    perfi_parcel **oldest = NULL;
    for (int i = 0; i < PERF_OTLP_SIGNALS; i++) {
        perfi_parcel **at = first_idle(&q->lane[i]);
        if (*at && (!oldest || (*at)->number < (*oldest)->number)) {
            of = &q->lane[i];
            oldest = at;
        }
    }
    if (!oldest)
        return false;
    of->stats.dropped += (*oldest)->items;
    unlink_parcel(q, of, oldest);
    return true;
}

/* Totals: newer ones say everything that older ones did. */
static void
supersede(perfi_outbox *q, perfi_lane *lane, uint64_t set)
{
    for (perfi_parcel **at = first_idle(lane); *at;)
        if ((*at)->set < set) {
            lane->stats.superseded += (*at)->items;
            unlink_parcel(q, lane, at);
        } else
            at = &(*at)->next;
}

size_t
perfi_outbox_room(const perfi_outbox *q)
{
    return q->bytes < q->max_bytes ? (size_t)(q->max_bytes - q->bytes) : 0;
}

void
perfi_outbox_add(perfi_outbox *q, perf_otlp_signal signal, const void *bytes,
                 size_t size, uint64_t items, uint64_t set)
{
    perfi_lane *lane = &q->lane[signal];
    if (signal == PERF_OTLP_METRICS)
        supersede(q, lane, set);
    while (perfi_outbox_room(q) < size && size <= q->max_bytes &&
           drop_oldest(q))
        continue;
    perfi_parcel *p = NULL;
    if (perfi_outbox_room(q) >= size)
        p = q->allocator->alloc(sizeof *p + size, q->allocator->ctx);
    if (!p) {
        lane->stats.dropped += items;
        return;
    }
    *p = (perfi_parcel){
        .number = ++q->parcels, .items = items, .set = set, .size = size};
    memcpy(p->bytes, bytes, size);
    *lane->last = p;
    lane->last = &p->next;
    lane->stats.waiting += items;
    q->bytes += size;
    if (q->bytes > q->most_bytes)
        q->most_bytes = q->bytes;
}

/* ---- sending ---- */

perfi_parcel *
perfi_outbox_take_at(perfi_outbox *q, perf_otlp_signal signal, uint64_t now_ns)
{
    perfi_lane *lane = &q->lane[signal];
    perfi_parcel *p = lane->first;
    if (!p || p->under_way || now_ns < lane->due_ns)
        return NULL;
    p->under_way = true;
    lane->stats.requests++;
    return p;
}

/* splitmix64 (Steele, Lea, Flood, OOPSLA 2014). */
static uint64_t
chance(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

/* Twice as long each time, and anything from half of that up to it: programs
 * that failed together do not come back together. */
static uint64_t
backoff(perfi_outbox *q, uint32_t failures)
{
    uint64_t wait = q->backoff_min_ns;
    while (--failures && wait < q->backoff_max_ns)
        wait *= 2;
    if (wait > q->backoff_max_ns)
        wait = q->backoff_max_ns;
    return wait - chance(&q->random) % (wait / 2 + 1);
}

static void
put_off(perfi_outbox *q, perfi_lane *lane, const perfi_judgement *j,
        uint64_t now_ns)
{
    lane->failures += lane->failures < 64;
    lane->stats.failures++;
    lane->asked_ns = j->wait_ns ? now_ns + j->wait_ns : 0;
    lane->due_ns =
        j->wait_ns ? lane->asked_ns : now_ns + backoff(q, lane->failures);
}

void
perfi_outbox_answer_at(perfi_outbox *q, perf_otlp_signal signal,
                       const perfi_judgement *j, uint64_t now_ns)
{
    perfi_lane *lane = &q->lane[signal];
    perfi_parcel *p = lane->first;
    p->under_way = false;
    if (j->verdict == PERFI_AGAIN) {
        put_off(q, lane, j, now_ns);
        if (q->last_try)
            perfi_outbox_drop_lane(q, signal);
        return;
    }
    lane->failures = 0;
    lane->due_ns = lane->asked_ns = 0;
    uint64_t rejected = j->verdict == PERFI_REFUSED ? p->items : j->rejected;
    if (rejected > p->items)
        rejected = p->items;
    lane->stats.rejected += rejected;
    lane->stats.sent += p->items - rejected;
    if (j->verdict == PERFI_ACCEPTED)
        lane->stats.bytes += p->size;
    unlink_parcel(q, lane, &lane->first);
}

uint64_t
perfi_outbox_due_ns(const perfi_outbox *q)
{
    uint64_t due = UINT64_MAX;
    for (int i = 0; i < PERF_OTLP_SIGNALS; i++) {
        const perfi_lane *lane = &q->lane[i];
        if (lane->first && !lane->first->under_way && lane->due_ns < due)
            due = lane->due_ns;
    }
    return due;
}

bool
perfi_outbox_is_done(const perfi_outbox *q, uint64_t number)
{
    for (int i = 0; i < PERF_OTLP_SIGNALS; i++)
        if (q->lane[i].first && q->lane[i].first->number <= number)
            return false;
    return true;
}

/* ---- the end ---- */

void
perfi_outbox_drop_lane(perfi_outbox *q, perf_otlp_signal signal)
{
    perfi_lane *lane = &q->lane[signal];
    for (perfi_parcel **at; *(at = first_idle(lane));) {
        lane->stats.dropped += (*at)->items;
        unlink_parcel(q, lane, at);
    }
}

void
perfi_outbox_last_try_at(perfi_outbox *q, uint64_t now_ns)
{
    q->last_try = true;
    for (int i = 0; i < PERF_OTLP_SIGNALS; i++) {
        perfi_lane *lane = &q->lane[i];
        if (now_ns < lane->asked_ns)
            perfi_outbox_drop_lane(q, (perf_otlp_signal)i);
        lane->due_ns = 0;
    }
}
