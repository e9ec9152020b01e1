/* test_policy.c - what every kind of policy owes its caller: slots, bounds,
 * counts, limits, nonsense. */
#include "test_policy_kit.h"

#include <math.h>

START_TEST(test_lru_names_what_was_not_touched_the_longest)
{
    perf_policy *policy = make(PERF_POLICY_LRU, 3, 0);
    int32_t a = insert(policy, 1), b = insert(policy, 2);
    int32_t c = insert(policy, 3);
    ck_assert_int_eq(perf_policy_victim(policy), PERF_SLOT_NONE);
    perf_policy_touch_many(policy, (int32_t[]){b, a}, 2);
    int32_t d = insert(policy, 4);
    ck_assert_int_eq(perf_policy_victim(policy), c);
    ck_assert_int_eq(perf_policy_victim(policy), PERF_SLOT_NONE);
    ck_assert_int_eq(insert(policy, 5), c); /* free again */
    ck_assert_int_eq(perf_policy_victim(policy), b);
    perf_policy_remove(policy, d);
    ck_assert(perfi_policy_check(policy));
    perf_policy_destroy(policy);
}
END_TEST

START_TEST(test_bounds_hold_at_any_capacity)
{
    for (uint32_t most = 1; most < 200; most = most * 3 / 2 + 1) {
        perf_policy *policy = make(_i, most, 0);
        pt_random random = {most};
        for (int i = 0; i < 2000; i++) {
            int32_t slot = insert(policy, pt_below(&random, 3 * most));
            perf_policy_touch_many(policy, &slot, (size_t)(i & 1));
            evict(policy);
            ck_assert_uint_le(stats_of(policy).entries, most);
        }
        ck_assert(perfi_policy_check(policy));
        perf_policy_stats s = stats_of(policy);
        ck_assert_uint_eq(s.entries, most);
        ck_assert_uint_eq(s.insertions - s.evictions, most);
        ck_assert_uint_le(s.rejections, s.evictions);
        perf_policy_destroy(policy);
    }
}
END_TEST

START_TEST(test_weights_are_bounded_and_the_giant_has_no_place)
{
    perf_policy *policy = make(_i, 1000, 100);
    ck_assert_int_eq(insert_entry(policy, 1, 101, 0, 0, 0), PERF_SLOT_NONE);
    ck_assert_int_eq(insert_entry(policy, 1, 0, 0, 0, 0), PERF_SLOT_NONE);
    ck_assert_int_eq(insert_entry(policy, 1, UINT32_MAX, 0, 0, 0),
                     PERF_SLOT_NONE);
    ck_assert_uint_eq(stats_of(policy).entries, 0);
    pt_random random = {7};
    for (int i = 0; i < 3000; i++) {
        uint32_t weight = (uint32_t)pt_below(&random, 30) + 1;
        if (i % 100 == 99)
            weight = 100; /* all of it */
        ck_assert_int_ge(
            insert_entry(policy, pt_below(&random, 60), weight, 0, 0, 0), 0);
        evict(policy);
        ck_assert_uint_le(stats_of(policy).weight, 100);
        ck_assert_uint_ge(stats_of(policy).entries, 1);
    }
    ck_assert(perfi_policy_check(policy));
    perf_policy_destroy(policy);
}
END_TEST

START_TEST(test_the_tiniest_weight_holds_one_entry)
{
    perf_policy *policy = make(_i, 1u << 30, 1);
    for (uint64_t i = 0; i < 50; i++) {
        insert(policy, i);
        ck_assert_uint_eq(evict(policy), i > 0);
    }
    ck_assert_uint_eq(stats_of(policy).entries, 1);
    ck_assert(perfi_policy_check(policy));
    perf_policy_destroy(policy);
}
END_TEST

START_TEST(test_heaviest_weights_do_not_overflow)
{
    perf_policy *policy = make(_i, 1u << 30, UINT64_MAX);
    for (uint64_t i = 0; i < 100; i++)
        ck_assert_int_ge(insert_entry(policy, i, UINT32_MAX, 0, 0, 0), 0);
    ck_assert_uint_eq(evict(policy), 0);
    ck_assert_uint_eq(stats_of(policy).weight, 100 * (uint64_t)UINT32_MAX);
    ck_assert_int_eq(perf_policy_resize(policy, 1u << 30, UINT32_MAX), PERF_OK);
    ck_assert_uint_eq(evict(policy), 99);
    ck_assert(perfi_policy_check(policy));
    perf_policy_destroy(policy);
}
END_TEST

START_TEST(test_costs_that_are_none_do_no_harm)
{
    static const float costs[] = {0, -1,   1e-40f,    1e-20f,
                                  1, 1e6f, HUGE_VALF, -HUGE_VALF};
    perf_policy *policy = make(_i, 20, 200);
    pt_random random = {1};
    for (int i = 0; i < 5000; i++) {
        float cost = i % 9 == 8 ? (float)NAN : costs[i % 9 % 8];
        uint32_t weight = (uint32_t)pt_below(&random, 20) + 1;
        insert_entry(policy, pt_below(&random, 50), weight, cost, 0, 0);
        evict(policy);
    }
    ck_assert_uint_le(stats_of(policy).entries, 20);
    ck_assert(perfi_policy_check(policy));
    perf_policy_destroy(policy);
}
END_TEST

START_TEST(test_a_costly_entry_stays_where_a_cheap_one_goes)
{
    perf_policy *policy = make(PERF_POLICY_ADAPTIVE, 100, 0);
    int32_t costly[10];
    for (int i = 0; i < 10; i++)
        costly[i] = insert_entry(policy, (uint64_t)i, 1, 1000, 0, 0);
    for (uint64_t i = 10; i < 400; i++) {
        insert_entry(policy, i, 1, 1, 0, 0);
        for (int32_t slot; (slot = perf_policy_victim(policy)) >= 0;)
            for (int j = 0; j < 10; j++)
                ck_assert_int_ne(slot, costly[j]);
    }
    perf_policy_destroy(policy);
}
END_TEST

START_TEST(test_replacing_changes_weight_and_time)
{
    perf_policy *policy = make(_i, 10, 100);
    int32_t slot = insert_entry(policy, 1, 10, 0, 0, 0);
    insert_entry(policy, 2, 10, 0, 0, 0);
    perf_policy_entry entry = {
        .hash = hash_of(1), .weight = 60, .expires_ns = 50};
    ck_assert_int_eq(perf_policy_replace_at(policy, slot, &entry, 0), PERF_OK);
    ck_assert_uint_eq(stats_of(policy).weight, 70);
    entry.weight = 101;
    ck_assert_int_eq(perf_policy_replace_at(policy, slot, &entry, 0),
                     PERF_ERR_RANGE);
    ck_assert_uint_eq(stats_of(policy).weight, 70);
    ck_assert_int_eq(perf_policy_expired_at(policy, 49), PERF_SLOT_NONE);
    ck_assert_int_eq(perf_policy_expired_at(policy, 50), slot);
    entry.weight = 1;
    ck_assert_int_eq(perf_policy_replace_at(policy, slot, &entry, 0),
                     PERF_ERR_NOT_FOUND);
    ck_assert(perfi_policy_check(policy));
    perf_policy_destroy(policy);
}
END_TEST

START_TEST(test_a_smaller_bound_names_what_no_longer_fits)
{
    perf_policy *policy = make(_i, 1000, 0);
    for (uint64_t i = 0; i < 1000; i++)
        insert(policy, i);
    ck_assert_int_eq(perf_policy_resize(policy, 0, 0), PERF_ERR_RANGE);
    ck_assert_int_eq(perf_policy_resize(policy, (1u << 30) + 1, 0),
                     PERF_ERR_RANGE);
    ck_assert_int_eq(perf_policy_resize(policy, 10, 0), PERF_OK);
    ck_assert_uint_eq(evict(policy), 990);
    ck_assert(perfi_policy_check(policy));
    ck_assert_int_eq(perf_policy_resize(policy, 2000, 500), PERF_OK);
    for (uint64_t i = 0; i < 1000; i++) {
        insert(policy, i);
        evict(policy);
    }
    ck_assert_uint_eq(stats_of(policy).entries, 500);
    ck_assert(perfi_policy_check(policy));
    perf_policy_destroy(policy);
}
END_TEST

START_TEST(test_slots_that_are_none_are_left_alone)
{
    static const int32_t none[] = {
        PERF_SLOT_NONE, INT32_MIN, INT32_MAX, 1, 2, 16};
    perf_policy *policy = make(_i, 10, 0);
    int32_t slot = insert(policy, 1);
    ck_assert_int_eq(slot, 0);
    perf_policy_touch_many(policy, none, 6);
    perf_policy_touch_many(policy, NULL, 6);
    for (int i = 0; i < 6; i++)
        perf_policy_remove(policy, none[i]);
    ck_assert_uint_eq(stats_of(policy).entries, 1);
    perf_policy_remove(policy, slot);
    perf_policy_remove(policy, slot);
    perf_policy_touch_many(policy, &slot, 1);
    ck_assert_uint_eq(stats_of(policy).entries, 0);
    ck_assert(perfi_policy_check(policy));
    perf_policy_destroy(policy);
}
END_TEST

/* Two policies see the same, one of them in batches: what one knows of its
 * order, by whom it sends away, the other knows. */
START_TEST(test_hits_told_together_are_hits_told_one_by_one)
{
    enum { TOUCHES = 2 * PERFI_TOUCHES + 7 };
    const uint32_t entries = _i < KINDS ? 300 : PERFI_NEAR + 300;
    perf_policy *one = make(_i % KINDS, entries, 0);
    perf_policy *many = make(_i % KINDS, entries, 0);
    pt_random random = {7};
    for (uint64_t n = 0; n < entries + 3000; n++) {
        int32_t slot = insert(one, n), touched[TOUCHES];
        ck_assert_int_eq(insert(many, n), slot);
        do {
            slot = perf_policy_victim(one);
            ck_assert_int_eq(perf_policy_victim(many), slot);
        } while (slot != PERF_SLOT_NONE);
        size_t count = pt_below(&random, TOUCHES + 1);
        for (size_t i = 0; i < count; i++) { /* free ones among them */
            touched[i] = (int32_t)pt_below(&random, entries + 5);
            perf_policy_touch_many(one, &touched[i], 1);
        }
        perf_policy_touch_many(many, touched, count);
    }
    ck_assert(perfi_policy_check(many));
    perf_policy_destroy(one);
    perf_policy_destroy(many);
}
END_TEST

START_TEST(test_a_free_slot_remembers_its_hash_until_it_is_taken)
{
    perf_policy *policy = make(_i, 2, 0);
    ck_assert_uint_eq(perfi_policy_slots(NULL), 0);
    ck_assert_uint_eq(perfi_policy_slots(policy), 0);
    int32_t slot = insert(policy, 1);
    ck_assert_uint_eq(perfi_policy_slots(policy), 1);
    ck_assert_uint_eq(perfi_policy_hash(policy, (uint32_t)slot), hash_of(1));
    perf_policy_remove(policy, slot);
    ck_assert_uint_eq(perfi_policy_hash(policy, (uint32_t)slot), hash_of(1));
    ck_assert_int_eq(insert(policy, 2), slot);
    ck_assert_uint_eq(perfi_policy_hash(policy, (uint32_t)slot), hash_of(2));
    perf_policy_destroy(policy);
}
END_TEST

START_TEST(test_a_cost_is_kept_to_less_than_a_hundredth)
{
    static const float costs[] = {0, 1e-30f, .3f, 1, 7.77f, 123456, 1e30f};
    for (size_t i = 0; i < sizeof costs / sizeof *costs; i++) {
        perfi_cache_slot slot = {0};
        perfi_slot_set_cost(&slot, costs[i]);
        float kept = perfi_slot_cost(&slot);
        ck_assert(kept <= costs[i] && kept >= costs[i] * .99f);
    }
}
END_TEST

START_TEST(test_nothing_is_made_of_nonsense)
{
    perf_policy *policy = (perf_policy *)1;
    perf_policy_config config = {.max_entries = 0};
    ck_assert_int_eq(perf_policy_create(&config, NULL), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_policy_create(NULL, &policy), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_policy_create(&config, &policy), PERF_ERR_RANGE);
    ck_assert_ptr_null(policy);
    config.max_entries = (1u << 30) + 1;
    ck_assert_int_eq(perf_policy_create(&config, &policy), PERF_ERR_RANGE);
    config =
        (perf_policy_config){.max_entries = 1, .kind = (perf_policy_kind)KINDS};
    ck_assert_int_eq(perf_policy_create(&config, &policy), PERF_ERR_INVALID);
    perf_policy_destroy(NULL);
    perf_policy_entry entry = {.weight = 1};
    ck_assert_int_eq(perf_policy_insert_at(NULL, &entry, 0), PERF_SLOT_NONE);
    ck_assert_int_eq(perf_policy_victim(NULL), PERF_SLOT_NONE);
    ck_assert_int_eq(perf_policy_expired_at(NULL, 0), PERF_SLOT_NONE);
    perf_policy_touch_many(NULL, NULL, 1);
    perf_policy_remove(NULL, 0);
    ck_assert_int_eq(perf_policy_replace_at(NULL, 0, &entry, 0),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_policy_resize(NULL, 1, 0), PERF_ERR_INVALID);
    perf_policy_stats stats = {.entries = 1};
    perf_policy_stats_now(NULL, &stats);
    ck_assert_uint_eq(stats.entries, 0);
    perf_policy_stats_now(NULL, NULL);
    policy = make(0, 1, 0);
    ck_assert_int_eq(perf_policy_insert_at(policy, NULL, 0), PERF_SLOT_NONE);
    perf_policy_destroy(policy);
}
END_TEST

int
main(void)
{
    TCase *t = pt_begin("cache.policy");
    tcase_add_test(t, test_lru_names_what_was_not_touched_the_longest);
    tcase_add_loop_test(t, test_bounds_hold_at_any_capacity, 0, KINDS);
    tcase_add_loop_test(t, test_weights_are_bounded_and_the_giant_has_no_place,
                        0, KINDS);
    tcase_add_loop_test(t, test_the_tiniest_weight_holds_one_entry, 0, KINDS);
    tcase_add_loop_test(t, test_heaviest_weights_do_not_overflow, 0, KINDS);
    tcase_add_loop_test(t, test_costs_that_are_none_do_no_harm, 0, KINDS);
    tcase_add_test(t, test_a_costly_entry_stays_where_a_cheap_one_goes);
    tcase_add_loop_test(t, test_replacing_changes_weight_and_time, 0, KINDS);
    tcase_add_loop_test(t, test_a_smaller_bound_names_what_no_longer_fits, 0,
                        KINDS);
    tcase_add_loop_test(t, test_slots_that_are_none_are_left_alone, 0, KINDS);
    tcase_add_loop_test(t, test_hits_told_together_are_hits_told_one_by_one, 0,
                        2 * KINDS);
    tcase_add_loop_test(
        t, test_a_free_slot_remembers_its_hash_until_it_is_taken, 0, KINDS);
    tcase_add_test(t, test_a_cost_is_kept_to_less_than_a_hundredth);
    tcase_add_test(t, test_nothing_is_made_of_nonsense);
    return pt_end();
}
