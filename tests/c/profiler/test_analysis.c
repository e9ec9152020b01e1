/* test_analysis.c - what slows a program and what a fix would bring, where one
 * can work it out; the same seed gives the same answer. */
#include "pt_profile.h"
#include "pt_scenes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static perf_reader *reader;
static perf_analysis *analysis;

static perf_analysis_info
analyse(void)
{
    perf_analysis_info info;
    analysis = pt_analyse(&reader);
    ck_assert_int_eq(perf_analysis_info_get(analysis, &info), PERF_OK);
    return info;
}

static void
finish(void)
{
    perf_analysis_destroy(analysis);
    perf_reader_close(reader);
}

static uint32_t
label_number(const char *name)
{
    perf_label l;
    for (uint32_t i = 0; !perf_analysis_label(analysis, i, &l); i++)
        if (l.kind == PERF_LABEL_SPAN &&
            !strcmp(perf_reader_name(reader, l.name, NULL), name))
            return i;
    ck_abort_msg("no label %s", name);
    return 0;
}

static uint64_t
replay(const perf_change *changes, size_t count)
{
    uint64_t ns = 0;
    ck_assert_int_eq(
        perf_analysis_replay_blocking(analysis, changes, count, 1, 0, &ns),
        PERF_OK);
    return ns;
}

/* What part of the time is saved by a change. */
static double
gain(perf_change_kind kind, uint32_t what, double factor)
{
    double before = (double)replay(NULL, 0);
    double after = (double)replay(&(perf_change){kind, what, factor}, 1);
    return (before - after) / before;
}

/* ---- programs whose times one can work out ---- */

START_TEST(test_a_chain)
{
    pt_scene_chain(10, 30, 10);
    perf_analysis_info info = analyse();
    ck_assert_uint_eq(info.wall_ns, 50 * PT_MS);
    ck_assert_uint_eq(info.replay_ns, 50 * PT_MS);
    ck_assert_uint_eq(info.stuck, 0);
    ck_assert_uint_eq(info.lottery, 0);
    ck_assert_uint_eq(info.spans, 3);
    ck_assert_uint_eq(info.threads, 1);
    ck_assert_uint_eq(info.labels, 2 + 3);
    ck_assert_uint_eq(info.resources, 0);
    ck_assert_uint_eq(info.lost, 0);
    ck_assert_uint_eq(info.startup_ns, 0);
    ck_assert_uint_eq(info.actors, 2 + 3); /* main, root, three timers */
    uint32_t b = label_number("B");
    ck_assert_double_eq_tol(gain(PERF_CHANGE_TIME, b, 0.5), 0.3, 1e-9);
    ck_assert_double_eq_tol(gain(PERF_CHANGE_TIME, b, 0), 0.6, 1e-9);
    ck_assert_double_eq_tol(gain(PERF_CHANGE_TIME, b, 2), -0.6, 1e-9);
    ck_assert_double_eq_tol(gain(PERF_CHANGE_TIME, b, 1), 0, 1e-9);
    perf_change both[] = {{PERF_CHANGE_TIME, b, 0.5},
                          {PERF_CHANGE_TIME, label_number("C"), 0.5},
                          {PERF_CHANGE_TIME, b, 0.5}}; /* once more: times */
    ck_assert_uint_eq(replay(both, 3), (10 + 7.5 + 5) * PT_MS);
    finish();
}
END_TEST

START_TEST(test_what_runs_beside_something_longer_gains_nothing)
{
    double a = _i ? 20 : 30, b = _i ? 30 : 20;
    pt_scene_both(a, b);
    perf_analysis_info info = analyse();
    ck_assert_uint_eq(info.wall_ns, 30 * PT_MS);
    ck_assert_uint_eq(info.replay_ns, 30 * PT_MS);
    double first = gain(PERF_CHANGE_TIME, label_number("A"), 0.5);
    double second = gain(PERF_CHANGE_TIME, label_number("B"), 0.5);
    /* the longer one: until the other is the longer one */
    ck_assert_double_eq_tol(_i ? second : first, 10.0 / 30, 1e-9);
    ck_assert_double_eq_tol(_i ? first : second, 0, 1e-9);
    finish();
}
END_TEST

START_TEST(test_a_semaphore_of_one)
{
    pt_scene_turns(10, 10);
    perf_analysis_info info = analyse();
    ck_assert_uint_eq(info.wall_ns, 100 * PT_MS);
    ck_assert_uint_eq(info.replay_ns, 100 * PT_MS);
    ck_assert_uint_eq(info.resources, 1);
    perf_resource_use use;
    ck_assert_int_eq(perf_analysis_resource(analysis, 0, &use), PERF_OK);
    ck_assert_uint_eq(use.kind, PERF_RESOURCE_SEMAPHORE);
    ck_assert_uint_eq(use.capacity, 1);
    ck_assert_str_eq(perf_reader_name(reader, use.name, NULL), "s");
    ck_assert_uint_eq(use.where, UINT32_MAX);
    ck_assert_uint_eq(use.uses, 10);
    ck_assert_uint_eq(use.held_ns, 100 * PT_MS);
    ck_assert_uint_eq(use.waited_ns, 450 * PT_MS);
    ck_assert_uint_eq(use.contended, 10);
    ck_assert_double_eq_tol(gain(PERF_CHANGE_CAPACITY, 0, 2), 0.5, 1e-9);
    ck_assert_double_eq_tol(gain(PERF_CHANGE_CAPACITY, 0, 10), 0.9, 1e-9);
    ck_assert_double_eq_tol(gain(PERF_CHANGE_CAPACITY, 0, 1), 0, 1e-9);
    ck_assert_double_eq_tol(gain(PERF_CHANGE_TIME, label_number("A"), 0.5), 0.5,
                            1e-9);
    finish();
}
END_TEST

/* A replay without any place never ends: the time is when it got stuck. */
START_TEST(test_a_change_that_stops_everything)
{
    pt_scene_turns(3, 10);
    analyse();
    perf_change none = {PERF_CHANGE_CAPACITY, 0, 0};
    ck_assert_uint_eq(replay(&none, 1), 0);
    ck_assert_uint_eq(replay(NULL, 0), 30 * PT_MS);
    finish();
}
END_TEST

START_TEST(test_a_label_says_where_its_time_went)
{
    pt_scene_everything();
    analyse();
    perf_label l;
    ck_assert_int_eq(perf_analysis_label(analysis, label_number("item"), &l),
                     PERF_OK);
    ck_assert_uint_eq(l.calls, 6);
    ck_assert_uint_eq(l.cpu_ns, 6 * PT_MS);
    ck_assert_uint_eq(l.loop_ns, 6 * PT_MS);
    ck_assert_uint_eq(l.span_ns, 6 * PT_MS);
    ck_assert_uint_eq(l.block_ns + l.delay_ns + l.gap_ns + l.retried, 0);
    perf_analysis_label(analysis, label_number("call"), &l);
    ck_assert_uint_eq(l.retried, 2);
    ck_assert_uint_eq(l.cpu_ns, 5 * PT_MS); /* with two pauses */
    perf_analysis_label(analysis, label_number("limited"), &l);
    ck_assert_uint_eq(l.delay_ns, 14 * PT_MS);
    perf_resource_use use;
    ck_assert_int_eq(perf_analysis_resource(analysis, 0, &use), PERF_OK);
    ck_assert_uint_eq(use.kind, PERF_RESOURCE_QUEUE);
    ck_assert_str_eq(perf_reader_name(reader, use.where, NULL), "a.py:7");
    ck_assert_int_eq(perf_analysis_resource(analysis, 1, &use), PERF_OK);
    ck_assert_uint_eq(use.sleeps, 1);
    ck_assert_int_eq(perf_analysis_resource(analysis, 3, &use), PERF_OK);
    ck_assert_uint_eq(use.kind, PERF_RESOURCE_EXECUTOR);
    ck_assert_uint_eq(use.uses, 2);
    ck_assert_uint_eq(use.held_ns, 24 * PT_MS);
    finish();
}
END_TEST

START_TEST(test_a_deadlock_is_said)
{
    pt_main();
    uint64_t task = pt_new_task();
    pt_say(HOST, .key = task, .more = PT_LOOP);
    pt_resume(task, PERF_ACTOR_TASK);
    pt_work(4);
    pt_suspend(task); /* for itself */
    perf_analysis_info info = analyse();
    ck_assert_uint_eq(info.stuck, 1);
    ck_assert_uint_eq(info.replay_ns, 4 * PT_MS);
    finish();
}
END_TEST

/* ---- bootstrap ---- */

static uint64_t
resampled(uint64_t seed)
{
    uint64_t ns;
    ck_assert_int_eq(
        perf_analysis_replay_blocking(analysis, NULL, 0, 0, seed, &ns),
        PERF_OK);
    return ns;
}

/* One after the other, 1 to 20 ms. */
static void
scene_of_lengths(void)
{
    pt_main();
    uint64_t task = pt_new_task();
    pt_say(HOST, .key = task, .more = PT_LOOP);
    pt_resume(task, PERF_ACTOR_TASK);
    for (int ms = 11; ms <= 30; ms++) {
        pt_open("A");
        pt_sleep(task, ms);
        pt_close();
    }
    pt_end_actor();
    pt_say(HOSTED);
}

START_TEST(test_the_same_sample_gives_the_same_time)
{
    scene_of_lengths();
    analyse();
    double sum = 0;
    bool differs = false;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        uint64_t ns = resampled(seed);
        ck_assert_uint_eq(resampled(seed), ns);
        ck_assert_uint_ge(ns, 20 * 11 * PT_MS);
        ck_assert_uint_le(ns, 20 * 30 * PT_MS);
        differs |= ns != resampled(1);
        sum += (double)ns / (double)PT_MS;
    }
    ck_assert(differs);
    /* as recorded in the mean: 410 ms; one sample has a deviation of 26 ms */
    ck_assert_double_eq_tol(sum / 200, 410, 4 * 26 / sqrt(200));
    ck_assert_uint_eq(replay(NULL, 0), 410 * PT_MS); /* and as it was */
    finish();
}
END_TEST

START_TEST(test_a_sample_of_equal_durations_changes_nothing)
{
    pt_scene_turns(10, 10);
    analyse();
    ck_assert_uint_eq(resampled(77), 100 * PT_MS);
    finish();
}
END_TEST

/* ---- bad arguments ---- */

START_TEST(test_bad_arguments_are_refused)
{
    pt_scene_turns(2, 10);
    perf_analysis_info info = analyse();
    perf_label l;
    perf_resource_use use;
    perf_analysis *other;
    uint64_t ns;
    ck_assert_int_eq(perf_analysis_create_blocking(NULL, 0, NULL, &other),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_analysis_create_blocking(reader, 0, NULL, NULL),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_analysis_info_get(NULL, &info), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_analysis_info_get(analysis, NULL), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_analysis_label(NULL, 0, &l), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_analysis_label(analysis, 0, NULL), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_analysis_label(analysis, info.labels, &l),
                     PERF_ERR_NOT_FOUND);
    ck_assert_int_eq(perf_analysis_resource(NULL, 0, &use), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_analysis_resource(analysis, 0, NULL),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_analysis_resource(analysis, info.resources, &use),
                     PERF_ERR_NOT_FOUND);
    ck_assert_int_eq(perf_analysis_replay_blocking(NULL, NULL, 0, 0, 0, &ns),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(
        perf_analysis_replay_blocking(analysis, NULL, 1, 0, 0, &ns),
        PERF_ERR_INVALID);
    ck_assert_int_eq(
        perf_analysis_replay_blocking(analysis, NULL, 0, 0, 0, NULL),
        PERF_ERR_INVALID);
    perf_analysis_destroy(NULL);
    finish();
}
END_TEST

START_TEST(test_calls_side_by_side_take_as_long_as_the_longest)
{
    scene_of_lengths();
    analyse();
    perf_label l;
    uint32_t label = label_number("A");
    perf_analysis_label(analysis, label, &l);
    ck_assert_uint_eq(l.siblings, 19);
    perf_change both[] = {{PERF_CHANGE_SIDE_BY_SIDE, label, 1},
                          {PERF_CHANGE_TIME, label, 0.5}};
    ck_assert_uint_eq(replay(both, 1), 30 * PT_MS);
    ck_assert_uint_eq(replay(both, 2), 15 * PT_MS);
    ck_assert_uint_eq(replay(NULL, 0), 410 * PT_MS);
    finish();
}
END_TEST

START_TEST(test_bad_changes_are_refused)
{
    static const struct {
        perf_change change;
        perf_err err;
    } cases[] = {
        {{PERF_CHANGE_TIME, 0, -0.1}, PERF_ERR_RANGE},
        {{PERF_CHANGE_TIME, 0, 1000.1}, PERF_ERR_RANGE},
        {{PERF_CHANGE_TIME, 0, (double)NAN}, PERF_ERR_RANGE},
        {{PERF_CHANGE_TIME, 0, (double)INFINITY}, PERF_ERR_RANGE},
        {{0, 0, 1}, PERF_ERR_INVALID},
        {{PERF_CHANGE_BATCH_EACH + 1, 0, 1}, PERF_ERR_INVALID},
        {{PERF_CHANGE_BATCH, 0, 0.9}, PERF_ERR_RANGE},
        {{PERF_CHANGE_BATCH, 3, 1}, PERF_ERR_NOT_FOUND},
        {{PERF_CHANGE_BATCH_EACH, 3, 1}, PERF_ERR_NOT_FOUND},
        {{PERF_CHANGE_CACHE, 3, 1}, PERF_ERR_NOT_FOUND},
        {{PERF_CHANGE_SIDE_BY_SIDE, 3, 1}, PERF_ERR_NOT_FOUND},
        {{UINT32_MAX, UINT32_MAX, 1}, PERF_ERR_INVALID},
        {{PERF_CHANGE_TIME, 3, 1}, PERF_ERR_NOT_FOUND},
        {{PERF_CHANGE_TIME, UINT32_MAX, 1}, PERF_ERR_NOT_FOUND},
        {{PERF_CHANGE_CAPACITY, 1, 1}, PERF_ERR_NOT_FOUND},
        {{PERF_CHANGE_CAPACITY, UINT32_MAX, 1}, PERF_ERR_NOT_FOUND},
        {{PERF_CHANGE_GAP, 2, 1}, PERF_ERR_NOT_FOUND}, /* it has no limiter */
        {{PERF_CHANGE_GAP, UINT32_MAX, 1}, PERF_ERR_NOT_FOUND},
    };
    pt_scene_turns(2, 10);
    analyse();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t ns = 5;
        perf_change changes[] = {{PERF_CHANGE_TIME, 2, 0.5}, cases[i].change};
        ck_assert_int_eq(
            perf_analysis_replay_blocking(analysis, changes, 2, 0, 0, &ns),
            cases[i].err);
        ck_assert_uint_eq(ns, 5);
    }
    ck_assert_uint_eq(replay(NULL, 0), 20 * PT_MS); /* nothing is left of it */
    finish();
}
END_TEST

START_TEST(test_changes_beyond_all_measure)
{
    enum { N = 200 };
    perf_change changes[N + 1];
    pt_scene_everything();
    perf_analysis_info info = analyse();
    for (uint32_t kind = PERF_CHANGE_TIME; kind <= PERF_CHANGE_CAPACITY;
         kind++) {
        uint32_t n = kind == PERF_CHANGE_TIME ? info.labels : info.resources;
        for (uint32_t what = 0; what < n; what++) {
            for (int i = 0; i < N; i++) /* infinitely much */
                changes[i] = (perf_change){kind, what, 1000};
            changes[N] = (perf_change){kind, what, 0}; /* of nothing */
            replay(changes, N);
            replay(changes, N + 1);
        }
    }
    ck_assert_uint_eq(replay(NULL, 0), info.replay_ns);
    finish();
}
END_TEST

START_TEST(test_no_events_are_not_found)
{
    perf_analysis *none = (void *)&none;
    perf_span_end(
        perf_span_begin(pt_name(PERF_KIND_SPAN, "a"), (perf_span){0}));
    reader = pt_self();
    ck_assert_int_eq(perf_analysis_create_blocking(reader, 0, NULL, &none),
                     PERF_ERR_NOT_FOUND);
    ck_assert_ptr_null(none);
    perf_reader_close(reader);
}
END_TEST

START_TEST(test_a_session_is_analysed_alone)
{
    pt_session(5);
    pt_scene_chain(10, 30, 10);
    pt_session(6);
    pt_scene_turns(3, 10);
    perf_events_set_time(0, 0);
    static const uint64_t walls[] = {50, 30};
    for (uint64_t i = 0; i < 2; i++) {
        perf_analysis_info info;
        reader = pt_self();
        ck_assert_int_eq(
            perf_analysis_create_blocking(reader, 5 + i, NULL, &analysis),
            PERF_OK);
        perf_analysis_info_get(analysis, &info);
        ck_assert_uint_eq(info.wall_ns, walls[i] * PT_MS);
        ck_assert_uint_eq(info.replay_ns, walls[i] * PT_MS);
        finish();
    }
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("profiler.analysis");
    tcase_add_test(tests, test_a_chain);
    tcase_add_loop_test(
        tests, test_what_runs_beside_something_longer_gains_nothing, 0, 2);
    tcase_add_test(tests, test_a_semaphore_of_one);
    tcase_add_test(tests, test_a_change_that_stops_everything);
    tcase_add_test(tests, test_a_label_says_where_its_time_went);
    tcase_add_test(tests, test_a_deadlock_is_said);
    tcase_add_test(tests, test_the_same_sample_gives_the_same_time);
    tcase_add_test(tests, test_a_sample_of_equal_durations_changes_nothing);
    tcase_add_test(tests, test_bad_arguments_are_refused);
    tcase_add_test(tests, test_calls_side_by_side_take_as_long_as_the_longest);
    tcase_add_test(tests, test_bad_changes_are_refused);
    tcase_add_test(tests, test_changes_beyond_all_measure);
    tcase_add_test(tests, test_no_events_are_not_found);
    tcase_add_test(tests, test_a_session_is_analysed_alone);
    return pt_end();
}
