/* test_policy.c - what every kind of policy owes its caller: slots, bounds,
 * expiry, counts, limits, no memory. */
#include "pt.h"

#include "cache/policy/kind.h"

static perf_policy *
make(perf_policy_kind kind, uint32_t max_entries, uint64_t max_weight)
{
    perf_policy *policy = NULL;
    perf_policy_config config = {
        .kind = kind, .max_entries = max_entries, .max_weight = max_weight};
    ck_assert_int_eq(perf_policy_create(&config, &policy), PERF_OK);
    return policy;
}

static int32_t
insert(perf_policy *policy, uint64_t hash)
{
    perf_policy_entry entry = {.hash = hash, .weight = 1};
    int32_t slot = perf_policy_insert_at(policy, &entry, 0);
    ck_assert_int_ge(slot, 0);
    return slot;
}

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

int
main(void)
{
    TCase *t = pt_begin("cache.policy");
    tcase_add_test(t, test_lru_names_what_was_not_touched_the_longest);
    return pt_end();
}
