/* storage.c - the file that a segment lies in, or private memory where none can
 * be made; and the memory behind its chunks. */
#define _GNU_SOURCE
#include "../base/clock.h"
#include "../base/say.h"
#include "segment.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

uint64_t
perfi_random_bits(void)
{
    uint64_t bits = 0;
    if (getrandom(&bits, sizeof bits, GRND_NONBLOCK) != sizeof bits)
        bits = perfi_clock_ticks() * UINT64_C(0x9E3779B97F4A7C15) ^
               (uint64_t)getpid() << 32;
    return bits ? bits : 1;
}

/* A file that grew past RLIMIT_FSIZE would be a signal (SIGXFSZ). */
static uint64_t
within_file_limit(uint64_t bytes)
{
    struct rlimit limit;
    if (!getrlimit(RLIMIT_FSIZE, &limit) && limit.rlim_cur != RLIM_INFINITY &&
        limit.rlim_cur < bytes)
        bytes = limit.rlim_cur;
    return bytes / PERFI_CHUNK * PERFI_CHUNK;
}

static int
make_private(void)
{
#ifdef MFD_CLOEXEC
    return memfd_create("libperf", MFD_CLOEXEC);
#else
    char path[] = "/tmp/libperf-XXXXXX";
    int fd = mkstemp(path);
    if (fd >= 0) {
        unlink(path);
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
    return fd;
#endif
}

bool
perfi_storage_back(int fd, uint64_t offset, uint64_t bytes)
{
#ifdef __linux__
    do
        if (!fallocate(fd, 0, (off_t)offset, (off_t)bytes))
            return true;
    while (errno == EINTR); /* a profiler's timer, not a lack of room */
    if (errno != EOPNOTSUPP && errno != ENOSYS)
        return false;
#endif
    static const char zeros[4096];
    for (uint64_t at = 0; at < bytes; at += sizeof zeros)
        if (pwrite(fd, zeros, sizeof zeros, (off_t)(offset + at)) !=
            (ssize_t)sizeof zeros)
            return false;
    return true;
}

/* The file is made under another name, locked, and then renamed: no sweep ever
 * sees it without its lock. */
static int
make_file(int folder, const char *folder_path, char *path, uint64_t *bytes)
{
    char name[64], fresh[80];
    snprintf(name, sizeof name, "%d-%016llx.perf", (int)getpid(),
             (unsigned long long)perfi_random_bits());
    snprintf(fresh, sizeof fresh, "%s.new", name);
    int fd = openat(folder, fresh, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    *bytes = within_file_limit(*bytes);
    errno = EFBIG;
    if (*bytes < PERFI_MIN_BYTES || flock(fd, LOCK_EX | LOCK_NB) ||
        ftruncate(fd, (off_t)*bytes) ||
        !perfi_storage_back(fd, 0, PERFI_CHUNK) ||
        renameat(folder, fresh, folder, name)) {
        int why = errno;
        unlinkat(folder, fresh, 0);
        close(fd);
        errno = why;
        return -1;
    }
    snprintf(path, PERF_PATH_MAX_BYTES, "%.*s/%s", PATH_MAX - 80, folder_path,
             name);
    return fd;
}

int
perfi_storage_make(const char *dir, char *path, uint64_t *bytes)
{
    char folder_path[PERF_PATH_MAX_BYTES];
    path[0] = 0;
    if (!dir || !*dir)
        dir = getenv("LIBPERF_DIR");
    if (!dir || strcmp(dir, "off") != 0) {
        int folder = perfi_folder_open(dir, folder_path, sizeof folder_path);
        if (folder >= 0) {
            uint64_t wanted = *bytes;
            perfi_sweep(folder, (uint64_t)time(NULL));
            int fd = make_file(folder, folder_path, path, &wanted);
            int why = errno;
            close(folder);
            if (fd >= 0) {
                *bytes = wanted;
                return fd;
            }
            perfi_say_once(PERFI_SAY_FULL,
                           "cannot make a file in %s (%s): measurements stay "
                           "in this process's own memory; set LIBPERF_DIR to "
                           "a folder with room",
                           folder_path, strerror(why));
        }
    }
    *bytes = within_file_limit(*bytes);
    int fd = make_private();
    if (fd >= 0 && *bytes >= PERFI_MIN_BYTES && !ftruncate(fd, (off_t)*bytes) &&
        perfi_storage_back(fd, 0, PERFI_CHUNK))
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}
