/* batch.c - eight threads look things up one at a time, and share calls.
 *
 * A call takes 2 ms and 0.1 ms for each key, as with a database over a network,
 * and one goes at a time. Key by key, 400 would take 0.84 s. */
#include <libperf/batcher.h>
#include <libperf/clock.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

enum { THREADS = 8, EACH = 50 };

typedef struct query {
    perf_batch_item item; /* first: an item is its query */
    uint32_t key, result;
} query;

static perf_batcher *batcher;

static perf_err
look_up(perf_batch_item **items, uint32_t count, uint64_t *retry_after_ns,
        void *ctx)
{
    (void)retry_after_ns;
    (void)ctx;
    nanosleep(&(struct timespec){.tv_nsec = 2000000 + 100000 * (long)count},
              NULL);
    for (uint32_t i = 0; i < count; i++) {
        query *q = (query *)items[i];
        q->result = q->key * q->key;
    }
    return PERF_OK;
}

static void *
ask(void *arg)
{
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < EACH; i++) {
        query q = {.key = *(uint32_t *)arg + i};
        q.item.priority = PERF_PRIORITY_NORMAL;
        perf_err err = perf_batcher_submit_blocking(batcher, &q.item);
        if (!err)
            err = perf_batcher_wait_blocking(batcher, &q.item, UINT64_MAX);
        wrong += err || q.result != q.key * q.key;
    }
    *(uint32_t *)arg = wrong;
    return NULL;
}

int
main(void)
{
    perf_batcher_config config;
    perf_batcher_config_init(&config);
    config.process = look_up;
    config.queue.max_items = 32;
    perf_err err = perf_batcher_create(&config, &batcher);
    if (err) {
        fprintf(stderr, "batch: %s\n", perf_strerror(err));
        return 1;
    }
    pthread_t thread[THREADS];
    uint32_t work[THREADS], wrong = 0;
    uint64_t start_ns = perf_clock_now_ns();
    for (uint32_t i = 0; i < THREADS; i++) {
        work[i] = i * EACH;
        pthread_create(&thread[i], NULL, ask, &work[i]);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        wrong += work[i];
    }
    double seconds = (double)(perf_clock_now_ns() - start_ns) / 1e9;
    perf_batch_stats stats;
    perf_batcher_stats_blocking(batcher, &stats, NULL);
    perf_batcher_destroy_blocking(batcher);
    printf("%d keys in %.2f s by %llu calls, %u wrong\n", THREADS * EACH,
           seconds, (unsigned long long)stats.batches, wrong);
    return wrong != 0;
}
