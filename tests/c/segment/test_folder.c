/* test_folder.c - where the file lies, who may read it, what happens when it
 * cannot be made. */
#include "pt.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void
record_one(void)
{
    uint32_t name = pt_name(PERF_KIND_SPAN, "one");
    perf_span_end(perf_span_begin(name, (perf_span){0}));
}

static void
own_folder(char out[PT_PATH + 32], const char *base)
{
    snprintf(out, PT_PATH + 32, "%s/libperf-%u", base, (unsigned)geteuid());
}

START_TEST(test_file_is_0600_in_a_folder_of_0700)
{
    char base[PT_PATH], folder[PT_PATH + 32], path[PERF_PATH_MAX_BYTES];
    struct stat st;
    umask(0); /* the modes must not come from the umask */
    pt_segments_in(base);
    own_folder(folder, base);
    ck_assert_int_eq(perf_segment_path(path, sizeof path), PERF_ERR_CLOSED);
    ck_assert_str_eq(path, "");
    record_one();
    ck_assert_int_eq(perf_segment_path(path, sizeof path), PERF_OK);
    ck_assert_int_eq(strncmp(path, folder, strlen(folder)), 0);
    ck_assert_int_eq(stat(folder, &st), 0);
    ck_assert_int_eq(st.st_mode & 07777, 0700);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_eq(st.st_mode, S_IFREG | 0600);
    ck_assert_uint_eq(st.st_uid, geteuid());
    ck_assert_int_eq(pt_count_files(folder, ""), 1); /* no half-made name */
    char pid[32];
    snprintf(pid, sizeof pid, "/%d-", (int)getpid());
    ck_assert_ptr_nonnull(strstr(path, pid));
}
END_TEST

START_TEST(test_path_needs_room)
{
    char path[PERF_PATH_MAX_BYTES], small[10] = "x";
    ck_assert_int_eq(perf_segment_path(NULL, 10), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_segment_path(path, 0), PERF_ERR_INVALID);
    record_one();
    ck_assert_int_eq(perf_segment_path(small, sizeof small), PERF_ERR_RANGE);
    ck_assert_str_eq(small, "");
    ck_assert_int_eq(perf_segment_path(path, sizeof path), PERF_OK);
    size_t length = strlen(path);
    ck_assert_int_eq(perf_segment_path(path, length), PERF_ERR_RANGE);
    ck_assert_int_eq(perf_segment_path(path, length + 1), PERF_OK);
}
END_TEST

START_TEST(test_folder_named_by_the_user_is_made)
{
    char base[PT_PATH], wanted[PT_PATH + 16], path[PERF_PATH_MAX_BYTES];
    pt_folder(base);
    snprintf(wanted, sizeof wanted, "%s/not-yet", base);
    setenv("LIBPERF_DIR", wanted, 1);
    record_one();
    ck_assert_int_eq(perf_segment_path(path, sizeof path), PERF_OK);
    ck_assert_int_eq(strncmp(path, wanted, strlen(wanted)), 0);
}
END_TEST

START_TEST(test_config_dir_is_before_the_environment)
{
    char base[PT_PATH], wanted[PT_PATH], path[PERF_PATH_MAX_BYTES];
    pt_segments_in(base);
    pt_folder(wanted);
    perf_segment_config config;
    perf_segment_config_init(&config, sizeof config);
    config.dir = wanted;
    ck_assert_int_eq(perf_segment_start(&config), PERF_OK);
    memset(wanted, '!', 4); /* texts are copied */
    ck_assert_int_eq(perf_segment_path(path, sizeof path), PERF_OK);
    memcpy(wanted, path, 4);
    ck_assert_int_eq(strncmp(path, wanted, strlen(wanted)), 0);
    ck_assert_int_eq(pt_count_files(base, ""), 0);
}
END_TEST

START_TEST(test_xdg_runtime_dir_is_before_dev_shm_and_after_libperf_dir)
{
    char base[PT_PATH], xdg[PT_PATH], path[PERF_PATH_MAX_BYTES];
    pt_segments_in(base);
    pt_folder(xdg);
    setenv("XDG_RUNTIME_DIR", xdg, 1);
    if (_i)
        unsetenv("LIBPERF_DIR");
    record_one();
    ck_assert_int_eq(perf_segment_path(path, sizeof path), PERF_OK);
    const char *expected = _i ? xdg : base;
    ck_assert_int_eq(strncmp(path, expected, strlen(expected)), 0);
}
END_TEST

START_TEST(test_folder_of_a_user_is_found_once_it_holds_segments)
{
    char base[PT_PATH], expected[PT_PATH + 32], found[PERF_PATH_MAX_BYTES];
    pt_segments_in(base);
    own_folder(expected, base);
    ck_assert_int_eq(perf_segment_folder(geteuid(), NULL, 9), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_segment_folder(geteuid(), found, 0),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_segment_folder(geteuid(), found, sizeof found),
                     PERF_ERR_NOT_FOUND);
    ck_assert_str_eq(found, "");
    record_one();
    ck_assert_int_eq(perf_segment_folder(geteuid(), found, 5), PERF_ERR_RANGE);
    ck_assert_int_eq(perf_segment_folder(geteuid(), found, sizeof found),
                     PERF_OK);
    ck_assert_str_eq(found, expected);
    ck_assert_int_eq(perf_segment_folder(4000000, found, sizeof found),
                     PERF_ERR_NOT_FOUND);
}
END_TEST

/* ---- private memory ---- */

/* The program goes on, sees its own measurements, and has no file. */
static void
expect_private(void *ctx)
{
    char path[PERF_PATH_MAX_BYTES];
    (void)ctx;
    for (int i = 0; i < 3; i++)
        record_one();
    PT_CHECK_EQ(perf_segment_path(path, sizeof path), PERF_OK);
    PT_CHECK(!path[0]);
    PT_CHECK_EQ(pt_totals_of(pt_name(PERF_KIND_SPAN, "one")).count, 3);
    perf_segment_stats stats = pt_stats();
    PT_CHECK_EQ(stats.dropped_records, 0);
    PT_CHECK_EQ(stats.dropped_values, 0);
}

START_TEST(test_off_means_private_memory_and_no_warning)
{
    char base[PT_PATH];
    pt_segments_in(base);
    setenv("XDG_RUNTIME_DIR", base, 1);
    setenv("LIBPERF_DIR", "off", 1);
    ck_assert_uint_eq(pt_run_well(expect_private, NULL), 0);
    ck_assert_int_eq(pt_count_files(base, ""), 0);
}
END_TEST

static void
expect_private_as_nobody(void *ctx)
{
    if (!geteuid())
        PT_CHECK_EQ(setresuid(65534, 65534, 65534), 0);
    else
        PT_CHECK_EQ(chmod(getenv("LIBPERF_DIR"), 0500), 0);
    expect_private(ctx);
}

START_TEST(test_folder_that_cannot_be_written_is_said_once)
{
    char base[PT_PATH];
    pt_segments_in(base);
    chmod(base, 0755); /* to be seen, not to be written by another user */
    ck_assert_uint_eq(pt_run_well(expect_private_as_nobody, NULL), 1);
}
END_TEST

static const char *const bad_folders[] = {"mode",  "link",   "file",
                                          "owner", "parent", "long"};
enum { BAD_FOLDERS = sizeof bad_folders / sizeof *bad_folders };

START_TEST(test_folder_that_is_not_ours_alone_is_not_used)
{
    char base[PT_PATH], other[PT_PATH], folder[PT_PATH + 32];
    const char *what = bad_folders[_i];
    pt_segments_in(base);
    pt_folder(other);
    own_folder(folder, base);
    if (!strcmp(what, "mode")) {
        ck_assert_int_eq(mkdir(folder, 0700), 0);
        ck_assert_int_eq(chmod(folder, 0750), 0);
    } else if (!strcmp(what, "link"))
        ck_assert_int_eq(symlink(other, folder), 0);
    else if (!strcmp(what, "file"))
        pt_write_file(folder, "x", 1);
    else if (!strcmp(what, "owner")) {
        ck_assert_int_eq(mkdir(folder, 0700), 0);
        /* not root: a folder that nobody may enter stands for another's */
        if (chown(folder, 65534, 65534))
            ck_assert_int_eq(chmod(folder, 0), 0);
    } else if (!strcmp(what, "parent")) {
        char path[PT_PATH + 16];
        snprintf(path, sizeof path, "%s/a-file", base);
        pt_write_file(path, "x", 1);
        setenv("LIBPERF_DIR", path, 1);
    } else {
        char path[PERF_PATH_MAX_BYTES + 100];
        memset(path, 'x', sizeof path);
        path[0] = '/';
        path[sizeof path - 1] = 0;
        setenv("LIBPERF_DIR", path, 1);
    }
    ck_assert_uint_eq(pt_run_well(expect_private, NULL), 1);
    ck_assert_int_eq(pt_count_files(other, ""), 0);
    if (strcmp(what, "file") != 0)
        ck_assert_int_le(pt_count_files(folder, ""), 0);
}
END_TEST

/* ---- many at once ---- */

enum { AT_ONCE = 24 };

/* A start looks through the folder while others are being made in it. */
START_TEST(test_processes_that_start_together_all_get_a_file)
{
    char base[PT_PATH], folder[PT_PATH + 32];
    pid_t pid[AT_ONCE];
    _Atomic int *ready = pt_shared(sizeof *ready);
    pt_segments_in(base);
    own_folder(folder, base);
    for (int round = 0; round < 8; round++) {
        *ready = 0;
        for (int i = 0; i < AT_ONCE; i++) {
            pid[i] = fork();
            if (pid[i])
                continue;
            char path[PERF_PATH_MAX_BYTES] = "";
            ++*ready;
            while (*ready < AT_ONCE)
                ;
            record_one();
            perf_segment_path(path, sizeof path);
            _exit(path[0] ? 0 : 1);
        }
        int without = 0, status;
        for (int i = 0; i < AT_ONCE; i++) {
            ck_assert_int_eq(waitpid(pid[i], &status, 0), pid[i]);
            without += status != 0;
        }
        ck_assert_int_eq(without, 0);
    }
    ck_assert_int_gt(pt_count_files(folder, ".perf"), 0);
    ck_assert_int_eq(pt_count_files(folder, ".new"), 0);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("segment.folder");
    tcase_add_test(tests, test_file_is_0600_in_a_folder_of_0700);
    tcase_add_test(tests, test_path_needs_room);
    tcase_add_test(tests, test_folder_named_by_the_user_is_made);
    tcase_add_test(tests, test_config_dir_is_before_the_environment);
    tcase_add_loop_test(
        tests, test_xdg_runtime_dir_is_before_dev_shm_and_after_libperf_dir, 0,
        2);
    tcase_add_test(tests,
                   test_folder_of_a_user_is_found_once_it_holds_segments);
    tcase_add_test(tests, test_off_means_private_memory_and_no_warning);
    tcase_add_test(tests, test_folder_that_cannot_be_written_is_said_once);
    tcase_add_loop_test(tests, test_folder_that_is_not_ours_alone_is_not_used,
                        0, BAD_FOLDERS);
    tcase_add_test(tests, test_processes_that_start_together_all_get_a_file);
    return pt_end();
}
