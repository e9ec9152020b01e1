/* pt_queue.h - a queue of batches beside a model that keeps everything in one
 * plain array and looks through all of it each time. What the model claims is
 * what batch_queue.h says; where that leaves a choice, it takes what the queue
 * chose and asks whether it was one of those that are allowed.
 *
 * The fuzz target uses it too: whoever includes this defines PT_CLAIM(truth),
 * and gives a source of choices. */
#ifndef PT_QUEUE_H
#define PT_QUEUE_H
#include "pt_queue_items.h"

/* ---- take ---- */

static inline uint32_t
pt_slots_used(const pt_queue *m, bool again)
{
    uint32_t n = 0;
    for (int i = 0; i < PT_QUEUE_BATCHES; i++)
        n += m->batch[i].open && !m->batch[i].nested &&
             (!again || m->batch[i].again);
    return n;
}

static inline uint32_t
pt_isolated(const pt_queue *m, bool nested)
{
    uint32_t n = 0;
    for (int i = 0; i < PT_QUEUE_ITEMS; i++)
        n += m->thing[i].state == PERF_BATCH_ISOLATED &&
             m->thing[i].item.nested == nested;
    return n;
}

/* Nothing was taken: there was nothing that had to go. */
static inline void
pt_claim_idle(pt_queue *m)
{
    uint64_t wake_ns = perf_batch_queue_wake_at(m->queue, m->now_ns);
    if (m->throttled && wake_ns > m->now_ns)
        return; /* calls may not follow each other as fast */
    PT_CLAIM(!pt_count(m, pt_is_nested) && !pt_isolated(m, true));
    if (pt_slots_used(m, false) >= m->config.concurrency)
        return;
    PT_CLAIM(!pt_isolated(m, false) || pt_slots_used(m, true));
    uint32_t waiting = pt_count(m, pt_is_lined_up);
    if (!waiting)
        return;
    uint64_t until = pt_sum(pt_oldest(m)->submitted_ns, m->config.max_wait_ns);
    PT_CLAIM(waiting < m->config.min_items || m->config.concurrency > 1);
    PT_CLAIM(waiting < m->config.max_items && !m->closed);
    PT_CLAIM(m->now_ns < until && wake_ns <= until);
}

static inline void
pt_enter_batch(pt_queue *m, pt_thing *t)
{
    t->state = PERF_BATCH_RUNNING;
    t->in_batch = true;
    PT_CLAIM(t->item.state == PERF_BATCH_RUNNING);
    PT_CLAIM(t->item.taken_ns == m->now_ns);
    m->expected.items_taken++;
}

/* An ordinary batch: in the order of their turns. */
static inline void
pt_join_in_turn(pt_queue *m, perf_batch_item *first)
{
    for (perf_batch_item *i = first; i; i = i->next) {
        pt_thing *t = (pt_thing *)(void *)i;
        const uint32_t *tenant = m->tenants ? &i->tenant : NULL;
        PT_CLAIM(pt_is_lined_up(t) && t == pt_turn(m, tenant, false));
        pt_enter_batch(m, t);
    }
}

static inline void
pt_join_any(pt_queue *m, perf_batch_item *first, bool again)
{
    pt_thing *head = (pt_thing *)(void *)first;
    uint64_t order = 0;
    for (perf_batch_item *i = first; i; i = i->next) {
        pt_thing *t = (pt_thing *)(void *)i;
        if (again) {
            PT_CLAIM(t->state == PERF_BATCH_ISOLATED &&
                     t->group == head->group);
        } else {
            PT_CLAIM(pt_is_nested(t) && t->order > order);
            order = t->order;
        }
        pt_enter_batch(m, t);
    }
    for (int i = 0; again && i < PT_QUEUE_ITEMS; i++)
        PT_CLAIM(m->thing[i].state != PERF_BATCH_ISOLATED ||
                 m->thing[i].group != head->group);
}

static inline void
pt_claim_sums(const perf_batch *b)
{
    uint64_t items = 0, weight = 0;
    for (const perf_batch_item *i = b->first; i; i = i->next) {
        items++;
        weight += i->weight;
    }
    PT_CLAIM(b->items == items && b->weight == weight && items);
}

/* It is as large as it may be. */
static inline void
pt_claim_full(pt_queue *m, const perf_batch *b)
{
    uint64_t most = m->config.max_weight;
    PT_CLAIM(b->items <= m->config.max_items);
    PT_CLAIM(!most || b->weight <= most || b->items == 1);
    pt_thing *next = pt_turn(m, NULL, false);
    if (b->items == m->config.max_items || !next || m->tenants)
        return;
    if (most && b->weight + next->item.weight > most)
        return;
    /* lower priorities come along only where that makes nobody late */
    bool hurried = false;
    for (const perf_batch_item *i = b->first; i; i = i->next)
        hurried |= i->deadline_ns != 0;
    PT_CLAIM(hurried && next->item.priority > b->first->priority);
}

static inline pt_group *
pt_free_batch(pt_queue *m)
{
    for (int i = 0; i < PT_QUEUE_BATCHES; i++)
        if (!m->batch[i].open)
            return &m->batch[i];
    return NULL;
}

static inline bool
pt_take(pt_queue *m)
{
    pt_group *g = pt_free_batch(m);
    if (!g)
        return false;
    perf_batch b = {.id = 12345};
    uint32_t used = pt_slots_used(m, false), again = pt_slots_used(m, true);
    if (!perf_batch_queue_take_at(m->queue, &b, m->now_ns)) {
        PT_CLAIM(b.id == 12345);
        pt_accept_infeasible(m);
        uint32_t outside = pt_count_state(m, PERF_BATCH_BLOCKED);
        pt_name_dropped(m);
        if (pt_count_state(m, PERF_BATCH_BLOCKED) < outside)
            return true; /* drops have made room: once more */
        pt_claim_idle(m);
        return false;
    }
    pt_accept_infeasible(m);
    m->expected.batches++;
    PT_CLAIM(b.id == ++m->ids && b.taken_ns == m->now_ns);
    PT_CLAIM(b.reason <= PERF_BATCH_REASON_NESTED);
    PT_CLAIM(b.reason != PERF_BATCH_REASON_DRAIN || m->closed);
    pt_claim_sums(&b);
    *g = (pt_group){.batch = b, .open = true};
    g->again = b.reason == PERF_BATCH_REASON_ISOLATED;
    g->nested =
        b.reason == PERF_BATCH_REASON_NESTED || (g->again && b.first->nested);
    PT_CLAIM(g->nested || used < m->config.concurrency);
    PT_CLAIM(!g->again || g->nested || !again); /* one of these at a time */
    if (g->again || g->nested) {
        pt_join_any(m, b.first, g->again);
    } else {
        pt_join_in_turn(m, b.first);
        pt_claim_full(m, &b);
        pt_look_at_room(m);
        if (pt_choose(m, 8) == 0) {
            perf_batch_item *last = b.first;
            while (last->next)
                last = last->next;
            uint32_t more = (uint32_t)pt_choose(m, 4), had = b.items;
            uint32_t got = perf_batch_queue_fill_at(m->queue, &g->batch, more,
                                                    20, m->now_ns);
            pt_accept_infeasible(m);
            PT_CLAIM(got <= more && g->batch.items == had + got);
            pt_join_in_turn(m, last->next);
        }
    }
    pt_name_dropped(m);
    return true;
}

/* ---- done ---- */

static inline void
pt_back(pt_queue *m, pt_thing *t, uint8_t state, uint32_t group)
{
    t->state = state;
    t->group = group;
    if (m->discarded)
        pt_drop(m, t, PERF_BATCH_DROP_CLOSED);
}

static inline void
pt_finish(pt_queue *m, pt_group *g, perf_batch_outcome outcome)
{
    pt_thing *things[PT_QUEUE_ITEMS];
    uint32_t live = 0, size = 1;
    for (perf_batch_item *i = g->batch.first; i; i = i->next) {
        pt_thing *t = (pt_thing *)(void *)i;
        t->in_batch = false;
        if (t->state != PERF_BATCH_RUNNING)
            continue;
        i->gives_up = outcome == PERF_BATCH_THROTTLED && !pt_choose(m, 4);
        things[live++] = t;
    }
    bool retries = outcome == PERF_BATCH_FAILED && g->batch.items > 1 &&
                   m->config.isolation != PERF_BATCH_ISOLATE_FAIL_ALL &&
                   !m->discarded;
    if (m->config.isolation == PERF_BATCH_ISOLATE_BISECT)
        size = (live + 1) / 2;
    uint32_t group = m->groups + 1;
    m->groups += live;
    uint64_t retry_ns = outcome == PERF_BATCH_THROTTLED ? pt_choose(m, 100) : 0;
    m->throttled |= outcome == PERF_BATCH_THROTTLED;
    perf_batch_queue_done_at(m->queue, &g->batch, outcome, retry_ns, m->now_ns);
    g->open = false;
    for (uint32_t i = 0; i < live; i++) {
        pt_thing *t = things[i];
        if (retries) {
            pt_back(m, t, PERF_BATCH_ISOLATED, group + i / size);
        } else if (outcome == PERF_BATCH_THROTTLED && !t->item.gives_up) {
            pt_back(m, t, g->again ? PERF_BATCH_ISOLATED : PERF_BATCH_QUEUED,
                    group);
        } else {
            t->state = PERF_BATCH_FINISHED;
            m->expected.finished++;
            m->expected.failed += outcome != PERF_BATCH_OK;
        }
        PT_CLAIM(t->item.state == t->state);
    }
    pt_name_dropped(m);
}

static inline bool
pt_done(pt_queue *m, perf_batch_outcome outcome)
{
    uint64_t at = pt_choose(m, PT_QUEUE_BATCHES);
    for (int i = 0; i < PT_QUEUE_BATCHES; i++) {
        pt_group *g = &m->batch[(at + (uint64_t)i) % PT_QUEUE_BATCHES];
        if (!g->open)
            continue;
        pt_finish(m, g, outcome);
        return true;
    }
    return false;
}

/* ---- all of it ---- */

static inline void
pt_go_on(pt_queue *m, uint64_t ns)
{
    m->now_ns += ns;
    pt_name_dropped(m);
}

static inline void
pt_discard(pt_queue *m)
{
    perf_batch_queue_discard(m->queue);
    m->discarded = m->closed;
    for (int i = 0; i < PT_QUEUE_ITEMS; i++)
        if (pt_waits(&m->thing[i]))
            pt_drop(m, &m->thing[i], PERF_BATCH_DROP_CLOSED);
    pt_name_dropped(m);
}

/* Everything is where the model has it, and counted. */
static inline void
pt_compare(pt_queue *m)
{
    perf_batch_stats s, *e = &m->expected;
    uint64_t queued[4] = {0}, weight = 0;
    for (int i = 0; i < PT_QUEUE_ITEMS; i++) {
        const pt_thing *t = &m->thing[i];
        PT_CLAIM(t->state == t->item.state);
        if (!pt_waits(t) || t->state == PERF_BATCH_BLOCKED)
            continue;
        queued[t->item.priority]++;
        weight += t->item.weight;
    }
    perf_batch_queue_stats_now(m->queue, &s);
    PT_CLAIM(!memcmp(queued, s.queued_by_priority, sizeof queued));
    PT_CLAIM(s.queued == queued[0] + queued[1] + queued[2] + queued[3]);
    PT_CLAIM(s.queued_weight == weight);
    PT_CLAIM(s.blocked == pt_count_state(m, PERF_BATCH_BLOCKED));
    PT_CLAIM(s.running == pt_count_state(m, PERF_BATCH_RUNNING));
    PT_CLAIM(s.submitted == e->submitted && s.finished == e->finished);
    PT_CLAIM(s.failed == e->failed && s.cancelled == e->cancelled);
    PT_CLAIM(s.expired == e->expired && s.shed == e->shed);
    PT_CLAIM(s.closed == e->closed && s.rejected == e->rejected);
    PT_CLAIM(s.infeasible == e->infeasible);
    PT_CLAIM(s.batches == e->batches && s.items_taken == e->items_taken);
    PT_CLAIM(s.submitted == s.blocked + s.queued + s.running + s.finished +
                                s.cancelled + s.expired + s.infeasible +
                                s.shed + s.closed);
    PT_CLAIM(!perfi_batch_queue_check(m->queue));
}

static inline void
pt_queue_open(pt_queue *m, const perf_batch_config *config, uint32_t tenants)
{
    m->config = *config;
    m->now_ns = 1000;
    PT_CLAIM(!perf_batch_queue_create(config, &m->queue));
    perf_batch_cost *cost = perf_batch_queue_cost(m->queue);
    PT_CLAIM(!perf_batch_cost_fix(cost, 10, 3));
    for (uint32_t i = 0; i < tenants; i++) {
        PT_CLAIM(!perf_batch_queue_tenant_add(m->queue, 1 + i, &m->tenants));
        PT_CLAIM(m->tenants == i + 1);
    }
}

static inline void
pt_queue_step(pt_queue *m)
{
    uint64_t verb = pt_choose(m, 100);
    if (verb < 45)
        pt_submit(m);
    else if (verb < 50)
        pt_cancel(m);
    else if (verb < 65)
        pt_take(m);
    else if (verb < 80)
        pt_done(m, PERF_BATCH_OK);
    else if (verb < 86)
        pt_done(m, PERF_BATCH_FAILED);
    else if (verb < 87)
        pt_done(m, PERF_BATCH_LOST);
    else if (verb < 88)
        pt_done(m, PERF_BATCH_THROTTLED);
    else
        pt_go_on(m, pt_choose(m, 3) ? pt_choose(m, 50) : pt_choose(m, 1000));
}

/* Until nothing is left: each item has ended, and the queue has let it go. */
static inline void
pt_queue_drain(pt_queue *m, bool discard)
{
    perf_batch_queue_close(m->queue);
    m->closed = true;
    if (discard)
        pt_discard(m);
    for (bool more = true; more;) {
        more = pt_take(m);
        more = pt_done(m, PERF_BATCH_OK) || more;
        uint64_t wake_ns = perf_batch_queue_wake_at(m->queue, m->now_ns);
        if (!more && wake_ns != UINT64_MAX && wake_ns > m->now_ns) {
            pt_go_on(m, wake_ns - m->now_ns);
            more = true;
        }
    }
    pt_compare(m);
    for (int i = 0; i < PT_QUEUE_ITEMS; i++)
        PT_CLAIM(!pt_waits(&m->thing[i]) && !m->thing[i].in_batch);
    perf_batch_queue_destroy(m->queue);
}

#endif
