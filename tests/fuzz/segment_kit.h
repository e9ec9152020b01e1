/* segment_kit.h - a real trace to spoil, a walk through all of a reader. */
#ifndef SEGMENT_KIT_H
#define SEGMENT_KIT_H
#include "expect.h"

#include <libperf/reader.h>

enum { SPANS_THAT_WRAP = 1500 };

/** The bytes of a trace that holds everything there is, written by this
 * process; offsets are the same in every run.
 *  @param spans_each  of two threads; with SPANS_THAT_WRAP rings wrap, and
 * there are chunks behind the segment. */
unsigned char *make_trace(uint32_t spans_each, size_t *size);

/** Ask for everything, and expect what must hold for any `size` bytes. */
void walk_reader(perf_reader *reader, size_t size);

#endif
