/* slot.h - where a thread's open spans are visible. */
#ifndef PERFI_SLOT_H
#define PERFI_SLOT_H
#include "thread.h"

/** Look for slots when the stack is empty; NULL when 1,024 are open. */
__attribute__((cold)) perfi_slot *perfi_slot_find(perfi_thread *t);

/** A free slot, or NULL. */
static inline perfi_slot *
perfi_slot_take(perfi_thread *t)
{
    if (__builtin_expect(!t->free_slots, 0))
        return perfi_slot_find(t);
    return perfi_at(t->slot_stack[--t->free_slots]);
}

/** Give a slot back; its id must be stored as 0 already. A slot of another
 *  thread is left: its owner finds the 0 when it runs out. */
static inline void
perfi_slot_return(perfi_thread *t, const perfi_slot *slot, uint32_t offset)
{
    if (__builtin_expect(slot->block == t->block_offset, 1))
        t->slot_stack[t->free_slots++] = offset;
}

/** The slot at this offset while the span `id` is open in it, or NULL.
 *  @param offset  0: the span has none. */
static inline perfi_slot *
perfi_slot_of(uint32_t offset, uint64_t id)
{
    if (__builtin_expect(!offset, 0))
        return NULL;
    perfi_slot *slot = perfi_at(offset);
    return perfi_get(&slot->id) == id ? slot : NULL;
}
#endif
