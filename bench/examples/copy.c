/* copy.c - a benchmark of your own: one case, and one compared with it. */
#include <libperf/bench.h>
#include <string.h>

static char from[65536], to[65536];

static void
copy_small(perf_bench_state *state)
{
    for (uint64_t i = 0; i < state->iterations; i++) {
        memcpy(to, from, 4096);
        perf_bench_keep(to);
    }
}

static void
copy_large(perf_bench_state *state)
{
    for (uint64_t i = 0; i < state->iterations; i++) {
        memcpy(to, from, sizeof to);
        perf_bench_keep(to);
    }
}

int
main(int argc, char **argv)
{
    perf_bench_add("copy/4KiB", copy_small);
    perf_bench_add("copy/64KiB", copy_large)->reference = "copy/4KiB";
    return perf_bench_main(argc, argv);
}
