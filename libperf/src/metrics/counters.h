/* counters.h - counters with one writer and many readers.
 *
 * Relaxed everywhere: each counter is a fact of its own, a reader adds them up
 * and never concludes from one to another. One writer means that a load and
 * a store are an increment, without a locked instruction. */
#ifndef PERFI_COUNTERS_H
#define PERFI_COUNTERS_H
#include <stdatomic.h>
#include <stdint.h>

typedef _Atomic uint64_t perfi_counter;

static inline uint64_t
perfi_get(const perfi_counter *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}

static inline void
perfi_set(perfi_counter *c, uint64_t value)
{
    atomic_store_explicit(c, value, memory_order_relaxed);
}

static inline void
perfi_add(perfi_counter *c, uint64_t amount)
{
    perfi_set(c, perfi_get(c) + amount);
}

/** Add, and stay at UINT64_MAX once there. */
static inline void
perfi_add_saturating(perfi_counter *c, uint64_t amount)
{
    uint64_t sum;
    if (__builtin_add_overflow(perfi_get(c), amount, &sum))
        sum = UINT64_MAX;
    perfi_set(c, sum);
}

static inline void
perfi_raise(perfi_counter *c, uint64_t value)
{
    if (value > perfi_get(c))
        perfi_set(c, value);
}

static inline void
perfi_lower(perfi_counter *c, uint64_t value)
{
    if (value < perfi_get(c))
        perfi_set(c, value);
}
#endif
