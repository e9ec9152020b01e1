/* test_disk_model.c - random calls, by one thread against a table of what must
 * be there, and by many threads against what may be there. */
#include "test_disk_kit.h"

#include "cache/disk/state.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static char path[PT_PATH + 16];

enum { KEYS = 400, LABELS = 5 };

/** What must be found. */
typedef struct model {
    kit_entry entry[KEYS];
    uint64_t invalidated[LABELS + 1];
    uint64_t now;
} model;

static uint64_t
expected(const model *m, uint64_t key)
{
    const kit_entry *e = &m->entry[key];
    if (!e->version || (e->expires_ms && m->now >= e->expires_ms))
        return 0;
    for (int i = 0; i < 2; i++)
        if (e->labels[i] && e->created_ms <= m->invalidated[e->labels[i]])
            return 0;
    return e->version;
}

static void
put_something(perf_disk *disk, model *m, pt_random *random, uint64_t version)
{
    uint64_t key = pt_below(random, KEYS);
    kit_entry e = {
        .key = key,
        .version = version,
        .size = pt_below(random, 50) ? pt_below(random, 600)
                                     : pt_below(random, 20000),
        .created_ms = m->now - pt_below(random, 3),
        .expires_ms = pt_below(random, 2) ? 0 : m->now + pt_below(random, 200),
        .labels = {pt_below(random, LABELS + 1), pt_below(random, LABELS + 1)}};
    if (kit_put(disk, e) == PERF_OK) /* else the queue was full */
        m->entry[key] = e;
}

static void
remove_something(perf_disk *disk, model *m, pt_random *random)
{
    uint8_t digest[16];
    uint64_t key = pt_below(random, KEYS);
    kit_digest(key, digest);
    if (perf_disk_delete(disk, digest) == PERF_OK)
        m->entry[key].version = 0;
}

static void
step(perf_disk **disk, model *m, pt_random *random, uint64_t i)
{
    uint64_t what = pt_below(random, 1000), key = pt_below(random, KEYS);
    m->now += pt_below(random, 2);
    if (what < 350)
        put_something(*disk, m, random, i);
    else if (what < 400)
        remove_something(*disk, m, random);
    else if (what < 403) {
        uint64_t label = pt_below(random, LABELS) + 1;
        perf_disk_invalidate_blocking(*disk, &label, 1, m->now);
        m->invalidated[label] = m->now;
    } else if (what < 406) {
        kit_flush(*disk);
    } else if (what == 406 && !pt_below(random, 10)) {
        perf_disk_close_blocking(*disk);
        *disk = kit_open(path, 0);
    } else {
        PT_ASSERT(kit_get_at(*disk, key, m->now) == expected(m, key));
    }
}

START_TEST(test_random_calls_give_what_a_table_gives)
{
    kit_path(path);
    perf_disk *disk = kit_open(path, 0);
    model *m = calloc(1, sizeof *m);
    pt_random random = {23};
    m->now = KIT_NOW;
    for (uint64_t i = 1; i <= PT_TIMES(100000); i++)
        step(&disk, m, &random, i);
    ck_assert_uint_eq(kit_stats(disk).corrupt, 0);
    perf_disk_close_blocking(disk);
    free(m);
}
END_TEST

/* ---- threads ---- */

/** Threads that share a disk: what a key's version was last, at least. */
typedef struct shared {
    perf_disk *disk;
    _Atomic uint64_t version[8]; /* each written by one thread */
} shared;

/* Each thread has a key of its own, and reads all. */
static void
read_and_write(unsigned index, void *ctx)
{
    shared *s = ctx;
    for (uint64_t i = 1; i <= PT_TIMES(4000); i++) {
        kit_entry e = {.key = index, .version = i, .size = i % 300};
        if (kit_put(s->disk, e) == PERF_OK) {
            atomic_store(&s->version[index], i);
            PT_ASSERT(kit_get(s->disk, index) == i); /* its own write */
        }
        uint64_t other = i % 4;
        uint64_t least = atomic_load(&s->version[other]);
        PT_ASSERT(kit_get(s->disk, other) >= least);
    }
}

START_TEST(test_threads_read_their_own_writes_and_never_older_ones)
{
    kit_path(path);
    shared s = {.disk = kit_open(path, 0)};
    pt_parallel(4, read_and_write, &s);
    kit_flush(s.disk);
    for (unsigned i = 0; i < 4; i++)
        ck_assert_uint_eq(kit_get(s.disk, i), s.version[i]);
    perf_disk_close_blocking(s.disk);
}
END_TEST

static void
work_until_closed(unsigned index, void *ctx)
{
    perf_disk *disk = ctx;
    uint64_t token;
    uint8_t digest[16];
    kit_digest(index, digest);
    if (index == 0) {
        for (int i = 0; i < 50; i++)
            kit_flush(disk);
        perf_disk_stop_blocking(disk);
        return;
    }
    for (perf_err err = PERF_OK; err != PERF_ERR_CLOSED;) {
        err = kit_put(disk, (kit_entry){.key = index, .version = 1});
        kit_get(disk, index);
        if (index == 1)
            err = perf_disk_flush_blocking(disk, 60000);
        if (index == 2)
            err = perf_disk_lease_blocking(disk, digest, KIT_NOW, 10, 60000,
                                           &token);
    }
}

START_TEST(test_stopping_leaves_nobody_waiting)
{
    for (int i = 0; i < 20; i++) {
        kit_path(path);
        perf_disk *disk = kit_open(path, 0);
        pt_parallel(5, work_until_closed, disk);
        perf_disk_close_blocking(disk);
    }
}
END_TEST

static void
open_and_close(unsigned index, void *ctx)
{
    (void)ctx;
    for (uint64_t i = 1; i <= 30; i++) {
        perf_disk *disk = kit_open(path, 0);
        kit_put(disk, (kit_entry){.key = index, .version = i});
        PT_ASSERT(kit_get(disk, index) == i);
        perf_disk_close_blocking(disk);
    }
}

START_TEST(test_threads_that_open_and_close_one_folder)
{
    kit_path(path);
    pt_parallel(4, open_and_close, NULL);
    perf_disk *disk = kit_open(path, 0);
    for (uint64_t key = 0; key < 4; key++)
        ck_assert_uint_eq(kit_get(disk, key), 30);
    perf_disk_close_blocking(disk);
}
END_TEST

/* ---- the Bloom filter ---- */

enum { FILTER = 2 << 20 }; /* max_bytes that it is for: 4,096 keys */

static perfi_state
make_state(void)
{
    uint64_t size = perfi_state_bytes(FILTER);
    void *bytes = aligned_alloc(4096, size);
    perfi_state s = {.fd = -1};
    memset(bytes, 0, size);
    perfi_state_make(bytes, FILTER);
    ck_assert_int_eq(perfi_state_attach(bytes, size, &s), PERF_OK);
    return s;
}

START_TEST(test_filter_never_misses_and_seldom_errs)
{
    perfi_state s = make_state();
    uint8_t digest[16];
    uint64_t room = perfi_bloom_room(&s), wrong = 0;
    ck_assert_uint_eq(room, 4096);
    for (uint64_t key = 0; key < room; key++) {
        kit_digest(key, digest);
        perfi_bloom_add(&s, digest);
    }
    for (uint64_t key = 0; key < room; key++) {
        kit_digest(key, digest);
        PT_ASSERT(perfi_bloom_may_have(&s, digest));
    }
    for (uint64_t key = room; key < room + 300000; key++) {
        kit_digest(key, digest);
        wrong += perfi_bloom_may_have(&s, digest);
    }
    ck_assert_uint_lt(wrong, 600); /* 0.12 % */
    free(s.header);
}
END_TEST

static void
refill_or_ask(unsigned index, void *ctx)
{
    perfi_state *s = ctx;
    uint8_t digest[16];
    for (uint64_t round = 0; round < PT_TIMES(150); round++) {
        if (!index)
            perfi_bloom_begin(s);
        for (uint64_t key = 0; key < 500; key++) {
            kit_digest(key, digest);
            if (!index)
                perfi_bloom_fill(s, digest);
            else
                PT_ASSERT(perfi_bloom_may_have(s, digest));
        }
        if (!index)
            perfi_bloom_end(s, 500);
    }
}

START_TEST(test_filter_is_made_anew_while_others_ask)
{
    perfi_state s = make_state();
    uint8_t digest[16];
    for (uint64_t key = 0; key < 500; key++) {
        kit_digest(key, digest);
        perfi_bloom_add(&s, digest);
    }
    pt_parallel(4, refill_or_ask, &s);
    free(s.header);
}
END_TEST

START_TEST(test_filter_follows_what_is_evicted)
{
    kit_path(path);
    perf_disk *disk = kit_open(path, 1 << 20); /* for 2,048 keys */
    for (uint64_t key = 1; key <= 12000; key++) {
        kit_put(disk, (kit_entry){.key = key, .version = 1, .size = 800});
        if (key % 64 == 0)
            kit_flush(disk);
    }
    perf_disk_stats stats = kit_stats(disk);
    ck_assert_uint_gt(stats.rebuilds, 2);
    uint64_t missing = 0; /* but those for which a commit had no room */
    for (uint64_t key = 12000; key > 12000 - stats.entries; key--)
        missing += kit_get(disk, key) != 1;
    ck_assert_uint_le(missing, kit_stats(disk).refused);
    uint64_t before = kit_stats(disk).filtered;
    for (uint64_t key = 20000; key < 21000; key++)
        PT_ASSERT(!kit_get(disk, key));
    ck_assert_uint_gt(kit_stats(disk).filtered - before, 950);
    perf_disk_close_blocking(disk);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("cache.disk_model");
    tcase_add_test(tests, test_random_calls_give_what_a_table_gives);
    tcase_add_test(tests,
                   test_threads_read_their_own_writes_and_never_older_ones);
    tcase_add_test(tests, test_stopping_leaves_nobody_waiting);
    tcase_add_test(tests, test_threads_that_open_and_close_one_folder);
    tcase_add_test(tests, test_filter_never_misses_and_seldom_errs);
    tcase_add_test(tests, test_filter_is_made_anew_while_others_ask);
    tcase_add_test(tests, test_filter_follows_what_is_evicted);
    return pt_end();
}
