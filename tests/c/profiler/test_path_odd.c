/* test_path_odd.c - paths of recordings that are not what they should be: waits
 * that nobody ended, circles, clocks that run backwards, spans without an end.
 */
#include "test_path_kit.h"

START_TEST(test_a_wait_that_nobody_ended_is_unexplained)
{
    loop_begins();
    begin(0, 2, SPAN, "a", 0);
    E(0, 3, SUSPEND, .key = ANSWER, .span = SPAN);
    run(9, ROOT, PERF_ACTOR_TASK, SPAN);
    end(0, 10, SPAN);
    E(0, 10, END);
    loop_ends(10);
    expect("0-0.5 main - ran\n"
           "0.5-1 root - lag\n"
           "1-2 root - ran\n"
           "2-3 root a ran\n"
           "3-9 root a unexplained\n"
           "9-10 root a ran\n");
}
END_TEST

START_TEST(test_a_thread_of_unknown_origin_is_what_was_waited_for)
{
    E(0, 0, THREAD, .key = MAIN, .arg = PERF_ACTOR_MAIN);
    E(0, 3, WAIT_FOR, .key = ANSWER);
    E(0, 3, WAIT, .arg = 1);
    E(0, 9, WAITED);
    E(1, 6, RUN, .key = A, .arg = PERF_ACTOR_WORK);
    E(1, 8, RESOLVE, .key = ANSWER);
    expect("0-3 main - ran\n"
           "3-6 main - unexplained\n"
           "6-8 a - ran\n"
           "8-9 main - lag\n");
}
END_TEST

/* Each of two tasks is told at 8 ms that the other one is done then. */
START_TEST(test_waits_in_a_circle_end)
{
    loop_begins();
    E(0, 1, SPAWN, .key = A);
    E(0, 2, SUSPEND, .key = ANSWER);
    run(2, A, PERF_ACTOR_TASK, 0);
    E(0, 4, SUSPEND, .key = OTHER);
    run(8, A, PERF_ACTOR_TASK, 0);
    E(0, 8, RESOLVE, .key = ANSWER);
    E(0, 8, END);
    run(8, ROOT, PERF_ACTOR_TASK, 0);
    E(0, 8, RESOLVE, .key = OTHER);
    E(0, 9, END);
    loop_ends(9);
    expect("0-0.5 main - ran\n"
           "0.5-1 root - lag\n"
           "1-2 root - ran\n"
           "2-8 root - unexplained\n"
           "8-9 root - ran\n");
}
END_TEST

/* All at 8 ms: there is no earlier time to go back to among them. */
START_TEST(test_a_circle_without_duration_ends)
{
    loop_begins();
    E(0, 1, SPAWN, .key = A);
    E(0, 8, SUSPEND, .key = ANSWER);
    run(8, A, PERF_ACTOR_TASK, 0);
    E(0, 8, SUSPEND, .key = OTHER);
    run(8, A, PERF_ACTOR_TASK, 0);
    E(0, 8, RESOLVE, .key = ANSWER);
    E(0, 8, END);
    run(8, ROOT, PERF_ACTOR_TASK, 0);
    E(0, 8, RESOLVE, .key = OTHER);
    E(0, 9, END);
    loop_ends(9);
    expect("0-1 main - ran\n"
           "1-8 main - unexplained\n"
           "8-9 root - ran\n");
}
END_TEST

/* By something that ran in the main thread while that lent itself to the loop:
 * what came before is not known. */
START_TEST(test_a_hosts_own_events_come_from_nowhere)
{
    loop_begins();
    E(0, 2, SUSPEND, .key = ANSWER);
    E(0, 5, RESOLVE, .key = ANSWER);
    run(6, ROOT, PERF_ACTOR_TASK, 0);
    E(0, 7, END);
    loop_ends(7);
    expect("0-1 main - ran\n"
           "1-5 main - unexplained\n"
           "5-6 root - lag\n"
           "6-7 root - ran\n");
}
END_TEST

START_TEST(test_a_loop_that_was_stopped_is_unexplained)
{
    E(0, 0, THREAD, .key = MAIN, .arg = PERF_ACTOR_MAIN);
    E(0, 1, HOST, .key = ANSWER, .more = LOOP);
    E(0, 5, HOSTED);
    E(1, 6, RESOLVE, .key = ANSWER); /* too late */
    E(0, 7, LABEL);
    expect("0-1 main - ran\n"
           "1-5 main - unexplained\n"
           "5-7 main - ran\n");
}
END_TEST

START_TEST(test_what_ran_before_it_was_spawned_was_not_called)
{
    loop_begins();
    E(0, 1, SUSPEND);
    run(2, A, PERF_ACTOR_TASK, 0);
    E(0, 4, SUSPEND, .key = OTHER);
    run(5, ROOT, PERF_ACTOR_TASK, 0);
    E(0, 6, SPAWN, .key = A);
    E(0, 8, END);
    loop_ends(8);
    expect("0-0.5 main - ran\n"
           "0.5-5 root - lag\n"
           "5-8 root - ran\n");
}
END_TEST

START_TEST(test_an_old_cancel_explains_nothing)
{
    loop_begins();
    E(0, 2, CANCEL, .key = ROOT);
    E(0, 3, SUSPEND, .key = ANSWER);
    run(9, ROOT, PERF_ACTOR_TASK, 0);
    E(0, 10, END);
    loop_ends(10);
    expect("0-0.5 main - ran\n"
           "0.5-1 root - lag\n"
           "1-3 root - ran\n"
           "3-9 root - unexplained\n"
           "9-10 root - ran\n");
}
END_TEST

START_TEST(test_who_began_before_being_made_is_unexplained)
{
    E(0, 0, THREAD, .key = MAIN, .arg = PERF_ACTOR_MAIN);
    E(0, 4, SPAWN, .key = THREAD);
    thread_begins(1, 2, THREAD);
    E(1, 8, END);
    E(0, 5, WAIT_FOR, .key = THREAD);
    E(0, 5, WAIT, .arg = 1);
    E(0, 9, WAITED);
    expect("0-2 thread - unexplained\n"
           "2-8 thread - ran\n"
           "8-9 main - lag\n");
}
END_TEST

START_TEST(test_an_import_that_never_ends_lasts)
{
    E(0, 0, THREAD, .key = MAIN, .arg = PERF_ACTOR_MAIN);
    begin(0, 1, SPAN, "a", 0);
    E(0, 2, IMPORT, .arg = text("json"), .span = SPAN);
    E(0, 3, LABEL, .span = SPAN);
    E(0, 4, LABEL, .span = SPAN);
    expect("0-1 main - ran\n"
           "1-2 main a ran\n"
           "2-4 main a=json import\n");
}
END_TEST

START_TEST(test_clocks_that_run_backwards_lose_no_time)
{
    E(0, 0, THREAD, .key = MAIN, .arg = PERF_ACTOR_MAIN);
    E(0, 1, SPAWN, .key = THREAD);
    E(0, 9, WAIT_FOR, .key = THREAD);
    E(0, 9, WAIT, .arg = 1);
    thread_begins(1, 0.5, THREAD); /* before it was spawned */
    begin(1, 5, SPAN, "a", 0);
    end(1, 3, SPAN);
    E(1, 15, END);
    E(0, 12, WAITED); /* before the thread's end */
    play();
    size_t count;
    const perf_path_step *step = path_of(0, &count);
    check_sum(SCRIPT_EPOCH_NS, SCRIPT_EPOCH_NS + 12 * MS, step, count);
    path_of(SPAN, &count);
    ck_assert_uint_eq(count, 0);
}
END_TEST

START_TEST(test_spans_without_a_path_are_refused)
{
    size_t count;
    const perf_path_step *step;
    perf_path_share share;
    E(0, 0, THREAD, .key = MAIN, .arg = PERF_ACTOR_MAIN);
    begin(0, 1, SPAN, "open", 0);
    end(0, 2, INNER); /* never began */
    play();
    ck_assert_int_eq(perf_analysis_path_share(analysis, 0, &share), PERF_OK);
    ck_assert_uint_eq(share.ns, 0);
    static const uint64_t none[] = {SPAN, INNER, OUTER, MAIN, UINT64_MAX};
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(
            perf_analysis_path_blocking(analysis, none[i], &step, &count),
            PERF_ERR_NOT_FOUND);
    ck_assert_int_eq(perf_analysis_path_blocking(NULL, 0, &step, &count),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_analysis_path_blocking(analysis, 0, NULL, &count),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_analysis_path_blocking(analysis, 0, &step, NULL),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_analysis_path_share(NULL, 0, &share),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_analysis_path_share(analysis, 0, NULL),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_analysis_path_share(analysis, 1000, &share),
                     PERF_ERR_NOT_FOUND);
    expect_path(0, "0-2 main - ran\n");
}
END_TEST

int
main(void)
{
    TCase *t = pt_begin("profiler.path_odd");
    tcase_add_test(t, test_a_wait_that_nobody_ended_is_unexplained);
    tcase_add_test(t, test_a_thread_of_unknown_origin_is_what_was_waited_for);
    tcase_add_test(t, test_waits_in_a_circle_end);
    tcase_add_test(t, test_a_circle_without_duration_ends);
    tcase_add_test(t, test_a_hosts_own_events_come_from_nowhere);
    tcase_add_test(t, test_a_loop_that_was_stopped_is_unexplained);
    tcase_add_test(t, test_what_ran_before_it_was_spawned_was_not_called);
    tcase_add_test(t, test_an_old_cancel_explains_nothing);
    tcase_add_test(t, test_who_began_before_being_made_is_unexplained);
    tcase_add_test(t, test_an_import_that_never_ends_lasts);
    tcase_add_test(t, test_clocks_that_run_backwards_lose_no_time);
    tcase_add_test(t, test_spans_without_a_path_are_refused);
    return pt_end();
}
