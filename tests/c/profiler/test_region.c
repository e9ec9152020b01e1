/* test_region.c - memory taken bit by bit is zeroed, aligned, and given back to
 * the last byte; without any, control goes back to who entered. */
#include "pt_profile.h"

#include <string.h>

typedef perfi_list(uint64_t) numbers;

START_TEST(test_pieces_are_zeroed_aligned_and_freed)
{
    pt_alloc a;
    pt_alloc_init(&a, UINT64_MAX);
    perfi_region region = {.allocator = &a.face};
    if (setjmp(region.no_memory))
        ck_abort_msg("no memory");
    unsigned char *piece[9];
    for (size_t i = 0; i < 9; i++) {
        piece[i] = perfi_region_take(&region, i, 7);
        ck_assert_uint_eq((uintptr_t)piece[i] % 16, 0);
        for (size_t j = 0; j < i * 7; j++)
            ck_assert_uint_eq(piece[i][j], 0);
        memset(piece[i], 0xFF, i * 7);
    }
    static const int order[] = {4, 8, 0, 7, 1}; /* middle, newest, oldest */
    for (size_t i = 0; i < 5; i++) {
        perfi_region_drop(&region, piece[order[i]]);
        ck_assert_uint_eq(a.live, 8 - i);
    }
    perfi_region_drop(&region, NULL);
    ck_assert_uint_eq(piece[5][34], 0xFF);
    perfi_region_free(&region);
    ck_assert_uint_eq(a.live, 0);
    ck_assert(!a.wrong_size);
    perfi_region_free(&region); /* there is nothing left */
}
END_TEST

START_TEST(test_a_list_grows_and_keeps_what_it_has)
{
    pt_alloc a;
    pt_alloc_init(&a, UINT64_MAX);
    perfi_region region = {.allocator = &a.face};
    if (setjmp(region.no_memory))
        ck_abort_msg("no memory");
    numbers list = {0};
    for (uint64_t i = 0; i < 5000; i++) {
        uint64_t *place = perfi_list_add(&region, &list);
        PT_ASSERT(*place == 0);
        *place = i + 1;
    }
    for (uint64_t i = 0; i < 5000; i++)
        PT_ASSERT(list.item[i] == i + 1);
    ck_assert_uint_eq(a.live, 1); /* the smaller ones were freed */
    perfi_region_free(&region);
    ck_assert_uint_eq(a.live, 0);
}
END_TEST

/* What is left must be as it was: replays go on with their lists. */
START_TEST(test_a_list_that_cannot_grow_stays_as_it_was)
{
    pt_alloc a;
    pt_alloc_init(&a, 1);
    perfi_region region = {.allocator = &a.face};
    static numbers list;
    if (!setjmp(region.no_memory)) {
        for (;;)
            perfi_list_add(&region, &list);
    }
    ck_assert_uint_eq(list.room, 16);
    ck_assert_uint_eq(list.count, 16);
    a.allowed = UINT64_MAX;
    if (setjmp(region.no_memory))
        ck_abort_msg("no memory");
    for (int i = 0; i < 20; i++)
        perfi_list_add(&region, &list);
    ck_assert_uint_eq(list.room, 64);
    perfi_region_free(&region);
    ck_assert(!a.wrong_size);
}
END_TEST

START_TEST(test_more_than_there_can_be_is_no_memory)
{
    static const size_t huge[][2] = {
        {SIZE_MAX, 2}, {2, SIZE_MAX}, {SIZE_MAX, 1}, {SIZE_MAX / 8 + 1, 8}};
    volatile int failures = 0;
    for (volatile int i = 0; i < 4; i++) {
        perfi_region region = {.allocator = perf_allocator_libc()};
        if (setjmp(region.no_memory))
            failures++;
        else
            perfi_region_take(&region, huge[i][0], huge[i][1]);
    }
    ck_assert_int_eq(failures, 4);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("profiler.region");
    tcase_add_test(tests, test_pieces_are_zeroed_aligned_and_freed);
    tcase_add_test(tests, test_a_list_grows_and_keeps_what_it_has);
    tcase_add_test(tests, test_a_list_that_cannot_grow_stays_as_it_was);
    tcase_add_test(tests, test_more_than_there_can_be_is_no_memory);
    return pt_end();
}
