/* otlp_out.c - bytes that grow; texts and numbers that JSON can hold. */
#include "otlp_out.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { FIRST_BYTES = 16 * 1024 };

bool
perfi_out_grow(perfi_out *out, size_t more)
{
    size_t room = out->room ? out->room : FIRST_BYTES;
    while (room - out->size < more)
        if (__builtin_mul_overflow(room, (size_t)2, &room)) {
            out->failed = true;
            return false;
        }
    unsigned char *bytes = out->allocator->alloc(room, out->allocator->ctx);
    if (!bytes) {
        out->failed = true;
        return false;
    }
    if (out->size)
        memcpy(bytes, out->bytes, out->size);
    out->allocator->free(out->bytes, out->room, out->allocator->ctx);
    out->bytes = bytes;
    out->room = room;
    return true;
}

void
perfi_out_free(perfi_out *out)
{
    out->allocator->free(out->bytes, out->room, out->allocator->ctx);
    out->bytes = NULL;
    out->size = out->room = 0;
}

/* ---- numbers ---- */

unsigned char *
perfi_put_decimal(unsigned char *p, uint64_t value)
{
    unsigned char digits[20], *at = digits + sizeof digits;
    do
        *--at = (unsigned char)('0' + value % 10);
    while (value /= 10);
    size_t n = (size_t)(digits + sizeof digits - at);
    memcpy(p, at, n);
    return p + n;
}

unsigned char *
perfi_put_signed(unsigned char *p, int64_t value)
{
    if (value >= 0)
        return perfi_put_decimal(p, (uint64_t)value);
    *p++ = '-';
    return perfi_put_decimal(p, -(uint64_t)value);
}

unsigned char *
perfi_put_hex(unsigned char *p, uint64_t id)
{
    static const char digit[] = "0123456789abcdef";
    for (int shift = 60; shift >= 0; shift -= 4)
        *p++ = (unsigned char)digit[id >> shift & 15];
    return p;
}

unsigned char *
perfi_put_real(unsigned char *p, double value)
{
    char text[PERFI_NUMBER_MAX];
    if (!isfinite(value)) {
        const char *word = isnan(value)  ? "\"NaN\""
                           : value < 0.0 ? "\"-Infinity\""
                                         : "\"Infinity\"";
        memcpy(p, word, strlen(word));
        return p + strlen(word);
    }
    int n = 0;
    for (int digits = 15; digits <= 17; digits++) {
        n = snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    for (int i = 0; i < n; i++) /* the locale's decimal point may be another */
        *p++ =
            (unsigned char)(strchr("0123456789+-eE", text[i]) ? text[i] : '.');
    return p;
}

/* ---- texts ---- */

unsigned char *
perfi_put_quoted(unsigned char *p, const char *text, size_t length)
{
    static const char digit[] = "0123456789abcdef";
    *p++ = '"';
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\') {
            *p++ = '\\';
            *p++ = c;
        } else if (c < 32 || c == 127) {
            memcpy(p, "\\u00", 4);
            p[4] = (unsigned char)digit[c >> 4];
            p[5] = (unsigned char)digit[c & 15];
            p += 6;
        } else
            *p++ = c;
    }
    *p++ = '"';
    return p;
}

/* The length of the character that begins here; 0: there is none. */
static size_t
character(const unsigned char *s, size_t left)
{
    unsigned char c = s[0];
    if (c < 0x80)
        return 1;
    size_t n = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
    if (c < 0xC2 || c > 0xF4 || left < n)
        return 0;
    /* neither a longer form than needed, nor a surrogate, nor above the last */
    unsigned char low = 0x80, high = 0xBF;
    low = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : low;
    high = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : high;
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    return n;
}

bool
perfi_text_is_utf8(const char *text, size_t length)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t i = 0;
    while (i < length) {
        if (length >= 8) { /* nearly all of it is ASCII */
            uint64_t eight;
            size_t at = i < length - 8 ? i : length - 8;
            memcpy(&eight, s + at, sizeof eight);
            if (!(eight & UINT64_C(0x8080808080808080))) {
                i = at + 8;
                continue;
            }
        }
        size_t n = character(s + i, length - i);
        if (!n)
            return false;
        i += n;
    }
    return true;
}

size_t
perfi_text_mend(char *to, const char *text, size_t length)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t used = 0;
    for (size_t i = 0; i < length;) {
        size_t n = character(s + i, length - i);
        memcpy(to + used, n ? text + i : "\xEF\xBF\xBD", n ? n : 3);
        used += n ? n : 3;
        i += n ? n : 1;
    }
    return used;
}
