/* histogram.c - the histogram as an object of its own. */
#include "cases.h"

#include <math.h>
#include <stdlib.h>

typedef struct bench_data {
    uint64_t *values;
    perf_histogram *into, *from;
} bench_data;

static uint64_t
next_random(uint64_t *state)
{
    /* xorshift64* (Vigna, 2016) */
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(0x2545F4914F6CDD1D);
}

uint64_t *
make_values(void)
{
    uint64_t *values = malloc(VALUES * sizeof *values);
    uint64_t random = 42;
    for (int i = 0; values && i < VALUES; i++) {
        /* Box and Muller */
        double u = (double)(next_random(&random) >> 11) * 0x1p-53;
        double v = (double)(next_random(&random) >> 11) * 0x1p-53;
        double normal = sqrt(-2 * log(1 - u)) * cos(6.283185307179586 * v);
        values[i] = (uint64_t)(2e6 * exp(1.5 * normal));
    }
    return values;
}

static void
tear_down(perf_bench_state *state)
{
    bench_data *d = state->data;
    if (!d)
        return;
    perf_histogram_destroy(d->into);
    perf_histogram_destroy(d->from);
    free(d->values);
    free(d);
}

/* `from` holds the values; `into` is empty. */
static void
set_up(perf_bench_state *state)
{
    bench_data *d = state->data = calloc(1, sizeof *d);
    if (!d || !(d->values = make_values()) ||
        perf_histogram_create(NULL, &d->into) ||
        perf_histogram_create(NULL, &d->from)) {
        perf_bench_fail(state, "out of memory");
        return;
    }
    perf_histogram_record_many(d->from, d->values, VALUES);
}

static void
record(perf_bench_state *state)
{
    const bench_data *d = state->data;
    perf_histogram *into = d->into;
    const uint64_t *values = d->values;
    for (uint64_t i = 0; i < state->iterations; i++)
        perf_histogram_record(into, values[i % VALUES]);
}

/* An operation is one value, not one call. */
static void
record_many(perf_bench_state *state)
{
    const bench_data *d = state->data;
    uint64_t left = state->iterations;
    while (left) {
        size_t n = left < VALUES ? (size_t)left : VALUES;
        perf_histogram_record_many(d->into, d->values, n);
        left -= n;
    }
}

static void
quantile(perf_bench_state *state)
{
    const bench_data *d = state->data;
    for (uint64_t i = 0; i < state->iterations; i++) {
        uint64_t p99 = perf_histogram_quantile(d->from, 0.99);
        perf_bench_keep(&p99);
    }
}

static void
merge(perf_bench_state *state)
{
    const bench_data *d = state->data;
    for (uint64_t i = 0; i < state->iterations; i++)
        perf_histogram_merge(d->into, d->from);
}

void
add_histogram_cases(void)
{
    static const struct {
        const char *name;
        perf_bench_fn run;
    } cases[] = {
        {"histogram/record", record},
        {"histogram/record_many", record_many},
        {"histogram/quantile", quantile},
        {"histogram/merge", merge},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        perf_bench_case *c = add_beside(cases[i].name, cases[i].run, TWO_READS);
        c->setup = set_up;
        c->teardown = tear_down;
    }
}
