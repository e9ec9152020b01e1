/* model.c - from what was recorded to programs that can be replayed. */
#include "program.h"

/* Wall of the main actor, without imports before the program's own work. */
static uint64_t
wall_of(const perfi_model *m)
{
    if (m->line->main == PERFI_NONE)
        return 0;
    const perfi_actor *a = &m->line->actors.item[m->line->main];
    if (!a->count)
        return 0;
    const perfi_moment *first = &m->line->moments.item[a->first];
    uint64_t all = first[a->count - 1].t - first->t;
    return all > m->startup_ns ? all - m->startup_ns : 0;
}

void
perfi_model_build(perfi_model *m, perfi_region *region, perf_reader *reader,
                  perfi_timeline *line)
{
    *m = (perfi_model){.region = region, .reader = reader, .line = line};
    m->programs =
        perfi_region_take(region, line->actors.count, sizeof *m->programs);
    m->set_of =
        perfi_region_take(region, line->things.count, sizeof *m->set_of);
    m->span_ops =
        perfi_region_take(region, line->spans.count + 1, sizeof *m->span_ops);
    m->call_ops =
        perfi_region_take(region, line->spans.count + 1, sizeof *m->call_ops);
    m->open_use =
        perfi_region_take(region, line->resources.count, sizeof *m->open_use);
    perfi_labels_prepare(m);
    perfi_cpu_prepare(m);
    m->closes =
        perfi_region_take(region, line->moments.count, sizeof *m->closes);
    for (uint32_t a = 0; a < line->actors.count; a++)
        perfi_compile(m, a);
    perfi_region_drop(region, m->closes);
    m->wall_ns = wall_of(m);
    perfi_limiters_find(m);
    perfi_waits_settle(m);
    perfi_own_times(m);
    perfi_own_memory(m);
    perfi_steps_find(m);
    perfi_siblings_find(m);
    perfi_repeats_find(m);
    perfi_merges_find(m);
    perfi_batchers_find(m);
    perfi_queues_cut(m); /* last: programs no longer lie in one piece */
}
