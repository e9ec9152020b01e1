/* arrivals.h - how many of something come per second, lately: over the last
 * 64, or the last second where more came in it. */
#ifndef PERFI_BATCH_ARRIVALS_H
#define PERFI_BATCH_ARRIVALS_H
#include <libperf/base.h>

enum {
    PERFI_MARKS = 80,
    PERFI_MARK_NS = 1000000000 / 64,
};

typedef struct perfi_mark {
    uint64_t last_ns; /* when the last of these came */
    uint64_t count;
} perfi_mark;

/* Zero it. */
typedef struct perfi_arrivals {
    uint64_t first_ns; /* of the newest mark's */
    uint64_t since;    /* how many came after those of the oldest mark */
    uint32_t oldest, newest, marks;
    perfi_mark mark[PERFI_MARKS];
} perfi_arrivals;

/* One came, the first one of a new mark. */
void perfi_arrivals_mark(perfi_arrivals *arrivals, uint64_t now_ns);

/* One came. O(1); mostly two additions. */
static inline void
perfi_arrivals_add(perfi_arrivals *a, uint64_t now_ns)
{
    perfi_mark *newest = &a->mark[a->newest];
    if (now_ns < newest->last_ns)
        now_ns = newest->last_ns;
    if (now_ns - a->first_ns >= PERFI_MARK_NS || !a->marks) {
        perfi_arrivals_mark(a, now_ns);
        return;
    }
    newest->last_ns = now_ns;
    newest->count++;
    a->since += a->marks > 1;
}

/* How many come per ns; 0: not known. Falls while nothing comes. */
double perfi_arrivals_rate(const perfi_arrivals *arrivals, uint64_t now_ns);

#endif
