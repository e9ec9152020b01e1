/* state.h - the file beside the database that processes share by mapping
 * it: Bloom filter, times of labels, who changed what.
 *
 * Its pages may hold anything: every place is masked, every size checked when
 * it is opened. What is wrong in it costs a miss, never more. The filter, the
 * log and the counts are written only by who holds the database's write lock;
 * the times and the bits of reads by anybody. */
#ifndef PERFI_STATE_H
#define PERFI_STATE_H
#include <libperf/disk.h>
#include <stdatomic.h>
#include <string.h>

enum {
    PERFI_STATE_PAGE = 4096,
    PERFI_STATE_LABELS = 65536,
    PERFI_STATE_TOUCHED = 8192, /* words of 64 bits */
    PERFI_BLOOM_WORDS = 8,      /* of a block of 512 bits */
    PERFI_BLOOM_KEY_BITS = 16,
    PERFI_STATE_VERSION = 1,
};
#define PERFI_STATE_MAGIC UINT64_C(0x6b73696466726570) /* "perfdisk" */

typedef struct perfi_state_header {
    /* constant while it is open by anybody; `checksum` covers them */
    uint64_t magic;
    uint64_t version;
    uint64_t file_bytes;
    uint64_t bloom_blocks; /* a power of two */
    uint64_t max_bytes;
    uint64_t checksum;
    /* the database as it was closed last: whoever finds it so trusts it */
    uint64_t clean_mtime_ns, clean_bytes;
    uint8_t clean_boot[16];
    /* relaxed, where nothing else is said */
    _Alignas(64) _Atomic uint64_t word; /* bumped with release after a change */
    _Atomic uint64_t poisoned;          /* release: the database is damaged */
    _Alignas(64) _Atomic uint64_t log_reserved; /* release, before the slots
                                                   are written */
    _Atomic uint64_t log_head;                  /* release, after the commit */
    _Atomic uint64_t invalidations; /* release, after the label's time */
    _Alignas(64) _Atomic uint64_t generation; /* release; the filter that
                                                 counts is number `& 1` */
    _Atomic uint64_t bloom_keys;              /* in it */
    _Atomic uint64_t entries, used_bytes;
    _Atomic uint64_t sweep; /* the next one to look at */
} perfi_state_header;

/** One change. Torn ones are found by `number`. */
typedef struct perfi_change {
    _Atomic uint64_t number; /* place in the log, plus 1 */
    _Atomic uint64_t process;
    _Atomic uint64_t half[2]; /* of the digest */
} perfi_change;

typedef struct perfi_state {
    perfi_state_header *header;
    _Atomic uint64_t *label;
    _Atomic uint64_t *touched;
    perfi_change *change;
    _Atomic uint64_t *bloom[2];
    uint64_t block_mask;
    size_t size;
    int fd;
} perfi_state;

/** How long the file is for a database of `max_bytes`. */
uint64_t perfi_state_bytes(uint64_t max_bytes);

/** Write a header into zeroed bytes. */
void perfi_state_make(void *bytes, uint64_t max_bytes);

/** Another max_bytes from now on; nobody else has it open. The filter stays as
 *  large as it is. */
void perfi_state_resize(perfi_state *s, uint64_t max_bytes);

/** Look at what lies in the bytes; the result points into them.
 *  Errors: PERF_ERR_VERSION, PERF_ERR_CORRUPT. */
perf_err perfi_state_attach(void *bytes, size_t size, perfi_state *out);

/* ---- labels ---- */

void perfi_state_invalidate(perfi_state *s, uint64_t label, uint64_t now_ms);

static inline uint64_t
perfi_state_label_ms(const perfi_state *s, uint64_t label)
{
    return atomic_load_explicit(&s->label[label % PERFI_STATE_LABELS],
                                memory_order_relaxed);
}

/* ---- Bloom filter: bloom.c ---- */

/** False: certainly not there. Any process, any time. */
bool perfi_bloom_may_have(const perfi_state *s, const uint8_t digest[16]);

/** With the database's write lock, before the commit. */
void perfi_bloom_add(perfi_state *s, const uint8_t digest[16]);

/** Make the other filter, key by key, then let it count. All of it with one
 *  hold of the write lock. */
void perfi_bloom_begin(perfi_state *s);
void perfi_bloom_fill(perfi_state *s, const uint8_t digest[16]);
void perfi_bloom_end(perfi_state *s, uint64_t keys);

/** As many keys as it is good for. */
static inline uint64_t
perfi_bloom_room(const perfi_state *s)
{
    return (s->block_mask + 1) * (512 / PERFI_BLOOM_KEY_BITS);
}

/* ---- what was read since it was written ---- */

static inline uint64_t
perfi_half(const uint8_t *bytes)
{
    uint64_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

void perfi_state_touch(perfi_state *s, const uint8_t digest[16]);

/** Whether it was read, and forget it. */
bool perfi_state_untouch(perfi_state *s, const uint8_t digest[16]);

/* ---- the log of changes: with the write lock, but for reading ---- */

/** Give what somebody wrote down and did not publish before it was killed. */
void perfi_log_recover(perfi_state *s);
void perfi_log_add(perfi_state *s, const uint8_t digest[16], uint64_t process);

/** After the commit. */
void perfi_log_publish(perfi_state *s, uint64_t reserved);

/** Changes from `*from` on that are not `process`'s. Returns as
 *  perf_disk_changes(). */
int64_t perfi_log_read(const perfi_state *s, uint64_t *from, uint64_t process,
                       uint8_t *out, size_t capacity);

/** Tell everybody who looks at the word. */
void perfi_state_bump(perfi_state *s);
#endif
