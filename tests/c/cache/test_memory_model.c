/* test_memory_model.c - a million random operations against a map that one
 * would write without a second thought, and keys whose hashes are all alike. */
#include "pt.h"

#include "cache/memory/shard.h"

#include <libperf/cache.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { KEYS = 3000, LONGEST = 700 };

/* What the cache may hold of a key. */
typedef struct model_entry {
    bool set;
    uint32_t value; /* what its bytes are made of */
    uint32_t size;
    uint64_t fresh_ns, expires_ns, mark;
} model_entry;

typedef struct model {
    perf_cache *cache;
    pt_random random;
    uint64_t now_ns;
    model_entry entry[KEYS];
    bool roomy; /* nothing is ever evicted: what was set is there */
} model;

static size_t
key_of(uint32_t i, unsigned char out[64])
{
    size_t size = 4 + i % 60;
    memset(out, (int)(i % 7), size);
    memcpy(out, &i, 4);
    return size;
}

static void
fill(unsigned char *out, uint32_t value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        out[i] = (unsigned char)(value >> (i % 4 * 8));
}

static void
do_set(model *m, uint32_t i)
{
    unsigned char key[64], value[LONGEST];
    model_entry *e = &m->entry[i];
    pt_random *r = &m->random;
    *e = (model_entry){
        .set = true, .fresh_ns = UINT64_MAX, .expires_ns = UINT64_MAX};
    perf_cache_about about = {0};
    e->value = (uint32_t)pt_next(r);
    e->size = (uint32_t)pt_below(r, pt_below(r, LONGEST) + 1);
    if (pt_below(r, 2))
        e->expires_ns = about.expires_ns = m->now_ns + pt_below(r, 3000);
    if (pt_below(r, 3) == 0)
        e->fresh_ns = about.fresh_ns = 1 + pt_below(r, 10000);
    if (pt_below(r, 4) == 0)
        e->mark = about.mark = pt_next(r);
    fill(value, e->value, e->size);
    PT_ASSERT(!perf_cache_set_at(m->cache, key, key_of(i, key), value, e->size,
                                 &about, m->now_ns));
}

static void
do_get(model *m, uint32_t i)
{
    unsigned char key[64], expected[LONGEST], got[LONGEST];
    model_entry *e = &m->entry[i];
    perf_cache_hit hit;
    size_t capacity = pt_below(&m->random, 4) ? LONGEST : e->size / 2;
    int64_t size = perf_cache_get_at(m->cache, key, key_of(i, key), got,
                                     capacity, &hit, m->now_ns);
    bool alive = e->set && e->expires_ns > m->now_ns;
    PT_ASSERT(hit.size == size);
    if (size == PERF_CACHE_NONE) {
        PT_ASSERT(!alive || !m->roomy);
        if (alive) /* evicted: it must not come back */
            e->set = false;
        return;
    }
    PT_ASSERT(alive && size == e->size);
    PT_ASSERT(hit.fresh_ns == e->fresh_ns && hit.expires_ns == e->expires_ns &&
              hit.mark == e->mark);
    PT_ASSERT((hit.offset == 0) == (e->size <= capacity));
    fill(expected, e->value, e->size);
    PT_ASSERT(hit.offset || !memcmp(expected, got, e->size));
}

static void
do_delete(model *m, uint32_t i)
{
    unsigned char key[64];
    bool was = perf_cache_delete(m->cache, key, key_of(i, key));
    PT_ASSERT(m->entry[i].set || !was);
    if (m->roomy && m->entry[i].expires_ns > m->now_ns)
        PT_ASSERT(was == m->entry[i].set);
    m->entry[i].set = false;
}

static void
check_all(model *m)
{
    perf_cache_stats stats;
    uint64_t alive = 0;
    m->roomy ? (void)perf_cache_expire_at(m->cache, SIZE_MAX, m->now_ns + 4000)
             : (void)0;
    m->now_ns += m->roomy ? 4000 : 0;
    for (uint32_t i = 0; i < KEYS; i++) {
        do_get(m, i);
        alive += m->entry[i].set && m->entry[i].expires_ns > m->now_ns;
    }
    perf_cache_stats_now(m->cache, &stats);
    PT_ASSERT(stats.entries >= alive && (!m->roomy || stats.entries == alive));
    PT_ASSERT(stats.sets >= stats.entries);
}

static void
step(model *m)
{
    uint32_t i = (uint32_t)pt_below(&m->random, KEYS);
    if (pt_below(&m->random, 2)) /* some are asked for more than others */
        i %= KEYS / 20;
    m->now_ns += pt_below(&m->random, 3);
    switch (pt_below(&m->random, 20)) {
    case 0: do_delete(m, i); break;
    case 1:
    case 2:
    case 3:
    case 4:
    case 5: do_set(m, i); break;
    default: do_get(m, i);
    }
}

static const struct {
    uint64_t bytes;
    uint32_t entries;
    perf_policy_kind policy;
} shapes[] = {
    {64 << 20, 0, PERF_POLICY_LRU},        {64 << 20, 0, PERF_POLICY_ADAPTIVE},
    {256 << 10, 0, PERF_POLICY_LRU},       {256 << 10, 0, PERF_POLICY_ADAPTIVE},
    {256 << 10, 0, PERF_POLICY_S3FIFO},    {16 << 20, 1, PERF_POLICY_LRU},
    {16 << 20, 500, PERF_POLICY_ADAPTIVE},
};

START_TEST(test_a_million_operations_are_as_on_a_plain_map)
{
    static model m;
    perf_cache_config config = {.max_bytes = shapes[_i].bytes,
                                .max_entries = shapes[_i].entries,
                                .policy = shapes[_i].policy};
    m.random.state = (uint64_t)_i;
    m.roomy = shapes[_i].bytes == 64 << 20;
    ck_assert_int_eq(perf_cache_create(&config, &m.cache), PERF_OK);
    for (int n = 0; n < PT_TIMES(1000000); n++) {
        step(&m);
        if (n % 50000 == 0)
            check_all(&m);
        if (n % 300000 == 299999) {
            perf_cache_clear_blocking(m.cache);
            for (int i = 0; i < KEYS; i++)
                m.entry[i].set = false;
        }
    }
    check_all(&m);
    perf_cache_destroy(m.cache);
}
END_TEST

/* ---- no memory ---- */

START_TEST(test_without_memory_a_key_has_the_new_value_or_none)
{
    uint64_t needed = 1;
    for (uint64_t allowed = 0; allowed < needed + 3; allowed++) {
        pt_alloc a;
        pt_alloc_init(&a, allowed);
        perf_cache_config config = {.max_bytes = 1 << 20,
                                    .policy = (perf_policy_kind)_i,
                                    .allocator = &a.face};
        perf_cache *cache;
        perf_err err = perf_cache_create(&config, &cache);
        ck_assert_int_eq(err, err ? PERF_ERR_NOMEM : PERF_OK);
        ck_assert((cache == NULL) == (err != PERF_OK));
        for (uint32_t i = 0; cache && i < 400; i++) {
            uint32_t key = i % 200, value[2] = {i, i}, got[2];
            perf_cache_about about = {.expires_ns = i % 3 ? 0 : 100 * i};
            size_t size = i % 5 ? 8 : 4;
            err = perf_cache_set_at(cache, &key, 4, value, size, &about, i);
            PT_ASSERT(!err || err == PERF_ERR_NOMEM);
            int64_t found = perf_cache_get_at(cache, &key, 4, got, 8, NULL, i);
            PT_ASSERT(found == (int64_t)size || found == PERF_CACHE_NONE);
            PT_ASSERT(!err || found == PERF_CACHE_NONE);
            PT_ASSERT(found < 0 || !memcmp(value, got, size));
        }
        if (cache) { /* it goes on when there is memory again */
            atomic_store(&a.allowed, UINT64_MAX);
            ck_assert_int_eq(perf_cache_set_at(cache, "k", 1, "v", 1, NULL, 9),
                             PERF_OK);
        }
        perf_cache_destroy(cache);
        ck_assert_uint_eq(atomic_load(&a.live), 0);
        ck_assert(!atomic_load(&a.wrong_size));
        needed = atomic_load(&a.calls);
    }
    ck_assert_uint_gt(needed, 200);
}
END_TEST

/* ---- the index, with hashes of our choice ---- */

enum { SLOTS = 20000 };
static uint64_t hashes[SLOTS];

static uint64_t
hash_of(const void *block, const void *ctx)
{
    (void)ctx;
    return *(const uint64_t *)block;
}

/* How often a slot is found. */
static int
count_of(const perfi_index *index, uint32_t slot)
{
    int count = 0;
    const perfi_line *line = perfi_index_home(index, hashes[slot]);
    for (; line; line = perfi_index_next(index, line))
        for (uint64_t m = perfi_line_match(line, hashes[slot]); m; m &= m - 1)
            count +=
                perfi_line_block(line, perfi_match_cell(m)) == &hashes[slot];
    return count;
}

START_TEST(test_the_index_finds_what_is_in_it_once)
{
    const perf_allocator *a = perf_allocator_libc();
    static bool in[SLOTS];
    perfi_index index;
    pt_random random = {3};
    ck_assert(perfi_index_open(&index, 1 << 20, a));
    for (uint32_t i = 0; i < SLOTS; i++)
        hashes[i] = pt_next(&random);
    uint32_t entries = 0;
    for (int n = 0; n < PT_TIMES(400000); n++) {
        uint32_t slot = (uint32_t)pt_below(&random, SLOTS);
        PT_ASSERT(count_of(&index, slot) == in[slot]);
        if (in[slot]) {
            perfi_index_remove(&index, hashes[slot], &hashes[slot]);
        } else {
            PT_ASSERT(perfi_index_reserve(&index, a));
            PT_ASSERT(perfi_index_add(&index, hashes[slot], &hashes[slot],
                                      hash_of, NULL));
        }
        in[slot] = !in[slot];
        entries += in[slot] ? 1U : -1U;
        PT_ASSERT(index.entries == entries);
    }
    for (uint32_t i = 0; i < SLOTS; i++)
        PT_ASSERT(count_of(&index, i) == in[i]);
    /* about 10 bytes an entry at most */
    ck_assert_uint_lt(perfi_index_bytes(&index, a), SLOTS * 10);
    perfi_index_close(&index, a);
}
END_TEST

START_TEST(test_keys_of_one_hash_are_no_more_than_a_chain)
{
    const perf_allocator *a = perf_allocator_libc();
    enum { MOST = PERFI_CHAIN_MAX * PERFI_LINE_CELLS };
    perfi_index index;
    ck_assert(perfi_index_open(&index, 1 << 20, a));
    for (uint32_t i = 0; i < SLOTS; i++) {
        hashes[i] = UINT64_C(0xABCDEF0123456789);
        ck_assert(perfi_index_reserve(&index, a));
        bool added =
            perfi_index_add(&index, hashes[i], &hashes[i], hash_of, NULL);
        PT_ASSERT(added == (i < MOST));
    }
    ck_assert_uint_eq(index.entries, MOST);
    for (uint32_t i = 0; i < MOST; i++)
        perfi_index_remove(&index, hashes[i], &hashes[i]);
    ck_assert_uint_eq(index.entries, 0);
    perfi_index_close(&index, a);
}
END_TEST

/* Asks for a block; returns whether it is the first time in this epoch. */
static bool
see(perfi_index *index, uint32_t slot)
{
    perfi_line *line = perfi_index_home(index, hashes[slot]);
    for (; line; line = perfi_index_next(index, line))
        for (uint64_t m = perfi_line_match(line, hashes[slot]); m; m &= m - 1)
            if (perfi_line_block(line, perfi_match_cell(m)) == &hashes[slot])
                return perfi_line_see(line, perfi_match_cell(m), index->epoch);
    ck_abort_msg("it is not there");
}

START_TEST(test_a_block_is_seen_for_the_first_time_once_an_epoch)
{
    const perf_allocator *a = perf_allocator_libc();
    enum { MOST = 1000 };
    static bool in[MOST], seen[MOST];
    perfi_index index;
    pt_random random = {4};
    ck_assert(perfi_index_open(&index, 1 << 20, a));
    index.epoch = UINT32_MAX << PERFI_LINE_CELLS; /* it comes round */
    for (uint32_t i = 0; i < MOST; i++)
        hashes[i] = pt_next(&random);
    uint64_t again = 0, asked = 0;
    for (int n = 0; n < PT_TIMES(200000); n++) {
        uint32_t slot = (uint32_t)pt_below(&random, MOST);
        if (n % 500 == 0) {
            perfi_index_next_epoch(&index);
            memset(seen, 0, sizeof seen);
        }
        if (!in[slot]) {
            PT_ASSERT(perfi_index_reserve(&index, a));
            PT_ASSERT(perfi_index_add(&index, hashes[slot], &hashes[slot],
                                      hash_of, NULL));
            in[slot] = seen[slot] = true;
        } else if (n % 9 == 0) {
            perfi_index_remove(&index, hashes[slot], &hashes[slot]);
            in[slot] = false;
        } else {
            bool first = see(&index, slot);
            /* never lost; what was moved in the table is told once more */
            PT_ASSERT(first || seen[slot]);
            asked += seen[slot];
            again += first && seen[slot];
            seen[slot] = true;
        }
    }
    ck_assert_uint_lt(again, asked / 4);
    perfi_index_close(&index, a);
}
END_TEST

START_TEST(test_an_address_that_does_not_fit_is_refused)
{
    const perf_allocator *a = perf_allocator_libc();
    perfi_index index;
    ck_assert(perfi_index_open(&index, 1 << 16, a));
    ck_assert(perfi_index_reserve(&index, a));
    const uint64_t last = (UINT64_C(1) << PERFI_POINTER_BITS) - 16;
    const void *fits = (const void *)(uintptr_t)last;
    const void *tagged = (const void *)(uintptr_t)(last | UINT64_C(1) << 56);
    ck_assert(!perfi_index_add(&index, 1, tagged, hash_of, NULL));
    ck_assert_uint_eq(index.entries, 0);
    ck_assert(perfi_index_add(&index, 1, fits, hash_of, NULL));
    ck_assert_ptr_eq(perfi_line_block(perfi_index_home(&index, 1), 0), fits);
    perfi_index_close(&index, a);
}
END_TEST

START_TEST(test_a_mixed_hash_is_found_again)
{
    pt_random random = {6};
    for (int n = 0; n < 10000; n++) {
        uint64_t hash = pt_next(&random), seed = pt_next(&random);
        PT_ASSERT(perfi_unmix(perfi_mix(hash, seed), seed) == hash);
    }
}
END_TEST

START_TEST(test_a_line_is_matched_cell_by_cell)
{
    pt_random random = {5};
    for (int n = 0; n < 100000; n++) {
        perfi_line line = {0};
        unsigned used = (unsigned)pt_below(&random, PERFI_LINE_CELLS + 1);
        for (unsigned i = 0; i < used; i++)
            line.tag[i] = (uint8_t)(1 + pt_below(&random, n % 2 ? 255 : 3));
        uint64_t hash = pt_below(&random, n % 2 ? 256 : 4) << 52;
        uint64_t match = perfi_line_match(&line, hash);
        bool found[PERFI_LINE_CELLS] = {false};
        for (; match; match &= match - 1)
            found[perfi_match_cell(match)] = true;
        for (unsigned i = 0; i < PERFI_LINE_CELLS; i++)
            PT_ASSERT(found[i] == (line.tag[i] == perfi_hash_tag(hash)));
    }
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("cache.memory_model");
    tcase_add_loop_test(tests, test_a_million_operations_are_as_on_a_plain_map,
                        0, sizeof shapes / sizeof *shapes);
    tcase_add_loop_test(
        tests, test_without_memory_a_key_has_the_new_value_or_none, 0, 3);
    tcase_add_test(tests, test_the_index_finds_what_is_in_it_once);
    tcase_add_test(tests, test_keys_of_one_hash_are_no_more_than_a_chain);
    tcase_add_test(tests,
                   test_a_block_is_seen_for_the_first_time_once_an_epoch);
    tcase_add_test(tests, test_an_address_that_does_not_fit_is_refused);
    tcase_add_test(tests, test_a_mixed_hash_is_found_again);
    tcase_add_test(tests, test_a_line_is_matched_cell_by_cell);
    return pt_end();
}
