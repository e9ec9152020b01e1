/* wire.c - writes commands, and looks whether what is to be sent is some.
 *
 * A command is an array of strings: "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n". Replies
 * are told apart by their order alone, so nothing may be sent that the server
 * counts in another way than we do. */
#include "wire.h"

#include <string.h>
#include <strings.h>

enum { DIGITS = 20 };

static size_t
digits_of(size_t n)
{
    size_t digits = 1;
    for (; n >= 10; n /= 10)
        digits++;
    return digits;
}

/* Write "<mark><n>\r\n"; returns what comes behind it. */
static uint8_t *
put_head(uint8_t *at, char mark, size_t n)
{
    size_t digits = digits_of(n);
    *at++ = (uint8_t)mark;
    for (size_t i = digits; i-- > 0; n /= 10)
        at[i] = (uint8_t)('0' + n % 10);
    at += digits;
    *at++ = '\r';
    *at++ = '\n';
    return at;
}

size_t
perf_redis_command_size(size_t argc, const size_t *sizes)
{
    if (!argc || !sizes)
        return 0;
    size_t size = 3 + digits_of(argc);
    for (size_t i = 0; i < argc; i++)
        if (__builtin_add_overflow(size, 5 + digits_of(sizes[i]), &size) ||
            __builtin_add_overflow(size, sizes[i], &size))
            return 0;
    return size;
}

perf_err
perf_redis_command_write(size_t argc, const void *const *argv,
                         const size_t *sizes, void *out, size_t capacity)
{
    size_t size = perf_redis_command_size(argc, sizes);
    if (!size || !argv || !out)
        return PERF_ERR_INVALID;
    if (size > capacity)
        return PERF_ERR_RANGE;
    uint8_t *at = put_head(out, '*', argc);
    for (size_t i = 0; i < argc; i++) {
        if (sizes[i] && !argv[i])
            return PERF_ERR_INVALID;
        at = put_head(at, '$', sizes[i]);
        if (sizes[i])
            memcpy(at, argv[i], sizes[i]);
        at += sizes[i];
        *at++ = '\r';
        *at++ = '\n';
    }
    return PERF_OK;
}

/* ---- checking ---- */

/* They have no reply, many, or a late one; or change what the connection is. */
static const char *const refused[] = {
    "auth",      "blmove",       "blmpop",    "blpop",    "brpop",
    "bzmpop",    "bzpopmax",     "bzpopmin",  "client",   "discard",
    "exec",      "hello",        "monitor",   "multi",    "psubscribe",
    "psync",     "punsubscribe", "quit",      "replconf", "reset",
    "select",    "ssubscribe",   "subscribe", "sync",     "sunsubscribe",
    "wait",      "waitaof",      "watch",     "unwatch",  "unsubscribe",
    "brpoplpush"};

static bool
is_refused(const char *name, size_t size)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (refused[i][0] == (name[0] | 0x20) && strlen(refused[i]) == size &&
            !strncasecmp(refused[i], name, size))
            return true;
    return false;
}

typedef struct cursor {
    const char *at, *end;
} cursor;

/* Read "<mark><n>\r\n". */
static bool
take_head(cursor *c, char mark, size_t *n)
{
    if (c->at == c->end || *c->at++ != mark)
        return false;
    const char *first = c->at;
    for (*n = 0; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++) {
        if (c->at - first >= DIGITS - 2)
            return false;
        *n = *n * 10 + (size_t)(*c->at - '0');
    }
    if (c->at == first || c->end - c->at < 2 || memcmp(c->at, "\r\n", 2))
        return false;
    c->at += 2;
    return true;
}

static bool
take_command(cursor *c)
{
    size_t argc, size;
    if (!take_head(c, '*', &argc) || !argc)
        return false;
    for (size_t i = 0; i < argc; i++) {
        if (!take_head(c, '$', &size))
            return false;
        size_t left = (size_t)(c->end - c->at);
        if (left < 2 || left - 2 < size || memcmp(c->at + size, "\r\n", 2) ||
            (!i && (!size || is_refused(c->at, size))))
            return false;
        c->at += size + 2;
    }
    return true;
}

size_t
perfi_wire_count(const void *wire, size_t size)
{
    if (!wire)
        return 0;
    cursor c = {wire, (const char *)wire + size};
    size_t n = 0;
    for (; c.at < c.end; n++)
        if (!take_command(&c))
            return 0;
    return n;
}
