/* test_own.c - own times of a label's spans: the first, the usual, what is far
 * beyond; and the memory that came to be in use meanwhile. */
#include "pt_profile.h"

/* Spans A of these lengths, one after the other, in an outer span. */
static const perfi_label *
spans_of(pt_profile *p, const double *ms, size_t n)
{
    pt_main();
    pt_open("outer");
    for (size_t i = 0; i < n; i++) {
        pt_open("A");
        pt_work(ms[i]);
        pt_open("inside"); /* is not its own */
        pt_work(1000);
        pt_close();
        pt_close();
    }
    pt_close();
    pt_profile_model(p);
    return pt_label(p, "A");
}

START_TEST(test_the_first_the_usual_and_the_tail)
{
    static const double ms[] = {9, 2, 1, 3, 2, 30, 10.5, 2, 2, 1};
    pt_profile p;
    const perfi_label *l = spans_of(&p, ms, 10);
    ck_assert_uint_eq(l->first_ns, 9 * PT_MS);
    ck_assert_uint_eq(l->median_ns, 2 * PT_MS);
    /* above five medians: 30 and 10.5 */
    ck_assert_uint_eq(l->tail_ns, (28 + 8.5) * PT_MS);
    ck_assert_uint_eq(pt_label(&p, "inside")->median_ns, 1000 * PT_MS);
    ck_assert_uint_eq(pt_label(&p, "outer")->median_ns, 0);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_of_two_the_lower_is_the_median)
{
    static const double ms[] = {4, 1};
    pt_profile p;
    const perfi_label *l = spans_of(&p, ms, 2);
    ck_assert_uint_eq(l->first_ns, 4 * PT_MS);
    ck_assert_uint_eq(l->median_ns, 1 * PT_MS);
    ck_assert_uint_eq(l->tail_ns, 0);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_sleeping_and_blocking_are_own_time)
{
    pt_profile p;
    pt_main();
    uint64_t task = pt_task();
    pt_open("A");
    pt_sleep(task, 7);
    pt_say(SLEEP, .more = 2 * PT_MS);
    pt_idle(2);
    pt_say(SLEPT);
    pt_work(1);
    pt_close();
    pt_end_actor();
    pt_profile_model(&p);
    ck_assert_uint_eq(pt_label(&p, "A")->median_ns, 10 * PT_MS);
    pt_profile_free(&p);
}
END_TEST

/* ---- memory ---- */

/* The core reads it by itself where it reads the CPU time: not here. */

START_TEST(test_memory_is_put_down_to_the_span_at_its_end)
{
    pt_profile p;
    pt_read_cpu(false);
    pt_main();
    pt_at(1);
    pt_say(MEMORY, .more = 1000000000);
    pt_open("A");
    pt_at(2);
    pt_say(MEMORY, .more = 1000000500);
    pt_close();
    pt_open("B");
    pt_at(3);
    pt_say(MEMORY, .more = 1000000400);
    pt_at(4);
    pt_say(MEMORY, .more = 1000000450);
    pt_close();
    pt_profile_model(&p);
    ck_assert_int_eq(pt_label(&p, "A")->grown_bytes, 500);
    ck_assert_int_eq(pt_label(&p, "B")->grown_bytes, -50);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_memory_read_in_several_threads_is_in_order_of_time)
{
    pt_profile p;
    pt_read_cpu(false);
    pt_main();
    pt_open("A");
    pt_at(5);
    pt_say(MEMORY, .more = 700);
    pt_at(6);
    pt_thread();
    pt_at(6);
    pt_open("B");
    pt_at(9);
    pt_say(MEMORY, .more = 1000);
    pt_main();
    pt_at(7);
    pt_open("C");
    pt_say(MEMORY, .more = 100);
    pt_profile_model(&p);
    ck_assert_int_eq(pt_label(&p, "C")->grown_bytes, -600);
    ck_assert_int_eq(pt_label(&p, "B")->grown_bytes, 900);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_memory_that_cannot_be)
{
    pt_profile p;
    pt_read_cpu(false);
    pt_main();
    pt_open("A");
    for (int i = 1; i < 9; i++) {
        pt_at(i);
        pt_say(MEMORY, .more = i % 2 ? 0 : UINT64_C(1) << 63);
        pt_say(MEMORY, .more = UINT64_MAX, .span = 400);
    }
    pt_profile_model(&p);
    ck_assert_uint_ge(p.line.memory.count, 16);
    pt_profile_free(&p);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("profiler.own");
    tcase_add_test(tests, test_the_first_the_usual_and_the_tail);
    tcase_add_test(tests, test_of_two_the_lower_is_the_median);
    tcase_add_test(tests, test_sleeping_and_blocking_are_own_time);
    tcase_add_test(tests, test_memory_is_put_down_to_the_span_at_its_end);
    tcase_add_test(tests,
                   test_memory_read_in_several_threads_is_in_order_of_time);
    tcase_add_test(tests, test_memory_that_cannot_be);
    return pt_end();
}
