/* test_event_spans.c - spans write events while that is switched on, in every
 * thread and in a forked child. */
#include "test_event_kit.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the switch ---- */

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
    TCase *tests = pt_begin("trace.event_spans");
    tcase_add_test(tests, test_spans_write_events_while_switched_on);
    tcase_add_test(tests, test_switch_without_a_change_changes_nothing);
    tcase_add_test(tests, test_a_living_thread_hears_of_the_switch);
    tcase_add_test(tests, test_a_later_thread_takes_the_switch_over);
    tcase_add_test(tests, test_spans_take_a_given_time);
    tcase_add_test(tests, test_a_child_writes_into_its_own);
    return pt_end();
}
