/* reader.h - the reader's parts: lifecycle (reader.c), copies (copy.c), totals
 * (totals.c) and records (records.c). */
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

/** Copy the file, with the fresh heads of its blocks. What `image` holds is the
 *  caller's to free, also after an error. */
perf_err perfi_copy_file(perf_reader *reader, perfi_image *image);

/** The same from memory, where nobody writes. */
perf_err perfi_copy_bytes(perf_reader *reader, perfi_image *image,
                          const void *bytes, size_t size);

/** Ticks of the segment's clock to CLOCK_MONOTONIC of its machine. */
uint64_t perfi_reader_ns(const perf_reader *reader, uint64_t ticks);

#endif
