/* wheel.h - which slots have expired: a timing wheel of many levels (Varghese
 * and Lauck, 1987), whose slots never move to a finer one.
 *
 * A level's tick is 2^level nanoseconds. A slot goes to the level where its
 * time to live is 64 to 127 ticks, to the bucket of the first tick that is not
 * before its end: so it comes late by less than 1/64 of its time to live, never
 * early, and neither its end nor its tick need be kept. */
#ifndef PERFI_CACHE_WHEEL_H
#define PERFI_CACHE_WHEEL_H
#include <libperf/allocator.h>

enum { PERFI_WHEEL_LEVELS = 57, PERFI_WHEEL_BUCKETS = 256 };

/* What expires later never does: 292 years. */
#define PERFI_WHEEL_FAR (UINT64_C(1) << 63)

typedef struct perfi_wheel_link {
    uint32_t next, prev; /* round in a ring */
    uint32_t where;      /* level and bucket */
} perfi_wheel_link;

/* A power of two of at least twice 129: the ticks that slots may be in. */
typedef struct perfi_wheel_level {
    uint64_t done; /* buckets up to this tick are empty */
    uint64_t occupied[PERFI_WHEEL_BUCKETS / 64];
    uint32_t first[PERFI_WHEEL_BUCKETS]; /* only where occupied */
} perfi_wheel_level;

typedef struct perfi_wheel {
    perfi_wheel_link *link; /* by slot */
    uint32_t room;          /* of these */
    uint32_t due;           /* first of the expired ones, or PERFI_NONE */
    uint64_t now_ns;        /* never goes back */
    uint64_t next_ns;       /* nothing more expires before */
    uint64_t levels;        /* bit set: not known to be empty */
    perfi_wheel_level *level[PERFI_WHEEL_LEVELS]; /* NULL: never used */
} perfi_wheel;

void perfi_wheel_init(perfi_wheel *w);
void perfi_wheel_free(perfi_wheel *w, const perf_allocator *allocator);

/** Say when a slot expires (0: never), whatever was said before.
 *  @param room  there are no slots beyond.
 *  @return  false: no memory, and nothing has changed. */
bool perfi_wheel_set(perfi_wheel *w, uint32_t slot, uint64_t expires_ns,
                     uint64_t now_ns, uint32_t room,
                     const perf_allocator *allocator);

/** It does not expire any more. */
void perfi_wheel_unset(perfi_wheel *w, uint32_t slot);

/** A slot that has expired, not set any more; or PERFI_NONE. */
uint32_t perfi_wheel_take(perfi_wheel *w, uint64_t now_ns);

uint64_t perfi_wheel_bytes(const perfi_wheel *w);

/** Whether links, buckets and bits fit together; counts the slots that are
 *  set. O(slots), for tests. */
bool perfi_wheel_check(const perfi_wheel *w, uint64_t *count);
#endif
