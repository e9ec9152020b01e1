/* span.c - a span from begin to end: root, child, with attributes, and two
 * threads on the same name. */
#include "cases.h"

#include <libperf/span.h>

static void
root(perf_bench_state *state)
{
    uint32_t name = perf_name(PERF_KIND_SPAN, "bench.root", 10);
    perf_span none = {0};
    for (uint64_t i = 0; i < state->iterations; i++)
        perf_span_end(perf_span_begin(name, none));
}

static void
child(perf_bench_state *state)
{
    uint32_t name = perf_name(PERF_KIND_SPAN, "bench.child", 11);
    perf_span none = {0};
    perf_span parent = perf_span_begin(name, none);
    for (uint64_t i = 0; i < state->iterations; i++)
        perf_span_end(perf_span_begin(name, parent));
    perf_span_end(parent);
}

static void
with_attributes(perf_bench_state *state)
{
    uint32_t name = perf_name(PERF_KIND_LLM, "bench.llm", 9);
    uint32_t model = perf_name(PERF_KIND_KEY, "model", 5);
    uint32_t tokens = perf_name(PERF_KIND_QUANTITY, "tokens", 6);
    uint32_t warmth = perf_name(PERF_KIND_KEY, "temperature", 11);
    uint32_t user = perf_name(PERF_KIND_KEY, "user", 4);
    uint32_t which = perf_name(PERF_KIND_TEXT, "gpt-4o-mini", 11);
    perf_span none = {0};
    for (uint64_t i = 0; i < state->iterations; i++) {
        perf_span s = perf_span_begin(name, none);
        perf_span_set_name(s, model, which);
        perf_span_set_int(s, tokens, 512);
        perf_span_set_float(s, warmth, 0.2);
        perf_span_set_text(s, user, "user-0123456789", 15);
        perf_span_end(s);
    }
}

void
add_span_cases(void)
{
    add_beside("span/root", root, TWO_READS);
    add_beside("span/child", child, TWO_READS);
    add_beside("span/4_attributes", with_attributes, TWO_READS);
    add_beside("span/root/t2", root, "span/root")->threads = 2;
}
