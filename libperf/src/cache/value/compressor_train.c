/* compressor_train.c - a dictionary of what samples have in common. */
#include <libperf/compressor.h>

#define ZDICT_STATIC_LINKING_ONLY /* the trainer of which one can say how */
#include <zdict.h>

enum { LEVEL = 5, FEWEST = 8 };

perf_err
perf_compressor_train_blocking(const void *samples, const size_t *sizes,
                               size_t count, int level, void *out, size_t room,
                               size_t *written)
{
    if (!samples || !sizes || !out || !written)
        return PERF_ERR_INVALID;
    if (count < FEWEST || count > UINT32_MAX)
        return PERF_ERR_NOT_FOUND;
    ZDICT_fastCover_params_t how = {
        .d = 8,
        .steps = 4,
        .zParams.compressionLevel = level > 0 ? level : LEVEL,
    };
    size_t size = ZDICT_optimizeTrainFromBuffer_fastCover(
        out, room, samples, sizes, (unsigned)count, &how);
    if (ZDICT_isError(size))
        return PERF_ERR_NOT_FOUND;
    *written = size;
    return PERF_OK;
}
