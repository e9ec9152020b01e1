/* pt_alloc.c - fails after a given number of calls, and checks that what is
 * freed is told the size it was asked with. */
#include "pt.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { HEAD = 16 }; /* keeps the alignment */

static void *
take(size_t size, void *ctx)
{
    pt_alloc *a = ctx;
    if (atomic_fetch_add(&a->calls, 1) >= atomic_load(&a->allowed))
        return NULL;
    unsigned char *block = calloc(1, HEAD + size);
    *(size_t *)(void *)block = size;
    atomic_fetch_add(&a->live, 1);
    atomic_fetch_add(&a->live_bytes, size);
    return block + HEAD;
}

static void
give_back(void *memory, size_t size, void *ctx)
{
    pt_alloc *a = ctx;
    if (!memory)
        return;
    unsigned char *block = (unsigned char *)memory - HEAD;
    if (*(size_t *)(void *)block != size)
        atomic_store(&a->wrong_size, true);
    atomic_fetch_sub(&a->live, 1);
    atomic_fetch_sub(&a->live_bytes, *(size_t *)(void *)block);
    free(block);
}

void
pt_alloc_init(pt_alloc *a, uint64_t allowed)
{
    a->face = (perf_allocator){take, give_back, a};
    atomic_store(&a->allowed, allowed);
    atomic_store(&a->calls, 0);
    atomic_store(&a->live, 0);
    atomic_store(&a->live_bytes, 0);
    atomic_store(&a->wrong_size, false);
}
