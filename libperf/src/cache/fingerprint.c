/* fingerprint.c - BLAKE2b-256 of RFC 7693, without a key. */
#include "fingerprint.h"

#include <string.h>

enum { BLOCK = PERFI_BLAKE_BLOCK };

#define START PERFI_BLAKE_START

static inline uint64_t
word_at(const uint8_t *at)
{
    uint64_t word = 0;
    for (int i = 0; i < 8; i++) /* one load where bytes lie in this order */
        word |= (uint64_t)at[i] << (8 * i);
    return word;
}

#define TURN(x, n) ((x) >> (n) | (x) << (64 - (n)))

/* The mixing function G of section 3.1. */
#define MIX(a, b, c, d, x, y)                                                  \
    do {                                                                       \
        a += b + (x);                                                          \
        d = TURN(d ^ a, 32);                                                   \
        c += d;                                                                \
        b = TURN(b ^ c, 24);                                                   \
        a += b + (y);                                                          \
        d = TURN(d ^ a, 16);                                                   \
        c += d;                                                                \
        b = TURN(b ^ c, 63);                                                   \
    } while (0)

/* Columns, then diagonals, with the message words in this order. */
#define ROUND(s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, sa, sb, sc, sd, se, sf)  \
    do {                                                                       \
        MIX(v0, v4, v8, v12, m[s0], m[s1]);                                    \
        MIX(v1, v5, v9, v13, m[s2], m[s3]);                                    \
        MIX(v2, v6, v10, v14, m[s4], m[s5]);                                   \
        MIX(v3, v7, v11, v15, m[s6], m[s7]);                                   \
        MIX(v0, v5, v10, v15, m[s8], m[s9]);                                   \
        MIX(v1, v6, v11, v12, m[sa], m[sb]);                                   \
        MIX(v2, v7, v8, v13, m[sc], m[sd]);                                    \
        MIX(v3, v4, v9, v14, m[se], m[sf]);                                    \
    } while (0)

void
perfi_blake_plain(uint64_t h[8], const uint8_t *block, uint64_t counted,
                  bool last)
{
    uint64_t m[16];
    for (int i = 0; i < 16; i++)
        m[i] = word_at(block + 8 * i);
    uint64_t v0 = h[0], v1 = h[1], v2 = h[2], v3 = h[3];
    uint64_t v4 = h[4], v5 = h[5], v6 = h[6], v7 = h[7];
    uint64_t v8 = START[0], v9 = START[1], v10 = START[2], v11 = START[3];
    uint64_t v12 = START[4] ^ counted, v13 = START[5];
    uint64_t v14 = last ? ~START[6] : START[6], v15 = START[7];
    PERFI_BLAKE_ROUNDS(ROUND)
    h[0] ^= v0 ^ v8;
    h[1] ^= v1 ^ v9;
    h[2] ^= v2 ^ v10;
    h[3] ^= v3 ^ v11;
    h[4] ^= v4 ^ v12;
    h[5] ^= v5 ^ v13;
    h[6] ^= v6 ^ v14;
    h[7] ^= v7 ^ v15;
}

void
perf_fingerprint(const void *bytes, size_t size, uint8_t out[32])
{
    uint64_t h[8];
    memcpy(h, START, sizeof h);
    h[0] ^= 0x01010000 ^ PERF_FINGERPRINT_SIZE; /* depth, fanout, no key */
    perfi_blake_fn *fast = perfi_blake_avx2();
    perfi_blake_fn *mix = fast ? fast : perfi_blake_plain;
    const uint8_t *at = bytes;
    size_t left = size;
    for (; left > BLOCK; left -= BLOCK, at += BLOCK)
        mix(h, at, size - left + BLOCK, false);
    uint8_t last[BLOCK] = {0};
    if (left)
        memcpy(last, at, left);
    mix(h, last, size, true);
    for (int i = 0; i < PERF_FINGERPRINT_SIZE; i++)
        out[i] = (uint8_t)(h[i / 8] >> (8 * (i % 8)));
}
