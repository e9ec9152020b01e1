/* test_players.c - actors, loops and hosts: what is ready runs in its order,
 * one at a time per loop; waits end when what they wait for is done. */
#include "pt_program.h"

static pt_profile p;

enum { MS = 1000000 };

static uint32_t
actor(perf_actor kind)
{
    return pt_make_actor(&p, kind);
}

static void
begin(uint32_t *main)
{
    pt_make(&p, 2);
    *main = actor(PERF_ACTOR_MAIN);
}

/* The main actor makes these ready in this order, and hosts the first one. */
static void
host_first(uint32_t main, uint32_t a, uint32_t b)
{
    pt_do(&p, main, pt_op(SPAWN, .what = a), pt_op(SPAWN, .what = b),
          pt_op(HOST, .what = pt_thing(&p, a)));
}

/* ---- loops ---- */

START_TEST(test_actors_of_a_loop_run_one_after_the_other)
{
    uint32_t main, task[3];
    begin(&main);
    for (int i = 0; i < 3; i++) {
        task[i] = actor(PERF_ACTOR_TASK);
        pt_do(&p, task[i], pt_op(RUN, .ns = MS));
    }
    pt_do_host(&p, main, task, 3);
    perfi_outcome o = pt_replay(&p, NULL);
    ck_assert_uint_eq(o.ns, 3 * MS);
    /* the three, and who waits for the first while the others run */
    ck_assert_uint_eq(o.lag_ns, (0 + 1 + 2 + 2) * MS);
    ck_assert(!o.stuck);
    ck_assert(!o.lottery);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_a_turn_goes_to_the_end_of_the_queue)
{
    uint32_t main;
    begin(&main);
    uint32_t a = actor(PERF_ACTOR_TASK), b = actor(PERF_ACTOR_TASK);
    pt_do(&p, a, pt_op(RUN, .ns = MS), pt_op(YIELD), pt_op(RUN, .ns = MS));
    pt_do(&p, b, pt_op(RUN, .ns = 10 * MS));
    host_first(main, a, b);
    ck_assert_double_eq(pt_replay_ms(&p, NULL), 12);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_a_host_comes_back_through_the_queue)
{
    uint32_t main;
    begin(&main);
    uint32_t a = actor(PERF_ACTOR_TASK), b = actor(PERF_ACTOR_TASK);
    pt_do(&p, a, pt_op(RUN, .ns = MS));
    pt_do(&p, b, pt_op(RUN, .ns = 5 * MS)); /* was ready before it */
    host_first(main, a, b);
    ck_assert_double_eq(pt_replay_ms(&p, NULL), 6);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_a_timer_waits_for_the_next_iteration)
{
    uint32_t main;
    begin(&main);
    uint32_t a = actor(PERF_ACTOR_TASK), timer = actor(PERF_ACTOR_TIMER);
    pt_do(&p, a, pt_op(TIMER, .what = timer, .ns = 5 * MS),
          pt_op(RUN, .ns = 10 * MS), pt_op(YIELD), pt_op(RUN, .ns = MS));
    pt_do(&p, timer, pt_op(RUN, .ns = 100 * MS));
    pt_do_host(&p, main, &a, 1);
    ck_assert_double_eq(pt_replay_ms(&p, NULL), 11 + 100);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_nothing_runs_without_a_host)
{
    uint32_t main;
    begin(&main);
    uint32_t a = actor(PERF_ACTOR_TASK);
    pt_do(&p, a, pt_op(RUN, .ns = 50 * MS));
    pt_do(&p, main, pt_op(SPAWN, .what = a), pt_op(RUN, .ns = 2 * MS));
    ck_assert_double_eq(pt_replay_ms(&p, NULL), 2);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_a_loop_is_hosted_again)
{
    uint32_t main;
    begin(&main);
    uint32_t a = actor(PERF_ACTOR_TASK), b = actor(PERF_ACTOR_TASK);
    pt_do(&p, a, pt_op(RUN, .ns = 3 * MS));
    pt_do(&p, b, pt_op(RUN, .ns = 4 * MS));
    pt_do(&p, main, pt_op(RUN, .ns = MS), pt_op(SPAWN, .what = a),
          pt_op(HOST, .what = pt_thing(&p, a)), pt_op(RUN, .ns = MS),
          pt_op(SPAWN, .what = b), pt_op(HOST, .what = pt_thing(&p, b)),
          pt_op(HOST, .what = pt_thing(&p, b)), /* done: not again */
          pt_op(HOST, .what = pt_thing(&p, b), .more = 99), /* no loop */
          pt_op(RUN, .ns = MS));
    ck_assert_double_eq(pt_replay_ms(&p, NULL), 10);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_loops_of_two_threads_sleep_at_the_same_time)
{
    uint32_t main;
    begin(&main);
    p.line.loop_ids.count = 2;
    uint32_t thread = actor(PERF_ACTOR_THREAD);
    uint32_t a = actor(PERF_ACTOR_TASK), b = actor(PERF_ACTOR_TASK);
    p.line.actors.item[b].loop = 2;
    pt_do(&p, a, pt_op(DELAY, .ns = 30 * MS));
    pt_do(&p, b, pt_op(DELAY, .ns = 20 * MS));
    pt_do(&p, main, pt_op(SPAWN, .what = thread), pt_op(SPAWN, .what = a),
          pt_op(HOST, .what = pt_thing(&p, a)),
          pt_op(WAIT, .what = pt_thing(&p, thread)));
    pt_do(&p, thread, pt_op(SPAWN, .what = b),
          pt_op(HOST, .what = pt_thing(&p, b), .more = 1),
          pt_op(BLOCK, .ns = 25 * MS));
    ck_assert_double_eq(pt_replay_ms(&p, NULL), 45);
    pt_profile_free(&p);
}
END_TEST

/* Woken and cancelled at once, it must not stand in the queue twice. */
START_TEST(test_a_host_that_is_made_ready_twice)
{
    uint32_t main;
    begin(&main);
    uint32_t task = actor(PERF_ACTOR_TASK), inner = actor(PERF_ACTOR_TASK);
    uint32_t future = pt_make_future(&p);
    pt_do(&p, task, pt_op(SPAWN, .what = inner), pt_op(HOST, .what = future),
          pt_op(NONE), pt_op(RUN, .ns = MS));
    uint32_t after = p.model.programs[task].ops.first + 2;
    pt_do(&p, inner, pt_op(RESOLVE, .what = future),
          pt_op(CANCEL, .what = task, .more = after + 1), pt_op(RUN, .ns = MS));
    pt_do_host(&p, main, &task, 1);
    perfi_outcome o = pt_replay(&p, NULL);
    ck_assert_uint_eq(o.ns, 2 * MS);
    ck_assert(o.stuck); /* the main actor is no host any more */
    pt_profile_free(&p);
}
END_TEST

/* ---- waiting ---- */

START_TEST(test_everybody_who_waits_goes_on)
{
    enum { N = 50 };
    uint32_t main, task[N + 1];
    begin(&main);
    uint32_t future = pt_make_future(&p);
    for (int i = 0; i < N; i++) {
        task[i] = actor(PERF_ACTOR_TASK);
        pt_do(&p, task[i], pt_op(WAIT, .what = future),
              pt_op(DELAY, .ns = 5 * MS));
    }
    task[N] = actor(PERF_ACTOR_TASK);
    pt_do(&p, task[N], pt_op(DELAY, .ns = 10 * MS),
          pt_op(RESOLVE, .what = future), pt_op(RESOLVE, .what = future),
          pt_op(WAIT, .what = future)); /* is done */
    pt_do_host(&p, main, task, N + 1);
    ck_assert_double_eq(pt_replay_ms(&p, NULL), 15);
    pt_profile_free(&p);
}
END_TEST

/* Tasks that sleep for 10, 20, 30 and 40 ms, and one that waits for so many. */
static double
wait_for_some(uint64_t wanted)
{
    uint32_t main, sleeper[4], tasks[5];
    begin(&main);
    tasks[4] = actor(PERF_ACTOR_TASK);
    for (uint32_t i = 0; i < 4; i++) {
        sleeper[i] = tasks[3 - i] = actor(PERF_ACTOR_TASK);
        pt_do(&p, sleeper[i], pt_op(DELAY, .ns = (i + 1) * 10 * MS));
        *perfi_list_add(&p.region, &p.model.keys) = pt_thing(&p, sleeper[i]);
    }
    pt_do(&p, tasks[4], pt_op(COUNT, .what = 0, .more = 4, .ns = wanted));
    pt_do(&p, main, pt_op(SPAWN, .what = tasks[0]),
          pt_op(SPAWN, .what = tasks[1]), pt_op(SPAWN, .what = tasks[2]),
          pt_op(SPAWN, .what = tasks[3]), pt_op(SPAWN, .what = tasks[4]),
          pt_op(HOST, .what = pt_thing(&p, tasks[4])));
    double ms = pt_replay_ms(&p, NULL);
    ck_assert_double_eq(pt_replay_ms(&p, NULL), ms); /* the same again */
    pt_profile_free(&p);
    return ms;
}

START_TEST(test_a_count_waits_for_as_many)
{
    static const double ends[] = {0, 10, 20, 30, 40, 40};
    ck_assert_double_eq(wait_for_some((uint64_t)_i), ends[_i]);
}
END_TEST

START_TEST(test_a_count_again_and_again)
{
    uint32_t main, sleeper[3];
    begin(&main);
    uint32_t waiter = actor(PERF_ACTOR_TASK);
    for (uint32_t i = 0; i < 3; i++) {
        sleeper[i] = actor(PERF_ACTOR_TASK);
        pt_do(&p, sleeper[i], pt_op(DELAY, .ns = (3 - i) * 10 * MS));
        *perfi_list_add(&p.region, &p.model.keys) = pt_thing(&p, sleeper[i]);
    }
    pt_do(&p, waiter, pt_op(COUNT, .more = 2, .ns = 1), pt_op(RUN, .ns = MS),
          pt_op(COUNT, .more = 3, .ns = 2), pt_op(RUN, .ns = MS),
          pt_op(COUNT, .more = 3, .ns = 3), pt_op(RUN, .ns = MS));
    pt_do(&p, main, pt_op(SPAWN, .what = sleeper[0]),
          pt_op(SPAWN, .what = sleeper[1]), pt_op(SPAWN, .what = sleeper[2]),
          pt_op(SPAWN, .what = waiter),
          pt_op(HOST, .what = pt_thing(&p, waiter)));
    /* 20: the second of the first two; two of three are done by then */
    ck_assert_double_eq(pt_replay_ms(&p, NULL), 31);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_threads_wait_and_block_beside_each_other)
{
    uint32_t main;
    begin(&main);
    uint32_t a = actor(PERF_ACTOR_THREAD), b = actor(PERF_ACTOR_THREAD);
    pt_do(&p, a, pt_op(BLOCK, .ns = 20 * MS));
    pt_do(&p, b, pt_op(BLOCK, .ns = 30 * MS));
    pt_do(&p, main, pt_op(SPAWN, .what = a), pt_op(SPAWN, .what = b),
          pt_op(BLOCK, .ns = 5 * MS), pt_op(WAIT, .what = pt_thing(&p, a)),
          pt_op(WAIT, .what = pt_thing(&p, b)));
    ck_assert_double_eq(pt_replay_ms(&p, NULL), 30);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_blocking_blocks_the_loop)
{
    uint32_t main, task[2];
    begin(&main);
    for (int i = 0; i < 2; i++) {
        task[i] = actor(PERF_ACTOR_TASK);
        pt_do(&p, task[i], pt_op(BLOCK, .ns = 10 * MS));
    }
    pt_do_host(&p, main, task, 2);
    ck_assert_double_eq(pt_replay_ms(&p, NULL), 20);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_a_callback_does_not_run_before_its_future_is_done)
{
    uint32_t main;
    begin(&main);
    uint32_t a = actor(PERF_ACTOR_TASK), b = actor(PERF_ACTOR_TASK);
    uint32_t callback = actor(PERF_ACTOR_CALLBACK);
    p.line.actors.item[callback].argument = 1 + pt_thing(&p, b);
    pt_do(&p, a, pt_op(SPAWN, .what = b), pt_op(SPAWN, .what = callback),
          pt_op(WAIT, .what = pt_thing(&p, callback)));
    pt_do(&p, b, pt_op(DELAY, .ns = 8 * MS));
    pt_do(&p, callback, pt_op(RUN, .ns = MS));
    pt_do_host(&p, main, &a, 1);
    ck_assert_double_eq(pt_replay_ms(&p, NULL), 9);
    p.model.resolver[pt_thing(&p, b)] = 0; /* nobody will: it must not wait */
    ck_assert_double_eq(pt_replay_ms(&p, NULL), 1);
    pt_profile_free(&p);
}
END_TEST

/* gather(): whoever is last resolves the outer future. */
START_TEST(test_the_nth_call_has_the_nths_effects)
{
    uint32_t main, task[2], callback[2];
    begin(&main);
    uint32_t outer = pt_make_future(&p);
    uint32_t root = actor(PERF_ACTOR_TASK);
    for (uint32_t i = 0; i < 2; i++) {
        task[i] = actor(PERF_ACTOR_TASK);
        callback[i] = actor(PERF_ACTOR_CALLBACK);
        p.line.actors.item[callback[i]].group = 1;
        pt_do(&p, task[i],
              pt_op(TIMER, .what = callback[i], .label = 2 + i,
                    .ns = (i + 1) * 10 * MS));
        *perfi_list_add(&p.region, &p.model.keys) = 0;
    }
    /* as recorded: the second one's was the last */
    pt_do(&p, callback[0], pt_op(NONE));
    pt_do(&p, callback[1], pt_op(RESOLVE, .what = outer));
    *perfi_list_add(&p.region, &p.model.groups) = (perfi_group){9, 0, 2};
    p.model.ordinal = callback;
    pt_do(&p, root, pt_op(SPAWN, .what = task[0]),
          pt_op(SPAWN, .what = task[1]), pt_op(WAIT, .what = outer));
    pt_do_host(&p, main, &root, 1);
    ck_assert_double_eq(pt_replay_ms(&p, NULL), 20);
    double scale[] = {1, 1, 1, 0}; /* now the first one is last */
    ck_assert_double_eq(pt_replay_ms(&p, &(perfi_conditions){.scale = scale}),
                        10);
    pt_profile_free(&p);
}
END_TEST

/* ---- cancelling ---- */

/* `by` cancels a task that waits for ever at its first operation. */
static uint32_t
cancel_waiting(uint32_t *main, uint32_t *by)
{
    begin(main);
    uint32_t task = actor(PERF_ACTOR_TASK);
    *by = actor(PERF_ACTOR_TASK);
    pt_do(&p, task, pt_op(NEVER), pt_op(DELAY, .ns = 7 * MS));
    uint32_t target = p.model.programs[task].ops.first + 1;
    pt_do(&p, *by, pt_op(DELAY, .ns = 10 * MS),
          pt_op(CANCEL, .what = task, .more = target + 1),
          pt_op(CANCEL, .what = *by, .more = 1)); /* itself: nothing */
    return task;
}

START_TEST(test_who_is_cancelled_goes_on_behind_its_wait)
{
    uint32_t main, by;
    uint32_t tasks[] = {cancel_waiting(&main, &by), by};
    pt_do_host(&p, main, tasks, 2);
    ck_assert_double_eq(pt_replay_ms(&p, NULL), 17);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_cancelled_before_it_began)
{
    uint32_t main, by;
    uint32_t task = cancel_waiting(&main, &by);
    uint32_t tasks[] = {by, task};
    p.model.ops.item[p.model.programs[by].ops.first].code = PERFI_OP_NONE;
    pt_do_host(&p, main, tasks, 2);
    ck_assert_double_eq(pt_replay_ms(&p, NULL), 7);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_who_is_past_it_already_goes_on)
{
    uint32_t main, by;
    uint32_t task = cancel_waiting(&main, &by);
    uint32_t tasks[] = {task, by};
    /* it did not wait: the delay has begun, and is not begun again */
    p.model.ops.item[p.model.programs[task].ops.first].code = PERFI_OP_NONE;
    p.model.ops.item[p.model.programs[by].ops.first].ns = 5 * MS;
    pt_do_host(&p, main, tasks, 2);
    ck_assert_double_eq(pt_replay_ms(&p, NULL), 7);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_two_that_cancel_each_other_come_to_an_end)
{
    uint32_t main;
    begin(&main);
    uint32_t a = actor(PERF_ACTOR_TASK), b = actor(PERF_ACTOR_TASK);
    uint32_t tasks[] = {a, b};
    for (int i = 0; i < 2; i++)
        pt_do(&p, tasks[i], pt_op(RUN, .ns = MS), pt_op(YIELD),
              pt_op(CANCEL, .what = tasks[1 - i]), pt_op(YIELD));
    for (int i = 0; i < 2; i++) {
        uint32_t other = p.model.programs[tasks[1 - i]].ops.first;
        p.model.ops.item[p.model.programs[tasks[i]].ops.first + 2].more =
            other + 1;
    }
    pt_do_host(&p, main, tasks, 2);
    ck_assert_double_eq(pt_replay_ms(&p, NULL), 2);
    pt_profile_free(&p);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("profiler.players");
    tcase_add_test(tests, test_actors_of_a_loop_run_one_after_the_other);
    tcase_add_test(tests, test_a_turn_goes_to_the_end_of_the_queue);
    tcase_add_test(tests, test_a_host_comes_back_through_the_queue);
    tcase_add_test(tests, test_a_timer_waits_for_the_next_iteration);
    tcase_add_test(tests, test_nothing_runs_without_a_host);
    tcase_add_test(tests, test_a_loop_is_hosted_again);
    tcase_add_test(tests, test_loops_of_two_threads_sleep_at_the_same_time);
    tcase_add_test(tests, test_a_host_that_is_made_ready_twice);
    tcase_add_test(tests, test_everybody_who_waits_goes_on);
    tcase_add_loop_test(tests, test_a_count_waits_for_as_many, 0, 6);
    tcase_add_test(tests, test_a_count_again_and_again);
    tcase_add_test(tests, test_threads_wait_and_block_beside_each_other);
    tcase_add_test(tests, test_blocking_blocks_the_loop);
    tcase_add_test(tests,
                   test_a_callback_does_not_run_before_its_future_is_done);
    tcase_add_test(tests, test_the_nth_call_has_the_nths_effects);
    tcase_add_test(tests, test_who_is_cancelled_goes_on_behind_its_wait);
    tcase_add_test(tests, test_cancelled_before_it_began);
    tcase_add_test(tests, test_who_is_past_it_already_goes_on);
    tcase_add_test(tests, test_two_that_cancel_each_other_come_to_an_end);
    return pt_end();
}
