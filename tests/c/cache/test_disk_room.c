/* test_disk_room.c - the folder stays below its size: what is old goes, what is
 * too much is refused and counted. */
#include "test_disk_kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static char path[PT_PATH + 16];

START_TEST(test_the_oldest_go_and_those_that_were_read_stay)
{
    enum { MAX = 4 << 20, SIZE = 3000, KEPT = 20 };
    perf_disk *disk = kit_fresh(path, MAX);
    uint64_t key;
    for (key = 1; key <= 4000; key++) {
        kit_put(disk, (kit_entry){.key = key, .version = key, .size = SIZE});
        if (key % 32 == 0)
            kit_flush(disk);
        for (uint64_t old = 1; old <= KEPT && key >= KEPT && !(key % 32); old++)
            PT_ASSERT(kit_get(disk, old) == old);
        PT_ASSERT(kit_stats(disk).used_bytes <= MAX / 5 * 4);
    }
    perf_disk_stats stats = kit_stats(disk);
    ck_assert_uint_gt(stats.evicted, 3000);
    ck_assert_uint_eq(stats.refused, 0);
    ck_assert_uint_eq(stats.entries + stats.evicted, 4000);
    ck_assert_uint_gt(stats.used_bytes, MAX / 10 * 7);
    ck_assert_uint_eq(kit_get(disk, 4000), 4000);
    ck_assert_uint_eq(kit_get(disk, KEPT + 1), 0);
    struct stat st;
    char data[PT_PATH + 40];
    snprintf(data, sizeof data, "%s/data.mdb", path);
    ck_assert_int_eq(stat(data, &st), 0);
    ck_assert_int_le(st.st_size, MAX);
    perf_disk_close_blocking(disk);
}
END_TEST

START_TEST(test_values_of_all_sizes_churn_without_losing_room)
{
    enum { MAX = 8 << 20 };
    perf_disk *disk = kit_fresh(path, MAX);
    pt_random random = {5};
    for (uint64_t key = 1; key <= 3000; key++) {
        kit_entry e = {.key = key,
                       .version = key,
                       .size = pt_below(&random, key % 10 ? 3000 : 150000)};
        PT_ASSERT(kit_put(disk, e) == PERF_OK);
        if (key % 16 == 0)
            kit_flush(disk);
    }
    perf_disk_stats stats = kit_stats(disk);
    ck_assert_uint_eq(stats.refused, 0);
    ck_assert_uint_le(stats.used_bytes, MAX / 5 * 4);
    perf_disk_close_blocking(disk);
}
END_TEST

START_TEST(test_what_is_too_much_is_refused_and_counted)
{
    perf_disk_config config;
    perf_disk *disk;
    kit_path(path);
    perf_disk_config_init(&config, sizeof config);
    config.path = path;
    config.max_bytes = 1 << 20;
    config.queue_entries = 3;
    ck_assert_int_eq(perf_disk_open_blocking(&config, NULL, &disk), PERF_OK);
    ck_assert_int_eq(
        kit_put(disk, (kit_entry){.key = 1, .version = 1, .size = 1 << 17}),
        PERF_ERR_RANGE);
    uint64_t full = 0, put = 0;
    for (uint64_t key = 1; key <= 2000; key++) {
        perf_err err = kit_put(disk, (kit_entry){.key = key, .version = 1});
        ck_assert(err == PERF_OK || err == PERF_ERR_FULL);
        full += err == PERF_ERR_FULL;
        put += err == PERF_OK;
    }
    kit_flush(disk);
    perf_disk_stats stats = kit_stats(disk);
    ck_assert_uint_eq(stats.refused, full + 1);
    ck_assert_uint_eq(stats.puts, put);
    ck_assert_uint_gt(full, 0);
    perf_disk_close_blocking(disk);
}
END_TEST

START_TEST(test_keep_evicts_nothing_and_says_full)
{
    perf_disk_config config;
    perf_disk *disk;
    uint8_t digest[16];
    unsigned char *bytes = malloc(KIT_MAX);
    kit_path(path);
    perf_disk_config_init(&config, sizeof config);
    config.path = path;
    config.max_bytes = 1 << 20;
    config.keep = 1;
    ck_assert_int_eq(perf_disk_open_blocking(&config, NULL, &disk), PERF_OK);
    uint64_t key = 0;
    perf_err err = PERF_OK;
    while (!err) {
        kit_entry e = {.key = ++key, .version = key, .size = 9000};
        kit_digest(key, digest);
        size_t size = kit_make(&e, bytes);
        err = perf_disk_put_blocking(disk, digest, bytes, size, 10000);
    }
    ck_assert_int_eq(err, PERF_ERR_FULL);
    ck_assert_uint_gt(key, 50);
    perf_disk_close_blocking(disk);
    ck_assert_int_eq(perf_disk_open_blocking(&config, NULL, &disk), PERF_OK);
    for (uint64_t i = 1; i < key; i++)
        PT_ASSERT(kit_get(disk, i) == i);
    /* one that goes makes room for another */
    kit_digest(1, digest);
    perf_disk_delete(disk, digest);
    kit_flush(disk);
    kit_entry e = {.key = key, .version = key, .size = 5000};
    kit_digest(key, digest);
    size_t size = kit_make(&e, bytes);
    ck_assert_int_eq(perf_disk_put_blocking(disk, digest, bytes, size, 10000),
                     PERF_OK);
    free(bytes);
    perf_disk_close_blocking(disk);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("cache.disk_room");
    tcase_add_test(tests, test_the_oldest_go_and_those_that_were_read_stay);
    tcase_add_test(tests, test_values_of_all_sizes_churn_without_losing_room);
    tcase_add_test(tests, test_what_is_too_much_is_refused_and_counted);
    tcase_add_test(tests, test_keep_evicts_nothing_and_says_full);
    return pt_end();
}
