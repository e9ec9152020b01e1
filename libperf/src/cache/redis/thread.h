/* thread.h - threads that signals leave alone: they are the program's. */
#ifndef PERFI_REDIS_THREAD_H
#define PERFI_REDIS_THREAD_H
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

/** SIGPIPE among them: a write to a connection that is gone is an error. */
static inline bool
perfi_thread_start(pthread_t *out, void *(*run)(void *), void *arg)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(out, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return !err;
}

#endif
