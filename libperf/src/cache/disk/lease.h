/* lease.h - who may compute something: one process at a time. */
#ifndef PERFI_DISK_LEASE_H
#define PERFI_DISK_LEASE_H
#include <stdbool.h>
#include <stdint.h>

/** As it lies in the database. */
typedef struct perfi_lease {
    uint64_t token; /* never 0 */
    uint64_t until_ms;
    uint64_t started;    /* when the process was, in the system's ticks */
    uint64_t name_space; /* in which `pid` is one */
    uint8_t boot[16];
    int64_t pid;
} perfi_lease;

/** Of this process. */
void perfi_lease_make(perfi_lease *out, uint64_t token, uint64_t until_ms);

/** Whether whoever has it may still be computing. Takes any bytes. */
bool perfi_lease_holds(const perfi_lease *lease, uint64_t now_ms);
#endif
