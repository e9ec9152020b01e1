/* compressor.c - zstd: contexts that are used again, dictionaries by id.
 *
 * Frames have no size and no id: the entry around them says that. They do have
 * their magic number: without one, zstd 1.5.4 reads up to three bytes beyond
 * the end of what it decompresses. */
#include <libperf/compressor.h>

#include <libperf/hash.h>
#include <stdatomic.h>
#include <string.h>

#define ZSTD_STATIC_LINKING_ONLY /* memory of our own */
#include <zstd.h>
#include <zstd_errors.h>

enum { POOL = 16, LEVEL = 5, LEVEL_MAX = 19 };

typedef struct dictionary {
    const struct dictionary *next; /* older; never changes */
    uint32_t id;
    uint32_t number; /* 1 for the first */
    const ZSTD_CDict *pack;
    const ZSTD_DDict *unpack;
    size_t bytes; /* of all this, in one block: see make_dictionary() */
} dictionary;

struct perf_compressor {
    const perf_allocator *allocator;
    int level;
    /* the newest; stored with release, loaded with acquire */
    _Atomic(dictionary *) dictionaries;
    /* contexts that nobody uses, taken and given back by exchange: acquire
     * when taken, release when given back */
    _Atomic(ZSTD_CCtx *) packers[POOL];
    _Atomic(ZSTD_DCtx *) unpackers[POOL];
};

/* ---- memory: zstd does not say how large what it frees is ---- */

enum { HEAD = 16 };

static void *
zstd_alloc(void *ctx, size_t size)
{
    const perf_allocator *allocator = ctx;
    if (size > SIZE_MAX - HEAD)
        return NULL;
    unsigned char *at = allocator->alloc(size + HEAD, allocator->ctx);
    if (!at)
        return NULL;
    *(size_t *)(void *)at = size + HEAD;
    return at + HEAD;
}

static void
zstd_free(void *ctx, void *memory)
{
    const perf_allocator *allocator = ctx;
    if (!memory)
        return;
    unsigned char *at = (unsigned char *)memory - HEAD;
    allocator->free(at, *(size_t *)(void *)at, allocator->ctx);
}

static ZSTD_customMem
memory_of(const perf_compressor *c)
{
    return (ZSTD_customMem){zstd_alloc, zstd_free,
                            (void *)(uintptr_t)c->allocator};
}

/* ---- contexts ---- */

static ZSTD_CCtx *
make_packer(perf_compressor *c)
{
    ZSTD_CCtx *made = ZSTD_createCCtx_advanced(memory_of(c));
    if (!made)
        return NULL;
    ZSTD_CCtx_setParameter(made, ZSTD_c_compressionLevel, c->level);
    ZSTD_CCtx_setParameter(made, ZSTD_c_contentSizeFlag, 0);
    ZSTD_CCtx_setParameter(made, ZSTD_c_dictIDFlag, 0);
    return made;
}

static ZSTD_CCtx *
take_packer(perf_compressor *c)
{
    for (int i = 0; i < POOL; i++)
        if (atomic_load_explicit(&c->packers[i], memory_order_relaxed)) {
            ZSTD_CCtx *taken = atomic_exchange_explicit(&c->packers[i], NULL,
                                                        memory_order_acquire);
            if (taken)
                return taken;
        }
    return make_packer(c);
}

static void
give_packer(perf_compressor *c, ZSTD_CCtx *packer)
{
    for (int i = 0; i < POOL; i++) {
        ZSTD_CCtx *none = NULL;
        if (atomic_compare_exchange_strong_explicit(
                &c->packers[i], &none, packer, memory_order_release,
                memory_order_relaxed))
            return;
    }
    ZSTD_freeCCtx(packer);
}

static ZSTD_DCtx *
take_unpacker(perf_compressor *c)
{
    for (int i = 0; i < POOL; i++)
        if (atomic_load_explicit(&c->unpackers[i], memory_order_relaxed)) {
            ZSTD_DCtx *taken = atomic_exchange_explicit(&c->unpackers[i], NULL,
                                                        memory_order_acquire);
            if (taken)
                return taken;
        }
    return ZSTD_createDCtx_advanced(memory_of(c));
}

static void
give_unpacker(perf_compressor *c, ZSTD_DCtx *unpacker)
{
    for (int i = 0; i < POOL; i++) {
        ZSTD_DCtx *none = NULL;
        if (atomic_compare_exchange_strong_explicit(
                &c->unpackers[i], &none, unpacker, memory_order_release,
                memory_order_relaxed))
            return;
    }
    ZSTD_freeDCtx(unpacker);
}

/* ---- dictionaries ---- */

static const dictionary *
find(const dictionary *d, uint32_t id)
{
    while (d && d->id != id)
        d = d->next;
    return d;
}

static const dictionary *
dictionary_of(const perf_compressor *c, uint32_t id)
{
    return find(atomic_load_explicit(&c->dictionaries, memory_order_acquire),
                id);
}

bool
perf_compressor_has(const perf_compressor *compressor, uint32_t id)
{
    return compressor && (!id || dictionary_of(compressor, id));
}

static uint32_t
id_of(const void *bytes, size_t size)
{
    uint64_t hash = perf_hash(bytes, size);
    uint32_t id = (uint32_t)(hash >> 32 ^ hash);
    return id ? id : 1;
}

static void
free_dictionary(const perf_compressor *c, dictionary *d)
{
    c->allocator->free(d, d->bytes, c->allocator->ctx);
}

static size_t
aligned(size_t size)
{
    return (size + 63) & ~(size_t)63;
}

/* Both of zstd's forms lie behind our own, in memory that is had before:
 * ZSTD_createCDict_advanced() of 1.5.4 crashes when there is none. */
static perf_err
make_dictionary(const perf_compressor *c, const void *bytes, size_t size,
                dictionary **out)
{
    ZSTD_compressionParameters how =
        ZSTD_getCParams(c->level, ZSTD_CONTENTSIZE_UNKNOWN, size);
    size_t head = aligned(sizeof(dictionary));
    size_t pack =
        aligned(ZSTD_estimateCDictSize_advanced(size, how, ZSTD_dlm_byCopy));
    size_t unpack = aligned(ZSTD_estimateDDictSize(size, ZSTD_dlm_byCopy));
    dictionary *d =
        c->allocator->alloc(head + pack + unpack, c->allocator->ctx);
    if (!d)
        return PERF_ERR_NOMEM;
    unsigned char *at = (unsigned char *)d + head;
    d->bytes = head + pack + unpack;
    d->id = id_of(bytes, size);
    d->pack = ZSTD_initStaticCDict(at, pack, bytes, size, ZSTD_dlm_byCopy,
                                   ZSTD_dct_fullDict, how);
    d->unpack = ZSTD_initStaticDDict(at + pack, unpack, bytes, size,
                                     ZSTD_dlm_byCopy, ZSTD_dct_fullDict);
    if (!d->pack || !d->unpack) {
        free_dictionary(c, d);
        return PERF_ERR_CORRUPT;
    }
    *out = d;
    return PERF_OK;
}

/* Put it in front of the others, unless another thread was faster. */
static perf_err
publish(perf_compressor *c, dictionary *d)
{
    dictionary *first =
        atomic_load_explicit(&c->dictionaries, memory_order_acquire);
    do {
        bool full = first && first->number == PERF_DICTIONARIES_MAX;
        if (find(first, d->id) || full) {
            perf_err err = find(first, d->id) ? PERF_OK : PERF_ERR_FULL;
            free_dictionary(c, d);
            return err;
        }
        d->next = first;
        d->number = first ? first->number + 1 : 1;
    } while (!atomic_compare_exchange_weak_explicit(&c->dictionaries, &first, d,
                                                    memory_order_release,
                                                    memory_order_acquire));
    return PERF_OK;
}

perf_err
perf_compressor_add(perf_compressor *compressor, const void *bytes, size_t size,
                    uint32_t *id)
{
    if (!compressor || !bytes || !id)
        return PERF_ERR_INVALID;
    if (!size || size > PERF_DICTIONARY_MAX_BYTES)
        return PERF_ERR_RANGE;
    *id = id_of(bytes, size);
    if (perf_compressor_has(compressor, *id))
        return PERF_OK;
    dictionary *made;
    perf_err err = make_dictionary(compressor, bytes, size, &made);
    return err ? err : publish(compressor, made);
}

/* ---- values ---- */

size_t
perf_compressor_bound(size_t size)
{
    return ZSTD_compressBound(size);
}

perf_err
perf_compressor_pack(perf_compressor *compressor, uint32_t id,
                     const void *bytes, size_t size, void *out, size_t room,
                     size_t *written)
{
    if (!compressor || (size && !bytes) || (room && !out) || !written)
        return PERF_ERR_INVALID;
    const dictionary *d = id ? dictionary_of(compressor, id) : NULL;
    if (id && !d)
        return PERF_ERR_NOT_FOUND;
    ZSTD_CCtx *packer = take_packer(compressor);
    if (!packer)
        return PERF_ERR_NOMEM;
    size_t result = ZSTD_CCtx_refCDict(packer, d ? d->pack : NULL);
    if (!ZSTD_isError(result))
        result = ZSTD_compress2(packer, out, room, bytes, size);
    if (ZSTD_isError(result))
        ZSTD_CCtx_reset(packer, ZSTD_reset_session_only);
    give_packer(compressor, packer);
    if (ZSTD_getErrorCode(result) == ZSTD_error_dstSize_tooSmall)
        return PERF_ERR_FULL;
    if (ZSTD_isError(result))
        return PERF_ERR_NOMEM; /* nothing else can go wrong here */
    *written = result;
    return PERF_OK;
}

/* One frame of the present format, and nothing behind it: what zstd would read
 * beside that (old formats, frames that are skipped) was not written here. */
static bool
is_one_frame(const unsigned char *bytes, size_t size)
{
    static const unsigned char magic[4] = {0x28, 0xB5, 0x2F, 0xFD};
    return size > sizeof magic && !memcmp(bytes, magic, sizeof magic) &&
           ZSTD_findFrameCompressedSize(bytes, size) == size;
}

perf_err
perf_compressor_unpack(perf_compressor *compressor, uint32_t id,
                       const void *bytes, size_t size, void *out,
                       size_t raw_size)
{
    if (!compressor || (size && !bytes) || (raw_size && !out))
        return PERF_ERR_INVALID;
    const dictionary *d = id ? dictionary_of(compressor, id) : NULL;
    if (id && !d)
        return PERF_ERR_NOT_FOUND;
    if (!is_one_frame(bytes, size))
        return PERF_ERR_CORRUPT;
    ZSTD_DCtx *unpacker = take_unpacker(compressor);
    if (!unpacker)
        return PERF_ERR_NOMEM;
    size_t result = ZSTD_DCtx_refDDict(unpacker, d ? d->unpack : NULL);
    if (!ZSTD_isError(result))
        result = ZSTD_decompressDCtx(unpacker, out, raw_size, bytes, size);
    give_unpacker(compressor, unpacker);
    if (ZSTD_getErrorCode(result) == ZSTD_error_memory_allocation)
        return PERF_ERR_NOMEM;
    return result == raw_size ? PERF_OK : PERF_ERR_CORRUPT;
}

/* ---- life ---- */

perf_err
perf_compressor_create(int level, const perf_allocator *allocator,
                       perf_compressor **out)
{
    if (!out)
        return PERF_ERR_INVALID;
    *out = NULL;
    if (level < 0 || level > LEVEL_MAX)
        return PERF_ERR_RANGE;
    if (!allocator)
        allocator = perf_allocator_libc();
    perf_compressor *c = allocator->alloc(sizeof *c, allocator->ctx);
    if (!c)
        return PERF_ERR_NOMEM;
    c->allocator = allocator;
    c->level = level ? level : LEVEL;
    *out = c;
    return PERF_OK;
}

void
perf_compressor_destroy(perf_compressor *compressor)
{
    if (!compressor)
        return;
    /* relaxed: nobody else is here any more */
    for (int i = 0; i < POOL; i++) {
        ZSTD_freeCCtx(atomic_load_explicit(&compressor->packers[i],
                                           memory_order_relaxed));
        ZSTD_freeDCtx(atomic_load_explicit(&compressor->unpackers[i],
                                           memory_order_relaxed));
    }
    dictionary *d =
        atomic_load_explicit(&compressor->dictionaries, memory_order_relaxed);
    while (d) {
        dictionary *next = (dictionary *)(uintptr_t)d->next;
        free_dictionary(compressor, d);
        d = next;
    }
    compressor->allocator->free(compressor, sizeof *compressor,
                                compressor->allocator->ctx);
}
