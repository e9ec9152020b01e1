/* replay_state.h - the state of a replay, shared by its files:
 * replay.c runs it, players.c actors and loops, operations.c what they do,
 * lock.c the interpreter lock, stock.c resources, agenda.c what happens when.
 */
#ifndef PERFI_REPLAY_STATE_H
#define PERFI_REPLAY_STATE_H
#include "replay.h"

enum { PERFI_SIBLING_RUNS = 1, PERFI_SIBLING_DONE = 2 };
/** What a player is in calls that are made together. */
typedef enum perfi_part {
    PERFI_APART,
    PERFI_GATHERS, /* makes a batch of all who have come when its turn is */
    PERFI_QUEUES,  /* waits for the next batch */
    PERFI_LEADS,   /* is the one of its batch whose call is made */
    PERFI_RIDES,   /* waits for that one */
    PERFI_ARRIVED, /* which is done */
} perfi_part;

enum { PERFI_SWITCH_NS = 5000000 }; /* the interpreter's switch interval */

/** One actor in a replay. */
typedef struct perfi_player {
    uint32_t at, end;           /* operations still to run */
    uint32_t then_at, then_end; /* and after these: the loop of a worker */
    uint32_t loop;              /* 1 + loop; 0: a thread of its own */
    uint32_t thread;            /* on which it runs: an actor's number */
    uint32_t epoch;             /* grows when a wait ends: old ones are void */
    uint32_t next;              /* in its loop's queue: 1 + player */
    uint32_t hosts;             /* 1 + loop it has lent its thread to */
    uint32_t holds;             /* shortened holds it is in */
    uint32_t serves;            /* 1 + sibling it runs in another's place */
    uint32_t merging;           /* span that is made together with others */
    uint8_t part;               /* perfi_part, in that */
    uint64_t ready_at;
    double rest_ns; /* of times that are no whole nanoseconds: -0.5 .. 0.5 */
    bool started, queued, done, is_clone;
    bool claimed;   /* the lock, at least once */
    bool cancelled; /* so it is in its own program again */
} perfi_player;

typedef struct perfi_turn {
    uint32_t first, last; /* 1 + player */
} perfi_turn;

typedef struct perfi_loop {
    perfi_turn ready; /* runs in this iteration or the next */
    perfi_turn due;   /* what a timer or the selector made ready: it is seen
                         when the next iteration begins */
    uint32_t left;    /* to run in this iteration */
    uint32_t count;   /* in `ready` */
    uint32_t host;    /* 1 + player */
    bool busy;        /* an actor runs */
    bool on_agenda;   /* a turn is */
} perfi_loop;

/** Somebody who waits; a list, oldest first. */
typedef struct perfi_waiter {
    uint32_t next; /* 1 + waiter */
    uint32_t player, epoch;
    uint32_t grant;   /* of an ACQUIRE */
    uint32_t counter; /* 1 + counter that must run out; 0: none */
    uint64_t since;
} perfi_waiter;

typedef struct perfi_line {
    uint32_t first, last; /* 1 + waiter */
} perfi_line;

/** Calls that are equal, where a cache is tried out. */
typedef struct perfi_flight {
    uint32_t leader; /* span of the one that is computed; 0: none yet */
    bool landed;     /* it is done */
    perfi_line line; /* those who wait for it */
} perfi_flight;

/** Calls of one label that are made together. */
typedef struct perfi_merge {
    bool busy;         /* somebody gathers or leads */
    bool paid;         /* what the others add to the leader's time */
    uint32_t leader;   /* span */
    uint64_t since;    /* the leader's call is made */
    double others;     /* what the others' calls take, in the leader's */
    perfi_line queue;  /* for the next batch */
    perfi_line riders; /* in this one */
} perfi_merge;

/** A batcher with another number of places than it had. */
typedef struct perfi_pumped {
    uint32_t *items;      /* things, in the order of their submission */
    uint32_t head, count; /* those before `head` are in batches */
    uint32_t free;        /* places */
    uint32_t pump;        /* player */
    bool on, called;      /* is replayed; the pump is ready to run */
} perfi_pumped;

/** One of its batches, on its way. */
typedef struct perfi_running {
    uint32_t batcher, first, end;
} perfi_running;

typedef struct perfi_stock {
    uint64_t free, available, unfinished, pending, next_item;
    uint64_t limit; /* of a queue; 0: none */
    perfi_line takers, putters, joiners;
    uint32_t held; /* 1 + grant, linked through grant_next */
    uint64_t waited_ns;
} perfi_stock;

typedef enum perfi_due {
    PERFI_DUE_STEP,    /* a player goes on */
    PERFI_DUE_RESUME,  /* it goes on after it kept its thread */
    PERFI_DUE_READY,   /* it can run */
    PERFI_DUE_DRIVE,   /* a loop takes its next turn */
    PERFI_DUE_RAN,     /* the lock's holder is through */
    PERFI_DUE_PREEMPT, /* the lock's holder must give it up */
    PERFI_DUE_BATCHED, /* a batch is done */
} perfi_due;

typedef struct perfi_date {
    uint64_t t, order;
    uint32_t what, who; /* perfi_due; player, loop or token */
} perfi_date;

/** Who wants the interpreter lock. */
typedef struct perfi_claim {
    uint32_t player, thread;
    uint64_t ns, since;
    bool first; /* of its thread */
} perfi_claim;

struct perfi_replay {
    perfi_model *m;
    perfi_region *region;
    const perfi_conditions *how;
    perfi_outcome outcome;
    uint64_t now, order, random;
    bool ended;

    perfi_list(perfi_date) agenda; /* a heap */
    perfi_player *players;
    uint32_t players_made, players_room;
    perfi_loop *loops;
    perfi_stock *stocks;
    perfi_list(perfi_waiter) waiters;
    uint32_t free_waiter;
    perfi_list(uint32_t) counters;
    uint32_t *keys;      /* of COUNT: in each set those done come first; */
    uint32_t *keys_done; /* by a set's first key: so many */
    bool *done;          /* by thing */
    perfi_line *awaited; /* by thing */
    uint8_t *sibling_is; /* by sibling: 0, RUNS or DONE */
    perfi_line *sibling_line;
    perfi_flight *flights; /* by set of equal calls */
    perfi_list(uint32_t) hurried;
    perfi_merge *merges;  /* by label */
    perfi_pumped *pumped; /* by resource */
    perfi_list(perfi_running) running;
    uint32_t *calls;     /* by group */
    uint64_t *next_slot; /* by limiter */
    bool *contended;     /* by grant */
    uint32_t *grant_next, *grant_player;

    perfi_list(perfi_claim) claims;
    perfi_claim holder;
    bool held;       /* the lock, by `holder` */
    bool handing_on; /* `on` has just run, and may go on with the lock */
    uint32_t on;     /* thread */
    uint32_t token;  /* dates with an older one are void */
    uint32_t preemptions;
    uint64_t switched_at; /* when the lock went to another thread */
};

/** A duration or a capacity, changed; it never overflows. */
static inline uint64_t
perfi_times(uint64_t n, double factor)
{
    double x = (double)n * factor + 0.5;
    return x < 0x1p62 ? (uint64_t)x : UINT64_C(1) << 62;
}

/* agenda.c */
void perfi_agenda_add(perfi_replay *r, uint64_t t, perfi_due what,
                      uint32_t who);
bool perfi_agenda_next(perfi_replay *r, perfi_date *out);

/* lock.c */
void perfi_lock_claim(perfi_replay *r, uint32_t player, uint64_t ns);
void perfi_lock_ran(perfi_replay *r);
void perfi_lock_preempt(perfi_replay *r);

/* stock.c: these return true when the player goes on at once */
bool perfi_stock_acquire(perfi_replay *r, uint32_t player, const perfi_op *op);
void perfi_stock_release(perfi_replay *r, uint32_t player, const perfi_op *op);
bool perfi_stock_put(perfi_replay *r, uint32_t player, const perfi_op *op);
/** Put, although there may be no room. */
void perfi_stock_force(perfi_replay *r, const perfi_op *op);
bool perfi_stock_take(perfi_replay *r, uint32_t player, const perfi_op *op,
                      uint64_t *item);
void perfi_stock_give_back(perfi_replay *r, uint32_t queue);
void perfi_stock_task_done(perfi_replay *r, const perfi_op *op);
bool perfi_stock_join(perfi_replay *r, uint32_t player, const perfi_op *op);
void perfi_stock_submit(perfi_replay *r, const perfi_op *op);
void perfi_stock_worked(perfi_replay *r, uint32_t executor);
bool perfi_stock_wait_idle(perfi_replay *r, uint32_t player,
                           const perfi_op *op);

/** What comes after an operation. */
typedef enum perfi_next {
    PERFI_GO_ON, /* the next one, at once */
    PERFI_KEEPS, /* the actor keeps its thread until a date on the agenda */
    PERFI_LEAVES /* it leaves its thread to others */
} perfi_next;

/* operations.c */
perfi_next perfi_operation(perfi_replay *r, uint32_t player,
                           const perfi_op *op);

/* flights.c */
perfi_next perfi_flight_begin(perfi_replay *r, uint32_t player,
                              const perfi_op *op);
void perfi_flight_end(perfi_replay *r, const perfi_op *op);
bool perfi_flights_give_up(perfi_replay *r);
/** Whether a call can be left out, */
bool perfi_flight_can_skip(const perfi_replay *r, perfi_range ops);
/** and do so: what it means for others happens. */
void perfi_flight_skip(perfi_replay *r, uint32_t player, perfi_range ops);
/** Whether a call is made inside of another one. */
bool perfi_flight_is_inside(const perfi_replay *r, uint32_t span,
                            uint32_t outer);

/* batcher_run.c */
void perfi_batchers_reset(perfi_replay *r);
perfi_next perfi_batcher_item(perfi_replay *r, const perfi_op *op);
perfi_next perfi_batcher_begin(perfi_replay *r, uint32_t player,
                               const perfi_op *op);
perfi_next perfi_batcher_pump(perfi_replay *r, uint32_t player,
                              const perfi_op *op);
void perfi_batcher_done(perfi_replay *r, uint32_t batch);

/* merge_run.c */
perfi_next perfi_merge_begin(perfi_replay *r, uint32_t player,
                             const perfi_op *op);
perfi_next perfi_merge_end(perfi_replay *r, uint32_t player,
                           const perfi_op *op);
bool perfi_merges_give_up(perfi_replay *r);

/* players.c */
/** A sibling begins to run beside the actor whose it is. */
void perfi_replay_set_going(perfi_replay *r, uint32_t player, uint32_t sibling);
void perfi_replay_resolve(perfi_replay *r, uint32_t thing);
perfi_waiter *perfi_replay_wait(perfi_replay *r, perfi_line *line,
                                uint32_t player);
/** Take the oldest waiter whose wait is still on. */
bool perfi_replay_next(perfi_replay *r, perfi_line *line, perfi_waiter *out);
void perfi_replay_ready(perfi_replay *r, uint32_t player);
/** Likewise, made ready by a timer or from outside. */
void perfi_replay_due(perfi_replay *r, uint32_t player);
void perfi_replay_set_turn(perfi_replay *r, uint32_t loop);
/** It runs for the first time. */
void perfi_replay_start(perfi_replay *r, uint32_t player);
void perfi_replay_resume(perfi_replay *r, uint32_t player);
/** Run an actor until it keeps its thread busy or gives it up. */
perfi_next perfi_replay_step(perfi_replay *r, uint32_t player);
/** Run what is ready on a loop. */
void perfi_replay_drive(perfi_replay *r, uint32_t loop);
#endif
