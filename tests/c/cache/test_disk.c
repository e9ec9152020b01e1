/* test_disk.c - what is put is found, by the same process at once and by others
 * after a flush; what is wrong, old or invalidated is not. */
#include "test_disk_kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char path[PT_PATH + 16];

/* ---- one process ---- */

START_TEST(test_put_is_seen_at_once_after_a_flush_and_after_a_restart)
{
    perf_disk *disk = kit_fresh(path, 0);
    ck_assert_uint_eq(kit_get(disk, 1), 0);
    for (uint64_t key = 1; key <= 200; key++)
        ck_assert_int_eq(
            kit_put(disk,
                    (kit_entry){.key = key, .version = 7, .size = key * 60}),
            PERF_OK);
    for (int round = 0; round < 3; round++) {
        for (uint64_t key = 1; key <= 200; key++)
            PT_ASSERT(kit_get(disk, key) == 7);
        ck_assert_uint_eq(kit_get(disk, 201), 0);
        if (round == 0)
            kit_flush(disk);
        if (round == 1) {
            perf_disk_close_blocking(disk);
            disk = kit_open(path, 0);
        }
    }
    perf_disk_stats stats = kit_stats(disk);
    ck_assert_uint_eq(stats.entries, 200);
    ck_assert_uint_eq(stats.hits, 200);
    ck_assert_uint_eq(stats.misses, 1);
    ck_assert_uint_eq(stats.filtered, 1);
    ck_assert_uint_eq(stats.resets, 0);
    perf_disk_close_blocking(disk);
}
END_TEST

START_TEST(test_newer_value_and_removal_win_wherever_they_are)
{
    perf_disk *disk = kit_fresh(path, 0);
    uint8_t digest[16];
    kit_digest(5, digest);
    for (int flushed = 0; flushed < 2; flushed++) {
        kit_put(disk, (kit_entry){.key = 5, .version = 1, .size = 3000});
        if (flushed)
            kit_flush(disk);
        kit_put(disk, (kit_entry){.key = 5, .version = 2, .size = 10});
        ck_assert_uint_eq(kit_get(disk, 5), 2);
        if (flushed)
            kit_flush(disk);
        ck_assert_uint_eq(kit_get(disk, 5), 2);
        ck_assert_int_eq(perf_disk_delete(disk, digest), PERF_OK);
        ck_assert_uint_eq(kit_get(disk, 5), 0);
        kit_flush(disk);
        ck_assert_uint_eq(kit_get(disk, 5), 0);
    }
    ck_assert_uint_eq(kit_stats(disk).entries, 0);
    perf_disk_close_blocking(disk);
}
END_TEST

START_TEST(test_room_for_the_answer_is_asked_for)
{
    perf_disk *disk = kit_fresh(path, 0);
    uint8_t digest[16];
    uint64_t key = 9;
    unsigned char out[8] = "unhurt", big[500];
    kit_digest(key, digest);
    kit_put(disk, (kit_entry){.key = key, .version = 1, .size = 100});
    for (int flushed = 0; flushed < 2; flushed++) {
        int64_t size =
            perf_disk_get_at(disk, digest, &key, 8, out, sizeof out, KIT_NOW);
        ck_assert_int_eq(size, 64 + 8 + 8 + 100);
        ck_assert_str_eq((char *)out, "unhurt");
        ck_assert_int_eq(
            perf_disk_get_at(disk, digest, &key, 8, NULL, 0, KIT_NOW), size);
        ck_assert_int_eq(
            perf_disk_get_at(disk, digest, &key, 8, big, (size_t)size, KIT_NOW),
            size);
        kit_flush(disk);
    }
    perf_disk_close_blocking(disk);
}
END_TEST

START_TEST(test_another_key_of_the_same_digest_is_a_miss)
{
    perf_disk *disk = kit_fresh(path, 0);
    uint8_t digest[16];
    uint64_t key = 9, other = 10;
    unsigned char out[500];
    kit_digest(key, digest);
    kit_put(disk, (kit_entry){.key = key, .version = 1, .size = 100});
    for (int flushed = 0; flushed < 2; flushed++) {
        ck_assert_int_eq(
            perf_disk_get_at(disk, digest, &other, 8, out, sizeof out, KIT_NOW),
            PERF_ERR_NOT_FOUND);
        ck_assert_int_eq(
            perf_disk_get_at(disk, digest, &key, 7, out, sizeof out, KIT_NOW),
            PERF_ERR_NOT_FOUND);
        kit_flush(disk);
    }
    ck_assert_uint_eq(kit_stats(disk).corrupt, 4);
    perf_disk_close_blocking(disk);
}
END_TEST

START_TEST(test_what_is_no_entry_is_a_miss)
{
    perf_disk *disk = kit_fresh(path, 0);
    uint8_t digest[16];
    unsigned char bytes[1000];
    kit_digest(3, digest);
    size_t size =
        kit_make(&(kit_entry){.key = 3, .version = 1, .size = 100}, bytes);
    for (size_t at = 0; at < size; at++) {
        bytes[at] ^= 1;
        ck_assert_int_eq(perf_disk_put(disk, digest, bytes, size), PERF_OK);
        PT_ASSERT(kit_get(disk, 3) == 0);
        bytes[at] ^= 1;
    }
    kit_flush(disk);
    ck_assert_uint_eq(kit_get(disk, 3), 0);
    /* a reader found it, or the writer did, and removed it */
    perf_disk_stats stats = kit_stats(disk);
    ck_assert_uint_ge(stats.corrupt + stats.swept, size);
    perf_disk_close_blocking(disk);
}
END_TEST

/* ---- time, labels ---- */

START_TEST(test_expired_entries_are_not_given)
{
    perf_disk *disk = kit_fresh(path, 0);
    kit_put(disk,
            (kit_entry){.key = 1, .version = 1, .expires_ms = KIT_NOW + 50});
    for (int flushed = 0; flushed < 2; flushed++) {
        ck_assert_uint_eq(kit_get_at(disk, 1, KIT_NOW + 49), 1);
        ck_assert_uint_eq(kit_get_at(disk, 1, KIT_NOW + 50), 0);
        kit_flush(disk);
    }
    ck_assert_uint_eq(kit_stats(disk).expired, 2);
    perf_disk_close_blocking(disk);
}
END_TEST

START_TEST(test_what_expired_by_the_wall_clock_is_swept_little_by_little)
{
    perf_disk *disk = kit_fresh(path, 0);
    for (uint64_t key = 1; key <= 200; key++)
        kit_put(disk, (kit_entry){.key = key,
                                  .version = 1,
                                  .expires_ms = key % 2 ? 1000 : 0});
    for (int i = 0; i < 60; i++) { /* each commit looks at some */
        kit_put(disk, (kit_entry){.key = 2, .version = 1});
        kit_flush(disk);
    }
    perf_disk_stats stats = kit_stats(disk);
    ck_assert_uint_eq(stats.swept, 100);
    ck_assert_uint_eq(stats.entries, 100);
    ck_assert_uint_eq(kit_get(disk, 2), 1);
    perf_disk_close_blocking(disk);
}
END_TEST

START_TEST(test_invalidated_labels)
{
    perf_disk *disk = kit_fresh(path, 0);
    const uint64_t labels[] = {111, 222};
    for (uint64_t key = 1; key <= 4; key++)
        kit_put(disk, (kit_entry){.key = key,
                                  .version = 1,
                                  .created_ms = KIT_NOW + key,
                                  .labels = {111, key % 2 ? 333 : 444}});
    ck_assert_uint_eq(perf_disk_label_ms(disk, 333), 0);
    ck_assert_int_eq(
        perf_disk_invalidate_blocking(disk, &(uint64_t){333}, 1, KIT_NOW + 2),
        PERF_OK);
    ck_assert_uint_eq(perf_disk_label_ms(disk, 333), KIT_NOW + 2);
    ck_assert_uint_eq(kit_get(disk, 1), 0); /* was begun before that */
    ck_assert_uint_eq(kit_get(disk, 2), 1); /* has another label */
    ck_assert_uint_eq(kit_get(disk, 3), 1); /* was begun after that */
    kit_flush(disk);
    ck_assert_uint_eq(kit_get(disk, 1), 0);
    /* an earlier time changes nothing */
    perf_disk_invalidate_blocking(disk, &(uint64_t){333}, 1, 5);
    ck_assert_uint_eq(perf_disk_label_ms(disk, 333), KIT_NOW + 2);
    ck_assert_int_eq(
        perf_disk_invalidate_blocking(disk, labels, 2, KIT_NOW + 3), PERF_OK);
    ck_assert_uint_eq(kit_get(disk, 2), 0);
    ck_assert_uint_eq(kit_get(disk, 3), 0); /* begun at that time */
    ck_assert_uint_eq(kit_get(disk, 4), 1);
    perf_disk_close_blocking(disk);
    disk = kit_open(path, 0);
    ck_assert_uint_eq(kit_get(disk, 3), 0);
    ck_assert_uint_eq(kit_get(disk, 4), 1);
    perf_disk_close_blocking(disk);
}
END_TEST

/* ---- the rest ---- */

START_TEST(test_every_entry_is_met_once)
{
    enum { N = 300 };
    perf_disk *disk = kit_fresh(path, 0);
    unsigned char *bytes = malloc(KIT_MAX), seen[N + 1] = {0};
    uint8_t digest[16] = {0}, small[4];
    for (uint64_t key = 1; key <= N; key++)
        kit_put(disk, (kit_entry){.key = key,
                                  .version = 1,
                                  .expires_ms = key % 3 ? 0 : KIT_NOW});
    kit_flush(disk);
    ck_assert_int_gt(
        perf_disk_next_blocking(disk, digest, small, sizeof small, KIT_NOW), 4);
    for (int i = 0; i < N / 3 * 2; i++) {
        perf_entry entry;
        uint64_t key;
        int64_t size =
            perf_disk_next_blocking(disk, digest, bytes, KIT_MAX, KIT_NOW);
        PT_ASSERT(size > 0 && !perf_entry_read(bytes, (size_t)size, &entry));
        memcpy(&key, entry.key, 8);
        PT_ASSERT(key <= N && key % 3 && !seen[key]);
        seen[key] = 1;
    }
    ck_assert_int_eq(
        perf_disk_next_blocking(disk, digest, bytes, KIT_MAX, KIT_NOW),
        PERF_ERR_NOT_FOUND);
    free(bytes);
    perf_disk_close_blocking(disk);
}
END_TEST

START_TEST(test_dictionaries)
{
    perf_disk *disk = kit_fresh(path, 0);
    char out[20] = "";
    ck_assert_int_eq(perf_disk_dictionary(disk, 7, out, sizeof out),
                     PERF_ERR_NOT_FOUND);
    ck_assert_int_eq(
        perf_disk_put_dictionary_blocking(disk, 7, "words", 6, 10000), PERF_OK);
    ck_assert_int_eq(perf_disk_dictionary(disk, 7, NULL, 0), 6);
    ck_assert_int_eq(perf_disk_dictionary(disk, 7, out, sizeof out), 6);
    ck_assert_str_eq(out, "words");
    ck_assert_int_eq(perf_disk_dictionary(disk, 8, out, sizeof out),
                     PERF_ERR_NOT_FOUND);
    perf_disk_close_blocking(disk);
    disk = kit_open(path, 0);
    ck_assert_int_eq(perf_disk_dictionary(disk, 7, out, sizeof out), 6);
    perf_disk_close_blocking(disk);
}
END_TEST

START_TEST(test_two_opens_in_a_process_are_one)
{
    char link[PT_PATH + 40];
    perf_disk *one = kit_fresh(path, 0), *two;
    snprintf(link, sizeof link, "%s/../cache/.", path);
    two = kit_open(link, 0);
    kit_put(one, (kit_entry){.key = 1, .version = 3});
    ck_assert_uint_eq(kit_get(two, 1), 3); /* nothing was flushed */
    ck_assert_ptr_eq(perf_disk_change_word(one), perf_disk_change_word(two));
    perf_disk_close_blocking(one);
    ck_assert_uint_eq(kit_get(two, 1), 3);
    kit_put(two, (kit_entry){.key = 2, .version = 4});
    perf_disk_close_blocking(two);
    one = kit_open(path, 0);
    ck_assert_uint_eq(kit_get(one, 2), 4);
    perf_disk_close_blocking(one);
}
END_TEST

START_TEST(test_another_size_is_taken_when_nobody_else_has_it_open)
{
    perf_disk *disk = kit_fresh(path, 1 << 20),
              *second = kit_open(path, 2 << 20);
    ck_assert_uint_eq(kit_stats(second).max_bytes, 1 << 20);
    kit_put(disk, (kit_entry){.key = 1, .version = 1});
    perf_disk_stop_blocking(disk); /* its word may still be looked at */
    perf_disk_stop_blocking(second);
    perf_disk *third = kit_open(path, 8 << 20);
    ck_assert_uint_eq(kit_stats(third).max_bytes, 8 << 20);
    ck_assert_uint_eq(kit_get(third, 1), 1);
    ck_assert_int_eq(
        kit_put(third, (kit_entry){.key = 2, .version = 2, .size = 200000}),
        PERF_OK);
    kit_flush(third);
    ck_assert_uint_eq(kit_get(third, 2), 2);
    perf_disk_close_blocking(third);
    perf_disk_close_blocking(second);
    perf_disk_close_blocking(disk);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("cache.disk");
    tcase_add_test(tests,
                   test_put_is_seen_at_once_after_a_flush_and_after_a_restart);
    tcase_add_test(tests, test_newer_value_and_removal_win_wherever_they_are);
    tcase_add_test(tests, test_room_for_the_answer_is_asked_for);
    tcase_add_test(tests, test_another_key_of_the_same_digest_is_a_miss);
    tcase_add_test(tests, test_what_is_no_entry_is_a_miss);
    tcase_add_test(tests, test_expired_entries_are_not_given);
    tcase_add_test(
        tests, test_what_expired_by_the_wall_clock_is_swept_little_by_little);
    tcase_add_test(tests, test_invalidated_labels);
    tcase_add_test(tests, test_every_entry_is_met_once);
    tcase_add_test(tests, test_dictionaries);
    tcase_add_test(tests, test_two_opens_in_a_process_are_one);
    tcase_add_test(tests,
                   test_another_size_is_taken_when_nobody_else_has_it_open);
    return pt_end();
}
