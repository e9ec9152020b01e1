/* allocator.h - where an object's memory comes from.
 *
 * Model:    every create() takes a `const perf_allocator *`, or NULL for
 *           libc. An arena is a jemalloc arena of its own: its bytes are
 *           counted exactly and go back to the system when it is destroyed.
 *           Where libperf was built without jemalloc an arena is libc malloc
 *           with a byte count, so programs need no second path.
 * Threads:  alloc and free may be called from any thread.
 * Fork:     the child may go on using what it inherited.
 * Limits:   jemalloc has at most 4,095 arenas of about 88 kB each: make one
 *           per cache, never one per object. */
#ifndef LIBPERF_ALLOCATOR_H
#define LIBPERF_ALLOCATOR_H
#include <libperf/base.h>

PERF_BEGIN_DECLS

/** alloc() returns zeroed memory aligned to 16 bytes, or NULL.
 *  free() is given the size that was asked for, and accepts NULL. */
typedef struct perf_allocator {
    void *(*alloc)(size_t size_bytes, void *ctx);
    void (*free)(void *memory, size_t size_bytes, void *ctx);
    void *ctx;
} perf_allocator;

/** The C library's allocator: what NULL means everywhere.
 *  Ownership: static, never freed. */
PERF_API const perf_allocator *perf_allocator_libc(void);

/** Make an arena.
 *  @param out  not NULL; receives an allocator to give to create()
 *  Errors: PERF_ERR_INVALID, PERF_ERR_NOMEM, PERF_ERR_FULL (4,095 arenas).
 *  Ownership: the caller's; perf_allocator_arena_destroy() frees it together
 *  with every block that is still in it. */
PERF_API perf_err perf_allocator_arena_create(const perf_allocator **out);

/** Return the arena's memory to the system. NULL is allowed.
 *  Threads: nobody may be using the arena or anything that lives in it. */
PERF_API void perf_allocator_arena_destroy(const perf_allocator *arena);

/** Bytes handed out by this arena and not yet freed: the sum of the sizes
 *  asked for. 0 for NULL and for allocators that are not arenas. */
PERF_API uint64_t perf_allocator_arena_bytes(const perf_allocator *arena);

/** What a block of `size_bytes` really takes: as the allocator rounds it up,
 *  with what it keeps beside it. Exact for an arena of jemalloc, about right
 *  for glibc's malloc; `size_bytes` for any other allocator.
 *  @param usable  NULL, or receives how many bytes may be asked for instead
 *  without taking more; at least `size_bytes`. */
PERF_API size_t perf_allocator_cost(const perf_allocator *allocator,
                                    size_t size_bytes, size_t *usable);

/** Give back to the system what the arena holds and nobody uses. An arena does
 *  so by itself within seconds, as long as it is used.
 *  NULL, and what is not an arena: nothing happens. */
PERF_API void perf_allocator_arena_purge_blocking(const perf_allocator *arena);

/** All arenas together, with what jemalloc needs for itself. */
typedef struct perf_allocator_stats {
    uint64_t allocated_bytes; /* in blocks, rounded up as they are */
    uint64_t resident_bytes;  /* in memory, with pages that nobody uses now */
    uint64_t mapped_bytes;    /* asked of the system */
    uint64_t metadata_bytes;  /* of them, jemalloc's own */
} perf_allocator_stats;

/** Ask jemalloc, which takes its locks one after the other for that.
 *  @param out  not NULL; all zero after an error
 *  Errors: PERF_ERR_INVALID; PERF_ERR_UNSUPPORTED: arenas are libc's. */
PERF_API perf_err perf_allocator_stats_blocking(perf_allocator_stats *out);

/** What arenas are made of: "jemalloc 5.3.0" or "libc". */
PERF_API const char *perf_allocator_name(void);

PERF_END_DECLS
#endif
