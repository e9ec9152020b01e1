/* test_hash.c - the numbers that XXH3 gives everywhere. */
#include "pt.h"

#include <libperf/hash.h>
#include <stdio.h>
#include <string.h>

static const char *
hex(const uint8_t *bytes, size_t size)
{
    static char text[65];
    for (size_t i = 0; i < size; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    return text;
}

START_TEST(test_xxh3_of_nothing_and_of_a_text)
{
    uint8_t digest[PERF_DIGEST_SIZE];
    ck_assert_uint_eq(perf_hash(NULL, 0), UINT64_C(0x2d06800538d394c2));
    ck_assert_uint_eq(perf_hash("a", 1), UINT64_C(0xe6c632b61e964e1f));
    perf_digest(NULL, 0, digest);
    ck_assert_str_eq(hex(digest, 16), "99aa06d3014798d86001c324468d497f");
    perf_digest("a", 1, digest);
    ck_assert_str_eq(hex(digest, 16), "a96faf705af16834e6c632b61e964e1f");
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("cache.hash");
    tcase_add_test(tests, test_xxh3_of_nothing_and_of_a_text);
    return pt_end();
}
