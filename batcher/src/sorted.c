/* sorted.c - a list in front of a pairing heap. */
#include "sorted.h"

/* The order is a constant wherever these are used, so that nothing is left of
 * asking for it. */
#define ALWAYS static inline __attribute__((always_inline))

ALWAYS perf_batch_item **
child(perf_batch_item *item, perfi_order order)
{
    return order == PERFI_BY_KEY    ? &item->links[0]
           : order == PERFI_BY_TIME ? &item->links[1]
                                    : &item->links[6];
}

/* In the heap: the next child of the same parent. */
ALWAYS perf_batch_item **
next(perf_batch_item *item, perfi_order order)
{
    return order == PERFI_BY_KEY    ? &item->next
           : order == PERFI_BY_TIME ? &item->links[2]
                                    : &item->links[7];
}

/* In the heap: the child before it, or the parent of the first child. */
ALWAYS perf_batch_item **
previous(perf_batch_item *item, perfi_order order)
{
    return order == PERFI_BY_KEY    ? &item->previous
           : order == PERFI_BY_TIME ? &item->links[3]
                                    : &item->links[8];
}

/* ---- the heap ---- */

/* Two roots become one; either may be NULL. */
ALWAYS perf_batch_item *
meld(perf_batch_item *a, perf_batch_item *b, perfi_order order)
{
    if (!a || !b)
        return a ? a : b;
    if (perfi_item_before(b, a, order)) {
        perf_batch_item *other = a;
        a = b;
        b = other;
    }
    perf_batch_item *first = *child(a, order);
    *next(b, order) = first;
    *previous(b, order) = a;
    if (first)
        *previous(first, order) = b;
    *child(a, order) = b;
    return a;
}

ALWAYS perf_batch_item *
alone(perf_batch_item *item, perfi_order order)
{
    if (item)
        *next(item, order) = *previous(item, order) = NULL;
    return item;
}

/* The children of a node that leaves: two by two, then all from the right. */
ALWAYS perf_batch_item *
meld_children(perf_batch_item *first, perfi_order order)
{
    perf_batch_item *pairs = NULL, *root = NULL;
    while (first) {
        perf_batch_item *a = first, *b = *next(a, order);
        first = b ? *next(b, order) : NULL;
        a = meld(alone(a, order), alone(b, order), order);
        *next(a, order) = pairs;
        pairs = a;
    }
    while (pairs) {
        perf_batch_item *a = pairs;
        pairs = *next(a, order);
        root = meld(root, alone(a, order), order);
    }
    return root;
}

ALWAYS void
remove_from_heap(perfi_sorted *s, perf_batch_item *item, perfi_order order)
{
    perf_batch_item *rest = meld_children(*child(item, order), order);
    if (item == s->root) {
        s->root = rest;
        return;
    }
    perf_batch_item *before = *previous(item, order);
    perf_batch_item *after = *next(item, order);
    *(*child(before, order) == item ? child(before, order)
                                    : next(before, order)) = after;
    if (after)
        *previous(after, order) = before;
    s->root = meld(s->root, rest, order);
}

/* ---- both ---- */

ALWAYS void
put(perfi_sorted *s, perf_batch_item *item, perfi_order order)
{
    bool behind = !s->last || !perfi_item_before(item, s->last, order);
    *child(item, order) = NULL;
    if (!behind && !perfi_item_before(item, s->first, order)) {
        item->place |= (uint32_t)PERFI_IN_HEAP << order;
        s->root = meld(s->root, alone(item, order), order);
        return;
    }
    item->place |= (uint32_t)PERFI_IN_LIST << order;
    *previous(item, order) = behind ? s->last : NULL;
    *next(item, order) = behind ? NULL : s->first;
    if (behind) {
        *(s->last ? next(s->last, order) : &s->first) = item;
        s->last = item;
    } else {
        *previous(s->first, order) = item;
        s->first = item;
    }
}

ALWAYS void
take_out(perfi_sorted *s, perf_batch_item *item, perfi_order order)
{
    uint32_t in_list = (uint32_t)PERFI_IN_LIST << order;
    uint32_t in_heap = (uint32_t)PERFI_IN_HEAP << order;
    if (item->place & in_list) {
        perf_batch_item *before = *previous(item, order);
        perf_batch_item *after = *next(item, order);
        *(before ? next(before, order) : &s->first) = after;
        *(after ? previous(after, order) : &s->last) = before;
    } else if (item->place & in_heap) {
        remove_from_heap(s, item, order);
    }
    item->place &= ~(in_list | in_heap);
}

void
perfi_sorted_put(perfi_sorted *s, perf_batch_item *item, perfi_order order)
{
    switch (order) {
    case PERFI_BY_KEY: put(s, item, PERFI_BY_KEY); break;
    case PERFI_BY_TIME: put(s, item, PERFI_BY_TIME); break;
    case PERFI_BY_WORST: put(s, item, PERFI_BY_WORST); break;
    }
}

void
perfi_sorted_remove(perfi_sorted *s, perf_batch_item *item, perfi_order order)
{
    switch (order) {
    case PERFI_BY_KEY: take_out(s, item, PERFI_BY_KEY); break;
    case PERFI_BY_TIME: take_out(s, item, PERFI_BY_TIME); break;
    case PERFI_BY_WORST: take_out(s, item, PERFI_BY_WORST); break;
    }
}

/* ---- for tests ---- */

static bool
check_list(const perfi_sorted *s, perfi_order order, uint64_t *count)
{
    perf_batch_item *before = NULL;
    for (perf_batch_item *i = s->first; i; i = *next(i, order)) {
        if (*previous(i, order) != before ||
            !(i->place & (uint32_t)PERFI_IN_LIST << order))
            return false;
        if (before && perfi_item_before(i, before, order))
            return false;
        before = i;
        ++*count;
    }
    return s->last == before;
}

/* The next one in preorder, without a stack: heaps may be deep. */
static perf_batch_item *
walk(perf_batch_item *item, const perf_batch_item *root, perfi_order order)
{
    if (*child(item, order))
        return *child(item, order);
    while (item != root) {
        if (*next(item, order))
            return *next(item, order);
        while (*child(*previous(item, order), order) != item)
            item = *previous(item, order); /* to the first of its siblings */
        item = *previous(item, order);     /* their parent */
    }
    return NULL;
}

static bool
check_heap(const perfi_sorted *s, perfi_order order, uint64_t *count)
{
    for (perf_batch_item *i = s->root; i; i = walk(i, s->root, order)) {
        perf_batch_item *first = *child(i, order);
        if (!(i->place & (uint32_t)PERFI_IN_HEAP << order) ||
            (first && *previous(first, order) != i))
            return false;
        for (perf_batch_item *c = first; c; c = *next(c, order))
            if (perfi_item_before(c, i, order) ||
                (*next(c, order) && *previous(*next(c, order), order) != c))
                return false;
        ++*count;
    }
    return true;
}

bool
perfi_sorted_check(const perfi_sorted *s, perfi_order order, uint64_t *count)
{
    *count = 0;
    return check_list(s, order, count) && check_heap(s, order, count);
}
