/* test_queue_isolate.c - who is tried again, how often, beside whom; nested
 * items; batches that were refused. */
#include "test_queue_kit.h"

static void
make_with(perf_batch_isolation isolation, uint32_t max_items, uint32_t slots)
{
    perf_batch_config c = config_of(max_items);
    c.isolation = isolation;
    c.concurrency = slots;
    make(&c);
}

static bool
is_among(const perf_batch *batch, const perf_batch_item *item)
{
    for (const perf_batch_item *i = batch->first; i; i = i->next)
        if (i == item)
            return true;
    return false;
}

/* Every batch with `poison` in it fails. Returns how many calls that takes. */
static int
run(const perf_batch_item *poison, uint64_t now)
{
    int calls = 0;
    for (perf_batch batch; take(&batch, now); calls++)
        done(&batch,
             is_among(&batch, poison) ? PERF_BATCH_FAILED : PERF_BATCH_OK, now);
    return calls;
}

/* ---- isolation ---- */

START_TEST(test_all_fail_where_nothing_else_is_asked_for)
{
    make(NULL);
    perf_batch_item items[4];
    submit_many(items, 4, 0);
    ck_assert_int_eq(run(&items[2], 1), 1);
    for (int i = 0; i < 4; i++)
        ck_assert_uint_eq(items[i].state, PERF_BATCH_FINISHED);
    ck_assert_uint_eq(stats().failed, 4);
    ck_assert_uint_eq(stats().batches_failed, 1);
    end();
}
END_TEST

/* 32 items: 1 call, then two for each of five halvings. */
START_TEST(test_halves_find_one_bad_item_in_two_log_n_calls)
{
    make_with(PERF_BATCH_ISOLATE_BISECT, 32, 1);
    perf_batch_item items[32];
    submit_many(items, 32, 0);
    ck_assert_int_eq(run(&items[_i], 1), 1 + 2 * 5);
    for (int i = 0; i < 32; i++) {
        ck_assert_uint_eq(items[i].state, PERF_BATCH_FINISHED);
        ck_assert_uint_le(items[i].attempts, 6);
    }
    ck_assert_uint_eq(items[_i].attempts, 6);
    perf_batch_stats s = stats();
    ck_assert_uint_eq(s.failed, 1);
    ck_assert_uint_eq(s.finished, 32);
    ck_assert_uint_eq(s.batches_isolated, 10);
    ck_assert_uint_eq(s.reasons[PERF_BATCH_REASON_ISOLATED], 10);
    end();
}
END_TEST

START_TEST(test_odd_batches_are_halved_too)
{
    make_with(PERF_BATCH_ISOLATE_BISECT, 7, 1);
    perf_batch_item items[7];
    submit_many(items, 7, 0);
    ck_assert_int_le(run(&items[_i], 1), 1 + 2 * 3);
    ck_assert_uint_eq(stats().failed, 1);
    ck_assert_uint_eq(stats().finished, 7);
    end();
}
END_TEST

START_TEST(test_singles_try_each_item_alone)
{
    make_with(PERF_BATCH_ISOLATE_SINGLES, 10, 1);
    perf_batch_item items[8];
    submit_many(items, 8, 0);
    ck_assert_int_eq(run(&items[3], 1), 1 + 8);
    ck_assert_uint_eq(stats().failed, 1);
    ck_assert_uint_eq(items[3].attempts, 2);
    end();
}
END_TEST

START_TEST(test_one_that_fails_alone_has_failed)
{
    make_with(PERF_BATCH_ISOLATE_SINGLES, 10, 1);
    perf_batch_item item = {0};
    submit(&item, 0);
    ck_assert_int_eq(run(&item, 1), 1);
    ck_assert_uint_eq(item.state, PERF_BATCH_FINISHED);
    ck_assert_uint_eq(stats().failed, 1);
    end();
}
END_TEST

START_TEST(test_who_waits_to_be_tried_again_is_counted_as_queued)
{
    make_with(PERF_BATCH_ISOLATE_BISECT, 10, 1);
    perf_batch_item items[4];
    submit_many(items, 4, 0);
    items[0].weight = 0;
    perf_batch batch = take_well(0);
    done(&batch, PERF_BATCH_FAILED, 10);
    for (int i = 0; i < 4; i++)
        ck_assert_uint_eq(items[i].state, PERF_BATCH_ISOLATED);
    ck_assert_uint_eq(stats().queued, 4);
    ck_assert_uint_eq(stats().queued_by_priority[PERF_PRIORITY_NORMAL], 4);
    ck_assert_uint_le(wake(10), 10);
    ck_assert(cancel(&items[0], 11)); /* the first of its half */
    ck_assert(cancel(&items[3], 11)); /* the last of the other */
    batch = take_well(12);
    CHECK_ITEMS(&batch, &items[1]);
    ck_assert_uint_eq(stats().wait_ns, 2); /* since it went back */
    done(&batch, PERF_BATCH_OK, 13);
    ck_assert(cancel(&items[2], 13)); /* a whole group */
    ck_assert_uint_eq(wake(14), UINT64_MAX);
    end();
}
END_TEST

START_TEST(test_who_is_cancelled_or_late_is_not_tried_again)
{
    make_with(PERF_BATCH_ISOLATE_BISECT, 10, 1);
    perf_batch_item items[3];
    submit_many(items, 2, 0);
    items[2] = item_of(PERF_PRIORITY_LOW);
    items[2].deadline_ns = 50;
    items[2].start_by_ns = 5;
    submit(&items[2], 0);
    perf_batch batch = take_well(0);
    cancel(&items[0], 1);
    done(&batch, PERF_BATCH_FAILED, 10);
    ck_assert_uint_eq(items[0].state, PERF_BATCH_CANCELLED);
    ck_assert_uint_eq(items[2].state, PERF_BATCH_ISOLATED); /* had started */
    ck_assert_uint_eq(wake(10), 10);
    batch = take_well(10);
    CHECK_ITEMS(&batch, &items[1]);
    done(&batch, PERF_BATCH_OK, 20);
    check_dropped(&items[2], PERF_BATCH_DROP_EXPIRED, 50);
    ck_assert(takes_nothing(50));
    end();
}
END_TEST

START_TEST(test_what_is_lost_has_failed_and_is_not_tried_again)
{
    make_with((perf_batch_isolation)_i, 8, 1);
    perf_batch_item items[4];
    submit_many(items, 4, 0);
    perf_batch batch = take_well(0);
    cancel(&items[1], 1);
    done(&batch, PERF_BATCH_LOST, 10);
    for (int i = 0; i < 4; i++)
        ck_assert_uint_eq(items[i].state,
                          i == 1 ? PERF_BATCH_CANCELLED : PERF_BATCH_FINISHED);
    perf_batch_stats s = stats();
    ck_assert_uint_eq(s.finished, 3);
    ck_assert_uint_eq(s.failed, 3);
    ck_assert_uint_eq(s.cancelled, 1);
    ck_assert_uint_eq(s.batches_failed, 1);
    ck_assert_uint_eq(wake(11), UINT64_MAX);
    submit_many(items, 1, 12); /* a group that is lost is over, too */
    submit_many(items + 1, 1, 12);
    batch = take_well(12);
    done(&batch, PERF_BATCH_FAILED, 13);
    if (_i != PERF_BATCH_ISOLATE_FAIL_ALL)
        for (int i = 0; i < 2; i++) {
            batch = take_well(14);
            ck_assert_uint_eq(batch.items, 1);
            done(&batch, PERF_BATCH_LOST, 15);
        }
    ck_assert_uint_eq(stats().failed, 5);
    ck_assert(takes_nothing(16));
    end();
}
END_TEST

START_TEST(test_one_group_runs_at_a_time)
{
    make_with(PERF_BATCH_ISOLATE_SINGLES, 4, 3);
    perf_batch_item items[4];
    submit_many(items, 4, 0);
    perf_batch batch = take_well(0);
    done(&batch, PERF_BATCH_FAILED, 1);
    batch = take_well(2);
    ck_assert_int_eq(batch.reason, PERF_BATCH_REASON_ISOLATED);
    ck_assert(takes_nothing(2)); /* two slots are free */
    ck_assert_uint_eq(wake(2), UINT64_MAX);
    perf_batch_item fresh[2];
    submit_many(fresh, 2, 3);
    perf_batch other = take_well(3);
    CHECK_ITEMS(&other, &fresh[0], &fresh[1]);
    done(&batch, PERF_BATCH_OK, 4);
    ck_assert_int_eq(take_well(4).reason, PERF_BATCH_REASON_ISOLATED);
    end();
}
END_TEST

START_TEST(test_with_one_slot_groups_and_others_take_turns)
{
    make_with(PERF_BATCH_ISOLATE_SINGLES, 4, 1);
    perf_batch_item items[4], fresh[12];
    submit_many(items, 4, 0);
    perf_batch batch = take_well(0);
    submit_many(fresh, 12, 0);
    done(&batch, PERF_BATCH_FAILED, 1);
    for (int i = 0; i < 6; i++) {
        batch = take_well(2);
        bool group = batch.reason == PERF_BATCH_REASON_ISOLATED;
        ck_assert(group == (i % 2 == 0));
        done(&batch, PERF_BATCH_OK, 2);
    }
    ck_assert_int_eq(run(NULL, 3), 1); /* the last single one */
    end();
}
END_TEST

START_TEST(test_a_batch_of_bad_items_ends)
{
    make_with(_i ? PERF_BATCH_ISOLATE_BISECT : PERF_BATCH_ISOLATE_SINGLES, 16,
              1);
    perf_batch_item items[16];
    submit_many(items, 16, 0);
    int calls = 0;
    for (perf_batch batch; take(&batch, 1); calls++)
        done(&batch, PERF_BATCH_FAILED, 1);
    ck_assert_int_eq(calls, _i ? 31 : 17);
    ck_assert_uint_eq(stats().failed, 16);
    end();
}
END_TEST

/* ---- refused batches ---- */

START_TEST(test_a_refused_batch_goes_back_to_where_it_was)
{
    perf_batch_config c = config_of(3);
    make(&c);
    perf_batch_item items[6], high = item_of(PERF_PRIORITY_HIGH);
    submit_many(items, 6, 0);
    perf_batch batch = take_well(1);
    submit(&high, 2);
    cancel(&items[1], 2);
    done(&batch, PERF_BATCH_THROTTLED, 3);
    ck_assert_uint_eq(items[0].state, PERF_BATCH_QUEUED);
    ck_assert_uint_eq(items[1].state, PERF_BATCH_CANCELLED);
    ck_assert_uint_eq(items[0].submitted_ns, 0);
    ck_assert_uint_eq(stats().queued, 6);
    ck_assert_uint_eq(stats().batches_throttled, 1);
    uint64_t next = wake(3); /* the rate has fallen */
    ck_assert_uint_gt(next, 3);
    ck_assert(takes_nothing(next - 1));
    batch = take_well(next);
    CHECK_ITEMS(&batch, &high, &items[0], &items[2]);
    ck_assert_uint_eq(items[0].attempts, 2);
    perf_batch_cost_stats cost;
    perf_batch_cost_stats_now(perf_batch_queue_cost(queue), &cost);
    ck_assert_uint_eq(cost.observed, 0); /* nothing was learned */
    end();
}
END_TEST

START_TEST(test_a_refused_batch_starts_the_wait_of_its_oldest_again_at_once)
{
    perf_batch_config c = config_of(4);
    c.min_items = 4;
    make(&c);
    perf_batch_item items[6];
    submit_many(items, 4, 0);
    perf_batch batch = take_well(0);
    submit_many(items + 4, 2, 90 * MS);
    done(&batch, PERF_BATCH_THROTTLED, 90 * MS);
    for (int i = 1; i < 4; i++)
        cancel(&items[i], 90 * MS);
    ck_assert_uint_eq(perf_batch_queue_wake_at(queue, 5 * PT_NS_PER_S),
                      100 * MS); /* three are left, the oldest of 0 ms */
    end();
}
END_TEST

START_TEST(test_who_gives_up_has_failed_where_others_go_back)
{
    make_with((perf_batch_isolation)_i, 8, 1);
    perf_batch_item items[3];
    submit_many(items, 3, 0);
    perf_batch batch = take_well(1);
    items[1].gives_up = true;
    done(&batch, PERF_BATCH_THROTTLED, 5);
    ck_assert_uint_eq(items[1].state, PERF_BATCH_FINISHED);
    ck_assert_uint_eq(stats().failed, 1);
    ck_assert_uint_eq(stats().queued, 2);
    batch = take_well(wake(5));
    CHECK_ITEMS(&batch, &items[0], &items[2]);
    items[0].gives_up = true; /* of a batch that was done: nothing */
    done(&batch, PERF_BATCH_OK, batch.taken_ns + 1);
    ck_assert_uint_eq(stats().failed, 1);
    ck_assert_uint_eq(stats().finished, 3);
    submit_many(items + 1, 1, batch.taken_ns + 2);
    ck_assert(!items[1].gives_up); /* a new life */
    end();
}
END_TEST

START_TEST(test_retry_after_pauses_the_queue)
{
    make(NULL);
    perf_batch_item items[2];
    submit_many(items, 2, 0);
    perf_batch batch = take_well(0);
    perf_batch_queue_done_at(queue, &batch, PERF_BATCH_THROTTLED,
                             60 * PT_NS_PER_S, 10);
    whole();
    ck_assert_uint_eq(stats().paused_until_ns, 60 * PT_NS_PER_S + 10);
    uint64_t next = wake(10);
    ck_assert_uint_ge(next, 60 * PT_NS_PER_S + 10);
    ck_assert(takes_nothing(next - 1));
    ck_assert(take(&batch, next));
    end();
}
END_TEST

START_TEST(test_a_refused_item_must_start_in_time_again)
{
    make(NULL);
    perf_batch_item item = {.start_by_ns = 100};
    submit(&item, 0);
    perf_batch batch = take_well(0);
    ck_assert_uint_eq(wake(50), UINT64_MAX);
    perf_batch_queue_done_at(queue, &batch, PERF_BATCH_THROTTLED, 1000, 50);
    check_dropped(&item, PERF_BATCH_DROP_EXPIRED, 101);
    end();
}
END_TEST

START_TEST(test_a_refused_group_stays_a_group)
{
    make_with(PERF_BATCH_ISOLATE_BISECT, 4, 1);
    perf_batch_item items[4];
    submit_many(items, 4, 0);
    perf_batch batch = take_well(0);
    done(&batch, PERF_BATCH_FAILED, 1);
    batch = take_well(1);
    CHECK_ITEMS(&batch, &items[0], &items[1]);
    done(&batch, PERF_BATCH_THROTTLED, 2);
    ck_assert_uint_eq(items[0].state, PERF_BATCH_ISOLATED);
    batch = take_well(wake(2));
    CHECK_ITEMS(&batch, &items[0], &items[1]);
    end();
}
END_TEST

/* ---- nested items ---- */

START_TEST(test_a_nested_item_needs_neither_slot_nor_room)
{
    perf_batch_config c = config_of(10);
    c.max_queued = 1;
    make(&c);
    perf_batch_item outer = {0}, queued = {0};
    perf_batch_item nested = {.nested = true, .priority = PERF_PRIORITY_LOW};
    submit(&outer, 0);
    perf_batch batch = take_well(0);
    submit(&queued, 1);
    ck_assert_int_eq(submit(&nested, 1), PERF_OK);
    ck_assert_uint_eq(nested.state, PERF_BATCH_QUEUED);
    ck_assert_uint_le(wake(1), 1);
    perf_batch inner = take_well(1);
    CHECK_ITEMS(&inner, &nested);
    ck_assert_int_eq(inner.reason, PERF_BATCH_REASON_NESTED);
    ck_assert(takes_nothing(1));
    done(&inner, PERF_BATCH_OK, 2);
    ck_assert(takes_nothing(2)); /* that gave no slot back */
    done(&batch, PERF_BATCH_OK, 3);
    batch = take_well(3);
    CHECK_ITEMS(&batch, &queued);
    end();
}
END_TEST

START_TEST(test_nested_items_go_together)
{
    perf_batch_config c = config_of(2);
    make(&c);
    perf_batch_item outer = {0}, nested[3];
    submit(&outer, 0);
    take_well(0);
    for (int i = 0; i < 3; i++) {
        nested[i] = (perf_batch_item){.nested = true};
        submit(&nested[i], 1);
    }
    perf_batch batch = take_well(1);
    CHECK_ITEMS(&batch, &nested[0], &nested[1]);
    ck_assert_uint_eq(perf_batch_queue_fill_at(queue, &batch, 2, UINT64_MAX, 1),
                      1);
    whole();
    CHECK_ITEMS(&batch, &nested[0], &nested[1], &nested[2]);
    done(&batch, PERF_BATCH_THROTTLED, 2);
    ck_assert_uint_eq(nested[2].state, PERF_BATCH_QUEUED);
    batch = take_well(wake(2));
    CHECK_ITEMS(&batch, &nested[0], &nested[1]);
    end();
}
END_TEST

/* The only slot, and the only place for groups, are taken by who waits. */
START_TEST(test_nested_items_that_failed_are_tried_again_at_once)
{
    make_with(PERF_BATCH_ISOLATE_SINGLES, 10, 1);
    perf_batch_item outer[2], nested[2];
    submit_many(outer, 2, 0);
    perf_batch batch = take_well(0);
    done(&batch, PERF_BATCH_FAILED, 1);
    batch = take_well(1); /* a group */
    for (int i = 0; i < 2; i++) {
        nested[i] = (perf_batch_item){.nested = true};
        submit(&nested[i], 1);
    }
    perf_batch inner = take_well(1);
    done(&inner, PERF_BATCH_FAILED, 2);
    ck_assert_uint_eq(nested[0].state, PERF_BATCH_ISOLATED);
    for (int i = 0; i < 2; i++) {
        inner = take_well(2);
        CHECK_ITEMS(&inner, &nested[i]);
        done(&inner, i ? PERF_BATCH_OK : PERF_BATCH_FAILED, 2);
    }
    ck_assert(takes_nothing(2));
    done(&batch, PERF_BATCH_OK, 3);
    batch = take_well(3);
    CHECK_ITEMS(&batch, &outer[1]);
    ck_assert_uint_eq(stats().failed, 1);
    end();
}
END_TEST

int
main(void)
{
    TCase *t = pt_begin("queue_isolate");
    tcase_add_test(t, test_all_fail_where_nothing_else_is_asked_for);
    tcase_add_loop_test(t, test_halves_find_one_bad_item_in_two_log_n_calls, 0,
                        32);
    tcase_add_loop_test(t, test_odd_batches_are_halved_too, 0, 7);
    tcase_add_test(t, test_singles_try_each_item_alone);
    tcase_add_test(t, test_one_that_fails_alone_has_failed);
    tcase_add_test(t, test_who_waits_to_be_tried_again_is_counted_as_queued);
    tcase_add_test(t, test_who_is_cancelled_or_late_is_not_tried_again);
    tcase_add_loop_test(t, test_what_is_lost_has_failed_and_is_not_tried_again,
                        0, 3);
    tcase_add_test(t, test_one_group_runs_at_a_time);
    tcase_add_test(t, test_with_one_slot_groups_and_others_take_turns);
    tcase_add_loop_test(t, test_a_batch_of_bad_items_ends, 0, 2);
    tcase_add_test(t, test_a_refused_batch_goes_back_to_where_it_was);
    tcase_add_test(
        t, test_a_refused_batch_starts_the_wait_of_its_oldest_again_at_once);
    tcase_add_loop_test(t, test_who_gives_up_has_failed_where_others_go_back, 0,
                        3);
    tcase_add_test(t, test_retry_after_pauses_the_queue);
    tcase_add_test(t, test_a_refused_item_must_start_in_time_again);
    tcase_add_test(t, test_a_refused_group_stays_a_group);
    tcase_add_test(t, test_a_nested_item_needs_neither_slot_nor_room);
    tcase_add_test(t, test_nested_items_go_together);
    tcase_add_test(t, test_nested_items_that_failed_are_tried_again_at_once);
    return pt_end();
}
