/* test_event.c - scheduler events: what is written is read, once, in order,
 * beside the records; what finds no room is counted. */
#include "pt.h"

#include "segment/layout.h"

#include <libperf/event.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    PER_CHUNK = (PERFI_CHUNK - sizeof(perfi_ring_chunk)) / sizeof(perfi_event)
};

static const perf_span none;

/* Without readings of memory: they come when it is time for one. */
static size_t
without_memory(perf_event *event, size_t n)
{
    size_t left = 0;
    for (size_t i = 0; i < n; i++)
        if (event[i].code != PERF_EVENT_MEMORY)
            event[left++] = event[i];
    return left;
}

/* All events that are left, to be freed; taken `step` at a time. */
static perf_event *
events_of(perf_reader *reader, size_t step, size_t *count)
{
    size_t room = step, n = 0;
    perf_event *list = malloc(room * sizeof *list);
    for (size_t got; (got = perf_reader_events(reader, list + n, step));) {
        ck_assert_uint_le(got, step);
        n += without_memory(list + n, got);
        if (room - n < step) {
            room = room * 2 + step;
            list = realloc(list, room * sizeof *list);
        }
    }
    *count = n;
    return list;
}

/* All there are in this process now. */
static perf_event *
own_events(size_t *count)
{
    perf_reader *reader = pt_self();
    perf_event *list = events_of(reader, 100, count);
    ck_assert_uint_eq(perf_reader_events_lost(reader), 0);
    perf_reader_close(reader);
    return list;
}

static void
write_numbered(uint64_t i)
{
    perf_event_write((perf_event_code)(1 + i % PERF_EVENT_IMPORTED),
                     (uint32_t)i, i * 3, i * 5, i * 7);
}

static void
expect_numbered(const perf_event *e, uint64_t i)
{
    PT_ASSERT(e->code == 1 + i % PERF_EVENT_IMPORTED);
    PT_ASSERT(e->arg == (uint32_t)i);
    PT_ASSERT(e->span == i * 3 && e->key == i * 5 && e->more == i * 7);
}

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

/* ---- spans ---- */

START_TEST(test_spans_write_events_while_switched_on)
{
    uint32_t name = pt_name(PERF_KIND_NODE, "n");
    perf_span_end(perf_span_begin(name, none));
    perf_events_switch(true);
    perf_span a = perf_span_begin(name, none);
    perf_span b = perf_span_begin_at(name, a, 3, perf_clock_ticks());
    ck_assert_uint_eq(b.parent, a.id);
    ck_assert_uint_eq(b.task, 3);
    perf_span_end_as(b, PERF_STATUS_CANCELLED, 0);
    ck_assert_uint_eq(perf_span_end(b), 0); /* no second event either */
    perf_span_end_at(a, PERF_STATUS_ERROR, 0, perf_clock_ticks());
    perf_events_switch(false);
    perf_span_end(perf_span_begin(name, none));
    size_t n;
    perf_event *e = own_events(&n);
    ck_assert_uint_eq(n, 4);
    const perf_event expected[] = {
        {.code = PERF_EVENT_SPAN_BEGIN, .arg = name, .key = a.id},
        {.code = PERF_EVENT_SPAN_BEGIN,
         .arg = name,
         .span = a.id,
         .key = b.id,
         .more = a.id},
        {.code = PERF_EVENT_SPAN_END,
         .arg = PERF_STATUS_CANCELLED,
         .span = b.id,
         .key = b.id},
        {.code = PERF_EVENT_SPAN_END,
         .arg = PERF_STATUS_ERROR,
         .span = a.id,
         .key = a.id},
    };
    for (int i = 0; i < 4; i++) {
        ck_assert_uint_eq(e[i].code, expected[i].code);
        ck_assert_uint_eq(e[i].arg, expected[i].arg);
        ck_assert_uint_eq(e[i].span, expected[i].span);
        ck_assert_uint_eq(e[i].key, expected[i].key);
        ck_assert_uint_eq(e[i].more, expected[i].more);
    }
    free(e);
    /* and they are spans as ever */
    perf_totals t = pt_totals_of(name);
    ck_assert_uint_eq(t.count, 4);
    ck_assert_uint_eq(t.cancelled, 1);
    ck_assert_uint_eq(t.errors, 1);
    perf_reader *reader = pt_self();
    perf_record *records = pt_records(reader, 3, &n);
    ck_assert_uint_eq(n, 4);
    ck_assert_uint_eq(records[2].id, a.id);
    ck_assert_uint_eq(perf_reader_open_spans(reader, NULL, 0), 0);
    free(records);
    perf_reader_close(reader);
}
END_TEST

START_TEST(test_switch_without_a_change_changes_nothing)
{
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    perf_events_switch(true); /* before anything was recorded */
    perf_events_switch(true);
    perf_span_end(perf_span_begin(name, none));
    perf_events_switch(false);
    perf_events_switch(false);
    perf_span_end(perf_span_begin(name, none));
    size_t n;
    free(own_events(&n));
    ck_assert_uint_eq(n, 2);
}
END_TEST

static pthread_barrier_t turn;

static void *
span_at_each_turn(void *ctx)
{
    for (int i = 0; i < 3; i++) {
        pthread_barrier_wait(&turn);
        perf_span_end(perf_span_begin(*(uint32_t *)ctx, none));
        pthread_barrier_wait(&turn);
    }
    return NULL;
}

static void
let_it_write(void)
{
    pthread_barrier_wait(&turn);
    pthread_barrier_wait(&turn);
}

START_TEST(test_a_living_thread_hears_of_the_switch)
{
    size_t n;
    pthread_t thread;
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    pthread_barrier_init(&turn, NULL, 2);
    pthread_create(&thread, NULL, span_at_each_turn, &name);
    let_it_write();
    free(own_events(&n));
    ck_assert_uint_eq(n, 0);
    perf_events_switch(true);
    let_it_write();
    free(own_events(&n));
    ck_assert_uint_eq(n, 2);
    perf_events_switch(false);
    let_it_write();
    free(own_events(&n));
    ck_assert_uint_eq(n, 2);
    pthread_join(thread, NULL);
    ck_assert_uint_eq(pt_totals_of(name).count, 3);
    pthread_barrier_destroy(&turn);
}
END_TEST

static void
span_of_thread(unsigned index, void *ctx)
{
    (void)index;
    perf_span_end(perf_span_begin(*(uint32_t *)ctx, none));
}

START_TEST(test_a_later_thread_takes_the_switch_over)
{
    size_t n;
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    perf_events_switch(true);
    pt_parallel(1, span_of_thread, &name); /* in a block of its own */
    perf_events_switch(false);
    pt_parallel(1, span_of_thread, &name); /* in the same, left behind */
    free(own_events(&n));
    ck_assert_uint_eq(n, 2);
}
END_TEST

START_TEST(test_spans_take_a_given_time)
{
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    uint64_t now = perf_clock_now_ns();
    perf_events_switch(true);
    perf_events_set_time(now, 1);
    perf_span a = perf_span_begin(name, none);
    perf_span b = perf_span_begin_at(name, a, 0, 77);
    perf_events_set_time(now + 2 * PT_NS_PER_S, 1);
    perf_span_end_at(b, PERF_STATUS_OK, 0, 99);
    uint64_t duration = perf_span_end(a);
    ck_assert_uint_ge(duration + 2, 2 * PT_NS_PER_S);
    ck_assert_uint_le(duration, 2 * PT_NS_PER_S + 2);
    perf_events_switch(false); /* now they are none of its business */
    perf_span real = perf_span_begin(name, none);
    ck_assert_uint_lt(perf_span_end(real), 2 * PT_NS_PER_S);
    size_t n;
    perf_event *e = own_events(&n);
    ck_assert_uint_eq(n, 4);
    for (int i = 0; i < 4; i++)
        ck_assert_uint_eq(e[i].time_ns,
                          now + (uint64_t)(i / 2) * 2 * PT_NS_PER_S);
    free(e);
    perf_reader *reader = pt_self();
    perf_record *records = pt_records(reader, 8, &n);
    ck_assert_uint_eq(n, 3);
    for (int i = 0; i < 2; i++) {
        ck_assert_uint_ge(records[i].start_ns + 100000, now);
        ck_assert_uint_le(records[i].start_ns, now + 100000);
    }
    free(records);
    perf_reader_close(reader);
}
END_TEST

/* ---- losses ---- */

START_TEST(test_overrun_is_counted_exactly)
{
    enum { RING = 3, N = RING * 5 * PER_CHUNK + 123 };
    pt_start(0, RING * PERFI_CHUNK);
    perf_events_set_time(1, 0); /* no reading of memory in between */
    perf_reader *early = pt_self();
    for (uint64_t i = 0; i < N; i++)
        write_numbered(i);
    size_t n;
    perf_reader *late = pt_self();
    perf_event *e = events_of(late, 1000, &n);
    ck_assert_uint_eq(n, (RING - 1) * PER_CHUNK + 123);
    ck_assert_uint_eq(n + perf_reader_events_lost(late), N);
    for (size_t i = 0; i < n; i++)
        expect_numbered(&e[i], N - n + i);
    free(e);
    /* reading the records of the same ring does not count them again */
    free(pt_records(late, 10, &n));
    ck_assert_uint_eq(n, 0);
    ck_assert_uint_eq(perf_reader_lost(late), 0);
    ck_assert_uint_eq(perf_reader_events_lost(late),
                      N - (RING - 1) * PER_CHUNK - 123);
    perf_reader_close(late);
    perf_reader_close(early);
    ck_assert_uint_eq(pt_stats().dropped_records, 0);
}
END_TEST

START_TEST(test_overrun_counts_records_and_events_apart)
{
    enum { N = 20000 };
    pt_start(0, 3 * PERFI_CHUNK);
    perf_events_set_time(1, 0); /* as above */
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    for (uint64_t i = 0; i < N; i++) {
        write_numbered(2 * i);
        write_numbered(2 * i + 1);
        perf_span_end(perf_span_begin(name, none));
    }
    perf_reader *reader = pt_self();
    size_t records, events;
    free(pt_records(reader, 10, &records));
    free(events_of(reader, 1000, &events));
    ck_assert_uint_gt(records, 0);
    ck_assert_uint_gt(perf_reader_lost(reader), 0);
    ck_assert_uint_eq(records + perf_reader_lost(reader), N);
    ck_assert_uint_eq(events + perf_reader_events_lost(reader), 2 * N);
    perf_reader_close(reader);
}
END_TEST

START_TEST(test_no_memory_for_a_thread_drops_and_counts)
{
    pt_alloc a;
    perf_segment_config config;
    pt_alloc_init(&a, (uint64_t)_i);
    perf_segment_config_init(&config, sizeof config);
    config.allocator = &a.face;
    ck_assert_int_eq(perf_segment_start(&config), PERF_OK);
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    perf_events_switch(true);
    write_numbered(1);
    perf_span_end(perf_span_begin(name, none));
    write_numbered(2);
    size_t n;
    free(own_events(&n));
    bool enough = _i >= 2; /* a thread takes two */
    ck_assert_uint_eq(n, enough ? 4 : 0);
    /* the span began nowhere: it has no event, and no end */
    ck_assert_uint_eq(pt_stats().dropped_records, enough ? 0 : 3);
    ck_assert_uint_eq(pt_totals_of(name).count, enough);
    ck_assert(!a.wrong_size);
}
END_TEST

START_TEST(test_no_chunk_for_a_ring_drops_and_counts)
{
    enum { N = 10 * PER_CHUNK };
    pt_start(256 << 10, 1 << 20);
    perf_events_set_time(1, 0);
    for (uint64_t i = 0; i < N; i++)
        write_numbered(i);
    perf_reader *reader = pt_self();
    size_t n;
    free(events_of(reader, 100, &n));
    ck_assert_uint_gt(n, 0);
    ck_assert_uint_eq(
        n + perf_reader_events_lost(reader) + pt_stats().dropped_records, N);
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

/* ---- fork ---- */

START_TEST(test_a_child_writes_into_its_own)
{
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    perf_events_switch(true);
    perf_span span = perf_span_begin(name, none);
    uint64_t id = perf_event_new_id();
    pid_t pid = fork();
    if (!pid) {
        PT_CHECK(perf_event_new_id() > id);
        perf_span_end(span);                         /* the parent's */
        perf_span own = perf_span_begin(name, span); /* the switch stays on */
        perf_span_end(own);
        size_t n;
        perf_event *e = own_events(&n);
        PT_CHECK_EQ(n, 2);
        PT_CHECK_EQ(e[0].span, span.id);
        PT_CHECK_EQ(e[1].key, own.id);
        PT_CHECK(e[0].cpu_ns > 0);
        free(e);
        _exit(0);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    perf_span_end(span);
    size_t n;
    free(own_events(&n));
    ck_assert_uint_eq(n, 2);
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
    tcase_add_test(tests, test_each_thread_has_its_order);
    tcase_add_test(tests, test_ids_differ);
    tcase_add_test(tests, test_spans_write_events_while_switched_on);
    tcase_add_test(tests, test_switch_without_a_change_changes_nothing);
    tcase_add_test(tests, test_a_living_thread_hears_of_the_switch);
    tcase_add_test(tests, test_a_later_thread_takes_the_switch_over);
    tcase_add_test(tests, test_spans_take_a_given_time);
    tcase_add_test(tests, test_overrun_is_counted_exactly);
    tcase_add_test(tests, test_overrun_counts_records_and_events_apart);
    tcase_add_loop_test(tests, test_no_memory_for_a_thread_drops_and_counts, 0,
                        4);
    tcase_add_test(tests, test_no_chunk_for_a_ring_drops_and_counts);
    tcase_add_test(tests, test_null_gives_no_events);
    tcase_add_test(tests, test_a_child_writes_into_its_own);
    return pt_end();
}
