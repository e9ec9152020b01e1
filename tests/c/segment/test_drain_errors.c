/* test_drain_errors.c - what goes wrong while a segment is drained: full disks,
 * spoiled segments, no memory. It is an error, and what was kept stays kept. */
#include "test_drain_kit.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* This process's segment; a ring with two chunks that are not its newest. */
static perf_drain *
drain_with_news(uint32_t *name, char path[PERF_PATH_MAX_BYTES])
{
    pt_start(0, RING * PERFI_CHUNK);
    *name = pt_name(PERF_KIND_SPAN, "s");
    write_spans(*name, 0, 2 * PER_CHUNK + 1);
    ck_assert_int_eq(perf_segment_path(path, PERF_PATH_MAX_BYTES), PERF_OK);
    return drain_self();
}

static void
meet_a_full_disk(void *ctx)
{
    perf_drain *drain = ctx;
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    PT_CHECK_EQ(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = PERFI_CHUNK + 5000;
    PT_CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
    for (int i = 0; i < 3; i++) /* the first chunk fits, the second does not */
        PT_CHECK_EQ(perf_drain_step_blocking(drain), PERF_ERR_FULL);
    PT_CHECK_EQ(perf_drain_finish_blocking(drain), PERF_ERR_FULL);
    PT_CHECK_EQ(access(trace, F_OK), -1);
    limit.rlim_cur = limit.rlim_max; /* there is room again */
    PT_CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
    PT_CHECK_EQ(perf_drain_step_blocking(drain), PERF_OK);
    PT_CHECK_EQ(perf_drain_finish_blocking(drain), PERF_OK);
}

START_TEST(test_a_full_disk_is_an_error_and_leaves_the_segment_alone)
{
    uint32_t name;
    size_t size, now;
    char path[PERF_PATH_MAX_BYTES];
    perf_drain *drain = drain_with_news(&name, path);
    unsigned char *before = pt_read_file(path, &size);
    pt_run_well(meet_a_full_disk, drain);
    perf_drain *full = NULL;
    ck_assert_int_eq(perf_drain_open_blocking(path, "/dev/full", NULL, &full),
                     PERF_OK);
    ck_assert_int_eq(perf_drain_finish_blocking(full), PERF_ERR_FULL);
    ck_assert_int_eq(access("/dev/full", F_OK), 0);
    perf_drain_close(full);
    unsigned char *after = pt_read_file(path, &now);
    ck_assert_uint_eq(now, size);
    ck_assert_int_eq(memcmp(before, after, size), 0);
    free(before);
    free(after);
    perf_reader *reader = open_trace();
    expect_spans(reader, 0, 2 * PER_CHUNK + 1);
    perf_reader_close(reader);
    perf_drain_close(drain);
}
END_TEST

START_TEST(test_a_segment_that_vanished_is_drained_on)
{
    uint32_t name;
    char path[PERF_PATH_MAX_BYTES];
    perf_drain *drain = drain_with_news(&name, path);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(perf_drain_step_blocking(drain), PERF_OK);
    write_spans(name, 2 * PER_CHUNK + 1, 5 * PER_CHUNK);
    ck_assert_int_eq(perf_drain_step_blocking(drain), PERF_OK);
    ck_assert_int_eq(perf_drain_finish_blocking(drain), PERF_OK);
    perf_drain_close(drain);
    perf_reader *reader = open_trace();
    expect_spans(reader, 0, 5 * PER_CHUNK);
    perf_reader_close(reader);
}
END_TEST

START_TEST(test_a_segment_that_is_spoiled_is_an_error)
{
    static const char zeros[64];
    size_t size;
    uint32_t name;
    char path[PERF_PATH_MAX_BYTES], copy[PT_PATH + 16];
    perf_drain_close(drain_with_news(&name, path));
    unsigned char *bytes = pt_read_file(path, &size);
    snprintf(copy, sizeof copy, "%s/copy.perf", folder);
    for (size_t cut = 0; cut < 3 * PERFI_CHUNK; cut += 4096) {
        pt_write_file(copy, bytes, size);
        perf_drain *drain = open_drain(copy);
        ck_assert_int_eq(truncate(copy, (off_t)cut), 0);
        ck_assert_int_eq(perf_drain_step_blocking(drain), PERF_ERR_CORRUPT);
        ck_assert_int_eq(perf_drain_finish_blocking(drain), PERF_ERR_CORRUPT);
        ck_assert_int_eq(access(trace, F_OK), -1);
        perf_drain_close(drain);
    }
    memcpy(bytes, zeros, sizeof zeros);
    pt_write_file(copy, bytes, size);
    perf_drain *drain = NULL;
    ck_assert_int_eq(perf_drain_open_blocking(copy, trace, NULL, &drain),
                     PERF_ERR_CORRUPT);
    ck_assert_ptr_null(drain);
    free(bytes);
}
END_TEST

START_TEST(test_a_folder_that_is_not_there_is_an_error)
{
    uint32_t name;
    char path[PERF_PATH_MAX_BYTES];
    perf_drain_close(drain_with_news(&name, path));
    snprintf(trace, sizeof trace, "%s/no/t.perf", folder);
    perf_drain *drain = open_drain(path);
    ck_assert_int_eq(perf_drain_step_blocking(drain), PERF_ERR_NOT_FOUND);
    ck_assert_int_eq(perf_drain_finish_blocking(drain), PERF_ERR_NOT_FOUND);
    perf_drain_close(drain);
}
END_TEST

START_TEST(test_every_allocation_may_fail)
{
    uint32_t name;
    char path[PERF_PATH_MAX_BYTES];
    perf_drain_close(drain_with_news(&name, path));
    perf_err err = PERF_ERR_NOMEM;
    for (uint64_t allowed = 0; err; allowed++) {
        pt_alloc a;
        perf_drain *drain = NULL;
        pt_alloc_init(&a, allowed);
        err = perf_drain_open_blocking(path, trace, &a.face, &drain);
        ck_assert((err == PERF_OK) == (drain != NULL));
        if (!err)
            err = perf_drain_step_blocking(drain);
        ck_assert(err == PERF_OK || err == PERF_ERR_NOMEM);
        atomic_store(&a.allowed, UINT64_MAX);
        if (drain) { /* an error before is no error from now on */
            ck_assert_int_eq(perf_drain_step_blocking(drain), PERF_OK);
            ck_assert_int_eq(perf_drain_finish_blocking(drain), PERF_OK);
            perf_reader *reader = open_trace();
            expect_spans(reader, 0, 2 * PER_CHUNK + 1);
            perf_reader_close(reader);
        }
        perf_drain_close(drain);
        ck_assert_uint_eq(a.live, 0);
        ck_assert(!a.wrong_size);
        ck_assert_uint_lt(allowed, 20);
    }
}
END_TEST

START_TEST(test_wrong_arguments_are_refused)
{
    char path[PERF_PATH_MAX_BYTES + 1];
    perf_drain *out = (void *)path;
    memset(path, 'a', sizeof path - 1);
    path[sizeof path - 1] = 0;
    ck_assert_int_eq(perf_drain_open_blocking("s", "t", NULL, NULL),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_drain_open_blocking(NULL, "t", NULL, &out),
                     PERF_ERR_INVALID);
    ck_assert_ptr_null(out);
    ck_assert_int_eq(perf_drain_open_blocking("s", NULL, NULL, &out),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_drain_open_blocking("s", "", NULL, &out),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_drain_open_blocking("s", path, NULL, &out),
                     PERF_ERR_RANGE);
    ck_assert_int_eq(perf_drain_open_blocking("/no/such", "t", NULL, &out),
                     PERF_ERR_NOT_FOUND);
    ck_assert_int_eq(perf_drain_open_blocking("/dev/null", "t", NULL, &out),
                     PERF_ERR_CORRUPT);
    ck_assert_ptr_null(out);
    ck_assert_int_eq(perf_drain_step_blocking(NULL), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_drain_finish_blocking(NULL), PERF_ERR_INVALID);
    ck_assert_uint_eq(perf_drain_chunks(NULL), 0);
    perf_drain_close(NULL);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("segment.drain_errors");
    tcase_add_test(tests,
                   test_a_full_disk_is_an_error_and_leaves_the_segment_alone);
    tcase_add_test(tests, test_a_segment_that_vanished_is_drained_on);
    tcase_add_test(tests, test_a_segment_that_is_spoiled_is_an_error);
    tcase_add_test(tests, test_a_folder_that_is_not_there_is_an_error);
    tcase_add_test(tests, test_every_allocation_may_fail);
    tcase_add_test(tests, test_wrong_arguments_are_refused);
    return pt_end();
}
