/* otlp.h - the parts of an encoder: bodies (otlp_body.c), spans as they are to
 * be seen (otlp_span.c) and written (otlp_proto.c, otlp_json.c), log lines that
 * wait (otlp_lines.c), metrics (otlp_metrics.c), all of it (otlp.c). */
#ifndef PERFI_OTLP_H
#define PERFI_OTLP_H
#include "otlp_names.h"
#include "otlp_out.h"
#include "otlp_tree.h"

#include <libperf/otlp.h>

enum {
    PERFI_BATCH = 64,   /* records taken over at a time */
    PERFI_GIVEN = 28,   /* attributes of one record, at most */
    PERFI_VALUES = 40,  /* with ours */
    PERFI_EVENTS = 128, /* of one span; more are counted */
    PERFI_MENDED =
        4096, /* bytes: all of a record's texts, mended, and a name */
    PERFI_ROOTS = 1024,
};

/* ---- what is written ---- */

typedef enum perfi_value_type {
    PERFI_VALUE_TEXT = 1, /* numbers are those of AnyValue's fields */
    PERFI_VALUE_BOOL = 2,
    PERFI_VALUE_INT = 3,
    PERFI_VALUE_DOUBLE = 4,
    PERFI_VALUE_LIST = 5, /* of one text */
} perfi_value_type;

/** An attribute. */
typedef struct perfi_value {
    const char *key, *text;      /* the key is framed: perfi_key_frame() */
    uint32_t key_length, length; /* of a number: 0 */
    uint32_t type;               /* perfi_value_type */
    uint32_t id;                 /* equal for equal keys of one span */
    union {
        int64_t integer; /* and truth */
        double real;
    };
} perfi_value;

/** A log line. */
typedef struct perfi_line {
    uint64_t span; /* that it belongs to; 0: this place is free */
    uint64_t time_ns, trace_hi, trace_lo;
    uint32_t next; /* of the same chain: its number + 1 */
    uint32_t level;
    uint32_t thread;
    uint16_t gone; /* how often its span was found to have ended */
    uint16_t length;
    char text[3 * PERF_TEXT_MAX_BYTES];
} perfi_line;

/** A span as it is to be written. Times since 1970. */
typedef struct perfi_view {
    const perf_record *record;
    const char *name;
    uint32_t name_length;
    const perfi_word *provider; /* of its model; NULL: not known */
    uint32_t kind, code;        /* SpanKind, StatusCode */
    uint64_t start_ns, end_ns;
    uint64_t link_id, link_hi, link_lo; /* id 0: no link */
    uint32_t events_dropped;
    uint32_t events;
    uint32_t values;
    perfi_value value[PERFI_VALUES];
    const perfi_line *event[PERFI_EVENTS]; /* in order */
    size_t mended_used;
    char mended[PERFI_MENDED];
} perfi_view;

/* ---- a body that is being made ---- */

typedef struct perfi_body {
    perfi_out out;
    perfi_tree tree; /* of metrics and logs, and of JSON */
    size_t begin;    /* what is repeated begins here, behind room for a head */
    uint64_t items;
} perfi_body;

typedef struct perfi_resource {
    unsigned char *bytes; /* a whole field `resource`, of either format */
    size_t size, room;
} perfi_resource;

/* ---- log lines that wait for their span: otlp_lines.c ---- */

enum { PERFI_LINES = 1024 };

typedef struct perfi_lines {
    perfi_line *line; /* PERFI_LINES; NULL until the first */
    uint64_t added;   /* ever: the next goes to added % PERFI_LINES */
    uint32_t waiting; /* now */
    uint32_t chain[PERFI_LINES]; /* by span: number + 1 of a line */
} perfi_lines;

typedef struct perfi_root {
    uint64_t id, trace_hi, trace_lo;
} perfi_root;

struct perf_otlp {
    perf_reader *reader;
    const perf_allocator *allocator;
    perf_otlp_config config;
    perf_reader_info info; /* of the copy that is being encoded */
    perfi_names *names;
    perfi_resource resource;
    perfi_body body[PERF_OTLP_SIGNALS];
    perfi_body *given; /* to the caller, by the last call */

    uint32_t batch_count, batch_at;
    perf_record *batch; /* PERFI_BATCH */
    perfi_view view;
    perfi_lines lines;
    bool settled;       /* for this copy: perfi_lines_settle() */
    perfi_line evicted; /* is to become a log record first, if `span` */
    perfi_root root[PERFI_ROOTS]; /* spans without a parent, the latest */

    uint32_t metric, metric_name, metric_part; /* where the next body begins */
    bool metrics_done;                         /* the last body was given */
    perf_bucket *bucket; /* PERF_BUCKETS_MAX; NULL until the first */

    perf_otlp_stats stats;
};

/* otlp.c */
perf_err perfi_otlp_check(const perf_otlp_config *config);

/* otlp_body.c */

/** Bytes of protobuf's Resource, or of JSON up to what is repeated. */
perf_err perfi_resource_make(perf_otlp *o, const char *const *extra);

/** Begin a body; false: no memory. */
bool perfi_body_begin(perf_otlp *o, perf_otlp_signal signal);

/** End it and give it to the caller. */
void perfi_body_give(perf_otlp *o, perf_otlp_signal signal,
                     perf_otlp_body *out);

/** Take the item back that was written from `size` on. */
void perfi_body_undo(perfi_body *b, size_t size, perfi_tree before);

/** What came of writing an item. */
typedef enum perfi_written {
    PERFI_WRITTEN = 0,
    PERFI_FULL = 1,    /* it is not in the body, which must go first */
    PERFI_DROPPED = 2, /* there is no memory, even in an empty body */
} perfi_written;

/** Keep the item that was written from `size` on, or not. */
perfi_written perfi_body_keep(perf_otlp *o, perfi_body *b, size_t size,
                              perfi_tree before);

/* otlp_span.c */

/** `o->view` of a record. Its events are the caller's. */
void perfi_view_make(perf_otlp *o, const perf_record *record);

uint64_t perfi_unix_ns(const perf_otlp *o, uint64_t ns);

/** Remember a span without a parent: links lead to it. */
void perfi_root_note(perf_otlp *o, const perf_record *record);

/** UTF-8, mended into the view when it is none. */
const char *perfi_view_text(perfi_view *v, const char *text, uint32_t *length);

/* otlp_proto.c: a span as protobuf, behind what is there. The same bytes as by
 * perfi_span_tree(), in a fraction of the time. */
void perfi_span_proto(perfi_out *out, const perfi_view *v);

/* otlp_item.c */

/** A span, as one of a list. */
void perfi_span_tree(perfi_tree *t, const perfi_view *v);

/** The attributes of any message; `field` is protobuf's number for them. */
void perfi_values_put(perfi_tree *t, uint32_t field, const perfi_value *value,
                      uint32_t n);

/** A log record; it has `line`'s span. */
void perfi_log_put(perfi_tree *t, const perfi_line *line, uint64_t observed_ns);

/** "info", and SeverityNumber. */
const char *perfi_level_text(uint32_t level, uint32_t *number);

/* otlp_histogram.c: `n` buckets, not empty, ascending */
void perfi_exponential_put(perfi_tree *t, const perf_bucket *b, size_t n);
void perfi_explicit_put(perfi_tree *t, const perf_bucket *b, size_t n);

/* otlp_lines.c */

/** Keep a line until its span comes. False: no memory. The line that was there
 *  longest, if its place is needed, goes to `o->evicted`. */
bool perfi_lines_add(perf_otlp *o, const perfi_line *line);

/** Give the view the lines of its span, in order. */
void perfi_lines_find(perf_otlp *o, perfi_view *v);

/** They are written, or never will be. Returns how many there were. */
uint32_t perfi_lines_free(perf_otlp *o, uint64_t span);

/** After all records of a copy: which spans have ended without their lines? */
void perfi_lines_settle(perf_otlp *o);

/** The next line whose span has ended without it; `all`: any line. NULL: none
 *  is left. perfi_line_free() before the next. */
perfi_line *perfi_lines_orphan(perf_otlp *o, bool all);
void perfi_line_free(perf_otlp *o, perfi_line *line);

void perfi_lines_destroy(perf_otlp *o);

#endif
