/* metric.c - counters and timings in the segment, alone and with two threads
 * on the same name. */
#include "cases.h"

#include <libperf/metric.h>
#include <stdlib.h>

static void
tear_down(perf_bench_state *state)
{
    free(state->data);
}

static void
set_up(perf_bench_state *state)
{
    state->data = make_values();
    if (!state->data)
        perf_bench_fail(state, "out of memory");
}

static void
add(perf_bench_state *state)
{
    uint32_t name = perf_name(PERF_KIND_COUNTER, "bench.added", 11);
    for (uint64_t i = 0; i < state->iterations; i++)
        perf_metric_add(name, 1);
}

static void
record(perf_bench_state *state)
{
    uint32_t name = perf_name(PERF_KIND_TIMING, "bench.recorded", 14);
    const uint64_t *values = state->data;
    for (uint64_t i = 0; i < state->iterations; i++)
        perf_metric_record(name, values[i % VALUES]);
}

static void
add_record_case(const char *name, uint32_t threads, const char *reference)
{
    perf_bench_case *c = add_beside(name, record, reference);
    c->setup = set_up;
    c->teardown = tear_down;
    c->threads = threads;
}

void
add_metric_cases(void)
{
    add_beside("metric/add", add, TWO_READS);
    add_record_case("metric/record", 1, TWO_READS);
    add_record_case("metric/record/t2", 2, "metric/record");
}
