/* test_lock.c - the interpreter lock: who holds it gives it up after 5 ms when
 * others wait, who goes on in the same thread keeps it, and who of several is
 * next is a lottery that its seed decides. */
#include "pt_program.h"

static pt_profile p;

enum { MS = 1000000 };

static uint32_t
begin(void)
{
    pt_make(&p, 0);
    return pt_make_actor(&p, PERF_ACTOR_MAIN);
}

/* A thread that uses the CPU. */
static uint32_t
runner(uint64_t ns)
{
    uint32_t thread = pt_make_actor(&p, PERF_ACTOR_THREAD);
    pt_do(&p, thread, pt_op(RUN, .ns = ns));
    return thread;
}

START_TEST(test_a_thread_alone_is_never_stopped)
{
    uint32_t main = begin();
    pt_do(&p, main, pt_op(RUN, .ns = 100 * MS));
    perfi_outcome o = pt_replay(&p, NULL);
    ck_assert_uint_eq(o.ns, 100 * MS);
    ck_assert_uint_eq(o.lock_wait_ns, 0);
    ck_assert(!o.lottery);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_two_threads_take_turns_of_5_ms)
{
    uint32_t main = begin(), other = runner(100 * MS);
    pt_do(&p, main, pt_op(SPAWN, .what = other), pt_op(RUN, .ns = 12 * MS));
    perfi_outcome o = pt_replay(&p, &(perfi_conditions){.seed = (uint64_t)_i});
    /* each time it draws its turn; at the latest when the other is through */
    ck_assert_uint_gt(o.ns, 12 * MS);
    ck_assert_uint_le(o.ns, 112 * MS);
    ck_assert_uint_eq((o.ns - 12 * MS) % (5 * MS), 0);
    ck_assert_uint_ge(o.lock_wait_ns, o.ns - 12 * MS);
    ck_assert(o.lottery);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_together_threads_take_as_long_as_they_must)
{
    uint32_t main = begin(), other = runner(33 * MS);
    pt_do(&p, main, pt_op(SPAWN, .what = other), pt_op(RUN, .ns = 21 * MS),
          pt_op(WAIT, .what = pt_thing(&p, other)));
    ck_assert_double_eq(pt_replay_ms(&p, NULL), 54);
    pt_profile_free(&p);
}
END_TEST

/* 5 ms since it got the lock, or since the first one who waits came. */
START_TEST(test_who_comes_late_waits_from_then_on)
{
    uint32_t main = begin(), other = pt_make_actor(&p, PERF_ACTOR_THREAD);
    pt_do(&p, other, pt_op(BLOCK, .ns = 20 * MS), pt_op(RUN, .ns = MS));
    pt_do(&p, main, pt_op(SPAWN, .what = other), pt_op(RUN, .ns = 40 * MS));
    perfi_outcome o = pt_replay(&p, NULL);
    ck_assert_uint_eq(o.ns, 41 * MS);
    ck_assert_uint_eq(o.lock_wait_ns, (5 + 1) * MS);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_who_blocks_lets_others_run)
{
    uint32_t main = begin(), other = runner(3 * MS);
    pt_do(&p, main, pt_op(SPAWN, .what = other), pt_op(BLOCK, .ns = 3 * MS),
          pt_op(RUN, .ns = MS));
    perfi_outcome o = pt_replay(&p, NULL);
    ck_assert_uint_eq(o.ns, 4 * MS);
    ck_assert_uint_eq(o.lock_wait_ns, 0);
    pt_profile_free(&p);
}
END_TEST

/* epoll_wait(0) takes a microsecond, a woken thread needs fifty. */
START_TEST(test_a_loop_keeps_the_lock_from_actor_to_actor)
{
    enum { N = 10 };
    uint32_t main = begin(), tasks[N];
    uint32_t other = pt_make_actor(&p, PERF_ACTOR_THREAD);
    pt_do(&p, other, pt_op(BLOCK, .ns = 3 * MS / 2), pt_op(RUN, .ns = 2 * MS));
    for (int i = 0; i < N; i++) {
        tasks[i] = pt_make_actor(&p, PERF_ACTOR_TASK);
        pt_do(&p, tasks[i], pt_op(RUN, .ns = MS));
    }
    uint32_t hosting = pt_make_actor(&p, PERF_ACTOR_THREAD);
    pt_do_host(&p, hosting, tasks, N);
    pt_do(&p, main, pt_op(SPAWN, .what = hosting), pt_op(SPAWN, .what = other),
          pt_op(WAIT, .what = pt_thing(&p, hosting)));
    perfi_outcome o = pt_replay(&p, NULL);
    ck_assert_uint_eq(o.ns, (N + 2) * MS);
    /* the other waits 5 ms, the loop 2 ms: once each */
    ck_assert_uint_eq(o.lock_wait_ns, (5 + 2) * MS);
    pt_profile_free(&p);
}
END_TEST

/* Four threads for 100 ms each; ends when the first one is through. */
static perfi_outcome
fight(uint64_t seed)
{
    uint32_t main = begin(), thread[4];
    for (int i = 0; i < 4; i++)
        thread[i] = runner(100 * MS);
    pt_do(&p, main, pt_op(SPAWN, .what = thread[0]),
          pt_op(SPAWN, .what = thread[1]), pt_op(SPAWN, .what = thread[2]),
          pt_op(SPAWN, .what = thread[3]),
          pt_op(WAIT, .what = pt_thing(&p, thread[0])));
    perfi_outcome o = pt_replay(&p, &(perfi_conditions){.seed = seed});
    pt_profile_free(&p);
    return o;
}

START_TEST(test_three_that_wait_draw_lots)
{
    uint64_t least = UINT64_MAX, most = 0;
    for (uint64_t seed = 0; seed < 30; seed++) {
        perfi_outcome o = fight(seed);
        ck_assert(o.lottery);
        ck_assert_uint_eq(o.ns, fight(seed).ns); /* the same lots */
        least = o.ns < least ? o.ns : least;
        most = o.ns > most ? o.ns : most;
    }
    ck_assert_uint_ge(least, 100 * MS);
    ck_assert_uint_le(most, 400 * MS);
    ck_assert_uint_gt(most - least, 50 * MS); /* some starve */
}
END_TEST

/* Dates that became void do not make it later. */
START_TEST(test_a_fight_that_gets_stuck_says_when)
{
    uint32_t main = begin(), other = runner(12 * MS);
    uint32_t future = pt_make_future(&p);
    pt_do(&p, main, pt_op(SPAWN, .what = other), pt_op(RUN, .ns = 100 * MS),
          pt_op(WAIT, .what = future));
    perfi_outcome o = pt_replay(&p, NULL);
    ck_assert(o.stuck);
    ck_assert_uint_eq(o.ns, 112 * MS);
    pt_profile_free(&p);
}
END_TEST

/* Times that cannot be, of a damaged recording, must not take for ever. */
START_TEST(test_centuries_of_cpu_time_come_to_an_end)
{
    uint32_t main = begin(), thread[3];
    for (int i = 0; i < 3; i++)
        thread[i] = runner(UINT64_C(1) << 62);
    pt_do(&p, main, pt_op(SPAWN, .what = thread[0]),
          pt_op(SPAWN, .what = thread[1]), pt_op(SPAWN, .what = thread[2]),
          pt_op(RUN, .ns = UINT64_C(1) << 62),
          pt_op(WAIT, .what = pt_thing(&p, thread[0])),
          pt_op(WAIT, .what = pt_thing(&p, thread[1])),
          pt_op(WAIT, .what = pt_thing(&p, thread[2])),
          pt_op(BLOCK, .ns = UINT64_C(1) << 62));
    ck_assert(!pt_replay(&p, NULL).stuck);
    pt_profile_free(&p);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("profiler.lock");
    tcase_add_test(tests, test_a_thread_alone_is_never_stopped);
    tcase_add_loop_test(tests, test_two_threads_take_turns_of_5_ms, 0, 9);
    tcase_add_test(tests, test_together_threads_take_as_long_as_they_must);
    tcase_add_test(tests, test_who_comes_late_waits_from_then_on);
    tcase_add_test(tests, test_who_blocks_lets_others_run);
    tcase_add_test(tests, test_a_loop_keeps_the_lock_from_actor_to_actor);
    tcase_add_test(tests, test_three_that_wait_draw_lots);
    tcase_add_test(tests, test_a_fight_that_gets_stuck_says_when);
    tcase_add_test(tests, test_centuries_of_cpu_time_come_to_an_end);
    return pt_end();
}
