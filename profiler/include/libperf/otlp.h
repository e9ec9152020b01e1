/* otlp.h - what a reader found, as requests of the OpenTelemetry protocol.
 *
 * Model:    an encoder belongs to one reader. Each call gives one whole request
 *           body, ready to be sent or written to a file:
 *             ExportTraceServiceRequest    finished spans, with their log lines
 *             ExportLogsServiceRequest     log lines that no span can carry
 *             ExportMetricsServiceRequest  totals since the program's start
 *           as protobuf or as JSON (opentelemetry-proto 1.x, OTLP/HTTP). Spans
 *           of models, tools, retrievers and graphs are named by the GenAI
 *           semantic conventions, as bindings/libperf/exports/conventions.py
 *           has them in a table. Nothing is read, sent or waited for here.
 * Limits:   a body holds at most max_bytes, or one record that is larger. What
 *           memory is too short for is left out and counted.
 * Trust:    names and texts may hold any bytes: what is no UTF-8 is replaced by
 *           U+FFFD, control characters are escaped in JSON.
 * Threads:  one at a time per encoder, the reader's included.
 * Memory:   create() takes about 300 kB; bodies grow up to max_bytes, for each
 *           of the three signals. Log lines that wait for their span: 700 kB,
 *           once there are any.
 * Units:    times in a body are nanoseconds since 1970, durations seconds. */
#ifndef LIBPERF_OTLP_H
#define LIBPERF_OTLP_H
#include <libperf/reader.h>

PERF_BEGIN_DECLS

typedef struct perf_otlp perf_otlp;

enum {
    PERF_OTLP_CONFIG_VERSION = 1,
    PERF_OTLP_BODY_MAX_BYTES = 20 << 20, /* what receivers are told to take */
};

/** What a request carries. Append-only. */
typedef enum perf_otlp_signal {
    PERF_OTLP_TRACES = 0,
    PERF_OTLP_METRICS = 1,
    PERF_OTLP_LOGS = 2,
} perf_otlp_signal;

enum { PERF_OTLP_SIGNALS = 3 };

/** How it is written. */
typedef enum perf_otlp_format {
    PERF_OTLP_PROTOBUF = 0,
    PERF_OTLP_JSON = 1,
} perf_otlp_format;

/** What log lines become. */
typedef enum perf_otlp_lines {
    PERF_OTLP_LINES_EVENTS = 0,  /* events of their span, which they wait for;
                                    log records when it has no room for them */
    PERF_OTLP_LINES_RECORDS = 1, /* log records with the span's ids, at once */
} perf_otlp_lines;

/** What durations become. */
typedef enum perf_otlp_histograms {
    PERF_OTLP_EXPONENTIAL =
        0,                  /* scale 6 (1.1 % a bucket) or less, at most 160
                               buckets; a value lies at most one bucket off */
    PERF_OTLP_EXPLICIT = 1, /* 18 bounds from 10 us to 82 s; values within
                               0.4 % of a bound may count on its other side */
} perf_otlp_histograms;

/** Settings; call perf_otlp_config_init() first. */
typedef struct perf_otlp_config {
    uint32_t size;       /* sizeof this struct */
    uint32_t version;    /* PERF_OTLP_CONFIG_VERSION */
    uint32_t format;     /* perf_otlp_format */
    uint32_t lines;      /* perf_otlp_lines */
    uint32_t histograms; /* perf_otlp_histograms */
    uint32_t signals;    /* bits, 1 << perf_otlp_signal; default 7, all. What is
                            not wanted is not encoded. */
    uint64_t max_bytes;  /* of one body: 4 KiB..20 MiB; default 4 MiB */
    /* Attributes of the resource: key, value, key, value, …, NULL; copied. They
     * replace those that are there in any case: service.name (the segment's
     * service, else "unknown_service"), process.pid, telemetry.sdk.name and
     * telemetry.sdk.version. NULL: none. */
    const char *const *resource;
    const perf_allocator *allocator; /* NULL: libc */
} perf_otlp_config;

/** Fill in every default.  @param size  sizeof(perf_otlp_config). */
PERF_API void perf_otlp_config_init(perf_otlp_config *config, uint32_t size);

/** Make an encoder.
 *  @param reader  must live as long; may be refreshed between calls
 *  @param config  NULL: defaults
 *  Errors: PERF_ERR_INVALID (NULL; a resource key without a value; no such
 *  format), PERF_ERR_VERSION, PERF_ERR_RANGE (max_bytes), PERF_ERR_NOMEM.
 *  Ownership: the caller's; perf_otlp_destroy(). */
PERF_API perf_err perf_otlp_create(perf_reader *reader,
                                   const perf_otlp_config *config,
                                   perf_otlp **out);

/** NULL is allowed. */
PERF_API void perf_otlp_destroy(perf_otlp *otlp);

/** One request. */
typedef struct perf_otlp_body {
    uint32_t signal; /* perf_otlp_signal */
    uint32_t pad;
    uint64_t items;       /* spans, data points or log records; 0: no body */
    size_t size;          /* of `bytes` */
    const uint8_t *bytes; /* the encoder's, until the next call; bodies of
                             metrics and others do not disturb each other */
} perf_otlp_body;

/** The next body of finished spans and log lines: what perf_reader_records()
 *  would give.  Call it until `items` is 0; then refresh the reader.
 *  @param out  not NULL
 *  Errors: PERF_ERR_INVALID.  Cost: about 0.1 us a span in protobuf. */
PERF_API perf_err perf_otlp_records(perf_otlp *otlp, perf_otlp_body *out);

/** The next body of log lines whose span is not to be waited for any longer:
 *  at the end. Call it until `items` is 0.  Errors: PERF_ERR_INVALID. */
PERF_API perf_err perf_otlp_rest(perf_otlp *otlp, perf_otlp_body *out);

/** The next body of metrics, all of them as the reader's copy has them:
 *  cumulative since the program's start. Call it until `items` is 0; the next
 *  call begins anew.
 *  @param now_ns  CLOCK_MONOTONIC time of the copy; 0: the segment's last sign
 *                 of life
 *  Errors: PERF_ERR_INVALID. */
PERF_API perf_err perf_otlp_metrics(perf_otlp *otlp, uint64_t now_ns,
                                    perf_otlp_body *out);

/** What has gone through an encoder. */
typedef struct perf_otlp_stats {
    uint64_t spans;         /* encoded */
    uint64_t events;        /* log lines in them */
    uint64_t log_records;   /* log lines beside them */
    uint64_t data_points;   /* encoded */
    uint64_t dropped;       /* spans, lines and points that found no memory */
    uint64_t lost;          /* perf_reader_lost(): overwritten before */
    uint64_t lines_waiting; /* now, for their span */
} perf_otlp_stats;

/** @param out  not NULL; all zero for NULL. */
PERF_API void perf_otlp_stats_now(const perf_otlp *otlp, perf_otlp_stats *out);

PERF_END_DECLS
#endif
