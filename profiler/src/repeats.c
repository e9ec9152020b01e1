/* repeats.c - calls of one name whose arguments have the same digest: one that
 * came to a good end could have answered the others. */
#include "program.h"

#include <stdlib.h>

typedef struct made {
    uint32_t label, span;
    uint64_t digest, begin;
} made;

static int
by_digest(const void *a, const void *b)
{
    const made *x = a, *y = b;
    if (x->label != y->label)
        return x->label < y->label ? -1 : 1;
    if (x->digest != y->digest)
        return x->digest < y->digest ? -1 : 1;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->span < y->span ? -1 : 1;
}

static size_t
find_digested(perfi_model *m, made *all)
{
    const perfi_timeline *line = m->line;
    size_t n = 0;
    for (uint32_t i = 0; i < line->spans.count; i++) {
        const perfi_span *s = &line->spans.item[i];
        if (!s->is_call || s->name == PERFI_NONE)
            continue;
        uint32_t label = m->label_of_name[s->name] - 1;
        perfi_label *l = &m->labels.item[label];
        if (!l->place)
            l->place = s->place;
        l->digested++;
        all[n++] = (made){label, i + 1, s->digest, s->begin};
    }
    return n;
}

/* What failed is not kept: the next one is a new try. */
static bool
is_good(const perfi_model *m, uint32_t span)
{
    const perfi_span *s = &m->line->spans.item[span - 1];
    return s->end && s->status == PERF_STATUS_OK;
}

/* Its operations are there, as they should be. */
static bool
is_whole(const perfi_model *m, uint32_t span)
{
    perfi_range ops = m->call_ops[span];
    return ops.end > ops.first &&
           m->ops.item[ops.first].code == PERFI_OP_BEGIN &&
           m->ops.item[ops.first].span == span;
}

static void
add_set(perfi_model *m, const made *equal, size_t n)
{
    perfi_label *l = &m->labels.item[equal->label];
    uint32_t good = 0, set = m->call_sets++;
    for (size_t i = 0; i < n; i++) {
        uint32_t span = equal[i].span;
        if (!is_good(m, span))
            continue;
        good++;
        if (!is_whole(m, span))
            continue;
        *perfi_list_add(m->region, &m->calls) =
            (perfi_call){span, set, m->call_ops[span]};
        m->call_of[span] = (uint32_t)m->calls.count;
    }
    l->distinct++;
    l->repeats += good ? good - 1 : 0;
}

/* Where a grant is given back, and where what is given back was granted: in
 * `ns`, which neither of the two needs. 0: not known. */
static void
pair_holds(perfi_model *m)
{
    for (size_t i = 0; i < m->uses.count; i++) {
        const perfi_use *use = &m->uses.item[i];
        if (use->resource == PERFI_NONE || use->ops.end <= use->ops.first)
            continue;
        perfi_op *take = &m->ops.item[use->ops.first - 1];
        perfi_op *give = &m->ops.item[use->ops.end - 1];
        if (take->code != PERFI_OP_ACQUIRE || give->code != PERFI_OP_RELEASE)
            continue;
        take->ns = use->ops.end;
        give->ns = use->ops.first;
    }
}

void
perfi_repeats_find(perfi_model *m)
{
    size_t spans = m->line->spans.count;
    m->call_of = perfi_region_take(m->region, spans + 1, sizeof *m->call_of);
    made *all = perfi_region_take(m->region, spans, sizeof *all);
    size_t n = find_digested(m, all);
    qsort(all, n, sizeof *all, by_digest);
    for (size_t i = 0, j; i < n; i = j) {
        for (j = i + 1; j < n && all[j].label == all[i].label &&
                        all[j].digest == all[i].digest;
             j++)
            ;
        add_set(m, all + i, j - i);
    }
    pair_holds(m);
    perfi_region_drop(m->region, all);
}
