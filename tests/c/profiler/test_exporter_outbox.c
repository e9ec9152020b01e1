/* test_exporter_outbox.c - lanes of bodies in virtual time: a receiver that is
 * away for an hour, asks for time, comes back; bounds, order, the end. */
#include "exporter_outbox.h"
#include "pt.h"

#define S PT_NS_PER_S

static const perfi_judgement accepted = {.verdict = PERFI_ACCEPTED};
static const perfi_judgement refused = {.verdict = PERFI_REFUSED};
static const perfi_judgement again = {.verdict = PERFI_AGAIN};

static void
begin(perfi_outbox *q, uint64_t max_bytes, uint64_t seed,
      const perf_allocator *allocator)
{
    perf_exporter_config c;
    perf_exporter_config_init(&c, sizeof c);
    c.max_queue_bytes = max_bytes;
    c.allocator = allocator;
    perfi_outbox_init(q, &c, seed);
}

static void
add(perfi_outbox *q, perf_otlp_signal signal, size_t size, uint64_t items)
{
    static const char bytes[1 << 20];
    perfi_outbox_add(q, signal, bytes, size, items, 0);
}

/* Try at every moment at which something is due, until `end`. Returns how
 * often. */
static uint64_t
play(perfi_outbox *q, uint64_t *now, uint64_t end, const perfi_judgement *j,
     uint64_t *longest)
{
    uint64_t tries = 0, before = *now;
    for (uint64_t due; (due = perfi_outbox_due_ns(q)) <= end;) {
        *now = due > *now ? due : *now;
        *longest = *now - before > *longest ? *now - before : *longest;
        before = *now;
        for (int i = 0; i < PERF_OTLP_SIGNALS; i++)
            if (perfi_outbox_take_at(q, (perf_otlp_signal)i, *now)) {
                perfi_outbox_answer_at(q, (perf_otlp_signal)i, j, *now);
                tries++;
            }
    }
    return tries;
}

START_TEST(test_an_hour_without_a_receiver)
{
    enum { MIB = 1 << 20 };
    pt_alloc a;
    pt_alloc_init(&a, UINT64_MAX);
    perfi_outbox q;
    begin(&q, 8 * MIB, 1, &a.face);
    uint64_t now = S, tries = 0, longest = 0, items = 0;
    for (int minute = 0; minute < 60; minute++) {
        for (int i = 0; i < 12; i++, items += 1000) /* every 5 s */
            add(&q, PERF_OTLP_TRACES, MIB / 4, 1000);
        perfi_outbox_add(&q, PERF_OTLP_METRICS, "totals", 6, 50,
                         (uint64_t)minute);
        tries += play(&q, &now, now + 60 * S, &again, &longest);
        ck_assert_uint_le(q.bytes, 8 * MIB);
        ck_assert_uint_le(a.live_bytes, 8 * MIB + 33 * sizeof(perfi_parcel));
    }
    const perf_exporter_lane *traces = &q.lane[PERF_OTLP_TRACES].stats;
    const perf_exporter_lane *metrics = &q.lane[PERF_OTLP_METRICS].stats;
    /* two lanes, at most one try in 15 s each, at least one in 30 */
    ck_assert_uint_le(tries, 2 * (3600 / 15 + 8));
    ck_assert_uint_ge(tries, 3600 / 30);
    ck_assert_uint_le(longest, 31 * S);
    ck_assert_uint_eq(traces->waiting + traces->dropped, items);
    ck_assert_uint_eq(traces->waiting, 31000); /* and the totals */
    ck_assert_uint_eq(metrics->waiting, 50);   /* the latest */
    ck_assert_uint_eq(metrics->superseded, 59 * 50);
    /* it is back: everything that waits goes, the oldest first */
    play(&q, &now, now + 60 * S, &accepted, &longest);
    ck_assert_uint_eq(traces->sent, 31000);
    ck_assert_uint_eq(metrics->sent, 50);
    ck_assert_uint_eq(q.bytes, 0);
    ck_assert_uint_eq(perfi_outbox_due_ns(&q), UINT64_MAX);
    perfi_outbox_free(&q);
    ck_assert_uint_eq(a.live, 0);
}
END_TEST

START_TEST(test_waits_grow_and_differ)
{
    uint64_t total[2] = {0, 0};
    for (uint64_t seed = 0; seed < 2; seed++) {
        perfi_outbox q;
        begin(&q, 1 << 20, seed, NULL);
        uint64_t now = 0, wait = S; /* the most that the next one may be */
        add(&q, PERF_OTLP_LOGS, 10, 1);
        for (int i = 0; i < 100; i++) {
            ck_assert_ptr_nonnull(
                perfi_outbox_take_at(&q, PERF_OTLP_LOGS, now));
            perfi_outbox_answer_at(&q, PERF_OTLP_LOGS, &again, now);
            uint64_t due = perfi_outbox_due_ns(&q);
            ck_assert_uint_ge(due - now, wait / 2);
            ck_assert_uint_le(due - now, wait);
            ck_assert_ptr_null(
                perfi_outbox_take_at(&q, PERF_OTLP_LOGS, due - 1));
            now = due;
            wait = wait * 2 < 30 * S ? wait * 2 : 30 * S;
        }
        total[seed] = now;
        perfi_outbox_free(&q);
    }
    ck_assert_uint_ne(total[0], total[1]);
}
END_TEST

START_TEST(test_time_that_is_asked_for)
{
    perfi_outbox q;
    begin(&q, 1 << 20, 1, NULL);
    perfi_judgement later = {.verdict = PERFI_AGAIN, .wait_ns = 90 * S};
    add(&q, PERF_OTLP_TRACES, 10, 1);
    add(&q, PERF_OTLP_LOGS, 10, 1);
    perfi_outbox_take_at(&q, PERF_OTLP_TRACES, 5);
    perfi_outbox_answer_at(&q, PERF_OTLP_TRACES, &later, 5);
    ck_assert_ptr_null(perfi_outbox_take_at(&q, PERF_OTLP_TRACES, 90 * S + 4));
    ck_assert_ptr_nonnull(perfi_outbox_take_at(&q, PERF_OTLP_LOGS, 6));
    perfi_outbox_answer_at(&q, PERF_OTLP_LOGS, &accepted, 6);
    ck_assert_uint_eq(perfi_outbox_due_ns(&q), 90 * S + 5);
    ck_assert_ptr_nonnull(
        perfi_outbox_take_at(&q, PERF_OTLP_TRACES, 90 * S + 5));
    perfi_outbox_answer_at(&q, PERF_OTLP_TRACES, &accepted, 90 * S + 5);
    /* after a success failures are counted anew */
    ck_assert_uint_eq(q.lane[PERF_OTLP_TRACES].failures, 0);
    perfi_outbox_free(&q);
}
END_TEST

START_TEST(test_the_oldest_goes_unless_it_is_under_way)
{
    perfi_outbox q;
    begin(&q, 1000, 1, NULL);
    add(&q, PERF_OTLP_TRACES, 400, 1);
    add(&q, PERF_OTLP_LOGS, 400, 10);
    perfi_parcel *under_way = perfi_outbox_take_at(&q, PERF_OTLP_TRACES, 1);
    add(&q, PERF_OTLP_TRACES, 500, 100);
    ck_assert_uint_eq(q.lane[PERF_OTLP_LOGS].stats.dropped, 10);
    ck_assert_ptr_eq(q.lane[PERF_OTLP_TRACES].first, under_way);
    add(&q, PERF_OTLP_TRACES, 700, 1000); /* no room beside the one */
    ck_assert_uint_eq(q.lane[PERF_OTLP_TRACES].stats.dropped, 1100);
    add(&q, PERF_OTLP_TRACES, 1001, 10000); /* never */
    ck_assert_uint_eq(q.lane[PERF_OTLP_TRACES].stats.dropped, 11100);
    perfi_outbox_answer_at(&q, PERF_OTLP_TRACES, &accepted, 2);
    ck_assert_uint_eq(q.bytes, 0);
    perfi_outbox_free(&q);
}
END_TEST

START_TEST(test_what_was_refused)
{
    perfi_outbox q;
    begin(&q, 1000, 1, NULL);
    perfi_judgement some = {.verdict = PERFI_ACCEPTED, .rejected = 3};
    perfi_judgement lies = {.verdict = PERFI_ACCEPTED, .rejected = 99};
    const perfi_judgement *answers[] = {&some, &refused, &lies};
    for (int i = 0; i < 3; i++) {
        add(&q, PERF_OTLP_TRACES, 10, 7);
        perfi_outbox_take_at(&q, PERF_OTLP_TRACES, 1);
        perfi_outbox_answer_at(&q, PERF_OTLP_TRACES, answers[i], 1);
    }
    const perf_exporter_lane *s = &q.lane[PERF_OTLP_TRACES].stats;
    ck_assert_uint_eq(s->sent, 4);
    ck_assert_uint_eq(s->rejected, 17);
    ck_assert_uint_eq(s->requests, 3);
    ck_assert_uint_eq(s->failures, 0);
    perfi_outbox_free(&q);
}
END_TEST

START_TEST(test_the_end)
{
    perfi_outbox q;
    begin(&q, 1 << 20, 1, NULL);
    perfi_judgement later = {.verdict = PERFI_AGAIN, .wait_ns = 90 * S};
    for (int i = 0; i < PERF_OTLP_SIGNALS; i++) {
        add(&q, (perf_otlp_signal)i, 10, 1);
        add(&q, (perf_otlp_signal)i, 10, 1);
    }
    /* traces were asked to wait, metrics have failed, logs are fine */
    perfi_outbox_take_at(&q, PERF_OTLP_TRACES, 1);
    perfi_outbox_answer_at(&q, PERF_OTLP_TRACES, &later, 1);
    perfi_outbox_take_at(&q, PERF_OTLP_METRICS, 1);
    perfi_outbox_answer_at(&q, PERF_OTLP_METRICS, &again, 1);
    perfi_outbox_last_try_at(&q, 2);
    ck_assert_uint_eq(q.lane[PERF_OTLP_TRACES].stats.dropped, 2);
    ck_assert_ptr_nonnull(perfi_outbox_take_at(&q, PERF_OTLP_METRICS, 2));
    perfi_outbox_answer_at(&q, PERF_OTLP_METRICS, &again, 2);
    ck_assert_uint_eq(q.lane[PERF_OTLP_METRICS].stats.dropped, 2);
    for (int i = 0; i < 2; i++) {
        ck_assert_ptr_nonnull(perfi_outbox_take_at(&q, PERF_OTLP_LOGS, 2));
        perfi_outbox_answer_at(&q, PERF_OTLP_LOGS, &accepted, 2);
    }
    ck_assert_uint_eq(q.bytes, 0);
    ck_assert(perfi_outbox_is_done(&q, UINT64_MAX));
    perfi_outbox_free(&q);
}
END_TEST

START_TEST(test_no_memory)
{
    pt_alloc a;
    pt_alloc_init(&a, 0);
    perfi_outbox q;
    begin(&q, 1000, 1, &a.face);
    add(&q, PERF_OTLP_TRACES, 10, 7);
    ck_assert_uint_eq(q.lane[PERF_OTLP_TRACES].stats.dropped, 7);
    ck_assert_uint_eq(q.bytes, 0);
    perfi_outbox_free(&q);
}
END_TEST

START_TEST(test_any_order)
{
    pt_random r = {7};
    pt_alloc a;
    pt_alloc_init(&a, UINT64_MAX);
    perfi_outbox q;
    begin(&q, 5000, 1, &a.face);
    uint64_t now = 1, added = 0;
    for (int i = 0; i < PT_TIMES(100000); i++) {
        perf_otlp_signal signal = (perf_otlp_signal)pt_below(&r, 3);
        perfi_lane *lane = &q.lane[signal];
        now += pt_below(&r, 3 * S);
        if (pt_below(&r, 2)) {
            perfi_outbox_add(&q, signal, "0123456789", pt_below(&r, 11), 1,
                             pt_below(&r, 1000));
            added++;
        } else if (lane->first && lane->first->under_way) {
            perfi_judgement j = {.verdict = (perfi_verdict)pt_below(&r, 3),
                                 .wait_ns = pt_below(&r, 2) * S};
            perfi_outbox_answer_at(&q, signal, &j, now);
        } else
            perfi_outbox_take_at(&q, signal, now);
        PT_ASSERT(q.bytes <= 5000);
    }
    uint64_t known = 0;
    for (int i = 0; i < 3; i++) {
        const perf_exporter_lane *s = &q.lane[i].stats;
        known +=
            s->sent + s->rejected + s->dropped + s->superseded + s->waiting;
    }
    ck_assert_uint_eq(known, added);
    perfi_outbox_free(&q);
    ck_assert_uint_eq(a.live, 0);
    ck_assert(!a.wrong_size);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("profiler.exporter_outbox");
    tcase_add_test(tests, test_an_hour_without_a_receiver);
    tcase_add_test(tests, test_waits_grow_and_differ);
    tcase_add_test(tests, test_time_that_is_asked_for);
    tcase_add_test(tests, test_the_oldest_goes_unless_it_is_under_way);
    tcase_add_test(tests, test_what_was_refused);
    tcase_add_test(tests, test_the_end);
    tcase_add_test(tests, test_no_memory);
    tcase_add_test(tests, test_any_order);
    return pt_end();
}
