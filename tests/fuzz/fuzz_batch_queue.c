/* fuzz_batch_queue.c - proves that no sequence of operations on a queue of
 * batches loses an item or names one twice, whatever its settings, and that
 * each goes in its turn: the model of tests/c/support/pt_queue.h says so after
 * every step. */
#include "expect.h"

#include <stdint.h>
#include <stdio.h>

/* there are many of them: say which */
#define PT_CLAIM(truth)                                                        \
    ((truth) ? (void)0                                                         \
             : (fprintf(stderr, "%d: " #truth "\n", __LINE__), abort()))
#include "pt_queue.h"

typedef struct input {
    const uint8_t *at, *end;
} input;

static uint64_t
choose(void *source, uint64_t bound)
{
    input *in = source;
    uint64_t value = 0;
    for (uint64_t most = bound - 1; most && in->at < in->end; most >>= 8)
        value = value << 8 | *in->at++;
    return value % bound;
}

static perf_batch_config
choose_config(input *in)
{
    perf_batch_config c;
    perf_batch_config_init(&c);
    c.max_items = 1 + (uint32_t)choose(in, 16);
    c.max_weight = choose(in, 64);
    c.max_queued = 1 + (uint32_t)choose(in, 64);
    c.concurrency = 1 + (uint32_t)choose(in, 4);
    c.on_full = (perf_batch_full)choose(in, 5);
    c.order = (perf_batch_order)choose(in, 2);
    c.isolation = (perf_batch_isolation)choose(in, 3);
    c.min_items = 1 + (uint32_t)choose(in, c.max_items);
    c.max_wait_ns = choose(in, 1000);
    for (int i = 1; i < PERF_PRIORITIES; i++)
        c.aging_ns[i] = c.aging_ns[i - 1] + choose(in, 500);
    return c;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static pt_queue m;
    input in = {data, data + size};
    perf_batch_config config = choose_config(&in);
    memset(&m, 0, sizeof m);
    m.choose = choose;
    m.source = &in;
    pt_queue_open(&m, &config, (uint32_t)choose(&in, PT_QUEUE_TENANTS + 1));
    while (in.at < in.end) {
        pt_queue_step(&m);
        expect(!perfi_batch_queue_check(m.queue));
    }
    pt_compare(&m);
    pt_queue_drain(&m, size % 2);
    return 0;
}
