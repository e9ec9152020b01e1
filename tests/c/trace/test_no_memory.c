/* test_no_memory.c - malloc fails at its first call, its second, and so on
 * (that one alone, or all later ones too) in everything a program does with
 * libperf, until nothing fails any more: an error or a counted drop each time,
 * never a crash, never a wrong number. The linker puts our functions before the
 * C library's (see CMakeLists.txt). */
#include "pt.h"

#include <libperf/frame.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static _Atomic int64_t allowed = INT64_MAX; /* calls until one fails */
static bool once;                           /* that one alone */

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *memory, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *memory, size_t size);
char *__wrap_strdup(const char *text);

static bool
fails(void)
{
    int64_t left = atomic_fetch_sub(&allowed, 1);
    return once ? !left : left <= 0;
}

void *
__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *
__wrap_realloc(void *memory, size_t size)
{
    return fails() ? NULL : __real_realloc(memory, size);
}

char *
__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

/* ---- what a program does ---- */

enum { SPANS = 10, LEFTOVERS = 70 };

typedef struct scene {
    char base[PT_PATH];
    int64_t allowed; /* how many calls succeed */
    bool failed;     /* out: one did not */
} scene;

static perf_err
well(perf_err err)
{
    PT_CHECK(err == PERF_OK || err == PERF_ERR_NOMEM);
    return err;
}

static void
start_with_settings(void)
{
    perf_segment_config config;
    perf_segment_config_init(&config, sizeof config);
    char service[] = "service", command[] = "command";
    config.service = service;
    config.command = command;
    well(perf_segment_start(&config));
    memset(service, 'x', sizeof service - 1); /* it has its own copies */
    memset(command, 'x', sizeof command - 1);
}

static void
use_objects(void)
{
    const perf_allocator *arena = NULL;
    perf_histogram *h = (void *)&arena;
    if (!well(perf_allocator_arena_create(&arena))) {
        void *block = arena->alloc(100, arena->ctx);
        PT_CHECK_EQ(perf_allocator_arena_bytes(arena), block ? 100 : 0);
        arena->free(block, 100, arena->ctx);
        PT_CHECK_EQ(perf_allocator_arena_bytes(arena), 0);
    }
    perf_allocator_arena_destroy(arena);
    PT_CHECK(!well(perf_histogram_create(NULL, &h)) == (h != NULL));
    perf_histogram_record(h, 5);
    PT_CHECK_EQ(perf_histogram_count(h), h ? 1 : 0);
    perf_histogram_destroy(h);
}

static uint64_t
read_back(uint32_t name)
{
    perf_reader *reader = NULL;
    perf_totals t = {0};
    if (!well(perf_reader_open_self_blocking(NULL, &reader))) {
        well(perf_reader_refresh_blocking(reader));
        PT_CHECK_EQ(perf_reader_totals(reader, name, &t), PERF_OK);
    }
    perf_reader_close(reader);
    return t.count;
}

static void
run_program(void *ctx)
{
    scene *s = ctx;
    atomic_store(&allowed, s->allowed);
    start_with_settings();
    use_objects();
    uint32_t name = pt_name(PERF_KIND_NODE, "node");
    uint32_t count = pt_name(PERF_KIND_COUNTER, "counter");
    PT_CHECK_EQ(perf_name_kind(name), PERF_KIND_NODE);
    PT_CHECK_EQ(perf_name_kind(count), PERF_KIND_COUNTER);
    for (int i = 0; i < SPANS; i++) {
        perf_span span = perf_span_begin(name, (perf_span){0});
        perf_span_set_text(span, PERF_KIND_KEY, "x", 1);
        perf_metric_add(count, 1);
        perf_span_end(span);
    }
    uint32_t frame = perf_frame(0, "main", 4, "app.py", 6, 1);
    PT_CHECK(frame <= 1);
    frame = perf_frame(frame, "load", 4, "app.py", 6, 2);
    PT_CHECK(frame <= 2);
    uint64_t seen = read_back(name);
    s->failed = atomic_load(&allowed) < 0;
    atomic_store(&allowed, INT64_MAX);
    if (seen) /* a reader that could be had told the truth */
        PT_CHECK(seen + pt_stats().dropped_records >= SPANS);
    seen = read_back(name);
    PT_CHECK_EQ(seen + pt_stats().dropped_records, SPANS);
    PT_CHECK(seen == 0 || seen == SPANS);
    PT_CHECK(s->failed || seen == SPANS);
    PT_CHECK(s->failed || (frame == 2 && !perf_frames_over()));
    PT_CHECK(frame == 2 || perf_frames_over());
}

START_TEST(test_every_allocation_may_fail)
{
    scene *s = pt_shared(sizeof *s);
    char folder[PT_PATH + 32], path[PT_PATH + 64];
    pt_segments_in(s->base);
    snprintf(folder, sizeof folder, "%s/libperf-%u", s->base,
             (unsigned)geteuid());
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    s->failed = true;
    once = _i;
    for (s->allowed = 0; s->failed; s->allowed++) {
        for (int i = 0; i < LEFTOVERS; i++) { /* for the sweep to list */
            snprintf(path, sizeof path, "%s/%d-old.perf", folder, i);
            pt_write_file(path, "x", 1);
        }
        pt_run_well(run_program, s);
        ck_assert_int_lt(s->allowed, 200);
    }
    ck_assert_int_gt(s->allowed, 12);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("trace.no_memory");
    tcase_add_loop_test(tests, test_every_allocation_may_fail, 0, 2);
    return pt_end();
}
