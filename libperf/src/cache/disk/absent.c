/* disk_absent.c - built without LMDB: every call says so. */
#include <libperf/disk.h>
#include <stdio.h>

void
perf_disk_config_init(perf_disk_config *config, uint32_t size)
{
    if (config && size >= sizeof *config)
        *config = (perf_disk_config){.size = size,
                                     .version = PERF_DISK_CONFIG_VERSION,
                                     .max_bytes = UINT64_C(1) << 30,
                                     .queue_entries = 4096};
}

perf_err
perf_disk_open_blocking(const perf_disk_config *config, char *why,
                        perf_disk **out)
{
    (void)config;
    if (why)
        snprintf(why, PERF_DISK_WHY_BYTES,
                 "libperf was built without LMDB (install liblmdb-dev, then "
                 "build it again)");
    if (!out)
        return PERF_ERR_INVALID;
    *out = NULL;
    return PERF_ERR_UNSUPPORTED;
}

#define ABSENT(type, name, value, ...)                                         \
    type name(__VA_ARGS__)                                                     \
    {                                                                          \
        return value;                                                          \
    }

#pragma GCC diagnostic ignored "-Wunused-parameter"
// clang-format off
ABSENT(perf_err, perf_disk_reopen_blocking, PERF_ERR_UNSUPPORTED,
       perf_disk *disk)
ABSENT(int64_t, perf_disk_get_at, PERF_ERR_UNSUPPORTED, perf_disk *disk,
       const uint8_t *digest, const void *key, size_t key_size, void *out,
       size_t capacity, uint64_t now_ms)
ABSENT(int64_t, perf_disk_get, PERF_ERR_UNSUPPORTED, perf_disk *disk,
       const uint8_t *digest, const void *key, size_t key_size, void *out,
       size_t capacity)
ABSENT(perf_err, perf_disk_put, PERF_ERR_UNSUPPORTED, perf_disk *disk,
       const uint8_t *digest, const void *entry, size_t size)
ABSENT(perf_err, perf_disk_delete, PERF_ERR_UNSUPPORTED, perf_disk *disk,
       const uint8_t *digest)
ABSENT(perf_err, perf_disk_put_blocking, PERF_ERR_UNSUPPORTED, perf_disk *disk,
       const uint8_t *digest, const void *entry, size_t size,
       uint64_t timeout_ms)
ABSENT(perf_err, perf_disk_flush_blocking, PERF_ERR_UNSUPPORTED,
       perf_disk *disk, uint64_t timeout_ms)
ABSENT(int64_t, perf_disk_next_blocking, PERF_ERR_UNSUPPORTED, perf_disk *disk,
       uint8_t *digest, void *out, size_t capacity, uint64_t now_ms)
ABSENT(perf_err, perf_disk_invalidate_blocking, PERF_ERR_UNSUPPORTED,
       perf_disk *disk, const uint64_t *labels, size_t count, uint64_t now_ms)
ABSENT(uint64_t, perf_disk_label_ms, 0, const perf_disk *disk, uint64_t label)
ABSENT(const uint64_t *, perf_disk_change_word, NULL, const perf_disk *disk)
ABSENT(int64_t, perf_disk_changes, PERF_ERR_UNSUPPORTED, perf_disk *disk,
       perf_disk_cursor *cursor, uint8_t *out, size_t capacity)
ABSENT(perf_err, perf_disk_lease_blocking, PERF_ERR_UNSUPPORTED,
       perf_disk *disk, const uint8_t *digest, uint64_t now_ms,
       uint64_t for_ms, uint64_t timeout_ms, uint64_t *token)
ABSENT(perf_err, perf_disk_release, PERF_ERR_UNSUPPORTED, perf_disk *disk,
       const uint8_t *digest, uint64_t token)
ABSENT(perf_err, perf_disk_put_dictionary_blocking, PERF_ERR_UNSUPPORTED,
       perf_disk *disk, uint32_t id, const void *bytes, size_t size,
       uint64_t timeout_ms)
ABSENT(int64_t, perf_disk_dictionary, PERF_ERR_UNSUPPORTED, perf_disk *disk,
       uint32_t id, void *out, size_t capacity)
ABSENT(perf_err, perf_disk_stats_now, PERF_ERR_UNSUPPORTED,
       const perf_disk *disk, perf_disk_stats *out)
// clang-format on

void
perf_disk_stop_blocking(perf_disk *disk)
{
    (void)disk;
}

void
perf_disk_close_blocking(perf_disk *disk)
{
    (void)disk;
}
