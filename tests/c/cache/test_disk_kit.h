/* test_disk_kit.h - shorthand for the tests of the disk tier: entries whose
 * value follows from their key, so that a wrong one is seen. */
#ifndef TEST_DISK_KIT_H
#define TEST_DISK_KIT_H
#include "pt.h"

#include <libperf/disk.h>
#include <libperf/entry.h>
#include <libperf/hash.h>

enum { KIT_MAX = 1 << 18 };
#define KIT_NOW                                                                \
    UINT64_C(4000000000000) /* entries are begun then; by the wall             \
                               clock nothing has expired */

/* ThreadSanitizer takes a thread of a forked child for one of the parent's */
#ifdef PT_TSAN
enum { KIT_CHILDREN_HAVE_THREADS = 0 };
#else
enum { KIT_CHILDREN_HAVE_THREADS = 1 };
#endif

typedef struct kit_entry {
    uint64_t key;
    uint64_t version;                /* of the value */
    size_t size;                     /* of the value */
    uint64_t created_ms, expires_ms; /* 0: KIT_NOW, never */
    uint64_t labels[2];              /* 0: none */
} kit_entry;

/** @param path  a new folder, still to be made
 *  @param max_bytes  0: default */
void kit_path(char path[PT_PATH + 16]);
perf_disk *kit_open(const char *path, uint64_t max_bytes);
perf_disk *kit_fresh(char path[PT_PATH + 16], uint64_t max_bytes); /* both */
perf_err kit_try(const char *path, uint64_t max_bytes, char *why,
                 perf_disk **out);

void kit_digest(uint64_t key, uint8_t digest[16]);

/** Its bytes. @return their size */
size_t kit_make(const kit_entry *e, unsigned char *out);

perf_err kit_put(perf_disk *disk, kit_entry e);

/** Looks a key up at `now_ms`. @return the version of its value; 0: a miss; any
 *  value that was not put fails the test */
uint64_t kit_get_at(perf_disk *disk, uint64_t key, uint64_t now_ms);
uint64_t kit_get(perf_disk *disk, uint64_t key);

void kit_flush(perf_disk *disk);
perf_disk_stats kit_stats(perf_disk *disk);
#endif
