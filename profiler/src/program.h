/* program.h - what each actor does, as a list of operations that can be run
 * again under other conditions.
 *
 * A wait holds no duration, only what is waited for; so a replay makes every
 * wait anew. Only what the recording cannot explain keeps its length. */
#ifndef PERFI_PROGRAM_H
#define PERFI_PROGRAM_H
#include "timeline.h"

typedef enum perfi_op_code {
    PERFI_OP_NONE,    /* a place for an operation that comes later */
    PERFI_OP_RUN,     /* use the CPU for ns, holding the interpreter lock */
    PERFI_OP_BLOCK,   /* keep the thread for ns, without the lock */
    PERFI_OP_WAIT,    /* until `what` (thing) is done; more: 1 + suspension */
    PERFI_OP_DELAY,   /* suspended for ns: nobody known ended that */
    PERFI_OP_NEVER,   /* suspended, and never seen again */
    PERFI_OP_YIELD,   /* only a turn of the loop */
    PERFI_OP_SPAWN,   /* `what` (actor) can run */
    PERFI_OP_TIMER,   /* `what` (actor) can run after ns and `more` on top */
    PERFI_OP_SLOT,    /* like TIMER, at the next slot of its label's limiter */
    PERFI_OP_RESOLVE, /* `what` (thing) is done */
    PERFI_OP_CANCEL,  /* `what` (actor) goes on at operation more - 1; 0: no */
    PERFI_OP_HOST,    /* lend the thread to loop `more` until `what` is done */
    PERFI_OP_SUBMIT,  /* `what` (actor) to executor `more` */
    PERFI_OP_ACQUIRE, /* a place of `what` (resource); more: grant */
    PERFI_OP_RELEASE, /* `what` (resource) */
    PERFI_OP_PUT,     /* `what` (queue) */
    PERFI_OP_GET,     /* of `what` (queue); more: 1 + when it got, 0: never */
    PERFI_OP_TAKE,    /* next item of `what` (queue) and its body, again and
                         again */
    PERFI_OP_TASK_DONE,
    PERFI_OP_JOIN,
    PERFI_OP_BEGIN, /* span `span` begins */
    PERFI_OP_END,   /* and ends */
    PERFI_OP_COUNT, /* until `ns` of the `more` things from keys[what] on are
                       done */
    PERFI_OP_WAIT_EXECUTOR, /* until `what` (resource) has nothing to do */
    PERFI_OP_ITEM,          /* `more` (thing) to `what` (batcher), at ns */
    PERFI_OP_BATCH_BEGIN,   /* of `what` (batcher); more: number of the batch */
    PERFI_OP_PUMP,          /* batches of `what` (batcher) that can go, go */
} perfi_op_code;

typedef struct perfi_op {
    uint8_t code;
    bool nowait; /* GET, PUT: of the _nowait kind */
    uint32_t label;
    uint32_t what;
    uint32_t span;
    uint64_t ns, more;
} perfi_op;

/** What time is attributed to: the names of spans, and a few of our own. */
typedef enum perfi_label_kind {
    PERFI_LABEL_NONE,  /* no span was open */
    PERFI_LABEL_LIMIT, /* time limits: never anybody's service */
    PERFI_LABEL_SPAN,
    PERFI_LABEL_IMPORT, /* a module, imported while the program ran */
    PERFI_LABEL_HOLD,   /* a lock that is held in order to wait */
} perfi_label_kind;

typedef struct perfi_label {
    uint8_t kind;       /* perfi_label_kind */
    uint32_t name;      /* of the segment; HOLD: the resource's number */
    uint32_t inside;    /* IMPORT: label around it */
    uint32_t calls;     /* spans of this name */
    uint32_t retried;   /* of them, begun again after an error */
    uint32_t siblings;  /* of them, after another one from the same place */
    uint32_t mergeable; /* of them, beside another one of another actor */
    uint32_t digested;  /* calls whose arguments are known */
    uint32_t distinct;  /* of these; the others are the same again */
    uint32_t repeats;   /* of these, that an equal one could have answered */
    uint32_t place;     /* of what is called: a name; 0: not known */
    uint32_t limiter;   /* 1 + what spaces its calls out; 0: nothing */
    uint64_t cpu_ns;    /* in RUN */
    uint64_t block_ns;  /* in BLOCK */
    uint64_t delay_ns;  /* in TIMER, SLOT and DELAY */
    uint64_t loop_ns;   /* RUN and BLOCK on a loop */
    uint64_t span_ns;   /* durations of its spans, added up */
    uint64_t first_ns, median_ns, tail_ns; /* see perf_label */
    uint64_t described_ns;                 /* by these */
    int64_t grown_bytes;
    uint64_t barrier_ns;
} perfi_label;

/** Between a failed call and its next try; the time there is the call's. */
typedef struct perfi_retry {
    uint32_t parent, actor, label;
    uint64_t from, to;
} perfi_retry;

/** When an actor was suspended, for those who come from outside. */
typedef struct perfi_suspension {
    uint32_t op;       /* the operation that waited */
    uint64_t from, to; /* to: UINT64_MAX: never came back */
} perfi_suspension;

typedef struct perfi_range {
    uint32_t first, end;
} perfi_range;

/** What an actor does, and where it stood when. */
typedef struct perfi_program {
    perfi_range ops;
    uint32_t whole_end; /* before a worker's was cut short */
    perfi_range suspensions;
    perfi_range epilogue; /* a queue worker's, when it is cancelled */
    uint32_t worker_of;   /* 1 + queue it takes items from; 0: none */
} perfi_program;

/** An item of a queue and what its taker does with it. */
typedef struct perfi_body {
    uint32_t queue;
    bool is_final; /* its taker ended after it */
    uint64_t got_at;
    perfi_range ops;
} perfi_body;

/** A resource asked for by an actor, as it was recorded. */
typedef struct perfi_use {
    uint32_t actor, resource, span;
    uint64_t from, granted;
    uint64_t released; /* an item of a queue: when its taker came again; 0:
                          never seen */
    perfi_range ops;   /* done with it; end 0: never released */
    uint32_t older;    /* 1 + use that is not over either; 0: none */
} perfi_use;

/** One of several calls that came one after the other, from one place. */
typedef struct perfi_sibling {
    uint32_t span;
    uint32_t head;   /* number of the first of them */
    uint32_t count;  /* of them; in the head only */
    perfi_range ops; /* from its BEGIN on */
} perfi_sibling;

/** A call whose arguments are known by a digest, and that came to a good end:
 *  an equal one could have had its result. */
typedef struct perfi_call {
    uint32_t span;
    uint32_t set;    /* of calls that are equal */
    perfi_range ops; /* from its BEGIN on, with its END */
} perfi_call;

/** A batch, as it was recorded. */
typedef struct perfi_batch {
    uint32_t resource, actor;
    uint32_t items, most;
    uint64_t from, to; /* to 0: it was never seen to end */
    perfi_range ops;
} perfi_batch;

/** What items wait for: batches of at most `most`, of which one of n takes
 *  base + each * n. */
typedef struct perfi_batcher {
    bool is_known; /* it can be replayed with another number of places */
    uint32_t most;
    uint32_t items; /* submitted */
    uint32_t actor; /* one that submits */
    uint32_t pump;  /* operation */
    double base, each;
    uint64_t waited_ns; /* of items, recorded, added up */
} perfi_batcher;

/** How long a span took itself. */
typedef struct perfi_own {
    uint32_t name, span;
    uint64_t ns, begin;
} perfi_own;

/** Permits that come one by one. */
typedef struct perfi_limiter {
    uint32_t label;
    uint64_t gap_ns;
} perfi_limiter;

/** When a thread used the CPU for longer than a moment. */
typedef struct perfi_spell {
    uint32_t thread;
    uint64_t from, to;
    uint64_t reach; /* of a tree of them: see cpu.c */
} perfi_spell;

/** CPU time of all threads at a time, and how fast it grows from there on. */
typedef struct perfi_load {
    uint64_t t;
    double cpu, slope;
} perfi_load;

typedef struct perfi_group {
    uint32_t id;
    uint32_t first, count; /* in perfi_model.ordinal */
} perfi_group;

typedef struct perfi_model {
    perfi_region *region;
    perf_reader *reader; /* for the texts of names */
    perfi_timeline *line;
    perfi_program *programs; /* by actor */
    perfi_list(perfi_op) ops;
    perfi_list(perfi_suspension) suspensions;
    perfi_list(uint32_t) keys; /* things of COUNT: those of one set of things
                                  lie together, in the order they came */
    uint32_t *set_of;          /* thing -> the set it came into last; 0: none */
    uint32_t sets;
    perfi_list(perfi_label) labels;
    uint32_t *label_of_name;         /* 1 + label; 0: none yet */
    uint32_t *package_of;            /* name -> 1 + that of its package */
    perfi_list(uint32_t) packages;   /* names */
    perfi_ids import_ids;            /* of a package and a label around it */
    perfi_list(uint32_t) imports;    /* by import_ids: labels */
    perfi_list(perfi_retry) retries; /* by parent, actor, time */
    perfi_list(perfi_use) uses;
    perfi_list(perfi_own) own; /* by name, ns */
    perfi_list(perfi_sibling) siblings;
    uint32_t *sibling_of;  /* span -> 1 + sibling; 0: has none */
    perfi_range *span_ops; /* span -> operations; end 0: not in one piece */
    perfi_list(perfi_call) calls; /* by set, then their beginning */
    uint32_t *call_of;            /* span -> 1 + call; 0: none */
    perfi_range *call_ops; /* span -> operations, with its END; end 0: none */
    uint32_t call_sets;
    uint64_t *span_own; /* span -> how long it took itself, without waits for
                           others */
    uint32_t *open_use; /* resource -> 1 + newest use that is not over */
    perfi_list(perfi_batch) batches;
    perfi_batcher *batchers; /* by resource; NULL: there were no batches */
    perfi_list(perfi_limiter) limiters;
    perfi_list(perfi_body) bodies; /* by queue, then time */
    uint32_t *closes; /* while an actor is compiled: its moment -> the one that
                         closes the bracket which it opens */
    perfi_range *bodies_of;         /* queue -> in bodies */
    perfi_list(perfi_group) groups; /* by id */
    uint32_t *ordinal;              /* actors of groups, as they ran */
    uint32_t *resolver;             /* thing -> 1 + actor; 0: nobody */
    uint32_t grants;
    perfi_list(perfi_spell) spells; /* by their beginning */
    perfi_list(perfi_load) load;    /* in order; none with one thread */
    uint64_t event_ns;              /* what recording one event costs */
    uint64_t startup_ns;            /* imports before the program's own work */
    uint64_t wall_ns;               /* of the main actor, without them */
} perfi_model;

/** Labels 0 and 1. */
enum { PERFI_NO_LABEL = 0, PERFI_LIMIT_LABEL = 1 };

/** Make the programs of everything that was recorded. */
void perfi_model_build(perfi_model *m, perfi_region *region,
                       perf_reader *reader, perfi_timeline *line);

/* ---- steps of it, one per file ---- */

/** label.c: names, and which span a moment belongs to; retries. */
void perfi_labels_prepare(perfi_model *m);
uint32_t perfi_label_at(const perfi_model *m, uint32_t span, uint32_t actor,
                        uint64_t t);
/** PERFI_NONE: there is none. */
uint32_t perfi_label_find_import(const perfi_model *m, uint32_t name,
                                 uint32_t inside);
uint32_t perfi_label_of_import(perfi_model *m, uint32_t name, uint32_t inside);

/** compile.c: the moments of one actor into operations. */
void perfi_compile(perfi_model *m, uint32_t actor);

/** waits.c: I/O, waits nobody ends, cancelled actors, equal callbacks. */
void perfi_waits_settle(perfi_model *m);

/** limiters.c: locks and timers that only space things out. */
void perfi_limiters_find(perfi_model *m);

/** queues.c: what is done with an item travels with the item. */
void perfi_queues_cut(perfi_model *m);

/** own.c: how the own times of a label's spans are spread. */
void perfi_own_times(perfi_model *m);
void perfi_own_resample(const perfi_model *m, uint64_t seed,
                        double *span_scale);
void perfi_own_memory(perfi_model *m);

/** siblings.c: calls that could be made side by side. */
void perfi_siblings_find(perfi_model *m);

/** repeats.c: calls that are made again. */
void perfi_repeats_find(perfi_model *m);

/** batchers.c: what batches take. */
void perfi_batchers_find(perfi_model *m);

/** merges.c: calls that could be made together. */
void perfi_merges_find(perfi_model *m);

/** steps.c: how long nodes of a graph waited for the last of their step. */
void perfi_steps_find(perfi_model *m);

/** cpu.c: what became of the time of a segment. */
typedef struct perfi_spent {
    uint64_t run_ns, block_ns; /* the rest was waiting for the CPU */
} perfi_spent;
void perfi_cpu_prepare(perfi_model *m);
perfi_spent perfi_cpu_spent(const perfi_model *m, uint32_t thread,
                            uint64_t from, uint64_t to, uint64_t cpu_ns);
#endif
