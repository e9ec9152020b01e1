/* own.c - how long a label's spans took themselves: the first, the usual, and
 * those far beyond it. A mean would hide all three. And what memory came to be
 * in use meanwhile. */
#include "program.h"

#include <stdlib.h>

enum { FAR = 5 }; /* medians */

typedef struct own {
    uint32_t label;
    uint64_t ns, begin;
} own;

static int
by_label(const void *a, const void *b)
{
    const own *x = a, *y = b;
    if (x->label != y->label)
        return x->label < y->label ? -1 : 1;
    return (x->ns > y->ns) - (x->ns < y->ns);
}

static void
describe(perfi_label *l, const own *item, size_t n)
{
    const own *first = item;
    l->median_ns = item[(n - 1) / 2].ns;
    for (size_t i = 0; i < n; i++) {
        if (item[i].begin < first->begin)
            first = &item[i];
        if (item[i].ns > FAR * l->median_ns)
            l->tail_ns += item[i].ns - l->median_ns;
    }
    l->first_ns = first->ns;
}

static int
by_time(const void *a, const void *b)
{
    const perfi_memory *x = a, *y = b;
    return (x->t > y->t) - (x->t < y->t);
}

/* What the process gained between two readings is put down to the span at the
 * end of it. */
void
perfi_own_memory(perfi_model *m)
{
    perfi_memory *item = m->line->memory.item;
    size_t n = m->line->memory.count;
    if (n)
        qsort(item, n, sizeof *item, by_time);
    for (size_t i = 1; i < n; i++) {
        uint32_t label = perfi_label_at(m, item[i].span, PERFI_NONE, item[i].t);
        m->labels.item[label].grown_bytes +=
            (int64_t)(item[i].bytes - item[i - 1].bytes);
    }
}

void
perfi_own_times(perfi_model *m)
{
    size_t spans = m->line->spans.count, n = 0;
    uint64_t *ns = perfi_region_take(m->region, spans + 1, sizeof *ns);
    own *all = perfi_region_take(m->region, spans, sizeof *all);
    for (size_t i = 0; i < m->ops.count; i++) {
        const perfi_op *op = &m->ops.item[i];
        if (op->code == PERFI_OP_RUN || op->code == PERFI_OP_BLOCK ||
            op->code == PERFI_OP_TIMER || op->code == PERFI_OP_SLOT ||
            op->code == PERFI_OP_DELAY)
            ns[op->span] += op->ns;
    }
    for (uint32_t i = 0; i < spans; i++) {
        const perfi_span *s = &m->line->spans.item[i];
        if (s->name != PERFI_NONE)
            all[n++] =
                (own){m->label_of_name[s->name] - 1, ns[i + 1], s->begin};
    }
    qsort(all, n, sizeof *all, by_label);
    for (size_t i = 0, j; i < n; i = j) {
        for (j = i; j < n && all[j].label == all[i].label; j++)
            ;
        describe(&m->labels.item[all[i].label], all + i, j - i);
    }
    perfi_region_drop(m->region, all);
    perfi_region_drop(m->region, ns);
}
