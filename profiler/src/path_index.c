/* path_index.c - who ended which wait, who made which actor ready, and which
 * moments lie between which: one pass over everything. */
#include "path.h"

#include <stdlib.h>

/* ---- brackets ---- */

enum family {
    NO_FAMILY,
    ACQUIRE,
    GET,
    PUT,
    JOIN,
    THREADS, /* from here on the thread itself waits */
    WAIT = THREADS,
    HOST,
    SLEEP,
    FAMILIES,
};

static const struct {
    uint8_t family;
    bool opens;
} bracket[PERF_EVENT_IMPORTED + 1] = {
    [PERF_EVENT_ACQUIRE] = {ACQUIRE, true},
    [PERF_EVENT_ACQUIRED] = {ACQUIRE, false},
    [PERF_EVENT_NOT_ACQUIRED] = {ACQUIRE, false},
    [PERF_EVENT_GET] = {GET, true},
    [PERF_EVENT_GOT] = {GET, false},
    [PERF_EVENT_NOT_GOT] = {GET, false},
    [PERF_EVENT_PUT] = {PUT, true},
    [PERF_EVENT_HAS_PUT] = {PUT, false},
    [PERF_EVENT_NOT_PUT] = {PUT, false},
    [PERF_EVENT_JOIN] = {JOIN, true},
    [PERF_EVENT_JOINED] = {JOIN, false},
    [PERF_EVENT_WAIT] = {WAIT, true},
    [PERF_EVENT_WAIT_EXECUTOR] = {WAIT, true},
    [PERF_EVENT_WAITED] = {WAIT, false},
    [PERF_EVENT_HOST] = {HOST, true},
    [PERF_EVENT_HOSTED] = {HOST, false},
    [PERF_EVENT_SLEEP] = {SLEEP, true},
    [PERF_EVENT_SLEPT] = {SLEEP, false},
};

/* An actor while its moments are gone through. */
typedef struct indexer {
    perfi_path *p;
    const perfi_actor *a;
    perfi_place here;
    uint32_t open[FAMILIES]; /* 1 + newest open bracket of each */
    uint32_t suspensions;
    uint32_t import; /* 1 + the open one */
} indexer;

static void
open_bracket(indexer *x, uint32_t family)
{
    perfi_path *p = x->p;
    *perfi_list_add(p->region, &p->brackets) = (perfi_bracketed){
        .open = x->here.moment,
        .around = x->open[family],
        .suspensions = x->suspensions,
    };
    x->open[family] = (uint32_t)p->brackets.count;
}

static void
note_inside(indexer *x, uint32_t number)
{
    *perfi_list_add(x->p->region, &x->p->inside) =
        (perfi_inside){x->here.moment, number};
}

static void
close_bracket(indexer *x, uint32_t family)
{
    if (!x->open[family])
        return;
    uint32_t number = x->open[family] - 1;
    perfi_bracketed *b = &x->p->brackets.item[number];
    b->close = x->here.moment;
    x->open[family] = b->around;
    if (b->suspensions == x->suspensions)
        note_inside(x, number);
}

/* Brackets are numbered as they open: the innermost has the highest number. */
static void
note_suspension(indexer *x)
{
    uint32_t innermost = 0;
    for (uint32_t f = ACQUIRE; f < THREADS; f++)
        if (x->open[f] > innermost)
            innermost = x->open[f];
    x->suspensions++;
    if (innermost)
        note_inside(x, innermost - 1);
}

/* ---- edges ---- */

/* Events that say the same twice: the first one counts. */
static void
note(indexer *x, perfi_place *at)
{
    if (!at->actor || perfi_path_compare(x->p, x->here, *at) < 0)
        *at = x->here;
}

static void
note_resolved(indexer *x, uint64_t key)
{
    uint32_t thing = perfi_ids_find(&x->p->line->things, key);
    if (thing != PERFI_NONE)
        note(x, &x->p->resolved[thing]);
}

static void
note_born(indexer *x, uint64_t key)
{
    uint32_t child = perfi_path_actor(x->p, key);
    if (child != PERFI_NONE)
        note(x, &x->p->born[child]);
}

static void
note_cancel(indexer *x, const perfi_moment *m)
{
    perfi_path *p = x->p;
    uint32_t target = perfi_path_actor(p, m->key);
    if (target != PERFI_NONE)
        *perfi_list_add(p->region, &p->cancels) =
            (perfi_cancel){target, m->t, x->here};
}

static void
note_span_end(indexer *x, const perfi_moment *m)
{
    perfi_path *p = x->p;
    uint32_t span = m->span; /* most often the current one ends */
    if (!span || p->span_id[span - 1] != m->key)
        span = perfi_ids_find(&p->line->span_ids, m->key) + 1;
    if (span)
        note(x, &p->ended[span - 1]);
}

static void
close_import(indexer *x)
{
    if (x->import)
        x->p->imports.item[x->import - 1].last = x->here.moment;
    x->import = 0;
}

static void
open_import(indexer *x, const perfi_moment *m)
{
    const perfi_model *model = x->p->model;
    uint32_t inside = perfi_label_at(model, m->span, x->here.actor - 1, m->t);
    uint32_t label = perfi_label_find_import(model, m->arg, inside);
    *perfi_list_add(x->p->region, &x->p->imports) = (perfi_import){
        .first = x->here.moment,
        .last = x->a->first + x->a->count - 1, /* if nothing ends it */
        .label = label != PERFI_NONE ? label : PERFI_NO_LABEL,
        .is_startup = x->a->kind == PERF_ACTOR_MAIN && !m->span,
    };
    x->import = (uint32_t)x->p->imports.count;
}

static void
give(indexer *x, perfi_gift_kind kind, uint64_t what)
{
    const perfi_moment *all = x->p->line->moments.item;
    *perfi_list_add(x->p->region, &x->p->gifts) = (perfi_gift){
        .what = what,
        .t = all[x->here.moment].t,
        .start = x->a->executor ? all[x->a->first].t : 0,
        .id = x->p->thing_id[x->a->thing],
        .kind = kind,
        .by = x->here,
    };
}

/* ---- the pass ---- */

static void
ended(indexer *x, const perfi_moment *m)
{
    note(x, &x->p->resolved[x->a->thing]);
    if (x->a->kind != PERF_ACTOR_WORK || !x->a->executor)
        return;
    give(x, PERFI_GIFT_THREAD, m->thread);
    give(x, PERFI_GIFT_IDLE, x->a->executor);
}

static void
index_moment(indexer *x, const perfi_moment *m)
{
    if (m->code <= PERF_EVENT_IMPORTED && bracket[m->code].family) {
        uint32_t family = bracket[m->code].family;
        bracket[m->code].opens ? open_bracket(x, family)
                               : close_bracket(x, family);
    }
    switch (m->code) {
    case PERF_EVENT_SUSPEND: note_suspension(x); break;
    case PERF_EVENT_RESOLVE: note_resolved(x, m->key); break;
    case PERF_EVENT_END: ended(x, m); break;
    case PERF_EVENT_SPAWN:
    case PERF_EVENT_TIMER:
    case PERF_EVENT_SUBMIT: note_born(x, m->key); break;
    case PERF_EVENT_CANCEL: note_cancel(x, m); break;
    case PERF_EVENT_SPAN_END: note_span_end(x, m); break;
    case PERF_EVENT_IMPORT: open_import(x, m); break;
    case PERF_EVENT_IMPORTED: close_import(x); break;
    case PERF_EVENT_RELEASE: give(x, PERFI_GIFT_PLACE, m->key); break;
    case PERF_EVENT_PUT:
    case PERF_EVENT_HAS_PUT:
    case PERF_EVENT_PUT_NOWAIT: give(x, PERFI_GIFT_ITEM, m->key); break;
    case PERF_EVENT_GOT:
    case PERF_EVENT_GOT_NOWAIT: give(x, PERFI_GIFT_ROOM, m->key); break;
    case PERF_EVENT_TASK_DONE: give(x, PERFI_GIFT_DONE, m->key); break;
    default: break;
    }
}

static void
index_actor(perfi_path *p, uint32_t actor)
{
    indexer x = {.p = p,
                 .a = &p->line->actors.item[actor],
                 .here = {.actor = actor + 1}};
    for (uint32_t i = 0; i < x.a->count; i++) {
        x.here.moment = x.a->first + i;
        index_moment(&x, &p->line->moments.item[x.here.moment]);
    }
}

static int
by_what(const void *a, const void *b)
{
    const perfi_gift *x = a, *y = b;
    if (x->what != y->what)
        return x->what < y->what ? -1 : 1;
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    if (x->t != y->t)
        return x->t < y->t ? -1 : 1;
    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

static int
by_target(const void *a, const void *b)
{
    const perfi_cancel *x = a, *y = b;
    if (x->target != y->target)
        return x->target < y->target ? -1 : 1;
    return (x->t > y->t) - (x->t < y->t);
}

static uint64_t *
by_number(perfi_region *region, const perfi_ids *ids)
{
    uint64_t *id = perfi_region_take(region, ids->count, sizeof *id);
    for (size_t i = 0; i < ids->room; i++)
        if (ids->id[i])
            id[ids->index[i]] = ids->id[i];
    return id;
}

void
perfi_path_prepare(perfi_path *p, perfi_region *region,
                   const perfi_model *model)
{
    perfi_timeline *line = model->line;
    *p = (perfi_path){.region = region, .model = model, .line = line};
    p->thing_id = by_number(region, &line->things);
    p->span_id = by_number(region, &line->span_ids);
    p->resolved =
        perfi_region_take(region, line->things.count, sizeof *p->resolved);
    p->born = perfi_region_take(region, line->actors.count, sizeof *p->born);
    p->ended = perfi_region_take(region, line->spans.count, sizeof *p->ended);
    p->shares =
        perfi_region_take(region, model->labels.count, sizeof *p->shares);
    perfi_path_settle_spans(p);
    for (uint32_t a = 0; a < line->actors.count; a++)
        index_actor(p, a);
    if (p->gifts.count)
        qsort(p->gifts.item, p->gifts.count, sizeof *p->gifts.item, by_what);
    if (p->cancels.count)
        qsort(p->cancels.item, p->cancels.count, sizeof *p->cancels.item,
              by_target);
    perfi_path_find_holds(p);
}
