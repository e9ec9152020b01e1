/* otlp_lines.c - log lines that wait for their span: a line is written while
 * the span is open, and is an event of it once it has ended.
 *
 * A ring of places, and chains by span. A line whose span was exported before
 * it was found (they lie in the rings of two threads), or whose record is lost,
 * waits in vain: it is known by its span not being open any more. */
#include "otlp.h"

#include <stdlib.h>

enum {
    GONE = 2
}; /* copies in which the span was not open: between two looks
      at a segment a span may be in neither */

static uint32_t *
chain_of(perfi_lines *lines, uint64_t span)
{
    return &lines->chain[span * UINT64_C(0x9E3779B97F4A7C15) >> 54];
}

void
perfi_line_free(perf_otlp *o, perfi_line *line)
{
    perfi_lines *lines = &o->lines;
    uint32_t number = (uint32_t)(line - lines->line) + 1;
    uint32_t *at = chain_of(lines, line->span);
    while (*at != number)
        at = &lines->line[*at - 1].next;
    *at = line->next;
    line->span = 0;
    lines->waiting--;
}

bool
perfi_lines_add(perf_otlp *o, const perfi_line *line)
{
    _Static_assert(PERFI_LINES == 1 << (64 - 54), "the shift above");
    perfi_lines *lines = &o->lines;
    if (!lines->line)
        lines->line =
            o->allocator->alloc(PERFI_LINES * sizeof *line, o->allocator->ctx);
    if (!lines->line)
        return false;
    uint32_t place = (uint32_t)(lines->added++ % PERFI_LINES);
    perfi_line *to = &lines->line[place];
    if (to->span) {
        o->evicted = *to;
        perfi_line_free(o, to);
    }
    uint32_t *chain = chain_of(lines, line->span);
    *to = *line;
    to->next = *chain;
    to->gone = 0;
    *chain = place + 1;
    lines->waiting++;
    return true;
}

/* The chain gives the latest first. */
static void
insert(perfi_view *v, const perfi_line *line)
{
    if (v->events == PERFI_EVENTS) { /* the first ones are kept */
        v->events_dropped++;
        v->events--;
        if (v->event[v->events]->time_ns <= line->time_ns) {
            v->events++;
            return;
        }
    }
    uint32_t at = v->events++;
    for (; at && v->event[at - 1]->time_ns > line->time_ns; at--)
        v->event[at] = v->event[at - 1];
    v->event[at] = line;
}

void
perfi_lines_find(perf_otlp *o, perfi_view *v)
{
    perfi_lines *lines = &o->lines;
    if (!lines->waiting)
        return;
    uint64_t span = v->record->id;
    for (uint32_t n = *chain_of(lines, span); n; n = lines->line[n - 1].next)
        if (lines->line[n - 1].span == span)
            insert(v, &lines->line[n - 1]);
}

uint32_t
perfi_lines_free(perf_otlp *o, uint64_t span)
{
    perfi_lines *lines = &o->lines;
    uint32_t before = lines->waiting;
    if (!before)
        return 0;
    for (uint32_t n = *chain_of(lines, span); n;) {
        perfi_line *line = &lines->line[n - 1];
        n = line->next;
        if (line->span == span)
            perfi_line_free(o, line);
    }
    return before - lines->waiting;
}

/* ---- spans that do not come ---- */

static int
by_id(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Sorted ids of open spans. NULL: no memory. */
static uint64_t *
open_spans(perf_otlp *o, size_t *count, size_t *room)
{
    const perf_allocator *a = o->allocator;
    size_t n = perf_reader_open_spans(o->reader, NULL, 0);
    perf_record *record = a->alloc((n + 1) * sizeof *record, a->ctx);
    uint64_t *id = a->alloc((n + 1) * sizeof *id, a->ctx);
    size_t found =
        record && id ? perf_reader_open_spans(o->reader, record, n) : 0;
    *count = found < n ? found : n;
    *room = (n + 1) * sizeof *id;
    for (size_t i = 0; record && id && i < *count; i++)
        id[i] = record[i].id;
    bool whole = record && id;
    a->free(record, (n + 1) * sizeof *record, a->ctx);
    if (whole)
        qsort(id, *count, sizeof *id, by_id);
    else {
        a->free(id, *room, a->ctx);
        id = NULL;
    }
    return id;
}

void
perfi_lines_settle(perf_otlp *o)
{
    perfi_lines *lines = &o->lines;
    size_t n, room;
    if (!lines->waiting)
        return;
    uint64_t *id = open_spans(o, &n, &room);
    if (!id)
        return;
    for (uint32_t i = 0; i < PERFI_LINES; i++) {
        perfi_line *line = &lines->line[i];
        bool open =
            line->span && bsearch(&line->span, id, n, sizeof *id, by_id);
        line->gone = open || !line->span ? 0 : (uint16_t)(line->gone + 1);
    }
    o->allocator->free(id, room, o->allocator->ctx);
}

perfi_line *
perfi_lines_orphan(perf_otlp *o, bool all)
{
    perfi_lines *lines = &o->lines;
    for (uint32_t i = 0; lines->waiting && i < PERFI_LINES; i++) {
        perfi_line *line = &lines->line[(lines->added + i) % PERFI_LINES];
        if (line->span && (all || line->gone >= GONE))
            return line;
    }
    return NULL;
}

void
perfi_lines_destroy(perf_otlp *o)
{
    o->allocator->free(o->lines.line, PERFI_LINES * sizeof *o->lines.line,
                       o->allocator->ctx);
}
