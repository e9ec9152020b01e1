/* cache.h - keys and values as bytes, in memory, as many as fit.
 *
 * Model:    a map from bytes to bytes that never holds more than it may. When
 *           it is full, its policy (policy.h) chooses what goes, maybe the
 *           newest. An entry has two times of its own: from fresh_ns on it is
 *           stale, and given all the same; from expires_ns on it is gone.
 *           After a set() a key has the new value or none, never the old one.
 * Threads:  any. Keys are spread over up to 16 shards, each with a lock that
 *           spins and then lets others run. A get() copies the value out.
 * Fork:     the child has a cache of its own, and it is what the parent's was.
 * Memory:   `max_bytes` bounds all of it after every operation: keys, values,
 *           what lies around them, and what the allocator rounds up; an arena
 *           of its own is 88 kB more. Every shard has an equal share. An entry
 *           costs about 25 bytes beside its key, its value, and the policy's
 *           part; 16 more when it has times, 8 when it has a mark. What lies
 *           around entries stays when there are fewer of them.
 * Trust:    keys and values may be any bytes. Keys that were made to have one
 *           hash are not kept beyond a few hundred, and slow nothing down.
 * Units:    nanoseconds of any clock that does not go back: perf_clock_now_ns()
 *           where no time is given. */
#ifndef LIBPERF_CACHE_H
#define LIBPERF_CACHE_H
#include <libperf/policy.h>

PERF_BEGIN_DECLS

typedef struct perf_cache perf_cache;

enum {
    PERF_CACHE_NONE = -1,
    PERF_CACHE_BYTES_MIN = 65536,
    PERF_CACHE_SHARDS_MAX = 16,
};

/** Zeros are defaults, but for max_bytes. */
typedef struct perf_cache_config {
    uint64_t max_bytes;   /* PERF_CACHE_BYTES_MIN to 2^46 */
    uint64_t ttl_ns;      /* of entries that name no end; 0: they have none */
    uint64_t seed;        /* of what is left to chance */
    uint32_t max_entries; /* up to 2^30; 0: as many as fit */
    perf_policy_kind policy;
    const perf_allocator *allocator; /* NULL: an arena of its own */
} perf_cache_config;

/** What an entry has beside its value. Zeros are defaults. */
typedef struct perf_cache_about {
    uint64_t fresh_ns;   /* stale from then on; 0: not before it is gone */
    uint64_t expires_ns; /* gone from then on; 0: now + ttl_ns, or never when
                            that is 0; UINT64_MAX: never */
    uint64_t mark;       /* the caller's own */
    float cost;          /* of making it again, any unit; 0: not known */
} perf_cache_about;

/** A value that was found. */
typedef struct perf_cache_hit {
    int64_t size;        /* of the value; PERF_CACHE_NONE: there is none */
    int64_t offset;      /* where it was copied to; PERF_CACHE_NONE: nowhere */
    uint64_t fresh_ns;   /* UINT64_MAX: never stale */
    uint64_t expires_ns; /* UINT64_MAX: never gone */
    uint64_t mark;
} perf_cache_hit;

typedef struct perf_cache_key {
    const void *bytes; /* may be NULL when size is 0 */
    size_t size;       /* below 2^30 */
} perf_cache_key;

/** Errors: PERF_ERR_INVALID, PERF_ERR_RANGE, PERF_ERR_NOMEM, PERF_ERR_FULL (no
 *  more arenas).  Ownership: the caller's; perf_cache_destroy(). */
PERF_API perf_err perf_cache_create(const perf_cache_config *config,
                                    perf_cache **out);

/** Free it, and give its memory back to the system. NULL is allowed.
 *  Threads: nobody may be using it. */
PERF_API void perf_cache_destroy(perf_cache *cache);

/** Store a copy of a value.
 *  @param value  may be NULL when its size is 0
 *  @param about  NULL: all defaults
 *  PERF_OK is no promise that it will be found: the policy may think nothing
 *  of it.
 *  Errors: PERF_ERR_INVALID, PERF_ERR_RANGE (more than a shard's share, or a
 *  key of 2^30 bytes), PERF_ERR_NOMEM. The key has no value after an error. */
PERF_API perf_err perf_cache_set_at(perf_cache *cache, const void *key,
                                    size_t key_size, const void *value,
                                    size_t value_size,
                                    const perf_cache_about *about,
                                    uint64_t now_ns);
PERF_API perf_err perf_cache_set(perf_cache *cache, const void *key,
                                 size_t key_size, const void *value,
                                 size_t value_size,
                                 const perf_cache_about *about);

/** Copy a value out. When it is larger than `capacity` nothing is copied, and
 *  nothing else is different.
 *  @param out  may be NULL when `capacity` is 0
 *  @param hit  NULL: not wanted
 *  @return  the value's size; PERF_CACHE_NONE: there is none. */
PERF_API int64_t perf_cache_get_at(perf_cache *cache, const void *key,
                                   size_t key_size, void *out, size_t capacity,
                                   perf_cache_hit *hit, uint64_t now_ns);
PERF_API int64_t perf_cache_get(perf_cache *cache, const void *key,
                                size_t key_size, void *out, size_t capacity,
                                perf_cache_hit *hit);

/** The same for many keys. Values lie in `out` one behind the other, in the
 *  order of their keys; those that do not fit any more are left out.
 *  Cost: about half of a get() for each, where all this is far more than the
 *  CPU caches: they wait for memory together.
 *  @param hits  one for each key
 *  @return  bytes that all of them need. */
PERF_API size_t perf_cache_get_many_at(perf_cache *cache,
                                       const perf_cache_key *keys, size_t count,
                                       void *out, size_t capacity,
                                       perf_cache_hit *hits, uint64_t now_ns);

/** @return  whether there was something to take out, expired or not. */
PERF_API bool perf_cache_delete(perf_cache *cache, const void *key,
                                size_t key_size);

/** Take out what was there when the call began.
 *  Cost: about 200 ns an entry. */
PERF_API void perf_cache_clear_blocking(perf_cache *cache);

/** Take out what has expired. Writes do a little of it by themselves; this is
 *  for a cache that nobody writes to.
 *  @param most  entries to take out at most
 *  @return  how many were. */
PERF_API size_t perf_cache_expire_at(perf_cache *cache, size_t most,
                                     uint64_t now_ns);

/** Give memory that is not in use back to the system, of a cache with an arena
 *  of its own. */
PERF_API void perf_cache_trim_blocking(perf_cache *cache);

/** The keys, one with each call, in no order. What is set, deleted or evicted
 *  meanwhile may be among them or not.
 *  @param cursor  0 at first
 *  @param hit  as with get; of the value only the size
 *  @return  the key's size, nothing is copied when that is more than
 *  `capacity`; PERF_CACHE_NONE: that was all. */
PERF_API int64_t perf_cache_next_at(perf_cache *cache, uint64_t *cursor,
                                    void *key, size_t capacity,
                                    perf_cache_hit *hit, uint64_t now_ns);

/** Since it was created. All that are stored are `entries` now, or have become
 *  one of: deleted, evictions (rejections among them), expirations, cleared. */
typedef struct perf_cache_stats {
    uint64_t entries;
    uint64_t bytes;         /* everything it holds; never above max_bytes */
    uint64_t content_bytes; /* keys and values alone */
    uint64_t hits;
    uint64_t misses;
    uint64_t sets; /* that stored something */
    uint64_t deletes;
    uint64_t evictions;
    uint64_t rejections; /* of these: new ones that got no place */
    uint64_t expirations;
    uint64_t refusals; /* sets that stored nothing: too large, no memory, keys
                          that were made to have one hash */
    uint64_t max_value_bytes; /* of key and value together: about */
    uint32_t shards;
    double window; /* perf_policy_stats, mean over the shards */
} perf_cache_stats;

PERF_API void perf_cache_stats_now(perf_cache *cache, perf_cache_stats *out);

PERF_END_DECLS
#endif
