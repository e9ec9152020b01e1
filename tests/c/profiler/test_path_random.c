/* test_path_random.c - what is true of the path of every program, and of every
 * span of it, whatever the program does and in whatever order it is read. */
#include "test_path_program.h"

#include <stdlib.h>
#include <string.h>

enum { STEPS_MAX = 20000 };

typedef struct trial {
    program_kind kind;
    size_t limit;          /* events that are kept */
    const uint32_t *order; /* of the threads */
    uint32_t lost;         /* one event in so many; 0: none */
    uint32_t bent;         /* times of one event in so many; 0: none */
    /* out, in shared memory: */
    size_t count;
    bool explained; /* it comes to its end */
    uint32_t kinds; /* of steps: bits */
    perf_path_step step[STEPS_MAX];
} trial;

static trial *
new_trial(program_kind kind)
{
    trial *t = pt_shared(sizeof *t);
    t->kind = kind;
    t->limit = SIZE_MAX;
    return t;
}

static uint64_t
at(size_t event)
{
    return SCRIPT_EPOCH_NS + script.item[event].time_ns;
}

/* ---- the five invariants ---- */

static void
check_path(uint64_t span, uint64_t from, uint64_t to, trial *t)
{
    size_t count;
    const perf_path_step *step = path_of(span, &count);
    uint64_t unexplained = check_sum(from, to, step, count);
    check_spans_open(step, count);
    if (!t->kind.ties)
        check_edges(step, count);
    PT_CHECK(!t->explained || !unexplained);
    for (size_t i = 0; i < count; i++)
        t->kinds |= 1U << step[i].kind;
}

static void
check_program(void *ctx)
{
    trial *t = ctx;
    t->explained = program_make(t->kind);
    play();
    check_path(0, at(0), at(script.count - 1), t);
    for (size_t i = 0; i < script.count; i++) {
        uint64_t begin_ns, end_ns, span = script.item[i].key;
        if (script.item[i].code != PERF_EVENT_SPAN_END)
            continue;
        span_times(span, &begin_ns, &end_ns);
        check_path(span, begin_ns, end_ns, t);
    }
}

/* Numbers of labels and resources depend on who is read first; names do not. */
static void
keep_path(void *ctx)
{
    trial *t = ctx;
    program_make(t->kind);
    script_play(t->limit, t->order);
    script_analyse();
    const perf_path_step *step = path_of(0, &t->count);
    PT_CHECK(t->count <= STEPS_MAX);
    for (size_t i = 0; i < t->count; i++) {
        perf_label label;
        perf_resource_use resource = {.name = UINT32_MAX};
        perf_analysis_label(analysis, step[i].label, &label);
        perf_analysis_resource(analysis, step[i].resource, &resource);
        t->step[i] = step[i];
        t->step[i].label = label.kind << 16 | label.name;
        t->step[i].resource = resource.name;
    }
}

static program_kind
kind_of(int seed)
{
    return (program_kind){.seed = (uint64_t)seed * 977 + 1,
                          .ties = seed % 4 == 3,
                          .startup = seed % 2 == 1};
}

START_TEST(test_invariants)
{
    program_names();
    uint32_t kinds = 0, explained = 0;
    const int n = PT_TIMES(80);
    for (int seed = 0; seed < n; seed++) {
        trial *t = new_trial(kind_of(_i * 1000 + seed));
        pt_run_well(check_program, t);
        kinds |= t->kinds;
        explained += t->explained;
    }
    const uint32_t all = (1U << PERF_STEP_UNEXPLAINED) - 2;
    ck_assert_uint_eq(kinds & all, all); /* programs are of all kinds */
    ck_assert_int_gt(explained, n / 2);
}
END_TEST

START_TEST(test_the_order_of_reading_does_not_matter)
{
    static const uint32_t orders[][SCRIPT_THREADS] = {
        {0, 1, 2, 3}, {3, 2, 1, 0}, {2, 0, 3, 1}, {1, 3, 0, 2}};
    program_names();
    for (int seed = 0; seed < PT_TIMES(16); seed++) {
        trial *first = NULL;
        for (int i = 0; i < 4; i++) {
            trial *t = new_trial(kind_of(seed));
            t->order = orders[i];
            pt_run_well(keep_path, t);
            first = first ? first : t;
            ck_assert_uint_gt(t->count, 0);
            ck_assert_uint_eq(t->count, first->count);
            ck_assert_mem_eq(t->step, first->step, t->count * sizeof *t->step);
        }
    }
}
END_TEST

/* ---- what is damaged ---- */

static void
damage(const trial *t)
{
    pt_random random = {t->kind.seed};
    size_t n = 0;
    for (size_t i = 0; i < script.count; i++) {
        perf_event *e = &script.item[i];
        if (t->bent && pt_below(&random, t->bent) == 0)
            e->time_ns =
                e->time_ns > 20000 ? e->time_ns - pt_below(&random, 20000) : 0;
        if (!t->lost || pt_below(&random, t->lost))
            script.item[n++] = *e;
    }
    script.count = n;
}

static void
check_whole(uint64_t span, uint64_t duration)
{
    const perf_path_step *step;
    size_t count;
    uint64_t sum = 0;
    perf_err err = perf_analysis_path_blocking(analysis, span, &step, &count);
    PT_CHECK(err == PERF_OK || (span && err == PERF_ERR_NOT_FOUND));
    for (size_t i = 0; i < count; i++) {
        PT_CHECK(step[i].from_ns < step[i].to_ns);
        PT_CHECK(!i || step[i].from_ns == step[i - 1].to_ns);
        sum += step[i].to_ns - step[i].from_ns;
    }
    PT_CHECK(span || sum == duration);
}

static void
check_damaged(void *ctx)
{
    const trial *t = ctx;
    perf_analysis_info info = {0};
    program_make(t->kind);
    damage(t);
    script_play(t->limit, t->order);
    script_analyse();
    if (!analysis)
        return;
    perf_analysis_info_get(analysis, &info);
    check_whole(0, info.wall_ns);
    for (size_t i = 0; i < script.count; i++)
        if (script.item[i].code == PERF_EVENT_SPAN_END)
            check_whole(script.item[i].key, 0);
}

/* Any event, any time, of a few actors, futures, spans and resources. */
static void
check_nonsense(void *ctx)
{
    const trial *t = ctx;
    pt_random random = {t->kind.seed};
    uint64_t now[SCRIPT_THREADS] = {0}, names = t->kind.seed % 40 + 1;
    script_add(0, 0,
               (perf_event){.code = PERF_EVENT_THREAD,
                            .key = MAIN,
                            .arg = PERF_ACTOR_MAIN});
    for (int i = 0; i < 400; i++) {
        perf_event e = {
            .code = (uint16_t)pt_below(&random, PERF_EVENT_IMPORT),
            .arg = (uint32_t)pt_below(&random, 8),
            .span = pt_below(&random, names),
            .key = pt_below(&random, names),
            .more = pt_below(&random, names),
        };
        uint32_t in = (uint32_t)pt_below(&random, SCRIPT_THREADS);
        now[in] += pt_below(&random, t->kind.ties ? 2 : 500);
        script_add(in, now[in], e);
    }
    perf_analysis_info info;
    play();
    perf_analysis_info_get(analysis, &info);
    check_whole(0, info.wall_ns);
    for (uint64_t span = 1; span < names; span++)
        check_whole(span, 0);
}

START_TEST(test_nonsense_has_a_path)
{
    program_names();
    for (int seed = 0; seed < PT_TIMES(400); seed++)
        pt_run_well(check_nonsense,
                    new_trial((program_kind){.seed = (uint64_t)seed,
                                             .ties = seed % 2}));
}
END_TEST

static size_t
events_of(program_kind kind)
{
    program_make(kind);
    return script.count;
}

START_TEST(test_every_beginning_of_a_recording_has_a_path)
{
    program_names();
    program_kind kind = {.seed = 12};
    size_t n = events_of(kind);
    ck_assert_uint_gt(n, 200);
    for (size_t limit = 0; limit < n; limit += PT_SANITIZED ? 7 : 1) {
        trial *t = new_trial(kind);
        t->limit = limit;
        pt_run_well(check_damaged, t);
    }
}
END_TEST

START_TEST(test_lost_events_lose_no_time)
{
    program_names();
    for (int seed = 0; seed < PT_TIMES(80); seed++) {
        trial *t = new_trial((program_kind){.seed = (uint64_t)seed});
        t->lost = 2 + (uint32_t)seed % 30;
        pt_run_well(check_damaged, t);
    }
}
END_TEST

START_TEST(test_bent_clocks_lose_no_time)
{
    program_names();
    for (int seed = 0; seed < PT_TIMES(80); seed++) {
        trial *t =
            new_trial((program_kind){.seed = (uint64_t)seed, .ties = seed % 2});
        t->bent = 1 + (uint32_t)seed % 30;
        t->lost = seed % 3 ? 20 : 0;
        pt_run_well(check_damaged, t);
    }
}
END_TEST

int
main(void)
{
    TCase *t = pt_begin("profiler.path_random");
    tcase_add_loop_test(t, test_invariants, 0, 4);
    tcase_add_test(t, test_the_order_of_reading_does_not_matter);
    tcase_add_test(t, test_every_beginning_of_a_recording_has_a_path);
    tcase_add_test(t, test_lost_events_lose_no_time);
    tcase_add_test(t, test_bent_clocks_lose_no_time);
    tcase_add_test(t, test_nonsense_has_a_path);
    return pt_end();
}
