/* test_agenda.c - what is on the agenda comes in the order of its times, equal
 * ones in the order in which they were put down. */
#include "pt_program.h"
#include "replay_state.h"

#include <stdlib.h>

static pt_profile p;

static perfi_replay *
make(void)
{
    pt_make(&p, 0);
    pt_make_actor(&p, PERF_ACTOR_MAIN);
    pt_replay(&p, NULL);
    p.replay->now = 0;
    return p.replay;
}

START_TEST(test_dates_come_in_order)
{
    enum { N = 20000 };
    pt_random random = {3};
    perfi_replay *r = make();
    perfi_date date;
    uint64_t last = 0, last_order = 0;
    for (uint32_t i = 0; i < N; i++)
        perfi_agenda_add(r, pt_below(&random, 500), PERFI_DUE_STEP, i);
    for (uint32_t i = 0; i < N; i++) {
        PT_ASSERT(perfi_agenda_next(r, &date));
        PT_ASSERT(date.t >= last);
        PT_ASSERT(date.t > last || i == 0 || date.order > last_order);
        last = date.t;
        last_order = date.order;
    }
    ck_assert(!perfi_agenda_next(r, &date));
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_dates_that_are_added_between)
{
    pt_random random = {5};
    perfi_replay *r = make();
    uint32_t open = 0;
    uint64_t last = 0;
    for (int i = 0; i < 50000; i++) {
        if (!open || pt_below(&random, 2)) {
            perfi_agenda_add(r, r->now + pt_below(&random, 100), PERFI_DUE_STEP,
                             0);
            open++;
        } else {
            perfi_date date;
            PT_ASSERT(perfi_agenda_next(r, &date));
            PT_ASSERT(date.t >= last);
            last = r->now = date.t;
            open--;
        }
    }
    ck_assert_uint_eq(r->agenda.count, open);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_a_time_beyond_all_is_the_last)
{
    perfi_replay *r = make();
    perfi_date date;
    r->now = UINT64_MAX - 5;
    perfi_agenda_add(r, r->now + 10, PERFI_DUE_STEP, 1); /* overflows */
    perfi_agenda_add(r, r->now + 1, PERFI_DUE_STEP, 2);
    ck_assert(perfi_agenda_next(r, &date));
    ck_assert_uint_eq(date.who, 2);
    ck_assert(perfi_agenda_next(r, &date));
    ck_assert_uint_eq(date.t, UINT64_MAX);
    pt_profile_free(&p);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("profiler.agenda");
    tcase_add_test(tests, test_dates_come_in_order);
    tcase_add_test(tests, test_dates_that_are_added_between);
    tcase_add_test(tests, test_a_time_beyond_all_is_the_last);
    return pt_end();
}
