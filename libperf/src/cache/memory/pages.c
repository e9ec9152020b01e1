/* pages.c - makes pages, and counts them. */
#include "pages.h"

/* A large array has large pages: what it lies in is looked up, too, by the
 * CPU. */
enum { PAGE_MIN = 4096, PAGE_MAX = 65536, PAGES = 64 };

static size_t
directory_bytes(const perfi_pages *pages)
{
    return pages->room * sizeof *pages->page;
}

static size_t
page_bytes(const perfi_pages *pages)
{
    return (size_t)pages->item_bytes << pages->item_bits;
}

bool
perfi_pages_open(perfi_pages *pages, uint32_t item_bytes, uint64_t most_bytes,
                 const perf_allocator *allocator)
{
    uint64_t page = PAGE_MIN;
    while (page < PAGE_MAX && page * PAGES < most_bytes)
        page *= 2;
    *pages = (perfi_pages){
        .item_bytes = item_bytes,
        .item_bits = (uint32_t)__builtin_ctzll(page / item_bytes),
        .room = (uint32_t)(most_bytes / page + 1),
    };
    pages->item_mask = (UINT32_C(1) << pages->item_bits) - 1;
    pages->page = allocator->alloc(directory_bytes(pages), allocator->ctx);
    return pages->page;
}

void
perfi_pages_close(perfi_pages *pages, const perf_allocator *allocator)
{
    for (uint32_t i = 0; i < pages->count; i++)
        allocator->free(pages->page[i], page_bytes(pages), allocator->ctx);
    if (pages->page)
        allocator->free(pages->page, directory_bytes(pages), allocator->ctx);
    *pages = (perfi_pages){0};
}

bool
perfi_pages_add(perfi_pages *pages, const perf_allocator *allocator)
{
    if (pages->count == pages->room)
        return false;
    void *page = allocator->alloc(page_bytes(pages), allocator->ctx);
    if (!page)
        return false;
    pages->page[pages->count++] = page;
    return true;
}

uint64_t
perfi_pages_bytes(const perfi_pages *pages, const perf_allocator *allocator)
{
    uint64_t page = perf_allocator_cost(allocator, page_bytes(pages), NULL);
    return page * pages->count +
           perf_allocator_cost(allocator, directory_bytes(pages), NULL);
}
