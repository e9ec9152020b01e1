/* otlp_item.c - spans and log records in a tree, as protobuf or JSON: field
 * numbers and names are those of opentelemetry-proto 1.x. */
#include "otlp.h"

/* ---- attributes ---- */

static void
put_any(perfi_tree *t, const perfi_value *v)
{
    switch (v->type) {
    case PERFI_VALUE_BOOL:
        perfi_tree_bool(t, 2, "boolValue", v->integer != 0);
        break;
    case PERFI_VALUE_INT: perfi_tree_int64(t, 3, "intValue", v->integer); break;
    case PERFI_VALUE_DOUBLE:
        perfi_tree_double(t, 4, "doubleValue", v->real);
        break;
    case PERFI_VALUE_LIST:
        perfi_tree_open(t, 5, "arrayValue");
        perfi_tree_list(t, "values");
        perfi_tree_item(t, 1);
        perfi_tree_text(t, 1, "stringValue", v->text, v->length);
        perfi_tree_close(t);
        perfi_tree_end_list(t);
        perfi_tree_close(t);
        break;
    default: perfi_tree_text(t, 1, "stringValue", v->text, v->length);
    }
}

void
perfi_values_put(perfi_tree *t, uint32_t field, const perfi_value *value,
                 uint32_t n)
{
    if (!n)
        return;
    perfi_tree_list(t, "attributes");
    for (uint32_t i = 0; i < n; i++) {
        perfi_tree_item(t, field);
        perfi_tree_text(t, 1, "key", value[i].key, value[i].key_length);
        perfi_tree_open(t, 2, "value");
        put_any(t, &value[i]);
        perfi_tree_close(t);
        perfi_tree_close(t);
    }
    perfi_tree_end_list(t);
}

/* ---- log lines ---- */

const char *
perfi_level_text(uint32_t level, uint32_t *number)
{
    static const char *const text[] = {"trace",   "debug", "info",
                                       "warning", "error", "critical"};
    uint32_t i = level < 5 ? level : 5;
    *number = 1 + 4 * i;
    return text[i];
}

static perfi_value
level_value(const char *level)
{
    perfi_value v = {.type = PERFI_VALUE_TEXT, .text = level};
    v.key = perfi_key_text(PERFI_KEY_LEVEL, &v.key_length);
    v.length = (uint32_t)strlen(level);
    return v;
}

void
perfi_log_put(perfi_tree *t, const perfi_line *line, uint64_t observed_ns)
{
    uint32_t number;
    const char *level = perfi_level_text(line->level, &number);
    const uint64_t trace[] = {line->trace_hi, line->trace_lo};
    perfi_value thread = {.type = PERFI_VALUE_INT, .integer = line->thread};
    thread.key = perfi_key_text(PERFI_KEY_THREAD, &thread.key_length);
    perfi_tree_item(t, 2);
    perfi_tree_fixed64(t, 1, "timeUnixNano", line->time_ns);
    perfi_tree_fixed64(t, 11, "observedTimeUnixNano", observed_ns);
    perfi_tree_enum(t, 2, "severityNumber", number);
    perfi_tree_text(t, 3, "severityText", level, strlen(level));
    perfi_tree_open(t, 5, "body");
    perfi_tree_text(t, 1, "stringValue", line->text, line->length);
    perfi_tree_close(t);
    perfi_values_put(t, 6, &thread, 1);
    if (line->span) {
        perfi_tree_id(t, 9, "traceId", trace, 2);
        perfi_tree_id(t, 10, "spanId", &line->span, 1);
    }
    perfi_tree_close(t);
}

/* ---- spans ---- */

static void
put_events(perfi_tree *t, const perfi_view *v)
{
    if (v->events)
        perfi_tree_list(t, "events");
    for (uint32_t i = 0; i < v->events; i++) {
        uint32_t number;
        const perfi_line *line = v->event[i];
        perfi_value level = level_value(perfi_level_text(line->level, &number));
        perfi_tree_item(t, 11);
        perfi_tree_fixed64(t, 1, "timeUnixNano", line->time_ns);
        perfi_tree_text(t, 2, "name", line->text, line->length);
        perfi_values_put(t, 3, &level, 1);
        perfi_tree_close(t);
    }
    if (v->events)
        perfi_tree_end_list(t);
    if (v->events_dropped)
        perfi_tree_enum(t, 12, "droppedEventsCount", v->events_dropped);
}

static void
put_link(perfi_tree *t, const perfi_view *v)
{
    const uint64_t trace[] = {v->link_hi, v->link_lo};
    perfi_tree_list(t, "links");
    perfi_tree_item(t, 13);
    perfi_tree_id(t, 1, "traceId", trace, 2);
    perfi_tree_id(t, 2, "spanId", &v->link_id, 1);
    perfi_tree_close(t);
    perfi_tree_end_list(t);
}

void
perfi_span_tree(perfi_tree *t, const perfi_view *v)
{
    const perf_record *r = v->record;
    const uint64_t trace[] = {r->trace_hi, r->trace_lo};
    perfi_tree_item(t, 2);
    perfi_tree_id(t, 1, "traceId", trace, 2);
    perfi_tree_id(t, 2, "spanId", &r->id, 1);
    if (r->parent)
        perfi_tree_id(t, 4, "parentSpanId", &r->parent, 1);
    perfi_tree_text(t, 5, "name", v->name, v->name_length);
    perfi_tree_enum(t, 6, "kind", v->kind);
    perfi_tree_fixed64(t, 7, "startTimeUnixNano", v->start_ns);
    perfi_tree_fixed64(t, 8, "endTimeUnixNano", v->end_ns);
    perfi_values_put(t, 9, v->value, v->values);
    put_events(t, v);
    if (v->link_id)
        put_link(t, v);
    if (v->code) {
        perfi_tree_open(t, 15, "status");
        perfi_tree_enum(t, 3, "code", v->code);
        perfi_tree_close(t);
    }
    perfi_tree_close(t);
}
