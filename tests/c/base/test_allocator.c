/* test_allocator.c - libc and arenas: zeroed, aligned, counted, all freed. */
#include "pt.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCKS = 300 };

static size_t
size_of(unsigned i)
{
    return i % 50 == 49 ? 100000 + i : i * 7; /* 0 among them */
}

static void
check_memory_of(const perf_allocator *a)
{
    unsigned char *block[BLOCKS];
    for (unsigned i = 0; i < BLOCKS; i++) {
        block[i] = a->alloc(size_of(i), a->ctx);
        ck_assert_ptr_nonnull(block[i]);
        ck_assert_uint_eq((uintptr_t)block[i] % 16, 0);
        for (size_t k = 0; k < size_of(i); k++)
            PT_ASSERT(block[i][k] == 0);
        memset(block[i], 0xAB, size_of(i)); /* the next must be zero again */
    }
    for (unsigned i = 0; i < BLOCKS; i += 2)
        a->free(block[i], size_of(i), a->ctx);
    for (unsigned i = 0; i < BLOCKS; i += 2) {
        block[i] = a->alloc(size_of(i), a->ctx);
        for (size_t k = 0; k < size_of(i); k++)
            PT_ASSERT(block[i][k] == 0);
    }
    for (unsigned i = 0; i < BLOCKS; i++)
        a->free(block[i], size_of(i), a->ctx);
    a->free(NULL, 0, a->ctx);
    a->free(NULL, 17, a->ctx);
}

START_TEST(test_libc_gives_zeroed_aligned_memory)
{
    ck_assert_ptr_eq(perf_allocator_libc(), perf_allocator_libc());
    check_memory_of(perf_allocator_libc());
    ck_assert_uint_eq(perf_allocator_arena_bytes(perf_allocator_libc()), 0);
}
END_TEST

START_TEST(test_arena_gives_zeroed_aligned_memory)
{
    const perf_allocator *arena;
    ck_assert_int_eq(perf_allocator_arena_create(&arena), PERF_OK);
    check_memory_of(arena);
    ck_assert_uint_eq(perf_allocator_arena_bytes(arena), 0);
    perf_allocator_arena_destroy(arena);
}
END_TEST

START_TEST(test_arena_counts_the_bytes_that_were_asked_for)
{
    const perf_allocator *arena;
    pt_random random = {1};
    struct {
        void *memory;
        size_t size;
    } place[100] = {{NULL, 0}};
    uint64_t expected = 0;
    ck_assert_int_eq(perf_allocator_arena_create(&arena), PERF_OK);
    for (int i = 0; i < 5000; i++) {
        size_t k = pt_below(&random, 100);
        if (place[k].memory) {
            arena->free(place[k].memory, place[k].size, arena->ctx);
            expected -= place[k].size;
            place[k].memory = NULL;
        } else {
            place[k].size = pt_below(&random, 3000);
            place[k].memory = arena->alloc(place[k].size, arena->ctx);
            expected += place[k].size;
        }
        ck_assert_uint_eq(perf_allocator_arena_bytes(arena), expected);
    }
    ck_assert_uint_gt(expected, 0); /* destroy frees the rest: see leaks */
    perf_allocator_arena_destroy(arena);
}
END_TEST

START_TEST(test_arenas_are_independent)
{
    const perf_allocator *a, *b;
    ck_assert_int_eq(perf_allocator_arena_create(&a), PERF_OK);
    ck_assert_int_eq(perf_allocator_arena_create(&b), PERF_OK);
    char *kept = b->alloc(100, b->ctx);
    strcpy(kept, "still here");
    ck_assert_ptr_nonnull(a->alloc(1000, a->ctx));
    ck_assert_uint_eq(perf_allocator_arena_bytes(a), 1000);
    perf_allocator_arena_destroy(a);
    ck_assert_str_eq(kept, "still here");
    ck_assert_uint_eq(perf_allocator_arena_bytes(b), 100);
    perf_allocator_arena_destroy(b);
}
END_TEST

START_TEST(test_null_and_foreign_allocators_are_harmless)
{
    ck_assert_int_eq(perf_allocator_arena_create(NULL), PERF_ERR_INVALID);
    perf_allocator_arena_destroy(NULL);
    perf_allocator_arena_destroy(perf_allocator_libc());
    ck_assert_uint_eq(perf_allocator_arena_bytes(NULL), 0);
    pt_alloc other;
    pt_alloc_init(&other, 10);
    ck_assert_uint_eq(perf_allocator_arena_bytes(&other.face), 0);
    perf_allocator_arena_destroy(&other.face);
}
END_TEST

START_TEST(test_name_says_what_arenas_are_made_of)
{
    const char *name = perf_allocator_name();
    ck_assert(!strcmp(name, "libc") || !strncmp(name, "jemalloc ", 9));
}
END_TEST

static void
take_and_free(unsigned index, void *ctx)
{
    const perf_allocator *arena = ctx;
    pt_random random = {index};
    void *held[16] = {NULL};
    size_t size[16] = {0};
    for (int i = 0; i < PT_TIMES(40000); i++) {
        size_t k = pt_below(&random, 16);
        arena->free(held[k], size[k], arena->ctx);
        size[k] = pt_below(&random, 500);
        held[k] = arena->alloc(size[k], arena->ctx);
        PT_ASSERT(held[k]);
    }
    for (int k = 0; k < 16; k++)
        arena->free(held[k], size[k], arena->ctx);
}

START_TEST(test_arena_may_be_used_by_many_threads)
{
    const perf_allocator *arena;
    ck_assert_int_eq(perf_allocator_arena_create(&arena), PERF_OK);
    pt_parallel(4, take_and_free, (void *)arena);
    ck_assert_uint_eq(perf_allocator_arena_bytes(arena), 0);
    perf_allocator_arena_destroy(arena);
}
END_TEST

static _Atomic bool stop;

static void *
keep_busy(void *ctx)
{
    const perf_allocator *arena = ctx;
    while (!atomic_load(&stop))
        arena->free(arena->alloc(64, arena->ctx), 64, arena->ctx);
    return NULL;
}

static void
fork_beside_busy_threads(void *ctx)
{
    const perf_allocator *arena = ctx;
    pthread_t busy[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&busy[i], NULL, keep_busy, ctx);
    for (int i = 0; i < 200; i++) {
        pid_t pid = fork();
        if (!pid) {
            alarm(20); /* a lock that nobody can give back any more */
            void *memory = arena->alloc(100, arena->ctx);
            arena->free(memory, 100, arena->ctx);
            _exit(memory ? 0 : 1);
        }
        int status;
        PT_CHECK_EQ(waitpid(pid, &status, 0), pid);
        PT_CHECK_EQ(status, 0);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 2; i++)
        pthread_join(busy[i], NULL);
}

START_TEST(test_forked_child_goes_on_using_an_arena)
{
    const perf_allocator *arena;
    ck_assert_int_eq(perf_allocator_arena_create(&arena), PERF_OK);
    pt_run_well(fork_beside_busy_threads, (void *)arena);
    perf_allocator_arena_destroy(arena);
}
END_TEST

START_TEST(test_stats_of_all_arenas_go_up_with_one)
{
    perf_allocator_stats before, after, none;
    ck_assert_int_eq(perf_allocator_stats_blocking(NULL), PERF_ERR_INVALID);
    perf_err err = perf_allocator_stats_blocking(&before);
    if (!strcmp(perf_allocator_name(), "libc")) {
        memset(&none, 0, sizeof none);
        ck_assert_int_eq(err, PERF_ERR_UNSUPPORTED);
        ck_assert_mem_eq(&before, &none, sizeof none);
        return;
    }
    ck_assert_int_eq(err, PERF_OK);
    const perf_allocator *arena;
    ck_assert_int_eq(perf_allocator_arena_create(&arena), PERF_OK);
    enum { BYTES = 10 << 20 };
    memset(arena->alloc(BYTES, arena->ctx), 1, BYTES);
    ck_assert_int_eq(perf_allocator_stats_blocking(&after), PERF_OK);
    ck_assert_uint_ge(after.allocated_bytes, before.allocated_bytes + BYTES);
    ck_assert_uint_ge(after.resident_bytes, after.allocated_bytes);
    ck_assert_uint_ge(after.mapped_bytes, after.allocated_bytes);
    ck_assert_uint_gt(after.metadata_bytes, 0);
    perf_allocator_arena_destroy(arena);
    ck_assert_int_eq(perf_allocator_stats_blocking(&after), PERF_OK);
    ck_assert_uint_lt(after.allocated_bytes, before.allocated_bytes + BYTES);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("base.allocator");
    tcase_add_test(tests, test_libc_gives_zeroed_aligned_memory);
    tcase_add_test(tests, test_arena_gives_zeroed_aligned_memory);
    tcase_add_test(tests, test_arena_counts_the_bytes_that_were_asked_for);
    tcase_add_test(tests, test_arenas_are_independent);
    tcase_add_test(tests, test_null_and_foreign_allocators_are_harmless);
    tcase_add_test(tests, test_name_says_what_arenas_are_made_of);
    tcase_add_test(tests, test_arena_may_be_used_by_many_threads);
    if (!PT_SANITIZED) /* whose own malloc a fork beside threads may block */
        tcase_add_test(tests, test_forked_child_goes_on_using_an_arena);
    tcase_add_test(tests, test_stats_of_all_arenas_go_up_with_one);
    return pt_end();
}
