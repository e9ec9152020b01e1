/* codec_write.c - appends tokens to a buffer that grows. */
#include <libperf/codec.h>

#include "codec_kinds.h"

#include <string.h>

static const uint64_t DEFAULT_LIMIT = UINT32_MAX;

void
perf_codec_start(perf_codec_writer *writer, void *buffer, size_t room,
                 size_t limit, const perf_allocator *allocator)
{
    *writer = (perf_codec_writer){
        .bytes = buffer,
        .room = buffer ? room : 0,
        .limit = limit ? limit : (size_t)DEFAULT_LIMIT,
        .allocator = allocator ? allocator : perf_allocator_libc(),
    };
}

void
perf_codec_stop(perf_codec_writer *writer)
{
    const perf_allocator *allocator = writer->allocator;
    if (writer->grown)
        allocator->free(writer->bytes, writer->room, allocator->ctx);
    *writer = (perf_codec_writer){.allocator = allocator};
}

static perf_err
grow(perf_codec_writer *w, size_t needed)
{
    const perf_allocator *allocator = w->allocator;
    size_t room = w->room < 512 ? 1024 : w->room;
    while (room < needed)
        room = room > SIZE_MAX / 2 ? needed : room * 2;
    uint8_t *bytes = allocator->alloc(room, allocator->ctx);
    if (!bytes)
        return PERF_ERR_NOMEM;
    if (w->size)
        memcpy(bytes, w->bytes, w->size);
    if (w->grown)
        allocator->free(w->bytes, w->room, allocator->ctx);
    w->bytes = bytes;
    w->room = room;
    w->grown = true;
    return PERF_OK;
}

/* Room for so many bytes behind what was written. */
static inline perf_err
reserve(perf_codec_writer *w, size_t bytes)
{
    if (bytes <= w->room - w->size)
        return PERF_OK;
    if (bytes > SIZE_MAX - w->size)
        return PERF_ERR_RANGE;
    return grow(w, w->size + bytes);
}

static inline void
put_number(uint8_t *at, uint64_t n, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        at[i] = (uint8_t)(n >> (8 * i));
}

/* How many bytes `n` takes behind the first one. */
static inline unsigned
extra(uint64_t n)
{
    if (n <= PERFI_CODEC_INLINE)
        return 0;
    return n <= UINT8_MAX ? 1 : n <= UINT16_MAX ? 2 : n <= UINT32_MAX ? 4 : 8;
}

/* The kind with its number, and behind it `size` bytes. */
static perf_err
put(perf_codec_writer *w, unsigned kind, uint64_t n, const void *bytes,
    size_t size)
{
    unsigned more = extra(n);
    if (w->size > w->limit || size > w->limit - w->size ||
        1 + more > w->limit - w->size - size)
        return PERF_ERR_RANGE;
    perf_err err = reserve(w, 1 + more + size);
    if (err)
        return err;
    uint8_t *at = w->bytes + w->size;
    static const uint8_t code[] = {[1] = 12, [2] = 13, [4] = 14, [8] = 15};
    at[0] = (uint8_t)(kind << 4 | (more ? code[more] : (unsigned)n));
    put_number(at + 1, n, more);
    if (size)
        memcpy(at + 1 + more, bytes, size);
    w->size += 1 + more + size;
    return PERF_OK;
}

static perf_err
put_text(perf_codec_writer *w, unsigned kind, const perf_token *token)
{
    if (token->size && !token->bytes)
        return PERF_ERR_INVALID;
    return put(w, kind, token->size, token->bytes, token->size);
}

static perf_err
put_real(perf_codec_writer *w, double real)
{
    uint64_t bits;
    uint8_t bytes[8];
    memcpy(&bits, &real, sizeof bits);
    put_number(bytes, bits, sizeof bytes);
    return put(w, PERFI_CODEC_FIXED, PERFI_CODEC_FLOAT, bytes, sizeof bytes);
}

perf_err
perf_codec_put(perf_codec_writer *writer, const perf_token *token)
{
    if (!writer || !token)
        return PERF_ERR_INVALID;
    int64_t i = token->integer;
    switch (token->kind) {
    case PERF_TOKEN_NONE:
        return put(writer, PERFI_CODEC_FIXED, PERFI_CODEC_NONE, NULL, 0);
    case PERF_TOKEN_BOOL:
        return put(writer, PERFI_CODEC_FIXED,
                   i ? PERFI_CODEC_TRUE : PERFI_CODEC_FALSE, NULL, 0);
    case PERF_TOKEN_INT:
        return i < 0 ? put(writer, PERFI_CODEC_NEGATIVE, ~(uint64_t)i, NULL, 0)
                     : put(writer, PERFI_CODEC_INT, (uint64_t)i, NULL, 0);
    case PERF_TOKEN_BIG:
        if (!perfi_codec_is_big(token->bytes, token->size))
            return PERF_ERR_INVALID;
        return put_text(writer, PERFI_CODEC_BIG, token);
    case PERF_TOKEN_FLOAT: return put_real(writer, token->real);
    case PERF_TOKEN_STR: return put_text(writer, PERFI_CODEC_STR, token);
    case PERF_TOKEN_BYTES: return put_text(writer, PERFI_CODEC_BYTES, token);
    case PERF_TOKEN_LIST:
        return put(writer, PERFI_CODEC_LIST, token->size, NULL, 0);
    case PERF_TOKEN_TUPLE:
        return put(writer, PERFI_CODEC_TUPLE, token->size, NULL, 0);
    case PERF_TOKEN_DICT:
        return put(writer, PERFI_CODEC_DICT, token->size, NULL, 0);
    case PERF_TOKEN_SET:
        return put(writer, PERFI_CODEC_SET, token->size, NULL, 0);
    case PERF_TOKEN_FROZENSET:
        return put(writer, PERFI_CODEC_FROZENSET, token->size, NULL, 0);
    case PERF_TOKEN_TYPED: return put_text(writer, PERFI_CODEC_TYPED, token);
    case PERF_TOKEN_END: break;
    }
    return PERF_ERR_INVALID;
}

/* ---- order ---- */

/* Ties are broken by what follows the key, so that there is one order. */
static bool
before(const uint8_t *bytes, const perf_codec_piece *a,
       const perf_codec_piece *b)
{
    size_t x = a->key_end - a->begin, y = b->key_end - b->begin;
    int order = memcmp(bytes + a->begin, bytes + b->begin, x < y ? x : y);
    if (order || x != y)
        return order ? order < 0 : x < y;
    x = a->end - a->begin;
    y = b->end - b->begin;
    order = memcmp(bytes + a->begin, bytes + b->begin, x < y ? x : y);
    return order ? order < 0 : x < y;
}

static void
insertion_sort(const uint8_t *bytes, perf_codec_piece *piece, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        perf_codec_piece moved = piece[i];
        size_t j = i;
        for (; j && before(bytes, &moved, &piece[j - 1]); j--)
            piece[j] = piece[j - 1];
        piece[j] = moved;
    }
}

static void
sift_down(const uint8_t *bytes, perf_codec_piece *piece, size_t i, size_t count)
{
    perf_codec_piece moved = piece[i];
    for (size_t child; (child = 2 * i + 1) < count; i = child) {
        if (child + 1 < count &&
            before(bytes, &piece[child], &piece[child + 1]))
            child++;
        if (!before(bytes, &moved, &piece[child]))
            break;
        piece[i] = piece[child];
    }
    piece[i] = moved;
}

/* In place, and n log n whatever comes: qsort() may allocate. */
static void
heap_sort(const uint8_t *bytes, perf_codec_piece *piece, size_t count)
{
    for (size_t i = count / 2; i--;)
        sift_down(bytes, piece, i, count);
    for (size_t end = count; --end;) {
        perf_codec_piece largest = piece[0];
        piece[0] = piece[end];
        piece[end] = largest;
        sift_down(bytes, piece, 0, end);
    }
}

static bool
in_one_row(const perf_codec_writer *w, const perf_codec_piece *piece,
           size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (piece[i].key_end < piece[i].begin ||
            piece[i].end < piece[i].key_end ||
            piece[i].end != (i + 1 < count ? piece[i + 1].begin : w->size))
            return false;
    return true;
}

perf_err
perf_codec_sort(perf_codec_writer *writer, perf_codec_piece *pieces,
                size_t count)
{
    if (!writer || (count && !pieces) || !in_one_row(writer, pieces, count))
        return PERF_ERR_INVALID;
    size_t sorted = 1;
    while (sorted < count &&
           !before(writer->bytes, &pieces[sorted], &pieces[sorted - 1]))
        sorted++;
    if (sorted >= count)
        return PERF_OK;
    size_t begin = pieces[0].begin, size = writer->size - begin;
    perf_err err = reserve(writer, size); /* behind, to copy by way of it */
    if (err)
        return err;
    (count <= 16 ? insertion_sort : heap_sort)(writer->bytes, pieces, count);
    uint8_t *copy = writer->bytes + writer->size;
    for (size_t i = 0; i < count; i++) {
        size_t bytes = pieces[i].end - pieces[i].begin;
        memcpy(copy, writer->bytes + pieces[i].begin, bytes);
        copy += bytes;
    }
    memcpy(writer->bytes + begin, writer->bytes + writer->size, size);
    return PERF_OK;
}
