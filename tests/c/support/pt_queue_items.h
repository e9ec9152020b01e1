/* pt_queue_items.h - the model of pt_queue.h: where items are, whose turn it
 * is, who comes in and who is given up. */
#ifndef PT_QUEUE_ITEMS_H
#define PT_QUEUE_ITEMS_H
#include "queue.h" /* of batcher/src: perfi_batch_queue_check() */

#include <libperf/batch_queue.h>
#include <string.h>

enum { PT_QUEUE_ITEMS = 160, PT_QUEUE_BATCHES = 64, PT_QUEUE_TENANTS = 3 };

typedef struct pt_thing {
    perf_batch_item item; /* first */
    uint64_t key, order;  /* of submission */
    uint64_t submitted_ns;
    uint32_t group; /* that is tried again together */
    uint8_t state;  /* as the model has it */
    uint8_t why;    /* it was dropped */
    bool unnamed;   /* dropped_at() has not named it yet */
    bool in_batch;
} pt_thing;

typedef struct pt_group {
    perf_batch batch;
    bool open, nested, again;
} pt_group;

typedef struct pt_queue {
    perf_batch_queue *queue;
    perf_batch_config config;
    uint64_t (*choose)(void *source, uint64_t bound); /* 0 to bound - 1 */
    void *source;
    pt_thing thing[PT_QUEUE_ITEMS];
    pt_group batch[PT_QUEUE_BATCHES];
    uint32_t tenants;
    uint64_t now_ns, order, ids;
    uint32_t groups;
    bool closed, discarded, throttled;
    perf_batch_stats expected; /* totals alone */
} pt_queue;

static inline uint64_t
pt_choose(pt_queue *m, uint64_t bound)
{
    return m->choose(m->source, bound);
}

/* ---- looking ---- */

static inline bool
pt_is_lined_up(const pt_thing *t) /* for an ordinary batch */
{
    return t->state == PERF_BATCH_QUEUED && !t->item.nested;
}

static inline bool
pt_waits(const pt_thing *t)
{
    return t->state == PERF_BATCH_BLOCKED || t->state == PERF_BATCH_QUEUED ||
           t->state == PERF_BATCH_ISOLATED;
}

static inline uint32_t
pt_count(const pt_queue *m, bool (*is)(const pt_thing *))
{
    uint32_t n = 0;
    for (int i = 0; i < PT_QUEUE_ITEMS; i++)
        n += is(&m->thing[i]);
    return n;
}

static inline uint32_t
pt_count_state(const pt_queue *m, perf_batch_state state)
{
    uint32_t n = 0;
    for (int i = 0; i < PT_QUEUE_ITEMS; i++)
        n += m->thing[i].state == state;
    return n;
}

static inline bool
pt_is_nested(const pt_thing *t)
{
    return t->state == PERF_BATCH_QUEUED && t->item.nested;
}

static inline bool
pt_goes_before(const pt_queue *m, const pt_thing *a, const pt_thing *b)
{
    if (m->config.order == PERF_BATCH_ORDER_STRICT &&
        a->item.priority != b->item.priority)
        return a->item.priority < b->item.priority;
    return a->key != b->key ? a->key < b->key : a->order < b->order;
}

/* Whose turn it is, of one tenant or of all; `last`: whose turn it is last. */
static inline pt_thing *
pt_turn(pt_queue *m, const uint32_t *tenant, bool last)
{
    pt_thing *best = NULL;
    for (int i = 0; i < PT_QUEUE_ITEMS; i++) {
        pt_thing *t = &m->thing[i];
        if (pt_is_lined_up(t) && (!tenant || t->item.tenant == *tenant) &&
            (!best || pt_goes_before(m, t, best) != last))
            best = t;
    }
    return best;
}

static inline pt_thing *
pt_oldest(pt_queue *m)
{
    pt_thing *oldest = NULL;
    for (int i = 0; i < PT_QUEUE_ITEMS; i++) {
        pt_thing *t = &m->thing[i];
        if (pt_is_lined_up(t) && (!oldest || t->order < oldest->order))
            oldest = t;
    }
    return oldest;
}

static inline uint64_t
pt_sum(uint64_t a, uint64_t b)
{
    return a + b < a ? UINT64_MAX : a + b;
}

static inline uint64_t
pt_key(const pt_queue *m, const perf_batch_item *item)
{
    const uint64_t *aging = m->config.aging_ns;
    uint64_t own = pt_sum(m->now_ns, aging[item->priority]);
    uint64_t above =
        pt_sum(m->now_ns, item->priority ? aging[item->priority - 1] : 0);
    if (!item->deadline_ns || item->deadline_ns >= own)
        return own;
    return item->deadline_ns > above ? item->deadline_ns : above;
}

/* ---- drops ---- */

static inline void
pt_drop(pt_queue *m, pt_thing *t, perf_batch_drop why)
{
    t->state = PERF_BATCH_DROPPED;
    t->why = (uint8_t)why;
    t->unnamed = true;
    m->expected.expired += why == PERF_BATCH_DROP_EXPIRED;
    m->expected.shed += why == PERF_BATCH_DROP_SHED;
    m->expected.closed += why == PERF_BATCH_DROP_CLOSED;
    m->expected.infeasible += why == PERF_BATCH_DROP_INFEASIBLE;
}

static inline bool
pt_is_over(const pt_queue *m, const pt_thing *t)
{
    bool waits = pt_waits(t);
    if (!waits && t->state != PERF_BATCH_RUNNING)
        return false;
    if (t->item.deadline_ns && t->item.deadline_ns <= m->now_ns)
        return true;
    return waits && t->state != PERF_BATCH_ISOLATED && t->item.start_by_ns &&
           t->item.start_by_ns < m->now_ns;
}

/* Given up early: in the largest batch there is one would be late. */
static inline void
pt_accept_infeasible(pt_queue *m)
{
    uint64_t most = m->config.max_items + 4;
    most = most > m->config.max_weight ? most : m->config.max_weight;
    perf_batch_cost *cost = perf_batch_queue_cost(m->queue);
    uint64_t bound_ns = perf_batch_cost_bound(cost, most > 20 ? most : 20);
    for (int i = 0; i < PT_QUEUE_ITEMS; i++) {
        pt_thing *t = &m->thing[i];
        if (t->state != PERF_BATCH_QUEUED ||
            t->item.state != PERF_BATCH_DROPPED ||
            t->item.drop != PERF_BATCH_DROP_INFEASIBLE)
            continue;
        PT_CLAIM(t->item.deadline_ns && !t->item.nested);
        PT_CLAIM(t->item.deadline_ns < pt_sum(m->now_ns, bound_ns));
        pt_drop(m, t, PERF_BATCH_DROP_INFEASIBLE);
    }
}

/* Whoever came in from outside meanwhile came before all who did not. */
static inline void
pt_look_at_room(pt_queue *m)
{
    uint64_t latest = 0;
    for (int i = 0; i < PT_QUEUE_ITEMS; i++) {
        pt_thing *t = &m->thing[i];
        if (t->state != PERF_BATCH_BLOCKED ||
            t->item.state == PERF_BATCH_BLOCKED)
            continue;
        PT_CLAIM(t->item.state == PERF_BATCH_QUEUED);
        t->state = PERF_BATCH_QUEUED;
        latest = t->order > latest ? t->order : latest;
    }
    uint32_t outside = 0;
    for (int i = 0; i < PT_QUEUE_ITEMS; i++)
        if (m->thing[i].state == PERF_BATCH_BLOCKED) {
            PT_CLAIM(m->thing[i].order > latest);
            outside++;
        }
    PT_CLAIM(!outside || pt_count_state(m, PERF_BATCH_QUEUED) +
                             pt_count_state(m, PERF_BATCH_ISOLATED));
}

/* All that is named was dropped, all that was dropped is named. */
static inline void
pt_name_dropped(pt_queue *m)
{
    for (int i = 0; i < PT_QUEUE_ITEMS; i++)
        if (pt_is_over(m, &m->thing[i]))
            pt_drop(m, &m->thing[i], PERF_BATCH_DROP_EXPIRED);
    perf_batch_item *item;
    while ((item = perf_batch_queue_dropped_at(m->queue, m->now_ns))) {
        pt_thing *t = (pt_thing *)(void *)item;
        PT_CLAIM(t->unnamed && item->state == PERF_BATCH_DROPPED);
        PT_CLAIM(item->drop == t->why);
        t->unnamed = false;
    }
    for (int i = 0; i < PT_QUEUE_ITEMS; i++)
        PT_CLAIM(!m->thing[i].unnamed);
    pt_look_at_room(m);
}

/* ---- submit, cancel ---- */

static inline uint64_t
pt_choose_time(pt_queue *m)
{
    switch (pt_choose(m, 12)) {
    case 0: return pt_sum(m->now_ns, pt_choose(m, 200));
    case 1: return pt_sum(m->now_ns, pt_choose(m, 5000));
    case 2: return UINT64_MAX - pt_choose(m, 2);
    case 3: return 1 + pt_choose(m, 10); /* long ago */
    default: return 0;
    }
}

static inline void
pt_fill_in(pt_queue *m, pt_thing *t)
{
    memset(t, 0, sizeof *t);
    t->item.priority = (uint8_t)pt_choose(m, PERF_PRIORITIES);
    t->item.weight = pt_choose(m, 3) ? pt_choose(m, 20) : 0;
    t->item.nested = pt_choose(m, 20) == 0;
    t->item.tenant = (uint32_t)pt_choose(m, m->tenants + 1);
    t->item.deadline_ns = pt_choose_time(m);
    t->item.start_by_ns = pt_choose_time(m);
}

/* What a full queue does about an item: others go until there is room for it,
 * of which nested ones may have taken more than there is. */
static inline perf_err
pt_push(pt_queue *m, pt_thing *t, uint32_t queued)
{
    for (; queued >= m->config.max_queued; queued--) {
        pt_thing *victim = NULL;
        if (m->config.on_full == PERF_BATCH_FULL_SHED_OLDEST)
            victim = pt_oldest(m);
        if (m->config.on_full == PERF_BATCH_FULL_SHED_LOWEST) {
            victim = pt_turn(m, NULL, true);
            if (victim && pt_goes_before(m, victim, t))
                victim = t;
        }
        if (!victim) {
            m->expected.rejected++;
            return PERF_ERR_FULL;
        }
        t->state = PERF_BATCH_QUEUED;
        pt_drop(m, victim, PERF_BATCH_DROP_SHED);
        if (victim == t)
            break;
        t->state = PERF_BATCH_NEW; /* it is none of those that go */
    }
    return PERF_OK;
}

static inline void
pt_submit(pt_queue *m)
{
    pt_thing *t = &m->thing[pt_choose(m, PT_QUEUE_ITEMS)];
    if (pt_waits(t) || t->in_batch) { /* it is in the queue, or in a batch */
        PT_CLAIM(perf_batch_queue_submit_at(m->queue, &t->item, m->now_ns) ==
                 PERF_ERR_INVALID);
        return;
    }
    pt_fill_in(m, t);
    perf_batch_item before = t->item;
    uint32_t queued = pt_count_state(m, PERF_BATCH_QUEUED) +
                      pt_count_state(m, PERF_BATCH_ISOLATED);
    uint32_t blocked = pt_count_state(m, PERF_BATCH_BLOCKED);
    t->submitted_ns = m->now_ns;
    t->key = pt_key(m, &t->item);
    t->order = ++m->order;
    perf_err expected = PERF_OK;
    uint8_t state = PERF_BATCH_QUEUED;
    bool full = queued >= m->config.max_queued && !t->item.nested;
    bool outside = m->config.on_full == PERF_BATCH_FULL_BLOCK;
    perf_err err = perf_batch_queue_submit_at(m->queue, &t->item, m->now_ns);
    if (m->closed)
        expected = PERF_ERR_CLOSED;
    else if (full && m->config.on_full == PERF_BATCH_FULL_SHED_INFEASIBLE) {
        pt_accept_infeasible(m); /* whoever that was: there is room, or not */
        expected = err ? PERF_ERR_FULL : PERF_OK;
        m->expected.rejected += err != PERF_OK;
        PT_CLAIM(err || pt_count(m, pt_is_lined_up) +
                                pt_count(m, pt_is_nested) +
                                pt_count_state(m, PERF_BATCH_ISOLATED) <
                            m->config.max_queued);
    } else if (full && !outside)
        expected = pt_push(m, t, queued);
    else if (outside && !t->item.nested && (full || blocked))
        state = PERF_BATCH_BLOCKED; /* nobody overtakes who waits outside */
    else if (outside && t->item.state == PERF_BATCH_BLOCKED) {
        PT_CLAIM(queued > m->config.max_queued * 4 / 5); /* it has been full */
        state = PERF_BATCH_BLOCKED;
    }
    PT_CLAIM(err == expected);
    if (err) {
        PT_CLAIM(!memcmp(&before, &t->item, sizeof before));
        pt_name_dropped(m);
        return;
    }
    pt_accept_infeasible(m);
    m->expected.submitted++;
    if (t->state == PERF_BATCH_NEW)
        t->state = state;
    PT_CLAIM(t->item.submitted_ns == m->now_ns);
    pt_name_dropped(m);
}

static inline void
pt_cancel(pt_queue *m)
{
    pt_thing *t = &m->thing[pt_choose(m, PT_QUEUE_ITEMS)];
    bool expected = pt_waits(t) || t->state == PERF_BATCH_RUNNING;
    PT_CLAIM(perf_batch_queue_cancel_at(m->queue, &t->item, m->now_ns) ==
             expected);
    if (!expected)
        return;
    t->state = PERF_BATCH_CANCELLED;
    PT_CLAIM(t->item.state == PERF_BATCH_CANCELLED);
    m->expected.cancelled++;
    pt_look_at_room(m);
}

#endif
