/* image.h - a checked copy of a segment's bytes: what the reader works on.
 *
 * Nothing in the bytes is believed. A pointer into them comes from
 * perfi_image_at() alone, which knows where they end; a list is followed only
 * towards smaller offsets; a count is bounded by what it counts. */
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
} perfi_image;

/** Something of `bytes` length at an offset in units, or NULL. */
static inline const void *
perfi_image_at(const perfi_image *image, uint32_t offset, size_t bytes)
{
    uint64_t at = (uint64_t)offset * PERFI_UNIT;
    return at && at + bytes <= image->size ? image->bytes + at : NULL;
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

/** Make the tables of names and series. `bytes`, `size` and `names` are set. On
 *  error nothing is left allocated but `bytes`.
 *  @param blocks  the blocks, `n` of them, with their fresh heads. */
perf_err perfi_image_index(perfi_image *image, const perfi_image_block *blocks,
                           uint32_t n, const perf_allocator *allocator);

/** Free the tables and the bytes. */
void perfi_image_free(perfi_image *image, const perf_allocator *allocator);

/** The header says that this is a segment of our layout. */
perf_err perfi_image_check_header(const perfi_header *header, uint64_t size);

#endif
