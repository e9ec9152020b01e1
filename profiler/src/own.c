/* own.c - how long a label's spans took themselves: the first, the usual, and
 * those far beyond it. A mean would hide all three. And what memory came to be
 * in use meanwhile. */
#include "program.h"

#include <stdlib.h>

enum { FAR = 5 }; /* medians */

static int
by_name(const void *a, const void *b)
{
    const perfi_own *x = a, *y = b;
    if (x->name != y->name)
        return x->name < y->name ? -1 : 1;
    return (x->ns > y->ns) - (x->ns < y->ns);
}

/* A label may stand for a node and for the model call inside it, which are
 * alike in name only: the one that takes more time speaks for it. */
static void
describe(perfi_label *l, const perfi_own *item, size_t n)
{
    const perfi_own *first = item;
    uint64_t median = item[(n - 1) / 2].ns, sum = 0, tail = 0;
    for (size_t i = 0; i < n; i++) {
        sum += item[i].ns;
        if (item[i].begin < first->begin)
            first = &item[i];
        if (item[i].ns > FAR * median)
            tail += item[i].ns - median;
    }
    if (sum < l->described_ns)
        return;
    l->described_ns = sum;
    l->calls = (uint32_t)n;
    l->first_ns = first->ns;
    l->median_ns = median;
    l->tail_ns = tail;
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
        int64_t *grown = &m->labels.item[label].grown_bytes;
        /* unsigned: it may overflow in damaged recordings */
        *grown =
            (int64_t)((uint64_t)*grown + item[i].bytes - item[i - 1].bytes);
    }
}

void
perfi_own_times(perfi_model *m)
{
    size_t spans = m->line->spans.count;
    uint64_t *ns = perfi_region_take(m->region, spans + 1, sizeof *ns);
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
            *perfi_list_add(m->region, &m->own) =
                (perfi_own){s->name, i + 1, ns[i + 1], s->begin};
    }
    const perfi_own *all = m->own.item;
    if (m->own.count)
        qsort(m->own.item, m->own.count, sizeof *all, by_name);
    for (size_t i = 0, j; i < m->own.count; i = j) {
        for (j = i; j < m->own.count && all[j].name == all[i].name; j++)
            ;
        uint32_t label = m->label_of_name[all[i].name] - 1;
        describe(&m->labels.item[label], all + i, j - i);
    }
    perfi_region_drop(m->region, ns);
}

/* Each span takes as long as a random one of its name did (Efron's bootstrap,
 * 1979): its own time is scaled, at most tenfold. */
void
perfi_own_resample(const perfi_model *m, uint64_t seed, double *span_scale)
{
    const perfi_own *all = m->own.item;
    uint64_t z = seed;
    span_scale[0] = 1.0;
    for (size_t i = 0, j; i < m->own.count; i = j) {
        for (j = i; j < m->own.count && all[j].name == all[i].name; j++)
            ;
        for (size_t k = i; k < j; k++) {
            z = z * UINT64_C(6364136223846793005) +
                UINT64_C(1442695040888963407);
            double other = (double)all[i + (z >> 33) % (j - i)].ns;
            double scale = all[k].ns ? other / (double)all[k].ns : 1.0;
            span_scale[all[k].span] = scale < 0.1  ? 0.1
                                      : scale > 10 ? 10.0
                                                   : scale;
        }
    }
}
