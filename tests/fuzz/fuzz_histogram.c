/* fuzz_histogram.c - proves that no sequence of values and operations makes a
 * histogram differ from all its values kept and sorted: count, sum, minimum and
 * maximum exactly, every quantile within half a bucket, windows too. */
#include "expect.h"
#include "metrics/histogram.h"
#include "pt_model.h"

#include <string.h>

enum { MOST = 5000 };                     /* values: more is only slow */
enum { STEP = 20, QS = 1000 / STEP + 1 }; /* quantiles, in thousandths */

typedef struct pair {
    perf_histogram *h;
    pt_model m;
    bool exact; /* its extremes: no window was taken of it */
} pair;

typedef struct input {
    const uint8_t *at, *end;
} input;

static uint8_t
next_byte(input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

/* Any uint64_t, and often one with few bits: where buckets begin and end. */
static uint64_t
next_value(input *in)
{
    uint64_t value = 0;
    uint8_t shape = next_byte(in);
    for (int i = shape & 7; i >= 0; i--)
        value = value << 8 | next_byte(in);
    if (shape & 8)
        value = UINT64_C(1) << (value & 63);
    if (shape & 16)
        value--;
    if (shape & 32)
        value = ~value;
    return value;
}

static void
record(pair *p, input *in, bool intended)
{
    uint64_t start = intended ? next_value(in) : 0, end = next_value(in);
    if (p->m.n == MOST)
        return;
    if (intended)
        perf_histogram_record_intended(p->h, start, end);
    else
        perf_histogram_record(p->h, end);
    pt_model_add(&p->m, end > start ? end - start : 0);
}

static void
merge(pair *into, const pair *from)
{
    if (into->m.n + from->m.n > MOST)
        return;
    expect(!perf_histogram_merge(into->h, from->h));
    for (size_t i = 0; i < from->m.n; i++)
        pt_model_add(&into->m, from->m.value[i]);
    into->exact &= from->exact;
}

static void
reset(pair *p)
{
    perf_histogram_reset(p->h);
    p->m.n = 0;
    p->exact = true;
}

/* `p` goes on from what it was, and becomes the window since. */
static void
take_window(pair *p, pair *copy, input *in)
{
    reset(copy);
    merge(copy, p);
    size_t before = p->m.n;
    for (int n = next_byte(in) % 32; n--; record(p, in, false))
        ;
    if (pt_model_sum(&p->m) == UINT64_MAX)
        return; /* which stays there: no differences */
    expect(!perf_histogram_subtract(p->h, copy->h));
    p->m.n -= before;
    for (size_t i = 0; i < p->m.n; i++)
        p->m.value[i] = p->m.value[i + before];
    p->exact = false;
}

static void
compare(pair *p)
{
    pt_model sorted = {0}; /* the order of `m` is what a window needs */
    for (size_t i = 0; i < p->m.n; i++)
        pt_model_add(&sorted, p->m.value[i]);
    pt_model_sort(&sorted);
    uint64_t min = pt_model_quantile(&sorted, 0);
    uint64_t max = pt_model_quantile(&sorted, 1000);
    expect(perfi_histogram_check(p->h));
    expect(perf_histogram_count(p->h) == sorted.n);
    expect(perf_histogram_sum(p->h) == pt_model_sum(&sorted));
    double qs[QS];
    uint64_t got[QS], low = perf_histogram_min(p->h);
    uint64_t high = perf_histogram_max(p->h);
    expect(low <= min && high >= max);
    expect(!p->exact || (low == min && high == max));
    for (unsigned i = 0; i < QS; i++)
        qs[i] = i * STEP / 1000.0;
    expect(!perf_histogram_quantiles(p->h, qs, QS, got));
    expect(got[QS / 2] == perf_histogram_quantile(p->h, qs[QS / 2]));
    for (unsigned i = 0; i < QS; i++) {
        uint64_t exact = pt_model_quantile(&sorted, i * STEP);
        uint64_t apart = got[i] > exact ? got[i] - exact : exact - got[i];
        /* a window's extremes are known to a whole bucket, not half of one */
        expect(apart <= (p->exact ? exact / 256 : exact / 128 + 1));
        expect(!i || got[i] >= got[i - 1]);
    }
    free(sorted.value);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {data, data + size};
    pair p[2] = {{.exact = true}, {.exact = true}};
    for (int i = 0; i < 2; i++)
        expect(!perf_histogram_create(NULL, &p[i].h));
    for (int windows = 0, checks = 0; in.at < in.end;) {
        uint8_t verb = next_byte(&in);
        pair *a = &p[verb & 1], *b = &p[!(verb & 1)];
        switch (verb >> 1 & 7) {
        case 0: reset(a); break;
        case 1: merge(a, b); break;
        case 2: windows++ < 20 ? take_window(a, b, &in) : (void)0; break;
        case 3: checks++ < 20 ? compare(a) : (void)0; break;
        case 4: record(a, &in, true); break;
        default: record(a, &in, false);
        }
    }
    for (int i = 0; i < 2; i++) {
        compare(&p[i]);
        perf_histogram_destroy(p[i].h);
        free(p[i].m.value);
    }
    return 0;
}
