/* index.h - finds an entry's block by its key's hash.
 *
 * Linear hashing (Litwin, 1980): a table of buckets that grows by one when
 * six entries have come, so there is no pause and the memory follows the
 * entries. A bucket is a line of the CPU's cache: where 8 blocks lie, a byte of
 * the hash for each, so that a key that is not there is hardly ever compared;
 * and when that is not enough, the number of a spare line.
 *
 * A line also knows which of its blocks were seen lately, that is, in this
 * epoch: one that was need not be told to the policy again.
 *
 * It knows nothing of keys: whoever looks up compares them. */
#ifndef PERFI_CACHE_INDEX_H
#define PERFI_CACHE_INDEX_H
#include "pages.h"

#include <string.h>

enum {
    PERFI_LINE_CELLS = 8,
    PERFI_CHAIN_MAX = 48,    /* lines of a bucket: more is an attack */
    PERFI_POINTER_BITS = 48, /* what lies further up cannot be added */
};

typedef struct perfi_line {
    uint8_t tag[PERFI_LINE_CELLS]; /* 0: free. Used ones come first, and only
                                      the last line of a bucket has free ones */
    uint32_t next;                 /* spare line + 1; 0: none */
    uint32_t seen;                 /* epoch, and below it a bit for each cell */
    uint32_t low[PERFI_LINE_CELLS]; /* of a pointer */
    uint16_t high[PERFI_LINE_CELLS];
} perfi_line;

typedef struct perfi_index {
    perfi_pages buckets, spares;
    uint32_t bucket_count; /* in use */
    uint32_t mask;         /* 2^n - 1, at least bucket_count - 1 */
    uint32_t epoch;        /* as in perfi_line.seen */
    uint32_t spare_count;  /* that were ever in use */
    uint32_t free_spares;  /* list of spare lines + 1, by `next` */
    uint32_t entries;
} perfi_index;

/** The hash of a block's key. */
typedef uint64_t (*perfi_hash_of)(const void *block, const void *ctx);

/** @param most_bytes  neither buckets nor spare lines ever need more */
bool perfi_index_open(perfi_index *index, uint64_t most_bytes,
                      const perf_allocator *allocator);
void perfi_index_close(perfi_index *index, const perf_allocator *allocator);
uint64_t perfi_index_bytes(const perfi_index *index,
                           const perf_allocator *allocator);

/** Get the memory that one perfi_index_add() needs; false: there is none. */
bool perfi_index_reserve(perfi_index *index, const perf_allocator *allocator);

/** Add a block, after perfi_index_reserve(); it counts as seen. false: too many
 *  have that hash, or its address has more than 48 bits. */
bool perfi_index_add(perfi_index *index, uint64_t hash, const void *block,
                     perfi_hash_of hash_of, const void *ctx);

/** Take a block out that was added with this hash. */
void perfi_index_remove(perfi_index *index, uint64_t hash, const void *block);

/** What was seen so far counts no more. */
static inline void
perfi_index_next_epoch(perfi_index *index)
{
    index->epoch += 1 << PERFI_LINE_CELLS; /* from the last to the first */
}

/* ---- looking up ----
 *
 *   for (perfi_line *line = perfi_index_home(index, hash); line;
 *        line = perfi_index_next(index, line))
 *       for (uint64_t m = perfi_line_match(line, hash); m; m &= m - 1)
 *           ... perfi_line_block(line, perfi_match_cell(m)) ...
 */

static inline uint8_t
perfi_hash_tag(uint64_t hash)
{
    uint8_t tag = (uint8_t)(hash >> 52); /* bits that no bucket is chosen by */
    return tag ? tag : 1;
}

static inline uint32_t
perfi_index_bucket(const perfi_index *index, uint64_t hash)
{
    uint32_t bucket = (uint32_t)hash & index->mask;
    uint32_t top = index->mask ^ index->mask >> 1;
    /* no branch: it would be a different one for every other key */
    uint32_t beyond = -(uint32_t)(bucket >= index->bucket_count);
    return bucket & ~(beyond & top);
}

static inline perfi_line *
perfi_index_home(const perfi_index *index, uint64_t hash)
{
    return perfi_pages_at(&index->buckets, perfi_index_bucket(index, hash),
                          sizeof(perfi_line));
}

static inline perfi_line *
perfi_index_next(const perfi_index *index, const perfi_line *line)
{
    if (!line->next)
        return NULL;
    return perfi_pages_at(&index->spares, line->next - 1, sizeof *line);
}

/** The cells that may be it: bit 8k + 7 for cell k. */
static inline uint64_t
perfi_line_match(const perfi_line *line, uint64_t hash)
{
    const uint64_t low = UINT64_C(0x7F7F7F7F7F7F7F7F);
    uint64_t tags;
    memcpy(&tags, line->tag, sizeof tags);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    tags = __builtin_bswap64(tags);
#endif
    tags ^= perfi_hash_tag(hash) * UINT64_C(0x0101010101010101);
    return ~(((tags & low) + low) | tags | low);
}

static inline unsigned
perfi_match_cell(uint64_t match)
{
    return (unsigned)__builtin_ctzll(match) / 8;
}

static inline void *
perfi_line_block(const perfi_line *line, unsigned cell)
{
    return (void *)(uintptr_t)((uint64_t)line->high[cell] << 32 |
                               line->low[cell]);
}

/** Somebody asks for what is in a cell.  @return  for the first time in this
 *  epoch. */
static inline bool
perfi_line_see(perfi_line *line, unsigned cell, uint32_t epoch)
{
    uint32_t seen =
        (line->seen ^ epoch) >> PERFI_LINE_CELLS ? epoch : line->seen;
    bool first = !(seen >> cell & 1);
    line->seen = seen | UINT32_C(1) << cell;
    return first;
}
#endif
