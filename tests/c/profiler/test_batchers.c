/* test_batchers.c - batchers with more places, where one can work out what that
 * brings; and recordings of which too little is known. */
#include "pt_profile.h"

enum { ITEMS = 4 };

static perf_reader *reader;
static perf_analysis *analysis;
static uint64_t root, batcher, task[ITEMS], item[ITEMS], processor[2];

/* ---- a program ---- */

static void
begin(void)
{
    pt_main();
    root = pt_new_task();
    batcher = pt_resource(PERF_RESOURCE_BATCHER, 1, "embed");
    pt_say(HOST, .key = root, .more = PT_LOOP);
    pt_resume(root, PERF_ACTOR_TASK);
    for (int i = 0; i < ITEMS; i++) {
        task[i] = pt_new_task();
        item[i] = perf_event_new_id();
    }
    processor[0] = pt_new_task();
}

static void
end(void)
{
    pt_end_actor();
    pt_say(HOSTED);
}

/* All submit at once. */
static void
submit(bool say)
{
    pt_say(AWAIT, .key = task[ITEMS - 1]);
    pt_suspend(task[ITEMS - 1]);
    for (int i = 0; i < ITEMS; i++) {
        pt_resume(task[i], PERF_ACTOR_TASK);
        if (say)
            pt_say(BATCH_ITEM, .key = item[i], .more = batcher);
        pt_suspend(item[i]);
    }
}

/* A batch of items, in a task of its own, takes so long. */
static void
process(int from, int n, double ms, bool say_end)
{
    uint64_t by = processor[from / 2];
    pt_resume(by, PERF_ACTOR_TASK);
    pt_say(BATCH_BEGIN, .key = batcher, .arg = (uint32_t)n, .more = 2);
    pt_sleep(by, ms);
    for (int i = from; i < from + n; i++)
        pt_say(RESOLVE, .key = item[i]);
    if (say_end)
        pt_say(BATCH_END, .key = batcher);
    if (!from) /* there is a place for the next one */
        processor[1] = pt_new_task();
    pt_end_actor();
}

static void
answer(void)
{
    for (int i = 0; i < ITEMS; i++) {
        pt_resume(task[i], PERF_ACTOR_TASK);
        pt_end_actor();
    }
    pt_resume(root, PERF_ACTOR_TASK);
    for (int i = 0; i + 1 < ITEMS; i++)
        pt_say(AWAIT, .key = task[i]);
}

/* Four items in two batches of two, 20 ms each. */
static void
two_batches(bool say_items, bool say_end)
{
    begin();
    submit(say_items);
    process(0, 2, 20, say_end);
    process(2, 2, 20, say_end);
    answer();
    end();
    analysis = pt_analyse(&reader);
}

static void
finish(void)
{
    perf_analysis_destroy(analysis);
    perf_reader_close(reader);
}

static double
with_places(double factor)
{
    uint64_t ns = 0;
    perf_change change = {PERF_CHANGE_CAPACITY, 0, factor};
    ck_assert_int_eq(
        perf_analysis_replay_blocking(analysis, &change, 1, 1, 0, &ns),
        PERF_OK);
    return (double)ns / (double)PT_MS;
}

/* ---- tests ---- */

START_TEST(test_a_batcher_is_a_resource)
{
    two_batches(true, true);
    perf_resource_use use;
    ck_assert_int_eq(perf_analysis_resource(analysis, 0, &use), PERF_OK);
    ck_assert_uint_eq(use.kind, PERF_RESOURCE_BATCHER);
    ck_assert_uint_eq(use.uses, 2);
    ck_assert_uint_eq(use.held_ns, 40 * PT_MS);
    ck_assert_uint_eq(use.active_ns, 40 * PT_MS);
    ck_assert_uint_eq(use.waited_ns, 2 * 20 * PT_MS); /* the second batch's */
    finish();
}
END_TEST

START_TEST(test_two_places_make_two_batches_at_a_time)
{
    two_batches(true, true);
    ck_assert_double_eq_tol(with_places(1), 40, 1e-6);
    ck_assert_double_eq_tol(with_places(2), 20, 1e-6);
    ck_assert_double_eq_tol(with_places(1), 40, 1e-6);
    finish();
}
END_TEST

START_TEST(test_without_a_place_it_is_as_it_was)
{
    two_batches(true, true);
    ck_assert_double_eq_tol(with_places(0), 40, 1e-6);
    finish();
}
END_TEST

START_TEST(test_of_whom_nothing_was_said_nothing_changes)
{
    two_batches(false, true);
    ck_assert_double_eq_tol(with_places(2), 40, 1e-6);
    finish();
}
END_TEST

START_TEST(test_batches_that_never_end_are_not_replayed)
{
    two_batches(true, false);
    ck_assert_double_eq_tol(with_places(2), 40, 1e-6);
    finish();
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("profiler.batchers");
    tcase_add_test(tests, test_a_batcher_is_a_resource);
    tcase_add_test(tests, test_two_places_make_two_batches_at_a_time);
    tcase_add_test(tests, test_without_a_place_it_is_as_it_was);
    tcase_add_test(tests, test_of_whom_nothing_was_said_nothing_changes);
    tcase_add_test(tests, test_batches_that_never_end_are_not_replayed);
    return pt_end();
}
