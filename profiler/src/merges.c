/* merges.c - calls of one name that were under way at one time, or close to
 * each other, in different actors: they could be made together.
 *
 * Only calls without others inside count, since what does many things is not
 * made for many at once; and no call that is the same again, for that is a
 * cache's. */
#include "program.h"

#include <stdlib.h>

typedef struct leaf {
    uint32_t label, actor, span;
    uint64_t begin, end;
} leaf;

static int
by_begin(const void *a, const void *b)
{
    const leaf *x = a, *y = b;
    if (x->label != y->label)
        return x->label < y->label ? -1 : 1;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->span < y->span ? -1 : 1;
}

/* Not the first of equal calls. */
static bool
is_again(const perfi_model *m, uint32_t span)
{
    uint32_t call = m->call_of[span];
    return call > 1 &&
           m->calls.item[call - 1].set == m->calls.item[call - 2].set;
}

static size_t
find_leaves(const perfi_model *m, leaf *all, bool *has_child)
{
    const perfi_timeline *line = m->line;
    size_t n = 0;
    for (size_t i = 0; i < line->spans.count; i++)
        has_child[line->spans.item[i].parent] = true;
    for (uint32_t i = 0; i < line->spans.count; i++) {
        const perfi_span *s = &line->spans.item[i];
        if (s->name != PERFI_NONE && s->end && !has_child[i + 1] &&
            m->call_ops[i + 1].end && !is_again(m, i + 1))
            all[n++] = (leaf){m->label_of_name[s->name] - 1, s->actor, i + 1,
                              s->begin, s->end};
    }
    return n;
}

/* Closer than it is long. */
static bool
is_close(const leaf *earlier, const leaf *later)
{
    return later->begin - earlier->begin <
           (earlier->end - earlier->begin) + (later->end - later->begin);
}

/* Of those before: who ended last, and who did of the other actors. */
typedef struct latest {
    const leaf *one, *other;
} latest;

static const leaf *
beside(const latest *l, const leaf *call)
{
    const leaf *found =
        l->one && l->one->actor == call->actor ? l->other : l->one;
    return found && is_close(found, call) ? found : NULL;
}

static void
remember(latest *l, const leaf *call)
{
    if (!l->one || call->end >= l->one->end) {
        if (l->one && l->one->actor != call->actor)
            l->other = l->one;
        l->one = call;
    } else if (call->actor != l->one->actor &&
               (!l->other || call->end >= l->other->end)) {
        l->other = call;
    }
}

static uint32_t
count_beside(const leaf *all, size_t n, bool *is_one)
{
    latest before = {0};
    uint32_t found = 0;
    for (size_t i = 0; i < n; i++) {
        const leaf *near = beside(&before, &all[i]);
        if (near) {
            found += is_one[near - all] ? 1 : 2;
            is_one[near - all] = is_one[i] = true;
        }
        remember(&before, &all[i]);
    }
    return found;
}

static void
note_own(perfi_model *m, size_t spans)
{
    m->span_own = perfi_region_take(m->region, spans + 1, sizeof *m->span_own);
    for (size_t i = 0; i < m->own.count; i++)
        m->span_own[m->own.item[i].span] = m->own.item[i].ns;
}

void
perfi_merges_find(perfi_model *m)
{
    size_t spans = m->line->spans.count;
    note_own(m, spans);
    leaf *all = perfi_region_take(m->region, spans, sizeof *all);
    bool *flags = perfi_region_take(m->region, spans + 1, sizeof *flags);
    size_t n = find_leaves(m, all, flags);
    qsort(all, n, sizeof *all, by_begin);
    for (size_t i = 0; i < n; i++)
        flags[i] = false;
    for (size_t i = 0, j; i < n; i = j) {
        for (j = i + 1; j < n && all[j].label == all[i].label; j++)
            ;
        m->labels.item[all[i].label].mergeable =
            count_beside(all + i, j - i, flags + i);
    }
    perfi_region_drop(m->region, flags);
    perfi_region_drop(m->region, all);
}
