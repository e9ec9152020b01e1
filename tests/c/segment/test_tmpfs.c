/* test_tmpfs.c - a full file system: no SIGBUS, losses are counted, what had
 * room stays exact. Each test has a file system of one megabyte in a mount name
 * space of its own; without the right to one (neither root nor user name
 * spaces) the suite says so and is shown as skipped. */
#include "pt.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROOM = 1 << 20, SKIPPED = 77 };

typedef struct plan {
    char folder[PT_PATH];
    uint64_t leave; /* bytes free in the file system at the start */
} plan;

static bool
mount_small(const char *at)
{
    int flags = CLONE_NEWNS | (geteuid() ? CLONE_NEWUSER : 0);
    return !unshare(flags) &&
           !mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
           !mount("tmpfs", at, "tmpfs", 0, "size=1m,mode=0700");
}

static void
prepare(plan *p)
{
    PT_CHECK(mount_small(p->folder));
    setenv("LIBPERF_DIR", p->folder, 1);
    char path[PT_PATH + 16];
    snprintf(path, sizeof path, "%s/ballast", p->folder);
    FILE *ballast = fopen(path, "wb");
    static char block[4096];
    memset(block, 1, sizeof block);
    setvbuf(ballast, NULL, _IONBF, 0);
    for (uint64_t n = ROOM - p->leave; n >= sizeof block; n -= sizeof block)
        PT_CHECK_EQ(fwrite(block, sizeof block, 1, ballast), 1);
    fclose(ballast);
}

enum { SPANS = 20000, NAMES = 40 };

/* One early name has all its pages before the room ends; many late ones ask
 * for more until nothing is left, and go on for a long time. */
static void
record_much(void)
{
    uint32_t early = pt_name(PERF_KIND_TIMING, "early");
    uint32_t late[NAMES];
    char text[16];
    for (int i = 0; i < NAMES; i++) {
        snprintf(text, sizeof text, "late %d", i);
        late[i] = pt_name(PERF_KIND_SPAN, text);
    }
    for (uint64_t v = 1; v <= 100; v++)
        perf_metric_record(early, v * 1000);
    uint64_t at = perf_clock_ticks();
    for (uint64_t i = 0; i < SPANS; i++) {
        perf_span span =
            perf_span_begin_at(late[i % NAMES], (perf_span){0}, 0, at);
        perf_span_end_at(span, PERF_STATUS_OK, 0,
                         at + (UINT64_C(1) << (i / NAMES % 40)));
        perf_metric_record(early, (i % 100 + 1) * 1000);
    }
}

static void
expect_exact(void)
{
    uint32_t early = pt_name(PERF_KIND_TIMING, "early");
    perf_totals t = pt_totals_of(early);
    PT_CHECK_EQ(t.count, SPANS + 100);
    PT_CHECK_EQ(t.sum_ns, (SPANS / 100 + 1) * UINT64_C(5050) * 1000);
    PT_CHECK_EQ(t.min_ns, 1000);
    PT_CHECK_EQ(t.max_ns, 100000);
    perf_histogram *h;
    perf_reader *reader = pt_self();
    PT_CHECK_EQ(perf_histogram_create(NULL, &h), PERF_OK);
    PT_CHECK_EQ(perf_reader_histogram(reader, early, h), PERF_OK);
    PT_CHECK_EQ(perf_histogram_count(h), SPANS + 100);
    perf_histogram_destroy(h);
    /* every span was counted under its name, or as a lost value */
    uint64_t counted = pt_stats().dropped_values;
    for (int i = 0; i < NAMES; i++) {
        char text[16];
        snprintf(text, sizeof text, "late %d", i);
        counted += pt_totals_of(pt_name(PERF_KIND_SPAN, text)).count;
    }
    PT_CHECK_EQ(counted, SPANS);
    perf_reader_close(reader);
}

static void
fill_meanwhile(void *ctx)
{
    char path[PERF_PATH_MAX_BYTES];
    plan *p = ctx;
    prepare(p);
    record_much();
    PT_CHECK_EQ(perf_segment_path(path, sizeof path), PERF_OK);
    PT_CHECK(path[0]);
    perf_segment_stats stats = pt_stats();
    PT_CHECK(stats.used_bytes <= stats.max_bytes);
    struct stat st;
    PT_CHECK_EQ(stat(path, &st), 0);
    PT_CHECK((uint64_t)st.st_blocks * 512 <= ROOM);
    expect_exact();
    /* another reader, by the path */
    perf_reader *reader;
    PT_CHECK_EQ(perf_reader_open_blocking(path, NULL, &reader), PERF_OK);
    perf_reader_info info;
    PT_CHECK_EQ(perf_reader_info_get(reader, &info), PERF_OK);
    PT_CHECK_EQ(info.damaged, 0);
    PT_CHECK_EQ(info.alive, 1);
    perf_reader_close(reader);
}

START_TEST(test_file_system_that_fills_up_meanwhile)
{
    plan *p = pt_shared(sizeof *p);
    pt_folder(p->folder);
    p->leave = ROOM;
    ck_assert_uint_eq(pt_run_well(fill_meanwhile, p), 1);
}
END_TEST

/* Room for nothing, for the first chunk, or for a block: never for a ring. */
static void
fill_with_little_left(void *ctx)
{
    plan *p = ctx;
    prepare(p);
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    uint32_t key = pt_name(PERF_KIND_KEY, "k");
    for (int i = 0; i < 1000; i++) {
        perf_span span = perf_span_begin(name, (perf_span){0});
        perf_span_set_int(span, key, i);
        perf_span_log(span, 2, "x", 1);
        perf_span_end(span);
    }
    char path[PERF_PATH_MAX_BYTES];
    PT_CHECK_EQ(perf_segment_path(path, sizeof path), PERF_OK);
    perf_segment_stats stats = pt_stats();
    uint64_t count = pt_totals_of(name).count;
    if (!path[0]) { /* not even the first: private memory holds everything */
        PT_CHECK_EQ(stats.dropped_records, 0);
        PT_CHECK_EQ(count, 1000);
        return;
    }
    PT_CHECK_EQ(stats.used_bytes % 65536, 0);
    /* begin, or else log and end, of each found no room */
    PT_CHECK(stats.dropped_records >= 2000);
    PT_CHECK(count == 0 || count == 1000);
}

START_TEST(test_file_system_that_is_full_from_the_start)
{
    plan *p = pt_shared(sizeof *p);
    pt_folder(p->folder);
    p->leave = (uint64_t)_i * 32768; /* up to two chunks, and halves */
    ck_assert_uint_eq(pt_run_well(fill_with_little_left, p), 1);
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
    TCase *tests = pt_begin("segment.tmpfs");
    tcase_add_test(tests, test_file_system_that_fills_up_meanwhile);
    tcase_add_loop_test(tests, test_file_system_that_is_full_from_the_start, 0,
                        6);
    return pt_end();
}
