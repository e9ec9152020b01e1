/* cpu.c - what became of the time between two events of a running actor: used
 * the CPU, kept the thread in a call that blocks, or waited for the interpreter
 * lock while other threads ran.
 *
 * Only wall and CPU time of the segment and the others' CPU curves are known;
 * these are linear between two readings, so the rules below lean to one side
 * where half the evidence is there. */
#include "program.h"

#include <stdlib.h>

enum {
    BUSY_NS = 3000000,       /* a spell: longer than this, and */
    BUSY_PERCENT = 15,       /* this much CPU */
    SHORT_NS = 30000000,     /* a window that one spell beside it explains */
    WAIT_LEAST_NS = 200000,  /* less is not worth looking for */
    BLOCK_LEAST_NS = 1000000 /* likewise */
};

/* ---- spells: a thread used the CPU for longer than a moment ---- */

static int
by_begin(const void *a, const void *b)
{
    const perfi_spell *x = a, *y = b;
    return (x->from > y->from) - (x->from < y->from);
}

/* The middle one of a range is the root of a tree: the latest end in it. */
static uint64_t
set_reach(perfi_spell *spell, size_t low, size_t high)
{
    if (low == high)
        return 0;
    size_t middle = low + (high - low) / 2;
    uint64_t before = set_reach(spell, low, middle);
    uint64_t after = set_reach(spell, middle + 1, high);
    uint64_t reach = spell[middle].to > before ? spell[middle].to : before;
    return spell[middle].reach = after > reach ? after : reach;
}

static void
find_spells(perfi_model *m, uint32_t thread)
{
    const perfi_thread_line *line = &m->line->threads.item[thread];
    for (size_t i = 1; i < line->pulses.count; i++) {
        const perfi_pulse *p = &line->pulses.item[i];
        uint64_t wall = p->t - p[-1].t, cpu = p->cpu - p[-1].cpu;
        if (wall > BUSY_NS && cpu * 100 > wall * BUSY_PERCENT)
            *perfi_list_add(m->region, &m->spells) =
                (perfi_spell){thread, p[-1].t, p->t, 0};
    }
}

/* Whether another thread had a spell then. */
static bool
is_busy(const perfi_spell *spell, size_t low, size_t high, uint32_t thread,
        uint64_t from, uint64_t to)
{
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const perfi_spell *s = &spell[middle];
        if (s->reach <= from) /* they all ended */
            return false;
        if (is_busy(spell, low, middle, thread, from, to))
            return true;
        if (s->from >= to) /* and the later ones begin later */
            return false;
        if (s->to > from && s->thread != thread)
            return true;
        low = middle + 1;
    }
    return false;
}

/* ---- load: CPU time of all threads together ---- */

static int
by_time(const void *a, const void *b)
{
    const perfi_load *x = a, *y = b;
    return (x->t > y->t) - (x->t < y->t);
}

/* At each pulse the slope of one thread's CPU time changes. */
static void
add_changes(perfi_model *m, uint32_t thread)
{
    const perfi_thread_line *line = &m->line->threads.item[thread];
    double slope = 0;
    for (size_t i = 0; i < line->pulses.count; i++) {
        const perfi_pulse *p = &line->pulses.item[i];
        bool last = i + 1 == line->pulses.count;
        uint64_t wall = last ? 0 : p[1].t - p->t;
        double cpu = last ? 0 : (double)(p[1].cpu - p->cpu);
        double next = wall ? cpu / (double)wall : 0;
        *perfi_list_add(m->region, &m->load) =
            (perfi_load){p->t, wall ? 0 : cpu, next - slope};
        slope = next;
    }
}

static void
sum_up(perfi_load *load, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        double wall = (double)(load[i].t - load[i - 1].t);
        load[i].cpu += load[i - 1].cpu + load[i - 1].slope * wall;
        load[i].slope += load[i - 1].slope;
    }
}

static double
load_at(const perfi_model *m, uint64_t t)
{
    size_t low = 0, high = m->load.count;
    while (low < high) { /* the first one after t */
        size_t middle = low + (high - low) / 2;
        if (m->load.item[middle].t <= t)
            low = middle + 1;
        else
            high = middle;
    }
    if (!low)
        return 0;
    const perfi_load *l = &m->load.item[low - 1];
    return l->cpu + l->slope * (double)(t - l->t);
}

void
perfi_cpu_prepare(perfi_model *m)
{
    if (m->line->threads.count < 2)
        return;
    for (uint32_t i = 0; i < m->line->threads.count; i++) {
        find_spells(m, i);
        add_changes(m, i);
    }
    qsort(m->load.item, m->load.count, sizeof *m->load.item, by_time);
    sum_up(m->load.item, m->load.count);
    if (m->spells.count)
        qsort(m->spells.item, m->spells.count, sizeof *m->spells.item,
              by_begin);
    set_reach(m->spells.item, 0, m->spells.count);
}

/* ---- a segment ---- */

/* How long threads beside this one may have held the lock. */
static uint64_t
others(const perfi_model *m, uint32_t thread, uint64_t from, uint64_t to)
{
    if (to - from < SHORT_NS &&
        is_busy(m->spells.item, 0, m->spells.count, thread, from, to))
        return to - from;
    const perfi_thread_line *own = &m->line->threads.item[thread];
    double all = load_at(m, to) - load_at(m, from);
    double used = all - (double)(perfi_pulses_cpu_at(own, to) -
                                 perfi_pulses_cpu_at(own, from));
    return used > 0 ? (uint64_t)(used + 0.5) : 0;
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
