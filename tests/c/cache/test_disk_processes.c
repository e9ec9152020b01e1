/* test_disk_processes.c - several processes and one folder: what others did is
 * seen and told, leases end with their process, a fork leaves both sides
 * working, and whoever is killed in the middle leaves nothing wrong behind. */
#include "test_disk_kit.h"

#include <lmdb.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char path[PT_PATH + 16];
static perf_disk *disk; /* the test's own */

static void
begin(uint64_t max_bytes)
{
    kit_path(path);
    disk = kit_open(path, max_bytes);
    /* its writer is idle from now on: AddressSanitizer's locks do not survive
     * a fork in the middle of an allocation */
    kit_flush(disk);
}

/* ---- changes ---- */

static void
put_ten(void *ctx)
{
    uint64_t from = *(uint64_t *)ctx;
    perf_disk *own = kit_open(path, 0);
    for (uint64_t key = from; key < from + 10; key++)
        PT_CHECK_EQ(kit_put(own, (kit_entry){.key = key, .version = from}),
                    PERF_OK);
    kit_flush(own);
}

static int64_t
changes(perf_disk_cursor *cursor, uint8_t *out)
{
    return perf_disk_changes(disk, cursor, out, PERF_DISK_CHANGES);
}

START_TEST(test_what_another_process_writes_is_seen_and_told)
{
    begin(0);
    static uint8_t out[16 * PERF_DISK_CHANGES];
    perf_disk_cursor cursor = {0};
    uint64_t from = 100;
    const _Atomic uint64_t *word = (const void *)perf_disk_change_word(disk);
    kit_put(disk, (kit_entry){.key = 100, .version = 1});
    kit_flush(disk);
    ck_assert_int_eq(changes(&cursor, out), 0); /* it begins here */
    uint64_t before = *word;
    ck_assert_uint_eq(pt_run_well(put_ten, &from), 0);
    ck_assert_uint_ne(*word, before);
    ck_assert_int_eq(changes(&cursor, out), 10);
    for (uint64_t key = 100; key < 110; key++) {
        uint8_t digest[16];
        kit_digest(key, digest);
        ck_assert_mem_eq(digest, out + 16 * (key - 100), 16);
        ck_assert_uint_eq(kit_get(disk, key), 100);
    }
    ck_assert_int_eq(changes(&cursor, out), 0);
    /* its own are not told */
    kit_put(disk, (kit_entry){.key = 7, .version = 1});
    kit_flush(disk);
    ck_assert_int_eq(changes(&cursor, out), 0);
    perf_disk_close_blocking(disk);
}
END_TEST

static void
put_many(void *ctx)
{
    perf_disk *own = kit_open(path, 0);
    for (uint64_t key = 1; key <= *(uint64_t *)ctx; key++) {
        PT_CHECK_EQ(kit_put(own, (kit_entry){.key = key, .version = 1}),
                    PERF_OK);
        if (key % 64 == 0)
            kit_flush(own);
    }
    kit_flush(own);
}

START_TEST(test_more_changes_than_are_kept)
{
    begin(0);
    static uint8_t out[16 * PERF_DISK_CHANGES];
    perf_disk_cursor cursor = {0};
    uint64_t most = PERF_DISK_CHANGES, more = PERF_DISK_CHANGES + 1;
    ck_assert_int_eq(changes(&cursor, out), 0);
    pt_run_well(put_many, &most);
    perf_disk_cursor again = cursor;
    ck_assert_int_eq(perf_disk_changes(disk, &again, out, 10), PERF_ERR_RANGE);
    ck_assert_int_eq(changes(&cursor, out), PERF_DISK_CHANGES);
    pt_run_well(put_many, &more);
    ck_assert_int_eq(changes(&cursor, out), PERF_ERR_RANGE);
    ck_assert_int_eq(changes(&cursor, out), 0); /* and on it goes */
    perf_disk_close_blocking(disk);
}
END_TEST

static void
invalidate(void *ctx)
{
    uint64_t label = *(uint64_t *)ctx;
    perf_disk *own = kit_open(path, 0);
    PT_CHECK_EQ(perf_disk_invalidate_blocking(own, &label, 1, KIT_NOW),
                PERF_OK);
}

START_TEST(test_labels_that_another_process_invalidates)
{
    begin(0);
    static uint8_t out[16 * PERF_DISK_CHANGES];
    perf_disk_cursor cursor = {0};
    uint64_t label = 77;
    kit_put(disk, (kit_entry){.key = 1, .version = 1, .labels = {label}});
    kit_put(disk, (kit_entry){.key = 2, .version = 1});
    kit_flush(disk);
    ck_assert_int_eq(changes(&cursor, out), 0);
    const uint64_t *word = perf_disk_change_word(disk);
    uint64_t before = *word;
    pt_run_well(invalidate, &label);
    ck_assert_uint_ne(*word, before);
    ck_assert_int_eq(changes(&cursor, out), PERF_ERR_RANGE);
    ck_assert_int_eq(changes(&cursor, out), 0);
    ck_assert_uint_eq(kit_get(disk, 1), 0);
    ck_assert_uint_eq(kit_get(disk, 2), 1);
    /* one's own are known */
    perf_disk_invalidate_blocking(disk, &label, 1, KIT_NOW + 1);
    ck_assert_int_eq(changes(&cursor, out), 0);
    perf_disk_close_blocking(disk);
}
END_TEST

/* ---- leases ---- */

static uint64_t
lease(perf_disk *d, uint64_t now_ms, uint64_t for_ms)
{
    uint64_t token;
    uint8_t digest[16];
    kit_digest(1, digest);
    PT_CHECK_EQ(
        perf_disk_lease_blocking(d, digest, now_ms, for_ms, 30000, &token),
        PERF_OK);
    return token;
}

static void
release(perf_disk *d, uint64_t token)
{
    uint8_t digest[16];
    kit_digest(1, digest);
    PT_CHECK_EQ(perf_disk_release(d, digest, token), PERF_OK);
    kit_flush(d);
}

static void
take_lease(void *ctx)
{
    perf_disk *own = kit_open(path, 0);
    *(uint64_t *)ctx = lease(own, KIT_NOW, 5000);
}

START_TEST(test_lease_of_a_living_process_holds_until_its_time)
{
    begin(0);
    uint64_t *theirs = pt_shared(8);
    int pid = pt_spawn(take_lease, theirs);
    ck_assert_uint_ne(*theirs, 0);
    ck_assert_uint_eq(lease(disk, KIT_NOW, 1000), 0);
    ck_assert_uint_eq(lease(disk, KIT_NOW + 4999, 1000), 0);
    uint64_t own = lease(disk, KIT_NOW + 5000, 1000);
    ck_assert_uint_ne(own, 0);
    ck_assert_uint_ne(own, *theirs);
    /* theirs is over: to give it back changes nothing */
    release(disk, *theirs);
    ck_assert_uint_eq(lease(disk, KIT_NOW + 5000, 1000), 0);
    release(disk, own);
    ck_assert_uint_ne(lease(disk, KIT_NOW + 5000, 1000), 0);
    pt_kill(pid);
    perf_disk_close_blocking(disk);
}
END_TEST

START_TEST(test_lease_ends_with_its_process)
{
    begin(0);
    uint64_t *theirs = pt_shared(8);
    int pid = pt_spawn(take_lease, theirs);
    ck_assert_uint_eq(lease(disk, KIT_NOW, 1000), 0);
    kill(pid, SIGKILL);
    siginfo_t info;
    /* dead, but still to be waited for: a zombie computes nothing */
    ck_assert_int_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    ck_assert_uint_ne(lease(disk, KIT_NOW, 1000), 0);
    pt_kill(pid);
    perf_disk_close_blocking(disk);
}
END_TEST

START_TEST(test_lease_that_never_ends_is_not_believed)
{
    begin(0);
    ck_assert_uint_ne(lease(disk, KIT_NOW, UINT64_MAX), 0);
    ck_assert_uint_ne(lease(disk, KIT_NOW, 1000), 0);
    perf_disk_close_blocking(disk);
}
END_TEST

/* ---- fork ---- */

static void
use_in_child(void *ctx)
{
    (void)ctx;
    uint8_t digest[16] = {0};
    PT_CHECK_EQ(perf_disk_get(disk, digest, "k", 1, NULL, 0), PERF_ERR_CLOSED);
    PT_CHECK_EQ(kit_put(disk, (kit_entry){.key = 2, .version = 1}),
                PERF_ERR_CLOSED);
    PT_CHECK_EQ(perf_disk_flush_blocking(disk, 1000), PERF_ERR_CLOSED);
    PT_CHECK(!perf_disk_change_word(disk));
    PT_CHECK_EQ(perf_disk_reopen_blocking(disk), PERF_OK);
    PT_CHECK_EQ(kit_get(disk, 1), 1);
    PT_CHECK_EQ(kit_put(disk, (kit_entry){.key = 2, .version = 9}), PERF_OK);
    PT_CHECK_EQ(kit_get(disk, 2), 9);
    perf_disk_close_blocking(disk);
}

static void
close_in_child(void *ctx)
{
    (void)ctx;
    perf_disk_close_blocking(disk);
}

START_TEST(test_fork_leaves_parent_and_child_working)
{
    begin(0);
    perf_disk *second = kit_open(path, 0);
    kit_put(disk, (kit_entry){.key = 1, .version = 1});
    kit_flush(disk);
    for (int i = 0; i < 5; i++) {
        ck_assert_uint_eq(pt_run_well(close_in_child, NULL), 0);
        ck_assert_uint_eq(pt_run_well(use_in_child, NULL), 0);
        ck_assert_uint_eq(kit_get(disk, 2), 9);
        kit_put(disk, (kit_entry){.key = 3, .version = 3});
        kit_flush(disk);
    }
    perf_disk_close_blocking(disk);
    ck_assert_uint_eq(kit_get(second, 3), 3);
    perf_disk_close_blocking(second);
}
END_TEST

static void
fork_while_others_work(unsigned index, void *ctx)
{
    (void)ctx;
    for (uint64_t i = 1; i <= 200; i++) {
        if (index) {
            kit_put(disk, (kit_entry){.key = i, .version = index});
            kit_get(disk, i);
            if (i % 50 == 0)
                kit_flush(disk);
            continue;
        }
        if (i % 20)
            continue;
        pid_t pid = fork();
        if (!pid) {
            alarm(60);
            PT_CHECK_EQ(perf_disk_reopen_blocking(disk), PERF_OK);
            PT_CHECK_EQ(
                kit_put(disk, (kit_entry){.key = 1000 + i, .version = 5}),
                PERF_OK);
            perf_disk_close_blocking(disk);
            _exit(0);
        }
        int status;
        PT_CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    }
}

START_TEST(test_forks_while_threads_read_and_write)
{
    begin(0);
    pt_parallel(4, fork_while_others_work, NULL);
    kit_flush(disk);
    for (uint64_t i = 20; i <= 200; i += 20)
        ck_assert_uint_eq(kit_get(disk, 1000 + i), 5);
    perf_disk_close_blocking(disk);
}
END_TEST

/* ---- stopped ---- */

/* As a process that is stopped in the middle of a transaction does. */
static void
hold_the_write_lock(void *ctx)
{
    (void)ctx;
    MDB_env *env;
    MDB_txn *txn;
    PT_CHECK(!mdb_env_create(&env));
    PT_CHECK(!mdb_env_open(env, path, MDB_NOSYNC, 0600));
    PT_CHECK(!mdb_txn_begin(env, NULL, 0, &txn));
}

START_TEST(test_whoever_waits_for_a_stopped_process_gives_up_in_time)
{
    begin(0);
    kit_put(disk, (kit_entry){.key = 1, .version = 1});
    kit_flush(disk);
    int pid = pt_spawn(hold_the_write_lock, NULL);
    uint8_t digest[16] = {0};
    uint64_t token;
    ck_assert_int_eq(perf_disk_flush_blocking(disk, 20), PERF_OK);
    kit_put(disk, (kit_entry){.key = 2, .version = 2});
    ck_assert_int_eq(perf_disk_flush_blocking(disk, 20), PERF_ERR_TIMEOUT);
    ck_assert_int_eq(
        perf_disk_lease_blocking(disk, digest, KIT_NOW, 9, 20, &token),
        PERF_ERR_TIMEOUT);
    ck_assert_int_eq(perf_disk_put_blocking(disk, digest, "x", 1, 20),
                     PERF_ERR_TIMEOUT);
    /* reading, queueing, labels need nobody */
    ck_assert_uint_eq(kit_get(disk, 1), 1);
    ck_assert_uint_eq(kit_get(disk, 2), 2);
    kit_put(disk, (kit_entry){.key = 3, .version = 3});
    ck_assert_uint_eq(kit_get(disk, 3), 3);
    ck_assert_int_eq(perf_disk_invalidate_blocking(disk, &(uint64_t){5}, 1, 1),
                     PERF_OK);
    pt_kill(pid); /* LMDB's lock is taken over from the dead */
    kit_flush(disk);
    perf_disk_close_blocking(disk);
    disk = kit_open(path, 0);
    ck_assert_uint_eq(kit_get(disk, 2), 2);
    ck_assert_uint_eq(kit_get(disk, 3), 3);
    perf_disk_close_blocking(disk);
}
END_TEST

/* ---- killed ---- */

typedef struct storm {
    _Atomic uint64_t round;   /* relaxed */
    _Atomic uint64_t written; /* relaxed; keys that were flushed */
} storm;

/* Writes for ever; what it says is written has to be there afterwards. */
static void
write_on(void *ctx)
{
    storm *s = ctx;
    uint64_t round = atomic_load(&s->round);
    pt_random random = {round};
    perf_disk *own = kit_open(path, 0);
    for (uint64_t i = 1;; i++) {
        uint64_t key = pt_below(&random, 3000) + 1;
        kit_put(own, (kit_entry){.key = key,
                                 .version = round * 100000 + i,
                                 .size = pt_below(&random, 6000)});
        if (i % 40 == 0)
            kit_get(own, pt_below(&random, 3000) + 1);
        if (i % 100 == 0) {
            kit_flush(own);
            atomic_fetch_add(&s->written, 100);
        }
    }
}

/* Kill it after it has flushed something, at a moment that no one chooses. */
static void
kill_one(storm *s, pt_random *random)
{
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (!pid) {
        write_on(s);
        _exit(0);
    }
    uint64_t before = atomic_load(&s->written);
    while (atomic_load(&s->written) == before)
        usleep(200);
    for (uint64_t n = pt_below(random, 20000); n; n--)
        atomic_load(&s->written);
    usleep((useconds_t)pt_below(random, 3000));
    pt_kill(pid);
}

START_TEST(test_writers_killed_at_any_moment)
{
    begin(32 << 20);
    const char *times = getenv("PT_KILLS");
    uint64_t kills = times ? strtoull(times, NULL, 10) : PT_TIMES(48);
    storm *s = pt_shared(sizeof *s);
    pt_random random = {11};
    uint64_t found = 0;
    for (uint64_t round = 1; round <= kills; round++) {
        atomic_store(&s->round, round);
        kill_one(s, &random);
        if (round % 4 == 0) { /* nobody has it open when it is opened */
            perf_disk_close_blocking(disk);
            kill_one(s, &random);
            disk = kit_open(path, 0);
        }
        for (uint64_t key = 1; key <= 3000; key++)
            found += kit_get(disk, key) > 0; /* aborts on a wrong one */
        kit_put(disk, (kit_entry){.key = round, .version = 1});
        kit_flush(disk);
        PT_ASSERT(kit_get(disk, round) == 1);
    }
    ck_assert_uint_gt(found, kills * 100);
    perf_disk_stats stats = kit_stats(disk);
    ck_assert_uint_eq(stats.corrupt, 0);
    ck_assert_uint_eq(stats.resets, 0);
    perf_disk_close_blocking(disk);
    ck_assert_int_eq(pt_count_files(path, "damaged"), 0);
}
END_TEST

static void
open_only(void *ctx)
{
    (void)ctx;
    kit_open(path, 0);
}

/* Each leaves its places in LMDB's table of readers behind. */
START_TEST(test_readers_that_were_killed_do_not_fill_the_table)
{
    begin(0);
    for (int i = 0; i < 300; i++)
        pt_kill(pt_spawn(open_only, NULL));
    uint64_t from = 5;
    ck_assert_uint_eq(pt_run_well(put_ten, &from), 0);
    ck_assert_uint_eq(kit_get(disk, 5), 5);
    perf_disk_close_blocking(disk);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("cache.disk_processes");
    tcase_add_test(tests, test_what_another_process_writes_is_seen_and_told);
    tcase_add_test(tests, test_more_changes_than_are_kept);
    tcase_add_test(tests, test_labels_that_another_process_invalidates);
    tcase_add_test(tests, test_lease_of_a_living_process_holds_until_its_time);
    tcase_add_test(tests, test_lease_ends_with_its_process);
    tcase_add_test(tests, test_lease_that_never_ends_is_not_believed);
    if (KIT_CHILDREN_HAVE_THREADS)
        tcase_add_test(tests, test_fork_leaves_parent_and_child_working);
    if (!PT_SANITIZED)
        tcase_add_test(tests, test_forks_while_threads_read_and_write);
    tcase_add_test(tests,
                   test_whoever_waits_for_a_stopped_process_gives_up_in_time);
    tcase_add_test(tests, test_writers_killed_at_any_moment);
    tcase_add_test(tests, test_readers_that_were_killed_do_not_fill_the_table);
    return pt_end();
}
