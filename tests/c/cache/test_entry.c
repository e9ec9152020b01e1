/* test_entry.c - entries come back as they were written, and nothing else
 * does. */
#include "pt.h"

#include <libperf/entry.h>
#include <stdlib.h>
#include <string.h>

static uint8_t labels[PERF_ENTRY_LABELS_MAX + 1][8];

static perf_entry
example(void)
{
    return (perf_entry){
        .created_ms = 1,
        .fresh_ms = UINT64_MAX - 1,
        .expires_ms = UINT64_MAX,
        .compute_us = UINT32_MAX,
        .dictionary = 77,
        .raw_size = 12345,
        .compression = PERF_COMPRESSION_ZSTD,
        .flags = PERF_ENTRY_STREAM,
        .label_count = 3,
        .label = labels[0],
        .key = (const uint8_t *)"a key",
        .key_size = 5,
        .value = (const uint8_t *)"and its value",
        .value_size = 13,
    };
}

static void
name_labels(void)
{
    for (uint64_t i = 0; i <= PERF_ENTRY_LABELS_MAX; i++)
        perf_entry_put_label(UINT64_C(0x0123456789abcd00) + i, labels[i]);
}

static void
expect_same(const perf_entry *a, const perf_entry *b)
{
    PT_ASSERT(a->created_ms == b->created_ms && a->fresh_ms == b->fresh_ms);
    PT_ASSERT(a->expires_ms == b->expires_ms && a->flags == b->flags);
    PT_ASSERT(a->compute_us == b->compute_us && a->raw_size == b->raw_size);
    PT_ASSERT(a->dictionary == b->dictionary);
    PT_ASSERT(a->compression == b->compression);
    PT_ASSERT(a->label_count == b->label_count);
    for (size_t i = 0; i < a->label_count; i++)
        PT_ASSERT(perf_entry_label(a, i) == perf_entry_label(b, i));
    PT_ASSERT(a->key_size == b->key_size && a->value_size == b->value_size);
    PT_ASSERT(!memcmp(a->key, b->key, a->key_size));
    PT_ASSERT(!a->value_size || !memcmp(a->value, b->value, a->value_size));
}

START_TEST(test_an_entry_comes_back)
{
    name_labels();
    perf_entry entry = example(), back;
    uint8_t bytes[256];
    size_t size = perf_entry_size(&entry);
    ck_assert_uint_eq(size, 64 + 3 * 8 + 5 + 13);
    ck_assert_int_eq(perf_entry_write(&entry, bytes, sizeof bytes), PERF_OK);
    ck_assert_int_eq(perf_entry_read(bytes, size, &back), PERF_OK);
    expect_same(&entry, &back);
    ck_assert_uint_eq(perf_entry_label(&back, 2), 0x0123456789abcd02);
    ck_assert_uint_eq(perf_entry_label(&back, 3), 0);
}
END_TEST

/* On another machine, and in a later version, it still is this. */
START_TEST(test_the_layout_is_what_the_header_says)
{
    perf_entry entry = {.created_ms = 0x0102,
                        .key = (const uint8_t *)"k",
                        .key_size = 1,
                        .value = (const uint8_t *)"v",
                        .value_size = 1};
    uint8_t bytes[66];
    ck_assert_int_eq(perf_entry_write(&entry, bytes, sizeof bytes), PERF_OK);
    ck_assert_mem_eq(bytes, "ppfr\1\0\0\0", 8);
    ck_assert_mem_eq(bytes + 16, "\2\1\0\0\0\0\0\0", 8);
    ck_assert_mem_eq(bytes + 48, "\1\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0kv", 18);
}
END_TEST

START_TEST(test_no_byte_can_be_changed_or_taken_away)
{
    name_labels();
    perf_entry entry = example(), back;
    uint8_t bytes[256];
    size_t size = perf_entry_size(&entry);
    perf_entry_write(&entry, bytes, sizeof bytes);
    for (size_t i = 0; i < size; i++)
        for (int bit = 0; bit < 8; bit++) {
            bytes[i] ^= (uint8_t)(1 << bit);
            perf_err err = perf_entry_read(bytes, size, &back);
            PT_ASSERT(err == (i == 4 ? PERF_ERR_VERSION : PERF_ERR_CORRUPT));
            bytes[i] ^= (uint8_t)(1 << bit);
        }
    for (size_t less = 0; less < size; less++)
        PT_ASSERT(perf_entry_read(bytes, less, &back) == PERF_ERR_CORRUPT);
    ck_assert_int_eq(perf_entry_read(bytes, size + 1, &back), PERF_ERR_CORRUPT);
    ck_assert_int_eq(perf_entry_read(bytes, size, &back), PERF_OK);
}
END_TEST

START_TEST(test_what_cannot_be_written)
{
    perf_entry entry = example(), bad = entry;
    uint8_t bytes[512];
    ck_assert_int_eq(perf_entry_write(NULL, bytes, 512), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_entry_write(&entry, NULL, 512), PERF_ERR_INVALID);
    size_t size = perf_entry_size(&entry);
    ck_assert_int_eq(perf_entry_write(&entry, bytes, size - 1), PERF_ERR_RANGE);
    bad.label_count = PERF_ENTRY_LABELS_MAX + 1;
    ck_assert_uint_eq(perf_entry_size(&bad), 0);
    ck_assert_int_eq(perf_entry_write(&bad, bytes, 512), PERF_ERR_RANGE);
    bad = entry;
    bad.key_size = 0;
    ck_assert_uint_eq(perf_entry_size(&bad), 0);
    bad = entry;
    bad.value_size = UINT32_MAX;
    ck_assert_uint_eq(perf_entry_size(&bad), 0);
    bad.value_size = (size_t)UINT32_MAX + 1;
    ck_assert_uint_eq(perf_entry_size(&bad), 0);
    bad = entry;
    bad.label = NULL;
    ck_assert_int_eq(perf_entry_write(&bad, bytes, 512), PERF_ERR_INVALID);
    bad = entry;
    bad.key = NULL;
    ck_assert_int_eq(perf_entry_write(&bad, bytes, 512), PERF_ERR_INVALID);
    bad = entry;
    bad.value = NULL;
    ck_assert_int_eq(perf_entry_write(&bad, bytes, 512), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_entry_read(NULL, 100, &bad), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_entry_read(bytes, 100, NULL), PERF_ERR_INVALID);
}
END_TEST

START_TEST(test_any_entry_comes_back)
{
    name_labels();
    pt_random r = {7};
    uint8_t text[300], bytes[1024];
    for (int i = 0; i < PT_TIMES(20000); i++) {
        for (size_t k = 0; k < sizeof text; k++)
            text[k] = (uint8_t)pt_next(&r);
        perf_entry back,
            entry = {
                .created_ms = pt_next(&r),
                .fresh_ms = pt_next(&r),
                .expires_ms = pt_next(&r),
                .compute_us = (uint32_t)pt_next(&r),
                .dictionary = (uint32_t)pt_next(&r),
                .raw_size = (uint32_t)pt_next(&r),
                .compression = (uint8_t)pt_next(&r),
                .flags = (uint8_t)pt_next(&r),
                .label_count = (uint8_t)pt_below(&r, PERF_ENTRY_LABELS_MAX + 1),
                .label = labels[0],
                .key = text,
                .key_size = 1 + pt_below(&r, sizeof text),
                .value = text,
                .value_size = pt_below(&r, sizeof text),
            };
        size_t size = perf_entry_size(&entry);
        PT_ASSERT(!perf_entry_write(&entry, bytes, size));
        PT_ASSERT(!perf_entry_read(bytes, size, &back));
        expect_same(&entry, &back);
        bytes[pt_below(&r, size)] ^= (uint8_t)(1 + pt_below(&r, 255));
        PT_ASSERT(perf_entry_read(bytes, size, &back));
    }
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("cache.entry");
    tcase_add_test(tests, test_an_entry_comes_back);
    tcase_add_test(tests, test_the_layout_is_what_the_header_says);
    tcase_add_test(tests, test_no_byte_can_be_changed_or_taken_away);
    tcase_add_test(tests, test_what_cannot_be_written);
    tcase_add_test(tests, test_any_entry_comes_back);
    return pt_end();
}
