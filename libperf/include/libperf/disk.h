/* disk.h - entries in a folder: the tier that outlives the process.
 *
 * Model:    an LMDB database, shared by every process that opens the folder.
 *           A read is a read of memory behind a Bloom filter. A write is
 *           queued and returns; one thread in each process writes what was
 *           queued, up to 64 at once or what came within 5 ms. Whoever wrote
 *           reads its own writes at once; other processes after that.
 *           Nothing of what is read is believed: entry.h's checksum, the
 *           whole key, the times and the labels are looked at each time, and
 *           whatever is wrong is a miss.
 * Room:     the oldest entries go when 80 % of max_bytes is used; one that
 *           was read meanwhile gets a second chance. With `keep` nothing
 *           goes: what has no room is PERF_ERR_FULL.
 * Crashes:  a process may be killed at any moment. When the system dies, the
 *           last writes may be lost (not with `keep`). A damaged database,
 *           or one of another version, is moved into the folder "damaged"
 *           within, said once on stderr, and begun anew.
 * Threads:  every function, any thread. Two opens of a folder in a process
 *           share everything, the first one's allocator included.
 * Fork:     the child's calls answer PERF_ERR_CLOSED until it calls
 *           perf_disk_reopen_blocking().
 * Memory:   what is queued, at most 32 MiB; 4 KiB beside it. The file is
 *           mapped sparse. What is written through a mapping has its room
 *           reserved first: a full file system is an error, never SIGBUS.
 * Units:    milliseconds since 1970 (`_ms`), as in entry.h. */
#ifndef LIBPERF_DISK_H
#define LIBPERF_DISK_H
#include <libperf/allocator.h>

PERF_BEGIN_DECLS

typedef struct perf_disk perf_disk;

enum {
    PERF_DISK_CONFIG_VERSION = 1,
    PERF_DISK_CHANGES = 4096, /* that a process may be behind */
    PERF_DISK_WHY_BYTES = 256
};

/** Settings; call perf_disk_config_init() first. */
typedef struct perf_disk_config {
    uint32_t size;      /* sizeof this struct */
    uint32_t version;   /* PERF_DISK_CONFIG_VERSION */
    const char *path;   /* of the folder; it is made when its parent exists */
    uint64_t max_bytes; /* 1 MiB..1 TiB; default 1 GiB. Who opens it while
                           others have it open takes theirs */
    uint32_t queue_entries; /* 1..1048576; default 4096 */
    uint32_t keep; /* 1: nothing is ever evicted, and every write is on the
                      medium before a _blocking function returns */
    const perf_allocator *allocator; /* NULL: libc */
} perf_disk_config;

typedef struct perf_disk_stats {
    uint64_t hits, misses;  /* of this process, since it opened the folder */
    uint64_t filtered;      /* misses that the Bloom filter knew */
    uint64_t expired;       /* misses: too old, or a label was invalidated */
    uint64_t corrupt;       /* misses: not an entry, or another key's */
    uint64_t puts, deletes; /* written */
    uint64_t refused;       /* no room: in the queue, or on the disk */
    uint64_t evicted;       /* to make room */
    uint64_t swept;         /* expired ones that were removed */
    uint64_t commits;       /* transactions */
    uint64_t commit_ns;     /* that they took together */
    uint64_t rebuilds;      /* of the Bloom filter */
    uint64_t resets;        /* damaged databases that were moved away */
    uint64_t queued;        /* now */
    uint64_t entries;       /* now, in the folder */
    uint64_t used_bytes;    /* now, of max_bytes */
    uint64_t max_bytes;
} perf_disk_stats;

/** Fill in every default.  @param size  sizeof(perf_disk_config). */
PERF_API void perf_disk_config_init(perf_disk_config *config, uint32_t size);

/** Open the folder. It must be this user's own and nobody else may write to
 *  it; it gets mode 0700, files 0600. A link is not followed.
 *  @param why  NULL, or PERF_DISK_WHY_BYTES that receive what is wrong, in
 *              words; empty when nothing is
 *  Errors: PERF_ERR_INVALID, PERF_ERR_VERSION, PERF_ERR_RANGE, PERF_ERR_NOMEM,
 *  PERF_ERR_NOT_FOUND (its parent), PERF_ERR_DENIED, PERF_ERR_FULL,
 *  PERF_ERR_UNSUPPORTED (a network file system, or built without LMDB),
 *  PERF_ERR_TIMEOUT (another process is opening it, for 10 s), PERF_ERR_SYSTEM.
 *  Ownership: the caller's; perf_disk_close_blocking(). */
PERF_API perf_err perf_disk_open_blocking(const perf_disk_config *config,
                                          char *why, perf_disk **out);

/** In the child of a fork: open the folder again. Elsewhere, or when it was
 *  done already, it does nothing.
 *  Errors: those of opening; PERF_ERR_CLOSED after perf_disk_stop_blocking().
 */
PERF_API perf_err perf_disk_reopen_blocking(perf_disk *disk);

/* ---- entries ---- */

/** Copy an entry that has exactly this key, is neither expired at `now_ms` nor
 *  invalidated.
 *  @param digest  16 bytes, perf_digest() of the key
 *  Returns: its size, and nothing was copied if that is more than `capacity`;
 *  or PERF_ERR_NOT_FOUND, PERF_ERR_CLOSED, PERF_ERR_INVALID.
 *  Cost: 0.4 us and a hash of the entry; 30 ns for most misses. */
PERF_API int64_t perf_disk_get_at(perf_disk *disk, const uint8_t *digest,
                                  const void *key, size_t key_size, void *out,
                                  size_t capacity, uint64_t now_ms);

/** The same, now. */
PERF_API int64_t perf_disk_get(perf_disk *disk, const uint8_t *digest,
                               const void *key, size_t key_size, void *out,
                               size_t capacity);

/** Queue an entry (entry.h). The bytes are copied.
 *  Errors: PERF_ERR_INVALID (not an entry's size), PERF_ERR_RANGE (more than
 *  an eighth of max_bytes), PERF_ERR_FULL (the queue), PERF_ERR_NOMEM,
 *  PERF_ERR_CLOSED; all but the first are counted as refused. */
PERF_API perf_err perf_disk_put(perf_disk *disk, const uint8_t *digest,
                                const void *entry, size_t size);

/** Queue the removal of whatever has this digest.  Errors: as above. */
PERF_API perf_err perf_disk_delete(perf_disk *disk, const uint8_t *digest);

/** The same as perf_disk_put(), but done when it returns.
 *  Errors: also PERF_ERR_FULL (the disk, or max_bytes), PERF_ERR_TIMEOUT,
 *  PERF_ERR_SYSTEM. */
PERF_API perf_err perf_disk_put_blocking(perf_disk *disk, const uint8_t *digest,
                                         const void *entry, size_t size,
                                         uint64_t timeout_ms);

/** Wait until everything that was queued before is written.
 *  Errors: PERF_ERR_TIMEOUT, PERF_ERR_CLOSED, PERF_ERR_NOMEM. */
PERF_API perf_err perf_disk_flush_blocking(perf_disk *disk,
                                           uint64_t timeout_ms);

/** The entry behind this digest in the order of digests, expired ones left
 *  out; 16 zeros begin.
 *  @param digest  receives the entry's, to go on with
 *  Returns: as perf_disk_get_at(); `digest` is written only if it was copied.
 */
PERF_API int64_t perf_disk_next_blocking(perf_disk *disk, uint8_t *digest,
                                         void *out, size_t capacity,
                                         uint64_t now_ms);

/* ---- labels ---- */

/** Entries with one of these labels that were begun at `now_ms` or before are
 *  gone, in every process; it is on the medium when this returns.
 *  Errors: PERF_ERR_INVALID, PERF_ERR_CLOSED, PERF_ERR_SYSTEM. */
PERF_API perf_err perf_disk_invalidate_blocking(perf_disk *disk,
                                                const uint64_t *labels,
                                                size_t count, uint64_t now_ms);

/** When a label was invalidated last; 0: never. Labels share 65,536 places, so
 *  it may be a later time than the label's own. */
PERF_API uint64_t perf_disk_label_ms(const perf_disk *disk, uint64_t label);

/* ---- changes that others make ---- */

/** A word that is another one whenever another process has changed something
 *  since it was read; for readers that want to know it in a nanosecond.
 *  Ownership: the disk's, until it is closed. NULL: the disk is closed, or
 *  this is a forked child. */
PERF_API const uint64_t *perf_disk_change_word(const perf_disk *disk);

/** How far one has read; zeros begin: nothing is told of what was before. */
typedef struct perf_disk_cursor {
    uint64_t place, invalidations, epoch;
} perf_disk_cursor;

/** The digests that other processes wrote or removed.
 *  @param cursor  where the last call ended
 *  @param out     room for `capacity` digests of 16 bytes
 *  Returns: how many; or PERF_ERR_RANGE: they are more, or nobody knows which.
 *  Then anything may have changed. `cursor` is moved in any case. */
PERF_API int64_t perf_disk_changes(perf_disk *disk, perf_disk_cursor *cursor,
                                   uint8_t *out, size_t capacity);

/* ---- one process at a time ---- */

/** Ask for the right to compute what has this digest. The right ends by
 *  itself after `for_ms`, and when the process that has it is dead.
 *  @param token  receives what perf_disk_release_blocking() wants; 0: another
 *                one has the right
 *  Errors: PERF_ERR_INVALID, PERF_ERR_TIMEOUT (not decided within
 *  `timeout_ms`), PERF_ERR_CLOSED, PERF_ERR_FULL, PERF_ERR_NOMEM. */
PERF_API perf_err perf_disk_lease_blocking(perf_disk *disk,
                                           const uint8_t *digest,
                                           uint64_t now_ms, uint64_t for_ms,
                                           uint64_t timeout_ms,
                                           uint64_t *token);

/** Give it back, if it is still this one's. Returns at once; it is written
 *  behind.  Errors: those of perf_disk_put(). */
PERF_API perf_err perf_disk_release(perf_disk *disk, const uint8_t *digest,
                                    uint64_t token);

/* ---- dictionaries (compressor.h) ---- */

/** Keep a dictionary; they are never evicted.  Errors: as
 *  perf_disk_put_blocking(). */
PERF_API perf_err perf_disk_put_dictionary_blocking(perf_disk *disk,
                                                    uint32_t id,
                                                    const void *bytes,
                                                    size_t size,
                                                    uint64_t timeout_ms);

/** Returns: as perf_disk_get_at(). */
PERF_API int64_t perf_disk_dictionary(perf_disk *disk, uint32_t id, void *out,
                                      size_t capacity);

/* ---- the end ---- */

/** What was counted.  Errors: PERF_ERR_INVALID, PERF_ERR_CLOSED. */
PERF_API perf_err perf_disk_stats_now(const perf_disk *disk,
                                      perf_disk_stats *out);

/** Write what is queued, then close. Calls that come later, and those that
 *  wait, answer PERF_ERR_CLOSED. Twice is allowed. */
PERF_API void perf_disk_stop_blocking(perf_disk *disk);

/** Stop, and free. NULL is allowed.  Threads: nobody may be using it. */
PERF_API void perf_disk_close_blocking(perf_disk *disk);

PERF_END_DECLS
#endif
