/* test_intern.c - the table of names. */
#include "pt.h"

#include "base/intern.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

START_TEST(test_same_text_and_kind_is_the_same_number)
{
    uint32_t a = pt_name(PERF_KIND_SPAN, "alpha");
    ck_assert_uint_ge(a, PERF_KIND_COUNT);
    ck_assert_uint_eq(pt_name(PERF_KIND_SPAN, "alpha"), a);
    ck_assert_uint_eq(perf_name(PERF_KIND_SPAN, "alphabet", 5), a);
    ck_assert_uint_ne(pt_name(PERF_KIND_SPAN, "alphabet"), a);
    ck_assert_str_eq(perf_name_text(a), "alpha");
    ck_assert_int_eq(perf_name_kind(a), PERF_KIND_SPAN);
}
END_TEST

START_TEST(test_kinds_are_kept_apart)
{
    uint32_t name[PERF_KIND_COUNT];
    for (int kind = 0; kind < PERF_KIND_COUNT; kind++) {
        name[kind] = pt_name((perf_kind)kind, "same");
        ck_assert_int_eq(perf_name_kind(name[kind]), kind);
        ck_assert_str_eq(perf_name_text(name[kind]), "same");
        for (int other = 0; other < kind; other++)
            ck_assert_uint_ne(name[other], name[kind]);
    }
}
END_TEST

START_TEST(test_null_and_empty_are_other)
{
    for (int kind = 0; kind < PERF_KIND_COUNT; kind++) {
        uint32_t name = perf_name((perf_kind)kind, NULL, 5);
        ck_assert_uint_eq(name, (uint32_t)kind);
        ck_assert_uint_eq(perf_name((perf_kind)kind, "x", 0), name);
        ck_assert_str_eq(perf_name_text(name), "(other)");
        ck_assert_int_eq(perf_name_kind(name), kind);
        ck_assert_uint_eq(pt_name((perf_kind)kind, "(other)"), name);
    }
    ck_assert_uint_eq(perfi_names_over(), 0); /* asked for, not lost */
}
END_TEST

START_TEST(test_numbers_never_given_out_are_other)
{
    const uint32_t never[] = {PERF_NAMES_MAX - 1, PERF_NAMES_MAX, UINT32_MAX};
    for (int i = 0; i < 3; i++) {
        ck_assert_str_eq(perf_name_text(never[i]), "(other)");
        ck_assert_int_eq(perf_name_kind(never[i]), PERF_KIND_SPAN);
    }
}
END_TEST

START_TEST(test_invalid_kinds_count_as_span)
{
    uint32_t span = pt_name(PERF_KIND_SPAN, "k");
    ck_assert_uint_eq(pt_name((perf_kind)PERF_KIND_COUNT, "k"), span);
    ck_assert_uint_eq(pt_name((perf_kind)1000000, "k"), span);
    ck_assert_uint_eq(perf_name((perf_kind)99, NULL, 0), PERF_KIND_SPAN);
}
END_TEST

START_TEST(test_long_texts_are_cut_and_counted)
{
    char text[500];
    memset(text, 'x', sizeof text);
    uint32_t exact = perf_name(PERF_KIND_SPAN, text, PERF_TEXT_MAX_BYTES);
    ck_assert_uint_eq(perfi_names_cut(), 0);
    ck_assert_uint_eq(perf_name(PERF_KIND_SPAN, text, sizeof text), exact);
    ck_assert_uint_eq(strlen(perf_name_text(exact)), PERF_TEXT_MAX_BYTES);
    ck_assert_uint_eq(perfi_names_cut(), 1);
}
END_TEST

/* Characters of 1 to 4 bytes that lie across byte 200 in every way. */
START_TEST(test_texts_are_cut_between_characters)
{
    static const char *const characters[] = {"a", "\xC3\xA9", "\xE2\x82\xAC",
                                             "\xF0\x9F\x98\x80"};
    for (size_t width = 1; width <= 4; width++)
        for (size_t lead = 0; lead < width; lead++) {
            char text[300];
            size_t length = lead;
            memset(text, '-', lead);
            while (length + width <= sizeof text) {
                memcpy(text + length, characters[width - 1], width);
                length += width;
            }
            uint32_t name = perf_name(PERF_KIND_TEXT, text, length);
            size_t whole = lead + (PERF_TEXT_MAX_BYTES - lead) / width * width;
            ck_assert_uint_eq(strlen(perf_name_text(name)), whole);
            ck_assert_int_eq(memcmp(perf_name_text(name), text, whole), 0);
        }
}
END_TEST

START_TEST(test_bytes_that_are_not_utf8_are_cut_where_they_are)
{
    char text[300];
    memset(text, 0x80, sizeof text);
    uint32_t name = perf_name(PERF_KIND_TEXT, text, sizeof text);
    ck_assert_uint_eq(strlen(perf_name_text(name)), PERF_TEXT_MAX_BYTES);
}
END_TEST

static void
fill_the_table(void *ctx)
{
    (void)ctx;
    char text[32];
    for (uint32_t i = 0; i < 10000; i++) {
        int n = snprintf(text, sizeof text, "name %u", i);
        uint32_t name = perf_name(PERF_KIND_TOOL, text, (size_t)n);
        bool fits = i < PERF_NAMES_MAX - PERF_KIND_COUNT;
        PT_CHECK_EQ(name, fits ? i + PERF_KIND_COUNT : PERF_KIND_TOOL);
        PT_CHECK(!strcmp(perf_name_text(name), fits ? text : "(other)"));
        PT_CHECK_EQ(perf_name_kind(name), PERF_KIND_TOOL);
    }
    PT_CHECK_EQ(perfi_names_over(), 10000 - (PERF_NAMES_MAX - PERF_KIND_COUNT));
    PT_CHECK_EQ(pt_name(PERF_KIND_GAUGE, "late"), PERF_KIND_GAUGE);
    /* those that were there are still found */
    PT_CHECK_EQ(pt_name(PERF_KIND_TOOL, "name 7"), 7 + PERF_KIND_COUNT);
    perf_segment_stats stats = pt_stats(); /* no segment yet: nothing */
    PT_CHECK_EQ(stats.names_over, 0);
    perf_span_end(perf_span_begin(PERF_KIND_SPAN, (perf_span){0}));
    stats = pt_stats();
    PT_CHECK_EQ(stats.names_over, perfi_names_over());
}

START_TEST(test_table_is_bounded_and_says_so_once)
{
    ck_assert_uint_eq(pt_run_well(fill_the_table, NULL), 1);
}
END_TEST

START_TEST(test_libperf_quiet_silences_the_warning)
{
    setenv("LIBPERF_QUIET", "1", 1);
    ck_assert_uint_eq(pt_run_well(fill_the_table, NULL), 0);
    setenv("LIBPERF_QUIET", "0", 1);
    ck_assert_uint_eq(pt_run_well(fill_the_table, NULL), 1);
}
END_TEST

enum { THREADS = 4, NAMES = 3000 };

static void
intern_all(unsigned index, void *ctx)
{
    uint32_t(*found)[NAMES] = ctx;
    char text[32];
    for (uint32_t i = 0; i < NAMES; i++) {
        uint32_t k = (i * 7 + index * 751) % NAMES; /* each in its own order */
        int n = snprintf(text, sizeof text, "n%u", k);
        uint32_t name = perf_name(PERF_KIND_NODE, text, (size_t)n);
        ck_assert_str_eq(perf_name_text(name), text);
        found[index][k] = name;
    }
}

START_TEST(test_threads_agree_on_numbers)
{
    uint32_t(*found)[NAMES] = calloc(THREADS, sizeof *found);
    bool *seen = calloc(PERF_NAMES_MAX, 1);
    pt_parallel(THREADS, intern_all, found);
    for (uint32_t i = 0; i < NAMES; i++) {
        for (int t = 1; t < THREADS; t++)
            ck_assert_uint_eq(found[t][i], found[0][i]);
        ck_assert(!seen[found[0][i]]);
        seen[found[0][i]] = true;
    }
    free(seen);
    free(found);
}
END_TEST

static _Atomic bool stop;

static void *
intern_without_end(void *ctx)
{
    (void)ctx;
    for (int i = 0; !atomic_load(&stop); i++)
        pt_name(PERF_KIND_SPAN, i & 1 ? "one" : "two");
    return NULL;
}

/* Before any segment: nothing but names has been asked of the library. */
static void
fork_while_others_intern(void *ctx)
{
    (void)ctx;
    pthread_t busy[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&busy[i], NULL, intern_without_end, NULL);
    for (int i = 0; i < 300; i++) {
        pid_t pid = fork();
        if (!pid) {
            alarm(20); /* a lock that nobody can give back any more */
            _exit(pt_name(PERF_KIND_SPAN, "three") >= PERF_KIND_COUNT ? 0 : 1);
        }
        int status;
        PT_CHECK_EQ(waitpid(pid, &status, 0), pid);
        PT_CHECK_EQ(status, 0);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 2; i++)
        pthread_join(busy[i], NULL);
}

START_TEST(test_fork_while_others_intern_leaves_the_child_working)
{
    pt_run_well(fork_while_others_intern, NULL);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("base.intern");
    tcase_add_test(tests, test_same_text_and_kind_is_the_same_number);
    tcase_add_test(tests, test_kinds_are_kept_apart);
    tcase_add_test(tests, test_null_and_empty_are_other);
    tcase_add_test(tests, test_numbers_never_given_out_are_other);
    tcase_add_test(tests, test_invalid_kinds_count_as_span);
    tcase_add_test(tests, test_long_texts_are_cut_and_counted);
    tcase_add_test(tests, test_texts_are_cut_between_characters);
    tcase_add_test(tests, test_bytes_that_are_not_utf8_are_cut_where_they_are);
    tcase_add_test(tests, test_table_is_bounded_and_says_so_once);
    tcase_add_test(tests, test_libperf_quiet_silences_the_warning);
    tcase_add_test(tests, test_threads_agree_on_numbers);
    if (!PT_SANITIZED) /* whose own malloc a fork beside threads may block */
        tcase_add_test(tests,
                       test_fork_while_others_intern_leaves_the_child_working);
    return pt_end();
}
