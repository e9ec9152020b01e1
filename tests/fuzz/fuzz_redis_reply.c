/* fuzz_redis_reply.c - a server that sends anything, cut anywhere: every tree
 * that comes out is whole, within its bound, and freed. */
#include "expect.h"

#include "cache/redis/reply.h"
#include "cache/redis/wire.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_BYTES = 1 << 16 };

static size_t live;

static void *
counted_alloc(size_t size, void *ctx)
{
    (void)ctx;
    live += size;
    return calloc(1, size);
}

static void
counted_free(void *memory, size_t size, void *ctx)
{
    (void)ctx;
    live -= memory ? size : 0;
    free(memory);
}

/* Look at every byte. Returns how many nodes there are. */
static size_t
walk(const perf_redis_reply *reply, int depth)
{
    size_t nodes = 1;
    uint8_t sum = 0;
    expect(depth < 16);
    expect(reply->type <= PERF_REDIS_ARRAY);
    for (size_t i = 0; reply->bytes && i <= reply->size; i++)
        sum = (uint8_t)(sum + reply->bytes[i]);
    expect(!reply->bytes || reply->bytes[reply->size] == 0);
    for (uint32_t i = 0; i < reply->count; i++) {
        expect(reply->element[i]);
        nodes += walk(reply->element[i], depth + 1);
    }
    return nodes + (sum & 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const perf_allocator counted = {counted_alloc, counted_free, NULL};
    perfi_replies replies = {.allocator = &counted, .max_bytes = MAX_BYTES};
    redisReader *reader = redisReaderCreate();
    size_t cut = size ? 1 + data[0] % 64 : 1;
    perfi_replies_attach(&replies, reader);
    perf_err err = PERF_OK;
    for (size_t at = 0; at < size && !err; at += cut) {
        size_t n = size - at < cut ? size - at : cut;
        if (redisReaderFeed(reader, (const char *)data + at, n) != REDIS_OK)
            break;
        for (perf_redis_reply *reply; !err;) {
            err = perfi_replies_next(&replies, reader, &reply);
            if (!reply)
                break;
            expect(!err && replies.bytes <= MAX_BYTES);
            expect(walk(reply, 0) <= MAX_BYTES);
            perfi_reply_free(reply);
        }
    }
    redisReaderFree(reader);
    expect(live == 0);
    expect(perfi_wire_count(data, size) <= size / 11);
    return 0;
}
