/* test_path_spans.c - critical paths that are known: which span the time was
 * spent in. */
#include "test_path_kit.h"

#include <string.h>

/* ---- spans ---- */

START_TEST(test_a_task_that_outlives_its_span_works_for_the_one_around)
{
    loop_begins();
    begin(0, 1, OUTER, "outer", 0);
    begin(0, 2, SPAN, "inner", OUTER);
    E(0, 3, SPAWN, .key = A, .span = SPAN);
    end(0, 4, SPAN);
    E(0, 5, SUSPEND, .key = A, .span = OUTER);
    run(5, A, PERF_ACTOR_TASK, SPAN);
    begin(0, 6, INNER, "child", SPAN);
    end(0, 8, INNER);
    E(0, 9, END, .span = SPAN);
    run(9, ROOT, PERF_ACTOR_TASK, OUTER);
    end(0, 10, OUTER);
    E(0, 10, END);
    loop_ends(10);
    expect("0-0.5 main - ran\n"
           "0.5-1 root - lag\n"
           "1-2 root outer ran\n"
           "2-3 root inner ran\n"
           "3-4 a inner lag\n"
           "4-5 a outer lag\n"
           "5-6 a outer ran\n"
           "6-8 a child ran\n"
           "8-9 a outer ran\n"
           "9-10 root outer ran\n");
}
END_TEST

START_TEST(test_a_span_may_end_in_another_task)
{
    loop_begins();
    begin(0, 1, SPAN, "stream", 0);
    E(0, 2, SPAWN, .key = A, .span = SPAN);
    E(0, 3, SUSPEND, .key = A, .span = SPAN);
    run(3, A, PERF_ACTOR_TASK, 0);
    end(0, 6, SPAN);
    E(0, 8, END);
    run(8, ROOT, PERF_ACTOR_TASK, SPAN);
    E(0, 9, END, .span = SPAN); /* who does not know that it is over */
    loop_ends(9);
    expect("0-0.5 main - ran\n"
           "0.5-1 root - lag\n"
           "1-2 root stream ran\n"
           "2-3 a - lag\n"
           "3-6 a stream ran\n"
           "6-8 a - ran\n"
           "8-9 root - ran\n");
    expect_path(SPAN, "1-2 root stream ran\n"
                      "2-3 a - lag\n"
                      "3-6 a stream ran\n");
}
END_TEST

/* A model's call is seen through callbacks: no code runs in its span. */
START_TEST(test_a_span_that_is_not_current_covers_its_parent)
{
    E(0, 0, THREAD, .key = MAIN, .arg = PERF_ACTOR_MAIN);
    begin(0, 1, SPAN, "node", 0);
    E(0, 2, SPAN_BEGIN, .key = INNER, .arg = pt_name(PERF_KIND_SPAN, "model"),
      .more = SPAN, .span = SPAN);
    E(0, 4, LABEL, .span = SPAN);
    E(0, 5, SPAN_END, .key = INNER, .span = SPAN);
    end(0, 6, SPAN);
    expect("0-1 main - ran\n"
           "1-2 main node ran\n"
           "2-5 main model ran\n"
           "5-6 main node ran\n");
}
END_TEST

START_TEST(test_between_two_tries_the_time_is_the_failed_calls)
{
    loop_begins();
    begin(0, 1, OUTER, "outer", 0);
    begin(0, 2, SPAN, "call", OUTER);
    E(0, 3, SPAN_END, .key = SPAN, .arg = PERF_STATUS_ERROR, .span = SPAN);
    E(0, 4, TIMER, .key = TIMER, .more = 8 * MS, .span = OUTER);
    E(0, 5, SUSPEND, .key = ANSWER, .span = OUTER);
    E(0, 8, SELECT, .more = 5 * MS);
    run(8, TIMER, PERF_ACTOR_TIMER, OUTER);
    E(0, 8, RESOLVE, .key = ANSWER, .span = OUTER);
    E(0, 8, END, .span = OUTER);
    run(8, ROOT, PERF_ACTOR_TASK, OUTER);
    begin(0, 9, INNER, "call", OUTER);
    end(0, 11, INNER);
    end(0, 12, OUTER);
    E(0, 12, END);
    loop_ends(12);
    expect("0-0.5 main - ran\n"
           "0.5-1 root - lag\n"
           "1-2 root outer ran\n"
           "2-3 root call ran\n"
           "3-4 root outer=call ran\n"
           "4-8 root outer=call slept\n"
           "8-9 root outer=call ran\n"
           "9-11 root call ran\n"
           "11-12 root outer ran\n");
}
END_TEST

int
main(void)
{
    TCase *t = pt_begin("profiler.path_spans");
    tcase_add_test(t,
                   test_a_task_that_outlives_its_span_works_for_the_one_around);
    tcase_add_test(t, test_a_span_may_end_in_another_task);
    tcase_add_test(t, test_a_span_that_is_not_current_covers_its_parent);
    tcase_add_test(t, test_between_two_tries_the_time_is_the_failed_calls);
    return pt_end();
}
