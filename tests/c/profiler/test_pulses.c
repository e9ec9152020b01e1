/* test_pulses.c - CPU time is read now and then; in between it is linear, and
 * it never falls. */
#include "pt_profile.h"

static double
cpu_at(const pt_profile *p, double ms)
{
    uint64_t t = (uint64_t)(ms * (double)PT_MS);
    return (double)perfi_pulses_cpu_at(&p->line.threads.item[0], t) /
           (double)PT_MS;
}

START_TEST(test_cpu_time_between_two_readings_is_linear)
{
    pt_profile p;
    pt_main();
    pt_work(2);
    pt_idle(6);
    pt_say(LABEL);
    pt_profile_timeline(&p);
    ck_assert_double_eq(cpu_at(&p, 0), 1); /* the kit begins at 1 ms */
    ck_assert_double_eq_tol(cpu_at(&p, 4), 2, 1e-6);
    ck_assert_double_eq(cpu_at(&p, 8), 3);
    ck_assert_double_eq(cpu_at(&p, 100), 3);
    ck_assert_double_eq(cpu_at(&p, -0.0), 1);
    pt_profile_free(&p);
}
END_TEST

/* Where it was not read the thread is taken for busy; what it cannot have used
 * is the last segment's. */
START_TEST(test_cpu_time_that_was_not_read)
{
    pt_profile p;
    pt_main();
    pt_read_cpu(false);
    for (int i = 0; i < 3; i++) {
        pt_idle(1);
        pt_say(LABEL);
    }
    pt_read_cpu(true);
    pt_work(1.5);
    pt_idle(8.5);
    pt_say(LABEL);
    pt_profile_timeline(&p);
    ck_assert_double_eq_tol(cpu_at(&p, 1), 2, 1e-6);
    ck_assert_double_eq_tol(cpu_at(&p, 2), 2.5, 1e-6);
    ck_assert_double_eq_tol(cpu_at(&p, 3), 2.5, 1e-6);
    ck_assert_double_eq_tol(cpu_at(&p, 13), 2.5, 1e-6);
    pt_profile_free(&p);
}
END_TEST

/* A window begins anywhere: what the thread used before must not become one
 * segment's. */
START_TEST(test_a_first_reading_that_comes_late_counts_back)
{
    pt_profile p;
    pt_work(5000);
    pt_at(0);
    pt_read_cpu(false);
    pt_say(LABEL);
    pt_idle(1);
    pt_say(LABEL);
    pt_read_cpu(true);
    pt_idle(10);
    pt_say(LABEL);
    pt_profile_timeline(&p);
    ck_assert_double_eq_tol(cpu_at(&p, 11), 5000, 1e-6);
    ck_assert_double_ge(cpu_at(&p, 1), 4985);
    ck_assert_double_ge(cpu_at(&p, 0), 4985);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_a_clock_that_goes_back_stands_still)
{
    pt_profile p;
    pt_main();
    pt_work(10);
    pt_say(LABEL);
    pt_at(4);
    pt_work(1);
    pt_say(LABEL);
    perf_events_set_time(PT_EPOCH_NS + 20 * PT_MS, 1); /* and CPU time too */
    perf_event_write(PERF_EVENT_LABEL, 0, 0, 0, 0);
    pt_profile_timeline(&p);
    uint64_t last = 0;
    for (double ms = 0; ms < 30; ms += 0.5) {
        uint64_t t = (uint64_t)(ms * (double)PT_MS);
        uint64_t cpu = perfi_pulses_cpu_at(&p.line.threads.item[0], t);
        ck_assert_uint_ge(cpu, last);
        ck_assert_uint_le(cpu, 12 * PT_MS);
        last = cpu;
    }
    pt_profile_free(&p);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("profiler.pulses");
    tcase_add_test(tests, test_cpu_time_between_two_readings_is_linear);
    tcase_add_test(tests, test_cpu_time_that_was_not_read);
    tcase_add_test(tests, test_a_first_reading_that_comes_late_counts_back);
    tcase_add_test(tests, test_a_clock_that_goes_back_stands_still);
    return pt_end();
}
