/* segment.h - the process's one segment, as its writers see it. */
#ifndef PERFI_SEGMENT_H
#define PERFI_SEGMENT_H
#include "layout.h"

#include <libperf/segment.h>
#include <pthread.h>

typedef struct perfi_segment {
    unsigned char *base; /* mapping of max_bytes; NULL: not started */
    perfi_header *header;
    int fd;
    uint64_t max_bytes;
    uint32_t ring_chunks_max;
    perf_segment_config settings; /* a forked child starts with them too; the
                                     texts are copies that live on */
    _Atomic bool full;          /* a chunk was refused: no more are asked for */
    pthread_mutex_t lock;       /* names, list of threads, start */
    uint32_t process;           /* how many forks away from the first process */
    uint64_t text_at, text_end; /* room for texts of names; under the lock */
    /* room for frames; under the lock of their table */
    unsigned char *frame_at, *frame_end;
    char path[PERF_PATH_MAX_BYTES]; /* "": private memory */
} perfi_segment;

extern perfi_segment perfi_segment_state;

/** Start with the defaults unless started. The lock must be held.
 *  Returns false when nothing can be recorded. */
bool perfi_segment_ensure(void);

/** A zeroed chunk that is backed by memory, or NULL. Lock-free. */
unsigned char *perfi_segment_chunk(void);

typedef enum perfi_lost {
    PERFI_LOST_RECORD,
    PERFI_LOST_VALUE,
    PERFI_LOST_ATTRIBUTE,
} perfi_lost;

/** Count what a thread without a block could not record. */
void perfi_count_lost(perfi_lost what);

/** Write down the latest rate of the clock and a sign of life. */
void perfi_segment_sign_of_life(void);

/** Write down how many names and frames found no room or were cut. */
void perfi_segment_publish_names(void);

/** Offsets fit 32 bits in units of 16 bytes (up to 64 GiB). */
static inline uint32_t
perfi_offset(const void *p)
{
    const unsigned char *at = p;
    return (uint32_t)((uint64_t)(at - perfi_segment_state.base) / PERFI_UNIT);
}

static inline void *
perfi_at(uint32_t offset)
{
    return perfi_segment_state.base + (uint64_t)offset * PERFI_UNIT;
}

/* storage.c */

#define PERFI_MIN_BYTES (UINT64_C(256) << 10)

/** Make a file in the folder that `dir` leads to, as in perf_segment_config,
 *  or private memory. Its first chunk is backed.
 *  @param path   PERF_PATH_MAX_BYTES; becomes "" when private.
 *  @param bytes  how large; becomes what the system allows.
 *  Returns a locked descriptor, or -1. */
int perfi_storage_make(const char *dir, char *path, uint64_t *bytes);

/** Back `bytes` at `offset` with memory before anything touches them: writing
 * to a hole of a full file system would be SIGBUS. False: there is no room. */
bool perfi_storage_back(int fd, uint64_t offset, uint64_t bytes);

/** Random, never 0. */
uint64_t perfi_random_bits(void);

/* frame_write.c */

/** Write every frame, now and later, into the segment that has just started. */
void perfi_segment_publish_frames(void);

/* command.c */

/** The program's file or module, never its other arguments, which may hold
 *  secrets. */
void perfi_command_read(char *out, size_t size);

/* folder.c */

/** Find the folder, made if need be; `dir` as in perf_segment_config.
 *  Returns a descriptor of the folder and writes its path, or -1. */
int perfi_folder_open(const char *dir, char *path, size_t size);

/* sweep.c */

/** Remove dead processes' segments that are old or too many. */
void perfi_sweep(int folder, uint64_t now_wall_s);
#endif
