/* test_memory.c - what a long-running program keeps in memory does not grow. */
#include "pt.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static size_t
resident_bytes(void)
{
    unsigned long size, resident;
    FILE *file = fopen("/proc/self/statm", "r");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%lu %lu", &size, &resident), 2);
    fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static void
record_spans(int n)
{
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    uint32_t key = pt_name(PERF_KIND_KEY, "k");
    uint32_t counter = pt_name(PERF_KIND_COUNTER, "c");
    for (int i = 0; i < n; i++) {
        perf_span span = perf_span_begin(name, (perf_span){0});
        perf_span_set_int(span, key, i);
        perf_span_end(span);
        perf_metric_add(counter, 1);
    }
}

START_TEST(test_a_million_spans_leave_memory_flat)
{
    record_spans(100000); /* the ring is full: 4 MiB are 65,535 spans */
    uint64_t used = pt_stats().used_bytes;
    size_t before = resident_bytes();
    record_spans(1000000);
    size_t after = resident_bytes();
    /* a page of a histogram may be made for the first slow span */
    ck_assert_uint_le(after, before + (256 << 10));
    ck_assert_uint_le(pt_stats().used_bytes, used + (128 << 10));
    ck_assert_uint_eq(pt_totals_of(pt_name(PERF_KIND_SPAN, "s")).count,
                      1100000);
}
END_TEST

START_TEST(test_many_refreshes_leave_memory_flat)
{
    record_spans(70000);
    perf_reader *reader = pt_self();
    size_t n, before = 0;
    for (int i = 0; i < 300; i++) {
        record_spans(1000);
        ck_assert_int_eq(perf_reader_refresh_blocking(reader), PERF_OK);
        free(pt_records(reader, 1000, &n));
        if (i == 50)
            before = resident_bytes();
    }
    ck_assert_uint_le(resident_bytes(), before + (1 << 20));
    perf_reader_close(reader);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("segment.memory");
    tcase_add_test(tests, test_a_million_spans_leave_memory_flat);
    tcase_add_test(tests, test_many_refreshes_leave_memory_flat);
    return pt_end();
}
