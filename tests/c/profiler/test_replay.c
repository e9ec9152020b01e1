/* test_replay.c - a replay ends with the main actor; what never ends is stuck,
 * and the time is when it got so. */
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

START_TEST(test_what_never_ends_is_stuck)
{
    uint32_t main;
    begin(&main);
    uint32_t a = actor(PERF_ACTOR_TASK), b = actor(PERF_ACTOR_TASK);
    uint32_t lock = pt_make_resource(&p, PERF_RESOURCE_LOCK, 1);
    uint32_t queue = pt_make_resource(&p, PERF_RESOURCE_QUEUE, 1);
    uint32_t future = pt_make_future(&p);
    pt_do(&p, a, pt_op(RUN, .ns = 3 * MS));
    switch (_i) {
    case 0: pt_do(&p, b, pt_op(WAIT, .what = pt_thing(&p, b))); break;
    case 1: /* each for the other */
        pt_do(&p, a, pt_op(RUN, .ns = 3 * MS),
              pt_op(WAIT, .what = pt_thing(&p, b)));
        pt_do(&p, b, pt_op(WAIT, .what = pt_thing(&p, a)));
        break;
    case 2: pt_do(&p, b, pt_op(NEVER)); break;
    case 3: pt_do(&p, b, pt_op(WAIT, .what = future)); break;
    case 4: pt_do(&p, b, pt_op(GET, .what = queue)); break;
    case 5:
        pt_do(&p, b, pt_op(PUT, .what = queue), pt_op(PUT, .what = queue));
        break;
    case 6:
        pt_do(&p, b, pt_op(PUT, .what = queue), pt_op(JOIN, .what = queue));
        break;
    case 7:
        pt_do(&p, b, pt_op(ACQUIRE, .what = lock),
              pt_op(ACQUIRE, .what = lock));
        break;
    default: break;
    }
    uint32_t tasks[] = {a, b};
    pt_do_host(&p, main, tasks, 2);
    if (_i == 8) /* for what nobody resolves */
        pt_do(&p, main, pt_op(RUN, .ns = 3 * MS), pt_op(HOST, .what = future));
    perfi_outcome o = pt_replay(&p, NULL);
    ck_assert(o.stuck);
    ck_assert_uint_eq(o.ns, 3 * MS); /* when it did */
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_no_actor_at_all)
{
    pt_make(&p, 0);
    perfi_outcome o = pt_replay(&p, NULL);
    ck_assert_uint_eq(o.ns, 0);
    pt_profile_free(&p);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("profiler.replay");
    tcase_add_loop_test(tests, test_what_never_ends_is_stuck, 0, 9);
    tcase_add_test(tests, test_no_actor_at_all);
    return pt_end();
}
