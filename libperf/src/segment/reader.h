/* reader.h - the reader's parts: lifecycle (reader.c), copies (copy.c; without
 * rings counts.c, of them what is new news.c), where the chunks of rings lie
 * (chunks.c), totals (totals.c), records (records.c). */
#ifndef PERFI_READER_H
#define PERFI_READER_H
#include "image.h"

struct perf_reader {
    const perf_allocator *allocator;
    int fd;           /* -1: read from memory, there is no refresh */
    bool self;        /* this process's own segment */
    uint32_t process; /* and which fork of it */
    perfi_image image;
    uint32_t blocks, blocks_room;
    perfi_image_block *block; /* in the order of their offsets */
};

/** Close the file and free everything but the reader itself. */
void perfi_reader_clear(perf_reader *reader);

/** What a failed system call means; `why` is its errno. */
perf_err perfi_error_of(int why);

/* copy.c */

/** Read from the file, all of it or false. */
bool perfi_read_at(const perf_reader *reader, void *out, size_t bytes,
                   uint64_t offset);

/** First look: which blocks there are, and how far their rings are whole.
 *  @param image  `kept` is set: chunks behind the segment
 *  @param bytes  how much of the file is the segment's. */
perf_err perfi_look_at_file(perf_reader *reader, perfi_image *image,
                            uint64_t *bytes);

/** The same, and then how many names and bytes there are to copy. */
perf_err perfi_look_at_sizes(perf_reader *reader, perfi_image *image,
                             uint64_t *bytes);

/** A block, from the file, or from the image when there is no file. */
bool perfi_look_at_block(const perf_reader *reader, const perfi_image *image,
                         uint32_t offset, perfi_block *out);

/** Second look: how far the rings have been written over since the first. */
void perfi_look_at_heads_after(perf_reader *reader, const perfi_image *image);

/** Copy the file, with the fresh heads of its blocks. What `image` holds is the
 *  caller's to free, also after an error. */
perf_err perfi_copy_file(perf_reader *reader, perfi_image *image);

/** The same from memory, where nobody writes. */
perf_err perfi_copy_bytes(perf_reader *reader, perfi_image *image,
                          const void *bytes, size_t size);

/* counts.c */

/** Copy everything but the rings. What `image` holds is the caller's to free,
 *  also after an error. */
perf_err perfi_copy_counts(perf_reader *reader, perfi_image *image);

/* news.c */

/** After perfi_copy_counts(): copy the chunks of rings with records that were
 *  not given out yet, into the fresh heads; perfi_news_free() also after an
 *  error. */
perf_err perfi_copy_news(perf_reader *reader, const perfi_image *image);

void perfi_news_free(perfi_image_head *head, const perf_allocator *allocator);

/** Chunk `number` of a ring whose head has news, or NULL. */
static inline const unsigned char *
perfi_chunk_in_news(const perfi_image_head *head, uint64_t number)
{
    uint64_t i = number - head->news_from;
    return i < head->news_chunks ? head->news + i * PERFI_CHUNK : NULL;
}

/* chunks.c */

/** Find the chunks of the rings, by the fresh heads of the blocks. What is out
 *  of all proportion is damage. Without bytes in the image they are looked for
 *  in the file. */
perf_err perfi_chunks_find(perf_reader *reader, perfi_image *image);

/** Number of the oldest chunk that a ring still has, when `newest` is being
 *  written. */
static inline uint64_t
perfi_oldest_chunk(uint64_t newest, uint32_t chunks)
{
    return newest >= chunks ? newest - chunks + 1 : 0;
}

/** The bytes of chunk `number` in the ring of a block, or NULL when they are
 *  not what they should be. */
const unsigned char *perfi_chunk_in_ring(const perfi_image *image,
                                         const perfi_image_block *block,
                                         uint64_t number);

/** The first chunk of that block from `number` on that is kept behind the
 *  segment, or NULL. */
const perfi_ring_chunk *perfi_chunk_kept(const perfi_image *image,
                                         uint32_t block, uint64_t number);

/* reader.c */

/** Ticks of the segment's clock to CLOCK_MONOTONIC of its machine. */
uint64_t perfi_reader_ns(const perf_reader *reader, uint64_t ticks);

#endif
