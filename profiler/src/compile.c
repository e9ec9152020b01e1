/* compile.c - the moments of one actor into operations.
 *
 * Moments come as they happened. A bracket (ACQUIRE .. ACQUIRED, WAIT ..
 * WAITED) is one operation, whatever happened inside it; everything else is one
 * operation per event, and one or two for the time before it. */
#include "compile.h"

enum {
    OVERSHOOT_NS = 600000, /* epoll rounds up to milliseconds */
    OVERSHOOT_MAX_NS = 1500000,
};

perfi_op *
perfi_compile_op(perfi_compiler *c, perfi_op_code code, uint32_t what)
{
    perfi_op *op = perfi_list_add(c->m->region, &c->m->ops);
    op->code = (uint8_t)code;
    op->what = what;
    return op;
}

uint32_t
perfi_compile_thing(const perfi_compiler *c, uint64_t id)
{
    return perfi_ids_find(&c->m->line->things, id);
}

/* ---- labels ---- */

/* A span that is never made current (a model's call seen through callbacks) is
 * the innermost one all the same while its parent is current. */
static uint32_t
innermost(const perfi_compiler *c, uint32_t span)
{
    const perfi_span *spans = c->m->line->spans.item;
    uint32_t inner = span ? spans[span - 1].open_child : c->top;
    /* what another actor left open is older than what this one began */
    return inner && spans[inner - 1].actor == c->actor ? inner : span;
}

uint32_t
perfi_compile_span(const perfi_compiler *c, const perfi_moment *e)
{
    uint32_t span = e->span;
    if (!span && (c->a->kind == PERF_ACTOR_WORK ||
                  c->a->kind == PERF_ACTOR_THREAD)) /* no context */
        span = c->a->born_in;
    span = innermost(c, span);
    uint32_t around = c->a->around;
    if (!span && around && !c->m->line->spans.item[around - 1].was_current)
        return around;
    return span;
}

uint32_t
perfi_compile_label(const perfi_compiler *c, uint32_t span, uint64_t t)
{
    return c->import ? c->import - 1 : perfi_label_at(c->m, span, c->actor, t);
}

/* Where the list of open spans in a span begins; 0: in none. */
static uint32_t *
open_in(perfi_compiler *c, uint32_t parent)
{
    return parent ? &c->m->line->spans.item[parent - 1].open_child : &c->top;
}

static void
end_call(perfi_compiler *c, uint32_t span)
{
    perfi_compile_op(c, PERFI_OP_END, 0)->span = span;
    c->m->call_ops[span].end = (uint32_t)c->m->ops.count;
}

/* Where the operations of a span lie, when it begins and ends in one actor. */
static void
note_extent(perfi_compiler *c, const perfi_moment *e)
{
    uint32_t span = perfi_ids_find(&c->m->line->span_ids, e->key) + 1;
    const perfi_span *s = span ? &c->m->line->spans.item[span - 1] : NULL;
    if (!s || s->actor != c->actor)
        return;
    uint32_t here = (uint32_t)c->m->ops.count;
    if (e->code == PERF_EVENT_SPAN_END) {
        c->m->span_ops[span].end = here;
        end_call(c, span);
        return;
    }
    c->m->span_ops[span].first = c->m->call_ops[span].first = here;
    perfi_compile_op(c, PERFI_OP_BEGIN, 0)->span = span;
    if (s->is_call && s->end && s->ended_in != c->actor)
        *perfi_list_add(c->m->region, &c->abroad) = span;
}

/* A call that another actor ended (LangChain tells the end of async models in
 * a task of its own) is over when this one goes on after that. */
static void
end_calls_abroad(perfi_compiler *c, uint64_t t)
{
    size_t kept = 0;
    for (size_t i = 0; i < c->abroad.count; i++) {
        uint32_t span = c->abroad.item[i];
        if (c->m->line->spans.item[span - 1].end <= t)
            end_call(c, span);
        else
            c->abroad.item[kept++] = span;
    }
    c->abroad.count = kept;
}

static void
note_open(perfi_compiler *c, const perfi_moment *e)
{
    perfi_span *spans = c->m->line->spans.item;
    uint32_t number = perfi_ids_find(&c->m->line->span_ids, e->key);
    perfi_span *s = number == PERFI_NONE ? NULL : &spans[number];
    bool begins = e->code == PERF_EVENT_SPAN_BEGIN;
    if (!s || s->was_current || s->actor != c->actor || s->is_open == begins)
        return;
    uint32_t *newest = open_in(c, s->parent);
    s->is_open = begins;
    if (begins) {
        s->older = *newest;
        s->newer = 0;
        if (s->older)
            spans[s->older - 1].newer = number + 1;
        *newest = number + 1;
    } else {
        if (s->older)
            spans[s->older - 1].newer = s->newer;
        *(s->newer ? &spans[s->newer - 1].older : newest) = s->older;
    }
}

/* ---- segments ---- */

void
perfi_compile_spend(perfi_compiler *c, perfi_op_code code, uint64_t ns,
                    uint32_t span, uint64_t at)
{
    uint32_t label = perfi_compile_label(c, span, at);
    perfi_label *l = &c->m->labels.item[label];
    *(code == PERFI_OP_RUN ? &l->cpu_ns : &l->block_ns) += ns;
    if (c->a->loop)
        l->loop_ns += ns;
    perfi_op *op = perfi_compile_op(c, code, 0);
    op->ns = ns;
    op->label = label;
    op->span = span;
}

/* The time from the last event to this one. */
static void
segment(perfi_compiler *c, const perfi_moment *e)
{
    if (!c->running || e->t <= c->from)
        return;
    if (c->startup) {
        c->m->startup_ns += e->t - c->from;
        return;
    }
    perfi_spent spent = perfi_cpu_spent(c->m, e->thread, c->from, e->t,
                                        e->cpu > c->cpu ? e->cpu - c->cpu : 0);
    uint32_t span = perfi_compile_span(c, e);
    if (spent.run_ns)
        perfi_compile_spend(c, PERFI_OP_RUN, spent.run_ns, span, c->from);
    if (spent.block_ns)
        perfi_compile_spend(c, PERFI_OP_BLOCK, spent.block_ns, span, c->from);
}

void
perfi_compile_go_on_from(perfi_compiler *c, const perfi_moment *e)
{
    c->running = true;
    c->from = e->t;
    c->cpu = e->cpu;
}

uint32_t
perfi_compile_suspension(perfi_compiler *c, uint64_t from, uint64_t to)
{
    perfi_suspension *s = perfi_list_add(c->m->region, &c->m->suspensions);
    *s = (perfi_suspension){(uint32_t)c->m->ops.count, from, to};
    return (uint32_t)c->m->suspensions.count;
}

uint32_t
perfi_compile_resource(const perfi_compiler *c, uint64_t id)
{
    uint32_t r = perfi_ids_find(&c->m->line->resource_ids, id);
    return r < c->m->line->resources.count ? r : PERFI_NONE;
}

/* ---- single events ---- */

void
perfi_compile_release(perfi_compiler *c, uint32_t resource, uint64_t t)
{
    perfi_model *m = c->m;
    uint32_t number = resource == PERFI_NONE ? 0 : m->open_use[resource];
    perfi_use *use = number ? &m->uses.item[number - 1] : NULL;
    if (!use || use->actor != c->actor) /* what others left open is older */
        return;
    use->released = t;
    use->ops.end = (uint32_t)m->ops.count;
    m->open_use[resource] = use->older;
}

static void
release(perfi_compiler *c, const perfi_moment *e)
{
    uint32_t r = perfi_compile_resource(c, e->key);
    perfi_compile_op(c, PERFI_OP_RELEASE, r);
    perfi_compile_release(c, r, e->t);
}

static void
timer(perfi_compiler *c, const perfi_moment *e)
{
    uint32_t thing = perfi_compile_thing(c, e->key);
    uint32_t number =
        thing == PERFI_NONE ? PERFI_NONE : c->m->line->actor_of[thing];
    if (number == PERFI_NONE)
        return;
    const perfi_actor *a = &c->m->line->actors.item[number];
    if (!a->count) /* it was cancelled */
        return;
    uint64_t ready = a->deadline + OVERSHOOT_NS;
    if (a->waited_from <= a->deadline && a->deadline <= a->waited_to)
        ready = a->waited_to;
    uint64_t over = ready - a->deadline;
    uint32_t span = perfi_compile_span(c, e);
    perfi_op *op = perfi_compile_op(c, PERFI_OP_TIMER, number);
    op->ns = a->deadline > e->t ? a->deadline - e->t : 0;
    op->more = over > OVERSHOOT_MAX_NS ? OVERSHOOT_NS : over;
    op->label =
        a->is_limit ? PERFI_LIMIT_LABEL : perfi_compile_label(c, span, e->t);
    op->span = a->is_limit ? 0 : span;
    c->m->labels.item[op->label].delay_ns += op->ns;
}

static void
child(perfi_compiler *c, perfi_op_code code, const perfi_moment *e,
      uint64_t more)
{
    uint32_t thing = perfi_compile_thing(c, e->key);
    uint32_t number =
        thing == PERFI_NONE ? PERFI_NONE : c->m->line->actor_of[thing];
    if (number != PERFI_NONE)
        perfi_compile_op(c, code, number)->more = more;
}

/* An AWAIT right before: this is the same wait. */
static void
forget_await(perfi_compiler *c, uint32_t thing)
{
    size_t first = c->m->programs[c->actor].ops.first;
    for (size_t i = c->m->ops.count; i-- > first;) {
        perfi_op *op = &c->m->ops.item[i];
        if (op->code == PERFI_OP_WAIT && op->what == thing && !op->more)
            op->code = PERFI_OP_NONE;
        if (op->code != PERFI_OP_RUN && op->code != PERFI_OP_BLOCK)
            return;
    }
}

static void
suspended(perfi_compiler *c, const perfi_moment *e)
{
    c->running = false;
    bool comes_back = c->i + 1 < c->a->count; /* its next RUN */
    uint64_t to = comes_back ? e[1].t : UINT64_MAX;
    if (!e->key) {
        perfi_compile_suspension(c, e->t, to);
        perfi_compile_op(c, PERFI_OP_YIELD, 0);
        return;
    }
    uint32_t span = perfi_compile_span(c, e);
    forget_await(c, perfi_compile_thing(c, e->key));
    perfi_compile_op(c, PERFI_OP_NONE, 0); /* for I/O, see waits.c */
    uint32_t suspension = perfi_compile_suspension(c, e->t, to);
    perfi_op *op =
        perfi_compile_op(c, PERFI_OP_WAIT, perfi_compile_thing(c, e->key));
    op->more = suspension;
    op->span = span;
    op->label = perfi_compile_label(c, span, e->t);
}

static void
import(perfi_compiler *c, const perfi_moment *e)
{
    c->import = 0;
    c->startup = false;
    if (e->code != PERF_EVENT_IMPORT)
        return;
    uint32_t span = perfi_compile_span(c, e);
    c->startup = c->a->kind == PERF_ACTOR_MAIN && !span;
    if (c->startup)
        return;
    uint32_t inside = perfi_compile_label(c, span, e->t);
    c->import = perfi_label_of_import(c->m, e->arg, inside) + 1;
    c->m->labels.item[c->import - 1].calls++;
}

static void
batch(perfi_compiler *c, const perfi_moment *e)
{
    uint32_t r = perfi_compile_resource(c, e->key);
    if (r == PERFI_NONE)
        return;
    uint32_t here = (uint32_t)c->m->ops.count;
    if (e->code == PERF_EVENT_BATCH_BEGIN) {
        perfi_compile_op(c, PERFI_OP_BATCH_BEGIN, r)->more =
            c->m->batches.count;
        perfi_batch *b = perfi_list_add(c->m->region, &c->m->batches);
        *b = (perfi_batch){.resource = r,
                           .actor = c->actor,
                           .items = e->arg,
                           .most = e->more < UINT32_MAX ? (uint32_t)e->more
                                                        : UINT32_MAX,
                           .from = e->t,
                           .ops = {here + 1, 0}};
        return;
    }
    for (size_t i = c->m->batches.count; i-- > 0;) {
        perfi_batch *b = &c->m->batches.item[i];
        if (b->actor != c->actor)
            return;
        if (b->resource != r || b->ops.end)
            continue;
        b->to = e->t;
        b->ops.end = here;
        return;
    }
}

static void
single(perfi_compiler *c, const perfi_moment *e)
{
    switch (e->code) {
    case PERF_EVENT_SUSPEND: suspended(c, e); break;
    case PERF_EVENT_END: c->running = false; break;
    case PERF_EVENT_SPAWN: child(c, PERFI_OP_SPAWN, e, 0); break;
    case PERF_EVENT_SUBMIT:
        child(c, PERFI_OP_SUBMIT, e, perfi_compile_resource(c, e->more));
        break;
    case PERF_EVENT_TIMER: timer(c, e); break;
    case PERF_EVENT_RESOLVE:
        perfi_compile_op(c, PERFI_OP_RESOLVE, perfi_compile_thing(c, e->key));
        break;
    case PERF_EVENT_AWAIT:
        perfi_compile_op(c, PERFI_OP_WAIT, perfi_compile_thing(c, e->key));
        break;
    case PERF_EVENT_RELEASE: release(c, e); break;
    case PERF_EVENT_GOT_NOWAIT: {
        perfi_op *op = perfi_compile_op(c, PERFI_OP_GET,
                                        perfi_compile_resource(c, e->key));
        op->more = e->t + 1;
        op->nowait = true;
        break;
    }
    case PERF_EVENT_PUT_NOWAIT:
        perfi_compile_op(c, PERFI_OP_PUT, perfi_compile_resource(c, e->key));
        break;
    case PERF_EVENT_TASK_DONE:
        perfi_compile_op(c, PERFI_OP_TASK_DONE,
                         perfi_compile_resource(c, e->key));
        break;
    case PERF_EVENT_CANCEL: child(c, PERFI_OP_CANCEL, e, e->t); break;
    case PERF_EVENT_WAIT_FOR:
        if (e->key)
            *perfi_list_add(c->m->region, &c->before) =
                perfi_compile_thing(c, e->key);
        break;
    case PERF_EVENT_SPAN_BEGIN:
    case PERF_EVENT_SPAN_END:
        note_extent(c, e);
        note_open(c, e);
        break;
    case PERF_EVENT_IMPORT:
    case PERF_EVENT_IMPORTED: import(c, e); break;
    case PERF_EVENT_BATCH_BEGIN:
    case PERF_EVENT_BATCH_END: batch(c, e); break;
    case PERF_EVENT_BATCH_ITEM: {
        perfi_op *op = perfi_compile_op(c, PERFI_OP_ITEM,
                                        perfi_compile_resource(c, e->more));
        op->more = perfi_compile_thing(c, e->key);
        op->ns = e->t;
        break;
    }
    default: break;
    }
}

void
perfi_compile(perfi_model *m, uint32_t actor)
{
    perfi_compiler c = {
        .m = m, .actor = actor, .a = &m->line->actors.item[actor]};
    c.moment = m->line->moments.item + c.a->first;
    perfi_brackets_match(&c);
    perfi_program *p = &m->programs[actor];
    p->ops.first = (uint32_t)m->ops.count;
    p->suspensions.first = (uint32_t)m->suspensions.count;
    while (c.i < c.a->count) {
        const perfi_moment *e = &c.moment[c.i];
        if (c.abroad.count)
            end_calls_abroad(&c, e->t);
        if (e->code == PERF_EVENT_RUN || e->code == PERF_EVENT_THREAD) {
            perfi_compile_go_on_from(&c, e);
            c.i++;
            continue;
        }
        segment(&c, e);
        perfi_compile_go_on_from(&c, e);
        if (perfi_bracket_opens(e->code)) {
            perfi_bracket(&c);
        } else {
            single(&c, e);
            c.i++;
        }
    }
    p->ops.end = p->whole_end = (uint32_t)m->ops.count;
    p->suspensions.end = (uint32_t)m->suspensions.count;
    perfi_region_drop(m->region, c.before.item);
    perfi_region_drop(m->region, c.abroad.item);
}
