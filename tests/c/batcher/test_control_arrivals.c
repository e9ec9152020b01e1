/* test_control_arrivals.c - the rate at which items come, against the rate at
 * which they were sent. */
#include "pt.h"

#include "arrivals.h"

#include <math.h>

static const double S = 1e9;

typedef struct sender {
    perfi_arrivals arrivals;
    pt_random random;
    double now; /* ns */
} sender;

static void
send_poisson(sender *s, double per_s, int items)
{
    for (int i = 0; i < items; i++) {
        s->now -= log(pt_unit(&s->random)) / per_s * S;
        perfi_arrivals_add(&s->arrivals, (uint64_t)s->now);
    }
}

static double
rate_after(const sender *s, double ns)
{
    return perfi_arrivals_rate(&s->arrivals, (uint64_t)(s->now + ns)) * S;
}

START_TEST(test_a_steady_rate_is_known_within_an_eighth)
{
    for (double per_s = 0.1; per_s < 200000; per_s *= 10) {
        sender s = {.random = {7}};
        send_poisson(&s, per_s, 300 + (int)per_s);
        double sum = 0, off = 0;
        for (int i = 0; i < 1000; i++) {
            send_poisson(&s, per_s, 20);
            double is = rate_after(&s, 0);
            off += fabs(is / per_s - 1) / 1000;
            PT_ASSERT(is > per_s / 2 && is < per_s * 2);
            sum += is / per_s / 1000;
        }
        ck_assert_double_ge(sum, 0.95);
        ck_assert_double_le(sum, 1.05);
        ck_assert_double_le(off, 0.125); /* by the mean: that of 64 */
    }
}
END_TEST

START_TEST(test_more_than_64_a_second_are_remembered_for_a_second)
{
    sender s = {.random = {8}};
    send_poisson(&s, 10000, 30000);
    double worst = 0;
    for (int i = 0; i < 1000; i++) {
        send_poisson(&s, 10000, 100);
        worst = fmax(worst, fabs(rate_after(&s, 0) / 10000 - 1));
    }
    ck_assert_double_le(worst, 0.06); /* of 10,000: 1 % and five of these */
}
END_TEST

START_TEST(test_a_fan_out_a_second_is_its_size_a_second)
{
    sender s = {.now = S};
    for (int burst = 0; burst < 20; burst++) {
        for (int i = 0; i < 20; i++)
            perfi_arrivals_add(&s.arrivals, (uint64_t)s.now);
        if (burst > 3) {
            ck_assert_double_eq_tol(rate_after(&s, 0), 20, 0.1);
            ck_assert_double_ge(rate_after(&s, 0.99 * S), 14);
        }
        s.now += S;
    }
}
END_TEST

START_TEST(test_all_at_once_is_no_rate)
{
    sender s = {.now = 5 * S};
    ck_assert_double_eq(rate_after(&s, 0), 0);
    for (int i = 0; i < 1000; i++) {
        perfi_arrivals_add(&s.arrivals, (uint64_t)s.now);
        ck_assert_double_eq(rate_after(&s, 0), 0);
        ck_assert_double_eq(rate_after(&s, S), 0);
    }
}
END_TEST

START_TEST(test_it_falls_while_nothing_comes)
{
    sender s = {.random = {9}};
    send_poisson(&s, 100, 1000);
    double before = rate_after(&s, 0);
    for (double ns = 0.1 * S; ns < 1000 * S; ns *= 2) {
        double is = rate_after(&s, ns);
        ck_assert_double_lt(is, before);
        before = is;
    }
    ck_assert_double_lt(rate_after(&s, 10 * S), 15);
    ck_assert_double_lt(rate_after(&s, 1000 * S), 0.2);
}
END_TEST

START_TEST(test_a_new_rate_is_known_after_a_second_or_64_items)
{
    static const double rates[][2] = {
        {1, 100}, {100, 1}, {1, 10000}, {10000, 20}, {50, 5000}};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        sender s = {.random = {10 + i}};
        double to = rates[i][1];
        send_poisson(&s, rates[i][0], 20000);
        send_poisson(&s, to, to > 64 ? (int)(1.1 * to) + 64 : 68);
        double is = rate_after(&s, 0);
        ck_assert_double_ge(is, to * 0.6);
        ck_assert_double_le(is, to * 1.6);
    }
}
END_TEST

START_TEST(test_a_time_that_goes_back_counts_as_the_latest)
{
    perfi_arrivals arrivals = {0};
    pt_random r = {11};
    uint64_t latest = 0;
    for (int i = 0; i < 100000; i++) {
        uint64_t now = pt_below(&r, 4) ? latest + pt_below(&r, 10000000)
                                       : pt_below(&r, latest + 1);
        latest = now > latest ? now : latest;
        perfi_arrivals_add(&arrivals, now);
        double is = perfi_arrivals_rate(&arrivals, latest);
        PT_ASSERT(isfinite(is) && is >= 0);
    }
    ck_assert_double_gt(perfi_arrivals_rate(&arrivals, latest) * S, 100);
    ck_assert_double_lt(perfi_arrivals_rate(&arrivals, latest) * S, 500);
}
END_TEST

int
main(void)
{
    TCase *t = pt_begin("batcher.control_arrivals");
    tcase_add_test(t, test_a_steady_rate_is_known_within_an_eighth);
    tcase_add_test(t, test_more_than_64_a_second_are_remembered_for_a_second);
    tcase_add_test(t, test_a_fan_out_a_second_is_its_size_a_second);
    tcase_add_test(t, test_all_at_once_is_no_rate);
    tcase_add_test(t, test_it_falls_while_nothing_comes);
    tcase_add_test(t, test_a_new_rate_is_known_after_a_second_or_64_items);
    tcase_add_test(t, test_a_time_that_goes_back_counts_as_the_latest);
    return pt_end();
}
