/* kind.h - the contract between the front (policy.c) and the kinds of policy,
 * one a file. The front owns slots, bounds, expiry and counts; a kind orders
 * the slots in lists, and says which one must go. */
#ifndef PERFI_CACHE_KIND_H
#define PERFI_CACHE_KIND_H
#include "slots.h"
#include "wheel.h"

/* All of it O(1), amortised. Only create() and grow() may allocate. */
typedef struct perfi_kind {
    /* Make p->own; undone by destroy(), also when it failed. NULL: none. */
    perf_err (*create)(perf_policy *p);
    void (*destroy)(perf_policy *p);

    /* A new slot, filled in: put it into a list. */
    void (*insert)(perf_policy *p, uint32_t slot);
    /* Somebody asked for it. */
    void (*touch)(perf_policy *p, uint32_t slot);
    /* perfi_touch_many() with this touch(), up to PERFI_TOUCHES. */
    void (*touch_many)(perf_policy *p, const int32_t *slots, size_t count);
    /* The slot that must go; it stays in its list. There is at least one. */
    uint32_t (*victim)(perf_policy *p);
    /* It will be taken out of its list and freed, for whatever reason. NULL:
     * nothing to do. */
    void (*leave)(perf_policy *p, uint32_t slot);
    /* The bounds are others, or the other one is nearer (by_weight), or there
     * is room for more slots than before. What cannot be had of memory is gone
     * without. NULL: nothing to do. */
    void (*fit)(perf_policy *p);

    uint64_t (*bytes)(const perf_policy *p); /* NULL: 0 */
    double (*window)(const perf_policy *p);  /* NULL: 0 */
    bool (*check)(const perf_policy *p);     /* NULL: true */
} perfi_kind;

struct perf_policy {
    const perfi_kind *kind;
    void *own; /* the kind's */
    perf_policy_config config;
    perfi_slots slots;
    perfi_wheel wheel;
    bool by_weight; /* the weights are nearer to their bound than the number */
    uint64_t insertions, evictions, rejections, expirations;
};

extern const perfi_kind perfi_kind_lru, perfi_kind_s3fifo, perfi_kind_wtinylfu;

static inline void *
perfi_policy_alloc(const perf_policy *p, size_t size)
{
    const perf_allocator *a = p->config.allocator;
    return a->alloc(size, a->ctx);
}

static inline void
perfi_policy_free(const perf_policy *p, void *memory, size_t size)
{
    const perf_allocator *a = p->config.allocator;
    a->free(memory, size, a->ctx);
}

/** Whether something must go. */
static inline bool
perfi_policy_is_over(const perf_policy *p)
{
    uint64_t most = p->config.max_weight;
    return p->slots.count > p->config.max_entries ||
           (most && p->slots.weight > most);
}

/** The bound that is nearer, and what a list has of it. */
static inline uint64_t
perfi_policy_bound(const perf_policy *p)
{
    return p->by_weight ? p->config.max_weight : p->config.max_entries;
}

static inline uint64_t
perfi_policy_load(const perf_policy *p, uint8_t list)
{
    const perfi_list *l = &p->slots.list[list];
    return p->by_weight ? l->weight : l->count;
}

enum {
    PERFI_TOUCHES = 64,
    PERFI_AHEAD = 8,
    PERFI_NEAR = 16384, /* slots that the CPU has in its cache, as a rule */
};

/** Slots lie anywhere, and waiting for one after the other is what touching
 *  them would cost: so all are on their way at once, then what lies around
 *  them. To be compiled once for each kind, with nothing called by pointer.
 *  @param fetch  what a touch() needs beside its slot */
static inline __attribute__((always_inline)) void
perfi_touch_many(perf_policy *p, const int32_t *slots, size_t count,
                 void (*touch)(perf_policy *, uint32_t),
                 void (*fetch)(const perf_policy *, uint32_t))
{
    uint32_t taken[PERFI_TOUCHES];
    size_t n = 0;
    if (p->slots.used <= PERFI_NEAR) {
        for (size_t i = 0; i < count; i++)
            if (perfi_slots_taken(&p->slots, (uint32_t)slots[i]))
                touch(p, (uint32_t)slots[i]);
        return;
    }
    for (size_t i = 0; i < count; i++)
        if ((uint32_t)slots[i] < p->slots.used)
            __builtin_prefetch(&p->slots.at[slots[i]], 1);
    for (size_t i = 0; i < count; i++) {
        taken[n] = (uint32_t)slots[i];
        n += perfi_slots_taken(&p->slots, taken[n]);
    }
    size_t ahead = n < PERFI_AHEAD ? n : PERFI_AHEAD;
    for (size_t i = 0; i < ahead; i++)
        fetch(p, taken[i]);
    for (size_t i = 0; i < n; i++) {
        if (i + ahead < n)
            fetch(p, taken[i + ahead]);
        touch(p, taken[i]);
    }
}

/** No slot is this or more. NULL has none. */
uint32_t perfi_policy_slots(const perf_policy *p);

/** The hash of the entry in a slot; of a free one, of what it had last. */
uint64_t perfi_policy_hash(const perf_policy *p, uint32_t slot);

/** Whether everything fits together. O(entries), for tests. */
bool perfi_policy_check(const perf_policy *p);
#endif
