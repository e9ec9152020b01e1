/* reply.c - the functions by which hiredis's parser makes our trees.
 *
 * One allocation a node: a text lies behind it, or the pointers to what an
 * array holds. Lengths that a server merely claims cost nothing: an array's
 * counts against the bound before it is allocated, a text is allocated when
 * all of it has come. */
#include "reply.h"

#include <string.h>

/* A line without an end is nothing that a server sends; looking for its end
 * again with each piece that comes would take time squared. */
enum { LINE_MAX_BYTES = 64 * 1024, ARRAY_MAX = 1 << 24, DEPTH_MAX = 8 };

#if HIREDIS_MAJOR >= 1
typedef size_t count_of;
#else
typedef int count_of;
#endif

/* ---- making nodes ---- */

/* hiredis frees what it could not finish without saying whose it is: so a node
 * knows, and knows its size. */
typedef struct node {
    const perf_allocator *allocator;
    size_t bytes;
    perf_redis_reply reply;
} node;

static perf_redis_reply **
elements_of(perf_redis_reply *array)
{
    return (perf_redis_reply **)(array + 1);
}

/* One with room for `extra` more bytes, hung where its task says. */
static perf_redis_reply *
make(const redisReadTask *task, perf_redis_type type, size_t extra)
{
    perfi_replies *r = task->privdata;
    size_t bytes = sizeof(node) + extra;
    if (!task->parent)
        r->bytes = 0;
    if (bytes > r->max_bytes || r->bytes > r->max_bytes - bytes) {
        r->err = PERF_ERR_RANGE;
        return NULL;
    }
    node *n = r->allocator->alloc(bytes, r->allocator->ctx);
    if (!n) {
        r->err = PERF_ERR_NOMEM;
        return NULL;
    }
    r->bytes += bytes;
    n->allocator = r->allocator;
    n->bytes = bytes;
    n->reply.type = type;
    if (task->parent)
        elements_of(task->parent->obj)[task->idx] = &n->reply;
    return &n->reply;
}

static void *
make_text(const redisReadTask *task, char *text, size_t size)
{
    perf_redis_type type = task->type == REDIS_REPLY_ERROR ? PERF_REDIS_ERROR
                           : task->type == REDIS_REPLY_STATUS
                               ? PERF_REDIS_STATUS
                               : PERF_REDIS_STRING;
    perf_redis_reply *reply = make(task, type, size + 1);
    if (!reply)
        return NULL;
    reply->size = size;
    reply->bytes = (const uint8_t *)(reply + 1);
    if (size)
        memcpy(reply + 1, text, size);
    return reply;
}

/* hiredis 1.x nests without end; whoever walks a tree must not. */
static bool
is_too_deep(const redisReadTask *task)
{
    int depth = 0;
    while ((task = task->parent) && depth < DEPTH_MAX)
        depth++;
    return depth == DEPTH_MAX;
}

static void *
make_array(const redisReadTask *task, count_of claimed)
{
    long long count = (long long)claimed;
    if (count < 0 || count > ARRAY_MAX || is_too_deep(task)) {
        ((perfi_replies *)task->privdata)->err = PERF_ERR_RANGE;
        return NULL;
    }
    size_t n = (size_t)count;
    perf_redis_reply *reply = make(task, PERF_REDIS_ARRAY, n * sizeof reply);
    if (!reply)
        return NULL;
    reply->count = (uint32_t)n;
    reply->element = (const perf_redis_reply *const *)elements_of(reply);
    return reply;
}

static void *
make_integer(const redisReadTask *task, long long value)
{
    perf_redis_reply *reply = make(task, PERF_REDIS_INTEGER, 0);
    if (reply)
        reply->integer = value;
    return reply;
}

static void *
make_nil(const redisReadTask *task)
{
    return make(task, PERF_REDIS_NIL, 0);
}

#if HIREDIS_MAJOR >= 1 /* nobody asked for RESP3: these never come */
static void *
make_double(const redisReadTask *task, double value, char *text, size_t size)
{
    (void)value;
    return make_text(task, text, size);
}

static void *
make_bool(const redisReadTask *task, int value)
{
    return make_integer(task, value);
}
#endif

/* ---- freeing ---- */

void
perfi_reply_free(perf_redis_reply *reply)
{
    if (!reply)
        return;
    /* an unfinished array has gaps */
    for (uint32_t i = 0; i < reply->count; i++)
        perfi_reply_free(elements_of(reply)[i]);
    node *n = (node *)((char *)reply - offsetof(node, reply));
    n->allocator->free(n, n->bytes, n->allocator->ctx);
}

static void
free_object(void *object)
{
    perfi_reply_free(object);
}

static redisReplyObjectFunctions functions = {
    .createString = make_text,
    .createArray = make_array,
    .createInteger = make_integer,
    .createNil = make_nil,
#if HIREDIS_MAJOR >= 1
    .createDouble = make_double,
    .createBool = make_bool,
#endif
    .freeObject = free_object,
};

/* ---- reading ---- */

void
perfi_replies_attach(perfi_replies *r, redisReader *reader)
{
    reader->fn = &functions;
    reader->privdata = r;
    r->err = PERF_OK;
}

perf_err
perfi_replies_next(perfi_replies *r, redisReader *reader,
                   perf_redis_reply **out)
{
    void *reply = NULL;
    *out = NULL;
    if (redisReaderGetReply(reader, &reply) != REDIS_OK)
        return r->err ? r->err : PERF_ERR_CORRUPT;
    *out = reply;
    if (reply)
        return PERF_OK;
    size_t left = reader->len - reader->pos;
    if (left > r->max_bytes)
        return PERF_ERR_RANGE;
    if (left > LINE_MAX_BYTES &&
        !memchr(reader->buf + reader->pos, '\n', LINE_MAX_BYTES))
        return PERF_ERR_CORRUPT;
    return PERF_OK;
}

bool
perfi_reply_is(const perf_redis_reply *reply, const char *text)
{
    return reply && reply->size == strlen(text) && reply->bytes &&
           !memcmp(reply->bytes, text, reply->size);
}
