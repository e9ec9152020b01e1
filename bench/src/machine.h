/* machine.h - what a time means nothing without. */
#ifndef PERFI_BENCH_MACHINE_H
#define PERFI_BENCH_MACHINE_H
#include <stdbool.h>

typedef struct perfi_machine {
    char cpu[128];     /* model name, or the architecture */
    long cpus;         /* that are online */
    char compiler[64]; /* "gcc 12.2.0" */
    bool optimised;    /* the library was built with -O */
    char commit[64];   /* $PERF_BENCH_COMMIT, else git's; "" if unknown */
} perfi_machine;

void perfi_machine_look(perfi_machine *out);

#endif
