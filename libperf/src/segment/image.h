/* image.h - a checked copy of a segment's bytes: what the reader works on.
 *
 * Nothing in the bytes is believed. A pointer into them comes from
 * perfi_image_bytes() and perfi_image_at() alone, which know where they end and
 * which of them were copied; a list is followed only towards smaller offsets; a
 * count is bounded by what it counts. */
#ifndef PERFI_IMAGE_H
#define PERFI_IMAGE_H
#include "layout.h"

/** Where a block's lists began when it was looked at. Everything they lead to
 *  lies in the copy; what the copy of the block says may be newer. */
typedef struct perfi_image_head {
    uint64_t before; /* the head before the copy: whole up to here */
    uint64_t after;  /* and after it: written over up to here */
    uint32_t chunks, chunks_after; /* of the ring, at the same two times */
    uint32_t ring, series;         /* before the copy; as in perfi_block */
    unsigned char *news;  /* chunks of the ring beside a copy without rings; */
    uint64_t news_from;   /* number of the first, */
    uint32_t news_chunks; /* and how many there are. See news.c */
} perfi_image_head;

/** How far a ring has been read, for events or for all other records. */
typedef struct perfi_image_cursor {
    uint64_t chunk;  /* next record: number of its chunk, */
    uint32_t place;  /* place in it (0: at its start), */
    uint64_t record; /* and how many of its kind came before */
    uint64_t lost;   /* those that were gone before we came to them */
} perfi_image_cursor;

/** One thread's block, and how far its ring has been given out. */
typedef struct perfi_image_block {
    uint32_t offset;        /* of the perfi_block, in units */
    perfi_image_head head;  /* of the copy in use */
    perfi_image_head fresh; /* of the copy being made, which may yet fail */
    perfi_image_cursor records, events;
    uint32_t *ring; /* where its chunks lie, by index; 0: nowhere. In units */
    uint32_t ring_known; /* places of `ring` that have been looked for */
    uint32_t ring_room;
} perfi_image_block;

typedef struct perfi_image_name {
    uint32_t text; /* in `texts` */
    uint32_t kind;
} perfi_image_name;

typedef struct perfi_image_frame {
    uint32_t caller, line;
    uint32_t function; /* 0: there is no such frame */
} perfi_image_frame;

typedef struct perfi_image_function {
    uint32_t name, file; /* in `frame_texts` */
} perfi_image_function;

typedef struct perfi_image {
    unsigned char *bytes;
    size_t room;   /* bytes allocated: the segment, then chunks */
    size_t size;   /* of the segment */
    uint64_t kept; /* chunks behind it: those of a trace file */
    uint32_t names;
    perfi_image_name *name; /* `names` of them */
    char *texts;            /* each ends in NUL */
    size_t texts_size;
    uint32_t series;     /* of all threads, ordered by name */
    uint32_t *series_at; /* `series` offsets */
    uint32_t *series_of; /* names + 1: where a name's series begin */
    uint32_t damaged;    /* parts that were skipped */
    size_t chunks;       /* of the segment, places in the following */
    uint32_t *place; /* where each chunk lies in `bytes`, in chunks, when rings
                        were left out; NULL: all lie where they lay */

    uint32_t functions, frames; /* how many; numbers begin with 1 */
    uint64_t frame_chunk;       /* offset of the newest; 0: none */
    perfi_image_frame *frame;   /* frames + 1 of them */
    perfi_image_function *function;
    char *frame_texts; /* each ends in NUL; the first is "(other)" */
    size_t frame_texts_size;
} perfi_image;

/* A chunk that was left out. */
#define PERFI_NOT_COPIED UINT32_MAX

/** `bytes` bytes of the segment from `at` on, or NULL when they are not all
 *  there. */
static inline const unsigned char *
perfi_image_bytes(const perfi_image *image, uint64_t at, size_t bytes)
{
    if (at >= image->size || bytes > image->size - at)
        return NULL;
    if (!image->place)
        return image->bytes + at;
    /* what is in a chunk goes on to its end and no further */
    uint32_t place = image->place[at / PERFI_CHUNK];
    size_t in_chunk = at % PERFI_CHUNK;
    if (place == PERFI_NOT_COPIED || bytes > PERFI_CHUNK - in_chunk)
        return NULL;
    return image->bytes + (size_t)place * PERFI_CHUNK + in_chunk;
}

/** Something of `bytes` length at an offset in units, or NULL. */
static inline const void *
perfi_image_at(const perfi_image *image, uint32_t offset, size_t bytes)
{
    uint64_t at = (uint64_t)offset * PERFI_UNIT;
    return at ? perfi_image_bytes(image, at, bytes) : NULL;
}

/** A chunk behind the segment: 0 to kept - 1. */
static inline const perfi_ring_chunk *
perfi_image_kept(const perfi_image *image, uint64_t i)
{
    const void *chunk = image->bytes + image->size + i * PERFI_CHUNK;
    return chunk;
}

static inline const perfi_header *
perfi_image_header(const perfi_image *image)
{
    return (const perfi_header *)(const void *)image->bytes;
}

/** The header is of a writer that knew of frames. */
static inline bool
perfi_image_has_frames(const perfi_header *h)
{
    return h->header_bytes == sizeof *h;
}

/** Make the tables of names, series and frames. `bytes`, `size`, `names` and
 *  what says where frames lie are set. On error nothing is left allocated but
 *  `bytes`.
 *  @param blocks  the blocks, `n` of them, with their fresh heads. */
perf_err perfi_image_index(perfi_image *image, const perfi_image_block *blocks,
                           uint32_t n, const perf_allocator *allocator);

/** Free the tables and the bytes. */
void perfi_image_free(perfi_image *image, const perf_allocator *allocator);

/** The header says that this is a segment of our layout. */
perf_err perfi_image_check_header(const perfi_header *header, uint64_t size);

/** Texts are shown to people and put into files: no NUL, no escape, nor any
 *  other control character (U+0000 to U+001F, U+007F to U+009F). */
void perfi_image_blank_controls(char *text, uint32_t length);

/* frame_read.c */

/** Make the tables of frames; perfi_frames_free() also after an error. */
perf_err perfi_frames_index(perfi_image *image,
                            const perf_allocator *allocator);
void perfi_frames_free(perfi_image *image, const perf_allocator *allocator);

#endif
