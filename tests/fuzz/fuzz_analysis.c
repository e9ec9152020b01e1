/* fuzz_analysis.c - proves that whatever a recording says happened, the
 * analysis comes to an end and gives the same answer twice: no crash, no read
 * outside, no time without end.
 *
 * Six bytes of an input are an event: what, who, with whom, when. Ids are
 * small, so that events have to do with each other. The first byte chooses:
 * events alone, or the image of a segment with events in it, damaged. */
#include "expect.h"

#include "segment/segment.h"

#include <libperf/analysis.h>
#include <libperf/metric.h>

#include <pthread.h>
#include <string.h>

enum {
    RINGS = 2,
    BYTES = 6, /* of an event */
    ROOM = (PERFI_CHUNK - sizeof(perfi_ring_chunk)) / sizeof(perfi_event),
    NAMES = 6,
    PATCH = 12, /* 4 bytes say where, 8 what */
};

static unsigned char *valid, *image;
static size_t image_size;
static size_t block_at[RINGS], chunk_at[RINGS];
static uint32_t first_name;

/* Freed copies go back at once: fresh pages would take most of the time. */
const char *
__asan_default_options(void)
{
    return "quarantine_size_mb=4";
}

/* ---- a segment with two rings of one chunk ---- */

static void *
write_one(void *ctx)
{
    (void)ctx;
    perf_event_write(PERF_EVENT_THREAD, PERF_ACTOR_MAIN, 0, 1, 1);
    return NULL;
}

static void
find_rings(void)
{
    const perfi_header *header = (const void *)valid;
    uint64_t at = perfi_get(&header->blocks);
    for (int i = RINGS; i-- > 0;) { /* the newest block comes first */
        const perfi_block *block = (const void *)(valid + at);
        block_at[i] = at;
        chunk_at[i] =
            (size_t)atomic_load_explicit(&block->ring, memory_order_relaxed) *
            PERFI_UNIT;
        at = (uint64_t)block->next * PERFI_UNIT;
        expect(chunk_at[i] && chunk_at[i] + PERFI_CHUNK <= image_size);
    }
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const struct {
        perf_kind kind;
        const char *text;
    } names[NAMES] = {{PERF_KIND_SPAN, "a"},         {PERF_KIND_NODE, "a"},
                      {PERF_KIND_NODE, "b"},         {PERF_KIND_LLM, "model"},
                      {PERF_KIND_TEXT, "numpy.fft"}, {PERF_KIND_TEXT, "numpy"}};
    (void)argc;
    (void)argv;
    pthread_t other;
    perf_segment_config config;
    perf_segment_config_init(&config, sizeof config);
    config.dir = "off";
    config.max_bytes = 1 << 20;
    config.ring_bytes = PERFI_CHUNK;
    expect(!perf_segment_start(&config));
    for (int i = 0; i < NAMES; i++) {
        uint32_t name =
            perf_name(names[i].kind, names[i].text, strlen(names[i].text));
        first_name = i ? first_name : name;
    }
    write_one(NULL);
    pthread_create(&other, NULL, write_one, NULL);
    pthread_join(other, NULL);
    const perfi_segment *s = &perfi_segment_state;
    image_size = perfi_get(&s->header->used_bytes);
    valid = malloc(image_size);
    image = malloc(image_size);
    memcpy(valid, s->base, image_size);
    find_rings();
    return 0;
}

/* ---- events ---- */

/* Half of them are small, so that they meet. */
static uint64_t
number(uint8_t byte)
{
    if (byte < 240)
        return byte < 128 ? byte & 15 : byte;
    return byte == 255 ? UINT64_MAX : UINT64_C(1) << (byte - 192);
}

static uint64_t
later(uint8_t byte) /* in nanoseconds; sometimes it is earlier */
{
    if (byte < 200)
        return byte * UINT64_C(100000);
    if (byte < 220)
        return (byte - 199) * UINT64_C(1000000000);
    if (byte < 240)
        return 0 - (byte - 219) * UINT64_C(3000000);
    return UINT64_C(1) << (byte - 192);
}

static perfi_event
event_of(const uint8_t *b, uint64_t *now, uint64_t *cpu)
{
    uint8_t code = b[0] & 63;
    uint64_t step = later(b[5]), more = number(b[3]);
    *now += step;
    *cpu += b[1] & 64 ? step : 0;
    switch (code) {
    case PERF_EVENT_TIMER:
    case PERF_EVENT_SELECT: more = *now + later(b[3]); break;
    case PERF_EVENT_SLEEP: more = later(b[3]); break;
    case PERF_EVENT_RESOURCE: more = b[3] % 5 | number(b[3] >> 3) << 8; break;
    default: break;
    }
    bool named = code == PERF_EVENT_SPAN_BEGIN || code == PERF_EVENT_IMPORT ||
                 code == PERF_EVENT_RESOURCE || code == PERF_EVENT_WHERE;
    uint32_t arg = b[1] & 7;
    if (named) /* mostly names that there are */
        arg = arg < NAMES ? first_name + arg : (uint32_t)number(b[1]);
    return (perfi_event){
        .type = PERF_RECORD_EVENT,
        .units = sizeof(perfi_event) / PERFI_UNIT,
        .code = code,
        .flags = PERFI_EVENT_NS,
        .arg = arg,
        .ticks = *now,
        .cpu_ns = b[1] & 128 ? *cpu : 0,
        .span = number(b[4]) & ~UINT64_C(1) ? number(b[4]) : 0,
        .key = number(b[2]),
        .more = more,
    };
}

/* Into the two rings, as each event says. Returns how many bytes it took. */
static size_t
write_events(const uint8_t *data, size_t size)
{
    uint64_t now[RINGS] = {1000000, 1000000}, cpu[RINGS] = {1, 1};
    size_t count[RINGS] = {0}, at = 0;
    for (; at + BYTES <= size && data[at] != 0xFF; at += BYTES) {
        int ring = data[at] >> 7;
        if (count[ring] == ROOM)
            break;
        perfi_event e = event_of(data + at, &now[ring], &cpu[ring]);
        memcpy(image + chunk_at[ring] + sizeof(perfi_ring_chunk) +
                   count[ring]++ * sizeof e,
               &e, sizeof e);
    }
    for (int i = 0; i < RINGS; i++)
        perfi_set(&((perfi_block *)(void *)(image + block_at[i]))->head,
                  sizeof(perfi_ring_chunk) + count[i] * sizeof(perfi_event));
    return at + 1 < size ? at + 1 : size;
}

static void
damage(const uint8_t *data, size_t size)
{
    for (size_t at = 0; at + PATCH <= size; at += PATCH) {
        uint32_t where;
        memcpy(&where, data + at, sizeof where);
        memcpy(image + where % (image_size - 8) / 4 * 4, data + at + 4, 8);
    }
}

/* ---- everything an analysis answers ---- */

static void
walk_path(perf_analysis *a, const perf_analysis_info *info, uint64_t span)
{
    const perf_path_step *step;
    perf_path_share share;
    size_t n;
    if (perf_analysis_path_blocking(a, span, &step, &n))
        return;
    uint64_t all = 0, shared = 0;
    for (size_t i = 0; i < n; i++) {
        expect(step[i].from_ns < step[i].to_ns);
        expect(i == 0 || step[i].from_ns >= step[i - 1].to_ns);
        all += step[i].to_ns - step[i].from_ns;
    }
    for (uint32_t i = 0; i < info->labels; i++) {
        expect(!perf_analysis_path_share(a, i, &share));
        shared += share.ns;
    }
    expect(all == shared);
}

static void
replay(perf_analysis *a, perf_change change, uint64_t sample)
{
    uint64_t ns;
    expect(!perf_analysis_replay_blocking(a, &change, 1, 3, sample, &ns));
}

/* After whatever changes: as it was. */
static uint64_t
replay_unchanged(perf_analysis *a)
{
    uint64_t ns;
    expect(!perf_analysis_replay_blocking(a, NULL, 0, 3, 0, &ns));
    return ns;
}

static void
ask_everything(perf_analysis *a, const perf_reader *reader)
{
    perf_analysis_info info;
    perf_label label;
    perf_resource_use use;
    expect(!perf_analysis_info_get(a, &info));
    expect(info.labels >= 2 && info.threads >= 1);
    uint64_t before = replay_unchanged(a);
    for (uint32_t i = 0; i < info.labels; i++) {
        expect(!perf_analysis_label(a, i, &label));
        if (label.kind == PERF_LABEL_SPAN || label.kind == PERF_LABEL_IMPORT)
            perf_reader_name(reader, label.name, NULL);
        else if (label.kind == PERF_LABEL_HOLD)
            expect(label.name < info.resources);
        if (label.gap_ns)
            replay(a, (perf_change){PERF_CHANGE_GAP, i, 0.5}, 0);
        if (label.siblings && i < 6)
            replay(a, (perf_change){PERF_CHANGE_SIDE_BY_SIDE, i, 1}, 0);
    }
    replay(a, (perf_change){PERF_CHANGE_TIME, info.labels - 1, 1000}, 7);
    for (uint32_t i = 0; i < info.resources; i++) {
        expect(!perf_analysis_resource(a, i, &use));
        if (i < 4)
            replay(a, (perf_change){PERF_CHANGE_CAPACITY, i, 2}, 0);
    }
    for (uint64_t span = 0; span < 16; span++)
        walk_path(a, &info, span);
    expect(replay_unchanged(a) == before);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    perf_reader *reader;
    perf_analysis *analysis;
    if (!size)
        return 0;
    memcpy(image, valid, image_size);
    size_t used = 1 + write_events(data + 1, size - 1);
    if (data[0] % 4 == 0)
        damage(data + used, size - used);
    if (perf_reader_open_bytes(image, image_size, NULL, &reader))
        return 0;
    perf_err err = perf_analysis_create_blocking(reader, data[0] & 16 ? 1 : 0,
                                                 NULL, &analysis);
    expect(!err || err == PERF_ERR_NOT_FOUND);
    if (!err)
        ask_everything(analysis, reader);
    perf_analysis_destroy(err ? NULL : analysis);
    perf_reader_close(reader);
    return 0;
}
