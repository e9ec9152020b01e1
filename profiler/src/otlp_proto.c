/* otlp_proto.c - a span as protobuf, as fast as it goes: nothing is moved but a
 * span of unusual size. A short attribute's lengths are of one byte, and are
 * filled in behind it; a long one's are known before it. */
#include "otlp.h"

/* Tags: field << 3 | wire type. */
enum {
    ITEM = 2 << 3 | 2, /* spans */
    TRACE_ID = 1 << 3 | 2,
    SPAN_ID = 2 << 3 | 2,
    PARENT = 4 << 3 | 2,
    NAME = 5 << 3 | 2,
    KIND = 6 << 3,
    START = 7 << 3 | 1,
    END = 8 << 3 | 1,
    ATTRIBUTES = 9 << 3 | 2,
    EVENTS = 11 << 3 | 2,
    EVENTS_DROPPED = 12 << 3,
    LINKS = 13 << 3 | 2,
    STATUS = 15 << 3 | 2,
    CODE = 3 << 3,

    KEY = 1 << 3 | 2, /* of KeyValue */
    VALUE = 2 << 3 | 2,

    STRING = 1 << 3 | 2, /* of AnyValue */
    BOOL = 2 << 3,
    INT = 3 << 3,
    DOUBLE = 4 << 3 | 1,
    ARRAY = 5 << 3 | 2,

    TIME = 1 << 3 | 1, /* of Event */
    EVENT_NAME = 2 << 3 | 2,
    EVENT_ATTRIBUTES = 3 << 3 | 2,
};

enum {
    HEAD_MAX = 128,  /* a span without name and lists */
    VALUE_MAX = 40,  /* an attribute without its texts */
    LENGTH_ROOM = 2, /* for a span's length: nearly all have 128 bytes and
                        more, and less than 16 KiB */

    FRAME = 3,       /* bytes of a short key's frame */
    SHORT_MAX = 112, /* a key and a text of so many bytes together, or a key and
                        a number: less than 128 with all that is around them */
};

static size_t
text_size(size_t length) /* with its tag */
{
    return 1 + perfi_varint_size(length) + length;
}

/* Of AnyValue. */
static size_t
any_size(const perfi_value *v)
{
    switch (v->type) {
    case PERFI_VALUE_BOOL: return 2;
    case PERFI_VALUE_INT: return 1 + perfi_varint_size((uint64_t)v->integer);
    case PERFI_VALUE_DOUBLE: return 9;
    case PERFI_VALUE_LIST: /* { values { string } } */
        return text_size(text_size(text_size(v->length)));
    default: return text_size(v->length);
    }
}

static unsigned char *
put_any(unsigned char *p, const perfi_value *v)
{
    switch (v->type) {
    case PERFI_VALUE_BOOL:
        *p++ = BOOL;
        *p++ = v->integer != 0;
        return p;
    case PERFI_VALUE_INT:
        *p++ = INT;
        return perfi_put_varint(p, (uint64_t)v->integer);
    case PERFI_VALUE_DOUBLE: *p++ = DOUBLE; return perfi_put_double(p, v->real);
    case PERFI_VALUE_LIST:
        *p++ = ARRAY;
        p = perfi_put_varint(p, text_size(text_size(v->length)));
        *p++ = KEY; /* values = 1 */
        p = perfi_put_varint(p, text_size(v->length));
        *p++ = STRING;
        return perfi_put_text(p, v->text, v->length);
    default: *p++ = STRING; return perfi_put_text(p, v->text, v->length);
    }
}

/* Of any length. */
static unsigned char *
put_long_value(unsigned char *p, unsigned char tag, const perfi_value *v)
{
    size_t any = any_size(v);
    *p++ = tag;
    p = perfi_put_varint(p, text_size(v->key_length) + text_size(any));
    *p++ = KEY;
    p = perfi_put_text(p, v->key, v->key_length);
    *p++ = VALUE;
    p = perfi_put_varint(p, any);
    return put_any(p, v);
}

static inline unsigned char *
put_value(unsigned char *p, unsigned char tag, const perfi_value *v)
{
    if ((size_t)v->key_length + v->length > SHORT_MAX)
        return put_long_value(p, tag, v);
    unsigned char *any =
        perfi_put_bytes(p + 2, v->key - 2, v->key_length + FRAME) + 1;
    unsigned char *end = any + 1;
    if (v->type == PERFI_VALUE_TEXT) {
        any[0] = STRING;
        *end++ = (unsigned char)v->length;
        end = perfi_put_bytes(end, v->text, v->length);
    } else if (v->type == PERFI_VALUE_INT) {
        any[0] = INT;
        end = perfi_put_varint(end, (uint64_t)v->integer);
    } else
        end = put_any(any, v);
    p[0] = tag;
    p[1] = (unsigned char)(end - p - 2);
    any[-1] = (unsigned char)(end - any);
    return end;
}

static unsigned char *
put_trace(unsigned char *p, uint64_t hi, uint64_t lo)
{
    *p++ = TRACE_ID;
    *p++ = 16;
    return perfi_put_id(perfi_put_id(p, hi), lo);
}

static unsigned char *
put_span_id(unsigned char *p, unsigned char tag, uint64_t id)
{
    *p++ = tag;
    *p++ = 8;
    return perfi_put_id(p, id);
}

static unsigned char *
put_head(unsigned char *p, const perfi_view *v)
{
    const perf_record *r = v->record;
    p = put_trace(p, r->trace_hi, r->trace_lo);
    p = put_span_id(p, SPAN_ID, r->id);
    if (r->parent)
        p = put_span_id(p, PARENT, r->parent);
    *p++ = NAME;
    p = perfi_put_text(p, v->name, v->name_length);
    *p++ = KIND;
    *p++ = (unsigned char)v->kind;
    *p++ = START;
    p = perfi_put_fixed64(p, v->start_ns);
    *p++ = END;
    return perfi_put_fixed64(p, v->end_ns);
}

static unsigned char *
put_tail(unsigned char *p, const perfi_view *v)
{
    if (v->events_dropped) {
        *p++ = EVENTS_DROPPED;
        p = perfi_put_varint(p, v->events_dropped);
    }
    if (v->link_id) {
        *p++ = LINKS;
        *p++ = 18 + 10;
        p = put_trace(p, v->link_hi, v->link_lo);
        p = put_span_id(p, SPAN_ID, v->link_id);
    }
    if (v->code) {
        *p++ = STATUS;
        *p++ = 2;
        *p++ = CODE;
        *p++ = (unsigned char)v->code;
    }
    return p;
}

static void
put_event(perfi_out *out, const perfi_line *line)
{
    uint32_t number;
    const char *word = perfi_level_text(line->level, &number);
    perfi_value level = {.type = PERFI_VALUE_TEXT, .text = word};
    level.key = perfi_key_text(PERFI_KEY_LEVEL, &level.key_length);
    level.length = (uint32_t)strlen(word);
    size_t pair = text_size(level.key_length) + text_size(any_size(&level));
    if (!perfi_out_need(out, HEAD_MAX + line->length))
        return;
    unsigned char *p = out->bytes + out->size;
    *p++ = EVENTS;
    p = perfi_put_varint(p, 9 + text_size(line->length) + text_size(pair));
    *p++ = TIME;
    p = perfi_put_fixed64(p, line->time_ns);
    *p++ = EVENT_NAME;
    p = perfi_put_text(p, line->text, line->length);
    p = put_value(p, EVENT_ATTRIBUTES, &level);
    out->size = (size_t)(p - out->bytes);
}

/* The length of the span that begins at `from`, where LENGTH_ROOM bytes were
 * left for it. */
static void
put_length(perfi_out *out, size_t from)
{
    size_t length = out->size - from, digits = perfi_varint_size(length);
    unsigned char *span = out->bytes + from;
    if (digits != LENGTH_ROOM) {
        if (!perfi_out_need(out, digits))
            return;
        span = out->bytes + from;
        memmove(span - LENGTH_ROOM + digits, span, length);
        out->size += digits - LENGTH_ROOM;
    }
    perfi_put_varint(span - LENGTH_ROOM, length);
}

void
perfi_span_proto(perfi_out *out, const perfi_view *v)
{
    size_t room = 2 * HEAD_MAX + v->name_length;
    for (uint32_t i = 0; i < v->values; i++)
        room += VALUE_MAX + v->value[i].key_length + v->value[i].length;
    if (!perfi_out_need(out, room))
        return;
    unsigned char *p = out->bytes + out->size;
    *p++ = ITEM;
    p += LENGTH_ROOM;
    size_t from = (size_t)(p - out->bytes);
    p = put_head(p, v);
    for (uint32_t i = 0; i < v->values; i++)
        p = put_value(p, ATTRIBUTES, &v->value[i]);
    out->size = (size_t)(p - out->bytes);
    for (uint32_t i = 0; i < v->events; i++)
        put_event(out, v->event[i]);
    if (!perfi_out_need(out, HEAD_MAX))
        return;
    p = put_tail(out->bytes + out->size, v);
    out->size = (size_t)(p - out->bytes);
    put_length(out, from);
}
