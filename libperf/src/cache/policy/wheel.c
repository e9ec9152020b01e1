/* wheel.c - buckets of slots, by the tick in which they expire. */
#include "wheel.h"

#include "slots.h"
#include <string.h>

enum { LAST = PERFI_WHEEL_BUCKETS - 1, WORDS = PERFI_WHEEL_BUCKETS / 64 };

/* Of perfi_wheel_link.where: not set; in the ring of the expired ones. */
static const uint32_t NOWHERE = 0, DUE = 1, BUCKET = 2;

void
perfi_wheel_init(perfi_wheel *w)
{
    *w = (perfi_wheel){.due = PERFI_NONE, .next_ns = UINT64_MAX};
}

void
perfi_wheel_free(perfi_wheel *w, const perf_allocator *a)
{
    for (int i = 0; i < PERFI_WHEEL_LEVELS; i++)
        a->free(w->level[i], sizeof *w->level[i], a->ctx);
    a->free(w->link, (size_t)w->room * sizeof *w->link, a->ctx);
}

uint64_t
perfi_wheel_bytes(const perfi_wheel *w)
{
    uint64_t bytes = (uint64_t)w->room * sizeof *w->link;
    for (int i = 0; i < PERFI_WHEEL_LEVELS; i++)
        bytes += w->level[i] ? sizeof *w->level[i] : 0;
    return bytes;
}

/* ---- rings ---- */

/* A ring that begins with *first gets a new last one. */
static void
push(perfi_wheel *w, uint32_t *first, uint32_t slot)
{
    perfi_wheel_link *x = &w->link[slot];
    if (*first == PERFI_NONE) {
        *first = x->next = x->prev = slot;
        return;
    }
    x->next = *first;
    x->prev = w->link[*first].prev;
    w->link[x->prev].next = slot;
    w->link[x->next].prev = slot;
}

/* All of `from` behind what begins with w->due. */
static void
splice(perfi_wheel *w, uint32_t from)
{
    if (w->due == PERFI_NONE) {
        w->due = from;
        return;
    }
    uint32_t last = w->link[w->due].prev, from_last = w->link[from].prev;
    w->link[last].next = from;
    w->link[from].prev = last;
    w->link[from_last].next = w->due;
    w->link[w->due].prev = from_last;
}

/* ---- levels ---- */

static void
mark_empty(perfi_wheel_level *l, uint32_t bucket)
{
    l->occupied[bucket / 64] &= ~(UINT64_C(1) << bucket % 64);
}

/* The first tick after l->done whose bucket is occupied; UINT64_MAX: none. */
static uint64_t
first_tick(const perfi_wheel_level *l)
{
    uint32_t from = (l->done + 1) & LAST;
    uint64_t mask = UINT64_MAX << from % 64;
    for (uint32_t i = 0; i <= WORDS; i++, mask = UINT64_MAX) {
        uint32_t word = (from / 64 + i) % WORDS;
        uint64_t found = l->occupied[word] & mask;
        if (i == WORDS)
            found &= ~(UINT64_MAX << from % 64);
        if (!found)
            continue;
        uint32_t bucket = word * 64 + (uint32_t)__builtin_ctzll(found);
        return l->done + 1 + ((bucket - from) & LAST);
    }
    return UINT64_MAX;
}

/* What a level has up to now is due. */
static void
catch_up(perfi_wheel *w, uint32_t level)
{
    perfi_wheel_level *l = w->level[level];
    uint64_t now = w->now_ns >> level, tick;
    while ((tick = first_tick(l)) <= now) {
        uint32_t bucket = tick & LAST;
        splice(w, l->first[bucket]);
        mark_empty(l, bucket);
    }
    l->done = now;
}

static void
catch_up_all(perfi_wheel *w)
{
    w->next_ns = UINT64_MAX;
    for (uint64_t left = w->levels; left; left &= left - 1) {
        uint32_t level = (uint32_t)__builtin_ctzll(left);
        catch_up(w, level);
        uint64_t tick = first_tick(w->level[level]);
        if (tick == UINT64_MAX)
            w->levels &= ~(UINT64_C(1) << level);
        else if (tick << level < w->next_ns)
            w->next_ns = tick << level;
    }
}

/* Where 64 to 127 ticks are so long. */
static uint32_t
level_of(uint64_t time_to_live_ns)
{
    uint32_t bits = 64 - (uint32_t)__builtin_clzll(time_to_live_ns | 1);
    return bits > 7 ? bits - 7 : 0;
}

static void
put(perfi_wheel *w, uint32_t slot, uint64_t expires_ns, uint32_t level)
{
    perfi_wheel_level *l = w->level[level];
    if (l->done != w->now_ns >> level)
        catch_up(w, level); /* so that a bucket is of one tick */
    uint64_t tick = (expires_ns + (UINT64_C(1) << level) - 1) >> level;
    uint32_t bucket = tick & LAST;
    uint64_t bit = UINT64_C(1) << bucket % 64;
    if (!(l->occupied[bucket / 64] & bit))
        l->first[bucket] = PERFI_NONE;
    l->occupied[bucket / 64] |= bit;
    push(w, &l->first[bucket], slot);
    w->link[slot].where = BUCKET + level * PERFI_WHEEL_BUCKETS + bucket;
    w->levels |= UINT64_C(1) << level;
    if (tick << level < w->next_ns)
        w->next_ns = tick << level;
}

/* ---- memory ---- */

static bool
have_links(perfi_wheel *w, uint32_t room, const perf_allocator *a)
{
    if (room <= w->room)
        return true;
    perfi_wheel_link *more = a->alloc((size_t)room * sizeof *more, a->ctx);
    if (!more)
        return false;
    if (w->room)
        memcpy(more, w->link, (size_t)w->room * sizeof *more);
    a->free(w->link, (size_t)w->room * sizeof *more, a->ctx);
    w->link = more;
    w->room = room;
    return true;
}

static bool
have_level(perfi_wheel *w, uint32_t level, const perf_allocator *a)
{
    if (!w->level[level])
        w->level[level] = a->alloc(sizeof *w->level[level], a->ctx);
    return w->level[level];
}

/* ---- slots ---- */

static void
advance(perfi_wheel *w, uint64_t now_ns)
{
    if (now_ns > w->now_ns)
        w->now_ns = now_ns < PERFI_WHEEL_FAR ? now_ns : PERFI_WHEEL_FAR - 1;
}

void
perfi_wheel_unset(perfi_wheel *w, uint32_t slot)
{
    if (slot >= w->room || w->link[slot].where == NOWHERE)
        return;
    perfi_wheel_link *x = &w->link[slot];
    uint32_t next = x->next == slot ? PERFI_NONE : x->next;
    w->link[x->prev].next = x->next;
    w->link[x->next].prev = x->prev;
    if (w->due == slot) {
        w->due = next;
    } else if (x->where >= BUCKET) {
        uint32_t where = x->where - BUCKET, bucket = where & LAST;
        perfi_wheel_level *l = w->level[where / PERFI_WHEEL_BUCKETS];
        /* a bucket that became due is empty, or has others by now */
        bool first = l->first[bucket] == slot &&
                     l->occupied[bucket / 64] >> bucket % 64 & 1;
        if (first)
            l->first[bucket] = next;
        if (first && next == PERFI_NONE)
            mark_empty(l, bucket);
    }
    x->where = NOWHERE;
}

bool
perfi_wheel_set(perfi_wheel *w, uint32_t slot, uint64_t expires_ns,
                uint64_t now_ns, uint32_t room, const perf_allocator *a)
{
    if (!expires_ns || expires_ns >= PERFI_WHEEL_FAR) {
        perfi_wheel_unset(w, slot);
        return true;
    }
    advance(w, now_ns);
    bool due = expires_ns <= w->now_ns;
    uint32_t level = due ? 0 : level_of(expires_ns - w->now_ns);
    if (!have_links(w, room, a) || (!due && !have_level(w, level, a)))
        return false;
    perfi_wheel_unset(w, slot);
    if (due) {
        push(w, &w->due, slot);
        w->link[slot].where = DUE;
    } else {
        put(w, slot, expires_ns, level);
    }
    return true;
}

uint32_t
perfi_wheel_take(perfi_wheel *w, uint64_t now_ns)
{
    if (w->due == PERFI_NONE && now_ns >= w->next_ns) {
        advance(w, now_ns);
        catch_up_all(w);
    }
    uint32_t slot = w->due;
    if (slot != PERFI_NONE)
        perfi_wheel_unset(w, slot);
    return slot;
}

/* ---- for tests ---- */

/* Round a ring; every slot says that it is in this bucket, or where no bucket
 * is given, that it is set. */
static bool
check_ring(const perfi_wheel *w, uint32_t first, uint32_t where,
           uint64_t *count)
{
    uint32_t slot = first;
    do {
        const perfi_wheel_link *x = &w->link[slot];
        if (x->next >= w->room || w->link[x->next].prev != slot ||
            (where ? x->where != where : x->where == NOWHERE) ||
            (*count)++ == w->room)
            return false;
        slot = x->next;
    } while (slot != first);
    return true;
}

bool
perfi_wheel_check(const perfi_wheel *w, uint64_t *count)
{
    *count = 0;
    if (w->due != PERFI_NONE && !check_ring(w, w->due, 0, count))
        return false;
    for (uint32_t level = 0; level < PERFI_WHEEL_LEVELS; level++) {
        const perfi_wheel_level *l = w->level[level];
        for (uint32_t i = 0; l && i < PERFI_WHEEL_BUCKETS; i++) {
            if (!(l->occupied[i / 64] >> i % 64 & 1))
                continue;
            uint32_t where = BUCKET + level * PERFI_WHEEL_BUCKETS + i;
            if (!(w->levels >> level & 1) ||
                !check_ring(w, l->first[i], where, count))
                return false;
        }
        if (l && first_tick(l) != UINT64_MAX &&
            first_tick(l) << level < w->next_ns)
            return false;
    }
    uint64_t set = 0;
    for (uint32_t i = 0; i < w->room; i++)
        set += w->link[i].where != NOWHERE;
    return set == *count;
}
