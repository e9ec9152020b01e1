/* sweep.c - removes what dead processes left behind, oldest first.
 *
 * A living writer holds flock(LOCK_EX) on its file; the kernel gives it back
 * however the process ends. Process ids would not do: containers that share
 * a folder do not share process ids. */
#define _GNU_SOURCE
#include "../base/text.h"
#include "segment.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    KEEP_FILES = 32,       /* of dead processes, the newest */
    KEEP_S = 24 * 60 * 60, /* and no older than a day */
    UNFINISHED_S = 60,     /* a start that never came to its rename */
};
#define KEEP_BYTES (UINT64_C(64) << 20)

typedef struct leftover {
    char name[256];
    uint64_t age_s;
    uint64_t bytes;
} leftover;

static uint64_t
age_of(const struct stat *st, uint64_t now_wall_s)
{
    uint64_t mtime = (uint64_t)st->st_mtim.tv_sec;
    return now_wall_s > mtime ? now_wall_s - mtime : 0;
}

/* Is it ours, a plain file, at least that old, and its writer gone? A file that
 * is just being made is not even tried: its maker needs the lock. */
static bool
is_dead(int folder, const char *name, uint64_t now_wall_s, uint64_t least_age_s,
        struct stat *st)
{
    int fd =
        openat(folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    bool dead =
        !fstat(fd, st) && S_ISREG(st->st_mode) && st->st_uid == geteuid() &&
        age_of(st, now_wall_s) >= least_age_s && !flock(fd, LOCK_EX | LOCK_NB);
    close(fd); /* gives the lock back */
    return dead;
}

static int
youngest_first(const void *a, const void *b)
{
    uint64_t x = ((const leftover *)a)->age_s, y = ((const leftover *)b)->age_s;
    return x < y ? -1 : x > y;
}

static leftover *
list_dead(int folder, uint64_t now_wall_s, size_t *count)
{
    leftover *list = NULL;
    size_t n = 0, room = 0;
    int copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = copy >= 0 ? fdopendir(copy) : NULL;
    if (!entries) {
        if (copy >= 0)
            close(copy);
        return NULL;
    }
    struct stat st;
    for (struct dirent *e; (e = readdir(entries));) {
        bool started = perfi_text_ends_in(e->d_name, ".perf");
        if (e->d_name[0] == '.' ||
            !(started || perfi_text_ends_in(e->d_name, ".perf.new")) ||
            strlen(e->d_name) >= sizeof list->name ||
            !is_dead(folder, e->d_name, now_wall_s, started ? 0 : UNFINISHED_S,
                     &st))
            continue;
        if (!started) { /* never to be kept */
            unlinkat(folder, e->d_name, 0);
            continue;
        }
        if (n == room) {
            room = room ? room * 2 : 64;
            leftover *more = realloc(list, room * sizeof *list);
            if (!more)
                break;
            list = more;
        }
        strcpy(list[n].name, e->d_name);
        list[n].age_s = age_of(&st, now_wall_s);
        list[n++].bytes = (uint64_t)st.st_blocks * 512;
    }
    closedir(entries);
    *count = n;
    return list;
}

void
perfi_sweep(int folder, uint64_t now_wall_s)
{
    size_t n = 0;
    leftover *list = list_dead(folder, now_wall_s, &n);
    if (!list)
        return;
    qsort(list, n, sizeof *list, youngest_first);
    uint64_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        bytes += list[i].bytes;
        if (i >= KEEP_FILES || list[i].age_s > KEEP_S || bytes > KEEP_BYTES)
            unlinkat(folder, list[i].name, 0);
    }
    free(list);
}
