/* test_queue_model.c - random operations on a queue beside a naive model: who
 * goes, with whom, who is given up and when; and Little's law. */
#include "pt.h"

#define PT_CLAIM PT_ASSERT
#include "pt_queue.h"

#include <math.h>
#include <stdlib.h>

static uint64_t
choose(void *source, uint64_t bound)
{
    return pt_below(source, bound);
}

static void
choose_config(perf_batch_config *c, pt_random *random)
{
    perf_batch_config_init(c);
    c->max_items = 1 + (uint32_t)pt_below(random, 12);
    c->max_weight = pt_below(random, 2) ? pt_below(random, 60) : 0;
    c->max_queued = 5 + (uint32_t)pt_below(random, 60);
    c->concurrency = 1 + (uint32_t)pt_below(random, 4);
    c->on_full = (perf_batch_full)pt_below(random, 5);
    c->order = (perf_batch_order)pt_below(random, 2);
    c->isolation = (perf_batch_isolation)pt_below(random, 3);
    c->max_wait_ns = 300;
    if (pt_below(random, 3) == 0)
        c->min_items = 1 + (uint32_t)pt_below(random, c->max_items);
    for (int i = 1; i < PERF_PRIORITIES; i++)
        c->aging_ns[i] = c->aging_ns[i - 1] + pt_below(random, 400);
}

START_TEST(test_operations_agree_with_the_model)
{
    for (uint64_t seed = 0; seed < PT_TIMES(40); seed++) {
        pt_random random = {seed * 100 + (uint64_t)_i};
        pt_queue *m = calloc(1, sizeof *m);
        perf_batch_config config;
        choose_config(&config, &random);
        m->choose = choose;
        m->source = &random;
        pt_queue_open(m, &config, pt_below(&random, 3) ? 0 : PT_QUEUE_TENANTS);
        for (int i = 0; i < 1000; i++) {
            pt_queue_step(m);
            if (i % 16 == 0)
                pt_compare(m);
        }
        pt_queue_drain(m, seed % 4 == 0);
        free(m);
    }
}
END_TEST

/* ---- Little's law ---- */

enum { PLACES = 20000 };

typedef struct run {
    perf_batch_queue *queue;
    perf_batch_item *items;
    perf_batch batch[4];
    uint64_t ends_ns[4]; /* 0: free */
    uint64_t now_ns, began_ns;
    uint64_t there; /* items */
    double area;    /* the same, times ns */
} run;

static void
pass(run *r, uint64_t to_ns)
{
    r->area += (double)r->there * (double)(to_ns - r->now_ns);
    r->now_ns = to_ns;
}

/* Everything that happens until then; a batch of n takes 20 + n ms. */
static void
play(run *r, uint64_t until_ns, int slots)
{
    for (;;) {
        int next = -1;
        for (int i = 0; i < slots; i++) {
            while (!r->ends_ns[i] &&
                   perf_batch_queue_take_at(r->queue, &r->batch[i], r->now_ns))
                r->ends_ns[i] =
                    r->now_ns + (20 + r->batch[i].items) * UINT64_C(1000000);
            if (r->ends_ns[i] && (next < 0 || r->ends_ns[i] < r->ends_ns[next]))
                next = i;
        }
        uint64_t at = next < 0 ? UINT64_MAX : r->ends_ns[next];
        uint64_t wake = perf_batch_queue_wake_at(r->queue, r->now_ns);
        if (wake > r->now_ns && wake < at && wake <= until_ns) {
            pass(r, wake);
            continue;
        }
        if (next < 0 || at > until_ns)
            break;
        pass(r, at);
        r->ends_ns[next] = 0;
        r->there -= r->batch[next].items;
        perf_batch_queue_done_at(r->queue, &r->batch[next], PERF_BATCH_OK, 0,
                                 at);
    }
    pass(r, until_ns);
}

/* As many are there on average as come in the time that one stays. */
START_TEST(test_littles_law_holds)
{
    static const double load[] = {.1, .4, .7, .9};
    int slots = _i < 4 ? 1 : 4;
    run r = {.now_ns = 1};
    pt_random random = {7};
    perf_batch_config config;
    perf_batch_config_init(&config);
    config.max_items = 32;
    config.concurrency = (uint32_t)slots;
    ck_assert(!perf_batch_queue_create(&config, &r.queue));
    ck_assert(!perf_batch_cost_fix(perf_batch_queue_cost(r.queue), 20e6, 1e6));
    int count = PT_TIMES(PLACES);
    r.items = calloc((size_t)count, sizeof *r.items);
    double gap_ns = 52e6 / 32 / slots / load[_i % 4];
    for (int i = 0; i < count; i++) {
        double gap = -log(pt_unit(&random)) * gap_ns;
        play(&r, r.now_ns + (uint64_t)gap, slots);
        r.items[i].priority = (uint8_t)(i % PERF_PRIORITIES);
        ck_assert(!perf_batch_queue_submit_at(r.queue, &r.items[i], r.now_ns));
        r.there++;
    }
    play(&r, r.now_ns + 60 * PT_NS_PER_S, slots);
    perf_batch_stats s;
    perf_batch_queue_stats_now(r.queue, &s);
    ck_assert_uint_eq(s.finished, (uint64_t)count);
    double time = (double)r.now_ns, there = r.area / time;
    double stay = (double)(s.wait_ns + s.service_ns) / (double)s.finished;
    ck_assert_double_le(fabs(there - (double)count / time * stay), .02 * there);
    ck_assert_double_ge(stay, 21e6);
    perf_batch_queue_destroy(r.queue);
    free(r.items);
}
END_TEST

int
main(void)
{
    TCase *t = pt_begin("batcher.queue_model");
    tcase_add_loop_test(t, test_operations_agree_with_the_model, 0, 10);
    tcase_add_loop_test(t, test_littles_law_holds, 0, 8);
    return pt_end();
}
