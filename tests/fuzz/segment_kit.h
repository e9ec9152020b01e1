/* segment_kit.h - a real trace to spoil, a walk through all of a reader. */
#ifndef SEGMENT_KIT_H
#define SEGMENT_KIT_H
#include "expect.h"

#include <libperf/reader.h>

/** The bytes of a trace that holds everything there is, chunks behind the
 *  segment too, written by this process; offsets are the same in every run. */
unsigned char *make_trace(size_t *size);

/** Ask for everything, and expect what must hold for any `size` bytes. */
void walk_reader(perf_reader *reader, size_t size);

#endif
