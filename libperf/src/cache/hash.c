/* hash.c - XXH3, compiled in: no call across a library for a dozen bytes. */
#include <libperf/hash.h>

#define XXH_INLINE_ALL
#define XXH_NO_STDLIB
#include <xxhash.h>

uint64_t
perf_hash(const void *bytes, size_t size)
{
    return XXH3_64bits(bytes, size);
}

void
perf_digest(const void *bytes, size_t size, uint8_t out[16])
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes, size));
    for (int i = 0; i < PERF_DIGEST_SIZE; i++)
        out[i] = canonical.digest[i];
}
