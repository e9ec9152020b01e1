/* test_drain_kit.h - what tests of the drain share: a small ring, spans that
 * are numbered, and where their trace goes. */
#ifndef TEST_DRAIN_KIT_H
#define TEST_DRAIN_KIT_H
#include "pt.h"

#include "segment/layout.h"

#include <libperf/drain.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    PER_CHUNK = (PERFI_CHUNK - sizeof(perfi_ring_chunk)) / sizeof(perfi_record),
    RING = 4 /* chunks */
};

static char folder[PT_PATH], trace[PT_PATH + 16]; /* where traces go */

static inline void
choose_folder(void)
{
    pt_folder(folder);
    snprintf(trace, sizeof trace, "%s/kept.perf", folder);
}

static inline perf_drain *
open_drain(const char *segment)
{
    perf_drain *drain = NULL;
    ck_assert_int_eq(perf_drain_open_blocking(segment, trace, NULL, &drain),
                     PERF_OK);
    return drain;
}

/* Of this process. */
static inline perf_drain *
drain_self(void)
{
    char path[PERF_PATH_MAX_BYTES];
    ck_assert_int_eq(perf_segment_path(path, sizeof path), PERF_OK);
    choose_folder();
    return open_drain(path);
}

static inline perf_reader *
open_trace(void)
{
    perf_reader *reader = NULL;
    ck_assert_int_eq(perf_reader_open_blocking(trace, NULL, &reader), PERF_OK);
    return reader;
}

static inline void
write_span(uint32_t name, uint32_t number)
{
    perf_span span = perf_span_begin_at(name, (perf_span){0}, number, 1);
    perf_span_end_at(span, PERF_STATUS_OK, 0, 2);
}

static inline uint32_t
write_spans(uint32_t name, uint32_t from, uint32_t to)
{
    for (; from < to; from++)
        write_span(name, from);
    return to;
}

/* Records whose task is `first` and on, `n` of them, and nothing lost. */
static inline void
expect_spans(perf_reader *reader, uint32_t first, size_t expected)
{
    size_t n;
    perf_record *records = pt_records(reader, 1000, &n);
    ck_assert_uint_eq(n, expected);
    for (size_t i = 0; i < n; i++)
        PT_ASSERT(records[i].task == first + i);
    free(records);
}
#endif
