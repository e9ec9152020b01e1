/* batch_cost.h - what the queue's own parts may do to a cost model. */
#ifndef PERFI_BATCH_COST_H
#define PERFI_BATCH_COST_H
#include <libperf/batch_cost.h>

/* Sizes mean something else from now on: what was learned goes, what was
 * fixed stays. */
void perfi_batch_cost_restart(perf_batch_cost *cost);

/* T(n) = base + each * n as it is now, and its margin, in ns. */
typedef struct perfi_batch_cost_now {
    double base, each, margin;
    bool known;
} perfi_batch_cost_now;

perfi_batch_cost_now perfi_batch_cost_look(const perf_batch_cost *cost);

#endif
