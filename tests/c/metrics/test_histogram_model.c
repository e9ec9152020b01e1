/* test_histogram_model.c - against exact answers: sorted values. */
#include "pt.h"
#include "pt_model.h"

#include "metrics/histogram.h"

static perf_histogram *
make(void)
{
    perf_histogram *h = NULL;
    ck_assert_int_eq(perf_histogram_create(NULL, &h), PERF_OK);
    return h;
}

/* ---- accuracy over distributions ---- */

static double
normal(pt_random *r) /* Box and Muller */
{
    return sqrt(-2 * log(pt_unit(r))) * cos(6.283185307179586 * pt_unit(r));
}

static uint64_t
lognormal(pt_random *r)
{
    return (uint64_t)(1e6 * exp(1.5 * normal(r)));
}

static uint64_t
pareto(pt_random *r)
{
    return (uint64_t)(1e5 / pow(pt_unit(r), 1 / 1.1));
}

static uint64_t
bimodal(pt_random *r)
{
    double centre = pt_below(r, 100) < 97 ? 2e5 : 5e8;
    return (uint64_t)(centre * (1 + 0.05 * normal(r)));
}

static uint64_t
constant(pt_random *r)
{
    (void)r;
    return 123456789;
}

typedef uint64_t (*draw_fn)(pt_random *r);
static const draw_fn draws[] = {lognormal, pareto, bimodal, constant};
enum { DRAWS = sizeof draws / sizeof *draws };

START_TEST(test_quantiles_are_within_0_4_percent_of_exact)
{
    static const unsigned per_mille[] = {500, 950, 990, 999};
    pt_random random = {(uint64_t)_i + 1};
    size_t most = PT_SANITIZED ? 100000 : 1000000;
    for (size_t n = 10; n <= most; n *= 10) {
        perf_histogram *h = make();
        pt_model m = {0};
        for (size_t i = 0; i < n; i++) {
            uint64_t v = draws[_i](&random);
            perf_histogram_record(h, v);
            pt_model_add(&m, v);
        }
        pt_model_sort(&m);
        for (int i = 0; i < 4; i++) {
            double exact = (double)pt_model_quantile(&m, per_mille[i]);
            double got =
                (double)perf_histogram_quantile(h, per_mille[i] / 1000.0);
            ck_assert_msg(fabs(got - exact) <= 0.004 * exact,
                          "n %zu, q %u/1000: %.0f, exactly %.0f", n,
                          per_mille[i], got, exact);
        }
        ck_assert_uint_eq(perf_histogram_min(h), m.value[0]);
        ck_assert_uint_eq(perf_histogram_max(h), m.value[n - 1]);
        ck_assert_uint_eq(perf_histogram_sum(h), pt_model_sum(&m));
        ck_assert_uint_eq(perf_histogram_count(h), n);
        free(m.value);
        perf_histogram_destroy(h);
    }
}
END_TEST

START_TEST(test_quantile_never_falls_as_q_grows)
{
    pt_random random = {(uint64_t)_i + 100};
    perf_histogram *h = make();
    for (int i = 0; i < 3000; i++)
        perf_histogram_record(h, draws[_i](&random));
    uint64_t last = 0;
    int steps = PT_TIMES(20000);
    for (int i = 0; i <= steps; i++) {
        uint64_t value = perf_histogram_quantile(h, (double)i / steps);
        PT_ASSERT(value >= last);
        last = value;
    }
    PT_ASSERT(last == perf_histogram_max(h));
    perf_histogram_destroy(h);
}
END_TEST

static void
expect_equal(const perf_histogram *a, const perf_histogram *b)
{
    PT_ASSERT(perf_histogram_count(a) == perf_histogram_count(b));
    PT_ASSERT(perf_histogram_sum(a) == perf_histogram_sum(b));
    PT_ASSERT(perf_histogram_min(a) == perf_histogram_min(b));
    PT_ASSERT(perf_histogram_max(a) == perf_histogram_max(b));
    for (int i = 0; i <= 1000; i++)
        PT_ASSERT(perf_histogram_quantile(a, i / 1000.0) ==
                  perf_histogram_quantile(b, i / 1000.0));
}

START_TEST(test_merge_is_the_same_as_recording_everything_once)
{
    pt_random random = {(uint64_t)_i + 200};
    perf_histogram *all = make(), *part[4];
    for (int i = 0; i < 4; i++)
        part[i] = make(); /* the last one stays empty */
    for (int i = 0; i < 9000; i++) {
        uint64_t v = draws[_i](&random);
        perf_histogram_record(all, v);
        perf_histogram_record(part[i % 3], v);
    }
    perf_histogram *sum = make();
    for (int i = 3; i >= 0; i--)
        ck_assert_int_eq(perf_histogram_merge(sum, part[i]), PERF_OK);
    ck_assert(perfi_histogram_check(sum));
    expect_equal(sum, all);
    for (int i = 0; i < 4; i++)
        perf_histogram_destroy(part[i]);
    perf_histogram_destroy(sum);
    perf_histogram_destroy(all);
}
END_TEST

START_TEST(test_record_many_is_the_same_as_recording_each)
{
    enum { N = 1000 };
    uint64_t values[N];
    pt_random random = {300};
    perf_histogram *one = make(), *many = make();
    for (int i = 0; i < N; i++) {
        values[i] = lognormal(&random);
        perf_histogram_record(one, values[i]);
    }
    perf_histogram_record_many(many, values, N / 3);
    perf_histogram_record_many(many, values + N / 3, N - N / 3);
    expect_equal(one, many);
    perf_histogram_destroy(one);
    perf_histogram_destroy(many);
}
END_TEST

/* ---- random operations ---- */

typedef struct pair {
    perf_histogram *h;
    pt_model m;
    bool exact; /* no window was taken of it: its extremes are exact */
} pair;

static void
compare(pair *p)
{
    pt_model_sort(&p->m);
    PT_ASSERT(perfi_histogram_check(p->h));
    PT_ASSERT(perf_histogram_count(p->h) == p->m.n);
    PT_ASSERT(perf_histogram_sum(p->h) == pt_model_sum(&p->m));
    if (!p->m.n)
        return;
    uint64_t min = p->m.value[0], max = p->m.value[p->m.n - 1];
    if (p->exact) {
        PT_ASSERT(perf_histogram_min(p->h) == min);
        PT_ASSERT(perf_histogram_max(p->h) == max);
    }
    PT_ASSERT(perf_histogram_min(p->h) <= min);
    PT_ASSERT(perf_histogram_max(p->h) >= max);
    for (unsigned q = 1; q < 1000; q += 37) {
        uint64_t exact = pt_model_quantile(&p->m, q);
        uint64_t got = perf_histogram_quantile(p->h, q / 1000.0);
        /* a window's extremes are known to a whole bucket, not half of one */
        uint64_t room = p->exact ? exact / 256 : exact / 128 + 1;
        PT_ASSERT(got > exact ? got - exact : exact - got <= room);
    }
}

static void
take_window(pair *p, const pair *before, size_t earlier)
{
    ck_assert_int_eq(perf_histogram_subtract(p->h, before->h), PERF_OK);
    p->m.n -= earlier;
    for (size_t i = 0; i < p->m.n; i++)
        p->m.value[i] = p->m.value[i + earlier];
    p->exact = false;
}

START_TEST(test_random_operations_match_the_model)
{
    pt_random random = {(uint64_t)_i + 1000};
    pair p[2] = {{make(), {0}, true}, {make(), {0}, true}};
    for (int step = 0; step < PT_TIMES(400); step++) {
        pair *a = &p[pt_below(&random, 2)], *b = a == p ? &p[1] : p;
        switch (pt_below(&random, 40)) {
        case 0:
            perf_histogram_reset(a->h);
            a->m.n = 0;
            a->exact = true;
            break;
        case 1:
            if (a->m.n + b->m.n > 4000)
                break;
            ck_assert_int_eq(perf_histogram_merge(a->h, b->h), PERF_OK);
            for (size_t i = 0; i < b->m.n; i++)
                pt_model_add(&a->m, b->m.value[i]);
            a->exact &= b->exact;
            break;
        case 2: /* b becomes an earlier copy of a; a its window since */
            perf_histogram_reset(b->h);
            perf_histogram_merge(b->h, a->h);
            size_t earlier = a->m.n;
            for (uint64_t k = pt_below(&random, 50); k--;) {
                uint64_t v = pt_next(&random) >> (20 + pt_below(&random, 44));
                perf_histogram_record(a->h, v);
                pt_model_add(&a->m, v);
            }
            b->m.n = 0;
            for (size_t i = 0; i < earlier; i++)
                pt_model_add(&b->m, a->m.value[i]);
            b->exact = a->exact;
            take_window(a, b, earlier);
            break;
        default:
            for (uint64_t k = pt_below(&random, 60); k--;) {
                uint64_t v = pt_next(&random) >> (20 + pt_below(&random, 44));
                perf_histogram_record(a->h, v);
                pt_model_add(&a->m, v);
            }
        }
        compare(a);
        compare(b);
    }
    for (int i = 0; i < 2; i++) {
        perf_histogram_destroy(p[i].h);
        free(p[i].m.value);
    }
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("metrics.histogram_model");
    tcase_add_loop_test(tests, test_quantiles_are_within_0_4_percent_of_exact,
                        0, DRAWS);
    tcase_add_loop_test(tests, test_quantile_never_falls_as_q_grows, 0, DRAWS);
    tcase_add_loop_test(
        tests, test_merge_is_the_same_as_recording_everything_once, 0, DRAWS);
    tcase_add_test(tests, test_record_many_is_the_same_as_recording_each);
    tcase_add_loop_test(tests, test_random_operations_match_the_model, 0, 6);
    return pt_end();
}
