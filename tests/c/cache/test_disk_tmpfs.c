/* test_disk_tmpfs.c - a full file system: an error where one was asked, refused
 * and counted where not, never a signal; and what is there can still be read.
 * As test_tmpfs.c of segments, each test has a small file system of its own. */
#include "test_disk_kit.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROOM = 4 << 20, SKIPPED = 77 };

static char folder[PT_PATH], path[PT_PATH + 16];

static bool
mount_small(const char *at)
{
    int flags = CLONE_NEWNS | (geteuid() ? CLONE_NEWUSER : 0);
    return !unshare(flags) &&
           !mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
           !mount("tmpfs", at, "tmpfs", 0, "size=4m,mode=0700");
}

/* Leave so many bytes. */
static void
fill(uint64_t leave)
{
    char name[PT_PATH + 16];
    static char block[4096];
    snprintf(name, sizeof name, "%s/ballast", folder);
    FILE *ballast = fopen(name, "wb");
    setvbuf(ballast, NULL, _IONBF, 0);
    memset(block, 1, sizeof block);
    for (uint64_t n = ROOM - leave; n >= sizeof block; n -= sizeof block)
        if (fwrite(block, sizeof block, 1, ballast) != 1)
            break;
    fclose(ballast);
}

static void
begin(void)
{
    PT_CHECK(mount_small(folder));
    snprintf(path, sizeof path, "%s/cache", folder);
}

static void
fill_meanwhile(void *ctx)
{
    (void)ctx;
    begin();
    perf_disk *disk = kit_open(path, 2 << 20);
    uint64_t key = 1;
    for (; key <= 100; key++)
        kit_put(disk, (kit_entry){.key = key, .version = key, .size = 3000});
    kit_flush(disk);
    fill(0); /* all the rest */
    for (; key <= 3000; key++) {
        kit_put(disk, (kit_entry){.key = key, .version = key, .size = 3000});
        if (key % 32 == 0)
            kit_flush(disk);
        if (key % 100 == 0)
            for (uint64_t other = 1; other <= key; other++) {
                uint64_t version = kit_get(disk, other);
                PT_CHECK(!version || version == other);
            }
        uint64_t label = key;
        PT_CHECK_EQ(perf_disk_invalidate_blocking(disk, &label, 1, 1), PERF_OK);
    }
    kit_flush(disk);
    /* it goes on within what it has: the newest are there */
    perf_disk_stats stats = kit_stats(disk);
    PT_CHECK(stats.evicted > 1000);
    PT_CHECK(kit_get(disk, 3000) == 3000);
    perf_disk_close_blocking(disk);
    disk = kit_open(path, 2 << 20);
    PT_CHECK(kit_get(disk, 3000) == 3000);
    perf_disk_close_blocking(disk);
}

START_TEST(test_file_system_that_fills_up_meanwhile)
{
    pt_folder(folder);
    ck_assert_uint_eq(pt_run_well(fill_meanwhile, NULL), 0);
}
END_TEST

static void
open_with_little_left(void *ctx)
{
    uint64_t leave = *(uint64_t *)ctx;
    begin();
    fill(leave);
    char why[PERF_DISK_WHY_BYTES];
    perf_disk *disk;
    perf_err err = kit_try(path, 1 << 20, why, &disk);
    if (err) {
        PT_CHECK_EQ(err, PERF_ERR_FULL);
        PT_CHECK(why[0]);
        /* with room it begins, as if nothing had been */
        char name[PT_PATH + 16];
        snprintf(name, sizeof name, "%s/ballast", folder);
        unlink(name);
        disk = kit_open(path, 1 << 20);
        PT_CHECK_EQ(kit_put(disk, (kit_entry){.key = 1, .version = 1}),
                    PERF_OK);
        kit_flush(disk);
        PT_CHECK_EQ(kit_get(disk, 1), 1);
    } else {
        for (uint64_t key = 1; key <= 200; key++)
            kit_put(disk, (kit_entry){.key = key, .version = key, .size = 900});
        kit_flush(disk);
        perf_disk_stats stats = kit_stats(disk);
        PT_CHECK_EQ(stats.puts + stats.refused, 200);
    }
    perf_disk_close_blocking(disk);
}

START_TEST(test_file_system_that_is_full_from_the_start)
{
    static const uint64_t leave[] = {0,      4096,   65536,  600000, 700000,
                                     800000, 850000, 900000, 950000, 1100000};
    pt_folder(folder);
    uint64_t left = leave[_i];
    ck_assert_uint_eq(pt_run_well(open_with_little_left, &left), 0);
}
END_TEST

static void
within_a_limit(void *ctx)
{
    (void)ctx;
    begin();
    struct rlimit limit = {2 << 20, 2 << 20};
    PT_CHECK(!setrlimit(RLIMIT_FSIZE, &limit));
    perf_disk *disk = kit_open(path, 3 << 20);
    for (uint64_t key = 1; key <= 2000; key++) {
        kit_put(disk, (kit_entry){.key = key, .version = key, .size = 3000});
        if (key % 32 == 0)
            kit_flush(disk);
    }
    PT_CHECK(kit_stats(disk).evicted > 100);
    perf_disk_close_blocking(disk);
}

START_TEST(test_limit_of_a_file_is_no_signal)
{
    pt_folder(folder);
    ck_assert_uint_eq(pt_run_well(within_a_limit, NULL), 0);
}
END_TEST

static void
keep_until_full(void *ctx)
{
    (void)ctx;
    begin();
    perf_disk_config config;
    perf_disk *disk;
    perf_disk_config_init(&config, sizeof config);
    config.path = path;
    config.keep = 1;
    config.max_bytes = 3 << 20;
    PT_CHECK_EQ(perf_disk_open_blocking(&config, NULL, &disk), PERF_OK);
    unsigned char *bytes = malloc(KIT_MAX);
    uint8_t digest[16];
    perf_err err = PERF_OK;
    uint64_t key = 0;
    fill(1 << 20);
    while (!err) {
        kit_entry e = {.key = ++key, .version = key, .size = 3000};
        size_t size = kit_make(&e, bytes);
        kit_digest(key, digest);
        err = perf_disk_put_blocking(disk, digest, bytes, size, 60000);
    }
    PT_CHECK_EQ(err, PERF_ERR_FULL);
    for (uint64_t i = 1; i < key; i++)
        PT_CHECK_EQ(kit_get(disk, i), i);
    perf_disk_close_blocking(disk);
}

START_TEST(test_what_is_kept_is_full_at_the_end_of_the_disk)
{
    pt_folder(folder);
    ck_assert_uint_eq(pt_run_well(keep_until_full, NULL), 0);
}
END_TEST

/* Asked in a process of its own, which the name space ends with. */
static bool
may_mount(void)
{
    int status;
    pid_t pid = fork();
    if (!pid)
        _exit(!mount_small("/tmp"));
    return waitpid(pid, &status, 0) == pid && status == 0;
}

int
main(void)
{
    if (!may_mount()) {
        printf("skipped: no right to mount a tmpfs, as root or in a user name "
               "space\n");
        return SKIPPED;
    }
    TCase *tests = pt_begin("cache.disk_tmpfs");
    tcase_add_test(tests, test_file_system_that_fills_up_meanwhile);
    tcase_add_loop_test(tests, test_file_system_that_is_full_from_the_start, 0,
                        10);
    tcase_add_test(tests, test_limit_of_a_file_is_no_signal);
    tcase_add_test(tests, test_what_is_kept_is_full_at_the_end_of_the_disk);
    return pt_end();
}
