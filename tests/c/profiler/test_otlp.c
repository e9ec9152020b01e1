/* test_otlp.c - the encoder: whole requests within their bound, the fast way to
 * write a span beside the plain one, and no memory at any moment. What the
 * requests mean is tested in Python, by the published protobufs. */
#include "otlp.h"
#include "pt.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- a minimal reader of protobuf: is it whole, and how many items ---- */

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

/* How many fields of this number a message has; -1: it is none. `first`: where
 * the first of them is. */
static int
fields(const uint8_t *at, size_t size, uint32_t number, const uint8_t **first,
       size_t *first_size)
{
    const uint8_t *end = at + size;
    int found = 0;
    while (at < end) {
        uint64_t tag, length = 0;
        if (!varint(&at, end, &tag))
            return -1;
        if ((tag & 7) == 0) {
            if (!varint(&at, end, &length))
                return -1;
            length = 0;
        } else if ((tag & 7) == 1)
            length = 8;
        else if ((tag & 7) != 2 || !varint(&at, end, &length))
            return -1;
        if (length > (uint64_t)(end - at))
            return -1;
        if (tag >> 3 == number && !found++ && first) {
            *first = at;
            *first_size = (size_t)length;
        }
        at += length;
    }
    return found;
}

static int
items_in(const perf_otlp_body *body)
{
    const uint8_t *resource = NULL, *scope = NULL;
    size_t resource_size = 0, scope_size = 0;
    ck_assert_int_eq(
        fields(body->bytes, body->size, 1, &resource, &resource_size), 1);
    ck_assert_int_eq(fields(resource, resource_size, 1, NULL, NULL), 1);
    ck_assert_int_eq(fields(resource, resource_size, 2, &scope, &scope_size),
                     1);
    ck_assert_int_eq(fields(scope, scope_size, 1, NULL, NULL), 1);
    return fields(scope, scope_size, 2, NULL, NULL);
}

/* ---- something to encode ---- */

enum { SPANS = 700 };

static void
record(void)
{
    uint32_t model = pt_name(PERF_KIND_KEY, "model");
    uint32_t gpt = pt_name(PERF_KIND_TEXT, "gpt-4o");
    uint32_t text = pt_name(PERF_KIND_KEY, "text");
    uint32_t batch = pt_name(PERF_KIND_KEY, "batch");
    for (uint32_t i = 0; i < SPANS; i++) {
        uint32_t name = pt_name((perf_kind)(i % 8), "name");
        perf_span root = perf_span_begin(name, (perf_span){0});
        perf_span child = perf_span_begin(name, root);
        char id[17];
        snprintf(id, sizeof id, "%016llx", (unsigned long long)root.id);
        perf_span_set_name(root, model, gpt);
        perf_span_set_text(child, text, "\xff\x01 caf\xc3\xa9", 8);
        perf_span_set_float(child, text, 0.1 * i);
        perf_span_set_text(child, batch, id, 16);
        perf_span_set_int(root, pt_name(PERF_KIND_QUANTITY, "tokens"), i);
        perf_span_log(root, i % 7, "a line", 6);
        perf_span_end_as(root, (perf_status)(i % 3), i % 2);
        perf_span_end(child);
    }
    perf_metric_add(pt_name(PERF_KIND_COUNTER, "c"), 3);
    perf_metric_set(pt_name(PERF_KIND_GAUGE, "g"), 0.25);
    for (uint64_t v = 1; v; v <<= 3)
        perf_metric_record(pt_name(PERF_KIND_TIMING, "t"), v);
}

typedef struct sums {
    uint64_t items[PERF_OTLP_SIGNALS], bodies, most;
} sums;

static void
add_body(const perf_otlp *o, const perf_otlp_body *body, sums *s)
{
    if (o->config.format == PERF_OTLP_PROTOBUF &&
        body->signal != PERF_OTLP_METRICS)
        ck_assert_int_eq(items_in(body), (int)body->items);
    else if (o->config.format == PERF_OTLP_JSON) {
        ck_assert_int_eq(body->bytes[0], '{');
        ck_assert(!memcmp(body->bytes + body->size - 6, "]}]}]}", 6));
    }
    s->items[body->signal] += body->items;
    s->bodies++;
    s->most = body->size > s->most ? body->size : s->most;
}

static sums
encode_all(perf_otlp *o)
{
    sums s = {0};
    perf_otlp_body body;
    while (!perf_otlp_records(o, &body) && body.items)
        add_body(o, &body, &s);
    while (!perf_otlp_rest(o, &body) && body.items)
        add_body(o, &body, &s);
    while (!perf_otlp_metrics(o, 0, &body) && body.items)
        add_body(o, &body, &s);
    return s;
}

static perf_otlp_config
config_of(perf_otlp_format format, uint64_t max_bytes)
{
    perf_otlp_config c;
    perf_otlp_config_init(&c, sizeof c);
    c.format = format;
    c.max_bytes = max_bytes;
    return c;
}

/* ---- tests ---- */

START_TEST(test_bodies_are_whole_and_bounded)
{
    record();
    for (uint32_t lines = 0; lines < 2; lines++)
        for (int format = 0; format < 2; format++)
            for (uint64_t max = 4096; max <= 4 << 20; max *= 32) {
                perf_reader *reader = pt_self();
                perf_otlp *o;
                perf_otlp_config c = config_of((perf_otlp_format)format, max);
                c.lines = lines;
                ck_assert_int_eq(perf_otlp_create(reader, &c, &o), PERF_OK);
                sums s = encode_all(o);
                perf_otlp_stats stats;
                perf_otlp_stats_now(o, &stats);
                ck_assert_uint_eq(s.items[PERF_OTLP_TRACES], 2 * SPANS);
                ck_assert_uint_eq(s.items[PERF_OTLP_LOGS], lines ? SPANS : 0);
                ck_assert_uint_eq(stats.events, lines ? 0 : SPANS);
                ck_assert_uint_eq(stats.dropped, 0);
                ck_assert_uint_le(s.most, max + 64);
                perf_otlp_destroy(o);
                perf_reader_close(reader);
            }
}
END_TEST

START_TEST(test_the_fast_way_writes_the_same_bytes)
{
    record();
    perf_reader *reader = pt_self();
    perf_otlp *o;
    ck_assert_int_eq(perf_otlp_create(reader, NULL, &o), PERF_OK);
    size_t n;
    perf_record *records = pt_records(reader, 64, &n);
    perfi_line line = {.time_ns = 7, .level = 3, .length = 200};
    memset(line.text, 'x', sizeof line.text);
    for (size_t i = 0; i < n; i++) {
        if (records[i].type != PERF_RECORD_SPAN)
            continue;
        perfi_out fast = {.allocator = perf_allocator_libc()}, plain = fast;
        perfi_tree tree = {.out = &plain};
        if (!records[i].parent)
            perfi_root_note(o, &records[i]);
        perfi_view_make(o, &records[i]);
        for (uint32_t events = (uint32_t)i % 5 * 30; o->view.events < events;
             o->view.events++)
            o->view.event[o->view.events] = &line;
        o->view.events_dropped = (uint32_t)i % 3;
        perfi_span_proto(&fast, &o->view);
        perfi_span_tree(&tree, &o->view);
        PT_ASSERT(fast.size == plain.size);
        PT_ASSERT(!memcmp(fast.bytes, plain.bytes, fast.size));
        perfi_out_free(&fast);
        perfi_out_free(&plain);
    }
    free(records);
    perf_otlp_destroy(o);
    perf_reader_close(reader);
}
END_TEST

START_TEST(test_no_memory_at_any_moment)
{
    record();
    for (int format = 0; format < 2; format++) {
        uint64_t failed = 0;
        for (uint64_t allowed = 0;; allowed++) {
            pt_alloc a;
            perf_reader *reader = pt_self();
            perf_otlp *o = NULL;
            perf_otlp_config c = config_of((perf_otlp_format)format, 65536);
            pt_alloc_init(&a, allowed);
            c.allocator = &a.face;
            perf_err err = perf_otlp_create(reader, &c, &o);
            ck_assert(!err || err == PERF_ERR_NOMEM);
            bool all = !err;
            if (!err) {
                sums s = encode_all(o);
                perf_otlp_stats stats;
                perf_otlp_stats_now(o, &stats);
                uint64_t kept = s.items[PERF_OTLP_TRACES] +
                                s.items[PERF_OTLP_LOGS] + stats.events;
                all = kept == 3 * SPANS && !stats.dropped;
                ck_assert_uint_le(kept, 3 * SPANS);
                ck_assert_uint_ge(kept + stats.dropped, 3 * SPANS);
            }
            perf_otlp_destroy(o);
            perf_reader_close(reader);
            ck_assert_uint_eq(a.live, 0);
            ck_assert(!a.wrong_size);
            failed += !all;
            if (a.calls <= allowed) {
                ck_assert(all);
                break;
            }
        }
        ck_assert_uint_gt(failed, 4);
    }
}
END_TEST

START_TEST(test_memory_that_comes_back)
{
    record();
    pt_alloc a;
    perf_otlp *o;
    perf_otlp_body body;
    perf_reader *reader = pt_self();
    perf_otlp_config c = config_of(PERF_OTLP_PROTOBUF, 65536);
    pt_alloc_init(&a, UINT64_MAX);
    c.allocator = &a.face;
    ck_assert_int_eq(perf_otlp_create(reader, &c, &o), PERF_OK);
    a.allowed = a.calls; /* none from now on */
    ck_assert_int_eq(perf_otlp_records(o, &body), PERF_OK);
    ck_assert_uint_eq(body.items, 0);
    a.allowed = UINT64_MAX;
    perf_span_end(perf_span_begin(PERF_KIND_SPAN, (perf_span){0}));
    ck_assert_int_eq(perf_reader_refresh_blocking(reader), PERF_OK);
    ck_assert_int_eq(perf_otlp_records(o, &body), PERF_OK);
    ck_assert_uint_eq(body.items, 1);
    perf_otlp_destroy(o);
    perf_reader_close(reader);
    ck_assert_uint_eq(a.live, 0);
}
END_TEST

START_TEST(test_signals_that_nobody_wants)
{
    record();
    for (uint32_t signals = 0; signals < 8; signals++) {
        perf_reader *reader = pt_self();
        perf_otlp *o;
        perf_otlp_config c = config_of(PERF_OTLP_PROTOBUF, 4 << 20);
        c.signals = signals;
        c.lines = PERF_OTLP_LINES_RECORDS;
        ck_assert_int_eq(perf_otlp_create(reader, &c, &o), PERF_OK);
        sums s = encode_all(o);
        for (uint32_t i = 0; i < PERF_OTLP_SIGNALS; i++)
            ck_assert_int_eq(s.items[i] != 0, (signals & 1u << i) != 0);
        perf_otlp_destroy(o);
        perf_reader_close(reader);
    }
}
END_TEST

START_TEST(test_wrong_settings)
{
    static const char *const half[] = {"key", NULL};
    static const char *const empty[] = {"", "value", NULL};
    perf_reader *reader = pt_self();
    perf_otlp *o = (perf_otlp *)&half;
    perf_otlp_config c = config_of(PERF_OTLP_PROTOBUF, 4095);
    ck_assert_int_eq(perf_otlp_create(reader, &c, &o), PERF_ERR_RANGE);
    ck_assert_ptr_null(o);
    c = config_of(PERF_OTLP_PROTOBUF, PERF_OTLP_BODY_MAX_BYTES + 1);
    ck_assert_int_eq(perf_otlp_create(reader, &c, &o), PERF_ERR_RANGE);
    c = config_of((perf_otlp_format)2, 4096);
    ck_assert_int_eq(perf_otlp_create(reader, &c, &o), PERF_ERR_INVALID);
    c = config_of(PERF_OTLP_JSON, 4096);
    c.resource = half;
    ck_assert_int_eq(perf_otlp_create(reader, &c, &o), PERF_ERR_INVALID);
    c.resource = empty;
    ck_assert_int_eq(perf_otlp_create(reader, &c, &o), PERF_ERR_INVALID);
    c.size = 3;
    ck_assert_int_eq(perf_otlp_create(reader, &c, &o), PERF_ERR_VERSION);
    ck_assert_int_eq(perf_otlp_create(NULL, NULL, &o), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_otlp_create(reader, NULL, NULL), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_otlp_records(NULL, NULL), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_otlp_rest(NULL, NULL), PERF_ERR_INVALID);
    ck_assert_int_eq(perf_otlp_metrics(NULL, 0, NULL), PERF_ERR_INVALID);
    perf_otlp_stats_now(NULL, NULL);
    perf_otlp_destroy(NULL);
    perf_reader_close(reader);
}
END_TEST

START_TEST(test_attributes_at_once_and_one_by_one)
{
    record();
    perf_reader *reader = pt_self();
    size_t n;
    perf_record *records = pt_records(reader, 64, &n);
    for (size_t i = 0; i < n; i++) {
        perf_attribute all[16], one;
        uint32_t count = perf_record_attributes(&records[i], all, 16);
        PT_ASSERT(count == records[i].attributes);
        for (uint32_t k = 0; k < count; k++) {
            PT_ASSERT(perf_record_attribute(&records[i], k, &one));
            PT_ASSERT(!memcmp(&one, &all[k], sizeof one));
        }
        PT_ASSERT(perf_record_attributes(&records[i], all, 0) == 0);
    }
    ck_assert_uint_eq(perf_record_attributes(NULL, NULL, 3), 0);
    free(records);
    perf_reader_close(reader);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("profiler.otlp");
    tcase_add_test(tests, test_bodies_are_whole_and_bounded);
    tcase_add_test(tests, test_the_fast_way_writes_the_same_bytes);
    tcase_add_test(tests, test_no_memory_at_any_moment);
    tcase_add_test(tests, test_memory_that_comes_back);
    tcase_add_test(tests, test_signals_that_nobody_wants);
    tcase_add_test(tests, test_wrong_settings);
    tcase_add_test(tests, test_attributes_at_once_and_one_by_one);
    return pt_end();
}
