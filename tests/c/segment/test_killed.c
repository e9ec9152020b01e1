/* test_killed.c - SIGKILL at any moment of writing: another process reads
 * everything that was finished, whole and exactly once. */
#include "pt.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WRITERS = 2, MOST = 8000, KEYS = 3 };

typedef struct scene {
    char path[PERF_PATH_MAX_BYTES];
    uint32_t name[WRITERS], key[KEYS]; /* the child's numbers */
    _Atomic uint32_t done[WRITERS];    /* spans that were ended */
} scene;

/* What span `i` says of itself: its length and letters follow from i. */
static size_t
fill(char text[PERF_TEXT_MAX_BYTES], uint32_t i)
{
    size_t length = i * 7 % (PERF_TEXT_MAX_BYTES + 1);
    memset(text, 'a' + (int)(i % 26), length);
    return length;
}

static void
write_until_killed(unsigned index, void *ctx)
{
    scene *s = ctx;
    char text[PERF_TEXT_MAX_BYTES];
    for (uint32_t i = 0;; i++) {
        perf_span span = perf_span_begin_at(s->name[index], (perf_span){0}, i,
                                            perf_clock_ticks());
        perf_span_set_int(span, s->key[0], i);
        if (i % 3)
            perf_span_set_text(span, s->key[1], text, fill(text, i));
        if (i % 100 ==
            99) /* a new name, now and then, until they are all used */
            perf_name(PERF_KIND_TEXT, (const char *)&i, 3);
        perf_span_end_at(span, PERF_STATUS_OK, 0,
                         span.start_ticks + (UINT64_C(1) << i % 40));
        atomic_store(&s->done[index], i + 1);
    }
}

static void
child(void *ctx)
{
    scene *s = ctx;
    s->name[0] = pt_name(PERF_KIND_SPAN, "one");
    s->name[1] = pt_name(PERF_KIND_SPAN, "two");
    s->key[0] = pt_name(PERF_KIND_QUANTITY, "i");
    s->key[1] = pt_name(PERF_KIND_KEY, "text");
    pt_start(8 << 20, (uint64_t)64 << 10 << (s->key[2] % 4)); /* laps, or not */
    PT_CHECK_EQ(perf_segment_path(s->path, sizeof s->path), PERF_OK);
    pt_parallel(WRITERS, write_until_killed, s);
}

static void
expect_whole(const scene *s, const perf_record *r)
{
    char text[PERF_TEXT_MAX_BYTES];
    uint32_t i = r->task;
    PT_ASSERT(r->type == PERF_RECORD_SPAN);
    PT_ASSERT(r->attributes == (i % 3 ? 2 : 1));
    perf_attribute a = pt_attribute(r, 0);
    PT_ASSERT(a.key == s->key[0] && a.int_value == (int64_t)i);
    if (i % 3 == 0)
        return;
    a = pt_attribute(r, 1);
    PT_ASSERT(a.key == s->key[1] && a.length == fill(text, i));
    PT_ASSERT(!a.length || !memcmp(a.text, text, a.length));
}

static void
expect_everything(const scene *s, perf_reader *reader)
{
    perf_reader_info info;
    ck_assert_int_eq(perf_reader_info_get(reader, &info), PERF_OK);
    ck_assert_uint_eq(info.damaged, 0);
    ck_assert_uint_eq(info.alive, 0);
    ck_assert_uint_eq(info.finished, 0);
    ck_assert_uint_eq(info.stats.dropped_records, 0);
    uint32_t next[WRITERS] = {0};
    uint64_t read = 0, counted = 0;
    size_t n;
    perf_record *records = pt_records(reader, 100, &n);
    for (size_t i = 0; i < n; i++) {
        int w = records[i].name == s->name[1];
        PT_ASSERT(records[i].name == s->name[w]);
        expect_whole(s, &records[i]);
        /* the first may be any, after those that were written over */
        PT_ASSERT(!next[w] || records[i].task == next[w]);
        next[w] = records[i].task + 1;
    }
    for (int w = 0; w < WRITERS; w++) {
        uint32_t done = s->done[w];
        perf_totals t;
        ck_assert_int_eq(perf_reader_totals(reader, s->name[w], &t), PERF_OK);
        /* one span may have been counted, and written, and not yet ended */
        PT_ASSERT(t.count == done || t.count == done + 1);
        PT_ASSERT(next[w] == done || next[w] == done + 1);
        PT_ASSERT(next[w] <= t.count);
        read += next[w];
        counted += t.count;
    }
    free(records);
    PT_ASSERT(n + perf_reader_lost(reader) == read);
    perf_record open[WRITERS];
    size_t count = perf_reader_open_spans(reader, open, WRITERS);
    PT_ASSERT(count <= WRITERS);
    PT_ASSERT(counted - read <= count); /* counted only: it is still open */
}

START_TEST(test_killed_at_any_moment_leaves_everything_finished_readable)
{
    pt_random random = {(uint64_t)_i};
    for (int round = 0; round < (PT_SANITIZED ? 4 : 20); round++) {
        scene *s = pt_shared(sizeof *s);
        s->key[2] = (uint32_t)round;
        uint32_t enough = 1 + (uint32_t)pt_below(&random, MOST);
        pid_t pid = fork();
        if (!pid) {
            alarm(60);
            child(s);
            _exit(0);
        }
        while (atomic_load(&s->done[0]) < enough || !atomic_load(&s->done[1]))
            sched_yield();
        pt_kill(pid);
        perf_reader *reader = NULL;
        ck_assert_int_eq(perf_reader_open_blocking(s->path, NULL, &reader),
                         PERF_OK);
        expect_everything(s, reader);
        perf_reader_close(reader);
    }
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("segment.killed");
    tcase_add_loop_test(
        tests, test_killed_at_any_moment_leaves_everything_finished_readable, 0,
        4);
    return pt_end();
}
