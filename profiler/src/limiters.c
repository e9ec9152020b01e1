/* limiters.c - finds what only spaces calls out: a lock that is held to sleep,
 * and sleeps that end at even gaps although they begin at any time. Their time
 * is not the service of the span around them. */
#include "program.h"

#include <stdlib.h>

enum {
    CHAIN_LEAST = 5,    /* grants that make a rhythm */
    CHAIN_PERCENT = 40, /* of the label's timers */
    TIMERS_MAX = 4000,  /* of one label that are looked at */
    GAP_LEAST_NS = 2000000,
    SLACK_NS = 500000, /* and 1 % of the gap */
    TRIES = 3,         /* most frequent gaps */
    NEIGHBOURS = 3,    /* chains may be interleaved */
};

/* ---- locks that are held to sleep ---- */

static bool
takes_time(const perfi_op *op)
{
    return op->code == PERFI_OP_RUN || op->code == PERFI_OP_BLOCK ||
           op->code == PERFI_OP_TIMER;
}

static uint32_t
label_of_hold(perfi_model *m, uint32_t resource)
{
    for (uint32_t i = 0; i < m->labels.count; i++)
        if (m->labels.item[i].kind == PERFI_LABEL_HOLD &&
            m->labels.item[i].name == resource)
            return i;
    perfi_label *l = perfi_list_add(m->region, &m->labels);
    l->kind = PERFI_LABEL_HOLD;
    l->name = resource;
    return (uint32_t)m->labels.count - 1;
}

static bool
only_sleeps(const perfi_model *m, const perfi_use *h, const uint64_t *own)
{
    uint64_t slept = 0, ran = 0;
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
find_holds(perfi_model *m)
{
    uint64_t *own =
        perfi_region_take(m->region, m->line->spans.count + 1, sizeof *own);
    for (size_t i = 0; i < m->ops.count; i++)
        if (takes_time(&m->ops.item[i]))
            own[m->ops.item[i].span] += m->ops.item[i].ns;
    for (size_t h = 0; h < m->uses.count; h++) {
        const perfi_use *hold = &m->uses.item[h];
        if (hold->resource == PERFI_NONE || !hold->ops.end ||
            m->line->resources.item[hold->resource].kind !=
                PERF_RESOURCE_LOCK ||
            !only_sleeps(m, hold, own))
            continue;
        uint32_t label = label_of_hold(m, hold->resource);
        for (uint32_t i = hold->ops.first; i < hold->ops.end; i++) {
            perfi_op *op = &m->ops.item[i];
            if (op->code != PERFI_OP_RUN && takes_time(op) &&
                op->span == hold->span)
                op->label = label;
        }
    }
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
    return (x->when > y->when) - (x->when < y->when);
}

static int
by_size(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* The longest run of timers from `from` on whose deadlines are one gap apart.
 * Returns how many; writes their places. */
static size_t
follow(const slot *s, size_t n, size_t from, uint64_t gap, uint32_t *chain)
{
    uint64_t slack = gap / 100 + SLACK_NS;
    size_t length = 0, at = from;
    chain[length++] = (uint32_t)at;
    for (;;) {
        uint64_t next = s[at].when + gap;
        size_t i = at + 1;
        while (i < n && s[i].when + slack < next)
            i++;
        if (i == n || s[i].when > next + slack)
            return length;
        at = i;
        chain[length++] = (uint32_t)at;
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
is_limiter(const perfi_model *m, const slot *s, size_t n, const uint32_t *chain,
           size_t length, uint64_t gap, uint64_t *delays)
{
    if (length < CHAIN_LEAST || length * 100 < n * CHAIN_PERCENT)
        return false;
    for (size_t i = 0; i < length; i++)
        delays[i] = m->ops.item[s[chain[i]].op].ns;
    qsort(delays, length, sizeof *delays, by_size);
    uint64_t usual = delays[length / 2], slack = gap / 10;
    size_t others = length - shorter(delays, length, usual + slack + 1);
    if (usual > slack)
        others += shorter(delays, length, usual - slack);
    return others * 2 >= length && (delays[length - 1] - delays[0]) * 2 > gap;
}

/* How many of the sorted gaps are about this long. */
static size_t
votes(const uint64_t *gaps, size_t n, uint64_t gap)
{
    uint64_t slack = gap / 100 + SLACK_NS;
    return shorter(gaps, n, gap + slack) - shorter(gaps, n, gap - slack);
}

static size_t
candidates(const slot *s, size_t n, uint64_t *gaps, uint64_t *best)
{
    size_t count = 0, found = 0, score[TRIES] = {0};
    for (size_t d = 1; d <= NEIGHBOURS; d++)
        for (size_t i = 0; i + d < n; i++)
            gaps[count++] = s[i + d].when - s[i].when;
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
find_slots(perfi_model *m, const slot *s, size_t n)
{
    uint64_t *gaps = perfi_region_take(m->region, n * NEIGHBOURS, sizeof *gaps);
    uint32_t *chain = perfi_region_take(m->region, n, sizeof *chain);
    uint32_t *longest = perfi_region_take(m->region, n, sizeof *longest);
    uint64_t tries[TRIES];
    size_t length = 0, count = candidates(s, n, gaps, tries);
    for (size_t t = 0; t < count; t++) {
        for (size_t i = 0; i + length < n; i++) {
            size_t got = follow(s, n, i, tries[t], chain);
            if (got <= length ||
                !is_limiter(m, s, n, chain, got, tries[t], gaps))
                continue;
            length = got;
            for (size_t j = 0; j < got; j++)
                longest[j] = chain[j];
        }
    }
    if (length) {
        uint64_t gap =
            (s[longest[length - 1]].when - s[longest[0]].when) / (length - 1);
        perfi_limiter *limiter = perfi_list_add(m->region, &m->limiters);
        *limiter = (perfi_limiter){s[0].label, gap};
        m->labels.item[s[0].label].limiter = (uint32_t)m->limiters.count;
        for (size_t j = 0; j < length; j++)
            m->ops.item[s[longest[j]].op].code = PERFI_OP_SLOT;
    }
    perfi_region_drop(m->region, longest);
    perfi_region_drop(m->region, chain);
    perfi_region_drop(m->region, gaps);
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
        if (j - i >= CHAIN_LEAST && j - i <= TIMERS_MAX)
            find_slots(m, all + i, j - i);
    }
    perfi_region_drop(m->region, all);
}
