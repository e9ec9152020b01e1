/* index.c - the table of buckets: adds, takes out, grows by one bucket. */
#include "index.h"

enum { ENTRIES_PER_BUCKET = 6 }; /* on the average, where it grows */

static perfi_line *
bucket_at(const perfi_index *index, uint32_t i)
{
    return perfi_pages_at(&index->buckets, i, sizeof(perfi_line));
}

static perfi_line *
spare_at(const perfi_index *index, uint32_t i)
{
    return perfi_pages_at(&index->spares, i, sizeof(perfi_line));
}

bool
perfi_index_open(perfi_index *index, uint64_t most_bytes,
                 const perf_allocator *allocator)
{
    uint32_t line = sizeof(perfi_line);
    *index = (perfi_index){.bucket_count = 1};
    if (perfi_pages_open(&index->buckets, line, most_bytes, allocator) &&
        perfi_pages_open(&index->spares, line, most_bytes, allocator) &&
        perfi_pages_add(&index->buckets, allocator))
        return true;
    perfi_index_close(index, allocator);
    return false;
}

void
perfi_index_close(perfi_index *index, const perf_allocator *allocator)
{
    perfi_pages_close(&index->buckets, allocator);
    perfi_pages_close(&index->spares, allocator);
}

uint64_t
perfi_index_bytes(const perfi_index *index, const perf_allocator *allocator)
{
    return perfi_pages_bytes(&index->buckets, allocator) +
           perfi_pages_bytes(&index->spares, allocator);
}

bool
perfi_index_reserve(perfi_index *index, const perf_allocator *allocator)
{
    if (!index->free_spares &&
        index->spare_count == perfi_pages_items(&index->spares) &&
        !perfi_pages_add(&index->spares, allocator))
        return false;
    /* without another bucket it is only slower */
    if (index->bucket_count == perfi_pages_items(&index->buckets) &&
        index->entries >= index->bucket_count * ENTRIES_PER_BUCKET)
        perfi_pages_add(&index->buckets, allocator);
    return true;
}

/* ---- lines ---- */

static uint32_t
take_spare(perfi_index *index)
{
    uint32_t spare = index->free_spares;
    if (!spare)
        return ++index->spare_count;
    perfi_line *line = spare_at(index, spare - 1);
    index->free_spares = line->next;
    line->next = 0;
    return spare;
}

/* An empty one. */
static void
give_spare(perfi_index *index, uint32_t spare)
{
    spare_at(index, spare - 1)->next = index->free_spares;
    index->free_spares = spare;
}

static unsigned
used_cells(const perfi_line *line)
{
    unsigned used = PERFI_LINE_CELLS;
    while (used && !line->tag[used - 1])
        used--;
    return used;
}

static void
put(perfi_line *line, unsigned cell, uint8_t tag, const void *block)
{
    uint64_t at = (uintptr_t)block;
    line->tag[cell] = tag;
    line->low[cell] = (uint32_t)at;
    line->high[cell] = (uint16_t)(at >> 32);
}

/* Behind the last one of a bucket; NULL: too many are there. */
static perfi_line *
append(perfi_index *index, perfi_line *line, uint8_t tag, const void *block,
       unsigned *at)
{
    int lines = 1;
    for (; line->next; lines++)
        line = perfi_index_next(index, line);
    unsigned cell = used_cells(line);
    if (cell == PERFI_LINE_CELLS) {
        if (lines == PERFI_CHAIN_MAX)
            return NULL;
        line->next = take_spare(index);
        line = perfi_index_next(index, line);
        cell = 0;
    }
    put(line, cell, tag, block);
    *at = cell;
    return line;
}

/* ---- growing ---- */

/* Deal the entries of a bucket to itself and the one that is new. This takes
 * no more spare lines than it gives. */
static void
split(perfi_index *index, perfi_hash_of hash_of, const void *ctx)
{
    const void *block[PERFI_CHAIN_MAX * PERFI_LINE_CELLS];
    unsigned count = 0, cell;
    if (index->bucket_count > index->mask)
        index->mask = index->mask << 1 | 1;
    perfi_line *old = bucket_at(index, index->bucket_count & index->mask >> 1);
    for (perfi_line *line = old; line; line = perfi_index_next(index, line))
        for (unsigned i = 0, used = used_cells(line); i < used; i++)
            block[count++] = perfi_line_block(line, i);
    for (uint32_t spare = old->next; spare;) {
        perfi_line *line = spare_at(index, spare - 1);
        uint32_t next = line->next;
        memset(line, 0, sizeof *line);
        give_spare(index, spare);
        spare = next;
    }
    memset(old, 0, sizeof *old);
    index->bucket_count++;
    for (unsigned i = 0; i < count; i++) {
        uint64_t hash = hash_of(block[i], ctx);
        append(index, perfi_index_home(index, hash), perfi_hash_tag(hash),
               block[i], &cell);
    }
}

bool
perfi_index_add(perfi_index *index, uint64_t hash, const void *block,
                perfi_hash_of hash_of, const void *ctx)
{
    if ((uint64_t)(uintptr_t)block >> PERFI_POINTER_BITS)
        return false;
    unsigned cell;
    perfi_line *line = append(index, perfi_index_home(index, hash),
                              perfi_hash_tag(hash), block, &cell);
    if (!line)
        return false;
    perfi_line_see(line, cell, index->epoch);
    index->entries++;
    if (index->entries > index->bucket_count * ENTRIES_PER_BUCKET &&
        index->bucket_count < perfi_pages_items(&index->buckets))
        split(index, hash_of, ctx);
    return true;
}

static void
forget(perfi_line *line, unsigned cell)
{
    line->seen &= ~(UINT32_C(1) << cell);
}

void
perfi_index_remove(perfi_index *index, uint64_t hash, const void *block)
{
    perfi_line *line = perfi_index_home(index, hash), *hole = NULL;
    perfi_line *before = NULL; /* the last one */
    unsigned cell = 0;
    for (;; before = line, line = perfi_index_next(index, line)) {
        for (unsigned i = 0; !hole && i < PERFI_LINE_CELLS; i++)
            if (line->tag[i] && perfi_line_block(line, i) == block) {
                hole = line;
                cell = i;
            }
        if (!line->next)
            break;
    }
    if (!hole)
        return;
    unsigned last = PERFI_LINE_CELLS - 1;
    while (last && !line->tag[last])
        last--;
    put(hole, cell, line->tag[last], perfi_line_block(line, last));
    put(line, last, 0, NULL);
    forget(hole, cell); /* what came there: the policy hears of it again */
    forget(line, last);
    index->entries--;
    if (last == 0 && before) {
        give_spare(index, before->next);
        before->next = 0;
    }
}
