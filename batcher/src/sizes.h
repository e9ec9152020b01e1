/* sizes.h - how many items a batch should have: at least, where waiting for
 * more pays, and at most, where a latency is wanted. */
#ifndef PERFI_BATCH_SIZES_H
#define PERFI_BATCH_SIZES_H
#include <libperf/base.h>

/* What is known when it is asked. Times in ns, rates per ns. */
typedef struct perfi_batch_load {
    double base, each; /* T(n) = base + each * n; */
    double margin;     /* and how much more it may be */
    bool known;        /* those three */
    double rate;       /* of items; 0: not known */
    double target;     /* p95 of wait + service; 0: none */
    double price;      /* of a call, in waiting of an item; 0: none */
    uint32_t slots;
    uint32_t most; /* items a batch may have */
} perfi_batch_load;

/* How late items were. Zero it. */
typedef struct perfi_lateness {
    double share;   /* of items that came late, of the latest 500 or so */
    double seen;    /* how much of that memory is full, 0 to 1 */
    double shift;   /* 0: the cap of the closed form, 1: what chance asks for */
    uint32_t other; /* items in a row at which it was not as `missed` says */
    bool missed;
} perfi_lateness;

/* An item took so long; target_ns above 0. */
void perfi_lateness_add(perfi_lateness *lateness, bool late);

/* A batch was done. */
void perfi_lateness_turn(perfi_lateness *lateness);

/* More than one in twenty of the latest 500 or so came late, and that for as
 * many items already: one batch that took long is no news. */
bool perfi_lateness_missed(const perfi_lateness *lateness);

/* `present`: items that wait or run. */
uint32_t perfi_sizes_max(const perfi_batch_load *load,
                         const perfi_lateness *lateness, uint32_t present);
uint32_t perfi_sizes_min(const perfi_batch_load *load, uint32_t running);

/* ns to wait for so many more, from the latest item on. */
uint64_t perfi_sizes_patience(const perfi_batch_load *load, uint32_t missing);

#endif
