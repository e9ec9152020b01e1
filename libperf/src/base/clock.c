/* clock.c - calibrates the time stamp counter against CLOCK_MONOTONIC.
 *
 * The first anchor is taken when the library is loaded, the second half a
 * millisecond later; from then on the rate is the slope between the first
 * anchor and the latest one, so its error falls with the program's age. */
#define _GNU_SOURCE
#include "clock.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { CALIBRATE_NS = 500000, ANCHOR_TRIES = 5 };

perfi_clock perfi_clock_state = {.scale = (uint64_t)1 << 32};

uint64_t
perfi_clock_slow_ticks(void)
{
    return perfi_clock_monotonic_ns();
}

static uint64_t
wall_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

perfi_anchor
perfi_clock_anchor(void)
{
    /* the closest of a few pairs: an interrupt between the two reads of a
     * pair would be an error of the rate */
    perfi_anchor best = {0, 0, 0};
    uint64_t best_gap = UINT64_MAX;
    for (int i = 0; i < ANCHOR_TRIES; i++) {
        uint64_t before = perfi_clock_ticks();
        uint64_t mono = perfi_clock_monotonic_ns();
        uint64_t after = perfi_clock_ticks();
        if (after - before < best_gap) {
            best_gap = after - before;
            best = (perfi_anchor){before + best_gap / 2, mono, 0};
        }
    }
    best.wall_ns = wall_ns() - (perfi_clock_monotonic_ns() - best.mono_ns);
    if (!perfi_clock_state.tsc)
        best.ticks = best.mono_ns;
    return best;
}

static uint64_t
slope(const perfi_anchor *from, const perfi_anchor *to)
{
    uint64_t ticks = to->ticks - from->ticks;
    uint64_t ns = to->mono_ns - from->mono_ns;
    return ticks ? (uint64_t)(((unsigned __int128)ns << 32) / ticks) : 0;
}

perfi_anchor
perfi_clock_reanchor(void)
{
    perfi_clock *c = &perfi_clock_state;
    perfi_anchor now = perfi_clock_anchor();
    uint64_t old = atomic_load_explicit(&c->scale, memory_order_relaxed);
    uint64_t rate = slope(&c->first, &now);
    /* 1 %: more than calibration can be wrong, less than a suspend does */
    bool held = atomic_load_explicit(&c->held, memory_order_relaxed);
    if (c->tsc && !held && rate > old - old / 100 && rate < old + old / 100)
        atomic_store_explicit(&c->scale, rate, memory_order_relaxed);
    return now;
}

#if defined(__x86_64__) && defined(__linux__)

static bool
file_has_word(const char *path, const char *word)
{
    char text[8192];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    return strstr(text, word) != NULL;
}

/* The kernel's own choice is the best judge: it leaves "tsc" when the counters
 * of two processors disagree. */
static bool
tsc_is_trustworthy(void)
{
    return file_has_word("/proc/cpuinfo", " constant_tsc") &&
           file_has_word("/proc/cpuinfo", " nonstop_tsc") &&
           file_has_word("/sys/devices/system/clocksource/clocksource0/"
                         "current_clocksource",
                         "tsc");
}
#else
static bool
tsc_is_trustworthy(void)
{
    return false;
}
#endif

__attribute__((constructor)) static void
calibrate(void)
{
    perfi_clock *c = &perfi_clock_state;
    c->tsc = tsc_is_trustworthy();
    c->first = perfi_clock_anchor();
    if (c->tsc) {
        while (perfi_clock_monotonic_ns() < c->first.mono_ns + CALIBRATE_NS)
            ;
        perfi_anchor now = perfi_clock_anchor();
        uint64_t rate = slope(&c->first, &now);
        if (rate)
            atomic_store_explicit(&c->scale, rate, memory_order_relaxed);
        else
            c->tsc = false; /* the counter does not count: emulated */
    }
    c->anchor_ticks = (uint64_t)perf_clock_ticks_per_s();
}

uint64_t
perf_clock_now_ns(void)
{
    return perfi_clock_monotonic_ns();
}

uint64_t
perf_clock_ticks(void)
{
    return perfi_clock_ticks();
}

uint64_t
perf_clock_duration_ns(uint64_t ticks)
{
    return perfi_clock_duration_ns(ticks);
}

uint64_t
perf_clock_ticks_to_ns(uint64_t ticks)
{
    const perfi_anchor *first = &perfi_clock_state.first;
    if (ticks >= first->ticks)
        return first->mono_ns + perfi_clock_duration_ns(ticks - first->ticks);
    return first->mono_ns - perfi_clock_duration_ns(first->ticks - ticks);
}

uint64_t
perf_clock_ns_to_ticks(uint64_t now_ns)
{
    const perfi_clock *c = &perfi_clock_state;
    uint64_t scale = atomic_load_explicit(&c->scale, memory_order_relaxed);
    bool later = now_ns >= c->first.mono_ns;
    uint64_t ns = later ? now_ns - c->first.mono_ns : c->first.mono_ns - now_ns;
    uint64_t ticks = (uint64_t)(((unsigned __int128)ns << 32) / scale);
    return later ? c->first.ticks + ticks : c->first.ticks - ticks;
}

const char *
perf_clock_source(void)
{
    return perfi_clock_state.tsc ? "tsc" : "monotonic";
}

double
perf_clock_ticks_per_s(void)
{
    uint64_t scale =
        atomic_load_explicit(&perfi_clock_state.scale, memory_order_relaxed);
    return 1e9 * 4294967296.0 / (double)scale;
}
