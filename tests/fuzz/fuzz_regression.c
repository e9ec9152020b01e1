/* fuzz_regression.c - proves that comparisons of any two histograms, with any
 * counts, come to an end, give chances within 0..1 and intervals that hold what
 * is estimated, and say of swapped sides the mirrored. */
#include "expect.h"

#include <libperf/regression.h>

#include <math.h>
#include <string.h>

typedef struct input {
    const uint8_t *at, *end;
} input;

static uint64_t
number(input *in)
{
    uint8_t bytes[8] = {0};
    size_t n = (size_t)(in->end - in->at) < 8 ? (size_t)(in->end - in->at) : 8;
    uint64_t value;
    memcpy(bytes, in->at, n);
    memcpy(&value, bytes, 8);
    in->at += n;
    return value;
}

/* Few values, some of them very often: doubled by merging with itself. */
static perf_histogram *
histogram(input *in)
{
    perf_histogram *h;
    expect(!perf_histogram_create(NULL, &h));
    uint64_t shape = number(in);
    for (uint64_t n = shape % 40; n-- > 0;) {
        uint64_t value = number(in);
        perf_histogram_record(h, value >> (value & 63));
    }
    for (uint64_t n = (shape >> 8) % 70; n-- > 0;)
        expect(!perf_histogram_merge(h, h));
    return h;
}

static void
check(const perf_comparison *c)
{
    expect(c->p_more >= 0 && c->p_more <= 1);
    expect(c->p_less >= 0 && c->p_less <= 1);
    expect(c->ratio_low >= 0 && c->ratio_low <= c->ratio);
    expect(c->ratio <= c->ratio_high);
    expect(isnan(c->effect) || (c->effect >= 0 && c->effect <= 1));
}

static void
check_both(perf_err err, perf_err back, const perf_comparison *c,
           const perf_comparison *d)
{
    expect((err == PERF_OK) == (back == PERF_OK));
    if (err)
        return;
    check(c);
    check(d);
    expect(c->p_more == d->p_less && c->p_less == d->p_more);
}

static void
compare_values(input *in, perf_histogram *a, perf_histogram *b)
{
    perf_regression_options o = {0.9, 1 + (double)(number(in) % 100) / 10,
                                 1 + (double)(number(in) % 1000)};
    perf_regression_options p = {0.9, o.new_inflation, o.old_inflation};
    perf_comparison c, d;
    double q = (double)(number(in) % 1000) / 1000;
    uint64_t low, high;
    check_both(perf_regression_shift(a, b, &o, &c),
               perf_regression_shift(b, a, &p, &d), &c, &d);
    check_both(perf_regression_tail(a, b, q, &o, &c),
               perf_regression_tail(b, a, q, &p, &d), &c, &d);
    if (!perf_regression_interval(a, q, 0.9, &low, &high))
        expect(low <= high);
    uint64_t all = number(in), wrong = number(in);
    perf_err err = perf_regression_rate(wrong, all, number(in), all, &o, &c);
    if (!err)
        check(&c);
}

static void
compare_runs(input *in)
{
    double runs[16];
    uint64_t n = 1 + number(in) % 8, m = 1 + number(in) % 8;
    for (uint64_t i = 0; i < n + m; i++)
        runs[i] = ldexp((double)number(in), (int)(number(in) % 200) - 160);
    perf_comparison c;
    perf_err err =
        perf_regression_runs(runs, n, runs + n, m, number(in) % 2,
                             (double)(number(in) % 3) / 10, NULL, &c);
    if (!err)
        check(&c);
    perf_regression_adjust(runs, n + m, NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {data, data + size};
    perf_histogram *a = histogram(&in), *b = histogram(&in);
    compare_values(&in, a, b);
    compare_runs(&in);
    perf_histogram_destroy(b);
    perf_histogram_destroy(a);
    return 0;
}
