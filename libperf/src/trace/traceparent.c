/* traceparent.c - W3C Trace Context, level 1, section 3.2:
 * version "-" trace-id "-" parent-id "-" flags, in lower-case hex. */
#include <libperf/span.h>
#include <string.h>

enum { LENGTH = 55, TRACE_AT = 3, SPAN_AT = 36, FLAGS_AT = 53 };

static bool
read_hex(const char *text, size_t digits, uint64_t *out)
{
    uint64_t value = 0;
    for (size_t i = 0; i < digits; i++) {
        char c = text[i];
        uint64_t digit;
        if (c >= '0' && c <= '9')
            digit = (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            digit = (uint64_t)(c - 'a') + 10;
        else
            return false;
        value = value << 4 | digit;
    }
    *out = value;
    return true;
}

static void
write_hex(char *out, uint64_t value)
{
    for (int i = 16; i-- > 0; value >>= 4)
        out[i] = "0123456789abcdef"[value & 15];
}

perf_err
perf_span_from_traceparent(const char *text, size_t length, perf_span *out)
{
    uint64_t version, flags;
    if (!out)
        return PERF_ERR_INVALID;
    *out = (perf_span){0};
    if (!text || length < LENGTH || text[2] != '-' ||
        text[SPAN_AT - 1] != '-' || text[FLAGS_AT - 1] != '-')
        return PERF_ERR_INVALID;
    perf_span span = {0};
    if (!read_hex(text, 2, &version) || version == 0xff ||
        !read_hex(text + TRACE_AT, 16, &span.trace_hi) ||
        !read_hex(text + TRACE_AT + 16, 16, &span.trace_lo) ||
        !read_hex(text + SPAN_AT, 16, &span.id) ||
        !read_hex(text + FLAGS_AT, 2, &flags))
        return PERF_ERR_INVALID;
    /* a later version may go on after the flags, but only behind a dash */
    if (version == 0 ? length != LENGTH
                     : length > LENGTH && text[LENGTH] != '-')
        return PERF_ERR_INVALID;
    if (!(span.trace_hi | span.trace_lo) || !span.id)
        return PERF_ERR_INVALID;
    span.process = UINT32_MAX; /* ending it here does nothing */
    *out = span;
    return PERF_OK;
}

size_t
perf_span_to_traceparent(perf_span span, char *out, size_t out_size)
{
    if (out && out_size)
        out[0] = 0;
    if (!out || out_size <= LENGTH || !span.id)
        return 0;
    memcpy(out, "00-", 3);
    write_hex(out + TRACE_AT, span.trace_hi);
    write_hex(out + TRACE_AT + 16, span.trace_lo);
    out[SPAN_AT - 1] = '-';
    write_hex(out + SPAN_AT, span.id);
    memcpy(out + FLAGS_AT - 1, "-01", 4);
    return LENGTH;
}
