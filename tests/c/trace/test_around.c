/* test_around.c - the open spans around one: found in all threads, and no
 * others. */
#include "pt.h"

#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST = 40 };

static const perf_span none;
static uint32_t found[MOST];

static perf_span
begin(const char *name, perf_span parent)
{
    return perf_span_begin(pt_name(PERF_KIND_SPAN, name), parent);
}

static size_t
around(perf_span span)
{
    memset(found, 0, sizeof found);
    return perf_span_around(span, found, MOST);
}

START_TEST(test_a_root_has_none_around_it)
{
    ck_assert_uint_eq(around(none), 0);
    perf_span root = begin("root", none);
    ck_assert_uint_eq(around(root), 0);
    perf_span_end(root);
    ck_assert_uint_eq(around(root), 0);
}
END_TEST

START_TEST(test_the_parent_comes_first)
{
    perf_span a = begin("a", none), b = begin("b", a), c = begin("c", b);
    perf_span other = begin("other", a);
    ck_assert_uint_eq(around(c), 2);
    ck_assert_str_eq(perf_name_text(found[0]), "b");
    ck_assert_str_eq(perf_name_text(found[1]), "a");
    perf_span_end(c);
    ck_assert_uint_eq(around(c), 2); /* it may have ended */
    ck_assert_uint_eq(perf_span_around(c, found, 1), 1);
    ck_assert_uint_eq(perf_span_around(c, NULL, 0), 0);
    perf_span_end(b);
    ck_assert_uint_eq(around(c), 0); /* not past one that has ended */
    ck_assert_uint_eq(around(other), 1);
    perf_span_end(other);
    perf_span_end(a);
}
END_TEST

START_TEST(test_as_many_as_there_is_room_for)
{
    perf_span chain[MOST + 5] = {begin("0", none)};
    for (int i = 1; i < MOST + 5; i++)
        chain[i] = begin("inner", chain[i - 1]);
    ck_assert_uint_eq(around(chain[MOST + 4]), MOST);
    ck_assert_uint_eq(around(chain[MOST - 1]), MOST - 1);
    ck_assert_str_eq(perf_name_text(found[MOST - 2]), "0");
    for (int i = MOST + 5; i-- > 0;)
        perf_span_end(chain[i]);
}
END_TEST

/* More spans than one group of slots has, so that the last ones lie in others.
 */
START_TEST(test_spans_of_every_group_of_slots_are_found)
{
    static perf_span open[1000];
    for (int i = 0; i < 1000; i++)
        open[i] = begin("many", none);
    perf_span inner = begin("inner", open[999]);
    ck_assert_uint_eq(around(inner), 1);
    ck_assert_str_eq(perf_name_text(found[0]), "many");
    perf_span_end(inner);
    for (int i = 0; i < 1000; i++)
        perf_span_end(open[i]);
}
END_TEST

static void *
in_thread(void *outer)
{
    perf_span inner = begin("inner", *(perf_span *)outer);
    ck_assert_uint_eq(around(inner), 2);
    ck_assert_str_eq(perf_name_text(found[0]), "outer");
    ck_assert_str_eq(perf_name_text(found[1]), "root");
    perf_span_end(inner);
    return NULL;
}

START_TEST(test_spans_of_other_threads_are_found)
{
    perf_span root = begin("root", none), outer = begin("outer", root);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, in_thread, &outer), 0);
    pthread_join(thread, NULL);
    perf_span_end(outer);
    perf_span_end(root);
}
END_TEST

START_TEST(test_a_childs_spans_are_its_own)
{
    perf_span root = begin("root", none);
    pid_t pid = fork();
    if (!pid) {
        perf_span outer = begin("outer", root), inner = begin("inner", outer);
        PT_CHECK_EQ(around(inner), 1); /* the root is the parent process's */
        PT_CHECK(!strcmp(perf_name_text(found[0]), "outer"));
        _exit(0);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    perf_span_end(root);
}
END_TEST

/* Beside threads that fill and empty slots all the time: what is found is
 * right, whole or not at all. */
static void
look_and_record(unsigned index, void *ctx)
{
    perf_span root = *(perf_span *)ctx;
    uint32_t names[2], outer_name = pt_name(PERF_KIND_SPAN, "outer");
    for (int i = 0; i < PT_TIMES(2000); i++) {
        perf_span outer = perf_span_begin(outer_name, root);
        perf_span inner = perf_span_begin(index + PERF_KIND_COUNT, outer);
        ck_assert_uint_eq(perf_span_around(inner, names, 2), 2);
        ck_assert_uint_eq(names[0], outer_name);
        ck_assert_uint_eq(names[1], root.name);
        perf_span_end(inner);
        perf_span_end(outer);
    }
}

START_TEST(test_threads_that_record_meanwhile)
{
    perf_span root = begin("root", none);
    pt_parallel(4, look_and_record, &root);
    perf_span_end(root);
}
END_TEST

int
main(void)
{
    TCase *c = pt_begin("around");
    tcase_add_test(c, test_a_root_has_none_around_it);
    tcase_add_test(c, test_the_parent_comes_first);
    tcase_add_test(c, test_as_many_as_there_is_room_for);
    tcase_add_test(c, test_spans_of_every_group_of_slots_are_found);
    tcase_add_test(c, test_spans_of_other_threads_are_found);
    tcase_add_test(c, test_a_childs_spans_are_its_own);
    tcase_add_test(c, test_threads_that_record_meanwhile);
    return pt_end();
}
