/* fingerprint.h - what both ways of computing BLAKE2b share. */
#ifndef PERFI_FINGERPRINT_H
#define PERFI_FINGERPRINT_H
#include <libperf/hash.h>

enum { PERFI_BLAKE_BLOCK = 128 };

/** Section 2.6 of RFC 7693. */
static const uint64_t PERFI_BLAKE_START[8] = {
    UINT64_C(0x6a09e667f3bcc908), UINT64_C(0xbb67ae8584caa73b),
    UINT64_C(0x3c6ef372fe94f82b), UINT64_C(0xa54ff53a5f1d36f1),
    UINT64_C(0x510e527fade682d1), UINT64_C(0x9b05688c2b3e6c1f),
    UINT64_C(0x1f83d9abfb41bd6b), UINT64_C(0x5be0cd19137e2179),
};

/** The twelve rounds: ROUND with the order of the message's words, section
 *  2.7. */
#define PERFI_BLAKE_ROUNDS(ROUND)                                              \
    ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);               \
    ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3);               \
    ROUND(11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4);               \
    ROUND(7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8);               \
    ROUND(9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13);               \
    ROUND(2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9);               \
    ROUND(12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11);               \
    ROUND(13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10);               \
    ROUND(6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5);               \
    ROUND(10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0);               \
    ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);               \
    ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3);

/** One block into the state.
 *  @param counted  bytes up to and with this block
 *  @param last     it is the last one */
typedef void perfi_blake_fn(uint64_t state[8], const uint8_t *block,
                            uint64_t counted, bool last);

/** For any processor. */
perfi_blake_fn perfi_blake_plain;

/** For this processor, or NULL. */
perfi_blake_fn *perfi_blake_avx2(void);

#endif
