/* span.h - what span.c, attribute.c and the metrics share. */
#ifndef PERFI_SPAN_H
#define PERFI_SPAN_H
#include "../segment/thread.h"

#include <libperf/span.h>

/** The slot of a span that is still open in this process, or NULL. */
perfi_slot *perfi_span_slot(const perf_span *span);

/** Attach "paused_ns". */
void perfi_span_note_pause(const perf_span *span, uint64_t paused_ns);

typedef enum perfi_lost {
    PERFI_LOST_RECORD,
    PERFI_LOST_VALUE,
    PERFI_LOST_ATTRIBUTE,
} perfi_lost;

/** Count what a thread without a block could not record. */
void perfi_count_lost(perfi_lost what);

#endif
