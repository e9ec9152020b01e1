/* folder.c - where segments lie: a folder of mode 0700, on memory if possible.
 *
 * /dev/shm and /tmp belong to everybody, so the folder is believed only if it
 * is a real directory of this user that nobody else may write to. */
#define _GNU_SOURCE
#include "segment.h"

#include "../base/say.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The bases to try, best first. LIBPERF_DIR stands alone: who names a folder
 * does not want another. */
static size_t
list_bases(const char *dir, const char *bases[3])
{
    if (dir && *dir) {
        bases[0] = dir;
        return 1;
    }
    size_t n = 0;
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    if (runtime && *runtime == '/')
        bases[n++] = runtime;
    bases[n++] = "/dev/shm";
    bases[n++] = "/tmp";
    return n;
}

static int
open_own_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (fd < 0)
        return -1;
    if (fstat(fd, &st) || st.st_uid != geteuid() || (st.st_mode & 077)) {
        close(fd);
        errno = EPERM;
        return -1;
    }
    return fd;
}

static bool
join(char *path, size_t size, const char *base, uint32_t uid)
{
    int n = snprintf(path, size, "%s/libperf-%u", base, uid);
    return n > 0 && (size_t)n < size;
}

int
perfi_folder_open(const char *dir, char *path, size_t size)
{
    const char *bases[3];
    size_t n = list_bases(dir, bases);
    int why = ENOENT;
    for (size_t i = 0; i < n; i++) {
        if (!join(path, size, bases[i], geteuid()))
            continue;
        if (dir && *dir)
            mkdir(dir, 0700); /* the user's own choice may not exist yet */
        mkdir(path, 0700);
        int fd = open_own_folder(path);
        if (fd >= 0 && !faccessat(fd, ".", W_OK, AT_EACCESS))
            return fd;
        why = errno;
        if (fd >= 0)
            close(fd);
    }
    perfi_say_once(PERFI_SAY_FOLDER,
                   "cannot write to %s/libperf-%u (%s): measurements stay in "
                   "this process's own memory, other processes cannot read "
                   "them; set LIBPERF_DIR to a folder you own",
                   bases[n - 1], geteuid(), strerror(why));
    path[0] = 0;
    return -1;
}

static bool
has_segments(const char *path)
{
    DIR *folder = opendir(path);
    bool found = false;
    if (!folder)
        return false;
    for (struct dirent *e; !found && (e = readdir(folder));)
        found = strstr(e->d_name, ".perf") != NULL;
    closedir(folder);
    return found;
}

perf_err
perf_segment_folder(uint32_t uid, char *out, size_t out_size)
{
    const char *bases[3];
    if (!out || !out_size)
        return PERF_ERR_INVALID;
    const char *dir = getenv("LIBPERF_DIR");
    size_t n = list_bases(dir, bases);
    for (size_t i = 0; i < n; i++) {
        if (!join(out, out_size, bases[i], uid))
            return PERF_ERR_RANGE;
        if (has_segments(out))
            return PERF_OK;
    }
    out[0] = 0;
    return PERF_ERR_NOT_FOUND;
}
