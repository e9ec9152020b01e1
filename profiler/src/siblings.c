/* siblings.c - calls of one name that one actor made one after the other, from
 * one place: if they do not need each other they can be made side by side. */
#include "program.h"

#include <stdlib.h>

enum { AT_ONCE = 64 }; /* more are not made side by side */

typedef struct call {
    uint32_t actor, parent, name, span;
    uint64_t begin;
} call;

static int
by_place(const void *a, const void *b)
{
    const call *x = a, *y = b;
    if (x->actor != y->actor)
        return x->actor < y->actor ? -1 : 1;
    if (x->parent != y->parent)
        return x->parent < y->parent ? -1 : 1;
    if (x->name != y->name)
        return x->name < y->name ? -1 : 1;
    return (x->begin > y->begin) - (x->begin < y->begin);
}

/* A call that is made again after an error needs the first one's end. */
static bool
follows(const perfi_model *m, const call *first, const call *next)
{
    const perfi_span *s = &m->line->spans.item[first->span - 1];
    return first->actor == next->actor && first->parent == next->parent &&
           first->name == next->name && s->status == PERF_STATUS_OK &&
           m->span_ops[first->span].end <= m->span_ops[next->span].first;
}

void
perfi_siblings_find(perfi_model *m)
{
    const perfi_timeline *line = m->line;
    call *all = perfi_region_take(m->region, line->spans.count, sizeof *all);
    m->sibling_of = perfi_region_take(m->region, line->spans.count + 1,
                                      sizeof *m->sibling_of);
    size_t n = 0;
    for (uint32_t i = 0; i < line->spans.count; i++) {
        const perfi_span *s = &line->spans.item[i];
        if (s->name != PERFI_NONE &&
            m->span_ops[i + 1].end > m->span_ops[i + 1].first)
            all[n++] = (call){s->actor, s->parent, s->name, i + 1, s->begin};
    }
    qsort(all, n, sizeof *all, by_place);
    for (size_t i = 0, j; i < n; i = j) {
        for (j = i + 1;
             j < n && j - i < AT_ONCE && follows(m, &all[j - 1], &all[j]); j++)
            ;
        uint32_t head = (uint32_t)m->siblings.count;
        for (size_t k = i; j - i > 1 && k < j; k++) {
            *perfi_list_add(m->region, &m->siblings) = (perfi_sibling){
                .span = all[k].span,
                .head = head,
                .count = k == i ? (uint32_t)(j - i) : 0,
                .ops = m->span_ops[all[k].span],
            };
            m->sibling_of[all[k].span] = (uint32_t)m->siblings.count;
            m->labels.item[m->label_of_name[all[k].name] - 1].siblings += k > i;
        }
    }
    perfi_region_drop(m->region, all);
}
