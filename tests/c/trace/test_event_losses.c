/* test_event_losses.c - events that find no room are counted. */
#include "test_event_kit.h"

#include "segment/layout.h"

enum {
    PER_CHUNK = (PERFI_CHUNK - sizeof(perfi_ring_chunk)) / sizeof(perfi_event)
};

START_TEST(test_overrun_is_counted_exactly)
{
    enum { RING = 3, N = RING * 5 * PER_CHUNK + 123 };
    pt_start(0, RING * PERFI_CHUNK);
    perf_events_set_time(1, 0); /* no reading of memory in between */
    perf_reader *early = pt_self();
    for (uint64_t i = 0; i < N; i++)
        write_numbered(i);
    size_t n;
    perf_reader *late = pt_self();
    perf_event *e = events_of(late, 1000, &n);
    ck_assert_uint_eq(n, (RING - 1) * PER_CHUNK + 123);
    ck_assert_uint_eq(n + perf_reader_events_lost(late), N);
    for (size_t i = 0; i < n; i++)
        expect_numbered(&e[i], N - n + i);
    free(e);
    /* reading the records of the same ring does not count them again */
    free(pt_records(late, 10, &n));
    ck_assert_uint_eq(n, 0);
    ck_assert_uint_eq(perf_reader_lost(late), 0);
    ck_assert_uint_eq(perf_reader_events_lost(late),
                      N - (RING - 1) * PER_CHUNK - 123);
    perf_reader_close(late);
    perf_reader_close(early);
    ck_assert_uint_eq(pt_stats().dropped_records, 0);
}
END_TEST

START_TEST(test_overrun_counts_records_and_events_apart)
{
    enum { N = 20000 };
    pt_start(0, 3 * PERFI_CHUNK);
    perf_events_set_time(1, 0); /* as above */
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    for (uint64_t i = 0; i < N; i++) {
        write_numbered(2 * i);
        write_numbered(2 * i + 1);
        perf_span_end(perf_span_begin(name, none));
    }
    perf_reader *reader = pt_self();
    size_t records, events;
    free(pt_records(reader, 10, &records));
    free(events_of(reader, 1000, &events));
    ck_assert_uint_gt(records, 0);
    ck_assert_uint_gt(perf_reader_lost(reader), 0);
    ck_assert_uint_eq(records + perf_reader_lost(reader), N);
    ck_assert_uint_eq(events + perf_reader_events_lost(reader), 2 * N);
    perf_reader_close(reader);
}
END_TEST

START_TEST(test_no_memory_for_a_thread_drops_and_counts)
{
    pt_alloc a;
    perf_segment_config config;
    pt_alloc_init(&a, (uint64_t)_i);
    perf_segment_config_init(&config, sizeof config);
    config.allocator = &a.face;
    ck_assert_int_eq(perf_segment_start(&config), PERF_OK);
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    perf_events_switch(true);
    write_numbered(1);
    perf_span_end(perf_span_begin(name, none));
    write_numbered(2);
    size_t n;
    free(own_events(&n));
    bool enough = _i >= 2; /* a thread takes two */
    ck_assert_uint_eq(n, enough ? 4 : 0);
    /* the span began nowhere: it has no event, and no end */
    ck_assert_uint_eq(pt_stats().dropped_records, enough ? 0 : 3);
    ck_assert_uint_eq(pt_totals_of(name).count, enough);
    ck_assert(!a.wrong_size);
}
END_TEST

START_TEST(test_no_chunk_for_a_ring_drops_and_counts)
{
    enum { N = 10 * PER_CHUNK };
    pt_start(256 << 10, 1 << 20);
    perf_events_set_time(1, 0);
    for (uint64_t i = 0; i < N; i++)
        write_numbered(i);
    perf_reader *reader = pt_self();
    size_t n;
    free(events_of(reader, 100, &n));
    ck_assert_uint_gt(n, 0);
    ck_assert_uint_eq(
        n + perf_reader_events_lost(reader) + pt_stats().dropped_records, N);
    perf_reader_close(reader);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("trace.event_losses");
    tcase_add_test(tests, test_overrun_is_counted_exactly);
    tcase_add_test(tests, test_overrun_counts_records_and_events_apart);
    tcase_add_loop_test(tests, test_no_memory_for_a_thread_drops_and_counts, 0,
                        4);
    tcase_add_test(tests, test_no_chunk_for_a_ring_drops_and_counts);
    return pt_end();
}
