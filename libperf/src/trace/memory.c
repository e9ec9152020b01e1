/* memory.c - resident memory, from a file of /proc that stays open. */
#include "memory.h"

#include "../segment/segment.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* `process` beside the descriptor: /proc/self is who opened it, so a forked
 * child needs one of its own. -1: not open. Packed into one word, so that two
 * threads that open it at once leave one of the two. Release with acquire: who
 * sees the number sees the file opened. */
static _Atomic int64_t opened = -1;

static int
descriptor(void)
{
    int64_t now = atomic_load_explicit(&opened, memory_order_acquire);
    if (now >= 0 && (uint32_t)(now >> 32) == perfi_segment_state.process)
        return (int)(now & INT32_MAX);
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    int64_t mine = (int64_t)perfi_segment_state.process << 32 | fd;
    if (atomic_compare_exchange_strong_explicit(
            &opened, &now, mine, memory_order_acq_rel, memory_order_acquire)) {
        if (now >= 0) /* inherited over a fork */
            close((int)(now & INT32_MAX));
        return fd;
    }
    close(fd); /* another thread was first */
    return (int)(now & INT32_MAX);
}

uint64_t
perfi_memory_resident(void)
{
    char text[64];
    unsigned long long total, resident;
    int fd = descriptor();
    ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof text - 1, 0);
    if (n <= 0)
        return 0;
    text[n] = 0;
    if (sscanf(text, "%llu %llu", &total, &resident) != 2)
        return 0;
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}
