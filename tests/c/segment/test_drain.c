/* test_drain.c - what was drained in time comes back whole from the trace file,
 * each record once and in order; what was not is counted exactly. */
#include "pt.h"

#include "segment/layout.h"

#include <libperf/drain.h>
#include <libperf/event.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PER_CHUNK = (PERFI_CHUNK - sizeof(perfi_ring_chunk)) / sizeof(perfi_record),
    RING = 4 /* chunks */
};

static char folder[PT_PATH], trace[PT_PATH + 16]; /* where traces go */

static void
choose_folder(void)
{
    pt_folder(folder);
    snprintf(trace, sizeof trace, "%s/kept.perf", folder);
}

static perf_drain *
open_drain(const char *segment)
{
    perf_drain *drain = NULL;
    ck_assert_int_eq(perf_drain_open_blocking(segment, trace, NULL, &drain),
                     PERF_OK);
    return drain;
}

/* Of this process. */
static perf_drain *
drain_self(void)
{
    char path[PERF_PATH_MAX_BYTES];
    ck_assert_int_eq(perf_segment_path(path, sizeof path), PERF_OK);
    choose_folder();
    return open_drain(path);
}

static perf_reader *
open_trace(void)
{
    perf_reader *reader = NULL;
    ck_assert_int_eq(perf_reader_open_blocking(trace, NULL, &reader), PERF_OK);
    return reader;
}

static void
write_span(uint32_t name, uint32_t number)
{
    perf_span span = perf_span_begin_at(name, (perf_span){0}, number, 1);
    perf_span_end_at(span, PERF_STATUS_OK, 0, 2);
}

static uint32_t
write_spans(uint32_t name, uint32_t from, uint32_t to)
{
    for (; from < to; from++)
        write_span(name, from);
    return to;
}

/* Records whose task is `first` and on, `n` of them, and nothing lost. */
static void
expect_spans(perf_reader *reader, uint32_t first, size_t expected)
{
    size_t n;
    perf_record *records = pt_records(reader, 1000, &n);
    ck_assert_uint_eq(n, expected);
    for (size_t i = 0; i < n; i++)
        PT_ASSERT(records[i].task == first + i);
    free(records);
}

static size_t
file_size(const char *path)
{
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    return (size_t)st.st_size;
}

/* ---- one thread ---- */

START_TEST(test_a_ring_that_laps_many_times_loses_nothing)
{
    pt_start(0, RING * PERFI_CHUNK);
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    uint32_t written = write_spans(name, 0, 10);
    perf_drain *drain = drain_self();
    pt_random random = {(uint64_t)_i};
    for (int i = 0; i < 60; i++) { /* about 22 laps */
        uint32_t more = (uint32_t)pt_below(&random, (RING - 1) * PER_CHUNK + 1);
        written = write_spans(name, written, written + more);
        ck_assert_int_eq(perf_drain_step_blocking(drain), PERF_OK);
    }
    ck_assert_uint_ge(perf_drain_chunks(drain), written / PER_CHUNK - RING);
    ck_assert_int_eq(pt_count_files(folder, ""), 0); /* nothing to be seen */
    ck_assert_int_eq(perf_drain_finish_blocking(drain), PERF_OK);
    perf_drain_close(drain);
    perf_reader *reader = open_trace();
    expect_spans(reader, 0, written);
    ck_assert_uint_eq(perf_reader_lost(reader), 0);
    /* a refresh has nothing new */
    ck_assert_int_eq(perf_reader_refresh_blocking(reader), PERF_OK);
    expect_spans(reader, 0, 0);
    ck_assert_uint_eq(perf_reader_lost(reader), 0);
    perf_totals totals;
    perf_reader_info info;
    ck_assert_int_eq(perf_reader_totals(reader, name, &totals), PERF_OK);
    ck_assert_uint_eq(totals.count, written);
    ck_assert_int_eq(perf_reader_info_get(reader, &info), PERF_OK);
    ck_assert_uint_eq(info.alive, 0);
    ck_assert_uint_eq(info.damaged, 0);
    perf_reader_close(reader);
    ck_assert_int_eq(pt_count_files(folder, ""), 1);
}
END_TEST

START_TEST(test_events_are_drained_like_records)
{
    enum { N = 40000 };
    pt_start(0, RING * PERFI_CHUNK);
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    write_span(name, 0);
    perf_drain *drain = drain_self();
    for (uint32_t i = 1; i < N; i++) {
        perf_event_write(PERF_EVENT_LABEL, i, i, 2, 3);
        if (i % 10 == 0)
            write_span(name, i);
        if (i % 1000 == 0)
            ck_assert_int_eq(perf_drain_step_blocking(drain), PERF_OK);
    }
    ck_assert_int_eq(perf_drain_finish_blocking(drain), PERF_OK);
    perf_drain_close(drain);
    perf_reader *reader = open_trace();
    perf_event event[7];
    uint32_t next = 1, span = 0;
    for (size_t n; (n = perf_reader_events(reader, event, 7));)
        for (size_t i = 0; i < n; i++)
            PT_ASSERT(event[i].code == PERF_EVENT_MEMORY ||
                      event[i].arg == next++);
    PT_ASSERT(next == N);
    size_t n;
    perf_record *records = pt_records(reader, 50, &n);
    for (size_t i = 0; i < n; i++, span += 10)
        PT_ASSERT(records[i].task == span);
    PT_ASSERT(span == N);
    free(records);
    ck_assert_uint_eq(perf_reader_lost(reader), 0);
    perf_reader_close(reader);
}
END_TEST

START_TEST(test_what_laps_between_two_steps_is_lost_and_counted)
{
    pt_start(0, RING * PERFI_CHUNK);
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    uint32_t written = write_spans(name, 0, 10);
    perf_drain *drain = drain_self();
    uint64_t lost = 0;
    for (uint32_t laps = 0; laps < 6; laps++) {
        /* the first chunk of these is still being written now */
        uint32_t before = written / PER_CHUNK;
        written =
            write_spans(name, written, written + laps * RING * PER_CHUNK + 5);
        uint32_t oldest = written / PER_CHUNK - RING + 1;
        if (written / PER_CHUNK >= RING && oldest > before)
            lost += (oldest - before) * PER_CHUNK;
        ck_assert_int_eq(perf_drain_step_blocking(drain), PERF_OK);
    }
    ck_assert_uint_gt(lost, 0);
    ck_assert_int_eq(perf_drain_finish_blocking(drain), PERF_OK);
    perf_drain_close(drain);
    perf_reader *reader = open_trace();
    size_t n;
    uint32_t next = 0;
    perf_record *records = pt_records(reader, 333, &n);
    for (size_t i = 0; i < n; i++) {
        PT_ASSERT(records[i].task >= next);
        next = records[i].task + 1;
    }
    free(records);
    ck_assert_uint_eq(perf_reader_lost(reader), lost);
    ck_assert_uint_eq(n + lost, written);
    perf_reader_close(reader);
}
END_TEST

/* It is then what it always was: the used part of the segment. */
START_TEST(test_a_trace_without_need_of_copies_is_the_segment)
{
    pt_start(0, RING * PERFI_CHUNK);
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    write_spans(name, 0, 10);
    perf_drain *drain = drain_self();
    write_spans(name, 10, RING * PER_CHUNK);
    ck_assert_int_eq(perf_drain_step_blocking(drain), PERF_OK);
    ck_assert_uint_eq(perf_drain_chunks(drain), 0);
    ck_assert_int_eq(perf_drain_finish_blocking(drain), PERF_OK);
    size_t size, used;
    unsigned char *bytes = pt_segment_bytes(&used);
    unsigned char *kept = pt_read_file(trace, &size);
    ck_assert_uint_eq(size, used);
    ck_assert_int_eq(memcmp(kept, bytes, size), 0);
    free(kept);
    free(bytes);
    /* one more, and a chunk of it lives in the copy alone */
    write_span(name, RING * PER_CHUNK);
    ck_assert_int_eq(perf_drain_step_blocking(drain), PERF_OK);
    ck_assert_uint_eq(perf_drain_chunks(drain), 1);
    ck_assert_int_eq(perf_drain_finish_blocking(drain), PERF_OK); /* again */
    ck_assert_uint_eq(file_size(trace),
                      used + PERFI_CHUNK + sizeof(perfi_trailer));
    struct stat st;
    stat(trace, &st);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
    perf_drain_close(drain);
    perf_reader *reader = open_trace();
    expect_spans(reader, 0, RING * PER_CHUNK + 1);
    perf_reader_close(reader);
}
END_TEST

START_TEST(test_a_step_without_news_reads_heads_only)
{
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    write_spans(name, 0, 20 * PER_CHUNK);
    perf_drain *drain = drain_self();
    ck_assert_int_eq(perf_drain_step_blocking(drain), PERF_OK);
    unsigned long long before = 0, after = 0;
    for (int i = 0; i < 2; i++) {
        FILE *io = fopen("/proc/self/io", "r");
        if (!io || fscanf(io, "rchar: %llu", i ? &after : &before) != 1)
            before = after = 0; /* this kernel does not count */
        if (io)
            fclose(io);
        for (int k = 0; k < 100; k++)
            ck_assert_int_eq(perf_drain_step_blocking(drain), PERF_OK);
    }
    ck_assert_uint_lt(after - before, 100 * 4096);
    perf_drain_close(drain);
}
END_TEST

/* ---- beside a writer ---- */

enum { WRITERS = 2, ROUNDS = 25 };

typedef struct scene {
    char path[PERF_PATH_MAX_BYTES];
    uint32_t name[WRITERS];
    _Atomic uint32_t done[WRITERS]; /* spans that were ended */
    _Atomic uint32_t allowed;       /* 0: as many as it likes */
} scene;

static void
write_as_allowed(unsigned index, void *ctx)
{
    scene *s = ctx;
    for (uint32_t i = 0;; i++) {
        uint32_t allowed;
        while ((allowed = atomic_load(&s->allowed)) && i >= allowed)
            sched_yield();
        write_span(s->name[index], i);
        atomic_store(&s->done[index], i + 1);
    }
}

static void
child(void *ctx)
{
    scene *s = ctx;
    pt_start(8 << 20, RING * PERFI_CHUNK);
    s->name[0] = pt_name(PERF_KIND_SPAN, "one");
    s->name[1] = pt_name(PERF_KIND_SPAN, "two");
    PT_CHECK_EQ(perf_segment_path(s->path, sizeof s->path), PERF_OK);
    pt_parallel(WRITERS, write_as_allowed, s);
}

static scene *
start_child(uint32_t allowed, pid_t *pid)
{
    scene *s = pt_shared(sizeof *s);
    atomic_store(&s->allowed, allowed);
    choose_folder();
    *pid = fork();
    if (!*pid) {
        alarm(100);
        child(s);
        _exit(0);
    }
    while (!atomic_load(&s->done[0]) || !atomic_load(&s->done[1]))
        sched_yield();
    return s;
}

/* What each of the two has written, in order; how many in all. */
static uint64_t
expect_in_order(perf_reader *reader, const scene *s, uint32_t next[WRITERS])
{
    size_t n;
    perf_record *records = pt_records(reader, 777, &n);
    for (size_t i = 0; i < n; i++) {
        int w = records[i].name == s->name[1];
        PT_ASSERT(records[i].name == s->name[w]);
        PT_ASSERT(records[i].task >= next[w]);
        next[w] = records[i].task + 1;
    }
    free(records);
    return n;
}

START_TEST(test_two_threads_then_sigkill_lose_nothing)
{
    pid_t pid;
    uint32_t allowed = 1, next[WRITERS] = {0};
    scene *s = start_child(allowed, &pid);
    perf_drain *drain = open_drain(s->path);
    for (int i = 0; i < ROUNDS; i++) { /* no more than the rings can hold */
        allowed += (RING - 1) * PER_CHUNK;
        atomic_store(&s->allowed, allowed);
        while (s->done[0] < allowed || s->done[1] < allowed)
            sched_yield();
        ck_assert_int_eq(perf_drain_step_blocking(drain), PERF_OK);
    }
    pt_kill(pid);
    ck_assert_int_eq(perf_drain_finish_blocking(drain), PERF_OK);
    perf_drain_close(drain);
    perf_reader *reader = open_trace();
    ck_assert_uint_eq(expect_in_order(reader, s, next), WRITERS * allowed);
    ck_assert_uint_eq(perf_reader_lost(reader), 0);
    perf_reader_close(reader);
}
END_TEST

/* At full speed they may lap the drain: what came in time is whole. */
START_TEST(test_writers_that_are_faster_are_counted)
{
    pid_t pid;
    uint32_t next[WRITERS] = {0};
    scene *s = start_child(0, &pid);
    perf_drain *drain = open_drain(s->path);
    const uint32_t enough = (uint32_t)PT_TIMES(400000);
    while (s->done[0] < enough || s->done[1] < enough)
        ck_assert_int_eq(perf_drain_step_blocking(drain), PERF_OK);
    pt_kill(pid);
    ck_assert_int_eq(perf_drain_finish_blocking(drain), PERF_OK);
    perf_drain_close(drain);
    perf_reader *reader = open_trace();
    uint64_t n = expect_in_order(reader, s, next);
    ck_assert_uint_eq(n + perf_reader_lost(reader), next[0] + next[1]);
    for (int w = 0; w < WRITERS; w++)
        PT_ASSERT(next[w] == s->done[w] || next[w] == s->done[w] + 1);
    perf_reader_info info;
    ck_assert_int_eq(perf_reader_info_get(reader, &info), PERF_OK);
    ck_assert_uint_eq(info.damaged, 0);
    perf_reader_close(reader);
}
END_TEST

/* ---- what goes wrong ---- */

/* This process's segment; a ring with two chunks that are not its newest. */
static perf_drain *
drain_with_news(uint32_t *name, char path[PERF_PATH_MAX_BYTES])
{
    pt_start(0, RING * PERFI_CHUNK);
    *name = pt_name(PERF_KIND_SPAN, "s");
    write_spans(*name, 0, 2 * PER_CHUNK + 1);
    ck_assert_int_eq(perf_segment_path(path, PERF_PATH_MAX_BYTES), PERF_OK);
    return drain_self();
}

static void
meet_a_full_disk(void *ctx)
{
    perf_drain *drain = ctx;
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    PT_CHECK_EQ(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = PERFI_CHUNK + 5000;
    PT_CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
    for (int i = 0; i < 3; i++) /* the first chunk fits, the second does not */
        PT_CHECK_EQ(perf_drain_step_blocking(drain), PERF_ERR_FULL);
    PT_CHECK_EQ(perf_drain_finish_blocking(drain), PERF_ERR_FULL);
    PT_CHECK_EQ(access(trace, F_OK), -1);
    limit.rlim_cur = limit.rlim_max; /* there is room again */
    PT_CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
    PT_CHECK_EQ(perf_drain_step_blocking(drain), PERF_OK);
    PT_CHECK_EQ(perf_drain_finish_blocking(drain), PERF_OK);
}

START_TEST(test_a_full_disk_is_an_error_and_leaves_the_segment_alone)
{
    uint32_t name;
    size_t size, now;
    char path[PERF_PATH_MAX_BYTES];
    perf_drain *drain = drain_with_news(&name, path);
    unsigned char *before = pt_read_file(path, &size);
    pt_run_well(meet_a_full_disk, drain);
    perf_drain *full = NULL;
    ck_assert_int_eq(perf_drain_open_blocking(path, "/dev/full", NULL, &full),
                     PERF_OK);
    ck_assert_int_eq(perf_drain_finish_blocking(full), PERF_ERR_FULL);
    ck_assert_int_eq(access("/dev/full", F_OK), 0);
    perf_drain_close(full);
    unsigned char *after = pt_read_file(path, &now);
    ck_assert_uint_eq(now, size);
    ck_assert_int_eq(memcmp(before, after, size), 0);
    free(before);
    free(after);
    perf_reader *reader = open_trace();
    expect_spans(reader, 0, 2 * PER_CHUNK + 1);
    perf_reader_close(reader);
    perf_drain_close(drain);
}
END_TEST

START_TEST(test_a_segment_that_vanished_is_drained_on)
{
    uint32_t name;
    char path[PERF_PATH_MAX_BYTES];
    perf_drain *drain = drain_with_news(&name, path);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(perf_drain_step_blocking(drain), PERF_OK);
    write_spans(name, 2 * PER_CHUNK + 1, 5 * PER_CHUNK);
    ck_assert_int_eq(perf_drain_step_blocking(drain), PERF_OK);
    ck_assert_int_eq(perf_drain_finish_blocking(drain), PERF_OK);
    perf_drain_close(drain);
    perf_reader *reader = open_trace();
    expect_spans(reader, 0, 5 * PER_CHUNK);
    perf_reader_close(reader);
}
END_TEST

START_TEST(test_a_segment_that_is_spoiled_is_an_error)
{
    static const char zeros[64];
    size_t size;
    uint32_t name;
    char path[PERF_PATH_MAX_BYTES], copy[PT_PATH + 16];
    perf_drain_close(drain_with_news(&name, path));
    unsigned char *bytes = pt_read_file(path, &size);
    snprintf(copy, sizeof copy, "%s/copy.perf", folder);
    for (size_t cut = 0; cut < 3 * PERFI_CHUNK; cut += 4096) {
        pt_write_file(copy, bytes, size);
        perf_drain *drain = open_drain(copy);
        ck_assert_int_eq(truncate(copy, (off_t)cut), 0);
        ck_assert_int_eq(perf_drain_step_blocking(drain), PERF_ERR_CORRUPT);
        ck_assert_int_eq(perf_drain_finish_blocking(drain), PERF_ERR_CORRUPT);
        ck_assert_int_eq(access(trace, F_OK), -1);
        perf_drain_close(drain);
    }
    memcpy(bytes, zeros, sizeof zeros);
    pt_write_file(copy, bytes, size);
    perf_drain *drain = NULL;
    ck_assert_int_eq(perf_drain_open_blocking(copy, trace, NULL, &drain),
                     PERF_ERR_CORRUPT);
    ck_assert_ptr_null(drain);
    free(bytes);
}
END_TEST

START_TEST(test_a_folder_that_is_not_there_is_an_error)
{
    uint32_t name;
    char path[PERF_PATH_MAX_BYTES];
    perf_drain_close(drain_with_news(&name, path));
    snprintf(trace, sizeof trace, "%s/no/t.perf", folder);
    perf_drain *drain = open_drain(path);
    ck_assert_int_eq(perf_drain_step_blocking(drain), PERF_ERR_NOT_FOUND);
    ck_assert_int_eq(perf_drain_finish_blocking(drain), PERF_ERR_NOT_FOUND);
    perf_drain_close(drain);
}
END_TEST

START_TEST(test_every_allocation_may_fail)
{
    uint32_t name;
    char path[PERF_PATH_MAX_BYTES];
    perf_drain_close(drain_with_news(&name, path));
    perf_err err = PERF_ERR_NOMEM;
    for (uint64_t allowed = 0; err; allowed++) {
        pt_alloc a;
        perf_drain *drain = NULL;
        pt_alloc_init(&a, allowed);
        err = perf_drain_open_blocking(path, trace, &a.face, &drain);
        ck_assert((err == PERF_OK) == (drain != NULL));
        if (!err)
            err = perf_drain_step_blocking(drain);
        ck_assert(err == PERF_OK || err == PERF_ERR_NOMEM);
        atomic_store(&a.allowed, UINT64_MAX);
        if (drain) { /* an error before is no error from now on */
            ck_assert_int_eq(perf_drain_step_blocking(drain), PERF_OK);
            ck_assert_int_eq(perf_drain_finish_blocking(drain), PERF_OK);
            perf_reader *reader = open_trace();
            expect_spans(reader, 0, 2 * PER_CHUNK + 1);
            perf_reader_close(reader);
        }
        perf_drain_close(drain);
        ck_assert_uint_eq(a.live, 0);
        ck_assert(!a.wrong_size);
        ck_assert_uint_lt(allowed, 20);
    }
}
END_TEST

START_TEST(test_wrong_arguments_are_refused)
{
    char path[PERF_PATH_MAX_BYTES + 1];
    perf_drain *out = (void *)path;
    memset(path, 'a', sizeof path - 1);
    path[sizeof path - 1] = 0;
    ck_assert_int_eq(perf_drain_open_blocking("s", "t", NULL, NULL),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_drain_open_blocking(NULL, "t", NULL, &out),
                     PERF_ERR_INVALID);
    ck_assert_ptr_null(out);
    ck_assert_int_eq(perf_drain_open_blocking("s", NULL, NULL, &out),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_drain_open_blocking("s", "", NULL, &out),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_drain_open_blocking("s", path, NULL, &out),
                     PERF_ERR_RANGE);
    ck_assert_int_eq(perf_drain_open_blocking("/no/such", "t", NULL, &out),
                     PERF_ERR_NOT_FOUND);
    ck_assert_int_eq(perf_drain_open_blocking("/dev/null", "t", NULL, &out),
                     PERF_ERR_CORRUPT);
    ck_assert_ptr_null(out);
    ck_assert_int_eq(perf_drain_step_blocking(NULL), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_drain_finish_blocking(NULL), PERF_ERR_INVALID);
    ck_assert_uint_eq(perf_drain_chunks(NULL), 0);
    perf_drain_close(NULL);
}
END_TEST

/* ---- traces that hold anything ---- */

/* With 16 chunks behind the segment. */
static unsigned char *
valid_trace(size_t *size)
{
    pt_start(0, RING * PERFI_CHUNK);
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    write_span(name, 0);
    perf_drain *drain = drain_self();
    for (uint32_t i = 1; i < 20 * PER_CHUNK; i++) {
        write_span(name, i);
        if (i % PER_CHUNK == 0)
            ck_assert_int_eq(perf_drain_step_blocking(drain), PERF_OK);
    }
    ck_assert_int_eq(perf_drain_finish_blocking(drain), PERF_OK);
    perf_drain_close(drain);
    return pt_read_file(trace, size);
}

/* Returns how many records there are, never more than the bytes have room for;
 * -1 when it is no segment. */
static int64_t
read_bytes(const unsigned char *bytes, size_t size)
{
    perf_reader *reader = NULL;
    if (perf_reader_open_bytes(bytes, size, NULL, &reader))
        return -1;
    size_t n;
    perf_record *records = pt_records(reader, 1000, &n);
    PT_ASSERT(n <= size / sizeof(perfi_record));
    free(records);
    perf_reader_close(reader);
    return (int64_t)n;
}

START_TEST(test_a_trailer_that_lies)
{
    size_t size;
    unsigned char *bytes = valid_trace(&size);
    perfi_trailer *t = (void *)(bytes + size - sizeof *t);
    const perfi_trailer good = *t;
    ck_assert_uint_eq(good.chunks, 16);
    ck_assert_int_eq(read_bytes(bytes, size), 20 * PER_CHUNK);
    static const uint64_t liked[] = {0,
                                     1,
                                     PERFI_CHUNK,
                                     UINT64_MAX,
                                     UINT64_MAX - PERFI_CHUNK + 1,
                                     UINT64_C(1) << 63,
                                     UINT64_C(1) << 48,
                                     UINT32_MAX};
    for (int i = 0; i < 8; i++) {
        for (int k = 0; k < 8; k++) {
            t->segment_bytes = good.segment_bytes + liked[i];
            t->chunks = good.chunks + liked[k];
            int64_t n = read_bytes(bytes, size);
            /* one that fits by chance may hide a chunk more or less, or end
             * before the segment does */
            PT_ASSERT(n == -1 || (n >= 4 * PER_CHUNK && n <= 20 * PER_CHUNK));
            t->segment_bytes = liked[i]; /* sizes that do fit together */
            t->chunks = (size - sizeof *t - liked[i]) / PERFI_CHUNK;
            read_bytes(bytes, size);
        }
    }
    *t = good;
    for (uint64_t chunks = 0; chunks <= size / PERFI_CHUNK; chunks++) {
        t->chunks = chunks;
        t->segment_bytes = size - sizeof *t - chunks * PERFI_CHUNK;
        read_bytes(bytes, size);
    }
    *t = good;
    t->magic++;
    ck_assert_int_eq(read_bytes(bytes, size), 4 * PER_CHUNK);
    free(bytes);
}
END_TEST

/* Cut anywhere it is a segment without what it had kept, which is counted. */
START_TEST(test_a_trace_that_is_cut)
{
    size_t size;
    unsigned char *bytes = valid_trace(&size);
    perfi_trailer t;
    memcpy(&t, bytes + size - sizeof t, sizeof t);
    for (size_t cut = size - 1; cut >= t.segment_bytes; cut -= 4999) {
        perf_reader *reader;
        ck_assert_int_eq(truncate(trace, (off_t)cut), 0);
        reader = open_trace();
        expect_spans(reader, 16 * PER_CHUNK, 4 * PER_CHUNK);
        ck_assert_uint_eq(perf_reader_lost(reader), 16 * PER_CHUNK);
        perf_reader_close(reader);
    }
    free(bytes);
}
END_TEST

START_TEST(test_kept_chunks_that_lie)
{
    enum { MUTATIONS = PT_SANITIZED ? 200 : 1000 };
    size_t size;
    unsigned char *valid = valid_trace(&size), *bytes = malloc(size);
    pt_random random = {(uint64_t)_i};
    perfi_trailer t;
    memcpy(&t, valid + size - sizeof t, sizeof t);
    alarm(PT_SANITIZED ? 100 : 50);
    for (int i = 0; i < MUTATIONS; i++) {
        memcpy(bytes, valid, size);
        for (uint64_t m = 1 + pt_below(&random, 8); m--;) {
            perfi_ring_chunk *chunk =
                (void *)(bytes + t.segment_bytes +
                         pt_below(&random, t.chunks) * PERFI_CHUNK);
            uint64_t word = pt_next(&random) >> pt_below(&random, 64);
            switch (pt_below(&random, 5)) {
            case 0: perfi_set(&chunk->number, word); break;
            case 1: perfi_set(&chunk->number, pt_below(&random, 20)); break;
            case 2: perfi_set(&chunk->first, word); break;
            case 3: chunk->block = (uint32_t)word; break;
            default: memcpy(chunk + 1, &word, sizeof word);
            }
        }
        PT_ASSERT(read_bytes(bytes, size) >= 4 * PER_CHUNK);
    }
    free(bytes);
    free(valid);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("segment.drain");
    tcase_add_loop_test(tests, test_a_ring_that_laps_many_times_loses_nothing,
                        0, 3);
    tcase_add_test(tests, test_events_are_drained_like_records);
    tcase_add_test(tests, test_what_laps_between_two_steps_is_lost_and_counted);
    tcase_add_test(tests, test_a_trace_without_need_of_copies_is_the_segment);
    tcase_add_test(tests, test_a_step_without_news_reads_heads_only);
    tcase_add_test(tests, test_two_threads_then_sigkill_lose_nothing);
    tcase_add_test(tests, test_writers_that_are_faster_are_counted);
    tcase_add_test(tests,
                   test_a_full_disk_is_an_error_and_leaves_the_segment_alone);
    tcase_add_test(tests, test_a_segment_that_vanished_is_drained_on);
    tcase_add_test(tests, test_a_segment_that_is_spoiled_is_an_error);
    tcase_add_test(tests, test_a_folder_that_is_not_there_is_an_error);
    tcase_add_test(tests, test_every_allocation_may_fail);
    tcase_add_test(tests, test_wrong_arguments_are_refused);
    tcase_add_test(tests, test_a_trailer_that_lies);
    tcase_add_test(tests, test_a_trace_that_is_cut);
    tcase_add_loop_test(tests, test_kept_chunks_that_lie, 0, 2);
    return pt_end();
}
