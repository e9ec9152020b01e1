/* otlp_tree.c - messages in messages. Protobuf wants a message's length before
 * it: one byte is left for it, and what is longer is moved when it ends. */
#include "otlp_tree.h"

enum { VARINT = 0, FIXED = 1, BYTES = 2 }; /* protobuf's wire types */

/* ---- names and tags ---- */

static unsigned char *
tag(unsigned char *p, uint32_t field, uint32_t wire)
{
    return perfi_put_varint(p, field << 3 | wire);
}

static unsigned char *
comma(perfi_tree *t, unsigned char *p)
{
    if (t->filled)
        *p++ = ',';
    t->filled = 1;
    return p;
}

static unsigned char *
label(perfi_tree *t, unsigned char *p, const char *name)
{
    size_t n = strlen(name);
    p = comma(t, p);
    *p++ = '"';
    memcpy(p, name, n);
    p += n;
    *p++ = '"';
    *p++ = ':';
    return p;
}

/* What a tag, or a comma and a name, and a number take. */
enum { FIELD_MAX = 96 };

static unsigned char *
room_for(perfi_tree *t, size_t more)
{
    if (!perfi_out_need(t->out, FIELD_MAX + more))
        return NULL;
    return t->out->bytes + t->out->size;
}

static void
written(perfi_tree *t, const unsigned char *p)
{
    t->out->size = (size_t)(p - t->out->bytes);
}

/* The place where a field's value goes, `more` bytes of it. NULL: no memory. */
static unsigned char *
begin(perfi_tree *t, uint32_t field, const char *name, uint32_t wire,
      size_t more)
{
    unsigned char *p = room_for(t, more);
    if (!p)
        return NULL;
    return t->json ? label(t, p, name) : tag(p, field, wire);
}

/* ---- messages ---- */

static void
enter(perfi_tree *t, unsigned char *p)
{
    if (t->json)
        *p++ = '{';
    else
        *p++ = 0; /* the length */
    written(t, p);
    t->begin[t->depth] = t->out->size;
    t->filled = 0;
}

void
perfi_tree_open(perfi_tree *t, uint32_t field, const char *name)
{
    unsigned char *p = begin(t, field, name, BYTES, 0);
    if (p)
        enter(t, p);
    t->depth++;
}

void
perfi_tree_item(perfi_tree *t, uint32_t field)
{
    unsigned char *p = room_for(t, 0);
    if (p)
        enter(t, t->json ? comma(t, p) : tag(p, field, BYTES));
    t->depth++;
}

/* Write the length before the message that began at `from`. */
static void
put_length(perfi_out *out, size_t from)
{
    size_t length = out->size - from;
    size_t more = perfi_varint_size(length) - 1;
    if (more && !perfi_out_need(out, more))
        return;
    unsigned char *message = out->bytes + from;
    if (more)
        memmove(message + more, message, length);
    perfi_put_varint(message - 1, length);
    out->size += more;
}

void
perfi_tree_close(perfi_tree *t)
{
    t->depth--;
    if (t->out->failed)
        return;
    if (!t->json) {
        put_length(t->out, t->begin[t->depth]);
        return;
    }
    unsigned char *p = room_for(t, 0);
    if (p) {
        *p++ = '}';
        written(t, p);
        t->filled = 1;
    }
}

void
perfi_tree_list(perfi_tree *t, const char *name)
{
    unsigned char *p = t->json ? room_for(t, 0) : NULL;
    if (!p)
        return;
    p = label(t, p, name);
    *p++ = '[';
    written(t, p);
    t->filled = 0;
}

void
perfi_tree_end_list(perfi_tree *t)
{
    unsigned char *p = t->json ? room_for(t, 0) : NULL;
    if (!p)
        return;
    *p++ = ']';
    written(t, p);
    t->filled = 1;
}

/* ---- fields ---- */

void
perfi_tree_text(perfi_tree *t, uint32_t field, const char *name,
                const char *text, size_t length)
{
    unsigned char *p = begin(t, field, name, BYTES, length * PERFI_ESCAPED_MAX);
    if (p)
        written(t, t->json ? perfi_put_quoted(p, text, length)
                           : perfi_put_text(p, text, length));
}

void
perfi_tree_id(perfi_tree *t, uint32_t field, const char *name,
              const uint64_t *id, size_t n)
{
    unsigned char *p = begin(t, field, name, BYTES, 0);
    if (!p)
        return;
    if (t->json)
        *p++ = '"';
    else
        p = perfi_put_varint(p, n * sizeof *id);
    for (size_t i = 0; i < n; i++)
        p = t->json ? perfi_put_hex(p, id[i]) : perfi_put_id(p, id[i]);
    if (t->json)
        *p++ = '"';
    written(t, p);
}

static unsigned char *
quoted_decimal(unsigned char *p, uint64_t value)
{
    *p++ = '"';
    p = perfi_put_decimal(p, value);
    *p++ = '"';
    return p;
}

static unsigned char *
quoted_signed(unsigned char *p, int64_t value)
{
    *p++ = '"';
    p = perfi_put_signed(p, value);
    *p++ = '"';
    return p;
}

void
perfi_tree_fixed64(perfi_tree *t, uint32_t field, const char *name,
                   uint64_t value)
{
    unsigned char *p = begin(t, field, name, FIXED, 0);
    if (p)
        written(t, t->json ? quoted_decimal(p, value)
                           : perfi_put_fixed64(p, value));
}

void
perfi_tree_signed64(perfi_tree *t, uint32_t field, const char *name,
                    int64_t value)
{
    unsigned char *p = begin(t, field, name, FIXED, 0);
    if (p)
        written(t, t->json ? quoted_signed(p, value)
                           : perfi_put_fixed64(p, (uint64_t)value));
}

void
perfi_tree_enum(perfi_tree *t, uint32_t field, const char *name, uint32_t value)
{
    unsigned char *p = begin(t, field, name, VARINT, 0);
    if (p)
        written(t, t->json ? perfi_put_decimal(p, value)
                           : perfi_put_varint(p, value));
}

void
perfi_tree_bool(perfi_tree *t, uint32_t field, const char *name, bool value)
{
    unsigned char *p = begin(t, field, name, VARINT, 0);
    if (!p)
        return;
    if (t->json) {
        const char *word = value ? "true" : "false";
        memcpy(p, word, strlen(word));
        p += strlen(word);
    } else
        p = perfi_put_varint(p, value);
    written(t, p);
}

void
perfi_tree_int64(perfi_tree *t, uint32_t field, const char *name, int64_t value)
{
    unsigned char *p = begin(t, field, name, VARINT, 0);
    if (p)
        written(t, t->json ? quoted_signed(p, value)
                           : perfi_put_varint(p, (uint64_t)value));
}

void
perfi_tree_sint(perfi_tree *t, uint32_t field, const char *name, int32_t value)
{
    unsigned char *p = begin(t, field, name, VARINT, 0);
    uint32_t zigzag = (uint32_t)value << 1 ^ (value < 0 ? UINT32_MAX : 0);
    if (p)
        written(t, t->json ? perfi_put_signed(p, value)
                           : perfi_put_varint(p, zigzag));
}

void
perfi_tree_double(perfi_tree *t, uint32_t field, const char *name, double value)
{
    unsigned char *p = begin(t, field, name, FIXED, 0);
    if (p)
        written(t, t->json ? perfi_put_real(p, value)
                           : perfi_put_double(p, value));
}

/* ---- lists of numbers ---- */

static unsigned char *
json_numbers(unsigned char *p, const uint64_t *value, size_t n)
{
    *p++ = '[';
    for (size_t i = 0; i < n; i++) {
        if (i)
            *p++ = ',';
        p = quoted_decimal(p, value[i]);
    }
    *p++ = ']';
    return p;
}

void
perfi_tree_uint64s(perfi_tree *t, uint32_t field, const char *name,
                   const uint64_t *value, size_t n)
{
    unsigned char *p = begin(t, field, name, BYTES, n * PERFI_NUMBER_MAX);
    if (!p)
        return;
    if (t->json) {
        written(t, json_numbers(p, value, n));
        return;
    }
    size_t length = 0;
    for (size_t i = 0; i < n; i++)
        length += perfi_varint_size(value[i]);
    p = perfi_put_varint(p, length);
    for (size_t i = 0; i < n; i++)
        p = perfi_put_varint(p, value[i]);
    written(t, p);
}

void
perfi_tree_fixed64s(perfi_tree *t, uint32_t field, const char *name,
                    const uint64_t *value, size_t n)
{
    unsigned char *p = begin(t, field, name, BYTES, n * PERFI_NUMBER_MAX);
    if (!p)
        return;
    if (t->json)
        p = json_numbers(p, value, n);
    else {
        p = perfi_put_varint(p, n * sizeof *value);
        for (size_t i = 0; i < n; i++)
            p = perfi_put_fixed64(p, value[i]);
    }
    written(t, p);
}

void
perfi_tree_doubles(perfi_tree *t, uint32_t field, const char *name,
                   const double *value, size_t n)
{
    unsigned char *p = begin(t, field, name, BYTES, n * PERFI_NUMBER_MAX + 2);
    if (!p)
        return;
    if (t->json)
        *p++ = '[';
    else
        p = perfi_put_varint(p, n * sizeof *value);
    for (size_t i = 0; i < n; i++) {
        if (t->json && i)
            *p++ = ',';
        p = t->json ? perfi_put_real(p, value[i])
                    : perfi_put_double(p, value[i]);
    }
    if (t->json)
        *p++ = ']';
    written(t, p);
}
