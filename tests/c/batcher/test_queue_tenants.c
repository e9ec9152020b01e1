/* test_queue_tenants.c - each tenant gets its share, whatever the others do. */
#include "test_queue_kit.h"

enum { MANY = 600 };

static perf_batch_item items[MANY];

static uint32_t
add(double share)
{
    uint32_t tenant;
    ck_assert_int_eq(perf_batch_queue_tenant_add(queue, share, &tenant),
                     PERF_OK);
    return tenant;
}

static void
submit_for(uint32_t tenant, int from, int to, uint64_t now)
{
    for (int i = from; i < to; i++) {
        items[i] = item_of(PERF_PRIORITY_NORMAL);
        items[i].tenant = tenant;
        items[i].weight = 1;
        submit(&items[i], now);
    }
}

/* Take `batches`, and count whose the items are. */
static void
serve(int batches, uint64_t now, uint64_t *count)
{
    for (int i = 0; i < batches; i++) {
        perf_batch batch = take_well(now);
        for (const perf_batch_item *x = batch.first; x; x = x->next)
            count[x->tenant]++;
        done(&batch, PERF_BATCH_OK, now);
    }
}

START_TEST(test_a_tenant_that_floods_the_queue_gets_its_share)
{
    make(NULL);
    uint32_t loud = add(1), quiet = add(1);
    uint64_t count[3] = {0};
    submit_for(loud, 0, 300, 0);
    submit_for(quiet, 300, 320, 1);
    serve(4, 2, count); /* forty items */
    ck_assert_uint_eq(count[quiet], 20);
    ck_assert_uint_eq(count[loud], 20);
    serve(2, 3, count); /* the slot is not left idle */
    ck_assert_uint_eq(count[loud], 40);
    end();
}
END_TEST

START_TEST(test_twice_the_share_is_twice_the_service)
{
    make(NULL);
    uint32_t one = add(.5), two = add(1), four = add(2);
    uint64_t count[4] = {0};
    submit_for(one, 0, 200, 0);
    submit_for(two, 200, 400, 0);
    submit_for(four, 400, 600, 0);
    serve(7 * 3, 1, count);
    ck_assert_uint_eq(count[one], 30);
    ck_assert_uint_eq(count[two], 60);
    ck_assert_uint_eq(count[four], 120);
    end();
}
END_TEST

START_TEST(test_service_is_weight_where_batches_are_bounded_by_it)
{
    perf_batch_config c = config_of(1);
    c.max_weight = 100;
    make(&c);
    uint32_t heavy = add(1), light = add(1);
    uint64_t count[3] = {0};
    submit_for(light, 0, 300, 0);
    for (int i = 300; i < 330; i++) {
        items[i] = (perf_batch_item){.tenant = heavy, .weight = 10};
        submit(&items[i], 0);
    }
    serve(110, 1, count);
    ck_assert_uint_eq(count[light], 100);
    ck_assert_uint_eq(count[heavy], 10);
    end();
}
END_TEST

START_TEST(test_being_idle_saves_nothing_up)
{
    make(NULL);
    uint32_t busy = add(1), idle = add(1);
    uint64_t count[3] = {0};
    submit_for(busy, 0, 300, 0);
    serve(20, 1, count);
    submit_for(idle, 300, 400, 2);
    memset(count, 0, sizeof count);
    serve(4, 3, count);
    ck_assert_uint_eq(count[idle], 20);
    ck_assert_uint_eq(count[busy], 20);
    /* nor where nobody had waited in between */
    serve(14, 4, count);
    submit_for(idle, 0, 40, 5);
    submit_for(busy, 100, 140, 5);
    memset(count, 0, sizeof count);
    serve(4, 6, count);
    ck_assert_uint_le(count[idle], 21);
    ck_assert_uint_ge(count[idle], 19);
    end();
}
END_TEST

/* Else the items with near deadlines of one would push out all others'. */
START_TEST(test_tenants_stand_above_priorities_and_deadlines)
{
    perf_batch_config c = config_of(2);
    make(&c);
    uint32_t loud = add(1), quiet = add(1);
    uint64_t count[3] = {0};
    for (int i = 0; i < 20; i++) {
        items[i] = (perf_batch_item){.tenant = loud, .deadline_ns = 100};
        submit(&items[i], 0);
    }
    submit_for(quiet, 20, 30, 0);
    for (int i = 20; i < 30; i++)
        ck_assert_uint_eq(items[i].state, PERF_BATCH_QUEUED);
    serve(5, 1, count);
    ck_assert_uint_eq(count[quiet], 5);
    end();
}
END_TEST

START_TEST(test_of_one_tenant_the_smallest_key_goes_first)
{
    make(NULL);
    uint32_t a = add(1), b = add(1);
    perf_batch_item low = {.tenant = a, .priority = PERF_PRIORITY_LOW};
    perf_batch_item high = {.tenant = a, .priority = PERF_PRIORITY_HIGH};
    perf_batch_item other = {.tenant = b, .priority = PERF_PRIORITY_LOW};
    submit(&low, 0);
    submit(&high, 1);
    submit(&other, 2);
    perf_batch batch = take_well(3);
    CHECK_ITEMS(&batch, &high, &other, &low);
    end();
}
END_TEST

START_TEST(test_what_was_refused_was_not_served)
{
    perf_batch_config c = config_of(10);
    make(&c);
    uint32_t a = add(1), b = add(1);
    uint64_t count[3] = {0};
    submit_for(a, 0, 10, 0);
    perf_batch batch = take_well(0);
    submit_for(b, 10, 20, 0);
    done(&batch, PERF_BATCH_THROTTLED, 1);
    batch = take_well(wake(1));
    for (const perf_batch_item *x = batch.first; x; x = x->next)
        count[x->tenant]++;
    ck_assert_uint_eq(count[a], 5);
    ck_assert_uint_eq(count[b], 5);
    end();
}
END_TEST

START_TEST(test_any_number_of_tenants_is_served_in_turn)
{
    perf_batch_config c = config_of(1);
    make(&c);
    pt_random random = {7};
    perf_batch_item first = {0};
    submit(&first, 0); /* waits while all others are added */
    for (int i = 0; i < MANY; i++)
        add(1);
    uint64_t count[MANY + 1] = {0};
    int order[MANY];
    for (int i = 0; i < MANY; i++) {
        int at = (int)pt_below(&random, (uint64_t)i + 1);
        order[i] = order[at];
        order[at] = i;
    }
    for (int i = 0; i < MANY; i++) {
        items[i] = (perf_batch_item){.tenant = (uint32_t)order[i] + 1};
        ck_assert_int_eq(perf_batch_queue_submit_at(queue, &items[i], 0),
                         PERF_OK);
    }
    whole();
    for (int i = 0; i < MANY / 2; i++)
        perf_batch_queue_cancel_at(queue, &items[pt_below(&random, MANY)], 0);
    whole();
    uint64_t left = stats().queued;
    serve((int)left, 1, count);
    ck_assert_uint_eq(count[0], 1);
    for (int i = 0; i < MANY; i++)
        ck_assert_uint_eq(count[items[i].tenant],
                          items[i].state == PERF_BATCH_FINISHED);
    end();
}
END_TEST

START_TEST(test_a_share_must_be_a_number_above_nothing)
{
    make(NULL);
    uint32_t tenant;
    ck_assert_int_eq(perf_batch_queue_tenant_add(queue, 0, &tenant),
                     PERF_ERR_RANGE);
    ck_assert_int_eq(perf_batch_queue_tenant_add(queue, -1, &tenant),
                     PERF_ERR_RANGE);
    ck_assert_int_eq(perf_batch_queue_tenant_add(queue, 1 / .0, &tenant),
                     PERF_ERR_RANGE);
    ck_assert_int_eq(perf_batch_queue_tenant_add(queue, 0 / .0, &tenant),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_batch_queue_tenant_add(queue, 1, NULL),
                     PERF_ERR_INVALID);
    ck_assert_uint_eq(add(1), 1);
    end();
}
END_TEST

START_TEST(test_a_tenant_without_memory_is_not_there)
{
    pt_alloc a;
    pt_alloc_init(&a, UINT64_MAX);
    perf_batch_config c = config_of(10);
    c.allocator = &a.face;
    make(&c);
    uint32_t added = 0, failed = 0, tenant;
    for (int i = 0; i < 100; i++) {
        a.allowed = a.calls; /* nothing more */
        if (perf_batch_queue_tenant_add(queue, 1, &tenant)) {
            failed++;
            perf_batch_item item = {.tenant = added + 1};
            ck_assert_int_eq(submit(&item, 0), PERF_ERR_INVALID);
            a.allowed = UINT64_MAX;
            tenant = add(1);
        }
        ck_assert_uint_eq(tenant, ++added);
    }
    ck_assert_uint_gt(failed, 5);
    end();
    ck_assert_uint_eq(a.live, 0);
    ck_assert(!a.wrong_size);
}
END_TEST

/* 2^20 of them, with the one that is everybody's. */
START_TEST(test_there_is_an_end_to_tenants)
{
    make(NULL);
    uint32_t tenant = 0, count = 0;
    perf_err err;
    while (!(err = perf_batch_queue_tenant_add(queue, 1, &tenant)))
        count++;
    ck_assert_int_eq(err, PERF_ERR_FULL);
    ck_assert_uint_eq(tenant, count);
    ck_assert_uint_ge(count, (1 << 20) - 2);
    perf_batch_item item = {.tenant = tenant};
    ck_assert_int_eq(perf_batch_queue_submit_at(queue, &item, 0), PERF_OK);
    perf_batch_queue_destroy(queue);
}
END_TEST

int
main(void)
{
    TCase *t = pt_begin("queue_tenants");
    tcase_add_test(t, test_a_tenant_that_floods_the_queue_gets_its_share);
    tcase_add_test(t, test_twice_the_share_is_twice_the_service);
    tcase_add_test(t, test_service_is_weight_where_batches_are_bounded_by_it);
    tcase_add_test(t, test_being_idle_saves_nothing_up);
    tcase_add_test(t, test_tenants_stand_above_priorities_and_deadlines);
    tcase_add_test(t, test_of_one_tenant_the_smallest_key_goes_first);
    tcase_add_test(t, test_what_was_refused_was_not_served);
    tcase_add_test(t, test_any_number_of_tenants_is_served_in_turn);
    tcase_add_test(t, test_a_share_must_be_a_number_above_nothing);
    tcase_add_test(t, test_a_tenant_without_memory_is_not_there);
    tcase_add_test(t, test_there_is_an_end_to_tenants);
    return pt_end();
}
