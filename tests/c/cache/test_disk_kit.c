/* test_disk_kit.c - see test_disk_kit.h. */
#include "test_disk_kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
kit_path(char path[PT_PATH + 16])
{
    char folder[PT_PATH];
    pt_folder(folder);
    snprintf(path, PT_PATH + 16, "%s/cache", folder);
}

perf_err
kit_try(const char *path, uint64_t max_bytes, char *why, perf_disk **out)
{
    perf_disk_config config;
    perf_disk_config_init(&config, sizeof config);
    config.path = path;
    if (max_bytes)
        config.max_bytes = max_bytes;
    return perf_disk_open_blocking(&config, why, out);
}

perf_disk *
kit_open(const char *path, uint64_t max_bytes)
{
    char why[PERF_DISK_WHY_BYTES];
    perf_disk *disk = NULL;
    perf_err err = kit_try(path, max_bytes, why, &disk);
    if (err) {
        fprintf(stderr, "%s: %s (%s)\n", path, perf_strerror(err), why);
        abort();
    }
    return disk;
}

perf_disk *
kit_fresh(char path[PT_PATH + 16], uint64_t max_bytes)
{
    kit_path(path);
    return kit_open(path, max_bytes);
}

void
kit_digest(uint64_t key, uint8_t digest[16])
{
    perf_digest(&key, sizeof key, digest);
}

static void
fill(uint64_t key, uint64_t version, unsigned char *out, size_t size)
{
    pt_random random = {key * 31 + version};
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = pt_next(&random);
        memcpy(out + i, &word, size - i < 8 ? size - i : 8);
    }
}

/* The value: its version, then bytes that follow from it and the key. */
size_t
kit_make(const kit_entry *e, unsigned char *out)
{
    unsigned char labels[16], *value = malloc(8 + e->size);
    uint8_t count = 0;
    memcpy(value, &e->version, 8);
    fill(e->key, e->version, value + 8, e->size);
    for (int i = 0; i < 2; i++)
        if (e->labels[i])
            perf_entry_put_label(e->labels[i], labels + (size_t)8 * count++);
    perf_entry entry = {.created_ms = e->created_ms ? e->created_ms : KIT_NOW,
                        .fresh_ms = UINT64_MAX,
                        .expires_ms =
                            e->expires_ms ? e->expires_ms : UINT64_MAX,
                        .label_count = count,
                        .label = labels,
                        .key = (const void *)&e->key,
                        .key_size = sizeof e->key,
                        .value = value,
                        .value_size = 8 + e->size};
    size_t size = perf_entry_size(&entry);
    if (perf_entry_write(&entry, out, KIT_MAX))
        abort();
    free(value);
    return size;
}

perf_err
kit_put(perf_disk *disk, kit_entry e)
{
    unsigned char *bytes = malloc(KIT_MAX);
    uint8_t digest[16];
    size_t size = kit_make(&e, bytes);
    kit_digest(e.key, digest);
    perf_err err = perf_disk_put(disk, digest, bytes, size);
    free(bytes);
    return err;
}

static uint64_t
check_value(const unsigned char *bytes, size_t size, uint64_t key)
{
    perf_entry entry;
    uint64_t version = 0;
    if (perf_entry_read(bytes, size, &entry) || entry.key_size != 8 ||
        memcmp(entry.key, &key, 8) != 0 || entry.value_size < 8)
        abort();
    memcpy(&version, entry.value, 8);
    size_t rest = entry.value_size - 8;
    unsigned char *expected = malloc(rest + 1);
    fill(key, version, expected, rest);
    if (memcmp(expected, entry.value + 8, rest) != 0)
        abort();
    free(expected);
    return version;
}

uint64_t
kit_get_at(perf_disk *disk, uint64_t key, uint64_t now_ms)
{
    unsigned char *bytes = malloc(KIT_MAX);
    uint8_t digest[16];
    kit_digest(key, digest);
    int64_t size = perf_disk_get_at(disk, digest, &key, sizeof key, bytes,
                                    KIT_MAX, now_ms);
    if (size > KIT_MAX)
        abort();
    uint64_t version = size > 0 ? check_value(bytes, (size_t)size, key) : 0;
    free(bytes);
    return version;
}

uint64_t
kit_get(perf_disk *disk, uint64_t key)
{
    return kit_get_at(disk, key, KIT_NOW);
}

void
kit_flush(perf_disk *disk)
{
    perf_err err = perf_disk_flush_blocking(disk, 60000);
    if (err) {
        fprintf(stderr, "flush: %s\n", perf_strerror(err));
        abort();
    }
}

perf_disk_stats
kit_stats(perf_disk *disk)
{
    perf_disk_stats stats;
    if (perf_disk_stats_now(disk, &stats))
        abort();
    return stats;
}
