/* test_thread.c - threads that come and go share few blocks; exact totals. */
#include "pt.h"

#include "segment/segment.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SHORT = 5000, AT_ONCE = 8 };

static sem_t places;
static uint32_t span_name, counter_name;

static void *
live_shortly(void *ctx)
{
    (void)ctx;
    for (int i = 0; i < 3; i++)
        perf_span_end(perf_span_begin(span_name, (perf_span){0}));
    perf_metric_add(counter_name, 2);
    sem_post(&places);
    return NULL;
}

START_TEST(test_thousands_of_short_threads_need_few_blocks)
{
    pthread_t id[AT_ONCE];
    span_name = pt_name(PERF_KIND_SPAN, "s");
    counter_name = pt_name(PERF_KIND_COUNTER, "c");
    sem_init(&places, 0, 0);
    int n = PT_TIMES(SHORT) / AT_ONCE * AT_ONCE;
    for (int i = 0; i < n; i++) {
        /* the one that is joined has ended: at most 8 at a time */
        if (i >= AT_ONCE)
            pthread_join(id[i % AT_ONCE], NULL);
        ck_assert_int_eq(
            pthread_create(&id[i % AT_ONCE], NULL, live_shortly, NULL), 0);
    }
    for (int i = 0; i < AT_ONCE; i++)
        pthread_join(id[i], NULL);
    perf_reader *reader = pt_self();
    perf_reader_info info;
    ck_assert_int_eq(perf_reader_info_get(reader, &info), PERF_OK);
    ck_assert_uint_ge(info.threads, 1);
    ck_assert_uint_le(info.threads, AT_ONCE);
    ck_assert_uint_eq(info.damaged, 0);
    size_t count;
    free(pt_records(reader, 1000, &count));
    ck_assert_uint_eq(count, 3 * (size_t)n);
    perf_reader_close(reader);
    ck_assert_uint_eq(pt_totals_of(span_name).count, 3 * (uint64_t)n);
    ck_assert_uint_eq(pt_totals_of(counter_name).sum_ns, 2 * (uint64_t)n);
    perf_segment_stats stats = pt_stats();
    ck_assert_uint_eq(stats.dropped_records, 0);
    ck_assert_uint_eq(stats.dropped_values, 0);
    ck_assert_uint_eq(stats.spans_unseen, 0);
}
END_TEST

/* ---- recording while a thread ends ---- */

static pthread_key_t late_key;

static void
record_late(void *value)
{
    (void)value;
    perf_span_end(perf_span_begin(span_name, (perf_span){0}));
}

static void *
end_with_a_record(void *ctx)
{
    (void)ctx;
    pthread_setspecific(late_key, &late_key);
    perf_span_end(perf_span_begin(span_name, (perf_span){0}));
    return NULL;
}

START_TEST(test_destructors_of_other_libraries_may_still_record)
{
    span_name = pt_name(PERF_KIND_SPAN, "s");
    /* made before libperf's own key, and after it: destroyed around it */
    if (_i)
        perf_segment_start(NULL);
    pthread_key_create(&late_key, record_late);
    for (int i = 0; i < 50; i++) {
        pthread_t id;
        pthread_create(&id, NULL, end_with_a_record, NULL);
        pthread_join(id, NULL);
    }
    ck_assert_uint_eq(pt_totals_of(span_name).count, 100);
    perf_reader *reader = pt_self();
    perf_reader_info info;
    perf_reader_info_get(reader, &info);
    ck_assert_uint_eq(info.threads, 1); /* the block was given back each time */
    perf_reader_close(reader);
}
END_TEST

static void
record_with_thread_id(unsigned index, void *ctx)
{
    uint64_t *ids = ctx;
    perf_span span = perf_span_begin_at(span_name, (perf_span){0}, index, 1);
    ids[index] = span.id;
    perf_span_end(span);
}

START_TEST(test_records_carry_their_threads_id)
{
    uint64_t ids[4];
    span_name = pt_name(PERF_KIND_SPAN, "s");
    pt_parallel(4, record_with_thread_id, ids);
    perf_reader *reader = pt_self();
    size_t n;
    perf_record *records = pt_records(reader, 10, &n);
    ck_assert_uint_eq(n, 4);
    for (size_t i = 0; i < n; i++) {
        ck_assert_uint_eq(records[i].id, ids[records[i].task]);
        ck_assert_uint_ne(records[i].thread, (uint32_t)getpid());
        for (size_t k = 0; k < i; k++)
            ck_assert_uint_ne(records[k].id, records[i].id);
    }
    free(records);
    perf_reader_close(reader);
}
END_TEST

/* ---- many threads against one reader ---- */

static _Atomic bool done;

static void
record_or_read(unsigned index, void *ctx)
{
    uint64_t *seen = ctx;
    if (index) {
        for (int i = 0; i < PT_TIMES(100000); i++) {
            perf_span_end(perf_span_begin(span_name, (perf_span){0}));
            perf_metric_add(counter_name, 1);
        }
        return;
    }
    perf_reader *reader = pt_self();
    perf_totals before = {0}, now;
    while (!done) {
        ck_assert_int_eq(perf_reader_refresh_blocking(reader), PERF_OK);
        ck_assert_int_eq(perf_reader_totals(reader, span_name, &now), PERF_OK);
        ck_assert_uint_ge(now.count, before.count); /* counters only grow */
        ck_assert_uint_ge(now.sum_ns, before.sum_ns);
        before = now;
        size_t n;
        free(pt_records(reader, 1000, &n));
        *seen += n;
        if (now.count == 3u * PT_TIMES(100000))
            done = true;
    }
    ck_assert_int_eq(perf_reader_refresh_blocking(reader), PERF_OK);
    size_t n;
    free(pt_records(reader, 1000, &n));
    *seen += n + perf_reader_lost(reader);
    perf_reader_close(reader);
}

START_TEST(test_reader_beside_many_writers_loses_nothing_uncounted)
{
    uint64_t seen = 0;
    span_name = pt_name(PERF_KIND_SPAN, "s");
    counter_name = pt_name(PERF_KIND_COUNTER, "c");
    pt_start(0, 256 << 10);
    pt_parallel(4, record_or_read, &seen);
    ck_assert_uint_eq(seen, 3u * PT_TIMES(100000));
    ck_assert_uint_eq(pt_totals_of(counter_name).sum_ns, 3u * PT_TIMES(100000));
}
END_TEST

/* ---- names, series and pages made while a reader copies ---- */

static void
make_series_or_read(unsigned index, void *ctx)
{
    uint32_t *fixed = ctx;
    if (index) {
        char text[32];
        for (uint64_t i = 0; i < 1800; i++) {
            int n = snprintf(text, sizeof text, "%u name %d", index, (int)i);
            uint32_t name = perf_name(PERF_KIND_TIMING, text, (size_t)n);
            for (uint64_t v = 1; v; v <<= 16)
                perf_metric_record(name, v);
            perf_metric_add(*fixed, 1);
            uint32_t span = perf_name(PERF_KIND_SPAN, text, (size_t)n);
            perf_span_end(perf_span_begin(span, (perf_span){0}));
        }
        done = true;
        return;
    }
    perf_reader *reader = pt_self();
    perf_record records[64];
    uint64_t before = 0;
    for (bool last = false;;) {
        ck_assert_int_eq(perf_reader_refresh_blocking(reader), PERF_OK);
        perf_reader_info info;
        perf_totals t;
        perf_reader_info_get(reader, &info);
        ck_assert_uint_eq(info.damaged, 0);
        ck_assert_int_eq(perf_reader_totals(reader, *fixed, &t), PERF_OK);
        ck_assert_uint_ge(t.sum_ns, before); /* no series went missing */
        before = t.sum_ns;
        for (uint32_t i = PERF_KIND_COUNT; i < info.names; i++)
            ck_assert_str_ne(perf_reader_name(reader, i, NULL), "(other)");
        for (size_t n; (n = perf_reader_records(reader, records, 64));)
            for (size_t i = 0; i < n; i++)
                ck_assert_ptr_nonnull(
                    perf_reader_name(reader, records[i].name, NULL));
        if (last)
            break;
        last = done;
    }
    ck_assert_uint_eq(perf_reader_lost(reader), 0);
    perf_reader_close(reader);
}

START_TEST(test_copies_taken_while_names_and_series_are_made_are_whole)
{
    uint32_t fixed = pt_name(PERF_KIND_COUNTER, "fixed");
    perf_metric_add(fixed, 1);
    pt_parallel(2, make_series_or_read, &fixed);
    ck_assert_uint_eq(pt_totals_of(fixed).sum_ns, 1801);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("segment.thread");
    tcase_add_test(tests, test_thousands_of_short_threads_need_few_blocks);
    tcase_add_loop_test(
        tests, test_destructors_of_other_libraries_may_still_record, 0, 2);
    tcase_add_loop_test(
        tests, test_copies_taken_while_names_and_series_are_made_are_whole, 0,
        5);
    tcase_add_test(tests, test_records_carry_their_threads_id);
    tcase_add_test(tests,
                   test_reader_beside_many_writers_loses_nothing_uncounted);
    return pt_end();
}
