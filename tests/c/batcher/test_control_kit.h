/* test_control_kit.h - a queue in virtual time around the real control: first
 * come first served, as the queue asks it, in front of a service whose times
 * are known. */
#ifndef TEST_CONTROL_KIT_H
#define TEST_CONTROL_KIT_H
#include "control.h"
#include "pt.h"

#define PT_MS 1e6 /* ns */
#define PT_S  1e9

typedef struct pt_world {
    perf_batch_config config;
    /* what comes: so many items, `burst` at a time by Poisson's rule, or from
     * clients who wait for their result */
    uint32_t items;
    double per_s; /* items */
    uint32_t burst;
    uint32_t clients;
    double per_s_later; /* from the middle on; 0: the same */
    /* how long a batch takes, alone */
    double base_ns, each_ns;
    double cv;      /* lognormal */
    double servers; /* that share what runs; 0: one for each batch */
    double servers_later;
    uint64_t seed;
    /* instead of what the control says; 0: what it says */
    uint32_t fixed_max;
    const uint32_t *fixed_min; /* by how many run */
} pt_world;

typedef struct pt_seen {
    double mean_ms, p50_ms, p95_ms, p99_ms; /* wait + service */
    double late; /* the share of items above the target */
    double batches;
    double batch;                 /* mean items */
    double slots;                 /* mean of the last half, over batches */
    double slots_low, slots_high; /* 5th and 95th percentile of these */
    double per_s;                 /* items done, in the last half */
    perf_batch_stats stats;       /* of the control, at the end */
    perf_batch_cost_stats cost;
} pt_seen;

/** Defaults: 20 + 1 n ms, cv 0.1, batches of up to 32, waits unbounded by
 *  max_wait. */
pt_world pt_world_new(void);

pt_seen pt_play(const pt_world *world);

/** What `c` slots can do, in items per s, with full batches. */
double pt_capacity(const pt_world *world, double slots);

#endif
