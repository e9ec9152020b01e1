/* cpu.c - what became of the time between two events of a running actor: used
 * the CPU, kept the thread in a call that blocks, or waited for the interpreter
 * lock while other threads ran.
 *
 * Only wall and CPU time of the segment and the others' CPU curves are known;
 * these are linear between two readings, so the rules below lean to one side
 * where half the evidence is there. */
#include "program.h"

enum {
    BUSY_NS = 3000000,       /* a spell: longer than this, and */
    BUSY_PERCENT = 15,       /* this much CPU */
    SHORT_NS = 30000000,     /* a window that one spell beside it explains */
    WAIT_LEAST_NS = 200000,  /* less is not worth looking for */
    BLOCK_LEAST_NS = 1000000 /* likewise */
};

void
perfi_cpu_prepare(perfi_model *m)
{
    for (size_t i = 0; i < m->line->threads.count; i++) {
        const perfi_thread_line *line = &m->line->threads.item[i];
        perfi_busy_line *busy = perfi_list_add(m->region, &m->busy);
        for (size_t j = 1; j < line->pulses.count; j++) {
            const perfi_pulse *p = &line->pulses.item[j];
            uint64_t wall = p->t - p[-1].t, cpu = p->cpu - p[-1].cpu;
            if (wall > BUSY_NS && cpu * 100 > wall * BUSY_PERCENT)
                *perfi_list_add(m->region, &busy->spells) =
                    (perfi_busy){p[-1].t, p->t};
        }
    }
}

static bool
was_busy(const perfi_busy_line *line, uint64_t from, uint64_t to)
{
    size_t low = 0, high = line->spells.count;
    while (low < high) { /* the first spell that begins at `to` or later */
        size_t middle = low + (high - low) / 2;
        if (line->spells.item[middle].from < to)
            low = middle + 1;
        else
            high = middle;
    }
    return low && line->spells.item[low - 1].to > from;
}

/* How long threads beside this one may have held the lock. */
static uint64_t
others(const perfi_model *m, uint32_t thread, uint64_t from, uint64_t to)
{
    const perfi_timeline *line = m->line;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < line->threads.count; i++) {
        if (i == thread)
            continue;
        if (to - from < SHORT_NS && was_busy(&m->busy.item[i], from, to))
            return to - from;
        sum += perfi_pulses_cpu_at(&line->threads.item[i], to) -
               perfi_pulses_cpu_at(&line->threads.item[i], from);
    }
    return sum;
}

perfi_spent
perfi_cpu_spent(const perfi_model *m, uint32_t thread, uint64_t from,
                uint64_t to, uint64_t cpu_ns)
{
    uint64_t wall = to - from;
    uint64_t run = cpu_ns < wall ? cpu_ns : wall;
    uint64_t rest = wall - run, wait = 0;
    if (rest > WAIT_LEAST_NS && m->line->threads.count > 1) {
        wait = others(m, thread, from, to);
        if (wait > rest || wait > rest / 2) /* half is evidence enough */
            wait = rest;
    }
    uint64_t left = rest - wait, block = 0;
    if (left > BLOCK_LEAST_NS && left > wall / 10)
        block = left;
    else if (wait < rest / 5)
        run += left;
    run = run > m->event_ns ? run - m->event_ns : 0;
    return (perfi_spent){run, block};
}
