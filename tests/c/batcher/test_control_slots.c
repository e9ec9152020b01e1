/* test_control_slots.c - how many servers there are behind a function, found
 * out in virtual time. */
#include "test_control_kit.h"

#include "slots.h"

static pt_world
world_of(double servers, double load)
{
    pt_world world = pt_world_new();
    world.config.concurrency = 0;
    world.config.max_concurrency = 32;
    world.servers = servers;
    world.items = servers > 4 ? (uint32_t)servers * 10000 : 40000;
    world.per_s = load * pt_capacity(&world, servers);
    return world;
}

/* On the mean within a fifth; nine times out of ten within a quarter, or one
 * slot. */
static void
assert_found(const pt_seen *seen, double servers)
{
    double off = servers > 4 ? servers / 4 : 1;
    ck_assert_double_ge(seen->slots, servers * 0.9);
    ck_assert_double_le(seen->slots, servers * 1.2);
    ck_assert_double_ge(seen->slots_low, servers - off);
    ck_assert_double_le(seen->slots_high, servers + off);
}

START_TEST(test_the_number_of_servers_is_found_under_overload)
{
    static const double servers[] = {1, 2, 3, 4, 6, 8, 12, 16};
    pt_world world = world_of(servers[_i], 1.3);
    pt_seen seen = pt_play(&world);
    assert_found(&seen, servers[_i]);
    double most = pt_capacity(&world, servers[_i]);
    ck_assert_double_ge(seen.per_s, 0.95 * most);
}
END_TEST

START_TEST(test_it_is_found_by_clients_who_wait)
{
    static const double servers[] = {1, 2, 3, 4, 6, 8, 12, 16};
    pt_world world = world_of(servers[_i], 0);
    world.clients = (uint32_t)servers[_i] * 64;
    pt_seen seen = pt_play(&world);
    assert_found(&seen, servers[_i]);
}
END_TEST

START_TEST(test_what_cannot_overlap_stays_at_one_or_two)
{
    for (double load = 0.3; load < 1.5; load += 0.4) {
        pt_world world = world_of(1, load);
        pt_seen seen = pt_play(&world);
        ck_assert_double_le(seen.slots, 1.2);
        ck_assert_double_le(seen.slots_high, 2);
    }
    pt_world world = world_of(1, 0);
    for (world.clients = 2; world.clients <= 64; world.clients *= 2) {
        world.config.concurrency = 0;
        pt_seen learned = pt_play(&world);
        ck_assert_double_le(learned.slots_high, 2);
        world.config.concurrency = 1;
        ck_assert_double_le(learned.mean_ms, 1.05 * pt_play(&world).mean_ms);
    }
}
END_TEST

/* A model in another process, 10 s a call: the first 120 suffice. */
START_TEST(test_it_is_found_within_few_calls)
{
    pt_world world = world_of(16, 1.5);
    world.base_ns = 10 * PT_S;
    world.each_ns = 0;
    world.config.max_items = 1;
    world.config.max_concurrency = 16;
    world.per_s = 2.4;
    world.items = 240;
    pt_seen seen = pt_play(&world);
    ck_assert_uint_eq(seen.stats.concurrency, 16);
    ck_assert_double_ge(seen.slots, 14); /* of the other 120 */
}
END_TEST

/* Beside who knows the number: what is lost until it is found, and by trying
 * fewer later. A sum over seeds, for a single run is a matter of luck. */
START_TEST(test_little_is_lost_until_the_slots_are_found)
{
    static const struct {
        double servers, load, most; /* times the latency */
    } worlds[] = {{2, 0.6, 1.2}, {2, 0.9, 1.4}, {4, 0.9, 1.5},
                  {8, 0.6, 1.6}, {8, 0.9, 3},   {16, 0.6, 3}};
    double learned = 0, known = 0;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        pt_world world = world_of(worlds[_i].servers, worlds[_i].load);
        world.config.max_concurrency = 16;
        world.items = 20000;
        world.seed = seed;
        learned += pt_play(&world).mean_ms;
        world.config.concurrency = (uint32_t)worlds[_i].servers;
        known += pt_play(&world).mean_ms;
    }
    ck_assert_double_le(learned, worlds[_i].most * known);
}
END_TEST

START_TEST(test_trying_costs_little_where_one_slot_is_right)
{
    pt_world world = world_of(1, 0.6);
    pt_seen learned = pt_play(&world);
    world.config.concurrency = 1;
    pt_seen known = pt_play(&world);
    ck_assert_double_le(learned.mean_ms, 1.1 * known.mean_ms);
}
END_TEST

START_TEST(test_nothing_is_tried_while_nothing_queues_up)
{
    pt_world world = world_of(16, 0);
    world.per_s = 0.5; /* a batch each two seconds, done in 21 ms */
    world.items = 5000;
    pt_seen seen = pt_play(&world);
    ck_assert_double_le(seen.slots_high, 2);
}
END_TEST

START_TEST(test_more_servers_are_found_later_and_fewer_too)
{
    pt_world world = world_of(2, 0);
    world.items = 160000;
    world.servers_later = 8;
    world.per_s = 1.3 * pt_capacity(&world, 8);
    pt_seen seen = pt_play(&world);
    ck_assert_uint_ge(seen.stats.concurrency, 7);
    ck_assert_uint_le(seen.stats.concurrency, 10);
    world.servers = 8;
    world.servers_later = 2;
    seen = pt_play(&world);
    ck_assert_uint_ge(seen.stats.concurrency, 1);
    ck_assert_uint_le(seen.stats.concurrency, 3);
}
END_TEST

START_TEST(test_noise_of_four_tenths_is_no_reason_to_run_away)
{
    static const double servers[] = {1, 2, 4, 8};
    for (int i = 0; i < 4; i++) {
        pt_world world = world_of(servers[i], 1.3);
        world.cv = 0.4;
        pt_seen seen = pt_play(&world);
        ck_assert_double_ge(seen.slots, servers[i] * 0.7);
        ck_assert_double_le(seen.slots, servers[i] * 1.4);
    }
}
END_TEST

START_TEST(test_the_limit_stays_between_one_and_the_most)
{
    pt_world world = world_of(16, 1.3);
    for (uint32_t most = 1; most <= 5; most++) {
        world.config.max_concurrency = most;
        pt_seen seen = pt_play(&world);
        ck_assert_double_le(seen.slots_high, most);
        ck_assert_double_ge(seen.slots, 0.8 * most);
    }
    pt_random r = {5};
    perfi_batch_slots slots;
    perfi_batch_slots_init(&slots, 7);
    uint64_t now = 0;
    for (int i = 0; i < 200000; i++) { /* whatever it is told */
        now += pt_below(&r, 1000);
        perfi_batch_slots_running(&slots, (uint32_t)pt_below(&r, 9), now);
        uint64_t taken = now - pt_below(&r, now + 1);
        perfi_batch_slots_done(&slots, (double)pt_below(&r, 40), taken, now,
                               (double)pt_below(&r, 2));
        PT_ASSERT(slots.limit >= 1 && slots.limit <= 7);
    }
}
END_TEST

START_TEST(test_a_fixed_number_is_not_touched)
{
    pt_world world = world_of(1, 1.3);
    world.config.concurrency = 5;
    world.items = 10000;
    pt_seen seen = pt_play(&world);
    ck_assert_double_eq(seen.slots_low, 5);
    ck_assert_double_eq(seen.slots_high, 5);
}
END_TEST

int
main(void)
{
    TCase *t = pt_begin("batcher.control_slots");
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, test_the_number_of_servers_is_found_under_overload,
                        0, 8);
    tcase_add_loop_test(t, test_it_is_found_by_clients_who_wait, 0, 8);
    tcase_add_test(t, test_what_cannot_overlap_stays_at_one_or_two);
    tcase_add_test(t, test_it_is_found_within_few_calls);
    tcase_add_loop_test(t, test_little_is_lost_until_the_slots_are_found, 0, 6);
    tcase_add_test(t, test_trying_costs_little_where_one_slot_is_right);
    tcase_add_test(t, test_nothing_is_tried_while_nothing_queues_up);
    tcase_add_test(t, test_more_servers_are_found_later_and_fewer_too);
    tcase_add_test(t, test_noise_of_four_tenths_is_no_reason_to_run_away);
    tcase_add_test(t, test_the_limit_stays_between_one_and_the_most);
    tcase_add_test(t, test_a_fixed_number_is_not_touched);
    return pt_end();
}
