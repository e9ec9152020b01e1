/* reader.h - reads a segment: of this process, a living one, or a dead one.
 *
 * Model:    refresh_blocking() copies the file (pread, never a mapping: a file
 *           cut short is an error, not a signal) and checks the copy;
 *           everything else answers from that copy. A writer goes on
 *           meanwhile: in the copy of a living segment counters may be ahead
 *           of records by what was written during the copy, a millisecond or
 *           so. Counters only grow: two refreshes and a subtraction are a
 *           window. records() gives each finished record once and counts what
 *           was overwritten before it could be read. A trace file (drain.h)
 *           is read in the same way.
 *           Who looks again and again takes counts alone: the rings are most
 *           of the file, and are left out; or, of them, what is new.
 * Trust:    the bytes may be anything. Every offset, length and number is
 *           checked; damage is PERF_ERR_CORRUPT or a skipped part, counted.
 * Threads:  one thread at a time per reader; the writer is never disturbed.
 * Memory:   the copy, at most what the file reserves; all of a trace file. Of
 *           counts alone a few 64 KiB a thread.
 * Units:    `_ns` are CLOCK_MONOTONIC of the machine that wrote the file. */
#ifndef LIBPERF_READER_H
#define LIBPERF_READER_H
#include <libperf/event.h>
#include <libperf/histogram.h>
#include <libperf/segment.h>
#include <libperf/span.h>

PERF_BEGIN_DECLS

typedef struct perf_reader perf_reader;

/** Open a file.  The first refresh_blocking() is done here.
 *  Errors: PERF_ERR_INVALID, PERF_ERR_NOT_FOUND, PERF_ERR_DENIED,
 *  PERF_ERR_CORRUPT, PERF_ERR_VERSION, PERF_ERR_NOMEM, PERF_ERR_SYSTEM.
 *  Ownership: the caller's; perf_reader_close(). */
PERF_API perf_err perf_reader_open_blocking(const char *path,
                                            const perf_allocator *allocator,
                                            perf_reader **out);

/** The same, without the rings: the first refresh is a
 *  perf_reader_refresh_counts_blocking().  Errors: those of both. */
PERF_API perf_err perf_reader_open_counts_blocking(
    const char *path, const perf_allocator *allocator, perf_reader **out);

/** Open this process's own segment; starts it when nothing was recorded. */
PERF_API perf_err perf_reader_open_self_blocking(
    const perf_allocator *allocator, perf_reader **out);

/** Read from memory; the bytes are copied. */
PERF_API perf_err perf_reader_open_bytes(const void *bytes, size_t size,
                                         const perf_allocator *allocator,
                                         perf_reader **out);

/** NULL is allowed. */
PERF_API void perf_reader_close(perf_reader *reader);

/** Take a new copy.  After an error the old one stays.
 *  Errors: those of opening; PERF_ERR_CLOSED for a reader of this process's own
 *  segment that a fork has brought into another one. */
PERF_API perf_err perf_reader_refresh_blocking(perf_reader *reader);

/** Take a new copy without the rings: names, totals, histograms, open spans; no
 *  frames. records() and events() find nothing in it, and miss nothing by it:
 *  they go on with the next whole copy.
 *  Errors: as above; PERF_ERR_RANGE for more than 512 MiB beside the rings. */
PERF_API perf_err perf_reader_refresh_counts_blocking(perf_reader *reader);

/** The same, and of the rings what records() has not given out yet. events()
 *  finds nothing, and misses nothing by it. Of a trace file what lies behind
 *  its segment is left out, and counts as lost.
 *  Errors: as above. */
PERF_API perf_err perf_reader_refresh_news_blocking(perf_reader *reader);

/** Free what refresh_news_blocking() has copied of the rings, once it is read:
 *  records() finds nothing until the next refresh.  NULL is allowed. */
PERF_API void perf_reader_forget_news(perf_reader *reader);

/** Who wrote the segment. */
typedef struct perf_reader_info {
    uint64_t pid;            /* process id, in its own name space */
    uint64_t uid;            /* user id */
    uint64_t start_ns;       /* when recording began */
    uint64_t latest_ns;      /* last sign of life that was written down */
    uint64_t wall_offset_ns; /* add to `_ns` for time since 1970 */
    uint64_t trace_hi;       /* upper half of its trace ids */
    uint32_t finished;       /* 1: ended in good order */
    uint32_t alive;          /* 1: the writer holds its lock right now */
    uint32_t clock;          /* 0: monotonic, 1: tsc */
    uint32_t threads;        /* thread blocks: most threads at one time */
    uint32_t names;          /* interned names */
    uint32_t damaged;        /* parts that were skipped; 0 is the normal */
    char service[64];        /* may be empty; ends in NUL */
    char command[192];       /* its command line, cut; ends in NUL */
    char version[16];        /* PERF_VERSION of the writer */
    perf_segment_stats stats;
} perf_reader_info;

PERF_API perf_err perf_reader_info_get(const perf_reader *reader,
                                       perf_reader_info *out);

/** Text and kind of a name in the segment; NULL when there is none.
 *  @param kind  NULL: not wanted.  Ownership: borrowed until a refresh. */
PERF_API const char *perf_reader_name(const perf_reader *reader, uint32_t name,
                                      perf_kind *kind);

/** A frame (frame.h). The texts end in NUL. */
typedef struct perf_reader_frame {
    uint32_t caller; /* 0: none; else smaller than its own number */
    uint32_t line;   /* 0: not known */
    const char *function;
    const char *file;
} perf_reader_frame;

/** A frame of the segment; numbers begin with 1.  Ownership: `out`'s texts are
 *  borrowed until a refresh.  Errors: PERF_ERR_INVALID; PERF_ERR_NOT_FOUND: no
 *  such frame. */
PERF_API perf_err perf_reader_frame_get(const perf_reader *reader,
                                        uint32_t frame, perf_reader_frame *out);

enum { PERF_QUANTITIES_MAX = 4 };

/** Everything counted under one name, added up over the threads. */
typedef struct perf_totals {
    uint64_t count;     /* spans or timings */
    uint64_t errors;    /* of them, ended with PERF_STATUS_ERROR */
    uint64_t cancelled; /* of them, ended with PERF_STATUS_CANCELLED */
    uint64_t sum_ns;    /* their durations; for a counter, its value */
    uint64_t min_ns;    /* 0 when count is 0 */
    uint64_t max_ns;
    double gauge;             /* a gauge's last value */
    uint64_t gauge_ns;        /* when it was set; 0: never */
    uint32_t quantities;      /* how many of the following are used */
    uint32_t quantity_key[4]; /* a name of kind QUANTITY */
    uint64_t quantity_sum[4]; /* its values' sum */
} perf_totals;

/** @param out  not NULL; all zero when nothing was counted under the name.
 *  Errors: PERF_ERR_INVALID, PERF_ERR_NOT_FOUND (no such name). */
PERF_API perf_err perf_reader_totals(const perf_reader *reader, uint32_t name,
                                     perf_totals *out);

/** Add the name's histogram, all threads, to `into`.
 *  Errors: as above. */
PERF_API perf_err perf_reader_histogram(const perf_reader *reader,
                                        uint32_t name, perf_histogram *into);

/** All names at once, from the first on: their totals, and how many durations
 *  were at most as large as each bound, which is what Prometheus's cumulative
 *  buckets are.  A duration is counted once all of its bucket is that small:
 *  one that is less than 2^-7 (0.78 %) below a bound may be counted above it,
 *  one above never below.  Which ones that are does not change as others come,
 *  so no count ever falls.
 *  @param bounds  n values, ascending
 *  @param names   how many; those that there are not have nothing
 *  @param totals  a place for each name
 *  @param up_to   n places for each name
 *  Errors: PERF_ERR_INVALID for NULL; PERF_ERR_RANGE when not ascending. */
PERF_API perf_err perf_reader_counts(const perf_reader *reader,
                                     const uint64_t *bounds, size_t n,
                                     uint32_t names, perf_totals *totals,
                                     uint64_t *up_to);

enum { PERF_BUCKETS_MAX = 7424 };

/** A bucket of a histogram that is not empty. */
typedef struct perf_bucket {
    uint64_t value_ns; /* its mid-point, at most 2^-8 (0.39 %) off */
    uint64_t count;
} perf_bucket;

/** The name's histogram, all threads, as what is in it: small enough to keep
 *  one a second. Smallest first.
 *  @param out  `capacity` places; PERF_BUCKETS_MAX are always enough
 *  Returns how many there are, which may be more than `capacity`; that many are
 *  written.  0: nothing was recorded, or no such name. */
PERF_API size_t perf_reader_buckets(const perf_reader *reader, uint32_t name,
                                    perf_bucket *out, size_t capacity);

/** What a record is. */
typedef enum perf_record_type {
    PERF_RECORD_SPAN = 1,  /* a finished span, or an open one */
    PERF_RECORD_LOG = 2,   /* a log line: start is its time, parent its span,
                              status its level, the text its only attribute */
    PERF_RECORD_EVENT = 3, /* event.h; perf_reader_events() reads these */
} perf_record_type;

typedef enum perf_attribute_type {
    PERF_ATTRIBUTE_INT = 1,
    PERF_ATTRIBUTE_FLOAT = 2,
    PERF_ATTRIBUTE_TEXT = 3,
    PERF_ATTRIBUTE_NAME = 4,
} perf_attribute_type;

/** One attribute; `text` borrows from the record. */
typedef struct perf_attribute {
    uint32_t key;
    uint32_t type; /* perf_attribute_type */
    int64_t int_value;
    double float_value;
    uint32_t name;   /* for NAME */
    uint32_t length; /* for TEXT */
    const char *text;
} perf_attribute;

typedef struct perf_record {
    uint32_t type;   /* perf_record_type */
    uint32_t status; /* perf_status */
    uint32_t name;
    uint32_t attributes; /* how many; perf_record_attribute() */
    uint64_t start_ns;
    uint64_t end_ns; /* 0: still open */
    uint64_t id;
    uint64_t parent;
    uint64_t trace_hi;
    uint64_t trace_lo;
    uint32_t task;
    uint32_t thread;    /* the operating system's thread id */
    uint8_t cells[448]; /* attributes, packed */
} perf_record;

/** The next finished records of the copy, up to `capacity`; thread by thread,
 *  oldest first in each. 0: no more until the next refresh.
 *  @param out  `capacity` places, owned by the caller. */
PERF_API size_t perf_reader_records(perf_reader *reader, perf_record *out,
                                    size_t capacity);

/** The same for events: block by block, in order. Reads on by itself, beside
 *  perf_reader_records(). */
PERF_API size_t perf_reader_events(perf_reader *reader, perf_event *out,
                                   size_t capacity);

/** How many records were overwritten before perf_reader_records() came to
 *  them. */
PERF_API uint64_t perf_reader_lost(const perf_reader *reader);

/** How many events were overwritten before perf_reader_events() came to
 *  them. */
PERF_API uint64_t perf_reader_events_lost(const perf_reader *reader);

/** The spans that were open when the copy was taken.  Returns how many there
 *  are, which may be more than `capacity`; that many are written. */
PERF_API size_t perf_reader_open_spans(const perf_reader *reader,
                                       perf_record *out, size_t capacity);

/** Take one attribute out of a record.  Returns false past the last one. */
PERF_API bool perf_record_attribute(const perf_record *record, uint32_t index,
                                    perf_attribute *out);

/** Take all of them out at once; those of a kind that is not known are left
 *  out.  @param out  `capacity` places.  Returns how many there are in it. */
PERF_API uint32_t perf_record_attributes(const perf_record *record,
                                         perf_attribute *out,
                                         uint32_t capacity);

PERF_END_DECLS
#endif
