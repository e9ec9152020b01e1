/* test_reader.c - living, finished, killed writers; windows; misuse; memory. */
#include "pt.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct writer {
    char path[PERF_PATH_MAX_BYTES];
    uint64_t open_id[3];
    uint64_t begun_ns;
} writer;

enum { FINISHED = 25 };

/* Some finished spans, three open ones with attributes. */
static void
write_some(void *ctx)
{
    writer *w = ctx;
    w->begun_ns = perf_clock_now_ns();
    uint32_t name = pt_name(PERF_KIND_LLM, "ask");
    uint32_t key = pt_name(PERF_KIND_KEY, "question");
    uint32_t tokens = pt_name(PERF_KIND_QUANTITY, "tokens");
    perf_segment_config config;
    perf_segment_config_init(&config, sizeof config);
    config.service = "the service";
    PT_CHECK_EQ(perf_segment_start(&config), PERF_OK);
    for (int i = 0; i < FINISHED; i++) {
        perf_span span = perf_span_begin(name, (perf_span){0});
        perf_span_set_int(span, tokens, i);
        perf_span_end_as(span, i % 5 ? PERF_STATUS_OK : PERF_STATUS_ERROR, 0);
    }
    perf_span parent = {0};
    for (int i = 0; i < 3; i++) {
        parent = perf_span_begin(name, parent);
        perf_span_set_text(parent, key, "why?", 4);
        perf_span_set_int(parent, tokens, 100 + i);
        w->open_id[i] = parent.id;
    }
    PT_CHECK_EQ(perf_segment_path(w->path, sizeof w->path), PERF_OK);
}

static perf_reader *
open_path(const char *path)
{
    perf_reader *reader = NULL;
    ck_assert_int_eq(perf_reader_open_blocking(path, NULL, &reader), PERF_OK);
    return reader;
}

static uint32_t
find_name(const perf_reader *reader, perf_kind kind, const char *text)
{
    perf_kind is;
    const char *found;
    for (uint32_t i = 0; (found = perf_reader_name(reader, i, &is)); i++)
        if (is == kind && !strcmp(found, text))
            return i;
    ck_abort_msg("no name \"%s\"", text);
    return 0;
}

static void
expect_what_was_written(perf_reader *reader, const writer *w)
{
    uint32_t name = find_name(reader, PERF_KIND_LLM, "ask");
    uint32_t tokens = find_name(reader, PERF_KIND_QUANTITY, "tokens");
    perf_totals t;
    ck_assert_int_eq(perf_reader_totals(reader, name, &t), PERF_OK);
    ck_assert_uint_eq(t.count, FINISHED);
    ck_assert_uint_eq(t.errors, 5);
    ck_assert_uint_eq(t.quantities, 1);
    ck_assert_uint_eq(t.quantity_key[0], tokens);
    ck_assert_uint_eq(t.quantity_sum[0], FINISHED * (FINISHED - 1) / 2);
    perf_record open[5];
    ck_assert_uint_eq(perf_reader_open_spans(reader, open, 5), 3);
    for (int i = 0; i < 3; i++) {
        int k = 0;
        while (k < 3 && open[k].id != w->open_id[i])
            k++;
        ck_assert_int_lt(k, 3);
        ck_assert_uint_eq(open[k].parent, i ? w->open_id[i - 1] : 0);
        ck_assert_uint_eq(open[k].name, name);
        ck_assert_uint_eq(open[k].attributes, 2);
        perf_attribute a = pt_attribute(&open[k], 0);
        ck_assert_uint_eq(a.type, PERF_ATTRIBUTE_TEXT);
        ck_assert_uint_eq(a.length, 4);
        ck_assert_mem_eq(a.text, "why?", 4);
        ck_assert_int_eq(pt_attribute(&open[k], 1).int_value, 100 + i);
    }
    size_t n;
    free(pt_records(reader, 7, &n));
    ck_assert_uint_eq(n, FINISHED);
}

static perf_reader_info
info_of(const perf_reader *reader)
{
    perf_reader_info info;
    ck_assert_int_eq(perf_reader_info_get(reader, &info), PERF_OK);
    ck_assert_uint_eq(info.damaged, 0);
    return info;
}

START_TEST(test_living_writer_is_read_from_another_process)
{
    writer *w = pt_shared(sizeof *w);
    uint64_t before = perf_clock_now_ns();
    int pid = pt_spawn(write_some, w);
    perf_reader *reader = open_path(w->path);
    expect_what_was_written(reader, w);
    perf_reader_info info = info_of(reader);
    ck_assert_uint_eq(info.pid, (uint64_t)pid);
    ck_assert_uint_eq(info.uid, geteuid());
    ck_assert_uint_eq(info.alive, 1);
    ck_assert_uint_eq(info.finished, 0);
    ck_assert_uint_eq(info.threads, 1);
    ck_assert_str_eq(info.service, "the service");
    ck_assert_str_eq(info.version, PERF_VERSION);
    ck_assert_uint_ge(info.start_ns, before);
    ck_assert_uint_le(info.start_ns, perf_clock_now_ns());
    ck_assert_uint_ge(info.latest_ns + 1000000, info.start_ns);
    /* 1970 + the machine's clock: within a minute of what time() says */
    uint64_t wall = (info.start_ns + info.wall_offset_ns) / PT_NS_PER_S;
    ck_assert_uint_le(wall, (uint64_t)time(NULL) + 60);
    ck_assert_uint_ge(wall + 60, (uint64_t)time(NULL));
    pt_kill(pid);
    ck_assert_uint_eq(info_of(reader).alive, 0);
    perf_reader_close(reader);
}
END_TEST

START_TEST(test_killed_writer_shows_its_open_spans)
{
    writer *w = pt_shared(sizeof *w);
    pt_kill(pt_spawn(write_some, w)); /* SIGKILL in the middle of three spans */
    perf_reader *reader = open_path(w->path);
    expect_what_was_written(reader, w);
    ck_assert_uint_eq(info_of(reader).alive, 0);
    ck_assert_uint_eq(info_of(reader).finished, 0);
    ck_assert_int_eq(perf_reader_refresh_blocking(reader), PERF_OK);
    perf_reader_close(reader);
}
END_TEST

static void
write_and_finish(void *ctx)
{
    write_some(ctx);
    perf_segment_finish();
}

START_TEST(test_finished_writer_says_so)
{
    writer *w = pt_shared(sizeof *w);
    ck_assert_uint_eq(pt_run_well(write_and_finish, w), 0);
    perf_reader *reader = open_path(w->path);
    expect_what_was_written(reader, w);
    ck_assert_uint_eq(info_of(reader).finished, 1);
    ck_assert_uint_eq(info_of(reader).alive, 0);
    perf_reader_close(reader);
}
END_TEST

START_TEST(test_exit_finishes_the_segment)
{
    writer *w = pt_shared(sizeof *w);
    pid_t pid = fork();
    if (!pid) {
        write_some(w);
        exit(0);
    }
    waitpid(pid, NULL, 0);
    perf_reader *reader = open_path(w->path);
    ck_assert_uint_eq(info_of(reader).finished, 1);
    perf_reader_close(reader);
}
END_TEST

START_TEST(test_recording_still_works_after_finish)
{
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    perf_span_end(perf_span_begin(name, (perf_span){0}));
    perf_segment_finish();
    perf_span_end(perf_span_begin(name, (perf_span){0}));
    ck_assert_uint_eq(pt_totals_of(name).count, 2);
}
END_TEST

START_TEST(test_own_segment_is_alive_and_starts_by_itself)
{
    perf_reader *reader = pt_self(); /* nothing was recorded yet */
    ck_assert_uint_eq(info_of(reader).alive, 1);
    ck_assert_uint_eq(info_of(reader).pid, (uint64_t)getpid());
    ck_assert_uint_eq(info_of(reader).names, PERF_KIND_COUNT);
    ck_assert_uint_eq(perf_reader_open_spans(reader, NULL, 0), 0);
    perf_reader_close(reader);
    char path[PERF_PATH_MAX_BYTES];
    ck_assert_int_eq(perf_segment_path(path, sizeof path), PERF_OK);
    reader = open_path(path); /* by its path it is no different */
    ck_assert_uint_eq(info_of(reader).alive, 1);
    perf_reader_close(reader);
}
END_TEST

START_TEST(test_looking_at_a_segment_does_not_take_the_writers_lock)
{
    writer *w = pt_shared(sizeof *w);
    int pid = pt_spawn(write_some, w);
    perf_reader *a = open_path(w->path), *b = open_path(w->path);
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_eq(info_of(a).alive, 1);
        ck_assert_uint_eq(info_of(b).alive, 1);
    }
    pt_kill(pid);
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_eq(info_of(a).alive, 0);
        ck_assert_uint_eq(info_of(b).alive, 0);
    }
    perf_reader_close(a);
    perf_reader_close(b);
}
END_TEST

START_TEST(test_window_is_the_difference_of_two_refreshes)
{
    uint32_t name = pt_name(PERF_KIND_TIMING, "t");
    perf_histogram *before, *now;
    perf_histogram_create(NULL, &before);
    perf_histogram_create(NULL, &now);
    for (int i = 0; i < 1000; i++)
        perf_metric_record(name, 1000);
    perf_reader *reader = pt_self();
    ck_assert_int_eq(perf_reader_histogram(reader, name, before), PERF_OK);
    for (uint64_t i = 1; i <= 100; i++)
        perf_metric_record(name, i * 1000000);
    /* the copy does not change until it is told to */
    perf_reader_histogram(reader, name, now);
    ck_assert_uint_eq(perf_histogram_count(now), 1000);
    perf_histogram_reset(now);
    ck_assert_int_eq(perf_reader_refresh_blocking(reader), PERF_OK);
    ck_assert_int_eq(perf_reader_histogram(reader, name, now), PERF_OK);
    ck_assert_int_eq(perf_histogram_subtract(now, before), PERF_OK);
    ck_assert_uint_eq(perf_histogram_count(now), 100);
    ck_assert_uint_eq(perf_histogram_sum(now), 5050 * UINT64_C(1000000));
    double median = (double)perf_histogram_quantile(now, 0.5);
    ck_assert_double_le(fabs(median - 5e7), 5e7 * 0.004);
    perf_reader_close(reader);
    perf_histogram_destroy(before);
    perf_histogram_destroy(now);
}
END_TEST

START_TEST(test_names_have_texts_and_kinds)
{
    uint32_t name[PERF_KIND_COUNT];
    for (int kind = 0; kind < PERF_KIND_COUNT; kind++)
        name[kind] = pt_name((perf_kind)kind, "x");
    perf_reader *reader = pt_self();
    uint32_t late = pt_name(PERF_KIND_SPAN, "late");
    perf_kind is;
    for (int kind = 0; kind < PERF_KIND_COUNT; kind++) {
        ck_assert_str_eq(perf_reader_name(reader, name[kind], &is), "x");
        ck_assert_int_eq(is, kind);
        const char *other = perf_reader_name(reader, (uint32_t)kind, NULL);
        ck_assert_str_eq(other, "(other)");
    }
    ck_assert_ptr_null(perf_reader_name(reader, late, &is));
    ck_assert_ptr_null(perf_reader_name(reader, UINT32_MAX, &is));
    perf_totals totals;
    ck_assert_int_eq(perf_reader_totals(reader, late, &totals),
                     PERF_ERR_NOT_FOUND);
    ck_assert_int_eq(perf_reader_refresh_blocking(reader), PERF_OK);
    ck_assert_str_eq(perf_reader_name(reader, late, &is), "late");
    uint32_t bad = pt_name(PERF_KIND_SPAN, "a\nb\x1b[31m\x7f"
                                           "c\xc2\x9b"
                                           "d\xc2\xa0\xc3");
    ck_assert_int_eq(perf_reader_refresh_blocking(reader), PERF_OK);
    ck_assert_str_eq(perf_reader_name(reader, bad, NULL),
                     "a b [31m c  d\xc2\xa0\xc3");
    perf_reader_close(reader);
}
END_TEST

START_TEST(test_null_is_refused_or_ignored)
{
    perf_reader *reader = pt_self(), *out = reader;
    perf_record record = {0};
    perf_attribute attribute;
    perf_totals totals;
    perf_reader_info info;
    perf_histogram *h;
    perf_histogram_create(NULL, &h);
    ck_assert_int_eq(perf_reader_open_blocking(NULL, NULL, &out),
                     PERF_ERR_INVALID);
    ck_assert_ptr_null(out);
    ck_assert_int_eq(perf_reader_open_blocking("/", NULL, NULL),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_reader_open_self_blocking(NULL, NULL),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_reader_open_bytes(NULL, 9, NULL, &out),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_reader_open_bytes("", 1, NULL, NULL),
                     PERF_ERR_INVALID);
    perf_reader_close(NULL);
    ck_assert_int_eq(perf_reader_refresh_blocking(NULL), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_reader_info_get(NULL, &info), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_reader_info_get(reader, NULL), PERF_ERR_INVALID);
    ck_assert_ptr_null(perf_reader_name(NULL, 0, NULL));
    ck_assert_int_eq(perf_reader_totals(NULL, 0, &totals), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_reader_totals(reader, 0, NULL), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_reader_histogram(NULL, 0, h), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_reader_histogram(reader, 0, NULL), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_reader_histogram(reader, 4000, h),
                     PERF_ERR_NOT_FOUND);
    ck_assert_uint_eq(perf_reader_records(NULL, &record, 1), 0);
    ck_assert_uint_eq(perf_reader_records(reader, NULL, 1), 0);
    ck_assert_uint_eq(perf_reader_lost(NULL), 0);
    ck_assert_uint_eq(perf_reader_events_lost(NULL), 0);
    ck_assert_uint_eq(perf_reader_open_spans(NULL, &record, 1), 0);
    ck_assert(!perf_record_attribute(NULL, 0, &attribute));
    ck_assert(!perf_record_attribute(&record, 0, &attribute));
    record.attributes = 1;
    ck_assert(!perf_record_attribute(&record, 0, NULL));
    perf_histogram_destroy(h);
    perf_reader_close(reader);
}
END_TEST

/* ---- out of memory ---- */

typedef struct holders {
    uint32_t name[8];
    pthread_barrier_t all;
} holders;

static void
hold_open(unsigned index, void *ctx)
{
    holders *h = ctx;
    for (unsigned i = 0; i < 4; i++)
        perf_span_begin(h->name[(index + i) % 8], (perf_span){0});
    pthread_barrier_wait(&h->all); /* nobody ends before all have a block */
}

/* A segment with more blocks than a reader makes room for at first. */
static void
fill_blocks(unsigned threads)
{
    holders h;
    pthread_barrier_init(&h.all, NULL, threads);
    for (int i = 0; i < 8; i++)
        h.name[i] = perf_name(PERF_KIND_SPAN, &"abcdefgh"[i], 1);
    pt_parallel(threads, hold_open, &h);
    pthread_barrier_destroy(&h.all);
}

START_TEST(test_open_and_refresh_without_memory)
{
    char path[PERF_PATH_MAX_BYTES];
    fill_blocks(40);
    perf_segment_path(path, sizeof path);
    size_t size;
    unsigned char *bytes = pt_segment_bytes(&size);
    pt_alloc a;
    uint64_t allowed = 0;
    for (perf_err err = PERF_ERR_NOMEM; err; allowed++) {
        perf_reader *reader = (void *)path;
        pt_alloc_init(&a, allowed);
        err = _i == 0   ? perf_reader_open_blocking(path, &a.face, &reader)
              : _i == 1 ? perf_reader_open_self_blocking(&a.face, &reader)
                        : perf_reader_open_bytes(bytes, size, &a.face, &reader);
        if (err) {
            ck_assert_int_eq(err, PERF_ERR_NOMEM);
            ck_assert_ptr_null(reader);
        } else {
            ck_assert_uint_eq(perf_reader_open_spans(reader, NULL, 0), 160);
            ck_assert_uint_eq(info_of(reader).threads, 40);
            perf_reader_close(reader);
        }
        ck_assert_uint_eq(a.live, 0);
        ck_assert(!a.wrong_size);
        ck_assert_uint_lt(allowed, 100);
    }
    ck_assert_uint_gt(allowed, 5);
    free(bytes);
}
END_TEST

START_TEST(test_refresh_without_memory_keeps_the_old_copy)
{
    pt_alloc a;
    perf_reader *reader;
    uint32_t name = pt_name(PERF_KIND_SPAN, "first");
    perf_span_end(perf_span_begin(name, (perf_span){0}));
    pt_alloc_init(&a, UINT64_MAX);
    ck_assert_int_eq(perf_reader_open_self_blocking(&a.face, &reader), PERF_OK);
    fill_blocks(40);
    perf_span_end(perf_span_begin(name, (perf_span){0}));
    uint64_t allowed = 0, live = a.live;
    perf_totals totals;
    for (;; allowed++) {
        a.allowed = a.calls + allowed;
        perf_err err = perf_reader_refresh_blocking(reader);
        if (!err)
            break;
        ck_assert_int_eq(err, PERF_ERR_NOMEM);
        ck_assert_int_eq(perf_reader_totals(reader, name, &totals), PERF_OK);
        ck_assert_uint_eq(totals.count, 1);
        ck_assert_uint_eq(perf_reader_open_spans(reader, NULL, 0), 0);
        ck_assert_uint_le(a.live, live + 1); /* room for more blocks stays */
        ck_assert_uint_lt(allowed, 100);
    }
    ck_assert_uint_gt(allowed, 4);
    ck_assert_int_eq(perf_reader_totals(reader, name, &totals), PERF_OK);
    ck_assert_uint_eq(totals.count, 2);
    ck_assert_uint_eq(perf_reader_open_spans(reader, NULL, 0), 160);
    size_t n;
    free(pt_records(reader, 5, &n));
    ck_assert_uint_eq(n, 2);
    perf_reader_close(reader);
    ck_assert_uint_eq(a.live, 0);
    ck_assert(!a.wrong_size);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("segment.reader");
    tcase_add_test(tests, test_living_writer_is_read_from_another_process);
    tcase_add_test(tests, test_killed_writer_shows_its_open_spans);
    tcase_add_test(tests, test_finished_writer_says_so);
    tcase_add_test(tests, test_exit_finishes_the_segment);
    tcase_add_test(tests, test_recording_still_works_after_finish);
    tcase_add_test(tests, test_own_segment_is_alive_and_starts_by_itself);
    tcase_add_test(tests,
                   test_looking_at_a_segment_does_not_take_the_writers_lock);
    tcase_add_test(tests, test_window_is_the_difference_of_two_refreshes);
    tcase_add_test(tests, test_names_have_texts_and_kinds);
    tcase_add_test(tests, test_null_is_refused_or_ignored);
    tcase_add_loop_test(tests, test_open_and_refresh_without_memory, 0, 3);
    tcase_add_test(tests, test_refresh_without_memory_keeps_the_old_copy);
    return pt_end();
}
