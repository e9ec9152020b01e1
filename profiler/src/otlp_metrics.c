/* otlp_metrics.c - totals as metrics: cumulative since the program's start.
 *
 * A table says which metrics there are; each looks at every name and makes a
 * point of it, or none. Counters, gauges and timings of the program come last,
 * each under its own name. */
#include "otlp.h"

enum { CUMULATIVE = 2 }; /* AggregationTemporality */

/** What a metric is: protobuf's field in Metric. */
typedef enum shape {
    GAUGE = 5,
    SUM = 7,
    HISTOGRAM = 9,
    EXPONENTIAL = 10,
} shape;

typedef struct point {
    perfi_value value[4];
    uint32_t values;
    uint32_t name;  /* a duration: whose buckets; */
    uint64_t count; /* a histogram without buckets: how many, */
    uint64_t sum;   /* and their sum; a sum */
    double gauge;
} point;

typedef struct metric metric;
struct metric {
    const char *name, *unit, *description;
    shape shape;
    bool durations;
    /* The `part`-th point of a name; false: there is none. */
    bool (*make)(perf_otlp *o, uint32_t name, uint32_t part, point *out);
    uint32_t parts; /* of one name, at most */
};

/* ---- durations as histograms ---- */

static double
seconds(uint64_t ns)
{
    return (double)ns / 1e9;
}

static void
put_duration(perf_otlp *o, perfi_tree *t, const point *p, shape s)
{
    perf_totals totals;
    uint64_t count = 0;
    perf_reader_totals(o->reader, p->name, &totals);
    size_t n =
        perf_reader_buckets(o->reader, p->name, o->bucket, PERF_BUCKETS_MAX);
    for (size_t i = 0; i < n; i++)
        count += o->bucket[i].count;
    perfi_tree_fixed64(t, 4, "count", count);
    perfi_tree_double(t, 5, "sum", seconds(totals.sum_ns));
    perfi_tree_double(t, s == EXPONENTIAL ? 12 : 11, "min",
                      seconds(totals.min_ns));
    perfi_tree_double(t, s == EXPONENTIAL ? 13 : 12, "max",
                      seconds(totals.max_ns));
    if (s == EXPONENTIAL)
        perfi_exponential_put(t, o->bucket, n);
    else
        perfi_explicit_put(t, o->bucket, n);
}

/* ---- points ---- */

static int64_t
bounded(uint64_t value)
{
    return value < INT64_MAX ? (int64_t)value : INT64_MAX;
}

static void
put_point(perf_otlp *o, perfi_tree *t, const point *p, const metric *m,
          uint64_t time_ns)
{
    /* the field of attributes differs for historical reasons */
    uint32_t field = m->shape == HISTOGRAM     ? 9
                     : m->shape == EXPONENTIAL ? 1
                                               : 7;
    perfi_tree_item(t, 1);
    perfi_values_put(t, field, p->value, p->values);
    if (m->shape != GAUGE)
        perfi_tree_fixed64(t, 2, "startTimeUnixNano",
                           perfi_unix_ns(o, o->info.start_ns));
    perfi_tree_fixed64(t, 3, "timeUnixNano", time_ns);
    if (m->shape == GAUGE)
        perfi_tree_double(t, 4, "asDouble", p->gauge);
    else if (m->shape == SUM)
        perfi_tree_signed64(t, 6, "asInt", bounded(p->sum));
    else if (m->durations)
        put_duration(o, t, p, m->shape);
    else {
        perfi_tree_fixed64(t, 4, "count", p->count);
        perfi_tree_double(t, 5, "sum", (double)p->sum);
    }
    perfi_tree_close(t);
}

static void
begin_metric(perfi_tree *t, const metric *m, const char *name, size_t length)
{
    static const char *const data[] = {[GAUGE] = "gauge",
                                       [SUM] = "sum",
                                       [HISTOGRAM] = "histogram",
                                       [EXPONENTIAL] = "exponentialHistogram"};
    perfi_tree_item(t, 2);
    perfi_tree_text(t, 1, "name", name, length);
    perfi_tree_text(t, 2, "description", m->description,
                    strlen(m->description));
    perfi_tree_text(t, 3, "unit", m->unit, strlen(m->unit));
    perfi_tree_open(t, m->shape, data[m->shape]);
    perfi_tree_list(t, "dataPoints");
}

static void
end_metric(perfi_tree *t, const metric *m)
{
    perfi_tree_end_list(t);
    if (m->shape != GAUGE)
        perfi_tree_enum(t, 2, "aggregationTemporality", CUMULATIVE);
    if (m->shape == SUM)
        perfi_tree_bool(t, 3, "isMonotonic", true);
    perfi_tree_close(t);
    perfi_tree_close(t);
}

/* ---- which metrics there are ---- */

static perfi_value
text_value(perfi_key key, const char *text, size_t length)
{
    perfi_value v = {.type = PERFI_VALUE_TEXT, .text = text};
    v.key = perfi_key_text(key, &v.key_length);
    v.length = (uint32_t)length;
    return v;
}

/* Of an operation that was called: "llm", and its name. */
static bool
operation_point(perf_otlp *o, uint32_t name, point *out, perf_totals *totals)
{
    const perfi_name *n = perfi_names_get(o->names, name);
    *out = (point){.name = name};
    if (n->kind > PERF_KIND_REQUEST ||
        perf_reader_totals(o->reader, name, totals) || !totals->count)
        return false;
    const perfi_word *kind = &perfi_operation_of((perf_kind)n->kind)->kind;
    out->value[0] = text_value(PERFI_KEY_KIND, kind->text, kind->length);
    out->value[1] = text_value(PERFI_KEY_NAME, n->text, n->length);
    out->values = 2;
    return true;
}

static bool
make_duration(perf_otlp *o, uint32_t name, uint32_t part, point *out)
{
    perf_totals totals;
    (void)part;
    return operation_point(o, name, out, &totals);
}

static bool
make_errors(perf_otlp *o, uint32_t name, uint32_t part, point *out)
{
    perf_totals totals;
    (void)part;
    if (!operation_point(o, name, out, &totals))
        return false;
    out->sum = totals.errors;
    return out->sum != 0;
}

static bool
make_cancelled(perf_otlp *o, uint32_t name, uint32_t part, point *out)
{
    perf_totals totals;
    (void)part;
    if (!operation_point(o, name, out, &totals))
        return false;
    out->sum = totals.cancelled;
    return out->sum != 0;
}

static bool
make_quantity(perf_otlp *o, uint32_t name, uint32_t part, point *out)
{
    perf_totals totals;
    if (!operation_point(o, name, out, &totals) || part >= totals.quantities)
        return false;
    const perfi_name *key =
        perfi_names_get(o->names, totals.quantity_key[part]);
    out->value[out->values++] =
        text_value(PERFI_KEY_QUANTITY, key->text, key->length);
    out->sum = totals.quantity_sum[part];
    return true;
}

static bool
is_model(const perf_otlp *o, uint32_t name)
{
    uint8_t kind = o->names->name[name].kind;
    return kind == PERF_KIND_LLM || kind == PERF_KIND_EMBEDDING;
}

static void
name_operation(perf_otlp *o, uint32_t name, point *out)
{
    const perfi_word *verb =
        &perfi_operation_of((perf_kind)o->names->name[name].kind)->name;
    out->value[0] = text_value(PERFI_KEY_OPERATION, verb->text, verb->length);
}

static bool
make_model_duration(perf_otlp *o, uint32_t name, uint32_t part, point *out)
{
    perf_totals totals;
    (void)part;
    if (!operation_point(o, name, out, &totals) || !is_model(o, name))
        return false;
    name_operation(o, name, out);
    return true;
}

/* The conventions want a histogram; what is known is the sum and how many calls
 * came to a good end: a histogram without buckets. */
static bool
make_tokens(perf_otlp *o, uint32_t name, uint32_t part, point *out)
{
    perf_totals totals;
    if (!operation_point(o, name, out, &totals) || !is_model(o, name) ||
        part >= totals.quantities)
        return false;
    uint8_t key = perfi_names_get(o->names, totals.quantity_key[part])->key;
    if (key != PERFI_KEY_INPUT_TOKENS && key != PERFI_KEY_OUTPUT_TOKENS)
        return false;
    const char *type = key == PERFI_KEY_INPUT_TOKENS ? "input" : "output";
    name_operation(o, name, out);
    out->value[out->values] = (perfi_value){.type = PERFI_VALUE_TEXT,
                                            .key = "gen_ai.token.type",
                                            .key_length = 17,
                                            .text = type};
    out->value[out->values++].length = (uint32_t)strlen(type);
    out->sum = totals.quantity_sum[part];
    uint64_t bad = totals.errors + totals.cancelled;
    out->count = totals.count > bad ? totals.count - bad : 0;
    return true;
}

/* Not of a name: of the whole segment, told once. */
static bool
make_lost(perf_otlp *o, uint32_t name, uint32_t part, point *out)
{
    const perf_segment_stats *s = &o->info.stats;
    const struct {
        const char *what;
        uint64_t count;
    } lost[] = {{"records", s->dropped_records},
                {"values", s->dropped_values},
                {"attributes", s->dropped_attributes},
                {"cut_texts", s->cut_texts},
                {"names", s->names_over},
                {"overwritten_records", perf_reader_lost(o->reader)},
                {"records_without_memory", o->stats.dropped}};
    if (name || part >= sizeof lost / sizeof *lost || !lost[part].count)
        return false;
    *out = (point){.sum = lost[part].count, .values = 1};
    out->value[0] =
        text_value(PERFI_KEY_LOST, lost[part].what, strlen(lost[part].what));
    return true;
}

static const metric metrics[] = {
    {"libperf.operation.duration", "s", "How long operations took", EXPONENTIAL,
     true, make_duration, 1},
    {"libperf.operation.errors", "{error}", "Operations that ended in an error",
     SUM, false, make_errors, 1},
    {"libperf.operation.cancelled", "{operation}",
     "Operations that were cancelled", SUM, false, make_cancelled, 1},
    {"libperf.operation.quantity", "1", "What operations added up, by key", SUM,
     false, make_quantity, PERF_QUANTITIES_MAX},
    {"gen_ai.client.operation.duration", "s", "GenAI operation duration",
     EXPONENTIAL, true, make_model_duration, 1},
    {"gen_ai.client.token.usage", "{token}",
     "Number of input and output tokens used", HISTOGRAM, false, make_tokens,
     PERF_QUANTITIES_MAX},
    {"libperf.lost", "{item}", "What was recorded and could not be kept", SUM,
     false, make_lost, 8},
};
enum { METRICS = sizeof metrics / sizeof *metrics };

/* ---- the program's own ---- */

static bool
own_metric(perf_otlp *o, uint32_t name, metric *m, point *p)
{
    perf_totals totals;
    const perfi_name *n = perfi_names_get(o->names, name);
    if (n->kind < PERF_KIND_COUNTER || n->kind > PERF_KIND_TIMING ||
        perf_reader_totals(o->reader, name, &totals))
        return false;
    *m = (metric){.unit = "1", .description = "", .shape = SUM};
    *p = (point){.name = name, .sum = totals.sum_ns, .gauge = totals.gauge};
    if (n->kind == PERF_KIND_COUNTER)
        return totals.sum_ns != 0;
    if (n->kind == PERF_KIND_GAUGE) {
        m->shape = GAUGE;
        return totals.gauge_ns != 0;
    }
    m->unit = "s";
    m->shape = EXPONENTIAL;
    m->durations = true;
    return totals.count != 0;
}

static shape
shape_of(const perf_otlp *o, const metric *m)
{
    return m->durations && o->config.histograms == PERF_OTLP_EXPLICIT
               ? HISTOGRAM
               : m->shape;
}

/* ---- bodies ---- */

/* Where a metric was begun, to be taken back when no point finds room. */
typedef struct mark {
    perfi_tree tree;
    size_t size;
    bool open;
} mark;

/* Write a point, behind the beginning of its metric. False: the body must go
 * first. A point that there is no memory for is dropped. */
static bool
add_point(perf_otlp *o, const metric *m, const char *name, size_t length,
          const point *p, uint64_t time_ns, mark *at)
{
    perfi_body *b = &o->body[PERF_OTLP_METRICS];
    if (!at->open) {
        if (!b->items && !perfi_body_begin(o, PERF_OTLP_METRICS)) {
            o->stats.dropped++;
            return true;
        }
        *at = (mark){.tree = b->tree, .size = b->out.size};
        begin_metric(&b->tree, m, name, length);
    }
    perfi_tree before = b->tree;
    size_t size = b->out.size;
    put_point(o, &b->tree, p, m, time_ns);
    perfi_written written = perfi_body_keep(o, b, size, before);
    if (written == PERFI_WRITTEN) {
        at->open = true;
        o->stats.data_points++;
        return true;
    }
    if (!at->open)
        perfi_body_undo(b, at->size, at->tree);
    o->stats.dropped += written == PERFI_DROPPED;
    return written == PERFI_DROPPED;
}

static void
close_metric(perf_otlp *o, const metric *m, mark *at)
{
    perfi_body *b = &o->body[PERF_OTLP_METRICS];
    if (at->open)
        end_metric(&b->tree, m);
    if (b->out.failed || !perfi_out_need(&b->out, PERFI_NUMBER_MAX)) {
        /* no memory for a few bytes: without this metric */
        b->items = 0;
        perfi_body_undo(b, at->size, at->tree);
    }
    at->open = false;
}

/* One of the table. False: the body is full. */
static bool
add_metric(perf_otlp *o, const metric *of, uint64_t time_ns)
{
    metric m = *of;
    point p;
    mark at = {.open = false};
    bool room = true;
    m.shape = shape_of(o, of);
    while (room && o->metric_name < o->info.names) {
        if (o->metric_part >= m.parts) {
            o->metric_part = 0;
            o->metric_name++;
            continue;
        }
        if (m.make(o, o->metric_name, o->metric_part, &p))
            room = add_point(o, &m, m.name, strlen(m.name), &p, time_ns, &at);
        o->metric_part += room;
    }
    if (at.open)
        close_metric(o, &m, &at);
    return room;
}

static bool
add_own(perf_otlp *o, uint64_t time_ns)
{
    metric m;
    point p;
    for (; o->metric_name < o->info.names; o->metric_name++) {
        mark at = {.open = false};
        if (!own_metric(o, o->metric_name, &m, &p))
            continue;
        const perfi_name *n = perfi_names_get(o->names, o->metric_name);
        m.shape = shape_of(o, &m);
        if (!add_point(o, &m, n->text, n->length, &p, time_ns, &at))
            return false;
        if (at.open)
            close_metric(o, &m, &at);
    }
    return true;
}

static bool
has_buckets(perf_otlp *o)
{
    if (!o->bucket)
        o->bucket = o->allocator->alloc(PERF_BUCKETS_MAX * sizeof *o->bucket,
                                        o->allocator->ctx);
    return o->bucket != NULL;
}

static bool
add_all(perf_otlp *o, uint64_t time_ns)
{
    for (; o->metric <= METRICS; o->metric++, o->metric_name = 0)
        if (!(o->metric < METRICS ? add_metric(o, &metrics[o->metric], time_ns)
                                  : add_own(o, time_ns)))
            return false;
    o->metric = 0;
    return true;
}

perf_err
perf_otlp_metrics(perf_otlp *o, uint64_t now_ns, perf_otlp_body *out)
{
    if (!o || !out)
        return PERF_ERR_INVALID;
    *out = (perf_otlp_body){0};
    perfi_body *b = &o->body[PERF_OTLP_METRICS];
    if (o->given)
        o->given->items = 0;
    o->given = NULL;
    perf_err err = perf_reader_info_get(o->reader, &o->info);
    if (err || !(o->config.signals & 1u << PERF_OTLP_METRICS))
        return err;
    if (!has_buckets(o)) {
        o->stats.dropped++;
        return PERF_OK;
    }
    /* the call after the last body: nothing, and then all of it again */
    if (o->metrics_done) {
        o->metrics_done = false;
        return PERF_OK;
    }
    o->metrics_done =
        add_all(o, perfi_unix_ns(o, now_ns ? now_ns : o->info.latest_ns));
    if (b->items)
        perfi_body_give(o, PERF_OTLP_METRICS, out);
    else
        o->metrics_done = false;
    return PERF_OK;
}
