/* shard.c - makes a shard; takes entries out. Looking up: get.c, putting in:
 * set.c. */
#include "shard.h"

#include <libperf/hash.h>

/* ---- made and freed ---- */

static void *
counted_alloc(size_t size, void *ctx)
{
    perfi_shard *shard = ctx;
    const perf_allocator *a = shard->allocator;
    void *memory = a->alloc(size, a->ctx);
    if (memory)
        shard->overhead_bytes += perf_allocator_cost(a, size, NULL);
    return memory;
}

static void
counted_free(void *memory, size_t size, void *ctx)
{
    perfi_shard *shard = ctx;
    const perf_allocator *a = shard->allocator;
    if (memory)
        shard->overhead_bytes -= perf_allocator_cost(a, size, NULL);
    a->free(memory, size, a->ctx);
}

perf_err
perfi_shard_open(perfi_shard *shard, const perf_policy_config *policy)
{
    shard->counted = (perf_allocator){counted_alloc, counted_free, shard};
    perf_policy_config config = *policy;
    config.max_entries = shard->likely_entries;
    config.max_weight = shard->share_bytes;
    config.allocator = &shard->counted;
    /* an entry takes 48 bytes at least: 8 are its slot's, and about 8 a
     * bucket's and a spare line's each, on a bad day */
    uint64_t most = shard->share_bytes / 6;
    if (most > UINT64_C(16) * shard->max_entries)
        most = UINT64_C(16) * shard->max_entries;
    perf_err err = perf_policy_create(&config, &shard->policy);
    if (!err && (!perfi_index_open(&shard->index, most, &shard->counted) ||
                 !perfi_pages_open(&shard->blocks, sizeof(perfi_block *), most,
                                   &shard->counted)))
        err = PERF_ERR_NOMEM;
    if (!err && shard->overhead_bytes > shard->share_bytes / 4 * 3)
        err = PERF_ERR_RANGE;
    return err; /* what there is goes with perfi_shard_close() */
}

void
perfi_shard_close(perfi_shard *shard)
{
    const perf_allocator *a = shard->allocator;
    for (uint32_t slot = 0; slot < shard->slots; slot++) {
        perfi_block *block = *perfi_shard_at(shard, slot);
        if (block) {
            size_t usable;
            perf_allocator_cost(a, perfi_block_bytes(block), &usable);
            a->free(block, usable, a->ctx);
        }
    }
    perf_policy_destroy(shard->policy);
    perfi_index_close(&shard->index, &shard->counted);
    perfi_pages_close(&shard->blocks, &shard->counted);
}

void
perfi_shard_tell_hits(perfi_shard *shard)
{
    if (shard->read_count)
        perf_policy_touch_many(shard->policy, shard->read, shard->read_count);
    shard->read_count = 0;
}

/* ---- taking out ---- */

uint64_t
perfi_shard_hash_of(uint32_t slot, const void *ctx)
{
    const perfi_shard *shard = ctx;
    const perfi_block *block = *perfi_shard_at(shard, slot);
    return perfi_mix(
        perf_hash(perfi_block_key(block), perfi_block_key_size(block)),
        shard->seed);
}

void
perfi_shard_drop(perfi_shard *shard, uint32_t slot)
{
    perfi_block **at = perfi_shard_at(shard, slot), *block = *at;
    if (!block)
        return;
    const perf_allocator *a = shard->allocator;
    perfi_index_remove(&shard->index, perfi_shard_hash_of(slot, shard), slot);
    size_t usable;
    shard->blocks_bytes -=
        perf_allocator_cost(a, perfi_block_bytes(block), &usable);
    shard->content_bytes -= perfi_block_content(block);
    a->free(block, usable, a->ctx);
    *at = NULL;
}

bool
perfi_shard_delete(perfi_shard *shard, const perfi_set *about)
{
    perfi_block *block;
    int32_t slot = perfi_shard_find(shard, about->hash, about->key,
                                    about->key_size, &block);
    if (slot == PERF_SLOT_NONE)
        return false;
    perfi_shard_tell_hits(shard);
    perf_policy_remove(shard->policy, slot);
    perfi_shard_drop(shard, (uint32_t)slot);
    return true;
}

size_t
perfi_shard_expire(perfi_shard *shard, size_t most, uint64_t now_ns)
{
    size_t count = 0;
    for (int32_t slot; count < most; count++) {
        slot = perf_policy_expired_at(shard->policy, now_ns);
        if (slot == PERF_SLOT_NONE)
            break;
        perfi_shard_drop(shard, (uint32_t)slot);
    }
    shard->expirations += count;
    return count;
}
