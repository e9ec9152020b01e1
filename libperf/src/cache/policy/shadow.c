/* shadow.c - which of some shadow caches does best. */
#include "shadow.h"

enum {
    /* A sample of more than a quarter of the keys would cost more than the
     * cache itself; fewer than 32 hashes tell nothing. */
    LEAST_PART = 4,
    FEWEST = 32,
    LEAST_ROOM = 128,
    MOST_ROOM = 512, /* twice as much hits no more often */
    PART = 16,       /* of the entries: up to 1/16, between these two */
    CHOICES = 4,     /* while as many keys are seen as a cache has room for */
    MEMORY = 20,     /* times its room: earlier ones have faded */
    /* Before anything is known: neither LRU nor LFU. What passes through the
     * window is not weighed, so it is smaller where weights are bounded. */
    FIRST = 3,
    FIRST_WEIGHED = 1,
};

static const double window[PERFI_SHADOWS] = {.01, .1, .25, .5, .8, .99};

/* ---- memory ---- */

void
perfi_shadows_init(perfi_shadows *s, bool weighed)
{
    *s = (perfi_shadows){.best = weighed ? FIRST_WEIGHED : FIRST};
}

static void
free_caches(perfi_shadow_cache *cache, const perf_allocator *a)
{
    for (int i = 0; i < PERFI_SHADOWS; i++)
        perfi_shadow_cache_free(&cache[i], a);
}

void
perfi_shadows_free(perfi_shadows *s, const perf_allocator *a)
{
    free_caches(s->cache, a);
    s->room = s->threshold = 0;
}

static uint32_t
room_for(uint32_t entries, uint32_t full)
{
    uint32_t room = LEAST_ROOM;
    while (room < MOST_ROOM && entries / PART >= 2 * room)
        room *= 2;
    uint32_t most = full / LEAST_PART;
    most = most < FEWEST ? FEWEST : most;
    room = room < most ? room : most;
    return room < full ? room : full;
}

/* Larger ones begin empty; what was learnt stays. */
static void
make_caches(perfi_shadows *s, uint32_t room, const perf_allocator *a)
{
    perfi_shadow_cache made[PERFI_SHADOWS] = {{0}};
    for (int i = 0; i < PERFI_SHADOWS; i++)
        if (!perfi_shadow_cache_make(&made[i], room, window[i], a)) {
            free_caches(made, a);
            return;
        }
    free_caches(s->cache, a);
    for (int i = 0; i < PERFI_SHADOWS; i++)
        s->cache[i] = made[i];
    s->room = room;
}

void
perfi_shadows_fit(perfi_shadows *s, uint32_t entries, uint32_t full,
                  const perf_allocator *a)
{
    uint32_t room = room_for(entries, full);
    if (room < 2)
        return;                   /* nothing to be chosen */
    uint32_t about = s->room / 4; /* an estimate goes up and down */
    if (room > s->room + about || (s->room > full && room < s->room - about))
        make_caches(s, room, a);
    if (!s->room)
        return;
    double rate = (double)s->room / full;
    s->threshold = rate >= 1 ? UINT32_MAX : (uint32_t)(rate * 0x1p32);
}

uint64_t
perfi_shadows_bytes(const perfi_shadows *s)
{
    uint64_t bytes = 0;
    for (int i = 0; i < PERFI_SHADOWS; i++)
        bytes += perfi_shadow_cache_bytes(&s->cache[i]);
    return bytes;
}

/* ---- choice ---- */

double
perfi_shadows_window(const perfi_shadows *s)
{
    return window[s->best];
}

/* By more than two standard deviations of what chance would do. */
static bool
is_better(const perfi_shadows *s, uint32_t i, uint32_t than)
{
    float ahead = s->ahead[i][than], behind = s->ahead[than][i];
    float net = ahead - behind;
    return net > 0 && net * net > 4 * (ahead + behind + 1);
}

static void
choose(perfi_shadows *s)
{
    uint32_t best = s->best;
    for (uint32_t i = 0; i < PERFI_SHADOWS; i++)
        if (is_better(s, i, s->best) && s->hits[i] > s->hits[best])
            best = i;
    s->best = best;
}

static void
fade(perfi_shadows *s)
{
    float keep = 1 - (float)s->seen / (float)(MEMORY * s->room);
    for (uint32_t i = 0; i < PERFI_SHADOWS; i++) {
        s->hits[i] *= keep;
        for (uint32_t j = 0; j < PERFI_SHADOWS; j++)
            s->ahead[i][j] *= keep;
    }
}

/* @param hit  a bit for each cache */
static void
compare(perfi_shadows *s, uint32_t hit)
{
    for (uint32_t i = 0; i < PERFI_SHADOWS; i++) {
        if (!(hit >> i & 1))
            continue;
        s->hits[i]++;
        for (uint32_t j = 0; j < PERFI_SHADOWS; j++)
            s->ahead[i][j] += (float)(~hit >> j & 1);
    }
}

bool
perfi_shadows_see(perfi_shadows *s, uint64_t hash, const perfi_sketch *sketch)
{
    const uint32_t all = (1u << PERFI_SHADOWS) - 1;
    uint32_t hit = 0;
    for (int i = 0; i < PERFI_SHADOWS; i++)
        hit |= (uint32_t)perfi_shadow_cache_see(&s->cache[i], hash, sketch)
               << i;
    if (hit && hit != all)
        compare(s, hit);
    if (++s->seen * CHOICES < s->room)
        return false;
    choose(s);
    fade(s);
    s->seen = 0;
    return true;
}
