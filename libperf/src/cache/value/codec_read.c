/* codec_read.c - takes bytes apart into tokens, and believes none of them. */
#include <libperf/codec.h>

#include "codec_kinds.h"

#include <string.h>

void
perf_codec_open(perf_codec_reader *reader, const void *bytes, size_t size)
{
    reader->at = bytes;
    reader->end = size ? reader->at + size : reader->at;
    reader->owed = 1;
    reader->depth = 0;
}

static inline uint64_t
number_at(const uint8_t *at, unsigned bytes)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < bytes; i++)
        n |= (uint64_t)at[i] << (8 * i);
    return n;
}

/* The number of a first byte, in its only form. Moves on; false: corrupt. */
static inline bool
take_number(const uint8_t **at, const uint8_t *end, unsigned low, uint64_t *n)
{
    *n = low;
    if (low <= PERFI_CODEC_INLINE)
        return true;
    unsigned bytes = 1u << (low - PERFI_CODEC_INLINE - 1);
    if ((size_t)(end - *at) < bytes)
        return false;
    *n = number_at(*at, bytes);
    *at += bytes;
    uint64_t fits_less =
        bytes == 1 ? PERFI_CODEC_INLINE : (UINT64_C(1) << (bytes * 4)) - 1;
    return *n > fits_less;
}

static bool
take_fixed(const uint8_t **at, const uint8_t *end, unsigned low,
           perf_token *out)
{
    uint64_t bits;
    switch (low) {
    case PERFI_CODEC_NONE: out->kind = PERF_TOKEN_NONE; return true;
    case PERFI_CODEC_FALSE:
    case PERFI_CODEC_TRUE:
        out->kind = PERF_TOKEN_BOOL;
        out->integer = low == PERFI_CODEC_TRUE;
        return true;
    case PERFI_CODEC_FLOAT:
        if (end - *at < 8)
            return false;
        bits = number_at(*at, 8);
        memcpy(&out->real, &bits, sizeof bits);
        *at += 8;
        out->kind = PERF_TOKEN_FLOAT;
        return true;
    default: return false;
    }
}

static const uint8_t kind_of[16] = {
    [PERFI_CODEC_INT] = PERF_TOKEN_INT,
    [PERFI_CODEC_NEGATIVE] = PERF_TOKEN_INT,
    [PERFI_CODEC_BIG] = PERF_TOKEN_BIG,
    [PERFI_CODEC_STR] = PERF_TOKEN_STR,
    [PERFI_CODEC_BYTES] = PERF_TOKEN_BYTES,
    [PERFI_CODEC_LIST] = PERF_TOKEN_LIST,
    [PERFI_CODEC_TUPLE] = PERF_TOKEN_TUPLE,
    [PERFI_CODEC_DICT] = PERF_TOKEN_DICT,
    [PERFI_CODEC_SET] = PERF_TOKEN_SET,
    [PERFI_CODEC_FROZENSET] = PERF_TOKEN_FROZENSET,
    [PERFI_CODEC_TYPED] = PERF_TOKEN_TYPED,
};

/* Anything but FIXED. `inside`: how many values belong to it. */
static bool
take_counted(const uint8_t **at, const uint8_t *end, unsigned first,
             perf_token *out, uint64_t *inside)
{
    uint64_t n;
    unsigned high = first >> 4;
    if (!kind_of[high] || !take_number(at, end, first & 15, &n))
        return false;
    out->kind = (perf_token_kind)kind_of[high];
    size_t left = (size_t)(end - *at);
    switch (out->kind) {
    case PERF_TOKEN_INT:
        out->integer = (int64_t)(high == PERFI_CODEC_INT ? n : ~n);
        return n <= INT64_MAX;
    case PERF_TOKEN_LIST:
    case PERF_TOKEN_TUPLE:
    case PERF_TOKEN_SET:
    case PERF_TOKEN_FROZENSET:
    case PERF_TOKEN_DICT:
        if (n > left)
            return false;
        out->size = (size_t)n;
        *inside = out->kind == PERF_TOKEN_DICT ? 2 * n : n;
        return true;
    default:
        if (n > left)
            return false;
        out->bytes = *at;
        out->size = (size_t)n;
        *at += n;
        *inside = out->kind == PERF_TOKEN_TYPED;
        return out->kind != PERF_TOKEN_BIG ||
               perfi_codec_is_big(out->bytes, out->size);
    }
}

perf_err
perf_codec_next(perf_codec_reader *reader, perf_token *out)
{
    if (!reader || !out)
        return PERF_ERR_INVALID;
    *out = (perf_token){.kind = PERF_TOKEN_END};
    const uint8_t *at = reader->at, *end = reader->end;
    if (!reader->owed)
        return at == end ? PERF_OK : PERF_ERR_CORRUPT;
    if (at == end)
        return PERF_ERR_CORRUPT;
    perf_token token = *out;
    uint64_t inside = 0;
    unsigned first = *at++;
    if (first >> 4 ? !take_counted(&at, end, first, &token, &inside)
                   : !take_fixed(&at, end, first, &token))
        return PERF_ERR_CORRUPT;
    /* every value that is still owed takes a byte at least */
    uint64_t owed = reader->owed - 1 + inside;
    uint32_t depth = reader->depth;
    while (depth && !reader->left[depth - 1])
        depth--;
    if (owed > (size_t)(end - at) || (inside && depth == PERF_CODEC_DEPTH))
        return PERF_ERR_CORRUPT;
    if (depth)
        reader->left[depth - 1]--;
    if (inside)
        reader->left[depth++] = inside;
    reader->depth = depth;
    reader->owed = owed;
    reader->at = at;
    *out = token;
    return PERF_OK;
}
