/* test_repeats.c - calls that are made again: how many there are, and what a
 * cache would bring, where one can work it out. */
#include "pt_profile.h"

#include <string.h>

enum { CALLS = 5 };

static perf_reader *reader;
static perf_analysis *analysis;
static uint64_t root;

/* ---- programs ---- */

static void
begin_loop(void)
{
    pt_main();
    root = pt_new_task();
    pt_say(HOST, .key = root, .more = PT_LOOP);
    pt_resume(root, PERF_ACTOR_TASK);
}

static void
end_loop(void)
{
    pt_end_actor();
    pt_say(HOSTED);
}

static uint64_t
open_call(const char *name, uint64_t digest)
{
    uint64_t span = pt_open(name);
    pt_say(CALL, .key = span, .more = digest,
           .arg = pt_name(PERF_KIND_TEXT, "agent.py:7"));
    return span;
}

/* One task: sleeps of 10 ms, one after the other. */
static void
in_turn(const uint64_t *digest, const perf_status *status, size_t n)
{
    begin_loop();
    for (size_t i = 0; i < n; i++) {
        open_call("look", digest[i]);
        pt_sleep(root, 10);
        pt_close_as(status ? status[i] : PERF_STATUS_OK);
    }
    end_loop();
}

/* Tasks that begin at the same time; the i-th sleeps 10 * (i + 1) ms. */
static void
at_once(const uint64_t *digest, size_t n)
{
    uint64_t task[CALLS];
    pt_nap nap[CALLS];
    begin_loop();
    for (size_t i = 0; i < n; i++)
        task[i] = pt_new_task();
    pt_say(AWAIT, .key = task[n - 1]);
    pt_suspend(task[n - 1]);
    for (size_t i = 0; i < n; i++) {
        pt_resume(task[i], PERF_ACTOR_TASK);
        open_call("look", digest[i]);
        nap[i] = pt_doze(10.0 * (double)(i + 1));
    }
    for (size_t i = 0; i < n; i++) {
        pt_wake(nap[i]);
        pt_resume(task[i], PERF_ACTOR_TASK);
        pt_close();
        pt_end_actor();
    }
    pt_resume(root, PERF_ACTOR_TASK);
    for (size_t i = 0; i + 1 < n; i++)
        pt_say(AWAIT, .key = task[i]);
    end_loop();
}

/* ---- what is said of them ---- */

static void
analyse(void)
{
    analysis = pt_analyse(&reader);
}

static void
finish(void)
{
    perf_analysis_destroy(analysis);
    perf_reader_close(reader);
}

static uint32_t
label_of(const char *name, perf_label *l)
{
    for (uint32_t i = 0; !perf_analysis_label(analysis, i, l); i++)
        if (l->kind == PERF_LABEL_SPAN &&
            !strcmp(perf_reader_name(reader, l->name, NULL), name))
            return i;
    ck_abort_msg("no label %s", name);
    return 0;
}

/* Milliseconds that the program takes with a cache. */
static double
cached(const char *name)
{
    perf_label l;
    uint64_t ns = 0;
    perf_change change = {PERF_CHANGE_CACHE, label_of(name, &l), 0};
    ck_assert_int_eq(
        perf_analysis_replay_blocking(analysis, &change, 1, 1, 0, &ns),
        PERF_OK);
    return (double)ns / (double)PT_MS;
}

static double
unchanged(void)
{
    uint64_t ns = 0;
    ck_assert_int_eq(
        perf_analysis_replay_blocking(analysis, NULL, 0, 1, 0, &ns), PERF_OK);
    return (double)ns / (double)PT_MS;
}

static const double HIT_MS = 0.001;

/* ---- counting ---- */

START_TEST(test_repeats_are_counted)
{
    in_turn((uint64_t[]){1, 2, 1, 1, 0}, NULL, 5);
    analyse();
    perf_label l;
    label_of("look", &l);
    ck_assert_uint_eq(l.calls, 5);
    ck_assert_uint_eq(l.digested, 5);
    ck_assert_uint_eq(l.distinct, 3);
    ck_assert_uint_eq(l.repeats, 2);
    ck_assert_str_eq(perf_reader_name(reader, l.place, NULL), "agent.py:7");
    finish();
}
END_TEST

START_TEST(test_calls_without_a_digest_are_not_repeats)
{
    begin_loop();
    for (int i = 0; i < 3; i++) {
        pt_open("look");
        pt_sleep(root, 10);
        pt_close();
    }
    end_loop();
    analyse();
    perf_label l;
    label_of("look", &l);
    ck_assert_uint_eq(l.digested + l.distinct + l.repeats, 0);
    ck_assert_uint_eq(l.place, UINT32_MAX);
    ck_assert_double_eq_tol(cached("look"), 30, 1e-9);
    finish();
}
END_TEST

START_TEST(test_equal_digests_under_two_names_are_two_calls)
{
    begin_loop();
    for (int i = 0; i < 2; i++) {
        open_call(i ? "look" : "find", 5);
        pt_sleep(root, 10);
        pt_close();
    }
    end_loop();
    analyse();
    perf_label l;
    label_of("look", &l);
    ck_assert_uint_eq(l.repeats, 0);
    ck_assert_double_eq_tol(cached("look"), 20, 1e-9);
    finish();
}
END_TEST

/* ---- one after the other ---- */

START_TEST(test_repeats_in_turn_take_no_time)
{
    in_turn((uint64_t[]){1, 2, 1, 1, 2}, NULL, 5);
    analyse();
    ck_assert_double_eq_tol(unchanged(), 50, 1e-9);
    ck_assert_double_eq_tol(cached("look"), 20 + 3 * HIT_MS, 1e-9);
    ck_assert_double_eq_tol(unchanged(), 50, 1e-9);
    finish();
}
END_TEST

START_TEST(test_no_repeats_no_gain)
{
    in_turn((uint64_t[]){1, 2, 3}, NULL, 3);
    analyse();
    ck_assert_double_eq_tol(cached("look"), 30, 1e-9);
    finish();
}
END_TEST

/* What failed is not kept, and who fails is not answered: 1 fails, 1 computes,
 * 1 is answered, 1 fails as it did. */
START_TEST(test_failed_calls_are_made_as_they_were)
{
    in_turn((uint64_t[]){1, 1, 1, 1},
            (perf_status[]){PERF_STATUS_ERROR, PERF_STATUS_OK, PERF_STATUS_OK,
                            PERF_STATUS_CANCELLED},
            4);
    analyse();
    perf_label l;
    label_of("look", &l);
    ck_assert_uint_eq(l.digested, 4);
    ck_assert_uint_eq(l.distinct, 1);
    ck_assert_uint_eq(l.repeats, 1);
    ck_assert_double_eq_tol(cached("look"), 30 + HIT_MS, 1e-9);
    finish();
}
END_TEST

/* ---- at the same time ---- */

START_TEST(test_calls_at_the_same_time_wait_for_the_first)
{
    at_once((uint64_t[]){7, 7, 7, 7}, 4);
    analyse();
    ck_assert_double_eq_tol(unchanged(), 40, 1e-9);
    ck_assert_double_eq_tol(cached("look"), 10 + 3 * HIT_MS, 1e-9);
    finish();
}
END_TEST

START_TEST(test_the_longest_may_be_the_one_that_is_different)
{
    at_once((uint64_t[]){7, 7, 8}, 3);
    analyse();
    ck_assert_double_eq_tol(cached("look"), 30, 1e-9);
    finish();
}
END_TEST

/* The outer call makes the same call again: it would wait for itself. */
START_TEST(test_who_calls_itself_computes)
{
    begin_loop();
    open_call("look", 1);
    open_call("look", 1);
    pt_sleep(root, 10);
    pt_close();
    pt_sleep(root, 5);
    pt_close();
    open_call("look", 1);
    pt_sleep(root, 10);
    pt_close();
    end_loop();
    analyse();
    ck_assert_double_eq_tol(unchanged(), 25, 1e-9);
    ck_assert_double_eq_tol(cached("look"), 15 + HIT_MS, 1e-9);
    finish();
}
END_TEST

/* Two tasks: the leader of 1 waits for the other task's end, and that one wants
 * 1 first. As a cache gives up a leader, so does the replay. */
START_TEST(test_leaders_that_wait_for_their_waiters_are_given_up)
{
    begin_loop();
    uint64_t one = pt_new_task(), two = pt_new_task();
    pt_say(AWAIT, .key = one);
    pt_suspend(one);
    pt_resume(one, PERF_ACTOR_TASK);
    open_call("look", 1);
    pt_say(AWAIT, .key = two);
    pt_suspend(two);
    pt_resume(two, PERF_ACTOR_TASK);
    open_call("look", 1);
    pt_sleep(two, 10);
    pt_close();
    pt_end_actor();
    pt_resume(one, PERF_ACTOR_TASK);
    pt_close();
    pt_end_actor();
    pt_resume(root, PERF_ACTOR_TASK);
    end_loop();
    analyse();
    ck_assert_double_eq_tol(unchanged(), 10, 1e-9);
    ck_assert_double_eq_tol(cached("look"), 10, 1e-2);
    finish();
}
END_TEST

/* ---- what else happens in a call ---- */

/* Its own child in another task, a semaphore, a thread: all of it goes away. */
START_TEST(test_what_a_call_sets_going_goes_with_it)
{
    begin_loop();
    uint64_t s = pt_resource(PERF_RESOURCE_SEMAPHORE, 1, "s");
    for (int i = 0; i < 2; i++) {
        open_call("look", 1);
        uint64_t child = pt_new_task();
        pt_say(AWAIT, .key = child);
        pt_suspend(child);
        pt_resume(child, PERF_ACTOR_TASK);
        pt_open("query");
        pt_say(ACQUIRE, .key = s);
        pt_say(ACQUIRED, .key = s);
        pt_work(4);
        pt_sleep(child, 6);
        pt_say(RELEASE, .key = s);
        pt_close();
        pt_end_actor();
        pt_resume(root, PERF_ACTOR_TASK);
        pt_close();
    }
    end_loop();
    analyse();
    ck_assert_double_eq_tol(unchanged(), 20, 1e-9);
    ck_assert_double_eq_tol(cached("look"), 10 + HIT_MS, 1e-9);
    finish();
}
END_TEST

/* A place that was taken before the call is given back in it, and a future that
 * another task waits for is resolved: nobody hangs. */
START_TEST(test_what_a_call_means_for_others_still_happens)
{
    begin_loop();
    uint64_t s = pt_resource(PERF_RESOURCE_SEMAPHORE, 1, "s");
    uint64_t future = perf_event_new_id(), turn = perf_event_new_id();
    open_call("look", 1);
    pt_sleep(root, 10);
    pt_close();
    pt_say(ACQUIRE, .key = s);
    pt_say(ACQUIRED, .key = s);
    uint64_t other = pt_new_task(), third = pt_new_task();
    pt_suspend(0);
    pt_resume(other, PERF_ACTOR_TASK);
    pt_suspend(future);
    pt_resume(third, PERF_ACTOR_TASK);
    pt_say(ACQUIRE, .key = s);
    pt_suspend(turn);
    pt_resume(root, PERF_ACTOR_TASK);
    open_call("look", 1);
    pt_sleep(root, 10);
    pt_say(RESOLVE, .key = future);
    pt_say(RELEASE, .key = s);
    pt_say(RESOLVE, .key = turn);
    pt_close();
    pt_say(AWAIT, .key = other);
    pt_suspend(other);
    pt_resume(other, PERF_ACTOR_TASK);
    pt_sleep(other, 3);
    pt_end_actor();
    pt_resume(third, PERF_ACTOR_TASK);
    pt_say(ACQUIRED, .key = s);
    pt_sleep(third, 4);
    pt_say(RELEASE, .key = s);
    pt_end_actor();
    pt_resume(root, PERF_ACTOR_TASK);
    pt_say(AWAIT, .key = third);
    end_loop();
    analyse();
    perf_analysis_info info;
    perf_analysis_info_get(analysis, &info);
    ck_assert_uint_eq(info.stuck, 0);
    ck_assert_double_eq_tol(unchanged() - cached("look"), 10 - HIT_MS, 1e-6);
    finish();
}
END_TEST

/* A place that is taken in the call and given back after it is really taken:
 * the call cannot be left out. */
START_TEST(test_a_call_that_keeps_a_place_is_made)
{
    begin_loop();
    uint64_t s = pt_resource(PERF_RESOURCE_SEMAPHORE, 1, "s");
    for (int i = 0; i < 2; i++) {
        open_call("look", 1);
        pt_say(ACQUIRE, .key = s);
        pt_say(ACQUIRED, .key = s);
        pt_sleep(root, 10);
        pt_close();
        pt_say(RELEASE, .key = s);
    }
    end_loop();
    analyse();
    ck_assert_double_eq_tol(cached("look"), 20, 1e-9);
    finish();
}
END_TEST

/* LangChain tells the end of a model's call in a task of its own. */
START_TEST(test_a_call_that_another_task_ends)
{
    begin_loop();
    for (int i = 0; i < 2; i++) {
        uint64_t span = perf_event_new_id(); /* never made current */
        pt_say(SPAN_BEGIN, .arg = pt_name(PERF_KIND_LLM, "look"), .key = span);
        pt_say(CALL, .key = span, .more = 1);
        pt_sleep(root, 10);
        uint64_t teller = pt_new_task();
        pt_suspend(teller);
        pt_resume(teller, PERF_ACTOR_TASK);
        pt_say(SPAN_END, .span = span, .key = span);
        pt_end_actor();
        pt_resume(root, PERF_ACTOR_TASK);
    }
    pt_sleep(root, 1);
    end_loop();
    analyse();
    perf_label l;
    label_of("look", &l);
    ck_assert_uint_eq(l.repeats, 1);
    ck_assert_double_eq_tol(unchanged(), 21, 1e-9);
    ck_assert_double_eq_tol(cached("look"), 11 + HIT_MS, 1e-9);
    finish();
}
END_TEST

/* Threads wait for the first one, too. */
START_TEST(test_a_call_in_two_threads)
{
    pt_main();
    uint64_t thread = perf_event_new_id();
    pt_say(SPAWN, .key = thread);
    open_call("look", 1);
    pt_say(SLEEP, .more = 10 * PT_MS);
    pt_idle(10);
    pt_say(SLEPT);
    pt_close();
    pt_say(WAIT_FOR, .key = thread);
    pt_say(WAIT, .arg = 1);
    pt_at(35);
    pt_say(WAITED);
    pt_say(END);
    pt_at(5);
    pt_say(THREAD, .key = thread, .arg = PERF_ACTOR_THREAD, .more = 1);
    open_call("look", 1);
    pt_say(SLEEP, .more = 30 * PT_MS);
    pt_idle(30);
    pt_say(SLEPT);
    pt_close();
    pt_say(END);
    analyse();
    perf_label l;
    label_of("look", &l);
    ck_assert_uint_eq(l.repeats, 1);
    ck_assert_double_eq_tol(cached("look"), 10, 0.1);
    finish();
}
END_TEST

/* ---- against a model ---- */

/* One after the other, of random lengths: what is left is the first good one of
 * each digest, and those that failed. */
START_TEST(test_against_a_naive_cache)
{
    uint64_t state = (uint64_t)_i * 2654435761u + 1;
    bool known[8] = {false};
    double left = 0;
    begin_loop();
    for (int i = 0; i < 200; i++) {
        state = state * UINT64_C(6364136223846793005) + 1;
        uint64_t digest = state >> 33 & 7;
        double ms = 1 + (double)(state >> 40 & 15);
        bool fails = (state >> 50 & 7) == 0;
        open_call("look", digest);
        pt_sleep(root, ms);
        pt_close_as(fails ? PERF_STATUS_ERROR : PERF_STATUS_OK);
        left += fails || !known[digest] ? ms : HIT_MS;
        known[digest] |= !fails;
    }
    end_loop();
    analyse();
    ck_assert_double_eq_tol(cached("look"), left, 1e-6);
    finish();
}
END_TEST

/* ---- nonsense ---- */

START_TEST(test_calls_that_make_no_sense)
{
    begin_loop();
    pt_say(CALL, .key = 0, .more = 1);
    pt_say(CALL, .key = 123456, .more = 1); /* no such span */
    uint64_t span = open_call("look", 1);
    pt_say(CALL, .key = span, .more = 2, .arg = UINT32_MAX); /* again */
    pt_sleep(root, 10);
    pt_close();
    open_call("look", 2); /* never ends */
    pt_sleep(root, 10);
    end_loop();
    analyse();
    perf_label l;
    label_of("look", &l);
    ck_assert_uint_eq(l.digested, 2);
    ck_assert_uint_eq(l.distinct, 1);
    ck_assert_uint_eq(l.repeats, 0);
    ck_assert_double_eq_tol(cached("look"), 20, 1e-9);
    finish();
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("profiler.repeats");
    tcase_add_test(tests, test_repeats_are_counted);
    tcase_add_test(tests, test_calls_without_a_digest_are_not_repeats);
    tcase_add_test(tests, test_equal_digests_under_two_names_are_two_calls);
    tcase_add_test(tests, test_repeats_in_turn_take_no_time);
    tcase_add_test(tests, test_no_repeats_no_gain);
    tcase_add_test(tests, test_failed_calls_are_made_as_they_were);
    tcase_add_test(tests, test_calls_at_the_same_time_wait_for_the_first);
    tcase_add_test(tests, test_the_longest_may_be_the_one_that_is_different);
    tcase_add_test(tests, test_who_calls_itself_computes);
    tcase_add_test(tests,
                   test_leaders_that_wait_for_their_waiters_are_given_up);
    tcase_add_test(tests, test_what_a_call_sets_going_goes_with_it);
    tcase_add_test(tests, test_what_a_call_means_for_others_still_happens);
    tcase_add_test(tests, test_a_call_that_keeps_a_place_is_made);
    tcase_add_test(tests, test_a_call_that_another_task_ends);
    tcase_add_test(tests, test_a_call_in_two_threads);
    tcase_add_loop_test(tests, test_against_a_naive_cache, 0, 20);
    tcase_add_test(tests, test_calls_that_make_no_sense);
    return pt_end();
}
