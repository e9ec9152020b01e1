/* folder.c - opens the folder of a disk tier, and believes it only if nobody
 * else can write there. */
#define _GNU_SOURCE
#include "folder.h"

#include "../../segment/reader.h"
#include "../../segment/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <time.h>
#include <unistd.h>

static const char *const FILES[] = {"data.mdb", "lock.mdb", "state"};
enum { FILE_COUNT = sizeof FILES / sizeof *FILES };

void
perfi_disk_why(char *why, const char *format, ...)
{
    if (!why)
        return;
    int saved = errno;
    va_list values;
    va_start(values, format);
    vsnprintf(why, PERF_DISK_WHY_BYTES, format, values);
    va_end(values);
    errno = saved;
}

bool
perfi_is_remote(uint64_t magic)
{
    static const uint32_t remote[] = {
        0x6969,     /* NFS */
        0x517B,     /* SMB */
        0xFF534D42, /* CIFS */
        0xFE534D42, /* SMB2 */
        0x01021997, /* 9p */
        0x65735546, /* FUSE: may be anything, sshfs for one */
        0x00C36400, /* Ceph */
        0x0BD00BD0, /* Lustre */
        0x5346414F, /* AFS */
        0x73757245, /* Coda */
        0x564C,     /* NCP */
        0x7461636F, /* OCFS2 */
        0x01161970, /* GFS2 */
        0x47504653, /* GPFS */
        0x786F4256, /* a virtual machine's shared folder */
    };
    for (size_t i = 0; i < sizeof remote / sizeof *remote; i++)
        if ((uint32_t)magic == remote[i])
            return true;
    return false;
}

/* ---- the folder ---- */

static perf_err
check_folder(int fd, const char *path, char *why)
{
    struct stat st;
    struct statfs fs;
    if (fstat(fd, &st) || fstatfs(fd, &fs)) {
        perfi_disk_why(why, "%s: %s", path, strerror(errno));
        return perfi_error_of(errno);
    }
    if (st.st_uid != geteuid()) {
        perfi_disk_why(why, "%s belongs to another user (%u)", path,
                       (unsigned)st.st_uid);
        return PERF_ERR_DENIED;
    }
    if (st.st_mode & 022) {
        perfi_disk_why(why, "others may write to %s: chmod 700 it", path);
        return PERF_ERR_DENIED;
    }
    if (perfi_is_remote((uint64_t)fs.f_type)) {
        perfi_disk_why(why,
                       "%s lies on a network file system, whose locks and "
                       "mappings are not this machine's: use a local folder",
                       path);
        return PERF_ERR_UNSUPPORTED;
    }
    if (faccessat(fd, ".", W_OK | X_OK, AT_EACCESS)) {
        perfi_disk_why(why, "%s is read-only (%s)", path, strerror(errno));
        return PERF_ERR_DENIED;
    }
    return PERF_OK;
}

perf_err
perfi_disk_folder_open(const char *path, char *why, int *out)
{
    if (mkdir(path, 0700) && errno != EEXIST) {
        int cause = errno;
        perfi_disk_why(why, "cannot make %s: %s", path, strerror(cause));
        return cause == EROFS ? PERF_ERR_DENIED : perfi_error_of(cause);
    }
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        int cause = errno;
        struct stat st;
        bool link = !lstat(path, &st) && S_ISLNK(st.st_mode);
        perfi_disk_why(why,
                       link ? "%s is a symbolic link, and is not "
                              "followed: name the folder itself (%s)"
                            : "cannot open %s: %s",
                       path, strerror(cause));
        return link ? PERF_ERR_DENIED : perfi_error_of(cause);
    }
    perf_err err = check_folder(fd, path, why);
    if (err) {
        close(fd);
        return err;
    }
    *out = fd;
    return PERF_OK;
}

void
perfi_disk_folder_path(int folder, char out[PERFI_PATH_BYTES])
{
    snprintf(out, PERFI_PATH_BYTES, "/proc/self/fd/%d", folder);
}

perf_err
perfi_disk_folder_lock(int folder, uint64_t wait_ms)
{
    for (uint64_t waited = 0;; waited++) {
        if (!flock(folder, LOCK_EX | LOCK_NB))
            return PERF_OK;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return perfi_error_of(errno);
        if (waited >= wait_ms)
            return PERF_ERR_TIMEOUT;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

void
perfi_disk_folder_unlock(int folder)
{
    flock(folder, LOCK_UN);
}

/* ---- files ---- */

perf_err
perfi_disk_file_open(int folder, const char *name, char *why, int *out)
{
    int fd =
        openat(folder, name,
               O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
    struct stat st;
    if (fd < 0 || fstat(fd, &st)) {
        int cause = errno;
        perfi_disk_why(why, "cannot open the file %s in the folder: %s", name,
                       strerror(cause));
        if (fd >= 0)
            close(fd);
        return cause == ELOOP || cause == EROFS ? PERF_ERR_DENIED
                                                : perfi_error_of(cause);
    }
    if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_nlink != 1) {
        perfi_disk_why(why, "%s in the folder is not a file of this user's",
                       name);
        close(fd);
        return PERF_ERR_DENIED;
    }
    if (st.st_mode & 077)
        fchmod(fd, 0600);
    *out = fd;
    return PERF_OK;
}

perf_err
perfi_disk_file_reserve(int fd, uint64_t bytes)
{
    struct stat st;
    if (fstat(fd, &st))
        return perfi_error_of(errno);
    /* only what is missing: where there is no fallocate() zeros are written */
    uint64_t have = (uint64_t)st.st_size;
    if (have >= bytes && (uint64_t)st.st_blocks * 512 >= bytes)
        return PERF_OK;
    uint64_t from = (uint64_t)st.st_blocks * 512 >= have ? have : 0;
    if (from >= bytes)
        from = 0;
#ifndef __linux__
    from = have;
#endif
    if (from < bytes && !perfi_storage_back(fd, from, bytes - from))
        return perfi_error_of(errno);
    return PERF_OK;
}

static void
remove_damaged(int aside)
{
    for (int i = 0; i < FILE_COUNT; i++)
        unlinkat(aside, FILES[i], 0);
}

perf_err
perfi_disk_set_aside(int folder)
{
    mkdirat(folder, "damaged", 0700);
    int aside = openat(folder, "damaged",
                       O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (aside < 0)
        return perfi_error_of(errno);
    remove_damaged(aside);
    perf_err err = PERF_OK;
    for (int i = 0; i < FILE_COUNT && !err; i++)
        if (renameat(folder, FILES[i], aside, FILES[i]) && errno != ENOENT)
            err = perfi_error_of(errno);
    close(aside);
    return err;
}

/* ---- the boot ---- */

void
perfi_boot_id(uint8_t out[16])
{
    char text[40] = "";
    memset(out, 0, 16);
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    int digits = 0;
    for (ssize_t i = 0; i < n && digits < 32; i++) {
        unsigned digit;
        if (sscanf((char[]){text[i], 0}, "%1x", &digit) != 1)
            continue;
        out[digits / 2] =
            (uint8_t)(out[digits / 2] | digit << (digits & 1 ? 0 : 4));
        digits++;
    }
}
