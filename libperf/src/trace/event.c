/* event.c - writes what schedulers do into the rings, between the records. */
#define _GNU_SOURCE
#include "event.h"

#include "../base/clock.h"
#include "../segment/ring.h"
#include "memory.h"

#include <time.h>

/* Between two reads of a thread's CPU time, as a part of a second: 50 us. It is
 * a system call, several times an event's own cost. */
enum { CPU_READS_PER_S = 20000, MEMORY_READS_PER_S = 1000 };

/* Tests; both 0: the real clocks. Relaxed: whoever sets the time while others
 * write does not care which of the two times they take. */
static _Atomic uint64_t given_ns, given_cpu_ns;

static bool
is_given(uint64_t *now_ns, uint64_t *cpu_ns)
{
    *now_ns = atomic_load_explicit(&given_ns, memory_order_relaxed);
    *cpu_ns = atomic_load_explicit(&given_cpu_ns, memory_order_relaxed);
    return __builtin_expect(*now_ns || *cpu_ns, 0);
}

/* Samples and the like may come while nothing else is written, and often: they
 * bring no readings of CPU time and memory with them. */
static bool
is_sample(perf_event_code code)
{
    return code >= PERF_EVENT_SAMPLE && code <= PERF_EVENT_STALL;
}

/* The CPU time of this thread, when it is time to read it again; else 0. */
static uint64_t
cpu_ns_now(perfi_thread *t, uint64_t ticks)
{
    if (ticks - t->cpu_read_at <
        perfi_clock_state.anchor_ticks / CPU_READS_PER_S)
        return 0;
    struct timespec used;
    t->cpu_read_at = ticks;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

/* Whether this thread is to say how much memory there is. */
static bool
is_memory_due(uint64_t ticks)
{
    static _Atomic uint64_t read_at; /* relaxed: two threads may both read */
    if (ticks - atomic_load_explicit(&read_at, memory_order_relaxed) <
        perfi_clock_state.anchor_ticks / MEMORY_READS_PER_S)
        return false;
    atomic_store_explicit(&read_at, ticks, memory_order_relaxed);
    return true;
}

static void
write_event(perfi_thread *t, perfi_event event)
{
    perfi_event *e = perfi_ring_reserve(t, sizeof *e);
    if (!e) {
        perfi_add(&t->block->dropped_records, 1);
        return;
    }
    *e = event;
    t->event_records++;
    perfi_ring_commit(t, sizeof *e);
}

void
perfi_event_write(perfi_thread *t, perf_event_code code, uint32_t arg,
                  uint64_t span, uint64_t key, uint64_t more)
{
    uint64_t time, cpu_ns, ticks = perfi_clock_ticks();
    bool given = is_given(&time, &cpu_ns);
    if (!given) {
        time = ticks;
        cpu_ns = is_sample(code) ? 0 : cpu_ns_now(t, ticks);
    }
    perfi_event event = {
        .type = PERF_RECORD_EVENT,
        .units = sizeof event / PERFI_UNIT,
        .code = (uint8_t)code,
        .flags = given ? PERFI_EVENT_NS : 0,
        .arg = arg,
        .ticks = time,
        .cpu_ns = cpu_ns,
        .span = span,
        .key = key,
        .more = more,
    };
    /* the first event of a thread says who it is */
    if (cpu_ns && code != PERF_EVENT_THREAD && !is_sample(code) &&
        is_memory_due(ticks)) {
        perfi_event memory = event;
        memory.code = PERF_EVENT_MEMORY;
        memory.arg = 0;
        memory.key = 0;
        memory.more = perfi_memory_resident();
        write_event(t, memory);
    }
    write_event(t, event);
}

uint64_t
perfi_event_ticks(uint64_t ticks)
{
    uint64_t now_ns, cpu_ns;
    return is_given(&now_ns, &cpu_ns) ? perf_clock_ns_to_ticks(now_ns) : ticks;
}

void
perf_event_write(perf_event_code code, uint32_t arg, uint64_t span,
                 uint64_t key, uint64_t more)
{
    perfi_thread *t = perfi_thread_get();
    if (t)
        perfi_event_write(t, code, arg, span, key, more);
    else
        perfi_count_lost(PERFI_LOST_RECORD);
}

uint64_t
perf_event_new_id(void)
{
    static _Atomic uint64_t newest; /* relaxed: only that they differ counts */
    return atomic_fetch_add_explicit(&newest, 1, memory_order_relaxed) + 1;
}

void
perf_events_switch(bool on)
{
    perfi_threads_switch_events(on);
}

void
perf_events_set_time(uint64_t now_ns, uint64_t cpu_ns)
{
    atomic_store_explicit(&given_ns, now_ns, memory_order_relaxed);
    atomic_store_explicit(&given_cpu_ns, cpu_ns, memory_order_relaxed);
    /* spans keep ticks: what a second is must not change in virtual time */
    atomic_store_explicit(&perfi_clock_state.held, now_ns || cpu_ns,
                          memory_order_relaxed);
}
