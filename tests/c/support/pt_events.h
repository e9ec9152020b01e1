/* pt_events.h - writes what a program did, event by event, at the times a test
 * says. What the profiler makes of it: pt_profile.h.
 *
 * Times are milliseconds since the stream began. One thread writes everything:
 * pt_thread() goes on with another thread's events, as a later thread does in
 * the block that an earlier one left behind. */
#ifndef PT_EVENTS_H
#define PT_EVENTS_H
#include "pt.h"

/** When a stream begins. */
#define PT_EPOCH_NS UINT64_C(1000000000)
#define PT_MS       UINT64_C(1000000)

enum { PT_LOOP = 77 }; /* id of the loop that tasks and callbacks run in */

/* ---- time ---- */

/** It is that time now; the CPU was not used since the last event. */
void pt_at(double ms);
double pt_now(void);

/** Time goes on and the CPU is used, or it is not. */
void pt_work(double ms);
void pt_idle(double ms);

/** Whether events have the CPU time that was used; at first they do. */
void pt_read_cpu(bool yes);

/* ---- events ---- */

/** Write one; its span and time are filled in. */
void pt_write(perf_event e);
#define pt_say(name, ...)                                                      \
    pt_write((perf_event){.code = PERF_EVENT_##name, __VA_ARGS__})

/** The main thread, or another one, goes on from here; returns its actor. The
 *  CPU time of a thread begins anew. */
uint64_t pt_main(void);
uint64_t pt_thread(void);

/** What threads that begin from now on say of the session; at first 1. */
void pt_session(uint64_t session);

/** An actor comes on top, with the span it had when it ran last, or that of its
 *  spawner. */
void pt_resume(uint64_t actor, perf_actor kind);
void pt_suspend(uint64_t key);
void pt_end_actor(void);

/** A new task or callback that can run; it inherits the span. */
uint64_t pt_new_task(void);

/** The same, and it runs at once. */
uint64_t pt_task(void);

/** Begin a span in the current one, and make it current; end it. */
uint64_t pt_open(const char *name);
uint64_t pt_open_as(perf_kind kind, const char *name);
void pt_close(void);
void pt_close_as(perf_status status);

uint64_t pt_resource(perf_resource kind, uint64_t capacity, const char *name);

/** The running actor sleeps: a timer that resolves a future. */
typedef struct pt_nap {
    uint64_t timer, future;
    double until;
} pt_nap;

pt_nap pt_doze(double ms);

/** The nap's timer runs, exactly when it is due. */
void pt_wake(pt_nap nap);

/** All of it, for an actor that sleeps while nothing else happens. */
void pt_sleep(uint64_t actor, double ms);
#endif
