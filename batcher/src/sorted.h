/* sorted.h - items in order: a list for those that come in order, which nearly
 * all do, and a pairing heap (Fredman et al., 1986) for the rest. All links
 * lie in the items. */
#ifndef PERFI_BATCH_SORTED_H
#define PERFI_BATCH_SORTED_H
#include <libperf/batch_queue.h>

/* An item may be in one of each at the same time. */
typedef enum perfi_order {
    PERFI_BY_KEY = 0,   /* the smallest key first */
    PERFI_BY_TIME = 1,  /* whose time is over first */
    PERFI_BY_WORST = 2, /* the largest key first */
} perfi_order;

/* item->numbers */
enum {
    PERFI_KEY = 0,
    PERFI_SEQUENCE = 1, /* of submission: breaks ties */
    PERFI_TIME = 2,     /* when it is to be given up */
    PERFI_SINCE = 3,    /* when it came to be where it is */
};

/* item->place: a bit for each order, and others */
enum {
    PERFI_IN_LIST = 1,         /* << order */
    PERFI_IN_HEAP = 1 << 3,    /* << order */
    PERFI_IN_BATCH = 1 << 6,   /* also when nobody wants it any more */
    PERFI_IN_DROPPED = 1 << 7, /* dropped_at() has not named it yet */
};

typedef struct perfi_sorted {
    perf_batch_item *first, *last; /* of the list */
    perf_batch_item *root;         /* of the heap */
} perfi_sorted;

/* O(1) when it is not smaller than the last or smaller than the first one. */
void perfi_sorted_put(perfi_sorted *sorted, perf_batch_item *item,
                      perfi_order order);

/* O(1) in the list, else O(log n), amortised. What is not in it is ignored. */
void perfi_sorted_remove(perfi_sorted *sorted, perf_batch_item *item,
                         perfi_order order);

/* Everything is as it should be; `count` receives how many there are. */
bool perfi_sorted_check(const perfi_sorted *sorted, perfi_order order,
                        uint64_t *count);

static inline bool
perfi_sorted_empty(const perfi_sorted *sorted)
{
    return !sorted->first && !sorted->root;
}

static inline bool
perfi_item_before(const perf_batch_item *a, const perf_batch_item *b,
                  perfi_order order)
{
    if (order == PERFI_BY_WORST) {
        const perf_batch_item *other = a;
        a = b;
        b = other;
    }
    int number = order == PERFI_BY_TIME ? PERFI_TIME : PERFI_KEY;
    if (a->numbers[number] != b->numbers[number])
        return a->numbers[number] < b->numbers[number];
    return a->numbers[PERFI_SEQUENCE] < b->numbers[PERFI_SEQUENCE];
}

/* NULL: it is empty. */
static inline perf_batch_item *
perfi_sorted_first(const perfi_sorted *sorted, perfi_order order)
{
    perf_batch_item *first = sorted->first, *root = sorted->root;
    if (!root)
        return first;
    return first && perfi_item_before(first, root, order) ? first : root;
}

/* By key, and behind all others: what nearly every item is and does. */
static inline void
perfi_sorted_put_by_key(perfi_sorted *sorted, perf_batch_item *item)
{
    perf_batch_item *last = sorted->last;
    if (last && perfi_item_before(item, last, PERFI_BY_KEY)) {
        perfi_sorted_put(sorted, item, PERFI_BY_KEY);
        return;
    }
    item->place |= (uint32_t)PERFI_IN_LIST << PERFI_BY_KEY;
    item->links[0] = item->next = NULL;
    item->previous = last;
    *(last ? &last->next : &sorted->first) = item;
    sorted->last = item;
}

/* By key, and out of the list. */
static inline void
perfi_sorted_remove_by_key(perfi_sorted *sorted, perf_batch_item *item)
{
    uint32_t in_list = (uint32_t)PERFI_IN_LIST << PERFI_BY_KEY;
    if (!(item->place & in_list)) {
        perfi_sorted_remove(sorted, item, PERFI_BY_KEY);
        return;
    }
    perf_batch_item *next = item->next, *previous = item->previous;
    *(previous ? &previous->next : &sorted->first) = next;
    *(next ? &next->previous : &sorted->last) = previous;
    item->place &= ~in_list;
}

/* ---- a list in the order in which it was filled ---- */

typedef struct perfi_list {
    perf_batch_item *first, *last;
} perfi_list;

/* Which links a list uses. */
typedef enum perfi_chain {
    PERFI_BY_PLACE = 0,   /* next, previous: as PERFI_BY_KEY */
    PERFI_BY_ARRIVAL = 1, /* all that wait; groups, by their first items */
} perfi_chain;

static inline perf_batch_item **
perfi_next(perf_batch_item *item, perfi_chain chain)
{
    return chain == PERFI_BY_PLACE ? &item->next : &item->links[4];
}

static inline perf_batch_item **
perfi_previous(perf_batch_item *item, perfi_chain chain)
{
    return chain == PERFI_BY_PLACE ? &item->previous : &item->links[5];
}

/* Behind `after`; NULL: as the first. */
static inline void
perfi_list_put(perfi_list *list, perf_batch_item *item, perf_batch_item *after,
               perfi_chain chain)
{
    perf_batch_item *next = after ? *perfi_next(after, chain) : list->first;
    *perfi_next(item, chain) = next;
    *perfi_previous(item, chain) = after;
    *(after ? perfi_next(after, chain) : &list->first) = item;
    *(next ? perfi_previous(next, chain) : &list->last) = item;
}

static inline void
perfi_list_append(perfi_list *list, perf_batch_item *item, perfi_chain chain)
{
    *perfi_next(item, chain) = NULL;
    *perfi_previous(item, chain) = list->last;
    *(list->last ? perfi_next(list->last, chain) : &list->first) = item;
    list->last = item;
}

static inline void
perfi_list_remove(perfi_list *list, perf_batch_item *item, perfi_chain chain)
{
    perf_batch_item *next = *perfi_next(item, chain);
    perf_batch_item *previous = *perfi_previous(item, chain);
    *(previous ? perfi_next(previous, chain) : &list->first) = next;
    *(next ? perfi_previous(next, chain) : &list->last) = previous;
}

#endif
