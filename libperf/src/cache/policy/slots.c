/* slots.c - an array of slots that grows, and lists through it. */
#include "slots.h"

enum { FIRST_ROOM = 16 };

/* The number of a slot is an int32_t outside. */
static const uint32_t MOST = INT32_MAX;

void
perfi_slots_init(perfi_slots *s)
{
    *s = (perfi_slots){0};
    for (int i = 0; i < PERFI_LISTS; i++)
        s->list[i].first = s->list[i].last = PERFI_NONE;
}

void
perfi_slots_free(perfi_slots *s, const perf_allocator *a)
{
    a->free(s->at, (size_t)s->room * sizeof *s->at, a->ctx);
}

/* By half, so that a third of it is unused at most; to no more than is likely
 * to be needed, as long as that is more. */
static uint32_t
next_room(uint32_t room, uint32_t likely)
{
    uint64_t more = (uint64_t)room + room / 2 + FIRST_ROOM;
    if (likely > room && more > likely)
        more = likely;
    return more > MOST ? MOST : (uint32_t)more;
}

static bool
grow(perfi_slots *s, uint32_t likely, const perf_allocator *a)
{
    uint32_t room = next_room(s->room, likely);
    if (room == s->room)
        return false;
    perfi_cache_slot *more = a->alloc((size_t)room * sizeof *more, a->ctx);
    if (!more)
        return false;
    if (s->used)
        memcpy(more, s->at, (size_t)s->used * sizeof *more);
    a->free(s->at, (size_t)s->room * sizeof *more, a->ctx);
    s->at = more;
    s->room = room;
    return true;
}

uint32_t
perfi_slots_take(perfi_slots *s, uint32_t likely, const perf_allocator *a)
{
    uint32_t slot = s->list[PERFI_LIST_FREE].first;
    if (slot != PERFI_NONE) {
        perfi_list_unlink(s, slot);
    } else {
        if (s->used == s->room && !grow(s, likely, a))
            return PERFI_NONE;
        slot = s->used++;
    }
    s->count++;
    return slot;
}

void
perfi_slots_untake(perfi_slots *s, uint32_t slot)
{
    perfi_cache_slot *x = &s->at[slot];
    s->count--;
    *x = (perfi_cache_slot){.hash_low = x->hash_low, .hash_high = x->hash_high};
    perfi_list_push(s, slot, PERFI_LIST_FREE);
}

void
perfi_slots_release(perfi_slots *s, uint32_t slot)
{
    perfi_list_unlink(s, slot);
    s->weight -= s->at[slot].weight;
    perfi_slots_untake(s, slot);
}

void
perfi_slots_reweigh(perfi_slots *s, uint32_t slot, uint32_t weight)
{
    perfi_cache_slot *x = &s->at[slot];
    uint64_t more = (uint64_t)weight - x->weight; /* modulo 2^64 */
    s->list[x->list].weight += more;
    s->weight += more;
    x->weight = weight;
}

/* One list, from its first to its last. */
static bool
check_list(const perfi_slots *s, uint8_t list)
{
    const perfi_list *l = &s->list[list];
    uint32_t prev = PERFI_NONE, count = 0;
    uint64_t weight = 0;
    for (uint32_t i = l->first; i != PERFI_NONE; i = s->at[i].next) {
        if (i >= s->used || s->at[i].list != list || s->at[i].prev != prev ||
            count++ == s->used)
            return false;
        weight += s->at[i].weight;
        prev = i;
    }
    return l->last == prev && l->count == count && l->weight == weight;
}

bool
perfi_slots_check(const perfi_slots *s)
{
    uint64_t count = 0, weight = 0;
    for (uint8_t i = 0; i < PERFI_LISTS; i++) {
        if (!check_list(s, i))
            return false;
        count += s->list[i].count;
        weight += s->list[i].weight;
    }
    return s->used <= s->room && count == s->used && weight == s->weight &&
           s->count == s->used - s->list[PERFI_LIST_FREE].count;
}
