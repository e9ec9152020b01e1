/* steps.c - graphs run their nodes in steps: none of the next begins before the
 * last one of a step has ended. How long the others of its step waited for it
 * is put down to that last one. */
#include "program.h"

#include <stdlib.h>

typedef struct node {
    uint32_t parent, label;
    uint64_t begin, end;
} node;

static int
by_parent(const void *a, const void *b)
{
    const node *x = a, *y = b;
    if (x->parent != y->parent)
        return x->parent < y->parent ? -1 : 1;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

static size_t
find_nodes(const perfi_model *m, node *all)
{
    size_t n = 0;
    for (uint32_t i = 0; i < m->line->spans.count; i++) {
        const perfi_span *s = &m->line->spans.item[i];
        perf_kind kind = PERF_KIND_SPAN;
        if (s->name == PERFI_NONE || !s->end)
            continue;
        perf_reader_name(m->reader, s->name, &kind);
        if (kind == PERF_KIND_NODE)
            all[n++] = (node){s->parent, m->label_of_name[s->name] - 1,
                              s->begin, s->end};
    }
    return n;
}

void
perfi_steps_find(perfi_model *m)
{
    node *all = perfi_region_take(m->region, m->line->spans.count, sizeof *all);
    size_t n = find_nodes(m, all);
    qsort(all, n, sizeof *all, by_parent);
    for (size_t i = 0, j; i < n; i = j) {
        const node *last = &all[i];
        uint64_t others = 0; /* when the last but one ended */
        for (j = i + 1; j < n && all[j].parent == all[i].parent &&
                        all[j].begin < last->end;
             j++) {
            uint64_t ended = all[j].end < last->end ? all[j].end : last->end;
            if (ended > others)
                others = ended;
            if (all[j].end > last->end)
                last = &all[j];
        }
        bool goes_on = j < n && all[j].parent == all[i].parent;
        if (others && goes_on)
            m->labels.item[last->label].barrier_ns += last->end - others;
    }
    perfi_region_drop(m->region, all);
}
