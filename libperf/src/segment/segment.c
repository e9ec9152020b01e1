/* segment.c - starts the segment, hands out its chunks, ends it. */
#define _GNU_SOURCE
#include "segment.h"

#include "../base/clock.h"
#include "../base/intern.h"
#include "../base/say.h"
#include "thread.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAX_BYTES          (UINT64_C(4) << 30)
#define DEFAULT_BYTES      (UINT64_C(64) << 20)
#define MIN_RING_BYTES     ((uint64_t)PERFI_CHUNK)
#define MAX_RING_BYTES     ((uint64_t)PERFI_CHUNK * PERFI_RING_CHUNKS_MAX)
#define DEFAULT_RING_BYTES (UINT64_C(4) << 20)

perfi_segment perfi_segment_state = {
    .fd = -1,
    .lock = PTHREAD_MUTEX_INITIALIZER,
};

/* ---- settings ---- */

static uint64_t
bytes_from_environment(const char *name, uint64_t least, uint64_t most,
                       uint64_t normal)
{
    const char *text = getenv(name);
    if (!text || !*text)
        return normal;
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || *end || *text == '-' || value < least || value > most) {
        perfi_say_once(PERFI_SAY_SETTING,
                       "%s=%s is not a number of bytes from %llu to %llu; "
                       "using %llu",
                       name, text, (unsigned long long)least,
                       (unsigned long long)most, (unsigned long long)normal);
        return normal;
    }
    return value;
}

void
perf_segment_config_init(perf_segment_config *config, uint32_t size)
{
    if (!config || size < sizeof *config)
        return;
    *config = (perf_segment_config){
        .size = size,
        .version = PERF_SEGMENT_CONFIG_VERSION,
        .max_bytes = bytes_from_environment(
            "LIBPERF_MAX_BYTES", PERFI_MIN_BYTES, MAX_BYTES, DEFAULT_BYTES),
        .ring_bytes =
            bytes_from_environment("LIBPERF_RING_BYTES", MIN_RING_BYTES,
                                   MAX_RING_BYTES, DEFAULT_RING_BYTES),
    };
}

static perf_err
check_config(const perf_segment_config *c)
{
    if (c->size != sizeof *c || c->version != PERF_SEGMENT_CONFIG_VERSION)
        return PERF_ERR_VERSION;
    if (c->max_bytes < PERFI_MIN_BYTES || c->max_bytes > MAX_BYTES ||
        c->ring_bytes < MIN_RING_BYTES || c->ring_bytes > MAX_RING_BYTES)
        return PERF_ERR_RANGE;
    return PERF_OK;
}

/* ---- start ---- */

static void
fill_header(perfi_segment *s, const perf_segment_config *config)
{
    perfi_header *h = s->header;
    perfi_anchor now = perfi_clock_reanchor();
    h->magic = PERFI_MAGIC;
    h->layout = PERFI_LAYOUT_VERSION;
    h->header_bytes = sizeof *h;
    h->pid = (uint64_t)getpid();
    h->uid = geteuid();
    h->trace_hi = perfi_random_bits();
    h->max_bytes = s->max_bytes;
    h->clock = perfi_clock_state.tsc;
    h->names_max = PERF_NAMES_MAX;
    h->first_ticks = now.ticks;
    h->first_mono_ns = now.mono_ns;
    const char *service = config->service;
    if (!service)
        service = getenv("LIBPERF_SERVICE");
    snprintf(h->service, sizeof h->service, "%s", service ? service : "");
    snprintf(h->version, sizeof h->version, "%s", PERF_VERSION);
    if (config->command)
        snprintf(h->command, sizeof h->command, "%s", config->command);
    else
        perfi_command_read(h->command, sizeof h->command);
    atomic_store_explicit(&h->used_bytes, PERFI_CHUNK, memory_order_release);
}

/* Called for each name in order, under the table's lock. */
static void
write_name(uint32_t name, perf_kind kind, const char *text, size_t length)
{
    perfi_segment *s = &perfi_segment_state;
    if (!s->base) /* a forked child that has not started its own yet */
        return;
    perfi_name_entry *entries = (void *)(s->base + PERFI_NAMES_AT);
    if (s->text_at + length > s->text_end) {
        unsigned char *chunk = perfi_segment_chunk();
        s->text_at = chunk ? (uint64_t)(chunk - s->base) : 0;
        s->text_end = chunk ? s->text_at + PERFI_CHUNK : 0;
    }
    uint64_t where = 0; /* a name without a text: the reader says "(other)" */
    if (s->text_at + length <= s->text_end) {
        memcpy(s->base + s->text_at, text, length);
        where = s->text_at;
        s->text_at += length;
    }
    uint64_t entry = where << 16 | (where ? length << 8 : 0) | (uint64_t)kind;
    atomic_store_explicit(&entries[name].text, entry, memory_order_relaxed);
    atomic_store_explicit(&s->header->names, name + 1, memory_order_release);
}

static bool
keep_text(const char **text)
{
    return !*text || (*text = strdup(*text));
}

static void
drop_texts(const perf_segment_config *settings)
{
    free((void *)settings->dir);
    free((void *)settings->service);
    free((void *)settings->command);
}

/* In place of earlier ones: of a start that failed, or of a parent's. */
static perf_err
keep_settings(perf_segment_config *settings, const perf_segment_config *config)
{
    perf_segment_config fresh = *config;
    if (!fresh.allocator)
        fresh.allocator = perf_allocator_libc();
    /* each of them, so that none is left to be the caller's */
    bool kept = keep_text(&fresh.dir);
    kept &= keep_text(&fresh.service);
    kept &= keep_text(&fresh.command);
    drop_texts(kept ? settings : &fresh);
    if (kept)
        *settings = fresh;
    return kept ? PERF_OK : PERF_ERR_NOMEM;
}

static perf_err
start(const perf_segment_config *config)
{
    perfi_segment *s = &perfi_segment_state;
    perf_err err;
    perfi_threads_forget(); /* while it is known who allocated them */
    if (config != &s->settings && keep_settings(&s->settings, config))
        return PERF_ERR_NOMEM;
    s->max_bytes = config->max_bytes / PERFI_CHUNK * PERFI_CHUNK;
    s->ring_chunks_max = (uint32_t)(config->ring_bytes / PERFI_CHUNK);
    s->fd = perfi_storage_make(config->dir, s->path, &s->max_bytes);
    if (s->fd < 0)
        return PERF_ERR_SYSTEM;
    void *base =
        mmap(NULL, s->max_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
    if (base == MAP_FAILED) {
        err = errno == ENOMEM ? PERF_ERR_NOMEM : PERF_ERR_SYSTEM;
        unlink(s->path); /* "": does nothing */
        close(s->fd);
        s->fd = -1;
        s->path[0] = 0;
        return err;
    }
    s->base = base;
    s->header = base;
    atomic_store_explicit(&s->full, false, memory_order_relaxed);
    fill_header(s, config);
    s->text_at = PERFI_TEXTS_AT;
    s->text_end = PERFI_CHUNK;
    perfi_segment_sign_of_life();
    perfi_names_publish(write_name);
    perfi_segment_publish_frames();
    perfi_threads_watch();
    return PERF_OK;
}

bool
perfi_segment_ensure(void)
{
    static _Atomic uint32_t failed_in; /* process + 1; relaxed: a hint */
    perfi_segment *s = &perfi_segment_state;
    if (s->base)
        return true;
    if (atomic_load_explicit(&failed_in, memory_order_relaxed) ==
        s->process + 1)
        return false;
    perf_segment_config defaults;
    perf_segment_config_init(&defaults, sizeof defaults);
    if (!start(s->settings.size ? &s->settings : &defaults))
        return true;
    atomic_store_explicit(&failed_in, s->process + 1, memory_order_relaxed);
    perfi_say_once(PERFI_SAY_FOLDER,
                   "nothing is recorded: no memory for it (%s)",
                   strerror(errno));
    return false;
}

perf_err
perf_segment_start(const perf_segment_config *config)
{
    perf_segment_config defaults;
    if (!config) {
        perf_segment_config_init(&defaults, sizeof defaults);
        config = &defaults;
    }
    perf_err err = check_config(config);
    if (err)
        return err;
    pthread_mutex_lock(&perfi_segment_state.lock);
    err = perfi_segment_state.base ? PERF_ERR_STARTED : start(config);
    pthread_mutex_unlock(&perfi_segment_state.lock);
    return err;
}

perf_err
perf_segment_set_service(const char *service)
{
    perfi_segment *s = &perfi_segment_state;
    if (!service)
        return PERF_ERR_INVALID;
    perf_err err = PERF_ERR_CLOSED;
    pthread_mutex_lock(&s->lock);
    if (s->base) {
        err = keep_text(&service) ? PERF_OK : PERF_ERR_NOMEM;
        if (!err) {
            free((void *)s->settings.service);
            s->settings.service = service;
            char *shown = s->header->service;
            snprintf(shown, sizeof s->header->service, "%s", service);
        }
    }
    pthread_mutex_unlock(&s->lock);
    return err;
}

/* ---- chunks ---- */

unsigned char *
perfi_segment_chunk(void)
{
    perfi_segment *s = &perfi_segment_state;
    perfi_counter *used = &s->header->used_bytes;
    if (atomic_load_explicit(&s->full, memory_order_relaxed))
        return NULL;
    /* seldom called; two threads may ask at once, each gets its own place */
    uint64_t at =
        atomic_fetch_add_explicit(used, PERFI_CHUNK, memory_order_relaxed);
    bool bounded = at + PERFI_CHUNK > s->max_bytes;
    if (bounded || !perfi_storage_back(s->fd, at, PERFI_CHUNK)) {
        int why = errno;
        /* `used` is left as it is: a thread that asked after us may have got
         * its chunk; readers see the hole as zeros */
        atomic_store_explicit(&s->full, true, memory_order_relaxed);
        if (bounded)
            perfi_say_once(PERFI_SAY_FULL,
                           "the segment has reached its %llu bytes: what "
                           "finds no room is counted, not kept; set "
                           "LIBPERF_MAX_BYTES higher",
                           (unsigned long long)s->max_bytes);
        else
            perfi_say_once(PERFI_SAY_FULL,
                           "no more room for measurements in %s (%s): what "
                           "finds none is counted, not kept; set LIBPERF_DIR "
                           "to a folder with room",
                           s->path[0] ? s->path : "memory", strerror(why));
        return NULL;
    }
    unsigned char *chunk = s->base + at;
    for (uint32_t page = 0; page < PERFI_CHUNK; page += 4096)
        *(volatile unsigned char *)(chunk + page) = 0; /* fault it in now */
    return chunk;
}

void
perfi_segment_sign_of_life(void)
{
    perfi_header *h = perfi_segment_state.header;
    perfi_anchor now = perfi_clock_reanchor();
    uint64_t scale =
        atomic_load_explicit(&perfi_clock_state.scale, memory_order_relaxed);
    perfi_set(&h->scale, scale);
    perfi_set(&h->wall_offset_ns, now.wall_ns - now.mono_ns);
    perfi_set(&h->latest_ticks, now.ticks);
    perfi_segment_publish_names();
}

void
perfi_segment_publish_names(void)
{
    perfi_header *h = perfi_segment_state.header;
    perfi_set(&h->names_over, perfi_names_over());
    perfi_set(&h->names_cut, perfi_names_cut());
    perfi_set(&h->frames_over, perf_frames_over());
}

void
perfi_count_lost(perfi_lost what)
{
    perfi_header *h = perfi_segment_state.header;
    if (!h)
        return;
    perfi_counter *const counters[] = {
        [PERFI_LOST_RECORD] = &h->dropped_records,
        [PERFI_LOST_VALUE] = &h->dropped_values,
        [PERFI_LOST_ATTRIBUTE] = &h->dropped_attributes,
    };
    /* many threads may be without a block: the one place with a locked add */
    atomic_fetch_add_explicit(counters[what], 1, memory_order_relaxed);
}

/* ---- end ---- */

__attribute__((destructor)) void
perf_segment_finish(void)
{
    perfi_segment *s = &perfi_segment_state;
    if (!s->base)
        return;
    perfi_segment_sign_of_life();
    atomic_store_explicit(&s->header->finished, 1, memory_order_release);
}

perf_err
perf_segment_path(char *out, size_t out_size)
{
    perfi_segment *s = &perfi_segment_state;
    if (!out || !out_size)
        return PERF_ERR_INVALID;
    out[0] = 0;
    perf_err err = PERF_OK;
    pthread_mutex_lock(&s->lock);
    if (!s->base)
        err = PERF_ERR_CLOSED;
    else if (strlen(s->path) >= out_size)
        err = PERF_ERR_RANGE;
    else
        strcpy(out, s->path);
    pthread_mutex_unlock(&s->lock);
    return err;
}

void
perf_segment_stats_now(perf_segment_stats *out)
{
    perfi_segment *s = &perfi_segment_state;
    if (!out)
        return;
    pthread_mutex_lock(&s->lock);
    *out = (perf_segment_stats){0};
    if (s->base) {
        const perfi_header *h = s->header;
        uint64_t used = perfi_get(&h->used_bytes);
        out->used_bytes = used < s->max_bytes ? used : s->max_bytes;
        out->max_bytes = s->max_bytes;
        out->dropped_records = perfi_get(&h->dropped_records);
        out->dropped_values = perfi_get(&h->dropped_values);
        out->dropped_attributes = perfi_get(&h->dropped_attributes);
        out->cut_texts = perfi_names_cut();
        out->names_over = perfi_names_over();
        out->frames_over = perf_frames_over();
        perfi_threads_add_stats(out);
    }
    pthread_mutex_unlock(&s->lock);
}
