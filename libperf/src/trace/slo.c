/* slo.c - objectives in a static table, linked by name. An objective stays
 * where it is for ever; one that was removed is only switched off, so whoever
 * counts takes no lock. */
#include "slo.h"

#include "../segment/segment.h"

#include <libperf/metric.h>

typedef struct objective {
    uint32_t calls, bad; /* constant once it is linked, */
    uint16_t next;       /* as is this: 0 is the end */
    _Atomic bool on;     /* relaxed, like the limit: each says all by itself */
    _Atomic uint64_t limit_ns;
} objective;

_Atomic uint16_t perfi_slo_of[PERF_NAMES_MAX];

static objective objectives[PERF_SLOS_MAX];
static uint16_t used; /* under the segment's lock, which forks are ready for */

void
perfi_slo_count(uint32_t name, perf_status status, uint64_t duration_ns)
{
    uint16_t at =
        atomic_load_explicit(&perfi_slo_of[name], memory_order_acquire);
    for (const objective *o; at; at = o->next) {
        o = &objectives[at - 1];
        bool late = duration_ns >
                    atomic_load_explicit(&o->limit_ns, memory_order_relaxed);
        if (!atomic_load_explicit(&o->on, memory_order_relaxed) ||
            (status == PERF_STATUS_CANCELLED && !late))
            continue;
        perf_metric_add(o->calls, 1);
        if (late || status == PERF_STATUS_ERROR)
            perf_metric_add(o->bad, 1);
    }
}

/* Under the lock. */
static objective *
find(uint32_t name, uint32_t calls, uint32_t bad)
{
    uint16_t at =
        atomic_load_explicit(&perfi_slo_of[name], memory_order_relaxed);
    for (; at; at = objectives[at - 1].next)
        if (objectives[at - 1].calls == calls && objectives[at - 1].bad == bad)
            return &objectives[at - 1];
    return NULL;
}

static void
set_limit(objective *o, uint64_t limit_ns)
{
    atomic_store_explicit(&o->limit_ns, limit_ns, memory_order_relaxed);
    atomic_store_explicit(&o->on, true, memory_order_relaxed);
}

static perf_err
add(uint32_t name, uint64_t limit_ns, uint32_t calls, uint32_t bad)
{
    if (used == PERF_SLOS_MAX)
        return PERF_ERR_FULL;
    objective *o = &objectives[used++];
    o->calls = calls;
    o->bad = bad;
    o->next = atomic_load_explicit(&perfi_slo_of[name], memory_order_relaxed);
    set_limit(o, limit_ns);
    atomic_store_explicit(&perfi_slo_of[name], used, memory_order_release);
    return PERF_OK;
}

perf_err
perf_slo_set(uint32_t name, uint64_t limit_ns, uint32_t calls, uint32_t bad)
{
    if (name >= PERF_NAMES_MAX || perf_name_kind(name) > PERF_KIND_REQUEST ||
        perf_name_kind(calls) != PERF_KIND_COUNTER ||
        perf_name_kind(bad) != PERF_KIND_COUNTER || calls == bad)
        return PERF_ERR_INVALID;
    perf_err err = PERF_OK;
    pthread_mutex_lock(&perfi_segment_state.lock);
    objective *o = find(name, calls, bad);
    if (o)
        set_limit(o, limit_ns);
    else
        err = add(name, limit_ns, calls, bad);
    pthread_mutex_unlock(&perfi_segment_state.lock);
    return err;
}

void
perf_slo_remove(uint32_t calls)
{
    pthread_mutex_lock(&perfi_segment_state.lock);
    for (uint16_t i = 0; i < used; i++)
        if (objectives[i].calls == calls)
            atomic_store_explicit(&objectives[i].on, false,
                                  memory_order_relaxed);
    pthread_mutex_unlock(&perfi_segment_state.lock);
}
