/* compressor_absent.c - built without zstd: values stay as they are. */
#include <libperf/compressor.h>

perf_err
perf_compressor_create(int level, const perf_allocator *allocator,
                       perf_compressor **out)
{
    (void)level, (void)allocator;
    if (out)
        *out = NULL;
    return PERF_ERR_UNSUPPORTED;
}

void
perf_compressor_destroy(perf_compressor *compressor)
{
    (void)compressor;
}

perf_err
perf_compressor_add(perf_compressor *compressor, const void *dictionary,
                    size_t size, uint32_t *id)
{
    (void)compressor, (void)dictionary, (void)size, (void)id;
    return PERF_ERR_UNSUPPORTED;
}

bool
perf_compressor_has(const perf_compressor *compressor, uint32_t id)
{
    return compressor && !id;
}

size_t
perf_compressor_bound(size_t size)
{
    return size;
}

perf_err
perf_compressor_pack(perf_compressor *compressor, uint32_t id,
                     const void *bytes, size_t size, void *out, size_t room,
                     size_t *written)
{
    (void)compressor, (void)id, (void)bytes, (void)size, (void)out;
    (void)room, (void)written;
    return PERF_ERR_UNSUPPORTED;
}

perf_err
perf_compressor_unpack(perf_compressor *compressor, uint32_t id,
                       const void *bytes, size_t size, void *out,
                       size_t raw_size)
{
    (void)compressor, (void)id, (void)bytes, (void)size, (void)out;
    (void)raw_size;
    return PERF_ERR_UNSUPPORTED;
}

perf_err
perf_compressor_train_blocking(const void *samples, const size_t *sizes,
                               size_t count, int level, void *out, size_t room,
                               size_t *written)
{
    (void)samples, (void)sizes, (void)count, (void)level, (void)out;
    (void)room, (void)written;
    return PERF_ERR_UNSUPPORTED;
}
