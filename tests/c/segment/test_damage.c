/* test_damage.c - a reader given anything at all: an error or a skipped part,
 * never a crash, never without end. */
#include "pt.h"

#include "segment/reader.h"

#include <libperf/frame.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Everything there is in a segment: names, metrics, open spans, records of all
 * lengths, a ring that has wrapped, a second thread. */
static void
write_everything(unsigned index, void *ctx)
{
    (void)ctx;
    char text[300];
    memset(text, 't', sizeof text);
    uint32_t name = pt_name(PERF_KIND_SPAN, index ? "one" : "two");
    uint32_t key = pt_name(PERF_KIND_KEY, "key");
    for (uint32_t i = 0; i < 2500; i++) {
        perf_span span = perf_span_begin_at(name, (perf_span){0}, i, i);
        perf_span_set_text(span, key, text, i % 250);
        perf_span_set_int(span, pt_name(PERF_KIND_QUANTITY, "q"), 3);
        perf_span_end_at(span, (perf_status)(i % 3), i % 2, i * UINT64_C(1000));
        perf_span_log(span, 2, text, i % 100);
        perf_frame(i / 2, text, i % 200, text, i % 100, i);
    }
    perf_span open = perf_span_begin(name, (perf_span){0});
    perf_span_set_float(open, key, 1.5);
    perf_span_set_name(open, key, pt_name(PERF_KIND_TEXT, "text"));
    perf_metric_add(pt_name(PERF_KIND_COUNTER, "c"), 7);
    perf_metric_set(pt_name(PERF_KIND_GAUGE, "g"), 0.5);
    for (uint64_t v = 1; v; v <<= 1)
        perf_metric_record(pt_name(PERF_KIND_TIMING, "t"), v);
}

static unsigned char *
valid_segment(size_t *size)
{
    pt_start(4 << 20, 128 << 10);
    pt_parallel(2, write_everything, NULL);
    return pt_segment_bytes(size);
}

/* Ask everything; returns what must not depend on the damage elsewhere. */
static uint64_t
walk(perf_reader *reader)
{
    enum { STEP = 64, MOST = 200000 };
    static perf_record record[STEP];
    static perf_histogram *h;
    uint64_t seen = 0;
    perf_reader_info info;
    perf_attribute a;
    perf_totals totals;
    if (!h)
        ck_assert_int_eq(perf_histogram_create(NULL, &h), PERF_OK);
    ck_assert_int_eq(perf_reader_info_get(reader, &info), PERF_OK);
    PT_ASSERT(strlen(info.service) < sizeof info.service);
    PT_ASSERT(strlen(info.command) < sizeof info.command);
    for (uint32_t i = 0; i <= info.names; i++) {
        const char *text = perf_reader_name(reader, i, NULL);
        if (text)
            seen += strlen(text);
        perf_reader_totals(reader, i, &totals);
        PT_ASSERT(totals.quantities <= PERF_QUANTITIES_MAX);
        perf_reader_histogram(reader, i, h);
        seen += perf_histogram_quantile(h, 0.5);
    }
    perf_reader_frame frame;
    for (uint32_t i = 0; i < 6000; i++)
        if (!perf_reader_frame_get(reader, i, &frame)) {
            PT_ASSERT(frame.caller < i);
            seen += strlen(frame.function) + strlen(frame.file);
        }
    size_t n, open = perf_reader_open_spans(reader, record, STEP);
    for (uint32_t i = 0; i < open && i < STEP; i++)
        for (uint32_t k = 0; perf_record_attribute(&record[i], k, &a); k++)
            seen += a.length ? (unsigned char)a.text[a.length - 1] : 0;
    for (size_t total = 0;
         total < MOST && (n = perf_reader_records(reader, record, STEP));
         total += n)
        for (size_t i = 0; i < n; i++)
            for (uint32_t k = 0; perf_record_attribute(&record[i], k, &a); k++)
                seen += a.length ? (unsigned char)a.text[a.length - 1] : 0;
    return seen + perf_reader_lost(reader);
}

static perf_err
open_and_walk(const unsigned char *bytes, size_t size)
{
    perf_reader *reader = NULL;
    perf_err err = perf_reader_open_bytes(bytes, size, NULL, &reader);
    PT_ASSERT((err == PERF_OK) == (reader != NULL));
    if (!err)
        walk(reader);
    perf_reader_close(reader);
    return err;
}

START_TEST(test_undamaged_bytes_are_read_whole)
{
    size_t size;
    unsigned char *bytes = valid_segment(&size);
    perf_reader *reader;
    ck_assert_int_eq(perf_reader_open_bytes(bytes, size, NULL, &reader),
                     PERF_OK);
    perf_reader_info info;
    perf_reader_info_get(reader, &info);
    ck_assert_uint_eq(info.damaged, 0);
    ck_assert_uint_eq(info.alive, 0);
    size_t n;
    free(pt_records(reader, 100, &n));
    ck_assert_uint_gt(n, 500);
    ck_assert_uint_eq(n + perf_reader_lost(reader), 2 * 2 * 2500);
    ck_assert_uint_eq(perf_reader_open_spans(reader, NULL, 0), 2);
    ck_assert_int_eq(perf_reader_refresh_blocking(reader), PERF_OK);
    perf_reader_close(reader);
    free(bytes);
}
END_TEST

START_TEST(test_paths_that_are_no_segments)
{
    char base[PT_PATH], path[PT_PATH + 16];
    perf_reader *reader = (void *)base;
    pt_folder(base);
    snprintf(path, sizeof path, "%s/x", base);
    ck_assert_int_eq(perf_reader_open_blocking(path, NULL, &reader),
                     PERF_ERR_NOT_FOUND);
    ck_assert_ptr_null(reader);
    ck_assert_int_eq(perf_reader_open_blocking("", NULL, &reader),
                     PERF_ERR_NOT_FOUND);
    ck_assert_int_eq(perf_reader_open_blocking(base, NULL, &reader),
                     PERF_ERR_CORRUPT);
    pt_write_file(path, "", 0);
    ck_assert_int_eq(perf_reader_open_blocking(path, NULL, &reader),
                     PERF_ERR_CORRUPT);
    unsigned char *text = malloc(200000);
    memset(text, 'a', 200000);
    pt_write_file(path, text, 200000);
    ck_assert_int_eq(perf_reader_open_blocking(path, NULL, &reader),
                     PERF_ERR_CORRUPT);
    free(text);
    strcat(path, "/below-a-file");
    ck_assert_int_eq(perf_reader_open_blocking(path, NULL, &reader),
                     PERF_ERR_NOT_FOUND);
    snprintf(path, sizeof path, "%s/pipe", base);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    ck_assert_int_eq(perf_reader_open_blocking(path, NULL, &reader),
                     PERF_ERR_CORRUPT);
    ck_assert_int_eq(perf_reader_open_blocking("/dev/null", NULL, &reader),
                     PERF_ERR_CORRUPT);
    ck_assert_ptr_null(reader);
}
END_TEST

static void
open_as_nobody(void *ctx)
{
    perf_reader *reader;
    if (!geteuid())
        PT_CHECK_EQ(setresuid(65534, 65534, 65534), 0);
    else
        PT_CHECK_EQ(chmod(ctx, 0), 0);
    PT_CHECK_EQ(perf_reader_open_blocking(ctx, NULL, &reader), PERF_ERR_DENIED);
}

START_TEST(test_file_of_another_user_is_denied)
{
    char path[PERF_PATH_MAX_BYTES];
    ck_assert_int_eq(perf_segment_start(NULL), PERF_OK);
    ck_assert_int_eq(perf_segment_path(path, sizeof path), PERF_OK);
    pt_run_well(open_as_nobody, path);
}
END_TEST

START_TEST(test_other_versions_are_refused)
{
    size_t size;
    unsigned char *bytes = valid_segment(&size);
    perfi_header *h = (void *)bytes;
    h->layout = PERFI_LAYOUT_VERSION + 1;
    ck_assert_int_eq(open_and_walk(bytes, size), PERF_ERR_VERSION);
    h->layout = 0;
    ck_assert_int_eq(open_and_walk(bytes, size), PERF_ERR_VERSION);
    h->layout = PERFI_LAYOUT_VERSION;
    ck_assert_int_eq(open_and_walk(bytes, size), PERF_OK);
    h->magic ^= 1;
    ck_assert_int_eq(open_and_walk(bytes, size), PERF_ERR_CORRUPT);
    free(bytes);
}
END_TEST

START_TEST(test_cut_at_every_page)
{
    size_t size;
    unsigned char *bytes = valid_segment(&size);
    char base[PT_PATH], path[PT_PATH + 16];
    pt_folder(base);
    snprintf(path, sizeof path, "%s/cut.perf", base);
    pt_write_file(path, bytes, size);
    perf_reader *whole;
    ck_assert_int_eq(perf_reader_open_blocking(path, NULL, &whole), PERF_OK);
    for (size_t n = size; n >= 4096; n -= 4096) {
        size_t cut = n - 4096;
        ck_assert_int_eq(truncate(path, (off_t)cut), 0);
        ck_assert_int_eq(open_and_walk(bytes, cut), PERF_ERR_CORRUPT);
        perf_reader *reader;
        ck_assert_int_eq(perf_reader_open_blocking(path, NULL, &reader),
                         PERF_ERR_CORRUPT);
        /* a reader that had it open keeps what it had */
        ck_assert_int_eq(perf_reader_refresh_blocking(whole), PERF_ERR_CORRUPT);
    }
    ck_assert_uint_gt(walk(whole), 0);
    perf_reader_close(whole);
    free(bytes);
}
END_TEST

/* ---- noise ---- */

static void
spoil(unsigned char *bytes, size_t from, size_t to, pt_random *random)
{
    static const uint64_t liked[] = {
        0,         1,          0x7f,       0xffff,
        INT32_MAX, UINT32_MAX, UINT64_MAX, UINT64_C(1) << 63,
        65536,     4096};
    for (uint64_t n = 1 + pt_below(random, 12); n--;) {
        size_t at = from + pt_below(random, to - from);
        uint64_t word = pt_next(random) >> pt_below(random, 64);
        if (pt_below(random, 2))
            word = liked[pt_below(random, 10)];
        size_t length = (size_t)1 << pt_below(random, 4);
        if (pt_below(random, 4)) /* fields are aligned */
            at = at / length * length;
        if (at + length > to)
            continue;
        memcpy(bytes + at, &word, length);
    }
}

/* What is interesting begins each chunk. */
static void
choose_place(size_t size, pt_random *random, size_t *from, size_t *to)
{
    size_t chunk = pt_below(random, size / PERFI_CHUNK) * PERFI_CHUNK;
    switch (pt_below(random, 5)) {
    case 0:
        *from = 0;
        *to = PERFI_TEXTS_AT;
        break; /* header and names */
    case 1:
        *from = 0;
        *to = sizeof(perfi_header);
        break;
    case 2:
        *from = chunk;
        *to = chunk + 512;
        break;
    case 3:
        *from = chunk;
        *to = chunk + 4096;
        break;
    default: *from = 0; *to = size;
    }
}

START_TEST(test_noise_never_crashes_the_reader)
{
    size_t size;
    unsigned char *valid = valid_segment(&size);
    unsigned char *bytes = malloc(size);
    pt_random random = {(uint64_t)_i};
    uint64_t opened = 0, refused = 0;
    enum { MUTATIONS = PT_SANITIZED ? 150 : 2500 };
    for (int i = 0; i < MUTATIONS; i++) {
        size_t from, to;
        memcpy(bytes, valid, size);
        choose_place(size, &random, &from, &to);
        spoil(bytes, from, to, &random);
        perf_err err = open_and_walk(bytes, size);
        opened += err == PERF_OK;
        refused += err != PERF_OK;
        PT_ASSERT(err == PERF_OK || err == PERF_ERR_CORRUPT ||
                  err == PERF_ERR_VERSION);
    }
    PT_ASSERT(opened > MUTATIONS / 2); /* most went beyond the header */
    PT_ASSERT(refused > MUTATIONS / 500);
    free(bytes);
    free(valid);
}
END_TEST

START_TEST(test_pure_noise_behind_a_valid_header)
{
    size_t size;
    unsigned char *bytes = valid_segment(&size);
    pt_random random = {77};
    for (int i = 0; i < (PT_SANITIZED ? 6 : 30); i++) {
        for (size_t at = sizeof(perfi_header); at + 8 <= size; at += 8) {
            uint64_t word = pt_next(&random) >> (i % 3 * 20);
            memcpy(bytes + at, &word, 8);
        }
        ck_assert_int_eq(open_and_walk(bytes, size), PERF_OK);
    }
    free(bytes);
}
END_TEST

/* ---- much work from few bytes ---- */

/* Every chunk a thread's block, and all of them lead into one long list: what
 * the reader does must grow with the file, not with its square. */
START_TEST(test_shared_lists_do_not_multiply_the_work)
{
    size_t size, chunks = 512, big = chunks * PERFI_CHUNK;
    unsigned char *valid = valid_segment(&size);
    unsigned char *bytes = calloc(1, big);
    memcpy(bytes, valid, PERFI_CHUNK);
    perfi_header *h = (void *)bytes;
    perfi_set(&h->used_bytes, big);
    h->max_bytes = big;
    perfi_set(&h->blocks, big - PERFI_CHUNK);
    uint32_t units = PERFI_CHUNK / PERFI_UNIT;
    /* the list: a series at every 16th byte of the second half */
    uint32_t first = (uint32_t)chunks / 2 * units, last = 0;
    for (uint32_t c = (uint32_t)chunks / 2; c < chunks - 1; c++)
        for (uint32_t u = 64; u + 64 < units; u++) {
            perfi_series *s =
                (void *)(bytes + ((size_t)c * units + u) * PERFI_UNIT);
            /* the fields at the front overlap those of the neighbours only */
            s->name = PERF_KIND_COUNT;
            s->next = last;
            last = c * units + u;
        }
    ck_assert_uint_gt(last, first);
    for (uint32_t c = 1; c < chunks; c++) {
        perfi_block *b = (void *)(bytes + (size_t)c * PERFI_CHUNK);
        b->next = (c - 1) * units;
        perfi_set(&b->head, UINT64_MAX - 1);
        b->ring_chunks = PERFI_RING_CHUNKS_MAX;
        b->ring = c * units + 32;
        b->series = last;
    }
    alarm(PT_SANITIZED ? 60 : 10);
    ck_assert_int_eq(open_and_walk(bytes, big), PERF_OK);
    alarm(0);
    free(bytes);
    free(valid);
}
END_TEST

/* A file that is spoiled between the reader's two looks at its heads. */
START_TEST(test_rings_that_change_beyond_reason_have_an_end)
{
    static const uint32_t chunks_after[] = {0, 1, UINT32_MAX};
    size_t size, n;
    unsigned char *bytes = valid_segment(&size);
    for (int i = 0; i < 3; i++) {
        perf_reader *reader;
        ck_assert_int_eq(perf_reader_open_bytes(bytes, size, NULL, &reader),
                         PERF_OK);
        for (uint32_t b = 0; b < reader->blocks; b++) {
            perfi_image_head *head = &reader->block[b].head;
            head->before = (UINT64_C(1) << 48) + (b ? 0 : head->before);
            head->after = b ? 0 : UINT64_MAX;
            head->chunks_after = chunks_after[i];
        }
        alarm(PT_SANITIZED ? 60 : 10);
        free(pt_records(reader, 100, &n));
        alarm(0);
        ck_assert_uint_eq(n, 0);
        perf_reader_close(reader);
    }
    free(bytes);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("segment.damage");
    tcase_add_test(tests, test_undamaged_bytes_are_read_whole);
    tcase_add_test(tests, test_paths_that_are_no_segments);
    tcase_add_test(tests, test_file_of_another_user_is_denied);
    tcase_add_test(tests, test_other_versions_are_refused);
    tcase_add_test(tests, test_cut_at_every_page);
    tcase_add_loop_test(tests, test_noise_never_crashes_the_reader, 0, 4);
    tcase_add_test(tests, test_pure_noise_behind_a_valid_header);
    tcase_add_test(tests, test_shared_lists_do_not_multiply_the_work);
    tcase_add_test(tests, test_rings_that_change_beyond_reason_have_an_end);
    return pt_end();
}
