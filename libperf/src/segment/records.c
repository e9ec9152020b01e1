/* records.c - walks the rings: each finished record once, losses counted. */
#include "reader.h"

#include <string.h>

enum { CHUNK_HEAD = sizeof(perfi_ring_chunk) };

/* ---- from the file's form to the public one ---- */

/* Writes what is in the ring at `from` to out[n], if it is of its kind. */
typedef bool (*take_fn)(const perf_reader *r, uint32_t block,
                        const perfi_record *from, void *out, size_t n);

static bool
take_record(const perf_reader *r, uint32_t block, const perfi_record *from,
            void *out, size_t n)
{
    (void)block;
    if (from->type != PERF_RECORD_SPAN && from->type != PERF_RECORD_LOG)
        return false;
    perf_record *to = (perf_record *)out + n;
    uint32_t cells = from->units - (uint32_t)sizeof *from / PERFI_UNIT;
    *to = (perf_record){
        .type = from->type,
        .status = from->status,
        .name = from->name,
        .attributes = from->attributes,
        .start_ns = perfi_reader_ns(r, from->start_ticks),
        .end_ns = perfi_reader_ns(r, from->end_ticks),
        .id = from->id,
        .parent = from->parent,
        .trace_hi = from->trace_hi,
        .trace_lo = from->trace_lo,
        .task = from->task,
        .thread = from->thread,
    };
    if (cells > PERFI_CELLS)
        cells = PERFI_CELLS;
    memcpy(to->cells, from + 1, cells * PERFI_UNIT);
    return true;
}

static bool
take_event(const perf_reader *r, uint32_t block, const perfi_record *from,
           void *out, size_t n)
{
    if (from->type != PERF_RECORD_EVENT)
        return false;
    const perfi_event *e = (const void *)from;
    ((perf_event *)out)[n] = (perf_event){
        .code = e->code,
        .block = (uint16_t)block,
        .arg = e->arg,
        .time_ns =
            e->flags & PERFI_EVENT_NS ? e->ticks : perfi_reader_ns(r, e->ticks),
        .cpu_ns = e->cpu_ns,
        .span = e->span,
        .key = e->key,
        .more = e->more,
    };
    return true;
}

/* The attribute whose first cell is `place` of the record; its further cells
 * are there. */
static bool
unpack(const unsigned char *place, const perfi_cell *cell, perf_attribute *out)
{
    uint32_t room = (uint32_t)sizeof cell->value + cell->more * PERFI_UNIT;
    *out = (perf_attribute){.key = cell->key, .type = cell->type};
    switch (cell->type) {
    case PERF_ATTRIBUTE_INT: out->int_value = (int64_t)cell->value; return true;
    case PERF_ATTRIBUTE_FLOAT:
        memcpy(&out->float_value, &cell->value, sizeof out->float_value);
        return true;
    case PERF_ATTRIBUTE_NAME: out->name = (uint32_t)cell->value; return true;
    case PERF_ATTRIBUTE_TEXT:
        out->text = (const char *)place + offsetof(perfi_cell, value);
        out->length = cell->length < room ? cell->length : room;
        return true;
    default: return false;
    }
}

/* The cell at `at`, if all of its attribute lies in the record. */
static bool
cell_at(const perf_record *record, uint32_t at, perfi_cell *out)
{
    if (at >= PERFI_CELLS)
        return false;
    memcpy(out, record->cells + at * PERFI_UNIT, sizeof *out);
    return at + 1u + out->more <= PERFI_CELLS;
}

bool
perf_record_attribute(const perf_record *record, uint32_t index,
                      perf_attribute *out)
{
    perfi_cell cell;
    if (!record || !out || index >= record->attributes)
        return false;
    for (uint32_t i = 0, at = 0; cell_at(record, at, &cell); i++) {
        if (i == index)
            return unpack(record->cells + at * PERFI_UNIT, &cell, out);
        at += 1u + cell.more;
    }
    return false;
}

uint32_t
perf_record_attributes(const perf_record *record, perf_attribute *out,
                       uint32_t capacity)
{
    uint32_t found = 0;
    perfi_cell cell;
    if (!record || !out)
        return 0;
    for (uint32_t i = 0, at = 0; i < record->attributes && found < capacity &&
                                 cell_at(record, at, &cell);
         i++) {
        found += unpack(record->cells + at * PERFI_UNIT, &cell, &out[found]);
        at += 1u + cell.more;
    }
    return found;
}

/* ---- rings ---- */

typedef struct ring {
    uint64_t last;     /* number of the chunk that was being written */
    uint32_t last_end; /* and how far it is whole */
    uint64_t oldest;   /* number of the oldest that is still there */
} ring;

static bool
look(const perf_reader *r, const perfi_image_block *at, ring *out)
{
    const perfi_image_head *head = &at->head;
    if (!head->chunks)
        return false;
    *out = (ring){.last = perfi_head_chunk(head->before)};
    out->last_end = (uint32_t)(head->before - out->last * PERFI_CHUNK);
    uint64_t newest = perfi_head_chunk(head->after);
    if (newest < out->last)
        newest = out->last;
    /* a ring that grew while it was copied has written over nothing */
    out->oldest = perfi_oldest_chunk(newest, head->chunks_after);
    /* whatever the heads say: no ring has more chunks than the file */
    uint64_t most = r->image.size / PERFI_CHUNK;
    if (out->last >= most && out->oldest <= out->last - most)
        out->oldest = out->last - most + 1;
    return true;
}

/* Go on at the first chunk from at->chunk on that may still be had: one that a
 * trace file has kept, or one of the ring. Its bytes, or NULL. */
static const unsigned char *
next_chunk(const perf_reader *r, const perfi_image_block *b, const ring *in,
           perfi_image_cursor *at)
{
    const perfi_ring_chunk *kept = NULL;
    if (at->chunk < in->oldest) {
        kept = perfi_chunk_kept(&r->image, b->offset, at->chunk);
        uint64_t number = kept ? perfi_get(&kept->number) : in->oldest;
        if (number >= in->oldest) {
            number = in->oldest;
            kept = NULL;
        }
        if (number != at->chunk)
            at->place = 0;
        at->chunk = number;
    }
    return kept ? (const void *)kept
                : perfi_chunk_in_ring(&r->image, b, at->chunk);
}

/* What is read: which kind, and where it goes. */
typedef struct sink {
    take_fn take;
    bool events; /* those, or all other records */
    void *out;
    size_t n, capacity;
} sink;

/* Count what was skipped before this chunk; start at its first record. */
static void
enter_chunk(perfi_image_cursor *at, const unsigned char *bytes, bool events)
{
    const perfi_ring_chunk *chunk = (const void *)bytes;
    uint64_t first = perfi_get(&chunk->events);
    if (!events)
        first = perfi_get(&chunk->first) - first;
    if (first > at->record)
        at->lost += first - at->record;
    at->record = first;
    at->place = CHUNK_HEAD;
}

static uint32_t
least_units(uint8_t type)
{
    switch (type) {
    case PERF_RECORD_SPAN:
    case PERF_RECORD_LOG: return sizeof(perfi_record) / PERFI_UNIT;
    case PERF_RECORD_EVENT: return sizeof(perfi_event) / PERFI_UNIT;
    default: return 1; /* of a later version: skipped */
    }
}

static const perfi_record *
record_at(const unsigned char *bytes, uint32_t place, uint32_t end)
{
    const perfi_record *record = (const void *)(bytes + place);
    if (place + PERFI_UNIT > end || record->units < least_units(record->type) ||
        place + record->units * (uint32_t)PERFI_UNIT > end)
        return NULL;
    return record;
}

static void
read_chunk(const perf_reader *r, uint32_t block, perfi_image_cursor *at,
           const unsigned char *bytes, uint32_t end, sink *to)
{
    const perfi_record *record;
    while (to->n < to->capacity &&
           (record = record_at(bytes, at->place, end))) {
        at->place += record->units * (uint32_t)PERFI_UNIT;
        at->record += (record->type == PERF_RECORD_EVENT) == to->events;
        to->n += to->take(r, block, record, to->out, to->n);
    }
}

static void
read_block(const perf_reader *r, uint32_t block, perfi_image_cursor *at,
           sink *to)
{
    const perfi_image_block *b = &r->block[block];
    ring in;
    if (!look(r, b, &in))
        return;
    while (to->n < to->capacity) {
        const unsigned char *bytes = next_chunk(r, b, &in, at);
        if (at->chunk > in.last)
            break; /* it was written over before it was whole here */
        uint32_t end = at->chunk == in.last ? in.last_end : PERFI_CHUNK;
        if (bytes) {
            if (!at->place)
                enter_chunk(at, bytes, to->events);
            read_chunk(r, block, at, bytes, end, to);
            if (to->n == to->capacity)
                break; /* perhaps not at the end of it */
        }
        if (at->chunk == in.last)
            break; /* more will come here */
        at->chunk++;
        at->place = 0;
    }
}

size_t
perf_reader_records(perf_reader *r, perf_record *out, size_t capacity)
{
    sink to = {take_record, false, out, 0, capacity};
    for (uint32_t i = 0; r && out && i < r->blocks; i++)
        read_block(r, i, &r->block[i].records, &to);
    return to.n;
}

size_t
perf_reader_events(perf_reader *r, perf_event *out, size_t capacity)
{
    sink to = {take_event, true, out, 0, capacity};
    if (r && r->image.place)
        return 0; /* of the rings there is at most what is new to records() */
    for (uint32_t i = 0; r && out && i < r->blocks; i++)
        read_block(r, i, &r->block[i].events, &to);
    return to.n;
}

uint64_t
perf_reader_lost(const perf_reader *r)
{
    uint64_t lost = 0;
    for (uint32_t i = 0; r && i < r->blocks; i++)
        lost += r->block[i].records.lost;
    return lost;
}

uint64_t
perf_reader_events_lost(const perf_reader *r)
{
    uint64_t lost = 0;
    for (uint32_t i = 0; r && i < r->blocks; i++)
        lost += r->block[i].events.lost;
    return lost;
}

/* ---- open spans ---- */

static void
convert_open(const perf_reader *r, const perfi_block *b, const perfi_slot *from,
             perf_record *to)
{
    uint32_t cells = atomic_load_explicit(&from->cells, memory_order_acquire);
    uint32_t attributes = perfi_attributes_all(
        atomic_load_explicit(&from->attributes, memory_order_relaxed));
    uint32_t most = PERF_SPAN_ATTRIBUTES_MAX + PERF_SPAN_SUMS_MAX;
    *to = (perf_record){
        .type = PERF_RECORD_SPAN,
        .name = atomic_load_explicit(&from->name, memory_order_relaxed),
        .attributes = attributes < most ? attributes : most,
        .start_ns = perfi_reader_ns(r, perfi_get(&from->start_ticks)),
        .id = perfi_get(&from->id),
        .parent = perfi_get(&from->parent),
        .trace_hi = perfi_get(&from->trace_hi),
        .trace_lo = perfi_get(&from->trace_lo),
        .task = atomic_load_explicit(&from->task, memory_order_relaxed),
        .thread = atomic_load_explicit(&b->thread, memory_order_relaxed),
    };
    if (cells > PERFI_CELLS)
        cells = PERFI_CELLS;
    memcpy(to->cells, from->cell, cells * PERFI_UNIT);
}

static size_t
read_group(const perf_reader *r, const perfi_block *b, uint32_t group,
           perf_record *out, size_t n, size_t capacity)
{
    uint32_t offset =
        atomic_load_explicit(&b->groups[group], memory_order_acquire);
    const perfi_slot *slot = perfi_image_at(
        &r->image, offset, PERFI_GROUP_SLOTS * sizeof(perfi_slot));
    for (uint32_t i = 0; slot && i < PERFI_GROUP_SLOTS; i++) {
        if (!atomic_load_explicit(&slot[i].id, memory_order_acquire))
            continue;
        if (out && n < capacity)
            convert_open(r, b, &slot[i], &out[n]);
        n++;
    }
    return n;
}

size_t
perf_reader_open_spans(const perf_reader *r, perf_record *out, size_t capacity)
{
    size_t n = 0;
    for (uint32_t i = 0; r && i < r->blocks; i++) {
        const perfi_block *b =
            perfi_image_at(&r->image, r->block[i].offset, sizeof *b);
        for (uint32_t g = 0; b && g < PERFI_SLOT_GROUPS; g++)
            n = read_group(r, b, g, out, n, capacity);
    }
    return n;
}
