/* test_ids.c - each id has one number, in the order in which they came. */
#include "pt_profile.h"

static perfi_region region;

static void
use_region(void)
{
    region = (perfi_region){.allocator = perf_allocator_libc()};
    if (setjmp(region.no_memory))
        ck_abort_msg("no memory");
}

START_TEST(test_numbers_count_up_and_stay)
{
    enum { N = 10000 };
    perfi_ids ids = {0};
    pt_random random = {1};
    static uint64_t id[N];
    use_region();
    for (uint32_t i = 0; i < N; i++) {
        id[i] = i % 2 ? i : pt_next(&random) | 1;
        PT_ASSERT(perfi_ids_of(&region, &ids, id[i] ? id[i] : 2) == i);
    }
    for (uint32_t i = 0; i < N; i++) {
        PT_ASSERT(perfi_ids_find(&ids, id[i]) == i);
        PT_ASSERT(perfi_ids_of(&region, &ids, id[i]) == i);
    }
    ck_assert_uint_eq(ids.count, N);
    perfi_region_free(&region);
}
END_TEST

START_TEST(test_what_never_came_is_not_found)
{
    perfi_ids ids = {0};
    use_region();
    ck_assert_uint_eq(perfi_ids_find(&ids, 1), PERFI_NONE); /* none at all */
    perfi_ids_of(&region, &ids, 1);
    ck_assert_uint_eq(perfi_ids_find(&ids, 2), PERFI_NONE);
    ck_assert_uint_eq(perfi_ids_find(&ids, 0), PERFI_NONE); /* no id */
    ck_assert_uint_eq(perfi_ids_find(&ids, UINT64_MAX), PERFI_NONE);
    ck_assert_uint_eq(perfi_ids_of(&region, &ids, UINT64_MAX), 1);
    perfi_region_free(&region);
}
END_TEST

/* Whatever the ids have in common, they must not share a place: a table in
 * which they do would take minutes for this many. */
START_TEST(test_regular_ids_are_spread)
{
    enum { N = 200000 };
    perfi_ids ids = {0};
    use_region();
    for (uint64_t i = 0; i < N; i++)
        perfi_ids_of(&region, &ids, (i + 1) << _i);
    size_t longest = 0, run = 0;
    for (size_t at = 0; at < ids.room; at++) {
        run = ids.id[at] ? run + 1 : 0;
        longest = run > longest ? run : longest;
    }
    ck_assert_uint_lt(longest, 100);
    perfi_region_free(&region);
}
END_TEST

START_TEST(test_every_allocation_may_fail)
{
    pt_alloc a;
    volatile uint64_t allowed = 0;
    volatile bool failed = true;
    for (; failed; allowed++) {
        perfi_ids ids = {0};
        pt_alloc_init(&a, allowed);
        region = (perfi_region){.allocator = &a.face};
        failed = setjmp(region.no_memory);
        for (uint32_t i = 0; i < 1000 && !failed; i++)
            perfi_ids_of(&region, &ids, i + 1);
        perfi_region_free(&region);
        ck_assert_uint_eq(a.live, 0);
        ck_assert(!a.wrong_size);
    }
    ck_assert_uint_eq(allowed, 9); /* two tables, four sizes, and then none */
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("profiler.ids");
    tcase_add_test(tests, test_numbers_count_up_and_stay);
    tcase_add_test(tests, test_what_never_came_is_not_found);
    tcase_add_loop_test(tests, test_regular_ids_are_spread, 0, 46);
    tcase_add_test(tests, test_every_allocation_may_fail);
    return pt_end();
}
