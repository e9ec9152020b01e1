/* loop.c - perf-bench-loop OPERATION COUNT: one operation, so many times.
 *
 * For programs that count instead of time: run it with two counts, and the
 * difference is the operation's own (instructions.py). */
#include <libperf/batch_queue.h>
#include <libperf/cache.h>
#include <libperf/histogram.h>
#include <libperf/metric.h>
#include <libperf/otlp.h>
#include <libperf/segment.h>
#include <libperf/span.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
record(uint64_t count)
{
    perf_histogram *h;
    if (perf_histogram_create(NULL, &h))
        exit(EXIT_FAILURE);
    for (uint64_t i = 0; i < count; i++)
        perf_histogram_record(h, 1000 + i % 64);
    perf_histogram_destroy(h);
}

static void
metric(uint64_t count)
{
    uint32_t name = perf_name(PERF_KIND_TIMING, "loop.metric", 11);
    for (uint64_t i = 0; i < count; i++)
        perf_metric_record(name, 1000 + i % 64);
}

/* Ticks are given, not read: a slow machine must not add a page of the
 * histogram, and a virtual one may count a clock's read as it likes. */
static void
span(uint64_t count)
{
    uint32_t name = perf_name(PERF_KIND_SPAN, "loop.span", 9);
    perf_span none = {0};
    for (uint64_t i = 0; i < count; i++)
        perf_span_end_at(perf_span_begin_at(name, none, 0, 1000 + i),
                         PERF_STATUS_OK, 0, 2000 + i);
}

/* A thousand entries, so that none is ever evicted. */
static perf_cache *
make_cache(void)
{
    perf_cache_config config = {.max_bytes = 1 << 22,
                                .policy = PERF_POLICY_LRU};
    perf_cache *cache;
    if (perf_cache_create(&config, &cache))
        exit(EXIT_FAILURE);
    for (uint64_t i = 0; i < 1024; i++) {
        uint64_t key[2] = {i, i}, value[8] = {i};
        perf_cache_set_at(cache, key, sizeof key, value, sizeof value, NULL, 1);
    }
    return cache;
}

static void
cache_get(uint64_t count)
{
    perf_cache *cache = make_cache();
    for (uint64_t i = 0; i < count; i++) {
        uint64_t key[2] = {i % 1024, i % 1024}, value[8];
        perf_cache_get_at(cache, key, sizeof key, value, sizeof value, NULL, 1);
    }
    perf_cache_destroy(cache);
}

static void
cache_set(uint64_t count)
{
    perf_cache *cache = make_cache();
    for (uint64_t i = 0; i < count; i++) {
        uint64_t key[2] = {i % 1024, i % 1024}, value[8] = {i};
        perf_cache_set_at(cache, key, sizeof key, value, sizeof value, NULL, 1);
    }
    perf_cache_destroy(cache);
}

/* Batches of 32, in virtual time; nothing takes the same time twice. */
static void
batch_queue(uint64_t count)
{
    static perf_batch_item items[32];
    perf_batch_config config;
    perf_batch_config_init(&config);
    config.max_items = 32;
    perf_batch_queue *queue;
    if (perf_batch_queue_create(&config, &queue))
        exit(EXIT_FAILURE);
    uint64_t now_ns = 0;
    perf_batch batch;
    for (uint64_t i = 0; i < count; i++) {
        items[i % 32] = (perf_batch_item){.priority = PERF_PRIORITY_NORMAL};
        perf_batch_queue_submit_at(queue, &items[i % 32], now_ns += 50);
        if (i % 32 == 31 && perf_batch_queue_take_at(queue, &batch, now_ns))
            perf_batch_queue_done_at(queue, &batch, PERF_BATCH_OK, 0,
                                     now_ns += 1000 + i % 7);
    }
    perf_batch_queue_destroy(queue);
}

/* ---- OTLP: spans of this process's own ring, read and encoded ---- */

enum { SPANS = 20000 }; /* `count` is a multiple: each round is a whole one */

static uint32_t
name_of(perf_kind kind, const char *text)
{
    return perf_name(kind, text, strlen(text));
}

static void
set_none(perf_span s)
{
    (void)s;
}

static void
set_eight(perf_span s)
{
    static uint32_t key[8];
    for (uint32_t i = 0; i < 8; i++) {
        char text[] = "attribute.0";
        text[10] = (char)('0' + i);
        if (!key[i])
            key[i] = name_of(PERF_KIND_KEY, text);
        if (i % 3 == 0)
            perf_span_set_int(s, key[i], 100 << i);
        else if (i % 3 == 1)
            perf_span_set_text(s, key[i], "user-0123456789", 15);
        else
            perf_span_set_float(s, key[i], 0.25 * i);
    }
}

static void
set_model(perf_span s)
{
    perf_span_set_name(s, name_of(PERF_KIND_KEY, "gen_ai.request.model"),
                       name_of(PERF_KIND_TEXT, "gpt-4o-mini"));
    perf_span_set_int(
        s, name_of(PERF_KIND_QUANTITY, "gen_ai.usage.input_tokens"), 512);
    perf_span_set_float(s, name_of(PERF_KIND_KEY, "gen_ai.request.temperature"),
                        0.2);
    perf_span_set_text(s, name_of(PERF_KIND_KEY, "user"), "user-0123456789",
                       15);
}

static void
read_once(perf_reader *reader)
{
    static perf_record record[64];
    uint64_t spans = 0;
    for (size_t n; (n = perf_reader_records(reader, record, 64));)
        spans += n;
    if (spans != SPANS)
        exit(EXIT_FAILURE);
}

static void
encode_once(perf_reader *reader)
{
    perf_otlp *encoder;
    perf_otlp_body body;
    perf_otlp_config config;
    uint64_t spans = 0;
    perf_otlp_config_init(&config, sizeof config);
    config.max_bytes = 64 << 10; /* memory that grows is not what is counted */
    if (perf_otlp_create(reader, &config, &encoder))
        exit(EXIT_FAILURE);
    while (!perf_otlp_records(encoder, &body) && body.items)
        spans += body.items;
    if (spans != SPANS)
        exit(EXIT_FAILURE);
    perf_otlp_destroy(encoder);
}

static void
otlp(uint64_t count, perf_kind kind, void (*set)(perf_span),
     void (*once)(perf_reader *))
{
    perf_reader *reader;
    perf_segment_config config;
    perf_segment_config_init(&config, sizeof config);
    config.ring_bytes = 16 << 20;
    if (perf_segment_start(&config))
        exit(EXIT_FAILURE);
    uint32_t name = name_of(kind, "loop.otlp");
    for (uint64_t i = 0; i < SPANS; i++) {
        perf_span s = perf_span_begin_at(name, (perf_span){0}, 0, i << 20);
        set(s);
        perf_span_end_at(s, PERF_STATUS_OK, 0, (i + 1) << 20);
    }
    for (uint64_t done = 0; done < count; done += SPANS) {
        if (perf_reader_open_self_blocking(NULL, &reader))
            exit(EXIT_FAILURE);
        once(reader);
        perf_reader_close(reader);
    }
}

static void
otlp_read(uint64_t count)
{
    otlp(count, PERF_KIND_LLM, set_model, read_once);
}

static void
otlp_plain(uint64_t count)
{
    otlp(count, PERF_KIND_SPAN, set_none, encode_once);
}

static void
otlp_model(uint64_t count)
{
    otlp(count, PERF_KIND_LLM, set_model, encode_once);
}

static void
otlp_eight(uint64_t count)
{
    otlp(count, PERF_KIND_SPAN, set_eight, encode_once);
}

int
main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(uint64_t count);
    } operations[] = {
        {"batch_queue/item", batch_queue},
        {"cache/get", cache_get},
        {"cache/set", cache_set},
        {"histogram/record", record},
        {"metric/record", metric},
        {"otlp/protobuf", otlp_plain},
        {"otlp/protobuf/4_attributes", otlp_model},
        {"otlp/protobuf/8_attributes", otlp_eight},
        {"otlp/read/4_attributes", otlp_read},
        {"span/begin_end", span},
    };
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++)
        if (argc == 3 && strcmp(argv[1], operations[i].name) == 0) {
            operations[i].run(strtoull(argv[2], NULL, 10));
            return EXIT_SUCCESS;
        }
    fprintf(stderr, "usage: perf-bench-loop OPERATION COUNT, where OPERATION "
                    "is\n");
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++)
        fprintf(stderr, "  %s\n", operations[i].name);
    return 2;
}
