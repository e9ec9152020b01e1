/* entry.c - the layout of an entry, and the checks of reading one. */
#include <libperf/entry.h>

#include <libperf/hash.h>
#include <string.h>

/* Where each field lies. The checksum covers everything but itself. */
enum {
    MAGIC = 0,       /* u32 */
    VERSION = 4,     /* u8 */
    COMPRESSION = 5, /* u8 */
    FLAGS = 6,       /* u8 */
    LABELS = 7,      /* u8 */
    CHECKSUM = 8,    /* u64 */
    CREATED = 16,    /* u64 */
    FRESH = 24,      /* u64 */
    EXPIRES = 32,    /* u64 */
    COMPUTE = 40,    /* u32 */
    DICTIONARY = 44, /* u32 */
    KEY_SIZE = 48,   /* u32 */
    VALUE_SIZE = 52, /* u32 */
    RAW_SIZE = 56,   /* u32 */
    RESERVED = 60,   /* u32, 0 */
    HEADER = 64,

    MAGIC_VALUE = 0x72667070, /* "ppfr" */
    VERSION_VALUE = 1,
};

static void
put(uint8_t *at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t
get(const uint8_t *at, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static uint64_t
checksum(const uint8_t *bytes, size_t size)
{
    uint64_t head = get(bytes, 8);
    return perf_hash(bytes + CREATED, size - CREATED) ^
           head * UINT64_C(0x9E3779B97F4A7C15);
}

size_t
perf_entry_size(const perf_entry *entry)
{
    if (entry->label_count > PERF_ENTRY_LABELS_MAX || !entry->key_size ||
        entry->key_size > UINT32_MAX || entry->value_size > UINT32_MAX)
        return 0;
    uint64_t size = HEADER + UINT64_C(8) * entry->label_count +
                    entry->key_size + entry->value_size;
    return size > UINT32_MAX ? 0 : (size_t)size;
}

static void
copy(uint8_t *out, const void *bytes, size_t size)
{
    if (size) /* memcpy() takes no NULL */
        memcpy(out, bytes, size);
}

perf_err
perf_entry_write(const perf_entry *entry, void *out, size_t capacity)
{
    if (!entry || !out)
        return PERF_ERR_INVALID;
    size_t size = perf_entry_size(entry);
    if (!size || capacity < size)
        return PERF_ERR_RANGE;
    if ((entry->label_count && !entry->label) || !entry->key ||
        (entry->value_size && !entry->value))
        return PERF_ERR_INVALID;
    uint8_t *at = out;
    put(at + MAGIC, MAGIC_VALUE, 4);
    at[VERSION] = VERSION_VALUE;
    at[COMPRESSION] = entry->compression;
    at[FLAGS] = entry->flags;
    at[LABELS] = entry->label_count;
    put(at + CREATED, entry->created_ms, 8);
    put(at + FRESH, entry->fresh_ms, 8);
    put(at + EXPIRES, entry->expires_ms, 8);
    put(at + COMPUTE, entry->compute_us, 4);
    put(at + DICTIONARY, entry->dictionary, 4);
    put(at + KEY_SIZE, entry->key_size, 4);
    put(at + VALUE_SIZE, entry->value_size, 4);
    put(at + RAW_SIZE, entry->raw_size, 4);
    put(at + RESERVED, 0, 4);
    size_t labels = (size_t)8 * entry->label_count;
    copy(at + HEADER, entry->label, labels);
    copy(at + HEADER + labels, entry->key, entry->key_size);
    copy(at + HEADER + labels + entry->key_size, entry->value,
         entry->value_size);
    put(at + CHECKSUM, checksum(at, size), 8);
    return PERF_OK;
}

perf_err
perf_entry_read(const void *bytes, size_t size, perf_entry *out)
{
    const uint8_t *at = bytes;
    if (!at || !out)
        return PERF_ERR_INVALID;
    if (size < HEADER || size > UINT32_MAX || get(at + MAGIC, 4) != MAGIC_VALUE)
        return PERF_ERR_CORRUPT;
    if (at[VERSION] != VERSION_VALUE)
        return PERF_ERR_VERSION;
    size_t labels = (size_t)8 * at[LABELS];
    uint64_t key = get(at + KEY_SIZE, 4), value = get(at + VALUE_SIZE, 4);
    if (at[LABELS] > PERF_ENTRY_LABELS_MAX || !key ||
        HEADER + labels + key + value != size ||
        get(at + CHECKSUM, 8) != checksum(at, size))
        return PERF_ERR_CORRUPT;
    *out = (perf_entry){
        .created_ms = get(at + CREATED, 8),
        .fresh_ms = get(at + FRESH, 8),
        .expires_ms = get(at + EXPIRES, 8),
        .compute_us = (uint32_t)get(at + COMPUTE, 4),
        .dictionary = (uint32_t)get(at + DICTIONARY, 4),
        .raw_size = (uint32_t)get(at + RAW_SIZE, 4),
        .compression = at[COMPRESSION],
        .flags = at[FLAGS],
        .label_count = at[LABELS],
        .label = at + HEADER,
        .key = at + HEADER + labels,
        .key_size = (size_t)key,
        .value = at + HEADER + labels + key,
        .value_size = (size_t)value,
    };
    return PERF_OK;
}

uint64_t
perf_entry_label(const perf_entry *entry, size_t i)
{
    return i < entry->label_count ? get(entry->label + 8 * i, 8) : 0;
}

void
perf_entry_put_label(uint64_t label, uint8_t out[8])
{
    put(out, label, 8);
}
