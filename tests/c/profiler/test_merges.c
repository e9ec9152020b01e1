/* test_merges.c - calls of several actors that could be made together: how many
 * there are, and what a batch would bring, where one can work it out. */
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

/* One task after the other asks, and computes so long on the loop: nobody can
 * be served at the same time. */
static void
computes(const double *ms, size_t n)
{
    uint64_t task[CALLS];
    begin_loop();
    for (size_t i = 0; i < n; i++)
        task[i] = pt_new_task();
    pt_say(AWAIT, .key = task[n - 1]);
    pt_suspend(task[n - 1]);
    for (size_t i = 0; i < n; i++) {
        pt_resume(task[i], PERF_ACTOR_TASK);
        pt_open("embed");
        pt_work(ms[i]);
        pt_close();
        pt_end_actor();
    }
    pt_resume(root, PERF_ACTOR_TASK);
    for (size_t i = 0; i + 1 < n; i++)
        pt_say(AWAIT, .key = task[i]);
    end_loop();
}

/* Tasks whose calls wait for the world, all at once, `ms` each. */
static void
waits(const double *ms, size_t n)
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
        pt_open("embed");
        nap[i] = pt_doze(ms[i]);
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

/* One task, one call after the other. */
static void
in_turn(size_t n)
{
    begin_loop();
    for (size_t i = 0; i < n; i++) {
        pt_open("embed");
        pt_sleep(root, 10);
        pt_close();
    }
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

static perf_label
label_of(const char *name, uint32_t *number)
{
    perf_label l;
    for (*number = 0; !perf_analysis_label(analysis, *number, &l); ++*number)
        if (l.kind == PERF_LABEL_SPAN &&
            !strcmp(perf_reader_name(reader, l.name, NULL), name))
            return l;
    ck_abort_msg("no label %s", name);
    return l;
}

static uint32_t
mergeable(void)
{
    uint32_t number;
    return label_of("embed", &number).mergeable;
}

/* Milliseconds that the program takes when at most so many are made together,
 * and each more takes a share of its own time. */
static double
merged(double most, double each)
{
    uint32_t label;
    uint64_t ns = 0;
    label_of("embed", &label);
    perf_change changes[] = {{PERF_CHANGE_BATCH, label, most},
                             {PERF_CHANGE_BATCH_EACH, label, each}};
    ck_assert_int_eq(
        perf_analysis_replay_blocking(analysis, changes, 2, 1, 0, &ns),
        PERF_OK);
    return (double)ns / (double)PT_MS;
}

/* ---- counting ---- */

START_TEST(test_calls_of_several_actors_at_one_time_are_counted)
{
    waits((double[]){10, 20, 30}, 3);
    analyse();
    ck_assert_uint_eq(mergeable(), 3);
    finish();
}
END_TEST

START_TEST(test_calls_that_follow_each_other_closely_are_counted)
{
    computes((double[]){10, 10, 10}, 3);
    analyse();
    ck_assert_uint_eq(mergeable(), 3);
    finish();
}
END_TEST

START_TEST(test_calls_of_one_actor_are_not_counted)
{
    in_turn(4);
    analyse();
    ck_assert_uint_eq(mergeable(), 0);
    finish();
}
END_TEST

/* ---- batches ---- */

START_TEST(test_a_batch_takes_as_long_as_its_longest_call)
{
    computes((double[]){10, 30, 20}, 3);
    analyse();
    ck_assert_double_eq_tol(merged(32, 0), 30, 1e-6);
    finish();
}
END_TEST

START_TEST(test_each_more_takes_its_share)
{
    computes((double[]){10, 10, 10, 10, 10}, 5);
    analyse();
    ck_assert_double_eq_tol(merged(32, 0.1), 14, 1e-6);
    ck_assert_double_eq_tol(merged(32, 1), 50, 1e-6);
    finish();
}
END_TEST

START_TEST(test_a_batch_has_its_bound)
{
    computes((double[]){10, 10, 10, 10, 10}, 5);
    analyse();
    ck_assert_double_eq_tol(merged(2, 0), 30, 1e-6);
    ck_assert_double_eq_tol(merged(1, 0), 50, 1e-6);
    finish();
}
END_TEST

START_TEST(test_who_was_served_at_once_waits_for_the_longest)
{
    waits((double[]){10, 20, 30}, 3);
    analyse();
    ck_assert_double_eq_tol(merged(32, 0), 30, 1e-6);
    ck_assert_double_eq_tol(merged(32, 0.5), 45, 1e-6);
    ck_assert_double_eq_tol(merged(1, 0), 60, 1e-6);
    finish();
}
END_TEST

START_TEST(test_one_actor_makes_batches_of_one)
{
    in_turn(4);
    analyse();
    ck_assert_double_eq_tol(merged(32, 0.5), 40, 1e-6);
    finish();
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("profiler.merges");
    tcase_add_test(tests, test_calls_of_several_actors_at_one_time_are_counted);
    tcase_add_test(tests,
                   test_calls_that_follow_each_other_closely_are_counted);
    tcase_add_test(tests, test_calls_of_one_actor_are_not_counted);
    tcase_add_test(tests, test_a_batch_takes_as_long_as_its_longest_call);
    tcase_add_test(tests, test_each_more_takes_its_share);
    tcase_add_test(tests, test_a_batch_has_its_bound);
    tcase_add_test(tests, test_who_was_served_at_once_waits_for_the_longest);
    tcase_add_test(tests, test_one_actor_makes_batches_of_one);
    return pt_end();
}
