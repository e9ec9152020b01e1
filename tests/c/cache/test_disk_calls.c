/* test_disk_calls.c - wrong arguments, a disk that was stopped, no memory:
 * errors that say what they are. */
#include "test_disk_kit.h"

#include <string.h>

static char path[PT_PATH + 16];

START_TEST(test_wrong_arguments)
{
    perf_disk_config config;
    perf_disk *disk = (void *)1;
    char why[PERF_DISK_WHY_BYTES] = "!";
    uint64_t key = 1, token;
    uint8_t d[16] = {0};
    char out[8];
    memset(&config, 1, sizeof config);
    perf_disk_config_init(&config, sizeof config - 1); /* does nothing */
    ck_assert_uint_eq(config.keep, 0x01010101);
    perf_disk_config_init(NULL, sizeof config);
    perf_disk_config_init(&config, sizeof config);
    ck_assert_int_eq(perf_disk_open_blocking(&config, why, NULL),
                     PERF_ERR_INVALID);
    ck_assert_str_eq(why, "");
    ck_assert_int_eq(perf_disk_open_blocking(NULL, why, &disk),
                     PERF_ERR_INVALID);
    ck_assert_ptr_null(disk);
    ck_assert_int_eq(perf_disk_open_blocking(&config, why, &disk),
                     PERF_ERR_INVALID); /* no path */
    kit_path(path);
    config.path = path;
    config.version++;
    ck_assert_int_eq(perf_disk_open_blocking(&config, why, &disk),
                     PERF_ERR_VERSION);
    config.version--;
    const perf_disk_config good = config;
    config.max_bytes = (1 << 20) - 1;
    ck_assert_int_eq(perf_disk_open_blocking(&config, why, &disk),
                     PERF_ERR_RANGE);
    config.max_bytes = (UINT64_C(1) << 40) + 1;
    ck_assert_int_eq(perf_disk_open_blocking(&config, why, &disk),
                     PERF_ERR_RANGE);
    config = good;
    config.queue_entries = 0;
    ck_assert_int_eq(perf_disk_open_blocking(&config, why, &disk),
                     PERF_ERR_RANGE);
    config = good;
    config.keep = 2;
    ck_assert_int_eq(perf_disk_open_blocking(&config, why, &disk),
                     PERF_ERR_RANGE);
    config = good;
    config.path = "/nowhere/at/all";
    ck_assert_int_eq(perf_disk_open_blocking(&config, why, &disk),
                     PERF_ERR_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(why, "/nowhere/at/all"));

    disk = kit_open(path, 0);
    ck_assert_int_eq(perf_disk_get(NULL, d, &key, 8, out, 8), PERF_ERR_CLOSED);
    ck_assert_int_eq(perf_disk_get(disk, NULL, &key, 8, out, 8),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_disk_get(disk, d, NULL, 8, out, 8), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_disk_get(disk, d, &key, 0, out, 8), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_disk_get(disk, d, &key, 8, NULL, 8),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_disk_put(disk, d, out, 0), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_disk_put(disk, NULL, out, 8), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_disk_put(disk, d, NULL, 8), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_disk_put_blocking(disk, d, NULL, 8, 1),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_disk_delete(disk, NULL), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_disk_flush_blocking(NULL, 1), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_disk_next_blocking(disk, NULL, out, 8, 1),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_disk_invalidate_blocking(disk, NULL, 1, 1),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_disk_invalidate_blocking(disk, NULL, 0, 1), PERF_OK);
    ck_assert_int_eq(perf_disk_changes(disk, NULL, d, 1), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_disk_lease_blocking(disk, d, 1, 1, 1, NULL),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_disk_lease_blocking(disk, NULL, 1, 1, 1, &token),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_disk_release(disk, d, 0), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_disk_put_dictionary_blocking(disk, 1, NULL, 1, 1),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_disk_dictionary(disk, 1, NULL, 1), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_disk_stats_now(disk, NULL), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_disk_reopen_blocking(NULL), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_disk_reopen_blocking(disk), PERF_OK);
    perf_disk_stop_blocking(NULL);
    perf_disk_close_blocking(NULL);
    perf_disk_close_blocking(disk);
}
END_TEST

START_TEST(test_stopped_disk_answers_closed)
{
    perf_disk *disk = kit_fresh(path, 0);
    perf_disk_stats stats;
    uint64_t token;
    uint8_t d[16] = {0};
    perf_disk_cursor cursor = {0};
    kit_put(disk, (kit_entry){.key = 1, .version = 1});
    const uint64_t *word = perf_disk_change_word(disk);
    perf_disk_stop_blocking(disk);
    perf_disk_stop_blocking(disk);
    ck_assert_int_eq(kit_put(disk, (kit_entry){.key = 1, .version = 1}),
                     PERF_ERR_CLOSED);
    ck_assert_int_eq(perf_disk_get(disk, d, "k", 1, NULL, 0), PERF_ERR_CLOSED);
    ck_assert_int_eq(perf_disk_delete(disk, d), PERF_ERR_CLOSED);
    ck_assert_int_eq(perf_disk_put_blocking(disk, d, "k", 1, 1),
                     PERF_ERR_CLOSED);
    ck_assert_int_eq(perf_disk_flush_blocking(disk, 1), PERF_ERR_CLOSED);
    ck_assert_int_eq(perf_disk_next_blocking(disk, d, NULL, 0, 1),
                     PERF_ERR_CLOSED);
    ck_assert_int_eq(perf_disk_invalidate_blocking(disk, &token, 0, 1),
                     PERF_ERR_CLOSED);
    ck_assert_int_eq(perf_disk_changes(disk, &cursor, NULL, 0),
                     PERF_ERR_CLOSED);
    ck_assert_int_eq(perf_disk_lease_blocking(disk, d, 1, 1, 1, &token),
                     PERF_ERR_CLOSED);
    ck_assert_int_eq(perf_disk_release(disk, d, 1), PERF_ERR_CLOSED);
    ck_assert_int_eq(perf_disk_put_dictionary_blocking(disk, 1, "k", 1, 1),
                     PERF_ERR_CLOSED);
    ck_assert_int_eq(perf_disk_dictionary(disk, 1, NULL, 0), PERF_ERR_CLOSED);
    ck_assert_int_eq(perf_disk_stats_now(disk, &stats), PERF_ERR_CLOSED);
    ck_assert_int_eq(perf_disk_reopen_blocking(disk), PERF_ERR_CLOSED);
    ck_assert_ptr_null(perf_disk_change_word(disk));
    ck_assert_uint_eq(perf_disk_label_ms(disk, 1), 0);
    ck_assert(*word + 1 > 0); /* may still be read */
    perf_disk_close_blocking(disk);
}
END_TEST

START_TEST(test_no_memory_at_any_allocation)
{
    perf_disk_config config;
    perf_disk_config_init(&config, sizeof config);
    config.path = path;
    config.max_bytes = 1 << 20;
    uint64_t allowed = 0;
    bool whole = false;
    for (; !whole; allowed++) {
        pt_alloc a;
        perf_disk *disk;
        kit_path(path);
        pt_alloc_init(&a, allowed);
        config.allocator = &a.face;
        perf_err err = perf_disk_open_blocking(&config, NULL, &disk);
        ck_assert(err == PERF_OK || err == PERF_ERR_NOMEM);
        if (!err) {
            err = kit_put(disk, (kit_entry){.key = 1, .version = 1});
            ck_assert(err == PERF_OK || err == PERF_ERR_NOMEM);
            bool put = !err;
            err = perf_disk_flush_blocking(disk, 60000);
            ck_assert(err == PERF_OK || err == PERF_ERR_NOMEM);
            ck_assert_uint_eq(kit_get(disk, 1), put);
            whole = put && !err;
            perf_disk_close_blocking(disk);
        }
        ck_assert_uint_eq(a.live, 0);
        ck_assert(!a.wrong_size);
    }
    ck_assert_uint_gt(allowed, 3);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("cache.disk_calls");
    tcase_add_test(tests, test_wrong_arguments);
    tcase_add_test(tests, test_stopped_disk_answers_closed);
    tcase_add_test(tests, test_no_memory_at_any_allocation);
    return pt_end();
}
