/* codec_kinds.h - the first byte of a token: kinds, and the fixed values. */
#ifndef PERFI_CODEC_KINDS_H
#define PERFI_CODEC_KINDS_H
#include <libperf/base.h>

/* The high half; codec.h says what follows. */
enum {
    PERFI_CODEC_FIXED = 0,
    PERFI_CODEC_INT = 1,
    PERFI_CODEC_NEGATIVE = 2,
    PERFI_CODEC_BIG = 3,
    PERFI_CODEC_STR = 4,
    PERFI_CODEC_BYTES = 5,
    PERFI_CODEC_LIST = 6,
    PERFI_CODEC_TUPLE = 7,
    PERFI_CODEC_DICT = 8,
    PERFI_CODEC_SET = 9,
    PERFI_CODEC_FROZENSET = 10,
    PERFI_CODEC_TYPED = 11,
};

/* The low half of FIXED. */
enum {
    PERFI_CODEC_NONE = 0,
    PERFI_CODEC_FALSE = 1,
    PERFI_CODEC_TRUE = 2,
    PERFI_CODEC_FLOAT = 3,
};

enum { PERFI_CODEC_INLINE = 11 }; /* the largest n in the low half itself */

/* Two's complement that does not fit 64 bits, without a needless last byte. */
static inline bool
perfi_codec_is_big(const uint8_t *bytes, size_t size)
{
    if (!bytes || size < 9)
        return false;
    uint8_t last = bytes[size - 1];
    bool negative = bytes[size - 2] & 0x80;
    return last != (negative ? 0xFF : 0);
}

#endif
