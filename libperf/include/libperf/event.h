/* event.h - what a scheduler does, event by event: the input of the critical
 * path and of what-if.
 *
 * Model:    an *actor* is anything that runs code: a task, a callback, a
 *           timer's callback, a piece of an executor's work, a thread. A
 *           thread runs one actor at a time: RUN puts an actor on top of what
 *           the thread ran before, SUSPEND and END take it off again. Every
 *           event belongs to the actor on top. The time between two events of
 *           a running actor is one segment; its label is the span of the event
 *           that ends it.
 *           Actors, futures and resources share one space of ids,
 *           perf_event_new_id(). What is awaited is an id: a future's is
 *           resolved by RESOLVE, an actor's by its END.
 *           Nothing is written unless somebody calls these functions: tracing
 *           alone costs nothing here. perf_events_switch() adds the begin and
 *           end of every span.
 * Threads:  any thread writes into its own ring, like spans.
 * Cost:     48 bytes and about one tick's read. The CPU time of the thread is
 *           read (a system call) when 50 us have passed since it was last.
 * Units:    nanoseconds of CLOCK_MONOTONIC. */
#ifndef LIBPERF_EVENT_H
#define LIBPERF_EVENT_H
#include <libperf/base.h>

PERF_BEGIN_DECLS

/** What an actor is. Append-only. */
typedef enum perf_actor {
    PERF_ACTOR_MAIN = 0,     /* the program's first thread */
    PERF_ACTOR_THREAD = 1,   /* any other */
    PERF_ACTOR_TASK = 2,     /* a coroutine that a loop runs */
    PERF_ACTOR_CALLBACK = 3, /* runs once, in a loop */
    PERF_ACTOR_TIMER = 4,    /* a callback that a timer made ready */
    PERF_ACTOR_IO = 5,       /* a callback that the selector made ready */
    PERF_ACTOR_WORK = 6,     /* a piece of work in an executor's thread */
} perf_actor;

/** What a resource is. Append-only. */
typedef enum perf_resource {
    PERF_RESOURCE_SEMAPHORE = 1,
    PERF_RESOURCE_LOCK = 2,
    PERF_RESOURCE_QUEUE = 3,    /* capacity 0: unbounded */
    PERF_RESOURCE_EXECUTOR = 4, /* capacity: its threads */
    PERF_RESOURCE_BATCHER = 5,  /* capacity: batches at a time; 0: it varies */
} perf_resource;

/** What happened. `key` and `more` are what is said here, else 0; `arg` too.
 *  Append-only. */
typedef enum perf_event_code {
    /* a thread begins to record. key: its own actor, which is at the bottom;
     * arg: PERF_ACTOR_MAIN or THREAD; more: session, a number for each time
     * in which somebody records; it begins anew in every thread */
    PERF_EVENT_THREAD = 1,
    /* key: actor that runs now; arg: perf_actor; more: its loop, 0: none */
    PERF_EVENT_RUN = 2,
    PERF_EVENT_SUSPEND = 3, /* key: what it awaits, 0: only a turn */
    PERF_EVENT_END = 4,
    PERF_EVENT_LABEL = 5, /* nothing: the span changes here */

    /* key: actor that can run now; arg: group of equal callbacks, 0: none;
     * more: the future that was done and is its first argument, 0: none */
    PERF_EVENT_SPAWN = 6,
    /* key: actor that a timer runs; more: when (ns); arg: 1 a time limit,
     * which nobody waits for */
    PERF_EVENT_TIMER = 7,
    PERF_EVENT_RESOLVE = 8, /* key: future that is done now */
    PERF_EVENT_AWAIT = 9,   /* key: awaited, perhaps done already */
    PERF_EVENT_CANCEL = 10, /* key: task that is asked to stop */
    /* the loop of this thread comes back from waiting; more: since when (ns) */
    PERF_EVENT_SELECT = 11,
    /* the actor lends its thread to loop `more` until future `key` is done */
    PERF_EVENT_HOST = 12,
    PERF_EVENT_HOSTED = 13, /* and has it back */

    /* key: span; more: its parent; arg: its name */
    PERF_EVENT_SPAN_BEGIN = 14,
    PERF_EVENT_SPAN_END = 15, /* key: span; arg: perf_status */

    /* key: resource; arg: its name (kind TEXT); more: perf_resource, and from
     * bit 8 on its capacity */
    PERF_EVENT_RESOURCE = 16,
    PERF_EVENT_WHERE = 17, /* key: resource; arg: "file:line" (kind TEXT) */
    /* key: semaphore or lock */
    PERF_EVENT_ACQUIRE = 18,
    PERF_EVENT_ACQUIRED = 19,
    PERF_EVENT_NOT_ACQUIRED = 20, /* cancelled, or in vain */
    PERF_EVENT_RELEASE = 21,
    /* key: queue */
    PERF_EVENT_GET = 22,
    PERF_EVENT_GOT = 23,
    PERF_EVENT_NOT_GOT = 24,
    PERF_EVENT_GOT_NOWAIT = 25,
    PERF_EVENT_PUT = 26,
    PERF_EVENT_HAS_PUT = 27,
    PERF_EVENT_NOT_PUT = 28,
    PERF_EVENT_PUT_NOWAIT = 29,
    PERF_EVENT_TASK_DONE = 30,
    PERF_EVENT_JOIN = 31,
    PERF_EVENT_JOINED = 32,
    /* key: work; more: executor */
    PERF_EVENT_SUBMIT = 33,

    /* The thread waits. What it waits for was said by WAIT_FOR events right
     * before; arg: how many of these must be done, 0: WAITED will say. */
    PERF_EVENT_WAIT_FOR = 34, /* key: future, thread */
    PERF_EVENT_WAIT = 35,
    PERF_EVENT_WAIT_EXECUTOR = 36, /* key: executor that shuts down */
    /* arg: 1 the time limit came first; more: how many were not done */
    PERF_EVENT_WAITED = 37,
    /* the thread sleeps; more: how long it asked for (ns) */
    PERF_EVENT_SLEEP = 38,
    PERF_EVENT_SLEPT = 39,

    PERF_EVENT_IMPORT = 40, /* arg: module (kind TEXT) */
    PERF_EVENT_IMPORTED = 41,

    /* more: resident memory of the process, in bytes. Written by the core
     * itself before another event, about once a millisecond. */
    PERF_EVENT_MEMORY = 42,

    /* key: span; more: a digest of what it was called with: calls of one name
     * that have equal ones are the same call again; arg: where what was called
     * is defined, "file:line" (kind TEXT), 0: not known */
    PERF_EVENT_CALL = 43,

    /* key: future of an item; more: batcher that has it now */
    PERF_EVENT_BATCH_ITEM = 44,
    /* The actor processes a batch. key: batcher; arg: items; more: the most
     * that one may have. Up to BATCH_END its items are resolved. */
    PERF_EVENT_BATCH_BEGIN = 45,
    PERF_EVENT_BATCH_END = 46, /* key: batcher */

    /* The three below belong to the span that they name, and may be written
     * while nothing else is: they say where in the code (frame.h).
     * key: frame, and from bit 32 on the system's id of the thread that it is
     * about; 0: the thread whose ring it lies in. arg: perf_span's task.
     * the thread was here. more: how much CPU time (ns) it stands for: what
     * the thread has used since the last one */
    PERF_EVENT_SAMPLE = 47,
    /* memory was allocated here. more: how many bytes it stands for */
    PERF_EVENT_ALLOCATED = 48,
    /* the event loop of this thread was held up here, up to the event. more:
     * since when (ns). Written when the loop has come round; once before that,
     * by another thread, in case it never does */
    PERF_EVENT_STALL = 49,
} perf_event_code;

/** One event, as a reader gives it. */
typedef struct perf_event {
    uint16_t code;    /* perf_event_code; a reader skips those it does not
                         know */
    uint16_t block;   /* whose ring: events of one come in order */
    uint32_t arg;     /* see the code */
    uint64_t time_ns; /* when */
    uint64_t cpu_ns;  /* CPU time of the thread; 0: not read */
    uint64_t span;    /* innermost open span before the event; 0: none */
    uint64_t key;     /* see the code */
    uint64_t more;    /* see the code */
} perf_event;

/** Write one event now. Dropped and counted when there is no room. */
PERF_API void perf_event_write(perf_event_code code, uint32_t arg,
                               uint64_t span, uint64_t key, uint64_t more);

/** An id that this process has not given out before; never 0. */
PERF_API uint64_t perf_event_new_id(void);

/** Also write SPAN_BEGIN and SPAN_END for spans, in every thread, or stop. */
PERF_API void perf_events_switch(bool on);

/** Tests: from now on it is `now_ns`, and every thread has used `cpu_ns` of
 *  CPU time, until the next call; 0, 0: back to the real clocks. Spans that
 *  begin and end while events are switched on take it too, in ticks: exact to
 *  the nanosecond only near the real time. */
PERF_API void perf_events_set_time(uint64_t now_ns, uint64_t cpu_ns);

PERF_END_DECLS
#endif
