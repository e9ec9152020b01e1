/* timeline.h - everything that was recorded, actor by actor.
 *
 * The events of a ring follow each other as the thread ran; here they are
 * sorted by the actor that ran. Ids become small numbers: `thing` is an actor
 * or a future (what can be awaited), `span` is 1 + a span's number and 0 where
 * there is none. Times are ns since the first event. */
#ifndef PERFI_TIMELINE_H
#define PERFI_TIMELINE_H
#include "ids.h"

#include <libperf/reader.h>

/** An event of an actor. */
typedef struct perfi_moment {
    uint8_t code;       /* perf_event_code */
    uint32_t arg;       /* as recorded */
    uint32_t thread;    /* whose ring: a number below perfi_timeline.threads */
    uint32_t span;      /* innermost open span before it */
    uint64_t t;         /* when */
    uint64_t cpu;       /* of the thread, filled in where it was not read */
    uint64_t key, more; /* as recorded */
} perfi_moment;

typedef struct perfi_actor {
    uint8_t kind;      /* perf_actor */
    bool is_limit;     /* a timer that nobody waits for */
    uint32_t thing;    /* resolved by its end */
    uint32_t first;    /* its moments: first .. first + count */
    uint32_t count;    /* 0: it never ran */
    uint32_t loop;     /* 1 + number of its loop; 0: a thread's own */
    uint32_t group;    /* of equal callbacks; 0: none */
    uint32_t executor; /* 1 + resource, of a piece of work */
    uint32_t spawner;  /* 1 + actor that made it ready first */
    uint32_t born_in;  /* span of the spawner, then */
    uint32_t inner;    /* newest open span that it began */
    uint32_t around;   /* the spawner's, then */
    uint32_t argument; /* 1 + thing: the future it was called with; 0: none */
    uint64_t deadline; /* of a timer */
    uint64_t waited_from, waited_to; /* the selector's last wait before it */
} perfi_actor;

typedef struct perfi_span {
    uint32_t parent;       /* span */
    uint32_t name;         /* of the segment; PERFI_NONE: never seen to begin */
    uint32_t actor;        /* where it began */
    uint32_t ended_in;     /* actor */
    uint32_t place;        /* of what was called: a name; 0: not known */
    bool is_call;          /* what it was called with is known by `digest` */
    uint32_t status;       /* perf_status */
    bool was_current;      /* code ran in it */
    bool is_open;          /* while its actor is compiled; then also: */
    uint32_t open_child;   /* newest open span in it that is never current */
    uint32_t older, newer; /* spans of the same parent, likewise */
    uint64_t begin, end;   /* end 0: still open */
    uint64_t digest;
} perfi_span;

typedef struct perfi_resource {
    uint32_t kind;     /* perf_resource; 0: not said */
    uint32_t capacity; /* of a lock, an executor: at least 1 */
    uint32_t name;     /* of the segment; PERFI_NONE: none */
    uint32_t where;    /* likewise */
} perfi_resource;

/** A thread's clock: how much CPU time it had used at which time. */
typedef struct perfi_pulse {
    uint64_t t, cpu;
} perfi_pulse;

typedef struct perfi_thread_line {
    perfi_list(perfi_pulse) pulses; /* in the order of their times */
    size_t read;                    /* the last one that was a reading */
} perfi_thread_line;

/** How much memory the process had. */
typedef struct perfi_memory {
    uint64_t t, bytes;
    uint32_t span;
} perfi_memory;

/** A ring whose beginning is lost. */
typedef struct perfi_headless {
    uint64_t from_ns;           /* of the first event that is left */
    uint64_t session, begin_ns; /* the first to begin after it; UINT64_MAX */
} perfi_headless;

typedef struct perfi_timeline {
    perfi_region *region;
    uint64_t start_ns; /* of time 0 */
    uint64_t end;      /* of the last event */
    size_t events;
    perfi_ids things;   /* ids of actors and futures */
    uint32_t *actor_of; /* thing -> actor or PERFI_NONE */
    perfi_list(perfi_actor) actors;
    perfi_list(perfi_moment) moments; /* by actor, then time */
    perfi_ids span_ids, resource_ids, loop_ids;
    perfi_list(perfi_span) spans; /* span 1 is item 0 */
    perfi_list(perfi_resource) resources;
    perfi_list(perfi_thread_line) threads;
    perfi_list(perfi_memory) memory;
    perfi_list(perfi_headless) headless;
    bool is_cut;   /* such a ring lost events of this session */
    uint32_t main; /* the actor whose end is the program's end */
} perfi_timeline;

/** Take the events of a session (PERF_EVENT_THREAD's `more`), or of all: 0. */
void perfi_timeline_read(perfi_timeline *t, perfi_region *region,
                         perf_reader *reader, uint64_t session);

/* ---- pulses.c ---- */

/** Beyond a century a time stands still: sums of two cannot overflow. */
#define PERFI_TIME_MAX (UINT64_C(1) << 62)

/** An event at a time not before the last one's. cpu_ns 0: not read. */
void perfi_pulses_add(perfi_region *region, perfi_thread_line *line, uint64_t t,
                      uint64_t cpu_ns);

/** CPU time a thread had used at a time: linear between two pulses. */
uint64_t perfi_pulses_cpu_at(const perfi_thread_line *line, uint64_t t);
#endif
