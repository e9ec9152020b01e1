/* path_walk.c - the cursor: what an actor did before, or whom it waited for. */
#include "path.h"

#include <string.h>

static const perfi_moment *
moment(const perfi_cursor *c)
{
    return perfi_path_moment(c->p, c->here);
}

static const perfi_actor *
actor(const perfi_cursor *c)
{
    return &c->p->line->actors.item[c->here.actor - 1];
}

static uint64_t
time_of(const perfi_cursor *c, perfi_place at)
{
    return perfi_path_moment(c->p, at)->t;
}

/* ---- who waited ---- */

/* Who was waiting already at that time; NULL: nobody known. */
static const perfi_passed *
last_passed(perfi_cursor *c, uint64_t t)
{
    perfi_path *p = c->p;
    while (p->passed.count && p->passed.item[p->passed.count - 1].from > t)
        p->passed.count--;
    return p->passed.count ? &p->passed.item[p->passed.count - 1] : NULL;
}

static void
pass(perfi_cursor *c, perfi_place waiter)
{
    *perfi_list_add(c->p->region, &c->p->passed) =
        (perfi_passed){waiter, time_of(c, waiter)};
}

/* What led here is not known: go on in who was waiting for it all the time. */
static void
lose_track(perfi_cursor *c, uint64_t t)
{
    const perfi_passed *last = last_passed(c, t);
    perfi_place there = last ? last->at : c->here;
    perfi_path_spend(c, PERF_STEP_UNEXPLAINED, there,
                     last ? last->from : c->from);
    c->here = there;
}

/* `waiter` waited from there on, until `by` ended that. */
static void
wake(perfi_cursor *c, perfi_place waiter, perfi_place by)
{
    uint64_t since = time_of(c, waiter);
    if (!by.actor) {
        perfi_path_spend(c, PERF_STEP_UNEXPLAINED, waiter, since);
        c->here = waiter;
    } else if (time_of(c, by) < since) { /* it was done before */
        perfi_path_spend(c, PERF_STEP_LAG, waiter, since);
        c->here = waiter;
    } else {
        pass(c, waiter);
        perfi_path_spend(c, PERF_STEP_LAG, waiter, time_of(c, by));
        c->here = by;
    }
}

/* ---- the first moment of an actor ---- */

/* The selector brought it: until then the waiter's time passed outside. */
static void
came_from_selector(perfi_cursor *c)
{
    const perfi_passed *last = last_passed(c, c->t);
    if (!last) {
        lose_track(c, c->t);
        return;
    }
    uint64_t ready = actor(c)->waited_to;
    perfi_path_spend(c, PERF_STEP_LAG, c->here,
                     ready > last->from ? ready : last->from);
    perfi_path_spend(c, PERF_STEP_IO, last->at, last->from);
    c->here = last->at;
}

/* Work that found all threads of its executor busy goes on where the one that
 * took it got free. */
static bool
waited_for_thread(perfi_cursor *c, perfi_place born)
{
    const perfi_moment *m = moment(c), *submit = perfi_path_moment(c->p, born);
    perfi_place by = perfi_path_giver(c->p, PERFI_GIFT_THREAD, m->thread,
                                      c->here.actor, submit->t, m->t);
    if (!by.actor)
        return false;
    pass(c, born);
    perfi_path_want(c, submit->more, submit->t);
    perfi_path_spend(c, PERF_STEP_LAG, c->here, time_of(c, by));
    c->here = by;
    return true;
}

static void
began(perfi_cursor *c)
{
    const perfi_actor *a = actor(c);
    perfi_place born = c->p->born[c->here.actor - 1];
    if (!born.actor || time_of(c, born) > moment(c)->t) {
        if (a->kind == PERF_ACTOR_IO)
            came_from_selector(c);
        else
            lose_track(c, c->t);
        return;
    }
    if (a->kind == PERF_ACTOR_WORK && waited_for_thread(c, born))
        return;
    uint64_t asked = time_of(c, born), due = asked;
    if (a->kind == PERF_ACTOR_TIMER && a->deadline > due)
        due = a->deadline;
    perfi_path_spend(c, PERF_STEP_LAG, c->here, due);
    perfi_path_spend(c, PERF_STEP_SLEEP, born, asked);
    c->here = born;
}

/* ---- waits ---- */

static perfi_place
giver(perfi_cursor *c, const perfi_moment *open, uint64_t since, uint64_t to)
{
    perfi_gift_kind kind = PERFI_GIFT_PLACE;
    if (open->code == PERF_EVENT_GET)
        kind = PERFI_GIFT_ITEM;
    else if (open->code == PERF_EVENT_PUT)
        kind = PERFI_GIFT_ROOM;
    else if (open->code == PERF_EVENT_JOIN)
        kind = PERFI_GIFT_DONE;
    return perfi_path_giver(c->p, kind, open->key, c->here.actor, since, to);
}

/* It was suspended, and now it runs again. */
static void
resumed(perfi_cursor *c)
{
    const perfi_moment *run = moment(c), *s = run - 1;
    perfi_place waiter = {c->here.actor, c->here.moment - 1}, by = waiter;
    const perfi_bracketed *b = perfi_path_bracket(c->p, waiter.moment);
    const perfi_moment *open = b ? &c->p->line->moments.item[b->open] : NULL;
    if (s->code != PERF_EVENT_SUSPEND)
        by.actor = 0;
    else if (s->key)
        by = perfi_path_resolver(c->p, s->key);
    if (by.actor && time_of(c, by) > run->t)
        by.actor = 0;
    if (!by.actor)
        by = perfi_path_canceller(c->p, waiter.actor - 1, s->t, run->t);
    if (!by.actor && open)
        by = giver(c, open, s->t, run->t);
    if (open)
        perfi_path_want(c, open->key, open->t);
    wake(c, waiter, by);
}

static perfi_place
woke_executor(perfi_cursor *c, const perfi_moment *open, uint64_t to)
{
    uint32_t executor = perfi_ids_find(&c->p->line->resource_ids, open->key);
    return perfi_path_giver(c->p, PERFI_GIFT_IDLE, executor + 1, 0, 0, to);
}

/* Its thread waited. Returns false when it found what it wanted at once. */
static bool
blocked(perfi_cursor *c, const perfi_bracketed *b)
{
    const perfi_moment *close = moment(c);
    const perfi_moment *open = &c->p->line->moments.item[b->open];
    perfi_place waiter = {c->here.actor, b->open}, by = {0};
    bool limited = false, is_resource = false;
    if (close->code == PERF_EVENT_SLEPT) {
        limited = true;
    } else if (close->code == PERF_EVENT_HOSTED) {
        by = perfi_path_resolver(c->p, open->key);
    } else if (open->code == PERF_EVENT_WAIT_EXECUTOR) {
        by = woke_executor(c, open, close->t);
    } else if (close->code == PERF_EVENT_WAITED) {
        limited = close->arg == 1;
        by = perfi_path_finisher(c->p, actor(c), b);
    } else {
        is_resource = true;
        limited = close->code == PERF_EVENT_NOT_ACQUIRED ||
                  close->code == PERF_EVENT_NOT_GOT ||
                  close->code == PERF_EVENT_NOT_PUT;
        by = giver(c, open, open->t, close->t);
        if (!by.actor && !limited)
            return false;
    }
    if (is_resource)
        perfi_path_want(c, open->key, open->t);
    if (limited) {
        perfi_path_spend(c, PERF_STEP_BLOCK, waiter, open->t);
        c->here = waiter;
        return true;
    }
    if (by.actor && time_of(c, by) > close->t)
        by.actor = 0;
    wake(c, waiter, by);
    return true;
}

/* ---- it ran ---- */

/* A task that is started eagerly (Python 3.12) makes its first step inside of
 * its spawner. */
static bool
called(perfi_cursor *c)
{
    const perfi_timeline *line = c->p->line;
    const perfi_moment *m = moment(c);
    if (m[-1].code != PERF_EVENT_SPAWN)
        return false;
    uint32_t child = perfi_path_actor(c->p, m[-1].key);
    if (child == PERFI_NONE)
        return false;
    const perfi_actor *a = &line->actors.item[child];
    const perfi_moment *step = &line->moments.item[a->first];
    if (a->kind != PERF_ACTOR_TASK || !a->count || step->thread != m->thread ||
        step->t < m[-1].t)
        return false;
    for (uint32_t i = 0; i < a->count && step[i].t <= m->t; i++) {
        if (step[i].code != PERF_EVENT_SUSPEND &&
            step[i].code != PERF_EVENT_END)
            continue;
        perfi_path_spend(c, PERF_STEP_RUN, c->here, step[i].t);
        c->here = (perfi_place){child + 1, a->first + i};
        return true;
    }
    return false;
}

/* Before the next event of its own nothing is known of an actor that has given
 * its thread away. */
static bool
gives_thread_away(uint32_t code)
{
    return code == PERF_EVENT_SUSPEND || code == PERF_EVENT_END ||
           code == PERF_EVENT_WAIT || code == PERF_EVENT_WAIT_EXECUTOR ||
           code == PERF_EVENT_SLEEP || code == PERF_EVENT_HOST;
}

static void
ran(perfi_cursor *c)
{
    const perfi_moment *before = moment(c) - 1;
    perf_step_kind kind =
        gives_thread_away(before->code) ? PERF_STEP_UNEXPLAINED : PERF_STEP_RUN;
    if (called(c))
        return;
    perfi_path_spend(c, kind, c->here, before->t);
    c->here.moment--;
}

/* ---- the walk ---- */

/* Brent's algorithm (1980): among the places of one time, is this one where
 * the cursor was before? Causes never run in circles, damaged events may. */
static bool
goes_round(perfi_cursor *c)
{
    bool same =
        c->here.actor == c->seen.actor && c->here.moment == c->seen.moment;
    if (c->t == c->seen_t && same)
        return true;
    if (c->t != c->seen_t)
        c->limit = 1;
    else if (++c->since < c->limit)
        return false;
    else
        c->limit *= 2;
    c->seen = c->here;
    c->seen_t = c->t;
    c->since = 0;
    return false;
}

static void
step_back(perfi_cursor *c)
{
    const perfi_bracketed *b;
    if (goes_round(c))
        lose_track(c, c->t - 1);
    else if (c->here.moment == actor(c)->first)
        began(c);
    else if (moment(c)->code == PERF_EVENT_RUN)
        resumed(c);
    else if (!(b = perfi_path_bracket(c->p, c->here.moment)) ||
             b->close != c->here.moment || !blocked(c, b))
        ran(c);
}

/* Where it ends and when it began. */
static bool
begin_walk(perfi_cursor *c, uint64_t span)
{
    const perfi_timeline *line = c->p->line;
    if (!span) {
        if (line->main == PERFI_NONE || !line->actors.item[line->main].count)
            return false;
        const perfi_actor *a = &line->actors.item[line->main];
        c->here = (perfi_place){line->main + 1, a->first + a->count - 1};
        c->from = line->moments.item[a->first].t;
    } else {
        uint32_t number = perfi_ids_find(&line->span_ids, span);
        if (number == PERFI_NONE || !c->p->ended[number].actor ||
            line->spans.item[number].name == PERFI_NONE)
            return false;
        c->here = c->p->ended[number];
        c->from = line->spans.item[number].begin;
    }
    c->t = time_of(c, c->here);
    return true;
}

bool
perfi_path_find(perfi_path *p, uint64_t span)
{
    perfi_cursor c = {.p = p, .seen_t = UINT64_MAX};
    p->step_count = p->passed.count = p->wanted.count = 0;
    memset(p->shares, 0, p->model->labels.count * sizeof *p->shares);
    if (!begin_walk(&c, span))
        return false;
    while (c.t > c.from)
        step_back(&c);
    return true;
}
