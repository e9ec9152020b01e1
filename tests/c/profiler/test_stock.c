/* test_stock.c - semaphores, locks, queues and executors in a replay: first
 * come, first served, and nobody in between. */
#include "pt_program.h"

static pt_profile p;
static uint32_t program, what; /* the main actor; the resource */

enum { MS = 1000000, A = 2, TASKS = 10 };

static void
begin(perf_resource kind, uint32_t capacity)
{
    pt_make(&p, 1);
    program = pt_make_actor(&p, PERF_ACTOR_MAIN);
    what = pt_make_resource(&p, kind, capacity);
}

/* A task that sleeps before it asks, and while it holds. */
static uint32_t
holder(uint64_t before_ms, uint64_t held_ms)
{
    uint32_t task = pt_make_actor(&p, PERF_ACTOR_TASK);
    pt_do(&p, task, pt_op(DELAY, .ns = before_ms * MS),
          pt_op(ACQUIRE, .what = what),
          pt_op(DELAY, .ns = held_ms * MS, .label = A),
          pt_op(RELEASE, .what = what), pt_op(NONE));
    return task;
}

/* When an actor ended: the main actor hosts it alone. */
static double
until(const uint32_t *tasks, size_t n, uint32_t last)
{
    perfi_op ops[64];
    for (size_t i = 0; i < n; i++)
        ops[i] = (perfi_op)pt_op(SPAWN, .what = tasks[i]);
    ops[n] = (perfi_op)pt_op(HOST, .what = pt_thing(&p, last));
    pt_make_program(&p, program, ops, n + 1);
    return pt_replay_ms(&p, NULL);
}

/* ---- semaphores ---- */

START_TEST(test_ten_tasks_take_turns)
{
    static const struct {
        uint32_t capacity;
        double factor, ms, waited;
    } cases[] = {
        {1, 1, 100, 450}, {1, 2, 50, 200}, {1, 100, 10, 0},  {2, 1, 50, 200},
        {3, 1, 40, 120},  {10, 1, 10, 0},  {1, 1e30, 10, 0},
    };
    uint32_t tasks[TASKS];
    double capacity[] = {cases[_i].factor};
    begin(PERF_RESOURCE_SEMAPHORE, cases[_i].capacity);
    for (int i = 0; i < TASKS; i++)
        tasks[i] = holder(0, 10);
    pt_do_host(&p, program, tasks, TASKS);
    perfi_conditions how = {.capacity = capacity};
    ck_assert_double_eq(pt_replay_ms(&p, &how), cases[_i].ms);
    ck_assert_double_eq((double)perfi_replay_waited(p.replay, what) / MS,
                        cases[_i].waited);
    ck_assert_uint_eq(perfi_replay_waited(p.replay, 1), 0); /* no such one */
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_who_came_first_is_served_first)
{
    /* when each of these ends that ask at 0, 1, 2, 3 ms */
    static const double ends[] = {5, 12, 13, 24};
    begin(PERF_RESOURCE_SEMAPHORE, 1);
    uint32_t tasks[] = {holder(0, 5), holder(1, 7), holder(2, 1),
                        holder(3, 11)};
    ck_assert_double_eq(until(tasks, 4, tasks[_i]), ends[_i]);
    pt_profile_free(&p);
}
END_TEST

/* The place goes to who waits, not to who comes at that moment. */
START_TEST(test_nobody_comes_in_between)
{
    begin(PERF_RESOURCE_LOCK, 1);
    uint32_t again = pt_make_actor(&p, PERF_ACTOR_TASK);
    pt_do(&p, again, pt_op(ACQUIRE, .what = what), pt_op(DELAY, .ns = 5 * MS),
          pt_op(RELEASE, .what = what), pt_op(ACQUIRE, .what = what),
          pt_op(DELAY, .ns = 5 * MS), pt_op(RELEASE, .what = what));
    uint32_t other = holder(1, 7);
    uint32_t tasks[] = {again, other};
    ck_assert_double_eq(until(tasks, 2, other), 12);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_a_semaphore_of_none_is_a_signal)
{
    begin(PERF_RESOURCE_SEMAPHORE, 0);
    uint32_t waiter = holder(0, 1), other = pt_make_actor(&p, PERF_ACTOR_TASK);
    pt_do(&p, other, pt_op(DELAY, .ns = 20 * MS), pt_op(RELEASE, .what = what));
    uint32_t tasks[] = {waiter, other};
    ck_assert_double_eq(until(tasks, 2, waiter), 21);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_others_may_release_what_one_took)
{
    begin(PERF_RESOURCE_SEMAPHORE, 1);
    uint32_t taker = pt_make_actor(&p, PERF_ACTOR_TASK);
    uint32_t giver = pt_make_actor(&p, PERF_ACTOR_TASK);
    pt_do(&p, taker, pt_op(ACQUIRE, .what = what), pt_op(SPAWN, .what = giver),
          pt_op(ACQUIRE, .what = what));
    pt_do(&p, giver, pt_op(DELAY, .ns = 9 * MS), pt_op(RELEASE, .what = what));
    ck_assert_double_eq(until(&taker, 1, taker), 9);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_who_was_cancelled_is_passed_over)
{
    begin(PERF_RESOURCE_LOCK, 1);
    uint32_t first = holder(0, 10), gone = holder(1, 100), last = holder(2, 3);
    uint32_t by = pt_make_actor(&p, PERF_ACTOR_TASK);
    pt_do(&p, by, pt_op(DELAY, .ns = 5 * MS),
          pt_op(CANCEL, .what = gone,
                .more = p.model.programs[gone].ops.end)); /* its NONE */
    uint32_t tasks[] = {first, gone, last, by};
    ck_assert_double_eq(until(tasks, 4, last), 13);
    pt_profile_free(&p);
}
END_TEST

/* ---- contention ---- */

START_TEST(test_contended_is_what_somebody_waited_through_or_for)
{
    /* at 0..10 alone, at 20..30 the next one comes and waits */
    begin(PERF_RESOURCE_LOCK, 1);
    uint32_t tasks[] = {holder(0, 10), holder(20, 10), holder(25, 10),
                        holder(50, 10)};
    pt_do_host(&p, program, tasks, 4);
    ck_assert_double_eq(pt_replay_ms(&p, NULL), 60);
    const bool *contended = perfi_replay_contended(p.replay);
    ck_assert(!contended[0]);
    ck_assert(contended[1]); /* through it */
    ck_assert(contended[2]); /* handed over: for it */
    ck_assert(!contended[3]);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_contended_places_of_a_semaphore)
{
    begin(PERF_RESOURCE_SEMAPHORE, 3);
    uint32_t tasks[] = {holder(0, 50), holder(1, 50), holder(2, 5),
                        holder(10, 50), holder(11, 5)};
    pt_do_host(&p, program, tasks, 5);
    pt_replay_ms(&p, NULL);
    static const bool expected[] = {true, true, false, true, true};
    for (int i = 0; i < 5; i++)
        ck_assert(perfi_replay_contended(p.replay)[i] == expected[i]);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_a_lock_that_is_held_half_as_long)
{
    static const bool all[] = {true, true, true}, none[3];
    begin(PERF_RESOURCE_LOCK, 1);
    uint32_t tasks[] = {holder(0, 10), holder(0, 10), holder(0, 10)};
    pt_do_host(&p, program, tasks, 3);
    perfi_conditions how = {.shorter_holds = what + 1, .contended = all};
    ck_assert_double_eq(pt_replay_ms(&p, &how), 15);
    how.contended = none; /* nobody waited: nothing is gained */
    ck_assert_double_eq(pt_replay_ms(&p, &how), 30);
    how.contended = all;
    how.shorter_holds = what + 2; /* another one */
    ck_assert_double_eq(pt_replay_ms(&p, &how), 30);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_only_what_is_done_while_holding_gets_shorter)
{
    static const bool all[] = {true};
    begin(PERF_RESOURCE_LOCK, 1);
    uint32_t task = pt_make_actor(&p, PERF_ACTOR_TASK);
    pt_do(&p, task, pt_op(RUN, .ns = 4 * MS), pt_op(ACQUIRE, .what = what),
          pt_op(RUN, .ns = 10 * MS), pt_op(RELEASE, .what = what),
          pt_op(RELEASE, .what = what), /* once more than it took */
          pt_op(RUN, .ns = 6 * MS));
    pt_do_host(&p, program, &task, 1);
    perfi_conditions how = {.shorter_holds = what + 1, .contended = all};
    ck_assert_double_eq(pt_replay_ms(&p, &how), 15);
    pt_profile_free(&p);
}
END_TEST

/* ---- queues ---- */

START_TEST(test_a_bounded_queue_stops_its_producer)
{
    begin(PERF_RESOURCE_QUEUE, 2);
    uint32_t producer = pt_make_actor(&p, PERF_ACTOR_TASK);
    uint32_t consumer = pt_make_actor(&p, PERF_ACTOR_TASK);
    pt_do(&p, producer, pt_op(PUT, .what = what), pt_op(PUT, .what = what),
          pt_op(PUT, .what = what), pt_op(PUT, .what = what));
    pt_do(&p, consumer, pt_op(DELAY, .ns = 10 * MS), pt_op(GET, .what = what),
          pt_op(DELAY, .ns = 10 * MS), pt_op(GET, .what = what));
    uint32_t tasks[] = {producer, consumer};
    ck_assert_double_eq(until(tasks, 2, producer), 20);
    ck_assert_uint_eq(perfi_replay_waited(p.replay, what), 20 * MS);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_a_get_waits_for_an_item)
{
    begin(PERF_RESOURCE_QUEUE, 0);
    uint32_t tasks[3];
    for (int i = 0; i < 2; i++) {
        tasks[i] = pt_make_actor(&p, PERF_ACTOR_TASK);
        pt_do(&p, tasks[i], pt_op(GET, .what = what), pt_op(DELAY, .ns = MS));
    }
    tasks[2] = pt_make_actor(&p, PERF_ACTOR_TASK);
    pt_do(&p, tasks[2], pt_op(DELAY, .ns = 5 * MS), pt_op(PUT, .what = what),
          pt_op(DELAY, .ns = 5 * MS), pt_op(PUT, .what = what));
    /* the first one that waits gets the first one */
    ck_assert_double_eq(until(tasks, 3, tasks[_i]), _i ? 11 : 6);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_join_waits_until_all_is_done)
{
    begin(PERF_RESOURCE_QUEUE, 0);
    uint32_t waiter = pt_make_actor(&p, PERF_ACTOR_TASK);
    uint32_t worker = pt_make_actor(&p, PERF_ACTOR_TASK);
    pt_do(&p, waiter, pt_op(JOIN, .what = what), /* nothing yet */
          pt_op(PUT, .what = what), pt_op(PUT, .what = what),
          pt_op(JOIN, .what = what));
    pt_do(&p, worker, pt_op(GET, .what = what), pt_op(GET, .what = what),
          pt_op(DELAY, .ns = 4 * MS), pt_op(TASK_DONE, .what = what),
          pt_op(DELAY, .ns = 4 * MS), pt_op(TASK_DONE, .what = what),
          pt_op(TASK_DONE, .what = what)); /* once more than there were */
    uint32_t tasks[] = {waiter, worker};
    ck_assert_double_eq(until(tasks, 2, waiter), 8);
    pt_profile_free(&p);
}
END_TEST

/* ---- executors ---- */

static uint32_t
submit_all(uint32_t *work, uint32_t n)
{
    uint32_t task = pt_make_actor(&p, PERF_ACTOR_TASK);
    perfi_op ops[TASKS + 1];
    for (uint32_t i = 0; i < n; i++) {
        work[i] = pt_make_actor(&p, PERF_ACTOR_WORK);
        p.line.actors.item[work[i]].executor = what + 1;
        pt_do(&p, work[i], pt_op(BLOCK, .ns = 10 * MS));
        ops[i] = (perfi_op)pt_op(SUBMIT, .what = work[i], .more = what);
    }
    ops[n] = (perfi_op)pt_op(WAIT_EXECUTOR, .what = what);
    pt_make_program(&p, task, ops, n + 1);
    return task;
}

START_TEST(test_an_executor_has_so_many_threads)
{
    static const struct {
        uint32_t threads;
        double factor, ms, waited;
    } cases[] = {{1, 1, 60, 150},
                 {2, 1, 30, 60},
                 {2, 2, 20, 20},
                 {6, 1, 10, 0},
                 {99, 1, 10, 0}};
    uint32_t work[6];
    double capacity[] = {cases[_i].factor};
    begin(PERF_RESOURCE_EXECUTOR, cases[_i].threads);
    uint32_t task = submit_all(work, 6);
    pt_do_host(&p, program, &task, 1);
    perfi_conditions how = {.capacity = capacity};
    ck_assert_double_eq(pt_replay_ms(&p, &how), cases[_i].ms);
    ck_assert_double_eq((double)perfi_replay_waited(p.replay, what) / MS,
                        cases[_i].waited);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_work_is_begun_in_its_order)
{
    uint32_t work[6];
    begin(PERF_RESOURCE_EXECUTOR, 2);
    uint32_t task = submit_all(work, 6);
    uint32_t last = work[_i];
    pt_do(&p, program, pt_op(SPAWN, .what = task),
          pt_op(HOST, .what = pt_thing(&p, last)));
    ck_assert_double_eq(pt_replay_ms(&p, NULL), (_i / 2 + 1) * 10);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_an_executor_that_is_idle_is_not_waited_for)
{
    begin(PERF_RESOURCE_EXECUTOR, 2);
    uint32_t work[1], task = submit_all(work, 0);
    pt_do_host(&p, program, &task, 1);
    ck_assert_double_eq(pt_replay_ms(&p, NULL), 0);
    pt_profile_free(&p);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("profiler.stock");
    tcase_add_loop_test(tests, test_ten_tasks_take_turns, 0, 7);
    tcase_add_loop_test(tests, test_who_came_first_is_served_first, 0, 4);
    tcase_add_test(tests, test_nobody_comes_in_between);
    tcase_add_test(tests, test_a_semaphore_of_none_is_a_signal);
    tcase_add_test(tests, test_others_may_release_what_one_took);
    tcase_add_test(tests, test_who_was_cancelled_is_passed_over);
    tcase_add_test(tests,
                   test_contended_is_what_somebody_waited_through_or_for);
    tcase_add_test(tests, test_contended_places_of_a_semaphore);
    tcase_add_test(tests, test_a_lock_that_is_held_half_as_long);
    tcase_add_test(tests, test_only_what_is_done_while_holding_gets_shorter);
    tcase_add_test(tests, test_a_bounded_queue_stops_its_producer);
    tcase_add_loop_test(tests, test_a_get_waits_for_an_item, 0, 2);
    tcase_add_test(tests, test_join_waits_until_all_is_done);
    tcase_add_loop_test(tests, test_an_executor_has_so_many_threads, 0, 5);
    tcase_add_loop_test(tests, test_work_is_begun_in_its_order, 0, 6);
    tcase_add_test(tests, test_an_executor_that_is_idle_is_not_waited_for);
    return pt_end();
}
