/* entry.h - a cached value as bytes: what the disk holds, and Redis.
 *
 * Model:    an entry is made once and stored as it is in every shared tier.
 *           It carries its own times, the whole key, the labels by which it
 *           can be invalidated, and a checksum over all of this; so whoever
 *           reads it trusts neither the tier nor a hash.
 *           Times are the wall clock's, for they are compared by other
 *           processes and after a restart.
 *           A label is the perf_hash() of a name (a namespace, a scope, a
 *           tag). A label is invalidated by writing down when; an entry is
 *           valid when it was begun later than that, for each of its labels.
 * Layout:   little-endian; 64 bytes, 8 for each label, the key, the value.
 * Trust:    perf_entry_read() takes any bytes.
 * Threads:  any; nothing is kept. */
#ifndef LIBPERF_ENTRY_H
#define LIBPERF_ENTRY_H
#include <libperf/base.h>

PERF_BEGIN_DECLS

enum { PERF_ENTRY_LABELS_MAX = 32 };

/** How the value is packed. Append-only. */
typedef enum perf_compression {
    PERF_COMPRESSION_NONE = 0,
    PERF_COMPRESSION_ZSTD = 1,
} perf_compression;

/** Bits of `flags`. Append-only. */
typedef enum perf_entry_flag {
    PERF_ENTRY_STREAM = 1, /* the value is a list of what a stream yielded */
} perf_entry_flag;

typedef struct perf_entry {
    uint64_t created_ms;  /* since 1970: when computing the value began */
    uint64_t fresh_ms;    /* from then on it is stale; UINT64_MAX: never */
    uint64_t expires_ms;  /* from then on it is gone; UINT64_MAX: never */
    uint32_t compute_us;  /* how long computing took; saturates */
    uint32_t dictionary;  /* that it was compressed with; 0: none */
    uint32_t raw_size;    /* of the value before compression */
    uint8_t compression;  /* perf_compression */
    uint8_t flags;        /* perf_entry_flag */
    uint8_t label_count;  /* up to PERF_ENTRY_LABELS_MAX */
    const uint8_t *label; /* label_count x 8 bytes, perf_entry_label() */
    const uint8_t *key;   /* the whole key, never empty */
    size_t key_size;      /* below 4 GiB */
    const uint8_t *value; /* may be empty */
    size_t value_size;    /* below 4 GiB */
} perf_entry;

/** How many bytes it makes; 0: more than 4 GiB, or too many labels. */
PERF_API size_t perf_entry_size(const perf_entry *entry);

/** Write it.  @param out  perf_entry_size() bytes
 *  Errors: PERF_ERR_INVALID, PERF_ERR_RANGE (no size, or `capacity` is less).
 */
PERF_API perf_err perf_entry_write(const perf_entry *entry, void *out,
                                   size_t capacity);

/** Take bytes apart and check them. The pointers of `out` go into `bytes`.
 *  Errors: PERF_ERR_INVALID, PERF_ERR_VERSION, PERF_ERR_CORRUPT. */
PERF_API perf_err perf_entry_read(const void *bytes, size_t size,
                                  perf_entry *out);

/** One of its labels.  @param i  below label_count, else the result is 0 */
PERF_API uint64_t perf_entry_label(const perf_entry *entry, size_t i);

/** Put a label into the 8 bytes that perf_entry.label wants. */
PERF_API void perf_entry_put_label(uint64_t label, uint8_t out[8]);

PERF_END_DECLS
#endif
