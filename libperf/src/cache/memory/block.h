/* block.h - an entry in memory: sizes, its slot, what it has of times and mark,
 * key, value, in one piece. */
#ifndef PERFI_CACHE_BLOCK_H
#define PERFI_CACHE_BLOCK_H
#include <libperf/cache.h>
#include <string.h>

enum {
    PERFI_KEY_BITS = 30,
    /* the low bits of what a block says of its key are the number of its
     * parts */
    PERFI_HAS_MARK = 1,  /* one part, the last */
    PERFI_HAS_TIMES = 2, /* two parts: fresh_ns, expires_ns */
    PERFI_HAS_BITS = 2,
};

typedef struct perfi_block {
    uint32_t value_size;
    uint32_t key;  /* its size, and what it has */
    uint32_t slot; /* in the policy */
    unsigned char rest[];
} perfi_block;

/** What is set: everything known, nothing left to defaults. */
typedef struct perfi_set {
    const void *key, *value;
    size_t key_size, value_size;
    uint64_t hash;
    uint64_t fresh_ns, expires_ns; /* UINT64_MAX: never */
    uint64_t mark;
    uint64_t now_ns;
    float cost;
} perfi_set;

static inline uint32_t
perfi_set_has(const perfi_set *set)
{
    bool times = set->fresh_ns != UINT64_MAX || set->expires_ns != UINT64_MAX;
    return (times ? PERFI_HAS_TIMES : 0) | (set->mark ? PERFI_HAS_MARK : 0);
}

static inline size_t
perfi_parts(uint32_t has)
{
    return has & (PERFI_HAS_TIMES | PERFI_HAS_MARK);
}

static inline uint64_t
perfi_set_bytes(const perfi_set *set)
{
    return sizeof(perfi_block) + 8 * perfi_parts(perfi_set_has(set)) +
           set->key_size + (uint64_t)set->value_size;
}

static inline size_t
perfi_block_key_size(const perfi_block *block)
{
    return block->key >> PERFI_HAS_BITS;
}

/* Parts are not aligned: that would cost every block four bytes. */
static inline uint64_t
perfi_block_part(const perfi_block *block, size_t i)
{
    uint64_t part;
    memcpy(&part, block->rest + 8 * i, sizeof part);
    return part;
}

static inline const unsigned char *
perfi_block_key(const perfi_block *block)
{
    return block->rest + 8 * perfi_parts(block->key);
}

static inline const unsigned char *
perfi_block_value(const perfi_block *block)
{
    return perfi_block_key(block) + perfi_block_key_size(block);
}

/** Of key and value. */
static inline uint64_t
perfi_block_content(const perfi_block *block)
{
    return (uint64_t)perfi_block_key_size(block) + block->value_size;
}

static inline size_t
perfi_block_bytes(const perfi_block *block)
{
    return sizeof *block + 8 * perfi_parts(block->key) +
           (size_t)perfi_block_content(block);
}

static inline uint64_t
perfi_block_fresh_ns(const perfi_block *block)
{
    return block->key & PERFI_HAS_TIMES ? perfi_block_part(block, 0)
                                        : UINT64_MAX;
}

static inline uint64_t
perfi_block_expires_ns(const perfi_block *block)
{
    return block->key & PERFI_HAS_TIMES ? perfi_block_part(block, 1)
                                        : UINT64_MAX;
}

static inline uint64_t
perfi_block_mark(const perfi_block *block)
{
    return block->key & PERFI_HAS_MARK
               ? perfi_block_part(block, block->key & PERFI_HAS_TIMES ? 2 : 0)
               : 0;
}

/** Most likely it will be compared and copied: the lines behind its first are
 *  on their way while that is waited for. */
static inline void
perfi_block_fetch(const perfi_block *block)
{
    const char *at = (const char *)block;
    __builtin_prefetch(at + 64);
    __builtin_prefetch(at + 128);
}

/* Keys are short, and most comparisons end with "the same". */
static inline bool
perfi_same(const unsigned char *a, const unsigned char *b, size_t size)
{
    uint64_t x, y, differ = 0;
    if (size < 8 || size > 64)
        return !size || !memcmp(a, b, size);
    for (size_t i = 0; i + 8 < size; i += 8) {
        memcpy(&x, a + i, 8);
        memcpy(&y, b + i, 8);
        differ |= x ^ y;
    }
    memcpy(&x, a + size - 8, 8);
    memcpy(&y, b + size - 8, 8);
    return !(differ | (x ^ y));
}

static inline bool
perfi_block_is(const perfi_block *block, const void *key, size_t key_size)
{
    return perfi_block_key_size(block) == key_size &&
           perfi_same(perfi_block_key(block), key, key_size);
}

/** All but its slot.  @param block  perfi_set_bytes() */
static inline void
perfi_block_fill(perfi_block *block, const perfi_set *set)
{
    uint32_t has = perfi_set_has(set);
    unsigned char *at = block->rest;
    block->value_size = (uint32_t)set->value_size;
    block->key = (uint32_t)set->key_size << PERFI_HAS_BITS | has;
    if (has & PERFI_HAS_TIMES) {
        memcpy(at, &set->fresh_ns, 8);
        memcpy(at + 8, &set->expires_ns, 8);
    }
    if (has & PERFI_HAS_MARK)
        memcpy(at + 8 * perfi_parts(has) - 8, &set->mark, 8);
    at += 8 * perfi_parts(has);
    if (set->key_size) /* memcpy() takes no NULL */
        memcpy(at, set->key, set->key_size);
    if (set->value_size)
        memcpy(at + set->key_size, set->value, set->value_size);
}
#endif
