/* sketch.h - how often each key was asked for lately, in 4 bits: a count-min
 * sketch (Cormode and Muthukrishnan, 2005) whose counts are halved as time goes
 * on (TinyLFU, Einziger, Friedman, Manes, 2017).
 *
 * All counts of a key lie in one block, a cache line: a block for 16 entries.
 */
#ifndef PERFI_CACHE_SKETCH_H
#define PERFI_CACHE_SKETCH_H
#include <libperf/allocator.h>

enum {
    PERFI_SKETCH_MOST = 15,
    PERFI_SKETCH_WORDS = 8,
    PERFI_SKETCH_ENTRIES = 16, /* a block; half as many hit no more often */
};

typedef struct perfi_sketch {
    uint64_t (*block)[PERFI_SKETCH_WORDS];
    uint32_t blocks;    /* 0: it knows nothing, every count is 0 */
    uint64_t additions; /* since counts were halved, less half of before */
    uint64_t period;    /* they are halved after so many */
} perfi_sketch;

/** Make it fit for so many entries, of which there will be `most` in the end;
 *  counts are kept. No memory: it stays as it is, and is less exact. */
void perfi_sketch_fit(perfi_sketch *s, uint32_t entries, uint32_t most,
                      const perf_allocator *allocator);

void perfi_sketch_free(perfi_sketch *s, const perf_allocator *allocator);

/** It will be asked for soon. */
static inline void
perfi_sketch_fetch(const perfi_sketch *s, uint64_t hash)
{
    if (s->blocks)
        __builtin_prefetch(s->block[(hash >> 32) * s->blocks >> 32], 1);
}

void perfi_sketch_add(perfi_sketch *s, uint64_t hash);

/** 0 to PERFI_SKETCH_MOST; never less than what was added since the counts
 *  were halved last. */
uint32_t perfi_sketch_count(const perfi_sketch *s, uint64_t hash);

uint64_t perfi_sketch_bytes(const perfi_sketch *s);
#endif
