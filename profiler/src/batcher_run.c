/* batcher_run.c - a batcher with more places, in a replay: items form other
 * batches than they did, so none of the recorded ones is made. A batch goes
 * when there is a place, with all who have come, and takes what one of its
 * size took. With as many places as it had everything is as recorded. */
#include "replay_state.h"

static perfi_pumped *
pumped_of(perfi_replay *r, const perfi_op *op)
{
    return r->pumped[op->what].on ? &r->pumped[op->what] : NULL;
}

static void
call_pump(perfi_replay *r, perfi_pumped *b)
{
    if (b->called || !b->free || b->head == b->count)
        return;
    b->called = true;
    perfi_replay_ready(r, b->pump); /* after those whose turn it is now */
}

void
perfi_batchers_reset(perfi_replay *r)
{
    const perfi_model *m = r->m;
    r->running.count = 0;
    for (uint32_t i = 0; m->batchers && i < m->line->resources.count; i++) {
        perfi_pumped *b = &r->pumped[i];
        const perfi_batcher *known = &m->batchers[i];
        double factor = r->how->capacity ? r->how->capacity[i] : 1.0;
        *b = (perfi_pumped){.items = b->items};
        if (!known->is_known || factor == 1.0)
            continue;
        uint64_t places =
            perfi_times(m->line->resources.item[i].capacity, factor);
        b->on = places > 0;
        b->free = places < UINT32_MAX ? (uint32_t)places : UINT32_MAX;
        b->pump = r->players_made++;
        r->players[b->pump] =
            (perfi_player){.at = known->pump,
                           .end = known->pump + 1,
                           .loop = m->line->actors.item[known->actor].loop,
                           .thread = b->pump,
                           .started = true,
                           .is_clone = true};
    }
}

perfi_next
perfi_batcher_item(perfi_replay *r, const perfi_op *op)
{
    perfi_pumped *b = pumped_of(r, op);
    if (!b || b->count == r->m->batchers[op->what].items)
        return PERFI_GO_ON;
    b->items[b->count++] = (uint32_t)op->more;
    call_pump(r, b);
    return PERFI_GO_ON;
}

/* What was recorded of a batch is left out. */
perfi_next
perfi_batcher_begin(perfi_replay *r, uint32_t player, const perfi_op *op)
{
    const perfi_batch *batch = &r->m->batches.item[op->more];
    if (pumped_of(r, op) && batch->ops.end >= r->players[player].at)
        r->players[player].at = batch->ops.end;
    return PERFI_GO_ON;
}

perfi_next
perfi_batcher_pump(perfi_replay *r, uint32_t player, const perfi_op *op)
{
    perfi_pumped *b = pumped_of(r, op);
    const perfi_batcher *known = &r->m->batchers[op->what];
    r->players[player].at--; /* again, when it is called again */
    b->called = false;
    while (b->free && b->head < b->count) {
        uint32_t n = b->count - b->head;
        if (n > known->most)
            n = known->most;
        perfi_agenda_add(r,
                         r->now + perfi_times(1, known->base + known->each * n),
                         PERFI_DUE_BATCHED, (uint32_t)r->running.count);
        *perfi_list_add(r->region, &r->running) =
            (perfi_running){op->what, b->head, b->head + n};
        b->head += n;
        b->free--;
    }
    return PERFI_LEAVES;
}

void
perfi_batcher_done(perfi_replay *r, uint32_t batch)
{
    perfi_running done = r->running.item[batch];
    perfi_pumped *b = &r->pumped[done.batcher];
    b->free++;
    for (uint32_t i = done.first; i < done.end; i++)
        perfi_replay_resolve(r, b->items[i]);
    call_pump(r, b);
}
