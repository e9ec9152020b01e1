/* test_hash.c - the numbers that XXH3 and BLAKE2b give everywhere. */
#include "pt.h"

#include "cache/fingerprint.h"

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

static const char *
fingerprint_of(const void *bytes, size_t size)
{
    uint8_t out[PERF_FINGERPRINT_SIZE];
    perf_fingerprint(bytes, size, out);
    return hex(out, sizeof out);
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

/* The vectors are those of other implementations: Python's hashlib. */
START_TEST(test_blake2b_of_lengths_around_its_blocks)
{
    static const struct {
        size_t size;
        const char *expected;
    } vectors[] = {
        {0, "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8"},
        {1, "03170a2e7597b7b7e3d84c05391d139a62b157e78786d8c082f29dcf4c111314"},
        {63,
         "2508392d692269d611c89d106598f65355a98fbe998de4c37b71105a5bb79bd6"},
        {64,
         "17363253d86da2d13a0f306b36da8157fa4a630e7100e0954859f44a36ae2a41"},
        {65,
         "61b87412081a1eda72f35d7bea52b57a07cf9dda3fde3d97bb695964a2e4eb4d"},
        {127,
         "4ff62e7c4c43fe101a078479c48836be4907d9d498dcc577ca89d694b2c11f9b"},
        {128,
         "14696d2a98d9f8a280da8b132b1045b345e1033759c6b02fcc4ee885c8ae7c37"},
        {129,
         "3934215260b1039be9d9d2b073b059bcd50120c327a22af93eb4d98cf821c14c"},
        {255,
         "a3bb8b4fa098078d32bb5a89e905e237862fd83e99141ca7d8a073bb268ba2a0"},
        {256,
         "3d0cb2693dfbac42af5a6cc960953fea8714aa39c4bcd054ef61d6b5e98ade4a"},
        {257,
         "63cb41934eb22ceb359755501ea299abcd784306baf8845ad6b97ff0828b7cfe"},
        {384,
         "c1657697b6e9c44f9086f3103635482bdb0f16550335765aad643f155aa714c0"},
        {1000,
         "6ac4bea923678eb024090384d6e767b5870f849057dc19b172d8d9f2df30bf8e"},
    };
    uint8_t bytes[1000];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7);
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        ck_assert_str_eq(fingerprint_of(bytes, vectors[i].size),
                         vectors[i].expected);
    ck_assert_str_eq(fingerprint_of(NULL, 0), vectors[0].expected);
    ck_assert_str_eq(
        fingerprint_of("abc", 3),
        "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
}
END_TEST

START_TEST(test_both_ways_of_computing_it_agree)
{
    perfi_blake_fn *fast = perfi_blake_avx2();
    pt_random r = {1};
    uint64_t a[8], b[8], block[PERFI_BLAKE_BLOCK / 8];
    for (int i = 0; fast && i < PT_TIMES(100000); i++) {
        for (int k = 0; k < 8; k++)
            a[k] = b[k] = pt_next(&r);
        for (int k = 0; k < PERFI_BLAKE_BLOCK / 8; k++)
            block[k] = pt_next(&r);
        uint64_t counted = pt_next(&r);
        fast(a, (const uint8_t *)block, counted, i % 2);
        perfi_blake_plain(b, (const uint8_t *)block, counted, i % 2);
        PT_ASSERT(!memcmp(a, b, sizeof a));
    }
}
END_TEST

START_TEST(test_every_byte_and_the_length_count)
{
    uint8_t bytes[300] = {0}, plain[32], changed[32];
    for (size_t size = 0; size < sizeof bytes; size++) {
        perf_fingerprint(bytes, size, plain);
        perf_fingerprint(bytes, size + 1, changed);
        PT_ASSERT(memcmp(plain, changed, sizeof plain) != 0);
        for (size_t i = 0; i < size; i++) {
            bytes[i] = 1;
            perf_fingerprint(bytes, size, changed);
            PT_ASSERT(memcmp(plain, changed, sizeof plain) != 0);
            bytes[i] = 0;
        }
    }
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("cache.hash");
    tcase_add_test(tests, test_xxh3_of_nothing_and_of_a_text);
    tcase_add_test(tests, test_blake2b_of_lengths_around_its_blocks);
    tcase_add_test(tests, test_both_ways_of_computing_it_agree);
    tcase_add_test(tests, test_every_byte_and_the_length_count);
    return pt_end();
}
