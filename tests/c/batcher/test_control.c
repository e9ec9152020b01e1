/* test_control.c - what binds the parts: sizes by weight or count, what costs
 * memory, what is said in the statistics. */
#include "test_control_kit.h"

#include <math.h>

static perfi_batch_control *
make_with(perf_batch_config config)
{
    perfi_batch_control *control;
    ck_assert_int_eq(perfi_batch_control_create(&config, &control), PERF_OK);
    return control;
}

/* A batch of `items` with `weight` together, taken at `now`. */
static void
run_batch(perfi_batch_control *control, uint32_t items, uint64_t weight,
          double now, double took)
{
    perf_batch_item item[64] = {{.submitted_ns = (uint64_t)now}};
    for (uint32_t i = 0; i < items; i++) {
        item[i].submitted_ns = (uint64_t)now;
        item[i].next = i + 1 < items ? &item[i + 1] : NULL;
        perfi_batch_control_arrived(control, weight / items, (uint64_t)now);
    }
    perf_batch batch = {.first = item,
                        .items = items,
                        .weight = weight,
                        .taken_ns = (uint64_t)now};
    perfi_batch_control_taken(control, &batch, 1, (uint64_t)now);
    perfi_batch_control_done(control, &batch, PERF_BATCH_OK, 0, 0,
                             (uint64_t)(now + took));
}

START_TEST(test_without_a_bound_on_weight_items_are_counted)
{
    perfi_batch_control *control = make_with(pt_world_new().config);
    for (uint32_t i = 1; i <= 20; i++)
        run_batch(control, i, 1000 * i * i, i * PT_S, (20 + i) * PT_MS);
    ck_assert_uint_eq(perfi_batch_control_expect(control, 30, 5), 50000000);
    ck_assert_uint_ge(perfi_batch_control_bound(control, 30, 5), 50000000);
    perfi_batch_control_destroy(control);
}
END_TEST

START_TEST(test_with_one_weight_is)
{
    perf_batch_config config = pt_world_new().config;
    config.max_weight = 10000;
    perfi_batch_control *control = make_with(config);
    for (uint32_t i = 1; i <= 20; i++) {
        uint32_t weight = 100 * (i % 7 + 1);
        run_batch(control, i, weight, i * PT_S, (20 + weight / 100.0) * PT_MS);
    }
    uint64_t is = perfi_batch_control_expect(control, 1, 3000);
    ck_assert_double_eq_tol((double)is, 50 * PT_MS, 1e3);
    perfi_batch_control_destroy(control);
}
END_TEST

START_TEST(test_items_that_all_weigh_nothing_are_counted)
{
    perf_batch_config config = pt_world_new().config;
    config.max_weight = 10000;
    perfi_batch_control *control = make_with(config);
    for (uint32_t i = 1; i <= 20; i++)
        run_batch(control, i, 0, i * PT_S, (20 + i) * PT_MS);
    ck_assert_uint_eq(perfi_batch_control_expect(control, 30, 0), 50000000);
    /* the first one that weighs something: counts say nothing of weights */
    perfi_batch_control_arrived(control, 7, (uint64_t)(30 * PT_S));
    ck_assert_uint_eq(perfi_batch_control_expect(control, 30, 0), 0);
    perfi_batch_control_destroy(control);
}
END_TEST

/* Of 50 each; 2 (20 ms + 50 us a piece of weight) fit into 100 ms with 600. */
START_TEST(test_a_target_is_kept_by_items_of_mean_weight)
{
    perf_batch_config config = pt_world_new().config;
    config.max_weight = 100000;
    config.target_latency_ns = (uint64_t)(100 * PT_MS);
    perfi_batch_control *control = make_with(config);
    for (uint32_t i = 1; i <= 40; i++) {
        uint64_t weight = 50 * (i % 10 + 1);
        run_batch(control, i % 10 + 1, weight, i * PT_S,
                  (20 + 0.05 * (double)weight) * PT_MS);
    }
    ck_assert_uint_eq(perfi_batch_control_max_items(control, 0), 12);
    perfi_batch_control_destroy(control);
}
END_TEST

START_TEST(test_failed_and_refused_batches_teach_no_times)
{
    perfi_batch_control *control = make_with(pt_world_new().config);
    perf_batch_item item = {.submitted_ns = 1};
    for (int i = 0; i < 50; i++) {
        perf_batch batch = {.first = &item, .items = 1, .taken_ns = 1};
        perfi_batch_control_taken(control, &batch, 1, 1);
        perfi_batch_control_done(
            control, &batch, i % 2 ? PERF_BATCH_FAILED : PERF_BATCH_THROTTLED,
            0, 0, 1000);
    }
    perf_batch_cost_stats cost;
    perf_batch_cost_stats_now(perfi_batch_control_cost(control), &cost);
    ck_assert_uint_eq(cost.observed, 0);
    perfi_batch_control_destroy(control);
}
END_TEST

START_TEST(test_the_statistics_say_what_was_learned)
{
    pt_world world = pt_world_new();
    world.config.concurrency = 4;
    world.per_s = 985;
    pt_seen seen = pt_play(&world);
    ck_assert_double_eq_tol(seen.stats.arrivals_per_s, 985, 150);
    ck_assert_uint_eq(seen.stats.concurrency, 4);
    ck_assert_uint_eq(seen.stats.max_items, 32);
    ck_assert(seen.stats.calls_per_s == 0);
    ck_assert_uint_eq(seen.stats.paused_until_ns, 0);
    ck_assert(!seen.stats.target_missed);
    ck_assert_double_eq_tol(seen.cost.base_ns, world.base_ns, 5 * PT_MS);
    ck_assert_double_eq_tol(seen.cost.each_ns, world.each_ns, 0.4 * PT_MS);
}
END_TEST

START_TEST(test_a_minimum_is_never_above_the_maximum)
{
    pt_random r = {3};
    perf_batch_config config = pt_world_new().config;
    config.concurrency = 0;
    config.target_latency_ns = (uint64_t)(50 * PT_MS);
    config.call_price_ns = (uint64_t)PT_S;
    perfi_batch_control *control = make_with(config);
    double now = PT_S;
    for (int i = 0; i < 3000; i++) {
        run_batch(control, (uint32_t)pt_below(&r, 32) + 1, 0, now,
                  (double)pt_below(&r, 100000000));
        now += (double)pt_below(&r, 300000000) + 1e8;
        uint32_t least = perfi_batch_control_min_items(control, 1);
        uint32_t most = perfi_batch_control_max_items(control, 0);
        PT_ASSERT(1 <= least && least <= most && most <= 32);
        PT_ASSERT(perfi_batch_control_patience(control, least) < 1e16);
    }
    perfi_batch_control_destroy(control);
}
END_TEST

START_TEST(test_no_memory_leaves_nothing_behind)
{
    pt_alloc alloc;
    perf_batch_config config = pt_world_new().config;
    config.allocator = &alloc.face;
    uint64_t allowed = 0;
    for (;; allowed++) {
        pt_alloc_init(&alloc, allowed);
        perfi_batch_control *control;
        perf_err err = perfi_batch_control_create(&config, &control);
        if (!err) {
            for (uint32_t i = 1; i < 30; i++)
                run_batch(control, i, i, i * PT_S, PT_MS);
            ck_assert_uint_eq(alloc.calls, allowed); /* none after create() */
            perfi_batch_control_destroy(control);
        }
        ck_assert_uint_eq(alloc.live, 0);
        ck_assert(!alloc.wrong_size);
        if (!err)
            break;
        ck_assert_int_eq(err, PERF_ERR_NOMEM);
        ck_assert_ptr_null(control);
    }
    ck_assert_uint_eq(allowed, 2);
    perfi_batch_control_destroy(NULL);
}
END_TEST

int
main(void)
{
    TCase *t = pt_begin("batcher.control");
    tcase_add_test(t, test_without_a_bound_on_weight_items_are_counted);
    tcase_add_test(t, test_with_one_weight_is);
    tcase_add_test(t, test_items_that_all_weigh_nothing_are_counted);
    tcase_add_test(t, test_a_target_is_kept_by_items_of_mean_weight);
    tcase_add_test(t, test_failed_and_refused_batches_teach_no_times);
    tcase_add_test(t, test_the_statistics_say_what_was_learned);
    tcase_add_test(t, test_a_minimum_is_never_above_the_maximum);
    tcase_add_test(t, test_no_memory_leaves_nothing_behind);
    return pt_end();
}
