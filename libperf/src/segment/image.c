/* image.c - checks a copied segment, makes tables of its names and series; of
 * its frames: frame_read.c. */
#include "image.h"

#include <string.h>

perf_err
perfi_image_check_header(const perfi_header *h, uint64_t size)
{
    if (h->magic != PERFI_MAGIC)
        return PERF_ERR_CORRUPT;
    if (h->layout != PERFI_LAYOUT_VERSION)
        return PERF_ERR_VERSION;
    uint64_t used = perfi_get(&h->used_bytes);
    if ((h->header_bytes != sizeof *h &&
         h->header_bytes != PERFI_HEADER_WITHOUT_FRAMES) ||
        h->names_max != PERF_NAMES_MAX || h->max_bytes > (UINT64_C(1) << 36) ||
        h->max_bytes < PERFI_CHUNK || used < PERFI_CHUNK ||
        size < PERFI_CHUNK || (used > size && h->max_bytes > size))
        return PERF_ERR_CORRUPT;
    return PERF_OK;
}

static void *
allocate(const perf_allocator *a, size_t count, size_t size)
{
    return a->alloc(count * size, a->ctx);
}

static void
release(const perf_allocator *a, void *memory, size_t count, size_t size)
{
    a->free(memory, count * size, a->ctx);
}

/* Where a name's text lies, or NULL when the entry is nonsense. */
static const char *
find_text(const perfi_image *image, uint64_t entry, uint32_t *length)
{
    uint64_t at = entry >> 16;
    *length = entry >> 8 & 0xff;
    if (!at || !*length || *length > PERF_TEXT_MAX_BYTES)
        return NULL;
    return (const char *)perfi_image_bytes(image, at, *length);
}

void
perfi_image_blank_controls(char *text, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++) {
        unsigned char here = (unsigned char)text[i];
        unsigned char next = i + 1 < length ? (unsigned char)text[i + 1] : 0;
        if (here < ' ' || here == 0x7F)
            text[i] = ' ';
        else if (here == 0xC2 && next >= 0x80 && next < 0xA0)
            text[i] = text[i + 1] = ' ';
    }
}

static perf_err
index_names(perfi_image *image, const perf_allocator *a)
{
    static const char other[] = "(other)";
    const perfi_name_entry *entries =
        (const void *)(image->bytes + perfi_image_header(image)->header_bytes);
    if (image->names > PERF_NAMES_MAX) {
        image->names = PERF_NAMES_MAX;
        image->damaged++;
    }
    image->texts_size = image->names * (PERF_TEXT_MAX_BYTES + 1) + sizeof other;
    image->name = allocate(a, image->names + 1u, sizeof *image->name);
    image->texts = allocate(a, image->texts_size, 1);
    if (!image->name || !image->texts)
        return PERF_ERR_NOMEM;
    uint32_t end = 0;
    for (uint32_t i = 0; i < image->names; i++) {
        uint64_t entry = perfi_get(&entries[i].text);
        uint32_t length;
        const char *text = find_text(image, entry, &length);
        uint32_t kind = entry & 0xff;
        if (!text) {
            image->damaged += entry >> 8 != 0; /* 0: there was no room */
            text = other;
            length = sizeof other - 1;
        }
        if (kind >= PERF_KIND_COUNT)
            kind = PERF_KIND_SPAN;
        image->name[i] = (perfi_image_name){end, kind};
        memcpy(image->texts + end, text, length);
        perfi_image_blank_controls(image->texts + end, length);
        end += length + 1;
    }
    return PERF_OK;
}

typedef void (*series_fn)(perfi_image *image, uint32_t offset, uint32_t name);

static void
count_series(perfi_image *image, uint32_t offset, uint32_t name)
{
    (void)offset;
    image->series_of[name + 1]++;
    image->series++;
}

static void
place_series(perfi_image *image, uint32_t offset, uint32_t name)
{
    image->series_at[image->series_of[name]++] = offset;
}

static void
each_series(perfi_image *image, const perfi_image_block *blocks, uint32_t n,
            series_fn fn)
{
    /* many blocks may lead into one list: no more series than would fit */
    uint64_t left = image->size / sizeof(perfi_series);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t offset = blocks[i].fresh.series; offset;) {
            const perfi_series *s =
                left ? perfi_image_at(image, offset, sizeof *s) : NULL;
            if (!s || s->next >= offset) { /* lists lead to smaller offsets */
                image->damaged++;
                break;
            }
            left--;
            if (s->name < image->names)
                fn(image, offset, s->name);
            offset = s->next;
        }
}

static perf_err
index_series(perfi_image *image, const perfi_image_block *blocks, uint32_t n,
             const perf_allocator *a)
{
    image->series_of = allocate(a, image->names + 2u, sizeof(uint32_t));
    if (!image->series_of)
        return PERF_ERR_NOMEM;
    each_series(image, blocks, n, count_series);
    image->series_at = allocate(a, image->series + 1u, sizeof(uint32_t));
    if (!image->series_at)
        return PERF_ERR_NOMEM;
    for (uint32_t i = 0; i <= image->names; i++)
        image->series_of[i + 1] += image->series_of[i];
    uint32_t damaged = image->damaged; /* seen once is enough */
    each_series(image, blocks, n, place_series);
    image->damaged = damaged;
    /* placing moved each start to its end, which is the next one's start */
    for (uint32_t i = image->names + 1; i > 0; i--)
        image->series_of[i] = image->series_of[i - 1];
    image->series_of[0] = 0;
    return PERF_OK;
}

static void
free_tables(perfi_image *image, const perf_allocator *a)
{
    release(a, image->name, image->names + 1u, sizeof *image->name);
    release(a, image->texts, image->texts_size, 1);
    release(a, image->series_of, image->names + 2u, sizeof(uint32_t));
    release(a, image->series_at, image->series + 1u, sizeof(uint32_t));
    image->name = NULL;
    image->texts = NULL;
    image->series_of = image->series_at = NULL;
    perfi_frames_free(image, a);
}

perf_err
perfi_image_index(perfi_image *image, const perfi_image_block *blocks,
                  uint32_t n, const perf_allocator *allocator)
{
    perf_err err = index_names(image, allocator);
    if (!err)
        err = index_series(image, blocks, n, allocator);
    if (!err)
        err = perfi_frames_index(image, allocator);
    if (err)
        free_tables(image, allocator);
    return err;
}

void
perfi_image_free(perfi_image *image, const perf_allocator *allocator)
{
    free_tables(image, allocator);
    release(allocator, image->bytes, image->room, 1);
    release(allocator, image->place, image->chunks, sizeof *image->place);
    *image = (perfi_image){0};
}
