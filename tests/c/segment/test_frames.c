/* test_frames.c - what is read back of frames: each with its stack, from a
 * living, a forked, a killed, a full, an old and a spoiled segment. */
#include "pt.h"

#include "segment/reader.h"

#include <libperf/drain.h>
#include <libperf/frame.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FUNCTIONS = 700, FRAMES = 20000 }; /* several chunks */

static void
text_of(char text[32], uint32_t function)
{
    snprintf(text, 32, "function %u", function);
}

/* What number `n` is made of, the same wherever it is asked. */
typedef struct what {
    uint32_t caller, function, line;
} what;

static what
what_of(uint32_t n)
{
    return (what){n / 3, n % FUNCTIONS, n};
}

static uint32_t
write_one(uint32_t n)
{
    char text[32];
    what w = what_of(n);
    text_of(text, w.function);
    return perf_frame(w.caller, text, strlen(text), "dir/app.py", 10, w.line);
}

static void
write_frames(uint32_t from, uint32_t to)
{
    for (uint32_t n = from; n <= to; n++)
        PT_CHECK_EQ(write_one(n), n);
}

/* Numbers 1 to `n` and no more. */
static void
expect_frames(perf_reader *reader, uint32_t n)
{
    perf_reader_frame f;
    char text[32];
    for (uint32_t i = 1; i <= n; i++) {
        PT_CHECK_EQ(perf_reader_frame_get(reader, i, &f), PERF_OK);
        what w = what_of(i);
        text_of(text, w.function);
        PT_CHECK(f.caller == w.caller && f.line == w.line);
        PT_CHECK(!strcmp(f.function, text) && !strcmp(f.file, "dir/app.py"));
    }
    PT_CHECK_EQ(perf_reader_frame_get(reader, n + 1, &f), PERF_ERR_NOT_FOUND);
    perf_reader_info info;
    PT_CHECK_EQ(perf_reader_info_get(reader, &info), PERF_OK);
    PT_CHECK_EQ(info.damaged, 0);
}

static void
expect_own(uint32_t n)
{
    perf_reader *reader = pt_self();
    expect_frames(reader, n);
    perf_reader_close(reader);
}

START_TEST(test_frames_before_and_after_the_start_are_read)
{
    write_frames(1, 100);
    expect_own(100); /* which starts it */
    write_frames(101, FRAMES);
    expect_own(FRAMES);
}
END_TEST

START_TEST(test_a_reader_sees_new_frames_after_a_refresh)
{
    perf_reader *reader = pt_self();
    perf_reader_frame f;
    expect_frames(reader, 0);
    for (uint32_t n = 0; n < FRAMES; n += 4000) {
        write_frames(n + 1, n + 4000);
        ck_assert_int_eq(perf_reader_frame_get(reader, n + 1, &f),
                         PERF_ERR_NOT_FOUND);
        ck_assert_int_eq(perf_reader_refresh_blocking(reader), PERF_OK);
        expect_frames(reader, n + 4000);
    }
    perf_reader_close(reader);
}
END_TEST

START_TEST(test_wrong_arguments)
{
    perf_reader *reader = pt_self();
    perf_reader_frame f;
    write_frames(1, 1);
    ck_assert_int_eq(perf_reader_refresh_blocking(reader), PERF_OK);
    ck_assert_int_eq(perf_reader_frame_get(NULL, 1, &f), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_reader_frame_get(reader, 1, NULL), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_reader_frame_get(reader, 0, &f), PERF_ERR_NOT_FOUND);
    ck_assert_int_eq(perf_reader_frame_get(reader, UINT32_MAX, &f),
                     PERF_ERR_NOT_FOUND);
    perf_reader_close(reader);
}
END_TEST

START_TEST(test_texts_come_back_without_control_characters)
{
    perf_reader_frame f;
    char longest[200];
    memset(longest, 'l', sizeof longest);
    uint32_t odd = perf_frame(0, "a\0b\x1b[\xC2\x85", 7, "\n\x7f", 2, 0);
    uint32_t none = perf_frame(odd, NULL, 0, NULL, 0, 3);
    uint32_t most = perf_frame(none, longest, 200, longest, 200, UINT32_MAX);
    perf_reader *reader = pt_self();
    ck_assert_int_eq(perf_reader_frame_get(reader, odd, &f), PERF_OK);
    ck_assert_str_eq(f.function, "a b [  ");
    ck_assert_str_eq(f.file, "  ");
    ck_assert_int_eq(perf_reader_frame_get(reader, none, &f), PERF_OK);
    ck_assert_str_eq(f.function, "");
    ck_assert_str_eq(f.file, "");
    ck_assert_uint_eq(f.line, 3);
    ck_assert_int_eq(perf_reader_frame_get(reader, most, &f), PERF_OK);
    ck_assert_uint_eq(strlen(f.function), 200);
    ck_assert_uint_eq(strlen(f.file), 200);
    ck_assert_uint_eq(f.line, UINT32_MAX);
    perf_reader_close(reader);
}
END_TEST

/* ---- other processes ---- */

static void
go_on_as_child(void *ctx)
{
    (void)ctx;
    write_frames(1, 5000); /* its parent's numbers */
    write_frames(5001, 6000);
    expect_own(6000);
}

START_TEST(test_a_forked_child_has_its_parents_frames)
{
    write_frames(1, 5000);
    expect_own(5000);
    pt_run_well(go_on_as_child, NULL);
    write_frames(5001, 5500); /* the child's are its own */
    expect_own(5500);
}
END_TEST

typedef struct scene {
    char path[PERF_PATH_MAX_BYTES];
    _Atomic uint32_t done;
} scene;

static void
write_until_killed(scene *s)
{
    pt_start(0, 0);
    PT_CHECK_EQ(perf_segment_path(s->path, sizeof s->path), PERF_OK);
    for (uint32_t n = 1; n <= 200000; n++) {
        PT_CHECK_EQ(write_one(n), n);
        atomic_store(&s->done, n);
    }
    for (;;)
        pause();
}

START_TEST(test_killed_at_any_moment_leaves_whole_frames)
{
    pt_random random = {(uint64_t)_i};
    for (int round = 0; round < (PT_SANITIZED ? 2 : 8); round++) {
        scene *s = pt_shared(sizeof *s);
        uint32_t enough = 1 + (uint32_t)pt_below(&random, 100000);
        pid_t pid = fork();
        if (!pid) {
            alarm(60);
            write_until_killed(s);
        }
        while (atomic_load(&s->done) < enough)
            sched_yield();
        perf_reader *living, *dead;
        ck_assert_int_eq(perf_reader_open_blocking(s->path, NULL, &living),
                         PERF_OK);
        pt_kill(pid);
        uint32_t done = atomic_load(&s->done);
        ck_assert_int_eq(perf_reader_open_blocking(s->path, NULL, &dead),
                         PERF_OK);
        perf_reader_frame f;
        bool one_more = !perf_reader_frame_get(dead, done + 1, &f);
        expect_frames(dead, done + one_more);
        /* the copy of the living one was whole as well */
        ck_assert_uint_ge(living->image.frames, enough);
        expect_frames(living, living->image.frames);
        perf_reader_close(dead);
        perf_reader_close(living);
    }
}
END_TEST

START_TEST(test_a_trace_file_keeps_frames)
{
    char folder[PT_PATH], trace[PT_PATH + 16], path[PERF_PATH_MAX_BYTES];
    pt_folder(folder);
    snprintf(trace, sizeof trace, "%s/t.perf", folder);
    pt_start(0, 128 << 10);
    ck_assert_int_eq(perf_segment_path(path, sizeof path), PERF_OK);
    perf_drain *drain;
    ck_assert_int_eq(perf_drain_open_blocking(path, trace, NULL, &drain),
                     PERF_OK);
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    for (uint32_t n = 1; n <= FRAMES; n++) { /* the ring laps */
        write_frames(n, n);
        perf_span_end(perf_span_begin(name, (perf_span){0}));
        if (n % 500 == 0)
            ck_assert_int_eq(perf_drain_step_blocking(drain), PERF_OK);
    }
    ck_assert_int_eq(perf_drain_finish_blocking(drain), PERF_OK);
    ck_assert_uint_gt(perf_drain_chunks(drain), 0);
    perf_drain_close(drain);
    perf_reader *reader;
    ck_assert_int_eq(perf_reader_open_blocking(trace, NULL, &reader), PERF_OK);
    expect_frames(reader, FRAMES);
    perf_reader_close(reader);
}
END_TEST

/* ---- no room ---- */

static void
fill(void *ctx)
{
    (void)ctx;
    pt_start(1 << 20, 64 << 10);
    uint32_t last = 0, n = 1;
    for (; n <= 200000 && write_one(n) == n; n++)
        last = n;
    PT_CHECK(last > 20000 && last < 100000);
    PT_CHECK_EQ(perf_frames_over(), 1);
    uint32_t caller = what_of(n).caller;
    PT_CHECK_EQ(write_one(n), caller);
    PT_CHECK_EQ(pt_stats().frames_over, 2);
    expect_own(last);
    perf_reader *reader = pt_self();
    perf_reader_info info;
    perf_reader_info_get(reader, &info);
    PT_CHECK_EQ(info.stats.frames_over, 2);
    perf_reader_close(reader);
    /* a child has room of its own */
    pid_t pid = fork();
    if (!pid) {
        expect_own(last);
        PT_CHECK_EQ(write_one(n), caller); /* as much as there was */
        _exit(0);
    }
    int status;
    PT_CHECK_EQ(waitpid(pid, &status, 0), pid);
    PT_CHECK_EQ(status, 0);
}

START_TEST(test_a_full_segment_keeps_what_it_has)
{
    ck_assert_uint_eq(pt_run_well(fill, NULL), 1);
}
END_TEST

/* ---- files that are not as they should be ---- */

static perf_reader *
open_bytes(const unsigned char *bytes, size_t size)
{
    perf_reader *reader;
    ck_assert_int_eq(perf_reader_open_bytes(bytes, size, NULL, &reader),
                     PERF_OK);
    return reader;
}

/* Its header ended where frames begin now, and names followed. */
START_TEST(test_a_file_of_a_writer_that_knew_no_frames)
{
    size_t size, cut = sizeof(perfi_header) - PERFI_HEADER_WITHOUT_FRAMES;
    uint32_t name = pt_name(PERF_KIND_NODE, "plan");
    pt_start(0, 0);
    perf_span_end(perf_span_begin(name, (perf_span){0}));
    write_frames(1, 10);
    unsigned char *bytes = pt_segment_bytes(&size);
    perfi_header *h = (void *)bytes;
    memmove(bytes + PERFI_HEADER_WITHOUT_FRAMES, bytes + PERFI_NAMES_AT,
            PERF_NAMES_MAX * sizeof(perfi_name_entry));
    h->header_bytes = PERFI_HEADER_WITHOUT_FRAMES;
    perf_reader *reader = open_bytes(bytes, size);
    perf_totals t;
    ck_assert_str_eq(perf_reader_name(reader, name, NULL), "plan");
    ck_assert_int_eq(perf_reader_totals(reader, name, &t), PERF_OK);
    ck_assert_uint_eq(t.count, 1);
    expect_frames(reader, 0);
    perf_reader_close(reader);
    h->header_bytes = PERFI_HEADER_WITHOUT_FRAMES + (uint32_t)cut / 2;
    ck_assert_int_eq(perf_reader_open_bytes(bytes, size, NULL, &reader),
                     PERF_ERR_CORRUPT);
    free(bytes);
}
END_TEST

typedef struct chunks {
    size_t size;
    unsigned char *bytes;
    perfi_frame_chunk *chunk[8]; /* newest first */
    uint32_t count;
} chunks;

static chunks
frames_in_chunks(void)
{
    chunks c = {0};
    pt_start(0, 0);
    write_frames(1, FRAMES);
    c.bytes = pt_segment_bytes(&c.size);
    uint64_t at = perfi_get(&((perfi_header *)(void *)c.bytes)->frame_chunk);
    while (at) {
        ck_assert_uint_lt(c.count, 8);
        perfi_frame_chunk *chunk = (void *)(c.bytes + at);
        c.chunk[c.count++] = chunk;
        at = (uint64_t)chunk->older * PERFI_UNIT;
    }
    ck_assert_uint_ge(c.count, 4);
    return c;
}

static uint32_t
damaged(perf_reader *reader)
{
    perf_reader_info info;
    perf_reader_info_get(reader, &info);
    return info.damaged;
}

START_TEST(test_a_spoiled_chunk_spoils_no_other)
{
    chunks c = frames_in_chunks();
    perfi_frame_chunk *hurt = c.chunk[1];
    uint32_t first = hurt->frames + 1, next = c.chunk[0]->frames + 1;
    memset(hurt + 1, 0xff, PERFI_CHUNK - sizeof *hurt);
    perf_reader *reader = open_bytes(c.bytes, c.size);
    perf_reader_frame f;
    for (uint32_t n = 1; n <= FRAMES; n++)
        PT_ASSERT((perf_reader_frame_get(reader, n, &f) == PERF_OK) ==
                  (n < first || n >= next));
    ck_assert_uint_gt(damaged(reader), 0);
    perf_reader_close(reader);
    free(c.bytes);
}
END_TEST

START_TEST(test_lists_that_lead_nowhere_or_in_circles)
{
    chunks c = frames_in_chunks();
    uint32_t newest =
        (uint32_t)((unsigned char *)c.chunk[0] - c.bytes) / PERFI_UNIT;
    const uint32_t wrong[] = {newest, newest + 1, UINT32_MAX, 1, newest - 1};
    for (int i = 0; i < 5; i++) {
        c.chunk[0]->older = wrong[i];
        perf_reader *reader = open_bytes(c.bytes, c.size);
        perf_reader_frame f;
        ck_assert_uint_gt(damaged(reader), 0);
        ck_assert_int_eq(perf_reader_frame_get(reader, 1, &f),
                         PERF_ERR_NOT_FOUND);
        ck_assert_int_eq(perf_reader_frame_get(reader, FRAMES, &f), PERF_OK);
        perf_reader_close(reader);
    }
    free(c.bytes);
}
END_TEST

/* A caller that is not smaller would be a circle. */
START_TEST(test_frames_that_call_themselves)
{
    chunks c = frames_in_chunks();
    perfi_frame *f = (void *)(c.chunk[0] + 1);
    while (f->type != PERFI_FRAME)
        f += f->units;
    uint32_t number = c.chunk[0]->frames + 1;
    const uint32_t callers[] = {number, number + 1, UINT32_MAX};
    for (int i = 0; i < 3; i++) {
        f->caller = callers[i];
        perf_reader *reader = open_bytes(c.bytes, c.size);
        perf_reader_frame out;
        ck_assert_int_eq(perf_reader_frame_get(reader, number, &out),
                         PERF_ERR_NOT_FOUND);
        ck_assert_uint_gt(damaged(reader), 0);
        perf_reader_close(reader);
    }
    free(c.bytes);
}
END_TEST

START_TEST(test_noise_in_frames)
{
    chunks c = frames_in_chunks();
    unsigned char *bytes = malloc(c.size);
    pt_random random = {(uint64_t)_i};
    uint64_t answered = 0;
    for (int i = 0; i < PT_TIMES(400); i++) {
        memcpy(bytes, c.bytes, c.size);
        perfi_header *h = (void *)bytes;
        for (uint64_t n = 1 + pt_below(&random, 10); n--;) {
            size_t chunk =
                (size_t)((unsigned char *)c.chunk[pt_below(&random, c.count)] -
                         c.bytes);
            size_t range = pt_below(&random, 2) ? 256 : PERFI_CHUNK;
            uint64_t word = pt_next(&random) >> pt_below(&random, 64);
            memcpy(bytes + chunk + pt_below(&random, range - 8), &word, 8);
        }
        if (!pt_below(&random, 4))
            perfi_set(&h->frames, pt_next(&random) >> pt_below(&random, 64));
        if (!pt_below(&random, 4))
            perfi_set(&h->functions, pt_next(&random) >> pt_below(&random, 64));
        if (!pt_below(&random, 8))
            perfi_set(&h->frame_chunk,
                      (pt_next(&random) >> pt_below(&random, 64)) *
                          PERFI_CHUNK);
        perf_reader *reader = open_bytes(bytes, c.size);
        perf_reader_frame f;
        for (uint32_t n = 0; n < FRAMES + 100; n++) {
            if (perf_reader_frame_get(reader, n, &f))
                continue;
            PT_ASSERT(f.caller < n);
            PT_ASSERT(strlen(f.function) <= PERF_TEXT_MAX_BYTES);
            PT_ASSERT(strlen(f.file) <= PERF_TEXT_MAX_BYTES);
            answered++;
        }
        perf_reader_close(reader);
    }
    ck_assert_uint_gt(answered, FRAMES);
    free(bytes);
    free(c.bytes);
}
END_TEST

START_TEST(test_every_allocation_of_a_reader_may_fail)
{
    pt_alloc a;
    chunks c = frames_in_chunks();
    perf_err err = PERF_ERR_NOMEM;
    uint64_t allowed = 0;
    for (; err; allowed++) {
        perf_reader *reader = NULL;
        pt_alloc_init(&a, allowed);
        err = perf_reader_open_bytes(c.bytes, c.size, &a.face, &reader);
        ck_assert(err == PERF_OK || err == PERF_ERR_NOMEM);
        if (!err)
            expect_frames(reader, FRAMES);
        perf_reader_close(reader);
        ck_assert_uint_eq(a.live, 0);
        ck_assert(!a.wrong_size);
        ck_assert_uint_lt(allowed, 100);
    }
    ck_assert_uint_gt(allowed, 7);
    free(c.bytes);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("segment.frames");
    tcase_add_test(tests, test_frames_before_and_after_the_start_are_read);
    tcase_add_test(tests, test_a_reader_sees_new_frames_after_a_refresh);
    tcase_add_test(tests, test_wrong_arguments);
    tcase_add_test(tests, test_texts_come_back_without_control_characters);
    tcase_add_test(tests, test_a_forked_child_has_its_parents_frames);
    tcase_add_loop_test(tests, test_killed_at_any_moment_leaves_whole_frames, 0,
                        2);
    tcase_add_test(tests, test_a_trace_file_keeps_frames);
    tcase_add_test(tests, test_a_full_segment_keeps_what_it_has);
    tcase_add_test(tests, test_a_file_of_a_writer_that_knew_no_frames);
    tcase_add_test(tests, test_a_spoiled_chunk_spoils_no_other);
    tcase_add_test(tests, test_lists_that_lead_nowhere_or_in_circles);
    tcase_add_test(tests, test_frames_that_call_themselves);
    tcase_add_loop_test(tests, test_noise_in_frames, 0, 3);
    tcase_add_test(tests, test_every_allocation_of_a_reader_may_fail);
    return pt_end();
}
