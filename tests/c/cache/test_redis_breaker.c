/* test_redis_breaker.c - when the breaker lets commands pass, beside a model
 * that keeps the whole history; how backoffs grow. */
#include "pt.h"

#include "cache/redis/breaker.h"

static const uint64_t ms = 1000000;

static perfi_breaker
fresh(uint32_t limit)
{
    return (perfi_breaker){.backoff = {100 * ms, 5000 * ms, 0, 7},
                           .limit = limit};
}

START_TEST(test_a_backoff_doubles_to_its_bound_and_varies)
{
    perfi_backoff b = {100 * ms, 5000 * ms, 0, (uint64_t)_i};
    uint64_t whole = 100 * ms, differing = 0, last = 0;
    for (int i = 0; i < 40; i++) {
        uint64_t wait = perfi_backoff_next(&b);
        ck_assert_uint_le(wait, whole);
        ck_assert_uint_ge(wait, whole - whole / 2);
        differing += wait != last;
        last = wait;
        whole = whole * 2 < 5000 * ms ? whole * 2 : 5000 * ms;
    }
    ck_assert_uint_gt(differing, 35);
    perfi_backoff_reset(&b);
    ck_assert_uint_le(perfi_backoff_next(&b), 100 * ms);
}
END_TEST

START_TEST(test_it_opens_after_so_many_failures_in_a_row)
{
    perfi_breaker b = fresh(5);
    for (int i = 0; i < 4; i++)
        perfi_breaker_fail_at(&b, 0);
    perfi_breaker_succeed(&b);
    for (int i = 0; i < 4; i++)
        perfi_breaker_fail_at(&b, 0);
    ck_assert(perfi_breaker_admit_at(&b, 0));
    perfi_breaker_fail_at(&b, 0);
    ck_assert_int_eq(b.state, PERF_REDIS_OPEN);
    ck_assert_uint_eq(b.opens, 1);
    ck_assert(!perfi_breaker_admit_at(&b, 50 * ms - 1));
    ck_assert(perfi_breaker_admit_at(&b, 100 * ms));
}
END_TEST

START_TEST(test_one_probe_at_a_time)
{
    perfi_breaker b = fresh(1);
    perfi_breaker_fail_at(&b, 0);
    ck_assert(perfi_breaker_admit_at(&b, 100 * ms));
    ck_assert_int_eq(b.state, PERF_REDIS_PROBING);
    for (int i = 0; i < 10; i++)
        ck_assert(!perfi_breaker_admit_at(&b, 100 * ms));
    perfi_breaker_fail_at(&b, 150 * ms);
    ck_assert_int_eq(b.state, PERF_REDIS_OPEN);
    ck_assert(!perfi_breaker_admit_at(&b, 199 * ms));
    ck_assert(perfi_breaker_admit_at(&b, 300 * ms));
    perfi_breaker_succeed(&b);
    ck_assert(perfi_breaker_admit_at(&b, 300 * ms));
    ck_assert_int_eq(b.state, PERF_REDIS_CLOSED);
}
END_TEST

START_TEST(test_a_probe_that_nothing_is_heard_of_is_followed_by_another)
{
    perfi_breaker b = fresh(1);
    uint64_t now = 0;
    perfi_breaker_fail_at(&b, now);
    for (int i = 0; i < 20; i++) {
        now += 5000 * ms;
        ck_assert(perfi_breaker_admit_at(&b, now));
        ck_assert(!perfi_breaker_admit_at(&b, now));
    }
}
END_TEST

/* Against what it is for: never two probes within half the shortest backoff,
 * never refusing when closed, never closed after `limit` failures. */
START_TEST(test_random_histories)
{
    pt_random random = {(uint64_t)_i};
    uint32_t limit = 1 + (uint32_t)pt_below(&random, 6);
    perfi_breaker b = fresh(limit);
    uint64_t now = 0, last_probe = 0, in_a_row = 0;
    bool open = false, probed = false;
    for (int i = 0; i < 20000; i++) {
        now += pt_below(&random, 200 * ms);
        switch (pt_below(&random, 4)) {
        case 0:
            perfi_breaker_succeed(&b);
            in_a_row = 0;
            open = probed = false;
            break;
        case 1:
            perfi_breaker_fail_at(&b, now);
            open = open || ++in_a_row >= limit;
            break;
        default: {
            bool passes = perfi_breaker_admit_at(&b, now);
            PT_ASSERT(open || passes);
            if (open && passes) {
                PT_ASSERT(!probed || now - last_probe >= 50 * ms);
                last_probe = now;
                probed = true;
            }
        }
        }
        PT_ASSERT((b.state == PERF_REDIS_CLOSED) == !open);
    }
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("redis_breaker");
    tcase_add_loop_test(tests, test_a_backoff_doubles_to_its_bound_and_varies,
                        0, 4);
    tcase_add_test(tests, test_it_opens_after_so_many_failures_in_a_row);
    tcase_add_test(tests, test_one_probe_at_a_time);
    tcase_add_test(
        tests, test_a_probe_that_nothing_is_heard_of_is_followed_by_another);
    tcase_add_loop_test(tests, test_random_histories, 0, 12);
    return pt_end();
}
