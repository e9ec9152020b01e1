/* test_path.c - critical paths that are known: code that runs, tasks. */
#include "test_path_kit.h"

#include <string.h>

/* ---- code that runs ---- */

START_TEST(test_a_thread_alone_is_its_own_path)
{
    E(0, 0, THREAD, .key = MAIN, .arg = PERF_ACTOR_MAIN);
    begin(0, 1, SPAN, "a", 0);
    begin(0, 2, INNER, "b", SPAN);
    end(0, 5, INNER);
    end(0, 6, SPAN);
    begin(0, 6, OUTER, "c", 0); /* back to back */
    end(0, 7, OUTER);
    E(0, 9, LABEL);
    expect("0-1 main - ran\n"
           "1-2 main a ran\n"
           "2-5 main b ran\n"
           "5-6 main a ran\n"
           "6-7 main c ran\n"
           "7-9 main - ran\n");
    expect_path(SPAN, "1-2 main a ran\n"
                      "2-5 main b ran\n"
                      "5-6 main a ran\n");
    perf_path_share share = {0};
    size_t count;
    path_of(0, &count);
    uint64_t sum = 0;
    for (uint32_t i = 0; !perf_analysis_path_share(analysis, i, &share); i++) {
        sum += share.ns;
        if (!strcmp(label_of(i), "b"))
            ck_assert_uint_eq(share.ns, 3 * MS);
        ck_assert_uint_eq(share.lag_ns + share.resource_ns, 0);
    }
    ck_assert_uint_eq(sum, 9 * MS);
}
END_TEST

START_TEST(test_sleeping_with_the_thread_blocks)
{
    E(0, 0, THREAD, .key = MAIN, .arg = PERF_ACTOR_MAIN);
    begin(0, 1, SPAN, "a", 0);
    E(0, 2, SLEEP, .more = 5 * MS, .span = SPAN);
    E(0, 8, SLEPT, .span = SPAN);
    end(0, 9, SPAN);
    expect("0-1 main - ran\n"
           "1-2 main a ran\n"
           "2-8 main a blocked\n"
           "8-9 main a ran\n");
}
END_TEST

START_TEST(test_imports_of_the_start_are_left_out)
{
    E(0, 0, THREAD, .key = MAIN, .arg = PERF_ACTOR_MAIN);
    E(0, 1, IMPORT, .arg = text("json"));
    E(0, 4, IMPORTED);
    begin(0, 5, SPAN, "a", 0);
    E(0, 6, IMPORT, .arg = text("openai.types"), .span = SPAN);
    E(0, 8, IMPORTED, .span = SPAN);
    end(0, 9, SPAN);
    expect("0-1 main - ran\n"
           "4-5 main - ran\n"
           "5-6 main a ran\n"
           "6-8 main a=openai.types import\n"
           "8-9 main a ran\n");
    perf_analysis_info info;
    perf_analysis_info_get(analysis, &info);
    ck_assert_uint_eq(info.wall_ns, 6 * MS);
    ck_assert_uint_eq(info.startup_ns, 3 * MS);
}
END_TEST

/* ---- tasks ---- */

/* gather(A, B): B takes longer. */
START_TEST(test_of_two_tasks_the_longer_one_is_on_the_path)
{
    loop_begins();
    begin(0, 1, OUTER, "gather", 0);
    E(0, 2, SPAWN, .key = A, .span = OUTER);
    E(0, 2, SPAWN, .key = B, .span = OUTER);
    E(0, 3, SUSPEND, .key = ANSWER, .span = OUTER);
    run(3, A, PERF_ACTOR_TASK, OUTER);
    begin(0, 3, SPAN, "a", OUTER);
    end(0, 5, SPAN);
    E(0, 5, END, .span = OUTER);
    run(6, B, PERF_ACTOR_TASK, OUTER);
    begin(0, 6, INNER, "b", OUTER);
    end(0, 10, INNER);
    E(0, 10, SPAWN, .key = CALLBACK, .arg = 7, .more = B, .span = OUTER);
    E(0, 11, END, .span = OUTER);
    run(11, CALLBACK, PERF_ACTOR_CALLBACK, OUTER);
    E(0, 12, RESOLVE, .key = ANSWER, .span = OUTER);
    E(0, 12, END, .span = OUTER);
    run(13, ROOT, PERF_ACTOR_TASK, OUTER);
    end(0, 14, OUTER);
    E(0, 14, END);
    loop_ends(15);
    expect("0-0.5 main - ran\n"
           "0.5-1 root - lag\n"
           "1-2 root gather ran\n"
           "2-6 b gather lag\n"
           "6-10 b b ran\n"
           "10-11 callback gather lag\n"
           "11-12 callback gather ran\n"
           "12-13 root gather lag\n"
           "13-14 root gather ran\n"
           "14-15 main - lag\n");
    expect_path(OUTER, "1-2 root gather ran\n"
                       "2-6 b gather lag\n"
                       "6-10 b b ran\n"
                       "10-11 callback gather lag\n"
                       "11-12 callback gather ran\n"
                       "12-13 root gather lag\n"
                       "13-14 root gather ran\n");
}
END_TEST

/* A: foo1 then foo3; B: foo2, which ends when foo3 begins. Spans alone would
 * say that foo3 waited for foo2 (jaeger-ui#2371). */
START_TEST(test_what_ends_before_is_not_what_was_waited_for)
{
    loop_begins();
    E(0, 1, SPAWN, .key = A);
    E(0, 1, SPAWN, .key = B);
    E(0, 1, SUSPEND, .key = A);
    run(1, A, PERF_ACTOR_TASK, 0);
    begin(0, 1, SPAN, "foo1", 0);
    E(0, 2, TIMER, .key = TIMER, .more = 9 * MS, .span = SPAN);
    E(0, 2, SUSPEND, .key = ANSWER, .span = SPAN);
    run(2, B, PERF_ACTOR_TASK, 0);
    begin(0, 2, INNER, "foo2", 0);
    end(0, 8, INNER);
    E(0, 8, END);
    E(0, 10, SELECT, .more = 8 * MS);
    run(10, TIMER, PERF_ACTOR_TIMER, SPAN);
    E(0, 10, RESOLVE, .key = ANSWER, .span = SPAN);
    E(0, 11, END, .span = SPAN);
    run(11, A, PERF_ACTOR_TASK, SPAN);
    end(0, 12, SPAN);
    begin(0, 12, OUTER, "foo3", 0);
    end(0, 20, OUTER);
    E(0, 20, END);
    run(20, ROOT, PERF_ACTOR_TASK, 0);
    E(0, 21, END);
    loop_ends(21);
    expect("0-0.5 main - ran\n"
           "0.5-1 root - lag\n"
           "1-2 a foo1 ran\n"
           "2-9 a foo1 slept\n"
           "9-10 timer foo1 lag\n"
           "10-11 a foo1 lag\n"
           "11-12 a foo1 ran\n"
           "12-20 a foo3 ran\n"
           "20-21 root - ran\n");
}
END_TEST

START_TEST(test_what_was_done_before_costs_a_turn)
{
    loop_begins();
    E(0, 2, RESOLVE, .key = ANSWER);
    E(0, 3, SUSPEND, .key = ANSWER);
    run(5, ROOT, PERF_ACTOR_TASK, 0);
    E(0, 6, SUSPEND);
    run(8, ROOT, PERF_ACTOR_TASK, 0);
    E(0, 9, END);
    loop_ends(9);
    expect("0-0.5 main - ran\n"
           "0.5-1 root - lag\n"
           "1-3 root - ran\n"
           "3-5 root - lag\n"
           "5-6 root - ran\n"
           "6-8 root - lag\n"
           "8-9 root - ran\n");
}
END_TEST

START_TEST(test_a_cancelled_task_goes_on_because_of_who_cancelled)
{
    loop_begins();
    E(0, 1, SPAWN, .key = A);
    E(0, 1, SUSPEND, .key = 0);
    run(1, A, PERF_ACTOR_TASK, 0);
    E(0, 2, SUSPEND, .key = ANSWER); /* never resolved */
    run(2, ROOT, PERF_ACTOR_TASK, 0);
    E(0, 6, CANCEL, .key = A);
    E(0, 7, SUSPEND, .key = A);
    run(8, A, PERF_ACTOR_TASK, 0);
    E(0, 9, END);
    run(9, ROOT, PERF_ACTOR_TASK, 0);
    E(0, 10, END);
    loop_ends(10);
    expect("0-0.5 main - ran\n"
           "0.5-2 root - lag\n"
           "2-6 root - ran\n"
           "6-8 a - lag\n"
           "8-9 a - ran\n"
           "9-10 root - ran\n");
}
END_TEST

START_TEST(test_a_reached_time_limit_has_its_own_label)
{
    loop_begins();
    begin(0, 1, SPAN, "a", 0);
    E(0, 2, TIMER, .key = TIMER, .more = 7 * MS, .arg = 1, .span = SPAN);
    E(0, 2, SUSPEND, .key = ANSWER, .span = SPAN);
    E(0, 8, SELECT, .more = 2 * MS);
    run(8, TIMER, PERF_ACTOR_TIMER, SPAN);
    E(0, 9, CANCEL, .key = ROOT, .span = SPAN);
    E(0, 9, RESOLVE, .key = ANSWER, .span = SPAN);
    E(0, 9, END, .span = SPAN);
    run(9, ROOT, PERF_ACTOR_TASK, SPAN);
    end(0, 10, SPAN);
    E(0, 10, END);
    loop_ends(10);
    expect("0-0.5 main - ran\n"
           "0.5-1 root - lag\n"
           "1-2 root a ran\n"
           "2-7 root a=limit slept\n"
           "7-8 timer a lag\n"
           "8-9 timer a ran\n"
           "9-10 root a ran\n");
}
END_TEST

START_TEST(test_outside_time_is_the_waiters)
{
    loop_begins();
    begin(0, 1, SPAN, "a", 0);
    E(0, 2, SUSPEND, .key = ANSWER, .span = SPAN);
    E(0, 30, SELECT, .more = 2 * MS);
    run(31, IO, PERF_ACTOR_IO, 0);
    E(0, 33, RESOLVE, .key = ANSWER);
    E(0, 34, END);
    run(35, ROOT, PERF_ACTOR_TASK, SPAN);
    end(0, 36, SPAN);
    E(0, 36, END);
    loop_ends(36);
    expect("0-0.5 main - ran\n"
           "0.5-1 root - lag\n"
           "1-2 root a ran\n"
           "2-30 root a io\n"
           "30-31 io - lag\n"
           "31-33 io - ran\n"
           "33-35 root a lag\n"
           "35-36 root a ran\n");
}
END_TEST

START_TEST(test_an_eager_task_runs_inside_its_spawner)
{
    loop_begins();
    E(0, 2, SPAWN, .key = A);
    run(2, A, PERF_ACTOR_TASK, 0);
    begin(0, 3, SPAN, "a", 0);
    E(0, 5, TIMER, .key = TIMER, .more = 50 * MS, .span = SPAN);
    E(0, 6, SUSPEND, .key = ANSWER, .span = SPAN);
    E(0, 8, END);
    loop_ends(8);
    expect("0-0.5 main - ran\n"
           "0.5-1 root - lag\n"
           "1-2 root - ran\n"
           "2-3 a - ran\n"
           "3-6 a a ran\n"
           "6-8 root - ran\n");
}
END_TEST

int
main(void)
{
    TCase *t = pt_begin("profiler.path");
    tcase_add_test(t, test_a_thread_alone_is_its_own_path);
    tcase_add_test(t, test_sleeping_with_the_thread_blocks);
    tcase_add_test(t, test_imports_of_the_start_are_left_out);
    tcase_add_test(t, test_of_two_tasks_the_longer_one_is_on_the_path);
    tcase_add_test(t, test_what_ends_before_is_not_what_was_waited_for);
    tcase_add_test(t, test_what_was_done_before_costs_a_turn);
    tcase_add_test(t, test_a_cancelled_task_goes_on_because_of_who_cancelled);
    tcase_add_test(t, test_a_reached_time_limit_has_its_own_label);
    tcase_add_test(t, test_outside_time_is_the_waiters);
    tcase_add_test(t, test_an_eager_task_runs_inside_its_spawner);
    return pt_end();
}
