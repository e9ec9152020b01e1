/* store.c - the folders that a process has open, each once: LMDB would lose its
 * locks if it opened one twice. A forked child has none. */
#define _GNU_SOURCE
#include "store.h"

#include "../../segment/reader.h"
#include "../../segment/segment.h"
#include "folder.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

_Atomic unsigned perfi_forks; /* relaxed: changed while there is one thread */

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static perfi_store *stores;

/* The parent's stores are its own; what they hold is left as it is, for LMDB
 * must not close in a child. Their lock may have been held. */
static void
forget_stores(void)
{
    stores = NULL;
    registry_lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    atomic_fetch_add_explicit(&perfi_forks, 1, memory_order_relaxed);
}

__attribute__((constructor)) static void
watch_forks(void)
{
    pthread_atfork(NULL, NULL, forget_stores);
}

/* ---- open ---- */

static perfi_store *
find(const struct stat *st)
{
    perfi_store *s = stores;
    while (s && (s->device != st->st_dev || s->inode != st->st_ino))
        s = s->next;
    return s;
}

static perfi_store *
make_store(const perf_disk_config *config, int folder, const struct stat *st)
{
    const perf_allocator *a = config->allocator;
    perfi_store *s = a->alloc(sizeof *s, a->ctx);
    if (!s)
        return NULL;
    s->allocator = s->queue.allocator = s->database.allocator = a;
    s->database.folder = folder;
    s->database.keep = config->keep;
    s->database.state.fd = -1;
    for (int i = 0; i < PERFI_VIEWS; i++)
        atomic_init(&s->database.slot[i].taken, PERFI_VIEW_GONE);
    s->queue.room = config->queue_entries;
    s->writes.ceiling = UINT64_MAX;
    s->writes.process = perfi_random_bits();
    s->max_bytes = config->max_bytes;
    s->device = st->st_dev;
    s->inode = st->st_ino;
    s->forks = atomic_load_explicit(&perfi_forks, memory_order_relaxed);
    return s;
}

static void
destroy(perfi_store *s)
{
    const perf_allocator *a = s->allocator;
    perfi_database_free(&s->database);
    close(s->database.folder);
    a->free(s, sizeof *s, a->ctx);
}

/* The registry is locked. */
static perf_err
open_new(const perf_disk_config *config, int folder, const struct stat *st,
         char *why, perfi_store **out)
{
    perfi_store *s = make_store(config, folder, st);
    if (!s) {
        close(folder);
        return PERF_ERR_NOMEM;
    }
    perf_err err = perfi_database_open(&s->database, s->max_bytes, why);
    if (!err) {
        s->max_bytes = s->database.state.header->max_bytes;
        err = perfi_writer_start(s);
        if (err)
            perfi_database_close(&s->database, true);
    }
    if (err) {
        destroy(s);
        return err;
    }
    s->opens = s->holders = 1;
    s->next = stores;
    stores = s;
    *out = s;
    return PERF_OK;
}

perf_err
perfi_store_open(const perf_disk_config *config, char *why, perfi_store **out)
{
    int folder;
    struct stat st;
    pthread_mutex_lock(&registry_lock);
    perf_err err = perfi_disk_folder_open(config->path, why, &folder);
    if (!err && fstat(folder, &st)) {
        err = PERF_ERR_SYSTEM;
        close(folder);
    }
    if (!err) {
        perfi_store *s = find(&st);
        if (s) {
            close(folder);
            s->opens++;
            s->holders++;
            *out = s;
        } else {
            err = open_new(config, folder, &st, why, out);
        }
    }
    pthread_mutex_unlock(&registry_lock);
    return err;
}

/* ---- close ---- */

static void
unlink_store(perfi_store *s)
{
    perfi_store **at = &stores;
    while (*at && *at != s)
        at = &(*at)->next;
    if (*at)
        *at = s->next;
}

void
perfi_store_stop(perfi_store *s)
{
    /* held to the end: nobody opens the folder again before it is closed */
    pthread_mutex_lock(&registry_lock);
    if (!--s->opens) {
        perfi_writer_stop(s);
        if (!s->is_stuck) {
            perfi_database_close(&s->database, true);
            unlink_store(s);
        }
    }
    pthread_mutex_unlock(&registry_lock);
}

void
perfi_store_free(perfi_store *s)
{
    pthread_mutex_lock(&registry_lock);
    bool last = !--s->holders && !s->is_stuck;
    pthread_mutex_unlock(&registry_lock);
    if (last)
        destroy(s);
}
