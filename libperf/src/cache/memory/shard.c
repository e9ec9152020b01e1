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
    shard->read_most = 1;
    shard->counted = (perf_allocator){counted_alloc, counted_free, shard};
    perf_policy_config config = *policy;
    config.max_entries = shard->likely_entries;
    config.max_weight = shard->share_bytes;
    config.allocator = &shard->counted;
    /* an entry takes 48 bytes at least, of which 13 are its bucket's; spare
     * lines are far less */
    uint64_t most = shard->share_bytes / 3;
    if (most > UINT64_C(16) * shard->max_entries)
        most = UINT64_C(16) * shard->max_entries;
    perf_err err = perf_policy_create(&config, &shard->policy);
    if (!err && !perfi_index_open(&shard->index, most, &shard->counted))
        err = PERF_ERR_NOMEM;
    if (!err && shard->overhead_bytes > shard->share_bytes / 4 * 3)
        err = PERF_ERR_RANGE;
    return err; /* what there is goes with perfi_shard_close() */
}

void
perfi_shard_close(perfi_shard *shard)
{
    uint32_t slots = perfi_policy_slots(shard->policy);
    for (uint32_t slot = 0; slot < slots; slot++)
        perfi_shard_drop(shard, slot);
    perf_policy_destroy(shard->policy);
    perfi_index_close(&shard->index, &shard->counted);
}

void
perfi_shard_count(perfi_shard *shard, uint32_t more)
{
    uint32_t epoch = shard->index.entries / PERFI_EPOCH_PART;
    shard->told += more;
    if (shard->told <= epoch)
        return;
    perfi_index_next_epoch(&shard->index);
    shard->told = 0;
    shard->read_most = epoch < 1             ? 1
                       : epoch < PERFI_READS ? epoch
                                             : PERFI_READS;
}

void
perfi_shard_tell_hits(perfi_shard *shard)
{
    if (!shard->read_count)
        return;
    perf_policy_touch_many(shard->policy, shard->read, shard->read_count);
    perfi_shard_count(shard, shard->read_count);
    shard->read_count = 0;
}

/* ---- taking out ---- */

uint64_t
perfi_shard_hash_of(const void *block, const void *ctx)
{
    const perfi_shard *shard = ctx;
    return perfi_mix(
        perf_hash(perfi_block_key(block), perfi_block_key_size(block)),
        shard->seed);
}

/* Of a slot's key. */
static uint64_t
hash_of_slot(const perfi_shard *shard, uint32_t slot)
{
    return perfi_unmix(perfi_policy_hash(shard->policy, slot), shard->seed + 1);
}

void
perfi_shard_fetch(const perfi_shard *shard, uint32_t slot)
{
    __builtin_prefetch(
        perfi_index_home(&shard->index, hash_of_slot(shard, slot)), 1);
}

perfi_block *
perfi_shard_block(const perfi_shard *shard, uint32_t slot)
{
    uint64_t hash = hash_of_slot(shard, slot);
    const perfi_line *line = perfi_index_home(&shard->index, hash);
    for (; line; line = perfi_index_next(&shard->index, line))
        for (uint64_t m = perfi_line_match(line, hash); m; m &= m - 1) {
            perfi_block *block = perfi_line_block(line, perfi_match_cell(m));
            if (block->slot == slot)
                return block;
        }
    return NULL;
}

void
perfi_shard_drop(perfi_shard *shard, uint32_t slot)
{
    perfi_block *block = perfi_shard_block(shard, slot);
    if (!block)
        return;
    const perf_allocator *a = shard->allocator;
    perfi_index_remove(&shard->index, hash_of_slot(shard, slot), block);
    size_t usable;
    shard->blocks_bytes -=
        perf_allocator_cost(a, perfi_block_bytes(block), &usable);
    shard->content_bytes -= perfi_block_content(block);
    a->free(block, usable, a->ctx);
}

bool
perfi_shard_delete(perfi_shard *shard, const perfi_set *about)
{
    const perfi_block *block =
        perfi_shard_find(shard, about->hash, about->key, about->key_size).block;
    if (!block)
        return false;
    uint32_t slot = block->slot;
    perfi_shard_tell_hits(shard);
    perf_policy_remove(shard->policy, (int32_t)slot);
    perfi_shard_drop(shard, slot);
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
