/* fuzz_disk_pages.c - proves that whatever a database file holds, looking
 * through its pages ends, with a yes or a no, and reads nothing outside of
 * them. That what passes can be used is tests/c/cache/test_disk_pages.c. */
#define _GNU_SOURCE
#include "cache/disk/pages.h"

#include <fcntl.h>
#include <libperf/disk.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static unsigned char *good;
static size_t good_size;
static int file;

static void
expect(bool condition)
{
    if (!condition)
        abort();
}

static void
write_entries(const char *path)
{
    perf_disk_config config;
    perf_disk *disk;
    static char value[9000];
    perf_disk_config_init(&config, sizeof config);
    config.path = path;
    config.max_bytes = 1 << 20;
    expect(!perf_disk_open_blocking(&config, NULL, &disk));
    for (uint8_t i = 1; i < 200; i++) {
        uint8_t digest[16] = {i};
        perf_disk_put(disk, digest, value, i * 41u);
        if (i % 3 == 0)
            perf_disk_delete(disk, digest);
        if (i % 20 == 0)
            perf_disk_flush_blocking(disk, 60000);
    }
    perf_disk_close_blocking(disk);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    char path[] = "/tmp/libperf-fuzz-XXXXXX", name[64];
    struct stat st;
    expect(mkdtemp(path) != NULL);
    write_entries(path);
    snprintf(name, sizeof name, "%s/data.mdb", path);
    int fd = open(name, O_RDONLY);
    expect(fd >= 0 && !fstat(fd, &st));
    good_size = (size_t)st.st_size;
    good = malloc(good_size);
    expect(read(fd, good, good_size) == st.st_size);
    close(fd);
    const char *files[] = {"data.mdb", "lock.mdb", "state"};
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s/%s", path, files[i]);
        unlink(name);
    }
    rmdir(path);
    file = memfd_create("fuzz", MFD_CLOEXEC);
    expect(file >= 0);
    return 0;
}

static void
check(void)
{
    perf_err err = perfi_pages_check(file, perf_allocator_libc());
    expect(err == PERF_OK || err == PERF_ERR_CORRUPT);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    if (data[0] & 1) {
        expect(!ftruncate(file, 0));
        expect(pwrite(file, data + 1, size - 1, 0) == (ssize_t)size - 1);
        check();
        return 0;
    }
    expect(!ftruncate(file, (off_t)good_size));
    expect(pwrite(file, good, good_size, 0) == (ssize_t)good_size);
    check();
    /* each patch: 3 bytes say where, 1 how long, then the bytes */
    for (size_t at = 1; at + 5 <= size;) {
        size_t to = ((size_t)data[at] | (size_t)data[at + 1] << 8 |
                     (size_t)data[at + 2] << 16) %
                    good_size;
        size_t length = (data[at + 3] & 7) + 1u;
        if (data[at + 3] & 64) /* heads of pages */
            to = to / 4096 * 4096 + to % 128;
        at += 4;
        length = length < size - at ? length : size - at;
        expect(pwrite(file, data + at, length, (off_t)to) == (ssize_t)length);
        at += length;
    }
    check();
    return 0;
}
