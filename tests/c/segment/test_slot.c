/* test_slot.c - open spans are visible, up to 1,024 in a thread. */
#include "pt.h"

#include "segment/layout.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

enum { SLOTS = PERFI_SLOT_GROUPS * PERFI_GROUP_SLOTS };

static size_t
count_open(void)
{
    perf_reader *reader = pt_self();
    size_t n = perf_reader_open_spans(reader, NULL, 0);
    perf_reader_close(reader);
    return n;
}

static perf_span *
begin_many(size_t n)
{
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    perf_span *span = calloc(n, sizeof *span);
    for (size_t i = 0; i < n; i++)
        span[i] = perf_span_begin_at(name, (perf_span){0}, (uint32_t)i, 1 + i);
    return span;
}

START_TEST(test_open_spans_are_visible_until_they_end)
{
    uint32_t name = pt_name(PERF_KIND_TOOL, "search");
    perf_span root = perf_span_begin(name, (perf_span){0});
    perf_span child = perf_span_begin_at(name, root, 42, perf_clock_ticks());
    perf_record seen[4];
    perf_reader *reader = pt_self();
    ck_assert_uint_eq(perf_reader_open_spans(reader, seen, 4), 2);
    const perf_record *r = seen[0].id == root.id ? &seen[0] : &seen[1];
    const perf_record *c = r == seen ? &seen[1] : &seen[0];
    ck_assert_uint_eq(r->id, root.id);
    ck_assert_uint_eq(r->parent, 0);
    ck_assert_uint_eq(r->type, PERF_RECORD_SPAN);
    ck_assert_uint_eq(r->end_ns, 0);
    ck_assert_uint_eq(c->id, child.id);
    ck_assert_uint_eq(c->parent, root.id);
    ck_assert_uint_eq(c->name, name);
    ck_assert_uint_eq(c->task, 42);
    ck_assert_uint_eq(c->thread, (uint32_t)getpid()); /* the first thread's */
    ck_assert_uint_eq(c->trace_hi, root.trace_hi);
    ck_assert_uint_eq(c->trace_lo, root.trace_lo);
    ck_assert_uint_ge(c->start_ns + 1000, r->start_ns);
    perf_span_end(child);
    ck_assert_uint_eq(perf_reader_open_spans(reader, seen, 4), 2); /* a copy */
    ck_assert_int_eq(perf_reader_refresh_blocking(reader), PERF_OK);
    ck_assert_uint_eq(perf_reader_open_spans(reader, seen, 4), 1);
    ck_assert_uint_eq(seen[0].id, root.id);
    perf_span_end(root);
    ck_assert_uint_eq(count_open(), 0);
    perf_reader_close(reader);
}
END_TEST

START_TEST(test_open_spans_says_how_many_there_are_without_room)
{
    perf_span *span = begin_many(100);
    perf_record seen[11];
    seen[10].id = 1234567;
    perf_reader *reader = pt_self();
    ck_assert_uint_eq(perf_reader_open_spans(reader, seen, 10), 100);
    ck_assert_uint_eq(seen[10].id, 1234567);
    ck_assert_uint_ne(seen[9].id, 0);
    ck_assert_uint_eq(perf_reader_open_spans(reader, NULL, 100), 100);
    perf_reader_close(reader);
    free(span);
}
END_TEST

START_TEST(test_more_than_1024_open_spans_are_recorded_and_counted)
{
    enum { N = SLOTS + 300 };
    perf_span *span = begin_many(N);
    uint32_t key = pt_name(PERF_KIND_KEY, "k");
    ck_assert_uint_eq(count_open(), SLOTS);
    ck_assert_uint_eq(pt_stats().spans_unseen, 300);
    ck_assert(perf_span_set_int(span[0], key, 1));
    ck_assert(!perf_span_set_int(span[N - 1], key, 1));
    ck_assert_uint_eq(pt_stats().dropped_attributes, 1);
    for (int i = 0; i < N; i++)
        perf_span_end(span[i]);
    ck_assert_uint_eq(pt_totals_of(span[0].name).count, N);
    ck_assert_uint_eq(count_open(), 0);
    perf_reader *reader = pt_self();
    size_t n;
    perf_record *records = pt_records(reader, 100, &n);
    ck_assert_uint_eq(n, N);
    for (uint32_t i = 0; i < N; i++)
        ck_assert_uint_eq(records[i].task, i);
    free(records);
    perf_reader_close(reader);
    free(span);
    /* and now there is room again for all */
    span = begin_many(SLOTS);
    ck_assert_uint_eq(count_open(), SLOTS);
    ck_assert_uint_eq(pt_stats().spans_unseen, 300);
    free(span);
}
END_TEST

typedef struct handed {
    perf_span *span;
    size_t n;
} handed;

static void *
end_them(void *ctx)
{
    const handed *h = ctx;
    for (size_t i = 0; i < h->n; i++)
        perf_span_end(h->span[i]);
    return NULL;
}

START_TEST(test_slots_come_back_from_spans_ended_in_other_threads)
{
    for (int round = 0; round < 20; round++) {
        handed h = {begin_many(SLOTS), SLOTS};
        ck_assert_uint_eq(count_open(), SLOTS);
        pthread_t id;
        pthread_create(&id, NULL, end_them, &h);
        pthread_join(id, NULL);
        ck_assert_uint_eq(count_open(), 0);
        free(h.span);
    }
    ck_assert_uint_eq(pt_stats().spans_unseen, 0);
    ck_assert_uint_eq(pt_totals_of(pt_name(PERF_KIND_SPAN, "s")).count,
                      20 * SLOTS);
}
END_TEST

/* Slots free up one by one in random order: none is given out twice. */
START_TEST(test_slots_are_given_to_one_span_at_a_time)
{
    enum { N = 1500, STEPS = 20000 };
    perf_span *span = begin_many(N);
    bool *ended = calloc(N, 1);
    pt_random random = {8};
    uint64_t total = N;
    for (int i = 0; i < STEPS; i++) {
        size_t k = pt_below(&random, N);
        if (!ended[k])
            perf_span_end(span[k]);
        else {
            span[k] = perf_span_begin(span[k].name, (perf_span){0});
            total++;
        }
        ended[k] = !ended[k];
    }
    perf_record *seen = calloc(SLOTS, sizeof *seen);
    perf_reader *reader = pt_self();
    size_t open = perf_reader_open_spans(reader, seen, SLOTS);
    perf_reader_close(reader);
    size_t visible = 0;
    for (size_t k = 0; k < N; k++) {
        size_t found = 0;
        for (size_t i = 0; i < open; i++)
            found += seen[i].id == span[k].id;
        PT_ASSERT(found <= !ended[k]);
        visible += found;
    }
    PT_ASSERT(visible == open);
    PT_ASSERT(open > SLOTS / 4);
    for (size_t k = 0; k < N; k++)
        if (!ended[k])
            perf_span_end(span[k]);
    PT_ASSERT(pt_totals_of(span[0].name).count == total);
    PT_ASSERT(count_open() == 0);
    free(seen);
    free(ended);
    free(span);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("segment.slot");
    tcase_add_test(tests, test_open_spans_are_visible_until_they_end);
    tcase_add_test(tests, test_open_spans_says_how_many_there_are_without_room);
    tcase_add_test(tests,
                   test_more_than_1024_open_spans_are_recorded_and_counted);
    tcase_add_test(tests,
                   test_slots_come_back_from_spans_ended_in_other_threads);
    tcase_add_test(tests, test_slots_are_given_to_one_span_at_a_time);
    return pt_end();
}
