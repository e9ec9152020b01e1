/* series.h - a thread's counters and histogram of one name. */
#ifndef PERFI_SERIES_H
#define PERFI_SERIES_H
#include "../metrics/buckets.h"
#include "thread.h"

/** This thread's series of a name, made at first use; NULL: no room. */
__attribute__((cold)) perfi_series *perfi_series_make(perfi_thread *t,
                                                      uint32_t name);

/** Make the page of a bucket; NULL: no room. */
__attribute__((cold)) perfi_counter *perfi_series_page(perfi_thread *t,
                                                       perfi_series *s,
                                                       uint32_t page);

/** Add to the sum of a quantity. */
void perfi_series_add_quantity(perfi_series *s, uint32_t key, uint64_t amount);

static inline perfi_series *
perfi_series_of(perfi_thread *t, uint32_t name)
{
    perfi_series *s = t->series[name];
    return __builtin_expect(!s, 0) ? perfi_series_make(t, name) : s;
}

/** Count one duration. */
static inline void
perfi_series_record(perfi_thread *t, perfi_series *s, uint64_t value)
{
    uint32_t bucket = perfi_bucket_of(value);
    uint32_t page = bucket >> PERFI_PAGE_BITS;
    uint32_t offset =
        atomic_load_explicit(&s->pages[page], memory_order_relaxed);
    perfi_counter *counters = __builtin_expect(offset != 0, 1)
                                  ? perfi_at(offset)
                                  : perfi_series_page(t, s, page);
    if (__builtin_expect(counters != NULL, 1))
        perfi_add(&counters[bucket & (PERFI_PAGE_BUCKETS - 1)], 1);
    else
        perfi_add(&s->unplaced, 1);
    perfi_add_saturating(&s->sum, value);
    perfi_raise(&s->max, value);
    perfi_lower(&s->min, value);
}
#endif
