/* test_path_kit.h - scripts: events with their times and threads, written as
 * if several threads had, in any order; and what paths are held against. */
#ifndef TEST_PATH_KIT_H
#define TEST_PATH_KIT_H
#include "pt.h"

#include <libperf/analysis.h>

enum { SCRIPT_THREADS = 4 };

/** Time 0 of scripts: no program has begun by then. */
#define SCRIPT_EPOCH_NS UINT64_C(1000000000000000)
#define MS              UINT64_C(1000000)

/** Events in the order in which they were added. `block` is the thread,
 *  time_ns the time since the epoch; so are TIMER's and SELECT's times. */
typedef struct script_events {
    perf_event *item;
    size_t count, room;
} script_events;

extern script_events script;

void script_add(uint32_t thread, uint64_t t, perf_event e);

/** Write the first `limit` events, each thread's by a thread of its own; the
 *  one that order[] names first writes first. NULL: 0, 1, ... */
void script_play(size_t limit, const uint32_t *order);

/** What was played. */
extern perf_reader *reader;
extern perf_analysis *analysis; /* NULL: there were no events */

void script_analyse(void);
/** Play everything, and analyse it. */
void play(void);
/** Free both. */
void forget(void);

/** The path of a span, 0: the program. */
const perf_path_step *path_of(uint64_t span, size_t *count);

/* ---- small programs, and their paths as text ---- */

/** Ids of actors, futures, spans, resources. */
enum {
    MAIN = 1,
    LOOP,
    ROOT, /* the main task */
    A,
    B,
    C,
    THREAD,
    TIMER,
    IO,
    CALLBACK,
    ANSWER, /* futures */
    OTHER,
    POOL, /* resources */
    LOCK,
    JOBS,
    SPAN = 100,
    INNER,
    OUTER,
};

/** E(thread, milliseconds, name, fields): one more event of the script. */
#define E(thread, ms, name, ...)                                               \
    script_add(thread, (uint64_t)((ms) * (double)MS),                          \
               (perf_event){.code = PERF_EVENT_##name, __VA_ARGS__})

uint32_t text(const char *name);
void begin(uint32_t thread, double ms, uint64_t span, const char *name,
           uint64_t parent);
void end(uint32_t thread, double ms, uint64_t span);
void run(double ms, uint64_t actor, perf_actor kind, uint64_t span);
void thread_begins(uint32_t thread, double ms, uint64_t id);
void resource(uint64_t id, perf_resource kind, uint64_t capacity,
              const char *name);

/** The main thread, in which a loop runs ROOT from 1 ms on. */
void loop_begins(void);
/** ROOT has ended. */
void loop_ends(double ms);

const char *label_of(uint32_t number);

/** The path of a span, 0: of the program. A line for each step: FROM-TO actor
 *  span kind, and what is waited for meanwhile. Where the label is not the
 *  span's name: span=label. */
void expect_path(uint64_t span, const char *expected);
/** Play and compare the program's. */
void expect(const char *expected);

/* ---- what must be true of every path; in a child process (PT_CHECK) ---- */

/** Steps from..to without a gap, but where the script imports at start-up;
 *  their sum is the duration, and so is the sum of the shares. Returns how much
 *  of it is not explained. */
uint64_t check_sum(uint64_t from, uint64_t to, const perf_path_step *step,
                   size_t count);

/** Each lies in a span that was open. */
void check_spans_open(const perf_path_step *step, size_t count);

/** Neighbours have the same actor, or one made the other go on then. */
void check_edges(const perf_path_step *step, size_t count);

/** The actor of each event, by the nesting in its thread; to be freed. */
uint64_t *script_actors(void);

/** When a span began and ended; 0: never. */
void span_times(uint64_t span, uint64_t *begin, uint64_t *end);
#endif
