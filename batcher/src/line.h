/* line.h - a straight line t = base + each * n through points, by least
 * squares, that neither falls nor begins below zero. */
#ifndef PERFI_BATCH_LINE_H
#define PERFI_BATCH_LINE_H
#include <libperf/base.h>

/* Zero it. */
typedef struct perfi_cost_line {
    double base, each;
    /* of 1, n, t, n * n, n * t, each point with its weight */
    double sum, sum_n, sum_t, sum_nn, sum_nt;
} perfi_cost_line;

/* One point more. @param kept  what is left of the weight of those before */
void perfi_cost_line_add(perfi_cost_line *line, double n, double t,
                         double kept);

/* base and each, out of at least one point. @param spread  when the variance of
 * n is less than so much of its mean square, the slope is what it was. */
void perfi_cost_line_solve(perfi_cost_line *line, double spread);

double perfi_cost_line_at(const perfi_cost_line *line, double n);

#endif
