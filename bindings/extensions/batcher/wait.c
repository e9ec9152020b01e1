/* wait.c - threads that wait: for a result, or to be let in. A lock is
 * made only when one really waits. */
#include "batcher.h"

#include <libperf/clock.h>

void
bat_release(bat_future *it)
{
    bat_waiter *waiter = it->waiters;
    it->waiters = NULL;
    while (waiter) {
        bat_waiter *next = waiter->next; /* it may be gone once released */
        waiter->released = true;
        PyThread_release_lock(waiter->lock);
        waiter = next;
    }
}

/* They come in as they came: behind the first who still waits all do. */
void
bat_release_entrants(bat_queue *queue)
{
    bat_waiter *waiter;
    while ((waiter = queue->entrants)) {
        if (waiter->future->item.state == PERF_BATCH_BLOCKED &&
            waiter->future->state == BAT_PENDING)
            return;
        queue->entrants = waiter->behind;
        waiter->entrant = false;
        if (!waiter->released)
            bat_release(waiter->future);
    }
}

static void
unlink_waiter(bat_waiter *waiter)
{
    bat_waiter **at = &waiter->future->waiters;
    while (*at && *at != waiter)
        at = &(*at)->next;
    if (*at)
        *at = waiter->next;
    at = &waiter->future->queue->entrants;
    while (waiter->entrant && *at && *at != waiter)
        at = &(*at)->behind;
    if (waiter->entrant && *at)
        *at = waiter->behind;
}

/* Those that nobody uses, with their locks closed: threads that ask one thing
 * after the other use the same ones. */
enum { WAITERS_KEPT = 64 };
static bat_waiter *waiters_kept;
static int waiters_count;

static void
free_waiter(bat_waiter *waiter, bool locked)
{
    unlink_waiter(waiter);
    Py_DECREF(waiter->future);
    if (!locked && waiter->released) /* just now: close it again */
        PyThread_acquire_lock(waiter->lock, NOWAIT_LOCK);
    if (waiters_count < WAITERS_KEPT) {
        waiters_count++;
        waiter->next = waiters_kept;
        waiters_kept = waiter;
        return;
    }
    PyThread_release_lock(waiter->lock); /* some must be open to be freed */
    PyThread_free_lock(waiter->lock);
    PyMem_Free(waiter);
}

/** With a closed lock, else zero; NULL: no memory. */
static bat_waiter *
new_waiter(void)
{
    bat_waiter *waiter = waiters_kept;
    if (waiter) {
        waiters_count--;
        waiters_kept = waiter->next;
        *waiter = (bat_waiter){.lock = waiter->lock};
        return waiter;
    }
    waiter = PyMem_Calloc(1, sizeof *waiter);
    PyThread_type_lock lock = waiter ? PyThread_allocate_lock() : NULL;
    if (!lock) {
        PyMem_Free(waiter);
        PyErr_NoMemory();
        return NULL;
    }
    PyThread_acquire_lock(lock, WAIT_LOCK);
    waiter->lock = lock;
    return waiter;
}

static bat_waiter *
make_waiter(bat_future *it, bool entrant)
{
    bat_waiter *waiter = new_waiter();
    if (!waiter)
        return NULL;
    waiter->future = (bat_future *)Py_NewRef(it);
    waiter->next = it->waiters;
    it->waiters = waiter;
    if ((waiter->entrant = entrant)) {
        bat_waiter **last = &it->queue->entrants;
        while (*last)
            last = &(*last)->behind;
        *last = waiter;
    }
    return waiter;
}

static int
wait_on(bat_waiter *waiter, uint64_t timeout_ns)
{
    uint64_t begin_ns = perf_clock_now_ns();
    for (;;) {
        PY_TIMEOUT_T us = -1; /* for ever */
        if (timeout_ns != UINT64_MAX) {
            uint64_t past_ns = perf_clock_now_ns() - begin_ns;
            if (past_ns >= timeout_ns)
                return 0;
            uint64_t left_us = (timeout_ns - past_ns + 999) / 1000;
            us = left_us < 3600000000u ? (PY_TIMEOUT_T)left_us : 3600000000;
        }
        PyLockStatus status;
        Py_BEGIN_ALLOW_THREADS;
        status = PyThread_acquire_lock_timed(waiter->lock, us, 1);
        Py_END_ALLOW_THREADS;
        if (status == PY_LOCK_ACQUIRED)
            return 1;
        if (status == PY_LOCK_INTR && PyErr_CheckSignals())
            return -1;
    }
}

int
bat_wait(bat_future *it, uint64_t timeout_ns, bool entrant)
{
    bat_waiter *waiter = make_waiter(it, entrant);
    if (!waiter)
        return -1;
    int outcome = wait_on(waiter, timeout_ns);
    free_waiter(waiter, outcome > 0);
    return outcome;
}
