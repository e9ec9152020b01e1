/* test_queue_batches.c - when a batch goes, and how many go with it. */
#include "test_queue_kit.h"

/* ---- how many ---- */

START_TEST(test_a_batch_goes_at_once_when_a_slot_is_free)
{
    make(NULL);
    perf_batch_item items[2];
    submit_many(items, 1, 5);
    ck_assert_uint_le(wake(5), 5);
    perf_batch first = take_well(5);
    submit_many(items + 1, 1, 6);
    ck_assert_uint_eq(wake(6), UINT64_MAX); /* no slot */
    ck_assert(takes_nothing(6));
    done(&first, PERF_BATCH_OK, 7);
    ck_assert_uint_le(wake(7), 7);
    perf_batch second = take_well(7);
    CHECK_ITEMS(&second, &items[1]);
    end();
}
END_TEST

START_TEST(test_as_many_batches_run_as_there_are_slots)
{
    perf_batch_config c = config_of(1);
    c.concurrency = 3;
    make(&c);
    perf_batch_item items[5];
    submit_many(items, 5, 0);
    perf_batch batches[3];
    for (int i = 0; i < 3; i++)
        batches[i] = take_well(0);
    ck_assert(takes_nothing(0));
    done(&batches[1], PERF_BATCH_OK, 1);
    take_well(1);
    ck_assert(takes_nothing(1));
    end();
}
END_TEST

START_TEST(test_a_batch_weighs_no_more_than_max_weight)
{
    perf_batch_config c = config_of(10);
    c.max_weight = 100;
    make(&c);
    perf_batch_item items[4];
    uint64_t weights[] = {60, 40, 0, 1};
    for (int i = 0; i < 4; i++) {
        items[i] = (perf_batch_item){.weight = weights[i]};
        submit(&items[i], 0);
    }
    perf_batch batch = take_well(0);
    CHECK_ITEMS(&batch, &items[0], &items[1], &items[2]);
    ck_assert_int_eq(batch.reason, PERF_BATCH_REASON_FULL);
    ck_assert_uint_eq(batch.weight, 100);
    end();
}
END_TEST

START_TEST(test_a_light_item_does_not_pass_a_heavy_one)
{
    perf_batch_config c = config_of(10);
    c.max_weight = 100;
    make(&c);
    perf_batch_item items[3];
    uint64_t weights[] = {50, 60, 1};
    for (int i = 0; i < 3; i++) {
        items[i] = (perf_batch_item){.weight = weights[i]};
        submit(&items[i], 0);
    }
    perf_batch batch = take_well(0);
    CHECK_ITEMS(&batch, &items[0]);
    ck_assert_int_eq(batch.reason, PERF_BATCH_REASON_FULL);
    end();
}
END_TEST

START_TEST(test_an_item_above_max_weight_goes_alone)
{
    perf_batch_config c = config_of(10);
    c.max_weight = 100;
    make(&c);
    perf_batch_item items[] = {{.weight = 1000}, {.weight = 0}};
    submit(&items[0], 0);
    submit(&items[1], 0);
    perf_batch batch = take_well(0);
    CHECK_ITEMS(&batch, &items[0]);
    end();
}
END_TEST

START_TEST(test_an_item_above_max_weight_is_rejected_where_that_is_asked_for)
{
    perf_batch_config c = config_of(10);
    c.max_weight = 100;
    c.reject_oversize = true;
    make(&c);
    perf_batch_item fits = {.weight = 100}, heavy = {.weight = 101};
    perf_batch_item before = heavy;
    ck_assert_int_eq(submit(&fits, 0), PERF_OK);
    ck_assert_int_eq(submit(&heavy, 0), PERF_ERR_RANGE);
    ck_assert_mem_eq(&heavy, &before, sizeof heavy);
    ck_assert_uint_eq(stats().submitted, 1);
    end();
}
END_TEST

START_TEST(test_weights_are_counted_up_to_the_end_of_numbers)
{
    make(NULL);
    perf_batch_item heavy = {.weight = UINT64_MAX}, other = {.weight = 1};
    ck_assert_int_eq(submit(&heavy, 0), PERF_OK);
    ck_assert_int_eq(submit(&other, 0), PERF_ERR_RANGE);
    perf_batch batch = take_well(0);
    ck_assert_int_eq(submit(&other, 0), PERF_ERR_RANGE);
    done(&batch, PERF_BATCH_OK, 1);
    ck_assert_int_eq(submit(&other, 1), PERF_OK);
    end();
}
END_TEST

/* ---- waiting for more ---- */

START_TEST(test_fewer_than_min_items_wait_from_the_oldest_on)
{
    perf_batch_config c = config_of(10);
    c.min_items = 3;
    make(&c);
    perf_batch_item items[2];
    submit_many(items, 1, 50 * MS);
    submit_many(items + 1, 1, 140 * MS);
    ck_assert_uint_eq(wake(140 * MS), 150 * MS);
    ck_assert(takes_nothing(150 * MS - 1));
    perf_batch batch = take_well(150 * MS);
    CHECK_ITEMS(&batch, &items[0], &items[1]);
    ck_assert_int_eq(batch.reason, PERF_BATCH_REASON_WAIT);
    end();
}
END_TEST

/* The trickle that resets other batchers' timers with each item. */
START_TEST(test_who_comes_later_does_not_make_the_oldest_wait_longer)
{
    perf_batch_config c = config_of(10);
    c.min_items = 10;
    make(&c);
    perf_batch_item items[2];
    submit_many(items, 1, 0);
    submit_many(items + 1, 1, 95 * MS);
    ck_assert(cancel(&items[0], 96 * MS)); /* now the other is the oldest */
    ck_assert_uint_eq(wake(96 * MS), 195 * MS);
    end();
}
END_TEST

START_TEST(test_min_items_are_enough)
{
    perf_batch_config c = config_of(10);
    c.min_items = 3;
    make(&c);
    perf_batch_item items[3];
    submit_many(items, 2, 0);
    ck_assert(takes_nothing(0));
    submit_many(items + 2, 1, 1);
    ck_assert_uint_le(wake(1), 1);
    ck_assert_int_eq(take_well(1).reason, PERF_BATCH_REASON_ENOUGH);
    end();
}
END_TEST

START_TEST(test_a_closed_queue_waits_for_nothing)
{
    perf_batch_config c = config_of(10);
    c.min_items = 3;
    make(&c);
    perf_batch_item item = {0}, other = {0};
    submit(&item, 0);
    perf_batch_queue_close(queue);
    ck_assert_int_eq(submit(&other, 0), PERF_ERR_CLOSED);
    ck_assert_uint_le(wake(0), 0);
    ck_assert_int_eq(take_well(0).reason, PERF_BATCH_REASON_DRAIN);
    end();
}
END_TEST

START_TEST(test_waiting_for_more_ends_where_a_deadline_would_be_missed)
{
    perf_batch_config c = config_of(10);
    c.min_items = 3;
    make_fixed(&c, 20 * MS, 1 * MS);
    perf_batch_item item = {.deadline_ns = 70 * MS};
    submit(&item, 0);
    ck_assert_uint_eq(wake(0), (70 - 22) * MS); /* two would just be in time */
    ck_assert(takes_nothing(48 * MS - 1));
    ck_assert_int_eq(take_well(48 * MS).reason, PERF_BATCH_REASON_DEADLINE);
    end();
}
END_TEST

/* Nobody knows how long a batch takes: it has half of the time. */
START_TEST(test_waiting_for_more_takes_half_of_the_time_when_nothing_is_known)
{
    perf_batch_config c = config_of(10);
    c.min_items = 3;
    make(&c);
    perf_batch_item item = {.start_by_ns = 40 * MS - 1};
    submit(&item, 0);
    ck_assert_uint_eq(wake(0), 20 * MS);
    ck_assert_int_eq(take_well(20 * MS).reason, PERF_BATCH_REASON_DEADLINE);
    end();
}
END_TEST

START_TEST(test_who_is_late_anyway_does_not_end_the_waiting)
{
    perf_batch_config c = config_of(10);
    c.min_items = 3;
    make_fixed(&c, 20 * MS, 1 * MS);
    perf_batch_item hopeless = {.deadline_ns = 5 * MS}, other = {0};
    submit(&other, 0);
    submit(&hopeless, 0);
    ck_assert(takes_nothing(0));
    check_dropped(&hopeless, PERF_BATCH_DROP_INFEASIBLE, 0);
    ck_assert_uint_eq(wake(0), 100 * MS);
    ck_assert_int_eq(take_well(100 * MS).reason, PERF_BATCH_REASON_WAIT);
    end();
}
END_TEST

START_TEST(test_waiting_is_worth_what_a_call_costs)
{
    perf_batch_config c = config_of(1000);
    c.call_price_ns = 3600 * PT_NS_PER_S;
    make(&c);
    perf_batch_item items[30];
    for (int i = 0; i < 30; i++) /* one each ms */
        submit_many(&items[i], 1, (uint64_t)i * MS);
    ck_assert_uint_gt(stats().min_items, 30);
    ck_assert(takes_nothing(29 * MS));
    uint64_t until = wake(29 * MS);
    ck_assert_uint_gt(until, 29 * MS);
    ck_assert_uint_le(until, 100 * MS); /* max_wait_ns from the first on */
    ck_assert(takes_nothing(until - 1));
    ck_assert_int_eq(take_well(until).reason, PERF_BATCH_REASON_WAIT);
    end();
}
END_TEST

/* ---- filling up ---- */

START_TEST(test_free_places_of_a_batch_are_filled_with_the_next_items)
{
    perf_batch_config c = config_of(2);
    make(&c);
    perf_batch_item items[6];
    submit_many(items, 6, 0);
    items[4].weight = 0;
    perf_batch batch = take_well(0);
    ck_assert_uint_eq(perf_batch_queue_fill_at(queue, &batch, 3, UINT64_MAX, 0),
                      3);
    whole();
    CHECK_ITEMS(&batch, &items[0], &items[1], &items[2], &items[3], &items[4]);
    ck_assert_uint_eq(batch.items, 5);
    ck_assert_uint_eq(perf_batch_queue_fill_at(queue, &batch, 3, UINT64_MAX, 0),
                      1);
    ck_assert_uint_eq(perf_batch_queue_fill_at(queue, &batch, 3, UINT64_MAX, 0),
                      0);
    done(&batch, PERF_BATCH_OK, 1);
    ck_assert_uint_eq(stats().finished, 6);
    ck_assert_uint_eq(stats().items_taken, 6);
    end();
}
END_TEST

START_TEST(test_filling_up_heeds_weights_and_deadlines)
{
    perf_batch_config c = config_of(2);
    c.max_weight = 100;
    make_fixed(&c, 20 * MS, 0);
    perf_batch_item first = {.weight = 50}, late = {.deadline_ns = 2 * MS},
                    fits = {.weight = 20}, heavy = {.weight = 31},
                    light = {.weight = 1};
    submit(&first, 0);
    perf_batch batch = take_well(0);
    submit(&late, 1);
    submit(&fits, 1);
    submit(&heavy, 1);
    submit(&light, 1);
    ck_assert_uint_eq(perf_batch_queue_fill_at(queue, &batch, 5, 50, 1), 1);
    whole();
    CHECK_ITEMS(&batch, &first, &fits);
    check_dropped(&late, PERF_BATCH_DROP_INFEASIBLE, 1);
    end();
}
END_TEST

int
main(void)
{
    TCase *t = pt_begin("queue_batches");
    tcase_add_test(t, test_a_batch_goes_at_once_when_a_slot_is_free);
    tcase_add_test(t, test_as_many_batches_run_as_there_are_slots);
    tcase_add_test(t, test_a_batch_weighs_no_more_than_max_weight);
    tcase_add_test(t, test_a_light_item_does_not_pass_a_heavy_one);
    tcase_add_test(t, test_an_item_above_max_weight_goes_alone);
    tcase_add_test(
        t, test_an_item_above_max_weight_is_rejected_where_that_is_asked_for);
    tcase_add_test(t, test_weights_are_counted_up_to_the_end_of_numbers);
    tcase_add_test(t, test_fewer_than_min_items_wait_from_the_oldest_on);
    tcase_add_test(t,
                   test_who_comes_later_does_not_make_the_oldest_wait_longer);
    tcase_add_test(t, test_min_items_are_enough);
    tcase_add_test(t, test_a_closed_queue_waits_for_nothing);
    tcase_add_test(t,
                   test_waiting_for_more_ends_where_a_deadline_would_be_missed);
    tcase_add_test(
        t, test_waiting_for_more_takes_half_of_the_time_when_nothing_is_known);
    tcase_add_test(t, test_who_is_late_anyway_does_not_end_the_waiting);
    tcase_add_test(t, test_waiting_is_worth_what_a_call_costs);
    tcase_add_test(t,
                   test_free_places_of_a_batch_are_filled_with_the_next_items);
    tcase_add_test(t, test_filling_up_heeds_weights_and_deadlines);
    return pt_end();
}
