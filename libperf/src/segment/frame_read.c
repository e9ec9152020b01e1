/* frame_read.c - makes tables of a copied segment's frames, and answers from
 * them.
 *
 * Each chunk says which numbers it begins with, so one that is damaged spoils
 * no other. */
#include "reader.h"

#include <string.h>

static const char other[] = "(other)";

typedef struct pass {
    perfi_image *image;
    uint32_t function, frame; /* numbers of the next ones */
    bool fills;               /* the tables; else it counts bytes of texts */
    uint32_t text_at;
    uint32_t found; /* frames */
} pass;

static uint32_t
keep_text(pass *p, const char *text, uint32_t length)
{
    char *to = p->image->frame_texts + p->text_at;
    uint32_t at = p->text_at;
    memcpy(to, text, length);
    perfi_image_blank_controls(to, length);
    p->text_at += length + 1; /* the memory is zeroed: it ends in NUL */
    return at;
}

static bool
take_function(pass *p, const perfi_function *f)
{
    uint32_t lengths = f->function_length + (uint32_t)f->file_length;
    size_t bytes = offsetof(perfi_function, texts) + (size_t)lengths;
    uint32_t number = p->function++;
    if (f->function_length > PERF_TEXT_MAX_BYTES ||
        f->file_length > PERF_TEXT_MAX_BYTES ||
        bytes > (size_t)f->units * PERFI_UNIT)
        return false;
    if (number > p->image->functions) /* it came after we looked */
        return true;
    if (!p->fills) {
        if (p->text_at > UINT32_MAX / 2)
            return false; /* as much as that is no table of functions */
        p->text_at += lengths + 2;
        return true;
    }
    if (p->text_at + lengths + 2 > p->image->frame_texts_size)
        return false;
    perfi_image_function *to = &p->image->function[number];
    const char *texts = (const char *)f + offsetof(perfi_function, texts);
    if (to->name)
        return false; /* two chunks claim it */
    to->name = keep_text(p, texts, f->function_length);
    to->file = keep_text(p, texts + f->function_length, f->file_length);
    return true;
}

static bool
take_frame(pass *p, const perfi_frame *f)
{
    uint32_t number = p->frame++;
    if (number > p->image->frames || !p->fills)
        return true;
    perfi_image_frame *to = &p->image->frame[number];
    if (to->function || !f->function || f->function > p->image->functions ||
        f->caller >= number)
        return false;
    *to = (perfi_image_frame){f->caller, f->line, f->function};
    p->found++;
    return true;
}

/* Everything in a chunk, up to its end or to what makes no sense. */
static bool
take_chunk(pass *p, const unsigned char *bytes)
{
    const perfi_frame_chunk *chunk = (const void *)bytes;
    if (chunk->functions > p->image->functions ||
        chunk->frames > p->image->frames)
        return true; /* it was made after we looked; or nothing of it counts */
    p->function = chunk->functions + 1;
    p->frame = chunk->frames + 1;
    bool good = true;
    for (uint32_t at = sizeof *chunk; at < PERFI_CHUNK && good;) {
        if (p->frame > p->image->frames && p->function > p->image->functions)
            break; /* what follows is perhaps being written */
        const perfi_frame *f = (const void *)(bytes + at);
        uint32_t length = (uint32_t)f->units * PERFI_UNIT;
        if (!f->type)
            break;
        if (!length || length > PERFI_CHUNK - at)
            return false;
        if (f->type == PERFI_FUNCTION)
            good = take_function(p, (const void *)f);
        else if (f->type == PERFI_FRAME)
            good = take_frame(p, f);
        else
            good = false;
        at += length;
    }
    return good;
}

static bool
take_chunks(pass *p)
{
    bool good = true;
    for (uint64_t at = p->image->frame_chunk; at;) {
        const unsigned char *bytes =
            at % PERFI_CHUNK
                ? NULL
                : perfi_image_at(p->image, (uint32_t)(at / PERFI_UNIT),
                                 PERFI_CHUNK);
        if (!bytes)
            return false;
        uint64_t older =
            (uint64_t)((const perfi_frame_chunk *)(const void *)bytes)->older *
            PERFI_UNIT;
        good &= take_chunk(p, bytes);
        if (older >= at) /* lists lead to smaller offsets */
            return false;
        at = older;
    }
    return good;
}

perf_err
perfi_frames_index(perfi_image *image, const perf_allocator *a)
{
    if (!image->frames)
        return PERF_OK;
    pass count = {.image = image, .text_at = sizeof other};
    take_chunks(&count);
    image->frame_texts_size = count.text_at;
    image->frame =
        a->alloc((image->frames + 1u) * sizeof *image->frame, a->ctx);
    image->function =
        a->alloc((image->functions + 1u) * sizeof *image->function, a->ctx);
    image->frame_texts = a->alloc(image->frame_texts_size, a->ctx);
    if (!image->frame || !image->function || !image->frame_texts)
        return PERF_ERR_NOMEM;
    memcpy(image->frame_texts, other, sizeof other);
    pass fill = {.image = image, .fills = true, .text_at = sizeof other};
    bool good = take_chunks(&fill);
    image->damaged += !good || fill.found < image->frames;
    return PERF_OK;
}

void
perfi_frames_free(perfi_image *image, const perf_allocator *a)
{
    a->free(image->frame, (image->frames + 1u) * sizeof *image->frame, a->ctx);
    a->free(image->function, (image->functions + 1u) * sizeof *image->function,
            a->ctx);
    a->free(image->frame_texts, image->frame_texts_size, a->ctx);
    image->frame = NULL;
    image->function = NULL;
    image->frame_texts = NULL;
}

perf_err
perf_reader_frame_get(const perf_reader *r, uint32_t number,
                      perf_reader_frame *out)
{
    if (!r || !out)
        return PERF_ERR_INVALID;
    const perfi_image *image = &r->image;
    if (!number || number > image->frames || !image->frame[number].function)
        return PERF_ERR_NOT_FOUND;
    const perfi_image_frame *f = &image->frame[number];
    const perfi_image_function *in = &image->function[f->function];
    *out = (perf_reader_frame){
        .caller = f->caller,
        .line = f->line,
        .function = image->frame_texts + in->name, /* 0: "(other)" */
        .file = image->frame_texts + in->file,
    };
    return PERF_OK;
}
