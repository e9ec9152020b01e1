/* test_drain_traces.c - traces that hold anything: a reader of one gives no
 * more than there is, and counts what is gone. */
#include "test_drain_kit.h"

#include <string.h>
#include <unistd.h>

/* With 16 chunks behind the segment. */
static unsigned char *
valid_trace(size_t *size)
{
    pt_start(0, RING * PERFI_CHUNK);
    uint32_t name = pt_name(PERF_KIND_SPAN, "s");
    write_span(name, 0);
    perf_drain *drain = drain_self();
    for (uint32_t i = 1; i < 20 * PER_CHUNK; i++) {
        write_span(name, i);
        if (i % PER_CHUNK == 0)
            ck_assert_int_eq(perf_drain_step_blocking(drain), PERF_OK);
    }
    ck_assert_int_eq(perf_drain_finish_blocking(drain), PERF_OK);
    perf_drain_close(drain);
    return pt_read_file(trace, size);
}

/* Returns how many records there are, never more than the bytes have room for;
 * -1 when it is no segment. */
static int64_t
read_bytes(const unsigned char *bytes, size_t size)
{
    perf_reader *reader = NULL;
    if (perf_reader_open_bytes(bytes, size, NULL, &reader))
        return -1;
    size_t n;
    perf_record *records = pt_records(reader, 1000, &n);
    PT_ASSERT(n <= size / sizeof(perfi_record));
    free(records);
    perf_reader_close(reader);
    return (int64_t)n;
}

START_TEST(test_a_trailer_that_lies)
{
    size_t size;
    unsigned char *bytes = valid_trace(&size);
    perfi_trailer *t = (void *)(bytes + size - sizeof *t);
    const perfi_trailer good = *t;
    ck_assert_uint_eq(good.chunks, 16);
    ck_assert_int_eq(read_bytes(bytes, size), 20 * PER_CHUNK);
    static const uint64_t liked[] = {0,
                                     1,
                                     PERFI_CHUNK,
                                     UINT64_MAX,
                                     UINT64_MAX - PERFI_CHUNK + 1,
                                     UINT64_C(1) << 63,
                                     UINT64_C(1) << 48,
                                     UINT32_MAX};
    for (int i = 0; i < 8; i++) {
        for (int k = 0; k < 8; k++) {
            t->segment_bytes = good.segment_bytes + liked[i];
            t->chunks = good.chunks + liked[k];
            int64_t n = read_bytes(bytes, size);
            /* one that fits by chance may hide a chunk more or less, or end
             * before the segment does */
            PT_ASSERT(n == -1 || (n >= 4 * PER_CHUNK && n <= 20 * PER_CHUNK));
            t->segment_bytes = liked[i]; /* sizes that do fit together */
            t->chunks = (size - sizeof *t - liked[i]) / PERFI_CHUNK;
            read_bytes(bytes, size);
        }
    }
    *t = good;
    for (uint64_t chunks = 0; chunks <= size / PERFI_CHUNK; chunks++) {
        t->chunks = chunks;
        t->segment_bytes = size - sizeof *t - chunks * PERFI_CHUNK;
        read_bytes(bytes, size);
    }
    *t = good;
    t->magic++;
    ck_assert_int_eq(read_bytes(bytes, size), 4 * PER_CHUNK);
    free(bytes);
}
END_TEST

/* Cut anywhere it is a segment without what it had kept, which is counted. */
START_TEST(test_a_trace_that_is_cut)
{
    size_t size;
    unsigned char *bytes = valid_trace(&size);
    perfi_trailer t;
    memcpy(&t, bytes + size - sizeof t, sizeof t);
    for (size_t cut = size - 1; cut >= t.segment_bytes; cut -= 4999) {
        perf_reader *reader;
        ck_assert_int_eq(truncate(trace, (off_t)cut), 0);
        reader = open_trace();
        expect_spans(reader, 16 * PER_CHUNK, 4 * PER_CHUNK);
        ck_assert_uint_eq(perf_reader_lost(reader), 16 * PER_CHUNK);
        perf_reader_close(reader);
    }
    free(bytes);
}
END_TEST

START_TEST(test_kept_chunks_that_lie)
{
    enum { MUTATIONS = PT_SANITIZED ? 200 : 1000 };
    size_t size;
    unsigned char *valid = valid_trace(&size), *bytes = malloc(size);
    pt_random random = {(uint64_t)_i};
    perfi_trailer t;
    memcpy(&t, valid + size - sizeof t, sizeof t);
    alarm(PT_SANITIZED ? 100 : 50);
    for (int i = 0; i < MUTATIONS; i++) {
        memcpy(bytes, valid, size);
        for (uint64_t m = 1 + pt_below(&random, 8); m--;) {
            perfi_ring_chunk *chunk =
                (void *)(bytes + t.segment_bytes +
                         pt_below(&random, t.chunks) * PERFI_CHUNK);
            uint64_t word = pt_next(&random) >> pt_below(&random, 64);
            switch (pt_below(&random, 5)) {
            case 0: perfi_set(&chunk->number, word); break;
            case 1: perfi_set(&chunk->number, pt_below(&random, 20)); break;
            case 2: perfi_set(&chunk->first, word); break;
            case 3: chunk->block = (uint32_t)word; break;
            default: memcpy(chunk + 1, &word, sizeof word);
            }
        }
        PT_ASSERT(read_bytes(bytes, size) >= 4 * PER_CHUNK);
    }
    free(bytes);
    free(valid);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("segment.drain_traces");
    tcase_add_test(tests, test_a_trailer_that_lies);
    tcase_add_test(tests, test_a_trace_that_is_cut);
    tcase_add_loop_test(tests, test_kept_chunks_that_lie, 0, 2);
    return pt_end();
}
