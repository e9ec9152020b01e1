/* slots.c - the smallest number of slots with which as much is done as with
 * more. Behind the function are some servers, nobody knows how many: with fewer
 * slots than servers, one slot more does so much more work; with as many, the
 * batches only take longer. So two neighbouring limits are compared by the work
 * done in slots that were all taken, in units of what batches of their size
 * took with one of the two (they are smaller where more slots share the load).
 * Time in which slots were free is no part of that: a queue that is empty now
 * and then changes nothing, and without queueing nothing is tried.
 *
 * At first the limit doubles while that pays, after few batches each: while one
 * slot does the work of eight, a queue grows that takes long to go. Then it
 * falls to what was achieved. Later neighbours are tried, the more rarely the
 * more often that was in vain; fewer slots, only until it is clear that they do
 * less. */
#include "slots.h"

#include <math.h>

enum {
    WARM = 1,      /* batches that do not count */
    FIRST = 2,     /* while it doubles: one for each slot, and so many */
    HOPELESS = 4,  /* one for each slot, and so many, show that less is done */
    STRETCH = 24,  /* batches of a stretch, and two for each slot */
    LONGEST = 16,  /* stretches of a rest */
    TOLERATED = 8, /* a slot may be free for this part of a batch's time */
    UNUSED = 4,    /* stretches without queueing: back to the last limit */
};

/* Less work by more than this is no better, whatever the slots did: batches
 * that became small are done fast. */
static const double WORSE = 0.9;

/* Sizes that differ by a tenth tell how time depends on them. */
static const double SPREAD = 0.01;

void
perfi_batch_slots_init(perfi_batch_slots *slots, uint32_t most)
{
    *slots = (perfi_batch_slots){
        .limit = 1, .most = most, .step = 1, .rest = 1, .now = {.limit = 1}};
}

void
perfi_batch_slots_running(perfi_batch_slots *slots, uint32_t running,
                          uint64_t now_ns)
{
    bool busy = running == slots->limit;
    if (busy == slots->busy)
        return;
    slots->busy = busy;
    if (!busy)
        slots->left_ns = now_ns;
    else if (now_ns - slots->left_ns > slots->took_ns / TOLERATED)
        slots->busy_ns = now_ns;
}

/* ---- from limit to limit ---- */

static uint32_t
bounded(const perfi_batch_slots *slots, double limit)
{
    double most = (double)slots->most;
    return (uint32_t)(limit < 1 ? 1 : limit > most ? most : limit);
}

/* What runs now does not count: it began under another limit. */
static void
begin_anew(perfi_batch_slots *slots, uint64_t now_ns)
{
    slots->busy = false;
    slots->busy_ns = now_ns + 1;
    slots->left_ns = 0;
}

/* The next stretch, with this limit. */
static void
go_to(perfi_batch_slots *slots, uint32_t limit, perfi_batch_slots_state state,
      uint64_t now_ns)
{
    slots->state = state;
    slots->idle = 0;
    slots->now = (perfi_stretch){.limit = limit, .begin_ns = now_ns};
    if (limit != slots->limit) {
        slots->limit = limit;
        begin_anew(slots, now_ns);
    }
}

void
perfi_batch_slots_forget(perfi_batch_slots *slots, uint64_t now_ns)
{
    slots->idle = 0;
    slots->now = (perfi_stretch){.limit = slots->limit};
    begin_anew(slots, now_ns);
}

/* Stay; after a limit that was tried in vain, longer than the last time. */
static void
rest_at(perfi_batch_slots *slots, uint32_t limit, bool in_vain, uint64_t now_ns)
{
    slots->rested = 0;
    if (!in_vain)
        slots->rest = 1;
    else if (slots->rest < LONGEST)
        slots->rest *= 2;
    slots->step = 1;
    go_to(slots, limit, PERFI_BATCH_SLOTS_REST, now_ns);
}

static void
try_neighbour(perfi_batch_slots *slots, uint64_t now_ns)
{
    uint32_t step = slots->step + (slots->limit - 1) / 8;
    if (slots->limit == 1)
        slots->down = false;
    else if (slots->limit == slots->most)
        slots->down = true;
    double to = (double)slots->limit + (slots->down ? -1.0 : 1.0) * step;
    uint32_t limit = bounded(slots, to);
    slots->before = slots->now;
    if (limit == slots->limit) /* there is none: most == 1 */
        rest_at(slots, limit, true, now_ns);
    else
        go_to(slots, limit, PERFI_BATCH_SLOTS_TRY, now_ns);
}

/* How much more is done than in the stretch before: in units of what the
 * batches of that one took, since the model of all batches has both in it. */
static double
gain_of(perfi_batch_slots *slots)
{
    const perfi_cost_line *now = &slots->now.line;
    perfi_cost_line *unit = &slots->before.line;
    perfi_cost_line_solve(unit, SPREAD);
    double expected = unit->base * now->sum + unit->each * now->sum_n;
    double before = unit->base * unit->sum + unit->each * unit->sum_n;
    return slots->now.limit * expected / now->sum_t /
           (slots->before.limit * before / unit->sum_t);
}

static double
work_per_ns(const perfi_stretch *stretch)
{
    return stretch->work / (double)(stretch->end_ns - stretch->begin_ns);
}

/* What the slots more were used for; 1: all of them did as much as the others,
 * 0: nothing. */
static double
used_of(perfi_batch_slots *slots)
{
    double was = (double)slots->before.limit, is = (double)slots->limit;
    return (gain_of(slots) - 1) / (is / was - 1);
}

static bool
is_less(const perfi_batch_slots *slots)
{
    return work_per_ns(&slots->now) < WORSE * work_per_ns(&slots->before);
}

/* A stretch with another limit than before is over. */
static void
judge(perfi_batch_slots *slots, uint64_t now_ns)
{
    double was = (double)slots->before.limit, is = (double)slots->limit;
    double used = used_of(slots);
    bool less = is_less(slots);
    if (slots->state == PERFI_BATCH_SLOTS_DOUBLE) {
        if (less) {
            rest_at(slots, slots->before.limit, true, now_ns);
        } else if (used < 0.6) {
            uint32_t servers = bounded(slots, round(was * gain_of(slots)));
            rest_at(slots, servers, false, now_ns);
        } else if (slots->limit == slots->most) {
            rest_at(slots, slots->limit, false, now_ns);
        } else {
            slots->before = slots->now;
            go_to(slots, bounded(slots, 2 * is), PERFI_BATCH_SLOTS_DOUBLE,
                  now_ns);
        }
    } else if (!less &&
               slots->down == (used < 0.5)) { /* better: go on that way */
        slots->rest = 1;
        slots->step *= 2;
        try_neighbour(slots, now_ns);
    } else {
        slots->down = !slots->down;
        rest_at(slots, slots->before.limit, true, now_ns);
    }
}

static void
end_stretch(perfi_batch_slots *slots, uint64_t now_ns)
{
    slots->now.end_ns = now_ns;
    if (slots->state == PERFI_BATCH_SLOTS_REST &&
        ++slots->rested < slots->rest) {
        go_to(slots, slots->limit, PERFI_BATCH_SLOTS_REST, now_ns);
    } else if (slots->state == PERFI_BATCH_SLOTS_REST) {
        try_neighbour(slots, now_ns);
    } else if (slots->before.batches) {
        judge(slots, now_ns);
    } else { /* the very first one */
        slots->before = slots->now;
        go_to(slots, bounded(slots, 2), PERFI_BATCH_SLOTS_DOUBLE, now_ns);
    }
}

/* With fewer slots so much less is done that it need not be seen to the end:
 * what comes meanwhile would have to wait. */
static bool
is_hopeless(perfi_batch_slots *slots, uint64_t now_ns)
{
    if (slots->state != PERFI_BATCH_SLOTS_TRY || !slots->down ||
        slots->now.batches < slots->limit + HOPELESS)
        return false;
    slots->now.end_ns = now_ns;
    return used_of(slots) > 0.75 && is_less(slots);
}

/* ---- what was done ---- */

void
perfi_batch_slots_done(perfi_batch_slots *slots, double size, uint64_t taken_ns,
                       uint64_t now_ns, double each)
{
    slots->took_ns = now_ns - taken_ns;
    slots->now.work += size;
    if (!slots->now.begin_ns)
        slots->now.begin_ns = taken_ns;
    uint32_t enough = slots->state == PERFI_BATCH_SLOTS_DOUBLE
                          ? slots->limit + FIRST
                          : 2 * slots->limit + STRETCH;
    if (slots->warm < WARM) { /* the first calls warm something up */
        slots->warm++;
        return;
    }
    if (slots->busy && taken_ns >= slots->busy_ns && now_ns > taken_ns) {
        perfi_stretch *now = &slots->now;
        perfi_cost_line_add(&now->line, size, (double)slots->took_ns, 1);
        now->line.each = each;
        if (++now->batches >= enough || is_hopeless(slots, now_ns))
            end_stretch(slots, now_ns);
    } else if (slots->state != PERFI_BATCH_SLOTS_REST &&
               slots->before.batches && ++slots->idle > UNUSED * enough) {
        /* nothing queues up: the limit of before was enough */
        rest_at(slots, slots->before.limit, false, now_ns);
    }
}
