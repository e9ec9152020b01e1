/* heap.h - what is allocated, known from a sample of it.
 *
 * Model:    every block is looked at with a chance that grows with its size:
 *           the bytes between two blocks that are taken are drawn from an
 *           exponential distribution (as tcmalloc does it). So each byte has
 *           the same chance, and a block that is taken stands for `weight`
 *           bytes: sums of weights are right on average, whatever the sizes.
 *           put() keeps a block until remove() hears that it was freed; what
 *           is kept is a picture of the blocks that live.
 * Threads:  one at a time; Python's lock, for example.
 * Memory:   48 bytes for a block that is kept, 96 at most while it grows; at
 *           most `max_blocks`, what comes then is counted.
 * Cost:     remove() of a block that is not kept: one or two loads.
 * Fork:     the child has what its parent had. */
#ifndef LIBPERF_HEAP_H
#define LIBPERF_HEAP_H
#include <libperf/allocator.h>

PERF_BEGIN_DECLS

typedef struct perf_heap perf_heap;

typedef struct perf_heap_config {
    uint64_t interval_bytes; /* between two samples, on average; 1 to 2^40,
                                default 512 KiB */
    uint64_t seed;           /* of what is left to chance; default 0: a seed
                                that differs from process to process */
    uint64_t max_blocks;     /* 1 to 2^24, default 2^16: 32 GiB at 512 KiB */
    const perf_allocator *allocator; /* NULL: libc */
} perf_heap_config;

/** Fill in the defaults.  @param config  not NULL */
PERF_API void perf_heap_config_init(perf_heap_config *config);

/** A block that was taken. */
typedef struct perf_heap_block {
    uint64_t address; /* not 0 */
    uint64_t size;    /* in bytes, as it was asked for */
    uint64_t weight;  /* bytes that it stands for */
    uint64_t time_ns; /* the caller's own, as are the following */
    uint32_t frame;   /* where in the code (frame.h) */
    uint32_t name;    /* under which span's name */
} perf_heap_block;

typedef struct perf_heap_stats {
    uint64_t blocks;  /* kept now */
    uint64_t taken;   /* put() so far */
    uint64_t dropped; /* of them, found no room */
} perf_heap_stats;

/** @param config  NULL: the defaults
 *  @param out     not NULL
 *  Errors: PERF_ERR_INVALID, PERF_ERR_RANGE, PERF_ERR_NOMEM.
 *  Ownership: the caller's; perf_heap_destroy(). */
PERF_API perf_err perf_heap_create(const perf_heap_config *config,
                                   perf_heap **out);

/** NULL is allowed. */
PERF_API void perf_heap_destroy(perf_heap *heap);

/** How many bytes go by until the next sample, drawn anew at each call: the
 *  block with the byte after these is to be taken. */
PERF_API uint64_t perf_heap_next_bytes(perf_heap *heap);

/** How many bytes a block of this size stands for, when it is taken: its size
 *  over the chance that it had. At least `size_bytes`. */
PERF_API uint64_t perf_heap_weight(const perf_heap *heap, uint64_t size_bytes);

/** Keep a block; one that is kept at this address already is replaced.
 *  Returns false, and counts, when there is no room, and for address 0. */
PERF_API bool perf_heap_put(perf_heap *heap, const perf_heap_block *block);

/** It was freed. Returns whether it was kept. */
PERF_API bool perf_heap_remove(perf_heap *heap, uint64_t address);

/** Copy what is kept, in no order. Returns how many blocks there are, which
 *  may be more than `capacity`; that many are written. */
PERF_API size_t perf_heap_blocks(const perf_heap *heap, perf_heap_block *out,
                                 size_t capacity);

/** Forget all blocks. */
PERF_API void perf_heap_clear(perf_heap *heap);

/** @param out  not NULL */
PERF_API void perf_heap_stats_now(const perf_heap *heap, perf_heap_stats *out);

PERF_END_DECLS
#endif
