/* test_queue_random.c - random loads in virtual time: nothing is lost, nobody
 * starves, Little's law holds, whatever the settings. */
#include "test_queue_kit.h"

enum { ITEMS = 3000, SLOTS = 4 };

#define TICK (10 * MS)

static perf_batch_item items[ITEMS];
static perf_batch running[SLOTS * 4];
static uint32_t runs;
static int resolved[ITEMS];

/* Time in the queue and in batches, as seen from outside. */
static struct {
    uint64_t at_ns, waiting_ns, running_ns;
} seen;

static void
pass(uint64_t now)
{
    perf_batch_stats s = queue->stats; /* without quantiles */
    seen.waiting_ns += (s.blocked + s.queued) * (now - seen.at_ns);
    seen.running_ns += s.running * (now - seen.at_ns);
    seen.at_ns = now;
}

static void
resolve(const perf_batch_item *item)
{
    ck_assert_int_eq(resolved[item - items]++, 0);
}

static void
finish_one(pt_random *r, uint64_t now, bool faults)
{
    if (!runs)
        return;
    uint32_t at = (uint32_t)pt_below(r, runs);
    perf_batch batch = running[at];
    running[at] = running[--runs];
    perf_batch_item *all[64];
    uint32_t count = 0;
    for (perf_batch_item *i = batch.first; i; i = i->next)
        all[count++] = i;
    perf_batch_outcome outcome = PERF_BATCH_OK;
    if (faults && pt_below(r, 4) == 0)
        outcome = pt_below(r, 4) ? PERF_BATCH_FAILED : PERF_BATCH_THROTTLED;
    perf_batch_queue_done_at(queue, &batch, outcome,
                             outcome == PERF_BATCH_THROTTLED ? 5 * TICK : 0,
                             now);
    for (uint32_t i = 0; i < count; i++)
        if (all[i]->state == PERF_BATCH_FINISHED)
            resolve(all[i]);
}

static void
take_all(uint64_t now)
{
    while (runs < sizeof running / sizeof *running &&
           perf_batch_queue_take_at(queue, &running[runs], now))
        runs++;
}

static void
name_dropped(uint64_t now)
{
    for (const perf_batch_item *i;
         (i = perf_batch_queue_dropped_at(queue, now));)
        resolve(i);
}

static void
fill_in(perf_batch_item *item, pt_random *r, uint64_t now)
{
    *item = (perf_batch_item){.priority = (uint8_t)pt_below(r, 4),
                              .weight = pt_below(r, 30),
                              .tenant = (uint32_t)pt_below(r, 4)};
    if (pt_below(r, 3) == 0)
        item->deadline_ns = now + pt_below(r, 400) * TICK;
    if (pt_below(r, 5) == 0)
        item->start_by_ns = now + pt_below(r, 300) * TICK;
    item->nested = runs && pt_below(r, 20) == 0;
}

static perf_batch_config
any_config(pt_random *r)
{
    perf_batch_config c = config_of(1 + (uint32_t)pt_below(r, 20));
    c.min_items = 1 + (uint32_t)pt_below(r, c.max_items);
    c.max_weight = pt_below(r, 2) * 60;
    c.max_wait_ns = pt_below(r, 200) * TICK;
    c.concurrency = (uint32_t)pt_below(r, SLOTS + 1);
    c.max_concurrency = SLOTS;
    c.max_queued = 5 + (uint32_t)pt_below(r, 60);
    c.max_queued_weight = pt_below(r, 2) * 500;
    c.on_full = (perf_batch_full)pt_below(r, 5);
    c.order = (perf_batch_order)pt_below(r, 2);
    c.isolation = (perf_batch_isolation)pt_below(r, 3);
    for (uint64_t i = 0; i < 4; i++)
        c.aging_ns[i] = i * pt_below(r, 3) * 50 * TICK;
    for (int i = 1; i < 4; i++)
        if (c.aging_ns[i] < c.aging_ns[i - 1])
            c.aging_ns[i] = c.aging_ns[i - 1];
    return c;
}

/* A batch is done, or there is something to do at that time. */
static uint64_t
later(uint64_t now)
{
    uint64_t next = wake(now);
    ck_assert(runs || next != UINT64_MAX); /* who waits is not forgotten */
    return runs || next < now ? now + TICK : next;
}

/* Whatever comes: each item that was taken in is resolved exactly once. */
START_TEST(test_each_item_is_resolved_exactly_once)
{
    pt_random r = {(uint64_t)_i};
    perf_batch_config c = any_config(&r);
    make(&c);
    if (pt_below(&r, 2))
        perf_batch_cost_fix(perf_batch_queue_cost(queue), 20 * TICK, 3 * TICK);
    for (int i = 0; i < 3; i++) {
        uint32_t tenant;
        perf_batch_queue_tenant_add(queue, i + 1, &tenant);
    }
    uint64_t now = 0;
    int taken_in = 0;
    for (int i = 0; i < ITEMS; i++) {
        pass(now);
        fill_in(&items[i], &r, now);
        if (!perf_batch_queue_submit_at(queue, &items[i], now))
            taken_in++;
        if (pt_below(&r, 20) == 0) {
            int other = (int)pt_below(&r, (uint64_t)i + 1);
            if (perf_batch_queue_cancel_at(queue, &items[other], now))
                resolve(&items[other]);
        }
        if (pt_below(&r, 3))
            take_all(now);
        if (pt_below(&r, 3) == 0)
            finish_one(&r, now, true);
        name_dropped(now);
        whole();
        now += pt_below(&r, 20) * TICK;
    }
    perf_batch_queue_close(queue);
    while (runs || queue->stats.queued) {
        now = later(now);
        pass(now);
        finish_one(&r, now, false);
        take_all(now);
        name_dropped(now);
        whole();
    }
    perf_batch_stats s = stats();
    ck_assert_uint_eq(s.submitted, (uint64_t)taken_in);
    for (int i = 0; i < ITEMS; i++)
        ck_assert_int_eq(resolved[i], items[i].state != PERF_BATCH_NEW);
    ck_assert_uint_eq(seen.running_ns, s.service_ns);
    ck_assert_uint_ge(seen.waiting_ns, s.wait_ns); /* some were never taken */
    end();
}
END_TEST

/* Little's law, exactly: all that wait are taken in the end. */
START_TEST(test_the_sums_are_the_time_that_items_spent)
{
    pt_random r = {(uint64_t)_i + 1000};
    perf_batch_config c = any_config(&r);
    c.max_queued = 100000;
    c.max_queued_weight = 0;
    make(&c);
    uint64_t now = 0;
    for (int i = 0; i < ITEMS; i++) {
        pass(now);
        items[i] = (perf_batch_item){.priority = (uint8_t)pt_below(&r, 4)};
        ck_assert_int_eq(submit(&items[i], now), PERF_OK);
        take_all(now);
        if (pt_below(&r, 4) == 0)
            finish_one(&r, now, true);
        now += pt_below(&r, 20) * TICK;
    }
    perf_batch_queue_close(queue);
    while (runs || queue->stats.queued) {
        now = later(now);
        pass(now);
        finish_one(&r, now, false);
        take_all(now);
    }
    ck_assert_uint_eq(stats().finished, ITEMS);
    ck_assert_uint_eq(seen.waiting_ns, stats().wait_ns);
    ck_assert_uint_eq(seen.running_ns, stats().service_ns);
    end();
}
END_TEST

/* More comes than can be done, most of it urgent: what is overtaken by higher
 * priorities is so only by those that came within the difference in aging. */
START_TEST(test_nobody_starves)
{
    pt_random r = {(uint64_t)_i};
    perf_batch_config c = config_of(4);
    const uint64_t aging[] = {0, 100, 1000, 10000};
    memcpy(c.aging_ns, aging, sizeof aging);
    make(&c);
    static int taken_as[ITEMS];
    uint64_t now = 0;
    int order = 0;
    for (int i = 0; i < ITEMS; i++, now += pt_below(&r, 20)) {
        items[i] = (perf_batch_item){
            .priority = (uint8_t)(pt_below(&r, 10) ? pt_below(&r, 2) : 3)};
        submit(&items[i], now);
        perf_batch batch;
        if (i % 5 || !take(&batch, now)) /* four of five */
            continue;
        for (perf_batch_item *x = batch.first; x; x = x->next)
            taken_as[x - items] = ++order;
        done(&batch, PERF_BATCH_OK, now);
    }
    for (int i = 0; i < ITEMS; i++)
        for (int j = i + 1; j < ITEMS; j++) {
            const perf_batch_item *a = &items[i], *b = &items[j];
            bool overtook = taken_as[j] && taken_as[i] > taken_as[j];
            overtook |= taken_as[j] && !taken_as[i];
            if (overtook)
                PT_ASSERT(b->priority < a->priority &&
                          b->submitted_ns - a->submitted_ns <
                              aging[a->priority] - aging[b->priority]);
        }
    ck_assert_int_gt(order, ITEMS / 2);
    end();
}
END_TEST

int
main(void)
{
    TCase *t = pt_begin("queue_random");
    tcase_add_loop_test(t, test_each_item_is_resolved_exactly_once, 0,
                        PT_TIMES(160));
    tcase_add_loop_test(t, test_the_sums_are_the_time_that_items_spent, 0,
                        PT_TIMES(32));
    tcase_add_loop_test(t, test_nobody_starves, 0, PT_TIMES(8));
    return pt_end();
}
