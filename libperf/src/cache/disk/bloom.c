/* bloom.c - a blocked Bloom filter in shared memory: one line of the cache
 * for each question, six bits for each key.
 *
 * There are two. A key is added to the one that counts before its entry is
 * committed, so "not there" is never said of what is there. Removed keys stay
 * in it until the other one is made from the database and takes over. */
#include "state.h"

enum { PROBES = 6, PROBE_BITS = 9 };

/* Digests are hashes already: the first half chooses the block, the second the
 * bits in it. */
static _Atomic uint64_t *
block_of(const perfi_state *s, uint64_t generation, const uint8_t digest[16])
{
    uint64_t block = perfi_half(digest) & s->block_mask;
    return s->bloom[generation & 1] + block * PERFI_BLOOM_WORDS;
}

static void
set_bits(_Atomic uint64_t *block, const uint8_t digest[16])
{
    uint64_t bits = perfi_half(digest + 8);
    for (int i = 0; i < PROBES; i++, bits >>= PROBE_BITS) {
        _Atomic uint64_t *word = &block[bits >> 6 & (PERFI_BLOOM_WORDS - 1)];
        atomic_fetch_or_explicit(word, UINT64_C(1) << (bits & 63),
                                 memory_order_relaxed);
    }
}

bool
perfi_bloom_may_have(const perfi_state *s, const uint8_t digest[16])
{
    _Atomic uint64_t *generation = &s->header->generation;
    uint64_t before = atomic_load_explicit(generation, memory_order_acquire);
    const _Atomic uint64_t *block = block_of(s, before, digest);
    uint64_t bits = perfi_half(digest + 8), set = 1;
    for (int i = 0; i < PROBES; i++, bits >>= PROBE_BITS) {
        const _Atomic uint64_t *word =
            &block[bits >> 6 & (PERFI_BLOOM_WORDS - 1)];
        set &= atomic_load_explicit(word, memory_order_relaxed) >> (bits & 63);
    }
    if (set)
        return true;
    /* A filter is emptied one generation after it ceased to count. Pairs with
     * the fence in perfi_bloom_begin(): who read an emptied word reads a later
     * generation here. */
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit(generation, memory_order_relaxed) != before;
}

void
perfi_bloom_add(perfi_state *s, const uint8_t digest[16])
{
    perfi_state_header *h = s->header;
    set_bits(
        block_of(s, atomic_load_explicit(&h->generation, memory_order_relaxed),
                 digest),
        digest);
    atomic_fetch_add_explicit(&h->bloom_keys, 1, memory_order_relaxed);
}

static uint64_t
next_generation(const perfi_state *s)
{
    return atomic_load_explicit(&s->header->generation, memory_order_relaxed) +
           1;
}

void
perfi_bloom_begin(perfi_state *s)
{
    _Atomic uint64_t *other = s->bloom[next_generation(s) & 1];
    atomic_thread_fence(memory_order_release);
    for (uint64_t i = 0; i <= s->block_mask; i++)
        for (int j = 0; j < PERFI_BLOOM_WORDS; j++)
            atomic_store_explicit(&other[i * PERFI_BLOOM_WORDS + (uint64_t)j],
                                  0, memory_order_relaxed);
}

void
perfi_bloom_fill(perfi_state *s, const uint8_t digest[16])
{
    set_bits(block_of(s, next_generation(s), digest), digest);
}

void
perfi_bloom_end(perfi_state *s, uint64_t keys)
{
    perfi_state_header *h = s->header;
    atomic_store_explicit(&h->bloom_keys, keys, memory_order_relaxed);
    atomic_store_explicit(&h->generation, next_generation(s),
                          memory_order_release);
}
