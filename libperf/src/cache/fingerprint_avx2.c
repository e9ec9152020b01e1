/* fingerprint_avx2.c - BLAKE2b with four columns at once: two thirds of the
 * time, on x86-64 processors that have AVX2. */
#include "fingerprint.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#define SHUFFLE(x, order) _mm256_shuffle_epi8(x, order)
#define LANES(x, a, b, c, d)                                                   \
    _mm256_permute4x64_epi64(x, _MM_SHUFFLE(d, c, b, a))
#define WORDS(a, b, c, d)                                                      \
    _mm256_set_epi64x((int64_t)m[d], (int64_t)m[c], (int64_t)m[b],             \
                      (int64_t)m[a])

/* G for four columns. Turning by whole bytes is a shuffle. */
#define MIX(x, y)                                                              \
    do {                                                                       \
        a = _mm256_add_epi64(_mm256_add_epi64(a, b), x);                       \
        d = _mm256_shuffle_epi32(_mm256_xor_si256(d, a), 0xB1);                \
        c = _mm256_add_epi64(c, d);                                            \
        b = SHUFFLE(_mm256_xor_si256(b, c), turn_24);                          \
        a = _mm256_add_epi64(_mm256_add_epi64(a, b), y);                       \
        d = SHUFFLE(_mm256_xor_si256(d, a), turn_16);                          \
        c = _mm256_add_epi64(c, d);                                            \
        b = _mm256_xor_si256(b, c);                                            \
        b = _mm256_or_si256(_mm256_srli_epi64(b, 63), _mm256_add_epi64(b, b)); \
    } while (0)

/* Columns, then diagonals: the rows are turned so that these are columns. */
#define ROUND(s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, sa, sb, sc, sd, se, sf)  \
    do {                                                                       \
        MIX(WORDS(s0, s2, s4, s6), WORDS(s1, s3, s5, s7));                     \
        b = LANES(b, 1, 2, 3, 0);                                              \
        c = LANES(c, 2, 3, 0, 1);                                              \
        d = LANES(d, 3, 0, 1, 2);                                              \
        MIX(WORDS(s8, sa, sc, se), WORDS(s9, sb, sd, sf));                     \
        b = LANES(b, 3, 0, 1, 2);                                              \
        c = LANES(c, 2, 3, 0, 1);                                              \
        d = LANES(d, 1, 2, 3, 0);                                              \
    } while (0)

__attribute__((target("avx2"))) static __m256i
four_at(const uint64_t *words)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)words);
}

__attribute__((target("avx2"))) static void
compress(uint64_t h[8], const uint8_t *block, uint64_t counted, bool last)
{
    const __m256i turn_24 =
        _mm256_setr_epi8(3, 4, 5, 6, 7, 0, 1, 2, 11, 12, 13, 14, 15, 8, 9, 10,
                         3, 4, 5, 6, 7, 0, 1, 2, 11, 12, 13, 14, 15, 8, 9, 10);
    const __m256i turn_16 =
        _mm256_setr_epi8(2, 3, 4, 5, 6, 7, 0, 1, 10, 11, 12, 13, 14, 15, 8, 9,
                         2, 3, 4, 5, 6, 7, 0, 1, 10, 11, 12, 13, 14, 15, 8, 9);
    uint64_t m[16];
    memcpy(m, block, sizeof m); /* x86-64 has the order of the RFC */
    __m256i a = four_at(h), b = four_at(h + 4);
    __m256i c = four_at(PERFI_BLAKE_START);
    __m256i d = _mm256_xor_si256(
        four_at(PERFI_BLAKE_START + 4),
        _mm256_setr_epi64x((int64_t)counted, 0, last ? -1 : 0, 0));
    const __m256i before_a = a, before_b = b;
    PERFI_BLAKE_ROUNDS(ROUND)
    a = _mm256_xor_si256(before_a, _mm256_xor_si256(a, c));
    b = _mm256_xor_si256(before_b, _mm256_xor_si256(b, d));
    _mm256_storeu_si256((__m256i *)(void *)h, a);
    _mm256_storeu_si256((__m256i *)(void *)(h + 4), b);
}

perfi_blake_fn *
perfi_blake_avx2(void)
{
    return __builtin_cpu_supports("avx2") ? compress : NULL;
}

#else

perfi_blake_fn *
perfi_blake_avx2(void)
{
    return NULL;
}
#endif
