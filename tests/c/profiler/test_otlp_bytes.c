/* test_otlp_bytes.c - what a span is as protobuf, byte by byte: every type of
 * value, texts and keys around the lengths where a length takes a byte more,
 * numbers of every width. The plain way to write it says what is right; a hash
 * says that it is what it has always been. */
#include "otlp.h"
#include "pt.h"

#include <math.h>
#include <stdlib.h>

enum { LONGEST = 1 << 16, KEY_LONGEST = 3 * PERF_TEXT_MAX_BYTES };

static perfi_view view; /* large */
static perf_record record;
static char text[LONGEST];
static char keys[PERFI_VALUES][8 + KEY_LONGEST];

static uint64_t
fnv(uint64_t hash, const unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001B3);
    return hash;
}

static void
begin(void)
{
    record = (perf_record){.id = UINT64_C(0x0123456789ABCDEF),
                           .parent = UINT64_C(0xFEDCBA9876543210),
                           .trace_hi = 1,
                           .trace_lo = UINT64_MAX};
    memset(&view, 0, sizeof view);
    view.record = &record;
    view.name = "a name";
    view.name_length = 6;
    view.kind = 3;
    view.start_ns = UINT64_C(1700000000123456789);
    view.end_ns = view.start_ns + 1;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('a' + i % 23);
}

/* Its key is framed, as those of all values are. */
static perfi_value *
add(uint32_t key_length, perfi_value_type type)
{
    perfi_value *v = &view.value[view.values];
    char *key = perfi_key_frame(keys[view.values], text, key_length);
    *v = (perfi_value){.key = key, .key_length = key_length, .type = type};
    view.values++;
    return v;
}

static void
add_text(uint32_t key_length, perfi_value_type type, uint32_t length)
{
    perfi_value *v = add(key_length, type);
    v->text = text + LONGEST - length; /* nothing may be read behind it */
    v->length = length;
}

/* The view both ways. */
static uint64_t
write_both(uint64_t hash)
{
    perfi_out fast = {.allocator = perf_allocator_libc()}, plain = fast;
    perfi_tree tree = {.out = &plain};
    perfi_span_proto(&fast, &view);
    perfi_span_tree(&tree, &view);
    PT_ASSERT(!fast.failed && fast.size <= fast.room);
    PT_ASSERT(fast.size == plain.size);
    PT_ASSERT(!memcmp(fast.bytes, plain.bytes, fast.size));
    hash = fnv(hash, fast.bytes, fast.size);
    perfi_out_free(&fast);
    perfi_out_free(&plain);
    return hash;
}

#define EACH(array, i)                                                         \
    for (size_t i = 0; i < sizeof(array) / sizeof *(array); i++)

static const uint32_t lengths[] = {
    0,     1,     2,     3,     4,     7,     8,     9,    15,   16,   17,
    31,    32,    33,    63,    64,    65,    98,    99,   100,  123,  124,
    125,   126,   127,   128,   129,   130,   255,   256,  4095, 4096, 16378,
    16379, 16380, 16381, 16382, 16383, 16384, 16385, 65535};
static const uint32_t key_lengths[] = {
    1,   5,   8,   13,  20,  32,  95,  96,  97,  112, 113, 114, 115, 116,
    117, 118, 119, 120, 121, 122, 123, 124, 125, 126, 127, 128, 129, 300};

START_TEST(test_texts_of_every_length)
{
    uint64_t hash = 0;
    EACH(key_lengths, k)
    EACH(lengths, i)
    {
        begin();
        add_text(key_lengths[k], PERFI_VALUE_TEXT, lengths[i]);
        add_text(key_lengths[k], PERFI_VALUE_LIST, lengths[i]);
        hash = write_both(hash);
    }
    ck_assert_uint_eq(hash, UINT64_C(0x61D5494F10052734));
}
END_TEST

START_TEST(test_numbers_of_every_width)
{
    uint64_t hash = 0;
    EACH(key_lengths, k)
    for (int shift = 0; shift < 64; shift++)
        for (int less = 0; less < 2; less++) {
            uint64_t bits = (UINT64_C(1) << shift) - (uint64_t)less;
            begin();
            add(key_lengths[k], PERFI_VALUE_INT)->integer = (int64_t)bits;
            add(key_lengths[k], PERFI_VALUE_INT)->integer = (int64_t)~bits;
            add(key_lengths[k], PERFI_VALUE_BOOL)->integer = shift % 3;
            hash = write_both(hash);
        }
    ck_assert_uint_eq(hash, UINT64_C(0x944F9B2682520697));
}
END_TEST

START_TEST(test_reals)
{
    static const double reals[] = {0.0, -0.0, 0.2, -1e308, 5e-324, INFINITY};
    uint64_t hash = 0;
    EACH(key_lengths, k)
    EACH(reals, i)
    {
        begin();
        add(key_lengths[k], PERFI_VALUE_DOUBLE)->real = reals[i];
        hash = write_both(hash);
    }
    ck_assert_uint_eq(hash, UINT64_C(0xB659659DC78F510A));
}
END_TEST

/* The span's own length is of one, two or three bytes. */
START_TEST(test_spans_of_every_length)
{
    uint64_t hash = 0;
    for (uint32_t bare = 0; bare < 2; bare++)
        EACH(lengths, i)
        {
            begin();
            view.name = text + LONGEST - lengths[i];
            view.name_length = lengths[i];
            if (bare)
                record.parent = 0;
            else
                for (uint32_t n = 0; n < PERFI_VALUES; n++)
                    add_text(7, PERFI_VALUE_TEXT, n);
            view.code = bare ? 2 : 0;
            view.link_id = bare;
            hash = write_both(hash);
        }
    ck_assert_uint_eq(hash, UINT64_C(0xFEE7492A0A9C7ABE));
}
END_TEST

START_TEST(test_lines_of_every_length)
{
    static perfi_line line;
    uint64_t hash = 0;
    EACH(lengths, i)
    for (uint32_t level = 0; level < 7 && lengths[i] <= sizeof line.text;
         level++) {
        begin();
        line.time_ns = view.start_ns;
        line.level = level;
        line.length = (uint16_t)lengths[i];
        memcpy(line.text, text, line.length);
        for (view.events = 0; view.events < 50; view.events++)
            view.event[view.events] = &line;
        view.events_dropped = lengths[i];
        hash = write_both(hash);
    }
    ck_assert_uint_eq(hash, UINT64_C(0xD66FFFF6E79AFF70));
}
END_TEST

START_TEST(test_our_own_keys_are_framed)
{
    for (perfi_key k = 0; k < PERFI_KEY_COUNT; k++) {
        char framed[64];
        uint32_t length;
        const char *key = perfi_key_text(k, &length);
        ck_assert_uint_eq(length, strlen(key) - 1);
        ck_assert_uint_lt(length, sizeof framed - 8);
        char *same = perfi_key_frame(framed, key, length);
        ck_assert_mem_eq(same - 2, key - 2, length + 3);
    }
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("profiler.otlp_bytes");
    tcase_add_test(tests, test_texts_of_every_length);
    tcase_add_test(tests, test_numbers_of_every_width);
    tcase_add_test(tests, test_reals);
    tcase_add_test(tests, test_spans_of_every_length);
    tcase_add_test(tests, test_lines_of_every_length);
    tcase_add_test(tests, test_our_own_keys_are_framed);
    return pt_end();
}
