/* exporter_answer.c - reads answers: they may be anything, and are at most some
 * kilobytes of what was sent. */
#include "exporter_answer.h"

#include "otlp_out.h"

#include <stdio.h>
#include <strings.h>

/* ---- Retry-After ---- */

/* Digits up to `end`, at most so many. Returns how many there are. */
static int
number(const char *text, int most, uint64_t *out)
{
    int n = 0;
    *out = 0;
    for (; n < most && text[n] >= '0' && text[n] <= '9'; n++)
        *out = *out * 10 + (uint64_t)(text[n] - '0');
    return n;
}

static int
month_of(const char *text)
{
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    for (int i = 0; i < 12; i++)
        if (!strncmp(names + 3 * i, text, 3))
            return i + 1;
    return 0;
}

/* Days from 1970 to a date of the Gregorian calendar. */
static int64_t
days_to(int64_t year, int month, int64_t day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year -
           719468;
}

/* "Fri, 31 Dec 1999 23:59:59 GMT"; false: it is none. */
static bool
date(const char *text, int64_t *out)
{
    uint64_t day, year, hour, minute, second;
    if (strlen(text) != 29 || text[3] != ',' || strcmp(text + 25, " GMT") ||
        number(text + 5, 2, &day) != 2 || number(text + 12, 4, &year) != 4 ||
        number(text + 17, 2, &hour) != 2 ||
        number(text + 20, 2, &minute) != 2 ||
        number(text + 23, 2, &second) != 2 || text[19] != ':' ||
        text[22] != ':')
        return false;
    int month = month_of(text + 8);
    if (!month || !day || day > 31 || hour > 23 || minute > 59 || second > 60)
        return false;
    *out = days_to((int64_t)year, month, (int64_t)day) * 86400 +
           (int64_t)(hour * 3600 + minute * 60 + second);
    return true;
}

uint64_t
perfi_retry_after_ns(const char *text, uint64_t wall_s)
{
    uint64_t seconds = 0;
    int64_t when;
    if (!text)
        return 0;
    int n = number(text, 9, &seconds);
    if (n && text[n]) { /* more digits are more than a century */
        while (text[n] >= '0' && text[n] <= '9')
            n++;
        seconds = text[n] ? 0 : PERFI_RETRY_AFTER_MAX_S;
    } else if (!n && date(text, &when) && when > 0 && (uint64_t)when > wall_s)
        seconds = (uint64_t)when - wall_s;
    if (seconds > PERFI_RETRY_AFTER_MAX_S)
        seconds = PERFI_RETRY_AFTER_MAX_S;
    return seconds * UINT64_C(1000000000);
}

/* ---- messages ---- */

/* As one line that a terminal may show. */
static void
say(char *to, size_t room, const char *text, size_t length)
{
    char mended[3 * 160];
    if (length > sizeof mended / 3)
        length = sizeof mended / 3;
    size_t n = perfi_text_mend(mended, text, length), used = 0;
    for (size_t i = 0; i < n && used + 1 < room; i++) {
        unsigned char c = (unsigned char)mended[i];
        to[used++] = c < 32 || c == 127 ? ' ' : (char)c;
    }
    while (used && ((unsigned char)to[used - 1] & 0x80)) /* cut in the middle */
        used--;
    to[used] = 0;
}

/* ---- protobuf ---- */

typedef struct field {
    uint32_t number, wire;
    uint64_t value; /* of a varint */
    const uint8_t *bytes;
    size_t size;
} field;

static bool
varint(const uint8_t **at, const uint8_t *end, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; *at < end && shift < 64; shift += 7) {
        uint8_t byte = *(*at)++;
        *out |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            return true;
    }
    return false;
}

static bool
next_field(const uint8_t **at, const uint8_t *end, field *out)
{
    uint64_t tag;
    *out = (field){0};
    if (*at >= end || !varint(at, end, &tag))
        return false;
    out->number = (uint32_t)(tag >> 3);
    out->wire = (uint32_t)tag & 7;
    size_t fixed = out->wire == 1 ? 8 : out->wire == 5 ? 4 : 0;
    if (out->wire == 0)
        return varint(at, end, &out->value);
    if (out->wire == 2) {
        if (!varint(at, end, &tag) || tag > (uint64_t)(end - *at))
            return false;
        fixed = (size_t)tag;
    } else if (!fixed || fixed > (size_t)(end - *at))
        return false;
    out->bytes = *at;
    out->size = fixed;
    *at += fixed;
    return true;
}

/* { rejected_… = 1, error_message = 2 } */
static void
read_partial(const uint8_t *at, size_t size, perfi_judgement *out)
{
    field f;
    for (const uint8_t *end = at + size; next_field(&at, end, &f);)
        if (f.number == 1 && f.wire == 0)
            out->rejected = (int64_t)f.value > 0 ? f.value : 0;
        else if (f.number == 2 && f.wire == 2)
            say(out->message, sizeof out->message, (const char *)f.bytes,
                f.size);
}

/* Export…ServiceResponse { partial_success = 1 }, or google.rpc.Status
 * { code = 1, message = 2 }. */
static void
read_protobuf(const perfi_answer *a, bool accepted, perfi_judgement *out)
{
    field f;
    const uint8_t *at = a->body;
    for (const uint8_t *end = at + a->size; next_field(&at, end, &f);)
        if (accepted && f.number == 1 && f.wire == 2)
            read_partial(f.bytes, f.size, out);
        else if (!accepted && f.number == 2 && f.wire == 2)
            say(out->message, sizeof out->message, (const char *)f.bytes,
                f.size);
}

/* ---- JSON: no more of it than is wanted ---- */

/* The value of the first member of this name, anywhere; NULL: there is none. */
static const char *
member(const char *at, const char *end, const char *name)
{
    size_t n = strlen(name);
    for (; (size_t)(end - at) > n + 2; at++) {
        if (*at != '"' || memcmp(at + 1, name, n) || at[n + 1] != '"')
            continue;
        const char *value = at + n + 2;
        while (value < end && strchr(" \t\r\n:", *value) && *value)
            value++;
        return value < end ? value : NULL;
    }
    return NULL;
}

static void
say_member(const char *at, const char *end, const char *name,
           perfi_judgement *out)
{
    const char *value = member(at, end, name);
    if (!value || *value != '"')
        return;
    const char *to = ++value;
    while (to < end && *to != '"')
        to += *to == '\\' && end - to > 1 ? 2 : 1;
    say(out->message, sizeof out->message, value,
        (size_t)((to < end ? to : end) - value));
}

static uint64_t
count_member(const char *at, const char *end, const char *name)
{
    const char *value = member(at, end, name);
    uint64_t n = 0;
    if (!value)
        return 0;
    value += *value == '"'; /* 64-bit numbers are texts */
    for (; value < end && *value >= '0' && *value <= '9'; value++)
        if (__builtin_mul_overflow(n, (uint64_t)10, &n) ||
            __builtin_add_overflow(n, (uint64_t)(*value - '0'), &n))
            return UINT64_MAX;
    return n;
}

static void
read_json(const perfi_answer *a, bool accepted, perfi_judgement *out)
{
    static const char *const counts[] = {"rejectedSpans", "rejectedDataPoints",
                                         "rejectedLogRecords"};
    const char *at = (const char *)a->body, *end = at + a->size;
    if (!accepted) {
        say_member(at, end, "message", out);
        return;
    }
    for (int i = 0; i < 3 && !out->rejected; i++)
        out->rejected = count_member(at, end, counts[i]);
    say_member(at, end, "errorMessage", out);
}

/* ---- all of it ---- */

static bool
is_type(const perfi_answer *a, const char *type)
{
    return a->type && !strncasecmp(a->type, type, strlen(type));
}

static perfi_verdict
verdict_of(long status)
{
    switch (status) {
    case 0: /* no connection, no answer */
    case 429:
    case 502:
    case 503:
    case 504: return PERFI_AGAIN;
    default: return status / 100 == 2 ? PERFI_ACCEPTED : PERFI_REFUSED;
    }
}

void
perfi_answer_judge(const perfi_answer *a, uint64_t wall_s, perfi_judgement *out)
{
    *out = (perfi_judgement){.verdict = verdict_of(a->status)};
    bool accepted = out->verdict == PERFI_ACCEPTED;
    if (out->verdict == PERFI_AGAIN)
        out->wait_ns = perfi_retry_after_ns(a->retry_after, wall_s);
    if (!a->size)
        return;
    if (is_type(a, "application/x-protobuf"))
        read_protobuf(a, accepted, out);
    else if (is_type(a, "application/json"))
        read_json(a, accepted, out);
    else if (!accepted && is_type(a, "text/plain"))
        say(out->message, sizeof out->message, (const char *)a->body, a->size);
}
