/* clock.h - one monotonic clock, and the cheapest stamp that follows it.
 *
 * Model:    a *tick* is the CPU's time stamp counter where the CPU says it
 *           is invariant (constant_tsc, nonstop_tsc) and the kernel itself
 *           keeps time by it; elsewhere a tick is one nanosecond of
 *           CLOCK_MONOTONIC. Hot paths store ticks; readers turn them into
 *           nanoseconds. The rate is measured when the library is loaded
 *           and again about once a second against CLOCK_MONOTONIC.
 * Accuracy: durations better than 0.1 % from the start, 1 ppm after seconds.
 * Threads:  every function, any thread, wait-free.
 * Units:    nanoseconds (`_ns`) or ticks (`_ticks`), as the name says. */
#ifndef LIBPERF_CLOCK_H
#define LIBPERF_CLOCK_H
#include <libperf/base.h>

PERF_BEGIN_DECLS

/** CLOCK_MONOTONIC in nanoseconds. Cost: about two ticks' reads. */
PERF_API uint64_t perf_clock_now_ns(void);

/** The stamp hot paths take: one rdtsc, or the above. */
PERF_API uint64_t perf_clock_ticks(void);

/** How long `ticks` last. Huge values saturate at UINT64_MAX. */
PERF_API uint64_t perf_clock_duration_ns(uint64_t ticks);

/** The CLOCK_MONOTONIC time at which `ticks` was read. */
PERF_API uint64_t perf_clock_ticks_to_ns(uint64_t ticks);

/** The tick that will be, or was, read at CLOCK_MONOTONIC time `now_ns`. */
PERF_API uint64_t perf_clock_ns_to_ticks(uint64_t now_ns);

/** "tsc" or "monotonic". */
PERF_API const char *perf_clock_source(void);

/** Ticks per second; 1e9 for "monotonic". */
PERF_API double perf_clock_ticks_per_s(void);

PERF_END_DECLS
#endif
