/* dependence.c - how much calls of one run hang together: batch means.
 *
 * Three scores of each call: its rank among all durations, whether it lies in
 * the tail, whether it failed. The sum of a score over a block of consecutive
 * calls varies so much when calls are independent; how many times that it
 * really varies is the factor by which they tell less. */
#include <libperf/regression.h>

#include <math.h>
#include <stdlib.h>

typedef struct call {
    uint64_t start, value;
    double rank;
    bool in_tail, wrong;
} call;

enum { SCORES = 3, BLOCKS_MAX = 50, CALLS_A_BLOCK = 200 };

static int
by_value(const void *a, const void *b)
{
    uint64_t x = ((const call *)a)->value, y = ((const call *)b)->value;
    return x < y ? -1 : x > y;
}

/* Those that began together in the order of their durations: some order must
 * be, and the same on every machine. */
static int
by_start(const void *a, const void *b)
{
    uint64_t x = ((const call *)a)->start, y = ((const call *)b)->start;
    return x < y ? -1 : x > y ? 1 : by_value(a, b);
}

/* Equal durations share the middle of their ranks. */
static void
rank(call *calls, size_t n, double q)
{
    qsort(calls, n, sizeof *calls, by_value);
    size_t at = (size_t)(q * (double)(n - 1));
    uint64_t bound = calls[at].value;
    for (size_t i = 0, next; i < n; i = next) {
        for (next = i + 1; next < n && calls[next].value == calls[i].value;)
            next++;
        for (size_t k = i; k < next; k++) {
            calls[k].rank = (double)(i + next - 1) / 2;
            calls[k].in_tail = calls[k].value > bound;
        }
    }
}

static double
score_of(const call *c, int which)
{
    return which == 0 ? c->rank : which == 1 ? c->in_tail : c->wrong;
}

/* Blocks of independent calls differ by chance, too: nine times of ten by less
 * than this many times what is expected (chi-squared, after Wilson and
 * Hilferty, 1931). Taking that for dependence would blunt every test. */
static double
by_chance(size_t blocks)
{
    double spread = 2.0 / (9.0 * (double)(blocks - 1));
    return pow(1 - spread + 1.2816 * sqrt(spread), 3);
}

static double
inflation(const call *calls, size_t n, size_t blocks, int which)
{
    double sum = 0, squares = 0, between = 0;
    for (size_t i = 0; i < n; i++)
        sum += score_of(&calls[i], which);
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) {
        double apart = score_of(&calls[i], which) - mean;
        squares += apart * apart;
    }
    if (!(squares > 0))
        return 1; /* all alike */
    for (size_t b = 0; b < blocks; b++) {
        size_t from = n / blocks * b + n % blocks * b / blocks;
        size_t to = n / blocks * (b + 1) + n % blocks * (b + 1) / blocks;
        double apart = 0;
        for (size_t i = from; i < to; i++)
            apart += score_of(&calls[i], which) - mean;
        between += apart * apart / (double)(to - from);
    }
    double expected = squares / (double)n * (double)(blocks - 1);
    double times = between / expected;
    return times < by_chance(blocks) ? 1 : fmin(times, (double)n);
}

perf_err
perf_regression_dependence_blocking(const uint64_t *start_ns,
                                    const uint64_t *value_ns,
                                    const uint8_t *wrong, size_t n, double q,
                                    const perf_allocator *allocator,
                                    perf_dependence *out)
{
    if (!start_ns || !value_ns || !wrong || !out)
        return PERF_ERR_INVALID;
    if (n < PERF_REGRESSION_RECORDS || n > SIZE_MAX / sizeof(call) ||
        !(q > 0 && q < 1))
        return PERF_ERR_RANGE;
    if (!allocator)
        allocator = perf_allocator_libc();
    call *calls = allocator->alloc(n * sizeof *calls, allocator->ctx);
    if (!calls)
        return PERF_ERR_NOMEM;
    for (size_t i = 0; i < n; i++)
        calls[i] = (call){start_ns[i], value_ns[i], 0, false, wrong[i] != 0};
    rank(calls, n, q);
    qsort(calls, n, sizeof *calls, by_start);
    size_t blocks = n / CALLS_A_BLOCK;
    blocks = blocks < PERF_REGRESSION_BLOCKS ? PERF_REGRESSION_BLOCKS : blocks;
    blocks = blocks > BLOCKS_MAX ? BLOCKS_MAX : blocks;
    double found[SCORES];
    for (int which = 0; which < SCORES; which++)
        found[which] = inflation(calls, n, blocks, which);
    allocator->free(calls, n * sizeof *calls, allocator->ctx);
    *out = (perf_dependence){found[0], found[1], found[2], (double)blocks};
    return PERF_OK;
}
