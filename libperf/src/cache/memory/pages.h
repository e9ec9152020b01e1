/* pages.h - an array that grows without moving: a directory of pages.
 *
 * So growing never takes twice the memory, nor a pause; and how much memory an
 * array takes is known before it is taken. */
#ifndef PERFI_CACHE_PAGES_H
#define PERFI_CACHE_PAGES_H
#include <libperf/allocator.h>

typedef struct perfi_pages {
    unsigned char **page;
    uint32_t item_bits; /* log2 of the items in a page */
    uint32_t item_mask; /* one less than these */
    uint32_t item_bytes;
    uint32_t count; /* pages there are */
    uint32_t room;  /* in the directory */
} perfi_pages;

/** @param item_bytes  a power of two, up to 4096
 *  @param most_bytes  it never needs to have more; how large a page is depends
 *  on this: the more it may be, the fewer they are */
bool perfi_pages_open(perfi_pages *pages, uint32_t item_bytes,
                      uint64_t most_bytes, const perf_allocator *allocator);
void perfi_pages_close(perfi_pages *pages, const perf_allocator *allocator);

/** One page more, zeroed; false: no memory, or no room. */
bool perfi_pages_add(perfi_pages *pages, const perf_allocator *allocator);

/** What it takes of the allocator. */
uint64_t perfi_pages_bytes(const perfi_pages *pages,
                           const perf_allocator *allocator);

/** How many items there is room for. */
static inline uint32_t
perfi_pages_items(const perfi_pages *pages)
{
    return pages->count << pages->item_bits;
}

/** Item i. @param item_bytes  once more: a constant is faster than a field */
static inline void *
perfi_pages_at(const perfi_pages *pages, uint32_t i, size_t item_bytes)
{
    return pages->page[i >> pages->item_bits] +
           (i & pages->item_mask) * item_bytes;
}
#endif
