/* test_sweep.c - leftovers of dead processes go, everything else stays. */
#include "pt.h"

#include "segment/segment.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { KEPT = 32, REAL = 50, COPIES = 950 };

static char base[PT_PATH], folder[PT_PATH + 32];

static void
use_folder(void)
{
    pt_segments_in(base);
    snprintf(folder, sizeof folder, "%s/libperf-%u", base, (unsigned)geteuid());
}

static void
record_one(void *ctx)
{
    (void)ctx;
    perf_span_begin(pt_name(PERF_KIND_SPAN, "s"), (perf_span){0});
}

static void
in_folder(char out[PERF_PATH_MAX_BYTES], const char *name)
{
    snprintf(out, PERF_PATH_MAX_BYTES, "%s/%s", folder, name);
}

static void
put(const char *name, size_t size, int64_t age_s)
{
    char path[PERF_PATH_MAX_BYTES];
    unsigned char *bytes = calloc(1, size + 1);
    memset(bytes, 'x', size); /* blocks, not a hole */
    in_folder(path, name);
    pt_write_file(path, bytes, size);
    free(bytes);
    struct timespec at[2] = {{time(NULL) - age_s, 0}, {time(NULL) - age_s, 0}};
    ck_assert_int_eq(utimensat(AT_FDCWD, path, at, 0), 0);
}

static bool
is_there(const char *name)
{
    char path[PERF_PATH_MAX_BYTES];
    struct stat st;
    in_folder(path, name);
    return !lstat(path, &st);
}

START_TEST(test_leftovers_of_1000_killed_processes)
{
    use_folder();
    int alive = pt_spawn(record_one, NULL);
    for (int i = 0; i < REAL; i++)
        pt_kill(pt_spawn(record_one, NULL));
    /* each start sweeps; what it found dead is already few */
    ck_assert_int_le(pt_count_files(folder, ".perf"), KEPT + 2);
    ck_assert_int_ge(pt_count_files(folder, ".perf"), KEPT);
    for (int i = 0; i < COPIES; i++) {
        char name[64];
        snprintf(name, sizeof name, "%d-%016x.perf", 100000 + i, i);
        put(name, 100, i + 1);
    }
    put("notes.txt", 10, 1000000);
    put("x.perf.txt", 10, 1000000);
    put(".perf", 10, 1000000);
    char name[64], own[PERF_PATH_MAX_BYTES];
    record_one(NULL); /* our own start, in this process */
    ck_assert_int_eq(pt_count_files(folder, ".perf"), KEPT + 1 + 1);
    ck_assert_int_eq(perf_segment_path(own, sizeof own), PERF_OK);
    ck_assert_int_eq(access(own, F_OK), 0);
    /* the oldest copies went */
    snprintf(name, sizeof name, "%d-%016x.perf", 100000 + COPIES - 1,
             COPIES - 1);
    ck_assert(!is_there(name));
    ck_assert(is_there("notes.txt"));
    ck_assert(is_there("x.perf.txt"));
    ck_assert(is_there(".perf"));
    pt_kill(alive);
}
END_TEST

/* However many are dead and whatever its age: its lock says it lives. */
START_TEST(test_segment_of_a_living_process_stays)
{
    use_folder();
    int alive = pt_spawn(record_one, NULL);
    DIR *entries = opendir(folder);
    char name[256] = "";
    for (struct dirent *e; (e = readdir(entries));)
        if (e->d_name[0] != '.')
            strcpy(name, e->d_name);
    closedir(entries);
    char path[PERF_PATH_MAX_BYTES];
    in_folder(path, name);
    struct timespec old[2] = {{1000, 0}, {1000, 0}};
    ck_assert_int_eq(utimensat(AT_FDCWD, path, old, 0), 0);
    int dir = open(folder, O_RDONLY | O_DIRECTORY);
    perfi_sweep(dir, (uint64_t)time(NULL));
    ck_assert(is_there(name));
    pt_kill(alive);
    perfi_sweep(dir, (uint64_t)time(NULL));
    ck_assert(!is_there(name)); /* now it is a leftover, and old */
    close(dir);
}
END_TEST

START_TEST(test_sweep_keeps_the_newest_within_number_age_and_bytes)
{
    use_folder();
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    put("1-a.perf", 100, 24 * 3600 + 100);
    put("2-a.perf", 100, 24 * 3600 - 100);
    put("3-a.perf", 40 << 20, 10);
    put("4-a.perf", 40 << 20, 20);
    int dir = open(folder, O_RDONLY | O_DIRECTORY);
    perfi_sweep(dir, (uint64_t)time(NULL));
    ck_assert(!is_there("1-a.perf")); /* over a day old */
    ck_assert(is_there("3-a.perf"));
    ck_assert(!is_there("4-a.perf")); /* over 64 MiB together */
    close(dir);
}
END_TEST

START_TEST(test_sweep_leaves_what_is_not_a_segment_of_ours)
{
    use_folder();
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    char path[PERF_PATH_MAX_BYTES];
    int64_t old = 100 * 24 * 3600;
    put("target", 10, old);
    in_folder(path, "link.perf");
    ck_assert_int_eq(symlink("target", path), 0);
    in_folder(path, "dir.perf");
    ck_assert_int_eq(mkdir(path, 0700), 0);
    in_folder(path, "pipe.perf");
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    put("theirs.perf", 10, old);
    in_folder(path, "theirs.perf");
    bool foreign = !chown(path, 65534, 65534);
    if (!foreign) /* not root: cannot make a file of another user */
        printf("not root: a file of another user was not tried\n");
    put("ours.perf", 10, old);
    int dir = open(folder, O_RDONLY | O_DIRECTORY);
    perfi_sweep(dir, (uint64_t)time(NULL));
    close(dir);
    ck_assert(!is_there("ours.perf"));
    ck_assert(is_there("target"));
    ck_assert(is_there("link.perf"));
    ck_assert(is_there("dir.perf"));
    ck_assert(is_there("pipe.perf"));
    ck_assert(is_there("theirs.perf") == foreign);
}
END_TEST

START_TEST(test_starts_that_never_came_to_their_end_are_removed)
{
    use_folder();
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    put("1-old.perf.new", 10, 100);
    put("2-fresh.perf.new", 10, 5);     /* perhaps just being made */
    put("3-ahead.perf.new", 10, -1000); /* a clock that was set back */
    int dir = open(folder, O_RDONLY | O_DIRECTORY);
    perfi_sweep(dir, (uint64_t)time(NULL));
    close(dir);
    ck_assert(!is_there("1-old.perf.new"));
    ck_assert(is_there("2-fresh.perf.new"));
    ck_assert(is_there("3-ahead.perf.new"));
}
END_TEST

static void
sweep_without_end(unsigned index, void *ctx)
{
    _Atomic int *failed = ctx;
    int dir = open(folder, O_RDONLY | O_DIRECTORY);
    char path[PERF_PATH_MAX_BYTES];
    in_folder(path, "9-fresh.perf.new");
    int file = open(path, O_RDWR);
    for (int i = 0; i < 20000; i++)
        if (index)
            perfi_sweep(dir, (uint64_t)time(NULL));
        else {
            *failed += flock(file, LOCK_EX | LOCK_NB) != 0;
            flock(file, LOCK_UN);
        }
    close(file);
    close(dir);
}

/* Its maker takes the lock a moment after it made the file. */
START_TEST(test_sweep_never_holds_the_lock_of_a_file_being_made)
{
    _Atomic int failed = 0;
    use_folder();
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    put("9-fresh.perf.new", 10, 0);
    pt_parallel(2, sweep_without_end, &failed);
    ck_assert_int_eq(failed, 0);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("segment.sweep");
    tcase_add_test(tests, test_leftovers_of_1000_killed_processes);
    tcase_add_test(tests, test_segment_of_a_living_process_stays);
    tcase_add_test(tests,
                   test_sweep_keeps_the_newest_within_number_age_and_bytes);
    tcase_add_test(tests, test_sweep_leaves_what_is_not_a_segment_of_ours);
    tcase_add_test(tests, test_starts_that_never_came_to_their_end_are_removed);
    tcase_add_test(tests, test_sweep_never_holds_the_lock_of_a_file_being_made);
    return pt_end();
}
