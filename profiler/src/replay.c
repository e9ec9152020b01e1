/* replay.c - runs the operations of all actors against each other: what is on
 * the agenda, date by date, until the main actor has ended. */
#include "replay_state.h"

#include <string.h>

static void
reset(perfi_replay *r, const perfi_conditions *how)
{
    const perfi_timeline *line = r->m->line;
    r->how = how;
    r->outcome = (perfi_outcome){0};
    r->now = r->order = 0;
    r->random = how->seed;
    r->ended = r->held = r->handing_on = false;
    r->token = r->preemptions = r->free_waiter = 0;
    r->switched_at = 0;
    r->agenda.count = r->waiters.count = r->counters.count = r->claims.count =
        0;
    memset(r->done, 0, line->things.count * sizeof *r->done);
    memset(r->awaited, 0, line->things.count * sizeof *r->awaited);
    memset(r->sibling_is, 0, r->m->siblings.count * sizeof *r->sibling_is);
    memset(r->sibling_line, 0, r->m->siblings.count * sizeof *r->sibling_line);
    memset(r->loops, 0, line->loop_ids.count * sizeof *r->loops);
    memset(r->flights, 0, r->m->call_sets * sizeof *r->flights);
    memset(r->merges, 0, r->m->labels.count * sizeof *r->merges);
    memset(r->calls, 0, r->m->groups.count * sizeof *r->calls);
    if (r->m->keys.count)
        memcpy(r->keys, r->m->keys.item, r->m->keys.count * sizeof *r->keys);
    memset(r->keys_done, 0, r->m->keys.count * sizeof *r->keys_done);
    memset(r->next_slot, 0, r->m->limiters.count * sizeof *r->next_slot);
    memset(r->contended, 0, r->m->grants * sizeof *r->contended);
    r->players_made = (uint32_t)line->actors.count;
    for (uint32_t a = 0; a < r->players_made; a++) {
        const perfi_actor *actor = &line->actors.item[a];
        bool own = actor->kind == PERF_ACTOR_MAIN ||
                   actor->kind == PERF_ACTOR_THREAD ||
                   actor->kind == PERF_ACTOR_WORK;
        perfi_range ops = r->m->programs[a].ops;
        r->players[a] = (perfi_player){.at = ops.first,
                                       .end = ops.end,
                                       .loop = own ? 0 : actor->loop,
                                       .thread = a};
    }
    for (uint32_t i = 0; i < line->resources.count; i++) {
        const perfi_resource *from = &line->resources.item[i];
        double factor = how->capacity ? how->capacity[i] : 1.0;
        uint64_t places = perfi_times(from->capacity, factor);
        bool queue = from->kind == PERF_RESOURCE_QUEUE;
        r->stocks[i] = (perfi_stock){.free = queue ? 0 : places,
                                     .limit = queue ? from->capacity : 0};
    }
    perfi_batchers_reset(r);
}

perfi_outcome
perfi_replay_run(perfi_replay *r, const perfi_conditions *how)
{
    reset(r, how);
    if (r->m->line->main == PERFI_NONE)
        return r->outcome;
    perfi_agenda_add(r, 0, PERFI_DUE_STEP, r->m->line->main);
    perfi_date date;
    while (!r->ended) {
        if (!perfi_agenda_next(r, &date)) {
            if (!perfi_flights_give_up(r) && !perfi_merges_give_up(r))
                break;
            continue;
        }
        bool of_lock =
            date.what == PERFI_DUE_RAN || date.what == PERFI_DUE_PREEMPT;
        if (of_lock && date.who != r->token) /* void */
            continue;
        r->now = date.t;
        switch ((perfi_due)date.what) {
        case PERFI_DUE_STEP:
            if (!r->players[date.who].done)
                perfi_replay_step(r, date.who);
            break;
        case PERFI_DUE_RESUME: perfi_replay_resume(r, date.who); break;
        case PERFI_DUE_READY: perfi_replay_due(r, date.who); break;
        case PERFI_DUE_DRIVE:
            r->loops[date.who].on_agenda = false;
            perfi_replay_drive(r, date.who);
            break;
        case PERFI_DUE_RAN: perfi_lock_ran(r); break;
        case PERFI_DUE_PREEMPT: perfi_lock_preempt(r); break;
        case PERFI_DUE_BATCHED: perfi_batcher_done(r, date.who); break;
        }
    }
    r->outcome.ns = r->now;
    r->outcome.stuck = !r->ended;
    return r->outcome;
}

const bool *
perfi_replay_contended(const perfi_replay *r)
{
    return r->contended;
}

uint64_t
perfi_replay_waited(const perfi_replay *r, uint32_t resource)
{
    return resource < r->m->line->resources.count
               ? r->stocks[resource].waited_ns
               : 0;
}

perfi_replay *
perfi_replay_make(perfi_model *m, perfi_region *region)
{
    const perfi_timeline *line = m->line;
    perfi_replay *r = perfi_region_take(region, 1, sizeof *r);
    r->m = m;
    r->region = region;
    uint32_t workers = 0;
    for (uint32_t a = 0; a < line->actors.count; a++)
        workers += m->programs[a].worker_of != 0;
    r->players_room =
        (uint32_t)(line->actors.count + workers + m->siblings.count);
    r->pumped =
        perfi_region_take(region, line->resources.count, sizeof *r->pumped);
    for (uint32_t i = 0; m->batchers && i < line->resources.count; i++) {
        uint32_t items = m->batchers[i].items;
        r->players_room += m->batchers[i].is_known;
        r->pumped[i].items =
            perfi_region_take(region, items, sizeof *r->pumped[i].items);
    }
    r->players = perfi_region_take(region, r->players_room, sizeof *r->players);
    r->loops =
        perfi_region_take(region, line->loop_ids.count, sizeof *r->loops);
    r->stocks =
        perfi_region_take(region, line->resources.count, sizeof *r->stocks);
    r->sibling_is =
        perfi_region_take(region, m->siblings.count, sizeof *r->sibling_is);
    r->sibling_line =
        perfi_region_take(region, m->siblings.count, sizeof *r->sibling_line);
    r->done = perfi_region_take(region, line->things.count, sizeof *r->done);
    r->awaited =
        perfi_region_take(region, line->things.count, sizeof *r->awaited);
    r->keys = perfi_region_take(region, m->keys.count, sizeof *r->keys);
    r->keys_done =
        perfi_region_take(region, m->keys.count, sizeof *r->keys_done);
    r->flights = perfi_region_take(region, m->call_sets, sizeof *r->flights);
    r->merges = perfi_region_take(region, m->labels.count, sizeof *r->merges);
    r->calls = perfi_region_take(region, m->groups.count, sizeof *r->calls);
    r->next_slot =
        perfi_region_take(region, m->limiters.count, sizeof *r->next_slot);
    r->contended = perfi_region_take(region, m->grants, sizeof *r->contended);
    r->grant_next = perfi_region_take(region, m->grants, sizeof *r->grant_next);
    r->grant_player =
        perfi_region_take(region, m->grants, sizeof *r->grant_player);
    return r;
}
