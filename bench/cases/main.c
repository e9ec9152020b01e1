/* main.c - perf-bench: what the core's hot verbs cost. */
#include "cases.h"

int
main(int argc, char **argv)
{
    add_batcher_cases();
    add_cache_cases();
    add_clock_cases();
    add_histogram_cases();
    add_metric_cases();
    add_otlp_cases();
    add_path_cases();
    add_span_cases();
    add_policy_cases();
    add_replay_cases();
    return perf_bench_main(argc, argv);
}
