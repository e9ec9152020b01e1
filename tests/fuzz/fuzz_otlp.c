/* fuzz_otlp.c - whatever bytes a segment holds, its requests are whole:
 * bounded, every length inside of its message, every text UTF-8; JSON is
 * balanced. The input is patches on the image of a real trace: 4 bytes say
 * where, one is put there. */
#include "segment_kit.h"

#include "../../profiler/src/otlp_out.h"

#include <libperf/otlp.h>

#include <string.h>

/* Few: each input has all of them encoded, and every byte looked at. That rings
 * wrap is fuzz_reader's. */
enum { SPANS = 30 };

static unsigned char *valid, *patched;
static size_t valid_size;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    valid = make_trace(SPANS, &valid_size);
    patched = malloc(valid_size);
    return 0;
}

static uint64_t
varint(const uint8_t **at, const uint8_t *end)
{
    uint64_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
        expect(*at < end && shift < 70);
        uint8_t byte = *(*at)++;
        value |= (uint64_t)(byte & 127) << (shift & 63);
        if (byte < 128)
            return value;
    }
}

/* Fields, one behind the other, up to the end exactly. */
static void
walk_protobuf(const uint8_t *at, size_t size)
{
    const uint8_t *end = at + size;
    while (at < end) {
        uint64_t tag = varint(&at, end), length;
        expect(tag >> 3 > 0 && tag >> 3 < 32);
        switch (tag & 7) {
        case 0: varint(&at, end); continue;
        case 1: length = 8; break;
        default: expect((tag & 7) == 2); length = varint(&at, end);
        }
        expect(length <= (uint64_t)(end - at));
        at += length;
    }
}

static void
walk_json(const uint8_t *at, size_t size)
{
    int depth = 0;
    bool in_text = false;
    expect(perfi_text_is_utf8((const char *)at, size));
    for (size_t i = 0; i < size; i++) {
        expect(at[i] >= 32);
        if (in_text) {
            i += at[i] == '\\';
            in_text = at[i] != '"' || at[i - 1] == '\\';
            continue;
        }
        in_text = at[i] == '"';
        depth +=
            (at[i] == '{' || at[i] == '[') - (at[i] == '}' || at[i] == ']');
        expect(depth > 0 || i + 1 == size);
    }
    expect(!depth && !in_text);
}

static void
walk(const perf_otlp_body *body, uint32_t format)
{
    expect(body->signal < PERF_OTLP_SIGNALS && body->size > 0);
    if (format == PERF_OTLP_JSON)
        walk_json(body->bytes, body->size);
    else
        walk_protobuf(body->bytes, body->size);
}

static void
encode(perf_reader *reader, uint8_t how)
{
    perf_otlp *o;
    perf_otlp_body body;
    perf_otlp_config c;
    perf_otlp_config_init(&c, sizeof c);
    c.format = how & 1;
    c.lines = how >> 1 & 1;
    c.histograms = how >> 2 & 1;
    c.max_bytes = how & 8 ? 4096 : 4 << 20;
    if (perf_otlp_create(reader, &c, &o))
        return;
    while (!perf_otlp_records(o, &body) && body.items)
        walk(&body, c.format);
    while (!perf_otlp_rest(o, &body) && body.items)
        walk(&body, c.format);
    while (!perf_otlp_metrics(o, 0, &body) && body.items)
        walk(&body, c.format);
    perf_otlp_destroy(o);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    memcpy(patched, valid, valid_size);
    for (size_t at = 1; at + 5 <= size; at += 5) {
        uint32_t where;
        memcpy(&where, data + at, sizeof where);
        patched[where % valid_size] = data[at + 4];
    }
    perf_reader *reader;
    if (perf_reader_open_bytes(patched, valid_size, NULL, &reader))
        return 0;
    encode(reader, data[0]);
    perf_reader_close(reader);
    return 0;
}
