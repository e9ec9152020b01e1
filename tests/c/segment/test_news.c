/* test_news.c - of the rings only what was not read yet is copied: records come
 * each once, as with whole copies, for a small part of the memory. */
#include "pt.h"

#include "segment/layout.h"

#include <libperf/event.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SPANS = 20000 }; /* more than a megabyte of records */

static char path[PERF_PATH_MAX_BYTES];

/* The number of a span is its task. */
static void
write_spans(uint32_t first, uint32_t n)
{
    uint32_t name = pt_name(PERF_KIND_SPAN, "work");
    for (uint32_t i = first; i < first + n; i++) {
        perf_span span = perf_span_begin_at(name, (perf_span){0}, i, 1000);
        perf_span_end_at(span, PERF_STATUS_OK, 0, 1000 + i);
    }
}

static perf_reader *
open_counts(const perf_allocator *allocator)
{
    perf_reader *reader = NULL;
    ck_assert_int_eq(perf_segment_path(path, sizeof path), PERF_OK);
    ck_assert_int_eq(perf_reader_open_counts_blocking(path, allocator, &reader),
                     PERF_OK);
    return reader;
}

static void
refresh(perf_reader *reader)
{
    ck_assert_int_eq(perf_reader_refresh_news_blocking(reader), PERF_OK);
}

/* The next records are these, in order, and no more. */
static void
expect_records(perf_reader *reader, uint32_t first, uint32_t n)
{
    size_t found;
    perf_record *records = pt_records(reader, 100, &found);
    ck_assert_uint_eq(found, n);
    for (uint32_t i = 0; i < n; i++)
        ck_assert_uint_eq(records[i].task, first + i);
    free(records);
}

START_TEST(test_records_come_once)
{
    uint32_t at = 0;
    write_spans(0, SPANS);
    perf_reader *reader = open_counts(NULL);
    expect_records(reader, 0, 0);
    refresh(reader);
    expect_records(reader, 0, SPANS);
    at = SPANS;
    for (uint32_t n = 0; n < 3000; at += n, n = n * 3 + 1) {
        write_spans(at, n);
        refresh(reader);
        perf_totals t;
        perf_reader_totals(reader, pt_name(PERF_KIND_SPAN, "work"), &t);
        ck_assert_uint_eq(t.count, at + n);
        expect_records(reader, at, n);
        expect_records(reader, 0, 0);
    }
    ck_assert_uint_eq(perf_reader_lost(reader), 0);
    perf_reader_close(reader);
}
END_TEST

START_TEST(test_what_was_not_taken_comes_again)
{
    perf_record record[10];
    write_spans(0, 100);
    perf_reader *reader = open_counts(NULL);
    refresh(reader);
    ck_assert_uint_eq(perf_reader_records(reader, record, 10), 10);
    refresh(reader);
    ck_assert_uint_eq(perf_reader_records(reader, record, 10), 10);
    ck_assert_uint_eq(record[0].task, 10);
    perf_reader_forget_news(reader);
    ck_assert_uint_eq(perf_reader_records(reader, record, 10), 0);
    perf_totals t; /* everything else is still there */
    perf_reader_totals(reader, pt_name(PERF_KIND_SPAN, "work"), &t);
    ck_assert_uint_eq(t.count, 100);
    refresh(reader);
    ck_assert_uint_eq(perf_reader_records(reader, record, 10), 10);
    ck_assert_uint_eq(record[0].task, 20);
    perf_reader_close(reader);
}
END_TEST

START_TEST(test_with_whole_copies_in_between)
{
    write_spans(0, 5000);
    perf_reader *reader = open_counts(NULL);
    refresh(reader);
    expect_records(reader, 0, 5000);
    write_spans(5000, 5000);
    ck_assert_int_eq(perf_reader_refresh_counts_blocking(reader), PERF_OK);
    expect_records(reader, 0, 0);
    ck_assert_int_eq(perf_reader_refresh_blocking(reader), PERF_OK);
    perf_reader_forget_news(reader); /* there are none: nothing happens */
    expect_records(reader, 5000, 5000);
    write_spans(10000, 3);
    refresh(reader);
    expect_records(reader, 10000, 3);
    ck_assert_uint_eq(perf_reader_lost(reader), 0);
    perf_reader_close(reader);
}
END_TEST

START_TEST(test_events_wait_for_the_next_whole_copy)
{
    perf_event event;
    write_spans(0, 3000);
    perf_event_write(PERF_EVENT_LABEL, 5, 1, 2, 3);
    write_spans(3000, 3000);
    perf_reader *reader = open_counts(NULL);
    refresh(reader);
    expect_records(reader, 0, 6000);
    ck_assert_uint_eq(perf_reader_events(reader, &event, 1), 0);
    refresh(reader);
    ck_assert_uint_eq(perf_reader_events(reader, &event, 1), 0);
    ck_assert_int_eq(perf_reader_refresh_blocking(reader), PERF_OK);
    ck_assert_uint_eq(perf_reader_events(reader, &event, 1), 1);
    ck_assert_uint_eq(perf_reader_events_lost(reader), 0);
    perf_reader_close(reader);
}
END_TEST

START_TEST(test_what_was_written_over_is_counted)
{
    pt_start(0, 256 << 10); /* four chunks */
    write_spans(0, 100);
    perf_reader *reader = open_counts(NULL);
    refresh(reader);
    expect_records(reader, 0, 100);
    write_spans(100, SPANS);
    refresh(reader);
    size_t found;
    perf_record *records = pt_records(reader, 64, &found);
    ck_assert_uint_gt(found, 2000);
    ck_assert_uint_lt(found, 4097);
    for (size_t i = 0; i < found; i++)
        ck_assert_uint_eq(records[i].task, SPANS + 100 - found + i);
    ck_assert_uint_eq(perf_reader_lost(reader), SPANS - found);
    free(records);
    perf_reader_close(reader);
}
END_TEST

START_TEST(test_little_memory_and_none_of_it_is_kept)
{
    pt_alloc a;
    pt_alloc_init(&a, UINT64_MAX);
    write_spans(0, SPANS);
    perf_reader *reader = open_counts(&a.face);
    uint64_t few = a.live_bytes;
    refresh(reader);
    ck_assert_uint_gt(a.live_bytes, few + SPANS * sizeof(perfi_record));
    expect_records(reader, 0, SPANS);
    perf_reader_forget_news(reader);
    ck_assert_uint_le(a.live_bytes, few);
    write_spans(SPANS, 10);
    refresh(reader);
    ck_assert_uint_le(a.live_bytes, few + 2 * PERFI_CHUNK);
    expect_records(reader, SPANS, 10);
    refresh(reader); /* nothing is new */
    ck_assert_uint_le(a.live_bytes, few);
    perf_reader_close(reader);
    ck_assert_uint_eq(a.live, 0);
    ck_assert(!a.wrong_size);
}
END_TEST

START_TEST(test_without_memory_the_old_copy_stays)
{
    pt_alloc a;
    pt_alloc_init(&a, UINT64_MAX);
    write_spans(0, 100);
    perf_reader *reader = open_counts(&a.face);
    refresh(reader);
    write_spans(100, 100);
    uint64_t allowed = 0;
    for (perf_err err = PERF_ERR_NOMEM; err; allowed++) {
        a.allowed = a.calls + allowed;
        err = perf_reader_refresh_news_blocking(reader);
        if (!err)
            break;
        ck_assert_int_eq(err, PERF_ERR_NOMEM);
        perf_record record;
        ck_assert_uint_eq(perf_reader_records(reader, &record, 1), 1);
        ck_assert_uint_eq(record.task, allowed);
        ck_assert_uint_lt(allowed, 50);
    }
    ck_assert_uint_gt(allowed, 4);
    expect_records(reader, (uint32_t)allowed, 200 - (uint32_t)allowed);
    perf_reader_close(reader);
    ck_assert_uint_eq(a.live, 0);
    ck_assert(!a.wrong_size);
}
END_TEST

/* ---- beside a writer ---- */

static _Atomic bool stop;

static void
write_or_read(unsigned index, void *ctx)
{
    perf_reader *reader = ctx;
    uint64_t taken = 0;
    uint32_t last = 0;
    if (index) {
        for (uint32_t at = 1; !atomic_load(&stop); at += 100)
            write_spans(at, 100);
        return;
    }
    for (int i = 0; i < PT_TIMES(400); i++) {
        size_t n;
        PT_ASSERT(perf_reader_refresh_news_blocking(reader) == PERF_OK);
        perf_record *records = pt_records(reader, 100, &n);
        for (size_t k = 0; k < n; k++) {
            PT_ASSERT(records[k].task > last); /* in order, each once */
            last = records[k].task;
        }
        taken += n;
        free(records);
    }
    atomic_store(&stop, true);
    PT_ASSERT(taken && taken + perf_reader_lost(reader) == last);
}

START_TEST(test_each_record_once_while_a_writer_goes_on)
{
    pt_start(0, 256 << 10); /* a small ring: much is written over */
    perf_event_write(PERF_EVENT_LABEL, 5, 1, 2, 3);
    perf_reader *reader = open_counts(NULL);
    pt_parallel(2, write_or_read, reader);
    perf_reader_close(reader);
}
END_TEST

/* ---- damage ---- */

START_TEST(test_noise)
{
    char folder[PT_PATH], file[PT_PATH + 16];
    size_t size;
    pt_start(4 << 20, 128 << 10);
    write_spans(0, 5000);
    pt_folder(folder);
    snprintf(file, sizeof file, "%s/x.perf", folder);
    unsigned char *valid = pt_segment_bytes(&size), *bytes = malloc(size);
    pt_random random = {(uint64_t)_i};
    int read = 0;
    for (int i = 0; i < PT_TIMES(300); i++) {
        perf_reader *reader;
        pt_write_file(file, valid, size);
        ck_assert_int_eq(perf_reader_open_counts_blocking(file, NULL, &reader),
                         PERF_OK);
        for (int k = 0; k < 3; k++) {
            memcpy(bytes, valid, size);
            for (uint64_t n = pt_below(&random, 12); n--;) {
                size_t chunk = pt_below(&random, size / PERFI_CHUNK);
                size_t at = chunk * PERFI_CHUNK + pt_below(&random, 512) * 8;
                uint64_t word = pt_next(&random) >> pt_below(&random, 64);
                memcpy(bytes + at, &word, sizeof word);
            }
            pt_write_file(file, bytes, size - pt_below(&random, 2) * 70000);
            read += !perf_reader_refresh_news_blocking(reader);
            size_t n; /* no more than there is room for */
            free(pt_records(reader, 50, &n));
            PT_ASSERT(n <= size / sizeof(perfi_record));
        }
        perf_reader_close(reader);
    }
    PT_ASSERT(read > 100 || PT_SANITIZED);
    free(bytes);
    free(valid);
}
END_TEST

START_TEST(test_what_is_refused)
{
    ck_assert_int_eq(perf_reader_refresh_news_blocking(NULL), PERF_ERR_INVALID);
    perf_reader_forget_news(NULL);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("segment.news");
    tcase_add_test(tests, test_records_come_once);
    tcase_add_test(tests, test_what_was_not_taken_comes_again);
    tcase_add_test(tests, test_with_whole_copies_in_between);
    tcase_add_test(tests, test_events_wait_for_the_next_whole_copy);
    tcase_add_test(tests, test_what_was_written_over_is_counted);
    tcase_add_test(tests, test_little_memory_and_none_of_it_is_kept);
    tcase_add_test(tests, test_without_memory_the_old_copy_stays);
    tcase_add_test(tests, test_each_record_once_while_a_writer_goes_on);
    tcase_add_loop_test(tests, test_noise, 0, 3);
    tcase_add_test(tests, test_what_is_refused);
    return pt_end();
}
