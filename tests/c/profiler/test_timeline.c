/* test_timeline.c - events become moments of the actor that ran: nested actors,
 * lost beginnings, CPU times that were not read, several threads. */
#include "pt_profile.h"

#include "segment/layout.h"

#include <stdlib.h>

/* ---- who ran ---- */

START_TEST(test_nested_actors_share_a_thread)
{
    pt_profile p;
    uint64_t main = pt_main();
    uint64_t task = pt_new_task();
    pt_at(1);
    pt_resume(task, PERF_ACTOR_TASK);
    pt_at(2);
    uint64_t inner = perf_event_new_id(); /* runs on top of it */
    pt_resume(inner, PERF_ACTOR_CALLBACK);
    pt_at(3);
    pt_say(LABEL);
    pt_end_actor();
    pt_at(4);
    pt_suspend(0);
    pt_at(5);
    pt_resume(task, PERF_ACTOR_TASK);
    pt_end_actor();
    pt_at(6);
    pt_say(LABEL);
    pt_profile_timeline(&p);
    ck_assert_str_eq(pt_moments(&p, main), "THREAD@0 SPAWN@0 LABEL@6");
    ck_assert_str_eq(pt_moments(&p, task), "RUN@1 SUSPEND@4 RUN@5 END@5");
    ck_assert_str_eq(pt_moments(&p, inner), "RUN@2 LABEL@3 END@3");
    /* readings of memory come in between */
    ck_assert_uint_eq(p.line.events - p.line.memory.count, 10);
    ck_assert_uint_eq(p.line.end, 6 * PT_MS);
    ck_assert_uint_eq(p.line.main,
                      (uint32_t)(pt_actor(&p, main) - p.line.actors.item));
    ck_assert_uint_eq(pt_actor(&p, task)->loop, 1);
    ck_assert_uint_eq(pt_actor(&p, main)->loop, 0);
    ck_assert_uint_eq(pt_actor(&p, inner)->kind, PERF_ACTOR_CALLBACK);
    pt_profile_free(&p);
}
END_TEST

/* Wherever they lie: before a thread's beginning, too. */
START_TEST(test_samples_are_nobodys_moments)
{
    pt_profile p;
    perf_event_write(PERF_EVENT_STALL, 1, 2, 3, 4);
    uint64_t main = pt_main();
    pt_at(1);
    perf_event_write(PERF_EVENT_SAMPLE, 1, 99, 3, 4);
    pt_at(2);
    pt_say(LABEL);
    pt_at(3);
    perf_event_write(PERF_EVENT_ALLOCATED, 1, 99, 3, 4);
    pt_profile_timeline(&p);
    ck_assert_str_eq(pt_moments(&p, main), "THREAD@0 LABEL@2");
    ck_assert_uint_eq(p.line.events - p.line.memory.count, 2);
    ck_assert_uint_eq(p.line.end, 2 * PT_MS);
    ck_assert_uint_eq(p.line.spans.count, 0);
    ck_assert_uint_eq(p.line.threads.count, 1);
    ck_assert(!p.line.is_cut);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_deeper_than_any_program_is_no_overflow)
{
    pt_profile p;
    uint64_t main = pt_main(), last = 0;
    for (int i = 0; i < 1000; i++)
        pt_say(RUN, .key = last = perf_event_new_id());
    for (int i = 0; i < 2000; i++) /* more ends than beginnings, too */
        pt_say(END);
    pt_say(LABEL);
    pt_profile_timeline(&p);
    ck_assert_uint_eq(pt_actor(&p, last)->count, 2);
    ck_assert_uint_gt(pt_actor(&p, main)->count, 1000);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_what_a_spawner_says_of_its_child)
{
    pt_profile p;
    pt_main();
    uint64_t span = pt_open("A");
    uint64_t resource = pt_resource(PERF_RESOURCE_EXECUTOR, 3, "pool");
    uint64_t task = perf_event_new_id(), work = perf_event_new_id(),
             timer = perf_event_new_id(), future = perf_event_new_id();
    pt_say(SPAWN, .key = task, .arg = 12, .more = future);
    pt_say(SUBMIT, .key = work, .more = resource);
    pt_say(TIMER, .key = timer, .arg = 1, .more = PT_EPOCH_NS + 5 * PT_MS);
    pt_profile_timeline(&p);
    const perfi_actor *a = pt_actor(&p, task);
    ck_assert_uint_eq(a->kind, PERF_ACTOR_CALLBACK);
    ck_assert_uint_eq(a->group, 12);
    ck_assert_uint_eq(a->argument - 1, perfi_ids_find(&p.line.things, future));
    ck_assert_uint_eq(a->spawner - 1, p.line.main);
    ck_assert_ptr_eq(&p.line.spans.item[a->born_in - 1], pt_span(&p, span));
    ck_assert_uint_eq(a->count, 0); /* it never ran */
    a = pt_actor(&p, work);
    ck_assert_uint_eq(a->kind, PERF_ACTOR_WORK);
    ck_assert_uint_eq(a->executor, 1);
    a = pt_actor(&p, timer);
    ck_assert_uint_eq(a->kind, PERF_ACTOR_TIMER);
    ck_assert_uint_eq(a->deadline, 5 * PT_MS);
    ck_assert(a->is_limit);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_the_selectors_wait_belongs_to_the_first_run_after_it)
{
    pt_profile p;
    pt_main();
    uint64_t task = pt_new_task();
    pt_at(1);
    pt_resume(task, PERF_ACTOR_TASK);
    pt_nap nap = pt_doze(2);
    pt_wake(nap);
    pt_resume(task, PERF_ACTOR_TASK);
    pt_profile_timeline(&p);
    const perfi_actor *a = pt_actor(&p, nap.timer);
    ck_assert_uint_eq(a->waited_from, 1 * PT_MS);
    ck_assert_uint_eq(a->waited_to, 3 * PT_MS);
    ck_assert_uint_eq(pt_actor(&p, task)->waited_to, 0); /* not of its first */
    pt_profile_free(&p);
}
END_TEST

/* ---- spans and resources ---- */

START_TEST(test_spans_have_parents_ends_and_a_status)
{
    pt_profile p;
    uint64_t main = pt_main();
    uint64_t outer = pt_open("outer");
    pt_at(1);
    uint64_t inner = pt_open("inner"); /* where nothing happens */
    pt_at(3);
    pt_close_as(PERF_STATUS_ERROR);
    pt_say(LABEL);
    pt_profile_timeline(&p);
    const perfi_span *s = pt_span(&p, inner), *all = p.line.spans.item;
    ck_assert_uint_eq(s->begin, PT_MS);
    ck_assert_uint_eq(s->end, 3 * PT_MS);
    ck_assert_uint_eq(s->status, PERF_STATUS_ERROR);
    ck_assert_ptr_eq(&all[s->parent - 1], pt_span(&p, outer));
    ck_assert_ptr_eq(&p.line.actors.item[s->actor], pt_actor(&p, main));
    ck_assert(!s->was_current); /* its own end does not count */
    ck_assert(pt_span(&p, outer)->was_current);
    ck_assert_uint_eq(pt_span(&p, outer)->end, 0); /* still open */
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_spans_that_were_only_seen_in_part)
{
    pt_profile p;
    pt_main();
    pt_say(SPAN_END, .key = 1000);
    pt_say(LABEL, .span = 1001); /* only a label */
    pt_say(SPAN_BEGIN, .key = 1002, .more = 1002, .arg = UINT32_MAX);
    pt_say(SPAN_BEGIN, .key = 0, .more = 1003);
    pt_profile_timeline(&p);
    ck_assert_uint_eq(pt_span(&p, 1000)->name, PERFI_NONE);
    ck_assert_uint_eq(pt_span(&p, 1000)->end, 1); /* at 0, and yet ended */
    ck_assert_uint_eq(pt_span(&p, 1001)->name, PERFI_NONE);
    ck_assert_uint_eq(pt_span(&p, 1002)->parent, 0); /* never its own */
    ck_assert_uint_eq(pt_span(&p, 1002)->name, 0);   /* "(other)" */
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_resources)
{
    static const struct {
        perf_resource kind;
        uint64_t said;
        uint32_t capacity;
    } cases[] = {
        {PERF_RESOURCE_SEMAPHORE, 3, 3},
        {PERF_RESOURCE_SEMAPHORE, 0, 0},
        {PERF_RESOURCE_LOCK, 0, 1},
        {PERF_RESOURCE_EXECUTOR, 0, 1},
        {PERF_RESOURCE_QUEUE, 0, 0},
        {PERF_RESOURCE_QUEUE, 9, 9},
        {PERF_RESOURCE_SEMAPHORE, UINT64_MAX >> 8, UINT32_MAX / 4},
    };
    enum { N = sizeof cases / sizeof *cases };
    pt_profile p;
    pt_main();
    for (int i = 0; i < N; i++)
        pt_resource(cases[i].kind, cases[i].said, "r");
    uint32_t where = pt_name(PERF_KIND_TEXT, "a.py:1");
    pt_say(WHERE, .key = 1000, .arg = where); /* nothing else is known of it */
    pt_profile_timeline(&p);
    ck_assert_uint_eq(p.line.resources.count, N + 1);
    for (int i = 0; i < N; i++) {
        ck_assert_uint_eq(p.line.resources.item[i].kind, cases[i].kind);
        ck_assert_uint_eq(p.line.resources.item[i].capacity, cases[i].capacity);
        ck_assert_uint_eq(p.line.resources.item[i].where, PERFI_NONE);
    }
    const perfi_resource *last = &p.line.resources.item[N];
    ck_assert_uint_eq(last->where, where);
    ck_assert_uint_eq(last->capacity, 1);
    ck_assert_uint_eq(last->name, PERFI_NONE);
    pt_profile_free(&p);
}
END_TEST

/* ---- threads ---- */

START_TEST(test_an_actor_in_two_threads_is_in_order_of_time)
{
    pt_profile p;
    pt_main();
    uint64_t task = pt_new_task();
    pt_at(5);
    pt_resume(task, PERF_ACTOR_TASK);
    pt_at(6);
    pt_end_actor();
    pt_at(0);
    pt_thread();
    pt_at(1);
    pt_resume(task, PERF_ACTOR_TASK);
    pt_at(2);
    pt_suspend(0);
    pt_profile_timeline(&p);
    ck_assert_str_eq(pt_moments(&p, task), "RUN@1 SUSPEND@2 RUN@5 END@6");
    ck_assert_uint_eq(p.line.threads.count, 2);
    const perfi_moment *m = &p.line.moments.item[pt_actor(&p, task)->first];
    ck_assert_uint_eq(m[0].thread, 1);
    ck_assert_uint_eq(m[2].thread, 0);
    pt_profile_free(&p);
}
END_TEST

/* Events of one time stay in the order in which they were written, also where
 * an actor has to be sorted. */
START_TEST(test_equal_times_keep_their_order)
{
    enum { N = 200000 }; /* beyond what a sort does in memory of its own */
    pt_profile p;
    pt_start(256 << 20, 64 << 20);
    pt_main();
    uint64_t task = pt_new_task();
    pt_at(5);
    pt_resume(task, PERF_ACTOR_TASK);
    for (uint32_t i = 0; i < N; i++)
        pt_say(LABEL, .arg = i);
    pt_at(0);
    pt_thread();
    pt_resume(task, PERF_ACTOR_TASK);
    pt_profile_timeline(&p);
    const perfi_moment *m = &p.line.moments.item[pt_actor(&p, task)->first];
    ck_assert_uint_eq(pt_actor(&p, task)->count, N + 2);
    for (uint32_t i = 0; i < N; i++)
        PT_ASSERT(m[i + 2].arg == i);
    pt_profile_free(&p);
}
END_TEST

static void
label_in_thread(unsigned index, void *ctx)
{
    uint64_t *ids = ctx;
    perf_event_write(PERF_EVENT_THREAD, PERF_ACTOR_THREAD, 0, ids[index], 0);
    for (int i = 0; i < 100; i++)
        perf_event_write(PERF_EVENT_LABEL, 0, 0, 0, 0);
}

START_TEST(test_threads_at_the_same_time)
{
    enum { THREADS = 3 };
    pt_profile p;
    uint64_t ids[THREADS];
    pt_main();
    for (int i = 0; i < THREADS; i++)
        ids[i] = perf_event_new_id();
    pt_parallel(THREADS, label_in_thread, ids);
    pt_profile_timeline(&p);
    ck_assert_uint_eq(p.line.threads.count, 1 + THREADS);
    for (int i = 0; i < THREADS; i++) {
        ck_assert_uint_eq(pt_actor(&p, ids[i])->count, 101);
        ck_assert_uint_eq(pt_actor(&p, ids[i])->kind, PERF_ACTOR_THREAD);
    }
    pt_profile_free(&p);
}
END_TEST

static void
one_label(unsigned index, void *ctx)
{
    (void)ctx;
    (void)index;
    pt_say(LABEL);
}

START_TEST(test_a_thread_that_somebody_started_is_a_thread)
{
    pt_profile p;
    pt_main();
    uint64_t id = pt_new_task();
    pt_say(THREAD, .key = id, .arg = PERF_ACTOR_THREAD);
    pt_profile_timeline(&p);
    ck_assert_uint_eq(pt_actor(&p, id)->kind, PERF_ACTOR_THREAD);
    ck_assert_uint_eq(pt_actor(&p, id)->spawner - 1, p.line.main);
    pt_profile_free(&p);
}
END_TEST

/* The beginning of a ring may be written over, or lie before the window. */
START_TEST(test_threads_without_a_beginning_are_apart)
{
    pt_profile p;
    pt_say(LABEL);
    pt_parallel(1, one_label, NULL);
    pt_profile_timeline(&p);
    ck_assert_uint_eq(p.line.threads.count, 2);
    ck_assert_uint_eq(p.line.actors.count, 2);
    ck_assert_uint_eq(p.line.main, 0);
    for (int i = 0; i < 2; i++) {
        const perfi_actor *a = &p.line.actors.item[i];
        ck_assert_uint_eq(a->count, 1);
        ck_assert_uint_eq(a->kind, i ? PERF_ACTOR_THREAD : PERF_ACTOR_MAIN);
    }
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_a_lost_run_leaves_its_events_to_the_thread)
{
    pt_profile p;
    uint64_t main = pt_main();
    pt_at(1);
    pt_say(SUSPEND, .key = 5); /* of an actor whose RUN is not there */
    pt_at(2);
    pt_say(END);
    pt_profile_timeline(&p);
    ck_assert_str_eq(pt_moments(&p, main), "THREAD@0 SUSPEND@1 END@2");
    pt_profile_free(&p);
}
END_TEST

/* ---- sessions ---- */

START_TEST(test_a_session_is_apart_from_others)
{
    pt_profile p;
    pt_session(7);
    uint64_t first = pt_main();
    pt_at(1);
    pt_say(LABEL);
    pt_session(8);
    uint64_t second = pt_thread(); /* in the same ring */
    pt_at(5);
    pt_say(LABEL);
    pt_profile_session(&p, 7);
    ck_assert_str_eq(pt_moments(&p, first), "THREAD@0 LABEL@1");
    ck_assert_uint_eq(p.line.actors.count, 1);
    pt_profile_free(&p);
    pt_profile_session(&p, 8);
    ck_assert_str_eq(pt_moments(&p, second), "THREAD@0 LABEL@4");
    ck_assert_uint_eq(p.line.actors.count, 1);
    ck_assert_uint_eq(p.line.main, 0);
    pt_profile_free(&p);
    pt_profile_session(&p, 9);
    ck_assert_uint_eq(p.line.events, 0);
    ck_assert_uint_eq(p.line.main, PERFI_NONE);
    pt_profile_free(&p);
}
END_TEST

static void
begin_another(unsigned index, void *ctx)
{
    (void)ctx;
    (void)index;
    pt_thread();
}

/* As many as write a ring over, and one at a later time. */
static void
write_laps(uint32_t ring)
{
    for (size_t i = 0; i < 2 * ring / sizeof(perfi_event); i++)
        pt_say(LABEL);
    pt_at(5);
    pt_say(LABEL);
}

/* Virtual time begins anew with each session: what was lost of an earlier one
 * may be later by the clock. */
START_TEST(test_what_an_earlier_session_lost_does_not_cut_a_later_one)
{
    enum { RING = 3 * PERFI_CHUNK };
    pt_profile p;
    pt_start(0, RING);
    pt_session(7);
    pt_main();
    pt_at(3);
    write_laps(RING);
    for (uint64_t session = 8; session <= 9; session++) {
        pt_session(session);
        pt_main();
        pt_say(LABEL);
        pt_profile_session(&p, session);
        ck_assert_uint_eq(p.line.headless.count, 1);
        ck_assert(!p.line.is_cut);
        pt_profile_free(&p);
    }
}
END_TEST

START_TEST(test_a_session_that_lost_events_is_cut)
{
    enum { RING = 3 * PERFI_CHUNK };
    pt_profile p;
    pt_start(0, RING);
    pt_session(7);
    pt_main();
    pt_parallel(1, begin_another, NULL); /* a ring that is whole */
    write_laps(RING);
    for (uint64_t session = 7; session <= 8; session++) {
        pt_profile_session(&p, 7); /* with another behind it, too */
        ck_assert_uint_eq(p.line.headless.count, 1);
        ck_assert(p.line.is_cut);
        pt_profile_free(&p);
        pt_session(8);
        pt_main();
    }
    /* one more thread of a session in a ring that lost the first one's */
    pt_at(5);
    write_laps(RING);
    pt_thread();
    pt_profile_session(&p, 8);
    ck_assert(p.line.is_cut);
    pt_profile_free(&p);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("profiler.timeline");
    tcase_add_test(tests, test_nested_actors_share_a_thread);
    tcase_add_test(tests, test_samples_are_nobodys_moments);
    tcase_add_test(tests, test_deeper_than_any_program_is_no_overflow);
    tcase_add_test(tests, test_what_a_spawner_says_of_its_child);
    tcase_add_test(tests,
                   test_the_selectors_wait_belongs_to_the_first_run_after_it);
    tcase_add_test(tests, test_spans_have_parents_ends_and_a_status);
    tcase_add_test(tests, test_spans_that_were_only_seen_in_part);
    tcase_add_test(tests, test_resources);
    tcase_add_test(tests, test_an_actor_in_two_threads_is_in_order_of_time);
    tcase_add_test(tests, test_equal_times_keep_their_order);
    tcase_add_test(tests, test_threads_at_the_same_time);
    tcase_add_test(tests, test_a_thread_that_somebody_started_is_a_thread);
    tcase_add_test(tests, test_threads_without_a_beginning_are_apart);
    tcase_add_test(tests, test_a_lost_run_leaves_its_events_to_the_thread);
    tcase_add_test(tests, test_a_session_is_apart_from_others);
    tcase_add_test(tests,
                   test_what_an_earlier_session_lost_does_not_cut_a_later_one);
    tcase_add_test(tests, test_a_session_that_lost_events_is_cut);
    return pt_end();
}
