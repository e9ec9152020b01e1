/* pace.c - CUBIC on refused calls. The first refusal sets a bound of 0.7 times
 * what was achieved; from there the rate grows fast towards where it was
 * refused, slowly around that, and fast again beyond, until calls are refused
 * again or nobody asks for as many. Calls that had begun before a reduction
 * were sent at the old rate: what becomes of them is no news. RFC 9438 has
 * hundreds of packets a round in mind; where there are a few calls a second,
 * growth is slower, or every fourth of them would be refused.
 * Not every refusal is about the rate. Who says "again in so long" is taken by
 * their word: one call in that time may always be tried, in twice of it when
 * that is refused as well, and so on; a call that is done begins anew. */
#include "pace.h"

#include <math.h>

static const double BETA = 0.7;    /* what a reduction leaves */
static const double CUBE = 0.4;    /* C: calls per s, per s cubed */
static const double ROUND = 16;    /* calls at least until W_max: smaller C */
static const double FIRST = 1;     /* per s, when none was ever done */
static const double LEAST = 0.125; /* one in 8 s */
static const double NS = 1e-9;

/* The rate at which it may always be tried. */
static double
least(const perfi_pace *pace)
{
    if (!pace->told_ns)
        return LEAST;
    uint32_t doubled = pace->in_a_row ? pace->in_a_row - 1 : 0;
    double told = ldexp(1 / ((double)pace->told_ns * NS), -(int)doubled);
    return told > LEAST ? told : LEAST;
}

void
perfi_pace_taken(perfi_pace *pace, uint64_t now_ns)
{
    pace->taken = true;
    pace->taken_ns = now_ns;
}

void
perfi_pace_done(perfi_pace *pace, uint64_t now_ns)
{
    perfi_arrivals_add(&pace->done, now_ns);
    pace->in_a_row = 0;
    if (pace->rate > 0 && pace->rate < least(pace))
        pace->rate = least(pace);
    if (pace->rate <= 0 || now_ns <= pace->cut_ns)
        return;
    double s = (double)(now_ns - pace->cut_ns) * NS - pace->flat_s;
    double grown = pace->cube * s * s * s + pace->most;
    double asked = perfi_arrivals_rate(&pace->done, now_ns) / NS;
    /* beyond what was refused, and half of it is not asked for: no bound */
    if (s > 0 && asked > 0 && grown > 2 * asked)
        pace->rate = 0;
    else if (grown > pace->rate)
        pace->rate = grown;
}

void
perfi_pace_refused(perfi_pace *pace, uint64_t taken_ns, uint64_t retry_after_ns,
                   uint64_t now_ns)
{
    if (taken_ns < pace->begun_before_ns)
        return;
    pace->told_ns = retry_after_ns;
    pace->in_a_row += pace->in_a_row < 64;
    double most = perfi_arrivals_rate(&pace->done, now_ns) / NS;
    if (pace->rate > 0 && (most <= 0 || most > pace->rate))
        most = pace->rate;
    if (most <= 0)
        most = FIRST;
    /* refused below the last peak: others take more now, leave them room */
    bool below = pace->rate > 0 && most < pace->most;
    pace->rate = fmax(most * BETA, least(pace));
    pace->most = below ? most * (1 + BETA) / 2 : most;
    if (pace->most < pace->rate)
        pace->most = pace->rate;
    double gap = pace->most - pace->rate;
    pace->flat_s = fmax(cbrt(gap / CUBE), ROUND / pace->most);
    pace->cube = gap / (pace->flat_s * pace->flat_s * pace->flat_s);
    pace->cut_ns = pace->begun_before_ns = now_ns;
}

void
perfi_pace_pause(perfi_pace *pace, uint64_t until_ns)
{
    if (until_ns <= pace->pause_ns)
        return;
    pace->pause_ns = until_ns;
    if (pace->rate > 0 && until_ns > pace->cut_ns)
        pace->cut_ns = until_ns; /* standing still is not growing */
}

uint64_t
perfi_pace_not_before(const perfi_pace *pace, uint64_t now_ns)
{
    uint64_t from_ns = pace->pause_ns;
    if (pace->rate > 0 && pace->taken) {
        double gap_ns = 1 / (pace->rate * NS);
        uint64_t next_ns = pace->taken_ns + (uint64_t)gap_ns;
        from_ns = next_ns > from_ns ? next_ns : from_ns;
    }
    return from_ns > now_ns ? from_ns : 0;
}
