/* test_brackets.c - an event that begins something and the one that ends it are
 * one operation, whatever happened in between. */
#include "pt_profile.h"

/* ---- resources ---- */

/* A task that waits inside a bracket as asyncio's do. */
static uint64_t
bracket(perf_event_code open, perf_event_code close, uint64_t key)
{
    uint64_t task = pt_task(), future = perf_event_new_id();
    pt_open("A");
    pt_work(1);
    pt_write((perf_event){.code = (uint16_t)open, .key = key});
    pt_work(0.5);
    pt_suspend(future);
    pt_idle(20);
    pt_resume(task, PERF_ACTOR_TASK);
    pt_write((perf_event){.code = (uint16_t)close, .key = key});
    pt_work(2);
    pt_close();
    pt_end_actor();
    return task;
}

START_TEST(test_a_bracket_is_one_operation)
{
    static const struct {
        perf_event_code open, close;
        const char *ops;
    } cases[] = {
        {PERF_EVENT_ACQUIRE, PERF_EVENT_ACQUIRED, "run:1@A acquire run:2@A"},
        {PERF_EVENT_GET, PERF_EVENT_GOT, "run:1@A take"}, /* a worker's */
        {PERF_EVENT_PUT, PERF_EVENT_HAS_PUT, "run:1@A put run:2@A"},
        {PERF_EVENT_JOIN, PERF_EVENT_JOINED, "run:1@A join run:2@A"},
        /* in vain: what happened inside stays; nobody ends the wait */
        {PERF_EVENT_ACQUIRE, PERF_EVENT_NOT_ACQUIRED,
         "run:1@A run:0.5@A delay:20@A run:2@A"},
        {PERF_EVENT_PUT, PERF_EVENT_NOT_PUT,
         "run:1@A run:0.5@A delay:20@A run:2@A"},
        /* a worker that is told to stop: what follows is its epilogue */
        {PERF_EVENT_GET, PERF_EVENT_NOT_GOT, "run:1@A get run:2@A"},
    };
    pt_profile p;
    pt_main();
    bool queue = cases[_i].open != PERF_EVENT_ACQUIRE;
    uint64_t key = pt_resource(
        queue ? PERF_RESOURCE_QUEUE : PERF_RESOURCE_SEMAPHORE, 1, "r");
    uint64_t task = bracket(cases[_i].open, cases[_i].close, key);
    pt_profile_model(&p);
    ck_assert_str_eq(pt_ops(&p, task), cases[_i].ops);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_a_bracket_that_never_closes_is_the_last_operation)
{
    static const struct {
        perf_event_code open;
        const char *ops;
    } cases[] = {
        {PERF_EVENT_ACQUIRE, "acquire"}, {PERF_EVENT_GET, "get"},
        {PERF_EVENT_PUT, "never"},       {PERF_EVENT_JOIN, "join"},
        {PERF_EVENT_WAIT, "never"},      {PERF_EVENT_WAIT_EXECUTOR, "never"},
        {PERF_EVENT_SLEEP, "never"},
    };
    pt_profile p;
    pt_main();
    uint64_t key = pt_resource(PERF_RESOURCE_QUEUE, 1, "r");
    uint64_t task = pt_task();
    pt_write((perf_event){.code = (uint16_t)cases[_i].open, .key = key});
    pt_work(1);
    pt_suspend(perf_event_new_id());
    pt_profile_model(&p);
    ck_assert_str_eq(pt_ops(&p, task), cases[_i].ops);
    ck_assert_uint_eq(p.model.suspensions.item[0].to, UINT64_MAX);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_nested_brackets_of_one_kind)
{
    pt_profile p;
    pt_main();
    uint64_t a = pt_resource(PERF_RESOURCE_SEMAPHORE, 1, "a");
    uint64_t b = pt_resource(PERF_RESOURCE_SEMAPHORE, 1, "b");
    uint64_t task = pt_task();
    pt_say(ACQUIRE, .key = a); /* a semaphore built of another one */
    pt_say(ACQUIRE, .key = b);
    pt_work(1);
    pt_say(ACQUIRED, .key = b);
    pt_work(1);
    pt_say(ACQUIRED, .key = a);
    pt_work(1);
    pt_say(RELEASE, .key = a);
    pt_end_actor();
    pt_profile_model(&p);
    ck_assert_str_eq(pt_ops(&p, task), "acquire run:1 release");
    ck_assert_uint_eq(pt_nth_op(&p, task, 0)->what, 0); /* the outer one */
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_inside_a_failed_bracket_others_count)
{
    pt_profile p;
    pt_main();
    uint64_t a = pt_resource(PERF_RESOURCE_SEMAPHORE, 1, "a");
    uint64_t b = pt_resource(PERF_RESOURCE_SEMAPHORE, 1, "b");
    uint64_t task = pt_task();
    pt_say(ACQUIRE, .key = a);
    pt_say(ACQUIRE, .key = b);
    pt_say(ACQUIRED, .key = b);
    pt_say(NOT_ACQUIRED, .key = a);
    pt_end_actor();
    pt_profile_model(&p);
    ck_assert_str_eq(pt_ops(&p, task), "acquire");
    ck_assert_uint_eq(pt_nth_op(&p, task, 0)->what, 1);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_ends_without_a_beginning_are_nothing)
{
    pt_profile p;
    uint64_t main = pt_main();
    for (uint16_t code = PERF_EVENT_THREAD; code <= PERF_EVENT_IMPORTED; code++)
        if (code == PERF_EVENT_HOSTED || code == PERF_EVENT_ACQUIRED ||
            code == PERF_EVENT_NOT_ACQUIRED || code == PERF_EVENT_GOT ||
            code == PERF_EVENT_NOT_GOT || code == PERF_EVENT_HAS_PUT ||
            code == PERF_EVENT_NOT_PUT || code == PERF_EVENT_JOINED ||
            code == PERF_EVENT_WAITED || code == PERF_EVENT_SLEPT)
            pt_write((perf_event){.code = code, .key = 5});
    pt_profile_model(&p);
    ck_assert_str_eq(pt_ops(&p, main), "");
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_uses_say_who_held_what_how_long)
{
    pt_profile p;
    pt_main();
    uint64_t a = pt_resource(PERF_RESOURCE_SEMAPHORE, 2, "a");
    pt_task();
    pt_at(1);
    pt_say(ACQUIRE, .key = a);
    pt_at(3);
    pt_say(ACQUIRED, .key = a);
    pt_at(4);
    pt_say(ACQUIRE, .key = a); /* a second place */
    pt_say(ACQUIRED, .key = a);
    pt_at(10);
    pt_say(RELEASE, .key = a); /* of the newest */
    pt_at(30);
    pt_say(RELEASE, .key = a);
    pt_say(RELEASE, .key = a); /* of nothing */
    pt_end_actor();
    pt_profile_model(&p);
    ck_assert_uint_eq(p.model.uses.count, 2);
    const perfi_use *u = p.model.uses.item;
    ck_assert_uint_eq(u[0].from, 1 * PT_MS);
    ck_assert_uint_eq(u[0].granted, 3 * PT_MS);
    ck_assert_uint_eq(u[0].released, 30 * PT_MS);
    ck_assert_uint_eq(u[1].released, 10 * PT_MS);
    ck_assert_uint_eq(p.model.ops.item[u[0].ops.end - 1].code,
                      PERFI_OP_RELEASE);
    pt_profile_free(&p);
}
END_TEST

/* ---- threads ---- */

START_TEST(test_a_thread_sleeps_as_long_as_it_asked_for)
{
    static const struct {
        double asked, took;
        const char *ops;
    } cases[] = {
        {5, 5, "block:5@A"},
        {5, 5.1, "block:5.1@A"},
        {5, 25, "block:5.1@A"}, /* the rest was for the interpreter lock */
        {5, 3, "block:3@A"},    /* a signal */
    };
    pt_profile p;
    uint64_t main = pt_main();
    pt_open("A");
    pt_say(SLEEP, .more = (uint64_t)(cases[_i].asked * (double)PT_MS));
    pt_idle(cases[_i].took);
    pt_say(SLEPT);
    pt_profile_model(&p);
    ck_assert_str_eq(pt_ops(&p, main), cases[_i].ops);
    pt_profile_free(&p);
}
END_TEST

/* Futures that a thread of its own resolves. */
enum { FUTURES = 4 };
static uint64_t futures[FUTURES];

static void
resolver(void)
{
    uint64_t helper = perf_event_new_id();
    for (int i = 0; i < FUTURES; i++)
        futures[i] = perf_event_new_id();
    pt_say(SPAWN, .key = helper);
    double now = 0;
    pt_say(THREAD, .key = helper, .arg = PERF_ACTOR_THREAD);
    for (int i = 0; i < FUTURES; i++) {
        pt_at(now += 10);
        pt_say(RESOLVE, .key = futures[i]);
    }
    pt_at(0);
}

static void
wait_for(int from, int to)
{
    for (int i = from; i < to; i++)
        pt_say(WAIT_FOR, .key = futures[i]);
}

START_TEST(test_a_thread_waits_for_one)
{
    pt_profile p;
    pt_main();
    resolver();
    uint64_t waiter = pt_thread();
    pt_open("A");
    wait_for(1, 2);
    pt_say(WAIT);
    pt_at(20);
    pt_say(WAITED);
    pt_profile_model(&p);
    ck_assert_str_eq(pt_ops(&p, waiter), "wait");
    const perfi_op *op = pt_nth_op(&p, waiter, 0);
    ck_assert_uint_eq(op->what, perfi_ids_find(&p.line.things, futures[1]));
    ck_assert_uint_eq(op->ns, 20 * PT_MS);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_a_wait_that_its_limit_ended_blocked)
{
    pt_profile p;
    pt_main();
    resolver();
    uint64_t waiter = pt_thread();
    pt_open("A");
    wait_for(0, FUTURES);
    pt_say(WAIT);
    pt_at(15);
    pt_say(WAITED, .arg = 1, .more = 3);
    wait_for(2, 3); /* those of before are forgotten */
    pt_say(WAIT);
    pt_at(30);
    pt_say(WAITED);
    pt_profile_model(&p);
    ck_assert_str_eq(pt_ops(&p, waiter), "block:15@A wait");
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_how_many_must_be_done)
{
    static const struct {
        uint32_t asked;
        uint64_t undone, count;
    } cases[] = {
        {0, 0, 4},  /* all of them */
        {0, 3, 1},  /* the first one */
        {0, 99, 0}, /* more than there are */
        {2, 0, 2},  /* as_completed(): the second */
    };
    pt_profile p;
    pt_main();
    resolver();
    uint64_t waiter = pt_thread();
    wait_for(0, FUTURES);
    pt_say(WAIT, .arg = cases[_i].asked);
    pt_at(40);
    pt_say(WAITED, .more = cases[_i].undone);
    pt_profile_model(&p);
    ck_assert_str_eq(pt_ops(&p, waiter), "count");
    const perfi_op *op = pt_nth_op(&p, waiter, 0);
    ck_assert_uint_eq(op->ns, cases[_i].count);
    ck_assert_uint_eq(op->more, FUTURES);
    for (uint32_t i = 0; i < FUTURES; i++)
        ck_assert_uint_eq(p.model.keys.item[op->what + i],
                          perfi_ids_find(&p.line.things, futures[i]));
    pt_profile_free(&p);
}
END_TEST

/* wait() again with what was left: another one may be done first in a replay,
 * so the second is done when two of all are. */
START_TEST(test_waiting_for_what_was_left_counts_what_was_done)
{
    pt_profile p;
    pt_main();
    resolver();
    uint64_t waiter = pt_thread();
    for (int i = 0; i + 1 < FUTURES; i++) {
        wait_for(i, FUTURES);
        pt_say(WAIT);
        pt_at((i + 1) * 10);
        pt_say(WAITED, .more = (uint64_t)(FUTURES - 1 - i));
    }
    pt_profile_model(&p);
    ck_assert_str_eq(pt_ops(&p, waiter), "count count count");
    for (size_t i = 0; i + 1 < FUTURES; i++) {
        ck_assert_uint_eq(pt_nth_op(&p, waiter, i)->ns, i + 1);
        ck_assert_uint_eq(pt_nth_op(&p, waiter, i)->more, FUTURES);
    }
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_one_thing_twice_counts_once)
{
    pt_profile p;
    pt_main();
    resolver();
    uint64_t waiter = pt_thread();
    wait_for(0, 2);
    wait_for(0, 2);
    pt_say(WAIT);
    pt_at(20);
    pt_say(WAITED);
    pt_profile_model(&p);
    ck_assert_uint_eq(pt_nth_op(&p, waiter, 0)->more, 2);
    ck_assert_uint_eq(pt_nth_op(&p, waiter, 0)->ns, 2);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_an_executor_that_shuts_down)
{
    pt_profile p;
    uint64_t main = pt_main();
    uint64_t pool = pt_resource(PERF_RESOURCE_EXECUTOR, 2, "pool");
    pt_say(WAIT_EXECUTOR, .key = pool);
    wait_for(0, 1); /* it joins its threads */
    pt_say(WAIT);
    pt_idle(5);
    pt_say(WAITED);
    pt_say(WAITED);
    pt_profile_model(&p);
    ck_assert_str_eq(pt_ops(&p, main), "wait_executor");
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_a_loops_host)
{
    pt_profile p;
    uint64_t main = pt_main();
    uint64_t task = pt_new_task(), other = pt_new_task();
    pt_say(HOST, .key = task, .more = PT_LOOP);
    pt_resume(task, PERF_ACTOR_TASK);
    pt_work(3);
    pt_end_actor();
    pt_say(HOSTED);
    pt_work(1);
    pt_say(HOST, .key = other, .more = 4711); /* of a loop that never ran */
    pt_say(HOSTED);
    pt_say(HOST, .key = 0, .more = PT_LOOP); /* until nothing */
    pt_say(HOSTED);
    pt_say(HOST, .key = task, .more = PT_LOOP); /* to the very end */
    pt_profile_model(&p);
    ck_assert_str_eq(pt_ops(&p, main), "spawn spawn host run:1 host host");
    ck_assert_uint_eq(pt_nth_op(&p, main, 2)->more, 0);
    ck_assert_uint_eq(pt_nth_op(&p, main, 4)->more, PERFI_NONE);
    ck_assert_uint_eq(pt_nth_op(&p, main, 5)->more, 0);
    pt_profile_free(&p);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("profiler.brackets");
    tcase_add_loop_test(tests, test_a_bracket_is_one_operation, 0, 7);
    tcase_add_loop_test(
        tests, test_a_bracket_that_never_closes_is_the_last_operation, 0, 7);
    tcase_add_test(tests, test_nested_brackets_of_one_kind);
    tcase_add_test(tests, test_inside_a_failed_bracket_others_count);
    tcase_add_test(tests, test_ends_without_a_beginning_are_nothing);
    tcase_add_test(tests, test_uses_say_who_held_what_how_long);
    tcase_add_loop_test(tests, test_a_thread_sleeps_as_long_as_it_asked_for, 0,
                        4);
    tcase_add_test(tests, test_a_thread_waits_for_one);
    tcase_add_test(tests, test_a_wait_that_its_limit_ended_blocked);
    tcase_add_loop_test(tests, test_how_many_must_be_done, 0, 4);
    tcase_add_test(tests, test_waiting_for_what_was_left_counts_what_was_done);
    tcase_add_test(tests, test_one_thing_twice_counts_once);
    tcase_add_test(tests, test_an_executor_that_shuts_down);
    tcase_add_test(tests, test_a_loops_host);
    return pt_end();
}
