/* clock.c - the clocks, which everything else is compared with. */
#include "cases.h"

#include <libperf/clock.h>
#include <string.h>
#include <time.h>

#if defined(__x86_64__)
#include <x86intrin.h>

/* In place, as the core does it: the least that two stamps can cost. */
static void
two_tsc(perf_bench_state *state)
{
    for (uint64_t i = 0; i < state->iterations; i++) {
        uint64_t start = __rdtsc();
        perf_bench_keep(&start);
        uint64_t end = __rdtsc();
        perf_bench_keep(&end);
    }
}
#endif

static void
two_gettime(perf_bench_state *state)
{
    for (uint64_t i = 0; i < state->iterations; i++) {
        struct timespec start, end;
        clock_gettime(CLOCK_MONOTONIC, &start);
        perf_bench_keep(&start);
        clock_gettime(CLOCK_MONOTONIC, &end);
        perf_bench_keep(&end);
    }
}

static void
two_ticks(perf_bench_state *state)
{
    for (uint64_t i = 0; i < state->iterations; i++) {
        uint64_t start = perf_clock_ticks();
        perf_bench_keep(&start);
        uint64_t end = perf_clock_ticks();
        perf_bench_keep(&end);
    }
}

void
add_clock_cases(void)
{
    perf_bench_fn reads = two_gettime;
#if defined(__x86_64__)
    if (strcmp(perf_clock_source(), "tsc") == 0)
        reads = two_tsc;
#endif
    perf_bench_add(TWO_READS, reads);
    add_beside("clock/two_ticks", two_ticks, TWO_READS);
    add_beside("clock/two_gettime", two_gettime, TWO_READS);
}
