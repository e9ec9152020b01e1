/* thread.c - threads of C beside Python's: their clocks, their sleep,
 * and how they take the GIL. */
#include "sampler.h"

#include <signal.h>
#include <time.h>

#define NS_PER_S UINT64_C(1000000000)

uint64_t
sam_ns_of(clockid_t clock)
{
    struct timespec t;
    if (clock_gettime(clock, &t))
        return 0;
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

uint64_t
sam_now_ns(void)
{
    return sam_ns_of(CLOCK_MONOTONIC);
}

void
sam_sleep_until(uint64_t ns)
{
#ifdef __linux__
    struct timespec t = {(time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
#else
    uint64_t now = sam_now_ns(), left = ns > now ? ns - now : 0;
    struct timespec t = {(time_t)(left / NS_PER_S), (long)(left % NS_PER_S)};
    nanosleep(&t, NULL);
#endif
}

uint64_t
sam_cpu_of(unsigned long id)
{
#ifdef __linux__
    /* how the kernel numbers the CPU clocks of threads: pthread_getcpuclockid()
     * makes the same of it, but asks for a thread that has not ended */
    return id ? sam_ns_of((clockid_t)(~(unsigned)id << 3 | 6)) : 0;
#else
    return id ? sam_ns_of(CLOCK_PROCESS_CPUTIME_ID) : 0;
#endif
}

bool
sam_thread_start(pthread_t *thread, void *(*run)(void *unused))
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(thread, NULL, run, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return !failed;
}

void
sam_gil_take(sam_gil *gil)
{
    if (gil->own)
        PyEval_RestoreThread(gil->own);
    else
        gil->state = PyGILState_Ensure();
}

void
sam_gil_give(sam_gil *gil)
{
    gil->own = PyEval_SaveThread();
}

void
sam_gil_drop(sam_gil *gil)
{
    if (!gil->own)
        return;
    PyEval_RestoreThread(gil->own);
    PyGILState_Release(gil->state);
    gil->own = NULL;
}
