/* slots.h - how many batches should run at a time, where nobody said. */
#ifndef PERFI_BATCH_SLOTS_H
#define PERFI_BATCH_SLOTS_H
#include "line.h"

/* What was done with one limit while all slots were taken, all the time that
 * the batch ran. */
typedef struct perfi_stretch {
    uint32_t limit;
    uint32_t batches;
    perfi_cost_line line; /* of these batches: size and ns */
    /* and of all batches, whether slots were free or not */
    double work; /* their sizes */
    uint64_t begin_ns, end_ns;
} perfi_stretch;

typedef enum perfi_batch_slots_state {
    PERFI_BATCH_SLOTS_DOUBLE = 0, /* at first: 1, 2, 4, ... */
    PERFI_BATCH_SLOTS_REST = 1,   /* stay where it is good */
    PERFI_BATCH_SLOTS_TRY = 2,    /* a neighbour, once in a while */
} perfi_batch_slots_state;

typedef struct perfi_batch_slots {
    uint32_t limit, most;
    perfi_batch_slots_state state;
    uint32_t warm;   /* batches at the very beginning */
    bool down;       /* which neighbour is next */
    uint32_t step;   /* how far away it is */
    uint32_t rested; /* stretches of this rest */
    uint32_t rest;   /* how many it is to have */
    uint32_t idle;   /* batches that did not count, of this stretch */
    /* since when exactly `limit` batches run */
    bool busy;
    uint64_t busy_ns, left_ns, took_ns;
    perfi_stretch now, before;
} perfi_batch_slots;

void perfi_batch_slots_init(perfi_batch_slots *slots, uint32_t most);

/* So many batches run from now on. */
void perfi_batch_slots_running(perfi_batch_slots *slots, uint32_t running,
                               uint64_t now_ns);

/* Nothing runs any more: what was seen of this limit so far does not count. */
void perfi_batch_slots_forget(perfi_batch_slots *slots, uint64_t now_ns);

/* A batch of that size is done (not yet told to running()).
 * @param each  what the cost model says, for when all batches are alike; 0 */
void perfi_batch_slots_done(perfi_batch_slots *slots, double size,
                            uint64_t taken_ns, uint64_t now_ns, double each);

#endif
