/* agenda.c - what happens when: a binary heap; equal times in the order in
 * which they were put down. */
#include "replay_state.h"

static bool
before(const perfi_date *a, const perfi_date *b)
{
    return a->t != b->t ? a->t < b->t : a->order < b->order;
}

void
perfi_agenda_add(perfi_replay *r, uint64_t t, perfi_due what, uint32_t who)
{
    if (t < r->now) /* now and then make more than there is */
        t = UINT64_MAX;
    perfi_date date = {t, r->order++, what, who};
    perfi_list_add(r->region, &r->agenda);
    perfi_date *heap = r->agenda.item;
    size_t at = r->agenda.count - 1;
    while (at && before(&date, &heap[(at - 1) / 2])) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = date;
}

bool
perfi_agenda_next(perfi_replay *r, perfi_date *out)
{
    if (!r->agenda.count)
        return false;
    perfi_date *heap = r->agenda.item;
    *out = heap[0];
    size_t n = --r->agenda.count, at = 0;
    perfi_date last = heap[n];
    for (size_t child; (child = at * 2 + 1) < n; at = child) {
        if (child + 1 < n && before(&heap[child + 1], &heap[child]))
            child++;
        if (!before(&heap[child], &last))
            break;
        heap[at] = heap[child];
    }
    heap[at] = last;
    return true;
}
