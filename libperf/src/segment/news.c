/* news.c - of the rings, copies what nobody has read yet.
 *
 * Who looks at records again and again wants those that are new, mostly a small
 * part of a ring. The chunks that hold them are copied beside a copy without
 * rings (counts.c), and are gone again as soon as they have been read. */
#include "reader.h"

/* The chunks from the cursor on that the ring still has; 0: nothing is new. */
static uint32_t
find_news(const perfi_image_block *b, uint64_t *from)
{
    const perfi_image_head *head = &b->fresh;
    uint64_t last = perfi_head_chunk(head->before);
    *from = perfi_oldest_chunk(last, head->chunks);
    if (*from < b->records.chunk)
        *from = b->records.chunk;
    if (!head->chunks || !head->before || *from > last)
        return 0;
    bool read = b->records.chunk == last &&
                b->records.place >= head->before - last * PERFI_CHUNK;
    return read ? 0 : (uint32_t)(last - *from + 1); /* at most `chunks` */
}

/* A chunk that lies nowhere stays empty: it is damage, and was counted. */
static perf_err
copy_block(const perf_reader *r, const perfi_image *image, perfi_image_block *b)
{
    uint64_t from;
    uint32_t chunks = find_news(b, &from);
    if (!chunks)
        return PERF_OK;
    const perf_allocator *a = r->allocator;
    unsigned char *news = a->alloc((size_t)chunks * PERFI_CHUNK, a->ctx);
    if (!news)
        return PERF_ERR_NOMEM;
    b->fresh.news = news;
    b->fresh.news_from = from;
    b->fresh.news_chunks = chunks;
    for (uint32_t i = 0; i < chunks; i++) {
        uint64_t at =
            (uint64_t)b->ring[(from + i) % b->fresh.chunks] * PERFI_UNIT;
        if (!at || at + PERFI_CHUNK > image->size)
            continue;
        if (!perfi_read_at(r, news + (size_t)i * PERFI_CHUNK, PERFI_CHUNK, at))
            return PERF_ERR_CORRUPT;
    }
    return PERF_OK;
}

perf_err
perfi_copy_news(perf_reader *r, const perfi_image *image)
{
    for (uint32_t i = 0; i < r->blocks; i++) {
        perf_err err = copy_block(r, image, &r->block[i]);
        if (err)
            return err;
    }
    perfi_look_at_heads_after(r, image);
    return PERF_OK;
}

void
perfi_news_free(perfi_image_head *head, const perf_allocator *a)
{
    a->free(head->news, (size_t)head->news_chunks * PERFI_CHUNK, a->ctx);
    head->news = NULL;
    head->news_chunks = 0;
}

void
perf_reader_forget_news(perf_reader *r)
{
    for (uint32_t i = 0; r && i < r->blocks; i++) {
        perfi_image_head *head = &r->block[i].head;
        if (head->news)
            perfi_news_free(head, r->allocator);
        if (r->image.place)
            head->chunks = 0; /* no records until the next copy */
    }
}
