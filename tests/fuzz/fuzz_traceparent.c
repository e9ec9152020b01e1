/* fuzz_traceparent.c - proves that any bytes are either refused, with an empty
 * span, or a header whose ids come back the same when they are written and read
 * again; and that any two ids that are not zero survive the way out and in. */
#include "expect.h"

#include <libperf/span.h>
#include <string.h>

enum { LENGTH = 55 };

static bool
same(perf_span a, perf_span b)
{
    return a.trace_hi == b.trace_hi && a.trace_lo == b.trace_lo && a.id == b.id;
}

static void
expect_round_trip(perf_span span)
{
    char text[LENGTH + 1];
    perf_span back;
    memset(text, 'x', sizeof text);
    expect(perf_span_to_traceparent(span, text, sizeof text) == LENGTH);
    expect(strlen(text) == LENGTH);
    expect(perf_span_from_traceparent(text, LENGTH, &back) == PERF_OK);
    expect(same(span, back));
    /* every size below is too small, and nothing is written past it */
    char *small = malloc(LENGTH);
    memset(small, 'x', LENGTH);
    expect(!perf_span_to_traceparent(span, small, LENGTH) && !small[0]);
    expect(small[1] == 'x');
    free(small);
}

static void
read_text(const char *text, size_t length)
{
    static const perf_span none;
    perf_span span;
    memset(&span, 0xAA, sizeof span);
    if (perf_span_from_traceparent(text, length, &span)) {
        expect(!memcmp(&span, &none, sizeof span));
        return;
    }
    expect(length >= LENGTH && span.id && (span.trace_hi | span.trace_lo));
    expect(!span.parent && !perf_span_end(span)); /* only ever a parent */
    expect_round_trip(span);
    if (!strncmp(text, "00", 2)) {
        char again[LENGTH + 1];
        perf_span_to_traceparent(span, again, sizeof again);
        expect(!memcmp(text, again, LENGTH - 2)); /* all but the flags */
    }
}

/* What `length` bytes say, which end where they end. */
static void
read_copy(const void *bytes, size_t length)
{
    char *text = malloc(length + !length);
    memcpy(text, bytes, length);
    read_text(text, length);
    free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t ids[3];
    read_copy(data, size);
    if (size < sizeof ids)
        return 0;
    memcpy(ids, data, sizeof ids);
    perf_span span = {.trace_hi = ids[0], .trace_lo = ids[1], .id = ids[2]};
    if (!(span.trace_hi | span.trace_lo) || !span.id)
        return 0;
    expect_round_trip(span);
    /* a good header, in which some places are changed: almost good ones */
    char text[LENGTH + 9] = {0};
    perf_span_to_traceparent(span, text, sizeof text);
    for (size_t i = sizeof ids; i + 1 < size; i += 2)
        text[data[i] % sizeof text] = (char)data[i + 1];
    read_copy(text, LENGTH);
    read_copy(text, data[size - 1] % (sizeof text + 1));
    return 0;
}
