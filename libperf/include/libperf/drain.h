/* drain.h - keeps what a program's rings would write over, while it runs.
 *
 * Model:    open() names a segment and the trace file that may come of it.
 *           step_blocking() is called again and again, every 10 ms or so: it
 *           looks at the heads of the rings and copies the chunks (64 KiB
 *           each) that were completed since, into a file that has no name.
 *           When the program has ended, finish_blocking() makes the trace
 *           file: the segment, and behind it the chunks that its rings no
 *           longer have. A reader opens it like any segment, and gives all
 *           records, each once and in order (reader.h).
 *           What a ring writes over between two steps is lost, and counted
 *           there: 4 MiB, or 65 thousand spans of one thread, by default.
 * Trust:    as the reader: the segment may hold anything.
 * Threads:  one thread at a time per drain; the writer is never disturbed.
 * Memory:   about 70 KB; nothing of the file is kept in memory. */
#ifndef LIBPERF_DRAIN_H
#define LIBPERF_DRAIN_H
#include <libperf/allocator.h>

PERF_BEGIN_DECLS

typedef struct perf_drain perf_drain;

/** Open a segment. Neither file is made yet.
 *  @param trace  where finish_blocking() writes; what has to be kept until
 *                then lies in the same folder
 *  Errors: PERF_ERR_INVALID, PERF_ERR_RANGE (path too long), PERF_ERR_NOMEM,
 *  and those of perf_reader_open_blocking().
 *  Ownership: the caller's; perf_drain_close(). */
PERF_API perf_err perf_drain_open_blocking(const char *segment,
                                           const char *trace,
                                           const perf_allocator *allocator,
                                           perf_drain **out);

/** Copy what was completed since the last step. After an error the next step
 *  tries again.  Cost: a few microseconds when nothing was.
 *  Errors: PERF_ERR_INVALID, PERF_ERR_CORRUPT (not a segment any more),
 *  PERF_ERR_FULL, PERF_ERR_NOT_FOUND (the trace's folder), PERF_ERR_DENIED,
 *  PERF_ERR_NOMEM, PERF_ERR_SYSTEM. */
PERF_API perf_err perf_drain_step_blocking(perf_drain *drain);

/** How many of the copied chunks the segment itself no longer had at the last
 *  step. 0: it is as good as a trace file made of it. */
PERF_API uint64_t perf_drain_chunks(const perf_drain *drain);

/** Make the trace file, mode 0600, once the program has ended: what it writes
 *  meanwhile may be torn. A file that is there already is written over; after
 *  an error there is none.
 *  Errors: as above. */
PERF_API perf_err perf_drain_finish_blocking(perf_drain *drain);

/** What was not made into a trace file is gone. NULL is allowed. */
PERF_API void perf_drain_close(perf_drain *drain);

PERF_END_DECLS
#endif
