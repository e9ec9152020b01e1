/* policy.h - which entries a bounded cache keeps.
 *
 * Model:    an entry is a *slot*, a small number that the policy hands out
 *           and takes back; what lies there is the caller's own, in an array
 *           with the same numbers. Of an entry the policy knows a hash, a
 *           weight, what it cost to make, and when it expires.
 *           insert_at() gives a slot; as long as the cache is over its bounds
 *           victim() names the slots that must go, and expired_at() those
 *           whose time has come. A slot that was named is free again: the
 *           caller drops what lies there before the next insert_at().
 *           The kinds differ only in whom victim() names.
 * Threads:  one at a time; callers lock.
 * Units:    nanoseconds of any clock that does not go back; weights are the
 *           caller's (entries, bytes).
 * Memory:   24 bytes a slot (up to 36 while it grows), 12 more from the first
 *           expiry on, plus what the kind remembers of keys it does not hold
 *           (ADAPTIVE: 4 bytes an entry and up to 64 KiB, 20 KiB below 4,096
 *           entries; S3FIFO: 12 bytes an entry). Grows with the entries, is
 *           freed by destroy(). */
#ifndef LIBPERF_POLICY_H
#define LIBPERF_POLICY_H
#include <libperf/allocator.h>

PERF_BEGIN_DECLS

typedef struct perf_policy perf_policy;

enum { PERF_SLOT_NONE = -1 };

/** Append-only. */
typedef enum perf_policy_kind {
    /* W-TinyLFU (Einziger, Friedman, Manes, 2017); how much of it is window
     * is chosen by small shadow caches that see a sample of the keys */
    PERF_POLICY_ADAPTIVE = 0,
    PERF_POLICY_LRU = 1,
    PERF_POLICY_S3FIFO = 2, /* Yang et al., SOSP 2023 */
} perf_policy_kind;

typedef struct perf_policy_config {
    perf_policy_kind kind;
    uint32_t max_entries; /* 1 to 2^30 */
    uint64_t max_weight;  /* of all entries together; 0: no such bound */
    uint64_t seed;        /* of what is left to chance */
    const perf_allocator *allocator; /* NULL: libc */
} perf_policy_config;

/** A cost counts for ADAPTIVE alone, and so does the weight where weights are
 *  what is short: a place is worth accesses x cost / weight. */
typedef struct perf_policy_entry {
    uint64_t hash;       /* of the key, well mixed (perf_hash()) */
    uint64_t expires_ns; /* 0: never */
    uint32_t weight;     /* at least 1 */
    float cost;          /* of making it again, any unit; 0: not known */
} perf_policy_entry;

/** Errors: PERF_ERR_INVALID, PERF_ERR_RANGE, PERF_ERR_NOMEM.
 *  Ownership: the caller's; perf_policy_destroy(). */
PERF_API perf_err perf_policy_create(const perf_policy_config *config,
                                     perf_policy **out);

/** NULL is allowed. */
PERF_API void perf_policy_destroy(perf_policy *policy);

/** A slot for a new entry, most recently used. Also counts as an access.
 *  @return  the slot; PERF_SLOT_NONE: heavier than max_weight, weight 0, or
 *  no memory.  It may be the next victim() itself: not everything deserves
 *  a place. */
PERF_API int32_t perf_policy_insert_at(perf_policy *policy,
                                       const perf_policy_entry *entry,
                                       uint64_t now_ns);

/** The next slot that must go, free now; PERF_SLOT_NONE: within bounds. */
PERF_API int32_t perf_policy_victim(perf_policy *policy);

/** The next slot that expired by `now_ns`, free now; PERF_SLOT_NONE: no more.
 *  Cost: O(1) over an entry's life (hierarchical timing wheel, Varghese and
 *  Lauck, 1987). May come late by up to 1/64 of the time to live; lookups
 *  compare expires_ns themselves. */
PERF_API int32_t perf_policy_expired_at(perf_policy *policy, uint64_t now_ns);

/** Hits, oldest first; slots that are free by now are skipped. Buffering a
 *  few dozens of them changes nothing that matters (BP-Wrapper, Ding et al.,
 *  2009), and makes a hit cheap: 64 in one call wait for memory together. Nor
 *  need a hit be told that comes soon after another on the same slot, or after
 *  its insertion, where soon is as many told hits and insertions as a
 *  sixteenth of the entries. */
PERF_API void perf_policy_touch_many(perf_policy *policy, const int32_t *slots,
                                     size_t count);

/** A new value under the same key: weight, cost, expiry. Counts as an access.
 *  Errors: PERF_ERR_INVALID, PERF_ERR_NOT_FOUND (a free slot), PERF_ERR_RANGE
 *  (heavier than max_weight), PERF_ERR_NOMEM: the entry is as it was. */
PERF_API perf_err perf_policy_replace_at(perf_policy *policy, int32_t slot,
                                         const perf_policy_entry *entry,
                                         uint64_t now_ns);

/** Take an entry out; its slot is free. A free slot: nothing happens. */
PERF_API void perf_policy_remove(perf_policy *policy, int32_t slot);

/** Other bounds, from now on; victim() names what no longer fits.
 *  Errors: PERF_ERR_INVALID, PERF_ERR_RANGE. */
PERF_API perf_err perf_policy_resize(perf_policy *policy, uint32_t max_entries,
                                     uint64_t max_weight);

typedef struct perf_policy_stats {
    uint64_t entries;
    uint64_t weight; /* of all entries */
    uint64_t insertions;
    uint64_t evictions;  /* slots that victim() named */
    uint64_t rejections; /* of these: new entries that got no place */
    uint64_t expirations;
    uint64_t bytes; /* memory that the policy itself uses */
    double window;  /* ADAPTIVE: the window's share, 0 to 1 */
} perf_policy_stats;

PERF_API void perf_policy_stats_now(const perf_policy *policy,
                                    perf_policy_stats *out);

PERF_END_DECLS
#endif
