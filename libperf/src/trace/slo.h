/* slo.h - objectives, as the end of a span sees them. */
#ifndef PERFI_SLO_H
#define PERFI_SLO_H
#include <libperf/slo.h>
#include <libperf/span.h>
#include <stdatomic.h>

/** The first objective of each name, counted from 1; 0: none. Release after the
 *  objective is whole; pairs with the acquire in perfi_slo_count(). */
extern _Atomic uint16_t perfi_slo_of[PERF_NAMES_MAX]
    __attribute__((visibility("hidden")));

/** Count a call for each objective of its name.
 *  @param name  below PERF_NAMES_MAX */
void perfi_slo_count(uint32_t name, perf_status status, uint64_t duration_ns);

/** Is there any?  Relaxed: only whether. */
static inline bool
perfi_slo_watches(uint32_t name)
{
    return atomic_load_explicit(&perfi_slo_of[name], memory_order_relaxed) != 0;
}
#endif
