/* analysis.h - what slows a program, and what a fix would bring.
 *
 * Model:    an analysis takes the scheduler events (event.h) of one process and
 *           makes of them a program for each task, callback and thread: use the
 *           CPU, wait for this, take that. Replaying these programs against
 *           each other gives the program's time again; replaying them with
 *           one thing changed gives the time it would have taken.
 *               gain = (replay(nothing) - replay(change)) / replay(nothing)
 *           Both terms are replayed, so errors of level cancel. How far
 *           replay(nothing) is from the measured wall says whether to
 *           believe it.
 * Limits:   control flow stays as recorded: races, time limits, numbers of
 *           retries. Service that depends on load is taken as constant.
 * Threads:  one at a time per analysis.
 * Memory:   about 300 bytes per event; all of it is freed by destroy().
 * Source:   reference experiments with asyncio programs; the idea of virtual
 *           speed-up is Coz's (Curtsinger, Berger, SOSP 2015). */
#ifndef LIBPERF_ANALYSIS_H
#define LIBPERF_ANALYSIS_H
#include <libperf/reader.h>

PERF_BEGIN_DECLS

typedef struct perf_analysis perf_analysis;

/** Analyse what a reader's copy holds. Takes all its events.
 *  @param session  one time of profiling, as PERF_EVENT_THREAD says; 0: all
 *  Errors: PERF_ERR_INVALID, PERF_ERR_NOMEM; PERF_ERR_NOT_FOUND when there
 *  are no events: nothing was recorded in profiling mode.
 *  Ownership: the caller's, perf_analysis_destroy(). The reader must live
 *  as long, unrefreshed: names are its. */
PERF_API perf_err perf_analysis_create_blocking(perf_reader *reader,
                                                uint64_t session,
                                                const perf_allocator *allocator,
                                                perf_analysis **out);

/** NULL is allowed. */
PERF_API void perf_analysis_destroy(perf_analysis *analysis);

typedef struct perf_analysis_info {
    uint64_t events;
    uint64_t actors;
    uint64_t spans;
    uint64_t lost;       /* events that were overwritten or found no room */
    uint64_t wall_ns;    /* of the main thread, without start-up imports */
    uint64_t startup_ns; /* imports before the program's own work */
    uint64_t replay_ns;  /* the unchanged replay; with a lottery one of many */
    uint64_t lag_ns;     /* ready while the loop was busy, added up */
    uint64_t lock_wait_ns; /* ready while another thread had the interpreter */
    uint64_t first_bytes;  /* resident memory, first reading; 0: none */
    uint64_t last_bytes;
    uint64_t peak_bytes;
    uint32_t threads; /* that recorded events */
    uint32_t labels;
    uint32_t resources;
    uint32_t stuck;   /* 1: the replay never came to its end: a deadlock, or
                         something that is not understood */
    uint32_t lottery; /* 1: threads fought for the interpreter lock: replays
                         differ by seed; take the mean of several */
    uint32_t pad;
} perf_analysis_info;

PERF_API perf_err perf_analysis_info_get(const perf_analysis *analysis,
                                         perf_analysis_info *out);

/** What a label is. Append-only. */
typedef enum perf_label_kind {
    PERF_LABEL_NONE = 0,   /* code outside every span */
    PERF_LABEL_LIMIT = 1,  /* time limits; never a cost */
    PERF_LABEL_SPAN = 2,   /* spans of one name */
    PERF_LABEL_IMPORT = 3, /* a package, imported while the program worked */
    PERF_LABEL_HOLD = 4,   /* sleeping in order to keep a lock: a rate limit */
} perf_label_kind;

/** What time is attributed to. Durations are sums over all tasks. */
typedef struct perf_label {
    uint32_t kind;    /* perf_label_kind */
    uint32_t name;    /* name in the segment; for HOLD number of the resource */
    uint32_t inside;  /* IMPORT: the label around it */
    uint32_t calls;   /* spans (of the kind that takes most), imports */
    uint32_t retried; /* calls that were begun again after an error */
    uint32_t siblings;  /* calls that followed another one from its place */
    uint32_t mergeable; /* calls, without others inside, that were under way
                           at one time with one of another actor, or close to
                           it, and are not the same again */
    uint64_t cpu_ns;    /* used the CPU */
    uint64_t block_ns;  /* kept a thread without using the CPU */
    uint64_t delay_ns;  /* timers and I/O */
    uint64_t loop_ns;   /* CPU and blocking while on an event loop */
    uint64_t span_ns;   /* durations of the spans */
    uint64_t gap_ns;    /* time between grants of a limit in it; 0: none */
    /* of its spans' own times, without what is inside their children: */
    uint64_t first_ns;   /* the earliest one */
    uint64_t median_ns;  /* lower median */
    uint64_t tail_ns;    /* sum of what is above five medians, medians off */
    int64_t grown_bytes; /* resident memory gained meanwhile, minus lost */
    uint64_t barrier_ns; /* other nodes of a graph's step waited for it */
    /* calls whose arguments are known by a digest (PERF_EVENT_CALL): */
    uint32_t digested;
    uint32_t distinct; /* with different arguments */
    uint32_t repeats;  /* made again, with the arguments of one that came to a
                          good end, sooner or later */
    uint32_t place; /* of what is called: "file:line"; UINT32_MAX: not known */
} perf_label;

/** Errors: PERF_ERR_INVALID, PERF_ERR_NOT_FOUND. */
PERF_API perf_err perf_analysis_label(const perf_analysis *analysis,
                                      uint32_t label, perf_label *out);

/** A semaphore, lock, queue, executor or batcher (whose uses are batches). */
typedef struct perf_resource_use {
    uint32_t kind;      /* perf_resource */
    uint32_t capacity;  /* 0: an unbounded queue */
    uint32_t name;      /* in the segment; UINT32_MAX: none */
    uint32_t where;     /* "file:line"; UINT32_MAX: not known */
    uint32_t workers;   /* of a queue: actors that only take from it */
    uint32_t sleeps;    /* 1: a lock that is held in order to sleep */
    uint64_t uses;      /* times it was asked for */
    uint64_t waited_ns; /* in the unchanged replay, added up */
    uint64_t held_ns;   /* recorded, added up */
    uint64_t
        active_ns; /* from the first that asked to the last that was done */
    uint64_t contended; /* holds that somebody waited for */
} perf_resource_use;

PERF_API perf_err perf_analysis_resource(const perf_analysis *analysis,
                                         uint32_t resource,
                                         perf_resource_use *out);

/** What to change. Append-only. */
typedef enum perf_change_kind {
    /* label: the time it takes itself, times `factor` */
    PERF_CHANGE_TIME = 1,
    /* semaphore, executor, batcher: places, times `factor` (of a batcher only
     * where it is known who waits for which item); a queue: each worker comes
     * twice; a lock: what holders do while others wait takes half as long */
    PERF_CHANGE_CAPACITY = 2,
    /* label: time between the grants of its rate limit, times `factor` */
    PERF_CHANGE_GAP = 3,
    /* label: calls that one task made one after the other, from one place and
     * without an error in between, are made side by side; factor is not used.
     * Whether they need each other's results is not known here. */
    PERF_CHANGE_SIDE_BY_SIDE = 4,
    /* label: of calls with the same arguments only the first is made; those
     * that come meanwhile wait for it, later ones take a microsecond; factor is
     * not used. What a call would have resolved, given back or put into a queue
     * still is. Calls that failed, or whose arguments are not known, are made
     * as they were. */
    PERF_CHANGE_CACHE = 5,
    /* label: calls are made together, at most `factor` (1 or more) of them:
     * one such batch at a time, of all who came meanwhile. It takes as long as
     * its longest call, and what BATCH_EACH says. Who is not that one takes no
     * time; what it would have resolved, given back or put into a queue still
     * is. */
    PERF_CHANGE_BATCH = 6,
    /* label, with BATCH: each call more of a batch takes `factor` times its own
     * time; where nothing is said none. Of a batch of n that costs
     * base + each * n it is each / (base + each). */
    PERF_CHANGE_BATCH_EACH = 7,
} perf_change_kind;

typedef struct perf_change {
    uint32_t kind; /* perf_change_kind */
    uint32_t what; /* label or resource */
    double factor; /* 0 .. 1000 */
} perf_change;

/** Replay with changes (none: as it was).
 *  @param seed       who wins when threads fight for the interpreter lock
 *  @param resample   0: durations as recorded; else each span takes as long as
 *                    a random one of its name (bootstrap)
 *  @param out_ns     the program's time; when it got stuck, when it did
 *  Errors: PERF_ERR_INVALID (unknown kind), PERF_ERR_NOT_FOUND, PERF_ERR_RANGE
 *  (factor), PERF_ERR_NOMEM. */
PERF_API perf_err perf_analysis_replay_blocking(perf_analysis *analysis,
                                                const perf_change *changes,
                                                size_t count, uint64_t seed,
                                                uint64_t resample,
                                                uint64_t *out_ns);

/** What the time of a step went to. Append-only. */
typedef enum perf_step_kind {
    PERF_STEP_RUN = 1,    /* code ran */
    PERF_STEP_BLOCK = 2,  /* a thread slept, or waited in vain */
    PERF_STEP_SLEEP = 3,  /* a task waited for a timer */
    PERF_STEP_IO = 4,     /* waited for the world outside */
    PERF_STEP_IMPORT = 5, /* a module was imported */
    PERF_STEP_LAG = 6,    /* could have run, while its thread did not let it */
    PERF_STEP_UNEXPLAINED = 7, /* waited, and no event says for what */
} perf_step_kind;

/** A part of a path: one actor, one span, one way to spend time. */
typedef struct perf_path_step {
    uint64_t from_ns, to_ns; /* to_ns is the next one's from_ns */
    uint64_t actor;          /* its id */
    uint64_t span;           /* id of the innermost open one; 0: none */
    uint32_t label;          /* see perf_analysis_label() */
    uint32_t kind;           /* perf_step_kind */
    uint32_t resource; /* what a wait for has led here; UINT32_MAX: none */
    uint32_t pad;
} perf_path_step;

/** Find the critical path: what the end of a span was waiting for, and that in
 *  turn, back to the span's begin. Steps come in time order and leave no gap,
 *  so they add up to the duration; but in the program's path the imports that
 *  perf_analysis_info calls start-up are left out.
 *  Who waited for another goes on there; who holds a resource works for those
 *  who want it. A task that outlives the span it runs in works for the next one
 *  around it that is open.
 *  @param span  its id; 0: the main thread, from its first event to its last
 *  @param out, count  the steps
 *  Errors: PERF_ERR_INVALID; PERF_ERR_NOT_FOUND (no such span, or its begin or
 *  end is not there), PERF_ERR_NOMEM.
 *  Ownership: the steps are the analysis's, until the next path.
 *  Cost: about 50 ns for each event on the path. */
PERF_API perf_err perf_analysis_path_blocking(perf_analysis *analysis,
                                              uint64_t span,
                                              const perf_path_step **out,
                                              size_t *count);

/** How much of the last path was under a label; all labels together are the
 *  path. */
typedef struct perf_path_share {
    uint64_t ns;             /* of which */
    uint64_t lag_ns;         /* PERF_STEP_LAG */
    uint64_t unexplained_ns; /* PERF_STEP_UNEXPLAINED */
    uint64_t resource_ns;    /* while somebody waited for a resource */
} perf_path_share;

/** All zero before the first path.
 *  Errors: PERF_ERR_INVALID, PERF_ERR_NOT_FOUND. */
PERF_API perf_err perf_analysis_path_share(const perf_analysis *analysis,
                                           uint32_t label,
                                           perf_path_share *out);

PERF_END_DECLS
#endif
