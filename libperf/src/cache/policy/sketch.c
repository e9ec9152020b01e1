/* sketch.c - counts of 4 bits in blocks of 64 bytes. */
#include "sketch.h"

#include <string.h>

enum {
    ROWS = 4, /* a row is two words of a block: 32 counts */
    ROW_BITS = 5,
    /* Accesses an entry until counts are halved. 10 is usual; 20 gave a point
     * more of the optimum on real traces and synthetic ones alike. */
    PERIOD = 20,
    /* In fewer blocks, the keys of a block differ too much in number. */
    LEAST_BLOCKS = 64,
};

/* ---- memory ---- */

static uint32_t
blocks_for(uint32_t entries, uint32_t most)
{
    uint32_t blocks =
        (entries + PERFI_SKETCH_ENTRIES - 1) / PERFI_SKETCH_ENTRIES;
    uint32_t least = most < LEAST_BLOCKS ? most : LEAST_BLOCKS;
    return blocks < least ? least : blocks;
}

/* It grows by doubling alone, so that a block's counts are found again; and
 * from such a number that in the end there are hardly more than it needs. */
static uint32_t
doubled_for(uint32_t entries, uint32_t most)
{
    uint32_t wanted = blocks_for(entries, most), end = blocks_for(most, most);
    uint32_t first = end;
    while (first > 2 * LEAST_BLOCKS)
        first = (first + 1) / 2;
    while (first < wanted)
        first *= 2;
    return first;
}

void
perfi_sketch_fit(perfi_sketch *s, uint32_t entries, uint32_t most,
                 const perf_allocator *a)
{
    s->period = (uint64_t)entries * PERIOD;
    uint32_t blocks = doubled_for(entries, most);
    if (blocks == s->blocks)
        return;
    uint64_t(*more)[PERFI_SKETCH_WORDS] =
        a->alloc(blocks * sizeof *more, a->ctx);
    if (!more)
        return;
    for (uint32_t i = 0; s->blocks && i < blocks; i++)
        memcpy(more[i], s->block[(uint64_t)i * s->blocks / blocks],
               sizeof *more);
    perfi_sketch_free(s, a);
    s->block = more;
    s->blocks = blocks;
}

void
perfi_sketch_free(perfi_sketch *s, const perf_allocator *a)
{
    a->free(s->block, s->blocks * sizeof *s->block, a->ctx);
    s->block = NULL;
    s->blocks = 0;
}

uint64_t
perfi_sketch_bytes(const perfi_sketch *s)
{
    return s->blocks * sizeof *s->block;
}

/* ---- counts ---- */

static void
halve(perfi_sketch *s)
{
    uint64_t *word = s->block[0];
    size_t words = (size_t)s->blocks * PERFI_SKETCH_WORDS;
    for (size_t i = 0; i < words; i++)
        word[i] = word[i] >> 1 & UINT64_C(0x7777777777777777);
    s->additions /= 2;
}

static uint64_t *
block_of(const perfi_sketch *s, uint64_t hash)
{
    return s->block[(hash >> 32) * s->blocks >> 32];
}

void
perfi_sketch_add(perfi_sketch *s, uint64_t hash)
{
    if (!s->blocks)
        return;
    uint64_t *block = block_of(s, hash);
    bool added = false;
#pragma GCC unroll 4
    for (uint32_t row = 0; row < ROWS; row++) {
        uint32_t at = hash >> ROW_BITS * row & 31;
        uint64_t *word = &block[2 * row + at / 16];
        uint32_t shift = at % 16 * 4;
        /* no branch: nobody could guess which of them are full */
        bool less = (*word >> shift & PERFI_SKETCH_MOST) < PERFI_SKETCH_MOST;
        *word += (uint64_t)less << shift;
        added |= less;
    }
    s->additions += added;
    if (s->additions >= s->period)
        halve(s);
}

uint32_t
perfi_sketch_count(const perfi_sketch *s, uint64_t hash)
{
    if (!s->blocks)
        return 0;
    const uint64_t *block = block_of(s, hash);
    uint32_t least = PERFI_SKETCH_MOST;
    for (uint32_t row = 0; row < ROWS; row++) {
        uint32_t at = hash >> ROW_BITS * row & 31;
        uint32_t count =
            block[2 * row + at / 16] >> at % 16 * 4 & PERFI_SKETCH_MOST;
        least = count < least ? count : least;
    }
    return least;
}
