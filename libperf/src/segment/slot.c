/* slot.c - places where open spans are visible, in groups of 64 per thread. */
#include "slot.h"

enum { SCAN_EVERY = 64 }; /* begins between two searches of a full table */

static void
push(perfi_thread *t, const perfi_slot *slot)
{
    t->slot_stack[t->free_slots++] = perfi_offset(slot);
}

/* Slots whose spans were ended by other threads. Only called when the stack is
 * empty, so every free slot found is one that is not on it. */
static void
scan(perfi_thread *t)
{
    for (uint32_t g = t->groups; g-- > 0;) {
        const perfi_slot *slot = perfi_at(
            atomic_load_explicit(&t->block->groups[g], memory_order_relaxed));
        for (uint32_t i = PERFI_GROUP_SLOTS; i-- > 0;)
            /* acquire: the thread that ended the span is done with it */
            if (!atomic_load_explicit(&slot[i].id, memory_order_acquire))
                push(t, &slot[i]);
    }
}

static void
grow(perfi_thread *t)
{
    if (t->groups == PERFI_SLOT_GROUPS)
        return;
    perfi_slot *slot = perfi_thread_space(t, PERFI_GROUP_SLOTS * sizeof *slot);
    if (!slot)
        return;
    for (uint32_t i = PERFI_GROUP_SLOTS; i-- > 0;) {
        slot[i].block = t->block_offset;
        push(t, &slot[i]);
    }
    atomic_store_explicit(&t->block->groups[t->groups++], perfi_offset(slot),
                          memory_order_release);
}

perfi_slot *
perfi_slot_find(perfi_thread *t)
{
    if (t->no_scan) {
        t->no_scan--;
        return NULL;
    }
    scan(t);
    if (!t->free_slots)
        grow(t);
    if (!t->free_slots) {
        t->no_scan = SCAN_EVERY;
        return NULL;
    }
    return perfi_at(t->slot_stack[--t->free_slots]);
}
