/* otlp.c - an encoder: made, fed with a reader's records, asked for bodies. */
#include "otlp.h"

/* ---- made and destroyed ---- */

void
perf_otlp_config_init(perf_otlp_config *config, uint32_t size)
{
    if (!config)
        return;
    perf_otlp_config c = {.size = size,
                          .version = PERF_OTLP_CONFIG_VERSION,
                          .signals = (1u << PERF_OTLP_SIGNALS) - 1,
                          .max_bytes = 4 << 20};
    memset(config, 0, size);
    memcpy(config, &c, size < sizeof c ? size : sizeof c);
}

perf_err
perfi_otlp_check(const perf_otlp_config *c)
{
    if (c->size != sizeof *c || c->version != PERF_OTLP_CONFIG_VERSION)
        return PERF_ERR_VERSION;
    if (c->format > PERF_OTLP_JSON || c->lines > PERF_OTLP_LINES_RECORDS ||
        c->histograms > PERF_OTLP_EXPLICIT)
        return PERF_ERR_INVALID;
    for (const char *const *pair = c->resource; pair && *pair; pair += 2)
        if (!**pair || !pair[1])
            return PERF_ERR_INVALID;
    return c->max_bytes < 4096 || c->max_bytes > PERF_OTLP_BODY_MAX_BYTES
               ? PERF_ERR_RANGE
               : PERF_OK;
}

static perf_err
allocate(perf_otlp *o, const char *const *resource)
{
    const perf_allocator *a = o->allocator;
    o->names = a->alloc(sizeof *o->names, a->ctx);
    o->batch = a->alloc(PERFI_BATCH * sizeof *o->batch, a->ctx);
    if (!o->names || !o->batch)
        return PERF_ERR_NOMEM;
    o->names->allocator = a;
    o->names->reader = o->reader;
    for (int i = 0; i < PERF_OTLP_SIGNALS; i++)
        o->body[i].out.allocator = a;
    perf_err err = perf_reader_info_get(o->reader, &o->info);
    return err ? err : perfi_resource_make(o, resource);
}

perf_err
perf_otlp_create(perf_reader *reader, const perf_otlp_config *config,
                 perf_otlp **out)
{
    perf_otlp_config c;
    if (!out)
        return PERF_ERR_INVALID;
    *out = NULL;
    perf_otlp_config_init(&c, sizeof c);
    if (config)
        c = *config;
    perf_err err = reader ? perfi_otlp_check(&c) : PERF_ERR_INVALID;
    if (err)
        return err;
    const perf_allocator *a = c.allocator ? c.allocator : perf_allocator_libc();
    perf_otlp *o = a->alloc(sizeof *o, a->ctx);
    if (!o)
        return PERF_ERR_NOMEM;
    o->allocator = a;
    o->reader = reader;
    o->config = c;
    o->config.resource = NULL; /* the caller's */
    err = allocate(o, c.resource);
    if (err) {
        perf_otlp_destroy(o);
        return err;
    }
    *out = o;
    return PERF_OK;
}

void
perf_otlp_destroy(perf_otlp *o)
{
    if (!o)
        return;
    const perf_allocator *a = o->allocator;
    for (int i = 0; i < PERF_OTLP_SIGNALS; i++)
        if (o->body[i].out.bytes)
            perfi_out_free(&o->body[i].out);
    a->free(o->resource.bytes, o->resource.room, a->ctx);
    if (o->names)
        perfi_names_free(o->names);
    a->free(o->names, sizeof *o->names, a->ctx);
    a->free(o->batch, PERFI_BATCH * sizeof *o->batch, a->ctx);
    a->free(o->bucket, PERF_BUCKETS_MAX * sizeof *o->bucket, a->ctx);
    perfi_lines_destroy(o);
    a->free(o, sizeof *o, a->ctx);
}

/* ---- items ---- */

static bool
wants(const perf_otlp *o, perf_otlp_signal signal)
{
    return o->config.signals & 1u << signal;
}

static perfi_written
add_span(perf_otlp *o, const perf_record *record)
{
    perfi_body *b = &o->body[PERF_OTLP_TRACES];
    if (!b->items && !perfi_body_begin(o, PERF_OTLP_TRACES))
        return PERFI_DROPPED;
    perfi_tree before = b->tree;
    size_t size = b->out.size;
    perfi_view_make(o, record);
    perfi_lines_find(o, &o->view);
    if (b->tree.json)
        perfi_span_tree(&b->tree, &o->view);
    else
        perfi_span_proto(&b->out, &o->view);
    perfi_written written = perfi_body_keep(o, b, size, before);
    if (written == PERFI_WRITTEN) {
        o->stats.spans++;
        o->stats.events += o->view.events;
        o->stats.dropped += o->view.events_dropped;
    }
    return written;
}

static perfi_written
add_log(perf_otlp *o, const perfi_line *line)
{
    perfi_body *b = &o->body[PERF_OTLP_LOGS];
    if (!wants(o, PERF_OTLP_LOGS) ||
        (!b->items && !perfi_body_begin(o, PERF_OTLP_LOGS)))
        return PERFI_DROPPED;
    perfi_tree before = b->tree;
    size_t size = b->out.size;
    perfi_log_put(&b->tree, line, perfi_unix_ns(o, o->info.latest_ns));
    perfi_written written = perfi_body_keep(o, b, size, before);
    o->stats.log_records += written == PERFI_WRITTEN;
    return written;
}

static void
line_of(perf_otlp *o, const perf_record *record, perfi_line *to)
{
    perf_attribute text = {0};
    perf_record_attributes(record, &text, 1);
    size_t length = text.type == PERF_ATTRIBUTE_TEXT ? text.length : 0;
    if (length > PERF_TEXT_MAX_BYTES)
        length = PERF_TEXT_MAX_BYTES;
    *to = (perfi_line){.span = record->parent,
                       .time_ns = perfi_unix_ns(o, record->start_ns),
                       .trace_hi = record->trace_hi,
                       .trace_lo = record->trace_lo,
                       .level = record->status,
                       .thread = record->thread};
    to->length = (uint16_t)perfi_text_mend(to->text, text.text, length);
}

static perfi_written
take_span(perf_otlp *o, const perf_record *record)
{
    if (!record->parent)
        perfi_root_note(o, record);
    perfi_written written = PERFI_WRITTEN;
    if (wants(o, PERF_OTLP_TRACES))
        written = add_span(o, record);
    uint32_t lines =
        written != PERFI_FULL ? perfi_lines_free(o, record->id) : 0;
    o->stats.dropped += written == PERFI_DROPPED ? lines : 0;
    return written;
}

static perfi_written
take_line(perf_otlp *o, const perf_record *record)
{
    perfi_line line;
    line_of(o, record, &line);
    bool waits = o->config.lines == PERF_OTLP_LINES_EVENTS &&
                 wants(o, PERF_OTLP_TRACES) && line.span;
    return waits && perfi_lines_add(o, &line) ? PERFI_WRITTEN
                                              : add_log(o, &line);
}

/* ---- bodies ---- */

/* What the caller was given by the last call is not needed any more. */
static perf_err
begin_call(perf_otlp *o, perf_otlp_body *out)
{
    if (!o || !out)
        return PERF_ERR_INVALID;
    *out = (perf_otlp_body){0};
    if (o->given)
        o->given->items = 0;
    o->given = NULL;
    return perf_reader_info_get(o->reader, &o->info);
}

static const perf_record *
next_record(perf_otlp *o)
{
    if (o->batch_at == o->batch_count) {
        o->batch_at = 0;
        o->batch_count =
            (uint32_t)perf_reader_records(o->reader, o->batch, PERFI_BATCH);
    }
    return o->batch_count ? &o->batch[o->batch_at] : NULL;
}

/* Line after line becomes a log record. False: the body must go first. */
static bool
add_orphans(perf_otlp *o, bool all)
{
    perfi_line *line;
    while ((line = perfi_lines_orphan(o, all))) {
        perfi_written written = add_log(o, line);
        if (written == PERFI_FULL)
            return false;
        o->stats.dropped += written == PERFI_DROPPED;
        perfi_line_free(o, line);
    }
    return true;
}

static bool
add_evicted(perf_otlp *o)
{
    if (!o->evicted.span)
        return true;
    perfi_written written = add_log(o, &o->evicted);
    if (written == PERFI_FULL)
        return false;
    o->stats.dropped += written == PERFI_DROPPED;
    o->evicted.span = 0;
    return true;
}

/* Records, until there are no more. False: a body is full; `which` says. */
static bool
add_records(perf_otlp *o, perf_otlp_signal *which)
{
    const perf_record *record;
    *which = PERF_OTLP_LOGS;
    while (add_evicted(o) && (record = next_record(o))) {
        bool is_span = record->type == PERF_RECORD_SPAN;
        perfi_written written =
            is_span ? take_span(o, record) : take_line(o, record);
        if (written == PERFI_FULL) {
            *which = is_span ? PERF_OTLP_TRACES : PERF_OTLP_LOGS;
            return false;
        }
        o->stats.dropped += written == PERFI_DROPPED;
        o->batch_at++;
    }
    return !o->evicted.span;
}

static void
give_what_there_is(perf_otlp *o, perf_otlp_body *out)
{
    if (o->body[PERF_OTLP_TRACES].items)
        perfi_body_give(o, PERF_OTLP_TRACES, out);
    else if (o->body[PERF_OTLP_LOGS].items)
        perfi_body_give(o, PERF_OTLP_LOGS, out);
}

perf_err
perf_otlp_records(perf_otlp *o, perf_otlp_body *out)
{
    perf_otlp_signal which;
    perf_err err = begin_call(o, out);
    if (err)
        return err;
    if (!add_records(o, &which)) {
        perfi_body_give(o, which, out);
        return PERF_OK;
    }
    if (!o->settled)
        perfi_lines_settle(o);
    o->settled = true;
    if (add_orphans(o, false))
        give_what_there_is(o, out);
    else
        perfi_body_give(o, PERF_OTLP_LOGS, out);
    o->settled = out->items != 0;
    return PERF_OK;
}

perf_err
perf_otlp_rest(perf_otlp *o, perf_otlp_body *out)
{
    perf_err err = begin_call(o, out);
    if (err)
        return err;
    add_orphans(o, true);
    give_what_there_is(o, out);
    return PERF_OK;
}

void
perf_otlp_stats_now(const perf_otlp *o, perf_otlp_stats *out)
{
    if (!out)
        return;
    *out = o ? o->stats : (perf_otlp_stats){0};
    if (!o)
        return;
    out->lost = perf_reader_lost(o->reader);
    out->lines_waiting = o->lines.waiting;
}
