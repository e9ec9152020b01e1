/* test_codec.c - tokens come back as they were written; there is one way to
 * write them, and no bytes make a reader promise what is not there. */
#include "pt.h"

#include <libperf/codec.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static perf_token
plain(perf_token_kind kind)
{
    return (perf_token){.kind = kind};
}

static perf_token
integer(int64_t value)
{
    return (perf_token){.kind = PERF_TOKEN_INT, .integer = value};
}

static perf_token
text(perf_token_kind kind, const void *bytes, size_t size)
{
    return (perf_token){.kind = kind, .bytes = bytes, .size = size};
}

static perf_token
container(perf_token_kind kind, size_t size)
{
    return (perf_token){.kind = kind, .size = size};
}

static bool
same(const perf_token *a, const perf_token *b)
{
    return a->kind == b->kind && a->integer == b->integer &&
           !memcmp(&a->real, &b->real, sizeof a->real) && a->size == b->size &&
           (!a->bytes || !memcmp(a->bytes, b->bytes, a->size));
}

/* One token's bytes as a literal says. */
#define EXPECT_BYTES(token, literal)                                           \
    do {                                                                       \
        perf_codec_writer w;                                                   \
        uint8_t buffer[64];                                                    \
        perf_token t_ = token;                                                 \
        perf_codec_start(&w, buffer, sizeof buffer, 0, NULL);                  \
        ck_assert_int_eq(perf_codec_put(&w, &t_), PERF_OK);                    \
        ck_assert_uint_eq(w.size, sizeof(literal) - 1);                        \
        ck_assert_mem_eq(w.bytes, literal, sizeof(literal) - 1);               \
        ck_assert(!w.grown);                                                   \
        perf_codec_stop(&w);                                                   \
    } while (0)

START_TEST(test_the_bytes_are_what_the_header_says)
{
    EXPECT_BYTES(plain(PERF_TOKEN_NONE), "\x00");
    EXPECT_BYTES(plain(PERF_TOKEN_BOOL), "\x01");
    EXPECT_BYTES(((perf_token){.kind = PERF_TOKEN_BOOL, .integer = 1}), "\x02");
    EXPECT_BYTES(((perf_token){.kind = PERF_TOKEN_FLOAT, .real = 1.5}),
                 "\x03\0\0\0\0\0\0\xf8\x3f");
    EXPECT_BYTES(integer(0), "\x10");
    EXPECT_BYTES(integer(11), "\x1b");
    EXPECT_BYTES(integer(12), "\x1c\x0c");
    EXPECT_BYTES(integer(255), "\x1c\xff");
    EXPECT_BYTES(integer(256), "\x1d\x00\x01");
    EXPECT_BYTES(integer(65536), "\x1e\x00\x00\x01\x00");
    EXPECT_BYTES(integer(INT64_MAX), "\x1f\xff\xff\xff\xff\xff\xff\xff\x7f");
    EXPECT_BYTES(integer(-1), "\x20");
    EXPECT_BYTES(integer(INT64_MIN), "\x2f\xff\xff\xff\xff\xff\xff\xff\x7f");
    EXPECT_BYTES(text(PERF_TOKEN_BIG, "\0\0\0\0\0\0\0\x80\0", 9),
                 "\x39\0\0\0\0\0\0\0\x80\0");
    EXPECT_BYTES(text(PERF_TOKEN_STR, "key", 3), "\x43key");
    EXPECT_BYTES(text(PERF_TOKEN_BYTES, NULL, 0), "\x50");
    EXPECT_BYTES(container(PERF_TOKEN_LIST, 2), "\x62");
    EXPECT_BYTES(container(PERF_TOKEN_TUPLE, 0), "\x70");
    EXPECT_BYTES(container(PERF_TOKEN_DICT, 300), "\x8d\x2c\x01");
    EXPECT_BYTES(container(PERF_TOKEN_SET, 1), "\x91");
    EXPECT_BYTES(container(PERF_TOKEN_FROZENSET, 1), "\xa1");
    EXPECT_BYTES(text(PERF_TOKEN_TYPED, "T", 1), "\xb1T");
}
END_TEST

/* ---- any value ---- */

enum { MOST = 4000 };

typedef struct model {
    perf_token token[MOST];
    size_t count;
} model;

static const uint8_t CONTENT[300] = "The same bytes for all texts, at any "
                                    "place in them.";

static perf_token
any_scalar(pt_random *r)
{
    static const uint8_t big[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 1};
    switch (pt_below(r, 7)) {
    case 0: return plain(PERF_TOKEN_NONE);
    case 1:
        return (perf_token){.kind = PERF_TOKEN_BOOL,
                            .integer = (int64_t)pt_below(r, 2)};
    case 2: return integer((int64_t)(pt_next(r) >> pt_below(r, 64)));
    case 3: return integer(-(int64_t)(pt_next(r) >> (1 + pt_below(r, 63))));
    case 4: return (perf_token){.kind = PERF_TOKEN_FLOAT, .real = pt_unit(r)};
    case 5: return text(PERF_TOKEN_BIG, big, 12);
    default:
        return text(pt_below(r, 2) ? PERF_TOKEN_STR : PERF_TOKEN_BYTES,
                    CONTENT + pt_below(r, 30), pt_below(r, 270));
    }
}

static void
any_value(pt_random *r, model *m, unsigned depth)
{
    static const perf_token_kind kinds[] = {PERF_TOKEN_LIST, PERF_TOKEN_TUPLE,
                                            PERF_TOKEN_DICT, PERF_TOKEN_SET,
                                            PERF_TOKEN_FROZENSET};
    if (!depth || m->count > MOST / 2 || pt_below(r, 3) == 0) {
        m->token[m->count++] = any_scalar(r);
        return;
    }
    size_t size = pt_below(r, 6), inside = size;
    if (pt_below(r, 6) == 0) {
        m->token[m->count++] = text(PERF_TOKEN_TYPED, CONTENT, size + 1);
        inside = 1;
    } else {
        perf_token_kind kind = kinds[pt_below(r, 5)];
        m->token[m->count++] = container(kind, size);
        inside = kind == PERF_TOKEN_DICT ? 2 * size : size;
    }
    while (inside--)
        any_value(r, m, depth - 1);
}

static void
write_all(perf_codec_writer *w, const model *m)
{
    for (size_t i = 0; i < m->count; i++)
        PT_ASSERT(!perf_codec_put(w, &m->token[i]));
}

static void
expect_all(const uint8_t *bytes, size_t size, const model *m)
{
    perf_codec_reader reader;
    perf_token t;
    perf_codec_open(&reader, bytes, size);
    for (size_t i = 0; i < m->count; i++) {
        PT_ASSERT(!perf_codec_next(&reader, &t));
        PT_ASSERT(same(&m->token[i], &t));
    }
    PT_ASSERT(!perf_codec_next(&reader, &t) && t.kind == PERF_TOKEN_END);
    PT_ASSERT(!perf_codec_next(&reader, &t) && t.kind == PERF_TOKEN_END);
}

/* Read until the end or an error; the tokens write the same bytes again. */
static perf_err
read_all(const uint8_t *bytes, size_t size)
{
    perf_codec_reader reader;
    perf_codec_writer again;
    perf_token t;
    perf_err err;
    uint64_t announced = 1;
    perf_codec_open(&reader, bytes, size);
    perf_codec_start(&again, NULL, 0, 0, NULL);
    while (!(err = perf_codec_next(&reader, &t)) && t.kind != PERF_TOKEN_END) {
        PT_ASSERT(!perf_codec_put(&again, &t));
        announced += t.kind == PERF_TOKEN_DICT    ? 2 * t.size
                     : t.kind == PERF_TOKEN_TYPED ? 1
                     : t.kind >= PERF_TOKEN_LIST  ? t.size
                                                  : 0;
        PT_ASSERT(announced <= size);
    }
    PT_ASSERT(again.size <= size);
    PT_ASSERT(!again.size || !memcmp(again.bytes, bytes, again.size));
    PT_ASSERT(err || again.size == size);
    perf_codec_stop(&again);
    return err;
}

START_TEST(test_any_value_comes_back)
{
    pt_random r = {1};
    model *m = malloc(sizeof *m);
    for (int i = 0; i < PT_TIMES(8000); i++) {
        perf_codec_writer w;
        uint8_t buffer[64];
        m->count = 0;
        any_value(&r, m, 8);
        perf_codec_start(&w, buffer, pt_below(&r, sizeof buffer), 0, NULL);
        write_all(&w, m);
        expect_all(w.bytes, w.size, m);
        /* cut short anywhere it is no value, and neither with more behind */
        PT_ASSERT(read_all(w.bytes, pt_below(&r, w.size)) == PERF_ERR_CORRUPT);
        perf_token more = plain(PERF_TOKEN_NONE);
        perf_codec_put(&w, &more);
        PT_ASSERT(read_all(w.bytes, w.size) == PERF_ERR_CORRUPT);
        w.size--;
        for (int k = 0; k < 8; k++) {
            size_t at = pt_below(&r, w.size);
            uint8_t change = (uint8_t)(1 + pt_below(&r, 255));
            w.bytes[at] ^= change;
            read_all(w.bytes, w.size); /* whatever comes, by the rules */
            w.bytes[at] ^= change;
        }
        perf_codec_stop(&w);
    }
    free(m);
}
END_TEST

#define EXPECT_CORRUPT(literal)                                                \
    ck_assert_int_eq(                                                          \
        read_all((const uint8_t *)(literal), sizeof(literal) - 1),             \
        PERF_ERR_CORRUPT)

START_TEST(test_what_is_not_read)
{
    EXPECT_CORRUPT("");
    EXPECT_CORRUPT("\x04"); /* no such fixed value */
    EXPECT_CORRUPT("\xc0"); /* no such kind */
    EXPECT_CORRUPT("\xf0");
    EXPECT_CORRUPT("\x03\0\0\0\0\0\0\0"); /* a float of seven bytes */
    EXPECT_CORRUPT("\x1c\x0b");           /* 11 in more bytes than it needs */
    EXPECT_CORRUPT("\x1d\xff\x00");
    EXPECT_CORRUPT("\x1e\xff\xff\x00\x00");
    EXPECT_CORRUPT("\x1f\xff\xff\xff\xff\x00\x00\x00\x00");
    EXPECT_CORRUPT("\x1f\x00\x00\x00\x00\x00\x00\x00\x80"); /* 2^63 */
    EXPECT_CORRUPT("\x38\0\0\0\0\0\0\0\x80");               /* fits 64 bits */
    EXPECT_CORRUPT("\x39\0\0\0\0\0\0\0\0\0"); /* a needless last byte */
    EXPECT_CORRUPT("\x39\0\0\0\0\0\0\0\x80\xff");
    EXPECT_CORRUPT("\x44"
                   "abc"); /* fewer bytes than it says */
    EXPECT_CORRUPT("\x4f\xff\xff\xff\xff\xff\xff\xff\xff");
    EXPECT_CORRUPT("\x63\0\0"); /* fewer values than it says */
    EXPECT_CORRUPT("\x81\0");   /* a key without a value */
    EXPECT_CORRUPT("\x8f\xff\xff\xff\xff\xff\xff\xff\xff");
    EXPECT_CORRUPT("\xb1T"); /* a type without a value */
    EXPECT_CORRUPT("\0\0");  /* two values */
}
END_TEST

/* Each list says that everything which follows is in it: of a thousand bytes
 * one could reserve memory for a million. */
START_TEST(test_no_byte_is_promised_twice)
{
    uint8_t bytes[1000];
    perf_codec_reader reader;
    perf_token t;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = 0x60 + 9;
    perf_codec_open(&reader, bytes, sizeof bytes);
    uint64_t announced = 0;
    while (!perf_codec_next(&reader, &t))
        announced += t.size;
    ck_assert_uint_gt(announced, 900);
    ck_assert_uint_le(announced, sizeof bytes);
}
END_TEST

START_TEST(test_depth_ends_somewhere)
{
    uint8_t bytes[PERF_CODEC_DEPTH + 2];
    memset(bytes, 0x61, sizeof bytes);
    bytes[PERF_CODEC_DEPTH] = 0;
    ck_assert_int_eq(read_all(bytes, PERF_CODEC_DEPTH + 1), PERF_OK);
    bytes[PERF_CODEC_DEPTH] = 0x60; /* an empty one holds nothing */
    ck_assert_int_eq(read_all(bytes, PERF_CODEC_DEPTH + 1), PERF_OK);
    bytes[PERF_CODEC_DEPTH] = 0x61;
    bytes[PERF_CODEC_DEPTH + 1] = 0;
    ck_assert_int_eq(read_all(bytes, PERF_CODEC_DEPTH + 2), PERF_ERR_CORRUPT);
    /* beside each other is not inside each other */
    uint8_t beside[2 * 300 + 3] = {0x6d, 300 & 255, 300 >> 8};
    for (size_t i = 0; i < 300; i++)
        beside[3 + 2 * i] = 0x61;
    ck_assert_int_eq(read_all(beside, sizeof beside), PERF_OK);
}
END_TEST

START_TEST(test_a_writer_has_its_limits)
{
    perf_codec_writer w;
    uint8_t buffer[8];
    perf_codec_start(&w, buffer, sizeof buffer, 10, NULL);
    perf_token nine = text(PERF_TOKEN_STR, "123456789", 9);
    perf_token ten = text(PERF_TOKEN_STR, "1234567890", 10);
    perf_token none = plain(PERF_TOKEN_NONE);
    ck_assert_int_eq(perf_codec_put(&w, &ten), PERF_ERR_RANGE);
    ck_assert_uint_eq(w.size, 0);
    ck_assert_int_eq(perf_codec_put(&w, &nine), PERF_OK);
    ck_assert_int_eq(perf_codec_put(&w, &none), PERF_ERR_RANGE);
    perf_token huge = text(PERF_TOKEN_BYTES, "", SIZE_MAX);
    ck_assert_int_eq(perf_codec_put(&w, &huge), PERF_ERR_RANGE);
    ck_assert_uint_eq(w.size, 10);
    perf_codec_stop(&w);
    perf_codec_start(&w, NULL, 0, 0, NULL);
    perf_token bad = plain(PERF_TOKEN_END);
    ck_assert_int_eq(perf_codec_put(&w, &bad), PERF_ERR_INVALID);
    bad.kind = (perf_token_kind)99;
    ck_assert_int_eq(perf_codec_put(&w, &bad), PERF_ERR_INVALID);
    bad = text(PERF_TOKEN_BIG, "\1\2\3", 3);
    ck_assert_int_eq(perf_codec_put(&w, &bad), PERF_ERR_INVALID);
    bad = text(PERF_TOKEN_STR, NULL, 3);
    ck_assert_int_eq(perf_codec_put(&w, &bad), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_codec_put(&w, NULL), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_codec_put(NULL, &none), PERF_ERR_INVALID);
    perf_codec_reader reader;
    perf_codec_open(&reader, "", 1);
    ck_assert_int_eq(perf_codec_next(NULL, &bad), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_codec_next(&reader, NULL), PERF_ERR_INVALID);
    perf_codec_stop(&w);
    perf_codec_stop(&w);
}
END_TEST

/* ---- order ---- */

/* Texts and their numbers, in some order; sorted they are the same bytes. */
static void
write_pairs(perf_codec_writer *w, const uint32_t *order, size_t count)
{
    perf_codec_piece *pieces = calloc(count, sizeof *pieces);
    for (size_t i = 0; i < count; i++) {
        char key[16];
        int size = snprintf(key, sizeof key, "%u", order[i]);
        perf_token k = text(PERF_TOKEN_STR, key, (size_t)size);
        perf_token v = integer((int64_t)order[i]);
        pieces[i].begin = w->size;
        PT_ASSERT(!perf_codec_put(w, &k));
        pieces[i].key_end = w->size;
        PT_ASSERT(!perf_codec_put(w, &v));
        pieces[i].end = w->size;
    }
    PT_ASSERT(!perf_codec_sort(w, pieces, count));
    free(pieces);
}

static void
expect_sorted(const perf_codec_writer *w, size_t begin, size_t count)
{
    const uint8_t *at = w->bytes + begin, *before = NULL;
    for (size_t i = 0; i < count; i++) {
        size_t size = 1 + (at[0] & 15);
        if (before)
            PT_ASSERT(memcmp(before, at, 1 + (before[0] & 15)) < 0);
        before = at;
        at += size;
        at += 1 + ((*at & 15) > 11 ? 1u << ((*at & 15) - 12) : 0);
    }
    PT_ASSERT(at == w->bytes + w->size);
}

START_TEST(test_any_order_becomes_one)
{
    pt_random r = {3};
    uint32_t order[500];
    for (int i = 0; i < PT_TIMES(2000); i++) {
        size_t count = 1 + pt_below(&r, i % 10 ? 30 : 500);
        perf_codec_writer a, b;
        perf_codec_start(&a, NULL, 0, 0, NULL);
        perf_codec_start(&b, NULL, 0, 0, NULL);
        perf_token first = plain(PERF_TOKEN_NONE);
        perf_codec_put(&a, &first); /* what stands before is not touched */
        perf_codec_put(&b, &first);
        for (uint32_t k = 0; k < count; k++)
            order[k] = k * 3;
        write_pairs(&a, order, count);
        expect_sorted(&a, 1, count);
        for (size_t k = count; k > 1; k--) {
            size_t other = pt_below(&r, k);
            uint32_t swapped = order[k - 1];
            order[k - 1] = order[other];
            order[other] = swapped;
        }
        write_pairs(&b, order, count);
        PT_ASSERT(a.size == b.size && !memcmp(a.bytes, b.bytes, a.size));
        perf_codec_stop(&a);
        perf_codec_stop(&b);
    }
}
END_TEST

START_TEST(test_pieces_that_are_not_in_a_row)
{
    perf_codec_writer w;
    perf_token t = text(PERF_TOKEN_STR, "abcdefgh", 8);
    perf_codec_start(&w, NULL, 0, 0, NULL);
    perf_codec_put(&w, &t);
    perf_codec_piece gap[2] = {{4, 5, 6}, {3, 4, 9}};
    perf_codec_piece short_of_the_end[1] = {{0, 1, 8}};
    perf_codec_piece backwards[1] = {{5, 3, 9}};
    ck_assert_int_eq(perf_codec_sort(&w, gap, 2), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_codec_sort(&w, short_of_the_end, 1),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_codec_sort(&w, backwards, 1), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_codec_sort(&w, NULL, 1), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_codec_sort(NULL, gap, 2), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_codec_sort(&w, NULL, 0), PERF_OK);
    perf_codec_stop(&w);
}
END_TEST

/* ---- no memory ---- */

static perf_err
write_much(pt_alloc *a)
{
    perf_codec_writer w;
    uint32_t order[] = {5, 4, 3, 2, 1};
    perf_err err = PERF_OK;
    perf_codec_start(&w, NULL, 0, 0, &a->face);
    perf_token t = text(PERF_TOKEN_STR, CONTENT, 255);
    for (int i = 0; i < 40 && !err; i++) {
        size_t before = w.size;
        err = perf_codec_put(&w, &t);
        ck_assert(!err || w.size == before);
    }
    if (!err) {
        perf_codec_piece pieces[5];
        for (size_t i = 0; i < 5; i++) {
            perf_token k = integer((int64_t)order[i]);
            pieces[i].begin = w.size;
            if ((err = perf_codec_put(&w, &k)))
                break;
            pieces[i].key_end = pieces[i].end = w.size;
        }
        err = err ? err : perf_codec_sort(&w, pieces, 5);
    }
    perf_codec_stop(&w);
    return err;
}

START_TEST(test_no_memory_at_any_point)
{
    pt_alloc a;
    uint64_t allowed = 0;
    perf_err err;
    do {
        pt_alloc_init(&a, allowed++);
        err = write_much(&a);
        ck_assert(err == PERF_OK || err == PERF_ERR_NOMEM);
        ck_assert_uint_eq(a.live, 0);
        ck_assert(!a.wrong_size);
    } while (err);
    ck_assert_uint_gt(allowed, 3);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("cache.codec");
    tcase_add_test(tests, test_the_bytes_are_what_the_header_says);
    tcase_add_test(tests, test_any_value_comes_back);
    tcase_add_test(tests, test_what_is_not_read);
    tcase_add_test(tests, test_no_byte_is_promised_twice);
    tcase_add_test(tests, test_depth_ends_somewhere);
    tcase_add_test(tests, test_a_writer_has_its_limits);
    tcase_add_test(tests, test_any_order_becomes_one);
    tcase_add_test(tests, test_pieces_that_are_not_in_a_row);
    tcase_add_test(tests, test_no_memory_at_any_point);
    return pt_end();
}
