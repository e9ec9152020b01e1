/* compressor.h - makes values smaller, by what other values look like.
 *
 * Model:    zstd. A dictionary is trained from samples of one kind of value;
 *           with it even short values become a fraction of their size. It has
 *           an id made from its bytes, so any process finds the same one by
 *           the same id; what was compressed with it can be read as long as
 *           somebody still has it, so dictionaries are never taken out.
 *           Where libperf was built without zstd every function that can fail
 *           answers PERF_ERR_UNSUPPORTED.
 * Trust:    perf_compressor_unpack() takes any bytes, and writes no more than
 *           it was told the value's size is.
 * Threads:  any, without locks.
 * Memory:   contexts are made when as many threads need one at the same time
 *           and kept, about 0.4 MB each; after that nothing is allocated. A
 *           dictionary takes about four times its size. */
#ifndef LIBPERF_COMPRESSOR_H
#define LIBPERF_COMPRESSOR_H
#include <libperf/allocator.h>

PERF_BEGIN_DECLS

enum {
    PERF_DICTIONARIES_MAX = 64,
    PERF_DICTIONARY_MAX_BYTES = 1 << 20, /* of one */
};

typedef struct perf_compressor perf_compressor;

/** @param level      of zstd, 1 to 19; 0: 5
 *  Errors: PERF_ERR_INVALID, PERF_ERR_RANGE (level), PERF_ERR_NOMEM,
 *  PERF_ERR_UNSUPPORTED.
 *  Ownership: the caller's; perf_compressor_destroy(). */
PERF_API perf_err perf_compressor_create(int level,
                                         const perf_allocator *allocator,
                                         perf_compressor **out);

/** Nobody may be using it. NULL is allowed. */
PERF_API void perf_compressor_destroy(perf_compressor *compressor);

/** Have a dictionary; one that is there already is not taken again. Takes
 *  milliseconds.
 *  @param id  receives its id, never 0: a hash of its bytes
 *  Errors: PERF_ERR_INVALID, PERF_ERR_RANGE (too large, or empty),
 *  PERF_ERR_FULL, PERF_ERR_NOMEM, PERF_ERR_CORRUPT (not a dictionary). */
PERF_API perf_err perf_compressor_add(perf_compressor *compressor,
                                      const void *dictionary, size_t size,
                                      uint32_t *id);

/** Does it have this one? Always true for 0, which is none. */
PERF_API bool perf_compressor_has(const perf_compressor *compressor,
                                  uint32_t id);

/** The room that perf_compressor_pack() may need for so many bytes. */
PERF_API size_t perf_compressor_bound(size_t size);

/** Compress.
 *  @param id    of the dictionary; 0: none
 *  @param room  of `out`; where less than perf_compressor_bound(), values that
 *               do not become that small are refused
 *  Errors: PERF_ERR_INVALID, PERF_ERR_NOT_FOUND (dictionary), PERF_ERR_FULL
 *  (room), PERF_ERR_NOMEM. */
PERF_API perf_err perf_compressor_pack(perf_compressor *compressor, uint32_t id,
                                       const void *bytes, size_t size,
                                       void *out, size_t room, size_t *written);

/** Decompress what becomes exactly `raw_size` bytes.
 *  Errors: PERF_ERR_INVALID, PERF_ERR_NOT_FOUND (dictionary),
 *  PERF_ERR_CORRUPT, PERF_ERR_NOMEM. */
PERF_API perf_err perf_compressor_unpack(perf_compressor *compressor,
                                         uint32_t id, const void *bytes,
                                         size_t size, void *out,
                                         size_t raw_size);

/** Make a dictionary of samples that lie one behind the other: about a hundred
 *  times as many bytes as the dictionary is to have. Takes up to seconds, and
 *  what it needs meanwhile comes from libc: zstd asks nobody else.
 *  @param sizes    of each sample
 *  @param room     of `out`: how large it may become
 *  @param written  receives its size
 *  Errors: PERF_ERR_INVALID, PERF_ERR_NOT_FOUND (too few samples, or nothing in
 *  common), PERF_ERR_NOMEM. */
PERF_API perf_err perf_compressor_train_blocking(const void *samples,
                                                 const size_t *sizes,
                                                 size_t count, int level,
                                                 void *out, size_t room,
                                                 size_t *written);

PERF_END_DECLS
#endif
