/* line.c - the normal equations of two unknowns. */
#include "line.h"

void
perfi_cost_line_add(perfi_cost_line *line, double n, double t, double kept)
{
    line->sum = line->sum * kept + 1;
    line->sum_n = line->sum_n * kept + n;
    line->sum_t = line->sum_t * kept + t;
    line->sum_nn = line->sum_nn * kept + n * n;
    line->sum_nt = line->sum_nt * kept + n * t;
}

void
perfi_cost_line_solve(perfi_cost_line *line, double spread)
{
    double sum = line->sum, sum_n = line->sum_n, sum_t = line->sum_t;
    double det = sum * line->sum_nn - sum_n * sum_n;
    if (det <= spread * sum * line->sum_nn) {
        /* all alike: the slope cannot be seen, the level can */
        double base = (sum_t - line->each * sum_n) / sum;
        line->base = base > 0 ? base : 0;
        return;
    }
    line->each = (sum * line->sum_nt - sum_n * sum_t) / det;
    line->base = (sum_t - line->each * sum_n) / sum;
    if (line->each < 0) { /* noise: more do not take less */
        line->each = 0;
        line->base = sum_t / sum;
    } else if (line->base < 0) {
        line->base = 0;
        line->each = line->sum_nt / line->sum_nn;
    }
}

double
perfi_cost_line_at(const perfi_cost_line *line, double n)
{
    return line->base + line->each * n;
}
