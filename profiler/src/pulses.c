/* pulses.c - a thread's CPU time at any time, from readings now and then. */
#include "timeline.h"

/* In between short segments are taken for busy, and what is left is the last
 * one's. */
void
perfi_pulses_add(perfi_region *region, perfi_thread_line *line, uint64_t t,
                 uint64_t cpu_ns)
{
    perfi_pulse *p = perfi_list_add(region, &line->pulses);
    size_t at = line->pulses.count - 1;
    *p = (perfi_pulse){t, cpu_ns < PERFI_TIME_MAX ? cpu_ns : PERFI_TIME_MAX};
    perfi_pulse *all = line->pulses.item;
    if (at == 0)
        return;
    if (!cpu_ns) {
        p->cpu = all[at - 1].cpu + (t - all[at - 1].t);
        return;
    }
    if (!all[line->read].cpu) { /* the first reading: what was used before it */
        uint64_t since = t - all->t;
        for (size_t i = 0; i < at && p->cpu > since; i++)
            all[i].cpu += p->cpu - since;
    }
    if (p->cpu < all[line->read].cpu)
        p->cpu = all[line->read].cpu;
    for (size_t i = at; i-- > line->read + 1 && all[i].cpu > p->cpu;)
        all[i].cpu = p->cpu;
    line->read = at;
}

uint64_t
perfi_pulses_cpu_at(const perfi_thread_line *line, uint64_t t)
{
    const perfi_pulse *p = line->pulses.item;
    size_t low = 0, high = line->pulses.count;
    while (low < high) { /* the first pulse after t */
        size_t middle = low + (high - low) / 2;
        if (p[middle].t <= t)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return line->pulses.count ? p[0].cpu : 0;
    if (low == line->pulses.count)
        return p[low - 1].cpu;
    uint64_t wall = p[low].t - p[low - 1].t;
    double part = (double)(t - p[low - 1].t) / (double)wall;
    return p[low - 1].cpu +
           (uint64_t)(part * (double)(p[low].cpu - p[low - 1].cpu));
}
