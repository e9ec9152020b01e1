/* test_queues.c - what is done with an item travels with the item: programs of
 * workers are cut at each get. */
#include "pt_profile.h"

#include <stdio.h>

static void
get(uint64_t queue)
{
    pt_say(GET, .key = queue);
    pt_say(GOT, .key = queue);
}

/* What a queue's items are followed by: "run:1@A; run:2@A last". */
static const char *
bodies(const pt_profile *p, uint32_t queue)
{
    static char text[512];
    perfi_range range = p->model.bodies_of[queue];
    size_t at = 0;
    text[0] = 0;
    for (uint32_t i = range.first; i < range.end; i++) {
        const perfi_body *b = &p->model.bodies.item[i];
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s%s",
                               at ? "; " : "", pt_ops_in(p, b->ops),
                               b->is_final ? " last" : "");
    }
    return text;
}

START_TEST(test_workers_are_cut_at_each_get)
{
    pt_profile p;
    pt_main();
    uint64_t queue = pt_resource(PERF_RESOURCE_QUEUE, 0, "q");
    uint64_t worker[2] = {pt_new_task(), pt_new_task()};
    for (int i = 0; i < 4; i++)
        pt_say(PUT_NOWAIT, .key = queue);
    for (int i = 0; i < 2; i++) {
        pt_resume(worker[i], PERF_ACTOR_TASK);
        pt_work(0.5); /* before the first */
        get(queue);
        pt_work(1 + i);
        pt_say(TASK_DONE, .key = queue);
        get(queue);
        pt_work(3 + i);
        pt_end_actor();
    }
    pt_profile_model(&p);
    for (int i = 0; i < 2; i++)
        ck_assert_str_eq(pt_ops(&p, worker[i]), "run:0.5 take");
    ck_assert_uint_eq(p.model.programs[1].worker_of, 1);
    ck_assert_str_eq(bodies(&p, 0), "run:1 task_done; run:3 last; "
                                    "run:2 task_done; run:4 last");
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_bodies_are_in_the_order_of_the_gets)
{
    pt_profile p;
    pt_main();
    uint64_t queue = pt_resource(PERF_RESOURCE_QUEUE, 0, "q");
    uint64_t worker[2] = {pt_new_task(), pt_new_task()};
    for (int i = 0; i < 6; i++) {
        uint64_t actor = worker[i % 2];
        pt_resume(actor, PERF_ACTOR_TASK);
        get(queue);
        pt_work(i + 1);
        pt_suspend(0);
    }
    pt_profile_model(&p);
    ck_assert_str_eq(bodies(&p, 0),
                     "run:1 yield; run:2 yield; run:3 yield; run:4 yield; "
                     "run:5 yield last; run:6 yield last");
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_a_cancelled_get_begins_the_epilogue)
{
    pt_profile p;
    pt_main();
    uint64_t queue = pt_resource(PERF_RESOURCE_QUEUE, 0, "q");
    uint64_t worker = pt_task();
    get(queue);
    pt_work(1);
    pt_say(GET, .key = queue);
    pt_suspend(perf_event_new_id());
    pt_say(CANCEL, .key = worker);
    pt_resume(worker, PERF_ACTOR_TASK);
    pt_say(NOT_GOT, .key = queue);
    pt_work(7);
    pt_end_actor();
    pt_profile_model(&p);
    ck_assert_str_eq(pt_ops(&p, worker), "take");
    ck_assert_str_eq(bodies(&p, 0), "run:1"); /* not its last one (trap 9) */
    perfi_range epilogue = p.model.programs[1].epilogue;
    ck_assert_uint_eq(epilogue.end - epilogue.first, 1);
    ck_assert_uint_eq(p.model.ops.item[epilogue.first].ns, 7 * PT_MS);
    pt_profile_free(&p);
}
END_TEST

/* Who takes in other ways as well: the k-th get waits for the k-th item. */
START_TEST(test_who_is_no_worker)
{
    pt_profile p;
    pt_main();
    uint64_t q = pt_resource(PERF_RESOURCE_QUEUE, 0, "q");
    uint64_t other = pt_resource(PERF_RESOURCE_QUEUE, 0, "other");
    uint64_t task = pt_new_task(), callback = pt_new_task();
    switch (_i) {
    case 0: /* takes from two */
        pt_resume(task, PERF_ACTOR_TASK);
        get(q);
        get(other);
        break;
    case 1: /* does not wait */
        pt_resume(task, PERF_ACTOR_TASK);
        pt_say(GOT_NOWAIT, .key = q);
        break;
    case 2: /* one worker, and the main actor */
        pt_resume(task, PERF_ACTOR_TASK);
        get(q);
        pt_suspend(0);
        get(q);
        break;
    case 3: /* a callback */
        pt_resume(callback, PERF_ACTOR_CALLBACK);
        get(q);
        break;
    case 4: /* the loop runs until it ends */
        pt_say(HOST, .key = task, .more = PT_LOOP);
        pt_resume(task, PERF_ACTOR_TASK);
        get(q);
        break;
    default: /* never got one */
        pt_resume(task, PERF_ACTOR_TASK);
        pt_say(GET, .key = q);
    }
    pt_profile_model(&p);
    ck_assert_uint_eq(p.model.bodies.count, 0);
    for (size_t a = 0; a < p.line.actors.count; a++)
        ck_assert_uint_eq(p.model.programs[a].worker_of, 0);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_threads_and_work_can_be_workers)
{
    pt_profile p;
    pt_main();
    uint64_t q = pt_resource(PERF_RESOURCE_QUEUE, 0, "q");
    uint64_t work = perf_event_new_id();
    pt_say(SUBMIT, .key = work, .more = 99);
    uint64_t thread = pt_thread();
    get(q);
    pt_work(1);
    get(q);
    pt_thread();
    pt_resume(work, PERF_ACTOR_WORK);
    get(q);
    pt_end_actor();
    pt_profile_model(&p);
    ck_assert_str_eq(pt_ops(&p, thread), "take");
    ck_assert_str_eq(pt_ops(&p, work), "take");
    ck_assert_uint_eq(p.model.bodies.count, 3);
    pt_profile_free(&p);
}
END_TEST

/* Python 3.11's wait_for(queue.get(), t): the get sits in a task. */
START_TEST(test_a_get_in_a_task_of_its_own_is_the_callers)
{
    pt_profile p;
    pt_main();
    uint64_t queue = pt_resource(PERF_RESOURCE_QUEUE, 0, "q");
    uint64_t worker = pt_task();
    for (int i = 0; i < 2; i++) {
        uint64_t inner = pt_new_task();
        uint64_t limit = perf_event_new_id();
        pt_say(TIMER, .key = limit, .arg = 1,
               .more = PT_EPOCH_NS + 100 * PT_MS);
        pt_suspend(inner);
        pt_resume(inner, PERF_ACTOR_TASK);
        get(queue);
        pt_end_actor();
        pt_resume(worker, PERF_ACTOR_TASK);
        pt_work(5);
    }
    pt_end_actor();
    pt_profile_model(&p);
    ck_assert_str_eq(pt_ops(&p, worker), "take");
    ck_assert_str_eq(bodies(&p, 0), "run:5; run:5 last");
    pt_profile_free(&p);
}
END_TEST

/* Gets whose queue is not known stand in the way of nothing. */
START_TEST(test_gets_of_no_queue)
{
    pt_profile p;
    pt_main();
    uint64_t queue = pt_resource(PERF_RESOURCE_QUEUE, 0, "q");
    uint64_t worker = pt_task();
    get(4444);
    pt_work(1);
    get(queue);
    pt_work(2);
    get(4444);
    pt_work(3);
    pt_end_actor();
    pt_profile_model(&p);
    ck_assert_str_eq(pt_ops(&p, worker), "get run:1 take");
    ck_assert_str_eq(bodies(&p, 0), "run:2 get run:3 last");
    pt_profile_free(&p);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("profiler.queues");
    tcase_add_test(tests, test_workers_are_cut_at_each_get);
    tcase_add_test(tests, test_bodies_are_in_the_order_of_the_gets);
    tcase_add_test(tests, test_a_cancelled_get_begins_the_epilogue);
    tcase_add_loop_test(tests, test_who_is_no_worker, 0, 6);
    tcase_add_test(tests, test_threads_and_work_can_be_workers);
    tcase_add_test(tests, test_a_get_in_a_task_of_its_own_is_the_callers);
    tcase_add_test(tests, test_gets_of_no_queue);
    return pt_end();
}
