/* test_cpu.c - a segment's wall and CPU time, and the others' CPU time, say
 * what it was: CPU, a call that blocks, or waiting for the interpreter lock. */
#include "pt_profile.h"

#include <stdio.h>

/* The main thread has one segment of `wall` ms with `cpu` ms of CPU time, from
 * 100 ms on, while another thread uses the CPU for `other` ms in `spell` ms,
 * from `begin` on. Returns the main actor's operations. */
static const char *
operations(double wall, double cpu, double begin, double spell, double other)
{
    static char text[64];
    pt_profile p;
    uint64_t main = pt_main();
    pt_at(100);
    pt_say(RUN, .key = main); /* a segment begins here */
    pt_work(cpu);
    pt_idle(wall - cpu);
    pt_say(LABEL);
    if (spell > 0) {
        pt_at(begin);
        pt_thread();
        pt_work(other);
        pt_idle(spell - other);
        pt_say(LABEL);
    }
    pt_profile_model(&p);
    snprintf(text, sizeof text, "%s", pt_ops(&p, main));
    pt_profile_free(&p);
    return text;
}

START_TEST(test_a_thread_alone_runs_or_blocks)
{
    static const struct {
        double wall, cpu;
        const char *ops;
    } cases[] = {
        {10, 10, "run:10"},   {10, 3, "run:3 block:7"}, {10, 0, "block:10"},
        {10, 9.5, "run:10"},  /* less than a millisecond is nothing */
        {100, 95, "run:100"}, /* nor is less than a tenth */
        {0.5, 0, "run:0.5"},
    };
    const char *ops = operations(cases[_i].wall, cases[_i].cpu, 0, 0, 0);
    ck_assert_str_eq(ops, cases[_i].ops);
}
END_TEST

START_TEST(test_cpu_time_beyond_the_wall_is_the_wall)
{
    pt_profile p;
    uint64_t main = pt_main();
    pt_work(20);
    pt_at(4);
    pt_say(LABEL);
    pt_profile_model(&p);
    ck_assert_str_eq(pt_ops(&p, main), "run:4");
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_what_others_used_was_waited_for)
{
    static const struct {
        double wall, cpu, begin, spell, other;
        const char *ops;
    } cases[] = {
        /* it explains all of the rest, or more, */
        {40, 10, 100, 40, 30, "run:10"},
        {40, 10, 100, 40, 40, "run:10"},
        /* or more than half of it: curves are only linear */
        {40, 10, 100, 40, 16, "run:10"},
        /* or less: the rest of the rest is blocking */
        {40, 10, 100, 40, 10, "run:10 block:20"},
        {40, 10, 100, 40, 2, "run:10 block:28"},
        /* the spell overlaps by a quarter: so much of its CPU time */
        {40, 10, 130, 40, 40, "run:10 block:20"},
        {40, 10, 60, 40, 40, "run:10 block:30"},  /* before */
        {40, 10, 140, 40, 40, "run:10 block:30"}, /* after */
        /* a window below 30 ms: one busy spell is enough */
        {20, 2, 119, 10, 2, "run:2"},
        {20, 2, 91, 10, 2, "run:2"},
        {20, 2, 119, 10, 1, "run:2 block:17.9"}, /* 10 % CPU is not busy */
        {20, 2, 105, 2, 2, "run:2 block:16"},    /* nor are 2 ms */
        {20, 2, 120, 10, 10, "run:2 block:18"},  /* not in the window */
    };
    const char *ops = operations(cases[_i].wall, cases[_i].cpu, cases[_i].begin,
                                 cases[_i].spell, cases[_i].other);
    ck_assert_str_eq(ops, cases[_i].ops);
}
END_TEST

START_TEST(test_a_short_rest_is_not_looked_at)
{
    /* 0.2 ms beside a busy thread: CPU as well */
    ck_assert_str_eq(operations(5, 4.8, 100, 40, 40), "run:5");
}
END_TEST

START_TEST(test_others_add_up)
{
    pt_profile p;
    uint64_t main = pt_main();
    pt_idle(40);
    pt_say(LABEL);
    for (int i = 0; i < 3; i++) {
        pt_at(0);
        pt_thread();
        pt_work(7);
        pt_idle(33);
        pt_say(LABEL);
    }
    pt_profile_model(&p);
    ck_assert_str_eq(pt_ops(&p, main), ""); /* 21 of 40: all of it waiting */
    pt_profile_free(&p);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("profiler.cpu");
    tcase_add_loop_test(tests, test_a_thread_alone_runs_or_blocks, 0, 6);
    tcase_add_test(tests, test_cpu_time_beyond_the_wall_is_the_wall);
    tcase_add_loop_test(tests, test_what_others_used_was_waited_for, 0, 13);
    tcase_add_test(tests, test_a_short_rest_is_not_looked_at);
    tcase_add_test(tests, test_others_add_up);
    return pt_end();
}
