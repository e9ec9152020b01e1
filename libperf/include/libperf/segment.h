/* segment.h - the mapped file that a process writes its measurements into.
 *
 * Model:    one file per process, mode 0600, in a folder of mode 0700 on a
 *           memory file system:
 *             $LIBPERF_DIR, else $XDG_RUNTIME_DIR, else /dev/shm, else /tmp,
 *             and in it libperf-<uid>/<pid>-<random>.perf
 *           It starts by itself at the first record. Any process may read it
 *           at any time, also after a crash (reader.h). The writer holds a
 *           lock on it while it lives, so a dead process's file is known as
 *           such in every container; the next start removes those that are
 *           old or too many, never another user's or a living process's.
 *           LIBPERF_DIR=off, or no folder that can be used: private memory,
 *           seen by this process alone.
 * Memory:   at most max_bytes, reserved in 64 KiB chunks before they are
 *           touched, so a full file system means counted drops, never SIGBUS.
 * Fork:     the child gets a segment of its own at its first record.
 * Errors:   recording never fails: what finds no room is counted below. */
#ifndef LIBPERF_SEGMENT_H
#define LIBPERF_SEGMENT_H
#include <libperf/allocator.h>

PERF_BEGIN_DECLS

enum { PERF_SEGMENT_CONFIG_VERSION = 1, PERF_PATH_MAX_BYTES = 4096 };

/** Settings; call perf_segment_config_init() first. */
typedef struct perf_segment_config {
    uint32_t size;       /* sizeof this struct */
    uint32_t version;    /* PERF_SEGMENT_CONFIG_VERSION */
    const char *dir;     /* NULL: as above; "off": private memory */
    const char *service; /* shown by readers; NULL: $LIBPERF_SERVICE or "" */
    const char *command; /* shown by readers; NULL: the program's name, never
                            its arguments */
    uint64_t max_bytes;  /* 256 KiB..4 GiB; default 64 MiB, or
                            $LIBPERF_MAX_BYTES */
    uint64_t ring_bytes; /* finished records kept per thread, 64 KiB..1 GiB;
                            default 4 MiB (65,535 spans), or
                            $LIBPERF_RING_BYTES */
    const perf_allocator *allocator; /* for per-thread tables; NULL: libc */
} perf_segment_config;

/** Fill in every default.  @param size  sizeof(perf_segment_config). */
PERF_API void perf_segment_config_init(perf_segment_config *config,
                                       uint32_t size);

/** Start recording with these settings (NULL: defaults) instead of waiting
 *  for the first record.  Texts are copied.
 *  Errors: PERF_ERR_STARTED, PERF_ERR_VERSION, PERF_ERR_RANGE, PERF_ERR_NOMEM;
 *  PERF_ERR_SYSTEM when not even private memory can be had. A folder that
 *  cannot be used is not an error: it is said once on stderr, and private
 *  memory is used. */
PERF_API perf_err perf_segment_start(const perf_segment_config *config);

/** Give the segment that has started, and those of later forks, another
 *  service than the one it started with.
 *  Errors: PERF_ERR_INVALID, PERF_ERR_NOMEM; PERF_ERR_CLOSED (nothing was
 *  recorded yet). */
PERF_API perf_err perf_segment_set_service(const char *service);

/** Mark the segment as ended in good order. Done by itself at exit; recording
 *  afterwards still works.  Nothing happens when none was started. */
PERF_API void perf_segment_finish(void);

/** Where this process's file is; the empty text for private memory or when
 *  nothing was recorded yet.
 *  @param out  `out_size` bytes, ends in NUL; PERF_PATH_MAX_BYTES is enough
 *  Errors: PERF_ERR_INVALID, PERF_ERR_RANGE (too small), PERF_ERR_CLOSED
 *  (nothing was recorded yet). */
PERF_API perf_err perf_segment_path(char *out, size_t out_size);

/** Where the segments of user `uid` are looked for: the first folder of the
 *  list above that holds any, as "…/libperf-<uid>".
 *  Errors: PERF_ERR_INVALID, PERF_ERR_RANGE, PERF_ERR_NOT_FOUND. */
PERF_API perf_err perf_segment_folder(uint32_t uid, char *out, size_t out_size);

/** Losses of this process, all counted since its start; 0 is the normal. */
typedef struct perf_segment_stats {
    uint64_t used_bytes;         /* reserved in the file so far */
    uint64_t max_bytes;          /* the bound */
    uint64_t dropped_records;    /* spans and logs with no ring to go to */
    uint64_t dropped_values;     /* metric values and latencies without room */
    uint64_t dropped_attributes; /* no slot, no room, or more than 8 */
    uint64_t cut_texts;          /* longer than PERF_TEXT_MAX_BYTES */
    uint64_t names_over;         /* names recorded as "(other)" */
    uint64_t spans_unseen;       /* ended, but never visible as open */
    uint64_t frames_over;        /* frames recorded as their callers */
} perf_segment_stats;

/** @param out  not NULL; all zero when nothing was recorded yet. */
PERF_API void perf_segment_stats_now(perf_segment_stats *out);

PERF_END_DECLS
#endif
