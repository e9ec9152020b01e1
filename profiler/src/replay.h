/* replay.h - runs the programs again, under the conditions one asks for.
 *
 * A discrete-event simulation of threads, of loops that run one actor at a
 * time, of the interpreter lock, and of resources with a queue before them. */
#ifndef PERFI_REPLAY_H
#define PERFI_REPLAY_H
#include "program.h"

/** What is different from the recording; all zero: nothing. */
typedef struct perfi_conditions {
    const double *scale;      /* by label: its own time times this; NULL: 1 */
    const double *capacity;   /* by resource: times this; NULL: 1 */
    const double *gap;        /* by limiter: times this; NULL: 1 */
    const double *span_scale; /* by span, its own time times this; NULL: 1 */
    const bool *cached;       /* by label: equal calls are made once */
    const double *merged; /* by label: so many calls are made together; NULL,
                             0: none */
    const double *merged_each; /* by label: what each more of them takes, of its
                                  own time */
    uint32_t more_workers;     /* 1 + queue whose workers come twice */
    uint32_t side_by_side;     /* 1 + label whose siblings run at once */
    uint32_t shorter_holds;    /* 1 + lock: half as long, where others waited */
    const bool *contended;     /* by grant; of an unchanged replay */
    uint64_t seed;             /* for who gets the interpreter lock next */
} perfi_conditions;

/** What came of it. */
typedef struct perfi_outcome {
    uint64_t ns;     /* until the main actor ended */
    bool stuck;      /* it never did: the model is wrong, or a deadlock */
    bool lottery;    /* threads fought for the lock: more seeds are needed */
    uint64_t lag_ns; /* ready, but the loop ran something else; added up */
    uint64_t lock_wait_ns; /* ready, but another thread had the lock */
} perfi_outcome;

typedef struct perfi_replay perfi_replay;

/** Memory for replays of one model, one at a time. */
perfi_replay *perfi_replay_make(perfi_model *m, perfi_region *region);

perfi_outcome perfi_replay_run(perfi_replay *r, const perfi_conditions *how);

/** After a run: by grant, whether somebody waited for it or through it. */
const bool *perfi_replay_contended(const perfi_replay *r);

/** After a run: how long actors waited for a resource, added up. */
uint64_t perfi_replay_waited(const perfi_replay *r, uint32_t resource);
#endif
