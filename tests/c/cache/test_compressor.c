/* test_compressor.c - what goes in comes out, with and without dictionaries,
 * in many threads; foreign bytes are refused. */
#include "pt.h"

#include <libperf/compressor.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES = 400, ROOM = 8 << 10, LONGEST = 600 };

static perf_compressor *
make(const perf_allocator *allocator)
{
    perf_compressor *c;
    ck_assert_int_eq(perf_compressor_create(0, allocator, &c), PERF_OK);
    return c;
}

/* What a service answers: the same frame around something new. */
static size_t
answer(pt_random *r, uint32_t kind, char out[LONGEST])
{
    return (size_t)snprintf(
        out, LONGEST,
        "{\"id\": \"chatcmpl-%016llx\", \"object\": \"chat.completion\", "
        "\"created\": %u, \"model\": \"model-%u\", \"choices\": [{\"index\": "
        "0, "
        "\"message\": {\"role\": \"assistant\", \"content\": \"%llu is the "
        "number\"}, \"finish_reason\": \"stop\"}], \"usage\": "
        "{\"prompt_tokens\": %u, \"completion_tokens\": %u}}",
        (unsigned long long)pt_next(r), (unsigned)pt_below(r, 1000000000), kind,
        (unsigned long long)pt_next(r), (unsigned)pt_below(r, 10000),
        (unsigned)pt_below(r, 1000));
}

/* A dictionary of such answers; `kind` makes it another one. */
static size_t
train(uint32_t kind, char out[ROOM])
{
    pt_random r = {kind};
    char *samples = malloc(SAMPLES * LONGEST), text[LONGEST];
    size_t sizes[SAMPLES], size = 0, written = 0;
    for (size_t i = 0; i < SAMPLES; i++) {
        sizes[i] = answer(&r, kind, text);
        memcpy(samples + size, text, sizes[i]);
        size += sizes[i];
    }
    ck_assert_int_eq(perf_compressor_train_blocking(samples, sizes, SAMPLES, 0,
                                                    out, ROOM, &written),
                     PERF_OK);
    ck_assert_uint_gt(written, 100);
    free(samples);
    return written;
}

static void
expect_round_trip(perf_compressor *c, uint32_t id, const char *text,
                  size_t size, size_t *packed_size)
{
    size_t room = perf_compressor_bound(size), written;
    char *packed = malloc(room), *back = malloc(size + 1);
    PT_ASSERT(!perf_compressor_pack(c, id, text, size, packed, room, &written));
    PT_ASSERT(!perf_compressor_unpack(c, id, packed, written, back, size));
    PT_ASSERT(!memcmp(text, back, size));
    /* it is exactly as long as it was */
    PT_ASSERT(perf_compressor_unpack(c, id, packed, written, back, size + 1) ==
              PERF_ERR_CORRUPT);
    if (size)
        PT_ASSERT(perf_compressor_unpack(c, id, packed, written, back,
                                         size - 1) == PERF_ERR_CORRUPT);
    *packed_size = written;
    free(packed);
    free(back);
}

START_TEST(test_values_come_back_and_a_dictionary_makes_them_small)
{
    perf_compressor *c = make(NULL);
    static char dictionary[ROOM], text[LONGEST];
    size_t size = train(1, dictionary), alone, with, all = 0;
    uint32_t id;
    ck_assert_int_eq(perf_compressor_add(c, dictionary, size, &id), PERF_OK);
    ck_assert_uint_ne(id, 0);
    pt_random r = {99};
    size_t sum_alone = 0, sum_with = 0;
    for (int i = 0; i < 200; i++) {
        size_t n = answer(&r, 1, text);
        expect_round_trip(c, 0, text, n, &alone);
        expect_round_trip(c, id, text, n, &with);
        all += n;
        sum_alone += alone;
        sum_with += with;
    }
    ck_assert_uint_lt(sum_with * 5, all);
    ck_assert_uint_lt(sum_with * 2, sum_alone);
    expect_round_trip(c, 0, "", 0, &alone);
    expect_round_trip(c, id, "", 0, &alone);
    perf_compressor_destroy(c);
}
END_TEST

START_TEST(test_a_dictionary_has_the_same_id_everywhere)
{
    perf_compressor *a = make(NULL), *b = make(NULL);
    static char one[ROOM], two[ROOM];
    size_t size_one = train(1, one), size_two = train(2, two);
    uint32_t id = 0, again = 0, other = 0;
    perf_compressor_add(a, one, size_one, &id);
    perf_compressor_add(a, one, size_one, &again);
    ck_assert_uint_eq(id, again);
    ck_assert(!perf_compressor_has(b, id) && perf_compressor_has(a, id));
    perf_compressor_add(b, two, size_two, &other);
    ck_assert_uint_ne(id, other);
    perf_compressor_add(b, one, size_one, &again);
    ck_assert_uint_eq(id, again);
    ck_assert(perf_compressor_has(b, id) && perf_compressor_has(b, other));
    ck_assert(perf_compressor_has(a, 0) && !perf_compressor_has(NULL, 0));
    perf_compressor_destroy(a);
    perf_compressor_destroy(b);
    perf_compressor_destroy(NULL);
}
END_TEST

START_TEST(test_what_is_refused)
{
    perf_compressor *c = make(NULL), *none;
    char out[200], text[100] = {0};
    size_t written;
    uint32_t id;
    ck_assert_int_eq(perf_compressor_create(20, NULL, &none), PERF_ERR_RANGE);
    ck_assert_int_eq(perf_compressor_create(-1, NULL, &none), PERF_ERR_RANGE);
    ck_assert_int_eq(perf_compressor_create(1, NULL, NULL), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_compressor_add(c, "", 0, &id), PERF_ERR_RANGE);
    ck_assert_int_eq(
        perf_compressor_add(c, text, PERF_DICTIONARY_MAX_BYTES + 1, &id),
        PERF_ERR_RANGE);
    ck_assert_int_eq(perf_compressor_add(c, text, 100, &id), PERF_ERR_CORRUPT);
    ck_assert_int_eq(
        perf_compressor_add(c, "\x37\xA4\x30\xEC not one at all", 20, &id),
        PERF_ERR_CORRUPT);
    ck_assert_int_eq(perf_compressor_pack(c, 5, text, 100, out, 200, &written),
                     PERF_ERR_NOT_FOUND);
    ck_assert_int_eq(perf_compressor_unpack(c, 5, text, 100, out, 200),
                     PERF_ERR_NOT_FOUND);
    ck_assert_int_eq(perf_compressor_pack(c, 0, text, 100, out, 3, &written),
                     PERF_ERR_FULL);
    ck_assert_int_eq(perf_compressor_pack(c, 0, text, 100, out, 200, &written),
                     PERF_OK); /* and goes on */
    ck_assert_int_eq(perf_compressor_unpack(c, 0, "nonsense", 8, out, 200),
                     PERF_ERR_CORRUPT);
    ck_assert_int_eq(perf_compressor_unpack(c, 0, NULL, 8, out, 200),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_compressor_pack(NULL, 0, text, 1, out, 9, &written),
                     PERF_ERR_INVALID);
    size_t sizes[3] = {10, 10, 10};
    ck_assert_int_eq(
        perf_compressor_train_blocking(text, sizes, 3, 0, out, 200, &written),
        PERF_ERR_NOT_FOUND);
    perf_compressor_destroy(c);
}
END_TEST

/* Frames that are skipped, frames of zstd's first versions, two frames: zstd
 * would read them. */
START_TEST(test_only_one_frame_of_our_own_is_read)
{
    perf_compressor *c = make(NULL);
    char text[200] = "some text", out[600], back[400];
    size_t one, two;
    ck_assert_int_eq(perf_compressor_pack(c, 0, text, 200, out, 300, &one),
                     PERF_OK);
    ck_assert_int_eq(
        perf_compressor_pack(c, 0, text, 200, out + one, 300, &two), PERF_OK);
    ck_assert_int_eq(perf_compressor_unpack(c, 0, out, one, back, 200),
                     PERF_OK);
    ck_assert_int_eq(perf_compressor_unpack(c, 0, out, one + two, back, 400),
                     PERF_ERR_CORRUPT);
    char skipped[8] = {0x50, 0x2A, 0x4D, 0x18};
    ck_assert_int_eq(perf_compressor_unpack(c, 0, skipped, 8, back, 0),
                     PERF_ERR_CORRUPT);
    for (char version = 0x22; version <= 0x27; version++) {
        out[0] = version;
        ck_assert_int_eq(perf_compressor_unpack(c, 0, out, one, back, 200),
                         PERF_ERR_CORRUPT);
    }
    for (size_t less = 0; less < one; less++)
        ck_assert_int_eq(perf_compressor_unpack(c, 0, out, less, back, 200),
                         PERF_ERR_CORRUPT);
    perf_compressor_destroy(c);
}
END_TEST

START_TEST(test_dictionaries_end_somewhere)
{
    perf_compressor *c = make(NULL);
    static char dictionary[ROOM];
    size_t size = train(1, dictionary);
    uint32_t id;
    /* the last byte belongs to its content, which may be anything */
    for (int i = 0; i < PERF_DICTIONARIES_MAX; i++) {
        dictionary[size - 1] = (char)i;
        ck_assert_int_eq(perf_compressor_add(c, dictionary, size, &id),
                         PERF_OK);
    }
    ck_assert_int_eq(perf_compressor_add(c, dictionary, size, &id), PERF_OK);
    dictionary[size - 1] = 100;
    ck_assert_int_eq(perf_compressor_add(c, dictionary, size, &id),
                     PERF_ERR_FULL);
    perf_compressor_destroy(c);
}
END_TEST

/* ---- memory ---- */

START_TEST(test_no_memory_at_any_point)
{
    static char dictionary[ROOM], text[LONGEST], out[2 * LONGEST];
    perf_compressor_destroy(make(NULL));
    size_t size = train(1, dictionary), written;
    pt_random r = {5};
    size_t length = answer(&r, 1, text);
    bool done = false;
    uint64_t allowed = 0;
    for (; !done; allowed++) {
        pt_alloc a;
        perf_compressor *c;
        uint32_t id;
        pt_alloc_init(&a, allowed);
        perf_err err = perf_compressor_create(0, &a.face, &c);
        err = err ? err : perf_compressor_add(c, dictionary, size, &id);
        if (!err)
            err = perf_compressor_pack(c, id, text, length, out, sizeof out,
                                       &written);
        char back[LONGEST];
        if (!err)
            err = perf_compressor_unpack(c, id, out, written, back, length);
        ck_assert(err == PERF_OK || err == PERF_ERR_NOMEM);
        done = !err;
        perf_compressor_destroy(c);
        ck_assert_uint_eq(a.live, 0);
        ck_assert(!a.wrong_size);
    }
    ck_assert_uint_gt(allowed, 5);
}
END_TEST

START_TEST(test_nothing_is_allocated_once_it_is_warm)
{
    pt_alloc a;
    pt_alloc_init(&a, UINT64_MAX);
    perf_compressor *c = make(&a.face);
    static char dictionary[ROOM], text[LONGEST];
    size_t packed;
    uint32_t id;
    perf_compressor_add(c, dictionary, train(1, dictionary), &id);
    pt_random r = {5};
    uint64_t calls = 0;
    for (int i = 0; i < 100; i++) {
        size_t n = answer(&r, 1, text);
        expect_round_trip(c, 0, text, n, &packed);
        expect_round_trip(c, id, text, n, &packed);
        if (i == 10)
            calls = a.calls;
    }
    ck_assert_uint_eq(a.calls, calls);
    perf_compressor_destroy(c);
    ck_assert_uint_eq(a.live, 0);
}
END_TEST

/* ---- threads ---- */

typedef struct crowd {
    perf_compressor *c;
    char dictionary[4][ROOM];
    size_t size[4];
} crowd;

/* More threads than contexts are kept for; dictionaries come meanwhile. */
static void
in_a_crowd(unsigned index, void *ctx)
{
    crowd *all = ctx;
    pt_random r = {index};
    char text[LONGEST];
    size_t packed;
    for (int i = 0; i < PT_TIMES(200); i++) {
        uint32_t id, kind = (uint32_t)pt_below(&r, 4);
        PT_ASSERT(!perf_compressor_add(all->c, all->dictionary[kind],
                                       all->size[kind], &id));
        PT_ASSERT(perf_compressor_has(all->c, id));
        size_t n = answer(&r, kind, text);
        expect_round_trip(all->c, i % 3 ? id : 0, text, n, &packed);
    }
}

START_TEST(test_many_threads)
{
    static crowd all;
    pt_alloc a;
    pt_alloc_init(&a, UINT64_MAX);
    all.c = make(&a.face);
    for (uint32_t i = 0; i < 4; i++)
        all.size[i] = train(i, all.dictionary[i]);
    pt_parallel(24, in_a_crowd, &all);
    perf_compressor_destroy(all.c);
    ck_assert_uint_eq(a.live, 0);
}
END_TEST

/* Built without zstd. */
START_TEST(test_everything_says_that_it_is_not_there)
{
    char text[10] = "text", out[100];
    perf_compressor *c = (perf_compressor *)text;
    size_t size = 4;
    uint32_t id;
    ck_assert_int_eq(perf_compressor_create(0, NULL, &c), PERF_ERR_UNSUPPORTED);
    ck_assert_ptr_null(c);
    ck_assert_int_eq(perf_compressor_add(c, text, 4, &id),
                     PERF_ERR_UNSUPPORTED);
    ck_assert_int_eq(perf_compressor_pack(c, 0, text, 4, out, 100, &size),
                     PERF_ERR_UNSUPPORTED);
    ck_assert_int_eq(perf_compressor_unpack(c, 0, text, 4, out, 100),
                     PERF_ERR_UNSUPPORTED);
    ck_assert_int_eq(
        perf_compressor_train_blocking(text, &size, 1, 0, out, 100, &size),
        PERF_ERR_UNSUPPORTED);
    ck_assert(!perf_compressor_has(c, 0));
    perf_compressor_destroy(c);
}
END_TEST

static bool
is_there(void)
{
    perf_compressor *c;
    perf_err err = perf_compressor_create(0, NULL, &c);
    perf_compressor_destroy(c);
    return err != PERF_ERR_UNSUPPORTED;
}

int
main(void)
{
    TCase *tests = pt_begin("cache.compressor");
    if (!is_there()) {
        tcase_add_test(tests, test_everything_says_that_it_is_not_there);
        return pt_end();
    }
    tcase_add_test(tests,
                   test_values_come_back_and_a_dictionary_makes_them_small);
    tcase_add_test(tests, test_a_dictionary_has_the_same_id_everywhere);
    tcase_add_test(tests, test_what_is_refused);
    tcase_add_test(tests, test_only_one_frame_of_our_own_is_read);
    tcase_add_test(tests, test_dictionaries_end_somewhere);
    tcase_add_test(tests, test_no_memory_at_any_point);
    tcase_add_test(tests, test_nothing_is_allocated_once_it_is_warm);
    tcase_add_test(tests, test_many_threads);
    return pt_end();
}
