/* exporter.h - sends what a program records to an OpenTelemetry receiver.
 *
 * Model:    a thread of its own reads the segment every `interval_ns`, encodes
 *           what is new (otlp.h) and posts it by libcurl: OTLP/HTTP. It is
 *           not Python's, never takes its lock, and what is measured never
 *           waits for it.
 *           Each signal has a lane: bodies wait in order, one is under way. As
 *           OTLP says, 429, 502, 503, 504 and failed connections are tried
 *           again, after what Retry-After says, else after a growing, random
 *           time; every other answer is final. Partial success is not sent
 *           again: what was refused is counted.
 *           While a receiver is away bodies wait up to max_queue_bytes, then
 *           the oldest go. Of metrics, which are totals, only the latest wait.
 *           What was dropped, refused or overwritten before it was read is
 *           counted below, and in counters of the segment, "otlp.dropped.spans"
 *           and so on: so reports have it, and the metrics that are sent.
 * Threads:  any; stop() and destroy() one.
 * Fork:     a child's exporter has stopped: it makes its own.
 * Memory:   max_queue_bytes, the encoder's (otlp.h), a copy of the segment, and
 *           libcurl's own, some 300 kB. */
#ifndef LIBPERF_EXPORTER_H
#define LIBPERF_EXPORTER_H
#include <libperf/otlp.h>

PERF_BEGIN_DECLS

typedef struct perf_exporter perf_exporter;

enum { PERF_EXPORTER_CONFIG_VERSION = 1, PERF_EXPORTER_ERROR_BYTES = 256 };

/** What libperf was built with: bit 0 libcurl (else nothing here works), bit 1
 *  zlib (gzip). */
PERF_API uint32_t perf_exporter_features(void);

/** Settings; call perf_exporter_config_init() first. Texts are copied. */
typedef struct perf_exporter_config {
    uint32_t size;    /* sizeof this struct */
    uint32_t version; /* PERF_EXPORTER_CONFIG_VERSION */
    /* Where each signal goes, "http://localhost:4318/v1/traces"; NULL: nowhere.
     * http and https only, without a password in it. */
    const char *traces_url;
    const char *metrics_url;
    const char *logs_url;
    /* For requests: name, value, name, value, …, NULL. NULL: none. */
    const char *const *traces_headers;
    const char *const *metrics_headers;
    const char *const *logs_headers;
    const char *ca;          /* file of certificates to trust; NULL: system's */
    const char *certificate; /* our own, PEM file; NULL: none */
    const char *key;         /* and its key */
    const char *path;        /* segment or trace file to export; NULL: this
                                process's own. Of a file nothing is dropped: it is
                                read on as there is room. */
    uint32_t gzip;           /* 1: bodies are compressed; default 0 */
    uint32_t pad;
    uint64_t interval_ns; /* 10 ms..1 h; default 5 s. Records are read more
                             often when there are many. */
    uint64_t metrics_interval_ns; /* 10 ms..1 h; default 60 s */
    uint64_t timeout_ns;          /* of one request, 1 ms..1 h; default 10 s */
    uint64_t backoff_min_ns;      /* after a first failure; default 1 s */
    uint64_t backoff_max_ns;      /* up to 1 h; default 30 s */
    uint64_t max_queue_bytes;     /* 64 KiB and more; default 32 MiB; a body has
                                     at most half of it */
    uint64_t seed;                /* of chance in waiting; 0: the clock */
    perf_otlp_config otlp;        /* how it is encoded */
    const perf_allocator *allocator; /* NULL: libc */
} perf_exporter_config;

/** Fill in every default.  @param size  sizeof(perf_exporter_config). */
PERF_API void perf_exporter_config_init(perf_exporter_config *config,
                                        uint32_t size);

/** Start exporting: spans that end from now on, and those that the segment
 * still has.
 *  @param field  NULL, or receives the name of the setting that is wrong
 *                (constant text), NULL for other errors
 *  Errors: PERF_ERR_UNSUPPORTED (built without libcurl, or without zlib for
 *  gzip), PERF_ERR_INVALID (a URL, a header, no URL at all), PERF_ERR_RANGE,
 *  those of perf_reader_open_blocking() for a path,
 *  PERF_ERR_VERSION, PERF_ERR_NOMEM, PERF_ERR_SYSTEM (no thread).
 *  Ownership: the caller's; perf_exporter_destroy_blocking(). */
PERF_API perf_err
perf_exporter_start_blocking(const perf_exporter_config *config,
                             const char **field, perf_exporter **out);

/** Read what was recorded up to now, and wait until it was sent or dropped.
 *  Errors: PERF_ERR_TIMEOUT; PERF_ERR_CLOSED (stopped, or forked). */
PERF_API perf_err perf_exporter_flush_blocking(perf_exporter *exporter,
                                               uint64_t timeout_ns);

/** The same for the last time. Nothing is tried twice: what a receiver that is
 *  away does not take at once is dropped. After `timeout_ns` all is dropped.
 *  Stopping twice, and NULL, is allowed.
 *  Errors: PERF_ERR_TIMEOUT: something was dropped. */
PERF_API perf_err perf_exporter_stop_blocking(perf_exporter *exporter,
                                              uint64_t timeout_ns);

/** Stop it, without waiting for what was not sent, and free it. */
PERF_API void perf_exporter_destroy_blocking(perf_exporter *exporter);

/** Of one signal; items are spans, data points, log records. */
typedef struct perf_exporter_lane {
    uint64_t sent;       /* items that were accepted */
    uint64_t rejected;   /* refused: partial success, 400, … */
    uint64_t dropped;    /* no room in the queue, or no time at the end */
    uint64_t superseded; /* data points that newer totals replaced */
    uint64_t waiting;    /* items in the queue now */
    uint64_t requests;   /* attempts */
    uint64_t failures;   /* attempts that are made again */
    uint64_t bytes;      /* of bodies that were accepted, as sent */
} perf_exporter_lane;

typedef struct perf_exporter_stats {
    perf_exporter_lane lane[3]; /* by perf_otlp_signal */
    uint64_t lost;              /* records overwritten before they were read */
    uint64_t unencoded;         /* items that found no memory */
    uint64_t queue_bytes;       /* now */
    uint64_t most_queue_bytes;
    uint64_t reads; /* of the segment */
    uint32_t running;
    uint32_t pad;
    /* The last thing that went wrong, in words; empty when nothing did. */
    char error[PERF_EXPORTER_ERROR_BYTES];
} perf_exporter_stats;

/** @param out  not NULL; all zero for NULL. */
PERF_API void perf_exporter_stats_now(perf_exporter *exporter,
                                      perf_exporter_stats *out);

PERF_END_DECLS
#endif
