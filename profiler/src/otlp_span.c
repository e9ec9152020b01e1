/* otlp_span.c - a record as a span of OpenTelemetry: names and attributes by
 * the conventions, kind, status, times since 1970, the batch it was in. */
#include "otlp.h"

#include <stdio.h>

enum { UNSET = 0, ERROR = 2 }; /* StatusCode; ours is not to say "OK" */

uint64_t
perfi_unix_ns(const perf_otlp *o, uint64_t ns)
{
    uint64_t sum;
    return __builtin_add_overflow(o->info.wall_offset_ns, ns, &sum) ? UINT64_MAX
                                                                    : sum;
}

/* ---- links ---- */

static perfi_root *
place_of(perf_otlp *o, uint64_t id)
{
    return &o->root[id * UINT64_C(0x9E3779B97F4A7C15) >> 54];
}

void
perfi_root_note(perf_otlp *o, const perf_record *record)
{
    _Static_assert(PERFI_ROOTS == 1 << (64 - 54), "the shift above");
    *place_of(o, record->id) =
        (perfi_root){record->id, record->trace_hi, record->trace_lo};
}

/* An item of a batcher says which batch it was in: by its span's id. Batches
 * have no parent, and their record comes first. */
static void
link_to_batch(perf_otlp *o, perfi_view *v, const char *text, uint32_t length)
{
    uint64_t id = 0;
    if (length != 16)
        return;
    for (uint32_t i = 0; i < 16; i++) {
        char c = text[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return;
        id = id << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    const perfi_root *root = place_of(o, id);
    if (!id || root->id != id)
        return;
    v->link_id = id;
    v->link_hi = root->trace_hi;
    v->link_lo = root->trace_lo;
}

/* ---- attributes ---- */

const char *
perfi_view_text(perfi_view *v, const char *text, uint32_t *length)
{
    if (perfi_text_is_utf8(text, *length))
        return text;
    if (3 * (size_t)*length > PERFI_MENDED - v->mended_used) {
        *length = 0;
        return "";
    }
    char *to = v->mended + v->mended_used;
    *length = (uint32_t)perfi_text_mend(to, text, *length);
    v->mended_used += *length;
    return to;
}

enum { OURS = 1u << 31 }; /* an id that is a perfi_key, not a name's number */

static perfi_value *
add(perfi_view *v, perfi_key key, perfi_value_type type)
{
    perfi_value *value = &v->value[v->values++];
    *value = (perfi_value){.type = type, .id = OURS | key};
    value->key = perfi_key_text(key, &value->key_length);
    return value;
}

static void
add_text(perfi_view *v, perfi_key key, const char *text, uint32_t length)
{
    perfi_value *value = add(v, key, PERFI_VALUE_TEXT);
    value->text = text;
    value->length = length;
}

static void
add_word(perfi_view *v, perfi_key key, const perfi_word *word)
{
    add_text(v, key, word->text, word->length);
}

static void
add_int(perfi_view *v, perfi_key key, int64_t integer)
{
    add(v, key, PERFI_VALUE_INT)->integer = integer;
}

/* Which of our keys a span has: bits. */
typedef uint32_t present;
_Static_assert(PERFI_KEY_COUNT <= 32, "a bit for each");

static void
take_value(perf_otlp *o, perfi_view *v, perfi_value *to,
           const perf_attribute *from, const perfi_name *key)
{
    const perfi_name *name;
    to->length = 0;
    switch (from->type) {
    case PERF_ATTRIBUTE_INT:
        to->type = PERFI_VALUE_INT;
        to->integer = from->int_value;
        break;
    case PERF_ATTRIBUTE_FLOAT:
        to->type = PERFI_VALUE_DOUBLE;
        to->real = from->float_value;
        break;
    case PERF_ATTRIBUTE_NAME:
        name = perfi_names_get(o->names, from->name);
        to->type = PERFI_VALUE_TEXT;
        to->text = name->text;
        to->length = name->length;
        if (to->id == (OURS | PERFI_KEY_MODEL))
            v->provider = name->provider; /* looked up once for the name */
        break;
    default:
        to->type = PERFI_VALUE_TEXT;
        to->length = from->length;
        to->text = perfi_view_text(v, from->text, &to->length);
        if (key->length == 5 && !memcmp(key->text, "batch", 5))
            link_to_batch(o, v, to->text, to->length);
        if (to->id == (OURS | PERFI_KEY_MODEL))
            v->provider = perfi_provider_of(to->text, to->length);
    }
}

/* A later one under the same key takes the place of an earlier one; `seen`: a
 * bit of each that is there, which others may share. */
static perfi_value *
place_for(perfi_view *v, uint32_t id, uint64_t *seen)
{
    uint64_t bit = UINT64_C(1) << id % 64;
    bool known = *seen & bit;
    *seen |= bit;
    for (uint32_t i = 0; known && i < v->values; i++)
        if (v->value[i].id == id)
            return &v->value[i];
    return &v->value[v->values++];
}

static present
take_attributes(perf_otlp *o, perfi_view *v, const perfi_operation *operation)
{
    perf_attribute given[PERFI_GIVEN];
    const perfi_name *key[PERFI_GIVEN];
    uint32_t n = perf_record_attributes(v->record, given, PERFI_GIVEN);
    present own = 0, all;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < n; i++) {
        key[i] = perfi_names_get(o->names, given[i].key);
        own |= 1u << key[i]->key;
    }
    all = own;
    for (uint32_t i = 0; i < n; i++) {
        perfi_key alias = operation->name.text ? key[i]->alias : PERFI_KEY_NONE;
        perfi_key is = alias ? alias : key[i]->key;
        if (alias && own & 1u << alias)
            continue; /* the program's own word stands */
        uint32_t id = is ? OURS | is : given[i].key;
        perfi_value *to = place_for(v, id, &seen);
        to->id = id;
        to->key = key[i]->text;
        to->key_length = key[i]->length;
        if (alias)
            to->key = perfi_key_text(is, &to->key_length);
        take_value(o, v, to, &given[i], key[i]);
        if (is == PERFI_KEY_FINISH_REASONS && to->type == PERFI_VALUE_TEXT &&
            operation->name.text)
            to->type = PERFI_VALUE_LIST;
        all |= 1u << is;
    }
    return all;
}

static const perfi_value *
find(const perfi_view *v, perfi_key key)
{
    for (uint32_t i = 0; i < v->values; i++)
        if (v->value[i].id == (OURS | (uint32_t)key))
            return &v->value[i];
    return NULL;
}

/* "chat gpt-4o", and our own name beside it. Where the target is our own name
 * there is nothing to keep. */
static void
name_by_convention(perfi_view *v, const perfi_operation *operation,
                   present have)
{
    const perfi_value *target = find(v, operation->target);
    size_t verb = operation->name.length;
    size_t room = PERFI_MENDED - v->mended_used;
    if (!target || target->type != PERFI_VALUE_TEXT || !target->length ||
        verb + 1 + target->length > room)
        return;
    char *to = v->mended + v->mended_used;
    unsigned char *p = (unsigned char *)to;
    p = perfi_put_bytes(p, operation->name.text, verb);
    *p++ = ' ';
    perfi_put_bytes(p, target->text, target->length);
    if (!operation->holds_name && !(have & 1u << PERFI_KEY_NAME))
        add_text(v, PERFI_KEY_NAME, v->name, v->name_length);
    v->name = to;
    v->name_length = (uint32_t)(verb + 1 + target->length);
    v->mended_used += v->name_length;
}

static void
add_ours(perfi_view *v, const perfi_operation *operation, present have)
{
    const perf_record *r = v->record;
    if (operation->name.text && !(have & 1u << PERFI_KEY_OPERATION))
        add_word(v, PERFI_KEY_OPERATION, &operation->name);
    if (operation->holds_name && !(have & 1u << operation->holds_name))
        add_text(v, operation->holds_name, v->name, v->name_length);
    if (operation->name.text && v->provider &&
        !(have & 1u << PERFI_KEY_PROVIDER))
        add_word(v, PERFI_KEY_PROVIDER, v->provider);
    if (operation->name.text)
        name_by_convention(v, operation, have);
    if (!(have & 1u << PERFI_KEY_KIND))
        add_word(v, PERFI_KEY_KIND, &operation->kind);
    if (r->task && !(have & 1u << PERFI_KEY_TASK))
        add_int(v, PERFI_KEY_TASK, r->task);
    if (!(have & 1u << PERFI_KEY_THREAD))
        add_int(v, PERFI_KEY_THREAD, r->thread);
    if (r->status == PERF_STATUS_CANCELLED &&
        !(have & 1u << PERFI_KEY_CANCELLED))
        add(v, PERFI_KEY_CANCELLED, PERFI_VALUE_BOOL)->integer = 1;
}

/* ---- all of it ---- */

void
perfi_view_make(perf_otlp *o, const perf_record *record)
{
    _Static_assert(PERFI_VALUES >= PERFI_GIVEN + 8, "given ones and ours");
    perfi_view *v = &o->view;
    const perfi_name *name = perfi_names_get(o->names, record->name);
    const perfi_operation *operation =
        perfi_operation_of((perf_kind)name->kind);
    v->record = record;
    v->name = name->text;
    v->name_length = name->length;
    v->kind = operation->span_kind;
    v->code = record->status == PERF_STATUS_ERROR ? ERROR : UNSET;
    v->start_ns = perfi_unix_ns(o, record->start_ns);
    v->end_ns = perfi_unix_ns(o, record->end_ns);
    if (v->end_ns < v->start_ns)
        v->end_ns = v->start_ns;
    v->link_id = 0;
    v->provider = NULL;
    v->events = v->events_dropped = v->values = 0;
    v->mended_used = 0;
    add_ours(v, operation, take_attributes(o, v, operation));
}
