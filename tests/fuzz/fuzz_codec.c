/* fuzz_codec.c - proves that any bytes are either refused or a value: then its
 * tokens, written again, are the same bytes, and no more is announced than
 * bytes are there. */
#include "expect.h"

#include <libperf/codec.h>
#include <string.h>

static uint64_t
inside(const perf_token *t)
{
    switch (t->kind) {
    case PERF_TOKEN_DICT: return 2 * (uint64_t)t->size;
    case PERF_TOKEN_LIST:
    case PERF_TOKEN_TUPLE:
    case PERF_TOKEN_SET:
    case PERF_TOKEN_FROZENSET: return t->size;
    default: return t->kind == PERF_TOKEN_TYPED;
    }
}

static void
read_value(const uint8_t *bytes, size_t size)
{
    perf_codec_reader reader;
    perf_codec_writer again;
    perf_token t;
    perf_err err;
    uint64_t announced = 1;
    perf_codec_open(&reader, bytes, size);
    perf_codec_start(&again, NULL, 0, 0, NULL);
    while (!(err = perf_codec_next(&reader, &t)) && t.kind != PERF_TOKEN_END) {
        expect(!perf_codec_put(&again, &t));
        announced += inside(&t);
        expect(announced <= size && reader.depth <= PERF_CODEC_DEPTH);
    }
    expect(again.size <= size);
    expect(!again.size || !memcmp(again.bytes, bytes, again.size));
    if (!err) {
        expect(again.size == size);
        /* cut short it is no value any more */
        perf_codec_open(&reader, bytes, size - 1);
        while (!(err = perf_codec_next(&reader, &t)))
            expect(t.kind != PERF_TOKEN_END);
    }
    perf_codec_stop(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + !size); /* which ends where it ends */
    if (size)
        memcpy(copy, data, size);
    read_value(copy, size);
    free(copy);
    return 0;
}
