/* segment_kit.c - makes a trace that holds everything, and asks a reader for
 * everything: shared by what fuzzes the reader. */
#include "segment_kit.h"

#include "segment/segment.h"

#include <libperf/drain.h>
#include <libperf/frame.h>
#include <libperf/metric.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uint32_t
name_of(perf_kind kind, const char *text)
{
    return perf_name(kind, text, strlen(text));
}

static perf_drain *drain;
static uint32_t spans;

static void *
write_everything(void *ctx)
{
    char text[PERF_TEXT_MAX_BYTES];
    memset(text, 't', sizeof text);
    uint32_t name = name_of(PERF_KIND_SPAN, ctx ? "one" : "two");
    uint32_t key = name_of(PERF_KIND_KEY, "key");
    for (uint32_t i = 0; i < spans; i++) {
        perf_span span = perf_span_begin_at(name, (perf_span){0}, i, i);
        perf_span_set_text(span, key, text, 7 * i % sizeof text);
        perf_span_set_int(span, name_of(PERF_KIND_QUANTITY, "q"), 3);
        perf_span_end_at(span, (perf_status)(i % 3), i % 2, i * UINT64_C(1000));
        perf_span_log(span, 2, text, 7 * i % 100);
        perf_event_write((perf_event_code)(i % 52), i, i, i, i);
        perf_frame(i / 2, text, i % sizeof text, text, i % 90, i);
        if (i % 100 == 0)
            expect(!perf_drain_step_blocking(drain));
    }
    perf_span open = perf_span_begin(name, (perf_span){0});
    perf_span_set_float(open, key, 1.5);
    perf_span_set_name(open, key, name_of(PERF_KIND_TEXT, "text"));
    perf_metric_add(name_of(PERF_KIND_COUNTER, "c"), 7);
    perf_metric_set(name_of(PERF_KIND_GAUGE, "g"), 0.5);
    for (uint64_t v = 1; v; v <<= 8)
        perf_metric_record(name_of(PERF_KIND_TIMING, "t"), v);
    return NULL;
}

static unsigned char *
read_file(const char *path, size_t *size)
{
    struct stat st;
    FILE *file = fopen(path, "rb");
    expect(file && !fstat(fileno(file), &st));
    *size = (size_t)st.st_size;
    unsigned char *bytes = malloc(*size);
    expect(bytes && fread(bytes, 1, *size, file) == *size);
    fclose(file);
    return bytes;
}

unsigned char *
make_trace(uint32_t spans_each, size_t *size)
{
    pthread_t other;
    char folder[] = "/tmp/libperf-fuzz-XXXXXX", segment[32], trace[64];
    perf_segment_config config;
    perf_segment_config_init(&config, sizeof config);
    config.dir = "off";
    config.max_bytes = 1 << 20;
    config.ring_bytes = 128 << 10;
    expect(!perf_segment_start(&config));
    expect(mkdtemp(folder));
    snprintf(trace, sizeof trace, "%s/t.perf", folder);
    snprintf(segment, sizeof segment, "/proc/self/fd/%d",
             perfi_segment_state.fd);
    expect(!perf_drain_open_blocking(segment, trace, NULL, &drain));
    spans = spans_each;
    write_everything(NULL); /* one after the other: offsets stay the same */
    pthread_create(&other, NULL, write_everything, &other);
    pthread_join(other, NULL);
    expect(!perf_drain_finish_blocking(drain));
    expect(spans < SPANS_THAT_WRAP || perf_drain_chunks(drain));
    perf_drain_close(drain);
    unsigned char *bytes = read_file(trace, size);
    expect(!remove(trace) && !remove(folder));
    return bytes;
}

/* ---- everything a reader gives out ---- */

static void
walk_records(const perf_record *record, size_t n)
{
    static volatile unsigned char sink;
    perf_attribute a;
    for (size_t i = 0; i < n; i++)
        for (uint32_t k = 0; perf_record_attribute(&record[i], k, &a); k++) {
            expect(k < record[i].attributes);
            if (a.length)
                sink = (unsigned char)(a.text[0] + a.text[a.length - 1]);
        }
    (void)sink;
}

/* In order, none of them empty, and as many as are said. */
static void
expect_buckets(const perf_reader *reader, uint32_t name)
{
    static perf_bucket bucket[PERF_BUCKETS_MAX];
    size_t n = perf_reader_buckets(reader, name, bucket, PERF_BUCKETS_MAX);
    expect(n <= PERF_BUCKETS_MAX);
    expect(n == perf_reader_buckets(reader, name, NULL, 0));
    for (size_t i = 0; i < n; i++)
        expect(bucket[i].count &&
               (!i || bucket[i - 1].value_ns < bucket[i].value_ns));
}

void
walk_reader(perf_reader *reader, size_t size)
{
    enum { STEP = 64 };
    static perf_record record[STEP];
    static perf_event event[STEP];
    static const double qs[] = {0, 0.5, 0.999, 1};
    static perf_histogram *histogram;
    perf_reader_info info;
    perf_totals totals;
    uint64_t q[4];
    if (!histogram)
        expect(!perf_histogram_create(NULL, &histogram));
    perf_histogram_reset(histogram); /* one for all names: it is large */
    expect(!perf_reader_info_get(reader, &info));
    expect(memchr(info.service, 0, sizeof info.service) &&
           memchr(info.command, 0, sizeof info.command) &&
           memchr(info.version, 0, sizeof info.version));
    expect(info.names <= PERF_NAMES_MAX && info.stats.used_bytes <= size);
    for (uint32_t i = 0; i < info.names; i++) {
        perf_kind kind;
        const char *text = perf_reader_name(reader, i, &kind);
        expect(text && strlen(text) <= PERF_TEXT_MAX_BYTES);
        expect((unsigned)kind < PERF_KIND_COUNT);
        expect(!perf_reader_totals(reader, i, &totals));
        expect(totals.quantities <= PERF_QUANTITIES_MAX);
        expect(!perf_reader_histogram(reader, i, histogram));
        expect_buckets(reader, i);
    }
    expect(!perf_histogram_quantiles(histogram, qs, 4, q));
    expect(perf_reader_totals(reader, info.names, &totals) ==
           PERF_ERR_NOT_FOUND);
    perf_reader_frame frame;
    for (uint32_t i = 0; i < 4096; i++)
        if (!perf_reader_frame_get(reader, i, &frame)) {
            expect(i && frame.caller < i);
            expect(strlen(frame.function) <= PERF_TEXT_MAX_BYTES);
            expect(strlen(frame.file) <= PERF_TEXT_MAX_BYTES);
        }
    size_t n, seen = 0, open = perf_reader_open_spans(reader, record, STEP);
    walk_records(record, open < STEP ? open : STEP);
    while ((n = perf_reader_records(reader, record, STEP))) {
        walk_records(record, n);
        expect((seen += n) <= size / 64); /* a record is at least that long */
    }
    for (seen = 0; (n = perf_reader_events(reader, event, STEP));)
        expect((seen += n) <= size / 48);
    perf_reader_lost(reader);
}
