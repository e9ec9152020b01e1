/* path_spans.c - which span a moment was in: the rules of compile.c, and that a
 * span is over when it has ended, whoever still runs in its name. */
#include "path.h"

#include <stdlib.h>

enum { DEPTH_MAX = 64 }; /* damaged spans may run in circles */

/* ---- the innermost one ---- */

/* A span that was never made current: the innermost one all the same while its
 * parent is, in the actor that began it. */
typedef struct aside {
    uint32_t actor, span; /* span: from 1 on */
    uint32_t below;       /* 1 + the aside that covers the parent without it */
    uint64_t begin;
} aside;

typedef struct asides {
    perfi_list(aside) all; /* by actor, then begin */
    uint32_t next;         /* the next one to begin */
    uint32_t *newest;      /* by parent: 1 + the newest that has not ended */
} asides;

static int
by_begin(const void *a, const void *b)
{
    const aside *x = a, *y = b;
    if (x->actor != y->actor)
        return x->actor < y->actor ? -1 : 1;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->span > y->span) - (x->span < y->span);
}

static void
find_asides(const perfi_path *p, asides *to)
{
    const perfi_timeline *line = p->line;
    for (uint32_t i = 0; i < line->spans.count; i++) {
        const perfi_span *s = &line->spans.item[i];
        if (!s->was_current && s->name != PERFI_NONE)
            *perfi_list_add(p->region, &to->all) =
                (aside){.actor = s->actor, .span = i + 1, .begin = s->begin};
    }
    if (to->all.count)
        qsort(to->all.item, to->all.count, sizeof *to->all.item, by_begin);
    to->newest =
        perfi_region_take(p->region, line->spans.count + 1, sizeof *to->newest);
}

static void
begin_asides(const perfi_path *p, asides *to, uint32_t actor, uint64_t t)
{
    for (; to->next < to->all.count; to->next++) {
        aside *one = &to->all.item[to->next];
        if (one->actor != actor || one->begin > t)
            return;
        uint32_t parent = p->line->spans.item[one->span - 1].parent;
        one->below = to->newest[parent];
        to->newest[parent] = to->next + 1;
    }
}

/* The newest one that covers a span at t; 0: none. */
static uint32_t
aside_of(const perfi_path *p, asides *of, uint32_t span, uint64_t t)
{
    uint32_t *newest = &of->newest[span];
    while (*newest) {
        const aside *one = &of->all.item[*newest - 1];
        uint64_t end = p->line->spans.item[one->span - 1].end;
        if (!end || end > t)
            return one->span;
        *newest = one->below;
    }
    return 0;
}

static bool
has_no_context(const perfi_actor *a)
{
    return a->kind == PERF_ACTOR_WORK || a->kind == PERF_ACTOR_THREAD;
}

static uint32_t
innermost(const perfi_path *p, asides *to, const perfi_actor *a, uint32_t span,
          uint64_t t)
{
    if (!span && has_no_context(a))
        span = a->born_in;
    uint32_t inner = aside_of(p, to, span, t);
    if (inner)
        return inner;
    if (!span && a->around && !p->line->spans.item[a->around - 1].was_current)
        return a->around;
    return span;
}

static void
settle_actor(const perfi_path *p, asides *to, uint32_t actor)
{
    const perfi_actor *a = &p->line->actors.item[actor];
    perfi_moment *m = p->line->moments.item + a->first;
    uint32_t first = to->next;
    bool has_asides =
        first < to->all.count && to->all.item[first].actor == actor;
    if (!a->count || !(has_asides || a->around || has_no_context(a)))
        return;
    uint64_t from = m->t;
    for (uint32_t i = 0; i < a->count; i++) {
        begin_asides(p, to, actor, from);
        m[i].span = innermost(p, to, a, m[i].span, from);
        from = m[i].t;
    }
    begin_asides(p, to, actor, UINT64_MAX); /* those of a damaged clock */
    for (uint32_t i = first; i < to->next; i++)
        to->newest[p->line->spans.item[to->all.item[i].span - 1].parent] = 0;
}

void
perfi_path_settle_spans(perfi_path *p)
{
    asides to = {0};
    find_asides(p, &to);
    for (uint32_t a = 0; a < p->line->actors.count; a++)
        settle_actor(p, &to, a);
    perfi_region_drop(p->region, to.all.item);
    perfi_region_drop(p->region, to.newest);
}

/* ---- those that were open ---- */

uint32_t
perfi_path_open_span(const perfi_path *p, uint32_t span, uint64_t t,
                     uint64_t *from)
{
    for (int up = 0; span && up < DEPTH_MAX; up++) {
        const perfi_span *s = &p->line->spans.item[span - 1];
        bool over = s->end && s->end < t;
        if (s->begin < t && !over && s->name != PERFI_NONE) {
            if (s->begin > *from)
                *from = s->begin;
            return span;
        }
        if (over && s->end > *from)
            *from = s->end;
        span = s->parent;
    }
    return 0;
}
