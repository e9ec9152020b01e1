/* test_exemplar.c - the slowest span of each name and class. */
#include "pt.h"

#include <libperf/exemplar.h>
#include <libperf/span.h>
#include <stdlib.h>

enum { BOUNDS = 3 };
static const uint64_t bounds[BOUNDS] = {1000, 1000000, 1000000000};

static perf_exemplars *
make(void)
{
    perf_exemplars *e = NULL;
    ck_assert_int_eq(perf_exemplars_create(NULL, bounds, BOUNDS, &e), PERF_OK);
    return e;
}

static void
take(perf_exemplars *e, perf_reader *reader)
{
    ck_assert_int_eq(perf_exemplars_take_blocking(e, reader, UINT64_MAX),
                     PERF_OK);
}

/* A span that began now and lasts so long. Returns its id. */
static uint64_t
call(uint32_t name, uint64_t ns, uint64_t paused_ns)
{
    perf_span none = {0};
    uint64_t from = perf_clock_ticks();
    uint64_t to = perf_clock_ns_to_ticks(perf_clock_ticks_to_ns(from) + ns);
    perf_span span = perf_span_begin_at(name, none, 0, from);
    perf_span_end_at(span, PERF_STATUS_OK, paused_ns, to);
    return span.id;
}

START_TEST(test_each_class_has_its_slowest)
{
    perf_exemplars *e = make();
    uint32_t name = pt_name(PERF_KIND_SPAN, "load");
    uint32_t other = pt_name(PERF_KIND_LLM, "load");
    uint32_t silent = pt_name(PERF_KIND_SPAN, "never called");
    call(name, 20000, 0);
    uint64_t slow = call(name, 900000, 0);
    call(name, 800000, 0);
    uint64_t slowest = call(name, UINT64_C(5000000000), 0);
    uint64_t model = call(other, 300, 0);
    perf_metric_add(pt_name(PERF_KIND_COUNTER, "n"), 1);
    perf_reader *reader = pt_self();
    take(e, reader);
    const perf_exemplar *of = perf_exemplars_of(e, name);
    ck_assert_ptr_nonnull(of);
    ck_assert_uint_eq(of[0].id, 0);
    ck_assert_uint_eq(of[1].id, slow);
    ck_assert_uint_eq(of[2].id, 0);
    ck_assert_uint_eq(of[3].id, slowest);
    ck_assert_uint_ge(of[1].duration_ns, 899000);
    ck_assert_uint_le(of[1].duration_ns, 901000);
    ck_assert(of[1].trace_hi || of[1].trace_lo);
    ck_assert_uint_gt(of[1].end_ns, 0);
    ck_assert_uint_eq(perf_exemplars_of(e, other)[0].id, model);
    ck_assert_ptr_null(perf_exemplars_of(e, silent));
    ck_assert_ptr_null(perf_exemplars_of(e, PERF_NAMES_MAX));
    perf_exemplars_clear(e);
    ck_assert_ptr_null(perf_exemplars_of(e, name));
    take(e, reader); /* its records are given out once */
    ck_assert_ptr_null(perf_exemplars_of(e, name));
    perf_reader_close(reader);
    perf_exemplars_destroy(e);
}
END_TEST

START_TEST(test_pauses_do_not_count)
{
    perf_exemplars *e = make();
    uint32_t name = pt_name(PERF_KIND_SPAN, "numbers");
    uint64_t id = call(name, UINT64_C(2000000000), 1999500000);
    uint64_t all = call(name, 700, 100000); /* more than there was */
    perf_reader *reader = pt_self();
    take(e, reader);
    const perf_exemplar *of = perf_exemplars_of(e, name);
    ck_assert_uint_eq(of[0].id, all);
    ck_assert_uint_eq(of[0].duration_ns, 0);
    ck_assert_uint_eq(of[1].id, id);
    ck_assert_uint_eq(of[2].id, 0);
    ck_assert_uint_eq(of[3].id, 0);
    perf_reader_close(reader);
    perf_exemplars_destroy(e);
}
END_TEST

START_TEST(test_logs_and_open_spans_are_none)
{
    perf_exemplars *e = make();
    uint32_t name = pt_name(PERF_KIND_SPAN, "open");
    perf_span none = {0}, span = perf_span_begin(name, none);
    perf_span_log(span, 2, "line", 4);
    perf_reader *reader = pt_self();
    take(e, reader);
    ck_assert_ptr_null(perf_exemplars_of(e, name));
    perf_span_end(span);
    perf_reader_close(reader);
    perf_exemplars_destroy(e);
}
END_TEST

START_TEST(test_so_many_records_and_no_more)
{
    perf_exemplars *e = make();
    uint32_t first = pt_name(PERF_KIND_SPAN, "first");
    uint32_t last = pt_name(PERF_KIND_SPAN, "last");
    for (int i = 0; i < 1000; i++)
        call(first, 1, 0);
    call(last, 1, 0);
    perf_reader *reader = pt_self();
    ck_assert_int_eq(perf_exemplars_take_blocking(e, reader, 0), PERF_OK);
    ck_assert_ptr_null(perf_exemplars_of(e, first));
    ck_assert_int_eq(perf_exemplars_take_blocking(e, reader, 100), PERF_OK);
    ck_assert_ptr_nonnull(perf_exemplars_of(e, first));
    ck_assert_ptr_null(perf_exemplars_of(e, last));
    take(e, reader); /* goes on */
    ck_assert_ptr_nonnull(perf_exemplars_of(e, last));
    perf_reader_close(reader);
    perf_exemplars_destroy(e);
}
END_TEST

START_TEST(test_no_bounds_are_one_class)
{
    perf_exemplars *e = NULL;
    ck_assert_int_eq(perf_exemplars_create(NULL, NULL, 0, &e), PERF_OK);
    uint32_t name = pt_name(PERF_KIND_SPAN, "any");
    call(name, 5, 0);
    uint64_t id = call(name, 500000, 0);
    call(name, 50, 0);
    perf_reader *reader = pt_self();
    take(e, reader);
    ck_assert_uint_eq(perf_exemplars_of(e, name)->id, id);
    perf_reader_close(reader);
    perf_exemplars_destroy(e);
}
END_TEST

START_TEST(test_a_bound_belongs_to_the_class_below)
{
    enum { N = 200 };
    uint64_t each[N];
    perf_exemplars *e;
    for (uint64_t i = 0; i < N; i++)
        each[i] = i * 10;
    ck_assert_int_eq(perf_exemplars_create(NULL, each, N, &e), PERF_OK);
    uint32_t name = pt_name(PERF_KIND_SPAN, "any");
    for (uint64_t ns = 0; ns < N * 10; ns += 7)
        call(name, ns, 0);
    perf_reader *reader = pt_self();
    take(e, reader);
    const perf_exemplar *of = perf_exemplars_of(e, name);
    size_t found = 0;
    for (size_t i = 0; i <= N; i++)
        if (of[i].id) {
            found++;
            ck_assert(i == 0 || of[i].duration_ns > each[i - 1]);
            ck_assert(i == N || of[i].duration_ns <= each[i]);
        }
    ck_assert_uint_gt(found, N / 2);
    perf_reader_close(reader);
    perf_exemplars_destroy(e);
}
END_TEST

START_TEST(test_what_is_refused)
{
    const uint64_t falling[] = {2, 1};
    perf_exemplars *e = make();
    perf_exemplars *none = e;
    ck_assert_int_eq(perf_exemplars_create(NULL, bounds, BOUNDS, NULL),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_exemplars_create(NULL, NULL, 1, &none),
                     PERF_ERR_INVALID);
    ck_assert_ptr_null(none);
    ck_assert_int_eq(perf_exemplars_create(NULL, falling, 2, &none),
                     PERF_ERR_RANGE);
    ck_assert_int_eq(perf_exemplars_take_blocking(e, NULL, 1),
                     PERF_ERR_INVALID);
    ck_assert_int_eq(perf_exemplars_take_blocking(NULL, NULL, 1),
                     PERF_ERR_INVALID);
    ck_assert_ptr_null(perf_exemplars_of(NULL, 1));
    perf_exemplars_clear(NULL);
    perf_exemplars_destroy(NULL);
    perf_exemplars_destroy(e);
}
END_TEST

START_TEST(test_memory_that_is_not_there)
{
    for (int i = 0; i < 10; i++)
        call(pt_name(PERF_KIND_SPAN, &"abcdefghij"[i]), 1, 0);
    for (uint64_t allowed = 0; allowed <= 12; allowed++) {
        pt_alloc memory;
        perf_exemplars *e;
        perf_reader *reader = pt_self();
        pt_alloc_init(&memory, allowed);
        perf_err err = perf_exemplars_create(&memory.face, bounds, BOUNDS, &e);
        ck_assert_int_eq(err, allowed ? PERF_OK : PERF_ERR_NOMEM);
        if (!err)
            ck_assert_int_eq(
                perf_exemplars_take_blocking(e, reader, UINT64_MAX),
                allowed > 10 ? PERF_OK : PERF_ERR_NOMEM);
        perf_exemplars_destroy(e);
        perf_reader_close(reader);
        ck_assert_uint_eq(memory.live, 0);
        ck_assert(!memory.wrong_size);
    }
}
END_TEST

static void
check_classes(const perf_exemplar *of)
{
    for (int i = 0; of && i <= BOUNDS; i++)
        PT_ASSERT(!of[i].id ||
                  ((i == 0 || of[i].duration_ns > bounds[i - 1]) &&
                   (i == BOUNDS || of[i].duration_ns <= bounds[i])));
}

/* Bytes of a segment, any of them wrong: what is found is bounded. */
START_TEST(test_a_spoiled_segment)
{
    for (int i = 0; i < 300; i++)
        call(pt_name(PERF_KIND_SPAN, &"abcdefghij"[i % 10]), 1,
             (uint64_t)i % 3);
    size_t size;
    unsigned char *bytes = pt_segment_bytes(&size);
    perf_exemplars *e = make();
    pt_random random = {7};
    for (int i = 0; i < PT_TIMES(400); i++) {
        perf_reader *reader;
        size_t at[16];
        unsigned char was[16];
        for (int k = 0; k < 16; k++) {
            at[k] = pt_below(&random, size);
            was[k] = bytes[at[k]];
            bytes[at[k]] = (unsigned char)pt_next(&random);
        }
        if (!perf_reader_open_bytes(bytes, size, NULL, &reader)) {
            take(e, reader);
            for (uint32_t name = 0; name < PERF_NAMES_MAX; name++)
                check_classes(perf_exemplars_of(e, name));
            perf_exemplars_clear(e);
            perf_reader_close(reader);
        }
        for (int k = 16; k--;)
            bytes[at[k]] = was[k];
    }
    perf_exemplars_destroy(e);
    free(bytes);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("profiler.exemplar");
    tcase_add_test(tests, test_each_class_has_its_slowest);
    tcase_add_test(tests, test_pauses_do_not_count);
    tcase_add_test(tests, test_logs_and_open_spans_are_none);
    tcase_add_test(tests, test_so_many_records_and_no_more);
    tcase_add_test(tests, test_no_bounds_are_one_class);
    tcase_add_test(tests, test_a_bound_belongs_to_the_class_below);
    tcase_add_test(tests, test_what_is_refused);
    tcase_add_test(tests, test_memory_that_is_not_there);
    tcase_add_test(tests, test_a_spoiled_segment);
    return pt_end();
}
