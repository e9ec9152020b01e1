/* brackets.c - an event that begins something and the one that ends it, as one
 * operation, whatever happened in between. */
#include "compile.h"

enum { SLEEP_SLACK_NS = 100000 }; /* who sleeps longer waited for the CPU */

static uint32_t
family(uint32_t code)
{
    switch (code) {
    case PERF_EVENT_ACQUIRED:
    case PERF_EVENT_NOT_ACQUIRED: return PERF_EVENT_ACQUIRE;
    case PERF_EVENT_GOT:
    case PERF_EVENT_NOT_GOT: return PERF_EVENT_GET;
    case PERF_EVENT_HAS_PUT:
    case PERF_EVENT_NOT_PUT: return PERF_EVENT_PUT;
    case PERF_EVENT_JOINED: return PERF_EVENT_JOIN;
    case PERF_EVENT_HOSTED: return PERF_EVENT_HOST;
    case PERF_EVENT_WAIT_EXECUTOR:
    case PERF_EVENT_WAITED: return PERF_EVENT_WAIT;
    case PERF_EVENT_SLEPT: return PERF_EVENT_SLEEP;
    default: return code;
    }
}

bool
perfi_bracket_opens(uint32_t code)
{
    return code == PERF_EVENT_ACQUIRE || code == PERF_EVENT_GET ||
           code == PERF_EVENT_PUT || code == PERF_EVENT_JOIN ||
           code == PERF_EVENT_HOST || code == PERF_EVENT_WAIT ||
           code == PERF_EVENT_WAIT_EXECUTOR || code == PERF_EVENT_SLEEP;
}

/* Which moment closes which bracket, for all of an actor: those of a kind lie
 * in one another. Until one is closed the one around it stands in its place. */
void
perfi_brackets_match(perfi_compiler *c)
{
    uint32_t open[PERF_EVENT_IMPORTED + 1] = {0}; /* by kind: 1 + innermost */
    uint32_t *closes = c->m->closes;
    for (uint32_t i = 0; i < c->a->count; i++) {
        uint32_t code = c->moment[i].code, kind = family(code);
        if (perfi_bracket_opens(code)) {
            closes[i] = open[kind];
            open[kind] = i + 1;
        } else if (kind != code && open[kind]) {
            uint32_t opened = open[kind] - 1;
            open[kind] = closes[opened];
            closes[opened] = i;
        }
    }
    for (uint32_t kind = 0; kind <= PERF_EVENT_IMPORTED; kind++)
        for (uint32_t around; open[kind]; open[kind] = around) {
            around = closes[open[kind] - 1];
            closes[open[kind] - 1] = c->a->count; /* never */
        }
}

/* Right before its operation is added. */
static void
note_use(perfi_compiler *c, const perfi_moment *open, const perfi_moment *close)
{
    perfi_model *m = c->m;
    perfi_use *use = perfi_list_add(m->region, &m->uses);
    *use = (perfi_use){
        .actor = c->actor,
        .resource = perfi_compile_resource(c, open->key),
        .span = perfi_compile_span(c, open),
        .from = open->t,
        .granted = close->t,
        .ops = {(uint32_t)m->ops.count + 1, 0},
    };
    if (use->resource == PERFI_NONE)
        return;
    use->older = m->open_use[use->resource];
    m->open_use[use->resource] = (uint32_t)m->uses.count;
}

static void
acquire(perfi_compiler *c, const perfi_moment *open, const perfi_moment *close)
{
    perfi_compile_suspension(c, open->t, close->t);
    note_use(c, open, close);
    uint32_t span = perfi_compile_span(c, open);
    uint32_t resource = perfi_compile_resource(c, open->key);
    perfi_op *op = perfi_compile_op(c, PERFI_OP_ACQUIRE, resource);
    op->more = c->m->grants++;
    op->span = span;
}

/* Who comes for another item is through with the last one. */
static void
get(perfi_compiler *c, const perfi_moment *open, const perfi_moment *close)
{
    uint32_t queue = perfi_compile_resource(c, open->key);
    perfi_compile_release(c, queue, open->t);
    perfi_compile_suspension(c, open->t, close->t);
    note_use(c, open, close);
    perfi_compile_op(c, PERFI_OP_GET, queue)->more = close->t + 1;
}

/* as_completed() says how many it waits for. wait() says afterwards how many
 * were not done; when it is called again with what was left, those that were
 * done before count as well: the set grows. */
static void
wait_for_count(perfi_compiler *c, const perfi_moment *open,
               const perfi_moment *close)
{
    perfi_model *m = c->m;
    bool again = false;
    for (size_t i = 0; i < c->before.count && !open->arg && !again; i++)
        again = c->set && m->set_of[c->before.item[i]] == c->set;
    if (!again) {
        c->set = ++m->sets;
        c->set_first = (uint32_t)m->keys.count;
    }
    for (size_t i = 0; i < c->before.count; i++) {
        uint32_t thing = c->before.item[i];
        if (m->set_of[thing] == c->set)
            continue;
        m->set_of[thing] = c->set;
        *perfi_list_add(m->region, &m->keys) = thing;
    }
    uint32_t all = (uint32_t)m->keys.count - c->set_first;
    uint64_t undone = close->more < all ? close->more : all;
    perfi_op *op = perfi_compile_op(c, PERFI_OP_COUNT, c->set_first);
    op->more = all;
    op->ns = open->arg ? open->arg : all - undone;
}

static void
thread_wait(perfi_compiler *c, const perfi_moment *open,
            const perfi_moment *close)
{
    uint32_t span = perfi_compile_span(c, open);
    if (open->code == PERF_EVENT_WAIT_EXECUTOR) {
        perfi_compile_op(c, PERFI_OP_WAIT_EXECUTOR,
                         perfi_compile_resource(c, open->key));
    } else if (close->arg == 1) { /* the time limit came first */
        perfi_compile_spend(c, PERFI_OP_BLOCK, close->t - open->t, span,
                            open->t);
    } else if (c->before.count == 1 && !close->more) {
        uint32_t suspension = perfi_compile_suspension(c, open->t, close->t);
        perfi_op *op = perfi_compile_op(c, PERFI_OP_WAIT, c->before.item[0]);
        op->more = suspension;
        op->ns = close->t - open->t;
        op->span = span;
        op->label = perfi_compile_label(c, span, open->t);
    } else if (c->before.count) {
        wait_for_count(c, open, close);
    }
    c->before.count = 0;
}

static void
sleep_for(perfi_compiler *c, const perfi_moment *open,
          const perfi_moment *close)
{
    uint64_t asked = open->more + SLEEP_SLACK_NS, took = close->t - open->t;
    if (took > asked) /* it waited for the interpreter lock */
        took = asked;
    uint32_t span = perfi_compile_span(c, open);
    perfi_compile_spend(c, PERFI_OP_BLOCK, took, span, open->t);
}

/* A bracket that came to a good end. */
static void
close_bracket(perfi_compiler *c, const perfi_moment *open,
              const perfi_moment *close)
{
    switch (family(open->code)) {
    case PERF_EVENT_ACQUIRE: acquire(c, open, close); break;
    case PERF_EVENT_GET: get(c, open, close); break;
    case PERF_EVENT_PUT:
        perfi_compile_suspension(c, open->t, close->t);
        perfi_compile_op(c, PERFI_OP_PUT, perfi_compile_resource(c, open->key));
        break;
    case PERF_EVENT_JOIN:
        perfi_compile_suspension(c, open->t, close->t);
        perfi_compile_op(c, PERFI_OP_JOIN,
                         perfi_compile_resource(c, open->key));
        break;
    case PERF_EVENT_HOST:
        perfi_compile_op(c, PERFI_OP_HOST, perfi_compile_thing(c, open->key))
            ->more = perfi_ids_find(&c->m->line->loop_ids, open->more);
        break;
    case PERF_EVENT_WAIT: thread_wait(c, open, close); break;
    case PERF_EVENT_SLEEP: sleep_for(c, open, close); break;
    default: break;
    }
}

/* A bracket that has no end: the actor never came back. */
static void
never_closed(perfi_compiler *c, const perfi_moment *open)
{
    uint32_t r = perfi_compile_resource(c, open->key);
    perfi_compile_suspension(c, open->t, UINT64_MAX);
    switch (family(open->code)) {
    case PERF_EVENT_GET:
        perfi_compile_release(c, r, open->t);
        perfi_compile_op(c, PERFI_OP_GET, r);
        break;
    case PERF_EVENT_JOIN: perfi_compile_op(c, PERFI_OP_JOIN, r); break;
    case PERF_EVENT_ACQUIRE:
        perfi_compile_op(c, PERFI_OP_ACQUIRE, r)->more = c->m->grants++;
        break;
    case PERF_EVENT_HOST:
        perfi_compile_op(c, PERFI_OP_HOST, perfi_compile_thing(c, open->key))
            ->more = perfi_ids_find(&c->m->line->loop_ids, open->more);
        break;
    default: perfi_compile_op(c, PERFI_OP_NEVER, 0); break;
    }
    c->i = c->a->count;
}

void
perfi_bracket(perfi_compiler *c)
{
    const perfi_moment *open = &c->moment[c->i];
    uint32_t end = c->m->closes[c->i];
    if (end == c->a->count) {
        never_closed(c, open);
        return;
    }
    const perfi_moment *close = &c->moment[end];
    if (close->code ==
        PERF_EVENT_NOT_GOT) { /* cancelled: an epilogue follows */
        uint32_t queue = perfi_compile_resource(c, open->key);
        perfi_compile_release(c, queue, open->t);
        if (!c->a->loop) { /* a thread's time limit */
            perfi_op *op = perfi_compile_op(c, PERFI_OP_BLOCK, 0);
            op->ns = close->t - open->t;
            op->label = PERFI_LIMIT_LABEL;
        } else {
            perfi_compile_suspension(c, open->t, close->t);
            perfi_compile_op(c, PERFI_OP_GET, queue);
        }
    } else if (close->code == PERF_EVENT_NOT_ACQUIRED ||
               close->code == PERF_EVENT_NOT_PUT) {
        c->i++; /* what happened inside stays as it was */
        return;
    } else {
        close_bracket(c, open, close);
    }
    perfi_compile_go_on_from(c, close);
    c->i = end + 1;
}
