/* otlp.c - spans as OTLP requests. Each round reads the process's own segment
 * anew, so the copy and the records are in the time: otlp/read has them alone.
 */
#include "cases.h"

#include <libperf/otlp.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SPANS = 70000 }; /* more than a ring keeps: it holds nothing else */

/* ---- memory that stays: fresh pages would take longer than what is timed ----
 */

static void *spare[8];
static size_t spare_size[8];

static void *
take(size_t size, void *ctx)
{
    (void)ctx;
    for (int i = 0; i < 8; i++)
        if (spare[i] && spare_size[i] == size) {
            void *memory = memset(spare[i], 0, size);
            spare[i] = NULL;
            return memory;
        }
    return calloc(1, size);
}

static void
give_back(void *memory, size_t size, void *ctx)
{
    (void)ctx;
    for (int i = 0; memory && i < 8; i++)
        if (!spare[i]) {
            spare[i] = memory;
            spare_size[i] = size;
            return;
        }
    free(memory);
}

static const perf_allocator keeping = {take, give_back, NULL};

/* ---- cases ---- */

/* Of one case: cases take turns. */
typedef struct kit {
    unsigned char *bytes; /* of the segment */
    size_t size;
    uint32_t format;
    perf_reader *reader;
    perf_otlp *otlp;
} kit;

static uint32_t
name_of(perf_kind kind, const char *text)
{
    return perf_name(kind, text, strlen(text));
}

static bool begin_anew(perf_bench_state *state, uint32_t format);

static void
copy_segment(perf_bench_state *state)
{
    kit *k = state->data;
    char path[PERF_PATH_MAX_BYTES];
    FILE *file = NULL;
    if (!perf_segment_path(path, sizeof path) && *path)
        file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) {
        perf_bench_fail(state, "there is no segment that can be read");
        return;
    }
    k->size = (size_t)ftell(file);
    k->bytes = malloc(k->size);
    rewind(file);
    if (!k->bytes || fread(k->bytes, 1, k->size, file) != k->size)
        perf_bench_fail(state, "the segment cannot be read");
    else /* here, or the harness would take it for what one span costs */
        begin_anew(state, k->format);
    fclose(file);
}

static void
record_plain(perf_bench_state *state)
{
    uint32_t name = name_of(PERF_KIND_SPAN, "bench.otlp");
    perf_span root = perf_span_begin(name, (perf_span){0});
    for (int i = 0; i < SPANS; i++)
        perf_span_end(perf_span_begin(name, root));
    perf_span_end(root);
    copy_segment(state);
}

static void
record_model(perf_bench_state *state)
{
    uint32_t name = name_of(PERF_KIND_LLM, "bench.otlp");
    uint32_t model = name_of(PERF_KIND_KEY, "gen_ai.request.model");
    uint32_t which = name_of(PERF_KIND_TEXT, "gpt-4o-mini");
    uint32_t tokens = name_of(PERF_KIND_QUANTITY, "gen_ai.usage.input_tokens");
    uint32_t warmth = name_of(PERF_KIND_KEY, "gen_ai.request.temperature");
    uint32_t user = name_of(PERF_KIND_KEY, "user");
    perf_span root = perf_span_begin(name, (perf_span){0});
    for (int i = 0; i < SPANS; i++) {
        perf_span s = perf_span_begin(name, root);
        perf_span_set_name(s, model, which);
        perf_span_set_int(s, tokens, 512);
        perf_span_set_float(s, warmth, 0.2);
        perf_span_set_text(s, user, "user-0123456789", 15);
        perf_span_end(s);
    }
    perf_span_end(root);
    copy_segment(state);
}

static void
let_go(perf_bench_state *state)
{
    kit *k = state->data;
    perf_otlp_destroy(k->otlp);
    perf_reader_close(k->reader);
    k->otlp = NULL;
    k->reader = NULL;
}

static void
forget(perf_bench_state *state)
{
    kit *k = state->data;
    let_go(state);
    free(k->bytes);
    k->bytes = NULL;
}

static bool
begin_anew(perf_bench_state *state, uint32_t format)
{
    perf_otlp_config c;
    perf_otlp_config_init(&c, sizeof c);
    c.format = format;
    c.allocator = &keeping;
    c.max_bytes = 16 << 10; /* small steps, so that they can be counted */
    let_go(state);
    kit *k = state->data;
    bool good =
        !perf_reader_open_bytes(k->bytes, k->size, &keeping, &k->reader) &&
        !perf_otlp_create(k->reader, &c, &k->otlp);
    if (!good)
        perf_bench_fail(state, "the segment cannot be read");
    return good;
}

static void
encode(perf_bench_state *state, uint32_t format)
{
    kit *k = state->data;
    perf_otlp_body body;
    for (uint64_t done = 0; done < state->iterations; done += body.items) {
        if ((!k->otlp && !begin_anew(state, format)) ||
            perf_otlp_records(k->otlp, &body))
            return;
        perf_bench_keep(body.bytes);
        if (!body.items)
            let_go(state);
    }
}

static void
protobuf(perf_bench_state *state)
{
    encode(state, PERF_OTLP_PROTOBUF);
}

static void
json(perf_bench_state *state)
{
    encode(state, PERF_OTLP_JSON);
}

static void
only_read(perf_bench_state *state)
{
    static perf_record record[64];
    kit *k = state->data;
    size_t n;
    for (uint64_t done = 0; done < state->iterations; done += n) {
        if (!k->otlp && !begin_anew(state, PERF_OTLP_PROTOBUF))
            return;
        n = perf_reader_records(k->reader, record, 64);
        perf_bench_keep(record);
        if (!n)
            let_go(state);
    }
}

static void
add(const char *name, perf_bench_fn run, perf_bench_fn setup,
    const char *reference)
{
    static kit kits[6];
    static size_t used;
    perf_bench_case *c = perf_bench_add(name, run);
    kit *k = &kits[used++];
    k->format = run == json ? PERF_OTLP_JSON : PERF_OTLP_PROTOBUF;
    c->ctx = k;
    c->setup = setup;
    c->teardown = forget;
    c->reference = reference;
}

void
add_otlp_cases(void)
{
    static const char read[] = "otlp/read";
    static const char read_4[] = "otlp/read/4_attributes";
    add(read, only_read, record_plain, NULL);
    add("otlp/protobuf", protobuf, record_plain, read);
    add("otlp/json", json, record_plain, read);
    add(read_4, only_read, record_model, NULL);
    add("otlp/protobuf/4_attributes", protobuf, record_model, read_4);
    add("otlp/json/4_attributes", json, record_model, read_4);
}
