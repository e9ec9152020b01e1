/* attribute.h - what a span attaches to itself. */
#ifndef PERFI_ATTRIBUTE_H
#define PERFI_ATTRIBUTE_H
#include <libperf/span.h>

/** Attach "paused_ns". */
void perfi_attribute_note_pause(const perf_span *span, uint64_t paused_ns);

#endif
