/* label.c - what a piece of time is attributed to: the innermost open span; and
 * between a failed call and its next try, that call. */
#include "program.h"

#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 64 }; /* of spans: damaged ones may run in circles */

/* ---- names ---- */

static const char *
text_of(const perfi_model *m, uint32_t name)
{
    const char *text = perf_reader_name(m->reader, name, NULL);
    return text ? text : "(other)";
}

/* A node and the function behind it often have the same name: they are one
 * row, as the user sees one thing. */
static uint32_t
label_of_name(perfi_model *m, uint32_t name)
{
    if (name >= PERF_NAMES_MAX)
        return PERFI_NO_LABEL;
    if (m->label_of_name[name])
        return m->label_of_name[name] - 1;
    uint32_t i = 0;
    while (i < m->labels.count &&
           (m->labels.item[i].kind != PERFI_LABEL_SPAN ||
            strcmp(text_of(m, m->labels.item[i].name), text_of(m, name)) != 0))
        i++;
    if (i == m->labels.count) {
        perfi_label *l = perfi_list_add(m->region, &m->labels);
        l->kind = PERFI_LABEL_SPAN;
        l->name = name;
    }
    m->label_of_name[name] = i + 1;
    return i;
}

/* ---- imports ---- */

/* Modules of one package count together: `openai.types.chat` is openai. 1 + the
 * name that was first seen of it. */
static uint32_t
package_of(perfi_model *m, uint32_t name)
{
    const char *text = text_of(m, name);
    size_t length = strcspn(text, ".");
    for (size_t i = 0; i < m->packages.count && !m->package_of[name]; i++) {
        const char *known = text_of(m, m->packages.item[i]);
        if (strcspn(known, ".") == length && !strncmp(known, text, length))
            m->package_of[name] = m->packages.item[i] + 1;
    }
    if (!m->package_of[name]) {
        *perfi_list_add(m->region, &m->packages) = name;
        m->package_of[name] = name + 1;
    }
    return m->package_of[name];
}

static uint64_t
import_key(uint32_t package, uint32_t inside)
{
    return (uint64_t)package << 32 | inside;
}

uint32_t
perfi_label_find_import(const perfi_model *m, uint32_t name, uint32_t inside)
{
    uint32_t package = name < PERF_NAMES_MAX ? m->package_of[name] : 0;
    uint32_t known =
        package ? perfi_ids_find(&m->import_ids, import_key(package, inside))
                : PERFI_NONE;
    return known == PERFI_NONE ? PERFI_NONE : m->imports.item[known];
}

uint32_t
perfi_label_of_import(perfi_model *m, uint32_t name, uint32_t inside)
{
    if (name >= PERF_NAMES_MAX)
        return inside;
    uint64_t key = import_key(package_of(m, name), inside);
    uint32_t number = perfi_ids_of(m->region, &m->import_ids, key);
    if (number == m->imports.count) {
        *perfi_list_add(m->region, &m->imports) = (uint32_t)m->labels.count;
        perfi_label *l = perfi_list_add(m->region, &m->labels);
        l->kind = PERFI_LABEL_IMPORT;
        l->name = name;
        l->inside = inside;
    }
    return m->imports.item[number];
}

/* ---- retries ---- */

typedef struct call {
    uint32_t parent, actor, span;
    uint64_t begin;
} call;

static int
by_parent(const void *a, const void *b)
{
    const call *x = a, *y = b;
    if (x->parent != y->parent)
        return x->parent < y->parent ? -1 : 1;
    if (x->actor != y->actor)
        return x->actor < y->actor ? -1 : 1;
    return (x->begin > y->begin) - (x->begin < y->begin);
}

static void
find_retries(perfi_model *m, const call *calls, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        const perfi_span *failed = &m->line->spans.item[calls[i - 1].span];
        const perfi_span *next = &m->line->spans.item[calls[i].span];
        if (calls[i].parent != calls[i - 1].parent ||
            calls[i].actor != calls[i - 1].actor || !failed->end ||
            failed->status == PERF_STATUS_OK || next->begin < failed->end ||
            label_of_name(m, failed->name) != label_of_name(m, next->name))
            continue;
        uint32_t label = label_of_name(m, next->name);
        m->labels.item[label].retried++;
        perfi_retry *r = perfi_list_add(m->region, &m->retries);
        *r = (perfi_retry){calls[i].parent, calls[i].actor, label, failed->end,
                           next->begin};
    }
}

static int
by_place(const void *a, const void *b)
{
    const perfi_retry *x = a, *y = b;
    if (x->actor != y->actor)
        return x->actor < y->actor ? -1 : 1;
    return (x->from > y->from) - (x->from < y->from);
}

/* Calls that sit alone in a task each (Python 3.11's wait_for) are seen as
 * calls of the actor that made these tasks. */
static size_t
gather_calls(perfi_model *m, call *own, call *alone, size_t *n_alone)
{
    const perfi_timeline *line = m->line;
    size_t n = 0;
    for (uint32_t i = 0; i < line->spans.count; i++) {
        const perfi_span *s = &line->spans.item[i];
        if (s->name != PERFI_NONE)
            own[n++] = (call){s->parent, s->actor, i, s->begin};
    }
    qsort(own, n, sizeof *own, by_parent);
    for (size_t i = 0; i < n; i++) {
        const perfi_actor *a = &line->actors.item[own[i].actor];
        bool first = i == 0 || own[i - 1].parent != own[i].parent ||
                     own[i - 1].actor != own[i].actor;
        bool last = i + 1 == n || own[i + 1].parent != own[i].parent ||
                    own[i + 1].actor != own[i].actor;
        if (first && last && a->kind == PERF_ACTOR_TASK && a->spawner) {
            alone[*n_alone] = own[i];
            alone[(*n_alone)++].actor = a->spawner - 1;
        }
    }
    return n;
}

void
perfi_labels_prepare(perfi_model *m)
{
    size_t spans = m->line->spans.count, alone_count = 0;
    m->label_of_name =
        perfi_region_take(m->region, PERF_NAMES_MAX, sizeof *m->label_of_name);
    m->package_of =
        perfi_region_take(m->region, PERF_NAMES_MAX, sizeof *m->package_of);
    perfi_list_add(m->region, &m->labels)->kind = PERFI_LABEL_NONE;
    perfi_list_add(m->region, &m->labels)->kind = PERFI_LABEL_LIMIT;
    for (size_t i = 0; i < spans; i++) {
        const perfi_span *s = &m->line->spans.item[i];
        if (s->name == PERFI_NONE)
            continue;
        uint32_t number = label_of_name(m, s->name);
        perfi_label *l = &m->labels.item[number];
        l->calls++;
        if (s->end > s->begin)
            l->span_ns += s->end - s->begin;
    }
    call *own = perfi_region_take(m->region, spans, sizeof *own);
    call *alone = perfi_region_take(m->region, spans, sizeof *alone);
    size_t count = gather_calls(m, own, alone, &alone_count);
    find_retries(m, own, count); /* sorted */
    qsort(alone, alone_count, sizeof *alone, by_parent);
    find_retries(m, alone, alone_count);
    if (m->retries.count)
        qsort(m->retries.item, m->retries.count, sizeof *m->retries.item,
              by_place);
    perfi_region_drop(m->region, own);
    perfi_region_drop(m->region, alone);
}

/* Back-off happens in the parent, or outside of it where that is not made
 * current (a graph). */
static bool
is_around(const perfi_model *m, uint32_t span, uint32_t parent)
{
    for (int up = 0; parent && parent != span && up < DEPTH_MAX; up++)
        parent = m->line->spans.item[parent - 1].parent;
    return parent == span;
}

static const perfi_retry *
retry_at(const perfi_model *m, uint32_t span, uint32_t actor, uint64_t t)
{
    size_t low = 0, high = m->retries.count;
    perfi_retry key = {.actor = actor, .from = t};
    while (low < high) { /* the last one that began by then */
        size_t middle = low + (high - low) / 2;
        if (by_place(&m->retries.item[middle], &key) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (!low)
        return NULL;
    const perfi_retry *r = &m->retries.item[low - 1];
    bool holds =
        r->actor == actor && t < r->to && is_around(m, span, r->parent);
    return holds ? r : NULL;
}

uint32_t
perfi_label_at(const perfi_model *m, uint32_t span, uint32_t actor, uint64_t t)
{
    if (m->retries.count) {
        const perfi_retry *r = retry_at(m, span, actor, t);
        if (r)
            return r->label;
    }
    if (!span || m->line->spans.item[span - 1].name == PERFI_NONE)
        return PERFI_NO_LABEL;
    return m->label_of_name[m->line->spans.item[span - 1].name] - 1;
}
