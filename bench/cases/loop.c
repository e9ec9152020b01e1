/* loop.c - perf-bench-loop OPERATION COUNT: one operation, so many times.
 *
 * For programs that count instead of time: run it with two counts, and the
 * difference is the operation's own (instructions.py). */
#include <libperf/batch_queue.h>
#include <libperf/cache.h>
#include <libperf/histogram.h>
#include <libperf/metric.h>
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

int
main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(uint64_t count);
    } operations[] = {
        {"batch_queue/item", batch_queue}, {"cache/get", cache_get},
        {"cache/set", cache_set},          {"histogram/record", record},
        {"metric/record", metric},         {"span/begin_end", span},
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
