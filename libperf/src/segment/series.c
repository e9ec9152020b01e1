/* series.c - per thread and name: a histogram of pages that are made when a
 * value first falls into them, and the totals beside it. */
#include "series.h"

perfi_series *
perfi_series_make(perfi_thread *t, uint32_t name)
{
    perfi_series *s = perfi_thread_space(t, sizeof *s);
    if (!s)
        return NULL;
    s->name = name;
    s->kind = perf_name_kind(name);
    s->next = atomic_load_explicit(&t->block->series, memory_order_relaxed);
    perfi_set(&s->min, UINT64_MAX);
    t->series[name] = s;
    /* release: the series is whole before a reader can find it */
    atomic_store_explicit(&t->block->series, perfi_offset(s),
                          memory_order_release);
    return s;
}

perfi_counter *
perfi_series_page(perfi_thread *t, perfi_series *s, uint32_t page)
{
    perfi_counter *counters =
        perfi_thread_space(t, PERFI_PAGE_BUCKETS * sizeof *counters);
    if (counters)
        atomic_store_explicit(&s->pages[page], perfi_offset(counters),
                              memory_order_release);
    return counters;
}

void
perfi_series_add_quantity(perfi_series *s, uint32_t key, uint64_t amount)
{
    for (int i = 0; i < PERF_QUANTITIES_MAX; i++) {
        uint32_t used =
            atomic_load_explicit(&s->quantity_key[i], memory_order_relaxed);
        if (!used)
            atomic_store_explicit(&s->quantity_key[i], key,
                                  memory_order_relaxed);
        if (!used || used == key) {
            perfi_add_saturating(&s->quantity_sum[i], amount);
            return;
        }
    }
    /* a fifth key of one name is still in its records */
}
