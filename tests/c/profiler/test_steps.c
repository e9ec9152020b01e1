/* test_steps.c - nodes of a graph's step wait for the last one of it, and that
 * is put down to the last one. */
#include "pt_profile.h"

typedef struct node {
    const char *name;
    double begin, end;
} node;

/* Nodes of one graph, in the order of their beginnings. */
static void
graph(const node *nodes, size_t n, perf_kind kind)
{
    pt_main();
    uint64_t top = pt_open_as(PERF_KIND_GRAPH, "graph");
    for (size_t i = 0; i < n; i++) { /* each in a thread of its own */
        pt_at(nodes[i].begin);
        pt_thread();
        uint64_t id = perf_event_new_id();
        pt_say(SPAN_BEGIN, .key = id, .more = top,
               .arg = pt_name(kind, nodes[i].name));
        pt_at(nodes[i].end);
        pt_say(SPAN_END, .span = id, .key = id);
    }
}

START_TEST(test_the_last_of_a_step_keeps_the_others)
{
    static const node nodes[] = {{"a", 0, 10},  {"b", 0, 40},  {"c", 1, 15},
                                 {"d", 41, 60}, {"e", 42, 50}, {"f", 61, 70}};
    pt_profile p;
    graph(nodes, 6, PERF_KIND_NODE);
    pt_profile_model(&p);
    ck_assert_uint_eq(pt_label(&p, "b")->barrier_ns, 25 * PT_MS);
    ck_assert_uint_eq(pt_label(&p, "d")->barrier_ns, 10 * PT_MS);
    for (const char *name = "acef"; *name; name++)
        ck_assert_uint_eq(pt_label(&p, (char[]){*name, 0})->barrier_ns, 0);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_nobody_waits_for_the_last_step)
{
    static const node nodes[] = {{"a", 0, 10}, {"b", 0, 40}};
    pt_profile p;
    graph(nodes, 2, PERF_KIND_NODE);
    pt_profile_model(&p);
    ck_assert_uint_eq(pt_label(&p, "b")->barrier_ns, 0);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_a_node_alone_keeps_nobody)
{
    static const node nodes[] = {{"a", 0, 10}, {"b", 10, 40}, {"c", 41, 50}};
    pt_profile p;
    graph(nodes, 3, PERF_KIND_NODE);
    pt_profile_model(&p);
    for (const char *name = "abc"; *name; name++)
        ck_assert_uint_eq(pt_label(&p, (char[]){*name, 0})->barrier_ns, 0);
    pt_profile_free(&p);
}
END_TEST

START_TEST(test_other_spans_are_no_nodes)
{
    static const node nodes[] = {{"a", 0, 10}, {"b", 0, 40}, {"c", 41, 50}};
    pt_profile p;
    graph(nodes, 3, PERF_KIND_SPAN);
    pt_profile_model(&p);
    ck_assert_uint_eq(pt_label(&p, "b")->barrier_ns, 0);
    pt_profile_free(&p);
}
END_TEST

int
main(void)
{
    TCase *tests = pt_begin("profiler.steps");
    tcase_add_test(tests, test_the_last_of_a_step_keeps_the_others);
    tcase_add_test(tests, test_nobody_waits_for_the_last_step);
    tcase_add_test(tests, test_a_node_alone_keeps_nobody);
    tcase_add_test(tests, test_other_spans_are_no_nodes);
    return pt_end();
}
