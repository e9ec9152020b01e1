/* slots.h - the entries of a policy: an array of slots that grows, and lists
 * through it. A free slot is in the list PERFI_LIST_FREE, a taken one in one of
 * the others; what those mean is up to the kind (kind.h). */
#ifndef PERFI_CACHE_SLOTS_H
#define PERFI_CACHE_SLOTS_H
#include <libperf/policy.h>
#include <string.h>

#define PERFI_NONE UINT32_MAX

enum { PERFI_LIST_FREE = 0, PERFI_LISTS = 4 };

typedef struct perfi_cache_slot {
    uint32_t next, prev;          /* towards the last, towards the first */
    uint32_t hash_low, hash_high; /* apart: 24 bytes, not 32; of a free slot,
                                     those of what it had last */
    uint32_t weight;
    uint16_t cost; /* perfi_slot_cost() */
    uint8_t list;  /* PERFI_LIST_FREE, or the kind's */
    uint8_t hits;  /* the kind's */
} perfi_cache_slot;

typedef struct perfi_list {
    uint32_t first, last;
    uint32_t count;
    uint64_t weight;
} perfi_list;

typedef struct perfi_slots {
    perfi_cache_slot *at;
    uint32_t room; /* slots in the array */
    uint32_t used; /* of these were ever taken; the others are free too */
    uint32_t count;
    uint64_t weight; /* of the taken ones */
    perfi_list list[PERFI_LISTS];
} perfi_slots;

void perfi_slots_init(perfi_slots *s);
void perfi_slots_free(perfi_slots *s, const perf_allocator *allocator);

/** Take a free slot; it is in no list yet. @param likely  how many slots there
 *  will be at most, as far as is known.  @return  PERFI_NONE: no memory. */
uint32_t perfi_slots_take(perfi_slots *s, uint32_t likely,
                          const perf_allocator *allocator);

/** Free again, as if it had not been taken. */
void perfi_slots_untake(perfi_slots *s, uint32_t slot);

/** Out of its list, and free. */
void perfi_slots_release(perfi_slots *s, uint32_t slot);

/** Another weight, wherever it is. */
void perfi_slots_reweigh(perfi_slots *s, uint32_t slot, uint32_t weight);

/** Whether all of it fits together: every slot in exactly one list, links,
 *  counts and weights right. O(slots), for tests. */
bool perfi_slots_check(const perfi_slots *s);

static inline bool
perfi_slots_taken(const perfi_slots *s, uint32_t slot)
{
    return slot < s->used && s->at[slot].list != PERFI_LIST_FREE;
}

static inline uint64_t
perfi_slot_hash(const perfi_cache_slot *slot)
{
    return (uint64_t)slot->hash_high << 32 | slot->hash_low;
}

/** Of making it again: at least 0, finite. A float without its last 16 bits,
 *  which is exact to less than a hundredth. */
static inline float
perfi_slot_cost(const perfi_cache_slot *slot)
{
    uint32_t bits = (uint32_t)slot->cost << 16;
    float cost;
    memcpy(&cost, &bits, sizeof cost);
    return cost;
}

static inline void
perfi_slot_set_cost(perfi_cache_slot *slot, float cost)
{
    uint32_t bits;
    memcpy(&bits, &cost, sizeof bits);
    slot->cost = (uint16_t)(bits >> 16);
}

/** Its place in a list will change: what that touches is on its way. */
static inline void
perfi_list_fetch(const perfi_slots *s, uint32_t slot)
{
    const perfi_cache_slot *x = &s->at[slot];
    if (x->prev != PERFI_NONE)
        __builtin_prefetch(&s->at[x->prev], 1);
    if (x->next != PERFI_NONE)
        __builtin_prefetch(&s->at[x->next], 1);
}

static inline void
perfi_list_unlink(perfi_slots *s, uint32_t slot)
{
    const perfi_cache_slot *x = &s->at[slot];
    perfi_list *l = &s->list[x->list];
    *(x->prev == PERFI_NONE ? &l->first : &s->at[x->prev].next) = x->next;
    *(x->next == PERFI_NONE ? &l->last : &s->at[x->next].prev) = x->prev;
    l->count--;
    l->weight -= x->weight;
}

/** A slot that is in no list becomes the first of one. */
static inline void
perfi_list_push(perfi_slots *s, uint32_t slot, uint8_t list)
{
    perfi_cache_slot *x = &s->at[slot];
    perfi_list *l = &s->list[list];
    x->list = list;
    x->prev = PERFI_NONE;
    x->next = l->first;
    *(l->first == PERFI_NONE ? &l->last : &s->at[l->first].prev) = slot;
    l->first = slot;
    l->count++;
    l->weight += x->weight;
}

/** The same, as the last of it. */
static inline void
perfi_list_push_last(perfi_slots *s, uint32_t slot, uint8_t list)
{
    perfi_cache_slot *x = &s->at[slot];
    perfi_list *l = &s->list[list];
    x->list = list;
    x->next = PERFI_NONE;
    x->prev = l->last;
    *(l->last == PERFI_NONE ? &l->first : &s->at[l->last].next) = slot;
    l->last = slot;
    l->count++;
    l->weight += x->weight;
}

/** From wherever it is to the first place of a list. */
static inline void
perfi_list_move(perfi_slots *s, uint32_t slot, uint8_t list)
{
    if (s->list[list].first == slot)
        return;
    perfi_list_unlink(s, slot);
    perfi_list_push(s, slot, list);
}
#endif
