/* batcher_forks.c - takes the locks of all batchers around a fork(), so that a
 * child does not inherit one from a thread that it does not have, and begins
 * with empty ones. */
#include "batcher.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static perf_batcher *batchers; /* under the lock */

void
perfi_batcher_watch(perf_batcher *b)
{
    pthread_mutex_lock(&lock);
    b->next = batchers;
    b->link = &batchers;
    if (batchers)
        batchers->link = &b->next;
    batchers = b;
    pthread_mutex_unlock(&lock);
}

void
perfi_batcher_unwatch(perf_batcher *b)
{
    pthread_mutex_lock(&lock);
    *b->link = b->next;
    if (b->next)
        b->next->link = b->link;
    pthread_mutex_unlock(&lock);
}

static void
before_fork(void)
{
    pthread_mutex_lock(&lock);
    for (perf_batcher *b = batchers; b; b = b->next) {
        pthread_mutex_lock(&b->lock);
        for (uint32_t i = 0; i < PERFI_STRIPES; i++)
            pthread_mutex_lock(&b->stripe[i].lock);
    }
}

static void
give_locks(void)
{
    for (perf_batcher *b = batchers; b; b = b->next) {
        for (uint32_t i = 0; i < PERFI_STRIPES; i++)
            pthread_mutex_unlock(&b->stripe[i].lock);
        pthread_mutex_unlock(&b->lock);
    }
    pthread_mutex_unlock(&lock);
}

/* Condition variables are made anew: threads that are not here wait for them.
 */
static void
empty(perf_batcher *b)
{
    b->forks++;
    perf_batch_queue_forget(b->queue);
    perfi_workers_forget(b);
    b->open = b->left = 0;
    b->guests = b->helpers = 0;
    b->entrants = NULL;
    b->last_entrant = &b->entrants;
    perfi_condition_open(&b->work);
    perfi_condition_open(&b->quiet);
    for (uint32_t i = 0; i < PERFI_STRIPES; i++) {
        b->stripe[i].waiting = 0;
        perfi_condition_open(&b->stripe[i].changed);
    }
}

static void
after_fork_in_child(void)
{
    for (perf_batcher *b = batchers; b; b = b->next)
        empty(b);
    give_locks();
}

/* After the handlers of arenas (they run the other way round before a fork):
 * who holds the lock may ask one for memory. */
__attribute__((constructor)) static void
watch_forks(void)
{
    pthread_atfork(before_fork, give_locks, after_fork_in_child);
}
