/* batchers.c - what items of batchers waited for: how long a batch of n takes,
 * by those that were recorded, and which batchers can be replayed with more
 * places: those whose items are awaited by actors and resolved in batches. */
#include "program.h"

typedef struct fit {
    double n, x, y, xx, xy;
} fit;

/* Least squares; where all batches were alike they take what they took. */
static void
learn(perfi_batcher *b, const fit *f)
{
    double spread = f->n * f->xx - f->x * f->x;
    double each = spread > 0.5 ? (f->n * f->xy - f->x * f->y) / spread : 0;
    b->each = each > 0 ? each : 0;
    b->base = (f->y - b->each * f->x) / f->n;
    if (b->base < 0)
        b->base = 0;
}

/* Things that an actor is suspended for. */
static bool *
find_awaited(const perfi_model *m)
{
    bool *awaited =
        perfi_region_take(m->region, m->line->things.count, sizeof *awaited);
    for (size_t i = 0; i < m->ops.count; i++) {
        const perfi_op *op = &m->ops.item[i];
        if (op->code == PERFI_OP_WAIT && op->more &&
            op->what < m->line->things.count)
            awaited[op->what] = true;
    }
    return awaited;
}

/* When the batch began in which a thing is resolved; 0: in none. */
static uint64_t *
find_taken(const perfi_model *m)
{
    uint64_t *taken =
        perfi_region_take(m->region, m->line->things.count, sizeof *taken);
    for (size_t i = 0; i < m->batches.count; i++) {
        const perfi_batch *b = &m->batches.item[i];
        for (uint32_t k = b->ops.first; k < b->ops.end; k++) {
            const perfi_op *op = &m->ops.item[k];
            if (op->code == PERFI_OP_RESOLVE &&
                op->what < m->line->things.count)
                taken[op->what] = b->from + 1;
        }
    }
    return taken;
}

static void
note_items(perfi_model *m, uint32_t actor, const bool *awaited,
           const uint64_t *taken)
{
    size_t resources = m->line->resources.count;
    perfi_range ops = m->programs[actor].ops;
    for (uint32_t i = ops.first; i < ops.end; i++) {
        const perfi_op *op = &m->ops.item[i];
        if (op->code != PERFI_OP_ITEM || op->what >= resources)
            continue;
        perfi_batcher *b = &m->batchers[op->what];
        b->actor = actor;
        b->items++;
        if (op->more >= m->line->things.count || !taken[op->more] ||
            !awaited[op->more])
            b->is_known = false;
        else if (taken[op->more] > op->ns)
            b->waited_ns += taken[op->more] - 1 - op->ns;
    }
}

static void
note_batches(perfi_model *m, fit *fits)
{
    for (size_t i = 0; i < m->batches.count; i++) {
        const perfi_batch *b = &m->batches.item[i];
        perfi_batcher *of = &m->batchers[b->resource];
        if (!b->to || !b->items || !b->most) {
            of->is_known = false;
            continue;
        }
        of->most = b->most;
        fit *f = &fits[b->resource];
        double x = b->items, y = (double)(b->to - b->from);
        *f = (fit){f->n + 1, f->x + x, f->y + y, f->xx + x * x, f->xy + x * y};
    }
}

void
perfi_batchers_find(perfi_model *m)
{
    size_t n = m->line->resources.count;
    if (!m->batches.count)
        return;
    m->batchers = perfi_region_take(m->region, n, sizeof *m->batchers);
    fit *fits = perfi_region_take(m->region, n, sizeof *fits);
    bool *awaited = find_awaited(m);
    uint64_t *taken = find_taken(m);
    for (uint32_t i = 0; i < n; i++)
        m->batchers[i].is_known =
            m->line->resources.item[i].kind == PERF_RESOURCE_BATCHER;
    for (uint32_t a = 0; a < m->line->actors.count; a++)
        note_items(m, a, awaited, taken);
    note_batches(m, fits);
    for (uint32_t i = 0; i < n; i++) {
        perfi_batcher *b = &m->batchers[i];
        b->is_known = b->is_known && b->items && fits[i].n > 0;
        if (!b->is_known)
            continue;
        learn(b, &fits[i]);
        b->pump = (uint32_t)m->ops.count;
        perfi_op *op = perfi_list_add(m->region, &m->ops);
        op->code = PERFI_OP_PUMP;
        op->what = i;
    }
    perfi_region_drop(m->region, taken);
    perfi_region_drop(m->region, awaited);
    perfi_region_drop(m->region, fits);
}
