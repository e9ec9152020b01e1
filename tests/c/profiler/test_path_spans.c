/* test_path_spans.c - critical paths that are known: which span the time was
 * spent in. */
#include "test_path_kit.h"

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

static void
begin_aside(double ms, uint64_t span, const char *name, uint64_t parent)
{
    E(0, ms, SPAN_BEGIN, .key = span, .arg = pt_name(PERF_KIND_SPAN, name),
      .more = parent, .span = parent);
}

START_TEST(test_of_two_spans_that_are_not_current_the_open_one_counts)
{
    E(0, 0, THREAD, .key = MAIN, .arg = PERF_ACTOR_MAIN);
    begin_aside(1, OUTER, "outer", 0);
    begin_aside(2, INNER, "inner", 0);
    E(0, 4, SPAN_END, .key = INNER);
    E(0, 6, LABEL);
    E(0, 8, SPAN_END, .key = OUTER);
    E(0, 9, LABEL);
    expect("0-1 main - ran\n"
           "1-2 main outer ran\n"
           "2-4 main inner ran\n"
           "4-8 main outer ran\n"
           "8-9 main - ran\n");
}
END_TEST

/* What has no context of its own is in the spans of who made it. */
START_TEST(test_spans_reach_into_threads_and_tasks)
{
    loop_begins();
    begin_aside(1, OUTER, "graph", 0);
    E(0, 2, SPAWN, .key = A);
    E(0, 3, SUSPEND, .key = A);
    run(3, A, PERF_ACTOR_TASK, 0);
    begin(0, 4, SPAN, "tool", 0);
    E(0, 5, SUBMIT, .key = B, .more = POOL, .span = SPAN);
    E(0, 6, WAIT_FOR, .key = ANSWER, .span = SPAN);
    E(0, 6, WAIT, .arg = 1, .span = SPAN);
    E(1, 6, THREAD, .key = THREAD, .arg = PERF_ACTOR_THREAD);
    E(1, 7, RUN, .key = B, .arg = PERF_ACTOR_WORK);
    E(1, 9, RESOLVE, .key = ANSWER);
    E(1, 9, END);
    E(0, 10, WAITED, .span = SPAN);
    end(0, 10, SPAN);
    E(0, 11, END);
    run(11, ROOT, PERF_ACTOR_TASK, 0);
    E(0, 12, SPAN_END, .key = OUTER);
    E(0, 12, END);
    loop_ends(12);
    expect("0-0.5 main - ran\n"
           "0.5-1 root - lag\n"
           "1-2 root graph ran\n"
           "2-3 a graph lag\n"
           "3-4 a graph ran\n"
           "4-5 a tool ran\n"
           "5-7 b tool lag\n"
           "7-9 b tool ran\n"
           "9-10 a tool lag\n"
           "10-11 a graph ran\n"
           "11-12 root graph ran\n");
}
END_TEST

/* It has begun its own work, although no code is in its span. */
START_TEST(test_an_import_inside_a_span_that_is_not_current_counts)
{
    E(0, 0, THREAD, .key = MAIN, .arg = PERF_ACTOR_MAIN);
    E(0, 1, IMPORT, .arg = text("json"));
    E(0, 2, IMPORTED);
    begin_aside(3, OUTER, "graph", 0);
    E(0, 4, IMPORT, .arg = text("numpy"));
    E(0, 6, IMPORTED);
    E(0, 7, SPAN_END, .key = OUTER);
    expect("0-1 main - ran\n"
           "2-3 main - ran\n"
           "3-4 main graph ran\n"
           "4-6 main graph=numpy import\n"
           "6-7 main graph ran\n");
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

/* A lock that is held in order to sleep has a label of its own: calls are
 * spaced out, and go on outside of it. */
START_TEST(test_sleeping_in_order_to_keep_a_lock_is_the_locks)
{
    loop_begins();
    resource(LOCK, PERF_RESOURCE_LOCK, 1, "rate");
    begin(0, 1, SPAN, "call", 0);
    E(0, 2, ACQUIRE, .key = LOCK, .span = SPAN);
    E(0, 2, ACQUIRED, .key = LOCK, .span = SPAN);
    E(0, 3, TIMER, .key = TIMER, .more = 50 * MS, .span = SPAN);
    E(0, 3, SUSPEND, .key = ANSWER, .span = SPAN);
    E(0, 50, SELECT, .more = 3 * MS);
    run(50, TIMER, PERF_ACTOR_TIMER, SPAN);
    E(0, 50, RESOLVE, .key = ANSWER, .span = SPAN);
    E(0, 50, END, .span = SPAN);
    run(50, ROOT, PERF_ACTOR_TASK, SPAN);
    begin(0, 50, INNER, "log", SPAN);
    E(0, 50, SLEEP, .more = 1 * MS, .span = INNER);
    E(0, 51, SLEPT, .span = INNER);
    end(0, 51, INNER);
    E(0, 51, RELEASE, .key = LOCK, .span = SPAN);
    E(0, 52, TIMER, .key = TIMER + 100, .more = 90 * MS, .span = SPAN);
    E(0, 52, SUSPEND, .key = OTHER, .span = SPAN);
    E(0, 90, SELECT, .more = 52 * MS);
    run(90, TIMER + 100, PERF_ACTOR_TIMER, SPAN);
    E(0, 90, RESOLVE, .key = OTHER, .span = SPAN);
    E(0, 90, END, .span = SPAN);
    run(90, ROOT, PERF_ACTOR_TASK, SPAN);
    end(0, 91, SPAN);
    E(0, 91, END);
    loop_ends(91);
    expect("0-0.5 main - ran\n"
           "0.5-1 root - lag\n"
           "1-3 root call ran\n"
           "3-50 root call=hold slept\n"
           "50-51 root log blocked\n"
           "51-52 root call ran\n"
           "52-90 root call slept\n"
           "90-91 root call ran\n");
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
    tcase_add_test(t,
                   test_of_two_spans_that_are_not_current_the_open_one_counts);
    tcase_add_test(t, test_spans_reach_into_threads_and_tasks);
    tcase_add_test(t, test_an_import_inside_a_span_that_is_not_current_counts);
    tcase_add_test(t, test_between_two_tries_the_time_is_the_failed_calls);
    tcase_add_test(t, test_sleeping_in_order_to_keep_a_lock_is_the_locks);
    return pt_end();
}
