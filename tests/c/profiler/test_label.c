/* test_label.c - what time is attributed to: the innermost span, the package of
 * an import, and between a failed call and its next try that call. */
#include "pt_profile.h"

#include <string.h>

static uint32_t
module_name(const char *text)
{
    return pt_name(PERF_KIND_TEXT, text);
}

/* ---- names ---- */

START_TEST(test_one_name_of_two_kinds_is_one_label)
{
    pt_profile p;
    pt_main();
    pt_open_as(PERF_KIND_NODE, "plan");
    pt_open_as(PERF_KIND_SPAN, "plan");
    pt_work(1);
    pt_close();
    pt_work(2);
    pt_close();
    pt_open("planning"); /* begins like it */
    pt_open("pla");      /* and the other way round */
    pt_close();
    pt_close();
    pt_profile_model(&p);
    const perfi_label *l = pt_label(&p, "plan");
    ck_assert_uint_eq(l->calls, 1); /* of the kind that takes more time */
    ck_assert_uint_eq(l->cpu_ns, 3 * PT_MS);
    ck_assert_uint_eq(l->span_ns, 4 * PT_MS);
    ck_assert_uint_eq(pt_label(&p, "planning")->calls, 1);
    ck_assert_uint_eq(pt_label(&p, "pla")->calls, 1);
    ck_assert_uint_eq(p.model.labels.count, 2 + 3);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_code_outside_every_span)
{
    pt_profile p;
    uint64_t main = pt_main();
    pt_work(1);
    pt_say(LABEL);
    pt_work(1);
    pt_say(LABEL, .span = 999); /* of a span that never began */
    pt_profile_model(&p);
    ck_assert_str_eq(pt_ops(&p, main), "run:1 run:1");
    ck_assert_uint_eq(p.model.labels.item[PERFI_NO_LABEL].cpu_ns, 2 * PT_MS);
    pt_profile_free(&p);
}
END_TEST

/* A model's call seen through callbacks: nothing ever runs in it. */
START_TEST(test_a_span_that_is_never_current_counts_while_its_parent_is)
{
    pt_profile p;
    uint64_t main = pt_main();
    uint64_t outer = pt_open("outer");
    pt_work(1);
    pt_say(SPAN_BEGIN, .key = 900, .more = outer,
           .arg = pt_name(PERF_KIND_LLM, "model"));
    pt_work(2);
    pt_say(LABEL);
    pt_work(4);
    pt_say(SPAN_END, .span = 900, .key = 900);
    pt_work(8);
    pt_close();
    pt_profile_model(&p);
    ck_assert_str_eq(pt_ops(&p, main),
                     "run:1@outer run:2@model run:4@model run:8@outer");
    pt_profile_free(&p);
}
END_TEST

/* ---- imports ---- */

START_TEST(test_modules_of_a_package_count_together)
{
    static const char *const modules[] = {"openai.types.chat", "openai",
                                          "openai_helpers", "openai.lib"};
    pt_profile p;
    pt_main();
    pt_open("node"); /* so the program has begun its work */
    for (int i = 0; i < 4; i++) {
        pt_say(IMPORT, .arg = module_name(modules[i]));
        pt_work(1);
        pt_say(IMPORTED);
    }
    pt_work(5);
    pt_close();
    pt_profile_model(&p);
    const perfi_label *l = pt_label(&p, "openai.types.chat");
    ck_assert_uint_eq(l->kind, PERFI_LABEL_IMPORT);
    ck_assert_uint_eq(l->calls, 3);
    ck_assert_uint_eq(l->cpu_ns, 3 * PT_MS);
    ck_assert_uint_eq(pt_label(&p, "openai_helpers")->calls, 1);
    ck_assert_uint_eq(pt_label(&p, "node")->cpu_ns, 5 * PT_MS);
    ck_assert_uint_eq(p.model.startup_ns, 0);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_an_import_and_a_span_of_one_name_are_apart)
{
    pt_profile p;
    pt_main();
    pt_open("numpy");
    pt_say(IMPORT, .arg = module_name("numpy"));
    pt_work(1);
    pt_say(IMPORTED);
    pt_work(2);
    pt_close();
    pt_profile_model(&p);
    ck_assert_uint_eq(p.model.labels.count, 4);
    ck_assert_uint_eq(p.model.labels.item[2].kind, PERFI_LABEL_SPAN);
    ck_assert_uint_eq(p.model.labels.item[2].cpu_ns, 2 * PT_MS);
    ck_assert_uint_eq(p.model.labels.item[3].kind, PERFI_LABEL_IMPORT);
    ck_assert_uint_eq(p.model.labels.item[3].cpu_ns, 1 * PT_MS);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_names_that_cannot_be)
{
    pt_profile p;
    uint64_t main = pt_main();
    pt_say(IMPORT, .arg = UINT32_MAX, .span = 5);
    pt_work(1);
    pt_say(IMPORTED);
    pt_say(IMPORT, .arg = PERF_NAMES_MAX - 1, .span = 5); /* not in the table */
    pt_work(1);
    pt_say(IMPORTED);
    pt_say(SPAN_BEGIN, .key = 900, .arg = PERF_NAMES_MAX - 1);
    pt_profile_model(&p);
    ck_assert_ptr_nonnull(strstr(pt_ops(&p, main), "run:1"));
    pt_profile_free(&p);
}
END_TEST

/* ---- retries ---- */

/* A call that fails, 2 ms of back-off, the same call again. */
static void
fail_and_retry(const char *first, perf_status status, const char *second)
{
    pt_open(first);
    pt_work(1);
    pt_close_as(status);
    pt_work(2);
    pt_open(second);
    pt_work(4);
    pt_close();
}

START_TEST(test_back_off_belongs_to_the_call_that_failed)
{
    pt_profile p;
    uint64_t main = pt_main();
    pt_open("outer");
    fail_and_retry("call", PERF_STATUS_ERROR, "call");
    pt_work(8);
    pt_close();
    pt_profile_model(&p);
    ck_assert_str_eq(pt_ops(&p, main),
                     "run:1@call run:2@call run:4@call run:8@outer");
    ck_assert_uint_eq(pt_label(&p, "call")->retried, 1);
    ck_assert_uint_eq(pt_label(&p, "call")->calls, 2);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_what_is_no_retry)
{
    pt_profile p;
    uint64_t main = pt_main();
    pt_open("outer");
    fail_and_retry("a", PERF_STATUS_OK, "a");    /* it did not fail */
    fail_and_retry("b", PERF_STATUS_ERROR, "c"); /* another call */
    pt_close();
    pt_profile_model(&p);
    ck_assert_str_eq(pt_ops(&p, main), "run:1@a run:2@outer run:4@a run:1@b "
                                       "run:2@outer run:4@c");
    for (size_t i = 0; i < p.model.labels.count; i++)
        ck_assert_uint_eq(p.model.labels.item[i].retried, 0);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_several_tries_in_a_row)
{
    pt_profile p;
    pt_main();
    pt_open("outer");
    for (int i = 0; i < 5; i++) {
        pt_open("call");
        pt_work(1);
        pt_close_as(i < 4 ? PERF_STATUS_CANCELLED : PERF_STATUS_OK);
        pt_work(2);
    }
    pt_close();
    pt_profile_model(&p);
    ck_assert_uint_eq(pt_label(&p, "call")->retried, 4);
    ck_assert_uint_eq(pt_label(&p, "call")->cpu_ns, (5 + 4 * 2) * PT_MS);
    ck_assert_uint_eq(pt_label(&p, "outer")->cpu_ns, 2 * PT_MS);
    pt_profile_free(&p);
}
END_TEST

/* Python 3.11's wait_for() runs each try in a task of its own. */
START_TEST(test_tries_that_sit_in_tasks_of_their_own)
{
    pt_profile p;
    pt_main();
    uint64_t outer = pt_task();
    pt_open("outer");
    for (int i = 0; i < 3; i++) {
        uint64_t inner = pt_new_task();
        pt_suspend(inner);
        pt_resume(inner, PERF_ACTOR_TASK);
        pt_open("call");
        pt_work(1);
        pt_close_as(i < 2 ? PERF_STATUS_ERROR : PERF_STATUS_OK);
        pt_end_actor();
        pt_resume(outer, PERF_ACTOR_TASK);
        pt_work(2);
    }
    pt_end_actor();
    pt_profile_model(&p);
    ck_assert_uint_eq(pt_label(&p, "call")->retried, 2);
    ck_assert_uint_eq(pt_label(&p, "call")->cpu_ns, (3 + 2 * 2) * PT_MS);
    ck_assert_uint_eq(pt_label(&p, "outer")->cpu_ns, 2 * PT_MS);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_spans_whose_parents_run_in_a_circle)
{
    pt_profile p;
    pt_main();
    for (uint64_t i = 0; i < 4; i++)
        pt_say(SPAN_BEGIN, .key = 900 + i, .more = 900 + (i + 1) % 4,
               .arg = pt_name(PERF_KIND_SPAN, "a"));
    for (uint64_t i = 0; i < 4; i++) {
        pt_say(SPAN_END, .key = 900 + i, .arg = PERF_STATUS_ERROR);
        pt_work(1);
        pt_say(SPAN_BEGIN, .key = 910 + i, .more = 900 + (i + 1) % 4,
               .arg = pt_name(PERF_KIND_SPAN, "a"));
        pt_say(LABEL, .span = 900 + i);
    }
    pt_profile_model(&p);
    ck_assert_uint_eq(pt_label(&p, "a")->calls, 8);
    pt_profile_free(&p);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("profiler.label");
    tcase_add_test(tests, test_one_name_of_two_kinds_is_one_label);
    tcase_add_test(tests, test_code_outside_every_span);
    tcase_add_test(
        tests, test_a_span_that_is_never_current_counts_while_its_parent_is);
    tcase_add_test(tests, test_modules_of_a_package_count_together);
    tcase_add_test(tests, test_an_import_and_a_span_of_one_name_are_apart);
    tcase_add_test(tests, test_names_that_cannot_be);
    tcase_add_test(tests, test_back_off_belongs_to_the_call_that_failed);
    tcase_add_test(tests, test_what_is_no_retry);
    tcase_add_test(tests, test_several_tries_in_a_row);
    tcase_add_test(tests, test_tries_that_sit_in_tasks_of_their_own);
    tcase_add_test(tests, test_spans_whose_parents_run_in_a_circle);
    return pt_end();
}
