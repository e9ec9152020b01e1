/* wtinylfu.c - W-TinyLFU (Einziger, Friedman, Manes, 2017): what is new passes
 * through a window in the order of use. Behind it, it must win its place
 * against the one that would go next, by how often each was asked for; what is
 * asked for again there is protected. How much of all is window, shadows tell
 * (shadow.h).
 *
 * Where weights are what is short, or costs are known, it is not the count that
 * wins but count x cost / weight: what a place is worth. */
#include "kind.h"
#include "shadow.h"

enum { WINDOW = 1, PROBATION = 2, PROTECTED = 3 };

enum {
    MOVES = 4, /* slots that change lists in one go */
    STEP = 2,  /* entries that the window may grow or shrink by, an access */
    /* Who knows the hashes could make keys that always win. One of so many that
     * lose is let in, if it is asked for that often. */
    LUCK = 128,
    LUCKY = 6,
    LOOKS = 8, /* at places that are worth different */
};

typedef struct wtinylfu {
    perfi_sketch sketch;
    perfi_shadows shadows;
    uint64_t window_bound, protected_bound; /* of entries, or of weight */
    double window;                          /* share of all */
    double step;                            /* by which it moves, an access */
    float mean_cost;                        /* of those known lately; 0: none */
    uint32_t trial; /* came out of the window, may yet lose; PERFI_NONE */
    uint64_t random;
} wtinylfu;

/* ---- shares ---- */

static void
set_bounds(perf_policy *p)
{
    wtinylfu *t = p->own;
    uint64_t all = perfi_policy_bound(p);
    uint64_t window = (uint64_t)(t->window * (double)all);
    if (window >= all)
        window = all - 1;
    t->window_bound = window ? window : 1;
    t->protected_bound = (all - window) / 5 * 4 + (all - window) % 5 * 4 / 5;
}

/* How many entries there are when the cache is full, about. */
static uint32_t
entries_when_full(const perf_policy *p)
{
    uint32_t most = p->config.max_entries;
    if (!p->by_weight)
        return most;
    double full = (double)p->slots.count * (double)p->config.max_weight /
                  (double)p->slots.weight;
    return full < most ? (uint32_t)full : most;
}

static void
fit(perf_policy *p)
{
    wtinylfu *t = p->own;
    const perf_allocator *a = p->config.allocator;
    uint32_t most = p->config.max_entries, full = entries_when_full(p);
    uint32_t entries = p->slots.room < most ? p->slots.room : most;
    perfi_sketch_fit(&t->sketch, entries, most, a);
    if (!p->by_weight || p->slots.count > 1)
        perfi_shadows_fit(&t->shadows, entries, full, a);
    t->step = STEP / (double)full;
    set_bounds(p);
}

/* Towards what the shadows say, so slowly that no access has much to do. */
static void
move_window(perf_policy *p)
{
    wtinylfu *t = p->own;
    double way = perfi_shadows_window(&t->shadows) - t->window;
    if (way == 0)
        return;
    t->window += way > t->step ? t->step : way < -t->step ? -t->step : way;
    set_bounds(p);
}

/* What is too much in the window goes on untried, what is too little comes
 * back. */
static void
settle(perf_policy *p)
{
    const wtinylfu *t = p->own;
    perfi_slots *s = &p->slots;
    uint64_t bound = t->window_bound;
    for (int i = 0; i < MOVES && perfi_policy_load(p, WINDOW) > bound; i++)
        perfi_list_move(s, s->list[WINDOW].last, PROBATION);
    for (int i = 0; i < MOVES && s->list[PROBATION].count; i++) {
        uint32_t last = s->list[PROBATION].last;
        uint64_t more = p->by_weight ? s->at[last].weight : 1;
        if (perfi_policy_load(p, WINDOW) + more > bound)
            break;
        perfi_list_unlink(s, last);
        perfi_list_push_last(s, last, WINDOW);
    }
}

static void
demote(perf_policy *p)
{
    const wtinylfu *t = p->own;
    while (perfi_policy_load(p, PROTECTED) > t->protected_bound)
        perfi_list_move(&p->slots, p->slots.list[PROTECTED].last, PROBATION);
}

/* ---- accesses ---- */

static void
observe(perf_policy *p, uint64_t hash)
{
    wtinylfu *t = p->own;
    perfi_sketch_add(&t->sketch, hash);
    if (perfi_shadows_want(&t->shadows, hash) &&
        perfi_shadows_see(&t->shadows, hash, &t->sketch) && p->by_weight)
        fit(p); /* how many entries are full may have changed */
    move_window(p);
}

static void
touch(perf_policy *p, uint32_t slot)
{
    observe(p, perfi_slot_hash(&p->slots.at[slot]));
    if (p->slots.at[slot].list == WINDOW) {
        perfi_list_move(&p->slots, slot, WINDOW);
    } else {
        perfi_list_move(&p->slots, slot, PROTECTED);
        demote(p);
    }
}

static void
fetch(const perf_policy *p, uint32_t slot)
{
    const wtinylfu *t = p->own;
    perfi_sketch_fetch(&t->sketch, perfi_slot_hash(&p->slots.at[slot]));
    perfi_list_fetch(&p->slots, slot);
}

static void
touch_many(perf_policy *p, const int32_t *slots, size_t count)
{
    perfi_touch_many(p, slots, count, touch, fetch);
}

static void
learn_cost(wtinylfu *t, float cost)
{
    if (cost > 0)
        t->mean_cost += (cost - t->mean_cost) / (t->mean_cost > 0 ? 64 : 1);
}

static void
insert(perf_policy *p, uint32_t slot)
{
    wtinylfu *t = p->own;
    const perfi_cache_slot *x = &p->slots.at[slot];
    learn_cost(t, perfi_slot_cost(x));
    observe(p, perfi_slot_hash(x));
    settle(p);
    demote(p);
    /* what is larger than the window does not clear it on its way through */
    if (p->by_weight && x->weight > t->window_bound)
        perfi_list_push_last(&p->slots, slot, WINDOW);
    else
        perfi_list_push(&p->slots, slot, WINDOW);
    t->trial = PERFI_NONE;
}

/* ---- who must go ---- */

/* xorshift64 (Marsaglia, 2003) */
static uint64_t
next_random(wtinylfu *t)
{
    t->random ^= t->random << 13;
    t->random ^= t->random >> 7;
    t->random ^= t->random << 17;
    return t->random;
}

static uint32_t
count_of(const perf_policy *p, uint32_t slot)
{
    const wtinylfu *t = p->own;
    return perfi_sketch_count(&t->sketch, perfi_slot_hash(&p->slots.at[slot]));
}

/* @param count  how often it was asked for */
static double
worth_of(const perf_policy *p, uint32_t slot, uint32_t count)
{
    const wtinylfu *t = p->own;
    const perfi_cache_slot *x = &p->slots.at[slot];
    double worth = count;
    if (t->mean_cost > 0) {
        float cost = perfi_slot_cost(x);
        worth *= (double)(cost > 0 ? cost : t->mean_cost);
    }
    return p->by_weight ? worth / x->weight : worth;
}

static bool
wins(perf_policy *p, uint32_t candidate, uint32_t victim)
{
    wtinylfu *t = p->own;
    uint32_t mine = count_of(p, candidate), other = count_of(p, victim);
    if (worth_of(p, candidate, mine) > worth_of(p, victim, other))
        return true;
    return mine >= LUCKY && (next_random(t) >> 32) % LUCK == 0;
}

/* Where places are worth different, the one that is worth least of the last
 * few: the order of use says nothing of weight or cost. */
static uint32_t
least_worth(const perf_policy *p, uint32_t trial)
{
    const perfi_list *l = &p->slots.list[PROBATION];
    uint32_t least = PERFI_NONE;
    double lowest = 0;
    uint32_t slot = l->last;
    for (int i = 0; i < LOOKS && slot != PERFI_NONE; i++) {
        double worth = worth_of(p, slot, count_of(p, slot));
        if (slot != trial && (least == PERFI_NONE || worth < lowest)) {
            least = slot;
            lowest = worth;
        }
        slot = p->slots.at[slot].prev;
    }
    return least;
}

/* Who would go if nobody was on trial. */
static uint32_t
next_to_go(const perf_policy *p, uint32_t trial)
{
    const wtinylfu *t = p->own;
    const perfi_list *l = p->slots.list;
    if (p->by_weight || t->mean_cost > 0) {
        uint32_t slot = least_worth(p, trial);
        if (slot != PERFI_NONE)
            return slot;
    }
    if (l[PROBATION].count && l[PROBATION].last != trial)
        return l[PROBATION].last;
    if (l[PROTECTED].count)
        return l[PROTECTED].last;
    return trial == PERFI_NONE ? l[WINDOW].last : trial;
}

static uint32_t
victim(perf_policy *p)
{
    wtinylfu *t = p->own;
    if (t->trial == PERFI_NONE &&
        perfi_policy_load(p, WINDOW) > t->window_bound) {
        t->trial = p->slots.list[WINDOW].last;
        perfi_list_move(&p->slots, t->trial, PROBATION);
    }
    uint32_t next = next_to_go(p, t->trial);
    if (next == t->trial) /* nobody else is there */
        return next;
    if (t->trial == PERFI_NONE || wins(p, t->trial, next))
        return next;
    p->rejections++;
    return t->trial;
}

static void
leave(perf_policy *p, uint32_t slot)
{
    wtinylfu *t = p->own;
    if (t->trial == slot)
        t->trial = PERFI_NONE;
}

/* ---- life ---- */

static perf_err
create(perf_policy *p)
{
    wtinylfu *t = p->own = perfi_policy_alloc(p, sizeof *t);
    if (!t)
        return PERF_ERR_NOMEM;
    perfi_shadows_init(&t->shadows, p->config.max_weight != 0);
    t->window = perfi_shadows_window(&t->shadows);
    t->trial = PERFI_NONE;
    t->random = p->config.seed ? p->config.seed : 1; /* 0 would stay 0 */
    set_bounds(p);
    return PERF_OK;
}

static void
destroy(perf_policy *p)
{
    wtinylfu *t = p->own;
    if (!t)
        return;
    perfi_sketch_free(&t->sketch, p->config.allocator);
    perfi_shadows_free(&t->shadows, p->config.allocator);
    perfi_policy_free(p, t, sizeof *t);
}

static uint64_t
bytes(const perf_policy *p)
{
    const wtinylfu *t = p->own;
    return sizeof *t + perfi_sketch_bytes(&t->sketch) +
           perfi_shadows_bytes(&t->shadows);
}

static double
window(const perf_policy *p)
{
    const wtinylfu *t = p->own;
    return t->window;
}

static bool
check(const perf_policy *p)
{
    const wtinylfu *t = p->own;
    for (int i = 0; i < PERFI_SHADOWS; i++)
        if (t->shadows.room && !perfi_shadow_cache_check(&t->shadows.cache[i]))
            return false;
    return t->window > 0 && t->window < 1 &&
           (t->trial == PERFI_NONE || perfi_slots_taken(&p->slots, t->trial));
}

const perfi_kind perfi_kind_wtinylfu = {
    .create = create,
    .destroy = destroy,
    .insert = insert,
    .touch = touch,
    .touch_many = touch_many,
    .victim = victim,
    .leave = leave,
    .fit = fit,
    .bytes = bytes,
    .window = window,
    .check = check,
};
