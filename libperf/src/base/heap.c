/* heap.c - a table of sampled blocks by address, and the chance that takes
 * them.
 *
 * Open addressing with linear probing: addresses lie apart from the rest, eight
 * to a cache line, and the table is at most half full, so that a block which
 * is not kept (nearly every one that is freed) is known by its first empty
 * place. Removing moves later ones back; there are no tombstones (Knuth,
 * volume 3, 6.4, algorithm R). */
#include "../base/clock.h"

#include <libperf/heap.h>
#include <math.h>
#include <string.h>

enum { LEAST_PLACES = 64, BLOCKS_MAX = 1 << 24 };
#define INTERVAL_MAX (UINT64_C(1) << 40)

struct perf_heap {
    const perf_allocator *allocator;
    uint64_t interval;
    uint64_t random; /* state of splitmix64 */
    uint64_t max_blocks;
    uint64_t *address;      /* `places` of them; 0: empty */
    perf_heap_block *block; /* beside each */
    uint64_t places;        /* a power of two */
    unsigned shift;         /* 64 - log2(places) */
    perf_heap_stats stats;
};

/* ---- chance ---- */

static uint64_t
next_random(perf_heap *heap)
{
    uint64_t z = heap->random += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

uint64_t
perf_heap_next_bytes(perf_heap *heap)
{
    /* above 0 and up to 1: its logarithm is finite, 36 at most */
    double unit = (double)((next_random(heap) >> 11) + 1) * 0x1p-53;
    return (uint64_t)(-log(unit) * (double)heap->interval);
}

uint64_t
perf_heap_weight(const perf_heap *heap, uint64_t size_bytes)
{
    if (!size_bytes)
        return 0;
    double size = (double)size_bytes;
    double chance = -expm1(-size / (double)heap->interval);
    double weight = size / chance;
    return weight > size ? (uint64_t)(weight + 0.5) : size_bytes;
}

/* ---- the table ---- */

static uint64_t
home_of(const perf_heap *heap, uint64_t address)
{
    /* Fibonacci hashing: addresses are multiples of 16 and often neighbours */
    return address * UINT64_C(0x9E3779B97F4A7C15) >> heap->shift;
}

/* Where it is, or the empty place where it would be. */
static uint64_t
find(const perf_heap *heap, uint64_t address)
{
    uint64_t at = home_of(heap, address);
    while (heap->address[at] && heap->address[at] != address)
        at = (at + 1) & (heap->places - 1);
    return at;
}

static void
free_table(perf_heap *heap)
{
    const perf_allocator *a = heap->allocator;
    a->free(heap->address, heap->places * sizeof *heap->address, a->ctx);
    a->free(heap->block, heap->places * sizeof *heap->block, a->ctx);
}

static bool
make_table(perf_heap *heap, uint64_t places)
{
    const perf_allocator *a = heap->allocator;
    heap->address = a->alloc(places * sizeof *heap->address, a->ctx);
    heap->block = a->alloc(places * sizeof *heap->block, a->ctx);
    heap->places = places;
    heap->shift = 64;
    for (uint64_t n = places; n > 1; n /= 2)
        heap->shift--;
    if (heap->address && heap->block)
        return true;
    free_table(heap);
    return false;
}

/* At least one place more than twice the blocks. False: there is no memory, and
 * nothing has changed. */
static bool
make_room(perf_heap *heap)
{
    if (heap->stats.blocks < heap->places / 2)
        return true;
    perf_heap old = *heap;
    if (!make_table(heap, old.places * 2)) {
        *heap = old;
        return false;
    }
    for (uint64_t i = 0; i < old.places; i++) {
        if (!old.address[i])
            continue;
        uint64_t at = find(heap, old.address[i]);
        heap->address[at] = old.address[i];
        heap->block[at] = old.block[i];
    }
    free_table(&old);
    return true;
}

bool
perf_heap_put(perf_heap *heap, const perf_heap_block *block)
{
    uint64_t at = find(heap, block->address);
    heap->stats.taken++;
    if (!heap->address[at] || !block->address) {
        if (!block->address || heap->stats.blocks == heap->max_blocks ||
            !make_room(heap)) {
            heap->stats.dropped++;
            return false;
        }
        at = find(heap, block->address);
        heap->stats.blocks++;
    }
    heap->address[at] = block->address;
    heap->block[at] = *block;
    return true;
}

/* Fill an empty place with a later block that may not stand behind one. */
static void
close_gap(perf_heap *heap, uint64_t gap)
{
    uint64_t mask = heap->places - 1;
    for (uint64_t at = (gap + 1) & mask; heap->address[at];
         at = (at + 1) & mask) {
        uint64_t home = home_of(heap, heap->address[at]);
        if (((at - home) & mask) < ((at - gap) & mask))
            continue; /* its home lies behind the gap */
        heap->address[gap] = heap->address[at];
        heap->block[gap] = heap->block[at];
        gap = at;
    }
    heap->address[gap] = 0;
}

bool
perf_heap_remove(perf_heap *heap, uint64_t address)
{
    uint64_t at = find(heap, address);
    if (!heap->address[at]) /* also for address 0 */
        return false;
    heap->stats.blocks--;
    close_gap(heap, at);
    return true;
}

size_t
perf_heap_blocks(const perf_heap *heap, perf_heap_block *out, size_t capacity)
{
    size_t n = 0;
    for (uint64_t i = 0; i < heap->places; i++)
        if (heap->address[i] && n++ < capacity && out)
            out[n - 1] = heap->block[i];
    return n;
}

void
perf_heap_clear(perf_heap *heap)
{
    memset(heap->address, 0, heap->places * sizeof *heap->address);
    heap->stats.blocks = 0;
}

void
perf_heap_stats_now(const perf_heap *heap, perf_heap_stats *out)
{
    *out = heap->stats;
}

/* ---- lifecycle ---- */

void
perf_heap_config_init(perf_heap_config *config)
{
    *config = (perf_heap_config){
        .interval_bytes = 512 * 1024,
        .max_blocks = 1 << 16,
    };
}

perf_err
perf_heap_create(const perf_heap_config *config, perf_heap **out)
{
    if (!out)
        return PERF_ERR_INVALID;
    *out = NULL;
    perf_heap_config defaults;
    perf_heap_config_init(&defaults);
    const perf_heap_config *c = config ? config : &defaults;
    if (!c->interval_bytes || c->interval_bytes > INTERVAL_MAX ||
        !c->max_blocks || c->max_blocks > BLOCKS_MAX)
        return PERF_ERR_RANGE;
    const perf_allocator *a =
        c->allocator ? c->allocator : perf_allocator_libc();
    perf_heap *heap = a->alloc(sizeof *heap, a->ctx);
    if (!heap)
        return PERF_ERR_NOMEM;
    heap->allocator = a;
    heap->interval = c->interval_bytes;
    heap->max_blocks = c->max_blocks;
    heap->random = c->seed ? c->seed : perfi_clock_ticks();
    if (!make_table(heap, LEAST_PLACES)) {
        a->free(heap, sizeof *heap, a->ctx);
        return PERF_ERR_NOMEM;
    }
    *out = heap;
    return PERF_OK;
}

void
perf_heap_destroy(perf_heap *heap)
{
    if (!heap)
        return;
    const perf_allocator *a = heap->allocator;
    free_table(heap);
    a->free(heap, sizeof *heap, a->ctx);
}
