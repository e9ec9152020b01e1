/* test_waits.c - who ends which wait: I/O comes from outside, what nobody ends
 * keeps its length, who is cancelled goes on behind the wait it was in, and of
 * equal callbacks the n-th has the n-th's effects. */
#include "pt_profile.h"

/* ---- I/O ---- */

START_TEST(test_io_is_the_service_of_who_waits_for_it)
{
    pt_profile p;
    pt_main();
    uint64_t task = pt_task(), future = perf_event_new_id();
    pt_open("A");
    pt_work(1);
    pt_suspend(future);
    pt_at(41);
    pt_say(SELECT, .more = PT_EPOCH_NS + 1 * PT_MS);
    pt_work(2); /* the loop is late by that much */
    uint64_t io = perf_event_new_id();
    pt_resume(io, PERF_ACTOR_IO);
    pt_work(1);
    pt_say(RESOLVE, .key = future);
    pt_end_actor();
    pt_resume(task, PERF_ACTOR_TASK);
    pt_end_actor();
    pt_profile_model(&p);
    ck_assert_str_eq(pt_ops(&p, task), "run:1@A timer:40@A wait");
    ck_assert_str_eq(pt_ops(&p, io), "run:1 resolve");
    ck_assert_uint_eq(pt_label(&p, "A")->delay_ns, 40 * PT_MS);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_io_that_nobody_waits_for_is_nothing)
{
    pt_profile p;
    pt_main();
    uint64_t future = perf_event_new_id();
    uint64_t io = perf_event_new_id();
    pt_resume(io, PERF_ACTOR_IO);
    pt_say(RESOLVE, .key = future);
    pt_end_actor();
    pt_profile_model(&p);
    for (size_t i = 0; i < p.model.ops.count; i++)
        ck_assert_uint_ne(p.model.ops.item[i].code, PERFI_OP_TIMER);
    pt_profile_free(&p);
}
END_TEST

/* A thread's wait has no place before it; here it is the first operation. */
START_TEST(test_io_ends_a_threads_wait)
{
    pt_profile p;
    uint64_t main = pt_main(), future = perf_event_new_id();
    pt_say(WAIT_FOR, .key = future);
    pt_say(WAIT);
    pt_at(5);
    pt_say(WAITED);
    pt_thread();
    uint64_t io = perf_event_new_id();
    pt_resume(io, PERF_ACTOR_IO);
    pt_say(RESOLVE, .key = future);
    pt_end_actor();
    pt_profile_model(&p);
    ck_assert_str_eq(pt_ops(&p, main), "block:5");
    pt_profile_free(&p);
}
END_TEST

/* ---- waits that nobody ends ---- */

START_TEST(test_what_nobody_ends_keeps_its_length)
{
    pt_profile p;
    pt_main();
    uint64_t task = pt_task();
    pt_open("A");
    pt_say(AWAIT, .key = 4000); /* was done at once */
    pt_suspend(4001);
    pt_at(30);
    pt_resume(task, PERF_ACTOR_TASK);
    pt_suspend(4002); /* and never came back */
    pt_profile_model(&p);
    ck_assert_str_eq(pt_ops(&p, task), "delay:30@A never");
    ck_assert_uint_eq(pt_label(&p, "A")->delay_ns, 30 * PT_MS);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_who_cannot_run_ends_nothing)
{
    pt_profile p;
    pt_main();
    uint64_t task = pt_task(), future = perf_event_new_id();
    pt_suspend(future);
    pt_at(10);
    uint64_t stray = perf_event_new_id(); /* nobody made it ready */
    pt_resume(stray, PERF_ACTOR_CALLBACK);
    pt_say(RESOLVE, .key = future);
    pt_end_actor();
    pt_resume(task, PERF_ACTOR_TASK);
    pt_end_actor();
    pt_profile_model(&p);
    ck_assert_str_eq(pt_ops(&p, task), "delay:10");
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_a_wait_for_an_actor_is_ended_by_its_end)
{
    pt_profile p;
    pt_main();
    uint64_t task = pt_task(), other = pt_new_task();
    pt_suspend(other);
    pt_resume(other, PERF_ACTOR_TASK);
    pt_end_actor();
    pt_resume(task, PERF_ACTOR_TASK);
    pt_end_actor();
    pt_profile_model(&p);
    ck_assert_str_eq(pt_ops(&p, task), "spawn wait");
    const perfi_op *wait = pt_nth_op(&p, task, 1);
    uint32_t by = p.model.resolver[wait->what];
    ck_assert_ptr_eq(&p.line.actors.item[by - 1], pt_actor(&p, other));
    pt_profile_free(&p);
}
END_TEST

/* ---- cancelled actors ---- */

static const perfi_op *
the_cancel(const pt_profile *p)
{
    const perfi_op *op = p->model.ops.item;
    while (op->code != PERFI_OP_CANCEL)
        op++;
    return op;
}

/* The operation at which a task goes on that was cancelled at a time. It waits
 * from 10 to 20 and from 30 to 40 for what others resolve, runs in between. */
static const perfi_op *
cancelled_at(pt_profile *p, double ms, uint64_t *task)
{
    uint64_t first = perf_event_new_id(), second = perf_event_new_id();
    pt_main();
    pt_at(10);
    *task = pt_task();
    pt_suspend(first);
    pt_at(20);
    pt_resume(*task, PERF_ACTOR_TASK);
    pt_work(10);
    pt_suspend(second);
    pt_at(40);
    pt_resume(*task, PERF_ACTOR_TASK);
    pt_work(5);
    pt_end_actor();
    pt_at(0);
    pt_thread();
    pt_at(ms);
    pt_say(CANCEL, .key = *task);
    pt_say(RESOLVE, .key = first);
    pt_say(RESOLVE, .key = second);
    pt_profile_model(p);
    const perfi_op *cancel = the_cancel(p);
    return cancel->more ? &p->model.ops.item[cancel->more - 1] : NULL;
}

START_TEST(test_a_cancelled_actor_goes_on_behind_its_wait)
{
    static const struct {
        double ms;
        double runs; /* the next operation; 0: it was not suspended */
    } cases[] = {{5, 0},  {10, 10}, {15, 10}, {20, 10},
                 {25, 0}, {35, 5},  {40, 5},  {44, 0}};
    pt_profile p;
    uint64_t task;
    const perfi_op *op = cancelled_at(&p, cases[_i].ms, &task);
    ck_assert(!op == (cases[_i].runs == 0));
    if (op) {
        ck_assert_uint_eq(op->code, PERFI_OP_RUN);
        ck_assert_double_eq((double)op->ns, cases[_i].runs * (double)PT_MS);
    }
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_cancelled_while_it_waited_for_a_resource)
{
    pt_profile p;
    pt_main();
    uint64_t lock = pt_resource(PERF_RESOURCE_LOCK, 1, "l");
    uint64_t task = pt_task(), future = perf_event_new_id();
    pt_say(ACQUIRE, .key = lock);
    pt_suspend(future);
    pt_at(5);
    pt_say(CANCEL, .key = task);
    pt_resume(task, PERF_ACTOR_TASK);
    pt_say(NOT_ACQUIRED, .key = lock);
    pt_work(3);
    pt_end_actor();
    pt_profile_model(&p);
    ck_assert_ptr_eq(&p.model.ops.item[the_cancel(&p)->more - 1],
                     pt_nth_op(&p, task, 1));
    ck_assert_str_eq(pt_ops(&p, task), "delay:5 run:3");
    pt_profile_free(&p);
}
END_TEST

/* ---- callbacks that count ---- */

START_TEST(test_equal_callbacks_are_a_group_in_the_order_they_ran)
{
    pt_profile p;
    pt_main();
    uint64_t callback[3];
    for (int i = 0; i < 3; i++) {
        callback[i] = perf_event_new_id();
        pt_say(SPAWN, .key = callback[i], .arg = 9);
    }
    uint64_t other = perf_event_new_id(), never = perf_event_new_id();
    pt_say(SPAWN, .key = other, .arg = 8);
    pt_say(SPAWN, .key = never, .arg = 9);
    for (int i = 2; i >= 0; i--) { /* the last one first */
        pt_at(10 - i);
        pt_resume(callback[i], PERF_ACTOR_CALLBACK);
        pt_end_actor();
    }
    pt_resume(other, PERF_ACTOR_CALLBACK);
    pt_end_actor();
    pt_profile_model(&p);
    ck_assert_uint_eq(p.model.groups.count, 2);
    uint32_t group = pt_actor(&p, callback[0])->group;
    const perfi_group *g = &p.model.groups.item[group - 1];
    ck_assert_uint_eq(g->count, 3); /* who never ran does not count */
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t actor = p.model.ordinal[g->first + i];
        ck_assert_ptr_eq(&p.line.actors.item[actor],
                         pt_actor(&p, callback[2 - i]));
        ck_assert_uint_eq(pt_actor(&p, callback[i])->group, group);
    }
    ck_assert_uint_eq(pt_actor(&p, never)->group, 0);
    ck_assert_uint_eq(pt_actor(&p, other)->group, group == 1 ? 2 : 1);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_a_task_is_in_no_group)
{
    pt_profile p;
    pt_main();
    uint64_t task = perf_event_new_id();
    pt_say(SPAWN, .key = task, .arg = 9);
    pt_resume(task, PERF_ACTOR_TASK);
    pt_end_actor();
    pt_profile_model(&p);
    ck_assert_uint_eq(p.model.groups.count, 0);
    ck_assert_uint_eq(pt_actor(&p, task)->group, 0);
    pt_profile_free(&p);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("profiler.waits");
    tcase_add_test(tests, test_io_is_the_service_of_who_waits_for_it);
    tcase_add_test(tests, test_io_that_nobody_waits_for_is_nothing);
    tcase_add_test(tests, test_io_ends_a_threads_wait);
    tcase_add_test(tests, test_what_nobody_ends_keeps_its_length);
    tcase_add_test(tests, test_who_cannot_run_ends_nothing);
    tcase_add_test(tests, test_a_wait_for_an_actor_is_ended_by_its_end);
    tcase_add_loop_test(tests, test_a_cancelled_actor_goes_on_behind_its_wait,
                        0, 8);
    tcase_add_test(tests, test_cancelled_while_it_waited_for_a_resource);
    tcase_add_test(tests,
                   test_equal_callbacks_are_a_group_in_the_order_they_ran);
    tcase_add_test(tests, test_a_task_is_in_no_group);
    return pt_end();
}
