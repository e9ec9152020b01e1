/* otlp_body.c - request bodies: the resource and the scope around items.
 *
 * Protobuf writes lengths first, and they are known last: so room is left at
 * the front, and the head is written so that it ends where the items begin. */
#include "otlp.h"

/* The three requests have the same form:
 * { resource_spans = 1 { resource = 1, scope_spans = 2 { scope = 1,
 *                        spans = 2 } } } */
enum { HEAD_ROOM = 96 }; /* tags, lengths and the scope */

static const char scope_name[] = "libperf";

/* ---- the resource ---- */

typedef struct pairs {
    const char *const *extra;
    perfi_value value[4], unwanted;
    uint32_t n;
} pairs;

static bool
is_given(const char *const *extra, const char *key)
{
    for (; extra && *extra; extra += 2)
        if (!strcmp(*extra, key))
            return true;
    return false;
}

static perfi_value *
standard(pairs *p, const char *key)
{
    if (is_given(p->extra, key))
        return &p->unwanted;
    perfi_value *v = &p->value[p->n++];
    *v = (perfi_value){.key = key, .key_length = (uint32_t)strlen(key)};
    return v;
}

static void
set_text(perfi_value *v, const char *text)
{
    v->type = PERFI_VALUE_TEXT;
    v->text = text;
    v->length = (uint32_t)strlen(text);
}

/* Written as it is; who gives a resource gives UTF-8, but we do not trust it.
 */
static void
put_extra(perf_otlp *o, perfi_tree *t, const char *const *extra)
{
    for (; extra && *extra; extra += 2) {
        perfi_value v = {.key = extra[0], .type = PERFI_VALUE_TEXT};
        v.key_length = (uint32_t)strlen(extra[0]);
        v.length = (uint32_t)strlen(extra[1]);
        o->view.mended_used = 0;
        v.key = perfi_view_text(&o->view, v.key, &v.key_length);
        v.text = perfi_view_text(&o->view, extra[1], &v.length);
        perfi_tree_item(t, 1);
        perfi_tree_text(t, 1, "key", v.key, v.key_length);
        perfi_tree_open(t, 2, "value");
        perfi_tree_text(t, 1, "stringValue", v.text, v.length);
        perfi_tree_close(t);
        perfi_tree_close(t);
    }
}

static void
put_resource(perf_otlp *o, perfi_tree *t, const char *const *extra)
{
    pairs p = {.extra = extra};
    char service[3 * sizeof o->info.service + 1];
    size_t n =
        perfi_text_mend(service, o->info.service, strlen(o->info.service));
    service[n] = 0;
    set_text(standard(&p, "service.name"), n ? service : "unknown_service");
    set_text(standard(&p, "telemetry.sdk.name"), scope_name);
    set_text(standard(&p, "telemetry.sdk.version"), perf_version());
    perfi_value *pid = standard(&p, "process.pid");
    pid->type = PERFI_VALUE_INT;
    pid->integer = (int64_t)o->info.pid;
    perfi_tree_open(t, 1, "resource");
    perfi_tree_list(t, "attributes");
    for (uint32_t i = 0; i < p.n; i++) {
        const perfi_value *v = &p.value[i];
        perfi_tree_item(t, 1);
        perfi_tree_text(t, 1, "key", v->key, v->key_length);
        perfi_tree_open(t, 2, "value");
        if (v->type == PERFI_VALUE_INT)
            perfi_tree_int64(t, 3, "intValue", v->integer);
        else
            perfi_tree_text(t, 1, "stringValue", v->text, v->length);
        perfi_tree_close(t);
        perfi_tree_close(t);
    }
    put_extra(o, t, extra);
    perfi_tree_end_list(t);
    perfi_tree_close(t);
}

static void
put_scope(perfi_tree *t)
{
    perfi_tree_open(t, 1, "scope");
    perfi_tree_text(t, 1, "name", scope_name, sizeof scope_name - 1);
    perfi_tree_text(t, 2, "version", perf_version(), strlen(perf_version()));
    perfi_tree_close(t);
}

perf_err
perfi_resource_make(perf_otlp *o, const char *const *extra)
{
    perfi_out out = {.allocator = o->allocator};
    perfi_tree t = {.out = &out, .json = o->config.format == PERF_OTLP_JSON};
    put_resource(o, &t, extra);
    if (out.failed) {
        perfi_out_free(&out);
        return PERF_ERR_NOMEM;
    }
    o->resource.bytes = out.bytes;
    o->resource.size = out.size;
    o->resource.room = out.room;
    return PERF_OK;
}

/* ---- bodies ---- */

static const struct {
    const char *resources, *scopes, *items;
} label[PERF_OTLP_SIGNALS] = {
    [PERF_OTLP_TRACES] = {"resourceSpans", "scopeSpans", "spans"},
    [PERF_OTLP_METRICS] = {"resourceMetrics", "scopeMetrics", "metrics"},
    [PERF_OTLP_LOGS] = {"resourceLogs", "scopeLogs", "logRecords"},
};

static void
copy_in(perfi_body *b, const unsigned char *bytes, size_t size)
{
    if (!perfi_out_need(&b->out, size))
        return;
    memcpy(b->out.bytes + b->out.size, bytes, size);
    b->out.size += size;
}

static void
begin_json(perf_otlp *o, perfi_body *b, perf_otlp_signal signal)
{
    perfi_tree *t = &b->tree;
    perfi_tree start = *t;
    copy_in(b, (const unsigned char *)"{", 1);
    perfi_tree_list(t, label[signal].resources);
    perfi_tree_item(t, 1);
    copy_in(b, o->resource.bytes, o->resource.size);
    t->filled = 1;
    perfi_tree_list(t, label[signal].scopes);
    perfi_tree_item(t, 2);
    put_scope(t);
    perfi_tree_list(t, label[signal].items);
    t->depth = start.depth;
}

bool
perfi_body_begin(perf_otlp *o, perf_otlp_signal signal)
{
    perfi_body *b = &o->body[signal];
    b->out.size = 0;
    b->out.failed = false;
    b->items = 0;
    b->tree = (perfi_tree){.out = &b->out,
                           .json = o->config.format == PERF_OTLP_JSON};
    if (b->tree.json)
        begin_json(o, b, signal);
    else if (perfi_out_need(&b->out, o->resource.size + HEAD_ROOM))
        b->out.size = o->resource.size + HEAD_ROOM;
    b->begin = b->out.size;
    return !b->out.failed;
}

/* The head, right before the items. Returns where it begins. */
static unsigned char *
put_head(perf_otlp *o, perfi_body *b)
{
    unsigned char scope[HEAD_ROOM];
    size_t items = b->out.size - b->begin;
    unsigned char *p = scope;
    *p++ = 1 << 3 | 2; /* scope */
    size_t name = sizeof scope_name - 1, version = strlen(perf_version());
    p = perfi_put_varint(p, 2 + name + 2 + version);
    *p++ = 1 << 3 | 2;
    p = perfi_put_text(p, scope_name, name);
    *p++ = 2 << 3 | 2;
    p = perfi_put_text(p, perf_version(), version);
    size_t scope_size = (size_t)(p - scope);
    size_t in_scope = scope_size + items;
    size_t in_resource =
        o->resource.size + 1 + perfi_varint_size(in_scope) + in_scope;
    size_t head = 1 + perfi_varint_size(in_resource) + o->resource.size + 1 +
                  perfi_varint_size(in_scope) + scope_size;
    unsigned char *start = b->out.bytes + b->begin - head;
    p = start;
    *p++ = 1 << 3 | 2; /* resource_spans */
    p = perfi_put_varint(p, in_resource);
    memcpy(p, o->resource.bytes, o->resource.size);
    p += o->resource.size;
    *p++ = 2 << 3 | 2; /* scope_spans */
    p = perfi_put_varint(p, in_scope);
    memcpy(p, scope, scope_size);
    return start;
}

void
perfi_body_give(perf_otlp *o, perf_otlp_signal signal, perf_otlp_body *out)
{
    static const unsigned char ends[] = "]}]}]}";
    perfi_body *b = &o->body[signal];
    unsigned char *start = b->out.bytes;
    if (!b->tree.json)
        start = put_head(o, b);
    else { /* there is room: perfi_body_keep() saw to it */
        memcpy(b->out.bytes + b->out.size, ends, sizeof ends - 1);
        b->out.size += sizeof ends - 1;
    }
    *out =
        (perf_otlp_body){.signal = (uint32_t)signal,
                         .items = b->items,
                         .size = (size_t)(b->out.bytes + b->out.size - start),
                         .bytes = start};
    o->given = b;
}

/* ---- items ---- */

void
perfi_body_undo(perfi_body *b, size_t size, perfi_tree before)
{
    b->out.size = size;
    b->out.failed = false;
    b->tree = before;
}

perfi_written
perfi_body_keep(perf_otlp *o, perfi_body *b, size_t size, perfi_tree before)
{
    bool fits = !b->out.failed && perfi_out_need(&b->out, PERFI_NUMBER_MAX);
    bool first = b->items == 0;
    if (fits && (first || b->out.size <= o->config.max_bytes)) {
        b->items++;
        return PERFI_WRITTEN;
    }
    perfi_body_undo(b, size, before);
    return first ? PERFI_DROPPED : PERFI_FULL;
}
