/* test_disk_pages.c - a database that is in order passes; one that was changed
 * is either found out, or can be used without harm. */
#include "test_disk_kit.h"

#include "cache/disk/pages.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char path[PT_PATH + 16];

static const char *
data_file(void)
{
    static char full[2 * PT_PATH];
    snprintf(full, sizeof full, "%s/data.mdb", path);
    return full;
}

static perf_err
check_file(const perf_allocator *allocator)
{
    int fd = open(data_file(), O_RDONLY);
    PT_CHECK(fd >= 0);
    perf_err err = perfi_pages_check(fd, allocator);
    close(fd);
    return err;
}

/* All that a database may hold: long and short values, leases, dictionaries,
 * free pages, trees of some depth. */
static void
make_one(uint64_t seed, uint64_t keys)
{
    kit_path(path);
    perf_disk *disk = kit_open(path, 8 << 20);
    pt_random random = {seed};
    uint8_t digest[16];
    uint64_t token;
    for (uint64_t i = 1; i <= keys * 2; i++) {
        uint64_t key = pt_below(&random, keys) + 1;
        kit_digest(key, digest);
        if (pt_below(&random, 5))
            kit_put(disk, (kit_entry){.key = key,
                                      .version = key,
                                      .size = pt_below(&random, 100)
                                                  ? pt_below(&random, 900)
                                                  : pt_below(&random, 30000)});
        else
            perf_disk_delete(disk, digest);
        if (i % 40 == 0)
            kit_flush(disk);
        if (i % 100 == 0)
            perf_disk_lease_blocking(disk, digest, KIT_NOW, 100, 30000, &token);
        if (i % 200 == 0)
            perf_disk_put_dictionary_blocking(disk, (uint32_t)i, digest, 16,
                                              30000);
    }
    perf_disk_close_blocking(disk);
}

START_TEST(test_a_database_in_order_passes)
{
    for (uint64_t seed = 0; seed < 8; seed++) {
        make_one(seed, seed ? UINT64_C(300) << seed / 2 : 1);
        ck_assert_int_eq(check_file(perf_allocator_libc()), PERF_OK);
    }
}
END_TEST

START_TEST(test_no_memory_to_look)
{
    pt_alloc a;
    make_one(1, 100);
    for (uint64_t allowed = 0; allowed < 2; allowed++) {
        pt_alloc_init(&a, allowed);
        ck_assert_int_eq(check_file(&a.face), PERF_ERR_NOMEM);
        ck_assert_uint_eq(a.live, 0);
    }
    pt_alloc_init(&a, 2);
    ck_assert_int_eq(check_file(&a.face), PERF_OK);
    ck_assert_uint_eq(a.live, 0);
    ck_assert(!a.wrong_size);
}
END_TEST

/* Every call that goes down a tree. Wrong values are misses; the kit aborts on
 * one that is given. */
static void
use_it(void *ctx)
{
    (void)ctx;
    uint8_t digest[16] = {0};
    char out[100];
    unsigned char *bytes = malloc(KIT_MAX);
    perf_disk *disk = kit_open(path, 0);
    for (uint64_t key = 1; key <= 600; key++)
        kit_get(disk, key);
    for (uint32_t id = 200; id <= 1200; id += 200)
        perf_disk_dictionary(disk, id, out, sizeof out);
    for (int i = 0; i < 2000; i++)
        if (perf_disk_next_blocking(disk, digest, bytes, KIT_MAX, KIT_NOW) < 0)
            break;
    for (uint64_t key = 1; key <= 600; key += 3) {
        kit_digest(key, digest);
        perf_disk_delete(disk, digest);
    }
    kit_flush(disk);
    for (uint64_t key = 1; key <= 3000; key++) /* more than there is room for */
        kit_put(disk, (kit_entry){.key = key, .version = 1, .size = 3000});
    kit_flush(disk);
    PT_CHECK_EQ(kit_get(disk, 3000), 1);
    perf_disk_close_blocking(disk);
    free(bytes);
}

/* What is interesting in a page is its head and its nodes' heads; what is in
 * values is for the checksum. */
static void
change(unsigned char *bytes, size_t size, pt_random *random)
{
    for (uint64_t n = pt_below(random, 3) + 1; n; n--) {
        size_t at = pt_below(random, size);
        if (pt_below(random, 3)) /* in the first words of a page */
            at = at / 4096 * 4096 + pt_below(random, 160);
        switch (pt_below(random, 4)) {
        case 0: bytes[at] ^= (unsigned char)(1u << pt_below(random, 8)); break;
        case 1: bytes[at] = (unsigned char)pt_next(random); break;
        case 2: bytes[at] = 0xff; break;
        default: /* a page in the place of another */
            memcpy(bytes + at / 4096 * 4096,
                   bytes + pt_below(random, size / 4096) * 4096, 4096);
        }
    }
}

START_TEST(test_what_passes_can_be_used)
{
    size_t size;
    make_one(3, 600);
    unsigned char *good = pt_read_file(data_file(), &size);
    unsigned char *bad = malloc(size);
    pt_random random = {17};
    uint64_t passed = 0, found = 0;
    setenv("LIBPERF_QUIET", "1", 1);
    /* few changes may all pass: until there was one of each */
    for (int i = 0; i < PT_TIMES(40) || (!(passed && found) && i < 400); i++) {
        memcpy(bad, good, size);
        change(bad, size, &random);
        pt_write_file(data_file(), bad, size);
        perf_err err = check_file(perf_allocator_libc());
        ck_assert(err == PERF_OK || err == PERF_ERR_CORRUPT);
        found += err != PERF_OK;
        passed += err == PERF_OK;
        pt_run_well(use_it, NULL);
    }
    ck_assert_uint_gt(passed, 0);
    ck_assert_uint_gt(found, 0);
    free(good);
    free(bad);
}
END_TEST

START_TEST(test_a_database_cut_anywhere)
{
    size_t size;
    make_one(4, 200);
    unsigned char *good = pt_read_file(data_file(), &size);
    pt_random random = {5};
    for (int i = 0; i < PT_TIMES(300); i++) {
        size_t cut = i < 200 ? (size_t)i * 64 : pt_below(&random, size);
        pt_write_file(data_file(), good, cut);
        perf_err err = check_file(perf_allocator_libc());
        ck_assert(err == PERF_ERR_CORRUPT || !cut);
    }
    free(good);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("cache.disk_pages");
    tcase_add_test(tests, test_a_database_in_order_passes);
    tcase_add_test(tests, test_no_memory_to_look);
    tcase_add_test(tests, test_what_passes_can_be_used);
    tcase_add_test(tests, test_a_database_cut_anywhere);
    return pt_end();
}
