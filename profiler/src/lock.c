/* lock.c - the interpreter lock (GIL) in a replay.
 *
 * Its holder runs until it blocks or is through; when others wait it must give
 * the lock up 5 ms after it got it, or after the first of them came. Going on
 * with the next actor of the same loop does not let go of it. */
#include "replay_state.h"

/* Twenty minutes of fighting for the lock. Then holders run through: times that
 * cannot be must not take as long to replay. */
enum { PREEMPTIONS_MAX = 1 << 18 };

static double
random_part(perfi_replay *r) /* 0..1; splitmix64 */
{
    uint64_t z = r->random += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

/* When its holder must give the lock up. */
static uint64_t
alarm_at(const perfi_replay *r)
{
    if (!r->claims.count || r->preemptions == PREEMPTIONS_MAX)
        return UINT64_MAX;
    uint64_t first = r->claims.item[0].since;
    uint64_t from = first > r->switched_at ? first : r->switched_at;
    uint64_t t = from + PERFI_SWITCH_NS;
    return t > r->now ? t : r->now;
}

static void
grant(perfi_replay *r, perfi_claim claim, bool same_thread)
{
    r->outcome.lock_wait_ns += r->now - claim.since;
    r->held = true;
    r->holder = claim;
    r->holder.since = r->now;
    r->token++;
    if (!same_thread)
        r->switched_at = r->now;
    uint64_t alarm = alarm_at(r);
    bool preempted = alarm < r->now + claim.ns; /* for who waits does so */
    perfi_agenda_add(r, preempted ? alarm : r->now + claim.ns,
                     preempted ? PERFI_DUE_PREEMPT : PERFI_DUE_RAN, r->token);
}

void
perfi_lock_claim(perfi_replay *r, uint32_t player, uint64_t ns)
{
    perfi_player *p = &r->players[player];
    uint32_t thread = p->thread;
    bool first = !p->loop && !p->claimed;
    perfi_claim claim = {player, thread, ns, r->now, first};
    p->claimed = true;
    bool goes_on = r->handing_on && r->on == thread;
    if (!r->held && (goes_on || (!r->handing_on && !r->claims.count))) {
        grant(r, claim, goes_on);
        return;
    }
    *perfi_list_add(r->region, &r->claims) = claim;
    if (r->held && r->claims.count == 1 && r->preemptions < PREEMPTIONS_MAX)
        perfi_agenda_add(r, alarm_at(r), PERFI_DUE_PREEMPT, r->token);
}

/* The kernel, not the order of waiting, says who is next: mostly two threads
 * play ping-pong while others starve (measured, reference: whatif). The one
 * that was just preempted stands last, its partner right before it. */
static size_t
draw(perfi_replay *r, bool preempted)
{
    size_t n = r->claims.count;
    for (size_t i = 0; i < n; i++) /* who starts a thread waits until it runs */
        if (r->claims.item[i].first)
            return i;
    if (n < 2)
        return 0;
    r->outcome.lottery = true;
    return preempted && random_part(r) < 0.7
               ? n - 2
               : (size_t)(random_part(r) * (double)n);
}

static void
grant_next(perfi_replay *r, bool preempted)
{
    if (!r->claims.count)
        return;
    size_t i = draw(r, preempted);
    perfi_claim claim = r->claims.item[i];
    claim.first = false;
    for (r->claims.count--; i < r->claims.count; i++)
        r->claims.item[i] = r->claims.item[i + 1];
    grant(r, claim, false);
}

void
perfi_lock_preempt(perfi_replay *r)
{
    perfi_claim rest = r->holder;
    uint64_t ran = r->now - rest.since;
    if (ran >= rest.ns)
        return; /* it is through anyhow */
    r->preemptions++;
    rest.ns -= ran;
    rest.since = r->now;
    r->held = false;
    r->token++;
    *perfi_list_add(r->region, &r->claims) = rest;
    grant_next(r, true);
}

void
perfi_lock_ran(perfi_replay *r)
{
    r->held = false;
    r->token++;
    r->handing_on = true;
    r->on = r->holder.thread;
    perfi_replay_resume(r, r->holder.player);
    r->handing_on = false;
    if (!r->held)
        grant_next(r, false);
}
