/* test_compile.c - each event becomes an operation, the time before it one or
 * two; what a wait waited for is kept, not how long. */
#include "pt_profile.h"

/* ---- waiting ---- */

START_TEST(test_a_wait_has_no_duration)
{
    pt_profile p;
    pt_main();
    uint64_t task = pt_task();
    pt_open("A");
    pt_work(1);
    uint64_t other = pt_new_task();
    pt_suspend(other);
    pt_at(50);
    pt_resume(other, PERF_ACTOR_TASK);
    pt_end_actor();
    pt_resume(task, PERF_ACTOR_TASK);
    pt_work(2);
    pt_suspend(0);
    pt_resume(task, PERF_ACTOR_TASK);
    pt_end_actor();
    pt_profile_model(&p);
    ck_assert_str_eq(pt_ops(&p, task), "run:1@A spawn wait run:2@A yield");
    const perfi_op *wait = pt_nth_op(&p, task, 2);
    ck_assert_uint_eq(wait->what, perfi_ids_find(&p.line.things, other));
    const perfi_suspension *s = &p.model.suspensions.item[wait->more - 1];
    ck_assert_uint_eq(s->from, 1 * PT_MS);
    ck_assert_uint_eq(s->to, 50 * PT_MS);
    ck_assert_ptr_eq(&p.model.ops.item[s->op], wait);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_await_and_suspend_for_one_thing_are_one_wait)
{
    pt_profile p;
    pt_main();
    uint64_t task = pt_task();
    uint64_t done = pt_new_task(), late = pt_new_task();
    pt_say(AWAIT, .key = done); /* it was done: no suspension */
    pt_work(1);
    pt_say(AWAIT, .key = late);
    pt_work(1);
    pt_suspend(late);
    pt_resume(done, PERF_ACTOR_TASK);
    pt_end_actor();
    pt_resume(late, PERF_ACTOR_TASK);
    pt_end_actor();
    pt_resume(task, PERF_ACTOR_TASK);
    pt_end_actor();
    pt_profile_model(&p);
    ck_assert_str_eq(pt_ops(&p, task), "spawn spawn wait run:1 run:1 wait");
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_a_suspension_that_never_ended)
{
    pt_profile p;
    pt_main();
    uint64_t task = pt_task();
    uint64_t other = pt_new_task();
    pt_suspend(other);
    pt_profile_model(&p);
    ck_assert_uint_eq(p.model.suspensions.item[0].to, UINT64_MAX);
    ck_assert_str_eq(pt_ops(&p, task), "spawn never"); /* the other never ran */
    pt_profile_free(&p);
}
END_TEST

/* ---- timers ---- */

/* A timer made at 1 ms, due at 11 ms, whose selector wait was from..to. */
static const perfi_op *
timer_op(pt_profile *p, double from, double to, bool ran)
{
    pt_main();
    pt_at(1);
    uint64_t task = pt_task();
    uint64_t timer = perf_event_new_id();
    pt_open("A");
    pt_say(TIMER, .key = timer, .more = PT_EPOCH_NS + 11 * PT_MS);
    pt_suspend(0);
    pt_at(to);
    pt_say(SELECT, .more = PT_EPOCH_NS + (uint64_t)(from * (double)PT_MS));
    if (ran) {
        pt_resume(timer, PERF_ACTOR_TIMER);
        pt_end_actor();
    }
    pt_profile_model(p);
    return ran ? pt_nth_op(p, task, 0) : NULL;
}

START_TEST(test_a_timer_overshoots_as_the_selector_did)
{
    static const struct {
        double from, to, over;
    } cases[] = {
        {2, 11, 0},      {2, 11.3, 0.3}, {2, 12.5, 1.5},
        {2, 30, 0.6},    /* it came late: the loop was busy elsewhere */
        {2, 8, 0.6},     /* it was made ready by something else */
        {11.5, 12, 0.6}, /* it was due before */
    };
    pt_profile p;
    const perfi_op *op = timer_op(&p, cases[_i].from, cases[_i].to, true);
    ck_assert_uint_eq(op->code, PERFI_OP_TIMER);
    ck_assert_uint_eq(op->ns, 10 * PT_MS);
    ck_assert_double_eq_tol((double)op->more, cases[_i].over * (double)PT_MS,
                            1);
    ck_assert_uint_eq(pt_label(&p, "A")->delay_ns, 10 * PT_MS);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_a_timer_that_never_ran_was_cancelled)
{
    pt_profile p;
    timer_op(&p, 2, 11, false);
    ck_assert_uint_eq(pt_label(&p, "A")->delay_ns, 0);
    for (size_t i = 0; i < p.model.ops.count; i++)
        ck_assert_uint_ne(p.model.ops.item[i].code, PERFI_OP_TIMER);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_a_time_limit_is_nobodys_service)
{
    pt_profile p;
    pt_main();
    uint64_t task = pt_task(), limit = perf_event_new_id();
    pt_open("A");
    pt_say(TIMER, .key = limit, .arg = 1, .more = PT_EPOCH_NS + 9 * PT_MS);
    pt_suspend(0);
    pt_at(9);
    pt_resume(limit, PERF_ACTOR_TIMER);
    pt_end_actor();
    pt_profile_model(&p);
    ck_assert_str_eq(pt_ops(&p, task), "timer:9@(limit) yield");
    ck_assert_uint_eq(pt_label(&p, "A")->delay_ns, 0);
    ck_assert_uint_eq(p.model.labels.item[PERFI_LIMIT_LABEL].delay_ns,
                      9 * PT_MS);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_a_timer_that_was_due_before_it_was_made)
{
    pt_profile p;
    pt_main();
    pt_at(5);
    uint64_t task = pt_task(), timer = perf_event_new_id();
    pt_say(TIMER, .key = timer, .more = PT_EPOCH_NS + 2 * PT_MS);
    pt_say(TIMER, .key = timer, .more = 0); /* before the stream began */
    pt_suspend(0);
    pt_resume(timer, PERF_ACTOR_TIMER);
    pt_end_actor();
    pt_profile_model(&p);
    ck_assert_str_eq(pt_ops(&p, task), "timer:0 timer:0 yield");
    pt_profile_free(&p);
}
END_TEST

/* ---- others ---- */

START_TEST(test_single_operations)
{
    pt_profile p;
    uint64_t main = pt_main();
    uint64_t queue = pt_resource(PERF_RESOURCE_QUEUE, 0, "q");
    uint64_t pool = pt_resource(PERF_RESOURCE_EXECUTOR, 2, "pool");
    uint64_t work = perf_event_new_id(), future = perf_event_new_id();
    pt_say(PUT_NOWAIT, .key = queue);
    pt_say(GOT_NOWAIT, .key = queue);
    pt_say(TASK_DONE, .key = queue);
    pt_say(SUBMIT, .key = work, .more = pool);
    pt_say(RESOLVE, .key = future);
    pt_say(CANCEL, .key = work);
    pt_say(RELEASE, .key = 12345); /* of nothing that is known */
    pt_profile_model(&p);
    ck_assert_str_eq(pt_ops(&p, main),
                     "put get task_done submit resolve cancel release");
    ck_assert(pt_nth_op(&p, main, 1)->nowait);
    ck_assert_uint_eq(pt_nth_op(&p, main, 3)->more, 1);
    ck_assert_uint_eq(pt_nth_op(&p, main, 6)->what, PERFI_NONE);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_ids_that_are_not_there_are_left_out)
{
    pt_profile p;
    uint64_t main = pt_main();
    pt_say(SPAWN, .key = 0);
    pt_say(TIMER, .key = 0);
    pt_say(SUBMIT, .key = 0, .more = 77);
    pt_say(CANCEL, .key = 0);
    pt_say(CANCEL, .key = 54321);
    pt_say(RESOLVE, .key = 0);
    pt_say(AWAIT, .key = 0);
    pt_say(LABEL, .key = UINT64_MAX);
    pt_write((perf_event){.code = 200}); /* of a later version */
    pt_profile_model(&p);
    ck_assert_str_eq(pt_ops(&p, main), "resolve");
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_work_takes_the_span_of_who_submitted_it)
{
    pt_profile p;
    pt_main();
    uint64_t work = perf_event_new_id(), thread = perf_event_new_id();
    pt_open("A");
    pt_say(SUBMIT, .key = work, .more = 88);
    pt_say(SPAWN, .key = thread);
    pt_close();
    pt_thread();
    pt_resume(work, PERF_ACTOR_WORK);
    pt_work(3);
    pt_end_actor();
    pt_say(THREAD, .key = thread, .arg = PERF_ACTOR_THREAD);
    pt_work(1);
    pt_say(LABEL);
    pt_profile_model(&p);
    ck_assert_str_eq(pt_ops(&p, work), "run:3@A");
    ck_assert_str_eq(pt_ops(&p, thread), "run:1@A");
    pt_profile_free(&p);
}
END_TEST

/* ---- imports ---- */

START_TEST(test_imports_before_the_programs_work_are_no_part_of_it)
{
    pt_profile p;
    uint64_t main = pt_main();
    uint32_t module = pt_name(PERF_KIND_TEXT, "langgraph");
    pt_work(1);
    pt_say(IMPORT, .arg = module);
    pt_work(100);
    pt_say(LABEL);
    pt_work(100);
    pt_say(IMPORTED);
    pt_work(2);
    pt_open("A");
    pt_say(IMPORT, .arg = module); /* inside a span: its first use */
    pt_work(10);
    pt_say(IMPORTED);
    pt_close();
    pt_profile_model(&p);
    ck_assert_uint_eq(p.model.startup_ns, 200 * PT_MS);
    ck_assert_uint_eq(p.model.wall_ns, 13 * PT_MS);
    ck_assert_str_eq(pt_ops(&p, main), "run:1 run:2 run:10@langgraph");
    ck_assert_uint_eq(pt_label(&p, "langgraph")->calls, 1);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_an_import_in_a_task_is_work)
{
    pt_profile p;
    pt_main();
    uint64_t task = pt_task();
    pt_say(IMPORT, .arg = pt_name(PERF_KIND_TEXT, "numpy"));
    pt_work(7);
    pt_say(IMPORTED);
    pt_end_actor();
    pt_profile_model(&p);
    ck_assert_uint_eq(p.model.startup_ns, 0);
    ck_assert_str_eq(pt_ops(&p, task), "run:7@numpy");
    pt_profile_free(&p);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("profiler.compile");
    tcase_add_test(tests, test_a_wait_has_no_duration);
    tcase_add_test(tests, test_await_and_suspend_for_one_thing_are_one_wait);
    tcase_add_test(tests, test_a_suspension_that_never_ended);
    tcase_add_loop_test(tests, test_a_timer_overshoots_as_the_selector_did, 0,
                        6);
    tcase_add_test(tests, test_a_timer_that_never_ran_was_cancelled);
    tcase_add_test(tests, test_a_time_limit_is_nobodys_service);
    tcase_add_test(tests, test_a_timer_that_was_due_before_it_was_made);
    tcase_add_test(tests, test_single_operations);
    tcase_add_test(tests, test_ids_that_are_not_there_are_left_out);
    tcase_add_test(tests, test_work_takes_the_span_of_who_submitted_it);
    tcase_add_test(tests,
                   test_imports_before_the_programs_work_are_no_part_of_it);
    tcase_add_test(tests, test_an_import_in_a_task_is_work);
    return pt_end();
}
