/* test_drain.c - what was drained in time comes back whole from the trace file,
 * each record once and in order; what was not is counted exactly. */
#include "test_drain_kit.h"

#include <libperf/event.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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
    return pt_end();
}
