/* test_path_growth.c - large programs: a path takes steps in proportion, basic
 * blocks of the profiler's own code (see CMakeLists.txt), not time; a million
 * tasks; no memory. */
#include "path.h"
#include "test_path_kit.h"

#include <stdlib.h>
#include <string.h>

static const double MS_EACH = 0.001;

/* ---- steps ---- */

static uint64_t steps;

void __sanitizer_cov_trace_pc(void);

void
__sanitizer_cov_trace_pc(void)
{
    steps++;
}

typedef struct found {
    perfi_region region;
    perfi_timeline line;
    perfi_model model;
    perfi_path path;
} found;

/* As perf_analysis_create_blocking() does, but for the replay. */
static void
prepare(found *f)
{
    memset(f, 0, sizeof *f);
    f->region.allocator = perf_allocator_libc();
    reader = pt_self();
    if (setjmp(f->region.no_memory))
        PT_CHECK(false);
    perfi_timeline_read(&f->line, &f->region, reader, 0);
    perfi_model_build(&f->model, &f->region, reader, &f->line);
    steps = 0;
    perfi_path_prepare(&f->path, &f->region, &f->model);
}

typedef struct growth {
    void (*make)(uint32_t n);
    uint32_t n;
    bool each_span; /* also the path of each */
    uint64_t steps;
    size_t events;
} growth;

static void
measure(void *ctx)
{
    growth *g = ctx;
    found f;
    pt_start(UINT64_C(256) << 20, UINT64_C(64) << 20);
    g->make(g->n);
    g->events = script.count;
    script_play(SIZE_MAX, NULL);
    prepare(&f);
    PT_CHECK(perfi_path_find(&f.path, 0));
    PT_CHECK(f.path.step_count > 0);
    for (size_t i = 0; g->each_span && i < script.count; i++)
        if (script.item[i].code == PERF_EVENT_SPAN_END)
            PT_CHECK(perfi_path_find(&f.path, script.item[i].key));
    g->steps = steps;
    perfi_region_free(&f.region);
    perf_reader_close(reader);
}

static void
expect_linear(void (*make)(uint32_t n), uint32_t n, bool each_span)
{
    growth *g = pt_shared(2 * sizeof *g);
    g[0] = (growth){.make = make, .n = n, .each_span = each_span};
    g[1] = (growth){.make = make, .n = 4 * n, .each_span = each_span};
    text("");
    pt_run_well(measure, &g[0]);
    pt_run_well(measure, &g[1]);
    ck_assert_uint_ge(g[1].events, 3 * g[0].events);
    ck_assert_msg(g[1].steps < 6 * g[0].steps, "%llu, then %llu",
                  (unsigned long long)g[0].steps,
                  (unsigned long long)g[1].steps);
}

/* One task after another, each made by the one before. */
static void
make_chain(uint32_t n)
{
    double t = 1;
    loop_begins();
    E(0, t, SPAWN, .key = 1000);
    E(0, t, SUSPEND, .key = 1000 + n - 1);
    for (uint32_t i = 0; i < n; i++) {
        run(t += MS_EACH, 1000 + i, PERF_ACTOR_TASK, 0);
        begin(0, t += MS_EACH, 1000000 + i, "tiny", 0);
        end(0, t += MS_EACH, 1000000 + i);
        if (i + 1 < n)
            E(0, t += MS_EACH, SPAWN, .key = 1001 + i);
        E(0, t += MS_EACH, END);
    }
    run(t += MS_EACH, ROOT, PERF_ACTOR_TASK, 0);
    E(0, t += MS_EACH, END);
    loop_ends(t);
}

/* gather() of tasks whose spans all overlap. */
static void
make_siblings(uint32_t n)
{
    double t = 1;
    loop_begins();
    begin(0, 1, OUTER, "gather", 0);
    for (uint32_t i = 0; i < n; i++)
        E(0, t += MS_EACH, SPAWN, .key = 1000 + i, .span = OUTER);
    E(0, t += MS_EACH, SUSPEND, .key = ANSWER, .span = OUTER);
    for (uint32_t i = 0; i < n; i++) {
        run(t += MS_EACH, 1000 + i, PERF_ACTOR_TASK, OUTER);
        begin(0, t += MS_EACH, 1000000 + i, "child", OUTER);
        E(0, t += MS_EACH, SUSPEND, .key = OTHER, .span = 1000000 + i);
    }
    run(t += MS_EACH, IO, PERF_ACTOR_IO, 0);
    E(0, t += MS_EACH, RESOLVE, .key = OTHER);
    E(0, t += MS_EACH, END);
    for (uint32_t i = 0; i < n; i++) {
        run(t += MS_EACH, 1000 + i, PERF_ACTOR_TASK, 1000000 + i);
        end(0, t += MS_EACH, 1000000 + i);
        E(0, t += MS_EACH, END, .span = OUTER);
    }
    run(t += MS_EACH, CALLBACK, PERF_ACTOR_CALLBACK, OUTER);
    E(0, t += MS_EACH, RESOLVE, .key = ANSWER, .span = OUTER);
    E(0, t += MS_EACH, END, .span = OUTER);
    run(t += MS_EACH, ROOT, PERF_ACTOR_TASK, OUTER);
    end(0, t += MS_EACH, OUTER);
    E(0, t += MS_EACH, END);
    loop_ends(t);
}

/* Two threads take turns with one lock. */
static void
make_convoy(uint32_t n)
{
    double t = 1;
    E(0, 0, THREAD, .key = MAIN, .arg = PERF_ACTOR_MAIN);
    resource(LOCK, PERF_RESOURCE_LOCK, 1, "lock");
    E(0, 1, SPAWN, .key = THREAD);
    thread_begins(1, 1, THREAD);
    E(1, 1, ACQUIRE, .key = LOCK);
    E(1, 1, ACQUIRED, .key = LOCK);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t in = i % 2;
        E(in, t += MS_EACH, ACQUIRE, .key = LOCK);
        E(1 - in, t += MS_EACH, RELEASE, .key = LOCK);
        E(in, t += MS_EACH, ACQUIRED, .key = LOCK);
    }
    E(0, t + 1, LABEL);
}

/* The span of each is never made current, and all end last. */
static void
make_asides(uint32_t n)
{
    double t = 1;
    E(0, 0, THREAD, .key = MAIN, .arg = PERF_ACTOR_MAIN);
    begin(0, 1, SPAN, "node", 0);
    for (uint32_t i = 0; i < n; i++)
        E(0, t += MS_EACH, SPAN_BEGIN, .key = 1000 + i, .more = SPAN,
          .arg = pt_name(PERF_KIND_SPAN, "model"), .span = SPAN);
    for (uint32_t i = 0; i < n; i++) {
        E(0, t += MS_EACH, SPAN_END, .key = 1000 + i, .span = SPAN);
        E(0, t += MS_EACH, LABEL, .span = SPAN);
    }
    end(0, t += MS_EACH, SPAN);
}

/* A task goes on in the name of spans that have ended, one in the other. */
static void
make_dead_spans(uint32_t n)
{
    double t = 1;
    E(0, 0, THREAD, .key = MAIN, .arg = PERF_ACTOR_MAIN);
    for (uint32_t i = 0; i < n; i++)
        begin(0, t += MS_EACH, 1000 + i, "deep", i ? 999 + i : 0);
    for (uint32_t i = n; i-- > 0;)
        end(0, t += MS_EACH, 1000 + i);
    for (uint32_t i = 0; i < n; i++)
        E(0, t += MS_EACH, LABEL, .span = 999 + n);
}

/* Everybody is told at one moment that the next one is done then. */
static void
make_circle(uint32_t n)
{
    double t = 1;
    loop_begins();
    for (uint32_t i = 0; i < n; i++)
        E(0, t += MS_EACH, SPAWN, .key = 1000 + i);
    E(0, t += MS_EACH, SUSPEND, .key = 1000);
    for (uint32_t i = 0; i < n; i++) {
        run(t += MS_EACH, 1000 + i, PERF_ACTOR_TASK, 0);
        E(0, t += MS_EACH, SUSPEND, .key = 1000000 + (i + 1) % n);
    }
    for (uint32_t i = 0; i < n; i++) {
        run(t, 1000 + i, PERF_ACTOR_TASK, 0);
        E(0, t, RESOLVE, .key = 1000000 + i);
        E(0, t, END);
    }
    run(t, ROOT, PERF_ACTOR_TASK, 0);
    E(0, t += MS_EACH, END);
    loop_ends(t);
}

/* Waits for the first of many, again and again. */
static void
make_waits(uint32_t n)
{
    double t = 1;
    E(0, 0, THREAD, .key = MAIN, .arg = PERF_ACTOR_MAIN);
    E(0, 0, SPAWN, .key = THREAD);
    thread_begins(1, 0.5, THREAD);
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < 5; k++)
            E(0, t += MS_EACH, WAIT_FOR, .key = 1000 + i + k);
        E(0, t += MS_EACH, WAIT, .arg = 1);
        E(1, t += MS_EACH, RESOLVE, .key = 1000 + i);
        E(0, t += MS_EACH, WAITED, .more = 4);
    }
    E(1, t, END);
}

START_TEST(test_steps_grow_with_the_program)
{
    static const struct {
        void (*make)(uint32_t n);
        bool each_span;
    } programs[] = {
        {make_chain, true},   {make_siblings, false},   {make_convoy, false},
        {make_asides, false}, {make_dead_spans, false}, {make_circle, false},
        {make_waits, false},
    };
    ck_assert_int_lt(_i, sizeof programs / sizeof *programs);
    expect_linear(programs[_i].make, 2000, programs[_i].each_span);
}
END_TEST

/* ---- a million ---- */

static void
write_at(uint64_t t, perf_event_code code, uint32_t arg, uint64_t key)
{
    perf_events_set_time(SCRIPT_EPOCH_NS + t, 0);
    perf_event_write(code, arg, 0, key, 0);
}

START_TEST(test_a_million_tiny_tasks)
{
    uint64_t n = PT_TIMES(1000000), t = 0;
    found f;
    pt_start(UINT64_C(512) << 20, UINT64_C(256) << 20);
    write_at(t, PERF_EVENT_THREAD, PERF_ACTOR_MAIN, MAIN);
    for (uint64_t i = 0; i < n; i++) { /* each made by the one before */
        write_at(t++, PERF_EVENT_SPAWN, 0, 1000 + i);
        if (i)
            write_at(t++, PERF_EVENT_END, 0, 0);
        else
            write_at(t++, PERF_EVENT_HOST, 0, 1000 + n - 1);
        write_at(t++, PERF_EVENT_RUN, PERF_ACTOR_TASK, 1000 + i);
    }
    write_at(t++, PERF_EVENT_END, 0, 0);
    write_at(t, PERF_EVENT_HOSTED, 0, 0);
    perf_events_set_time(0, 0);
    prepare(&f);
    ck_assert(perfi_path_find(&f.path, 0));
    uint64_t sum = 0;
    for (size_t i = 0; i < f.path.step_count; i++) {
        sum += f.path.step[i + f.path.step_room - f.path.step_count].to_ns -
               f.path.step[i + f.path.step_room - f.path.step_count].from_ns;
        PT_ASSERT(f.path.step[i + f.path.step_room - f.path.step_count].kind !=
                  PERF_STEP_UNEXPLAINED);
    }
    ck_assert_uint_eq(sum, t);
    ck_assert_uint_ge(f.path.step_count, 2 * n);
    ck_assert_uint_le(steps, 500 * n);
    perfi_region_free(&f.region);
    perf_reader_close(reader);
}
END_TEST

/* ---- no memory ---- */

/* Once `allowed` more pieces have been given. Returns false when that was
 * enough. */
static bool
fails_on_the_way(uint64_t allowed, size_t whole)
{
    const perf_path_step *step;
    size_t count;
    pt_alloc memory;
    pt_alloc_init(&memory, UINT64_MAX);
    reader = pt_self();
    ck_assert_int_eq(
        perf_analysis_create_blocking(reader, 0, &memory.face, &analysis),
        PERF_OK);
    memory.allowed = memory.calls + allowed;
    perf_err err = perf_analysis_path_blocking(analysis, 0, &step, &count);
    if (err) {
        ck_assert_int_eq(err, PERF_ERR_NOMEM);
        ck_assert_ptr_null(step);
        ck_assert_uint_eq(count, 0);
        memory.allowed = UINT64_MAX; /* everything is as it was */
        path_of(0, &count);
    }
    ck_assert_uint_eq(count, whole);
    forget();
    ck_assert_uint_eq(memory.live, 0);
    ck_assert(!memory.wrong_size);
    return err != PERF_OK;
}

START_TEST(test_no_memory_on_the_way_leaves_everything_usable)
{
    size_t whole;
    uint64_t failures = 0;
    make_convoy(200);
    play();
    path_of(0, &whole);
    forget();
    ck_assert_uint_gt(whole, 200);
    while (fails_on_the_way(failures, whole))
        failures++;
    ck_assert_uint_ge(failures, 4);
}
END_TEST

START_TEST(test_no_memory_for_the_index_is_an_error)
{
    perf_err err;
    uint64_t allowed = 0;
    make_convoy(20);
    script_play(SIZE_MAX, NULL);
    do {
        pt_alloc memory;
        pt_alloc_init(&memory, allowed++);
        reader = pt_self();
        err = perf_analysis_create_blocking(reader, 0, &memory.face, &analysis);
        ck_assert(err == PERF_OK || err == PERF_ERR_NOMEM);
        forget();
        ck_assert_uint_eq(memory.live, 0);
        ck_assert(!memory.wrong_size);
    } while (err);
    ck_assert_uint_gt(allowed, 20);
}
END_TEST

int
main(void)
{
    TCase *t = pt_begin("profiler.path_growth");
    tcase_add_loop_test(t, test_steps_grow_with_the_program, 0, 7);
    tcase_add_test(t, test_a_million_tiny_tasks);
    tcase_add_test(t, test_no_memory_on_the_way_leaves_everything_usable);
    tcase_add_test(t, test_no_memory_for_the_index_is_an_error);
    return pt_end();
}
