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

static uint32_t
victim(perf_policy *p)
{
    return p->slots.list[ALL].last;
}

const perfi_kind perfi_kind_lru = {
    .insert = insert,
    .touch = touch,
    .victim = victim,
};
