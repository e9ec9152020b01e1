/* fuzz_exemplars.c - proves that whatever bytes a segment holds, each exemplar
 * is a span of its class, and all counts can be had.
 *
 * An input is a list of patches on the image of a real trace: 4 bytes say
 * where, then 4 bytes to put there. */
#include "segment_kit.h"

#include <libperf/exemplar.h>
#include <string.h>

enum { BOUNDS = 5, NAMES = 50 };
static const uint64_t bounds[BOUNDS] = {0, 100, 5000, 100000, UINT64_MAX - 1};

static unsigned char *valid, *patched;
static size_t valid_size;
static perf_exemplars *exemplars;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    valid = make_trace(SPANS_THAT_WRAP, &valid_size);
    patched = malloc(valid_size);
    expect(!perf_exemplars_create(NULL, bounds, BOUNDS, &exemplars));
    return 0;
}

static void
check_exemplars(uint32_t name)
{
    const perf_exemplar *of = perf_exemplars_of(exemplars, name);
    for (int i = 0; of && i <= BOUNDS; i++)
        expect(!of[i].id || ((i == 0 || of[i].duration_ns > bounds[i - 1]) &&
                             (i == BOUNDS || of[i].duration_ns <= bounds[i])));
}

static void
check_counts(const perf_reader *reader)
{
    static perf_totals totals[NAMES];
    static uint64_t up_to[NAMES][BOUNDS];
    expect(!perf_reader_counts(reader, bounds, BOUNDS, NAMES, totals, *up_to));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    perf_reader *reader;
    memcpy(patched, valid, valid_size);
    for (; size >= 8; data += 8, size -= 8) {
        uint32_t where;
        memcpy(&where, data, sizeof where);
        memcpy(patched + where % (valid_size - 4), data + 4, 4);
    }
    if (perf_reader_open_bytes(patched, valid_size, NULL, &reader))
        return 0;
    expect(!perf_exemplars_take_blocking(exemplars, reader,
                                         size & 1 ? UINT64_MAX : 100));
    for (uint32_t name = 0; name < PERF_NAMES_MAX; name++)
        check_exemplars(name);
    check_counts(reader);
    perf_exemplars_clear(exemplars);
    perf_reader_close(reader);
    return 0;
}
