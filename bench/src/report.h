/* report.h - results as a table for people and as JSON lines for programs. */
#ifndef PERFI_BENCH_REPORT_H
#define PERFI_BENCH_REPORT_H
#include "machine.h"

#include <libperf/bench.h>
#include <stdio.h>

typedef struct perfi_report {
    const char *program;
    char command[1024]; /* as it was typed, cut */
    perfi_machine machine;
    int width; /* of the longest name */
    FILE *table;
    FILE *json;  /* NULL: not wanted */
    bool failed; /* a case did */
} perfi_report;

/** The lines above the results. */
void perfi_report_start(perfi_report *report);

/** A perf_bench_result_fn; `report` is a perfi_report. */
void perfi_report_result(const perf_bench_result *result, void *report);

#endif
