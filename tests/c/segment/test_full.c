/* test_full.c - no more room within max_bytes; on a file system: test_tmpfs.c.
 * The program goes on, losses are counted, what had room stays exact. */
#include "pt.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

enum { THREADS = 16, EACH = 5000 };

static pthread_barrier_t all_begun;

static void
record_in_thread(unsigned index, void *ctx)
{
    const uint32_t *name = ctx;
    for (uint64_t i = 0; i < EACH; i++) {
        perf_span span = perf_span_begin(name[0], (perf_span){0});
        perf_span_end(span);
        perf_metric_add(name[1], 1);
        perf_metric_record(name[2], i * index);
        if (!i) /* nobody ends before all have asked for a block */
            pthread_barrier_wait(&all_begun);
    }
}

static void
reach_the_bound(void *ctx)
{
    (void)ctx;
    pt_start(1 << 20, 256 << 10);
    pthread_barrier_init(&all_begun, NULL, THREADS);
    const uint32_t name[] = {pt_name(PERF_KIND_SPAN, "s"),
                             pt_name(PERF_KIND_COUNTER, "c"),
                             pt_name(PERF_KIND_TIMING, "t")};
    pt_parallel(THREADS, record_in_thread, (void *)name);
    perf_segment_stats stats = pt_stats();
    PT_CHECK_EQ(stats.used_bytes, 1 << 20);
    PT_CHECK_EQ(stats.max_bytes, 1 << 20);
    PT_CHECK(stats.dropped_records > 0);
    perf_reader *reader = pt_self();
    size_t n;
    perf_record *records = pt_records(reader, 100, &n);
    /* every span is in a ring, was overwritten there, or was dropped once */
    PT_CHECK_EQ(n + perf_reader_lost(reader) + stats.dropped_records,
                THREADS * EACH);
    free(records);
    perf_reader_close(reader);
    uint64_t values = pt_totals_of(name[0]).count +
                      pt_totals_of(name[2]).count +
                      pt_totals_of(name[1]).sum_ns + stats.dropped_values;
    /* a begin that found no block counts a record, and no latency */
    PT_CHECK(values <= 3 * THREADS * EACH);
    PT_CHECK(values + stats.dropped_records >= 3 * THREADS * EACH);
}

START_TEST(test_bound_reached_by_many_threads)
{
    ck_assert_uint_eq(pt_run_well(reach_the_bound, NULL), 1);
}
END_TEST

/* ---- signals ---- */

static volatile sig_atomic_t signals;

static void
on_signal(int number)
{
    (void)number;
    signals++;
}

/* A profiler's timer interrupts system calls: that is not "full". */
START_TEST(test_interrupted_reservation_is_not_a_full_file_system)
{
    pt_start(64 << 20, 60 << 20);
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval every = {{0, 60}, {0, 60}};
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    enum { N = 700000 };
    setitimer(ITIMER_REAL, &every, NULL);
    for (int i = 0; i < N; i++)
        perf_span_end(perf_span_begin(name, (perf_span){0}));
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 0}}, NULL);
    ck_assert_int_gt(signals, 100);
    perf_reader *reader = pt_self();
    size_t n;
    free(pt_records(reader, 4096, &n));
    ck_assert_uint_eq(n, N); /* the ring had room for all of them */
    ck_assert_uint_eq(perf_reader_lost(reader), 0);
    perf_reader_close(reader);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("segment.full");
    tcase_add_test(tests, test_bound_reached_by_many_threads);
    tcase_add_test(tests,
                   test_interrupted_reservation_is_not_a_full_file_system);
    return pt_end();
}
