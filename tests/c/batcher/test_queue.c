/* test_queue.c - the life of an item, the order of their turns, the settings.
 */
#include "test_queue_kit.h"

/* ---- the life of an item ---- */

START_TEST(test_an_item_goes_through_its_states)
{
    make(NULL);
    perf_batch_item item = {.deadline_ns = 900};
    ck_assert_uint_eq(item.state, PERF_BATCH_NEW);
    ck_assert_int_eq(submit(&item, 100), PERF_OK);
    ck_assert_uint_eq(item.state, PERF_BATCH_QUEUED);
    ck_assert_uint_eq(item.submitted_ns, 100);
    perf_batch batch = take_well(130);
    CHECK_ITEMS(&batch, &item);
    ck_assert_uint_eq(batch.id, 1);
    ck_assert_uint_eq(batch.taken_ns, 130);
    ck_assert_int_eq(batch.reason, PERF_BATCH_REASON_IDLE);
    ck_assert_uint_eq(item.attempts, 1);
    done(&batch, PERF_BATCH_OK, 200);
    ck_assert_uint_eq(item.state, PERF_BATCH_FINISHED);
    perf_batch_stats s = stats();
    ck_assert_uint_eq(s.finished, 1);
    ck_assert_uint_eq(s.failed, 0);
    ck_assert_uint_eq(s.wait_ns, 30);
    ck_assert_uint_eq(s.service_ns, 70);
    ck_assert_uint_eq(s.total_p50_ns, 100);
    ck_assert_ptr_null(dropped(UINT64_MAX));
    ck_assert_uint_eq(wake(UINT64_MAX), UINT64_MAX);
    end();
}
END_TEST

START_TEST(test_a_finished_item_can_be_submitted_again)
{
    make(NULL);
    perf_batch_item item = {0};
    for (uint64_t round = 1; round <= 3; round++) {
        ck_assert_int_eq(submit(&item, round), PERF_OK);
        ck_assert_int_eq(submit(&item, round), PERF_ERR_INVALID);
        perf_batch batch = take_well(round);
        ck_assert_int_eq(submit(&item, round), PERF_ERR_INVALID);
        done(&batch, PERF_BATCH_OK, round);
        ck_assert_uint_eq(stats().finished, round);
    }
    end();
}
END_TEST

START_TEST(test_a_cancelled_item_leaves_at_once)
{
    make(NULL);
    perf_batch_item items[3];
    submit_many(items, 3, 10);
    ck_assert(cancel(&items[1], 11));
    ck_assert(!cancel(&items[1], 11));
    ck_assert_uint_eq(items[1].state, PERF_BATCH_CANCELLED);
    ck_assert_uint_eq(stats().queued, 2);
    perf_batch batch = take_well(12);
    CHECK_ITEMS(&batch, &items[0], &items[2]);
    perf_batch_item never = {0};
    ck_assert(!cancel(&never, 13));
    end();
}
END_TEST

START_TEST(test_an_item_cancelled_in_a_batch_keeps_its_place_there)
{
    make(NULL);
    perf_batch_item items[3];
    submit_many(items, 3, 10);
    perf_batch batch = take_well(10);
    ck_assert(cancel(&items[0], 15));
    CHECK_ITEMS(&batch, &items[0], &items[1], &items[2]);
    ck_assert_uint_eq(stats().running, 2);
    ck_assert_int_eq(submit(&items[0], 16), PERF_ERR_INVALID);
    done(&batch, PERF_BATCH_OK, 20);
    ck_assert_uint_eq(items[0].state, PERF_BATCH_CANCELLED);
    ck_assert_uint_eq(items[1].state, PERF_BATCH_FINISHED);
    ck_assert(!cancel(&items[1], 21));
    perf_batch_stats s = stats();
    ck_assert_uint_eq(s.cancelled, 1);
    ck_assert_uint_eq(s.finished, 2);
    ck_assert_uint_eq(s.service_ns, 5 + 2 * 10);
    ck_assert_int_eq(submit(&items[0], 22), PERF_OK);
    end();
}
END_TEST

/* ---- order ---- */

START_TEST(test_one_priority_goes_first_come_first_served)
{
    perf_batch_config c = config_of(3);
    make(&c);
    perf_batch_item items[5];
    for (int i = 0; i < 5; i++)
        submit_many(&items[i], 1, i < 3 ? 7 : 8); /* ties, too */
    perf_batch batch = take_well(9);
    CHECK_ITEMS(&batch, &items[0], &items[1], &items[2]);
    ck_assert_int_eq(batch.reason, PERF_BATCH_REASON_FULL);
    done(&batch, PERF_BATCH_OK, 9);
    batch = take_well(9);
    CHECK_ITEMS(&batch, &items[3], &items[4]);
    end();
}
END_TEST

START_TEST(test_higher_priorities_go_first)
{
    make(NULL);
    perf_batch_item low = item_of(PERF_PRIORITY_LOW);
    perf_batch_item normal = item_of(PERF_PRIORITY_NORMAL);
    perf_batch_item high = item_of(PERF_PRIORITY_HIGH);
    perf_batch_item critical = item_of(PERF_PRIORITY_CRITICAL);
    submit(&low, 1);
    submit(&normal, 2);
    submit(&high, 3);
    submit(&critical, 4);
    perf_batch batch = take_well(5);
    CHECK_ITEMS(&batch, &critical, &high, &normal, &low);
    end();
}
END_TEST

/* Aging of normal is 1 s, of high 0.1 s: 0.9 s make up for a priority. */
START_TEST(test_an_item_is_overtaken_only_within_the_difference_in_aging)
{
    make(NULL);
    perf_batch_item normal = item_of(PERF_PRIORITY_NORMAL);
    perf_batch_item soon = item_of(PERF_PRIORITY_HIGH);
    perf_batch_item late = item_of(PERF_PRIORITY_HIGH);
    submit(&normal, 0);
    submit(&soon, 900 * MS - 1);
    submit(&late, 900 * MS);
    perf_batch batch = take_well(901 * MS);
    CHECK_ITEMS(&batch, &soon, &normal, &late);
    end();
}
END_TEST

START_TEST(test_the_sooner_deadline_goes_first)
{
    make(NULL);
    perf_batch_item items[4];
    uint64_t deadlines[] = {400 * MS, 300 * MS, 0, 900 * MS};
    for (int i = 0; i < 4; i++) {
        items[i] = item_of(PERF_PRIORITY_NORMAL);
        items[i].deadline_ns = deadlines[i];
        submit(&items[i], 0);
    }
    perf_batch batch = take_well(0);
    CHECK_ITEMS(&batch, &items[1], &items[0], &items[3], &items[2]);
    end();
}
END_TEST

START_TEST(test_a_deadline_moves_up_to_the_priority_above_at_most)
{
    make(NULL);
    perf_batch_item low = item_of(PERF_PRIORITY_LOW);
    perf_batch_item normal = item_of(PERF_PRIORITY_NORMAL);
    low.deadline_ns = 1 * MS;
    submit(&low, 0);
    submit(&normal, 0); /* the same key, later */
    perf_batch_item other = item_of(PERF_PRIORITY_HIGH);
    submit(&other, 0);
    perf_batch batch = take_well(0);
    CHECK_ITEMS(&batch, &other, &low, &normal);
    end();
}
END_TEST

START_TEST(test_strict_order_knows_no_aging)
{
    perf_batch_config c = config_of(10);
    c.order = PERF_BATCH_ORDER_STRICT;
    make(&c);
    perf_batch_item low = item_of(PERF_PRIORITY_LOW);
    perf_batch_item second = item_of(PERF_PRIORITY_HIGH);
    perf_batch_item first = item_of(PERF_PRIORITY_HIGH);
    submit(&low, 0);
    submit(&second, 3600 * PT_NS_PER_S);
    first.deadline_ns = 3600 * PT_NS_PER_S + 1 * MS;
    submit(&first, 3600 * PT_NS_PER_S);
    perf_batch batch = take_well(3600 * PT_NS_PER_S);
    CHECK_ITEMS(&batch, &first, &second, &low);
    end();
}
END_TEST

START_TEST(test_an_item_that_comes_later_still_joins_the_next_batch)
{
    make(NULL);
    perf_batch_item normal = item_of(PERF_PRIORITY_NORMAL);
    perf_batch_item runs = normal, critical = item_of(PERF_PRIORITY_CRITICAL);
    submit(&runs, 0);
    perf_batch first = take_well(0);
    submit(&normal, 1);
    ck_assert(takes_nothing(1));
    submit(&critical, 2); /* no batch had been formed meanwhile */
    done(&first, PERF_BATCH_OK, 3);
    perf_batch second = take_well(3);
    CHECK_ITEMS(&second, &critical, &normal);
    end();
}
END_TEST

/* ---- times ---- */

START_TEST(test_a_clock_that_goes_back_stands_still)
{
    make(NULL);
    perf_batch_item items[2];
    submit_many(items, 1, 1000);
    submit_many(items + 1, 1, 10);
    ck_assert_uint_eq(items[1].submitted_ns, 1000);
    perf_batch batch = take_well(500);
    ck_assert_uint_eq(batch.taken_ns, 1000);
    CHECK_ITEMS(&batch, &items[0], &items[1]);
    done(&batch, PERF_BATCH_OK, 0);
    ck_assert_uint_eq(stats().wait_ns, 0);
    ck_assert_uint_eq(stats().service_ns, 0);
    end();
}
END_TEST

START_TEST(test_a_batch_is_timed_once_and_each_item_too)
{
    make(NULL);
    perf_batch_item items[10];
    submit_many(items, 10, 0);
    perf_batch batch = take_well(10);
    done(&batch, PERF_BATCH_OK, 40);
    submit_many(items, 1, 100);
    batch = take_well(100);
    done(&batch, PERF_BATCH_LOST, 110);
    submit_many(items, 2, 200);
    batch = take_well(200);
    done(&batch, PERF_BATCH_THROTTLED, 201); /* was not done */
    perf_batch_stats s = stats();
    ck_assert_uint_eq(s.batches_done, 2);
    ck_assert_uint_eq(s.batch_ns, 30 + 10);
    ck_assert_uint_eq(s.batch_p50_ns, 10);
    ck_assert_uint_eq(s.batch_p99_ns, 30);
    ck_assert_uint_eq(s.batch_max_ns, 30);
    ck_assert_uint_eq(s.service_ns, 10 * 30 + 10 + 2);
    ck_assert_uint_eq(s.wait_ns, 10 * 10);
    end();
}
END_TEST

START_TEST(test_equal_items_that_were_merged_teach_the_time_of_one)
{
    perf_batch_config c = config_of(32);
    c.max_weight = _i ? 6400 : 0;
    make(&c);
    perf_batch_item items[32] = {{0}};
    for (uint32_t n = 1; n <= 16; n++) {
        for (uint32_t i = 0; i < 2 * n; i++) {
            items[i] = item_of(PERF_PRIORITY_NORMAL);
            items[i].weight = _i ? 10 : 0;
            ck_assert_int_eq(submit(&items[i], n * 1000 * MS), PERF_OK);
        }
        perf_batch batch = take_well(n * 1000 * MS);
        ck_assert_uint_eq(batch.items, 2 * n);
        ck_assert_uint_eq(batch.distinct, 0);
        batch.distinct = n; /* each came twice */
        batch.distinct_weight = batch.weight / 2;
        done(&batch, PERF_BATCH_OK, (n * 1000 + 20 + n) * MS);
    }
    perf_batch_cost *cost = perf_batch_queue_cost(queue);
    uint64_t expected = perf_batch_cost_predict(cost, _i ? 320 : 32);
    ck_assert_uint_ge(expected, 52 * MS - 1000);
    ck_assert_uint_le(expected, 52 * MS + 1000);
    end();
}
END_TEST

START_TEST(test_times_may_be_as_large_as_numbers_are)
{
    perf_batch_config c = config_of(10);
    c.max_wait_ns = UINT64_MAX;
    c.min_items = 6;
    c.aging_ns[3] = UINT64_MAX;
    make(&c);
    const uint64_t now = UINT64_MAX - 10;
    perf_batch_item never = {.deadline_ns = UINT64_MAX,
                             .start_by_ns = UINT64_MAX};
    perf_batch_item low = item_of(PERF_PRIORITY_LOW);
    perf_batch_item soon = {.deadline_ns = UINT64_MAX - 5};
    submit(&never, now);
    submit(&low, now);
    ck_assert_uint_eq(wake(now), UINT64_MAX);
    submit(&soon, now);
    ck_assert_uint_eq(wake(now), now + 2); /* half of its time */
    check_dropped(&soon, PERF_BATCH_DROP_EXPIRED, UINT64_MAX - 5);
    ck_assert_ptr_null(dropped(UINT64_MAX));
    perf_batch_queue_close(queue);
    perf_batch batch = take_well(UINT64_MAX);
    CHECK_ITEMS(&batch, &never, &low);
    done(&batch, PERF_BATCH_OK, UINT64_MAX);
    end();
}
END_TEST

/* ---- settings and life ---- */

static void
refused(perf_batch_config c, const char *field)
{
    const char *wrong = perf_batch_config_check(&c);
    ck_assert_ptr_nonnull(wrong);
    ck_assert(!strncmp(wrong, field, strlen(field)));
    ck_assert_int_eq(perf_batch_queue_create(&c, &queue), PERF_ERR_RANGE);
    ck_assert_ptr_null(queue);
}

#define REFUSED(field, value)                                                  \
    do {                                                                       \
        perf_batch_config c_ = config_of(10);                                  \
        c_.field = value;                                                      \
        refused(c_, #field);                                                   \
    } while (0)

START_TEST(test_a_setting_out_of_range_is_named)
{
    REFUSED(max_items, 0);
    REFUSED(max_items, 65537);
    REFUSED(min_items, 0);
    REFUSED(min_items, 11);
    REFUSED(concurrency, 1025);
    REFUSED(max_concurrency, 0);
    REFUSED(max_concurrency, 1025);
    REFUSED(max_queued, 0);
    REFUSED(on_full, (perf_batch_full)5);
    REFUSED(order, (perf_batch_order)2);
    REFUSED(isolation, (perf_batch_isolation)3);
    perf_batch_config c = config_of(10);
    c.aging_ns[2] = 99 * MS;
    refused(c, "aging_ns");
    perf_batch_config_init(&c);
    ck_assert_ptr_null(perf_batch_config_check(&c));
    ck_assert_int_eq(perf_batch_queue_create(&c, NULL), PERF_ERR_INVALID);
}
END_TEST

START_TEST(test_what_is_no_item_is_refused)
{
    make(NULL);
    perf_batch_item item = {.priority = 4};
    ck_assert_int_eq(submit(&item, 0), PERF_ERR_INVALID);
    item = (perf_batch_item){.tenant = 1};
    ck_assert_int_eq(submit(&item, 0), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_batch_queue_submit_at(queue, NULL, 0),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_batch_queue_submit_at(NULL, &item, 0),
                     PERF_ERR_INVALID);
    ck_assert_uint_eq(stats().submitted, 0);
    end();
}
END_TEST

START_TEST(test_create_without_memory_leaves_nothing_behind)
{
    for (uint64_t allowed = 0;; allowed++) {
        pt_alloc a;
        pt_alloc_init(&a, allowed);
        perf_batch_config c = config_of(10);
        c.allocator = &a.face;
        perf_err err = perf_batch_queue_create(&c, &queue);
        ck_assert_ptr_eq(!err ? NULL : queue, NULL);
        if (!err) {
            ck_assert_uint_gt(allowed, 3);
            ck_assert_uint_le(a.live_bytes, 300 * 1000);
            perf_batch_queue_destroy(queue);
        }
        ck_assert_int_eq(err, err ? PERF_ERR_NOMEM : PERF_OK);
        ck_assert_uint_eq(a.live, 0);
        ck_assert(!a.wrong_size);
        if (!err)
            return;
    }
}
END_TEST

START_TEST(test_the_hot_verbs_do_not_allocate)
{
    pt_alloc a;
    pt_alloc_init(&a, UINT64_MAX);
    perf_batch_config c = config_of(10);
    c.allocator = &a.face;
    make(&c);
    uint64_t calls = a.calls;
    for (uint64_t round = 0; round < 20; round++) {
        perf_batch_item items[30];
        submit_many(items, 30, round);
        for (perf_batch batch; take(&batch, round);)
            done(&batch, PERF_BATCH_OK, round);
    }
    ck_assert_uint_eq(stats().finished, 600);
    ck_assert_uint_eq(a.calls, calls);
    end();
}
END_TEST

START_TEST(test_a_queue_that_forgets_is_empty_and_knows_what_it_knew)
{
    perf_batch_config c = config_of(2);
    c.max_queued = 4;
    make(&c);
    uint32_t tenant;
    ck_assert_int_eq(perf_batch_queue_tenant_add(queue, 1, &tenant), PERF_OK);
    perf_batch_item items[10];
    submit_many(items, 2, 0);
    perf_batch first = take_well(1), again;
    done(&first, PERF_BATCH_OK, 5);
    submit_many(items, 2, 6);
    first = take_well(6);
    submit_many(items + 2, 6, 7);
    perf_batch_item timed = {.deadline_ns = 10, .tenant = tenant};
    submit(&timed, 8);
    perf_batch_queue_forget(queue);
    whole();
    ck_assert_uint_eq(wake(20), UINT64_MAX);
    ck_assert_ptr_null(dropped(20));
    ck_assert(takes_nothing(20));
    done(&first, PERF_BATCH_OK, 21); /* of before: nothing */
    perf_batch_stats s = stats();
    ck_assert_uint_eq(s.finished, 2);
    ck_assert_uint_eq(s.submitted, 2);
    ck_assert_uint_eq(s.service_ns, 8);
    perf_batch_item fresh = {.tenant = tenant};
    submit(&fresh, 22);
    again = take_well(22);
    CHECK_ITEMS(&again, &fresh);
    end();
}
END_TEST

/* Slots were taken as the process was forked, and nobody will give them back:
 * control sees none of them taken. */
START_TEST(test_a_queue_that_forgets_has_all_its_slots_and_keeps_its_pause)
{
    perf_batch_config c = config_of(8);
    c.concurrency = 4;
    make_fixed(&c, 20 * MS, MS);
    perf_batch_item items[232];
    for (uint64_t i = 0; i < 200; i++) /* 500 a second */
        submit_many(&items[i], 1, i * 2 * MS);
    uint64_t now = 400 * MS;
    for (int i = 0; i < 3; i++)
        take_well(now);
    uint32_t busy = stats().min_items;
    ck_assert_uint_gt(busy, 1); /* it is the last slot */
    perf_batch refused = take_well(now);
    perf_batch_queue_done_at(queue, &refused, PERF_BATCH_THROTTLED, 1000 * MS,
                             now);
    perf_batch_queue_forget(queue);
    perf_batch_stats s = stats();
    ck_assert_uint_lt(s.min_items, busy);
    ck_assert_uint_eq(s.paused_until_ns, now + 1000 * MS);
    submit_many(items + 200, 32, now);
    ck_assert(takes_nothing(now + 1000 * MS - 1));
    for (int i = 0; i < 4; i++) /* as fast as refusals left it */
        take_well(now = wake(now + 1000 * MS));
    end();
}
END_TEST

START_TEST(test_who_is_rejected_is_told_when_to_come_again)
{
    perf_batch_config c = config_of(10);
    c.max_queued = 100;
    c.on_full = PERF_BATCH_FULL_REJECT;
    make(&c);
    ck_assert_uint_eq(perf_batch_queue_retry_after(queue), 0); /* not known */
    perf_batch_queue_destroy(queue);
    make_fixed(&c, 20 * MS, 1 * MS);
    perf_batch_item items[101];
    submit_many(items, 100, 0);
    items[100] = (perf_batch_item){0};
    ck_assert_int_eq(submit(&items[100], 0), PERF_ERR_FULL);
    /* two batches of ten, until it is 80 % full */
    ck_assert_uint_eq(perf_batch_queue_retry_after(queue), 60 * MS);
    end();
}
END_TEST

int
main(void)
{
    TCase *t = pt_begin("queue");
    tcase_add_test(t, test_an_item_goes_through_its_states);
    tcase_add_test(t, test_a_finished_item_can_be_submitted_again);
    tcase_add_test(t, test_a_cancelled_item_leaves_at_once);
    tcase_add_test(t, test_an_item_cancelled_in_a_batch_keeps_its_place_there);
    tcase_add_test(t, test_one_priority_goes_first_come_first_served);
    tcase_add_test(t, test_higher_priorities_go_first);
    tcase_add_test(
        t, test_an_item_is_overtaken_only_within_the_difference_in_aging);
    tcase_add_test(t, test_the_sooner_deadline_goes_first);
    tcase_add_test(t, test_a_deadline_moves_up_to_the_priority_above_at_most);
    tcase_add_test(t, test_strict_order_knows_no_aging);
    tcase_add_test(t, test_an_item_that_comes_later_still_joins_the_next_batch);
    tcase_add_test(t, test_a_clock_that_goes_back_stands_still);
    tcase_add_test(t, test_times_may_be_as_large_as_numbers_are);
    tcase_add_test(t, test_a_setting_out_of_range_is_named);
    tcase_add_test(t, test_what_is_no_item_is_refused);
    tcase_add_test(t, test_create_without_memory_leaves_nothing_behind);
    tcase_add_test(t, test_the_hot_verbs_do_not_allocate);
    tcase_add_test(t,
                   test_a_queue_that_forgets_is_empty_and_knows_what_it_knew);
    tcase_add_test(
        t, test_a_queue_that_forgets_has_all_its_slots_and_keeps_its_pause);
    tcase_add_test(t, test_a_batch_is_timed_once_and_each_item_too);
    tcase_add_loop_test(
        t, test_equal_items_that_were_merged_teach_the_time_of_one, 0, 2);
    tcase_add_test(t, test_who_is_rejected_is_told_when_to_come_again);
    return pt_end();
}
