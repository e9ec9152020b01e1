/* test_patience.c - who looks again and again does so for a moment, and not
 * where it was in vain before. */
#include "patience.h"
#include "pt.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

typedef struct event {
    uint32_t looks, ready_at; /* the look that finds it; 0: none */
} event;

static bool
has_come(void *ctx)
{
    event *e = ctx;
    return ++e->looks == e->ready_at;
}

/* How often it looked. */
static uint32_t
wait_for(perfi_patience *p, uint32_t ready_at)
{
    event e = {.ready_at = ready_at};
    bool is = perfi_patience_wait(p, UINT64_MAX, has_come, &e);
    ck_assert(is == (e.looks && e.looks == ready_at));
    return e.looks;
}

static bool
has_one_cpu(void)
{
    return sysconf(_SC_NPROCESSORS_ONLN) < 2;
}

START_TEST(test_with_one_cpu_nobody_looks)
{
    perfi_patience p = {0};
    if (has_one_cpu())
        ck_assert_uint_eq(wait_for(&p, 1), 0);
    else
        ck_assert_uint_eq(wait_for(&p, 1), 1);
}
END_TEST

START_TEST(test_in_vain_it_looks_less_and_less_often)
{
    perfi_patience p = {0};
    uint32_t skips[] = {1, 2, 4, 8, 16, 32, 64, 64};
    for (uint32_t i = 0; i < sizeof skips / sizeof *skips && !has_one_cpu();
         i++) {
        ck_assert_uint_gt(wait_for(&p, 0), 0);
        for (uint32_t n = 0; n < skips[i]; n++)
            ck_assert_uint_eq(wait_for(&p, 1), 0);
    }
}
END_TEST

START_TEST(test_once_it_helped_it_looks_each_time)
{
    perfi_patience p = {0};
    for (int i = 0; i < 8; i++) /* in vain, and what follows from it */
        wait_for(&p, 0);
    while (!has_one_cpu() && !wait_for(&p, 5))
        ;
    for (int i = 0; i < 100 && !has_one_cpu(); i++)
        ck_assert_uint_eq(wait_for(&p, 5), 5);
    ck_assert_uint_ge(wait_for(&p, 0), !has_one_cpu());
    wait_for(&p, 1); /* the one that is left out */
    ck_assert_uint_eq(wait_for(&p, 1), !has_one_cpu());
}
END_TEST

START_TEST(test_a_time_that_is_over_ends_it)
{
    perfi_patience p = {0};
    event e = {0};
    ck_assert(!perfi_patience_wait(&p, 0, has_come, &e));
    ck_assert_uint_le(e.looks, 64); /* until the clock was read once */
}
END_TEST

/* ---- one thread at a time ---- */

typedef struct pair {
    perfi_patience patience;
    atomic_bool looks, ends;
    uint32_t other; /* how often a second one looked meanwhile */
} pair;

static bool
ask_the_other(void *ctx)
{
    pair *p = ctx;
    p->other = wait_for(&p->patience, 1);
    return true;
}

START_TEST(test_one_thread_at_a_time_looks)
{
    pair p = {.other = !has_one_cpu()};
    bool is = perfi_patience_wait(&p.patience, UINT64_MAX, ask_the_other, &p);
    ck_assert(is == !has_one_cpu());
    ck_assert_uint_eq(p.other, 0);
}
END_TEST

static bool
stay(void *ctx)
{
    pair *p = ctx;
    atomic_store(&p->looks, true);
    return atomic_load(&p->ends);
}

static void *
look(void *ctx)
{
    pair *p = ctx;
    while (!atomic_load(&p->ends))
        perfi_patience_wait(&p->patience, UINT64_MAX, stay, p);
    return NULL;
}

START_TEST(test_close_waits_for_who_looks_and_keeps_others_out)
{
    pair p = {.other = 0};
    pthread_t thread;
    pthread_create(&thread, NULL, look, &p);
    while (!atomic_load(&p.looks) && !has_one_cpu())
        sched_yield();
    perfi_patience_close(&p.patience);
    ck_assert_uint_eq(wait_for(&p.patience, 1), 0);
    atomic_store(&p.ends, true);
    pthread_join(thread, NULL);
    perfi_patience_forget(&p.patience); /* as in the child of a fork */
    ck_assert_uint_eq(wait_for(&p.patience, 1), !has_one_cpu());
}
END_TEST

int
main(void)
{
    TCase *t = pt_begin("batcher.patience");
    tcase_add_test(t, test_with_one_cpu_nobody_looks);
    tcase_add_test(t, test_in_vain_it_looks_less_and_less_often);
    tcase_add_test(t, test_once_it_helped_it_looks_each_time);
    tcase_add_test(t, test_a_time_that_is_over_ends_it);
    tcase_add_test(t, test_one_thread_at_a_time_looks);
    tcase_add_test(t, test_close_waits_for_who_looks_and_keeps_others_out);
    return pt_end();
}
