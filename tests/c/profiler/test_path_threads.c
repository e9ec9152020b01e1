/* test_path_threads.c - critical paths that are known: resources, threads. */
#include "test_path_kit.h"

#include <string.h>

/* ---- resources ---- */

START_TEST(test_who_waits_for_a_semaphore_goes_on_in_its_holder)
{
    loop_begins();
    resource(LOCK, PERF_RESOURCE_SEMAPHORE, 1, "db");
    E(0, 1, SPAWN, .key = A);
    E(0, 1, ACQUIRE, .key = LOCK);
    E(0, 1, ACQUIRED, .key = LOCK);
    begin(0, 2, OUTER, "holds", 0);
    E(0, 2, SUSPEND, .key = OTHER, .span = OUTER);
    run(3, A, PERF_ACTOR_TASK, 0);
    begin(0, 3, SPAN, "wants", 0);
    E(0, 4, ACQUIRE, .key = LOCK, .span = SPAN);
    E(0, 4, AWAIT, .key = ANSWER, .span = SPAN);
    E(0, 4, SUSPEND, .key = ANSWER, .span = SPAN);
    E(0, 9, SELECT, .more = 4 * MS);
    run(9, IO, PERF_ACTOR_IO, 0);
    E(0, 9, RESOLVE, .key = OTHER);
    E(0, 9, END);
    run(9, ROOT, PERF_ACTOR_TASK, OUTER);
    end(0, 10, OUTER);
    E(0, 11, RELEASE, .key = LOCK);
    E(0, 12, RESOLVE, .key = ANSWER);
    E(0, 13, SUSPEND, .key = A);
    run(14, A, PERF_ACTOR_TASK, SPAN);
    E(0, 15, ACQUIRED, .key = LOCK, .span = SPAN);
    end(0, 17, SPAN);
    E(0, 17, END);
    run(17, ROOT, PERF_ACTOR_TASK, 0);
    E(0, 17, END);
    loop_ends(17);
    expect("0-0.5 main - ran\n"
           "0.5-1 root - lag\n"
           "1-2 root - ran\n"
           "2-4 root holds io\n"
           "4-9 root holds io db\n"
           "9-10 root holds ran db\n"
           "10-12 root - ran db\n"
           "12-14 a wants lag db\n"
           "14-17 a wants ran\n");
    expect_path(SPAN, "3-4 root holds io\n"
                      "4-9 root holds io db\n"
                      "9-10 root holds ran db\n"
                      "10-12 root - ran db\n"
                      "12-14 a wants lag db\n"
                      "14-17 a wants ran\n");
    perf_path_share share = {0};
    uint64_t waited = 0;
    for (uint32_t i = 0; !perf_analysis_path_share(analysis, i, &share); i++)
        waited += share.resource_ns;
    ck_assert_uint_eq(waited, 10 * MS);
}
END_TEST

/* What it awaits is of a kind that does not tell who resolves it. */
START_TEST(test_a_wait_for_a_semaphore_is_explained_by_its_release)
{
    loop_begins();
    resource(LOCK, PERF_RESOURCE_SEMAPHORE, 1, "db");
    E(0, 1, SPAWN, .key = A);
    E(0, 2, ACQUIRE, .key = LOCK);
    E(0, 2, SUSPEND, .key = ANSWER);
    run(3, A, PERF_ACTOR_TASK, 0);
    E(0, 5, RELEASE, .key = LOCK);
    E(0, 6, END);
    run(6, ROOT, PERF_ACTOR_TASK, 0);
    E(0, 7, ACQUIRED, .key = LOCK);
    E(0, 8, END);
    loop_ends(8);
    expect("0-0.5 main - ran\n"
           "0.5-1 root - lag\n"
           "1-2 a - lag\n"
           "2-3 a - lag db\n"
           "3-5 a - ran db\n"
           "5-6 root - lag db\n"
           "6-8 root - ran\n");
}
END_TEST

START_TEST(test_a_lock_leads_to_the_thread_that_gave_it_back)
{
    E(0, 0, THREAD, .key = MAIN, .arg = PERF_ACTOR_MAIN);
    resource(LOCK, PERF_RESOURCE_LOCK, 1, "lock");
    E(0, 1, SPAWN, .key = THREAD);
    thread_begins(1, 2, THREAD);
    E(1, 3, ACQUIRE, .key = LOCK);
    E(1, 3, ACQUIRED, .key = LOCK);
    begin(0, 4, SPAN, "wants", 0);
    E(0, 5, ACQUIRE, .key = LOCK, .span = SPAN);
    begin(1, 5, OUTER, "holds", 0);
    end(1, 8, OUTER);
    E(1, 9, RELEASE, .key = LOCK);
    E(1, 20, END);
    E(0, 10, ACQUIRED, .key = LOCK, .span = SPAN);
    E(0, 11, RELEASE, .key = LOCK, .span = SPAN);
    E(0, 12, ACQUIRE, .key = LOCK, .span = SPAN); /* nobody has it */
    E(0, 13, ACQUIRED, .key = LOCK, .span = SPAN);
    end(0, 14, SPAN);
    expect("0-1 main - ran\n"
           "1-2 thread - lag\n"
           "2-5 thread - ran\n"
           "5-8 thread holds ran lock\n"
           "8-9 thread - ran lock\n"
           "9-10 main wants lag lock\n"
           "10-14 main wants ran\n");
}
END_TEST

START_TEST(test_a_lock_not_got_in_time_blocks)
{
    E(0, 0, THREAD, .key = MAIN, .arg = PERF_ACTOR_MAIN);
    resource(LOCK, PERF_RESOURCE_LOCK, 1, "lock");
    E(0, 1, ACQUIRE, .key = LOCK);
    E(0, 9, NOT_ACQUIRED, .key = LOCK);
    E(0, 10, LABEL);
    expect("0-1 main - ran\n"
           "1-9 main - blocked lock\n"
           "9-10 main - ran\n");
}
END_TEST

START_TEST(test_an_item_leads_to_who_put_it)
{
    E(0, 0, THREAD, .key = MAIN, .arg = PERF_ACTOR_MAIN);
    resource(JOBS, PERF_RESOURCE_QUEUE, 1, "jobs");
    E(0, 1, SPAWN, .key = THREAD);
    thread_begins(1, 2, THREAD);
    E(0, 3, GET, .key = JOBS);
    E(1, 6, PUT, .key = JOBS);
    E(1, 8, HAS_PUT, .key = JOBS);
    E(0, 7, GOT, .key = JOBS);
    E(1, 9, PUT, .key = JOBS);
    E(1, 9, HAS_PUT, .key = JOBS);
    E(1, 10, PUT, .key = JOBS); /* it is full until */
    E(0, 15, GET, .key = JOBS);
    E(0, 15, GOT, .key = JOBS);
    E(1, 16, HAS_PUT, .key = JOBS);
    E(1, 17, END);
    E(0, 16, WAIT_FOR, .key = THREAD);
    E(0, 16, WAIT, .arg = 1);
    E(0, 18, WAITED);
    expect("0-1 main - ran\n"
           "1-2 thread - lag\n"
           "2-3 thread - ran\n"
           "3-6 thread - ran jobs\n"
           "6-7 main - lag jobs\n"
           "7-10 main - ran\n"
           "10-15 main - ran jobs\n"
           "15-16 thread - lag jobs\n"
           "16-17 thread - ran\n"
           "17-18 main - lag\n");
}
END_TEST

/* ---- threads ---- */

/* Two of three are enough; the third is done before the waiter runs. */
START_TEST(test_of_several_futures_the_decisive_one_is_on_the_path)
{
    static const uint64_t thread[] = {A, B, C}, future[] = {200, 201, 202};
    E(0, 0, THREAD, .key = MAIN, .arg = PERF_ACTOR_MAIN);
    for (uint32_t i = 0; i < 3; i++) {
        E(0, 1, SPAWN, .key = thread[i]);
        thread_begins(1 + i, 2, thread[i]);
        E(1 + i, 4 + 2 * i, RESOLVE, .key = future[i]);
        E(1 + i, 20, END);
    }
    for (int i = 0; i < 3; i++)
        E(0, 3, WAIT_FOR, .key = future[i]);
    E(0, 3, WAIT, .arg = 2);
    E(0, 9, WAITED, .more = 1);
    expect("0-1 main - ran\n"
           "1-2 b - lag\n"
           "2-6 b - ran\n"
           "6-9 main - lag\n");
}
END_TEST

/* Both are done at one time, and one is enough: the one with the lesser id. */
START_TEST(test_ties_do_not_depend_on_who_is_read_first)
{
    static const uint32_t orders[][SCRIPT_THREADS] = {{0, 1, 2, 3},
                                                      {3, 2, 1, 0}};
    E(0, 0, THREAD, .key = MAIN, .arg = PERF_ACTOR_MAIN);
    E(0, 1, SPAWN, .key = A);
    E(0, 1, SPAWN, .key = B);
    thread_begins(1, 2, A);
    thread_begins(2, 2, B);
    for (uint32_t i = 1; i < 3; i++) {
        E(i, 5, RESOLVE, .key = ANSWER + i);
        E(i, 20, END);
    }
    E(0, 3, WAIT_FOR, .key = ANSWER + 1);
    E(0, 3, WAIT_FOR, .key = ANSWER + 2);
    E(0, 3, WAIT, .arg = 1);
    E(0, 6, WAITED, .more = 1);
    begin(0, 6, SPAN, "first", 0);
    end(0, 7, SPAN);
    script_play(SIZE_MAX, orders[_i]);
    script_analyse();
    expect_path(0, "0-1 main - ran\n"
                   "1-2 a - lag\n"
                   "2-5 a - ran\n"
                   "5-6 main - lag\n"
                   "6-7 main first ran\n");
}
END_TEST

START_TEST(test_a_future_that_two_resolve_is_the_first_ones)
{
    static const uint32_t orders[][SCRIPT_THREADS] = {{0, 1, 2, 3},
                                                      {3, 2, 1, 0}};
    E(0, 0, THREAD, .key = MAIN, .arg = PERF_ACTOR_MAIN);
    E(0, 1, SPAWN, .key = A);
    E(0, 1, SPAWN, .key = B);
    E(0, 1, SPAWN, .key = C);
    thread_begins(1, 2, A);
    thread_begins(2, 2, B);
    thread_begins(3, 2, C);
    E(1, 6, RESOLVE, .key = ANSWER);
    E(2, 5, RESOLVE, .key = ANSWER);
    E(3, 5, RESOLVE, .key = ANSWER);
    E(0, 3, WAIT_FOR, .key = ANSWER);
    E(0, 3, WAIT, .arg = 1);
    E(0, 7, WAITED);
    script_play(SIZE_MAX, orders[_i]);
    script_analyse();
    expect_path(0, "0-1 main - ran\n"
                   "1-2 b - lag\n"
                   "2-5 b - ran\n"
                   "5-7 main - lag\n");
}
END_TEST

START_TEST(test_a_lock_two_gave_back_at_one_time_is_the_firsts)
{
    static const uint32_t orders[][SCRIPT_THREADS] = {{0, 1, 2, 3},
                                                      {3, 2, 1, 0}};
    E(0, 0, THREAD, .key = MAIN, .arg = PERF_ACTOR_MAIN);
    E(0, 1, SPAWN, .key = A);
    E(0, 1, SPAWN, .key = B);
    thread_begins(1, 2, A);
    thread_begins(2, 2, B);
    E(1, 5, RELEASE, .key = LOCK);
    E(2, 5, RELEASE, .key = LOCK);
    E(0, 3, ACQUIRE, .key = LOCK);
    E(0, 5, ACQUIRED, .key = LOCK);
    script_play(SIZE_MAX, orders[_i]);
    script_analyse();
    expect_path(0, "0-1 main - ran\n"
                   "1-2 a - lag\n"
                   "2-5 a - ran\n");
}
END_TEST

/* How long a wait was that said afterwards how many it was for, one in vain,
 * one for what was done, one for a thread that goes on. */
START_TEST(test_waits_of_a_thread)
{
    E(0, 0, THREAD, .key = MAIN, .arg = PERF_ACTOR_MAIN);
    E(0, 1, SPAWN, .key = A);
    thread_begins(1, 2, A);
    E(1, 6, RESOLVE, .key = ANSWER);
    E(1, 8, RESOLVE, .key = OTHER);
    E(1, 90, END);
    E(0, 3, WAIT_FOR, .key = ANSWER);
    E(0, 3, WAIT_FOR, .key = OTHER);
    E(0, 3, WAIT);
    E(0, 9, WAITED);
    E(0, 10, WAIT_FOR, .key = ANSWER);
    E(0, 10, WAIT, .arg = 1);
    E(0, 11, WAITED);
    E(0, 12, WAIT_FOR, .key = TIMER);
    E(0, 12, WAIT, .arg = 1);
    E(0, 14, WAITED, .arg = 1);
    E(0, 15, WAIT_FOR, .key = A);
    E(0, 15, WAIT, .arg = 1);
    E(0, 17, WAITED);
    expect("0-1 main - ran\n"
           "1-2 a - lag\n"
           "2-8 a - ran\n"
           "8-9 main - lag\n"
           "9-10 main - ran\n"
           "10-11 main - lag\n"
           "11-12 main - ran\n"
           "12-14 main - blocked\n"
           "14-15 main - ran\n"
           "15-17 main - unexplained\n");
}
END_TEST

static void
work(uint32_t thread, double from, double to, uint64_t id, uint64_t span)
{
    E(thread, from, RUN, .key = id, .arg = PERF_ACTOR_WORK, .span = span);
    E(thread, to, RESOLVE, .key = id + 1000, .span = span);
    E(thread, to, END, .span = span);
}

/* One thread, two pieces of work: the second one waits for the first. */
START_TEST(test_work_waits_for_a_thread_of_its_executor)
{
    E(0, 0, THREAD, .key = MAIN, .arg = PERF_ACTOR_MAIN);
    resource(POOL, PERF_RESOURCE_EXECUTOR, 1, "pool");
    begin(0, 1, SPAN, "a", 0);
    E(0, 2, SUBMIT, .key = A, .more = POOL, .span = SPAN);
    E(0, 3, SUBMIT, .key = B, .more = POOL, .span = SPAN);
    E(1, 3, THREAD, .key = THREAD, .arg = PERF_ACTOR_THREAD);
    work(1, 4, 8, A, SPAN);
    work(1, 9, 12, B, SPAN);
    E(0, 4, WAIT_FOR, .key = B + 1000, .span = SPAN);
    E(0, 4, WAIT, .arg = 1, .span = SPAN);
    E(0, 13, WAITED, .span = SPAN);
    E(0, 14, WAIT_EXECUTOR, .key = POOL, .span = SPAN);
    E(0, 15, WAITED, .span = SPAN);
    end(0, 16, SPAN);
    expect("0-1 main - ran\n"
           "1-2 main a ran\n"
           "2-3 a a lag\n"
           "3-4 a a lag pool\n"
           "4-8 a a ran pool\n"
           "8-9 b a lag pool\n"
           "9-12 b a ran\n"
           "12-13 main a lag\n"
           "13-14 main a ran\n"
           "14-15 main a lag\n"
           "15-16 main a ran\n");
}
END_TEST

/* A until 7 ms; at 8 ms C, which took no time, and B. */
START_TEST(test_work_without_a_duration_keeps_no_thread_busy)
{
    E(0, 0, THREAD, .key = MAIN, .arg = PERF_ACTOR_MAIN);
    resource(POOL, PERF_RESOURCE_EXECUTOR, 1, "pool");
    E(0, 2, SUBMIT, .key = A, .more = POOL);
    E(0, 3, SUBMIT, .key = C, .more = POOL);
    E(0, 3, SUBMIT, .key = B, .more = POOL);
    E(1, 3, THREAD, .key = THREAD, .arg = PERF_ACTOR_THREAD);
    work(1, 4, 7, A, 0);
    work(1, 8, 8, C, 0);
    work(1, 8, 12, B, 0);
    E(0, 4, WAIT_FOR, .key = B + 1000);
    E(0, 4, WAIT, .arg = 1);
    E(0, 13, WAITED);
    expect("0-2 main - ran\n"
           "2-3 a - lag\n"
           "3-4 a - lag pool\n"
           "4-7 a - ran pool\n"
           "7-8 b - lag pool\n"
           "8-12 b - ran\n"
           "12-13 main - lag\n");
}
END_TEST

START_TEST(test_the_end_of_an_executor_waits_for_its_last_work)
{
    E(0, 0, THREAD, .key = MAIN, .arg = PERF_ACTOR_MAIN);
    resource(POOL, PERF_RESOURCE_EXECUTOR, 2, "pool");
    E(0, 2, SUBMIT, .key = A, .more = POOL);
    E(0, 2, SUBMIT, .key = B, .more = POOL);
    E(0, 3, WAIT_EXECUTOR, .key = POOL);
    work(1, 3, 9, A, 0); /* whose threads began unseen */
    work(2, 3, 7, B, 0);
    E(0, 10, WAITED);
    expect("0-2 main - ran\n"
           "2-3 a - lag\n"
           "3-9 a - ran\n"
           "9-10 main - lag\n");
}
END_TEST

int
main(void)
{
    TCase *t = pt_begin("profiler.path_threads");
    tcase_add_test(t, test_who_waits_for_a_semaphore_goes_on_in_its_holder);
    tcase_add_test(t, test_a_wait_for_a_semaphore_is_explained_by_its_release);
    tcase_add_test(t, test_a_lock_leads_to_the_thread_that_gave_it_back);
    tcase_add_test(t, test_a_lock_not_got_in_time_blocks);
    tcase_add_test(t, test_an_item_leads_to_who_put_it);
    tcase_add_test(t, test_of_several_futures_the_decisive_one_is_on_the_path);
    tcase_add_loop_test(t, test_ties_do_not_depend_on_who_is_read_first, 0, 2);
    tcase_add_loop_test(t, test_a_future_that_two_resolve_is_the_first_ones, 0,
                        2);
    tcase_add_loop_test(t, test_a_lock_two_gave_back_at_one_time_is_the_firsts,
                        0, 2);
    tcase_add_test(t, test_waits_of_a_thread);
    tcase_add_test(t, test_work_waits_for_a_thread_of_its_executor);
    tcase_add_test(t, test_work_without_a_duration_keeps_no_thread_busy);
    tcase_add_test(t, test_the_end_of_an_executor_waits_for_its_last_work);
    return pt_end();
}
