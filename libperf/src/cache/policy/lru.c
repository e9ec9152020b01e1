/* lru.c - what was not asked for the longest goes first. */
#include "kind.h"

enum { ALL = 1 };

static void
insert(perf_policy *p, uint32_t slot)
{
    perfi_list_push(&p->slots, slot, ALL);
}

static void
touch(perf_policy *p, uint32_t slot)
{
    perfi_list_move(&p->slots, slot, ALL);
}

static void
fetch(const perf_policy *p, uint32_t slot)
{
    perfi_list_fetch(&p->slots, slot);
}

static void
touch_many(perf_policy *p, const int32_t *slots, size_t count)
{
    perfi_touch_many(p, slots, count, touch, fetch);
}

static uint32_t
victim(perf_policy *p)
{
    return p->slots.list[ALL].last;
}

const perfi_kind perfi_kind_lru = {
    .insert = insert,
    .touch = touch,
    .touch_many = touch_many,
    .victim = victim,
};
