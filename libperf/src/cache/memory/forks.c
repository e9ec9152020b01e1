/* forks.c - takes the locks of all caches around a fork(), so that a child does
 * not inherit one from a thread that it does not have. */
#include "cache.h"

#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static perf_cache *caches; /* under the lock */

void
perfi_forks_watch(perf_cache *cache)
{
    pthread_mutex_lock(&lock);
    cache->next = caches;
    cache->link = &caches;
    if (caches)
        caches->link = &cache->next;
    caches = cache;
    pthread_mutex_unlock(&lock);
}

void
perfi_forks_unwatch(perf_cache *cache)
{
    pthread_mutex_lock(&lock);
    *cache->link = cache->next;
    if (cache->next)
        cache->next->link = cache->link;
    pthread_mutex_unlock(&lock);
}

static void
before_fork(void)
{
    pthread_mutex_lock(&lock);
    for (perf_cache *cache = caches; cache; cache = cache->next)
        for (uint32_t i = 0; i < cache->shard_count; i++)
            perfi_lock_take(&cache->shard[i].lock);
}

static void
after_fork(void)
{
    for (perf_cache *cache = caches; cache; cache = cache->next)
        for (uint32_t i = 0; i < cache->shard_count; i++)
            perfi_lock_give(&cache->shard[i].lock);
    pthread_mutex_unlock(&lock);
}

/* After the handlers of arenas (they run the other way round before a fork):
 * who holds a shard may ask one for memory. */
__attribute__((constructor)) static void
watch_forks(void)
{
    pthread_atfork(before_fork, after_fork, after_fork);
}
