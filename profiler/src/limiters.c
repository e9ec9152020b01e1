/* limiters.c - finds what only spaces calls out: a lock that is held to sleep,
 * and sleeps that end at even gaps although they begin at any time. Their time
 * is not the service of the span around them. */
#include "program.h"

#include <stdlib.h>

enum {
    CHAIN_LEAST = 5,    /* grants that make a rhythm */
    CHAIN_PERCENT = 40, /* of the label's timers */
    GAP_LEAST_NS = 2000000,
    SLACK_NS = 500000, /* and 1 % of the gap */
    TRIES = 3,         /* most frequent gaps */
    NEIGHBOURS = 3,    /* chains may be interleaved */
    HOLD_MAX = 256,    /* operations: who does so much does not only sleep */
};

/* ---- locks that are held to sleep ---- */

static bool
takes_time(const perfi_op *op)
{
    return op->code == PERFI_OP_RUN || op->code == PERFI_OP_BLOCK ||
           op->code == PERFI_OP_TIMER;
}

static bool
only_sleeps(const perfi_model *m, const perfi_use *h, const uint64_t *own)
{
    uint64_t slept = 0, ran = 0;
    if (h->ops.end > h->ops.first + HOLD_MAX)
        return false;
    for (uint32_t i = h->ops.first; i < h->ops.end; i++) {
        const perfi_op *op = &m->ops.item[i];
        if (op->code == PERFI_OP_RUN)
            ran += op->ns;
        else if (takes_time(op) && op->span == h->span)
            slept += op->ns;
    }
    uint64_t all = own[h->span];
    return slept && ran * 10 < slept && (all - slept) * 100 > all * 15;
}

static void
label_hold(perfi_model *m, const perfi_use *hold, uint32_t *label)
{
    if (!*label) {
        perfi_label *l = perfi_list_add(m->region, &m->labels);
        l->kind = PERFI_LABEL_HOLD;
        l->name = hold->resource;
        *label = (uint32_t)m->labels.count - 1;
    }
    for (uint32_t i = hold->ops.first; i < hold->ops.end; i++) {
        perfi_op *op = &m->ops.item[i];
        if (op->code != PERFI_OP_RUN && takes_time(op) &&
            op->span == hold->span)
            op->label = *label;
    }
}

static void
find_holds(perfi_model *m)
{
    size_t resources = m->line->resources.count;
    uint64_t *own =
        perfi_region_take(m->region, m->line->spans.count + 1, sizeof *own);
    uint32_t *label = perfi_region_take(m->region, resources, sizeof *label);
    for (size_t i = 0; i < m->ops.count; i++)
        if (takes_time(&m->ops.item[i]))
            own[m->ops.item[i].span] += m->ops.item[i].ns;
    for (size_t h = 0; h < m->uses.count; h++) {
        const perfi_use *hold = &m->uses.item[h];
        if (hold->resource < resources && hold->ops.end &&
            m->line->resources.item[hold->resource].kind ==
                PERF_RESOURCE_LOCK &&
            only_sleeps(m, hold, own))
            label_hold(m, hold, &label[hold->resource]);
    }
    perfi_region_drop(m->region, label);
    perfi_region_drop(m->region, own);
}

/* ---- slots ---- */

typedef struct slot {
    uint32_t label, op;
    uint64_t when;
} slot;

static int
by_label(const void *a, const void *b)
{
    const slot *x = a, *y = b;
    if (x->label != y->label)
        return x->label < y->label ? -1 : 1;
    if (x->when != y->when)
        return x->when < y->when ? -1 : 1;
    return (x->op > y->op) - (x->op < y->op);
}

static int
by_size(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* What comes a gap after a timer, and how many do, one after the other. */
typedef struct step {
    uint32_t next; /* n: none */
    uint32_t length;
    bool seen; /* in a chain that was looked at */
} step;

/* One label's timers, by their deadlines. */
typedef struct timers {
    const perfi_model *m;
    const slot *s;
    uint32_t n;
    step *step;
    uint64_t *gaps; /* between neighbours; then delays of a chain */
} timers;

static void
find_steps(const timers *t, uint64_t gap)
{
    const slot *s = t->s;
    uint64_t slack = gap / 100 + SLACK_NS;
    for (uint32_t i = 0, next = 0; i < t->n; i++) {
        uint64_t when = s[i].when + gap;
        while (next < t->n && s[next].when + slack < when)
            next++;
        bool fits = next < t->n && s[next].when <= when + slack;
        t->step[i] = (step){fits ? next : t->n, 0, false};
    }
    for (uint32_t i = t->n; i-- > 0;) {
        uint32_t next = t->step[i].next;
        t->step[i].length = 1 + (next < t->n ? t->step[next].length : 0);
    }
}

static size_t
shorter(const uint64_t *gaps, size_t n, uint64_t than)
{
    size_t low = 0;
    while (low < n) {
        size_t middle = low + (n - low) / 2;
        if (gaps[middle] < than)
            low = middle + 1;
        else
            n = middle;
    }
    return low;
}

/* A rhythm alone is not enough: sleeps of one length that begin at even times
 * have it too, and among many deadlines some are evenly spaced by chance. The
 * sleeps of a limiter begin whenever somebody came, so most differ from the
 * usual one; and they are a good part of all sleeps there. */
static bool
is_limiter(const timers *t, uint32_t first, uint64_t gap)
{
    uint64_t *delays = t->gaps;
    size_t length = 0;
    for (uint32_t i = first; i < t->n; i = t->step[i].next)
        delays[length++] = t->m->ops.item[t->s[i].op].ns;
    qsort(delays, length, sizeof *delays, by_size);
    uint64_t usual = delays[length / 2], slack = gap / 10;
    size_t others = length - shorter(delays, length, usual + slack + 1);
    if (usual > slack)
        others += shorter(delays, length, usual - slack);
    return others * 2 >= length && (delays[length - 1] - delays[0]) * 2 > gap;
}

/* The first of the longest chain that is a limiter's and longer than that, or
 * n. Chains run into one another: one that was mostly seen is no other. */
static uint32_t
find_chain(const timers *t, uint64_t gap, uint32_t than)
{
    uint32_t found = t->n;
    find_steps(t, gap);
    for (uint32_t i = 0; i < t->n; i++) {
        uint32_t length = t->step[i].length, fresh = 0;
        if (length <= than || length < CHAIN_LEAST ||
            (uint64_t)length * 100 < (uint64_t)t->n * CHAIN_PERCENT)
            continue;
        for (uint32_t k = i; k < t->n && !t->step[k].seen; fresh++) {
            t->step[k].seen = true;
            k = t->step[k].next;
        }
        if (fresh * 2 < length || !is_limiter(t, i, gap))
            continue;
        found = i;
        than = length;
    }
    return found;
}

/* How many of the sorted gaps are about this long. */
static size_t
votes(const uint64_t *gaps, size_t n, uint64_t gap)
{
    uint64_t slack = gap / 100 + SLACK_NS;
    return shorter(gaps, n, gap + slack) - shorter(gaps, n, gap - slack);
}

static size_t
candidates(const timers *t, uint64_t *best)
{
    uint64_t *gaps = t->gaps;
    size_t count = 0, found = 0, score[TRIES] = {0};
    for (size_t d = 1; d <= NEIGHBOURS; d++)
        for (size_t i = 0; i + d < t->n; i++)
            gaps[count++] = t->s[i + d].when - t->s[i].when;
    qsort(gaps, count, sizeof *gaps, by_size);
    uint64_t last = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t gap = (gaps[i] + SLACK_NS) / 1000000 * 1000000;
        if (gap <= GAP_LEAST_NS || gap == last)
            continue;
        last = gap;
        size_t got = votes(gaps, count, gap), at = found;
        while (at && score[at - 1] < got)
            at--;
        if (at == TRIES)
            continue;
        if (found < TRIES)
            found++;
        for (size_t j = found - 1; j > at; j--) {
            score[j] = score[j - 1];
            best[j] = best[j - 1];
        }
        score[at] = got;
        best[at] = gap;
    }
    return found;
}

static void
make_slots(perfi_model *m, const timers *t, uint32_t first, uint64_t gap)
{
    uint32_t last = first, label = t->s[0].label;
    find_steps(t, gap);
    for (uint32_t i = first; i < t->n; i = t->step[i].next) {
        m->ops.item[t->s[i].op].code = PERFI_OP_SLOT;
        last = i;
    }
    uint64_t all = t->s[last].when - t->s[first].when;
    *perfi_list_add(m->region, &m->limiters) =
        (perfi_limiter){label, all / (t->step[first].length - 1)};
    m->labels.item[label].limiter = (uint32_t)m->limiters.count;
}

static void
find_slots(perfi_model *m, const slot *s, uint32_t n)
{
    timers t = {.m = m, .s = s, .n = n};
    t.step = perfi_region_take(m->region, n, sizeof *t.step);
    t.gaps =
        perfi_region_take(m->region, (size_t)n * NEIGHBOURS, sizeof *t.gaps);
    uint64_t tries[TRIES], gap = 0;
    size_t count = candidates(&t, tries);
    uint32_t first = n, length = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t found = find_chain(&t, tries[i], length);
        if (found == n)
            continue;
        first = found;
        length = t.step[found].length;
        gap = tries[i];
    }
    if (length)
        make_slots(m, &t, first, gap);
    perfi_region_drop(m->region, t.gaps);
    perfi_region_drop(m->region, t.step);
}

void
perfi_limiters_find(perfi_model *m)
{
    find_holds(m);
    slot *all = perfi_region_take(m->region, m->ops.count, sizeof *all);
    size_t n = 0;
    for (uint32_t i = 0; i < m->ops.count; i++) {
        const perfi_op *op = &m->ops.item[i];
        uint8_t kind = m->labels.item[op->label].kind;
        if (op->code != PERFI_OP_TIMER || !op->ns || kind == PERFI_LABEL_HOLD ||
            kind == PERFI_LABEL_LIMIT)
            continue;
        uint64_t when = m->line->actors.item[op->what].deadline;
        if (when)
            all[n++] = (slot){op->label, i, when};
    }
    qsort(all, n, sizeof *all, by_label);
    for (size_t i = 0, j; i < n; i = j) {
        for (j = i; j < n && all[j].label == all[i].label; j++)
            ;
        if (j - i >= CHAIN_LEAST)
            find_slots(m, all + i, (uint32_t)(j - i));
    }
    perfi_region_drop(m->region, all);
}
