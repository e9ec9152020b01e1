/* test_fork.c - fork() at any moment leaves parent and child working. */
#include "pt.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const perf_span none;
static uint32_t name;

static void
expect_good_end(pid_t pid)
{
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(status == 0, "child: status %#x", (unsigned)status);
}

typedef struct seen {
    char path[PERF_PATH_MAX_BYTES];
    perf_span span;
} seen;

static void
use_as_child(perf_span inherited, seen *s)
{
    char path[PERF_PATH_MAX_BYTES];
    alarm(60);
    PT_CHECK_EQ(perf_segment_path(path, sizeof path), PERF_ERR_CLOSED);
    PT_CHECK_EQ(perf_span_end(inherited), 0);
    PT_CHECK(!perf_span_set_int(inherited, PERF_KIND_KEY, 1));
    s->span = perf_span_begin(name, inherited);
    PT_CHECK_EQ(s->span.parent, inherited.id);
    PT_CHECK_EQ(s->span.trace_hi, inherited.trace_hi);
    PT_CHECK_EQ(s->span.trace_lo, inherited.trace_lo);
    PT_CHECK_EQ(perf_span_end(inherited), 0);
    perf_span_end(s->span);
    PT_CHECK_EQ(perf_segment_path(s->path, sizeof s->path), PERF_OK);
    PT_CHECK_EQ(pt_totals_of(name).count, 1);
    perf_reader *reader = pt_self();
    perf_reader_info info;
    perf_reader_info_get(reader, &info);
    PT_CHECK_EQ(info.pid, getpid());
    PT_CHECK_EQ(perf_reader_open_spans(reader, NULL, 0), 0);
    perf_reader_close(reader);
}

START_TEST(test_child_records_into_a_file_of_its_own)
{
    seen *s = pt_shared(sizeof *s);
    char path[PERF_PATH_MAX_BYTES];
    name = pt_name(PERF_KIND_SPAN, "s");
    perf_span span = perf_span_begin(name, none);
    perf_segment_path(path, sizeof path);
    pid_t pid = fork();
    if (!pid) {
        use_as_child(span, s);
        _exit(0);
    }
    expect_good_end(pid);
    ck_assert_str_ne(s->path, "");
    ck_assert_str_ne(s->path, path);
    /* the child's file, from the parent */
    perf_reader *reader;
    ck_assert_int_eq(perf_reader_open_blocking(s->path, NULL, &reader),
                     PERF_OK);
    size_t n;
    perf_record *records = pt_records(reader, 8, &n);
    ck_assert_uint_eq(n, 1);
    ck_assert_uint_eq(records[0].id, s->span.id);
    ck_assert_uint_eq(records[0].parent, span.id);
    ck_assert_str_eq(perf_reader_name(reader, records[0].name, NULL), "s");
    free(records);
    perf_reader_close(reader);
    /* the parent's span is still its own */
    ck_assert(perf_span_set_int(span, PERF_KIND_KEY, 1));
    perf_span_end(span);
    ck_assert_uint_eq(pt_totals_of(name).count, 1);
    ck_assert_uint_eq(perf_span_end(span), 0);
    reader = pt_self();
    free(pt_records(reader, 8, &n));
    ck_assert_uint_eq(n, 1);
    perf_reader_close(reader);
}
END_TEST

/* It would copy the parent's file and call it this process's. */
START_TEST(test_inherited_reader_is_closed_in_the_child)
{
    pt_name(PERF_KIND_SPAN, "s");
    perf_reader *reader = pt_self();
    pid_t pid = fork();
    if (!pid) {
        alarm(60);
        PT_CHECK_EQ(perf_reader_refresh_blocking(reader), PERF_ERR_CLOSED);
        perf_reader_close(reader);
        _exit(0);
    }
    expect_good_end(pid);
    ck_assert_int_eq(perf_reader_refresh_blocking(reader), PERF_OK);
    perf_reader_close(reader);
}
END_TEST

START_TEST(test_fork_of_a_fork)
{
    seen *s = pt_shared(3 * sizeof *s);
    name = pt_name(PERF_KIND_SPAN, "s");
    perf_span span = perf_span_begin(name, none);
    pid_t pid = fork();
    if (!pid) {
        use_as_child(span, &s[0]);
        perf_span own = perf_span_begin(name, span);
        pid_t grandchild = fork();
        if (!grandchild) {
            PT_CHECK_EQ(perf_span_end(span), 0); /* two generations up */
            use_as_child(own, &s[1]);
            _exit(0);
        }
        int status;
        PT_CHECK_EQ(waitpid(grandchild, &status, 0), grandchild);
        PT_CHECK_EQ(status, 0);
        perf_span_end(own);
        PT_CHECK_EQ(pt_totals_of(name).count, 2);
        _exit(0);
    }
    expect_good_end(pid);
    ck_assert_str_ne(s[0].path, s[1].path);
    ck_assert_uint_eq(s[0].span.trace_lo, s[1].span.trace_lo);
    perf_span_end(span);
    ck_assert_uint_eq(pt_totals_of(name).count, 1);
}
END_TEST

START_TEST(test_child_that_records_nothing_leaves_no_file)
{
    char base[PT_PATH], folder[PT_PATH + 32];
    pt_segments_in(base);
    snprintf(folder, sizeof folder, "%s/libperf-%u", base, (unsigned)geteuid());
    name = pt_name(PERF_KIND_SPAN, "s");
    perf_span span = perf_span_begin(name, none);
    pid_t pid = fork();
    if (!pid) {
        perf_span_end(span);
        perf_segment_finish();
        _exit(0);
    }
    expect_good_end(pid);
    ck_assert_int_eq(pt_count_files(folder, ""), 1);
    perf_reader *reader = pt_self();
    perf_reader_info info;
    perf_reader_info_get(reader, &info);
    ck_assert_uint_eq(info.finished, 0); /* the parent's is not finished */
    perf_reader_close(reader);
}
END_TEST

START_TEST(test_fork_before_anything_was_recorded)
{
    name = pt_name(PERF_KIND_SPAN, "s");
    pid_t pid = fork();
    if (!pid) {
        perf_span_end(perf_span_begin(name, none));
        _exit(pt_totals_of(name).count == 1 ? 0 : 1);
    }
    expect_good_end(pid);
    perf_span_end(perf_span_begin(name, none));
    ck_assert_uint_eq(pt_totals_of(name).count, 1);
}
END_TEST

START_TEST(test_child_may_start_with_its_own_settings)
{
    perf_segment_config config;
    perf_segment_config_init(&config, sizeof config);
    config.service = "parent";
    ck_assert_int_eq(perf_segment_start(&config), PERF_OK);
    name = pt_name(PERF_KIND_SPAN, "s");
    for (int i = 0; i < 2; i++) {
        pid_t pid = fork();
        if (!pid) {
            config.service = "child";
            if (i) /* the second child takes its parent's settings */
                PT_CHECK_EQ(perf_segment_start(&config), PERF_OK);
            perf_span_end(perf_span_begin(name, none));
            perf_reader *reader = pt_self();
            perf_reader_info info;
            perf_reader_info_get(reader, &info);
            PT_CHECK(!strcmp(info.service, i ? "child" : "parent"));
            perf_reader_close(reader);
            exit(0); /* with leak detection */
        }
        expect_good_end(pid);
    }
}
END_TEST

START_TEST(test_child_frees_its_parents_tables_where_they_came_from)
{
    pt_alloc a, b;
    perf_segment_config config;
    pt_alloc_init(&a, UINT64_MAX);
    pt_alloc_init(&b, UINT64_MAX);
    perf_segment_config_init(&config, sizeof config);
    config.allocator = &a.face;
    ck_assert_int_eq(perf_segment_start(&config), PERF_OK);
    name = pt_name(PERF_KIND_SPAN, "s");
    perf_span_end(perf_span_begin(name, none));
    pid_t pid = fork();
    if (!pid) {
        config.allocator = &b.face;
        PT_CHECK_EQ(a.live, 2);
        PT_CHECK_EQ(perf_segment_start(&config), PERF_OK);
        perf_span_end(perf_span_begin(name, none));
        PT_CHECK_EQ(a.live, 0);
        PT_CHECK_EQ(b.live, 2);
        PT_CHECK(!a.wrong_size && !b.wrong_size);
        _exit(0);
    }
    expect_good_end(pid);
    ck_assert_uint_eq(a.live, 2);
}
END_TEST

START_TEST(test_ids_of_parent_and_children_differ)
{
    enum { CHILDREN = 8, EACH = 200 };
    uint64_t *ids = pt_shared(CHILDREN * EACH * sizeof *ids);
    name = pt_name(PERF_KIND_SPAN, "s");
    perf_span_end(perf_span_begin(name, none));
    for (int c = 0; c < CHILDREN; c++) {
        pid_t pid = fork();
        if (!pid) {
            for (int i = 0; i < EACH; i++) {
                perf_span span = perf_span_begin(name, none);
                ids[c * EACH + i] = span.id;
                perf_span_end(span);
            }
            _exit(0);
        }
        expect_good_end(pid);
    }
    for (int a = 0; a < CHILDREN * EACH; a++)
        for (int b = 0; b < a; b++)
            PT_ASSERT(ids[a] != ids[b]);
}
END_TEST

/* ---- while others record ---- */

static _Atomic bool stop;
static _Atomic uint64_t recorded;

static void *
record_without_end(void *ctx)
{
    const char *text = ctx;
    uint32_t timing = pt_name(PERF_KIND_TIMING, "t");
    uint64_t n = 0;
    for (; !atomic_load(&stop); n++) {
        perf_span span = perf_span_begin(pt_name(PERF_KIND_SPAN, text), none);
        perf_span_set_text(span, PERF_KIND_KEY, "x", 1);
        perf_metric_record(timing, n);
        perf_span_log(span, 2, "y", 1);
        perf_span_end(span);
    }
    atomic_fetch_add(&recorded, n);
    return NULL;
}

static void *
record_once(void *ctx)
{
    (void)ctx;
    perf_metric_add(pt_name(PERF_KIND_COUNTER, "threads"), 1);
    return NULL;
}

static void *
start_threads_without_end(void *ctx)
{
    (void)ctx;
    while (!atomic_load(&stop)) {
        pthread_t id;
        pthread_create(&id, NULL, record_once, NULL);
        pthread_join(id, NULL);
    }
    return NULL;
}

static void
fork_beside_threads(void *ctx)
{
    pthread_t busy[3];
    perf_segment_config config;
    perf_segment_config_init(&config, sizeof config);
    config.allocator = ctx; /* its lock is taken inside libperf's own */
    PT_CHECK_EQ(perf_segment_start(&config), PERF_OK);
    name = pt_name(PERF_KIND_SPAN, "s");
    pthread_create(&busy[0], NULL, record_without_end, "one");
    pthread_create(&busy[1], NULL, record_without_end, "two");
    pthread_create(&busy[2], NULL, start_threads_without_end, NULL);
    for (int i = 0; i < 200; i++) {
        perf_span span = perf_span_begin(name, none);
        pid_t pid = fork();
        if (!pid) {
            alarm(30); /* instead of a hang */
            char text[32];
            int n = snprintf(text, sizeof text, "fresh %d", i);
            uint32_t fresh = perf_name(PERF_KIND_SPAN, text, (size_t)n);
            perf_span_end(perf_span_begin(fresh, span));
            PT_CHECK_EQ(pt_totals_of(fresh).count, 1);
            perf_segment_finish();
            _exit(0);
        }
        int status;
        PT_CHECK_EQ(waitpid(pid, &status, 0), pid);
        PT_CHECK_EQ(status, 0);
        perf_span_end(span);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 3; i++)
        pthread_join(busy[i], NULL);
    PT_CHECK_EQ(pt_totals_of(name).count, 200);
    PT_CHECK_EQ(pt_totals_of(pt_name(PERF_KIND_TIMING, "t")).count, recorded);
    perf_segment_stats stats = pt_stats();
    PT_CHECK_EQ(stats.dropped_records, 0);
    PT_CHECK_EQ(stats.dropped_values, 0);
}

START_TEST(test_fork_200_times_while_threads_record)
{
    const perf_allocator *arena = NULL;
    if (_i)
        ck_assert_int_eq(perf_allocator_arena_create(&arena), PERF_OK);
    ck_assert_uint_eq(pt_run_well(fork_beside_threads, (void *)arena), 0);
    perf_allocator_arena_destroy(arena);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("trace.fork");
    tcase_add_test(tests, test_child_records_into_a_file_of_its_own);
    tcase_add_test(tests, test_inherited_reader_is_closed_in_the_child);
    tcase_add_test(tests, test_fork_of_a_fork);
    tcase_add_test(tests, test_child_that_records_nothing_leaves_no_file);
    tcase_add_test(tests, test_fork_before_anything_was_recorded);
    tcase_add_test(tests, test_child_may_start_with_its_own_settings);
    tcase_add_test(tests,
                   test_child_frees_its_parents_tables_where_they_came_from);
    tcase_add_test(tests, test_ids_of_parent_and_children_differ);
    if (!PT_SANITIZED) /* whose own malloc a fork beside threads may block */
        tcase_add_loop_test(tests, test_fork_200_times_while_threads_record, 0,
                            2);
    return pt_end();
}
