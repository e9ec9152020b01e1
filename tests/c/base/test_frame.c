/* test_frame.c - the table of frames: the same stack is the same number, in
 * every thread, whatever becomes of segments. */
#include "pt.h"

#include "base/frame.h"
#include "base/text.h"

#include <libperf/frame.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static uint32_t
frame(uint32_t caller, const char *function, uint32_t line)
{
    return perf_frame(caller, function, strlen(function), "app.py", 6, line);
}

START_TEST(test_equal_frames_are_one_number)
{
    uint32_t main = frame(0, "main", 1);
    ck_assert_uint_eq(main, 1);
    ck_assert_uint_eq(frame(0, "main", 1), main);
    uint32_t load = frame(main, "load", 7);
    ck_assert_uint_eq(load, 2);
    ck_assert_uint_eq(frame(main, "load", 7), load);
    ck_assert_uint_eq(frame(main, "load", 8), 3);
    ck_assert_uint_eq(frame(0, "load", 7), 4);
    ck_assert_uint_eq(perf_frame(main, "load", 4, "other.py", 8, 7), 5);
    ck_assert_uint_eq(perf_frame(main, "loadapp", 7, ".py", 3, 7), 6);
    ck_assert_uint_eq(perf_frames_over(), 0);
}
END_TEST

START_TEST(test_what_is_not_known_is_a_frame_too)
{
    uint32_t nothing = perf_frame(0, NULL, 5, NULL, 9, 0);
    ck_assert_uint_eq(nothing, 1);
    ck_assert_uint_eq(perf_frame(0, "", 0, "", 0, 0), nothing);
    /* a caller that was never given out is none */
    ck_assert_uint_eq(perf_frame(77, NULL, 0, NULL, 0, 0), nothing);
    ck_assert_uint_eq(perf_frame(UINT32_MAX, "", 0, "", 0, 0), nothing);
}
END_TEST

START_TEST(test_long_texts_are_cut_where_they_matter_least)
{
    char text[301];
    memset(text, 'x', sizeof text);
    text[0] = 'a', text[300] = 'z';
    uint32_t whole = perf_frame(0, text, 301, text, 301, 1);
    ck_assert_uint_eq(perf_frame(0, text, 200, text + 101, 200, 1), whole);
    ck_assert_uint_ne(perf_frame(0, text, 199, text + 101, 200, 1), whole);
}
END_TEST

/* Characters of 1 to 4 bytes that lie across the first byte that is kept. */
START_TEST(test_fronts_are_cut_between_characters)
{
    static const char *const characters[] = {"a", "\xC3\xA9", "\xE2\x82\xAC",
                                             "\xF0\x9F\x98\x80"};
    for (size_t width = 1; width <= 4; width++)
        for (size_t tail = 0; tail < width; tail++) {
            char text[300];
            size_t length = 0;
            while (length + width + tail <= sizeof text) {
                memcpy(text + length, characters[width - 1], width);
                length += width;
            }
            memset(text + length, '-', tail);
            length += tail;
            size_t from = perfi_text_cut_front(text, length, 200);
            ck_assert_uint_eq(from % width, 0);
            ck_assert_uint_le(length - from, 200);
            ck_assert_uint_gt(length - from, 200 - width);
        }
    char noise[300];
    memset(noise, 0x80, sizeof noise);
    ck_assert_uint_eq(perfi_text_cut_front(noise, 300, 200), 100);
    ck_assert_uint_eq(perfi_text_cut_front(noise, 200, 200), 0);
}
END_TEST

/* Beside a naive list: random trees, with what was there before. */
START_TEST(test_random_trees_agree_with_a_list)
{
    enum { N = 4000, DEEDS = 40000 };
    typedef struct one {
        uint32_t caller, function, line;
    } one;
    one *list = calloc(N + 1, sizeof *list);
    uint32_t count = 0;
    pt_random random = {(uint64_t)_i};
    for (int i = 0; i < PT_TIMES(DEEDS); i++) {
        one wanted = {(uint32_t)pt_below(&random, count + 1),
                      (uint32_t)pt_below(&random, 30),
                      (uint32_t)pt_below(&random, 3)};
        if (wanted.caller > 40)
            wanted.caller = (uint32_t)pt_below(&random, 40);
        uint32_t known = 0;
        for (uint32_t k = 1; k <= count && !known; k++)
            known = memcmp(&list[k], &wanted, sizeof wanted) ? 0 : k;
        if (!known && count == N)
            continue;
        if (!known)
            list[known = ++count] = wanted;
        char text[16];
        snprintf(text, sizeof text, "f%u", wanted.function);
        PT_ASSERT(frame(wanted.caller, text, wanted.line) == known);
    }
    ck_assert_uint_gt(count, 1000);
    free(list);
}
END_TEST

/* ---- no room ---- */

START_TEST(test_frames_are_bounded_and_counted)
{
    uint32_t main = frame(0, "main", 1);
    for (uint32_t i = 2; i <= PERF_FRAMES_MAX; i++)
        PT_ASSERT(frame(main, "f", i) == i);
    ck_assert_uint_eq(perf_frames_over(), 0);
    ck_assert_uint_eq(frame(main, "f", PERF_FRAMES_MAX + 1), main);
    ck_assert_uint_eq(frame(7, "g", 1), 7);
    ck_assert_uint_eq(frame(0, "g", 1), 0);
    ck_assert_uint_eq(perf_frames_over(), 3);
    /* those that were there are still found */
    ck_assert_uint_eq(frame(main, "f", 1234), 1234);
    ck_assert_uint_eq(perf_frames_over(), 3);
    ck_assert_uint_eq(pt_stats().frames_over, 0); /* there is no segment */
}
END_TEST

START_TEST(test_functions_are_bounded_and_counted)
{
    char text[16];
    for (uint32_t i = 1; i <= PERFI_FUNCTIONS_MAX; i++) {
        snprintf(text, sizeof text, "f%u", i);
        PT_ASSERT(frame(0, text, 1) == i);
    }
    ck_assert_uint_eq(frame(3, "one more", 1), 3);
    ck_assert_uint_eq(perf_frames_over(), 1);
    ck_assert_uint_eq(frame(3, "f9", 1), PERFI_FUNCTIONS_MAX + 1);
}
END_TEST

/* ---- what it is written to ---- */

static uint32_t functions_seen, frames_seen, room = UINT32_MAX;

static bool
take_function(const perfi_function_texts *f)
{
    ck_assert_uint_eq(f->file_length, 6);
    if (functions_seen + frames_seen >= room)
        return false;
    functions_seen++;
    return true;
}

static bool
take_frame(uint32_t caller, uint32_t function, uint32_t line)
{
    (void)line;
    if (functions_seen + frames_seen >= room)
        return false;
    ck_assert_uint_le(caller, frames_seen);
    ck_assert_uint_le(function, functions_seen);
    frames_seen++;
    return true;
}

static const perfi_frame_sink sink = {take_function, take_frame};

START_TEST(test_what_was_there_before_is_written_too)
{
    uint32_t main = frame(0, "main", 1);
    frame(main, "a", 1);
    perfi_frames_publish(&sink);
    ck_assert_uint_eq(functions_seen, 2);
    ck_assert_uint_eq(frames_seen, 2);
    frame(main, "a", 2);
    ck_assert_uint_eq(functions_seen, 2);
    ck_assert_uint_eq(frames_seen, 3);
    frame(main, "a", 2);
    ck_assert_uint_eq(frames_seen, 3);
}
END_TEST

START_TEST(test_only_what_is_written_is_given_out)
{
    perfi_frames_publish(&sink);
    room = 3;
    uint32_t main = frame(0, "main", 1);
    ck_assert_uint_eq(main, 1);
    ck_assert_uint_eq(frame(main, "a", 1), main); /* room for its function */
    ck_assert_uint_eq(perf_frames_over(), 1);
    ck_assert_uint_eq(functions_seen, 2);
    ck_assert_uint_eq(frames_seen, 1);
    room = 4;
    uint32_t a = frame(main, "a", 1);
    ck_assert_uint_eq(a, 2);
    ck_assert_uint_eq(frame(a, "b", 1), a);
    ck_assert_uint_eq(frame(a, "c", 1), a);
    ck_assert_uint_eq(perf_frames_over(), 3);
    room = UINT32_MAX;
    ck_assert_uint_eq(frame(a, "c", 1), 3);
    ck_assert_uint_eq(perf_frames_over(), 3);
}
END_TEST

/* As after a fork: the next segment may be smaller. */
START_TEST(test_a_sink_without_room_for_what_there_is)
{
    uint32_t main = frame(0, "main", 1), a = frame(main, "main", 2),
             b = frame(a, "main", 3);
    room = 3; /* main(), and two lines of it */
    perfi_frames_publish(&sink);
    ck_assert_uint_eq(frames_seen, 2);
    ck_assert_uint_eq(frame(a, "main", 3), a);
    ck_assert_uint_eq(frame(b, "main", 4), a);
    ck_assert_uint_eq(perf_frames_over(), 2);
    room = UINT32_MAX;
    ck_assert_uint_eq(frame(b, "main", 4), 4);
    ck_assert_uint_eq(frame(a, "main", 3), b);
    ck_assert_uint_eq(frames_seen, 4);
}
END_TEST

/* ---- threads and forks ---- */

enum { THREADS = 4, FRAMES = 3000 };

static void
ask_all(unsigned index, void *ctx)
{
    uint32_t(*found)[FRAMES] = ctx;
    char text[16];
    uint32_t main = frame(0, "main", 1);
    for (uint32_t i = 0; i < FRAMES; i++) {
        uint32_t k = (i * 7 + index * 751) % FRAMES; /* each in its own order */
        snprintf(text, sizeof text, "f%u", k % 100);
        found[index][k] = frame(main, text, k);
    }
}

START_TEST(test_threads_agree_on_numbers)
{
    uint32_t(*found)[FRAMES] = calloc(THREADS, sizeof *found);
    bool *seen = calloc(FRAMES + 2, 1);
    pt_parallel(THREADS, ask_all, found);
    for (uint32_t i = 0; i < FRAMES; i++) {
        for (int t = 1; t < THREADS; t++)
            PT_ASSERT(found[t][i] == found[0][i]);
        PT_ASSERT(found[0][i] <= FRAMES + 1 && !seen[found[0][i]]);
        seen[found[0][i]] = true;
    }
    free(seen);
    free(found);
}
END_TEST

static _Atomic bool stop;

static void *
ask_without_end(void *ctx)
{
    (void)ctx;
    for (uint32_t i = 0; !atomic_load(&stop); i++)
        frame(0, i & 1 ? "one" : "two", i % 1000);
    return NULL;
}

static void
fork_while_others_ask(void *ctx)
{
    (void)ctx;
    pthread_t busy[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&busy[i], NULL, ask_without_end, NULL);
    for (int i = 0; i < 300; i++) {
        uint32_t number = frame(0, "three", (uint32_t)i);
        pid_t pid = fork();
        if (!pid) {
            alarm(20); /* a lock that nobody can give back any more */
            _exit(frame(0, "three", (uint32_t)i) == number ? 0 : 1);
        }
        int status;
        PT_CHECK_EQ(waitpid(pid, &status, 0), pid);
        PT_CHECK_EQ(status, 0);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 2; i++)
        pthread_join(busy[i], NULL);
}

START_TEST(test_fork_while_others_ask_leaves_the_child_working)
{
    pt_run_well(fork_while_others_ask, NULL);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("base.frame");
    tcase_add_test(tests, test_equal_frames_are_one_number);
    tcase_add_test(tests, test_what_is_not_known_is_a_frame_too);
    tcase_add_test(tests, test_long_texts_are_cut_where_they_matter_least);
    tcase_add_test(tests, test_fronts_are_cut_between_characters);
    tcase_add_loop_test(tests, test_random_trees_agree_with_a_list, 0, 3);
    tcase_add_test(tests, test_frames_are_bounded_and_counted);
    tcase_add_test(tests, test_functions_are_bounded_and_counted);
    tcase_add_test(tests, test_what_was_there_before_is_written_too);
    tcase_add_test(tests, test_only_what_is_written_is_given_out);
    tcase_add_test(tests, test_a_sink_without_room_for_what_there_is);
    tcase_add_test(tests, test_threads_agree_on_numbers);
    if (!PT_SANITIZED) /* whose own malloc a fork beside threads may block */
        tcase_add_test(tests,
                       test_fork_while_others_ask_leaves_the_child_working);
    return pt_end();
}
