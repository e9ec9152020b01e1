/* fuzz_reader.c - proves that whatever bytes a segment file holds, the reader
 * gives an error or a bounded answer: no crash, no read outside its copy, no
 * text without an end, no more records than the file has room for.
 *
 * The first byte of an input chooses: patches on the image of a real trace
 * read from memory (so that most inputs get past the header), the same as a
 * file that changes before a refresh, whole or without its rings, or the rest
 * as the whole segment. */
#define _GNU_SOURCE
#include "segment_kit.h"

#include "segment/layout.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static unsigned char *valid, *patched;
static size_t valid_size;
static int file; /* in memory, for the reader's way through the kernel */
static char file_path[64];

/* Freed copies go back at once: fresh pages would take most of the time. */
const char *
__asan_default_options(void)
{
    return "quarantine_size_mb=4";
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    valid = make_trace(SPANS_THAT_WRAP, &valid_size);
    patched = malloc(valid_size);
    file = memfd_create("fuzz", MFD_CLOEXEC);
    expect(file >= 0);
    snprintf(file_path, sizeof file_path, "/proc/self/fd/%d", file);
    return 0;
}

/* Each patch: 4 bytes say where, 1 how long, then the bytes. */
static size_t
patch(const uint8_t *data, size_t size)
{
    size_t at = 0;
    while (at + 6 <= size && data[at + 4]) {
        uint32_t where;
        memcpy(&where, data + at, sizeof where);
        uint8_t shape = data[at + 4];
        size_t length = (shape & 15) + 1u, to = where % valid_size;
        if (shape & 128) /* what is interesting begins each chunk */
            to = to / PERFI_CHUNK * PERFI_CHUNK + to % 2048;
        if (shape & 32) /* or is the trailer */
            to = valid_size - 1 - to % sizeof(perfi_trailer);
        if (shape & 64) /* and fields are aligned */
            to &= ~(size_t)7;
        at += 5;
        for (; length-- && at < size; at++)
            patched[to++ % valid_size] = data[at];
    }
    return at + 5 < size ? at + 5 : size;
}

static void
read_bytes(const uint8_t *bytes, size_t size)
{
    perf_reader *reader = (void *)file_path;
    perf_err err = perf_reader_open_bytes(bytes, size, NULL, &reader);
    expect((err == PERF_OK) == (reader != NULL));
    if (!err)
        walk_reader(reader, size);
    perf_reader_close(reader);
}

/* @param counts  1: opened, 2: refreshed without the rings; 3: both. */
static void
read_file(const uint8_t *data, size_t size, int counts)
{
    perf_reader *reader;
    size_t used = patch(data, size);
    expect(pwrite(file, patched, valid_size, 0) == (ssize_t)valid_size);
    if (counts & 1 ? perf_reader_open_counts_blocking(file_path, NULL, &reader)
                   : perf_reader_open_blocking(file_path, NULL, &reader))
        return;
    walk_reader(reader, valid_size);
    memcpy(patched, valid, valid_size);
    patch(data + used, size - used);
    expect(pwrite(file, patched, valid_size, 0) == (ssize_t)valid_size);
    /* after an error the old one stays */
    counts & 2 ? perf_reader_refresh_counts_blocking(reader)
               : perf_reader_refresh_blocking(reader);
    walk_reader(reader, valid_size);
    perf_reader_refresh_news_blocking(reader);
    walk_reader(reader, valid_size);
    perf_reader_forget_news(reader);
    perf_reader_refresh_blocking(reader);
    walk_reader(reader, valid_size);
    perf_reader_close(reader);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    memcpy(patched, valid, valid_size);
    switch (data[0] % 8) {
    case 0: read_bytes(data + 1, size - 1); break;
    case 1:
    case 2:
    case 3:
    case 4: read_file(data + 1, size - 1, data[0] % 8 - 1); break;
    default: patch(data + 1, size - 1); read_bytes(patched, valid_size);
    }
    return 0;
}
