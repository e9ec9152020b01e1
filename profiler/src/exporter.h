/* exporter.h - the parts of an exporter: settings (exporter_settings.c), what
 * is read and encoded (exporter_collect.c), requests (exporter_http.c), the
 * queue between them (exporter_outbox.c), the thread and who asks it
 * (exporter.c).
 *
 * Everything but the flags under `lock` is the thread's. It holds `work` except
 * while it waits: so a fork finds everything whole, and no lock of libcurl or
 * OpenSSL taken. */
#ifndef PERFI_EXPORTER_H
#define PERFI_EXPORTER_H
#include "exporter_outbox.h"

#include <curl/curl.h>
#include <pthread.h>

enum {
    PERFI_ANSWER_BYTES = 16 * 1024, /* of an answer that are looked at */
    PERFI_ANSWER_MAX = 4 << 20,     /* more is not even taken */
    PERFI_HEADER_BYTES = 64
};

/** Where a signal goes. */
typedef struct perfi_target {
    char *url; /* NULL: nowhere */
    struct curl_slist *headers;
} perfi_target;

/** One request, of one lane. */
typedef struct perfi_transfer {
    CURL *easy;
    bool busy;
    bool whole; /* the headers of a final answer have come */
    size_t size, total;
    char type[PERFI_HEADER_BYTES], retry_after[PERFI_HEADER_BYTES];
    char error[CURL_ERROR_SIZE];
    uint8_t body[PERFI_ANSWER_BYTES];
} perfi_transfer;

struct perf_exporter {
    const perf_allocator *allocator;
    perf_exporter_config config; /* its texts are in the following */
    perfi_target target[PERF_OTLP_SIGNALS];
    char *ca, *certificate, *key, *path;
    char **resource; /* ends in NULL */

    pthread_mutex_t work;
    CURLM *multi;
    perfi_transfer transfer[PERF_OTLP_SIGNALS];
    perfi_outbox queue;
    perf_reader *reader; /* NULL: nothing was recorded yet */
    perf_otlp *otlp;
    perf_otlp_body held;   /* of a file: waits for room; items 0: none */
    bool reading;          /* of a file: there is more in this copy */
    unsigned char *packed; /* room for gzip */
    size_t packed_room;
    uint64_t read_every_ns, read_due_ns, metrics_due_ns;
    uint64_t metric_sets, flush_number;
    uint64_t flush_seen;
    bool ending;               /* the last collection was made */
    perf_exporter_stats noted; /* what the segment's counters have */

    pthread_mutex_t lock; /* short: flags and numbers for others */
    pthread_cond_t changed;
    pthread_t thread;
    bool running, stop, forked;
    uint64_t flush_asked, flush_done, stop_until_ns;
    perf_exporter_stats stats;

    perf_exporter *next, **link; /* all of them: forks */
};

/* exporter_settings.c */
perf_err perfi_exporter_settings(perf_exporter *e,
                                 const perf_exporter_config *config,
                                 const char **field);
void perfi_exporter_settings_free(perf_exporter *e);

/* exporter_http.c */
perf_err perfi_http_open(perf_exporter *e);
void perfi_http_close(perf_exporter *e);

/** Send what is due, read what has come; true: something has changed. */
bool perfi_http_step_at(perf_exporter *e, uint64_t now_ns);

/** Break off what is under way. */
void perfi_http_abort(perf_exporter *e);

/** In a child: these connections are the parent's. */
void perfi_http_abandon(perf_exporter *e);

/* exporter_collect.c */

/** Open what is to be exported. Its own segment may not be there yet. */
perf_err perfi_collect_open(perf_exporter *e);
void perfi_collect_close(perf_exporter *e);

/** Read, encode, queue; `last`: also lines that wait for their spans. */
void perfi_collect_at(perf_exporter *e, uint64_t now_ns, bool metrics,
                      bool last);

/** Of a file: go on with what found no room. True: there was something. */
bool perfi_collect_more(perf_exporter *e);

/** Write losses into the segment, as counters. */
void perfi_collect_note(perf_exporter *e);

/** The last thing that went wrong. */
void perfi_exporter_say(perf_exporter *e, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

const char *perfi_signal_text(perf_otlp_signal signal); /* "traces" */

#endif
