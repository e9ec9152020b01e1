/* _scheduler.h - what the two files of the module libperf._scheduler share:
 * writing events, and the ids of what they are about.
 *
 * State is the process's own, not the module's: the core it writes to is one,
 * and so is asyncio, whose classes are replaced. The GIL guards all of it. */
#ifndef LIBPERF_BINDINGS_SCHEDULER_H
#define LIBPERF_BINDINGS_SCHEDULER_H
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <libperf/event.h>

/** What is recorded now: 0 nothing, else a number that grows with each start
 *  and each fork. What begins in one session does not end in another. */
extern uint32_t sched_session;

/** The actor that the next handle this thread makes will run. */
typedef struct sched_actor {
    uint64_t id; /* 0: none */
    perf_actor kind;
} sched_actor;

extern _Thread_local sched_actor sched_next;

/** Write an event of this thread; it is labelled with the current span. */
void sched_emit(perf_event_code code, uint32_t arg, uint64_t key,
                uint64_t more);

/** The same, labelled with the span that is current in another context. */
void sched_emit_in(PyObject *context, perf_event_code code, uint32_t arg,
                   uint64_t key, uint64_t more);

/** The id of any object, the same as long as it lives. Never fails. */
uint64_t sched_id_of(PyObject *object);

/** Has it been given one? */
bool sched_has_id(PyObject *object);

/** Where a future or task of our own types keeps its id; NULL: it is none. */
uint64_t *sched_own_id(PyObject *object);

/** Functions about asyncio, for the module. */
PyObject *sched_loop_types(PyObject *module, PyObject *args);
PyObject *sched_loop_methods(PyObject *module, PyObject *loop_class);

#endif
