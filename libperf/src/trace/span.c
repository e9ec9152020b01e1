/* span.c - begin and end: two reads of the clock and what hides behind them.
 *
 * The handle carries everything a record needs, so a span can end in another
 * thread, and without a slot. The slot is for those who look from outside, and
 * for attributes. */
#include "../base/clock.h"
#include "../segment/ring.h"
#include "../segment/series.h"
#include "../segment/slot.h"
#include "attribute.h"
#include "event.h"
#include "slo.h"

#include <string.h>

/* A bijection that makes a counter look random (splitmix64: Steele, Lea, Flood,
 * OOPSLA 2014): samplers of the lower half of a trace id expect that. */
static uint64_t
mix(uint64_t z)
{
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

/* Make the span visible, all but the id that says so. */
static inline perfi_slot *
fill_slot(perfi_thread *t, const perf_span *span)
{
    perfi_slot *slot = perfi_slot_take(t);
    if (__builtin_expect(!slot, 0)) {
        perfi_add(&t->block->spans_unseen, 1);
        return NULL;
    }
    perfi_set(&slot->parent, span->parent);
    perfi_set(&slot->trace_hi, span->trace_hi);
    perfi_set(&slot->trace_lo, span->trace_lo);
    atomic_store_explicit(&slot->name, span->name, memory_order_relaxed);
    atomic_store_explicit(&slot->task, span->task, memory_order_relaxed);
    atomic_store_explicit(&slot->cells, 0, memory_order_relaxed);
    atomic_store_explicit(&slot->attributes, 0, memory_order_relaxed);
    return slot;
}

static inline void
show_slot(perfi_slot *slot, const perf_span *span)
{
    perfi_set(&slot->start_ticks, span->start_ticks);
    /* release: the fields are there before the id says so */
    atomic_store_explicit(&slot->id, span->id, memory_order_release);
}

/* Everything but the start. Inlined, so that the fields stay in registers:
 * a struct written in halves and read back whole would stall. */
static inline __attribute__((always_inline)) perf_span
identify(perfi_thread *t, uint32_t name, const perf_span *parent, uint32_t task)
{
    /* Weyl sequence: a thread's ids repeat after 2^64, two threads' seeds are
     * random; the one id that is 0 would be a span unrecorded */
    uint64_t id = t->next_id += UINT64_C(0x9E3779B97F4A7C15);
    bool root = !parent->id;
    return (perf_span){
        .trace_hi =
            root ? perfi_segment_state.header->trace_hi : parent->trace_hi,
        .trace_lo = root ? mix(id) : parent->trace_lo,
        .id = id,
        .parent = parent->id,
        .name = name < PERF_NAMES_MAX ? name : PERF_KIND_SPAN,
        .task = task,
        .process = perfi_segment_state.process,
    };
}

static inline bool
has_events(const perfi_thread *t)
{
    return atomic_load_explicit(&t->events, memory_order_relaxed);
}

__attribute__((cold)) static perf_span
nothing(void)
{
    perfi_count_lost(PERFI_LOST_RECORD);
    perfi_count_lost(PERFI_LOST_VALUE); /* its latency */
    return (perf_span){0};
}

/* For the first time in this thread, or with an event. */
__attribute__((cold, noinline)) static perf_span
begin_specially(uint32_t name, const perf_span *parent, uint32_t task,
                uint64_t start_ticks)
{
    perfi_thread *t = perfi_thread_find();
    if (!t)
        return nothing();
    bool events = has_events(t);
    perf_span span = identify(t, name, parent, task);
    perfi_slot *slot = fill_slot(t, &span);
    span.slot = slot ? perfi_offset(slot) : 0;
    span.start_ticks = events ? perfi_event_ticks(start_ticks) : start_ticks;
    if (slot)
        show_slot(slot, &span);
    if (events)
        perfi_event_write(t, PERF_EVENT_SPAN_BEGIN, span.name, span.parent,
                          span.id, span.parent);
    return span;
}

perf_span
perf_span_begin(uint32_t name, perf_span parent)
{
    perfi_thread *t = perfi_thread_get_plain();
    if (__builtin_expect(!t, 0))
        return begin_specially(name, &parent, parent.task, perfi_clock_ticks());
    perf_span span = identify(t, name, &parent, parent.task);
    perfi_slot *slot = fill_slot(t, &span);
    span.slot = slot ? perfi_offset(slot) : 0;
    /* the clock last: what we do is not the user's time */
    span.start_ticks = perfi_clock_ticks();
    if (slot)
        show_slot(slot, &span);
    return span;
}

perf_span
perf_span_begin_at(uint32_t name, perf_span parent, uint32_t task,
                   uint64_t start_ticks)
{
    perfi_thread *t = perfi_thread_get_plain();
    if (__builtin_expect(!t, 0))
        return begin_specially(name, &parent, task, start_ticks);
    perf_span span = identify(t, name, &parent, task);
    perfi_slot *slot = fill_slot(t, &span);
    span.slot = slot ? perfi_offset(slot) : 0;
    span.start_ticks = start_ticks;
    if (slot)
        show_slot(slot, &span);
    return span;
}

__attribute__((cold)) static void
add_quantities(perfi_series *s, const perfi_slot *slot, uint32_t cells)
{
    for (uint32_t i = 0; i < cells;) {
        const perfi_cell *cell = &slot->cell[i];
        if (cell->type == PERF_ATTRIBUTE_INT && (int64_t)cell->value > 0 &&
            perf_name_kind(cell->key) == PERF_KIND_QUANTITY)
            perfi_series_add_quantity(s, cell->key, cell->value);
        i += 1u + cell->more;
    }
}

static inline void
write_record(perfi_thread *t, const perf_span *span, perf_status status,
             uint64_t end_ticks, const perfi_slot *slot)
{
    uint32_t cells = 0, attributes = 0;
    if (slot) {
        cells = atomic_load_explicit(&slot->cells, memory_order_relaxed);
        attributes = perfi_attributes_all(
            atomic_load_explicit(&slot->attributes, memory_order_relaxed));
    }
    size_t bytes = sizeof(perfi_record) + cells * PERFI_UNIT;
    perfi_record *r = perfi_ring_reserve(t, bytes);
    if (!r) {
        perfi_add(&t->block->dropped_records, 1);
        return;
    }
    *r = (perfi_record){
        .type = PERF_RECORD_SPAN,
        .units = (uint8_t)(bytes / PERFI_UNIT),
        .status = (uint8_t)status,
        .attributes = (uint8_t)attributes,
        .name = span->name,
        .start_ticks = span->start_ticks,
        .end_ticks = end_ticks,
        .id = span->id,
        .parent = span->parent,
        .trace_hi = span->trace_hi,
        .trace_lo = span->trace_lo,
        .task = span->task,
        .thread = t->id,
    };
    if (cells)
        memcpy(r + 1, slot->cell, cells * PERFI_UNIT);
    perfi_ring_commit(t, bytes);
}

/* It ended badly, or somebody judges it. */
__attribute__((cold, noinline)) static void
count_specially(perfi_series *s, perf_status status, uint64_t duration_ns)
{
    if (status == PERF_STATUS_ERROR)
        perfi_add(&s->errors, 1);
    else if (status == PERF_STATUS_CANCELLED)
        perfi_add(&s->cancelled, 1);
    perfi_slo_count(s->name, status, duration_ns);
}

static inline void
count(perfi_thread *t, const perf_span *span, perf_status status,
      uint64_t duration_ns, const perfi_slot *slot)
{
    perfi_series *s = perfi_series_of(t, span->name);
    if (__builtin_expect(s && s->kind > PERF_KIND_REQUEST, 0))
        s = perfi_series_of(t, PERF_KIND_SPAN); /* a metric's or key's name */
    if (!s) {
        perfi_add(&t->block->dropped_values, 1);
        return;
    }
    perfi_series_record(t, s, duration_ns);
    if (__builtin_expect(status != PERF_STATUS_OK || perfi_slo_watches(s->name),
                         0))
        count_specially(s, status, duration_ns);
    uint32_t cells =
        slot ? atomic_load_explicit(&slot->cells, memory_order_relaxed) : 0;
    if (__builtin_expect(cells != 0, 0))
        add_quantities(s, slot, cells);
}

/* Acquire with release: what it needs was made before it was given. */
static _Atomic perf_span_end_fn watcher;

void
perf_spans_watch(perf_span_end_fn told)
{
    atomic_store_explicit(&watcher, told, memory_order_release);
    perfi_threads_watch_ends(told != NULL);
}

/* The thread that ends the span, which writes an event if it writes any. NULL:
 * the span cannot be ended. */
__attribute__((cold, noinline)) static perfi_thread *
find_to_end(const perf_span *span, perf_status status)
{
    perfi_thread *t = perfi_thread_find();
    if (!t) {
        perfi_count_lost(PERFI_LOST_RECORD);
        perfi_count_lost(PERFI_LOST_VALUE);
        return NULL;
    }
    if (span->slot && !perfi_slot_of(span->slot, span->id))
        return NULL; /* ended before */
    perf_span_end_fn told =
        atomic_load_explicit(&watcher, memory_order_acquire);
    if (told)
        told(*span);
    if (has_events(t))
        perfi_event_write(t, PERF_EVENT_SPAN_END, status, span->id, span->id,
                          0);
    return t;
}

static inline __attribute__((always_inline)) uint64_t
end(const perf_span *span, perf_status status, uint64_t paused_ns,
    uint64_t end_ticks)
{
    if (!span->id || span->process != perfi_segment_state.process)
        return 0; /* nothing, or inherited over a fork: the parent's to end */
    perfi_thread *t = perfi_thread_get_plain();
    if (__builtin_expect(!t, 0)) {
        t = find_to_end(span, status);
        if (!t)
            return 0;
        if (has_events(t))
            end_ticks = perfi_event_ticks(end_ticks);
    }
    perfi_slot *slot = perfi_slot_of(span->slot, span->id);
    if (__builtin_expect(span->slot && !slot, 0))
        return 0; /* ended before */
    if (end_ticks < span->start_ticks)
        end_ticks = span->start_ticks;
    uint64_t duration_ns =
        perfi_clock_duration_ns(end_ticks - span->start_ticks);
    if (__builtin_expect(paused_ns != 0, 0)) {
        duration_ns -= paused_ns < duration_ns ? paused_ns : duration_ns;
        perfi_attribute_note_pause(span, paused_ns);
    }
    count(t, span, status, duration_ns, slot);
    write_record(t, span, status, end_ticks, slot);
    if (slot) {
        /* release: we have read the slot before its owner may fill it again */
        atomic_store_explicit(&slot->id, 0, memory_order_release);
        perfi_slot_return(t, slot, span->slot);
    }
    if (__builtin_expect(end_ticks > t->sign_of_life_at, 0)) {
        /* from the clock: a given end may lie far ahead */
        t->sign_of_life_at =
            perfi_clock_ticks() + perfi_clock_state.anchor_ticks;
        perfi_segment_sign_of_life();
    }
    return duration_ns;
}

uint64_t
perf_span_end(perf_span span)
{
    return end(&span, PERF_STATUS_OK, 0, perfi_clock_ticks());
}

uint64_t
perf_span_end_as(perf_span span, perf_status status, uint64_t paused_ns)
{
    return end(&span, status, paused_ns, perfi_clock_ticks());
}

uint64_t
perf_span_end_at(perf_span span, perf_status status, uint64_t paused_ns,
                 uint64_t end_ticks)
{
    return end(&span, status, paused_ns, end_ticks);
}
