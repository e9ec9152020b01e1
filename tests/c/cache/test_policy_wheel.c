/* test_policy_wheel.c - never early, and late by 1/64 of the time to live at
 * most, whenever one looks. */
#include "test_policy_kit.h"

#include <stdlib.h>

enum { SLOTS = 500 };

typedef struct entry {
    uint64_t set, ends; /* 0: not in the wheel */
} entry;

static void
set(perfi_wheel *w, entry *e, uint32_t slot, uint64_t ends, uint64_t now)
{
    ck_assert(
        perfi_wheel_set(w, slot, ends, now, SLOTS, perf_allocator_libc()));
    e[slot] = (entry){now, ends};
}

static uint64_t
count_of(const perfi_wheel *w)
{
    uint64_t count;
    ck_assert(perfi_wheel_check(w, &count));
    return count;
}

static void
take_all(perfi_wheel *w, entry *e, uint64_t now)
{
    for (uint32_t slot; (slot = perfi_wheel_take(w, now)) != PERFI_NONE;) {
        PT_ASSERT(slot < SLOTS && e[slot].ends && e[slot].ends <= now);
        e[slot].ends = 0;
    }
    for (uint32_t i = 0; i < SLOTS; i++)
        PT_ASSERT(!e[i].ends || e[i].ends > now ||
                  now - e[i].ends <= (e[i].ends - e[i].set) / 64);
}

/* Steps of the clock from nanoseconds to years, by the number of the test. */
START_TEST(test_expiry_is_in_time_at_any_pace)
{
    perfi_wheel w;
    entry e[SLOTS] = {{0}};
    perfi_wheel_init(&w);
    pt_random random = {(uint64_t)_i};
    uint64_t now = pt_next(&random) >> 12;
    for (int i = 0; i < PT_TIMES(40 * 1000); i++) {
        uint32_t slot = (uint32_t)pt_below(&random, SLOTS);
        if (pt_below(&random, 4) == 0) {
            perfi_wheel_unset(&w, slot);
            e[slot].ends = 0;
        } else {
            uint64_t life = UINT64_C(1) << pt_below(&random, 8u + (uint64_t)_i);
            set(&w, e, slot, now + 1 + pt_below(&random, life), now);
        }
        now += pt_below(&random, UINT64_C(1) << _i);
        if (pt_below(&random, 3) == 0)
            take_all(&w, e, now);
        if (i % 512 == 0)
            count_of(&w);
    }
    take_all(&w, e, PERFI_WHEEL_FAR - 1);
    ck_assert_uint_eq(count_of(&w), 0);
    perfi_wheel_free(&w, perf_allocator_libc());
}
END_TEST

START_TEST(test_what_never_expires_takes_no_memory)
{
    perfi_wheel w;
    entry e[SLOTS] = {{0}};
    perfi_wheel_init(&w);
    set(&w, e, 1, 0, 5);
    set(&w, e, 2, UINT64_MAX, 5);
    set(&w, e, 3, PERFI_WHEEL_FAR, 5);
    ck_assert_uint_eq(perfi_wheel_bytes(&w), 0);
    ck_assert_uint_eq(perfi_wheel_take(&w, 6), PERFI_NONE);
    set(&w, e, 3, PERFI_WHEEL_FAR - 1, 5); /* the last moment there is */
    ck_assert_uint_gt(perfi_wheel_bytes(&w), 0);
    ck_assert_uint_eq(perfi_wheel_take(&w, UINT64_MAX / 4), PERFI_NONE);
    ck_assert_uint_eq(perfi_wheel_take(&w, UINT64_MAX), PERFI_NONE);
    ck_assert_uint_eq(count_of(&w), 1);
    perfi_wheel_free(&w, perf_allocator_libc());
}
END_TEST

START_TEST(test_a_clock_that_goes_back_stands_still)
{
    perfi_wheel w;
    entry e[SLOTS] = {{0}};
    perfi_wheel_init(&w);
    set(&w, e, 1, 2000, 1000);
    set(&w, e, 2, 1500, 0); /* the time is still 1000 */
    ck_assert_uint_eq(perfi_wheel_take(&w, 10), PERFI_NONE);
    set(&w, e, 3, 900, 10); /* over already */
    ck_assert_uint_eq(perfi_wheel_take(&w, 10), 3);
    ck_assert_uint_eq(perfi_wheel_take(&w, 1510), 2);
    ck_assert_uint_eq(perfi_wheel_take(&w, 2020), 1);
    ck_assert_uint_eq(count_of(&w), 0);
    perfi_wheel_free(&w, perf_allocator_libc());
}
END_TEST

START_TEST(test_the_expired_can_be_unset_and_set_again)
{
    perfi_wheel w;
    entry e[SLOTS] = {{0}};
    perfi_wheel_init(&w);
    for (uint32_t i = 0; i < 10; i++)
        set(&w, e, i, 100, 1);
    ck_assert_uint_eq(perfi_wheel_take(&w, 200), 0); /* the others are due */
    for (uint32_t i = 1; i < 5; i++)
        perfi_wheel_unset(&w, i);
    perfi_wheel_unset(&w, 1);
    set(&w, e, 5, 300, 200);
    set(&w, e, 1, 299, 200);
    ck_assert_uint_eq(count_of(&w), 6);
    for (uint32_t i = 6; i < 10; i++)
        ck_assert_uint_eq(perfi_wheel_take(&w, 200), i);
    ck_assert_uint_eq(perfi_wheel_take(&w, 200), PERFI_NONE);
    ck_assert_uint_eq(perfi_wheel_take(&w, 299), 1);
    ck_assert_uint_eq(perfi_wheel_take(&w, 301), 5);
    perfi_wheel_free(&w, perf_allocator_libc());
}
END_TEST

int
main(void)
{
    TCase *t = pt_begin("cache.policy_wheel");
    tcase_add_loop_test(t, test_expiry_is_in_time_at_any_pace, 0, 48);
    tcase_add_test(t, test_what_never_expires_takes_no_memory);
    tcase_add_test(t, test_a_clock_that_goes_back_stands_still);
    tcase_add_test(t, test_the_expired_can_be_unset_and_set_again);
    return pt_end();
}
