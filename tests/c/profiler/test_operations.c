/* test_operations.c - how long an operation takes under which conditions:
 * scaled, resampled, at a limiter's rate; and workers that take items. */
#include "pt_program.h"

static pt_profile p;
static uint32_t program, task; /* the main actor, and the task that it hosts */

enum { MS = 1000000, A = 2, B };

/* The operations run in a task; they go first to last. */
#define alone(...)                                                             \
    (pt_make(&p, 2), program = pt_make_actor(&p, PERF_ACTOR_MAIN),             \
     task = pt_make_actor(&p, PERF_ACTOR_TASK), pt_do(&p, task, __VA_ARGS__),  \
     pt_do_host(&p, program, &task, 1))

/* ---- durations ---- */

START_TEST(test_a_label_takes_part_of_its_time)
{
    static const struct {
        double a, b, ms;
    } cases[] = {{1, 1, 110}, {0.5, 1, 60}, {1, 0.5, 105},
                 {0, 0, 0},   {2, 3, 230},  {1e18, 1, 0x1p62 / MS + 10}};
    double scale[] = {1, 1, cases[_i].a, cases[_i].b};
    alone(pt_op(RUN, .ns = 40 * MS, .label = A),
          pt_op(BLOCK, .ns = 10 * MS, .label = B),
          pt_op(DELAY, .ns = 60 * MS, .label = A));
    if (_i == 5) /* beyond all times, twice */
        ck_assert(!pt_replay(&p, &(perfi_conditions){.scale = scale}).stuck);
    else
        ck_assert_double_eq_tol(
            pt_replay_ms(&p, &(perfi_conditions){.scale = scale}), cases[_i].ms,
            1e-3);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_a_timer_keeps_its_overshoot)
{
    double scale[] = {1, 1, 0.5, 1};
    pt_make(&p, 2);
    program = pt_make_actor(&p, PERF_ACTOR_MAIN);
    task = pt_make_actor(&p, PERF_ACTOR_TASK);
    uint32_t timer = pt_make_actor(&p, PERF_ACTOR_TIMER);
    pt_do(&p, task,
          pt_op(TIMER, .what = timer, .ns = 10 * MS, .more = MS, .label = A),
          pt_op(WAIT, .what = pt_thing(&p, timer)));
    pt_do(&p, timer, pt_op(NONE));
    pt_do_host(&p, program, &task, 1);
    ck_assert_double_eq(pt_replay_ms(&p, NULL), 11);
    ck_assert_double_eq(pt_replay_ms(&p, &(perfi_conditions){.scale = scale}),
                        6);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_time_is_scaled_by_span_too)
{
    static const double of_span[] = {1, 5, 0.5};
    static const double of_label[] = {1, 1, 2, 2};
    alone(pt_op(RUN, .ns = MS, .span = 1),
          pt_op(DELAY, .ns = 8 * MS, .span = 2, .label = A));
    perfi_conditions how = {.span_scale = of_span};
    ck_assert_double_eq(pt_replay_ms(&p, &how), 5 + 4);
    how.scale = of_label;
    ck_assert_double_eq(pt_replay_ms(&p, &how), 5 + 4 * of_label[A]);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_operations_on_nothing_are_nothing)
{
    static const perfi_op_code codes[] = {
        PERFI_OP_NONE,      PERFI_OP_WAIT,    PERFI_OP_RESOLVE,
        PERFI_OP_SUBMIT,    PERFI_OP_ACQUIRE, PERFI_OP_RELEASE,
        PERFI_OP_PUT,       PERFI_OP_GET,     PERFI_OP_TAKE,
        PERFI_OP_TASK_DONE, PERFI_OP_JOIN,    PERFI_OP_WAIT_EXECUTOR};
    alone(pt_op(RUN, .ns = MS), pt_op(NONE, .what = PERFI_NONE),
          pt_op(RUN, .ns = MS));
    perfi_op *op = &p.model.ops.item[p.model.programs[task].ops.first + 1];
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        op->code = (uint8_t)codes[i];
        op->more = codes[i] == PERFI_OP_SUBMIT ? PERFI_NONE : 0;
        ck_assert_double_eq(pt_replay_ms(&p, NULL), 2);
    }
    pt_profile_free(&p);
}
END_TEST

/* ---- slots ---- */

/* Four that come at once and take the next slot of a limiter: 2 ms until the
 * first, and 10 ms from one to the next. */
static double
four_slots(const perfi_conditions *how)
{
    uint32_t tasks[4], timers[4];
    pt_make(&p, 2);
    program = pt_make_actor(&p, PERF_ACTOR_MAIN);
    *perfi_list_add(&p.region, &p.model.limiters) = (perfi_limiter){A, 10 * MS};
    p.model.labels.item[A].limiter = 1;
    for (int i = 0; i < 4; i++) {
        tasks[i] = pt_make_actor(&p, PERF_ACTOR_TASK);
        timers[i] = pt_make_actor(&p, PERF_ACTOR_TIMER);
        pt_do(&p, timers[i], pt_op(NONE));
        pt_do(&p, tasks[i],
              pt_op(SLOT, .what = timers[i], .label = A, .more = MS / 2,
                    .ns = (uint64_t)(2 + 10 * i) * MS),
              pt_op(WAIT, .what = pt_thing(&p, timers[i])));
    }
    pt_do_host(&p, program, tasks, 4);
    double ms = pt_replay_ms(&p, how);
    pt_profile_free(&p);
    return ms;
}

START_TEST(test_slots_come_at_the_limiters_rate)
{
    static const double half[] = {0.5}, none[] = {0};
    double faster[] = {1, 1, 0.5, 1};
    ck_assert_double_eq(four_slots(NULL), 2 + 3 * 10 + 0.5);
    ck_assert_double_eq(four_slots(&(perfi_conditions){.gap = half}),
                        1 + 3 * 5 + 0.5);
    ck_assert_double_eq(four_slots(&(perfi_conditions){.gap = none}), 0.5);
    /* calls that get faster do not get more of them */
    ck_assert_double_eq(four_slots(&(perfi_conditions){.scale = faster}),
                        2 + 3 * 10 + 0.5);
}
END_TEST

/* ---- workers ---- */

/* A producer puts `items` items; two workers take one after the other. Item i
 * takes (i + 1) * 10 ms; after it the worker says so. The main actor waits
 * until all are done. */
static void
workers(uint32_t items, bool sentinels)
{
    uint32_t worker[2];
    pt_make(&p, 2);
    program = pt_make_actor(&p, PERF_ACTOR_MAIN);
    task = pt_make_actor(&p, PERF_ACTOR_TASK);
    uint32_t queue = pt_make_resource(&p, PERF_RESOURCE_QUEUE, 0);
    perfi_op ops[64] = {0};
    size_t n = 0;
    for (int i = 0; i < 2; i++) {
        worker[i] = pt_make_actor(&p, PERF_ACTOR_TASK);
        pt_do(&p, worker[i], pt_op(TAKE, .what = queue));
        p.model.programs[worker[i]].worker_of = queue + 1;
        ops[n++] = (perfi_op)pt_op(SPAWN, .what = worker[i]);
    }
    uint32_t all = items + (sentinels ? 2 : 0);
    for (uint32_t i = 0; i < all; i++) {
        uint32_t first = (uint32_t)p.model.ops.count;
        perfi_op *op = perfi_list_add(&p.region, &p.model.ops);
        *op = (perfi_op)pt_op(DELAY, .ns = (i + 1) * 10 * MS, .label = A);
        if (i >= items)
            op->code = PERFI_OP_NONE;
        *perfi_list_add(&p.region, &p.model.ops) =
            (perfi_op)pt_op(TASK_DONE, .what = queue);
        *perfi_list_add(&p.region, &p.model.bodies) =
            (perfi_body){queue, i >= items, i, {first, first + 2}};
        ops[n++] = (perfi_op)pt_op(PUT, .what = queue);
    }
    p.model.bodies_of = perfi_region_take(&p.region, 1, sizeof(perfi_range));
    p.model.bodies_of[0] = (perfi_range){0, all};
    ops[n++] = (perfi_op)pt_op(JOIN, .what = queue);
    for (int i = 0; i < 2 && sentinels; i++)
        ops[n++] = (perfi_op)pt_op(WAIT, .what = pt_thing(&p, worker[i]));
    pt_make_program(&p, task, ops, n);
    pt_do_host(&p, program, &task, 1);
}

START_TEST(test_items_go_to_whoever_is_free)
{
    workers(4, _i);
    /* 10 + 30 and 20 + 40 */
    ck_assert_double_eq(pt_replay_ms(&p, NULL), 60);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_each_worker_comes_twice)
{
    workers(4, _i); /* clones leave the last items to those who end by them */
    perfi_conditions how = {.more_workers = 1};
    ck_assert_double_eq(pt_replay_ms(&p, &how), 40);
    how.more_workers = 2; /* of another queue */
    ck_assert_double_eq(pt_replay_ms(&p, &how), 60);
    ck_assert_double_eq(pt_replay_ms(&p, NULL), 60);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_a_worker_that_is_cancelled_runs_its_epilogue)
{
    workers(2, false);
    uint32_t worker = task + 1;
    uint32_t first = (uint32_t)p.model.ops.count;
    *perfi_list_add(&p.region, &p.model.ops) =
        (perfi_op)pt_op(DELAY, .ns = 5 * MS);
    p.model.programs[worker].epilogue = (perfi_range){first, first + 1};
    uint32_t by = pt_make_actor(&p, PERF_ACTOR_TASK);
    pt_do(&p, by, pt_op(WAIT, .what = pt_thing(&p, task)),
          pt_op(CANCEL, .what = worker), pt_op(DELAY, .ns = MS),
          pt_op(CANCEL, .what = worker), /* does not begin it anew */
          pt_op(WAIT, .what = pt_thing(&p, worker)));
    uint32_t tasks[] = {task, by};
    pt_do_host(&p, program, tasks, 2);
    ck_assert_double_eq(pt_replay_ms(&p, NULL), 20 + 5);
    pt_profile_free(&p);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("profiler.operations");
    tcase_add_loop_test(tests, test_a_label_takes_part_of_its_time, 0, 6);
    tcase_add_test(tests, test_a_timer_keeps_its_overshoot);
    tcase_add_test(tests, test_time_is_scaled_by_span_too);
    tcase_add_test(tests, test_operations_on_nothing_are_nothing);
    tcase_add_test(tests, test_slots_come_at_the_limiters_rate);
    tcase_add_loop_test(tests, test_items_go_to_whoever_is_free, 0, 2);
    tcase_add_loop_test(tests, test_each_worker_comes_twice, 0, 2);
    tcase_add_test(tests, test_a_worker_that_is_cancelled_runs_its_epilogue);
    return pt_end();
}
