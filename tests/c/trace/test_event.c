/* test_event.c - scheduler events: what is written is read, once, in order,
 * beside the records. */
#include "test_event_kit.h"

#include <time.h>

/* ---- what is written is read ---- */

START_TEST(test_every_field_comes_back)
{
    perf_event_write(PERF_EVENT_RESOURCE, UINT32_MAX, UINT64_MAX, 1,
                     UINT64_C(1) << 63);
    perf_event_write((perf_event_code)255, 0, 0, 0, 0); /* of a later version */
    size_t n;
    perf_event *e = own_events(&n);
    ck_assert_uint_eq(n, 2);
    ck_assert_uint_eq(e[0].code, PERF_EVENT_RESOURCE);
    ck_assert_uint_eq(e[0].block, 0);
    ck_assert_uint_eq(e[0].arg, UINT32_MAX);
    ck_assert_uint_eq(e[0].span, UINT64_MAX);
    ck_assert_uint_eq(e[0].key, 1);
    ck_assert_uint_eq(e[0].more, UINT64_C(1) << 63);
    ck_assert_uint_eq(e[1].code, 255);
    free(e);
}
END_TEST

START_TEST(test_times_are_the_clocks)
{
    perf_event_write(PERF_EVENT_LABEL, 0, 0, 0, 0);
    uint64_t before = perf_clock_now_ns();
    for (int i = 0; i < 1000; i++)
        perf_event_write(PERF_EVENT_LABEL, 0, 0, 0, 0);
    uint64_t after = perf_clock_now_ns();
    size_t n;
    perf_event *e = own_events(&n);
    ck_assert_uint_eq(n, 1001);
    /* some time for the rate of the clock, which was measured at the start */
    ck_assert_uint_ge(e[1].time_ns + 100000, before);
    ck_assert_uint_le(e[1000].time_ns, after + 100000);
    for (size_t i = 1; i < n; i++)
        PT_ASSERT(e[i].time_ns >= e[i - 1].time_ns);
    free(e);
}
END_TEST

/* They may be written while nothing else is. */
START_TEST(test_samples_bring_no_readings_of_cpu_and_memory)
{
    enum { N = 20000 };
    for (uint64_t i = 0; i < N; i++)
        perf_event_write((perf_event_code)(PERF_EVENT_SAMPLE + i % 3), 7, 1, i,
                         i);
    perf_reader *reader = pt_self();
    perf_event *e = calloc(N + 1, sizeof *e);
    ck_assert_uint_eq(perf_reader_events(reader, e, N + 1), N);
    for (uint64_t i = 0; i < N; i++) {
        PT_ASSERT(e[i].code == PERF_EVENT_SAMPLE + i % 3);
        PT_ASSERT(!e[i].cpu_ns && e[i].key == i && e[i].more == i);
    }
    perf_reader_close(reader);
    free(e);
}
END_TEST

START_TEST(test_cpu_time_is_read_now_and_then_and_grows)
{
    enum { N = 20000 };
    for (int i = 0; i < N; i++)
        perf_event_write(PERF_EVENT_LABEL, 0, 0, 0, 0);
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    size_t n, reads = 0;
    uint64_t last_ns = 0, last_cpu_ns = 0;
    perf_event *e = own_events(&n);
    ck_assert_uint_gt(e[0].cpu_ns, 0); /* the first of a thread has it */
    for (size_t i = 0; i < n; i++) {
        if (!e[i].cpu_ns)
            continue;
        PT_ASSERT(e[i].cpu_ns > last_cpu_ns);
        PT_ASSERT(!reads || e[i].time_ns - last_ns >= 49000);
        last_ns = e[i].time_ns;
        last_cpu_ns = e[i].cpu_ns;
        reads++;
    }
    ck_assert_uint_lt(reads, N / 4);
    ck_assert_uint_le(last_cpu_ns, (uint64_t)used.tv_sec * PT_NS_PER_S +
                                       (uint64_t)used.tv_nsec);
    free(e);
}
END_TEST

START_TEST(test_given_time_is_exact)
{
    static const uint64_t far = UINT64_C(1) << 62;
    static const uint64_t at[][2] = {{1, 0}, {0, 1}, {5, 7}, {far, far}};
    for (int i = 0; i < 4; i++) {
        perf_events_set_time(at[i][0], at[i][1]);
        perf_event_write(PERF_EVENT_LABEL, 0, 0, 0, 0);
    }
    perf_events_set_time(0, 0);
    uint64_t before = perf_clock_now_ns();
    perf_event_write(PERF_EVENT_LABEL, 0, 0, 0, 0);
    size_t n;
    perf_event *e = own_events(&n);
    ck_assert_uint_eq(n, 5);
    for (int i = 0; i < 4; i++) {
        ck_assert_uint_eq(e[i].time_ns, at[i][0]);
        ck_assert_uint_eq(e[i].cpu_ns, at[i][1]);
    }
    ck_assert_uint_ge(e[4].time_ns + 100000, before);
    ck_assert_uint_lt(e[4].time_ns, far);
    free(e);
}
END_TEST

START_TEST(test_events_and_records_are_read_apart)
{
    enum { N = 5000 };
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    perf_events_set_time(1, 0); /* no reading of memory in between */
    for (uint32_t i = 0; i < N; i++) {
        perf_span span = perf_span_begin_at(name, none, i, 1);
        write_numbered(i);
        if (i % 3 == 0) /* lengths vary */
            perf_span_set_int(span, PERF_KIND_KEY, 1);
        perf_span_end(span);
    }
    perf_reader *reader = pt_self();
    perf_record record[7];
    perf_event event[5];
    uint32_t records = 0, events = 0;
    for (size_t n, m = 1; m;) { /* turn by turn */
        n = perf_reader_records(reader, record, 7);
        m = perf_reader_events(reader, event, 5);
        for (size_t i = 0; i < n; i++)
            PT_ASSERT(record[i].type == PERF_RECORD_SPAN &&
                      record[i].task == records++);
        for (size_t i = 0; i < m; i++)
            expect_numbered(&event[i], events++);
    }
    ck_assert_uint_eq(records, N);
    ck_assert_uint_eq(events, N);
    ck_assert_uint_eq(perf_reader_lost(reader), 0);
    ck_assert_uint_eq(perf_reader_events_lost(reader), 0);
    /* a new copy gives what is new, to each of the two */
    write_numbered(N);
    perf_span_end(perf_span_begin(name, none));
    ck_assert_int_eq(perf_reader_refresh_blocking(reader), PERF_OK);
    ck_assert_uint_eq(perf_reader_events(reader, event, 5), 1);
    expect_numbered(&event[0], N);
    ck_assert_uint_eq(perf_reader_records(reader, record, 7), 1);
    perf_reader_close(reader);
}
END_TEST

START_TEST(test_null_gives_no_events)
{
    perf_event event;
    perf_event_write(PERF_EVENT_LABEL, 0, 0, 0, 0);
    perf_reader *reader = pt_self();
    ck_assert_uint_eq(perf_reader_events(NULL, &event, 1), 0);
    ck_assert_uint_eq(perf_reader_events(reader, NULL, 1), 0);
    ck_assert_uint_eq(perf_reader_events(reader, &event, 0), 0);
    ck_assert_uint_eq(perf_reader_events(reader, &event, 1), 1);
    perf_reader_close(reader);
}
END_TEST

/* ---- threads ---- */

enum { THREADS = 3, EACH = 8000 };

static void
write_of_thread(unsigned index, void *ctx)
{
    (void)ctx;
    for (uint64_t i = 0; i < EACH; i++)
        perf_event_write(PERF_EVENT_RUN, index, 0, i, 0);
}

START_TEST(test_each_thread_has_its_order)
{
    uint64_t next[THREADS] = {0};
    int thread_of[8] = {0};
    pt_parallel(THREADS, write_of_thread, NULL);
    size_t n;
    perf_event *e = own_events(&n);
    ck_assert_uint_eq(n, THREADS * EACH);
    for (size_t i = 0; i < n; i++) {
        PT_ASSERT(e[i].arg < THREADS && e[i].block < 8);
        PT_ASSERT(e[i].key == next[e[i].arg]++);
        /* one that has ended may have left its block to another */
        if (e[i].key)
            PT_ASSERT(thread_of[e[i].block] == (int)e[i].arg);
        thread_of[e[i].block] = (int)e[i].arg;
    }
    free(e);
}
END_TEST

static void
take_ids(unsigned index, void *ctx)
{
    uint64_t *ids = ctx;
    for (unsigned i = 0; i < EACH; i++)
        ids[index * EACH + i] = perf_event_new_id();
}

START_TEST(test_ids_differ)
{
    static uint64_t ids[THREADS * EACH];
    static bool seen[THREADS * EACH + 1];
    pt_parallel(THREADS, take_ids, ids);
    for (unsigned i = 0; i < THREADS * EACH; i++) {
        PT_ASSERT(ids[i] > 0 && ids[i] <= THREADS * EACH);
        PT_ASSERT(!seen[ids[i]]);
        seen[ids[i]] = true;
    }
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("trace.event");
    tcase_add_test(tests, test_every_field_comes_back);
    tcase_add_test(tests, test_times_are_the_clocks);
    tcase_add_test(tests, test_samples_bring_no_readings_of_cpu_and_memory);
    tcase_add_test(tests, test_cpu_time_is_read_now_and_then_and_grows);
    tcase_add_test(tests, test_given_time_is_exact);
    tcase_add_test(tests, test_events_and_records_are_read_apart);
    tcase_add_test(tests, test_null_gives_no_events);
    tcase_add_test(tests, test_each_thread_has_its_order);
    tcase_add_test(tests, test_ids_differ);
    return pt_end();
}
