/* memory.h - how much memory the process has. */
#ifndef PERFI_MEMORY_H
#define PERFI_MEMORY_H
#include <libperf/base.h>

/** Resident memory in bytes; 0 where the system does not say. One pread of an
 *  open file, about a microsecond. Threads: any. */
uint64_t perfi_memory_resident(void);
#endif
