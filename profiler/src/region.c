/* region.c - pieces in a ring of two-way links, so one can be freed early. */
#include "region.h"

#include <string.h>

typedef struct perfi_block_head {
    struct perfi_block_head *next, *before;
    size_t bytes; /* with this head */
    size_t pad;   /* what follows is aligned to 16 */
} perfi_block_head;

void *
perfi_region_take(perfi_region *r, size_t count, size_t size)
{
    perfi_block_head *b = NULL;
    size_t bytes;
    if (!__builtin_mul_overflow(count ? count : 1, size, &bytes) &&
        !__builtin_add_overflow(bytes, sizeof *b, &bytes))
        b = r->allocator->alloc(bytes, r->allocator->ctx);
    if (!b)
        longjmp(r->no_memory, 1);
    b->bytes = bytes;
    b->before = NULL;
    b->next = r->blocks;
    if (b->next)
        b->next->before = b;
    r->blocks = b;
    return b + 1;
}

void
perfi_region_drop(perfi_region *r, void *piece)
{
    if (!piece)
        return;
    perfi_block_head *b = (perfi_block_head *)piece - 1;
    if (b->next)
        b->next->before = b->before;
    if (b->before)
        b->before->next = b->next;
    else
        r->blocks = b->next;
    r->allocator->free(b, b->bytes, r->allocator->ctx);
}

void *
perfi_region_grow(perfi_region *r, void *old, size_t count, size_t more,
                  size_t size)
{
    void *piece = perfi_region_take(r, more, size);
    if (old)
        memcpy(piece, old, count * size);
    perfi_region_drop(r, old);
    return piece;
}

void
perfi_region_free(perfi_region *r)
{
    while (r->blocks)
        perfi_region_drop(r, r->blocks + 1);
}
