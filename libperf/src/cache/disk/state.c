/* state.c - layout of the shared file, times of labels, marks of reads, the
 * log of changes. */
#include "state.h"

#include <libperf/hash.h>

enum {
    LABEL_BYTES = PERFI_STATE_LABELS * 8,
    TOUCHED_BYTES = PERFI_STATE_TOUCHED * 8,
    LOG_BYTES = PERF_DISK_CHANGES * (int)sizeof(perfi_change),
    BLOCK_BYTES = PERFI_BLOOM_WORDS * 8,
    /* entries are not expected to be smaller than this, on the average */
    ENTRY_BYTES = 512,
};
_Static_assert(sizeof(perfi_state_header) <= PERFI_STATE_PAGE, "one page");
_Static_assert(sizeof(perfi_change) == 32, "no padding");

static uint64_t
blocks_for(uint64_t max_bytes)
{
    uint64_t bits = max_bytes / ENTRY_BYTES * PERFI_BLOOM_KEY_BITS;
    uint64_t blocks = 64; /* a page */
    while (blocks * 512 < bits)
        blocks *= 2;
    return blocks;
}

static uint64_t
bytes_for(uint64_t blocks)
{
    return PERFI_STATE_PAGE + LABEL_BYTES + TOUCHED_BYTES + LOG_BYTES +
           2 * blocks * BLOCK_BYTES;
}

uint64_t
perfi_state_bytes(uint64_t max_bytes)
{
    return bytes_for(blocks_for(max_bytes));
}

static uint64_t
checksum(const perfi_state_header *h)
{
    return perf_hash(h, offsetof(perfi_state_header, checksum));
}

void
perfi_state_make(void *bytes, uint64_t max_bytes)
{
    perfi_state_header *h = bytes;
    h->version = PERFI_STATE_VERSION;
    h->bloom_blocks = blocks_for(max_bytes);
    h->file_bytes = bytes_for(h->bloom_blocks);
    h->max_bytes = max_bytes;
    h->magic = PERFI_STATE_MAGIC;
    h->checksum = checksum(h);
}

void
perfi_state_resize(perfi_state *s, uint64_t max_bytes)
{
    s->header->max_bytes = max_bytes;
    s->header->checksum = checksum(s->header);
}

perf_err
perfi_state_attach(void *bytes, size_t size, perfi_state *out)
{
    perfi_state_header *h = bytes;
    if (size < PERFI_STATE_PAGE || h->magic != PERFI_STATE_MAGIC)
        return PERF_ERR_CORRUPT;
    if (h->version != PERFI_STATE_VERSION)
        return PERF_ERR_VERSION;
    uint64_t blocks = h->bloom_blocks;
    if (h->checksum != checksum(h) || h->file_bytes != size || !blocks ||
        (blocks & (blocks - 1)) || blocks > size || bytes_for(blocks) != size)
        return PERF_ERR_CORRUPT;
    unsigned char *at = (unsigned char *)bytes + PERFI_STATE_PAGE;
    out->header = h;
    out->size = size;
    out->block_mask = blocks - 1;
    out->label = (void *)at;
    at += LABEL_BYTES;
    out->touched = (void *)at;
    at += TOUCHED_BYTES;
    out->change = (void *)at;
    at += LOG_BYTES;
    out->bloom[0] = (void *)at;
    out->bloom[1] = (void *)(at + blocks * BLOCK_BYTES);
    return PERF_OK;
}

void
perfi_state_invalidate(perfi_state *s, uint64_t label, uint64_t now_ms)
{
    _Atomic uint64_t *at = &s->label[label % PERFI_STATE_LABELS];
    uint64_t was = atomic_load_explicit(at, memory_order_relaxed);
    /* the later one stays, whoever comes last */
    while (was < now_ms &&
           !atomic_compare_exchange_weak_explicit(
               at, &was, now_ms, memory_order_relaxed, memory_order_relaxed))
        ;
}

/* ---- marks of reads ---- */

static _Atomic uint64_t *
mark_of(perfi_state *s, const uint8_t digest[16], uint64_t *bit)
{
    uint64_t hash = perfi_half(digest + 8);
    *bit = UINT64_C(1) << (hash & 63);
    return &s->touched[(hash >> 6) % PERFI_STATE_TOUCHED];
}

void
perfi_state_touch(perfi_state *s, const uint8_t digest[16])
{
    uint64_t bit;
    _Atomic uint64_t *word = mark_of(s, digest, &bit);
    /* a line that is only read stays in every core's cache */
    if (!(atomic_load_explicit(word, memory_order_relaxed) & bit))
        atomic_fetch_or_explicit(word, bit, memory_order_relaxed);
}

bool
perfi_state_untouch(perfi_state *s, const uint8_t digest[16])
{
    uint64_t bit;
    _Atomic uint64_t *word = mark_of(s, digest, &bit);
    return atomic_fetch_and_explicit(word, ~bit, memory_order_relaxed) & bit;
}

/* ---- the log ---- */

void
perfi_state_bump(perfi_state *s)
{
    atomic_fetch_add_explicit(&s->header->word, 1, memory_order_release);
}

void
perfi_log_add(perfi_state *s, const uint8_t digest[16], uint64_t process)
{
    perfi_state_header *h = s->header;
    uint64_t at = atomic_load_explicit(&h->log_reserved, memory_order_relaxed);
    perfi_change *c = &s->change[at % PERF_DISK_CHANGES];
    /* pairs with the fence in perfi_log_read(): who sees one of the new fields
     * sees that the number is gone, too */
    atomic_store_explicit(&c->number, 0, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    atomic_store_explicit(&c->process, process, memory_order_relaxed);
    atomic_store_explicit(&c->half[0], perfi_half(digest),
                          memory_order_relaxed);
    atomic_store_explicit(&c->half[1], perfi_half(digest + 8),
                          memory_order_relaxed);
    atomic_store_explicit(&c->number, at + 1, memory_order_release);
    atomic_store_explicit(&h->log_reserved, at + 1, memory_order_release);
}

void
perfi_log_publish(perfi_state *s, uint64_t reserved)
{
    _Atomic uint64_t *head = &s->header->log_head;
    uint64_t was = atomic_load_explicit(head, memory_order_relaxed);
    bool moved = false;
    while ((int64_t)(reserved - was) > 0 &&
           !(moved = atomic_compare_exchange_weak_explicit(
                 head, &was, reserved, memory_order_release,
                 memory_order_relaxed)))
        ;
    if (moved)
        perfi_state_bump(s);
}

void
perfi_log_recover(perfi_state *s)
{
    perfi_state_header *h = s->header;
    uint64_t reserved =
        atomic_load_explicit(&h->log_reserved, memory_order_relaxed);
    if (reserved != atomic_load_explicit(&h->log_head, memory_order_relaxed))
        perfi_log_publish(s, reserved);
}

/* Copy one; false: it was written over. */
static bool
read_change(const perfi_change *c, uint64_t number, uint64_t *process,
            uint64_t half[2])
{
    if (atomic_load_explicit(&c->number, memory_order_acquire) != number)
        return false;
    *process = atomic_load_explicit(&c->process, memory_order_relaxed);
    half[0] = atomic_load_explicit(&c->half[0], memory_order_relaxed);
    half[1] = atomic_load_explicit(&c->half[1], memory_order_relaxed);
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit(&c->number, memory_order_relaxed) == number;
}

int64_t
perfi_log_read(const perfi_state *s, uint64_t *from, uint64_t process,
               uint8_t *out, size_t capacity)
{
    uint64_t head =
        atomic_load_explicit(&s->header->log_head, memory_order_acquire);
    uint64_t at = *from;
    size_t n = 0;
    *from = head;
    if (head - at > PERF_DISK_CHANGES)
        return PERF_ERR_RANGE;
    for (; at != head; at++) {
        uint64_t whose, half[2];
        if (!read_change(&s->change[at % PERF_DISK_CHANGES], at + 1, &whose,
                         half))
            return PERF_ERR_RANGE;
        if (whose == process)
            continue;
        if (n == capacity)
            return PERF_ERR_RANGE;
        memcpy(out + 16 * n++, half, 16);
    }
    return (int64_t)n;
}
