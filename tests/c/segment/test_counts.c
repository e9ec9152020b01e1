/* test_counts.c - a copy without the rings says the same as a whole one, takes
 * little memory, and neither loses a record nor believes a list. */
#include "pt.h"

#include "segment/layout.h"

#include <libperf/drain.h>
#include <libperf/event.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SPANS = 20000 }; /* more than a megabyte of records */

static char path[PERF_PATH_MAX_BYTES];

static void
write_spans(uint32_t first, uint32_t n)
{
    uint32_t name = pt_name(PERF_KIND_SPAN, "work");
    for (uint32_t i = first; i < first + n; i++) {
        perf_span span = perf_span_begin_at(name, (perf_span){0}, i, 1000);
        perf_span_end_at(span, (perf_status)(i % 3), 0, 1000 + i);
    }
}

/* Some of everything. */
static void
write_everything(unsigned index, void *ctx)
{
    (void)ctx;
    write_spans(index * SPANS, SPANS);
    uint32_t key = pt_name(PERF_KIND_KEY, "key");
    perf_span open =
        perf_span_begin(pt_name(PERF_KIND_LLM, "ask"), (perf_span){0});
    perf_span_set_text(open, key, "why?", 4);
    perf_event_write(PERF_EVENT_LABEL, index, 1, 2, 3);
    perf_metric_add(pt_name(PERF_KIND_COUNTER, "c"), 7);
    perf_metric_set(pt_name(PERF_KIND_GAUGE, "g"), 0.5);
    for (uint64_t v = 1; v; v <<= 1)
        perf_metric_record(pt_name(PERF_KIND_TIMING, "t"), v);
}

/* Threads of their own: each has a block and a ring. */
static void
record(unsigned threads)
{
    pt_parallel(threads, write_everything, NULL);
    ck_assert_int_eq(perf_segment_path(path, sizeof path), PERF_OK);
}

static perf_reader *
open_counts(const char *file)
{
    perf_reader *reader = NULL;
    ck_assert_int_eq(perf_reader_open_counts_blocking(file, NULL, &reader),
                     PERF_OK);
    return reader;
}

static perf_reader *
open_whole(const char *file)
{
    perf_reader *reader = NULL;
    ck_assert_int_eq(perf_reader_open_blocking(file, NULL, &reader), PERF_OK);
    return reader;
}

static perf_reader_info
info_of(const perf_reader *reader)
{
    perf_reader_info info;
    ck_assert_int_eq(perf_reader_info_get(reader, &info), PERF_OK);
    return info;
}

static void
expect_same_open_spans(const perf_reader *a, const perf_reader *b)
{
    perf_record x[8], y[8];
    size_t n = perf_reader_open_spans(a, x, 8);
    ck_assert_uint_eq(n, perf_reader_open_spans(b, y, 8));
    ck_assert_uint_le(n, 8);
    for (size_t i = 0; i < n; i++)
        ck_assert_mem_eq(&x[i], &y[i], sizeof x[i]);
}

static void
expect_same_buckets(const perf_reader *a, const perf_reader *b, uint32_t name)
{
    static perf_bucket x[PERF_BUCKETS_MAX], y[PERF_BUCKETS_MAX];
    size_t n = perf_reader_buckets(a, name, x, PERF_BUCKETS_MAX);
    ck_assert_uint_eq(n, perf_reader_buckets(b, name, y, PERF_BUCKETS_MAX));
    ck_assert_mem_eq(x, y, n * sizeof *x);
}

/* Nothing was recorded between the two. */
static void
expect_same(const perf_reader *a, const perf_reader *b)
{
    perf_reader_info x = info_of(a), y = info_of(b);
    x.stats.used_bytes = y.stats.used_bytes; /* a trace file has more */
    ck_assert_mem_eq(&x, &y, sizeof x);
    ck_assert_uint_eq(x.damaged, 0);
    for (uint32_t i = 0; i < x.names; i++) {
        perf_totals s, t;
        ck_assert_str_eq(perf_reader_name(a, i, NULL),
                         perf_reader_name(b, i, NULL));
        ck_assert_int_eq(perf_reader_totals(a, i, &s), PERF_OK);
        ck_assert_int_eq(perf_reader_totals(b, i, &t), PERF_OK);
        ck_assert_mem_eq(&s, &t, sizeof s);
        expect_same_buckets(a, b, i);
    }
    expect_same_open_spans(a, b);
}

START_TEST(test_counts_say_the_same_as_a_whole_copy)
{
    record(3);
    perf_reader *counts = open_counts(path), *whole = open_whole(path);
    ck_assert_uint_eq(perf_reader_open_spans(counts, NULL, 0), 3);
    expect_same(counts, whole);
    record(2);
    ck_assert_int_eq(perf_reader_refresh_counts_blocking(counts), PERF_OK);
    ck_assert_int_eq(perf_reader_refresh_blocking(whole), PERF_OK);
    expect_same(counts, whole);
    perf_totals t;
    perf_reader_totals(counts, pt_name(PERF_KIND_SPAN, "work"), &t);
    ck_assert_uint_eq(t.count, 5 * SPANS);
    perf_reader_close(counts);
    perf_reader_close(whole);
}
END_TEST

START_TEST(test_rings_are_left_out_also_when_they_grow)
{
    pt_alloc a;
    perf_reader *reader;
    record(2);
    pt_alloc_init(&a, UINT64_MAX);
    ck_assert_int_eq(perf_reader_open_blocking(path, &a.face, &reader),
                     PERF_OK);
    ck_assert_uint_gt(a.live_bytes, 2 * SPANS * sizeof(perfi_record));
    perf_reader_close(reader);
    ck_assert_int_eq(perf_reader_open_counts_blocking(path, &a.face, &reader),
                     PERF_OK);
    /* the first chunk, a block and what it has no room for, per thread; and
     * the tables of names and series */
    uint64_t few = 10 * PERFI_CHUNK;
    ck_assert_uint_lt(a.live_bytes, few);
    for (int i = 0; i < 3; i++) {
        write_spans(0, SPANS);
        ck_assert_int_eq(perf_reader_refresh_counts_blocking(reader), PERF_OK);
        ck_assert_uint_lt(a.live_bytes, few + 3 * PERFI_CHUNK);
    }
    perf_reader_close(reader);
    ck_assert_uint_eq(a.live, 0);
    ck_assert(!a.wrong_size);
}
END_TEST

/* How many records, and the first one's task. */
static size_t
take_records(perf_reader *reader, uint32_t *first)
{
    size_t n;
    perf_record *records = pt_records(reader, 100, &n);
    *first = n ? records[0].task : UINT32_MAX;
    free(records);
    return n;
}

START_TEST(test_records_wait_for_the_next_whole_copy)
{
    uint32_t first;
    perf_event event;
    write_spans(0, 10);
    perf_event_write(PERF_EVENT_LABEL, 5, 1, 2, 3);
    perf_segment_path(path, sizeof path);
    perf_reader *reader = open_counts(path);
    for (int i = 0; i < 2; i++) {
        ck_assert_uint_eq(take_records(reader, &first), 0);
        ck_assert_uint_eq(perf_reader_events(reader, &event, 1), 0);
        ck_assert_int_eq(perf_reader_refresh_counts_blocking(reader), PERF_OK);
    }
    ck_assert_int_eq(perf_reader_refresh_blocking(reader), PERF_OK);
    ck_assert_uint_eq(take_records(reader, &first), 10);
    ck_assert_uint_eq(first, 0);
    ck_assert_uint_eq(perf_reader_events(reader, &event, 1), 1);
    write_spans(10, SPANS);
    ck_assert_int_eq(perf_reader_refresh_counts_blocking(reader), PERF_OK);
    ck_assert_uint_eq(take_records(reader, &first), 0);
    ck_assert_int_eq(perf_reader_refresh_blocking(reader), PERF_OK);
    ck_assert_uint_eq(take_records(reader, &first), SPANS);
    ck_assert_uint_eq(first, 10);
    ck_assert_uint_eq(perf_reader_lost(reader), 0);
    ck_assert_uint_eq(perf_reader_events_lost(reader), 0);
    perf_reader_close(reader);
}
END_TEST

START_TEST(test_a_trace_file_has_the_same_counts)
{
    char folder[PT_PATH], trace[PT_PATH + 16];
    perf_drain *drain;
    pt_start(0, 256 << 10);
    write_spans(0, 10);
    perf_segment_path(path, sizeof path);
    pt_folder(folder);
    snprintf(trace, sizeof trace, "%s/kept.perf", folder);
    ck_assert_int_eq(perf_drain_open_blocking(path, trace, NULL, &drain),
                     PERF_OK);
    for (uint32_t i = 0; i < 20; i++) {
        write_spans(i * 1000, 1000);
        ck_assert_int_eq(perf_drain_step_blocking(drain), PERF_OK);
    }
    ck_assert_int_eq(perf_drain_finish_blocking(drain), PERF_OK);
    ck_assert_uint_gt(perf_drain_chunks(drain), 1);
    perf_drain_close(drain);
    perf_reader *counts = open_counts(trace), *whole = open_whole(trace);
    expect_same(counts, whole);
    uint32_t first;
    ck_assert_uint_eq(take_records(counts, &first), 0);
    ck_assert_int_eq(perf_reader_refresh_blocking(counts), PERF_OK);
    ck_assert_uint_eq(take_records(counts, &first), 20010);
    perf_reader_close(counts);
    perf_reader_close(whole);
}
END_TEST

/* ---- beside a writer ---- */

static _Atomic bool stop;

static void
write_or_read(unsigned index, void *ctx)
{
    perf_reader *reader = ctx;
    uint32_t name = pt_name(PERF_KIND_SPAN, "work");
    perf_totals before = {0}, now;
    if (index) {
        while (!atomic_load(&stop))
            write_spans(0, 100);
        return;
    }
    for (int i = 0; i < PT_TIMES(400); i++) {
        PT_ASSERT(perf_reader_refresh_counts_blocking(reader) == PERF_OK);
        PT_ASSERT(perf_reader_totals(reader, name, &now) == PERF_OK);
        PT_ASSERT(now.count >= before.count && now.sum_ns >= before.sum_ns);
        PT_ASSERT(info_of(reader).damaged == 0);
        before = now;
    }
    atomic_store(&stop, true);
    PT_ASSERT(before.count > 0);
}

START_TEST(test_counts_only_grow_while_a_writer_goes_on)
{
    write_spans(0, 1);
    perf_segment_path(path, sizeof path);
    perf_reader *reader = open_counts(path);
    pt_parallel(2, write_or_read, reader);
    perf_reader_close(reader);
}
END_TEST

static void
refresh_in_child(void *ctx)
{
    PT_CHECK_EQ(perf_reader_refresh_counts_blocking(ctx), PERF_ERR_CLOSED);
}

START_TEST(test_ones_own_segment_and_a_fork)
{
    write_spans(0, 5);
    perf_reader *own = pt_self();
    write_spans(0, 5);
    ck_assert_int_eq(perf_reader_refresh_counts_blocking(own), PERF_OK);
    perf_totals t;
    perf_reader_totals(own, pt_name(PERF_KIND_SPAN, "work"), &t);
    ck_assert_uint_eq(t.count, 10);
    ck_assert_uint_eq(pt_run_well(refresh_in_child, own), 0);
    perf_reader_close(own);
}
END_TEST

START_TEST(test_what_is_refused)
{
    perf_reader *reader = pt_self(), *out = reader;
    perf_bucket bucket;
    ck_assert_int_eq(perf_reader_open_counts_blocking(NULL, NULL, &out),
                     PERF_ERR_INVALID);
    ck_assert_ptr_null(out);
    ck_assert_int_eq(perf_reader_open_counts_blocking("/", NULL, NULL),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_reader_open_counts_blocking("/none", NULL, &out),
                     PERF_ERR_NOT_FOUND);
    ck_assert_int_eq(perf_reader_open_counts_blocking("/", NULL, &out),
                     PERF_ERR_CORRUPT);
    ck_assert_int_eq(perf_reader_refresh_counts_blocking(NULL),
                     PERF_ERR_INVALID);
    ck_assert_uint_eq(perf_reader_buckets(NULL, 0, &bucket, 1), 0);
    ck_assert_uint_eq(perf_reader_buckets(reader, 4000, &bucket, 1), 0);
    ck_assert_uint_eq(perf_reader_buckets(reader, 0, NULL, 1), 0);
    perf_reader_close(reader);
}
END_TEST

/* ---- no memory, damage ---- */

START_TEST(test_without_memory_the_old_copy_stays)
{
    pt_alloc a;
    perf_reader *reader = NULL;
    record(2);
    uint64_t allowed = 0;
    for (perf_err err = PERF_ERR_NOMEM; err; allowed++) {
        pt_alloc_init(&a, allowed);
        err = perf_reader_open_counts_blocking(path, &a.face, &reader);
        if (err) {
            ck_assert_int_eq(err, PERF_ERR_NOMEM);
            ck_assert_ptr_null(reader);
            ck_assert_uint_eq(a.live, 0);
        }
        ck_assert_uint_lt(allowed, 100);
    }
    ck_assert_uint_gt(allowed, 5);
    record(20); /* more blocks than there was room for, and longer rings */
    uint32_t name = pt_name(PERF_KIND_SPAN, "work");
    perf_totals totals;
    for (allowed = 0;; allowed++) {
        a.allowed = a.calls + allowed;
        perf_err err = perf_reader_refresh_counts_blocking(reader);
        if (!err)
            break;
        ck_assert_int_eq(err, PERF_ERR_NOMEM);
        ck_assert_int_eq(perf_reader_totals(reader, name, &totals), PERF_OK);
        ck_assert_uint_eq(totals.count, 2 * SPANS);
        ck_assert_uint_lt(allowed, 200);
    }
    ck_assert_uint_gt(allowed, 4);
    perf_reader_totals(reader, name, &totals);
    ck_assert_uint_eq(totals.count, 22 * SPANS);
    perf_reader_close(reader);
    ck_assert_uint_eq(a.live, 0);
    ck_assert(!a.wrong_size);
}
END_TEST

/* Ask everything of it. */
static void
walk(perf_reader *reader)
{
    static perf_bucket bucket[PERF_BUCKETS_MAX];
    static perf_record open[64];
    perf_reader_info info = info_of(reader);
    perf_totals t;
    perf_attribute a;
    uint32_t first;
    for (uint32_t i = 0; i < info.names; i++) {
        PT_ASSERT(strlen(perf_reader_name(reader, i, NULL)) <=
                  PERF_TEXT_MAX_BYTES);
        PT_ASSERT(perf_reader_totals(reader, i, &t) == PERF_OK);
        PT_ASSERT(perf_reader_buckets(reader, i, bucket, PERF_BUCKETS_MAX) <=
                  PERF_BUCKETS_MAX);
    }
    size_t n = perf_reader_open_spans(reader, open, 64);
    for (size_t i = 0; i < n && i < 64; i++)
        for (uint32_t k = 0; perf_record_attribute(&open[i], k, &a); k++)
            PT_ASSERT(k < PERF_SPAN_ATTRIBUTES_MAX);
    PT_ASSERT(take_records(reader, &first) == 0);
}

/* The bytes of a segment, and a file that they are written to. */
static unsigned char *
valid_bytes(size_t *size, char file[PT_PATH + 16])
{
    char folder[PT_PATH];
    pt_start(4 << 20, 128 << 10);
    record(2);
    pt_folder(folder);
    snprintf(file, PT_PATH + 16, "%s/x.perf", folder);
    return pt_segment_bytes(size);
}

/* A list of rings that leads to the header, to blocks, to nowhere: what is said
 * to be a ring's is left out, and everything else is still there. */
START_TEST(test_a_ring_that_claims_what_is_not_its_own)
{
    char file[PT_PATH + 16];
    size_t size;
    unsigned char *valid = valid_bytes(&size, file);
    uint32_t units = PERFI_CHUNK / PERFI_UNIT;
    unsigned char *bytes = malloc(size);
    for (uint32_t to = 0; to <= size / PERFI_CHUNK; to++) {
        memcpy(bytes, valid, size);
        const perfi_header *h = (void *)bytes;
        perfi_block *b = (void *)(bytes + perfi_get(&h->blocks));
        b->ring = to * units;
        pt_write_file(file, bytes, size);
        perf_reader *reader = open_counts(file);
        walk(reader);
        perf_reader_close(reader);
    }
    free(bytes);
    free(valid);
}
END_TEST

START_TEST(test_noise)
{
    char file[PT_PATH + 16];
    size_t size;
    unsigned char *valid = valid_bytes(&size, file);
    unsigned char *bytes = malloc(size);
    pt_random random = {(uint64_t)_i};
    perf_reader *reader, *known;
    int opened = 0, tried = PT_SANITIZED ? 40 : 300;
    pt_write_file(file, valid, size);
    known = open_counts(file);
    for (int i = 0; i < tried; i++) {
        memcpy(bytes, valid, size);
        for (uint64_t n = 1 + pt_below(&random, 12); n--;) {
            size_t chunk = pt_below(&random, size / PERFI_CHUNK);
            size_t at = chunk * PERFI_CHUNK + pt_below(&random, 512) * 8;
            uint64_t word = pt_next(&random) >> pt_below(&random, 64);
            memcpy(bytes + at, &word, sizeof word);
        }
        pt_write_file(file, bytes, size);
        perf_err err = perf_reader_open_counts_blocking(file, NULL, &reader);
        PT_ASSERT(err == PERF_OK || err == PERF_ERR_CORRUPT ||
                  err == PERF_ERR_VERSION);
        opened += !err;
        if (!err)
            walk(reader);
        perf_reader_close(reader);
    }
    PT_ASSERT(opened > tried / 2);
    ck_assert_int_eq(truncate(file, 70000), 0);
    ck_assert_int_eq(perf_reader_refresh_counts_blocking(known),
                     PERF_ERR_CORRUPT);
    walk(known); /* as it was */
    perf_reader_close(known);
    free(bytes);
    free(valid);
}
END_TEST

/* A file that claims half a gigabyte beside its rings, and takes no room. */
START_TEST(test_a_sparse_file_does_not_fill_the_memory)
{
    char file[PT_PATH + 16];
    size_t size;
    unsigned char *bytes = valid_bytes(&size, file);
    perfi_header *h = (void *)bytes;
    off_t big = (off_t)(513 << 20);
    h->max_bytes = (uint64_t)big;
    perfi_set(&h->used_bytes, (uint64_t)big);
    pt_write_file(file, bytes, size);
    ck_assert_int_eq(truncate(file, big), 0);
    perf_reader *reader;
    ck_assert_int_eq(perf_reader_open_counts_blocking(file, NULL, &reader),
                     PERF_ERR_RANGE);
    free(bytes);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("segment.counts");
    tcase_add_test(tests, test_counts_say_the_same_as_a_whole_copy);
    tcase_add_test(tests, test_rings_are_left_out_also_when_they_grow);
    tcase_add_test(tests, test_records_wait_for_the_next_whole_copy);
    tcase_add_test(tests, test_a_trace_file_has_the_same_counts);
    tcase_add_test(tests, test_counts_only_grow_while_a_writer_goes_on);
    tcase_add_test(tests, test_ones_own_segment_and_a_fork);
    tcase_add_test(tests, test_what_is_refused);
    tcase_add_test(tests, test_without_memory_the_old_copy_stays);
    tcase_add_test(tests, test_a_ring_that_claims_what_is_not_its_own);
    tcase_add_loop_test(tests, test_noise, 0, 3);
    tcase_add_test(tests, test_a_sparse_file_does_not_fill_the_memory);
    return pt_end();
}
