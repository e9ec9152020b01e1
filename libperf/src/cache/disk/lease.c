/* lease.c - a lease names its process so that others can tell whether it still
 * lives: a process id alone may be somebody else's by now. */
#define _GNU_SOURCE
#include "lease.h"

#include "folder.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Nobody computes for longer; a lease that says so is damaged, or the clock
 * was set. */
enum { LONGEST_MS = 24 * 3600 * 1000 };

/* Field 22 of /proc/<pid>/stat; 0: there is no such process. */
static uint64_t
started(int64_t pid)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    /* the second field is a name that may hold anything */
    char *at = strrchr(text, ')');
    if (!at || at[1] != ' ' || at[2] == 'Z')
        return 0;
    for (int field = 2; field < 22 && at; field++)
        at = strchr(at + 1, ' ');
    return at ? strtoull(at, NULL, 10) : 0;
}

static uint64_t
name_space(void)
{
    struct stat st;
    return stat("/proc/self/ns/pid", &st) ? 0 : (uint64_t)st.st_ino;
}

void
perfi_lease_make(perfi_lease *out, uint64_t token, uint64_t until_ms)
{
    *out = (perfi_lease){.token = token,
                         .until_ms = until_ms,
                         .pid = getpid(),
                         .name_space = name_space()};
    out->started = started(out->pid);
    perfi_boot_id(out->boot);
}

bool
perfi_lease_holds(const perfi_lease *lease, uint64_t now_ms)
{
    uint8_t boot[16];
    if (now_ms >= lease->until_ms || lease->until_ms - now_ms > LONGEST_MS)
        return false;
    perfi_boot_id(boot);
    if (memcmp(boot, lease->boot, sizeof boot) != 0)
        return false;
    /* of a process that cannot be seen from here only the time is known */
    return lease->name_space != name_space() ||
           started(lease->pid) == lease->started;
}
