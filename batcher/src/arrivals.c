/* arrivals.c - a rate over a sliding memory. What comes within a 64th of a
 * second is one mark, so that a memory of a second is few of them however much
 * comes; and a fan-out of twenty at once is one point in time with twenty
 * items, of which the time until the next says how many that is per second. */
#include "arrivals.h"

static const uint64_t MEMORY_NS = 1000000000;
enum { MEMORY = 64 }; /* arrivals */

/* Forget the oldest marks, as long as what is left is a memory. */
static void
forget(perfi_arrivals *a, uint64_t now_ns)
{
    while (a->marks > 1) {
        uint32_t next = (a->oldest + 1) % PERFI_MARKS;
        uint64_t left = a->since - a->mark[next].count;
        bool spare =
            left >= MEMORY && now_ns - a->mark[next].last_ns >= MEMORY_NS;
        if (!spare && a->marks < PERFI_MARKS)
            return;
        a->since = left;
        a->oldest = next;
        a->marks--;
    }
}

void
perfi_arrivals_mark(perfi_arrivals *a, uint64_t now_ns)
{
    forget(a, now_ns);
    a->newest = (a->oldest + a->marks) % PERFI_MARKS;
    a->mark[a->newest] = (perfi_mark){.last_ns = now_ns, .count = 1};
    a->first_ns = now_ns;
    a->marks++;
    a->since += a->marks > 1;
}

double
perfi_arrivals_rate(const perfi_arrivals *a, uint64_t now_ns)
{
    /* counted from the oldest mark's last one on, without that: gaps, not
     * posts */
    uint64_t from_ns = a->mark[a->oldest].last_ns;
    if (!a->since || now_ns <= from_ns)
        return 0;
    return (double)a->since / (double)(now_ns - from_ns);
}
