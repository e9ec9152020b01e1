/* hash.h - short numbers for long bytes: what caches look things up by.
 *
 * Model:    XXH3 of the xxHash library, the same on every machine. Two texts
 *           with one hash can be made on purpose: whoever must not mix them
 *           up compares the texts themselves as well (entry.h).
 * Threads:  any, wait-free.
 * Cost:     about 0.1 ns a byte. */
#ifndef LIBPERF_HASH_H
#define LIBPERF_HASH_H
#include <libperf/base.h>

PERF_BEGIN_DECLS

enum { PERF_DIGEST_SIZE = 16 };

/** 64 bits, seed 0.  @param bytes  may be NULL when `size` is 0 */
PERF_API uint64_t perf_hash(const void *bytes, size_t size);

/** 128 bits, seed 0, in xxHash's canonical (big-endian) order. */
PERF_API void perf_digest(const void *bytes, size_t size, uint8_t out[16]);

PERF_END_DECLS
#endif
