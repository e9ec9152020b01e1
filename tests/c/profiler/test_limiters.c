/* test_limiters.c - a lock that is held to sleep and sleeps that end at even
 * gaps are rate limits; equal sleeps that merely begin at even times are not.
 */
#include "pt_profile.h"

#include <stdlib.h>

static const perfi_limiter *
limiter_of(const pt_profile *p, const char *name)
{
    uint32_t number = pt_label(p, name)->limiter;
    return number ? &p->model.limiters.item[number - 1] : NULL;
}

static size_t
count_ops(const pt_profile *p, perfi_op_code code)
{
    size_t n = 0;
    for (size_t i = 0; i < p->model.ops.count; i++)
        n += p->model.ops.item[i].code == code;
    return n;
}

/* ---- sleeps ---- */

typedef struct sleeper {
    const char *span;
    double from, to;
    uint64_t task;
    pt_nap nap;
} sleeper;

static sleeper
sleeps(const char *span, double from, double to)
{
    return (sleeper){.span = span, .from = from, .to = to};
}

static int
by_time(const void *a, const void *b)
{
    const sleeper *x = a, *y = b;
    return (x->from > y->from) - (x->from < y->from);
}

/* Each in a task and a span of its own. */
static void
sleep_all(sleeper *all, size_t n)
{
    qsort(all, n, sizeof *all, by_time);
    for (size_t begun = 0, done = 0; done < n;) {
        sleeper *next = NULL; /* that wakes up */
        for (size_t i = 0; i < begun; i++)
            if (all[i].task && (!next || all[i].to < next->to))
                next = &all[i];
        if (begun < n && (!next || all[begun].from <= next->to)) {
            sleeper *s = &all[begun++];
            pt_at(s->from);
            s->task = pt_task();
            pt_open(s->span);
            s->nap = pt_doze(s->to - s->from);
            continue;
        }
        pt_wake(next->nap);
        pt_resume(next->task, PERF_ACTOR_TASK);
        pt_close();
        pt_end_actor();
        next->task = 0;
        done++;
    }
}

/* Whoever comes takes the next of the slots, 10 ms apart. */
START_TEST(test_slots_are_a_limiter)
{
    static const double came[] = {0, 1, 2, 15, 16, 17, 18, 19};
    pt_profile p;
    sleeper s[8];
    pt_main();
    for (int i = 0; i < 8; i++)
        s[i] = sleeps("A", came[i], 20 + i * 10);
    sleep_all(s, 8);
    pt_profile_model(&p);
    ck_assert_ptr_nonnull(limiter_of(&p, "A"));
    ck_assert_uint_eq(limiter_of(&p, "A")->gap_ns, 10 * PT_MS);
    ck_assert_uint_eq(count_ops(&p, PERFI_OP_SLOT), 8);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_four_slots_are_no_rhythm)
{
    pt_profile p;
    sleeper s[4];
    pt_main();
    for (int i = 0; i < 4; i++)
        s[i] = sleeps("A", i, 20 + i * 10);
    sleep_all(s, 4);
    pt_profile_model(&p);
    ck_assert_ptr_null(limiter_of(&p, "A"));
    pt_profile_free(&p);
}
END_TEST

/* As a loop that polls, or requests that come at even times. */
START_TEST(test_evenly_spaced_sleeps_of_one_length_are_no_limiter)
{
    pt_profile p;
    sleeper s[20];
    pt_main();
    for (int i = 0; i < 20; i++)
        s[i] = sleeps("A", i * 10, i * 10 + 7);
    s[0].from = 5; /* one that differs is no proof */
    sleep_all(s, 20);
    pt_profile_model(&p);
    ck_assert_ptr_null(limiter_of(&p, "A"));
    ck_assert_uint_eq(count_ops(&p, PERFI_OP_SLOT), 0);
    ck_assert_uint_eq(count_ops(&p, PERFI_OP_TIMER), 20);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_sleeps_of_any_length_are_no_limiter)
{
    enum { N = 100 };
    pt_profile p;
    sleeper s[N];
    pt_random random = {7};
    pt_main();
    for (int i = 0; i < N; i++)
        s[i] = sleeps("A", i * 10, i * 10 + 1 + (double)pt_below(&random, 400));
    sleep_all(s, N);
    pt_profile_model(&p);
    ck_assert_ptr_null(limiter_of(&p, "A"));
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_two_limiters_in_one_another)
{
    pt_profile p;
    sleeper s[24];
    pt_main();
    for (int i = 0; i < 12; i++) { /* one each 30 ms, 7 ms apart */
        s[2 * i] = sleeps("A", i, 50 + i * 30);
        s[2 * i + 1] = sleeps("A", i, 57 + i * 30);
    }
    sleep_all(s, 24);
    pt_profile_model(&p);
    ck_assert_ptr_nonnull(limiter_of(&p, "A"));
    ck_assert_uint_eq(limiter_of(&p, "A")->gap_ns, 30 * PT_MS);
    ck_assert_uint_eq(count_ops(&p, PERFI_OP_SLOT), 12);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_each_label_has_its_own)
{
    pt_profile p;
    sleeper s[12];
    pt_main();
    for (int i = 0; i < 6; i++) {
        s[2 * i] = sleeps("A", i, 20 + i * 10);
        s[2 * i + 1] = sleeps("B", i, 20 + i * 4);
    }
    sleep_all(s, 12);
    pt_profile_model(&p);
    ck_assert_uint_eq(limiter_of(&p, "A")->gap_ns, 10 * PT_MS);
    ck_assert_uint_eq(limiter_of(&p, "B")->gap_ns, 4 * PT_MS);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_time_limits_are_no_rate_limit)
{
    pt_profile p;
    pt_main();
    uint64_t limit[8];
    for (int i = 0; i < 8; i++) {
        pt_at(i);
        pt_task();
        limit[i] = perf_event_new_id();
        pt_say(TIMER, .key = limit[i], .arg = 1,
               .more = PT_EPOCH_NS + (uint64_t)(20 + i * 10) * PT_MS);
        pt_suspend(0);
    }
    for (int i = 0; i < 8; i++) {
        pt_at(20 + i * 10);
        pt_resume(limit[i], PERF_ACTOR_TIMER);
        pt_end_actor();
    }
    pt_profile_model(&p);
    ck_assert_uint_eq(p.model.limiters.count, 0);
    pt_profile_free(&p);
}
END_TEST

/* ---- locks ---- */

/* A call that sleeps under a lock, and then works or sleeps without it. */
static void
limited_call(uint64_t lock, double held_work, double held_sleep, double outside)
{
    uint64_t task = pt_task();
    pt_open("A");
    pt_say(ACQUIRE, .key = lock);
    pt_say(ACQUIRED, .key = lock);
    pt_work(held_work);
    pt_sleep(task, held_sleep);
    pt_say(RELEASE, .key = lock);
    pt_sleep(task, outside);
    pt_close();
    pt_end_actor();
}

START_TEST(test_a_lock_that_is_held_to_sleep_is_a_limiter)
{
    static const struct {
        perf_resource kind;
        double work, sleep, outside;
        bool limits;
    } cases[] = {
        {PERF_RESOURCE_LOCK, 0, 10, 50, true},
        {PERF_RESOURCE_LOCK, 0.9, 10, 50, true},
        {PERF_RESOURCE_LOCK, 1, 10, 50, false}, /* it works there */
        {PERF_RESOURCE_LOCK, 0, 10, 1, false},  /* the sleep is the work */
        {PERF_RESOURCE_LOCK, 0, 0, 50, false},
        {PERF_RESOURCE_SEMAPHORE, 0, 10, 50, false},
    };
    pt_profile p;
    pt_main();
    uint64_t lock = pt_resource(cases[_i].kind, 1, "l");
    for (int i = 0; i < 3; i++)
        limited_call(lock, cases[_i].work, cases[_i].sleep, cases[_i].outside);
    pt_profile_model(&p);
    size_t held = 0;
    for (size_t i = 0; i < p.model.ops.count; i++) {
        const perfi_op *op = &p.model.ops.item[i];
        const perfi_label *l = &p.model.labels.item[op->label];
        if (l->kind != PERFI_LABEL_HOLD)
            continue;
        held++;
        ck_assert_uint_eq(op->code, PERFI_OP_TIMER);
        ck_assert_uint_eq(op->ns, 10 * PT_MS);
        ck_assert_uint_eq(l->name, 0); /* number of the resource */
    }
    ck_assert_uint_eq(held, cases[_i].limits ? 3 : 0);
    ck_assert_uint_eq(p.model.labels.count, cases[_i].limits ? 4 : 3);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_a_thread_may_hold_a_lock_to_sleep_too)
{
    pt_profile p;
    uint64_t main = pt_main();
    uint64_t lock = pt_resource(PERF_RESOURCE_LOCK, 1, "l");
    pt_open("A");
    pt_say(ACQUIRE, .key = lock);
    pt_say(ACQUIRED, .key = lock);
    pt_say(SLEEP, .more = 10 * PT_MS);
    pt_idle(10);
    pt_say(SLEPT);
    pt_say(RELEASE, .key = lock);
    pt_work(30);
    pt_close();
    pt_profile_model(&p);
    ck_assert_str_eq(pt_ops(&p, main),
                     "acquire block:10@(hold) release run:30@A");
    pt_profile_free(&p);
}
END_TEST

/* Outside every span, too; but what kind a resource is must be known. */
START_TEST(test_a_lock_outside_every_span_or_of_no_kind)
{
    pt_profile p;
    uint64_t main = pt_main();
    for (int i = 0; i < 2; i++) {
        uint64_t lock = i ? 7777 : pt_resource(PERF_RESOURCE_LOCK, 1, "l");
        if (i)
            pt_open("A");
        pt_say(ACQUIRE, .key = lock);
        pt_say(ACQUIRED, .key = lock);
        pt_say(SLEEP, .more = 10 * PT_MS);
        pt_idle(10);
        pt_say(SLEPT);
        pt_say(RELEASE, .key = lock);
        pt_work(30);
    }
    pt_close();
    pt_profile_model(&p);
    ck_assert_str_eq(pt_ops(&p, main), "acquire block:10@(hold) release run:30 "
                                       "acquire block:10@A release run:30@A");
    pt_profile_free(&p);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("profiler.limiters");
    tcase_add_test(tests, test_slots_are_a_limiter);
    tcase_add_test(tests, test_four_slots_are_no_rhythm);
    tcase_add_test(tests,
                   test_evenly_spaced_sleeps_of_one_length_are_no_limiter);
    tcase_add_test(tests, test_sleeps_of_any_length_are_no_limiter);
    tcase_add_test(tests, test_two_limiters_in_one_another);
    tcase_add_test(tests, test_each_label_has_its_own);
    tcase_add_test(tests, test_time_limits_are_no_rate_limit);
    tcase_add_loop_test(tests, test_a_lock_that_is_held_to_sleep_is_a_limiter,
                        0, 6);
    tcase_add_test(tests, test_a_thread_may_hold_a_lock_to_sleep_too);
    tcase_add_test(tests, test_a_lock_outside_every_span_or_of_no_kind);
    return pt_end();
}
