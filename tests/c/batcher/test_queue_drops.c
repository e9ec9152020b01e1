/* test_queue_drops.c - who is given up, when, and why; and who must not be. */
#include "test_queue_kit.h"

static perf_batch_item
with_deadline(uint64_t deadline_ns)
{
    return (perf_batch_item){.deadline_ns = deadline_ns};
}

/* ---- whose time is over ---- */

START_TEST(test_a_queued_item_expires_at_its_deadline)
{
    perf_batch_config c = config_of(10);
    make(&c);
    perf_batch_item runs = {0}, item = with_deadline(500);
    submit(&runs, 0);
    perf_batch batch = take_well(0);
    submit(&item, 100);
    ck_assert_uint_eq(wake(100), 500); /* though all slots are busy */
    ck_assert_ptr_null(dropped(499));
    check_dropped(&item, PERF_BATCH_DROP_EXPIRED, 500);
    ck_assert_ptr_null(dropped(500));
    ck_assert(!cancel(&item, 501));
    done(&batch, PERF_BATCH_OK, 600);
    ck_assert(takes_nothing(600));
    ck_assert_uint_eq(stats().expired, 1);
    end();
}
END_TEST

START_TEST(test_a_running_item_expires_and_its_batch_goes_on)
{
    make(NULL);
    perf_batch_item item = with_deadline(500), other = {0};
    submit(&item, 0);
    submit(&other, 0);
    perf_batch batch = take_well(0);
    ck_assert_uint_eq(wake(0), 500);
    check_dropped(&item, PERF_BATCH_DROP_EXPIRED, 500);
    ck_assert_uint_eq(wake(500), UINT64_MAX);
    CHECK_ITEMS(&batch, &item, &other);
    ck_assert_int_eq(submit(&item, 600), PERF_ERR_INVALID);
    done(&batch, PERF_BATCH_OK, 700);
    ck_assert_uint_eq(item.state, PERF_BATCH_DROPPED);
    ck_assert_uint_eq(other.state, PERF_BATCH_FINISHED);
    perf_batch_stats s = stats();
    ck_assert_uint_eq(s.finished, 1);
    ck_assert_uint_eq(s.expired, 1);
    ck_assert_uint_eq(s.service_ns, 500 + 700);
    end();
}
END_TEST

START_TEST(test_a_result_that_comes_at_the_deadline_is_too_late)
{
    make(NULL);
    perf_batch_item item = with_deadline(500), in_time = with_deadline(501);
    submit(&item, 0);
    submit(&in_time, 0);
    perf_batch batch = take_well(0);
    done(&batch, PERF_BATCH_OK, 500);
    ck_assert_uint_eq(item.state, PERF_BATCH_DROPPED);
    ck_assert_uint_eq(in_time.state, PERF_BATCH_FINISHED);
    check_dropped(&item, PERF_BATCH_DROP_EXPIRED, 500);
    end();
}
END_TEST

START_TEST(test_a_time_that_has_passed_already_expires_at_once)
{
    make(NULL);
    perf_batch_item item = with_deadline(100);
    ck_assert_int_eq(submit(&item, 100), PERF_OK);
    ck_assert_uint_le(wake(100), 100);
    ck_assert(takes_nothing(100));
    check_dropped(&item, PERF_BATCH_DROP_EXPIRED, 100);
    end();
}
END_TEST

START_TEST(test_start_by_holds_until_the_item_is_in_a_batch)
{
    perf_batch_config c = config_of(1);
    make(&c);
    perf_batch_item items[3] = {{.start_by_ns = 500},
                                {.start_by_ns = 500, .deadline_ns = 2000},
                                {.start_by_ns = 499}};
    for (int i = 0; i < 3; i++) {
        items[i].priority = PERF_PRIORITY_NORMAL;
        submit(&items[i], 0);
    }
    perf_batch batch = take_well(0);
    CHECK_ITEMS(&batch, &items[1]); /* by its deadline */
    ck_assert_uint_eq(wake(0), 500);
    check_dropped(&items[2], PERF_BATCH_DROP_EXPIRED, 500);
    done(&batch, PERF_BATCH_OK, 500);
    ck_assert_uint_eq(items[1].state, PERF_BATCH_FINISHED);
    batch = take_well(500); /* just in time */
    CHECK_ITEMS(&batch, &items[0]);
    ck_assert_uint_eq(wake(501), UINT64_MAX);
    done(&batch, PERF_BATCH_OK, 5000);
    ck_assert_uint_eq(items[0].state, PERF_BATCH_FINISHED);
    end();
}
END_TEST

START_TEST(test_drops_come_in_the_order_of_their_times)
{
    perf_batch_config c = config_of(1);
    make(&c);
    perf_batch_item runs = {0}, items[64];
    submit(&runs, 0);
    take_well(0);
    pt_random random = {(uint64_t)_i};
    for (int i = 0; i < 64; i++) {
        items[i] = with_deadline(100 + pt_below(&random, 50));
        items[i].priority = (uint8_t)pt_below(&random, 4);
        submit(&items[i], 0);
    }
    uint64_t latest = 0;
    for (int i = 0; i < 64; i++) {
        const perf_batch_item *item = dropped(latest);
        if (!item) {
            uint64_t next = wake(latest);
            ck_assert_uint_gt(next, latest);
            item = dropped(latest = next);
        }
        ck_assert_uint_eq(item->deadline_ns, latest);
    }
    ck_assert_uint_eq(wake(latest), UINT64_MAX);
    end();
}
END_TEST

/* ---- who could not be in time ---- */

/* T(n) = 20 ms + 1 ms n: two take 22 ms. */
START_TEST(test_who_would_be_late_in_the_batch_to_come_is_dropped_before)
{
    perf_batch_config c = config_of(32);
    make_fixed(&c, 20 * MS, 1 * MS);
    perf_batch_item late = with_deadline(22 * MS - 1);
    perf_batch_item in_time = with_deadline(22 * MS), other = {0};
    submit(&in_time, 0);
    submit(&other, 0);
    perf_batch batch = take_well(0);
    CHECK_ITEMS(&batch, &in_time, &other);
    done(&batch, PERF_BATCH_OK, 22 * MS - 1);
    late.deadline_ns += 22 * MS;
    submit(&late, 22 * MS);
    submit(&other, 22 * MS);
    batch = take_well(22 * MS);
    CHECK_ITEMS(&batch, &other);
    check_dropped(&late, PERF_BATCH_DROP_INFEASIBLE, 22 * MS);
    ck_assert_uint_eq(stats().infeasible, 1);
    end();
}
END_TEST

START_TEST(test_a_batch_is_not_made_smaller_to_save_one)
{
    perf_batch_config c = config_of(32);
    make_fixed(&c, 20 * MS, 1 * MS);
    perf_batch_item late = with_deadline(30 * MS), items[31];
    late.priority = PERF_PRIORITY_NORMAL;
    submit_many(items, 31, 0);
    submit(&late, 0);
    perf_batch batch = take_well(0);
    ck_assert_uint_eq(batch.items, 31); /* alone it would have been in time */
    check_dropped(&late, PERF_BATCH_DROP_INFEASIBLE, 0);
    end();
}
END_TEST

START_TEST(test_each_drop_makes_the_batch_to_come_smaller)
{
    perf_batch_config c = config_of(32);
    make_fixed(&c, 20 * MS, 1 * MS);
    perf_batch_item late = with_deadline(21 * MS);
    perf_batch_item saved = with_deadline(22 * MS), other = {0};
    submit(&late, 0); /* three would take 23 ms */
    submit(&saved, 0);
    submit(&other, 0);
    perf_batch batch = take_well(0);
    CHECK_ITEMS(&batch, &saved, &other); /* two take 22 */
    check_dropped(&late, PERF_BATCH_DROP_INFEASIBLE, 0);
    end();
}
END_TEST

/* The first key is not the first deadline: a low one's counts for little. */
START_TEST(test_all_items_of_a_batch_are_looked_at_not_only_the_first)
{
    perf_batch_config c = config_of(32);
    make_fixed(&c, 20 * MS, 1 * MS);
    perf_batch_item first = {.priority = PERF_PRIORITY_HIGH};
    perf_batch_item late = with_deadline(5 * MS);
    late.priority = PERF_PRIORITY_HIGH;
    perf_batch_item low = with_deadline(5 * MS);
    low.priority = PERF_PRIORITY_LOW;
    submit(&first, 0);
    submit(&late, 0);
    submit(&low, 0);
    perf_batch batch = take_well(0);
    CHECK_ITEMS(&batch, &first);
    check_dropped(&late, PERF_BATCH_DROP_INFEASIBLE, 0);
    check_dropped(&low, PERF_BATCH_DROP_INFEASIBLE, 0);
    end();
}
END_TEST

START_TEST(test_nobody_is_dropped_before_anything_is_known)
{
    make(NULL);
    perf_batch_item items[12];
    for (uint64_t i = 0; i < 12; i++) {
        items[i] = with_deadline(i * 100 * MS + 1);
        submit(&items[i], i * 100 * MS);
        perf_batch batch;
        bool taken = take(&batch, i * 100 * MS);
        ck_assert(taken == (i < 3)); /* three teach that it takes 50 ms */
        if (taken)
            done(&batch, PERF_BATCH_OK, i * 100 * MS + 50 * MS);
        while (dropped(i * 100 * MS + 50 * MS))
            ;
    }
    ck_assert_uint_eq(stats().infeasible, 9);
    end();
}
END_TEST

/* ---- who rides along ---- */

START_TEST(test_free_places_go_to_lower_priorities)
{
    perf_batch_config c = config_of(32);
    make_fixed(&c, 20 * MS, 1 * MS);
    perf_batch_item high = with_deadline(60 * MS), low[10];
    high.priority = PERF_PRIORITY_HIGH;
    submit_many(low, 10, 0);
    submit(&high, 0);
    ck_assert_uint_eq(take_well(0).items, 11);
    end();
}
END_TEST

START_TEST(test_who_rides_along_makes_nobody_late)
{
    perf_batch_config c = config_of(32);
    make_fixed(&c, 20 * MS, 1 * MS);
    perf_batch_item high[2], low[10];
    submit_many(low, 10, 0);
    for (int i = 0; i < 2; i++) {
        high[i] = with_deadline(25 * MS); /* that of five */
        high[i].priority = PERF_PRIORITY_HIGH;
        submit(&high[i], 0);
    }
    perf_batch batch = take_well(0);
    CHECK_ITEMS(&batch, &high[0], &high[1], &low[0], &low[1], &low[2]);
    ck_assert_ptr_null(dropped(0));
    ck_assert_uint_eq(stats().queued, 7);
    end();
}
END_TEST

/* Their own priority is not a burden: who is late in such a batch is late. */
START_TEST(test_the_same_priority_does_not_ride)
{
    perf_batch_config c = config_of(32);
    make_fixed(&c, 20 * MS, 1 * MS);
    perf_batch_item first = with_deadline(25 * MS), items[10];
    first.priority = PERF_PRIORITY_NORMAL;
    submit_many(items, 10, 0);
    submit(&first, 0);
    ck_assert_uint_eq(take_well(0).items, 10);
    check_dropped(&first, PERF_BATCH_DROP_INFEASIBLE, 0);
    end();
}
END_TEST

/* ---- who makes room ---- */

static void
make_full(perf_batch_full on_full, uint32_t max_queued)
{
    perf_batch_config c = config_of(2);
    c.max_queued = max_queued;
    c.on_full = on_full;
    make_fixed(&c, 20 * MS, 1 * MS);
}

START_TEST(test_a_full_queue_rejects)
{
    make_full(PERF_BATCH_FULL_REJECT, 3);
    perf_batch_item items[3], more = {.deadline_ns = 7 * PT_NS_PER_S};
    submit_many(items, 3, 0);
    perf_batch_item before = more;
    ck_assert_int_eq(submit(&more, 0), PERF_ERR_FULL);
    ck_assert_mem_eq(&more, &before, sizeof more);
    ck_assert_uint_eq(stats().rejected, 1);
    ck_assert_uint_eq(stats().submitted, 3);
    ck_assert(cancel(&items[0], 1));
    ck_assert_int_eq(submit(&more, 1), PERF_OK);
    end();
}
END_TEST

START_TEST(test_who_expires_makes_room_first)
{
    make_full(PERF_BATCH_FULL_REJECT, 1);
    perf_batch_item old = with_deadline(100), more = {0};
    submit(&old, 0);
    ck_assert_int_eq(submit(&more, 99), PERF_ERR_FULL);
    ck_assert_int_eq(submit(&more, 100), PERF_OK);
    check_dropped(&old, PERF_BATCH_DROP_EXPIRED, 100);
    end();
}
END_TEST

START_TEST(test_the_oldest_makes_room)
{
    make_full(PERF_BATCH_FULL_SHED_OLDEST, 3);
    perf_batch_item items[3], more = item_of(PERF_PRIORITY_LOW);
    submit_many(items, 3, 0);
    items[0].priority = PERF_PRIORITY_NORMAL;
    ck_assert_int_eq(submit(&more, 5), PERF_OK);
    ck_assert_uint_le(wake(5), 5);
    check_dropped(&items[0], PERF_BATCH_DROP_SHED, 5);
    ck_assert_uint_eq(stats().queued, 3);
    ck_assert_uint_eq(stats().shed, 1);
    end();
}
END_TEST

START_TEST(test_as_many_of_the_oldest_go_as_weigh_enough)
{
    perf_batch_config c = config_of(10);
    c.max_queued_weight = 100;
    c.on_full = PERF_BATCH_FULL_SHED_OLDEST;
    make(&c);
    perf_batch_item items[4] = {
        {.weight = 30}, {.weight = 30}, {.weight = 40}, {.weight = 50}};
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(submit(&items[i], 0), PERF_OK);
    check_dropped(&items[0], PERF_BATCH_DROP_SHED, 0);
    check_dropped(&items[1], PERF_BATCH_DROP_SHED, 0);
    ck_assert_ptr_null(dropped(0));
    ck_assert_uint_eq(stats().queued_weight, 90);
    end();
}
END_TEST

START_TEST(test_the_largest_key_makes_room)
{
    make_full(PERF_BATCH_FULL_SHED_LOWEST, 3);
    perf_batch_item low = item_of(PERF_PRIORITY_LOW), high[4];
    for (int i = 0; i < 4; i++)
        high[i] = item_of(PERF_PRIORITY_HIGH);
    submit(&high[0], 0);
    submit(&low, 1);
    submit(&high[1], 2);
    ck_assert_int_eq(submit(&high[2], 3), PERF_OK);
    check_dropped(&low, PERF_BATCH_DROP_SHED, 3);
    ck_assert_int_eq(submit(&high[3], 4), PERF_OK);
    check_dropped(&high[3], PERF_BATCH_DROP_SHED, 4); /* itself */
    ck_assert_uint_eq(stats().submitted, 5);
    ck_assert_uint_eq(stats().shed, 2);
    end();
}
END_TEST

/* Whatever the order in which they come and go. */
START_TEST(test_it_is_always_the_largest_key_that_makes_room)
{
    enum { ROOM = 20, ROUNDS = 400 };
    make_full(PERF_BATCH_FULL_SHED_LOWEST, ROOM);
    static perf_batch_item items[ROUNDS];
    pt_random random = {(uint64_t)_i};
    for (uint64_t i = 0; i < ROUNDS; i++) {
        items[i] = item_of((perf_priority)pt_below(&random, 4));
        if (pt_below(&random, 2))
            items[i].deadline_ns = i + 1000 + pt_below(&random, 1000 * MS);
        ck_assert_int_eq(submit(&items[i], i), PERF_OK);
        const perf_batch_item *shed = dropped(i);
        for (uint64_t j = 0; shed && j <= i; j++)
            if (items[j].state == PERF_BATCH_QUEUED)
                ck_assert(perfi_item_before(&items[j], shed, PERFI_BY_KEY));
        if (pt_below(&random, 10) == 0)
            cancel(&items[pt_below(&random, i + 1)], i);
    }
    ck_assert_uint_gt(stats().shed, ROUNDS / 2);
    end();
}
END_TEST

START_TEST(test_who_cannot_be_in_time_makes_room)
{
    make_full(PERF_BATCH_FULL_SHED_INFEASIBLE, 3);
    perf_batch_item hopeless = with_deadline(21 * MS), items[2], more = {0};
    submit_many(items, 2, 0);
    submit(&hopeless, 0);
    ck_assert_int_eq(submit(&more, 0), PERF_OK); /* two take 22 ms */
    check_dropped(&hopeless, PERF_BATCH_DROP_INFEASIBLE, 0);
    perf_batch_item other = {0};
    ck_assert_int_eq(submit(&other, 0), PERF_ERR_FULL);
    ck_assert_uint_eq(stats().rejected, 1);
    end();
}
END_TEST

/* ---- discard ---- */

START_TEST(test_what_is_discarded_is_named_and_what_runs_is_finished)
{
    perf_batch_config c = config_of(2);
    c.max_queued = 2;
    c.isolation = PERF_BATCH_ISOLATE_SINGLES;
    c.concurrency = 2;
    make(&c);
    perf_batch_item failed[2], runs[2], waits[3];
    submit_many(failed, 2, 0);
    perf_batch bad = take_well(0);
    submit_many(runs, 2, 0);
    perf_batch good = take_well(0);
    done(&bad, PERF_BATCH_FAILED, 1);
    submit_many(waits, 3, 2);
    ck_assert_uint_eq(waits[2].state, PERF_BATCH_BLOCKED);
    perf_batch_queue_close(queue);
    perf_batch_queue_discard(queue);
    whole();
    int count = 0;
    for (const perf_batch_item *item; (item = dropped(3)); count++)
        ck_assert_uint_eq(item->drop, PERF_BATCH_DROP_CLOSED);
    ck_assert_int_eq(count, 5);
    ck_assert_uint_eq(stats().closed, 5);
    done(&good, PERF_BATCH_FAILED, 4); /* nobody would try again */
    ck_assert_uint_eq(runs[0].state, PERF_BATCH_FINISHED);
    ck_assert_uint_eq(stats().failed, 2);
    ck_assert_uint_eq(wake(5), UINT64_MAX);
    end();
}
END_TEST

START_TEST(test_discarding_drops_the_oldest_first_and_closes_nothing)
{
    make(NULL);
    perf_batch_item runs = {0}, items[2], nested = {.nested = true};
    submit(&runs, 0);
    take_well(0);
    submit_many(items, 2, 1);
    submit(&nested, 2);
    perf_batch_queue_discard(queue);
    whole();
    ck_assert_uint_le(wake(3), 3);
    check_dropped(&items[0], PERF_BATCH_DROP_CLOSED, 3);
    check_dropped(&items[1], PERF_BATCH_DROP_CLOSED, 3);
    check_dropped(&nested, PERF_BATCH_DROP_CLOSED, 3);
    ck_assert_ptr_null(dropped(3));
    ck_assert_int_eq(submit(&items[0], 4), PERF_OK);
    end();
}
END_TEST

START_TEST(test_what_is_refused_after_discarding_is_dropped)
{
    make(NULL);
    perf_batch_item items[2];
    submit_many(items, 2, 0);
    perf_batch batch = take_well(0);
    perf_batch_queue_close(queue);
    perf_batch_queue_discard(queue);
    done(&batch, PERF_BATCH_THROTTLED, 1);
    check_dropped(&items[1], PERF_BATCH_DROP_CLOSED, 1);
    check_dropped(&items[0], PERF_BATCH_DROP_CLOSED, 1);
    end();
}
END_TEST

int
main(void)
{
    TCase *t = pt_begin("queue_drops");
    tcase_add_test(t, test_a_queued_item_expires_at_its_deadline);
    tcase_add_test(t, test_a_running_item_expires_and_its_batch_goes_on);
    tcase_add_test(t, test_a_result_that_comes_at_the_deadline_is_too_late);
    tcase_add_test(t, test_a_time_that_has_passed_already_expires_at_once);
    tcase_add_test(t, test_start_by_holds_until_the_item_is_in_a_batch);
    tcase_add_loop_test(t, test_drops_come_in_the_order_of_their_times, 0, 8);
    tcase_add_test(
        t, test_who_would_be_late_in_the_batch_to_come_is_dropped_before);
    tcase_add_test(t, test_a_batch_is_not_made_smaller_to_save_one);
    tcase_add_test(t, test_each_drop_makes_the_batch_to_come_smaller);
    tcase_add_test(t,
                   test_all_items_of_a_batch_are_looked_at_not_only_the_first);
    tcase_add_test(t, test_nobody_is_dropped_before_anything_is_known);
    tcase_add_test(t, test_free_places_go_to_lower_priorities);
    tcase_add_test(t, test_who_rides_along_makes_nobody_late);
    tcase_add_test(t, test_the_same_priority_does_not_ride);
    tcase_add_test(t, test_a_full_queue_rejects);
    tcase_add_test(t, test_who_expires_makes_room_first);
    tcase_add_test(t, test_the_oldest_makes_room);
    tcase_add_test(t, test_as_many_of_the_oldest_go_as_weigh_enough);
    tcase_add_test(t, test_the_largest_key_makes_room);
    tcase_add_loop_test(t, test_it_is_always_the_largest_key_that_makes_room, 0,
                        8);
    tcase_add_test(t, test_who_cannot_be_in_time_makes_room);
    tcase_add_test(t,
                   test_what_is_discarded_is_named_and_what_runs_is_finished);
    tcase_add_test(t,
                   test_discarding_drops_the_oldest_first_and_closes_nothing);
    tcase_add_test(t, test_what_is_refused_after_discarding_is_dropped);
    return pt_end();
}
