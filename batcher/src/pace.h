/* pace.h - how fast calls may follow each other, once a service has refused
 * some: the cubic growth of RFC 9438, with calls for segments. */
#ifndef PERFI_BATCH_PACE_H
#define PERFI_BATCH_PACE_H
#include "arrivals.h"

/* Zero it. Rates are calls per second. */
typedef struct perfi_pace {
    double rate;              /* 0: no bound */
    double most;              /* where the last reduction began: W_max */
    double flat_s;            /* how long growth takes until there: K */
    double cube;              /* and how fast: C */
    uint64_t cut_ns;          /* when that was, or the pause after it ended */
    uint64_t begun_before_ns; /* refusals of calls older than this are known */
    uint64_t pause_ns;        /* until then; 0: none */
    uint64_t taken_ns;        /* the latest call */
    uint64_t told_ns;         /* the latest Retry-After; 0: none */
    uint32_t in_a_row;        /* refusals since a call was done */
    bool taken;
    perfi_arrivals done; /* calls that were not refused */
} perfi_pace;

void perfi_pace_taken(perfi_pace *pace, uint64_t now_ns);
void perfi_pace_done(perfi_pace *pace, uint64_t now_ns);
/* retry_after_ns: as the service told it, 0: it did not */
void perfi_pace_refused(perfi_pace *pace, uint64_t taken_ns,
                        uint64_t retry_after_ns, uint64_t now_ns);

/* No call before `until_ns`; an earlier one than is known says nothing. */
void perfi_pace_pause(perfi_pace *pace, uint64_t until_ns);

/* When the next call may begin; 0: at once. */
uint64_t perfi_pace_not_before(const perfi_pace *pace, uint64_t now_ns);

#endif
