/* codec.h - values as bytes: what a cached value is stored as.
 *
 * Model:    a value is a sequence of tokens. A container's token says how many
 *           values follow that belong to it, and these may be containers
 *           again. Plain values need nothing else; a value of any other type
 *           is a TYPED token, which is the type's name, and behind it one
 *           plain value. What a name means is up to whoever reads: reading
 *           never makes anything but tokens.
 * Bytes:    a token begins with one byte: its kind in the high half, a number
 *           n in the low half. 0 to 11 is n itself; 12, 13, 14, 15: n follows
 *           in 1, 2, 4, 8 bytes, little-endian, of these the fewest that do.
 *             0x00 NONE, 0x01 false, 0x02 true
 *             0x03 FLOAT, 8 bytes IEEE 754, little-endian
 *             0x1n INT n, 0x2n INT -1 - n; both fit 64 bits with a sign
 *             0x3n BIG, an integer that does not: n bytes, two's complement,
 *                  little-endian, the fewest that do
 *             0x4n STR, n bytes UTF-8 (lone surrogates as three bytes)
 *             0x5n BYTES, n bytes
 *             0x6n LIST, 0x7n TUPLE of n values; 0x8n DICT of n pairs, first
 *             the key; 0x9n SET, 0xAn FROZENSET
 *             0xBn TYPED, a name of n bytes; one value follows
 *           There is one way to write a value; another one is not read.
 * Trust:    a reader takes any bytes. It gives no count for which there are
 *           too few bytes left, so who reserves memory for what a token
 *           announces reserves no more than a multiple of the bytes.
 * Threads:  one at a time for each writer and reader.
 * Memory:   a writer grows by its allocator; a reader needs none. */
#ifndef LIBPERF_CODEC_H
#define LIBPERF_CODEC_H
#include <libperf/allocator.h>

PERF_BEGIN_DECLS

enum { PERF_CODEC_DEPTH = 200 }; /* containers and types inside each other */

typedef enum perf_token_kind {
    PERF_TOKEN_END = 0, /* of the value; only read */
    PERF_TOKEN_NONE,
    PERF_TOKEN_BOOL,
    PERF_TOKEN_INT,
    PERF_TOKEN_BIG,
    PERF_TOKEN_FLOAT,
    PERF_TOKEN_STR,
    PERF_TOKEN_BYTES,
    PERF_TOKEN_LIST,
    PERF_TOKEN_TUPLE,
    PERF_TOKEN_DICT,
    PERF_TOKEN_SET,
    PERF_TOKEN_FROZENSET,
    PERF_TOKEN_TYPED,
} perf_token_kind;

typedef struct perf_token {
    perf_token_kind kind;
    int64_t integer;      /* INT; BOOL: 0 or 1 */
    double real;          /* FLOAT */
    const uint8_t *bytes; /* BIG, STR, BYTES; TYPED: the name */
    size_t size;          /* of bytes; a container's values or pairs */
} perf_token;

/* ---- writing ---- */

/** Its fields are for reading: what was written is `bytes`, `size` long. */
typedef struct perf_codec_writer {
    uint8_t *bytes;
    size_t size;
    size_t room;
    size_t limit;
    bool grown; /* `bytes` is the writer's own */
    const perf_allocator *allocator;
} perf_codec_writer;

/** Begin to write.
 *  @param buffer  where at first; may be NULL when `room` is 0
 *  @param limit   bytes that may be written at most; 0: 4 GiB
 *  Ownership: perf_codec_stop() frees what it grew to. */
PERF_API void perf_codec_start(perf_codec_writer *writer, void *buffer,
                               size_t room, size_t limit,
                               const perf_allocator *allocator);

/** Append a token. Whether containers get what they announce, and how deep
 *  they are, is up to the caller; a reader would find out.
 *  Errors: PERF_ERR_INVALID (not a token; a BIG that is none), PERF_ERR_RANGE
 *  (limit), PERF_ERR_NOMEM. Nothing is appended then. */
PERF_API perf_err perf_codec_put(perf_codec_writer *writer,
                                 const perf_token *token);

/** One of the pieces that perf_codec_sort() puts in order. */
typedef struct perf_codec_piece {
    size_t begin;   /* an offset in what was written */
    size_t key_end; /* by the bytes from `begin` to here it is sorted */
    size_t end;     /* where the next piece begins */
} perf_codec_piece;

/** Put the pieces that were written last in the order of their keys, shorter
 *  first where one is the beginning of another: for a container whose order
 *  means nothing.
 *  @param pieces  one behind the other, the last ends where the writer is
 *  Errors: PERF_ERR_INVALID, PERF_ERR_NOMEM; nothing is moved then. */
PERF_API perf_err perf_codec_sort(perf_codec_writer *writer,
                                  perf_codec_piece *pieces, size_t count);

/** Free what was written. */
PERF_API void perf_codec_stop(perf_codec_writer *writer);

/* ---- reading ---- */

/** Its fields are the reader's own. */
typedef struct perf_codec_reader {
    const uint8_t *at;
    const uint8_t *end;
    uint64_t owed; /* values that were announced and have not come yet */
    uint32_t depth;
    uint64_t left[PERF_CODEC_DEPTH]; /* of each open container */
} perf_codec_reader;

/** Begin to read one value that is all of `bytes`. */
PERF_API void perf_codec_open(perf_codec_reader *reader, const void *bytes,
                              size_t size);

/** The next token; END behind the last one. `out->bytes` goes into the bytes
 *  that are read.
 *  Errors: PERF_ERR_INVALID, PERF_ERR_CORRUPT; the reader stays where it is. */
PERF_API perf_err perf_codec_next(perf_codec_reader *reader, perf_token *out);

PERF_END_DECLS
#endif
