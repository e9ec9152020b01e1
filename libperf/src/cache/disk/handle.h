/* handle.h - what the callers of disk.h hold. */
#ifndef PERFI_DISK_HANDLE_H
#define PERFI_DISK_HANDLE_H
#include "store.h"

#include <libperf/disk.h>

struct perf_disk {
    _Atomic(perfi_store *) store; /* release when it is opened, NULL: stopped */
    perfi_store *held;            /* freed with the disk */
    perf_disk_config config;
    char path[]; /* what config.path points to */
};

/** NULL: it was stopped, or it is another process's. */
static inline perfi_store *
perfi_disk_store(const perf_disk *disk)
{
    if (!disk)
        return NULL;
    perfi_store *s = atomic_load_explicit(&disk->store, memory_order_acquire);
    return s && s->forks ==
                       atomic_load_explicit(&perfi_forks, memory_order_relaxed)
               ? s
               : NULL;
}
#endif
