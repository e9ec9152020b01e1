/* batch_cost.c - a line through (size, time) of batches, with forgetting, and
 * the 95th percentile of what it was wrong by. */
#include "batch_cost.h"
#include "line.h"

#include <math.h>
#include <string.h>

enum {
    SKIPPED = 2, /* the first calls warm something up: they say nothing */
    SAID = 3,    /* batches before anything is predicted, */
    ENOUGH = 8,  /* and before it is a line */
    ERRORS = 200,
    BLOCK = 8, /* predictions that are looked at together: */
    MOVED = 6, /* so many outside of 19 of 20, on one side: another speed */
};

/* What is left of the weight of what was learned at another speed. */
static const double KEPT_MOVED = 0.02;

/* Of the weight of the latest batch, how much is left after the next one. */
static const double KEPT = 0.98;

/* Sizes that differ by less than a thousandth do not tell a slope. */
static const double SPREAD = 1e-6;

struct perf_batch_cost {
    const perf_allocator *allocator;
    perfi_cost_line line; /* ns */
    bool fixed;
    uint64_t observed;
    double margin;
    uint32_t errors, oldest;
    struct {
        double low, high; /* 5th and 95th percentile before this block, */
        bool known;       /* where there are enough for that */
        uint32_t count, below, above;
        double size[BLOCK], took[BLOCK];
    } block;
    double error[ERRORS];  /* in order of time, a ring */
    double sorted[ERRORS]; /* the same, ascending */
};

perf_err
perf_batch_cost_create(const perf_allocator *allocator, perf_batch_cost **out)
{
    if (!out)
        return PERF_ERR_INVALID;
    *out = NULL;
    if (!allocator)
        allocator = perf_allocator_libc();
    perf_batch_cost *cost = allocator->alloc(sizeof *cost, allocator->ctx);
    if (!cost)
        return PERF_ERR_NOMEM;
    cost->allocator = allocator;
    *out = cost;
    return PERF_OK;
}

void
perf_batch_cost_destroy(perf_batch_cost *cost)
{
    if (cost)
        cost->allocator->free(cost, sizeof *cost, cost->allocator->ctx);
}

/* ---- what it was wrong by ---- */

/* Where `value` is, or would be, among the first `count` sorted ones. */
static uint32_t
place_of(const perf_batch_cost *cost, uint32_t count, double value)
{
    uint32_t low = 0;
    while (count) {
        uint32_t half = count / 2;
        bool right = cost->sorted[low + half] < value;
        low += right ? half + 1 : 0;
        count = right ? count - half - 1 : half;
    }
    return low;
}

static void
remember_error(perf_batch_cost *cost, double error)
{
    uint32_t count = cost->errors;
    if (count == ERRORS) {
        uint32_t gone = place_of(cost, count, cost->error[cost->oldest]);
        count--;
        memmove(cost->sorted + gone, cost->sorted + gone + 1,
                (count - gone) * sizeof *cost->sorted);
    }
    uint32_t place = place_of(cost, count, error);
    memmove(cost->sorted + place + 1, cost->sorted + place,
            (count - place) * sizeof *cost->sorted);
    cost->sorted[place] = error;
    cost->error[cost->oldest] = error;
    cost->oldest = (cost->oldest + 1) % ERRORS;
    cost->errors = count + 1;
    double p95 = cost->sorted[(uint64_t)count * 95 / 100];
    cost->margin = p95 > 0 ? p95 : 0;
}

/* ---- another speed ---- */

/* Old errors, and the old line, say nothing of it: both begin anew with the
 * block. The old line only says what few batches, all alike, cannot. */
static void
begin_anew(perf_batch_cost *cost)
{
    const double *size = cost->block.size, *took = cost->block.took;
    perfi_cost_line *line = &cost->line;
    if (!cost->fixed) {
        line->sum *= KEPT_MOVED;
        line->sum_n *= KEPT_MOVED;
        line->sum_t *= KEPT_MOVED;
        line->sum_nn *= KEPT_MOVED;
        line->sum_nt *= KEPT_MOVED;
        for (int i = 0; i < BLOCK; i++)
            perfi_cost_line_add(line, size[i], took[i], KEPT);
        perfi_cost_line_solve(line, SPREAD);
    }
    cost->errors = cost->oldest = 0;
    for (int i = 0; i < BLOCK; i++)
        remember_error(cost, took[i] - perfi_cost_line_at(line, size[i]));
}

/* Has the mean of the errors moved? Single batches that took long, however
 * long, do not say so. */
static void
watch(perf_batch_cost *cost, double size, double took, double error)
{
    uint32_t i = cost->block.count++;
    cost->block.size[i] = size;
    cost->block.took[i] = took;
    cost->block.below += cost->block.known && error < cost->block.low;
    cost->block.above += cost->block.known && error > cost->block.high;
    if (i + 1 < BLOCK)
        return;
    if (cost->block.below >= MOVED || cost->block.above >= MOVED)
        begin_anew(cost);
    cost->block.count = cost->block.below = cost->block.above = 0;
    cost->block.known = cost->errors >= 2 * BLOCK;
    cost->block.low = cost->sorted[cost->errors / 20];
    cost->block.high = cost->sorted[cost->errors * 19 / 20];
}

static bool
is_known(const perf_batch_cost *cost)
{
    return cost->fixed || cost->observed >= ENOUGH;
}

void
perf_batch_cost_observe(perf_batch_cost *cost, uint64_t size, uint64_t took_ns)
{
    if (!cost)
        return;
    /* an error is what a prediction was wrong by; of the first ones, that are
     * not predicted, it is what the line that they make leaves */
    bool predicted = is_known(cost);
    double before =
        (double)took_ns - perfi_cost_line_at(&cost->line, (double)size);
    cost->observed++;
    if (!cost->fixed) {
        if (cost->observed <= SKIPPED)
            return;
        perfi_cost_line_add(&cost->line, (double)size, (double)took_ns, KEPT);
        perfi_cost_line_solve(&cost->line, SPREAD);
    }
    remember_error(
        cost, predicted ? before
                        : (double)took_ns -
                              perfi_cost_line_at(&cost->line, (double)size));
    if (predicted)
        watch(cost, (double)size, (double)took_ns, before);
}

/* ---- what is asked ---- */

static uint64_t
to_ns(double ns)
{
    if (ns >= (double)(UINT64_MAX / 2))
        return UINT64_MAX / 2; /* can be added to a time */
    return ns < 1 ? 1 : (uint64_t)(ns + 0.5);
}

/* After few batches it is not known how much smaller ones take less: the least
 * is said, which is in proportion. Nobody is given up who had a chance. */
static double
expected(const perf_batch_cost *cost, uint64_t size)
{
    double n = (double)size, took = perfi_cost_line_at(&cost->line, n);
    double seen = cost->line.sum_n / cost->line.sum;
    return !is_known(cost) && n < seen ? took * n / seen : took;
}

static bool
is_said(const perf_batch_cost *cost)
{
    return cost->fixed || cost->observed >= SAID;
}

uint64_t
perf_batch_cost_predict(const perf_batch_cost *cost, uint64_t size)
{
    return cost && is_said(cost) ? to_ns(expected(cost, size)) : 0;
}

uint64_t
perf_batch_cost_bound(const perf_batch_cost *cost, uint64_t size)
{
    if (!cost || !is_said(cost))
        return 0;
    return to_ns(expected(cost, size) + (is_known(cost) ? cost->margin : 0));
}

perfi_batch_cost_now
perfi_batch_cost_look(const perf_batch_cost *cost)
{
    return (perfi_batch_cost_now){.base = cost->line.base,
                                  .each = cost->line.each,
                                  .margin = cost->margin,
                                  .known = is_known(cost)};
}

perf_err
perf_batch_cost_fix(perf_batch_cost *cost, double base_ns, double each_ns)
{
    if (!cost || isnan(base_ns) || isnan(each_ns))
        return PERF_ERR_INVALID;
    if (base_ns < 0 || each_ns < 0 || isinf(base_ns) || isinf(each_ns))
        return PERF_ERR_RANGE;
    cost->fixed = true;
    cost->line.base = base_ns;
    cost->line.each = each_ns;
    cost->errors = cost->oldest = 0;
    cost->margin = 0;
    return PERF_OK;
}

void
perfi_batch_cost_restart(perf_batch_cost *cost)
{
    if (cost->fixed)
        return;
    const perf_allocator *allocator = cost->allocator;
    memset(cost, 0, sizeof *cost);
    cost->allocator = allocator;
}

void
perf_batch_cost_stats_now(const perf_batch_cost *cost,
                          perf_batch_cost_stats *out)
{
    if (!out)
        return;
    memset(out, 0, sizeof *out);
    if (!cost)
        return;
    out->base_ns = cost->line.base;
    out->each_ns = cost->line.each;
    out->margin_ns = (uint64_t)cost->margin;
    out->observed = cost->observed;
    out->known = is_known(cost);
}
