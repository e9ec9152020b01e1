/* span.h - a span: one timed operation, its parent and what it was about.
 *
 * Model:    begin() returns a handle by value: everything the span is, so it
 *           can be kept in a context variable, given to another thread, and
 *           be a parent long after it ended. end() writes one record into
 *           the ring of the thread that ends it and one value into that
 *           name's histogram. Between the two the span is visible to other
 *           processes as *open*, with its attributes, also when the process
 *           hangs or has been killed.
 * Threads:  begin and end from any thread, also different ones. One thread at
 *           a time may use one span; a parent may be used by many.
 * Memory:   none allocated, no lock, no system call, except when a thread
 *           records for the first time or its ring or a histogram grows.
 * Signals:  not from a signal handler that may interrupt these functions.
 * Fork:     a child's spans have the inherited span as their parent; ending
 *           an inherited span in the child does nothing, it is the parent's.
 * Limits:   1,024 open spans per thread are visible and can carry
 *           attributes, 8 each; more are recorded without, and counted. */
#ifndef LIBPERF_SPAN_H
#define LIBPERF_SPAN_H
#include <libperf/name.h>

PERF_BEGIN_DECLS

/** A span. All zero: no span; as a parent, it makes a root. */
typedef struct perf_span {
    uint64_t trace_hi;    /* W3C trace id, upper half: one per process */
    uint64_t trace_lo;    /* lower half: a new one for every root */
    uint64_t id;          /* W3C span id; 0: not a span */
    uint64_t parent;      /* its parent's id; 0: a root */
    uint32_t name;        /* perf_name() */
    uint32_t task;        /* asyncio task or the like; 0: none */
    uint32_t slot;        /* where it is visible as open; private */
    uint32_t process;     /* which fork made it; private */
    uint64_t start_ticks; /* perf_clock_ticks() */
} perf_span;

/** How it ended. */
typedef enum perf_status {
    PERF_STATUS_OK = 0,
    PERF_STATUS_ERROR = 1,     /* counted as an error of its name */
    PERF_STATUS_CANCELLED = 2, /* neither success nor error */
} perf_status;

enum {
    PERF_SPAN_ATTRIBUTES_MAX = 8, /* that a program attaches to a span */
    PERF_SPAN_SUMS_MAX = 4        /* and beside them, by perf_span_add_int() */
};

/** Begin now.  The task is the parent's.
 *  @param parent  all zero for a root.
 *  Returns a span with id 0, which every function ignores, when nothing can
 *  be recorded.  Cost: about one tick's read. */
PERF_API perf_span perf_span_begin(uint32_t name, perf_span parent);

/** Begin at a given tick in a given task. */
PERF_API perf_span perf_span_begin_at(uint32_t name, perf_span parent,
                                      uint32_t task, uint64_t start_ticks);

/** End now, successfully.
 *  Returns the duration in ns; 0 for a span that ended before. */
PERF_API uint64_t perf_span_end(perf_span span);

/** End now with a status; `paused_ns` (0: none) is not counted as latency: the
 *  time a generator lay suspended at a yield. It is kept as the attribute
 *  "paused_ns". */
PERF_API uint64_t perf_span_end_as(perf_span span, perf_status status,
                                   uint64_t paused_ns);

/** End at a given tick; one before the start counts as the start. */
PERF_API uint64_t perf_span_end_at(perf_span span, perf_status status,
                                   uint64_t paused_ns, uint64_t end_ticks);

/** Attach a value; a second one under the same key is kept beside the first.
 *  @param key   name of kind KEY, or QUANTITY for perf_span_set_int
 *  @param text  UTF-8, copied; more than PERF_TEXT_MAX_BYTES is cut
 *  Returns false, and counts, when it was cut or there was no room. */
PERF_API bool perf_span_set_int(perf_span span, uint32_t key, int64_t value);
PERF_API bool perf_span_set_float(perf_span span, uint32_t key, double value);
PERF_API bool perf_span_set_text(perf_span span, uint32_t key, const char *text,
                                 size_t length);

/** Add to an int that the span has under a key; the first time it is attached,
 *  beside those that count as a program's own.
 *  @param key  name of kind KEY or QUANTITY
 *  Returns false when nothing was added: the span is not open, has no place
 *  where it is visible, or has no room. That is not counted: what could not be
 *  added is still the caller's. */
PERF_API bool perf_span_add_int(perf_span span, uint32_t key, int64_t amount);

/** Attach an interned text (a model's name): 16 bytes whatever its length.
 *  @param text  name of kind PERF_KIND_TEXT. */
PERF_API bool perf_span_set_name(perf_span span, uint32_t key, uint32_t text);

/** What is told that a span ends: while the span is still open, by the thread
 *  that ends it. It may attach and add to the span; it must neither wait nor
 *  begin or end one. */
typedef void (*perf_span_end_fn)(perf_span span);

/** From now on call `told` right before each span ends; NULL: nobody. There is
 *  one at a time. Nothing costs more while there is none. */
PERF_API void perf_spans_watch(perf_span_end_fn told);

/** The spans around one that are open now, its parent first, as names. It ends
 *  at the root, and before a span that has ended, has no place where it is
 *  visible, or belongs to another process.
 *  @param span   may have ended
 *  @param names  room for `capacity` numbers
 *  Returns how many there are. Cost: some 64 loads for each span of
 *  this thread, as many a thread for others: not for a hot path. */
PERF_API size_t perf_span_around(perf_span span, uint32_t *names,
                                 size_t capacity);

/** Write a log line that belongs to the span, now.
 *  @param level  0..255; Python's levels divided by 10 are usual (2 info,
 *                3 warning, 4 error).  Returns false when cut or dropped. */
PERF_API bool perf_span_log(perf_span span, uint32_t level, const char *text,
                            size_t length);

/** Read a W3C traceparent header: the result is used as a parent.
 *  @param out  not NULL; all zero after an error
 *  Errors: PERF_ERR_INVALID when it is not "00-<32 hex>-<16 hex>-<2 hex>" in
 *  lower case or an id is zero (W3C Trace Context, section 3.2). Versions
 *  above 00 are read by their first four fields, as the standard asks. */
PERF_API perf_err perf_span_from_traceparent(const char *text, size_t length,
                                             perf_span *out);

/** Write the header for an outgoing call.
 *  @param out  at least 56 bytes; ends in NUL
 *  Returns 55, or 0 (and an empty text) for a span with id 0. */
PERF_API size_t perf_span_to_traceparent(perf_span span, char *out,
                                         size_t out_size);

PERF_END_DECLS
#endif
