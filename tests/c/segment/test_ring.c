/* test_ring.c - each finished record once, in order; what was overwritten is
 * counted exactly. */
#include "pt.h"

#include "segment/layout.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* spans without attributes in one chunk */
    PER_CHUNK = (PERFI_CHUNK - sizeof(perfi_ring_chunk)) / sizeof(perfi_record)
};

/* The number of a span is its task; its start and end say it again. */
static void
write_span(uint32_t name, uint32_t number)
{
    uint64_t at = UINT64_C(1) << 40;
    perf_span span =
        perf_span_begin_at(name, (perf_span){0}, number, at + number);
    perf_span_end_at(span, PERF_STATUS_OK, 0, at + number * UINT64_C(3));
}

static void
expect_in_order(const perf_record *records, size_t n, uint32_t first)
{
    for (size_t i = 0; i < n; i++) {
        PT_ASSERT(records[i].task == first + i);
        PT_ASSERT(records[i].type == PERF_RECORD_SPAN);
    }
}

/* Records of a chunk whose last byte is used: some have an attribute more. */
static void
fill_chunk(uint32_t name, uint32_t first)
{
    uint32_t room = PERFI_CHUNK - sizeof(perfi_ring_chunk);
    uint32_t with_attribute = room % sizeof(perfi_record) / PERFI_UNIT;
    ck_assert_uint_eq(room % PERFI_UNIT, 0);
    ck_assert_uint_gt(with_attribute, 0);
    for (uint32_t i = 0; i < PER_CHUNK; i++) {
        perf_span span =
            perf_span_begin_at(name, (perf_span){0}, first + i, 1 + i);
        if (i < with_attribute)
            ck_assert(perf_span_set_int(span, PERF_KIND_KEY, 1));
        perf_span_end_at(span, PERF_STATUS_OK, 0, 2 + i);
    }
}

/* The head is then where the next chunk will begin, and is not in it. */
START_TEST(test_chunks_used_to_their_last_byte)
{
    pt_start(0, 4 * PERFI_CHUNK);
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    perf_reader *reader = pt_self();
    for (uint32_t chunk = 0; chunk < 9; chunk++) {
        fill_chunk(name, chunk * PER_CHUNK);
        ck_assert_int_eq(perf_reader_refresh_blocking(reader), PERF_OK);
        size_t n;
        perf_record *records = pt_records(reader, 100, &n);
        ck_assert_uint_eq(n, PER_CHUNK);
        expect_in_order(records, n, chunk * PER_CHUNK);
        ck_assert_uint_eq(perf_reader_lost(reader), 0);
        free(records);
        perf_reader *late = pt_self();
        records = pt_records(late, 100, &n);
        uint32_t kept = chunk < 4 ? chunk + 1 : 4;
        uint32_t gone = (chunk + 1 - kept) * PER_CHUNK;
        ck_assert_uint_eq(n, kept * PER_CHUNK);
        expect_in_order(records, n, gone);
        ck_assert_uint_eq(perf_reader_lost(late), gone);
        free(records);
        perf_reader_close(late);
    }
    perf_reader_close(reader);
}
END_TEST

START_TEST(test_ring_gives_each_record_once_until_full)
{
    static const uint32_t written[] = {0,
                                       1,
                                       7,
                                       PER_CHUNK - 1,
                                       PER_CHUNK,
                                       PER_CHUNK + 1,
                                       3 * PER_CHUNK,
                                       4 * PER_CHUNK - 1,
                                       4 * PER_CHUNK};
    uint32_t total = written[_i];
    pt_start(0, 4 * PERFI_CHUNK);
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    for (uint32_t i = 0; i < total; i++)
        write_span(name, i);
    perf_reader *reader = pt_self();
    size_t n;
    perf_record *records = pt_records(reader, 100, &n);
    ck_assert_uint_eq(n, total);
    ck_assert_uint_eq(perf_reader_lost(reader), 0);
    expect_in_order(records, n, 0);
    free(records);
    /* the same copy has no more, and neither has a new one */
    free(pt_records(reader, 100, &n));
    ck_assert_uint_eq(n, 0);
    ck_assert_int_eq(perf_reader_refresh_blocking(reader), PERF_OK);
    free(pt_records(reader, 100, &n));
    ck_assert_uint_eq(n, 0);
    perf_reader_close(reader);
}
END_TEST

START_TEST(test_ring_counts_what_it_overwrites)
{
    static const uint32_t chunks[] = {1, 2, 3, 5, 16};
    uint32_t ring = chunks[_i];
    pt_start(0, ring * PERFI_CHUNK);
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    const uint32_t totals[] = {ring * PER_CHUNK + 1,
                               ring * PER_CHUNK + PER_CHUNK,
                               (ring * 7 + 3) * PER_CHUNK + 123};
    uint32_t written = 0;
    for (int k = 0; k < 3; k++) {
        while (written < totals[k])
            write_span(name, written++);
        perf_reader *reader = pt_self();
        size_t n;
        perf_record *records = pt_records(reader, 1000, &n);
        ck_assert_uint_eq(n + perf_reader_lost(reader), written);
        /* the newest are there: all but the chunk being written over */
        uint32_t in_newest = (written - 1) % PER_CHUNK + 1;
        ck_assert_uint_eq(n, (ring - 1) * PER_CHUNK + in_newest);
        expect_in_order(records, n, (uint32_t)perf_reader_lost(reader));
        free(records);
        perf_reader_close(reader);
    }
    ck_assert_uint_eq(pt_stats().dropped_records, 0);
}
END_TEST

START_TEST(test_one_reader_over_many_laps_gets_each_record_once)
{
    pt_start(0, 4 * PERFI_CHUNK);
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    pt_random random = {(uint64_t)_i};
    perf_reader *reader = pt_self();
    uint32_t written = 0;
    uint64_t seen = 0, next = 0;
    for (int round = 0; round < 60; round++) {
        /* less than the ring mostly, more now and then */
        uint64_t most = round % 5 ? PER_CHUNK * 2 : PER_CHUNK * 9;
        for (uint64_t k = pt_below(&random, most); k--;)
            write_span(name, written++);
        ck_assert_int_eq(perf_reader_refresh_blocking(reader), PERF_OK);
        size_t n;
        perf_record *records =
            pt_records(reader, 1 + pt_below(&random, 2000), &n);
        for (size_t i = 0; i < n; i++) {
            ck_assert_uint_ge(records[i].task, next);
            next = records[i].task + 1u;
        }
        free(records);
        seen += n;
        ck_assert_uint_eq(next, written); /* the newest is always there */
        ck_assert_uint_eq(seen + perf_reader_lost(reader), written);
    }
    ck_assert_uint_gt(perf_reader_lost(reader), 0);
    ck_assert_uint_gt(seen, 0);
    perf_reader_close(reader);
}
END_TEST

START_TEST(test_records_stay_whole_when_lengths_vary)
{
    pt_start(0, 2 * PERFI_CHUNK);
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    uint32_t key = pt_name(PERF_KIND_KEY, "k");
    pt_random random = {9};
    char text[PERF_TEXT_MAX_BYTES];
    perf_reader *reader = pt_self();
    uint64_t seen = 0;
    enum { TOTAL = 20000 };
    for (uint32_t i = 0; i < TOTAL; i++) {
        perf_span span = perf_span_begin_at(name, (perf_span){0}, i, 1);
        size_t length = pt_below(&random, sizeof text + 1);
        memset(text, 'a' + (int)(i % 26), length);
        PT_ASSERT(perf_span_set_text(span, key, text, length));
        perf_span_set_int(span, key, (int64_t)length);
        perf_span_end(span);
        if (i % 97 && i != TOTAL - 1)
            continue;
        ck_assert_int_eq(perf_reader_refresh_blocking(reader), PERF_OK);
        size_t n;
        perf_record *records = pt_records(reader, 50, &n);
        for (size_t k = 0; k < n; k++) {
            perf_attribute a = pt_attribute(&records[k], 0);
            perf_attribute b = pt_attribute(&records[k], 1);
            PT_ASSERT(a.length == (uint64_t)b.int_value);
            for (uint32_t c = 0; c < a.length; c++)
                ck_assert_int_eq(a.text[c], 'a' + (int)(records[k].task % 26));
        }
        free(records);
        seen += n;
    }
    PT_ASSERT(seen == TOTAL);
    PT_ASSERT(perf_reader_lost(reader) == 0);
    perf_reader_close(reader);
}
END_TEST

/* ---- beside a writer ---- */

typedef struct race {
    uint32_t name, key;
    uint32_t total;
    _Atomic bool done;
} race;

static void *
write_at_full_speed(void *ctx)
{
    race *r = ctx;
    pt_random random = {4};
    for (uint32_t i = 0; i < r->total; i++) {
        /* parent, trace, attribute follow from the number */
        perf_span parent = {.trace_hi = i * UINT64_C(3) + 1,
                            .trace_lo = i * UINT64_C(5) + 1,
                            .id = i * UINT64_C(7) + 1};
        perf_span span = perf_span_begin_at(r->name, parent, i, i + 1);
        if (pt_below(&random, 3) == 0)
            perf_span_set_int(span, r->key, (int64_t)i * 11);
        perf_span_end_at(span, (perf_status)(i % 3), 0, i * UINT64_C(2) + 9);
    }
    atomic_store(&r->done, true);
    return NULL;
}

static void
expect_whole(const perf_record *record, uint64_t *next)
{
    uint64_t i = record->task;
    PT_ASSERT(i >= *next);
    *next = i + 1;
    PT_ASSERT(record->trace_hi == i * 3 + 1);
    PT_ASSERT(record->trace_lo == i * 5 + 1);
    PT_ASSERT(record->parent == i * 7 + 1);
    PT_ASSERT(record->status == i % 3);
    if (!record->attributes)
        return;
    PT_ASSERT(record->attributes == 1);
    ck_assert_int_eq(pt_attribute(record, 0).int_value, (int64_t)i * 11);
}

START_TEST(test_records_read_beside_a_writer_are_whole)
{
    static const uint32_t chunks[] = {1, 2, 3, 8, 64};
    race r = {.total = (uint32_t)PT_TIMES(1500000)};
    pthread_t writer;
    pt_start(0, chunks[_i] * PERFI_CHUNK);
    r.name = pt_name(PERF_KIND_SPAN, "s");
    r.key = pt_name(PERF_KIND_KEY, "k");
    perf_reader *reader = pt_self();
    uint64_t seen = 0, next = 0, refreshes = 0;
    pthread_create(&writer, NULL, write_at_full_speed, &r);
    for (bool last = false;; refreshes++) {
        ck_assert_int_eq(perf_reader_refresh_blocking(reader), PERF_OK);
        size_t n;
        perf_record *records = pt_records(reader, 512, &n);
        for (size_t i = 0; i < n; i++)
            expect_whole(&records[i], &next);
        free(records);
        seen += n;
        perf_reader_info info;
        perf_reader_info_get(reader, &info);
        ck_assert_uint_eq(info.damaged, 0);
        if (last)
            break;
        last = atomic_load(&r.done);
    }
    pthread_join(writer, NULL);
    ck_assert_uint_eq(next, r.total);
    ck_assert_uint_eq(seen + perf_reader_lost(reader), r.total);
    ck_assert_uint_gt(refreshes, 1);
    perf_reader_close(reader);
}
END_TEST

/* The ring has room for all: whatever a copy catches half-way, a chunk that was
 * just made or a name, nothing may be skipped. */
START_TEST(test_growing_ring_loses_nothing_to_a_reader_beside_it)
{
    race r = {.total = (uint32_t)PT_TIMES(800000)};
    pthread_t writer;
    pt_start(128 << 20, 120 << 20);
    r.name = pt_name(PERF_KIND_SPAN, "s");
    r.key = pt_name(PERF_KIND_KEY, "k");
    perf_reader *reader = pt_self();
    perf_record *records = calloc(512, sizeof *records);
    uint64_t next = 0;
    pthread_create(&writer, NULL, write_at_full_speed, &r);
    for (bool last = false;;) {
        ck_assert_int_eq(perf_reader_refresh_blocking(reader), PERF_OK);
        for (size_t n; (n = perf_reader_records(reader, records, 512));)
            for (size_t i = 0; i < n; i++) {
                PT_ASSERT(records[i].task == next);
                expect_whole(&records[i], &next);
            }
        PT_ASSERT(perf_reader_lost(reader) == 0);
        if (last)
            break;
        last = atomic_load(&r.done);
    }
    pthread_join(writer, NULL);
    PT_ASSERT(next == r.total);
    free(records);
    perf_reader_close(reader);
}
END_TEST

START_TEST(test_failed_refresh_leaves_the_old_copy_whole)
{
    pt_alloc a;
    perf_reader *reader;
    pt_start(0, 2 * PERFI_CHUNK);
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    uint32_t written = 0;
    while (written < 4 * PER_CHUNK + 100)
        write_span(name, written++);
    pt_alloc_init(&a, UINT64_MAX);
    ck_assert_int_eq(perf_reader_open_self_blocking(&a.face, &reader), PERF_OK);
    /* the heads move on, but the copy that fits them cannot be had */
    while (written < 4 * PER_CHUNK + 900)
        write_span(name, written++);
    a.allowed = a.calls;
    ck_assert_int_eq(perf_reader_refresh_blocking(reader), PERF_ERR_NOMEM);
    size_t n;
    perf_record *records = pt_records(reader, 100, &n);
    expect_in_order(records, n, 3 * PER_CHUNK);
    ck_assert_uint_eq(n, PER_CHUNK + 100);
    free(records);
    a.allowed = UINT64_MAX;
    ck_assert_int_eq(perf_reader_refresh_blocking(reader), PERF_OK);
    records = pt_records(reader, 100, &n);
    expect_in_order(records, n, 4 * PER_CHUNK + 100);
    ck_assert_uint_eq(n, 800);
    ck_assert_uint_eq(perf_reader_lost(reader), 3 * PER_CHUNK);
    free(records);
    perf_reader_close(reader);
    ck_assert_uint_eq(a.live, 0);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("segment.ring");
    tcase_add_test(tests, test_chunks_used_to_their_last_byte);
    tcase_add_loop_test(tests, test_ring_gives_each_record_once_until_full, 0,
                        9);
    tcase_add_loop_test(tests, test_ring_counts_what_it_overwrites, 0, 5);
    tcase_add_loop_test(
        tests, test_one_reader_over_many_laps_gets_each_record_once, 0, 3);
    tcase_add_test(tests, test_records_stay_whole_when_lengths_vary);
    tcase_add_loop_test(tests, test_records_read_beside_a_writer_are_whole, 0,
                        5);
    tcase_add_test(tests,
                   test_growing_ring_loses_nothing_to_a_reader_beside_it);
    tcase_add_test(tests, test_failed_refresh_leaves_the_old_copy_whole);
    return pt_end();
}
