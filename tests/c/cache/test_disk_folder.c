/* test_disk_folder.c - whose folder it may be, and what happens to files that
 * are damaged, of another version, or not files at all. */
#include "test_disk_kit.h"

#include "cache/disk/folder.h"
#include "cache/disk/state.h"

#include <fcntl.h>
#include <libperf/hash.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static char path[PT_PATH + 16];

static const char *
in_folder(const char *name)
{
    static char full[2 * PT_PATH];
    snprintf(full, sizeof full, "%s/%s", path, name);
    return full;
}

static void
expect_refused(perf_err expected, const char *words)
{
    char why[PERF_DISK_WHY_BYTES];
    perf_disk *disk;
    perf_err err = kit_try(path, 0, why, &disk);
    ck_assert_msg(err == expected && strstr(why, words), "%s: %s",
                  perf_err_name(err), why);
    ck_assert_ptr_null(disk);
}

/* ---- the folder ---- */

START_TEST(test_folder_is_0700_and_its_files_are_0600)
{
    struct stat st;
    umask(0);
    kit_path(path);
    perf_disk *disk = kit_open(path, 0);
    kit_put(disk, (kit_entry){.key = 1, .version = 1});
    kit_flush(disk);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0700);
    const char *files[] = {"data.mdb", "lock.mdb", "state"};
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(stat(in_folder(files[i]), &st), 0);
        ck_assert_uint_eq(st.st_mode & 07777, 0600);
        /* all that is mapped for writing has its room */
        if (i)
            ck_assert_int_ge(st.st_blocks * 512, st.st_size);
    }
    ck_assert_int_eq(pt_count_files(path, ""), 3);
    perf_disk_close_blocking(disk);
}
END_TEST

START_TEST(test_links_are_not_followed)
{
    char target[PT_PATH];
    kit_path(path);
    pt_folder(target);
    ck_assert_int_eq(symlink(target, path), 0);
    expect_refused(PERF_ERR_DENIED, "symbolic link");
    ck_assert_int_eq(pt_count_files(target, ""), 0);
    /* nor is one inside */
    const char *files[] = {"data.mdb", "lock.mdb", "state"};
    for (int i = 0; i < 3; i++) {
        kit_path(path);
        ck_assert_int_eq(mkdir(path, 0700), 0);
        ck_assert_int_eq(symlink("/tmp/nowhere", in_folder(files[i])), 0);
        expect_refused(PERF_ERR_DENIED, files[i]);
    }
    kit_path(path);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    ck_assert_int_eq(mkfifo(in_folder("state"), 0600), 0);
    expect_refused(PERF_ERR_DENIED, "state");
}
END_TEST

START_TEST(test_others_must_not_be_able_to_write)
{
    const mode_t modes[] = {0777, 0770, 0702, 01777};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        kit_path(path);
        ck_assert_int_eq(mkdir(path, 0700), 0);
        ck_assert_int_eq(chmod(path, modes[i]), 0);
        expect_refused(PERF_ERR_DENIED, "others may write");
        ck_assert_int_eq(pt_count_files(path, ""), 0);
    }
    chmod(path, 0755); /* reading the folder is no harm */
    perf_disk_close_blocking(kit_open(path, 0));
}
END_TEST

START_TEST(test_a_file_in_the_way)
{
    kit_path(path);
    pt_write_file(path, "x", 1);
    expect_refused(PERF_ERR_NOT_FOUND, "cannot open");
}
END_TEST

START_TEST(test_a_folder_of_another_user)
{
    if (geteuid())
        return; /* only root can give a folder away */
    kit_path(path);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    ck_assert_int_eq(chown(path, 65534, 65534), 0);
    expect_refused(PERF_ERR_DENIED, "another user");
}
END_TEST

static void
open_read_only(void *ctx)
{
    char why[PERF_DISK_WHY_BYTES];
    perf_disk *disk;
    if (!geteuid()) /* root may write anywhere */
        PT_CHECK(!chown(path, 65534, 65534) && !seteuid(65534));
    PT_CHECK(!chmod(path, 0500));
    PT_CHECK_EQ(kit_try(path, 0, why, &disk), PERF_ERR_DENIED);
    PT_CHECK(strstr(why, ctx));
}

START_TEST(test_a_read_only_folder)
{
    char parent[PT_PATH];
    pt_folder(parent);
    chmod(parent, 0755);
    strcpy(strrchr(parent, '/'), ""); /* the suite's */
    chmod(parent, 0755);
    kit_path(path);
    char *end = strrchr(path, '/');
    *end = 0;
    chmod(path, 0755);
    *end = '/';
    ck_assert_int_eq(mkdir(path, 0700), 0);
    ck_assert_uint_eq(pt_run_well(open_read_only, "read-only"), 0);
}
END_TEST

START_TEST(test_network_file_systems_are_known)
{
    ck_assert(perfi_is_remote(0x6969));      /* NFS */
    ck_assert(perfi_is_remote(0xFF534D42));  /* CIFS */
    ck_assert(perfi_is_remote(0x01021997));  /* 9p */
    ck_assert(perfi_is_remote(0x65735546));  /* FUSE */
    ck_assert(!perfi_is_remote(0xEF53));     /* ext4 */
    ck_assert(!perfi_is_remote(0x01021994)); /* tmpfs */
    ck_assert(!perfi_is_remote(0x794C7630)); /* overlayfs */
    ck_assert(!perfi_is_remote(0x58465342)); /* XFS */
    ck_assert(!perfi_is_remote(0x9123683E)); /* btrfs */
}
END_TEST

START_TEST(test_boot_id_is_read)
{
    uint8_t one[16], two[16], zeros[16] = {0};
    perfi_boot_id(one);
    perfi_boot_id(two);
    ck_assert_mem_eq(one, two, 16);
    ck_assert_mem_ne(one, zeros, 16);
}
END_TEST

/* ---- files ---- */

static void
make_some(void)
{
    kit_path(path);
    perf_disk *disk = kit_open(path, 0);
    for (uint64_t key = 1; key <= 500; key++) {
        kit_put(disk, (kit_entry){.key = key, .version = key, .size = 700});
        if (key % 50 == 0)
            kit_flush(disk);
    }
    perf_disk_close_blocking(disk);
}

typedef enum damage {
    GARBAGE,
    SHORT,
    EMPTY,
    NO_FILE,
    VERSION,
    DAMAGES,
} damage;

static void
hurt(const char *name, damage what)
{
    size_t size;
    unsigned char *bytes = pt_read_file(in_folder(name), &size);
    pt_random random = {(uint64_t)what};
    if (what == GARBAGE)
        for (size_t i = 0; i < size; i++)
            bytes[i] = (unsigned char)pt_next(&random);
    if (what == VERSION)
        bytes[8]++; /* of the state file */
    pt_write_file(in_folder(name), bytes,
                  what == EMPTY   ? 0
                  : what == SHORT ? size / 2 + 100
                                  : size);
    free(bytes);
    if (what == NO_FILE)
        unlink(in_folder(name));
}

/* Whatever was done to it, it can be used, and nothing wrong is given. */
static void
use_it(void *ctx)
{
    perf_disk *disk = kit_open(path, 0);
    uint64_t found = 0;
    for (uint64_t key = 1; key <= 500; key++) {
        uint64_t version = kit_get(disk, key);
        PT_CHECK(!version || version == key || version == 7);
        found += version != 0;
    }
    for (uint64_t key = 1; key <= 500; key++)
        PT_CHECK_EQ(kit_put(disk, (kit_entry){.key = key, .version = 7}),
                    PERF_OK);
    kit_flush(disk);
    for (uint64_t key = 1; key <= 500; key++)
        PT_CHECK_EQ(kit_get(disk, key), 7);
    *(uint64_t *)ctx = found;
    perf_disk_close_blocking(disk);
}

START_TEST(test_damaged_database_is_moved_away_and_said_once)
{
    uint64_t *found = pt_shared(8);
    for (int what = 0; what < VERSION; what++) {
        make_some();
        hurt("data.mdb", (damage)what);
        size_t said = pt_run_well(use_it, found);
        ck_assert_uint_eq(*found, 0);
        bool lost = what == GARBAGE || what == SHORT;
        ck_assert_uint_eq(said, lost);
        ck_assert_int_eq(pt_count_files(path, "damaged"), lost);
        if (lost)
            ck_assert_int_eq(pt_count_files(in_folder("damaged"), ".mdb"), 2);
        ck_assert_uint_eq(pt_run_well(use_it, found), 0);
    }
}
END_TEST

START_TEST(test_damaged_state_takes_the_database_with_it)
{
    uint64_t *found = pt_shared(8);
    for (int what = 0; what < DAMAGES; what++) {
        make_some();
        hurt("state", (damage)what);
        size_t said = pt_run_well(use_it, found);
        if (what == EMPTY || what == NO_FILE)
            continue; /* tested below */
        ck_assert_uint_eq(*found, 0);
        ck_assert_uint_eq(said, 1);
        ck_assert_int_eq(pt_count_files(path, "damaged"), 1);
    }
}
END_TEST

/* The times of labels were in it: nobody knows what is still valid. */
START_TEST(test_database_without_its_state_is_not_believed)
{
    uint64_t *found = pt_shared(8);
    make_some();
    unlink(in_folder("state"));
    pt_run_well(use_it, found);
    ck_assert_uint_eq(*found, 0);
}
END_TEST

START_TEST(test_garbage_in_the_lock_file_does_no_harm)
{
    uint64_t *found = pt_shared(8);
    make_some();
    hurt("lock.mdb", GARBAGE);
    ck_assert_uint_eq(pt_run_well(use_it, found), 0);
    ck_assert_uint_eq(*found, 500);
}
END_TEST

START_TEST(test_only_one_damaged_database_is_kept)
{
    uint64_t *found = pt_shared(8);
    make_some();
    for (int i = 0; i < 3; i++) {
        hurt("data.mdb", GARBAGE);
        ck_assert_uint_eq(pt_run_well(use_it, found), 1);
    }
    ck_assert_int_eq(pt_count_files(path, ""), 4);
    ck_assert_int_eq(pt_count_files(in_folder("damaged"), ""), 3);
}
END_TEST

/* ---- damage that is found while it is in use ---- */

static void
poison(void)
{
    int fd = open(in_folder("state"), O_RDWR);
    uint64_t one = 1;
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(
        pwrite(fd, &one, 8, offsetof(perfi_state_header, poisoned)), 8);
    close(fd);
}

START_TEST(test_all_who_use_a_database_leave_it_when_one_finds_it_damaged)
{
    make_some();
    setenv("LIBPERF_QUIET", "1", 1);
    perf_disk *disk = kit_open(path, 0);
    uint64_t *found = pt_shared(8);
    perf_disk_cursor cursor = {0};
    uint8_t digest[16];
    ck_assert_uint_eq(kit_get(disk, 1), 1);
    ck_assert_int_eq(perf_disk_changes(disk, &cursor, digest, 1), 0);
    const uint64_t *word = perf_disk_change_word(disk);
    poison();
    ck_assert_uint_eq(kit_get(disk, 1), 0); /* from now on it is a miss */
    pt_run_well(use_it, found);             /* another process begins anew */
    ck_assert_uint_eq(*found, 0);
    kit_put(disk, (kit_entry){.key = 1000, .version = 5});
    kit_flush(disk);
    ck_assert_uint_eq(kit_get(disk, 1000), 5);
    ck_assert_uint_eq(kit_get(disk, 1), 7); /* the other one's */
    ck_assert_int_eq(perf_disk_changes(disk, &cursor, digest, 1),
                     PERF_ERR_RANGE);
    ck_assert_ptr_ne(perf_disk_change_word(disk), word);
    ck_assert_uint_ge(*word, 0); /* may still be read */
    perf_disk_close_blocking(disk);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("cache.disk_folder");
    tcase_add_test(tests, test_folder_is_0700_and_its_files_are_0600);
    tcase_add_test(tests, test_links_are_not_followed);
    tcase_add_test(tests, test_others_must_not_be_able_to_write);
    tcase_add_test(tests, test_a_file_in_the_way);
    tcase_add_test(tests, test_a_folder_of_another_user);
    tcase_add_test(tests, test_a_read_only_folder);
    tcase_add_test(tests, test_network_file_systems_are_known);
    tcase_add_test(tests, test_boot_id_is_read);
    tcase_add_test(tests, test_damaged_database_is_moved_away_and_said_once);
    tcase_add_test(tests, test_damaged_state_takes_the_database_with_it);
    tcase_add_test(tests, test_database_without_its_state_is_not_believed);
    tcase_add_test(tests, test_garbage_in_the_lock_file_does_no_harm);
    tcase_add_test(tests, test_only_one_damaged_database_is_kept);
    if (KIT_CHILDREN_HAVE_THREADS) {
        tcase_add_test(
            tests,
            test_all_who_use_a_database_leave_it_when_one_finds_it_damaged);
    }
    return pt_end();
}
