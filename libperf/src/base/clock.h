/* clock.h - the clock as the core itself uses it: inline, plus re-anchoring. */
#ifndef PERFI_CLOCK_H
#define PERFI_CLOCK_H
#include <libperf/clock.h>
#include <stdatomic.h>
#include <time.h>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

/** A tick and the times at which it was read. */
typedef struct perfi_anchor {
    uint64_t ticks;
    uint64_t mono_ns;
    uint64_t wall_ns; /* CLOCK_REALTIME */
} perfi_anchor;

typedef struct perfi_clock {
    bool tsc;               /* constant after load */
    perfi_anchor first;     /* constant after load */
    _Atomic uint64_t scale; /* ns per tick, 32.32 fixed point; relaxed: any
                               recent value will do */
    _Atomic bool held;      /* the rate stays as it is; relaxed: a test's */
    uint64_t anchor_ticks;  /* ticks between two re-anchorings */
} perfi_clock;

extern perfi_clock perfi_clock_state;

static inline uint64_t
perfi_clock_monotonic_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/** Where there is no counter to read. Not inlined: hot verbs stay small. */
__attribute__((cold)) uint64_t perfi_clock_slow_ticks(void);

static inline uint64_t
perfi_clock_ticks(void)
{
#if defined(__x86_64__)
    if (__builtin_expect(perfi_clock_state.tsc, 1))
        return __rdtsc();
#endif
    return perfi_clock_slow_ticks();
}

static inline uint64_t
perfi_clock_scale(uint64_t ticks, uint64_t scale)
{
    unsigned __int128 ns = (unsigned __int128)ticks * scale >> 32;
    return ns > UINT64_MAX ? UINT64_MAX : (uint64_t)ns;
}

static inline uint64_t
perfi_clock_duration_ns(uint64_t ticks)
{
    return perfi_clock_scale(
        ticks,
        atomic_load_explicit(&perfi_clock_state.scale, memory_order_relaxed));
}

/** Read the clocks close together. */
perfi_anchor perfi_clock_anchor(void);

/** Measure the rate anew over all the time since load; returns the anchor. A
 *  clock that stood still meanwhile (suspend, migration) keeps its rate. */
perfi_anchor perfi_clock_reanchor(void);
#endif
