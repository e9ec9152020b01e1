/* metric.c - counters, gauges and timings: each a series of the thread. */
#include "../base/clock.h"
#include "../segment/series.h"

#include <libperf/metric.h>
#include <string.h>

/* The thread's series of a metric of that kind, or NULL, counted. */
static inline perfi_series *
series_of(perfi_thread *t, uint32_t name, perf_kind kind)
{
    if (!t) {
        perfi_count_lost(PERFI_LOST_VALUE);
        return NULL;
    }
    perfi_series *s = NULL;
    if (name < PERF_NAMES_MAX) {
        s = t->series[name]; /* its kind was looked at when it was made */
        if (s && s->kind == (uint32_t)kind)
            return s;
        if (!s && perf_name_kind(name) == kind)
            s = perfi_series_make(t, name);
        else
            s = NULL;
    }
    if (!s)
        perfi_add(&t->block->dropped_values, 1);
    return s;
}

void
perf_metric_add(uint32_t name, uint64_t amount)
{
    perfi_series *s = series_of(perfi_thread_get(), name, PERF_KIND_COUNTER);
    if (s)
        perfi_add_saturating(&s->sum, amount);
}

void
perf_metric_set(uint32_t name, double value)
{
    uint64_t bits;
    if (value != value)
        name = UINT32_MAX; /* NaN says nothing: counted as dropped */
    perfi_series *s = series_of(perfi_thread_get(), name, PERF_KIND_GAUGE);
    if (!s)
        return;
    memcpy(&bits, &value, sizeof bits);
    perfi_set(&s->gauge, bits);
    /* release: a reader that sees this time sees this value, or a later one */
    atomic_store_explicit(&s->gauge_ticks, perfi_clock_ticks(),
                          memory_order_release);
}

void
perf_metric_record(uint32_t name, uint64_t duration_ns)
{
    perfi_thread *t = perfi_thread_get();
    perfi_series *s = series_of(t, name, PERF_KIND_TIMING);
    if (s)
        perfi_series_record(t, s, duration_ns);
}

void
perf_metric_record_intended(uint32_t name, uint64_t intended_ns,
                            uint64_t end_ns)
{
    perf_metric_record(name, end_ns > intended_ns ? end_ns - intended_ns : 0);
}

uint64_t
perf_metric_total(uint32_t name)
{
    if (perf_name_kind(name) != PERF_KIND_COUNTER)
        return 0;
    pthread_mutex_lock(&perfi_segment_state.lock);
    uint64_t total = perfi_threads_total(name);
    pthread_mutex_unlock(&perfi_segment_state.lock);
    return total;
}
