/* cases.h - the list of cases, as the command line sees it. */
#ifndef PERFI_BENCH_CASES_H
#define PERFI_BENCH_CASES_H
#include <libperf/bench.h>

/** The case after `before`, NULL for the first; NULL after the last. */
const perf_bench_case *perfi_bench_next(const perf_bench_case *before);

/** What is wrong with a case, or NULL.
 *  @param name  receives the name of that case, "(no name)" if it has none. */
const char *perfi_bench_complaint(const char **name);

/** Forget all cases. */
void perfi_bench_forget(void);

#endif
