/* cases.h - perf-bench's cases, one file for each noun. */
#ifndef PERF_BENCH_CASES_H
#define PERF_BENCH_CASES_H
#include <libperf/bench.h>

/** What no span can do without: two reads of the clock that hot paths use. */
#define TWO_READS "clock/two_reads"

void add_batcher_cases(void);
void add_cache_cases(void);
void add_clock_cases(void);
void add_histogram_cases(void);
void add_metric_cases(void);
void add_otlp_cases(void);
void add_path_cases(void);
void add_policy_cases(void);
void add_replay_cases(void);
void add_span_cases(void);

/** Add a case that is compared with another. */
static inline perf_bench_case *
add_beside(const char *name, perf_bench_fn run, const char *reference)
{
    perf_bench_case *c = perf_bench_add(name, run);
    c->reference = reference;
    return c;
}

/** 64 Ki lognormal durations (median 2 ms, sigma 1.5), the same each time, as
 *  latencies are. Returns NULL when memory is short; free() it. */
enum { VALUES = 65536 };
uint64_t *make_values(void);

#endif
