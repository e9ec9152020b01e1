/* ids.c - open addressing with linear probing, at most half full. */
#include "ids.h"

/* Span ids are random, others count from 1: Fibonacci hashing (Knuth, TAOCP 3,
 * 6.4) spreads both. The upper bits, for these depend on all of the id's. */
static size_t
place_of(const perfi_ids *ids, uint64_t id)
{
    size_t at = (size_t)((id * UINT64_C(0x9E3779B97F4A7C15)) >>
                         (__builtin_clzll(ids->room) + 1));
    while (ids->id[at &= ids->room - 1] && ids->id[at] != id)
        at++;
    return at;
}

static void
enlarge(perfi_region *r, perfi_ids *ids)
{
    perfi_ids to = {.room = ids->room ? ids->room * 2 : 256,
                    .count = ids->count};
    to.id = perfi_region_take(r, to.room, sizeof *to.id);
    to.index = perfi_region_take(r, to.room, sizeof *to.index);
    for (size_t i = 0; i < ids->room; i++) {
        if (!ids->id[i])
            continue;
        size_t at = place_of(&to, ids->id[i]);
        to.id[at] = ids->id[i];
        to.index[at] = ids->index[i];
    }
    perfi_region_drop(r, ids->id);
    perfi_region_drop(r, ids->index);
    *ids = to;
}

uint32_t
perfi_ids_of(perfi_region *r, perfi_ids *ids, uint64_t id)
{
    if (ids->count * 2 >= ids->room)
        enlarge(r, ids);
    size_t at = place_of(ids, id);
    if (!ids->id[at]) {
        ids->id[at] = id;
        ids->index[at] = ids->count++;
    }
    return ids->index[at];
}

uint32_t
perfi_ids_find(const perfi_ids *ids, uint64_t id)
{
    if (!ids->room || !id)
        return PERFI_NONE;
    size_t at = place_of(ids, id);
    return ids->id[at] ? ids->index[at] : PERFI_NONE;
}
