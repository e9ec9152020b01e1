/* test_queue_room.c - who waits outside of a full queue. */
#include "test_queue_kit.h"

static void
make_small(uint32_t max_queued)
{
    perf_batch_config c = config_of(1);
    c.max_queued = max_queued;
    make(&c);
}

START_TEST(test_a_full_queue_lets_wait_outside)
{
    make_small(2);
    perf_batch_item items[3];
    submit_many(items, 3, 0);
    ck_assert_uint_eq(items[1].state, PERF_BATCH_QUEUED);
    ck_assert_uint_eq(items[2].state, PERF_BATCH_BLOCKED);
    perf_batch_stats s = stats();
    ck_assert_uint_eq(s.blocked, 1);
    ck_assert_uint_eq(s.queued, 2);
    ck_assert_uint_eq(s.submitted, 3);
    end();
}
END_TEST

/* 10 places: full at 10, until no more than 8 are taken. */
START_TEST(test_who_waits_outside_comes_in_when_a_fifth_is_free)
{
    make_small(10);
    perf_batch_item items[13];
    submit_many(items, 12, 0);
    perf_batch batch = take_well(1);
    ck_assert_uint_eq(stats().blocked, 2);
    submit_many(items + 12, 1, 2); /* there is room, but not for it yet */
    ck_assert_uint_eq(items[12].state, PERF_BATCH_BLOCKED);
    done(&batch, PERF_BATCH_OK, 3);
    batch = take_well(3);
    ck_assert_uint_eq(items[10].state, PERF_BATCH_QUEUED);
    ck_assert_uint_eq(items[11].state, PERF_BATCH_QUEUED);
    ck_assert_uint_eq(items[12].state, PERF_BATCH_BLOCKED); /* full again */
    ck_assert_uint_eq(stats().queued, 10);
    end();
}
END_TEST

START_TEST(test_after_the_room_is_empty_the_queue_is_open_again_at_80_percent)
{
    make_small(10);
    perf_batch_item items[14];
    submit_many(items, 11, 0);
    ck_assert(cancel(&items[10], 0)); /* who waited outside */
    submit_many(items + 11, 1, 0);
    ck_assert_uint_eq(items[11].state, PERF_BATCH_BLOCKED);
    ck_assert(cancel(&items[0], 0));
    ck_assert_uint_eq(items[11].state, PERF_BATCH_BLOCKED);
    ck_assert(cancel(&items[1], 0));
    ck_assert_uint_eq(items[11].state, PERF_BATCH_QUEUED);
    submit_many(items + 12, 1, 0); /* nobody waits outside: up to 100 % */
    ck_assert_uint_eq(items[12].state, PERF_BATCH_QUEUED);
    end();
}
END_TEST

START_TEST(test_first_come_first_in_with_the_time_and_key_of_coming)
{
    make_small(1);
    perf_batch_item first, low, high;
    submit_many(&first, 1, 0);
    low = item_of(PERF_PRIORITY_LOW);
    high = item_of(PERF_PRIORITY_CRITICAL);
    submit(&low, 10);
    submit(&high, 20);
    uint64_t key = low.numbers[PERFI_KEY];
    perf_batch batch = take_well(30);
    ck_assert_uint_eq(low.state, PERF_BATCH_QUEUED);
    ck_assert_uint_eq(high.state, PERF_BATCH_BLOCKED);
    ck_assert_uint_eq(low.submitted_ns, 10);
    ck_assert_uint_eq(low.numbers[PERFI_KEY], key);
    done(&batch, PERF_BATCH_OK, 40);
    batch = take_well(40);
    CHECK_ITEMS(&batch, &low);
    ck_assert_uint_eq(stats().wait_ns, 30 + 30); /* outside, too */
    end();
}
END_TEST

START_TEST(test_time_passes_outside_as_well)
{
    make_small(1);
    perf_batch_item first, items[2];
    submit_many(&first, 1, 0);
    items[0] = (perf_batch_item){.deadline_ns = 50};
    items[1] = (perf_batch_item){.start_by_ns = 60};
    submit(&items[0], 10);
    submit(&items[1], 10);
    check_dropped(&items[0], PERF_BATCH_DROP_EXPIRED, 50);
    ck_assert_ptr_null(dropped(60));
    check_dropped(&items[1], PERF_BATCH_DROP_EXPIRED, 61);
    ck_assert_uint_eq(stats().blocked, 0);
    end();
}
END_TEST

START_TEST(test_who_waits_outside_can_be_cancelled)
{
    make_small(1);
    perf_batch_item items[4];
    submit_many(items, 4, 0);
    ck_assert(cancel(&items[2], 1));
    ck_assert_uint_eq(stats().blocked, 2);
    ck_assert(cancel(&items[0], 2)); /* the next one comes in */
    ck_assert_uint_eq(items[1].state, PERF_BATCH_QUEUED);
    ck_assert_uint_eq(items[3].state, PERF_BATCH_BLOCKED);
    end();
}
END_TEST

START_TEST(test_weight_bounds_the_queue_as_well)
{
    perf_batch_config c = config_of(1);
    c.max_queued_weight = 100;
    make(&c);
    perf_batch_item items[5] = {
        {.weight = 60}, {.weight = 41}, {.weight = 200}, {0}, {.weight = 1}};
    for (int i = 0; i < 4; i++)
        submit(&items[i], 0);
    ck_assert_uint_eq(items[0].state, PERF_BATCH_QUEUED);
    ck_assert_uint_eq(items[1].state, PERF_BATCH_BLOCKED);
    ck_assert_uint_eq(items[3].state, PERF_BATCH_BLOCKED); /* behind them */
    ck_assert(cancel(&items[0], 0));
    ck_assert_uint_eq(items[1].state, PERF_BATCH_QUEUED);
    ck_assert_uint_eq(items[2].state, PERF_BATCH_BLOCKED);
    ck_assert(cancel(&items[1], 0)); /* too heavy for any queue: alone */
    ck_assert_uint_eq(items[2].state, PERF_BATCH_QUEUED);
    ck_assert_uint_eq(items[3].state, PERF_BATCH_BLOCKED);
    end();
}
END_TEST

START_TEST(test_a_full_queue_does_not_wait_for_more)
{
    perf_batch_config c = config_of(10);
    c.min_items = 10;
    c.max_queued = 3;
    make(&c);
    perf_batch_item items[3];
    submit_many(items, 2, 0);
    ck_assert(takes_nothing(0));
    submit_many(items + 2, 1, 0);
    ck_assert_uint_le(wake(0), 0);
    ck_assert_int_eq(take_well(0).reason, PERF_BATCH_REASON_FULL);
    end();
}
END_TEST

START_TEST(test_a_closed_queue_lets_in_who_was_outside)
{
    make_small(1);
    perf_batch_item items[3];
    submit_many(items, 3, 0);
    perf_batch_queue_close(queue);
    for (uint64_t i = 0; i < 3; i++) {
        perf_batch batch = take_well(i);
        CHECK_ITEMS(&batch, &items[i]);
        done(&batch, PERF_BATCH_OK, i);
    }
    ck_assert_uint_eq(wake(4), UINT64_MAX);
    end();
}
END_TEST

int
main(void)
{
    TCase *t = pt_begin("queue_room");
    tcase_add_test(t, test_a_full_queue_lets_wait_outside);
    tcase_add_test(t, test_who_waits_outside_comes_in_when_a_fifth_is_free);
    tcase_add_test(
        t, test_after_the_room_is_empty_the_queue_is_open_again_at_80_percent);
    tcase_add_test(t, test_first_come_first_in_with_the_time_and_key_of_coming);
    tcase_add_test(t, test_time_passes_outside_as_well);
    tcase_add_test(t, test_who_waits_outside_can_be_cancelled);
    tcase_add_test(t, test_weight_bounds_the_queue_as_well);
    tcase_add_test(t, test_a_full_queue_does_not_wait_for_more);
    tcase_add_test(t, test_a_closed_queue_lets_in_who_was_outside);
    return pt_end();
}
