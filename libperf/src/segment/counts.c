/* counts.c - copies a segment without its rings, which are most of it.
 *
 * Which chunks are a ring's is known from its list, read from the file once:
 * they stay what they are. All others are copied, one behind the other, with a
 * table that says where each lies. A chunk that becomes a ring's meanwhile is
 * copied too, which does no harm. */
#include "reader.h"

#include <string.h>

enum {
    CHUNKS_MAX = (512 << 20) / PERFI_CHUNK,
    UNITS = PERFI_CHUNK / PERFI_UNIT, /* of a chunk */
};

/* The first chunk has the header: it is nobody's, whatever a list says. */
static void
leave_out_rings(const perf_reader *r, perfi_image *image)
{
    for (uint32_t i = 0; i < r->blocks; i++)
        for (uint32_t k = 0; k < r->block[i].ring_known; k++) {
            uint32_t chunk = r->block[i].ring[k] / UNITS;
            if (chunk && chunk < image->chunks)
                image->place[chunk] = PERFI_NOT_COPIED;
        }
}

static perf_err
choose_places(const perf_reader *r, perfi_image *image)
{
    const perf_allocator *a = r->allocator;
    uint32_t next = 0;
    image->chunks = image->size / PERFI_CHUNK + (image->size % PERFI_CHUNK > 0);
    image->place = a->alloc(image->chunks * sizeof *image->place, a->ctx);
    if (!image->place)
        return PERF_ERR_NOMEM;
    leave_out_rings(r, image);
    for (size_t i = 0; i < image->chunks; i++) {
        if (image->place[i] == PERFI_NOT_COPIED)
            continue;
        if (next == CHUNKS_MAX)
            return PERF_ERR_RANGE;
        image->place[i] = next++;
    }
    image->room = (size_t)next * PERFI_CHUNK;
    image->bytes = a->alloc(image->room, a->ctx);
    if (!image->bytes)
        image->room = 0;
    return image->bytes ? PERF_OK : PERF_ERR_NOMEM;
}

/* Neighbours go together. */
static bool
copy_chunks(const perf_reader *r, const perfi_image *image)
{
    for (size_t i = 0; i < image->chunks;) {
        size_t first = i;
        while (i < image->chunks && image->place[i] != PERFI_NOT_COPIED)
            i++;
        if (i == first) {
            i++;
            continue;
        }
        uint64_t at = (uint64_t)first * PERFI_CHUNK;
        uint64_t end = (uint64_t)i * PERFI_CHUNK;
        if (end > image->size)
            end = image->size;
        if (!perfi_read_at(
                r, image->bytes + (size_t)image->place[first] * PERFI_CHUNK,
                end - at, at))
            return false;
    }
    return true;
}

perf_err
perfi_copy_counts(perf_reader *r, perfi_image *image)
{
    uint64_t bytes;
    perf_err err = perfi_look_at_sizes(r, image, &bytes);
    image->kept = 0;                      /* of a trace file: chunks of rings */
    image->frames = image->functions = 0; /* records alone mention them */
    if (!err)
        err = perfi_chunks_find(r, image);
    if (!err)
        err = choose_places(r, image);
    if (err)
        return err;
    if (!copy_chunks(r, image))
        return PERF_ERR_CORRUPT;
    /* the header may have been damaged since it was looked at */
    return perfi_image_check_header(perfi_image_header(image), bytes);
}
