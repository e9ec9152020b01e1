/* fuzz_entry.c - proves that any bytes are either refused or an entry that
 * lies inside them, and that what such an entry holds may be decompressed. The
 * checksum is made right, or nothing would ever come as far. */
#include "expect.h"

#include <libperf/compressor.h>
#include <libperf/entry.h>
#include <string.h>

enum { LARGEST = 1 << 20 };

static perf_compressor *compressor;

static void
expect_inside(const uint8_t *at, size_t n, const uint8_t *bytes, size_t size)
{
    expect(at >= bytes && at + n <= bytes + size);
}

static void
unpack(const perf_entry *entry)
{
    if (entry->raw_size > LARGEST)
        return;
    uint8_t *raw = malloc(entry->raw_size + 1);
    raw[entry->raw_size] = 77;
    perf_err err =
        perf_compressor_unpack(compressor, entry->dictionary, entry->value,
                               entry->value_size, raw, entry->raw_size);
    expect(err == PERF_OK || err == PERF_ERR_CORRUPT ||
           err == PERF_ERR_NOT_FOUND);
    expect(raw[entry->raw_size] == 77);
    free(raw);
}

static void
read_entry(const uint8_t *bytes, size_t size)
{
    perf_entry entry;
    if (perf_entry_read(bytes, size, &entry))
        return;
    expect(entry.key_size && entry.label_count <= PERF_ENTRY_LABELS_MAX);
    expect_inside(entry.label, (size_t)8 * entry.label_count, bytes, size);
    expect_inside(entry.key, entry.key_size, bytes, size);
    expect_inside(entry.value, entry.value_size, bytes, size);
    for (size_t i = 0; i <= entry.label_count; i++)
        perf_entry_label(&entry, i);
    expect(perf_entry_size(&entry) == size);
    uint8_t *again = malloc(size);
    expect(!perf_entry_write(&entry, again, size));
    expect(!memcmp(again, bytes, 8)); /* behind the checksum all may differ: */
    expect(!memcmp(again + 16, bytes + 16, 44)); /* a reserved word is 0 */
    expect(!memcmp(again + 64, bytes + 64, size - 64));
    free(again);
    unpack(&entry);
}

/* The value that follows is a frame: nothing else is decompressed at all. */
static const uint8_t FRAME[] = {0x28, 0xB5, 0x2F, 0xFD};

/* An entry whose fields are what the bytes say, and its checksum is right. */
static void
read_made(const uint8_t *data, size_t size)
{
    if (size < 12)
        return;
    uint8_t labels[PERF_ENTRY_LABELS_MAX][8] = {{0}};
    perf_entry entry = {
        .dictionary = data[0] & 1,
        .raw_size = (uint32_t)data[1] << 8 | data[2],
        .compression = data[3],
        .label_count = data[4] % (PERF_ENTRY_LABELS_MAX + 1),
        .label = labels[0],
        .key = data + 5,
        .key_size = 1 + data[5] % 6,
        .value = data + 11,
        .value_size = size - 11,
    };
    uint8_t *frame = malloc(sizeof FRAME + size);
    memcpy(frame, FRAME, sizeof FRAME);
    memcpy(frame + sizeof FRAME, entry.value, entry.value_size);
    if (data[0] & 2) {
        entry.value = frame;
        entry.value_size += sizeof FRAME;
    }
    size_t needed = perf_entry_size(&entry);
    uint8_t *bytes = malloc(needed);
    expect(!perf_entry_write(&entry, bytes, needed));
    perf_entry back;
    expect(!perf_entry_read(bytes, needed, &back));
    read_entry(bytes, needed);
    bytes[data[6] % needed] ^= data[7];
    read_entry(bytes, needed);
    free(bytes);
    free(frame);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!compressor && perf_compressor_create(1, NULL, &compressor))
        return 0; /* built without zstd */
    uint8_t *copy = malloc(size + !size);
    if (size)
        memcpy(copy, data, size);
    read_entry(copy, size);
    read_made(copy, size);
    free(copy);
    return 0;
}
