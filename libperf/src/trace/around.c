/* around.c - the open spans around one, found as a reader from outside would
 * find them: in the slots of all threads. Nothing is kept for it, so it costs
 * nothing until somebody asks. */
#include "../segment/thread.h"

#include <libperf/span.h>

/* The name and parent of an open span. False: none is open under this id, or
 * it is not visible. A slot is looked at again after it was read; it would have
 * to be filled anew in between by a thread whose stores pass each other. */
static bool
look(const perfi_slot *slot, uint64_t id, uint32_t *name, uint64_t *parent)
{
    /* acquire, with show_slot(): the fields are there */
    if (atomic_load_explicit(&slot->id, memory_order_acquire) != id)
        return false;
    *name = atomic_load_explicit(&slot->name, memory_order_relaxed);
    *parent = perfi_get(&slot->parent);
    atomic_thread_fence(memory_order_acquire);
    return perfi_get(&slot->id) == id;
}

static bool
look_in(const perfi_block *block, uint64_t id, uint32_t *name, uint64_t *parent)
{
    for (int g = 0; g < PERFI_SLOT_GROUPS; g++) {
        /* acquire, with grow(): the group is whole */
        uint32_t offset =
            atomic_load_explicit(&block->groups[g], memory_order_acquire);
        const perfi_slot *slot = offset ? perfi_at(offset) : NULL;
        for (int i = 0; slot && i < PERFI_GROUP_SLOTS; i++)
            if (look(&slot[i], id, name, parent))
                return true;
    }
    return false;
}

static bool
find(const perfi_thread *mine, uint64_t id, uint32_t *name, uint64_t *parent)
{
    if (mine && look_in(mine->block, id, name, parent))
        return true; /* as nearly always */
    /* acquire: blocks are whole when they are linked, and stay for ever */
    uint64_t bytes = atomic_load_explicit(&perfi_segment_state.header->blocks,
                                          memory_order_acquire);
    uint32_t at = (uint32_t)(bytes / PERFI_UNIT);
    while (at) {
        const perfi_block *block = perfi_at(at);
        if (look_in(block, id, name, parent))
            return true;
        at = block->next;
    }
    return false;
}

size_t
perf_span_around(perf_span span, uint32_t *names, size_t capacity)
{
    size_t n = 0;
    uint64_t id = span.parent;
    if (!perfi_segment_state.header)
        return 0;
    const perfi_thread *mine = perfi_thread_get();
    while (id && n < capacity && find(mine, id, &names[n], &id))
        n++;
    return n;
}
