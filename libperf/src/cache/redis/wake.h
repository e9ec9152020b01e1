/* wake.h - a descriptor that one thread makes readable for another. */
#ifndef PERFI_WAKE_H
#define PERFI_WAKE_H
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/eventfd.h>
#endif

typedef struct perfi_wake {
    int read, write; /* on Linux one and the same */
} perfi_wake;

static inline bool
perfi_wake_open(perfi_wake *w)
{
#ifdef __linux__
    w->read = w->write = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return w->read >= 0;
#else
    int ends[2];
    if (pipe(ends))
        return false;
    for (int i = 0; i < 2; i++) {
        fcntl(ends[i], F_SETFD, FD_CLOEXEC);
        fcntl(ends[i], F_SETFL, O_NONBLOCK);
    }
    w->read = ends[0];
    w->write = ends[1];
    return true;
#endif
}

static inline void
perfi_wake_close(perfi_wake *w)
{
    close(w->read);
    if (w->write != w->read)
        close(w->write);
}

/** Make it readable. A full pipe is readable already. */
static inline void
perfi_wake_up(int write_end)
{
    uint64_t one = 1;
    ssize_t n = write(write_end, &one, sizeof one);
    (void)n;
}

/** Make it not readable. */
static inline void
perfi_wake_clear(const perfi_wake *w)
{
    uint64_t seen[64];
    while (read(w->read, seen, sizeof seen) == sizeof seen)
        ;
}

#endif
