/* otlp_out.h - bytes that grow up to a bound; numbers and texts as protobuf and
 * JSON have them.
 *
 * Whoever writes asks for room first, then writes through a pointer of its own:
 * a pointer in a register, for bytes may alias anything. */
#ifndef PERFI_OTLP_OUT_H
#define PERFI_OTLP_OUT_H
#include <libperf/allocator.h>

#include <string.h>

typedef struct perfi_out {
    unsigned char *bytes;
    size_t size, room;
    const perf_allocator *allocator;
    bool failed; /* there was no memory: what was asked for is not in it */
} perfi_out;

/** Make room for `more` bytes behind what is there. False, and `failed`, when
 *  there is no memory; what is there stays. */
bool perfi_out_grow(perfi_out *out, size_t more);

void perfi_out_free(perfi_out *out);

static inline bool
perfi_out_need(perfi_out *out, size_t more)
{
    return out->room - out->size >= more || perfi_out_grow(out, more);
}

/* ---- protobuf: each returns the place behind what it wrote ---- */

enum { PERFI_VARINT_MAX = 10 };

static inline unsigned char *
perfi_put_varint(unsigned char *p, uint64_t value)
{
    while (value >= 128) {
        *p++ = (unsigned char)(value | 128);
        value >>= 7;
    }
    *p++ = (unsigned char)value;
    return p;
}

static inline size_t
perfi_varint_size(uint64_t value)
{
    return (size_t)(63 - __builtin_clzll(value | 1)) / 7 + 1;
}

/** Little-endian, whatever the machine is. */
static inline unsigned char *
perfi_put_fixed64(unsigned char *p, uint64_t value)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    memcpy(p, &value, sizeof value);
    return p + sizeof value;
}

/** Ids are bytes, the highest first. */
static inline unsigned char *
perfi_put_id(unsigned char *p, uint64_t id)
{
    return perfi_put_fixed64(p, __builtin_bswap64(id));
}

static inline unsigned char *
perfi_put_double(unsigned char *p, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return perfi_put_fixed64(p, bits);
}

/** Nearly all names and texts are short: the first and the last bytes of them,
 *  which may be the same, take less than a call. */
static inline unsigned char *
perfi_put_bytes(unsigned char *p, const char *from, size_t n)
{
    if (n >= 16 && n <= 32) {
        memcpy(p, from, 16);
        memcpy(p + n - 16, from + n - 16, 16);
    } else if (n > 64)
        memcpy(p, from, n);
    else if (n > 32) {
        memcpy(p, from, 32);
        memcpy(p + n - 32, from + n - 32, 32);
    } else if (n >= 8) {
        memcpy(p, from, 8);
        memcpy(p + n - 8, from + n - 8, 8);
    } else if (n >= 4) {
        memcpy(p, from, 4);
        memcpy(p + n - 4, from + n - 4, 4);
    } else if (n) {
        p[0] = (unsigned char)from[0];
        p[n / 2] = (unsigned char)from[n / 2];
        p[n - 1] = (unsigned char)from[n - 1];
    }
    return p + n;
}

/** A length, then the bytes. */
static inline unsigned char *
perfi_put_text(unsigned char *p, const char *text, size_t length)
{
    return perfi_put_bytes(perfi_put_varint(p, length), text, length);
}

/* ---- JSON ---- */

enum {
    PERFI_NUMBER_MAX = 32, /* bytes of any number, in quotes */
    PERFI_ESCAPED_MAX = 6, /* bytes that one byte of a text may become */
};

unsigned char *perfi_put_decimal(unsigned char *p, uint64_t value);
unsigned char *perfi_put_signed(unsigned char *p, int64_t value);
unsigned char *perfi_put_hex(unsigned char *p, uint64_t id); /* 16 digits */

/** A number, or what protobuf's JSON writes for one that is none: "NaN". The
 *  shortest digits that give it again, with a point in every locale. */
unsigned char *perfi_put_real(unsigned char *p, double value);

/** In quotes; `text` is UTF-8. */
unsigned char *perfi_put_quoted(unsigned char *p, const char *text,
                                size_t length);

/* ---- UTF-8 ---- */

bool perfi_text_is_utf8(const char *text, size_t length);

/** Replace what is no UTF-8 by U+FFFD.
 *  @param to  3 * length bytes.  Returns how many are used. */
size_t perfi_text_mend(char *to, const char *text, size_t length);

#endif
