/* frame.h - where in the code something happened: call stacks as numbers.
 *
 * Model:    a frame is a line of a function, and who called it there: another
 *           frame. So a number is a whole call stack, and stacks that begin
 *           alike share their beginnings (a calling context tree; Ammons,
 *           Ball and Larus, "Exploiting hardware performance counters with
 *           flow and context sensitive profiling", 1997). Like names, frames
 *           are written into the segment once, stay for the life of the
 *           process and outlive forks; records and events hold the number.
 * Threads:  any; a lock, held for a look into a table.
 * Memory:   at most PERF_FRAMES_MAX frames of 65,536 functions (16 bytes each
 * in the segment, and each function's texts once). What finds no room is
 * recorded as its nearest caller that has one, and counted. Errors:   none: 0
 * is "not known". */
#ifndef LIBPERF_FRAME_H
#define LIBPERF_FRAME_H
#include <libperf/base.h>

PERF_BEGIN_DECLS

enum { PERF_FRAMES_MAX = 262144 };

/** The number of a frame.
 *  @param caller    the frame that called it; 0: the thread's first
 *  @param function  its qualified name, UTF-8; more than PERF_TEXT_MAX_BYTES is
 *                   cut at its end, a file at its beginning
 *  @param line      1 and up; 0: not known
 *  Returns `caller` when there is no room. */
PERF_API uint32_t perf_frame(uint32_t caller, const char *function,
                             size_t function_length, const char *file,
                             size_t file_length, uint32_t line);

/** How many frames found no room, since the start. */
PERF_API uint64_t perf_frames_over(void);

PERF_END_DECLS
#endif
