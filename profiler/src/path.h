/* path.h - the critical path: from the end of a piece of work back to its
 * begin, always through what it was waiting for, without a gap.
 *
 * An index of the timeline says who ended which wait and who made which actor
 * ready. A walk is a cursor, a place and a time, that goes back: through its
 * actor while that ran, to another actor where it waited. Places come in
 * the order of their times, so a walk takes as many steps as there are moments,
 * and a few more where damaged events run in circles. */
#ifndef PERFI_PATH_H
#define PERFI_PATH_H
#include "program.h"

#include <libperf/analysis.h>

/** A moment and whose it is. */
typedef struct perfi_place {
    uint32_t actor;  /* 1 + number; 0: nowhere */
    uint32_t moment; /* in perfi_timeline.moments */
} perfi_place;

/** What ends waits for a resource. */
typedef enum perfi_gift_kind {
    PERFI_GIFT_PLACE,  /* RELEASE: for ACQUIRE */
    PERFI_GIFT_ITEM,   /* PUT: for GET */
    PERFI_GIFT_ROOM,   /* GOT: for PUT */
    PERFI_GIFT_DONE,   /* TASK_DONE: for JOIN */
    PERFI_GIFT_THREAD, /* END of work: for the next work in its thread */
    PERFI_GIFT_IDLE,   /* END of work: for the executor's shutdown */
} perfi_gift_kind;

typedef struct perfi_gift {
    uint64_t what; /* id of the resource; THREAD: number of the thread; IDLE:
                      1 + number of the executor */
    uint64_t t;
    uint64_t start; /* of the work */
    uint64_t id;    /* of the giver */
    uint32_t kind;
    perfi_place by;
} perfi_gift;

/** A wait between two moments of its actor, as two events bracket it. */
typedef struct perfi_bracketed {
    uint32_t open, close; /* close 0: it has none */
    uint32_t around;      /* 1 + the one of its kind around it */
    uint32_t suspensions; /* of the actor before it */
} perfi_bracketed;

/** A suspension inside a bracket, or the close of one without any. */
typedef struct perfi_inside {
    uint32_t moment, bracket;
} perfi_inside;

typedef struct perfi_import {
    uint32_t first, last; /* moments: IMPORT, IMPORTED */
    uint32_t label;
    bool is_startup; /* before the program's own work */
} perfi_import;

/** A lock that was held in order to sleep: that has a label of its own. */
typedef struct perfi_hold {
    uint32_t actor, span, label;
    uint64_t from, to;
} perfi_hold;

typedef struct perfi_cancel {
    uint32_t target; /* actor */
    uint64_t t;
    perfi_place by;
} perfi_cancel;

/** One of several futures that are awaited together. */
typedef struct perfi_done {
    uint64_t t, id;
    perfi_place by;
} perfi_done;

/** A wait that the walk has come through: where it would go on if all that
 *  happened meanwhile were not known. */
typedef struct perfi_passed {
    perfi_place at;
    uint64_t from;
} perfi_passed;

/** A resource that somebody on the path was waiting for since. */
typedef struct perfi_wanted {
    uint32_t resource;
    uint64_t from;
} perfi_wanted;

typedef struct perfi_path {
    perfi_region *region;
    const perfi_model *model;
    perfi_timeline *line;
    uint64_t *thing_id, *span_id;     /* by number: as recorded */
    perfi_place *resolved;            /* by thing: RESOLVE or END */
    perfi_place *born;                /* by actor: SPAWN, TIMER, SUBMIT */
    perfi_place *ended;               /* by span: SPAN_END */
    perfi_list(perfi_gift) gifts;     /* by what, kind, time */
    perfi_list(perfi_cancel) cancels; /* by target, time */
    perfi_list(perfi_hold) holds;     /* by actor, time */
    perfi_list(perfi_import) imports; /* by moment, like the next two */
    perfi_list(perfi_bracketed) brackets;
    perfi_list(perfi_inside) inside;
    /* the last walk: */
    perf_path_step *step; /* step_count of them, at the end of step_room */
    size_t step_count, step_room;
    perf_path_share *shares; /* by label */
    perfi_list(perfi_passed) passed;
    perfi_list(perfi_wanted) wanted;
    perfi_list(perfi_done) done;
} perfi_path;

/** Where the walk is. */
typedef struct perfi_cursor {
    perfi_path *p;
    perfi_place here;
    uint64_t t, from; /* now; where it ends */
    /* Brent's search for cycles, among the places of one time: */
    perfi_place seen;
    uint64_t seen_t;
    uint32_t since, limit;
} perfi_cursor;

static inline const perfi_moment *
perfi_path_moment(const perfi_path *p, perfi_place at)
{
    return &p->line->moments.item[at.moment];
}

/* path_index.c */
void perfi_path_prepare(perfi_path *p, perfi_region *region,
                        const perfi_model *model);

/* path_walk.c */
/** Find the path of a span, 0: of the program, into `step` and `shares`.
 *  Returns false when there is no such span, or it has not ended. */
bool perfi_path_find(perfi_path *p, uint64_t span);

/* path_spans.c */
/** Make `span` of each moment the innermost one that was open. */
void perfi_path_settle_spans(perfi_path *p);
/** The span, or the first around it, that was open right before t. *from is
 *  raised to where that changes. */
uint32_t perfi_path_open_span(const perfi_path *p, uint32_t span, uint64_t t,
                              uint64_t *from);

/* path_label.c */
void perfi_path_find_holds(perfi_path *p);
/** Of time from `from` on, that was attributed to a span. */
uint32_t perfi_path_label(const perfi_path *p, perf_step_kind kind,
                          perfi_place of, uint32_t span, uint64_t from);

/* path_wake.c: who ended a wait; nowhere if that is not known */
/** Order of places in time; the same whichever thread was read first. */
int perfi_path_compare(const perfi_path *p, perfi_place a, perfi_place b);
/** The number of an actor, or PERFI_NONE. */
uint32_t perfi_path_actor(const perfi_path *p, uint64_t key);
perfi_place perfi_path_resolver(const perfi_path *p, uint64_t key);
perfi_place perfi_path_canceller(const perfi_path *p, uint32_t target,
                                 uint64_t from, uint64_t to);
/** The last one not by `self`, after `from`. */
perfi_place perfi_path_giver(const perfi_path *p, perfi_gift_kind kind,
                             uint64_t what, uint32_t self, uint64_t from,
                             uint64_t to);
/** Of several futures, the one whose end was enough. */
perfi_place perfi_path_finisher(perfi_path *p, const perfi_actor *a,
                                const perfi_bracketed *wait);
const perfi_bracketed *perfi_path_bracket(const perfi_path *p, uint32_t moment);
/** The import that the time before a moment belongs to. */
const perfi_import *perfi_path_import(const perfi_path *p, uint32_t moment);

/* path_step.c */
/** Attribute the time between `to` and the cursor; which goes there. `of`:
 *  whose time it is, and in which span. */
void perfi_path_spend(perfi_cursor *c, perf_step_kind kind, perfi_place of,
                      uint64_t to);
/** Until the cursor comes to `from` somebody waits for a resource. */
void perfi_path_want(perfi_cursor *c, uint64_t id, uint64_t from);
#endif
