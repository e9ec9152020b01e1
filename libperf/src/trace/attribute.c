/* attribute.c - attributes of an open span, packed into its slot; log lines.
 *
 * An attribute is a 16-byte cell; a text goes on in the cells behind it. The
 * slot's count of cells grows last, so that whoever looks at an open span
 * from outside finds only whole attributes. */
#include "attribute.h"

#include "../base/clock.h"
#include "../base/text.h"
#include "../segment/ring.h"
#include "../segment/slot.h"

#include <string.h>

/* NULL also when another process began the span. */
static perfi_slot *
slot_of(const perf_span *span)
{
    const perfi_segment *s = &perfi_segment_state;
    if (!span->id || span->process != s->process || !s->base)
        return NULL;
    return perfi_slot_of(span->slot, span->id);
}

static bool
drop(void)
{
    perfi_thread *t = perfi_thread_get();
    if (t)
        perfi_add(&t->block->dropped_attributes, 1);
    else
        perfi_count_lost(PERFI_LOST_ATTRIBUTE);
    return false;
}

/* How many bytes of a text fit into a cell and `more` behind it. */
static size_t
text_room(uint32_t cells)
{
    return cells ? sizeof(uint64_t) + (cells - 1) * (size_t)PERFI_UNIT : 0;
}

static uint32_t
text_cells(size_t length)
{
    size_t first = sizeof(uint64_t);
    return 1 + (uint32_t)(length > first
                              ? (length - first + PERFI_UNIT - 1) / PERFI_UNIT
                              : 0);
}

/* Pack one attribute at `place`; `text` NULL: the value is in the cell. */
static void
pack(void *place, perfi_cell cell, const char *text, size_t length)
{
    if (text) {
        cell.length = (uint16_t)length;
        cell.more = (uint8_t)(text_cells(length) - 1);
        cell.value = 0;
        memset((unsigned char *)place + PERFI_UNIT, 0,
               (size_t)cell.more * PERFI_UNIT);
    }
    memcpy(place, &cell, sizeof cell);
    if (text)
        memcpy((unsigned char *)place + offsetof(perfi_cell, value), text,
               length);
}

static bool
attach(const perf_span *span, perfi_cell cell, const char *text, size_t length)
{
    if (!span->id)
        return false;
    perfi_slot *slot = slot_of(span);
    if (!slot || cell.key >= PERF_NAMES_MAX)
        return drop();
    uint32_t used = atomic_load_explicit(&slot->cells, memory_order_relaxed);
    uint32_t n = atomic_load_explicit(&slot->attributes, memory_order_relaxed);
    if (perfi_attributes_all(n) - perfi_attributes_sums(n) ==
            PERF_SPAN_ATTRIBUTES_MAX ||
        used == PERFI_CELLS)
        return drop();
    size_t kept = 0;
    if (text) {
        size_t room = text_room(PERFI_CELLS - used);
        kept = perfi_text_cut(text, length, PERF_TEXT_MAX_BYTES);
        kept = perfi_text_cut(text, kept, room);
    }
    pack(&slot->cell[used], cell, text, kept);
    uint32_t cells = used + (text ? text_cells(kept) : 1);
    atomic_store_explicit(&slot->attributes, n + 1, memory_order_relaxed);
    atomic_store_explicit(&slot->cells, cells, memory_order_release);
    if (kept < length && text) {
        perfi_thread *t = perfi_thread_get();
        if (t)
            perfi_add(&t->block->cut_texts, 1);
        return false;
    }
    return true;
}

bool
perf_span_set_int(perf_span span, uint32_t key, int64_t value)
{
    perfi_cell cell = {.key = key, .type = PERF_ATTRIBUTE_INT};
    cell.value = (uint64_t)value;
    return attach(&span, cell, NULL, 0);
}

/* The int under a key, NULL: there is none. */
static perfi_cell *
find_int(perfi_slot *slot, uint32_t key, uint32_t cells)
{
    for (uint32_t i = 0; i < cells; i += 1u + slot->cell[i].more)
        if (slot->cell[i].key == key &&
            slot->cell[i].type == PERF_ATTRIBUTE_INT)
            return &slot->cell[i];
    return NULL;
}

bool
perf_span_add_int(perf_span span, uint32_t key, int64_t amount)
{
    perfi_slot *slot = slot_of(&span);
    if (!slot || key >= PERF_NAMES_MAX)
        return false;
    uint32_t used = atomic_load_explicit(&slot->cells, memory_order_relaxed);
    uint32_t n = atomic_load_explicit(&slot->attributes, memory_order_relaxed);
    perfi_cell *cell = find_int(slot, key, used);
    if (cell) {
        int64_t sum;
        if (__builtin_add_overflow((int64_t)cell->value, amount, &sum))
            sum = amount < 0 ? INT64_MIN : INT64_MAX;
        cell->value = (uint64_t)sum;
        return true;
    }
    if (perfi_attributes_sums(n) == PERF_SPAN_SUMS_MAX || used == PERFI_CELLS)
        return false;
    perfi_cell fresh = {.key = key, .type = PERF_ATTRIBUTE_INT};
    fresh.value = (uint64_t)amount;
    pack(&slot->cell[used], fresh, NULL, 0);
    atomic_store_explicit(&slot->attributes, n + PERFI_ONE_SUM,
                          memory_order_relaxed);
    atomic_store_explicit(&slot->cells, used + 1, memory_order_release);
    return true;
}

bool
perf_span_set_float(perf_span span, uint32_t key, double value)
{
    perfi_cell cell = {.key = key, .type = PERF_ATTRIBUTE_FLOAT};
    memcpy(&cell.value, &value, sizeof value);
    return attach(&span, cell, NULL, 0);
}

bool
perf_span_set_text(perf_span span, uint32_t key, const char *text,
                   size_t length)
{
    perfi_cell cell = {.key = key, .type = PERF_ATTRIBUTE_TEXT};
    return attach(&span, cell, text ? text : "", text ? length : 0);
}

bool
perf_span_set_name(perf_span span, uint32_t key, uint32_t text)
{
    perfi_cell cell = {.key = key, .type = PERF_ATTRIBUTE_NAME};
    cell.value = text;
    return attach(&span, cell, NULL, 0);
}

void
perfi_attribute_note_pause(const perf_span *span, uint64_t paused_ns)
{
    static _Atomic uint32_t key; /* relaxed: interning twice is the same name */
    static const char text[] = "paused_ns";
    uint32_t name = atomic_load_explicit(&key, memory_order_relaxed);
    if (!name) {
        name = perf_name(PERF_KIND_KEY, text, sizeof text - 1);
        atomic_store_explicit(&key, name, memory_order_relaxed);
    }
    perf_span_set_int(*span, name, (int64_t)paused_ns);
}

bool
perf_span_log(perf_span span, uint32_t level, const char *text, size_t length)
{
    perfi_thread *t = perfi_thread_get();
    if (!text)
        length = 0;
    size_t kept =
        length ? perfi_text_cut(text, length, PERF_TEXT_MAX_BYTES) : 0;
    size_t bytes = sizeof(perfi_record) + text_cells(kept) * PERFI_UNIT;
    perfi_record *r = t ? perfi_ring_reserve(t, bytes) : NULL;
    if (!r) {
        if (t)
            perfi_add(&t->block->dropped_records, 1);
        else
            perfi_count_lost(PERFI_LOST_RECORD);
        return false;
    }
    uint64_t now = perfi_clock_ticks();
    *r = (perfi_record){
        .type = PERF_RECORD_LOG,
        .units = (uint8_t)(bytes / PERFI_UNIT),
        .status = (uint8_t)(level < 255 ? level : 255),
        .attributes = 1,
        .name = span.name,
        .start_ticks = now,
        .end_ticks = now,
        .parent = span.id,
        .trace_hi = span.trace_hi,
        .trace_lo = span.trace_lo,
        .task = span.task,
        .thread = t->id,
    };
    perfi_cell cell = {.type = PERF_ATTRIBUTE_TEXT};
    pack(r + 1, cell, kept ? text : "", kept);
    perfi_ring_commit(t, bytes);
    if (kept == length)
        return true;
    perfi_add(&t->block->cut_texts, 1);
    return false;
}
