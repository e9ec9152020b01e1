/* sizes.c - batch sizes out of T(n) = base + each * n and the rate at which
 * items come.
 *
 * At least: with one slot, a batch that goes at once, with what is there, is
 * the best for latency (Deb and Serfozo, 1973). With several, small batches
 * fill all slots with base costs, and who comes next waits for one that is full
 * of them: so the more slots are taken, the larger the next batch. Where a call
 * has a price K, an item of a batch of n pays K / n of it, waits (n - 1) / 2
 * gaps of 1 / rate for others, whether the slot is busy or not, and each n of
 * them T(n): the sum is least at n = sqrt(2 K rate / (1 + 2 each rate)).
 *
 * At most: an item waits for what runs, then for its own batch. So
 * T(n) / slots + T(n) + margin has to fit into the target (Nexus, SOSP 2019,
 * for one slot). But a cap that the load does not fit through makes all late,
 * so it is never below what keeps the queue short; and since the closed form
 * knows nothing of chance, what was measured moves the cap up where items come
 * late because of it. */
#include "sizes.h"

#include <math.h>

enum { MEMORY = 512 };           /* items */
static const double LATE = 0.05; /* what a 95th percentile leaves */

static double
clamp(double value, double low, double high)
{
    return value < low ? low : value > high ? high : value;
}

/* ---- at least ---- */

/* So many that `slots`, loaded to a share of `fill`, keep up: the n with
 * slots * fill * n = rate * T(n). Above `most` where none does. */
static double
keeps_up(const perfi_batch_load *load, double slots, double fill)
{
    double left = slots * fill - load->rate * load->each;
    if (left <= 0)
        return (double)load->most;
    return clamp(load->rate * load->base / left, 1, (double)load->most);
}

/* What a batch that is to take the next slot should have. When all slots are
 * taken again and again, each of the batches has the size with which they just
 * keep up; the first of them may go with less, when the others are free. Where
 * most of the time is the items' own, which waiting does not save, all of them
 * go at once: found by simulation, with 2, 4 and 8 slots at loads of 0.1 to
 * 0.92, for base / each of 5, 20 and 50. */
static double
worth_the_slot(const perfi_batch_load *load, uint32_t running)
{
    double slots = (double)load->slots;
    double own = load->rate * load->each / slots;
    if (load->slots < 2 || !load->known || own > 0.9 - 0.9 / slots)
        return 1;
    return keeps_up(load, slots, 1) * (running + 1.0) / slots + 0.5;
}

/* As many as make a call worth its price: the least n of which the next one is
 * no better. */
static double
worth_the_price(const perfi_batch_load *load)
{
    if (load->price <= 0)
        return 1;
    double own = load->known ? load->each * load->rate : 0;
    double square = 2 * load->price * load->rate / (1 + 2 * own);
    return ceil((sqrt(1 + 4 * square) - 1) / 2);
}

uint32_t
perfi_sizes_min(const perfi_batch_load *load, uint32_t running)
{
    if (load->rate <= 0)
        return 1;
    double least = worth_the_slot(load, running);
    double cheap = worth_the_price(load);
    least = least > cheap ? least : cheap;
    if (load->target > 0 && load->known) {
        /* the first one waits for all others: not out of the target */
        double free_ns =
            load->target - load->base - load->each * least - load->margin;
        double come = free_ns > 0 ? 1 + free_ns * load->rate : 1;
        least = least < come ? least : come;
    }
    return (uint32_t)clamp(least, 1, (double)load->most);
}

uint64_t
perfi_sizes_patience(const perfi_batch_load *load, uint32_t missing)
{
    if (load->rate <= 0)
        return 0;
    double ns = 2 * (double)missing / load->rate;
    double cheap = worth_the_price(load);
    if (load->price > 0 && cheap >= worth_the_slot(load, load->slots - 1)) {
        /* the timer that n = sqrt(2 K rate) stands for */
        double worth = cheap / load->rate;
        ns = worth < ns ? worth : ns;
    }
    return (uint64_t)clamp(ns, 0, 1e15);
}

/* ---- at most ---- */

static double
late_share(const perfi_lateness *lateness)
{
    return lateness->seen > 0 ? lateness->share / lateness->seen : 0;
}

void
perfi_lateness_add(perfi_lateness *lateness, bool late)
{
    double weight = 1.0 / MEMORY;
    lateness->share += ((double)late - lateness->share) * weight;
    lateness->seen += (1 - lateness->seen) * weight;
    bool missed = late_share(lateness) > LATE;
    lateness->other = missed == lateness->missed ? 0 : lateness->other + 1;
    if (lateness->other >= MEMORY) {
        lateness->missed = missed;
        lateness->other = 0;
    }
}

bool
perfi_lateness_missed(const perfi_lateness *lateness)
{
    return lateness->missed;
}

void
perfi_lateness_turn(perfi_lateness *lateness)
{
    double share = late_share(lateness);
    if (share > LATE / 2)
        lateness->shift += (1 - lateness->shift) / 16;
    else if (share < LATE / 5)
        lateness->shift -= lateness->shift / 64;
}

/* The size that leaves the fewest late, whatever the target. One slot takes
 * all that is there: who is left behind waits for another base cost. Several
 * keep their turns even: some more than they keep up with, or all that is
 * present shared out among them. */
static double
fewest_late(const perfi_batch_load *load, uint32_t present)
{
    double slots = (double)load->slots;
    if (load->slots < 2)
        return (double)load->most;
    double even = 1.15 * keeps_up(load, slots, 1) + 2;
    double split = 1.5 * (double)present / slots;
    return clamp(split > 2 * even ? split : even, 1, (double)load->most);
}

uint32_t
perfi_sizes_max(const perfi_batch_load *load, const perfi_lateness *lateness,
                uint32_t present)
{
    double most = (double)load->most, slots = (double)load->slots;
    if (load->target <= 0 || !load->known)
        return load->most;
    double own = (load->target - load->margin) / (1 + 1 / slots) - load->base;
    double fits = load->each > 0 ? own / load->each : own < 0 ? 1 : most;
    double needed = keeps_up(load, slots, 0.8);
    fits = clamp(fits > needed ? fits : needed, 1, most);
    double best = fewest_late(load, present);
    return (uint32_t)(fits + (best - fits) * lateness->shift + 0.5);
}
