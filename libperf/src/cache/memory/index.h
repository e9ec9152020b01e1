/* index.h - finds an entry's slot by its key's hash.
 *
 * Linear hashing (Litwin, 1980): a table of buckets that grows by one when
 * eight entries have come, so there is no pause and the memory follows the
 * entries. A bucket is a line of the CPU's cache: 12 slots, a byte of the hash
 * for each, so that a key that is not there is hardly ever compared; and when
 * that is not enough, the number of a spare line.
 *
 * It knows nothing of keys: whoever looks up compares them. */
#ifndef PERFI_CACHE_INDEX_H
#define PERFI_CACHE_INDEX_H
#include "pages.h"

#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum {
    PERFI_LINE_CELLS = 12,
    PERFI_CHAIN_MAX = 32, /* lines of a bucket: more is an attack */
};

typedef struct perfi_line {
    uint8_t tag[PERFI_LINE_CELLS]; /* 0: free. Used ones come first, and only
                                      the last line of a bucket has free ones */
    uint32_t slot[PERFI_LINE_CELLS];
    uint32_t next; /* spare line + 1; 0: none */
} perfi_line;

typedef struct perfi_index {
    perfi_pages buckets, spares;
    uint32_t bucket_count; /* in use */
    uint32_t mask;         /* 2^n - 1, at least bucket_count - 1 */
    uint32_t spare_count;  /* that were ever in use */
    uint32_t free_spares;  /* list of spare lines + 1, by `next` */
    uint32_t entries;
} perfi_index;

/** The hash of the key of the entry in a slot. */
typedef uint64_t (*perfi_hash_of)(uint32_t slot, const void *ctx);

/** @param most_bytes  neither buckets nor spare lines ever need more */
bool perfi_index_open(perfi_index *index, uint64_t most_bytes,
                      const perf_allocator *allocator);
void perfi_index_close(perfi_index *index, const perf_allocator *allocator);
uint64_t perfi_index_bytes(const perfi_index *index,
                           const perf_allocator *allocator);

/** Get the memory that one perfi_index_add() needs; false: there is none. */
bool perfi_index_reserve(perfi_index *index, const perf_allocator *allocator);

/** Add a slot, after perfi_index_reserve(). false: too many have that hash. */
bool perfi_index_add(perfi_index *index, uint64_t hash, uint32_t slot,
                     perfi_hash_of hash_of, const void *ctx);

/** Take a slot out that was added with this hash. */
void perfi_index_remove(perfi_index *index, uint64_t hash, uint32_t slot);

/* ---- looking up ----
 *
 *   for (perfi_line *line = perfi_index_home(index, hash); line;
 *        line = perfi_index_next(index, line))
 *       for (uint64_t m = perfi_line_match(line, hash); m; m &= m - 1)
 *           ... line->slot[perfi_match_cell(m)] ...
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
    return bucket < index->bucket_count ? bucket : bucket & index->mask >> 1;
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

#if defined(__SSE2__)

/** The cells that may be it: bit k for cell k. */
static inline uint64_t
perfi_line_match(const perfi_line *line, uint64_t hash)
{
    __m128i tags = _mm_loadu_si128((const __m128i *)(const void *)line);
    __m128i same =
        _mm_cmpeq_epi8(tags, _mm_set1_epi8((char)perfi_hash_tag(hash)));
    return (uint64_t)_mm_movemask_epi8(same) & ((1U << PERFI_LINE_CELLS) - 1);
}

static inline unsigned
perfi_match_cell(uint64_t match)
{
    return (unsigned)__builtin_ctzll(match);
}

#else

/* The top bit of each byte of `word` that is `tag`. */
static inline uint64_t
perfi_bytes_equal(uint64_t word, uint8_t tag)
{
    const uint64_t low = UINT64_C(0x7F7F7F7F7F7F7F7F);
    word ^= tag * UINT64_C(0x0101010101010101);
    return ~(((word & low) + low) | word | low);
}

/** The cells that may be it: bit 8k + 7 for cell k, the last four cells one bit
 *  lower and eight cells down, so that all fit into one word. */
static inline uint64_t
perfi_line_match(const perfi_line *line, uint64_t hash)
{
    uint8_t tag = perfi_hash_tag(hash);
    uint64_t first;
    uint32_t last;
    memcpy(&first, line->tag, sizeof first);
    memcpy(&last, line->tag + sizeof first, sizeof last);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    first = __builtin_bswap64(first);
    last = __builtin_bswap32(last);
#endif
    return perfi_bytes_equal(first, tag) |
           (perfi_bytes_equal(last, tag) & UINT32_MAX) >> 1;
}

static inline unsigned
perfi_match_cell(uint64_t match)
{
    unsigned bit = (unsigned)__builtin_ctzll(match);
    return bit / 8 + (bit % 8 == 7 ? 0 : 8);
}

#endif
#endif
